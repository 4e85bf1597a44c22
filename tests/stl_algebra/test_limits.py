"""Where float and int64 arithmetic stops being exact, one step on either side of every limit."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import Encoder, verify
from stl_algebra.rings import ring
from stl_algebra.schemes import standard

EDGES = [v + o for v in (2**24, 2**30, 2**31, 2**32, 2**33, 2**53, 2**61, 2**62, 2**63) for o in (-1, 0, 1)]
edge = st.sampled_from(EDGES).flatmap(lambda v: st.sampled_from([v, -v])) | st.integers(-9, 9)


def plain(values):
    """Python integers, whatever the array holds them in."""
    return [int(v) for v in np.asarray(values, dtype=object).ravel()]


@given(st.lists(st.tuples(edge, edge), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_ring_arithmetic_is_that_of_integers(pairs):
    z = ring("Z")
    a = np.array([u for u, _ in pairs], dtype=object)
    b = np.array([v for _, v in pairs], dtype=object)
    narrow = [x.astype(np.int64) if max(abs(int(v)) for v in x) < 2**63 else x for x in (a, b)]
    assert plain(z.multiply(*narrow)) == [u * v for u, v in pairs]


@given(st.lists(st.tuples(edge, edge), min_size=2, max_size=4))
@settings(max_examples=100, deadline=None)
def test_gaussian_products_are_exact(pairs):
    gauss = ring("Q(i)")
    a, b = np.array(pairs[:1], dtype=object), np.array(pairs[1:2], dtype=object)
    narrow = [x.astype(np.int64) if max(abs(int(v)) for v in x.ravel()) < 2**63 else x for x in (a, b)]
    (x, y), (u, v) = pairs[0], pairs[1]
    assert plain(gauss.multiply(*narrow)) == [x * u - y * v, x * v + y * u]


@pytest.mark.parametrize("size", [2**30, 2**31 - 1, 2**31, 2**32])
def test_sums_of_products_are_exact_over_a_field_of_degree_four(size):
    """In Q(ζ₅) the coefficient of 1 sums six products, each of which may fit int64 while the sum does not."""
    field = ring("Q(zeta_5)")
    signs = np.array(list(product((1, -1), repeat=8)))
    a, b = (size - 1) * signs[:, :4], (size - 1) * signs[:, 4:]
    assert plain(field.multiply(a, b)) == plain(field.multiply(a.astype(object), b.astype(object)))


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**32, 2**33])
def test_change_of_basis_is_exact_beyond_int64(size):
    scheme = standard(2, 2, 2)
    shear, back = [[1, size], [0, 1]], [[1, -size], [0, 1]]
    there = scheme.change_basis(shear, shear, shear)
    assert there.is_exact
    assert there.change_basis(back, back, back) == scheme


@pytest.mark.parametrize("count, size", [(100, 2**18), (60, 2**19), (40, 2**21)])
def test_sums_beyond_float32_are_not_done_in_float32(count, size):
    """⟨3,3,3;27⟩ and terms that cancel: a partial sum above 2^24 has no room for the 1 of the identity."""
    scheme = standard(3, 3, 3)
    e_x, e_w, d = (f.num.astype(np.int64) for f in scheme.factors)
    big = np.full((count, 9), 2)
    plus = Encoder.build(
        (3, 3, 3), np.vstack([big, e_x, big]), np.vstack([big * size // 4, e_w, big * size // 4]),
        np.hstack([np.ones((9, count), int), d, -np.ones((9, count), int)]),
    )  # fmt: skip
    assert verify(plus).holds
    wrong = plus.e_x.num.copy()
    wrong[count] *= 2
    assert not verify(Encoder.build((3, 3, 3), wrong, plus.e_w, plus.d)).holds


def test_a_bound_near_float64_is_proven_by_remainders():
    scheme = standard(2, 2, 2)
    e_x, e_w, d = (f.num.astype(object) for f in scheme.factors)
    big = np.full((4, 4), 2**20, dtype=object)
    plus = Encoder.build(
        (2, 2, 2), np.vstack([big, e_x, big]), np.vstack([big, e_w, big]),
        np.hstack([np.full((4, 4), 2**13, dtype=object), d, np.full((4, 4), -(2**13), dtype=object)]),
    )  # fmt: skip
    report = verify(plus)
    assert report.holds and "remainders" in report.method
