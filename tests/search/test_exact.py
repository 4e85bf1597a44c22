"""One road from finds to proven encoders: every kind of find, within its symmetry, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from search.exact import exact
from search.exact.__main__ import app
from search.exact.hensel import ties_modulo_2
from search.exact.polish import polish
from search.exact.rational import rationalise
from search.exact.system import BrentSystem
from search.exact.tying import permuted, tie
from stl_algebra import Encoder, StlError, schemes, target
from stl_algebra.files import load, save
from stl_algebra.symmetry import Action, action

FINDS = {path.name[:8]: load(path) for path in sorted((Path(__file__).parents[1] / "vectors" / "finds").iterdir())}
FREE = {"2x4x5_r3": 1216, "3x3x3_r2": 621, "3x3x6_r4": 1800, "4x4x4_r4": 2304}
TIED = {"2x4x5_r3": 164, "3x3x3_r2": 207, "3x3x6_r4": 25, "4x4x4_r4": 72}


def group_of(find):
    return action(find.origin["group"], find.format)


def vectors_of(find):
    x, w, d = find.floats()
    return x, w, d.T


@pytest.mark.parametrize("name", FINDS)
def test_tied_terms_are_the_find(name):
    find = FINDS[name]
    tying, theta = tie(vectors_of(find), group_of(find).elements)
    system = BrentSystem(find.target.dense(), tying)
    assert (tying.unknowns, sum(np.prod(f.num.shape) for f in find.factors)) == (TIED[name], FREE[name])
    assert np.abs(system.residual(theta)).max() < 1e-6
    _, size = polish(system, theta, np.arange(theta.size) < system.size)
    assert size < 1e-13
    u, v, w, scale = system.split(theta + 1e-3 * np.random.default_rng(0).standard_normal(theta.size))
    moved = permuted((scale[:, None] * u, v, w), group_of(find).elements, 1e-9)
    assert not isinstance(moved, str)  # whatever the unknowns, the terms are permuted


@pytest.mark.parametrize("name", ["3x3x6_r4", "4x4x4_r4"])
def test_normal_equations_of_tied_terms_agree_with_differences(name):
    find = FINDS[name]
    tying, theta = tie(vectors_of(find), group_of(find).elements)
    system = BrentSystem(find.target.dense(), tying)
    theta = theta + 0.1 * np.random.default_rng(1).standard_normal(theta.size)
    jac = np.array(
        [(system.residual(theta - h) - system.residual(theta + h)).ravel() / 2e-5 for h in 1e-5 * np.eye(theta.size)]
    )
    res = system.residual(theta).ravel()
    for h, g, _ in (system.normal_equations(theta, np.arange(theta.size)), system._gram(theta, np.arange(theta.size))):
        np.testing.assert_allclose(h, jac @ jac.T, atol=1e-4 * np.abs(h).max())
        np.testing.assert_allclose(g, jac @ res, atol=1e-4 * np.abs(g).max())


@pytest.mark.parametrize(
    "name, group",
    [
        ("3x3x3_r2", "Z3"),
        ("3x3x6_r4", None),
        ("2x4x5_r3", None),
        ("4x4x4_r4", "E32"),
        ("4x4x4_r4", "E32/134"),
        ("4x4x4_r4", "E32/15"),
        ("4x4x4_r4", "E32/1"),
    ],
)
def test_finds_become_exact_within_their_symmetry(name, group):
    find = FINDS[name]
    acting = action(group or find.origin["group"], find.format)
    report = exact(find, action=acting, seconds=30 if group == "Z3" else 10)
    assert report.success and report.invariant, report.reason
    assert report.encoder.is_exact and report.encoder.rank == find.rank
    assert report.encoder.ring.name in ("Z", "Z[1/2]", "Q")
    assert report.encoder.origin["group"] == find.origin["group"]


def test_the_symmetry_is_not_only_claimed():
    find = FINDS["4x4x4_r4"]
    report = exact(find, action=action("E32/2", (4, 4, 4)), seconds=6)
    assert report.success
    changed = [np.array(f) for f in find.floats()]
    changed[0][0, 0] += 0.5
    broken = Encoder.build(find.target, *changed, ring="R64")
    refused = tie(vectors_of(broken), group_of(find).elements)
    assert isinstance(refused, str) and "no image" in refused


def test_irrational_coordinates_of_a_rational_group():
    """The vertices of a triangle have irrational coordinates, the symmetric group on them is rational in others."""
    from search.lm import minimise
    from search.lm.invariant import Invariant

    par = Invariant("s:(12)*s:(123)", (2, 2, 2), {"6": 1, "1:<b,a>:++,++,++": 1})
    find = minimise(schemes.strassen().target, par, 16, 80, "fast", stop_after=1)
    e = Encoder.build((2, 2, 2), *find.factors(find.best), ring="R64")
    assert tie(vectors_of(e), par.action.elements) == "the group is not rational in these coordinates"
    report = exact(e, action=par.action, seconds=10)
    assert report.invariant and report.encoder.ring.name in ("Z", "Q")


def test_reversals():
    """Strassen's algorithm is invariant under the transpose reversal followed by diag(1, −1) on every side."""
    flip = ((2, 1, 0), [np.diag([1.0, -1.0])] * 3)
    acting = Action.from_generators((2, 2, 2), [((1, 2, 0), [np.eye(2)] * 3), flip], "order 6")
    rng = np.random.default_rng(0)
    x, w, d = schemes.strassen().floats()
    scale = rng.uniform(0.5, 2, (2, 7))
    find = Encoder.build((2, 2, 2), x * scale[0][:, None], w * scale[1][:, None], d / scale.prod(axis=0), ring="R64")
    tying, theta = tie(vectors_of(find), acting.elements)
    assert acting.order == 6 and np.abs(BrentSystem(find.target.dense(), tying).residual(theta)).max() < 1e-12
    made = rationalise(find.target.dense(), *find.floats(), acting.elements, ring="Z", seconds=5)
    assert made.success and made.invariant


@pytest.mark.parametrize("field, unit", [("Q(i)", 1j), ("Q(zeta_3)", np.exp(2j * np.pi / 3))])
def test_complex_finds_as_they_stand(field, unit):
    x, w, d = schemes.strassen().floats()
    p = np.diag([1, unit])
    rng = np.random.default_rng(0)
    scale = np.exp(2j * np.pi * rng.random((2, 7)))
    x = np.kron(p, np.eye(2)) @ x.T
    d = np.kron(p.conj(), np.eye(2)) @ d  # C ↦ PC needs D ↦ P D; the coefficient matrix of A goes with P⁻ᵀ
    find = Encoder.build((2, 2, 2), x.T * scale[0][:, None], w * scale[1][:, None], d / scale.prod(axis=0), ring="C128")
    assert np.abs(np.einsum("la,lb,cl->abc", *find.floats()) - find.target.dense()).max() < 1e-12
    report = exact(find)
    assert report.success and report.how == "as it stands", report.reason
    assert report.encoder.ring.name in (field, "Q(i)") and report.encoder.is_exact


def test_complex_finds_that_are_no_small_numbers_say_so():
    find = schemes.strassen().to_ring("C128")
    x, w, d = find.floats()
    p = np.array([[1, 0.2137j], [0, 1]])
    x, d = x @ np.kron(p, np.eye(2)), np.kron(np.linalg.inv(p), np.eye(2)) @ d
    report = exact(Encoder.build((2, 2, 2), x, w, d, ring="C128"))
    assert not report.success and "as it stands" in report.reason


@pytest.mark.parametrize("rings, ring", [(("Z", "Q"), ""), (("Q", "Q(sqrt)"), "Q(sqrt(2))"), (("Q(i)",), "")])
def test_only_the_rings_asked_for(rings, ring):
    goal = target("field:Q(sqrt(2))")
    root = np.sqrt(2)
    x = np.array([[1, root], [1, -root]])  # the two embeddings; D inverts them
    find = Encoder.build(goal, x, x, np.linalg.inv(x), ring="R64")
    report = exact(find, seconds=4, rings=rings)
    assert report.success == bool(ring)
    assert report.encoder.ring.name == ring if ring else report.reason


def test_finds_over_two_elements_are_lifted_within_their_symmetry():
    strassen = schemes.strassen()
    x, w, d = (np.asarray(f.num) for f in strassen.to_ring("GF(2)").factors)
    elements = action("Z3", (2, 2, 2)).elements
    variable, equations = ties_modulo_2((x, w, d.T), elements)
    assert len(equations) == 24 and variable.max() + 1 == 4 * 4 + 12  # four fixed terms, one orbit of three
    report = exact(strassen.to_ring("GF(2)"), action=action("Z3", (2, 2, 2)))
    assert report.success and report.invariant and report.how == "lifted" and report.encoder.ring.name == "Z"
    lifted = vectors_of(report.encoder)
    assert not isinstance(permuted(lifted, elements, 1e-9), str)


def test_a_find_over_two_elements_without_a_lift():
    table = json.loads(
        (Path(__file__).parents[1] / "vectors" / "reference_schemes" / "s444r47_alphatensor_GF2.json").read_text()
    )
    find = Encoder.build((4, 4, 4), np.array(table["u"]).T, np.array(table["v"]).T, np.array(table["w"]), ring="GF(2)")
    report = exact(find, seconds=5)
    assert not report.success and "characteristic 2" in report.reason


def test_exact_rings_are_proven():
    strassen = schemes.strassen()
    assert exact(strassen).encoder is strassen and exact(strassen).how == "proven"
    x = np.array(strassen.e_x.num)
    x[0, 0] += 1
    wrong = Encoder.build((2, 2, 2), x, strassen.e_w, strassen.d)
    assert "does not hold over Z" in exact(wrong).reason
    assert "does not hold over GF(2)" in exact(wrong.to_ring("GF(2)")).reason
    assert not exact(wrong.to_ring("R64"), seconds=2).success or exact(wrong.to_ring("R64"), seconds=2).encoder.is_exact


@pytest.mark.parametrize("wrong", [{"rings": ("R64",)}, {"rings": ()}, {"seconds": -1.0}, {"seconds": float("nan")}])
def test_bad_requests(wrong):
    with pytest.raises(StlError, match=next(iter(wrong))):
        exact(schemes.strassen(), **wrong)


def call(*words):
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_command(tmp_path):
    find = FINDS["3x3x6_r4"]
    path, hopeless = save(find, tmp_path), tmp_path / "no"
    done = call(path, "--out", tmp_path / "made", "--json", "--seconds", 5)
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)["rows"][0]
    assert load(row["written"]).is_exact and "symmetry" in row["how"]
    rng = np.random.default_rng(0)
    noise = Encoder.build((2, 2, 2), *(rng.standard_normal(s) for s in ((5, 4), (5, 4), (4, 5))), ring="R64")
    done = call(save(noise, hopeless), "--seconds", 1)
    assert done.exit_code == 1 and "does not converge" in done.output
    for words in ([tmp_path / "absent.safetensors"], [tmp_path], [path, "--ring", "R64"], [path, "--group", "Z7"]):
        done = call(*words)
        assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1, done.output
