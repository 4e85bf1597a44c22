"""Products of groups: direct, semidirect, wreath."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.constructors import _count, cyclic
from stl_algebra.groups.generate import table_from_right_multiplication
from stl_algebra.groups.table import FiniteGroup

__all__ = ["direct_product", "semidirect_product", "wreath_product"]

IntArray = np.ndarray[Any, np.dtype[Any]]


def direct_product(*groups: FiniteGroup) -> FiniteGroup:
    """G × H × …: pairs at index g·|H| + h, multiplied componentwise.

    Examples
    --------
    >>> direct_product(cyclic(2), cyclic(6)).order
    12
    """
    return reduce(_direct_product, groups) if groups else cyclic(1)


def _direct_product(a: FiniteGroup, b: FiniteGroup) -> FiniteGroup:
    _count("groups", a.order, 1, a.order * b.order)
    m = b.order
    x, y = np.divmod(np.arange(a.order * m), m)
    left = [(g, b.identity) for g in a.generators]
    right = [(a.identity, h) for h in b.generators]
    columns = [a.table[x, g].astype(np.int64) * m + b.table[y, h] for g, h in left + right]
    return FiniteGroup(
        table_from_right_multiplication(columns, a.identity * m + b.identity),
        f"{_bracket(a.name)}x{_bracket(b.name)}",
        _pair_labels(a, b, ","),
        tuple(g * m + h for g, h in left + right),
        check=False,
    )


def _pair_labels(a: FiniteGroup, b: FiniteGroup, mark: str) -> tuple[str, ...] | None:
    """Labels (g,h) in table order; none for large groups, where strings would cost more than the table."""
    if a.order * b.order > 1024:
        return None
    return tuple(f"({a.label(g)}{mark}{b.label(h)})" for g in range(a.order) for h in range(b.order))


def _bracket(name: str) -> str:
    return f"({name})" if ":" in name else name


def semidirect_product(n: FiniteGroup, h: FiniteGroup, action: Any, name: str = "") -> FiniteGroup:
    """N ⋊ H with (n, h)·(n', h') = (n·φ_h(n'), h·h'), pairs at index n·|H| + h.

    Parameters
    ----------
    n, h : FiniteGroup
    action : int array, shape (|H|, |N|)
        ``action[h, n]`` = φ_h(n): a homomorphism from H to Aut(N).

    Raises
    ------
    StlError
        If some φ_h is not an automorphism, or φ_h φ_k ≠ φ_hk; the message names the offending pair.
    """
    phi = np.asarray(action, dtype=np.int64)
    if phi.shape != (h.order, n.order):
        raise StlError("action", phi.shape, f"shape ({h.order}, {n.order}): action[h, n] = φ_h(n)")
    _count("n", n.order, 1, n.order * h.order)
    for k, row in enumerate(phi):
        if not np.array_equal(np.sort(row), np.arange(n.order)):
            raise StlError(f"action[{k}]", row.tolist(), "a permutation of the elements of N")
        for s in n.generators:
            wrong = row[n.table[:, s]] != n.table[row, row[s]]
            if wrong.any():
                bad = int(np.flatnonzero(wrong)[0])
                raise StlError(f"action[{k}]", f"φ({bad}·{s}) ≠ φ({bad})·φ({s})", "an automorphism of N")
    for k in h.generators:
        for j in range(h.order):
            if not np.array_equal(phi[h.table[j, k]], phi[j][phi[k]]):
                raise StlError("action", f"φ_{j}·φ_{k} ≠ φ_({j}·{k})", "a homomorphism from H to Aut(N)")
    x, y = np.divmod(np.arange(n.order * h.order), h.order)
    left = [(g, h.identity) for g in n.generators]
    right = [(n.identity, k) for k in h.generators]
    columns = [n.table[x, phi[y, g]].astype(np.int64) * h.order + h.table[y, k] for g, k in left + right]
    return FiniteGroup(
        table_from_right_multiplication(columns, n.identity * h.order + h.identity),
        name or f"{_bracket(n.name)}:{_bracket(h.name)}",
        _pair_labels(n, h, ";"),
        tuple(g * h.order + k for g, k in left + right),
        check=False,
    )


def wreath_product(base: FiniteGroup, top: FiniteGroup, name: str = "") -> FiniteGroup:
    """G ≀ P = G^k ⋊ P for a permutation group P on k points (``top.elements`` are image rows).

    φ_π moves coordinate i to π(i).  A group without permutation rows acts on itself by left multiplication.
    Cohn–Kleinberg–Szegedy–Umans use ``wreath_product(abelian(n, n, n), symmetric(2))``.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> wreath_product(group("C2"), group("C3")).order
    24
    """
    rows = top.elements if isinstance(top.elements, np.ndarray) and _is_permutations(top.elements) else top.table
    points = rows.shape[1]
    _count("base", base.order, 1, base.order ** min(points, 20) * top.order)
    power = direct_product(*[base] * points)
    digits = np.array(np.unravel_index(np.arange(power.order), (base.order,) * points))
    action = np.empty((top.order, power.order), dtype=np.int64)
    for h, row in enumerate(rows):
        moved = np.empty_like(digits)
        moved[row.astype(np.int64)] = digits
        action[h] = np.ravel_multi_index(tuple(moved), (base.order,) * points)
    return semidirect_product(power, top, action, name or f"{_bracket(base.name)}wr{_bracket(top.name)}")


def _is_permutations(rows: IntArray) -> bool:
    return bool(rows.ndim == 2 and (np.sort(rows, axis=1) == np.arange(rows.shape[1])).all())
