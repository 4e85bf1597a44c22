"""Rationalisation: numerical solutions in random coordinates become proven exact ones, or say why not."""

import numpy as np
import pytest

from search.exact.gauge import apply_bases, matmul_format
from search.exact.polish import null_space, polish
from search.exact.rational import rationalise
from search.exact.solve import clear_terms, holds, third_factor
from search.exact.system import BrentSystem
from search.exact.tying import free_tying, tie
from stl_algebra import StlError, schemes
from stl_algebra.symmetry import action
from stl_algebra.targets import matmul, polymul


def disguised(encoder, rng, cyclic=False, noise=1e-3):
    """Return the encoder's float factors in random coordinates, with term scalings and noise."""
    n, m, p = encoder.format
    r = encoder.rank
    x, w, d = encoder.floats()
    mats = (x.reshape(r, n, m), w.reshape(r, m, p), d.T.reshape(r, n, p).swapaxes(1, 2))
    bases = [np.eye(k) + 0.4 * rng.standard_normal((k, k)) for k in (n, m, p)]
    if cyclic:
        bases = [bases[0]] * 3
    u, v, z = apply_bases(mats, tuple(bases))
    z = z.swapaxes(1, 2)
    if cyclic:
        noise = 0.0
    out = [f.reshape(r, -1) for f in (u, v, z)]
    out = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in out]
    size = np.prod([np.linalg.norm(f.reshape(r, -1), axis=1) for f in (u, v, z)], axis=0)
    out = [f * np.cbrt(size)[:, None] + noise * rng.standard_normal(f.shape) for f in out]
    return out[0], out[1], out[2].T


SHIFT = action("Z3", (2, 2, 2)).elements


def z3_tying():
    """Return the tying of Strassen's terms under the cyclic shift."""
    x, w, d = schemes.strassen().floats()
    return tie((x, w, d.T), SHIFT)[0]


@pytest.mark.parametrize("cyclic", [False, True])
def test_normal_equations_agree_with_differences(cyclic):
    rng = np.random.default_rng(3)
    tying = z3_tying() if cyclic else free_tying((4, 4, 4), 5)
    model = BrentSystem(matmul(2, 2, 2).dense(), tying)
    theta = rng.standard_normal(model.size + model.scales)
    idx = np.arange(theta.size)
    jac = np.array(
        [(model.residual(theta - h) - model.residual(theta + h)).ravel() / 2e-6 for h in 1e-6 * np.eye(theta.size)]
    )
    for h, g, res in (model.normal_equations(theta, idx), model._gram(theta, idx)):
        np.testing.assert_allclose(h, jac @ jac.T, atol=1e-6)
        np.testing.assert_allclose(g, jac @ res.ravel(), atol=1e-6)


def test_strassen_has_no_flat_directions_but_its_gauge():
    encoder = schemes.strassen()
    model = BrentSystem(encoder.target.dense(), free_tying((4, 4, 4), 7))
    x, w, d = encoder.floats()
    theta = np.concatenate([x.ravel(), w.ravel(), d.T.ravel(), np.ones(7)])
    free = np.arange(theta.size) < model.size
    assert null_space(model, theta, free)[1].shape[1] == 14 + 9  # scalings of 7 terms, three PGL_2


@pytest.mark.parametrize("seed", range(4))
def test_strassen_from_random_coordinates(seed):
    encoder = schemes.strassen()
    x, w, d = disguised(encoder, np.random.default_rng(seed))
    report = rationalise(encoder.target.dense(), x, w, d, ring="Z", seed=seed, seconds=10)
    assert report.success, report.reason
    assert report.ring == "Z" and report.den == 1
    assert holds(encoder.target.dense(), report.e_x, report.e_w, report.d, 1)


@pytest.mark.parametrize("name", ["laderman", "hopcroft"])
def test_larger_schemes_from_random_coordinates(name):
    encoder = getattr(schemes, name)()
    x, w, d = disguised(encoder, np.random.default_rng(5))
    report = rationalise(encoder.target.dense(), x, w, d, seconds=20)
    assert report.success, report.reason
    assert holds(encoder.target.dense(), report.e_x, report.e_w, report.d, report.den)


def test_cyclic_invariance_is_kept():
    encoder = schemes.strassen()
    x, w, d = disguised(encoder, np.random.default_rng(1), cyclic=True)
    report = rationalise(encoder.target.dense(), x, w, d, symmetry=SHIFT, ring="Z", seconds=10)
    assert report.success and report.invariant, report.reason
    dt = report.d.T.reshape(7, 2, 2).swapaxes(1, 2).reshape(7, 4)

    def tensors(a, b, c):
        return sorted(np.einsum("i,j,k->ijk", *t).ravel().tolist() for t in zip(a, b, c, strict=True))

    assert tensors(report.e_x, report.e_w, dt) == tensors(report.e_w, dt, report.e_x)


def test_other_targets_have_no_gauge_of_coordinates():
    target = polymul(2, 2)
    x = np.array([[1, 0], [0, 1], [1, 1]]) * np.array([[1.3], [0.7], [-0.4]])
    d = np.array([[1, 0, 0], [-1, -1, 1], [0, 1, 0]]) / np.array([1.69, 0.49, 0.16])
    report = rationalise(target.dense(), x, x, d, ring="Q", seconds=5)
    assert report.success, report.reason


def test_no_solution_is_reported_not_invented():
    rng = np.random.default_rng(0)
    report = rationalise(matmul(2, 2, 2).dense(), *(rng.standard_normal(s) for s in ((6, 4), (6, 4), (4, 6))))
    assert not report.success and report.e_x is None
    assert "does not converge" in report.reason


def test_terms_that_are_not_permuted_are_reported():
    encoder = schemes.laderman()
    report = rationalise(encoder.target.dense(), *encoder.floats(), symmetry=action("Z3", (3, 3, 3)).elements)
    assert not report.success and "no image under element" in report.reason


@pytest.mark.parametrize(
    "change, match",
    [
        ({"ring": "R"}, "ring"),
        ({"e_x": np.full((7, 4), np.nan)}, "e_x"),
        ({"d": np.zeros((7, 4))}, "d"),
        ({"target_dense": np.full((4, 4, 4), 0.5)}, "target_dense"),
    ],
)
def test_bad_input(change, match):
    encoder = schemes.strassen()
    x, w, d = encoder.floats()
    arguments = {"target_dense": encoder.target.dense(), "e_x": x, "e_w": w, "d": d} | change
    with pytest.raises(StlError, match=match):
        rationalise(**arguments)


def test_integer_proof_fails_for_any_changed_coefficient():
    encoder = schemes.strassen()
    target = encoder.target.dense()
    x, w, d = (f.num.copy() for f in encoder.factors)
    assert holds(target, x, w, d, 1)
    for f in (x, w, d):
        for place in np.ndindex(f.shape):
            f[place] += 1
            assert not holds(target, x, w, d, 1)
            f[place] -= 1
    big = 10**30
    assert holds(target, x.astype(object) * big, w, d, big)


def test_third_factor_is_solved_exactly():
    encoder = schemes.laderman()
    x, w, d = (f.num for f in encoder.factors)
    num, den = third_factor(encoder.target.dense(), 3 * x, w)
    assert den == 3 and np.array_equal(num, d)
    assert third_factor(encoder.target.dense(), np.ones_like(x), w) is None


def test_clear_terms_spreads_cubes():
    from fractions import Fraction as F

    x, w, d, den = clear_terms([[F(1), F(2)]], [[F(1), F(2)]], [[F(1), F(2)]], [F(-8)])
    assert x.tolist() == w.tolist() == d.T.tolist() == [[-2, -4]] and den == 1


def test_matmul_format_recognition():
    assert matmul_format(matmul(2, 3, 4).dense()) == (2, 3, 4)
    assert matmul_format(polymul(2, 2).dense()) is None


def test_polish_reports_the_residual_it_reached():
    encoder = schemes.strassen()
    model = BrentSystem(encoder.target.dense(), free_tying((4, 4, 4), 7))
    x, w, d = disguised(encoder, np.random.default_rng(2))
    theta = np.concatenate([x.ravel(), w.ravel(), d.T.ravel(), np.ones(7)])
    found, size = polish(model, theta, np.arange(theta.size) < model.size)
    assert size == np.abs(model.residual(found)).max() < 1e-13
