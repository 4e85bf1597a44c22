"""Flip graphs over many formats: pools, campaigns and their files, lifting with and without symmetry."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from search.exact.hensel import hensel_lift
from search.flips import Schedule, search_flips, standard, symmetric_start, walk_from
from search.flips.__main__ import app
from search.flips.campaign import expand, load_schemes, main, run_job, save_schemes
from search.flips.lift import lifted, simplest
from search.flips.lift import main as lift_main
from search.flips.pools import Pools, all_formats, oriented, transposed, wandered
from search.flips.scheme import unpack
from stl_algebra import Encoder, schemes
from stl_algebra.errors import StlError
from stl_algebra.files import load, save
from stl_algebra.targets import matmul


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
@pytest.mark.parametrize("longest", [2, 3])
def test_factors_stay_as_short_as_asked(ring, longest):
    plan = Schedule(flips=200_000, plus_after=100, plus_diff=4, longest=longest)
    found, _ = walk_from(standard((3, 3, 3), ring), 0, plan, [1])
    assert found.exact()
    assert np.count_nonzero(unpack(found.terms.ravel(), 9, ring), axis=1).max() <= longest
    free, _ = walk_from(standard((3, 3, 3), ring), 0, Schedule(flips=200_000, plus_after=100, plus_diff=4), [1])
    assert np.count_nonzero(unpack(free.terms.ravel(), 9, ring), axis=1).max() > longest


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 3), st.sampled_from(["GF(2)", "Z"]), st.permutations(range(3)))
def test_orientation_keeps_rank_and_exactness(fmt, ring, order):
    scheme, _ = walk_from(standard(fmt, ring), 0, Schedule(flips=5_000), [2])
    wanted = tuple(fmt[i] for i in order)
    turned = oriented(scheme, wanted)
    assert (turned.format, turned.rank) == (wanted, scheme.rank) and turned.exact()
    assert transposed(scheme).format == fmt[::-1] and transposed(scheme).exact()
    with pytest.raises(StlError, match="fmt"):
        oriented(scheme, (fmt[0] + 1, fmt[1], fmt[2]))


def test_wandering_keeps_the_rank_and_moves():
    start = search_flips((3, 3, 3), target_rank=23, seconds=30, seed=1).scheme
    other = wandered(start, 100_000, (3, 4))
    assert other.rank == 23 and other.exact()
    assert set(map(tuple, other.terms)) != set(map(tuple, start.terms))
    with pytest.raises(StlError, match="flips"):
        wandered(start, -1, (0,))


def test_pools_reach_the_best_known_ranks_of_small_formats():
    pools = Pools(all_formats(2, (3, 3, 3)), seed=3, schedule=Schedule(flips=1_000_000, plus_after=3_000, plus_diff=1))
    goal = {(2, 2, 2): 7, (2, 2, 3): 11, (2, 3, 3): 15, (3, 3, 3): 23}
    pools.run(60, goal)
    assert {f: pools.rank(f) for f in goal} == goal
    for fmt, pool in pools.pools.items():
        assert all(s.format == fmt and s.exact() and s.rank == pools.rank(fmt) for s in pool)


def test_pools_go_down_from_larger_formats_and_not_below_the_floor():
    pools = Pools([(2, 2, 2), (2, 2, 3)], floors={(2, 2, 2): 8}, seed=1)
    assert pools.add(search_flips((2, 2, 3), target_rank=11, seconds=30).scheme)
    assert not pools.add(standard((2, 3, 2)))  # other order of the sizes, higher rank
    starts = [pools.start((2, 2, 2)) for _ in range(40)]
    assert all(s.format == (2, 2, 2) and s.exact() and s.rank <= 8 for s in starts)
    assert any(np.bitwise_count(s.terms).max() > 1 for s in starts)  # a slice dropped from rank 11
    pools = Pools([(2, 2, 2)], floors={(2, 2, 2): 8})
    pools.run(0.3)
    assert pools.rank((2, 2, 2)) == 8
    with pytest.raises(StlError, match="formats"):
        pools.add(standard((3, 3, 3)))


@pytest.mark.parametrize(("n", "symmetry", "rank"), [(3, "C3", 23), (4, "C3", 49), (4, "C3xZ2", 49), (5, "C3xZ2", 103)])
def test_lift_within_the_symmetry(n, symmetry, rank):
    scheme = search_flips((n, n, n), "GF(2)", symmetry, rank, 60, 1).scheme
    ties = scheme.ties()
    assert ties is not None
    group = 3 if symmetry == "C3" else 6
    assert n**6 / group <= len(ties[1]) < n**6 / group + 2 * n**2  # one equation of each orbit
    assert ties[0].max() + 1 == n * n * (len(scheme.cubes) + 3 * scheme.orbits)
    report = hensel_lift(matmul(n, n, n).dense(), *scheme.factors(), ties=ties)
    assert report.success, report.reason
    z = report.d.T.reshape(-1, n, n).transpose(0, 2, 1).reshape(-1, n * n)

    def tensor(x, y, w):
        return np.einsum("la,lb,lc->abc", x, y, w)

    assert np.array_equal(tensor(report.e_x, report.e_w, z), tensor(report.e_w, z, report.e_x))
    m = scheme.orbits  # the second rotation of the first orbit is that of the first, over Z too
    s = len(scheme.cubes)
    assert np.array_equal(report.e_x[s], z[s + m]) and np.array_equal(report.e_w[s], report.e_x[s + m])


def test_ties_that_do_not_fit_are_refused():
    scheme = search_flips((2, 2, 2), "GF(2)", "C3", 7, 30).scheme
    variable, equations = scheme.ties()
    target = matmul(2, 2, 2).dense()
    with pytest.raises(StlError, match="ties"):
        hensel_lift(target, *scheme.factors(), ties=(variable[1:], equations))
    with pytest.raises(StlError, match="ties"):
        hensel_lift(target, *scheme.factors(), ties=(np.zeros_like(variable), equations))
    assert standard((2, 2, 2)).ties() is None


def test_simplest_takes_the_smallest_coefficients_and_says_why_not():
    scheme = search_flips((2, 3, 3), target_rank=15, seconds=30).scheme
    encoder = simplest([scheme], {"family": "flip-graph"}, seconds=10, tries=4, flips=20_000)
    assert encoder.rank == 15 and encoder.is_exact and encoder.ring.name == "Z"
    over_z = search_flips((2, 2, 2), "Z", target_rank=7, seconds=30).scheme
    assert lifted(over_z, {}).is_exact
    broken = search_flips((4, 4, 4), target_rank=47, seconds=120, seed=2).scheme
    with pytest.raises(StlError, match="characteristic 2"):
        simplest([broken], {}, tries=1)


def test_campaign_file_and_lift(tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([{"format": "2x2x2", "target": 7, "plus_after": 500, "copies": 2},
                                {"upto": "2x2x3", "liftable": True, "flips": 100_000}]))
    main([str(plan), "--seconds", "1.5", "--out", str(tmp_path / "found.npz")])
    found = load_schemes(tmp_path / "found.npz")
    assert {s.rank for s, _ in found if s.format == (2, 2, 2)} == {7}
    assert {s.rank for s, _ in found if s.format == (2, 2, 3)} == {11}
    lift_main([str(tmp_path / "found.npz"), "--out", str(tmp_path / "results"), "--seconds", "5"])
    assert "⟨2,2,3;11⟩" in capsys.readouterr().out
    assert len(list((tmp_path / "results").rglob("*_Z_*.safetensors"))) == 2


def test_campaign_refusals(tmp_path):
    with pytest.raises(StlError, match="plan"):
        list(expand([{"format": "2x2x2", "sead": 1}]))
    with pytest.raises(StlError, match="format"):
        run_job({"format": "2x2", "seed": 0}, 1)
    scheme = standard((2, 2, 2))
    scheme.terms[0, 0] ^= np.uint64(2)
    save_schemes(tmp_path / "bad.npz", [(scheme, {})])
    with pytest.raises(StlError, match="exact"):
        load_schemes(tmp_path / "bad.npz")


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
@pytest.mark.parametrize(("symmetry", "n"), [("C3", 3), ("C3", 4), ("C3xZ2", 4)])
def test_symmetric_start_around_a_smaller_scheme(ring, symmetry, n):
    inner = search_flips((2, 2, 2), ring, symmetry, 7, 30, 1).scheme
    start = symmetric_start(n, ring, symmetry, inner=inner)
    assert start.exact() and start.rank < symmetric_start(n, ring, symmetry, 1).rank
    found, _ = walk_from(start, 0, Schedule(flips=20_000, plus_after=200, plus_diff=3), [n])
    assert found.exact() and found.symmetry == symmetry


def test_symmetric_start_refuses_what_does_not_fit():
    inner = search_flips((2, 2, 2), "GF(2)", "C3xZ2", 7, 30, 1).scheme
    for n, ring, symmetry in ((3, "GF(2)", "C3xZ2"), (4, "Z", "C3xZ2"), (4, "GF(2)", "C3"), (1, "GF(2)", "C3xZ2")):
        with pytest.raises(StlError, match="inner"):
            symmetric_start(n, ring, symmetry, inner=inner)


def test_grown_symmetric_search():
    result = search_flips((3, 3, 3), "GF(2)", "C3", 25, 30, 1, start="grown", cubes=1)
    assert result.found and result.scheme.exact() and len(result.scheme.cubes) == 1
    with pytest.raises(StlError, match="start"):
        search_flips((3, 3, 3), "Z", "C3", 25, 30, 1, start="grown")


def test_verb_starts_from_an_encoder_of_another_format(tmp_path):
    runner = CliRunner()
    first = runner.invoke(app, ["2x2x3", "--rank", "11", "--ring", "Z", "--out", str(tmp_path), "--json"])
    file = tmp_path / json.loads(first.stdout)["file"]
    for fmt, rank in (("2x2x2", "7"), ("3x2x3", "15")):
        words = [fmt, "--rank", rank, "--start", str(file), "--lift", "--tries", "2", "--longest", "6", "--json"]
        done = runner.invoke(app, [*words, "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
        encoder = load(tmp_path / json.loads(done.stdout)["file"])
        assert encoder.is_exact and encoder.rank == int(rank)
        assert (encoder.origin["from"], encoder.origin["start"]) == ("scratch", file.name)
    published = save(schemes.strassen(), tmp_path)  # what begins at a published scheme is not from scratch
    done = runner.invoke(app, ["2x2x3", "--rank", "11", "--start", str(published), "--json", "--out", str(tmp_path)])
    assert load(tmp_path / json.loads(done.stdout)["file"]).origin["from"] == published.name
    e_x, e_w, d = (f.num for f in schemes.strassen().factors)
    half = Encoder.build((2, 2, 2), (e_x, 2), e_w, 2 * d, ring="Q")  # an even denominator cannot be read modulo 2
    path = save(half, tmp_path)
    refused = runner.invoke(app, ["2x2x3", "--rank", "11", "--start", str(path)])
    assert refused.exit_code == 2 and "start" in refused.stderr


def test_campaign_begins_with_the_schemes_of_a_file(tmp_path):
    big = search_flips((2, 2, 3), target_rank=11, seconds=30).scheme
    save_schemes(tmp_path / "start.npz", [(big, {}), (standard((3, 3, 3)), {})])
    job = {"upto": "2x2x3", "schemes": str(tmp_path / "start.npz"), "liftable": True, "flips": 1000, "seed": 0}
    found, _ = run_job(job, 0.01)
    assert min(s.rank for s in found if s.format == (2, 2, 3)) == 11
