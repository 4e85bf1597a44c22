"""Paths of growing terms: steps by factorisation, the polynomials they lead to, and the family that asks for floors."""

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from search.approx.gather import checked, gather, named_in
from search.approx.germ import Germ, exponents, fitted
from search.approx.stiff import Problem, follow, main
from search.core.catalogue import Catalogue
from search.core.unit import Request, Unit, family
from search.core.work import work
from search.lm.parametrisation import CyclicZ3, Free
from search.lm.problem import matmul_tensor
from stl_algebra import Encoder, StlError
from stl_algebra.catalogue import folder

#: e₀e₀e₁ + e₀e₁e₀ + e₁e₀e₀: rank 3, border rank 2.
W = np.zeros((2, 2, 2))
W[0, 0, 1] = W[0, 1, 0] = W[1, 0, 0] = 1


def derivative(function, y, direction, step=1e-6):
    return (function(y + step * direction) - function(y - step * direction)) / (2 * step)


@pytest.mark.parametrize("par", [Free(matmul_tensor(2, 2, 3), 4), CyclicZ3(2, 1, 2)], ids=["free", "cyclic"])
def test_jacobian_and_curvature_are_derivatives(par):
    target = matmul_tensor(2, 2, 3) if par.dims[1] == 6 else matmul_tensor(2, 2, 2)
    problem, generator = Problem(target, par), torch.Generator().manual_seed(1)
    y, p = (torch.randn(par.size, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.allclose(problem.jacobian(y) @ p, derivative(problem.residual, y, p), atol=1e-6)
    f, jacobian = problem.residual(y), problem.jacobian(y)
    whole = derivative(lambda z: problem.jacobian(z).T @ problem.residual(z), y, p)
    assert torch.allclose(jacobian.T @ (jacobian @ p) + problem.curvature(y, f, p), whole, atol=1e-5)
    x, w, d = par.expand(y.numpy() / problem.scale)
    assert np.allclose(f.numpy(), (np.einsum("la,lb,cl->abc", x, w, d) - target).ravel())


def followed(target, rank, seed, least=1e-8):
    problem = Problem(target, Free(target, rank))
    start = np.random.default_rng(seed).standard_normal(problem.size)
    return problem, list(follow(problem, start, 1e-2, least, 10**-0.5, 100))


def test_border_rank_two_falls_as_an_algorithm_of_degree_one_with_even_errors_does():
    problem, points = followed(W, 2, 0)
    slope = np.log(points[-1].epsilon2 / points[-3].epsilon2) / np.log(points[-1].mu / points[-3].mu)
    assert slope == pytest.approx(6 / 7, abs=0.01) and points[-1].ratio == pytest.approx(1 / 6, abs=0.01)
    y = torch.as_tensor(points[-4].theta * problem.scale)
    y, size = problem.newton(y, points[-4].mu)
    assert size < 1e-9 and problem.scores(y)[0] == pytest.approx(points[-4].epsilon2, rel=2e-2)
    assert problem.scores(y)[0] * 3 / (points[-4].mu * float(y @ y)) == pytest.approx(1 / 6, abs=1e-3)


def test_rank_one_stays_where_it_is():
    _, points = followed(W, 1, 0, 1e-6)
    assert points[-1].epsilon2 == pytest.approx(points[-2].epsilon2, rel=1e-3) and points[-1].epsilon2 > 0.1


def test_a_path_leads_to_polynomials_that_can_be_pinned_to_rationals():
    problem, points = followed(W, 2, 0)
    chosen = points[6:12]
    small = np.array([p.epsilon2 for p in chosen]) ** 0.25  # the error falls as t²
    factors = [problem.par.expand(p.theta) for p in chosen]
    assert np.allclose(exponents(small, factors), 1, atol=0.02)
    germ = Germ(W, [1, 1], 1)
    x, value = germ.solve(germ.start(fitted(small, factors, [1, 1], 1, 3)))
    assert value < 1e-24
    x = germ.pin(x, [float("inf"), 1.0, 0.5])
    assert float(germ.movable(x).sum()) < 0.3  # nothing is left to choose
    u, v, w = (
        [[[Fraction(float(c)).limit_denominator(12) for c in row] for row in x[k, s]] for k in range(2)]
        for s in range(3)
    )
    for k, target in ((0, np.zeros_like(W)), (1, W)):
        for a, b, c in np.ndindex(2, 2, 2):
            orders = [(i, j, k - i - j) for i in range(k + 1) for j in range(k - i + 1)]
            found = sum(u[i][l][a] * v[j][l][b] * w[m][l][c] for l in range(2) for i, j, m in orders)
            assert found == target[a, b, c]  # over Q: border rank 2


def test_normal_equations_of_a_germ_are_those_of_its_residual():
    germ = Germ(matmul_tensor(2, 2, 2), [2, 1, 0], 2)
    x = torch.where(germ.used, torch.randn(germ.used.shape, dtype=torch.float64), torch.zeros((), dtype=torch.float64))
    germ.free[0, 1, 0, :2] = False
    full = torch.autograd.functional.jacobian(lambda z: germ.residual(z).flatten(), x).reshape(-1, x.numel())
    jacobian, f = full[:, germ.free.flatten()], germ.residual(x)
    assert torch.allclose(germ.gram(x), jacobian.T @ jacobian)
    assert torch.allclose(germ.slope(x, f)[germ.free], jacobian.T @ f.flatten())
    with pytest.raises(StlError, match="poles"):
        Germ(W, [2], 1)
    with pytest.raises(StlError, match="cubic"):
        Germ(matmul_tensor(1, 1, 2), [1], 1)


# ---------------------------------------------------------------- the family of floors
def test_known_answers_come_out():
    stops = work(Unit("border", "Z3", (2, 2, 2), 6, {}, 1, "R64"))
    falls = work(Unit("border", "none", (2, 2, 3), 10, {"counts": [10]}, 1, "R64"))
    assert stops.status == falls.status == "done"
    assert stops.statistics["floor"] == pytest.approx(1 / 8, rel=1e-3) and abs(stops.statistics["slope"]) < 1e-3
    assert falls.statistics["floor"] < 1e-6 and falls.statistics["slope"] == pytest.approx(0.75, abs=0.01)
    assert np.allclose(falls.statistics["exponents"], -1, atol=0.1)
    assert falls.statistics["fit_over_penalty"] == pytest.approx(1 / 3, abs=0.01)
    assert len(falls.encoders) == 1 and stops.encoders[0].rank == 6


def test_floors_are_asked_for_where_they_are_in_question():
    units = family("border").units
    assert {u.rank for u in units(Request(format=(4, 4, 4)), 0)} == {44, 45}
    assert [u.parameters["sample"] for u in units(Request(format=(3, 3, 3), rank=21), 5)] == [5] * 9
    assert not list(units(Request(format=(4, 4, 4), rank=48), 0))
    wrong = work(Unit("border", "Z3", (2, 2, 2), 6, {"counts": [1, 1]}, 0, "R64"))
    assert wrong.status == "failed" and "rank 6" in wrong.message
    none = work(Unit("border", "Z3", (2, 2, 2), 6, {"sample": 99}, 0, "R64"))
    assert none.status == "done" and none.statistics["multiset"] == "none left"


def test_path_of_an_encoder_by_command(tmp_path, capsys):
    arguments = ["2x2x3_r10_R64_b6dbb8af", "--mu", "1e-3", "--least", "1e-5", "--out", str(tmp_path / "path.npz")]
    assert main(arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    with np.load(tmp_path / "path.npz") as stored:
        assert stored["theta"].shape == (5, 160)
    assert main(["2x2x3_r10_R64_b6dbb8af", "--group", "d:1+1,1+1,2+1"]) == 2
    assert "symmetry" in capsys.readouterr().err


# ---------------------------------------------------------------- into the catalogue
def test_gathering_takes_what_is_better_with_its_parents(tmp_path):
    elsewhere, here = tmp_path / "elsewhere", Catalogue(tmp_path / "here")
    parent = work(Unit("approximate", "none", (2, 2, 2), 5, {"population": 4, "generations": 1, "steps": 8}, 3, "R64"))
    store = Catalogue(elsewhere)
    stem = Path(store.add(parent.encoders[0], always=True)[0].file).stem
    path = str(elsewhere / "encoders" / f"{stem}.safetensors")
    settings = {"population": 4, "generations": 2, "fresh": 0.0, "from": [path]}
    child = work(Unit("approximate", "none", (2, 2, 2), 5, settings, 3, "R64")).encoders[0]
    unit = {**child.origin["unit"], "parameters": {**settings, "from": [stem]}}
    store.add(child.with_origin(**{**child.origin, "unit": unit}), always=True)
    assert len(gather([elsewhere], here)) == 2
    assert gather([elsewhere], here) == []
    assert named_in([{"kron": [stem, stem]}]) == [stem, stem]
    x, w, d = child.floats()
    assert checked(Encoder.build(child.target, x, w, d, ring="R64")) == pytest.approx(checked(child))


def test_what_is_stored_scores_as_it_says():
    """The points of the frontier are those of the dense contraction of the files, at a sample of ranks."""
    table = Path(__file__).parents[2] / "results" / "index.csv"
    with table.open(encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["target"] == "matmul:4x4x4" and r["family"] == "approximate"]
    from stl_algebra import load

    for row in rows[:: max(1, len(rows) // 12)]:
        assert checked(load(folder() / Path(row["file"]).name)) == pytest.approx(float(row["total_bf16"]), rel=1e-3)
