"""Published schemes from the name of a group, and all of a group's actions with all their orbit types."""

import json

import pytest
from typer.testing import CliRunner

from search import run
from search.core import plans
from search.core.unit import Request
from search.core.work import work
from search.families.action import everything, tally
from search.lm.problem import parametrisation
from stl_algebra import StlError, symmetry
from stl_algebra.groups import group
from stl_algebra.groups.subgroups import subgroup_classes

PLAN = {t.name: t for t in plans.read("symmetries")}
runner = CliRunner()


@pytest.mark.parametrize("name", [n for n, t in PLAN.items() if t.unit.family != "flips"])
def test_every_unit_names_an_action_and_orbits_that_add_up(name):
    unit = PLAN[name].unit
    assert parametrisation(unit).rank == unit.rank and PLAN[name].reason


def test_strassen_under_its_whole_stabiliser_has_four_unknowns():
    unit = PLAN["222-order36"].unit
    assert parametrisation(unit).size == 4 and symmetry.action(unit.symmetry, unit.format).order == 36


@pytest.mark.parametrize(("name", "order"), [("222-order36", 36), ("222-c3", 36), ("323-d6", 12)])
def test_the_find_is_exact_and_has_the_symmetry(name, order):
    unit = PLAN[name].unit
    (encoder,) = work(unit).encoders
    assert encoder.is_exact and encoder.rank == unit.rank and symmetry.is_generated(unit.symmetry)
    found = symmetry.stabiliser(encoder)
    assert found.order == order  # the group of Strassen's and of Hopcroft and Kerr's scheme, found from outside


def exhausted(tmp_path, *words):
    asked = ["--exhaust", "--format", "2,2,2", "--rank", "7", "--out", str(tmp_path), "--backend", "thread"]
    return runner.invoke(run.app, [*asked, *words])


def test_all_rank_7_schemes_under_c3(tmp_path):
    outcome = exhausted(tmp_path, "--group", "C3", "--json")
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads(outcome.stdout)["actions"]
    assert len(rows) == 4 and all(r["run"] == r["multisets"] for r in rows)
    solved = {tuple(sorted(counts.values())) for r in rows if "/Z3/" in r["action"] for counts in r["solved"]}
    assert solved == {(1, 2), (1, 4)}  # one or four fixed terms: 7 = 1 + 2·3 = 4 + 1·3
    # every scheme of rank 7 is Strassen's in another basis (de Groote 1978), so solutions are subgroups of S3 × S3
    threes = [c for c in subgroup_classes(group("S3xS3")) if c.order == 3]
    assert sum(len(r["solved"]) for r in rows) == len(threes) == 3
    again = exhausted(tmp_path, "--group", "C3")
    assert "exhausted: all 4 faithful actions" in again.stdout and "6 already known" in again.stdout


def test_five_has_no_rank_7_scheme_and_what_is_left_is_said(tmp_path):
    outcome = exhausted(tmp_path, "--group", "C5", "--set", "restarts=6")
    assert "exhausted: all 5 faithful actions" in outcome.stdout and "6 restarts each" in outcome.stdout
    assert "solutions for 0 multisets of 0 actions" in outcome.stdout
    left = exhausted(tmp_path, "--group", "C5", "--seed", "1", "--seconds", "0.000001")
    assert "not exhausted (0 multisets run" in left.stdout


def test_a_unit_cut_short_does_not_count():
    units = everything(Request("C5", "action", None, (2, 2, 2), 7), (2, 2, 2), 7)
    rows = [{"key": u.key, "status": "cut", "statistics": '{"restarts": 3}'} for its in units.values() for u in its]
    assert sum(r["run"] for r in tally(units, rows)) == 0
    assert sum(r["run"] for r in tally(units, [r | {"status": "done"} for r in rows])) == len(rows) == 2


def test_too_much_to_exhaust_is_refused():
    with pytest.raises(StlError, match="at most 5000"):
        everything(Request("V4", "action", None, (2, 2, 2), 7), (2, 2, 2), 7)
