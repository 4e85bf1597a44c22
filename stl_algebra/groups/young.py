"""Irreducible integer representations of symmetric groups: Specht modules on standard polytabloids.

Source: James, The Representation Theory of the Symmetric Groups, LNM 682, chapters 4–8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import Cyclotomic
from stl_algebra.groups.table import FiniteGroup

__all__ = ["partitions", "specht_matrices", "standard_tableaux"]

IntArray = np.ndarray[Any, np.dtype[Any]]


def partitions(n: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Partitions of n in reverse lexicographic order.

    Examples
    --------
    >>> list(partitions(4))
    [(4,), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1)]
    """
    if n == 0:
        yield ()
    for first in range(min(n, largest or n), 0, -1):
        for rest in partitions(n - first, first):
            yield (first, *rest)


def standard_tableaux(shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], ...]]:
    """Fillings with 0 … n-1 that increase along rows and columns.

    Examples
    --------
    >>> len(list(standard_tableaux((3, 2))))
    5
    """
    n = sum(shape)
    if n == 0:
        return [tuple(() for _ in shape)]
    out = []
    for row in range(len(shape)):
        if shape[row] and (row + 1 == len(shape) or shape[row + 1] < shape[row]):
            smaller = (*shape[:row], shape[row] - 1, *shape[row + 1 :])
            for tableau in standard_tableaux(smaller):
                out.append((*tableau[:row], (*tableau[row], n - 1), *tableau[row + 1 :]))
    return out


def _sign(p: tuple[int, ...]) -> int:
    return -1 if sum(p[i] > p[j] for i in range(len(p)) for j in range(i + 1, len(p))) % 2 else 1


def _polytabloid(tableau: tuple[tuple[int, ...], ...]) -> dict[tuple[int, ...], int]:
    """Signed tabloids; a tabloid is the row number of every entry."""
    n = sum(map(len, tableau))
    columns = [[row[c] for row in tableau if c < len(row)] for c in range(len(tableau[0]))]
    out: dict[tuple[int, ...], int] = {}
    for choice in product(*(list(permutations(range(len(col)))) for col in columns)):
        rows, sign = [0] * n, 1
        for column, p in zip(columns, choice, strict=True):
            sign *= _sign(p)
            for entry, row in zip(column, p, strict=True):
                rows[entry] = row
        out[tuple(rows)] = out.get(tuple(rows), 0) + sign
    return out


def specht_matrices(shape: tuple[int, ...], generators: IntArray) -> IntArray:
    """Integer matrices of permutations (image rows, shape (m, n)) on the Specht module, shape (m, f, f).

    Standard polytabloids restricted to standard tabloids form a unitriangular matrix, so coordinates are integers.
    Shapes with more than about a million column permutations per tableau are conjugated and twisted by the sign.
    """
    if list(shape) != sorted(shape, reverse=True) or min(shape) < 1:
        raise StlError("shape", shape, "a partition, e.g. (3, 2)")
    if generators.shape[1] != sum(shape):
        raise StlError("generators", generators.shape, f"permutations of {sum(shape)} points")
    if len(shape) > shape[0]:  # fewer column permutations: S^λ ≅ (S^λ')* ⊗ sign, and the dual is the inverse transpose
        flipped = tuple(sum(part > c for part in shape) for c in range(shape[0]))
        inverse = np.argsort(generators, axis=1)
        signs = np.array([_sign(tuple(g.tolist())) for g in generators])
        return signs[:, None, None] * np.swapaxes(specht_matrices(flipped, inverse), 1, 2)
    tableaux = standard_tableaux(shape)
    vectors = [_polytabloid(t) for t in tableaux]
    standard = []
    for t in tableaux:
        rows = [0] * sum(shape)
        for r, row in enumerate(t):
            for entry in row:
                rows[entry] = r
        standard.append(tuple(rows))
    place = {tab: i for i, tab in enumerate(standard)}

    def coordinates(items: list[dict[tuple[int, ...], int]]) -> IntArray:
        out = np.zeros((len(standard), len(items)), dtype=np.int64)
        for j, item in enumerate(items):
            for tab, c in item.items():
                if tab in place:
                    out[place[tab], j] = c
        return out

    base = coordinates(vectors)
    back = np.rint(np.linalg.inv(base)).astype(np.int64)
    if not np.array_equal(back @ base, np.eye(len(base), dtype=np.int64)):
        raise AssertionError("standard polytabloids on standard tabloids are unimodular")
    out = []
    for g in generators:
        moved = []
        undo = np.argsort(g)
        for vector in vectors:  # π{t} puts entry π(i) where i was: row of entry j is the old row of π⁻¹(j)
            moved.append({tuple(np.array(tab)[undo].tolist()): c for tab, c in vector.items()})
        out.append(back @ coordinates(moved))
    return np.array(out)


def specht_of_character(group: FiniteGroup, character: Cyclotomic) -> Callable[[], Cyclotomic]:
    """Builder of the matrices of all elements of ``symmetric(n)`` for one irreducible character."""
    from stl_algebra.groups.representations import _spread

    n = group.elements.shape[1]
    rows = group.elements.astype(np.int64)
    wanted = character.fractions()

    def build() -> Cyclotomic:
        for shape in partitions(n):
            if len(standard_tableaux(shape)) != int(wanted[group.classes.of[group.identity]]):
                continue
            images = specht_matrices(shape, rows[list(group.generators)])
            matrices = _spread(group, Cyclotomic.rational(images))
            traces = np.trace(matrices.num[group.classes.representatives, :, :, 0], axis1=1, axis2=2)
            if all(int(t) == w for t, w in zip(traces, wanted, strict=True)):
                return matrices
        raise AssertionError("every irreducible character of S_n is that of a Specht module")

    return build
