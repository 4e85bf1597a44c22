"""Hensel lifting from GF(2): known liftable schemes lift, characteristic-2-only ones are told apart."""

import json
from pathlib import Path

import numpy as np
import pytest

from search.exact.hensel import _Elimination, _fraction, _jacobian, hensel_lift
from search.exact.solve import holds
from stl_algebra import StlError, schemes
from stl_algebra.targets import matmul


@pytest.mark.parametrize("name", ["strassen", "winograd", "laderman", "hopcroft"])
def test_named_schemes_come_back_over_z(name):
    encoder = getattr(schemes, name)()
    x, w, d = (f.num % 2 for f in encoder.factors)
    report = hensel_lift(encoder.target.dense(), x, w, d)
    assert report.success and report.ring == "Z", report.reason
    assert holds(encoder.target.dense(), report.e_x, report.e_w, report.d, 1)
    for lifted, given in zip((report.e_x, report.e_w, report.d), (x, w, d), strict=True):
        assert np.array_equal(lifted % 2, given)


def test_change_of_basis_modulo_2_lifts_too():
    encoder = schemes.strassen().to_ring("GF(2)").change_basis([[1, 1], [0, 1]], [[1, 0], [1, 1]], [[0, 1], [1, 1]])
    report = hensel_lift(encoder.target.dense(), *(f.num for f in encoder.factors))
    assert report.success, report.reason


def test_characteristic_two_only_is_recognised():
    # (a0 + a1)² over GF(2): the symmetric product a0·b1 + a1·b0 has rank 2 there by a trick that needs 2 = 0
    target = np.zeros((2, 2, 1), dtype=int)
    target[0, 0, 0] = target[1, 1, 0] = 1
    x = w = np.array([[1, 1]])
    d = np.array([[1]])
    target[0, 1, 0] = target[1, 0, 0] = 1
    assert hensel_lift(target, x, w, d).success
    target[0, 1, 0] = -1  # the same modulo 2, but of rank 2 in characteristic 0
    report = hensel_lift(target, x, w, d)
    assert not report.success and "characteristic 2" in report.reason and report.e_x is None


def test_fractions_are_read_from_residues():
    third = (2**40 + 1) // 3 if (2**40 + 1) % 3 == 0 else (2 * 2**40 + 1) // 3
    assert str(_fraction(third)) == "1/3"
    assert str(_fraction(2**40 - 5)) == "-5"
    assert _fraction(3**24 % 2**40) is None


def test_elimination_against_brute_force():
    rng = np.random.default_rng(0)
    for rows, columns in [(5, 9), (70, 40), (64, 64), (130, 200)]:
        matrix = rng.random((rows, columns)) < 0.3
        system = _Elimination(matrix, rng.permutation(columns))
        wanted = matrix.astype(int) @ rng.integers(0, 2, columns) % 2
        found = system.solve(wanted)
        assert found is not None and np.array_equal(matrix.astype(int) @ found % 2, wanted)
        assert set(np.flatnonzero(found)) <= set(system.pivots)
    tall = _Elimination(np.ones((3, 1), dtype=bool), np.arange(1))
    assert tall.solve(np.array([1, 0, 1])) is None


def test_jacobian_modulo_2_against_differences():
    rng = np.random.default_rng(1)
    x, w, d = (rng.integers(0, 2, (3, k)) for k in (2, 3, 4))
    jac = _jacobian(x, w, d)
    theta = np.concatenate([x.ravel(), w.ravel(), d.ravel()])

    def value(t):
        u, v, z = t[:6].reshape(3, 2), t[6:15].reshape(3, 3), t[15:].reshape(3, 4)
        return np.einsum("la,lb,lc->abc", u, v, z).ravel()

    for i in range(theta.size):
        moved = theta.copy()
        moved[i] += 2
        assert np.array_equal(((value(moved) - value(theta)) // 2) % 2, jac[:, i])


def test_bad_input():
    encoder = schemes.strassen()
    x, w, d = (f.num for f in encoder.factors)
    with pytest.raises(StlError, match="modulo 2"):
        hensel_lift(encoder.target.dense(), x + 1, w, d)
    with pytest.raises(StlError, match="shapes"):
        hensel_lift(matmul(2, 2, 3).dense(), x, w, d)
    with pytest.raises(StlError, match="shapes"):
        hensel_lift(encoder.target.dense(), x, w[:5], d)


REFERENCE = Path(__file__).parents[1] / "vectors" / "reference_schemes" / "s444r47_alphatensor_GF2.json"


@pytest.mark.skipif(not REFERENCE.exists(), reason="reference scheme not in this checkout")
def test_rank_47_has_no_lift():
    table = json.loads(REFERENCE.read_text())
    x, w, d = np.array(table["u"]).T, np.array(table["v"]).T, np.array(table["w"])
    report = hensel_lift(matmul(4, 4, 4).dense(), x, w, d)
    assert not report.success and "characteristic 2" in report.reason
