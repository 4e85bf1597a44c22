"""Certified lower bounds: proven spectra, known values, and no encoder below them."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import StlError
from stl_algebra.bounds import Flattening, epsilon2_lower_bound, flattenings, kappa2_lower_bound
from stl_algebra.schemes import standard, strassen
from stl_algebra.scores import epsilon2, kappa2
from stl_algebra.targets import matmul


@pytest.mark.parametrize(
    ("fmt", "rank", "value"),
    [
        ((2, 2, 2), 4, Fraction(2, 12)), ((3, 3, 3), 9, Fraction(27 - 18, 36)), ((4, 4, 4), 16, Fraction(22 - 16, 28)),
        ((4, 4, 4), 20, Fraction(24 - 20, 48)), ((4, 4, 4), 24, Fraction(80 - 72, 240)), ((4, 4, 4), 28, Fraction(0)),
        ((2, 2, 2), 7, Fraction(0)), ((1, 1, 1), 0, Fraction(1)),
    ],
)  # fmt: skip
def test_values_of_the_notes(fmt, rank, value):
    assert epsilon2_lower_bound(fmt, rank).value == value


def test_spectra_agree_with_floats():
    for flattening in (*flattenings(4, 4), *flattenings(2, 3)):
        exact = sorted((float(v) for v, c in flattening.spectrum() for _ in range(c)), reverse=True)
        floats = np.linalg.svd(flattening.matrix().astype(float), compute_uv=False) ** 2
        # every value twice (real form), and the zeros of the longer side are not in the shorter Gram
        both = np.sort(np.repeat(exact, 2))[::-1]
        np.testing.assert_allclose(np.resize(np.r_[both, np.zeros(len(floats))], len(floats)), floats, atol=1e-9)


def test_an_irrational_spectrum_is_refused():
    odd = Flattening("golden", np.array([[[1, 1], [0, 1]]]), np.zeros((1, 2, 2), dtype=int), 0)
    with pytest.raises(StlError, match="rational squared singular values"):
        odd.spectrum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(2, 2, 2), (2, 2, 3), (3, 3, 3), (2, 3, 4)]), st.integers(1, 6))
def test_no_encoder_lies_below(seed, fmt, rank):
    """Random terms with the decoder refitted: a good encoder of its kind, and never below the bound."""
    rng = np.random.default_rng(seed)
    n, m, p = fmt
    target = matmul(*fmt).dense().astype(float)
    x, w = rng.standard_normal((rank, n * m)), rng.standard_normal((rank, m * p))
    terms = np.einsum("la,lb->lab", x, w).reshape(rank, -1)
    rest = target.reshape(-1, n * p)
    fit = terms.T @ np.linalg.lstsq(terms.T, rest, rcond=None)[0]
    error = ((fit - rest) ** 2).sum() / (n * m * p)
    assert error >= float(epsilon2_lower_bound(fmt, rank).value) - 1e-12


def test_bounds_fall_with_the_rank():
    values = [epsilon2_lower_bound((3, 4, 4), r).value for r in range(1, 30)]
    assert all(a >= b for a, b in pairwise(values))


def test_rounding_bound():
    for encoder, fmt in ((strassen(), (2, 2, 2)), (standard(2, 3, 2), (2, 3, 2))):
        assert kappa2(encoder) >= kappa2_lower_bound(fmt, encoder.rank, epsilon2(encoder)) - 1e-12


@pytest.mark.parametrize(("fmt", "rank"), [((0, 2, 2), 1), ((2, 2, 2), -1), ((2, 2), 1)])
def test_bad_arguments(fmt, rank):
    with pytest.raises(StlError):
        epsilon2_lower_bound(fmt, rank)
