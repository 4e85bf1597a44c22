"""The rediscovery programme: recipes are sound, small ones find what they say, bad requests teach."""

import csv
import json

import pytest
from typer.testing import CliRunner

from search.recipes import RECIPES, lm_parametrisation, recipe, run_recipe
from search.rediscover import app, record
from stl_algebra import StlError, load

runner = CliRunner()


@pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.engine == "lm"])
def test_counts_of_every_recipe_add_up_to_its_rank(name):
    job = RECIPES[name]
    par = lm_parametrisation(job)
    assert par.rank == job.rank
    assert par.dims == (job.format[0] * job.format[1], job.format[1] * job.format[2], job.format[0] * job.format[2])


def test_strassen_from_the_simplex_group():
    finding = run_recipe(recipe("222-s3"), seed=1)
    assert finding.found and finding.encoder.is_exact and finding.encoder.rank == 7
    origin = finding.encoder.origin
    assert origin["from"] == "scratch" and origin["recipe"] == "222-s3" and origin["seed"] == 1


def test_an_impossible_rank_is_not_found():
    from dataclasses import replace

    job = replace(recipe("222-z3"), rank=6, settings={**recipe("222-z3").settings, "counts": {"C3": 3, "1": 1}})
    finding = run_recipe(job)
    assert not finding.found and finding.numerical == 0 and "no restart" in finding.reason


def test_unknown_orbit_types_are_refused():
    from dataclasses import replace

    with pytest.raises(StlError, match="orbit types"):
        lm_parametrisation(replace(recipe("222-s3"), settings={"counts": {"6.9:1+1+1": 1}}))


def test_command_line(tmp_path):
    outcome = runner.invoke(app, ["222-z3", "222-flip", "--out", str(tmp_path), "--json"])
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads(outcome.stdout)
    assert [r["found"] for r in rows] == [True, True]
    encoder = load(tmp_path / rows[0]["file"])
    assert encoder.rank == 7 and encoder.is_exact
    with (tmp_path / "discovery" / "rediscovery.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [r["recipe"] for r in table] == ["222-z3", "222-flip"] and table[0]["command"].endswith("--seed 0")


def test_listing_and_bad_requests():
    assert "444-48-e32" in runner.invoke(app, ["--list", "--json"]).stdout
    for arguments in (["no-such"], [], ["222-z3", "--seconds", "-1"]):
        outcome = runner.invoke(app, arguments)
        assert outcome.exit_code == 2
        assert "Traceback" not in outcome.output


def test_the_table_keeps_the_faster_find(tmp_path):
    path = tmp_path / "t.csv"
    base = {"recipe": "222-z3", "device": "cpu", "found": True, "search_s": 5.0, "exact_s": 1.0, "rank": 7}
    record([base], path)
    record([{**base, "found": False, "search_s": 1.0}], path)
    record([{**base, "search_s": 9.0}], path)
    with path.open() as stream:
        assert [r["search_s"] for r in csv.DictReader(stream)] == ["5.0"]
    record([{**base, "search_s": 2.0}], path)
    with path.open() as stream:
        assert [r["search_s"] for r in csv.DictReader(stream)] == ["2.0"]
