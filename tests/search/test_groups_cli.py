"""The command `python -m search.groups`: what it prints, its JSON, and one-line errors with exit code 2."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from search.groups import app, describe, listing

runner = CliRunner()


@pytest.mark.parametrize("name", ["S4", "Q8", "1", "C5", "C7:C3", "SL(2,3)", "2^(1+4)-", "C2^5", "SmallGroup(48,15)"])
def test_describe(name):
    data = describe(name)
    json.dumps(data)
    assert sum(c["degree"] ** 2 for c in data["characters"]) == data["order"]
    assert sum(c["size"] for c in data["classes"]) == data["order"]
    assert len(data["irreps"]) == len(data["classes"])


def test_known_values():
    s4 = describe("S4")
    assert s4["small_group"] == [24, 12] and s4["subgroups"] == {"all": 30, "classes": 11, "normal": 4}
    assert s4["automorphisms"] == {"order": 24, "outer": 1}
    q8 = describe("Q8")
    assert [c["type"] for c in q8["characters"]] == ["real"] * 4 + ["quaternionic"]
    assert q8["real_multiplications"] == 12
    assert [2, 3, 3] in describe("A4")["formats"]
    values = describe("A5")["characters"][1]["values"]
    assert "(1+√5)/2" in values and "(1-√5)/2" in values


def test_screen_and_json():
    shown = runner.invoke(app, ["S4"])
    assert shown.exit_code == 0
    for word in ("character table", "irreducible representations", "30 subgroups in 11 classes", "SmallGroup(24,12)"):
        assert word in shown.output
    data = json.loads(runner.invoke(app, ["C7:C3", "--json", "--no-formats"]).output)
    assert data["order"] == 21 and "formats" not in data and data["characters"][3]["type"] == "complex"
    assert runner.invoke(app, ["C3^3wrC2"]).exit_code == 0  # hundreds of classes: summarised


def test_listing():
    assert "Heis(3)" in runner.invoke(app, []).output
    rows = json.loads(runner.invoke(app, ["--order", "32", "--json"]).output)
    assert len(rows) == 51 and rows[48]["degrees"] == "1^16 4"
    assert listing(21)[0]["structure"] == "C7:C3"


BAD = [["foo"], ["S99"], ["--order", "64"], ["S3", "--order", "3"], ["SmallGroup(32,52)"]]


@pytest.mark.parametrize("arguments", BAD)
def test_bad_requests_are_one_line(arguments):
    done = subprocess.run([sys.executable, "-m", "search.groups", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_importing_groups_is_light():
    code = (
        "import sys; import stl_algebra.groups;"
        "print([m for m in ('sympy', 'galois', 'networkx', 'flint', 'torch', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
