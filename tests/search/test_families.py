"""The conformance every registered family inherits: adding a family adds its tests."""

import json

import numpy as np
import pytest

from search.core.unit import Request, Start, Unit, families, family
from stl_algebra import Encoder, StlError
from stl_algebra.conversions import restrict_scalars

NAMES = sorted(families())
#: One worker does all of a family and group: what it computes once (orbit types) is cached.
PLACES = [
    pytest.param(name, group, marks=pytest.mark.xdist_group(f"{name} {group}"))
    for name in NAMES
    for group in family(name).groups
]


def first_units(name, group, turn=0, **request):
    return list(family(name).units(Request(group, **request), turn))


def small_unit(name, group):
    """The cheapest of the units of the family's own choice."""
    units = first_units(name, group)
    return min(units, key=lambda u: (np.prod(u.format), u.rank, u.key))


def test_there_are_families():
    assert {"free", "fourier", "orbit-z3", "simplex"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_space_and_documentation(name):
    f = family(name)
    assert f.name == name and f.groups and len(f.space.strip()) > 20 and "\n" not in f.space
    assert f.units.__doc__ and callable(f.build)


@pytest.mark.parametrize(("name", "group"), PLACES)
def test_units_are_deterministic_plain_and_unique(name, group):
    units, again = first_units(name, group), first_units(name, group)
    assert units and [u.key for u in units] == [u.key for u in again]
    assert len({u.key for u in units}) == len(units)
    for u in units:
        assert u.family == name and len(u.format) == 3 and u.rank >= 1
        assert json.loads(json.dumps(dict(u.parameters))) == dict(u.parameters)
        assert json.loads(json.dumps(u.origin(stage="test")))["family"] == name
    later = first_units(name, group, turn=1)
    assert not {u.key for u in units} & {u.key for u in later}
    other = first_units(name, group, seed=12345)
    if later:  # random families: another seed is other work
        assert not {u.key for u in units} & {u.key for u in other}


@pytest.mark.parametrize(("name", "group"), PLACES)
def test_requests_are_kept(name, group):
    for unit in {(u.format, u.rank): u for u in first_units(name, group)}.values():
        same = first_units(name, group, format=unit.format, rank=unit.rank)
        assert same and all(u.format == unit.format and u.rank == unit.rank for u in same)


@pytest.mark.parametrize(("name", "group"), PLACES)
@pytest.mark.parametrize(
    "request_",
    [{"rank": 1, "format": (3, 3, 3)}, {"order": 999983}, {"format": (16, 16, 16)}, {"format": (2, 2, 2), "rank": 9}],
)
def test_impossible_requests_are_refused(name, group, request_):
    units = first_units(name, group, **request_)
    if name == "free" and request_.get("rank") == 1:
        assert units  # one product is a legitimate approximation
        return
    assert units == []
    with pytest.raises(StlError) as caught:
        family(name).check(Request(group, **request_), units)
    assert family(name).space in str(caught.value) and name in str(caught.value)


def conforms(unit, work):
    """What the pipeline relies on."""
    assert isinstance(work, Start) and work.target.format == unit.format
    assert work.encoders or work.parametrisation is not None
    for e in work.encoders:
        assert isinstance(e, Encoder) and e.format == unit.format
        # a complex encoder of Q(ζ_r) counts real products: 1 per real character, 3 per complex pair
        assert e.rank == unit.rank or e.ring.is_complex or e.ring.degree > 1 or e.ring.name == "Q"
        json.dumps(dict(e.origin))
    if work.parametrisation is not None:
        size = work.parametrisation.size
        theta = np.random.default_rng(0).standard_normal((2, size))
        x, w, d = work.parametrisation.expand(theta)
        n, m, p = unit.format
        assert x.shape[-2:] == (unit.rank, n * m) and w.shape[-2:] == (unit.rank, m * p)
        assert sorted(d.shape[-2:]) == sorted((n * p, unit.rank))
        if work.init is not None:
            assert work.init.ndim == 2 and work.init.shape[1] == size and np.isfinite(work.init).all()
        assert work.restarts >= 1 and work.iterations >= 1


@pytest.mark.parametrize(("name", "group"), PLACES)
def test_build_makes_a_start(name, group):
    unit = small_unit(name, group)
    work = family(name).build(unit)
    conforms(unit, work)
    again = family(name).build(unit)
    assert work.encoders == again.encoders
    if work.init is not None:
        assert np.array_equal(work.init, again.init)


def test_a_family_of_the_wrong_rank_would_be_seen():
    unit = small_unit("simplex", "symmetric")
    work = family("simplex").build(unit)
    conforms(unit, work)
    wrong = Start(work.target, [work.encoders[0].drop_terms([0])])
    with pytest.raises(AssertionError):
        assert wrong.encoders[0].ring.name == "Z"
        conforms(unit, wrong)


# --------------------------------------------------------- family by family
def test_simplex_is_exact():
    for unit in first_units("simplex", "symmetric"):
        (e,) = family("simplex").build(unit).encoders
        assert e.is_exact and e.rank == unit.rank


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_fourier_error_is_the_closed_form(order):
    """ε² of the complex encoder = 1 − retained energy/nmp, and restriction of scalars keeps exactness honest."""
    from search.families.fourier import algebra, index_maps, real_encoder, real_rank, retained_energy
    from stl_algebra.scores import epsilon2

    unit = next(u for u in first_units("fourier", "cyclic", format=(2, 2, 2)) if u.group == f"Z{order}")
    (e,) = family("fourier").build(unit).encoders
    table, left, right = algebra(str(unit.parameters["group"]))
    alpha, beta = index_maps(unit.format, table, unit.seed)
    expected = 1 - retained_energy(alpha, beta, table) / 8
    assert epsilon2(e) == pytest.approx(expected) and e.rank == order and unit.rank == real_rank(order)
    real = Encoder.build((2, 2, 2), *real_encoder(alpha, beta, left, right), ring="R64")
    assert real.rank == unit.rank and epsilon2(real) <= expected + 1e-9
    if e.ring.degree > 1:
        assert restrict_scalars(e).is_exact == e.is_exact


def test_orbit_z3_expands_to_invariant_terms():
    """Rotating the three factors permutes the terms: T̂ is the same after rotate()."""
    unit = small_unit("orbit-z3", "cyclic")
    work = family("orbit-z3").build(unit)
    theta = np.random.default_rng(1).standard_normal((1, work.parametrisation.size))
    x, w, d = (np.asarray(f)[0] for f in work.parametrisation.expand(theta))
    d = d if d.shape[0] == unit.format[0] * unit.format[2] else d.T
    e = Encoder.build(unit.format, x, w, d, ring="R64")

    def tensor(f):
        return np.einsum("la,lb,cl->abc", *f.floats())

    assert np.allclose(tensor(e.rotate()), tensor(e))
    assert isinstance(unit, Unit)
