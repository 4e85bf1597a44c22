"""Origins: one schema, one rule of lineage, and nothing a stranger writes reaches a terminal or a spreadsheet raw."""

import json
import shlex

import pytest

from search.core.origins import FIELDS, completed, found, lineage, of_parents, printable, unit_of
from search.core.unit import Unit
from stl_algebra import StlError
from stl_algebra.schemes import strassen

UNIT = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}}, 5)


def test_the_command_of_a_find_holds_its_unit():
    origin = found(UNIT, "rationalised", device="cpu")
    assert tuple(origin)[: len(FIELDS)] == FIELDS and origin["device"] == "cpu"
    words = shlex.split(origin["command"])
    assert words[:4] == ["python", "-m", "search.run", "--unit"] and Unit.parse(json.loads(words[4])) == UNIT
    assert unit_of(strassen().with_origin(**origin)) == UNIT


def test_lineage_is_from_scratch_only_if_all_parents_are():
    ours = strassen().with_origin(**found(UNIT, "found"))
    theirs = strassen()
    assert lineage(ours) == "scratch" and lineage(theirs) == "published"
    assert of_parents([]) == of_parents([ours, ours]) == "scratch" and of_parents([ours, theirs]) == "published"
    child = found(UNIT, "found", [theirs])
    assert child["lineage"] == "published" and child["parents"] == [theirs.digest]
    for claim in ("SCRATCH", 1, None, ["scratch"], {"scratch": 1}):
        assert lineage(theirs.with_origin(lineage=claim)) == "published"


def test_incomplete_origins_are_completed():
    ours = strassen().with_origin(**found(UNIT, "found"))
    square = ours.kron(ours)
    lookup = lambda name: ours if ours.digest.startswith(name) else None  # noqa: E731
    full = completed(square, lookup).origin
    assert set(FIELDS) <= set(full) and full["family"] == "kron" and full["lineage"] == "scratch"
    assert completed(square).origin["lineage"] == "published"  # parents nobody knows
    assert completed(strassen()).origin["name"] == "Strassen 1969"
    assert completed(completed(square, lookup)).origin == full
    for bad in ({"unit": 7}, {"unit": {"family": 1}}, {"parents": "all"}, {"family": ["x"]}):
        origin = completed(strassen().with_origin(**bad)).origin
        assert set(FIELDS) <= set(origin) and unit_of(strassen().with_origin(**origin)) is None


def test_origins_are_bounded():
    with pytest.raises(StlError, match="origin"):
        completed(strassen().with_origin(family="x" * 200_000))


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\x1b[31mred", "a\nb", "[bold]x", "x" * 500, "\u202egnp"])
def test_strange_text_is_made_harmless(text):
    shown = printable(text)
    assert shown.isprintable() and len(shown) <= 60 and shown[:1] not in "=+-@"
