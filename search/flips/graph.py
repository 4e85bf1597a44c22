"""Small flip graphs as networkx graphs, if wanted up to isotropy: something to look at.

For ⟨2,2,2⟩ the component of the standard algorithm has 272 vertices of rank 8 and Strassen's algorithm, up
to isotropy (Kauers–Moosbauer 2022, §4); `flip_graph` rebuilds it in a second or two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .scheme import Scheme, checked, pack, standard, unpack

if TYPE_CHECKING:
    import networkx

__all__ = ["flip_graph"]

Terms = tuple[tuple[int, int, int], ...]
#: Largest isotropy group worth enumerating per vertex.
MAX_GROUP = 20_000


def flip_graph(
    format: Sequence[int],
    rank_max: int | None = None,
    limit: int = 1000,
    up_to_isotropy: bool = True,
    start: Scheme | None = None,
) -> networkx.Graph[int]:
    """Breadth-first part of the flip graph over GF(2) around a scheme.

    Parameters
    ----------
    format : (n, m, p)
    rank_max : int, optional
        Rank to begin at; below nmp a scheme of that rank is searched first. Flips never raise the rank.
    limit : int
        Most vertices to collect.
    up_to_isotropy : bool
        Identify schemes that differ by invertible row and column operations over GF(2) (and, where the
        format allows it, cyclic shifts and transposition). Only for small formats.
    start : Scheme, optional
        Begin at this scheme over GF(2) instead.

    Returns
    -------
    networkx.Graph
        Vertices 0, 1, … in order of discovery, with ``rank`` and ``terms`` (packed triples); edges with
        ``kind`` "flip" or "reduction". ``graph.graph["complete"]`` says whether the limit cut it short.

    Raises
    ------
    StlError
        If the isotropy group is too large to enumerate.
    """
    import networkx as nx

    fmt = checked(format, "GF(2)", None)
    if start is None:
        start = _scheme_of_rank(fmt, rank_max)
    canonical = _Isotropy(fmt).canonical if up_to_isotropy else _sorted
    first = canonical(tuple((int(u), int(v), int(w)) for u, v, w in start.terms))
    graph: networkx.Graph[int] = nx.Graph(format=fmt, complete=True)
    names = {first: 0}
    graph.add_node(0, rank=len(first), terms=first)
    queue = deque([first])
    while queue:
        terms = queue.popleft()
        here = names[terms]
        for neighbour in set(map(canonical, set(_neighbours(terms)))):
            if neighbour not in names:
                if len(names) >= limit:
                    graph.graph["complete"] = False
                    continue
                names[neighbour] = len(names)
                graph.add_node(names[neighbour], rank=len(neighbour), terms=neighbour)
                queue.append(neighbour)
            there = names[neighbour]
            if there != here:
                kind = "flip" if len(neighbour) == len(terms) else "reduction"
                graph.add_edge(here, there, kind=kind)
    return graph


def _scheme_of_rank(fmt: tuple[int, int, int], rank: int | None) -> Scheme:
    from .explore import search_flips

    n, m, p = fmt
    if rank is None or rank >= n * m * p:
        return standard(fmt)
    result = search_flips(fmt, target_rank=rank, seconds=20.0)
    if not result.found:
        raise StlError("rank_max", rank, f"a rank that a short walk reaches (got {result.rank})", "Give a start.")
    return result.scheme


def _sorted(terms: Terms) -> Terms:
    return tuple(sorted(terms))


def _neighbours(terms: Terms) -> Iterator[Terms]:
    """All results of one flip; terms that vanish or cancel are gone (a reduction)."""
    for k in range(3):
        v, w = (k + 1) % 3, (k + 2) % 3
        for i, one in enumerate(terms):
            for j, two in enumerate(terms):
                if i == j or one[k] != two[k]:
                    continue
                a, b = list(one), list(two)
                a[v] ^= two[v]
                b[w] ^= one[w]
                odd: set[tuple[int, int, int]] = set()
                for t in (*(t for q, t in enumerate(terms) if q not in (i, j)), tuple(a), tuple(b)):
                    if all(t):
                        odd ^= {(t[0], t[1], t[2])}
                yield _sorted(tuple(odd))


class _Isotropy:
    """Action of GL_n × GL_m × GL_p over GF(2), shifts and transposition, as tables on packed factors.

    ``(U, V, W) ↦ (P U Qᵀ, Q⁻ᵀ V Rᵀ, P⁻ᵀ W R⁻¹)`` fixes the tensor Σ e_ik ⊗ e_kj ⊗ e_ij.
    """

    def __init__(self, fmt: tuple[int, int, int]) -> None:
        n, m, p = self.format = fmt
        groups = [_general_linear(s) for s in fmt]
        order = int(np.prod([len(g) for g in groups])) * (6 if n == m == p else 1)
        if order > MAX_GROUP:
            raise StlError(
                "up_to_isotropy",
                fmt,
                f"an isotropy group of at most {MAX_GROUP} elements (here {order})",
                "Pass up_to_isotropy=False.",
            )
        big_p, big_q, big_r = groups
        inv_p, inv_q, inv_r = ([_inverse(g) for g in group] for group in groups)
        self.u = _table(big_p, [q.T for q in big_q], n, m)
        self.v = _table([q.T for q in inv_q], [r.T for r in big_r], m, p)
        self.w = _table([q.T for q in inv_p], inv_r, n, p)

    def _outer(self, t: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Images of (r, 3) terms under shifts and transposition."""
        n, m, p = self.format
        if not n == m == p:
            yield t
            return
        flip = _transposition(n)
        for _ in range(3):
            yield t
            yield np.stack([flip[t[:, 1]], flip[t[:, 0]], flip[t[:, 2]]], axis=1)
            t = np.stack([t[:, 1], flip[t[:, 2]], flip[t[:, 0]]], axis=1)

    def canonical(self, terms: Terms) -> Terms:
        """The lexicographically least image of a scheme."""
        n, m, p = self.format
        images = []
        for t in self._outer(np.array(terms, dtype=np.int64)):
            u = self.u[:, :, None, t[:, 0]].astype(np.int64)
            v = self.v[None, :, :, t[:, 1]].astype(np.int64)
            w = self.w[:, None, :, t[:, 2]].astype(np.int64)
            code = (u << (m * p + n * p)) | (v << (n * p)) | w
            images.append(np.sort(code.reshape(-1, len(t)), axis=1))
        rows = np.concatenate(images)
        for column in range(rows.shape[1]):
            rows = rows[rows[:, column] == rows[:, column].min()]
        best, low_v, low_w = rows[0], (1 << (m * p)) - 1, (1 << (n * p)) - 1
        return tuple((int(c >> (m * p + n * p)), int(c >> (n * p)) & low_v, int(c) & low_w) for c in best)


def _general_linear(size: int) -> list[NDArray[np.int64]]:
    """All invertible matrices over GF(2) (sizes up to 3)."""
    if size > 3:
        raise StlError("up_to_isotropy", size, "sizes up to 3", "Pass up_to_isotropy=False.")
    mats = (np.array(bits, dtype=np.int64).reshape(size, size) for bits in product((0, 1), repeat=size * size))
    return [g for g in mats if int(round(np.linalg.det(g))) % 2]


def _inverse(g: NDArray[np.int64]) -> NDArray[np.int64]:
    """Inverse mod 2 by the adjugate, exact for these tiny integer matrices."""
    det = round(float(np.linalg.det(g)))
    return np.rint(np.linalg.inv(g) * det).astype(np.int64) % 2


def _table(left: list[Any], right: list[Any], rows: int, columns: int) -> NDArray[np.uint16]:
    """``table[i, j, x]``: packed ``left[i] · X · right[j]`` for every packed X."""
    every = np.arange(1 << (rows * columns), dtype=np.uint64)
    mats = unpack(every, rows * columns, "GF(2)").reshape(-1, rows, columns)
    out = np.empty((len(left), len(right), len(every)), dtype=np.uint16)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            out[i, j] = pack((a @ mats @ b).reshape(len(every), -1), "GF(2)")
    return out


def _transposition(n: int) -> NDArray[np.int64]:
    """Packed X ↦ packed Xᵀ."""
    every = np.arange(1 << (n * n), dtype=np.uint64)
    mats = unpack(every, n * n, "GF(2)").reshape(-1, n, n)
    return pack(mats.transpose(0, 2, 1).reshape(len(every), -1), "GF(2)").astype(np.int64)
