"""Units have stable keys made of what changes the answer; unknown names list the known ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.core import unit as registry
from search.core.unit import Request, Start, Unit, families_of, family, groups, register
from stl_algebra import StlError
from stl_algebra.targets import matmul

values = st.one_of(st.integers(), st.text(), st.lists(st.integers()), st.booleans(), st.none())
units = st.builds(
    Unit,
    family=st.text(),
    group=st.text(),
    format=st.tuples(*[st.integers(1, 9)] * 3),
    rank=st.integers(1, 99),
    parameters=st.dictionaries(st.text(), values, max_size=3),
    seed=st.integers(0, 2**31),
)


@settings(max_examples=25)
@given(units, units)
def test_keys_tell_units_apart(a, b):
    same = (a.family, a.group, a.format, a.rank, a.seed) == (b.family, b.group, b.format, b.rank, b.seed)
    same = same and repr(sorted(a.parameters.items())) == repr(sorted(b.parameters.items()))
    assert (a.key == b.key) == same and len(a.key) == 20


def test_keys_do_not_depend_on_order_or_process():
    one = Unit("f", "Z3", (2, 2, 2), 7, {"a": 1, "b": [2]}, 5)
    assert one.key == Unit("f", "Z3", (2, 2, 2), 7, {"b": [2], "a": 1}, 5).key
    fields = [("g", "Z3", 7, 5), ("f", "Z4", 7, 5), ("f", "Z3", 8, 5), ("f", "Z3", 7, 6)]
    keys = {Unit(f, g, (2, 2, 2), r, {"a": 1, "b": [2]}, s).key for f, g, r, s in fields}
    assert len(keys) == 4 and one.key not in keys


def test_a_key_without_the_seed_would_be_seen(monkeypatch):
    monkeypatch.setattr(Unit, "key", property(lambda self: self.family + self.group))
    with pytest.raises(AssertionError):
        test_keys_do_not_depend_on_order_or_process()


def test_unknown_names_list_the_known():
    with pytest.raises(StlError) as caught:
        family("nothing")
    assert "simplex" in str(caught.value)
    with pytest.raises(StlError) as caught:
        families_of("nothing")
    assert all(g in str(caught.value) for g in groups())
    assert "cyclic" in groups() and {f.name for f in families_of("cyclic")} >= {"fourier", "orbit-z3"}


def test_registering_adds_a_family(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))

    @register("toy", groups=("toys",), space="one unit, whatever is asked", build=lambda u: Start(matmul(*u.format)))
    def toy(request, turn):
        """One."""
        yield Unit("toy", "T", (2, 2, 2), 7, {}, turn)

    assert family("toy").space.startswith("one unit") and [f.name for f in families_of("toys")] == ["toy"]
    assert next(iter(family("toy").units(Request("toys"), 3))).seed == 3


def test_origins_name_everything():
    origin = Unit("f", "Z3", (2, 2, 2), 7, {"a": 1}, 5).origin(stage="rationalised")
    assert origin["from"] == "scratch" and origin["stage"] == "rationalised" and origin["version"]
    assert (origin["family"], origin["group"], origin["seed"], origin["parameters"]) == ("f", "Z3", 5, {"a": 1})
