"""The universal central extension F/[F,R] of a finite group G = F/R, from the Cayley graph.

An edge g → g·s carries an unknown in A = R/[F,R], zero on a spanning tree; a relator r_i walked from any element has
the value y_i, the same everywhere because A is central.  A walk with one unknown edge determines it; where no walk
helps, the loop through the next edge becomes a new relator (Cannon's presentation).  The remaining equations among
the y_i are the relations of A.

Source: Cannon, Math. Comp. 27 (1973) 381–388.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.table import FiniteGroup

__all__ = ["UniversalExtension", "smith_form", "universal_extension"]

IntArray = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class UniversalExtension:
    """F/[F,R] as a central extension of G = F/R by A = R/[F,R].

    Attributes
    ----------
    group : FiniteGroup
    relators : tuple of words
        A presentation of the group on its generators: letter ±(i+1) is the i-th generator or its inverse.
    order, parent, via : int arrays, shape (n,)
        Spanning tree of the Cayley graph in breadth-first order: ``order[j] = parent · generators[via]``.
    edges : int array, shape (d, n, k)
        Value of the edge g → g·s_i in terms of y_1 … y_k.
    smith : tuple of int, length k
        Elementary divisors of the relations of A (0 for a free factor).
    to_smith, from_smith : int arrays, shape (k, k)
        ``v @ to_smith`` turns coefficients of the y_i into coordinates of A ≅ ⊕ Z/smith; inverse matrices.
    """

    group: FiniteGroup
    relators: tuple[tuple[int, ...], ...]
    order: IntArray
    parent: IntArray
    via: IntArray
    edges: IntArray
    smith: tuple[int, ...]
    to_smith: IntArray
    from_smith: IntArray

    @cached_property
    def torsion(self) -> list[int]:
        """Which coordinates are the cyclic factors of the Schur multiplier."""
        return [i for i, d in enumerate(self.smith) if d > 1]

    @cached_property
    def exponents(self) -> IntArray:
        """Exponent sum of every generator in every relator, shape (k, d)."""
        out = np.zeros((len(self.relators), len(self.group.generators)), dtype=np.int64)
        for i, word in enumerate(self.relators):
            for letter in word:
                out[i, abs(letter) - 1] += 1 if letter > 0 else -1
        return out

    def cocycle(self, values: IntArray, modulus: int) -> IntArray:
        """c(g, h) mod `modulus` when relator i has the value ``values[i]``, shape (n, n).

        Lifts multiply as t(g)·t(h) = c(g, h)·t(gh), where t(g) is the word of g along the tree.
        """
        weights = self.edges @ (np.asarray(values, dtype=np.int64) % modulus) % modulus  # (d, n)
        n, table = self.group.order, self.group.table
        columns = np.zeros((n, n), dtype=np.int16 if modulus < 2**15 else np.int64)
        for h in self.order[1:]:
            up = int(self.parent[h])
            columns[h] = (columns[up] + weights[self.via[h]][table[:, up]]) % modulus
        return np.ascontiguousarray(columns.T)

    def __repr__(self) -> str:
        return f"UniversalExtension({self.group.name}, {len(self.relators)} relators, A = {list(self.smith)})"


@lru_cache(maxsize=512)
def universal_extension(group: FiniteGroup) -> UniversalExtension:
    """The extension F/[F,R] of a group; see the module docstring."""
    order, parent, via, depth = _tree(group)
    walk = _Walks(group)
    n, d = group.order, len(group.generators)
    known = np.zeros(d * n, dtype=bool)
    for h in order[1:]:
        known[via[h] * n + parent[h]] = True
    values = np.zeros((d * n, 8), dtype=np.int64)
    relators: list[tuple[int, ...]] = []
    traces: list[tuple[IntArray, IntArray]] = []
    words = _words(order, parent, via, n)
    ends = np.concatenate([group.table[:, s] for s in group.generators]).astype(np.int64) if d else np.empty(0, int)
    length = np.tile(depth, d) + depth[ends] if d else np.empty(0, int)
    while not known.all():
        edge = int(np.where(known, np.iinfo(np.int64).max, length).argmin())
        start, end = edge % n, int(ends[edge])
        relators.append(_reduce((*words[start], edge // n + 1, *(-x for x in reversed(words[end])))))
        traces.append(walk(relators[-1]))
        if len(relators) > values.shape[1]:
            values = np.concatenate([values, np.zeros_like(values)], axis=1)
        _deduce(values, known, traces)
    k = len(relators)
    values = values[:, :k]
    if k and np.abs(values).max() > 2**40:
        raise StlError("group", group, "a group whose presentation has small identities", "Reorder its generators.")
    smith, forth, back = smith_form(_relations(values, traces, k), k)
    return UniversalExtension(group, tuple(relators), order, parent, via, values.reshape(d, n, k), smith, forth, back)


def _tree(group: FiniteGroup) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    n = group.order
    parent, via, depth = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.full(n, -1)
    depth[group.identity] = 0
    queue = [group.identity]
    for g in queue:
        for i, s in enumerate(group.generators):
            h = int(group.table[g, s])
            if depth[h] < 0:
                parent[h], via[h], depth[h] = g, i, depth[g] + 1
                queue.append(h)
    return np.array(queue), parent, via, depth


def _words(order: IntArray, parent: IntArray, via: IntArray, n: int) -> list[tuple[int, ...]]:
    words: list[tuple[int, ...]] = [()] * n
    for h in order[1:]:
        words[h] = (*words[parent[h]], int(via[h]) + 1)
    return words


def _reduce(word: Sequence[int]) -> tuple[int, ...]:
    """Cyclic free reduction."""
    out: list[int] = []
    for letter in word:
        if out and out[-1] == -letter:
            out.pop()
        else:
            out.append(letter)
    while len(out) > 1 and out[0] == -out[-1]:
        out = out[1:-1]
    return tuple(out)


class _Walks:
    """Edges met and their signs when a word is walked from every element."""

    def __init__(self, group: FiniteGroup) -> None:
        self.n = group.order
        self.moves = [group.table[:, s].astype(np.int64) for s in group.generators]
        self.backs = [group.table[:, group.inverse[s]].astype(np.int64) for s in group.generators]

    def __call__(self, word: Sequence[int]) -> tuple[IntArray, IntArray]:
        at, edges = np.arange(self.n), []
        for letter in word:
            i = abs(letter) - 1
            if letter > 0:
                edges.append(i * self.n + at)
                at = self.moves[i][at]
            else:
                at = self.backs[i][at]
                edges.append(i * self.n + at)
        return np.stack(edges, axis=1), np.sign(np.array(word))


def _deduce(values: IntArray, known: IntArray, traces: list[tuple[IntArray, IntArray]]) -> None:
    """Fill in every edge that some walk leaves as the only unknown, until nothing changes."""
    changed = True
    while changed:
        changed = False
        for i, (edges, signs) in enumerate(traces):
            unknown = ~known[edges]
            rows = np.flatnonzero(unknown.sum(axis=1) == 1)
            if not len(rows):
                continue
            column = unknown[rows].argmax(axis=1)
            target = edges[rows, column]
            target, first = np.unique(target, return_index=True)
            rows, column = rows[first], column[first]
            total = np.einsum("l,rlk->rk", signs, values[edges[rows]])
            total[:, i] -= 1
            values[target] = -signs[column][:, None] * total
            known[target] = True
            changed = True


def _relations(values: IntArray, traces: list[tuple[IntArray, IntArray]], k: int) -> IntArray:
    """Rows that must vanish in A: each relator has the same value from every starting point."""
    rows = np.zeros((0, k), dtype=np.int64)
    for i, (edges, signs) in enumerate(traces):
        total = np.zeros((len(edges), k), dtype=np.int64)
        for column, sign in enumerate(signs):
            total += sign * values[edges[:, column]]
        total[:, i] -= 1
        rows = np.unique(np.concatenate([rows, total]), axis=0)
    return rows[np.any(rows, axis=1)]


def smith_form(rows: IntArray, k: int) -> tuple[tuple[int, ...], IntArray, IntArray]:
    """Elementary divisors of Z^k / rows, and the coordinate change (V, V⁻¹) with rows·V diagonal after row steps."""
    forth = [[int(i == j) for j in range(k)] for i in range(k)]
    back = [row[:] for row in forth]
    m = _hermite(rows, k)
    for step in range(len(m)):
        while True:
            entries = [(abs(m[i][j]), i, j) for i in range(step, len(m)) for j in range(step, k) if m[i][j]]
            _, i, j = min(entries)
            m[step], m[i] = m[i], m[step]
            if j != step:
                for row in m + forth:
                    row[step], row[j] = row[j], row[step]
                back[step], back[j] = back[j], back[step]
            pivot = m[step][step]
            for r in range(step + 1, len(m)):
                q = m[r][step] // pivot
                if q:
                    m[r] = [x - q * y for x, y in zip(m[r], m[step], strict=True)]
            for c in range(step + 1, k):
                q = m[step][c] // pivot
                if q:  # column c -= q·column step; rows of the inverse change the other way
                    for row in m + forth:
                        row[c] -= q * row[step]
                    back[step] = [x + q * y for x, y in zip(back[step], back[c], strict=True)]
            if any(m[r][step] for r in range(step + 1, len(m))) or any(m[step][step + 1 :]):
                continue
            bad = next((r for r in range(step + 1, len(m)) if any(x % pivot for x in m[r])), None)
            if bad is None:
                break
            m[step] = [x + y for x, y in zip(m[step], m[bad], strict=True)]
    smith = tuple(abs(m[i][i]) if i < len(m) else 0 for i in range(k))
    return smith, np.array(forth, dtype=np.int64).reshape(k, k), np.array(back, dtype=np.int64).reshape(k, k)


def _hermite(rows: IntArray, k: int) -> list[list[int]]:
    """Independent rows with the same integer span, by Euclid's algorithm column after column."""
    pending, out = [list(map(int, row)) for row in rows], []
    for column in range(k):
        busy = [row for row in pending if row[column]]
        rest = [row for row in pending if not row[column]]
        while len(busy) > 1:
            busy.sort(key=lambda row: abs(row[column]))
            small = busy[0]
            reduced = [
                [x - row[column] // small[column] * y for x, y in zip(row, small, strict=True)] for row in busy[1:]
            ]
            rest += [row for row in reduced if not row[column] and any(row)]
            busy = [small, *(row for row in reduced if row[column])]
        out += busy
        pending = [list(row) for row in dict.fromkeys(map(tuple, rest))]
    return out
