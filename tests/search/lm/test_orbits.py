"""Invariant encoders of every symmetry of the grammar, which multisets are tried, and the race between them."""

import numpy as np
import pytest

from search.core.unit import Context, Unit, family
from search.lm import CyclicZ3
from search.lm.invariant import Invariant, types_of
from search.lm.problem import numbered
from search.lm.race import race
from stl_algebra import StlError

GROUPS = [
    ("Z3", (2, 2, 2)), ("T", (2, 3, 2)), ("Z3*T", (3, 3, 3)), ("d:1+1,2+1,3+0", (2, 3, 3)), ("c:(123)", (3, 3, 3)),
    ("c:(12),(),(12)(34)", (3, 2, 4)), ("Z3~c:(12)", (2, 2, 2)), ("s:(12)*s:(123)", (2, 2, 2)),
    ("E32/15", (4, 4, 4)), ("mono:4:0", (2, 3, 4)), ("p:-12,132,2143", (2, 3, 4)), ("S3/T/2,2c/92agd", (2, 2, 2)),
]  # fmt: skip
COMPLEX = [("p:231*p:1w2ww3", (3, 3, 3)), ("mono4:8:1", (4, 4, 4)), ("c:(123)", (3, 3, 3))]


@pytest.mark.parametrize(
    ("name", "fmt", "field"), [(*g, "real") for g in GROUPS] + [(*g, "complex") for g in COMPLEX], ids=str
)
def test_expansions_are_invariant_and_orbits_have_the_stated_size(name, fmt, field):
    acting, types = types_of(name, fmt, field)
    types = types[:20]
    par = Invariant(name, fmt, [1] * len(types), field)
    theta = np.random.default_rng(4).standard_normal((2, par.size))
    e_x, e_w, d = par.expand(theta[0] + 1j * theta[1] if field == "complex" else theta[0])
    tensor = np.einsum("la,lb,cl->abc", e_x, e_w, d)
    for g in acting.elements:
        moved = np.einsum("abc,xa,yb,zc->xyz", tensor, *g.maps, optimize=True).transpose(np.argsort(g.slots))
        assert np.abs(moved - tensor).max() < 1e-10 * np.abs(tensor).max()
    at = 0
    for t in types:  # a generic term of each type has exactly that many images
        terms = [np.einsum("a,b,c->abc", e_x[l], e_w[l], d[:, l]).ravel() for l in range(at, at + t.size)]
        assert len({tuple(np.round(x, 6)) for x in terms}) == t.size, t.name
        at += t.size


def test_cyclic_types_are_those_of_the_special_parametrisation():
    types = types_of("Z3", (3, 3, 3))[1]
    special = CyclicZ3(3, 11, 4)
    assert [(t.name, t.size, t.unknowns) for t in types] == [("3", 3, 27), ("1:<a>:+", 1, 9)]
    assert {o.name for o, _ in special.orbits} == {t.name for t in types}
    assert Invariant("Z3", (3, 3, 3), (4, 11)).size == special.size == 207
    rng = np.random.default_rng(0)
    term = rng.standard_normal(9)
    mine = Invariant("Z3", (3, 3, 3), {"1:<a>:+": 1}).expand(term)
    for ours, theirs in zip(mine, CyclicZ3(3, 1, 0).expand(term), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_real_units_refuse_complex_symmetries_and_unknown_types():
    with pytest.raises(StlError, match="complex"):
        Invariant("p:1i2", (2, 2, 2), [1])
    with pytest.raises(StlError, match="orbit types of Z3: 3, 1:<a>:"):
        Invariant("Z3", (2, 2, 2), {"C3": 1})
    with pytest.raises(StlError, match="orbit types"):
        Invariant("Z3", (2, 2, 2), [1, 2, 3])


def counted(unit, many):
    sizes = {t.name: t.size for t in types_of(unit.symmetry, unit.format)[1]}
    found = numbered(unit, many)
    assert all(sum(sizes[n] * k for n, k in c.items()) == unit.rank for c in found)
    return found


def test_all_multisets_come_in_turn_and_begin_again():
    unit = Unit("orbit", "s:(12)*s:(123)", (2, 2, 2), 3)
    whole = counted(unit, 10_000)
    assert len({tuple(sorted(c.items())) for c in whole}) == len(whole) > 27
    seen = [c for k in range(0, len(whole), 9) for c in counted(unit.with_(first=k), 9)]
    assert seen == whole and counted(unit.with_(first=len(whole)), 3) == whole[:3]
    orbits = [sum(c.values()) for c in whole]
    assert orbits == sorted(orbits)


@pytest.mark.parametrize(("name", "orbits"), [("E32/15", {"8": 6}), ("E32/134", {"16": 3})])
def test_free_orbits_alone_are_among_the_first(name, orbits):
    """Both solve rank 48; a sampler that wants a third of the terms in short orbits never draws them."""
    assert orbits in counted(Unit("orbit", name, (4, 4, 4), 48), 9)


def test_where_there_are_too_many_half_are_drawn():
    unit = Unit("orbit", "E32/15", (4, 4, 4), 48)
    first, second = counted(unit, 9), counted(unit.with_(first=9), 9)
    assert len({sum(c.values()) for c in first}) > 2 and not [c for c in second if c in first]


def test_the_race_finds_strassen_and_says_what_it_tried():
    context = Context(seconds=60)
    unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"restarts": 24, "many": 3})
    arm = next(race(unit, context))
    assert arm.counts in ({"3": 1, "1:<a>:+": 4}, {"3": 2, "1:<a>:+": 1}) and arm.result.converged.any()
    assert context.statistics["raced"] == 3
    lost = list(race(unit.with_(rank=5), context := Context(seconds=60)))
    assert len(lost) == 1 and lost[0].eps2 > 1e-3 and context.statistics["rungs"] == "2 1 1"
    assert lost[0].restarts == 3 + 6 + 24  # the better of the two climbed to the top
    assert len(list(family("orbit").run(unit.with_(rank=5, approximate=True), Context(seconds=60)))) == 1


def test_time_ends_a_race():
    context = Context(seconds=1e-9)
    assert list(race(Unit("orbit", "Z3", (2, 2, 2), 5), context)) == []
