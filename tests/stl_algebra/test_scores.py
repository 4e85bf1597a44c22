"""Closed forms against textbook values, laws and Monte Carlo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import Encoder, StlError, scores
from stl_algebra.schemes import hopcroft, karatsuba, laderman, simplex, standard, strassen, winograd
from stl_algebra.scores import (
    additions,
    epsilon2,
    expansion,
    flop_ratio,
    kappa2,
    monte_carlo_epsilon2,
    monte_carlo_rounding,
    predicted_error2,
    round_to,
    score,
    unit_rounding2,
)
from stl_algebra.targets import symmetric_square

seeds = st.integers(0, 10**9)


def test_textbook_values():
    assert kappa2(strassen()) == 4 and kappa2(winograd()) == 7
    assert kappa2(strassen().kron(strassen())) == 16
    assert flop_ratio(strassen()) == 8 / 7 and expansion(strassen()) == 7 / 4
    for n, m, p in ((1, 1, 1), (2, 3, 4), (4, 4, 4)):
        e = standard(n, m, p)
        assert kappa2(e) == 1 and flop_ratio(e) == 1 and epsilon2(e) == 0 and expansion(e) == p
    for e in (strassen(), laderman(), simplex(3)):
        assert epsilon2(e) == 0.0


def test_additions_of_the_textbooks():
    assert additions(strassen()).total == 18
    assert additions(winograd()).naive == (7, 7, 10) and additions(winograd()).total_shared == 15
    assert additions(laderman()).total == 98 and additions(hopcroft()).total == sum(additions(hopcroft()).naive)
    assert additions(standard(2, 2, 2)).naive == (0, 0, 4) == additions(standard(2, 2, 2)).shared
    with pytest.raises(StlError, match="degree 1"):
        additions(strassen().to_ring("Q(i)"))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), seeds)
def test_the_naive_line(n, m, p, seed):
    e = standard(n, m, p)
    r = int(np.random.default_rng(seed).integers(0, e.rank + 1))
    assert epsilon2(e.keep_terms(range(r))) == pytest.approx(1 - r / (n * m * p))
    assert epsilon2(e.keep_terms(range(r)).to_ring("R64")) == pytest.approx(1 - r / (n * m * p))


@given(seeds)
def test_energies_and_amplifications_multiply(seed):
    rng = np.random.default_rng(seed)
    one = standard(2, 2, 1).drop_terms([int(rng.integers(4))])
    two = standard(1, 2, 3).drop_terms(rng.permutation(6)[:3].tolist())
    both = one.kron(two)
    assert 1 - epsilon2(both) == pytest.approx((1 - epsilon2(one)) * (1 - epsilon2(two)))
    a, b = strassen().change_basis([[1, 2], [0, 1]], [[1, 0], [1, 1]], [[1, 0], [0, 1]]), hopcroft()
    assert kappa2(a.kron(b)) == pytest.approx(kappa2(a) * kappa2(b))
    for turned in (b.rotate(), b.transpose()):
        assert kappa2(turned) == pytest.approx(kappa2(b))


def random_real(seed, n=2, m=2, p=2, r=5):
    rng = np.random.default_rng(seed)
    return Encoder.build(
        (n, m, p), *(rng.standard_normal(s) / 2 for s in ((r, n * m), (r, m * p), (n * p, r))), ring="R64"
    )


def check_epsilon(e, seed):
    assert monte_carlo_epsilon2(e, 40_000, seed) == pytest.approx(epsilon2(e), rel=0.08)


@settings(max_examples=8)
@given(seeds)
def test_epsilon_is_what_monte_carlo_measures(seed):
    check_epsilon(random_real(seed), seed)
    check_epsilon(strassen().drop_terms([seed % 7]), seed)
    dense = random_real(seed, 1, 2, 3)
    x, w, d = dense.floats()
    gap = np.einsum("la,lb,cl->abc", x, w, d) - dense.target.dense()
    assert epsilon2(dense) == pytest.approx((gap**2).sum() / 6)


def test_a_wrong_epsilon_would_be_seen(monkeypatch):
    monkeypatch.setattr(scores, "epsilon2", lambda e: 1 - e.rank / e.target.norm2)
    with pytest.raises(AssertionError):
        assert monte_carlo_epsilon2(random_real(1), 40_000) == pytest.approx(scores.epsilon2(random_real(1)), rel=0.08)


@settings(max_examples=5)
@given(seeds)
def test_quadratic_targets_have_their_own_closed_form(seed):
    """A·Aᵀ with Gaussian A: fourth moments enter through the trace."""
    goal, rng = symmetric_square(2, 2), np.random.default_rng(seed)
    e = Encoder.build(goal, *(rng.standard_normal(s) / 2 for s in ((4, 4), (4, 4), (3, 4))), ring="R64")
    assert monte_carlo_epsilon2(e, 100_000, seed) == pytest.approx(epsilon2(e), rel=0.1)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "tf32", "fp8"])
@pytest.mark.parametrize("make", [strassen, winograd, laderman, lambda: strassen().kron(strassen())])
def test_rounding_is_what_monte_carlo_measures(make, dtype):
    e = make()
    measured = monte_carlo_rounding(e, dtype, tiles=24, samples=500)
    assert measured == pytest.approx(predicted_error2(e, dtype, products=dtype), rel=0.2)


def test_predictions_order_the_formats():
    e = strassen()
    errors = [predicted_error2(e, d) for d in ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8")]
    assert errors == sorted(errors)
    assert predicted_error2(e, "bf16") == pytest.approx(4 * 3 * unit_rounding2("bf16"))
    assert unit_rounding2("bf16") == pytest.approx(2.7e-6, rel=0.03)
    square = predicted_error2(e.kron(e), "bf16")
    assert square == pytest.approx(1.3e-4, rel=0.05)
    with pytest.raises(StlError, match="bf16"):
        predicted_error2(e, "int8")


@given(st.floats(-1e30, 1e30), st.sampled_from(["fp32", "bf16", "fp16", "fp8"]))
def test_round_to(x, dtype):
    rounded = float(round_to(np.array(x), dtype))
    bits = scores.PRECISION[dtype]
    assert abs(rounded - x) <= abs(x) * 2.0**-bits and float(round_to(np.array(rounded), dtype)) == rounded
    if dtype == "fp32" and abs(x) > 1e-30:
        assert rounded == float(np.float32(x))


def test_score_is_the_report():
    s = score(strassen())
    assert (s.label, s.ring, s.exact, s.epsilon2, s.kappa2) == ("⟨2,2,2;7⟩", "Z", True, 0.0, 4.0)
    assert s.total_bf16 == predicted_error2(strassen())


def test_complex_encoders_have_scores():
    e = karatsuba(2).to_ring("Q(i)")
    assert epsilon2(e) == 0 and kappa2(e) == kappa2(karatsuba(2))
    turned = Encoder.build(e.target, e.e_x, e.ring.multiply(e.e_w.num, np.array([0, 1])), e.d, ring="Q(i)")
    assert kappa2(turned) == kappa2(e) and epsilon2(turned) == pytest.approx(
        sum((np.abs(v) ** 2).sum() for v in [(1 - 1j) * e.target.dense()]) / e.target.norm2
    )
    for f in (epsilon2, kappa2):
        with pytest.raises(StlError, match="real or complex"):
            f(strassen().to_ring("GF(2)"))


def test_memory_of_epsilon_is_bounded():
    import tracemalloc

    e = standard(12, 12, 12).keep_terms(range(4)).to_ring("R64")
    tracemalloc.start()
    assert epsilon2(e) == pytest.approx(1 - 4 / 12**3)
    assert tracemalloc.get_traced_memory()[1] < 12**6 * 4
    tracemalloc.stop()
