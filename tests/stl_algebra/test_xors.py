"""XOR counts: what sharing and cancelling reach, against brute force on small matrices."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import StlError
from stl_algebra.schemes import strassen, winograd
from stl_algebra.xors import xors


def least(matrix, most):
    """Fewest XORs by exhaustive search over straight-line programs."""
    rows = {int("".join(map(str, row)), 2) for row in matrix.tolist()} - {0}
    width = matrix.shape[1]
    start = frozenset(1 << i for i in range(width))
    frontier = {start}
    for count in range(most + 1):
        if any(rows <= held for held in frontier):
            return count
        frontier = {held | {a ^ b} for held in frontier for a, b in combinations(sorted(held), 2) if a ^ b not in held}
    return most + 1


@given(st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=1, max_size=3))
def test_never_below_the_optimum_and_never_above_row_by_row(rows):
    matrix = np.array(rows)
    naive, shared = xors(matrix)
    best = least(matrix, 4)
    assert naive == sum(max(0, sum(r) - 1) for r in rows)
    assert min(best, 5) <= shared <= naive or best == 5


def test_cancellation_saves_what_sharing_cannot():
    matrix = np.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 1]])
    naive, shared = xors(matrix)
    assert naive == 12 and shared <= 7


def test_strassen_and_winograd():
    """15 is Winograd's count, and Probert (1976) proved it minimal over GF(2)."""
    counts = [sum(xors(f.num)[1] for f in e.to_ring("GF(2)").factors) for e in (strassen(), winograd())]
    assert counts == [18, 15]


def test_degenerate_matrices():
    assert xors(np.zeros((3, 4), dtype=int)) == (0, 0) and xors(np.ones((1, 5), dtype=int)) == (4, 4)
    assert xors(np.ones((5, 1), dtype=int)) == (0, 0) and xors(np.array([[2, 1], [1, 1]])) == (1, 1)
    with pytest.raises(StlError, match="two-dimensional"):
        xors(np.zeros(3, dtype=int))
