"""The symbolic view multiplies out to the product, and says so only when it does."""

import numpy as np
import pytest
import sympy

from stl_algebra import Encoder, StlError, symbolic, verify
from stl_algebra.schemes import hopcroft, karatsuba, standard, strassen, toom_cook, winograd
from stl_algebra.symbolic import coefficients, expanded, formulas, proves_symbolically, symbols
from stl_algebra.targets import symmetric_square


def test_strassen_as_printed():
    lines = formulas(strassen()).splitlines()
    assert lines[0] == "m1 = (A_11 + A_22)·(B_11 + B_22)" and lines[5] == "m6 = (-A_11 + A_21)·(B_11 + B_12)"
    assert lines[7] == "C_11 = m1 + m4 - m5 + m7" and len(lines) == 11


def test_expansion_is_the_matrix_product():
    out = expanded(winograd())
    a, b, names = symbols(winograd())
    assert list(out) == names == ["C_11", "C_12", "C_21", "C_22"]
    assert out["C_12"] == a[0] * b[1] + a[1] * b[3] and out["C_12"] != b[1] * a[0] + b[3] * a[1]


@pytest.mark.parametrize(
    "make", [strassen, winograd, lambda: standard(1, 3, 2), lambda: karatsuba(3), lambda: toom_cook(3, 2)]
)
def test_proves_exactly_what_verify_proves(make):
    e = make()
    assert proves_symbolically(e) and verify(e)
    for l in range(e.rank):
        assert not proves_symbolically(e.drop_terms([l]))


def scaled(name, element, inverse):
    """Strassen over a number field with the first term scaled by an element and its inverse."""
    e = strassen().to_ring(name)
    x, d = e.e_x.num.astype(object), e.d.num.astype(object)
    x[0] = e.ring.multiply(x[0], np.array(element[0], dtype=object))
    d[:, 0] = e.ring.multiply(d[:, 0], np.array(inverse[0], dtype=object))
    d[:, 1:] *= element[1] * inverse[1]
    return Encoder.build(e.target, x, e.e_w, (d, element[1] * inverse[1]), ring=name)


@pytest.mark.parametrize(
    ("name", "element", "inverse"),
    [
        ("Q(i)", ([1, 1], 1), ([1, -1], 2)),
        ("Q(sqrt(3))", ([1, 1], 1), ([-1, 1], 2)),
        ("Q(sqrt(-2))", ([0, 1], 1), ([0, -1], 2)),
        ("Q(zeta_3)", ([1, 1], 1), ([0, -1], 1)),
        ("Q(zeta_5)", ([1, 1, 0, 0], 1), ([0, -1, 0, -1], 1)),
    ],
)
def test_number_fields(name, element, inverse):
    e = scaled(name, element, inverse)
    assert verify(e) and proves_symbolically(e)
    assert not proves_symbolically(e.drop_terms([0]))


def test_quadratic_products_commute():
    goal = symmetric_square(2, 1)  # (a², ab, b²)
    e = Encoder.build(goal, [[1, 0], [0, 1], [1, 0]], [[1, 0], [1, 0], [0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert not proves_symbolically(e) and not verify(e)
    good = Encoder.build(goal, [[1, 0], [0, 1], [0, 1]], [[1, 0], [1, 0], [0, 1]], np.eye(3, dtype=int))
    assert proves_symbolically(good) and verify(good)


def test_border_identities():
    good = Encoder.build((1, 1, 1), [[[1, 0]]], [[[1, 0]]], [[[0, 1]]], ring="Q[eps]/eps^2")
    assert verify(good) and proves_symbolically(good)
    bad = Encoder.build((1, 1, 1), [[[1, 0]]], [[[1, 0]]], [[[1, 1]]], ring="Q[eps]/eps^2")
    assert not verify(bad) and not proves_symbolically(bad)


def test_coefficients_are_exact():
    e = toom_cook(3, 3)
    x, _, d = coefficients(e)
    assert all(isinstance(v, sympy.Rational) for v in np.ravel(x)) and sympy.Rational(1, 2) in d
    for name in ("R64", "GF(2)"):
        with pytest.raises(StlError, match="characteristic 0"):
            formulas(strassen().to_ring(name))


def test_commuting_symbols_would_be_seen(monkeypatch):
    """With commuting symbols B·A would pass for A·B; the check of order must go red."""
    right = symbolic.symbols

    def commuting(encoder):
        a, b, c = right(encoder)
        return [sympy.Symbol(str(v)) for v in a], [sympy.Symbol(str(v)) for v in b], c

    def check():
        a, b, _ = symbolic.symbols(hopcroft())
        assert a[0] * b[0] != b[0] * a[0]

    check()
    monkeypatch.setattr(symbolic, "symbols", commuting)
    with pytest.raises(AssertionError):
        check()
