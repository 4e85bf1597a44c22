"""Comparison of starts: what they cost is charged to them, what they are called tells them apart."""

import json

import pytest

from search.benchmarks.success_rates import compare, draw_starts, label, pool, wilson
from search.core.ledger import Ledger
from search.core.unit import Unit
from search.core.work import work

UNIT = Unit("orbit", "none", (2, 2, 2), 7, {"restarts": 8, "iterations": 80, "schedule": "fast"})


def write(path, *outcomes):
    with Ledger(path.parent / f"{path.name}.sqlite") as ledger:
        for outcome in outcomes:
            ledger.record(outcome)
        ledger.export(path)
    return path


def test_wilson():
    low, high = wilson(5, 20)
    assert 0.1 < low < 0.25 < high < 0.5 and wilson(0, 10)[0] == 0.0


@pytest.mark.parametrize(
    ("start", "schedule", "name"),
    [
        ({}, "fast", "random"), ({}, "default", "random (μ from 0.3)"), ({}, 'default {"mu_start": 0.05}', "random"),
        ({}, 'fast {"kappa_weight": 0.001}', "random + κ²"), ({"kind": "border"}, "fast", "border"),
        ({"kind": "deflate", "squeeze": 0}, "fast", "deflate, cut at once"),
        ({"kind": "deflate"}, "fast", "deflate, squeezed"), ({"kind": "gf2", "signs": "lift"}, "fast", "gf2, lift"),
        ({"kind": "built", "from": {"sum": [], "axis": "p"}}, "fast", "sum"),
    ],
)  # fmt: skip
def test_names(start, schedule, name):
    assert label(json.dumps(start) if start else "", schedule) == name


def test_the_cost_of_starts_counts_and_groups_keep_to_random_ones(tmp_path):
    began = UNIT.with_(start={"kind": "deflate", "from": {"rank": 8}, "inexact": True, "squeeze": 0})
    outcomes = [work(u, exact=False) for u in (UNIT, began)]
    rows = [o.statistics for o in outcomes]
    path = write(tmp_path / "rows.csv", *outcomes)
    found = {r["start"]: r for r in compare([path])}
    assert set(found) == {"random", "deflate, cut at once"}
    assert found["random"]["hits"] == rows[0]["converged"] and found["random"]["steps"] == rows[0]["steps"]
    other = found["deflate, cut at once"]
    assert other["steps"] == rows[1]["steps"] + rows[1]["start_steps"] > rows[1]["steps"]
    plain = found["random"]
    assert plain["seconds_low"] <= plain["hits_per_second"] <= plain["seconds_high"]
    assert plain["steps_low"] <= plain["hits_per_1000_steps"] <= plain["steps_high"]
    assert [r["restarts"] for r in pool([path])] == [8]  # rows with starts do not speak for a group
    draw_starts(list(found.values()), tmp_path / "starts.svg")
    assert (tmp_path / "starts.svg").read_text().count("2,2,2") == 1


def test_a_problem_with_one_kind_of_start_is_not_compared(tmp_path):
    assert compare([write(tmp_path / "rows.csv", work(UNIT, exact=False))]) == []
