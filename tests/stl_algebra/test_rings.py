"""Rings: one description serves all; arithmetic agrees with other programs' arithmetic, refusals are clear and fast."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import StlError, ring, rings
from stl_algebra.rings import as_exact, fit, max_abs

NAMES = [
    "Z",
    "Z[1/2]",
    "Q",
    "Q(i)",
    "Q(zeta_3)",
    "Q(zeta_5)",
    "Q(zeta_12)",
    "Q(sqrt(3))",
    "Q(sqrt(-2))",
    "GF(2)",
    "GF(7)",
    "GF(2^2)",
    "GF(2^8)",
    "GF(3^3)",
    "Q[eps]/eps^3",
    "R64",
    "C128",
]
EXACT = [n for n in NAMES if ring(n).exact]


def elements(name, count, seed, size=9):
    base = ring(name)
    shape = (count, base.degree) if base.degree > 1 else (count,)
    values = np.random.default_rng(seed).integers(-size, size + 1, shape)
    return base.reduce(values)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_parsed_back(name):
    assert ring(ring(name).name) == ring(name) and ring(ring(name)) is ring(name)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("GF(4)", "GF(2^2)"),
        ("Q(zeta_4)", "Q(i)"),
        ("Q(zeta3)", "Q(zeta_3)"),
        ("Q(√3)", "Q(sqrt(3))"),
        ("Q(zeta_2)", "Q"),
        ("Q(sqrt(-1))", "Q(i)"),
        ("GF(27)", "GF(3^3)"),
        ("Q(ζ_5)", "Q(zeta_5)"),
    ],
)
def test_other_spellings(written, canonical):
    assert ring(written).name == canonical


@pytest.mark.parametrize(
    "name",
    [
        "",
        "X",
        "GF(6)",
        "GF(1)",
        "GF(0)",
        "GF(33554467)",
        "GF(2^65)",
        "GF(4^40)",
        "GF(33554393^2)",
        "Q(zeta_0)",
        "Q(zeta_1001)",
        "Q(zeta_997)",
        "Q(sqrt(4))",
        "Q(sqrt(0))",
        "Q(sqrt(1))",
        "Q[eps]/eps^0",
        "Q[eps]/eps^65",
        "Z\n",
        "Q(sqrt(99999999999999999999999999999999977))",
        "GF(2^99999999999999999999)",
        "9" * 5000,
        "__import__('os')",
        None,
        7,
        ["Z"],
    ],
)
def test_refused_names_say_what_is_possible(name):
    with pytest.raises(StlError) as caught:
        ring(name)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_ring_axioms(name, seed):
    base = ring(name)
    a, b, c = (elements(name, 6, seed + i) for i in range(3))
    assert (base.multiply(a, b) == base.multiply(b, a)).all()
    assert (base.multiply(base.multiply(a, b), c) == base.multiply(a, base.multiply(b, c))).all()
    total = base.reduce(base.multiply(a, b) + base.multiply(a, c))
    assert (base.multiply(a, base.reduce(b + c)) == total).all()
    one = np.eye(base.degree, dtype=np.int64)[0] if base.degree > 1 else np.int64(1)
    assert (base.multiply(a, one) == a).all()


def check_embedding(name, seed=0):
    base = ring(name)
    a, b = elements(name, 20, seed), elements(name, 20, seed + 1)
    assert np.allclose(base.values(base.multiply(a, b), 6), base.values(a, 2) * base.values(b, 3))


@pytest.mark.parametrize("name", [n for n in EXACT if ring(n).embeds])
@pytest.mark.parametrize("seed", range(3))
def test_embedding_is_a_homomorphism(name, seed):
    check_embedding(name, seed)


def test_a_wrong_reduction_would_be_seen(monkeypatch):
    right = rings._structure

    def wrong(f):  # forgets the carry: x^k = 0 instead of −(f − x^k)
        m = right(f).copy()
        m[-1, -1] = 0
        return m

    monkeypatch.setattr(rings, "_structure", wrong)
    with pytest.raises(AssertionError):
        check_embedding("Q(i)")


@pytest.mark.parametrize(("p", "k"), [(2, 2), (2, 8), (3, 3)])
def test_finite_fields_against_galois(p, k):
    import galois

    field, base = galois.GF(p**k), ring(f"GF({p}^{k})")
    assert tuple(int(c) for c in field.irreducible_poly.coeffs[::-1]) == base.polynomial
    a, b = elements(base.name, 50, 1), elements(base.name, 50, 2)
    weights = p ** np.arange(k)
    product = field((a @ weights).tolist()) * field((b @ weights).tolist())
    assert (base.multiply(a, b) @ weights == np.array(product)).all()


@given(st.lists(st.integers(-(10**40), 10**40), min_size=4, max_size=4))
def test_big_integers_do_not_wrap(v):
    a, b = np.array([v[:2]], dtype=object), np.array([v[2:]], dtype=object)
    got = ring("Q(i)").multiply(fit(a), fit(b))[0]
    assert [int(x) for x in got] == [v[0] * v[2] - v[1] * v[3], v[0] * v[3] + v[1] * v[2]]


@given(st.lists(st.fractions(), min_size=1, max_size=6))
def test_as_exact_keeps_every_value(values):
    num, den = as_exact(values)
    assert [Fraction(int(n), den) for n in num] == values
    again, den2 = as_exact([str(v) for v in values])
    assert den2 == den and (again == num).all()


@pytest.mark.parametrize("edge", [2**62 - 1, 2**62, -(2**62), 2**63 - 1, -(2**63), 2**63, 10**30])
def test_wide_integers_become_python_integers(edge):
    arrays = [np.array([edge], dtype=object)]
    arrays += [np.array([edge], dtype=np.int64)] if -(2**63) <= edge < 2**63 else []
    arrays += [np.array([edge], dtype=np.uint64)] if 0 <= edge < 2**64 else []
    for a in arrays:
        num, den = as_exact(a)
        assert den == 1 and int(num[0]) == edge and max_abs(num) == abs(edge)
        assert num.dtype == (np.int64 if abs(edge) < 2**62 else object)


@pytest.mark.parametrize(
    "values",
    [
        [0.5],
        [float("nan")],
        [[1, 2], [3]],
        ["1/0"],
        ["x"],
        ["1e999999999"],
        ["__import__('os')"],
        [None],
        [1j],
        [[1], None],
        {},
    ],
)
def test_as_exact_refuses_what_is_not_exact(values):
    with pytest.raises(StlError, match="expected"):
        as_exact(values)


def test_values_of_huge_fractions_do_not_overflow():
    assert ring("Q").values(np.array([10**400], dtype=object), 3 * 10**400)[0] == pytest.approx(1 / 3)
    with pytest.raises(StlError, match="real or complex"):
        ring("GF(2)").values(np.array([1]), 1)


@pytest.mark.parametrize(
    ("name", "canonical", "polynomial"),
    [
        ("Q(sqrt(12))", "Q(sqrt(12))", (-12, 0, 1)),
        ("Q(sqrt(1000003))", "Q(sqrt(1000003))", (-1000003, 0, 1)),
        ("Q(sqrt(1000000000000000003))", "Q(sqrt(1000000000000000003))", (-1000000000000000003, 0, 1)),
        ("Q[x]/(x^2-3)", "Q(sqrt(3))", (-3, 0, 1)),
        ("Q[x]/(x^2 + 1)", "Q(i)", (1, 0, 1)),
        ("Q[x]/(x^3 - 2)", "Q[x]/(x^3-2)", (-2, 0, 0, 1)),
        ("Q[x]/(x-5)", "Q", (0, 1)),
        ("GF(2)[x]/(x^3+x+1)", "GF(2^3)", (1, 1, 0, 1)),
        ("GF(2)[x]/(x^3+x^2+1)", "GF(2)[x]/(x^3+x^2+1)", (1, 0, 1, 1)),
    ],
)
def test_rings_given_by_a_polynomial(name, canonical, polynomial):
    base = ring(name)
    assert base.name == canonical and base.polynomial == polynomial and ring(canonical) == base


@pytest.mark.parametrize(
    "name",
    ["Q[x]/(x^2-1)", "Q[x]/(2x^2-1)", "Q[x]/(x^3-x)", "Q[x]/()", "Q[x]/(xx)", "Q[x]/(x^33+x+1)", "Q[x]/(x^9999)",
     "GF(2)[x]/(x^2+1)", "GF(4)[x]/(x^2+x+1)", "Q[x]/(x^32+1073741823x^31+1)", "Q[x]/(y^2+1)"],
)  # fmt: skip
def test_reducible_or_unbounded_polynomials_are_refused(name):
    with pytest.raises(StlError):
        ring(name)


def test_rings_answer_for_themselves():
    assert [ring(n).is_complex for n in ("Q(sqrt(-3))", "Q(zeta_3)", "Q(i)", "C128", "Q[x]/(x^4+x+1)")] == [True] * 5
    assert [ring(n).is_complex for n in ("Q", "Q(sqrt(3))", "GF(4)", "Q[eps]/eps^2", "Q[x]/(x^3-2)")] == [False] * 5
    assert [ring(n).conductor for n in ("Z", "Q(i)", "Q(zeta_5)", "Q(sqrt(3))", "GF(5)", "Q[eps]/eps^3")] == [
        1, 4, 5, 0, 0, 0,
    ]  # fmt: skip
    assert ring("Q[eps]/eps^2").is_border and not ring("Q[eps]/eps^1").is_border and not ring("GF(4)").is_border
    assert ring("GF(4)").title == "GF(2^2) = GF(2)[x]/(x^2+x+1)" and ring("Q(i)").title == "Q(i)"
