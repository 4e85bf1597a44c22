"""XOR counts over GF(2): sharing sums, and cancelling, which no characteristic other than 2 allows.

A row may be computed from another output by XOR with their difference (x₁+x₂+x₃ from x₁+x₂+x₄ by adding x₃+x₄), since
what occurs twice vanishes. Which row comes from which is a shortest arborescence of the rows under Hamming distance;
what is left is shared pair by pair (Paar 1997), and the transposed matrix is tried too (Tellegen's principle).
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StlError

__all__ = ["xors"]


def xors(matrix: NDArray[Any]) -> tuple[int, int]:
    """XORs of a matrix–vector product modulo 2: row by row, and with sharing and cancellation.

    Parameters
    ----------
    matrix : int array (rows, columns), rows are outputs

    Returns
    -------
    (naive, shared) : tuple of int

    Raises
    ------
    StlError
        When the matrix is not two-dimensional.

    Examples
    --------
    >>> xors(np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 0]]))[0]
    6
    >>> xors(np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 1]]))[1]
    4
    """
    table = np.asarray(matrix)
    if table.ndim != 2:
        raise StlError("matrix", table.shape, "a two-dimensional array")
    odd = (table % 2).astype(bool)
    naive = int(np.maximum(odd.sum(axis=1) - 1, 0).sum())
    if not odd.any():
        return 0, 0
    best = naive
    for bits, transposed in ((odd, False), (odd.T, True)):
        used = bits[bits.any(axis=1)]
        for cancel in (False, True):
            count = _shared(used, cancel)
            if transposed:  # the transposed program: additions + inputs − outputs, over rows and columns in use
                count += len(used) - int(bits.any(axis=0).sum())
            best = min(best, count)
    return naive, best


def _shared(rows: NDArray[np.bool_], cancel: bool) -> int:
    """XORs of Paar's greedy sharing, each row first replaced by its difference to another if that is shorter."""
    size = rows.shape[1]
    work: list[set[int]] = []
    if cancel:
        parent = _arborescence(rows)
        for i, p in enumerate(parent):
            row = rows[i] if p < 0 else rows[i] ^ rows[p]
            work.append({int(j) for j in np.flatnonzero(row)} | ({size + p} if p >= 0 else set()))
    else:
        work = [{int(j) for j in np.flatnonzero(row)} for row in rows]
    new, steps = size + len(rows), 0
    counts: Counter[tuple[int, int]] = Counter()
    for row in work:
        counts.update(combinations(sorted(row), 2))
    while counts:
        pair, top = max(counts.items(), key=lambda v: (v[1], -v[0][0], -v[0][1]))
        if top < 2:
            break
        for row in work:
            if pair[0] in row and pair[1] in row:
                counts.subtract(combinations(sorted(row), 2))
                row -= set(pair)
                row.add(new)
                counts.update(combinations(sorted(row), 2))
        counts += Counter()  # drops what is no longer there
        new += 1
        steps += 1
    return steps + sum(max(0, len(row) - 1) for row in work)


def _arborescence(rows: NDArray[np.bool_]) -> list[int]:
    """Parent of each row (−1: none) in the cheapest tree whose edges cost a Hamming distance, by Prim's rule."""
    weight = rows.sum(axis=1).astype(int)
    distance = (rows[:, None, :] ^ rows[None, :, :]).sum(axis=2)
    cost, parent = weight - 1, [-1] * len(rows)
    left = set(range(len(rows)))
    while left:
        i = min(left, key=lambda v: (cost[v], v))
        left.remove(i)
        for j in left:
            if distance[i, j] < cost[j]:
                cost[j], parent[j] = distance[i, j], i
    return parent
