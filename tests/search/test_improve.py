"""Improving exact encoders: the results stay exact, and the costs are the ones known for Strassen's orbit."""

import json
from fractions import Fraction

import numpy as np
import pytest
from typer.testing import CliRunner

from search.bases.accuracy import (
    accurate_encoders,
    growth,
    growth_exponent,
    least_growth,
    most_accurate_bases,
    orbit_kappa2,
    proven_optimum,
    stacks,
)
from search.bases.additions import alternative_basis, sparsest
from search.improve import app, improve
from stl_algebra import StlError, schemes
from stl_algebra.files import load, save
from stl_algebra.scores import additions, kappa2
from stl_algebra.symmetry import equivalent


def test_gradient_of_kappa2():
    mats = stacks(schemes.hopcroft())
    rng = np.random.default_rng(0)
    bases = [np.eye(d) + 0.2 * rng.standard_normal((d, d)) for d in (3, 2, 3)]
    _, gradients = orbit_kappa2(mats, bases)
    for k in range(3):
        for place in np.ndindex(bases[k].shape):
            moved = [b.copy() for b in bases]
            moved[k][place] += 1e-6
            up = orbit_kappa2(mats, moved)[0]
            moved[k][place] -= 2e-6
            down = orbit_kappa2(mats, moved)[0]
            assert abs((up - down) / 2e-6 - gradients[k][place]) < 1e-4 * max(1, abs(gradients[k][place]))


def test_kappa2_here_is_kappa2_of_the_scores():
    encoder = schemes.laderman()
    assert orbit_kappa2(stacks(encoder), [np.eye(3)] * 3)[0] == pytest.approx(kappa2(encoder), rel=1e-12)


def test_least_kappa2_of_strassen_is_25_over_9():
    strassen, winograd = schemes.strassen(), schemes.winograd()
    for encoder in (strassen, winograd, strassen.change_basis([[3, 1], [1, 0]], [[1, 4], [0, 1]], [[1, 0], [2, 5]])):
        assert most_accurate_bases(stacks(encoder))[0] == pytest.approx(25 / 9, rel=1e-6)


def test_accurate_encoders_are_exact_and_descend():
    strassen = schemes.strassen()
    found = accurate_encoders(strassen)
    values = [f.kappa2 for f in found]
    assert values == sorted(values, reverse=True) and values[-1] < 25 / 9 * 1.001
    for f in found:
        assert f.encoder.is_exact and f.encoder.origin["parents"] == [strassen.digest]
        assert kappa2(f.encoder) == pytest.approx(f.kappa2)


def test_accurate_encoders_are_dyadic():
    for f in accurate_encoders(schemes.strassen(), 1e-2):
        assert f.encoder.ring.name in ("Z", "Z[1/2]")
        assert all(x.den & (x.den - 1) == 0 for x in f.encoder.factors)


def test_the_infimum_is_proven():
    dense = schemes.strassen().change_basis([[2, 1], [1, 1]], [[1, 3], [0, 1]], [[1, -1], [2, -1]])
    for encoder in (schemes.strassen(), schemes.winograd(), dense):
        assert proven_optimum(encoder) == Fraction(25, 9)
    assert proven_optimum(schemes.strassen().kron(schemes.strassen())) == Fraction(625, 81)
    assert proven_optimum(schemes.hopcroft(), largest=1) is None


def test_growth():
    strassen = schemes.strassen()
    assert growth(strassen) == pytest.approx(4 + 2 * 2**0.5) and growth_exponent(schemes.winograd()) == pytest.approx(3)
    lower = least_growth(strassen)
    assert growth(lower) < growth(strassen) and lower.is_exact
    assert kappa2(lower) == pytest.approx(kappa2(strassen))  # butterflies are orthogonal up to scale


def test_sparsest_recovers_strassen_from_a_dense_basis():
    dense = schemes.strassen().change_basis([[2, 1], [1, 1]], [[1, 3], [0, 1]], [[1, -1], [2, -1]])
    found = sparsest(dense, seconds=1.5)
    assert found[0].encoder is dense
    assert found[-1].naive <= 24 and found[-1].shared <= 18 < found[0].shared
    assert found[-1].encoder.is_exact
    assert equivalent(found[-1].encoder, schemes.strassen()) is not None
    counted = additions(found[-1].encoder)
    assert sum(counted.naive) == found[-1].naive


def test_alternative_bases_of_strassen_need_twelve_additions():
    encoder = schemes.strassen()
    x, w = (alternative_basis(f.num) for f in (encoder.e_x, encoder.e_w))
    d = alternative_basis(encoder.d.num.T, outputs=True)
    assert [p.nonzeros for p in (x, w, d)] == [10, 10, 10]
    assert x.additions + w.additions + d.additions == 12  # Karstadt and Schwartz 2017
    product = [[sum((r[k] * x.basis[k][j] for k in range(4)), Fraction(0)) for j in range(4)] for r in x.sparse]
    assert product == [[Fraction(int(v)) for v in row] for row in encoder.e_x.num]


def test_alternative_basis_needs_full_rank():
    with pytest.raises(StlError, match="rank"):
        alternative_basis(np.ones((5, 2), dtype=int))


def test_improve_reports_the_three_trade_offs():
    lines = improve(schemes.winograd(), seconds=1)
    kinds = [line.basis.split()[0] for line, _ in lines]
    assert kinds[0] == "given" and "accurate" in kinds and kinds[-1] == "alternative"
    assert lines[0][0].shared == 15
    for line, encoder in lines:
        assert line.optimum == pytest.approx(25 / 9, rel=1e-6)
        assert encoder is None or encoder.is_exact


def test_fewer_xors_over_gf2():
    """Laderman's algorithm in a bad basis: hundreds of XORs, most of which a change of basis removes."""
    upper, lower = [[1, 1, 0], [0, 1, 1], [0, 0, 1]], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    start = schemes.laderman().change_basis(upper, lower, upper).to_ring("GF(2)")
    lines = improve(start, seconds=1)
    assert [line.basis for line, _ in lines] == ["given", "sparse"]
    given, found = lines[0][0], lines[1][0]
    assert lines[1][1].is_exact and lines[1][1].ring.name == "GF(2)"
    assert found.shared < given.shared < given.naive and found.nonzeros < given.nonzeros
    assert given.kappa2 != given.kappa2  # there is no κ² over GF(2)
    with pytest.raises(StlError, match="objective"):
        improve(start, "accuracy")


@pytest.mark.parametrize("ring", ["GF(3)", "Q(i)", "R64"])
def test_other_rings_are_refused(ring):
    with pytest.raises(StlError, match=r"ring|encoder"):
        improve(schemes.strassen().to_ring(ring))


def test_command_line(tmp_path):
    path = save(schemes.strassen(), tmp_path)
    out = tmp_path / "results"
    arguments = [str(path), "--objective", "accuracy", "--out", str(out), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)["rows"]
    assert rows[-1]["kappa2"] < 2.78 and rows[-1]["file"]
    written = load(out / rows[-1]["file"])
    assert written.is_exact and written.origin["objective"] == "kappa2"


def test_command_line_refuses_what_is_no_encoder(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    done = CliRunner().invoke(app, [str(bad)])
    assert done.exit_code == 2
