"""Populations, their sources, and what they are told about cost."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.approx.evidence import LEARNT, interval, trials
from search.approx.explore import removal_costs
from search.approx.population import Population, removal_costs_of
from search.approx.prices import relative_time
from search.approx.sources import encoder_from, encoders_from, starts_in
from search.core.unit import Unit
from search.core.work import work
from search.lm.invariant import Invariant, types_of
from search.lm.parametrisation import CyclicZ3, Free
from search.lm.problem import matmul_tensor
from stl_algebra import StlError
from stl_algebra.scores import epsilon2, kappa2

ROOT = Path(__file__).parents[2]
SMALL = matmul_tensor(2, 2, 2)
SPACES = {"free": Free(SMALL, 5), "cyclic": CyclicZ3(2, 2, 1), "none": Invariant("none", (2, 2, 2), (4,))}


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(2, 7))
def test_batched_removal_costs_are_those_of_one_encoder(seed, rank):
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((rank, 4)), rng.standard_normal((rank, 4)), rng.standard_normal((4, rank))
    slots = [torch.as_tensor(np.stack([f, 2 * f])) for f in (factors[0], factors[1], factors[2].T)]
    batch = removal_costs_of(slots)
    assert np.allclose(batch[0], removal_costs(factors), rtol=1e-4)
    assert np.allclose(batch[1], 64 * batch[0], rtol=1e-6)  # twice every vector: eight times the tensor


@pytest.mark.parametrize("name", SPACES)
def test_orbits_that_come_and_go_leave_the_others_alone(name):
    crowd = Population(SMALL, SPACES[name], size=6, seed=3)
    crowd.theta, here = crowd._normal(6, crowd.space.par.size), crowd.space
    for kind, (orbit, count) in enumerate(here.par.orbits):
        wide, order = crowd._other(kind, 2), torch.arange(count).expand(6, -1)
        big = crowd._moved(here, wide, crowd.theta, kind, order, crowd._fresh(crowd.theta, orbit, 2))
        assert torch.equal(crowd._moved(wide, here, big, kind, order, None), crowd.theta)
        turned = crowd._moved(here, here, crowd.theta, kind, order.flip(1), None)  # copies in another order
        assert torch.allclose(torch.stack(here.scores(turned)), torch.stack(here.scores(crowd.theta)))


@pytest.mark.parametrize("name", SPACES)
def test_pieces_of_the_residual_lower_it(name):
    crowd = Population(SMALL, SPACES[name], size=6, seed=4)
    theta, here = 0.3 * crowd._normal(6, crowd.space.par.size), crowd.space
    for kind, (_, count) in enumerate(here.par.orbits):
        wide, order = crowd._other(kind, 1), torch.arange(count).expand(6, -1)
        piece = crowd._pieces(here, theta, kind, 1)
        grown = [wide.scores(crowd._moved(here, wide, theta, kind, order, f * piece))[0] for f in (0.05, 0.2)]
        assert (grown[0] < here.scores(theta)[0]).all() and (grown[1] < grown[0]).all()


def test_populations_repeat_keep_their_best_and_reach_the_border_value():
    found = []
    for _ in range(2):
        crowd = Population(SMALL, SPACES["free"], size=8, seed=1)
        crowd.begin()
        totals = [float(crowd.best()[0])]
        for _ in range(6):
            assert crowd.run(1) == 1
            totals.append(float(crowd.best()[0]))
        assert totals == sorted(totals, reverse=True)
        found.append(totals)
    assert found[0] == found[1] and found[0][-1] < 0.2525  # ¼ in the limit
    assert crowd.run(5, seconds=-1.0) == 0


def test_every_move_gives_encoders_with_the_scores_it_says():
    crowd = Population(SMALL, SPACES["free"], size=8, seed=5, steps=10)
    crowd.begin(iterations=20)
    for move, k in crowd.moves:
        child = crowd.child(move, k)
        assert child is not None
        theta, total = child
        eps2, kappa = crowd.space.scores(theta)
        assert torch.allclose(total, eps2 + crowd.weight * kappa)
    assert Population(SMALL, CyclicZ3(2, 0, 1), size=8).child("thin", 2) is None


def test_sources_are_files_products_and_rotations_of_the_right_format():
    five = "2x2x2_r5_R64_05bfb320"
    squared = encoder_from({"kron": [five, five]})
    assert squared.rank == 25 and epsilon2(squared) == pytest.approx(7 / 16, abs=3e-3)
    assert encoder_from({"rotate": "2x2x3_r8_R64_ac24b2c6"}).target.name == "matmul:2x3x2"
    assert kappa2(encoder_from({"sum": [five, five], "axis": "p"})) == pytest.approx(kappa2(encoder_from(five)))
    for wrong in ("no-such-file", {"turn": five}, {"kron": []}, 5, {"kron": [five], "sum": [five]}):
        with pytest.raises(StlError, match="from"):
            encoder_from(wrong)
    with pytest.raises(StlError, match="4x4x4"):
        encoders_from([five], (4, 4, 4))
    action, types = types_of("Z3", (2, 2, 2))
    with pytest.raises(StlError, match="in the space"):
        starts_in(CyclicZ3(2, 2, 1), action, types, [encoder_from(five)], 0)
    action, types = types_of("none", (2, 2, 2))
    par = Free(SMALL, 6)
    assert starts_in(par, action, types, [], 0) is None
    assert starts_in(par, action, types, [encoder_from(five), encoder_from("2x2x2_r6_Z_6c1091da")], 0).shape[1] == 72


def test_a_population_is_a_unit_that_repeats():
    parameters = {"population": 8, "generations": 3, "from": ["2x2x2_r5_R64_05bfb320"], "fresh": 0.5, "keep": 2}
    unit = Unit("approximate", "none", (2, 2, 2), 5, parameters, 2, "R64")
    first, second = work(unit), work(unit)
    assert first.status == "done" and first.statistics["generations"] == 3
    assert [e.digest for e in first.encoders] == [e.digest for e in second.encoders]
    assert first.encoders[0].origin["parents"] and first.statistics["total_5"] <= 0.2518
    for change, words in (
        ({"counts": [4]}, "rank 5"),
        ({"counts": {"1": "5"}}, "whole numbers by the names"),
        ({"counts": 5}, "whole numbers by the names"),
        ({"from": ["3x3x3_r15_R64_fe78264c"]}, "2x2x2"),
        ({"from": ["nothing"]}, "catalogue"),
    ):
        wrong = work(unit.with_(**change))
        assert wrong.status == "failed" and words in wrong.message
    short = work(unit.with_(rank=4, above=False, **{"from": [], "generations": 1, "population": 4}))
    assert all(epsilon2(e) < 1 - 4 / 7 for e in short.encoders)


def test_predicted_time_is_what_was_measured():
    with (ROOT / "results" / "measurements.csv").open(encoding="utf-8") as stream:
        rows = [
            r for r in csv.DictReader(stream)
            if (r["dtype"], r["op"], r["mode"], r["metric"]) == ("bf16", "matmul", "forward", "time")
            and r["n"] == r["k"] == r["m"] and int(r["n"]) >= 4096 and "H200" in r["device"]
        ]  # fmt: skip
    plain = {(r["run_id"], r["n"]): float(r["q50"]) for r in rows if r["provider"] == "dense"}
    off = []
    for r in rows:
        if r["provider"] == "stl" and r["format"] == "4x4x4" and (r["run_id"], r["n"]) in plain:
            measured = float(r["q50"]) / plain[r["run_id"], r["n"]]
            off.append(relative_time((4, 4, 4), int(r["rank"]), int(r["n"])) / measured - 1)
    assert len(off) > 20 and np.abs(off).max() < 0.14 and np.median(np.abs(off)) < 0.05


def test_both_sides_of_the_evidence_have_equal_time():
    found = list(trials((2, 2, 2), LEARNT[2, 2, 2], repeats=1, seconds=1.0))
    assert [t.side for t in found] == ["groups", "none"] and all(t.total < 0.4 for t in found)
    assert all(0.5 < t.seconds < 6 for t in found)
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert low <= mean <= high and mean == 2.0
