"""The encoders of the repository: each says where it is from in the one schema, and what is said holds."""

import csv
import json
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from search.core.catalogue import Catalogue
from search.core.origins import FIELDS, LINEAGES, lineage, unit_of
from search.core.unit import Unit, families, family
from search.core.work import work
from stl_algebra import load

FOLDER = Path(__file__).parents[2] / "results"
FILES = sorted((FOLDER / "encoders").glob("*.safetensors"))
ENCODERS = {f.name: load(f, trust_certificate=True) for f in FILES}
BY_DIGEST = {e.digest: e for e in ENCODERS.values()}


def test_origins_have_one_schema():
    assert len(ENCODERS) > 100
    for name, encoder in ENCODERS.items():
        origin = encoder.origin
        assert set(FIELDS) <= set(origin), name
        assert origin["lineage"] in LINEAGES and isinstance(origin["parents"], list), name
        assert origin["command"] or str(origin.get("note", "")).startswith("cannot be repeated"), name
        assert "from" not in origin and origin["family"] not in ("flip-graph", "orbit-lm", "orbit-z3", "free"), name


def test_units_of_origins_are_units_that_their_commands_run():
    found = {n: e for n, e in ENCODERS.items() if e.origin["unit"] is not None}
    assert len(found) > 90
    for name, encoder in found.items():
        unit = unit_of(encoder)
        assert unit is not None and unit.format == encoder.format and unit.key == encoder.origin["key"], name
        assert unit.family == encoder.origin["family"] in families(), name
        family(unit.family).check(unit.parameters)
        words = shlex.split(encoder.origin["command"])
        if "search.run" in words:
            assert Unit.parse(json.loads(words[words.index("--unit") + 1])) == unit, name
        else:
            improves = words and words[2] in ("search.improve", "search.bases")
            assert not words or (improves and Path(words[3]).name in ENCODERS), name


def test_lineage_follows_from_the_parents_that_are_here():
    for name, encoder in ENCODERS.items():
        parents = [BY_DIGEST[p] for p in encoder.origin["parents"] if p in BY_DIGEST]
        if lineage(encoder) == "scratch":
            assert all(lineage(p) == "scratch" for p in parents), name


def test_the_index_says_what_the_files_say():
    catalogue = Catalogue(FOLDER)
    assert {r.file for r in catalogue.rows} == {f"encoders/{f.name}" for f in FILES}
    with (FOLDER / "index.csv").open(newline="", encoding="utf-8") as stream:
        written = {r["file"]: r for r in csv.DictReader(stream)}
    assert set(written) == {r.file for r in catalogue.rows}
    for row in catalogue.rows:
        assert {k: v for k, v in written[row.file].items() if k != "epsilon2"} == {
            k: str(v) for k, v in asdict(row).items() if k != "epsilon2"
        }
        assert float(written[row.file]["epsilon2"]) == pytest.approx(row.epsilon2, abs=1e-28, nan_ok=True)


@pytest.mark.parametrize(
    "name", ["2x2x2_r7_Z_d06a2688", "2x2x2_r3_Q-zeta-3_8ef09570", "3x3x3_r25_Z_20c2b42b", "2x2x4_r14_Z_2ba18bbf"]
)
def test_finds_are_found_again(name):
    encoder = ENCODERS[f"{name}.safetensors"]
    outcome = work(unit_of(encoder), seconds=30)
    assert encoder.digest in {e.digest for e in outcome.encoders}
