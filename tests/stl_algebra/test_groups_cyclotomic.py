"""Exact cyclotomic arrays: field laws against complex numbers, Galois maps, printing, linear algebra."""

from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import StlError
from stl_algebra.groups import Cyclotomic, format_number
from stl_algebra.groups.cyclotomic import cyclotomic_polynomial, totient
from stl_algebra.groups.linalg import inverse, nullspace, row_basis, solve
from stl_algebra.groups.realforms import square_root

conductors = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 21, 30])


@st.composite
def arrays(draw, shape=(3,), size=50):
    n = draw(conductors)
    num = draw(
        st.lists(
            st.integers(-size, size),
            min_size=int(np.prod(shape)) * totient(n),
            max_size=int(np.prod(shape)) * totient(n),
        )
    )
    return Cyclotomic(np.array(num).reshape(*shape, totient(n)), n, draw(st.integers(1, 12)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 12, 15, 30, 105])
def test_cyclotomic_polynomial_against_sympy(n):
    x = sympy.symbols("x")
    expected = sympy.Poly(sympy.cyclotomic_poly(n, x), x).all_coeffs()[::-1]
    assert list(cyclotomic_polynomial(n)) == [int(c) for c in expected]


@given(arrays(), arrays(), arrays())
@settings(max_examples=60, deadline=None)
def test_ring_laws_and_complex_view(a, b, c):
    assert (a + b) * c == a * c + b * c
    assert (a * b) * c == a * (b * c)
    assert np.allclose((a * b - c).complex(), a.complex() * b.complex() - c.complex(), rtol=1e-9, atol=1e-6)
    assert np.allclose(a.conj().complex(), a.complex().conj())
    assert (a * b).conj() == a.conj() * b.conj()
    small = a.minimal()
    assert small == a and small.conductor <= a.conductor and a.conductor % small.conductor == 0
    assert np.array_equal(small.lift(a.conductor).num * (a.den // small.den), a.num)
    re, im = a.real_imag()
    assert re.is_real and im.is_real and re + im * Cyclotomic.roots_of_unity(np.array(1), 4) == a


@given(arrays(shape=(2, 3)), arrays(shape=(3, 2)))
@settings(max_examples=30, deadline=None)
def test_matmul_matches_sum_of_products(a, b):
    slow = (a.reshape(2, 3, 1) * b.reshape(1, 3, 2)).sum(1)
    assert a @ b == slow


def test_huge_integers_stay_exact():
    big = Cyclotomic(np.array([[10**30, 1], [3, -(10**25)]], dtype=object), 3)
    product = big * big
    # (x + y ζ)² = x² - y² + (2xy - y²) ζ
    assert [int(v) for v in product.num[0]] == [10**60 - 1, 2 * 10**30 - 1]
    medium = Cyclotomic(np.array([[2**40, 2**40]]), 3)
    assert [int(v) for v in (medium * medium).num[0]] == [0, 2**80]
    assert [int(v) for v in (medium.reshape(1, 1) @ medium.reshape(1, 1)).num[0, 0]] == [0, 2**80]


@pytest.mark.parametrize(("exponents", "n", "text"), [
    ([0], 1, "1"), ([1], 4, "i"), ([1], 3, "(-1+i√3)/2"), ([1, 4], 5, "(-1+√5)/2"), ([2, 3], 5, "(-1-√5)/2"),
    ([1, 3], 8, "i√2"), ([1, 7], 8, "√2"), ([1], 12, "ζ12"), ([3], 6, "-1"), ([1, 2, 4], 7, "(-1+i√7)/2"),
])  # fmt: skip
def test_format(exponents, n, text):
    assert format_number(Cyclotomic.roots_of_unity(np.array(exponents), n).sum(0)) == text


@pytest.mark.parametrize("value", [Fraction(2), Fraction(3), Fraction(12, 7), Fraction(30), Fraction(49)])
def test_square_roots_by_gauss_sums(value):
    root = square_root(value)
    assert root * root == value
    assert root.complex().real > 0


def test_linear_algebra():
    rng = np.random.default_rng(0)
    for n in (1, 3, 5, 8):
        m = Cyclotomic(rng.integers(-3, 4, size=(4, 4, totient(n))), n, 2)
        assert m @ inverse(m) == np.eye(4, dtype=int)
        low = Cyclotomic(rng.integers(-3, 4, size=(4, 2, totient(n))), n)
        wide = low @ low.transpose()
        kernel = nullspace(wide)
        assert kernel.shape == (2, 4) and not np.any((wide @ kernel.transpose()).num)
        assert len(row_basis(wide)) == 2
        assert solve(low.transpose(), wide) @ low.transpose() == wide
    with pytest.raises(StlError, match="invertible"):
        inverse(Cyclotomic.rational(np.ones((2, 2), dtype=int)))
    with pytest.raises(StlError, match="span"):
        solve(Cyclotomic.rational(np.array([[1, 0]])), Cyclotomic.rational(np.array([[1, 1]])))


def test_refusals():
    with pytest.raises(StlError, match="trailing axis"):
        Cyclotomic(np.zeros((2, 3)), 5)
    with pytest.raises(StlError, match="prime to"):
        Cyclotomic.rational(np.array([1])).lift(6).galois(2)
    with pytest.raises(StlError, match="rational"):
        Cyclotomic.roots_of_unity(np.array([1]), 3).fractions()
