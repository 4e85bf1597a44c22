"""More digits, recognition of numbers, and rationalisation that stays close to the numerical solution."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from flint import fmpz
from hypothesis import given, settings
from hypothesis import strategies as st

from search.exact.digits import (
    BITS,
    minimal_polynomial,
    polynomial_text,
    quadratic_field,
    quadratic_from_digits,
    rational_from_digits,
    refine,
)
from search.exact.polish import polish
from search.exact.rational import rationalise
from search.exact.snap import PROFILES, Profile, _recognise, pin_vectors, snap
from search.exact.system import BrentSystem
from search.exact.tying import free_tying
from search.lm import Free, minimise
from stl_algebra import Encoder, schemes, target
from stl_algebra.scores import kappa2


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**30), 10**30), st.integers(1, 10**30))
def test_rationals_are_read_from_digits(p, q):
    wanted = Fraction(p, q)
    assert rational_from_digits(round(wanted * (1 << BITS))) == wanted


def test_irrationals_are_not_taken_for_rationals():
    assert rational_from_digits(isqrt(2 << (2 * BITS))) is None
    assert _recognise(2**0.5, 1e-9, 720) is None and _recognise(-0.375, 1e-9, 720) == Fraction(-3, 8)


@pytest.mark.parametrize(
    "value, polynomial",
    [
        (isqrt(2 << (2 * BITS)), [-2, 0, 1]),
        (((1 << BITS) + isqrt(5 << (2 * BITS))) // 2, [-1, -1, 1]),
        (5 << (BITS - 1), [-5, 2]),
    ],
)
def test_minimal_polynomials(value, polynomial):
    assert minimal_polynomial(value) == polynomial


def test_random_numbers_have_no_minimal_polynomial():
    digits = int.from_bytes(np.random.default_rng(0).bytes(BITS // 8), "little")
    assert minimal_polynomial(digits) is None


def test_polynomials_as_text():
    assert polynomial_text([-1, -1, 1]) == "x^2 - x - 1"
    assert polynomial_text([3, 0, -2]) == "-2x^2 + 3"
    assert polynomial_text([0]) == "0"


def test_refinement_recovers_exact_unknowns():
    encoder = schemes.laderman()
    model = BrentSystem(encoder.target.dense(), free_tying((9, 9, 9), 23))
    x, w, d = encoder.floats()
    truth = np.concatenate([x.ravel(), w.ravel(), d.T.ravel(), np.ones(23)])
    exact = [Fraction(int(v)) for v in truth[: 2 * 9 * 23]] + [None] * (9 * 23) + [Fraction(1)] * 23
    noisy = truth + 1e-9 * np.array([0 if v is not None else 1 for v in exact])
    digits = refine(model, noisy, exact)
    assert digits is not None
    assert all(abs(v - (int(t) << BITS)) < 1 << 64 for v, t in zip(digits, truth, strict=True))


def test_irrational_solutions_are_explained():
    # Q[t]/(t³ − 3t + 1) ⊗ R splits: one decomposition of rank 3 up to scale, evaluation at the three real roots
    target = np.zeros((3, 3, 3))
    power = [np.eye(3)[k] for k in range(3)] + [np.array([-1.0, 3, 0]), np.array([0.0, -1, 3])]
    for i, j in np.ndindex(3, 3):
        target[i, j] = power[i + j]
    x = np.vander(np.roots([1, 0, -3, 1]).real, 3, increasing=True)
    d = np.linalg.inv(x)
    report = rationalise(target, x, x, d, ring="Q(sqrt)", seconds=5)
    assert not report.success and report.e_x is None and "irrational" in report.reason
    model = BrentSystem(target, free_tying((3, 3, 3), 3))
    theta = np.concatenate([x.ravel(), x.ravel(), d.T.ravel(), np.ones(3)])
    theta, pinned = pin_vectors(model, theta)
    done = snap(model, theta, pinned, np.random.default_rng(0), np.inf, PROFILES[0])
    assert done.unknown and not done.field and "irrational" in done.reason and "x^3" in done.reason


def test_grid_stays_close_to_the_numerical_solution():
    encoder = schemes.hopcroft()
    x, w, d = encoder.floats()
    rng = np.random.default_rng(4)
    model = BrentSystem(encoder.target.dense(), free_tying(encoder.target.shape, 15))
    theta = np.concatenate([x.ravel(), w.ravel(), d.T.ravel(), np.ones(15)])
    free = np.arange(theta.size) < model.size
    theta, size = polish(model, theta + 0.05 * rng.standard_normal(theta.size) * free, free)
    assert size < 1e-12
    factors = (*model.split(theta)[:2], model.split(theta)[2].T)
    report = rationalise(encoder.target.dense(), *factors, grid=8, seconds=20)
    assert report.success, report.reason
    near = Encoder.build(encoder.format, report.e_x, report.e_w, (report.d, report.den), ring=report.ring)
    assert near.is_exact and kappa2(near) > 1


def test_profiles():
    grid = Profile(1, 1, 1, 0.0, grid=4)
    assert grid.values(np.array([0.3, -0.9])).tolist() == [[0.25], [-1.0]]
    assert grid.exact(0.25) == Fraction(1, 4) and PROFILES[0].exact(0.5) == Fraction(1, 2)
    assert len(PROFILES[0].weights) == PROFILES[0].values(np.zeros(2)).shape[1]


SMALL = st.fractions(-1000, 1000, max_denominator=10**4)


@settings(max_examples=30, deadline=None)
@given(SMALL, SMALL.filter(bool), st.sampled_from([2, 3, 5, 13]))
def test_quadratic_numbers_are_read_from_digits(p, q, d):
    value = round((p + q * Fraction(isqrt(d << (2 * BITS)), 1 << BITS)) * (1 << BITS))
    assert quadratic_from_digits(value, d) == (p, q)


def test_what_is_no_quadratic_number_is_refused():
    cube_root = int(fmpz(2 << (3 * BITS)).root(3))
    assert quadratic_from_digits(cube_root, 2) is None
    assert quadratic_field([-2, 0, 0, 1]) == 0 and quadratic_field([1, 0, 1]) == 0 and quadratic_field([-1, -1, 1]) == 5


@pytest.mark.parametrize("ring", ["Q(sqrt(2))", "Q(sqrt(5))"])
def test_irrational_algorithms_become_exact_over_their_field(ring):
    """Q(√d) ⊗ R splits: its multiplication has rank 2, but only over Q(√d)."""
    goal, rank = target(f"field:{ring}"), 2
    found = minimise(goal, Free(goal, rank), 8, 100, seed=1)
    report = rationalise(goal.dense(), *found.factors(found.best), ring="Q(sqrt)")
    assert report.success and report.ring == ring
    encoder = Encoder.build(goal, report.e_x, report.e_w, (report.d, report.den), ring=report.ring)
    assert encoder.is_exact and encoder.rank == rank
    refused = rationalise(goal.dense(), *found.factors(found.best), ring="Q")
    assert not refused.success and ring in refused.reason
