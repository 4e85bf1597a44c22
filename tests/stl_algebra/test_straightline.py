"""Straight-line programs compute the matrix they claim to, and share as much as is known to be possible."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra.errors import StlError
from stl_algebra.straightline import Program, Step, additions, share

WINOGRAD_X = np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, -1, -1], [0, 0, 0, 1], [0, 0, 1, 1], [-1, 0, 1, 1], [1, 0, -1, 0]]
)


def as_fractions(matrix):
    return [[Fraction(int(v)) for v in row] for row in matrix]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_program_expands_to_its_matrix(rows, columns, seed):
    matrix = np.random.default_rng(seed).integers(-3, 4, (rows, columns))
    program = share(matrix, seed=seed)
    assert program.matrix() == as_fractions(matrix)
    assert program.additions <= program.naive


def test_winograd_needs_four_additions_on_one_side():
    assert additions(WINOGRAD_X) == (7, 4)


def test_transposed_program_is_used_when_it_is_shorter():
    # a column of ones repeated: outputs share one long sum, which the direct pass finds as well
    matrix = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, -1]])
    assert additions(matrix) == (2 + 3 + 3, 4)
    assert additions(matrix.T)[1] == 4 + 3 - 4  # Tellegen: + rows − columns


def test_zero_rows_and_scalings():
    program = share(np.array([[0, 0], [2, 0], [2, 3]]))
    assert program.outputs[0] is None
    assert program.additions == 1 and program.scalings >= 1
    assert program.lines()[-3] == "y0 = 0"


def test_a_wrong_program_is_seen():
    right = share(WINOGRAD_X)
    first = right.steps[0]
    steps = (Step(first.left, first.right, -first.factor), *right.steps[1:])
    wrong = Program(right.inputs, steps, right.outputs, right.naive)
    assert wrong.matrix() != as_fractions(WINOGRAD_X)


@pytest.mark.parametrize("bad", [np.zeros(3, dtype=int), np.zeros((2, 2))])
def test_refuses_what_is_no_integer_matrix(bad):
    with pytest.raises(StlError, match="matrix"):
        share(bad)
