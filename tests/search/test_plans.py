"""Plans: sound, one line a unit; small ones find what they say, bad ones teach."""

import csv
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from search.core import plans
from search.core.runner import Task
from search.core.unit import Unit
from search.core.work import work
from search.lm.problem import parametrisation
from search.plans import app, record
from stl_algebra import StlError, load

ROOT = Path(__file__).parents[2]
PROGRAMME = {t.name: t for t in plans.read("rediscovery")}
runner = CliRunner()


@pytest.mark.parametrize("name", [n for n, t in PROGRAMME.items() if t.unit.family == "orbit"])
def test_counts_of_every_unit_add_up_to_its_rank(name):
    unit = PROGRAMME[name].unit
    par = parametrisation(unit)
    n, m, p = unit.format
    assert par.rank == unit.rank and par.dims == (n * m, m * p, n * p)


def test_every_unit_has_a_reason():
    assert all(t.reason and t.seconds > 0 for t in PROGRAMME.values()) and len(PROGRAMME) >= 30


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "discovery" / "plans").iterdir()), ids=lambda p: p.stem)
def test_plans_of_the_repository_are_read_and_written_back(path, tmp_path):
    tasks = plans.read(path)
    plans.write(tasks, tmp_path / "again.jsonl")
    assert plans.read(tmp_path / "again.jsonl") == tasks


def test_strassen_from_the_simplex_group():
    (encoder,) = work(PROGRAMME["222-s3"].unit.with_(seed=1)).encoders
    assert encoder.is_exact and encoder.rank == 7
    assert encoder.origin["lineage"] == "scratch" and encoder.origin["seed"] == 1


def test_an_impossible_rank_is_not_found():
    outcome = work(PROGRAMME["222-z3"].unit.with_(rank=6, counts={"3": 1, "1:<a>:+": 3}))
    assert outcome.encoders == [] and outcome.statistics["converged"] == 0 and outcome.status == "done"


def test_unknown_orbit_types_are_refused():
    with pytest.raises(StlError, match="orbit types"):
        parametrisation(PROGRAMME["222-s3"].unit.with_(counts={"6.9:1+1+1": 1}))


def test_command_line(tmp_path):
    words = ["run", "rediscovery", "222-z3", "222-flip", "--out", str(tmp_path), "--backend", "thread", "--json"]
    outcome = runner.invoke(app, [*words, "--table", str(tmp_path / "t.csv")])
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads(outcome.stdout)
    assert [r["found"] for r in rows] == [True, True] and rows[0]["converged"] > 0
    encoder = load(tmp_path / rows[0]["file"])
    assert encoder.rank == 7 and encoder.is_exact
    with (tmp_path / "t.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [r["name"] for r in table] == ["222-z3", "222-flip"] and table[0]["command"].endswith("222-z3 --seed 0")
    assert json.loads(runner.invoke(app, words).stdout) == []  # the ledger has them as done
    assert len(json.loads(runner.invoke(app, [*words, "--again"]).stdout)) == 2


def test_what_was_not_found_is_exit_code_1(tmp_path):
    unit = Unit("flips", "none", (2, 2, 2), 6, {}, 0, "Z")
    plans.write([Task(unit, "six", 0.3)], tmp_path / "p.jsonl")
    outcome = runner.invoke(app, ["run", str(tmp_path / "p.jsonl"), "--out", str(tmp_path), "--backend", "thread",
                                  "--json"])  # fmt: skip
    assert outcome.exit_code == 1 and json.loads(outcome.stdout)[0]["reason"] == "rank 7 reached"


def test_listing_and_bad_requests():
    assert "444-48-e32" in runner.invoke(app, ["list", "rediscovery", "--json"]).stdout
    assert "rediscovery" in runner.invoke(app, ["list"]).stdout
    for arguments in (
        ["run", "no-such"], ["run", "rediscovery", "no-such"], ["list", "/nonexistent"],
        ["run", "rediscovery", "222-z3", "--unit-seconds", "-1"], ["run", "rediscovery", "--longest", "1"],
    ):  # fmt: skip
        outcome = runner.invoke(app, arguments)
        assert outcome.exit_code == 2 and "Traceback" not in outcome.output, arguments
        assert len(outcome.stderr.strip().splitlines()) == 1


GOOD = {"name": "a", "family": "flips", "symmetry": "none", "format": "2x2x2", "rank": 7, "seconds": 1}


@pytest.mark.parametrize(
    "line",
    [
        "{", "7", "[]", "null", '{"family": "flips"}', json.dumps({**GOOD, "colour": 1}),
        json.dumps({**GOOD, "parameters": {"colour": 1}}), json.dumps({**GOOD, "seconds": -1}),
        json.dumps({**GOOD, "seconds": "long"}), json.dumps({**GOOD, "seconds": True}),
        json.dumps({**GOOD, "format": "2x2"}), json.dumps({**GOOD, "family": "none"}), "[" * 100_000,
        json.dumps(GOOD) + "\n" + json.dumps(GOOD), "", "# only a remark",
    ],
)  # fmt: skip
def test_bad_lines_are_named(tmp_path, line):
    path = tmp_path / "p.jsonl"
    path.write_text(line)
    with pytest.raises(StlError) as caught:
        plans.read(path)
    assert str(path) in str(caught.value) or "plan" in str(caught.value)


def test_the_table_keeps_the_faster_find(tmp_path):
    path = tmp_path / "t.csv"
    base = {"name": "222-z3", "device": "cpu", "found": True, "seconds": 5.0, "rank": 7}

    def held():
        with path.open() as stream:
            return [r["seconds"] for r in csv.DictReader(stream)]

    record([base], path, [])
    record([{**base, "found": False, "seconds": 1.0}], path, [])
    record([{**base, "seconds": 9.0}], path, [])
    assert held() == ["5.0"]
    record([{**base, "seconds": 2.0}], path, [])
    assert held() == ["2.0"]


pieces = st.sampled_from(
    ["{", "}", "[", "]", ":", ",", '"', "null", "1e999", "-1", "NaN", "\\u0000", "é", "x", "true", '"rank"', "0" * 400]
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 140), st.integers(0, 40), st.lists(pieces, max_size=4).map("".join))
def test_mutated_lines_are_read_or_refused(at, length, put):
    line = json.dumps({**GOOD, "parameters": {"tries": 3, "start": {"file": "x"}}, "seed": 5, "ring": "Q"})
    line = line[:at] + put + line[at + length :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.jsonl"
        path.write_text(line, encoding="utf-8")
        try:
            (task,) = plans.read(path)
        except StlError as error:
            assert "\n" not in str(error)
        else:
            assert isinstance(task.unit.key, str) and 0 < task.seconds < float("inf")
