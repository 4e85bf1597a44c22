"""Moves between rings are homomorphisms: they keep identities, commute with the algebra, or are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import Encoder, StlError, ring, verify
from stl_algebra.conversions import common_ring
from stl_algebra.restriction import restrict_scalars
from stl_algebra.schemes import hopcroft, karatsuba, laderman, standard, strassen, toom_cook, winograd

seeds = st.integers(0, 10**9)
GOALS = ["Z", "Z[1/2]", "Q", "Q(i)", "Q(zeta_3)", "Q(zeta_8)", "Q(sqrt(5))", "GF(2)", "GF(7)", "GF(2^3)", "GF(7^2)"]


@pytest.mark.parametrize("name", GOALS)
def test_identities_hold_in_every_ring(name):
    for e in (strassen(), hopcroft(), laderman(), karatsuba(3)):
        moved = e.to_ring(name)
        assert moved.ring.name == name and verify(moved)
        assert not verify(e.drop_terms([0]).to_ring(name))


def in_field(name, seed):
    """An exact encoder over a number field: Strassen with terms scaled by field elements of product 1."""
    base, rng = ring(name), np.random.default_rng(seed)
    e = strassen().to_ring("Q").to_ring(name)
    factors = [f.num.astype(object) for f in e.factors]
    unit = np.zeros(base.degree, dtype=object)
    unit[1] = 1
    power = unit  # the inverse of x in Q[x]/(f) is −(f − f₀)/(x f₀)
    inverse = np.array([-c for c in base.polynomial[1:]], dtype=object)
    scale = base.polynomial[0]
    for l in range(e.rank):
        if rng.integers(2):
            factors[0][l] = base.multiply(factors[0][l], power)
            factors[2][:, l] = base.multiply(factors[2][:, l], inverse)
        else:
            factors[2][:, l] = factors[2][:, l] * scale
    return Encoder.build(
        e.target, factors[0], factors[1], (factors[2], abs(scale)) if scale > 0 else (-factors[2], -scale), ring=name
    )


@pytest.mark.parametrize("name", ["Q(i)", "Q(zeta_3)", "Q(zeta_5)", "Q(sqrt(3))", "Q(sqrt(-2))"])
@pytest.mark.parametrize("seed", range(3))
def test_restriction_of_scalars_proves(name, seed):
    e = in_field(name, seed)
    assert verify(e)
    real = restrict_scalars(e)
    assert real.ring.name == "Q" and verify(real) and real.rank == e.rank * (2 * e.ring.degree - 1)
    assert not verify(restrict_scalars(e.drop_terms([2])))
    num = e.d.num.astype(object)
    num[0, 0, -1] += 1
    bad = Encoder.build(e.target, e.e_x, e.e_w, (num, e.d.den), ring=name)
    assert not verify(bad) and not verify(restrict_scalars(bad))


def test_restriction_of_scalars_needs_a_number_field():
    for name in ("Q", "GF(2^2)", "C128"):
        with pytest.raises(StlError, match="number field"):
            restrict_scalars(strassen().to_ring(name))


@pytest.mark.parametrize(("name", "p"), [("Q(i)", 5), ("Q(zeta_3)", 7), ("Q(zeta_5)", 11), ("Q(sqrt(3))", 13)])
def test_reduction_sends_x_to_a_root(name, p):
    e = in_field(name, 1)
    assert verify(e.to_ring(f"GF({p})"))
    with pytest.raises(StlError, match="root"):
        e.to_ring({5: "GF(3)", 7: "GF(5)", 11: "GF(3)", 13: "GF(5)"}[p])


@pytest.mark.parametrize(
    ("small", "large"), [("Q(i)", "Q(zeta_8)"), ("Q(zeta_3)", "Q(zeta_12)"), ("Q(i)", "Q(zeta_12)")]
)
def test_cyclotomic_fields_embed(small, large):
    e = in_field(small, 2)
    moved = e.to_ring(large)
    assert verify(moved)
    for f, g in zip(e.floats(), moved.floats(), strict=True):
        assert np.allclose(f, g)


@pytest.mark.parametrize("goal", ["GF(2)", "GF(7)", "Q(i)", "Q"])
@given(seed=seeds)
def test_conversion_commutes_with_the_algebra(goal, seed):
    rng = np.random.default_rng(seed)
    one, two = ([strassen, winograd, hopcroft, lambda: standard(1, 2, 1)][i]() for i in rng.integers(0, 4, 2))
    one = one.drop_terms([0])
    assert one.kron(two).to_ring(goal) == one.to_ring(goal).kron(two.to_ring(goal))
    assert one.rotate().to_ring(goal) == one.to_ring(goal).rotate()
    assert one.transpose().to_ring(goal) == one.to_ring(goal).transpose()
    assert one.direct_sum(one).to_ring(goal) == one.to_ring(goal).direct_sum(one.to_ring(goal))


def test_a_wrong_root_would_be_seen(monkeypatch):
    from stl_algebra import conversions

    monkeypatch.setattr(conversions, "_root_modulo", lambda base, p: 1)
    with pytest.raises(AssertionError):
        test_reduction_sends_x_to_a_root("Q(i)", 5)


def test_round_trips():
    for name in ("Q", "Z[1/2]", "Q(i)", "Q(sqrt(2))"):
        assert strassen().to_ring(name).to_ring("Z") == strassen()
    assert strassen().to_ring("GF(3)").to_ring("GF(3)") == strassen().to_ring("GF(3)")


def test_floats_approximate():
    e = in_field("Q(sqrt(3))", 0)
    assert verify(e.to_ring("R64")).residual < 1e-12 and verify(e.to_ring("C128")).residual < 1e-12
    assert verify(in_field("Q(i)", 0).to_ring("C128")).residual < 1e-12


BORDER = Encoder.build((1, 1, 1), [[[1, 0]]], [[[1, 0]]], [[[0, 1]]], ring="Q[eps]/eps^2")


@pytest.mark.parametrize(
    ("make", "goal"),
    [
        (lambda: toom_cook(3, 3), "Z"),
        (lambda: toom_cook(3, 2), "GF(2)"),
        (lambda: toom_cook(3, 3), "Z[1/2]"),
        (lambda: strassen().to_ring("GF(2)"), "Z"),
        (lambda: strassen().to_ring("GF(2)"), "GF(3)"),
        (lambda: strassen().to_ring("GF(2^2)"), "GF(2)"),
        (lambda: strassen().to_ring("R64"), "Q"),
        (lambda: in_field("Q(i)", 1), "R64"),
        (lambda: in_field("Q(i)", 1), "Q"),
        (lambda: in_field("Q(i)", 1), "Q(sqrt(2))"),
        (lambda: in_field("Q(zeta_3)", 1), "Q(i)"),
        (lambda: strassen().to_ring("GF(2)"), "R64"),
        (lambda: BORDER, "Q"),
        (lambda: BORDER, "GF(2)"),
        (lambda: strassen(), "nothing"),
    ],
)
def test_what_is_no_homomorphism_is_refused(make, goal):
    with pytest.raises(StlError, match="expected"):
        make().to_ring(goal)


@pytest.mark.parametrize(
    ("one", "two", "common"),
    [
        ("Z", "Q", "Q"),
        ("Z[1/2]", "Z", "Z[1/2]"),
        ("Q", "Q(i)", "Q(i)"),
        ("Q(i)", "Q(zeta_3)", "Q(zeta_12)"),
        ("Z", "GF(2)", "GF(2)"),
        ("GF(2)", "GF(2^3)", "GF(2^3)"),
        ("Q", "R64", "R64"),
        ("Q(i)", "R64", "C128"),
        ("C128", "R64", "C128"),
        ("Q", "Q", "Q"),
        ("GF(2)", "Q", None),
        ("GF(2)", "GF(3)", None),
        ("Q(sqrt(2))", "Q(i)", None),
        ("GF(2)", "R64", None),
        ("GF(2^2)", "GF(2^3)", None),
    ],
)
def test_common_rings(one, two, common):
    for a, b in ((one, two), (two, one)):
        if common is None:
            with pytest.raises(StlError, match="common"):
                common_ring(ring(a), ring(b))
        else:
            assert common_ring(ring(a), ring(b)).name == common
