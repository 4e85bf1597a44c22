"""Units have stable keys made of what changes the answer; what strangers send is refused in words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.core.unit import Request, Unit, families_of, family, groups, parse_format, register
from stl_algebra import StlError

values = st.one_of(st.integers(), st.text(), st.lists(st.integers()), st.booleans(), st.none())
names = st.text("abcXYZ019*:+()-", min_size=1, max_size=9)
units = st.builds(
    Unit, family=names, symmetry=names, format=st.tuples(*[st.integers(1, 9)] * 3), rank=st.integers(1, 99),
    parameters=st.dictionaries(st.text(), values, max_size=3), seed=st.integers(0, 2**31),
    ring=st.sampled_from(["Z", "Q", "GF(2)"]),
)  # fmt: skip


@settings(max_examples=50)
@given(units, units)
def test_keys_tell_units_apart_and_plain_data_is_the_unit(a, b):
    assert (a.key == b.key) == (a == b) and len(a.key) == 20
    back = Unit.parse(json.loads(json.dumps(a.plain())))
    assert back == a and back.key == a.key and hash(back) == hash(a)


def test_every_field_is_in_the_key():
    one = Unit("f", "Z3", (2, 2, 2), 7, {"a": 1, "b": [2]}, 5, "Z")
    assert one.key == Unit("f", "Z3", (2, 2, 2), 7, {"b": (2,), "a": 1}, 5, "Z").key
    changes = [{"family": "g"}, {"symmetry": "T"}, {"format": (2, 2, 3)}, {"rank": 8}, {"a": 2}, {"seed": 6},
               {"ring": "Q"}]  # fmt: skip
    others = [one.with_(**c) for c in changes]
    assert len({u.key for u in others} | {one.key}) == 8 and others[4].parameters["a"] == 2


@pytest.mark.parametrize(
    "row",
    [
        None, 7, [], {}, {"family": "f"}, {"colour": 1}, {"family": 1}, {"family": ""}, {"family": "a\nb"},
        {"family": "x" * 500}, {"symmetry": "\x1b[31m"}, {"format": "2x2"}, {"format": "99x1x1"}, {"format": None},
        {"format": {}}, {"rank": 0}, {"rank": "7"}, {"rank": 1e3}, {"rank": True}, {"rank": 10**9}, {"seed": -1},
        {"seed": 2**64}, {"parameters": []}, {"parameters": {"a": float("nan")}}, {"parameters": {"a": {1}}},
        {"parameters": {"a": "x" * 30_000}}, {"ring": "R"},
    ],
)  # fmt: skip
def test_what_is_no_unit_is_refused(row):
    good = {"family": "f", "symmetry": "none", "format": "2x2x2", "rank": 7}
    assert Unit.parse(good).format == (2, 2, 2)
    whole = {**good, **row} if isinstance(row, dict) and row and "family" not in row else row
    if isinstance(row, dict) and "family" in row and row != {"family": "f"}:
        whole = {**good, **row}
    with pytest.raises(StlError):
        Unit.parse(whole)


def test_formats_have_one_grammar():
    for text in ("2,3,4", "2x3x4", " 2 × 3 × 4", [2, 3, 4], (2, 3, 4)):
        assert parse_format(text) == (2, 3, 4)
    assert parse_format("3") == (3, 3, 3)
    for text in ("", "2,3", "2,3,4,5", "0,1,1", "17,1,1", "x", None, 3, [2, 3]):
        with pytest.raises(StlError, match="format"):
            parse_format(text)


def test_unknown_names_list_the_known():
    with pytest.raises(StlError) as caught:
        family("nothing")
    assert "simplex" in str(caught.value)
    with pytest.raises(StlError) as caught:
        families_of(Request("nothing"))
    assert all(g in str(caught.value) for g in groups())
    assert {f.name for f in families_of(Request("cyclic"))} == {"approximate", "fourier", "orbit"}
    assert {f.name for f in families_of(Request("Z3"))} == {"flips", "orbit"}
    assert {f.name for f in families_of(Request("none"))} >= {"flips", "orbit"}
    assert {f.name for f in families_of(Request("cyclic", "orbit"))} == {"orbit"}
    assert {f.name for f in families_of(Request("S3"))} == {"action", "fourier", "triples"}
    assert [f.name for f in families_of(Request("Z3*d:2+1"))] == ["flips", "orbit"]
    assert [f.name for f in families_of(Request(family="pools"))] == ["pools"]


def test_registering_adds_a_family(families):
    @register("toy", groups=("toys",), space="one unit, whatever is asked", run=lambda *_: iter(()), settings={"a": 1})
    def toy(request, turn):
        """One."""
        yield Unit("toy", request.group, (2, 2, 2), 7, {}, turn)

    assert family("toy").space.startswith("one unit")
    assert [f.name for f in families_of(Request("toys"))] == ["toy"]
    (unit,) = family("toy").round(Request(parameters={"a": 2}, ring="Z"), 3)
    assert (unit.seed, unit.symmetry, unit.parameters, unit.ring) == (3, "toys", {"a": 2}, "Z")
    with pytest.raises(StlError, match="for family toy: a"):
        family("toy").round(Request(parameters={"b": 2}), 0)
