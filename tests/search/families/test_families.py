"""The conformance every registered family inherits: adding a family adds its tests."""

import json

import numpy as np
import pytest

from search.core.unit import Context, Request, Unit, families, family
from search.core.work import work
from stl_algebra import Encoder, StlError

NAMES = sorted(families())
#: A value of --group for families that have no kinds of their own.
EXAMPLES = {"action": "S3", "triples": "A4", "puzzles": "C5"}
#: One worker does all of a family and group: what it computes once (orbit types) is cached.
PLACES = [
    pytest.param(name, group, marks=pytest.mark.xdist_group(f"{name} {group}"))
    for name in NAMES
    for group in family(name).groups or (EXAMPLES.get(name, "none"),)
]


def first_units(name, group, turn=0, **request):
    return family(name).round(Request(group, **request), turn)


def small_unit(name, group):
    """The cheapest of the units of the family's own choice."""
    units = first_units(name, group)
    return min(units, key=lambda u: (np.prod(u.format), u.rank, u.key))


def test_there_are_families():
    assert {"compose", "flips", "fourier", "orbit", "pools", "puzzles", "simplex", "triples"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_space_and_documentation(name):
    f = family(name)
    assert f.name == name and len(f.space.strip()) > 20 and "\n" not in f.space
    assert f.units.__doc__ and f.run.__doc__ and json.loads(json.dumps(dict(f.settings))) == f.settings


@pytest.mark.parametrize(("name", "group"), PLACES)
def test_units_are_deterministic_plain_and_unique(name, group):
    units, again = first_units(name, group), first_units(name, group)
    assert units and [u.key for u in units] == [u.key for u in again]
    assert len({u.key for u in units}) == len(units)
    for u in units:
        assert u.family == name and len(u.format) == 3 and u.rank >= 1
        assert Unit.parse(json.loads(json.dumps(u.plain()))) == u
        family(name).check(u.parameters)
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
def test_impossible_requests_have_no_units(name, group, request_):
    units = first_units(name, group, **request_)
    if (name in ("action", "approximate") or (name, group) == ("orbit", "none")) and request_.get("rank") == 1:
        assert units  # one product is a legitimate approximation
    elif name == "pools" and request_.get("rank") == 9:
        assert units  # pools reach what they reach
    else:
        assert units == []


@pytest.mark.parametrize(("name", "group"), PLACES)
def test_a_short_run_gives_finds_of_the_unit(name, group):
    if (name, group) == ("orbit", "extraspecial"):
        pytest.skip("a unit of ⟨4,4,4⟩ takes longer; the plans run it")
    unit = small_unit(name, group).with_(**({"restarts": 4, "iterations": 30} if name == "orbit" else {}))
    context = Context(seconds=5.0)
    for count, e in enumerate(family(name).run(unit, context)):
        if name == "puzzles" and e.target.format is None:
            continue  # the products side by side
        assert isinstance(e, Encoder) and (e.format == unit.format or name == "pools")
        # a complex encoder of Q(ζ_r) counts real products: 1 per real character, 3 per complex pair
        # pools and the approximate family hand on what they find at neighbouring formats and ranks
        assert e.rank == unit.rank or name in ("fourier", "pools", "approximate")
        json.dumps(dict(e.origin))
        if count == 3:
            break
    json.dumps(context.statistics)


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_wrong_kind_are_words(name):
    """Whatever a plan says, the unit fails in words."""
    group = (family(name).groups or (EXAMPLES.get(name, "none"),))[0]
    unit = small_unit(name, group)
    for setting in family(name).settings:
        for value in ({"x": []}, "red", -1, [[]]):
            outcome = work(unit.with_(**{setting: value}), seconds=0.05)
            assert outcome.status in ("failed", "cut", "done")


# --------------------------------------------------------- family by family
def test_simplex_is_exact():
    for unit in first_units("simplex", "symmetric"):
        (e,) = family("simplex").run(unit, Context())
        assert e.is_exact and e.rank == unit.rank


@pytest.mark.parametrize("name", ["C2", "C3", "C5", "C2xC2", "S3", "Q8"])
def test_fourier_error_is_the_closed_form(name):
    """ε² = 1 − retained energy/nmp for the encoder in closed form; keeping the transform can only improve on it."""
    from search.algebras.indexmaps import collisions, index_maps
    from search.algebras.wedderburn import channels
    from stl_algebra import group
    from stl_algebra.scores import epsilon2

    rank = channels(name)
    unit = Unit("fourier", "none", (3, 3, 3), rank, {"group": name}, 1)
    finds = {e.origin.get("transform", e.origin.get("stage")): e for e in family("fourier").run(unit, Context())}
    table = np.asarray(group(name).table)
    found = collisions(*index_maps(unit.format, table, 1), table)
    closed = 1 - found.retained / 27
    kept = finds["kept"]
    assert epsilon2(kept) <= closed + 1e-6 and kept.rank == rank
    if channels(name, "complex") == rank:
        assert epsilon2(finds["constructed"]) == pytest.approx(closed)
    transform = kept.floats()[0] / np.array(kept.origin["x"])  # what is left is the transform at the places of A
    places = np.array(kept.origin["alpha"]).ravel()
    assert all(
        np.allclose(transform[:, a], transform[:, b]) for a in range(9) for b in range(a) if places[a] == places[b]
    )
    if name in ("C2", "C2xC2"):
        assert np.allclose(np.abs(transform), np.abs(transform[0, 0]))  # Walsh–Hadamard: ±1
    assert "keep" in kept.origin["barrier"]


def test_fourier_leaves_out_representations():
    unit = Unit("fourier", "none", (2, 2, 2), 5, {"group": "C2^3", "polish": "kept"}, 0)
    (e,) = family("fourier").run(unit, Context())
    assert e.rank == len(e.origin["channels"]) == 5
    with pytest.raises(StlError, match="polish"):
        next(family("fourier").run(unit.with_(polish="both ways"), Context()))


@pytest.mark.parametrize(
    ("name", "fmt", "real", "complex_"),
    [("S3", (2, 2, 2), 9, 9), ("A4", (2, 3, 3), 27, 26), ("C7:C3", (3, 3, 3), 73, 49), ("2^(1+4)+", (4, 4, 4), 64, 64)],
)
def test_smallest_groups_of_each_format(name, fmt, real, complex_):
    """The groups of the literature, over the reals, over Q(ζ) and modulo a prime; every encoder proven."""
    units = {u.format: u for u in first_units("triples", name)}
    (e,) = family("triples").run(units[fmt], Context())
    assert e.is_exact and e.rank == real and e.ring.name != "R64"
    (z,) = family("triples").run(units[fmt].with_(field="complex"), Context())
    assert z.is_exact and z.rank == complex_
    prime = {"S3": 7, "A4": 7, "C7:C3": 43, "2^(1+4)+": 5}[name]
    (f,) = family("triples").run(units[fmt].with_(field=f"GF({prime})"), Context())
    assert f.is_exact and f.ring.name == f"GF({prime})" and f.rank == complex_
    with pytest.raises(StlError, match="modulo"):
        next(family("triples").run(units[fmt].with_(field="GF(11)"), Context()))


def test_two_products_from_one_transform():
    """Two 4×4×4 products in 125 over Q(ζ₅), side by side and as one ⟨4,8,4⟩."""
    (unit,) = first_units("puzzles", "C5")
    whole, side = family("puzzles").run(unit, Context())
    assert whole.is_exact and whole.format == (4, 8, 4) and whole.rank == 125 < 128
    assert side.is_exact and side.target.name == "matmul:4x4x4+matmul:4x4x4" and side.rank == 125
    with pytest.raises(StlError, match="puzzle"):
        next(family("puzzles").run(unit.with_(rows=["123", "132"]), Context()))


@pytest.mark.parametrize(("fmt", "ring", "rank"), [((4, 4, 4), "Z", 49), ((6, 6, 8), "Z", 203), ((7, 3, 3), "Q", 49)])
def test_compositions_are_proven(fmt, ring, rank):
    units = family("compose").round(Request(family="compose", format=fmt, ring=ring), 0)
    if fmt == (4, 4, 4):  # the catalogue has it in one piece
        assert units == []
        return
    outcome = work(units[0])
    (e,) = outcome.encoders
    assert e.is_exact and e.rank == rank and e.format == fmt and e.ring.name in ("Z", "Z[1/2]", "Q")
    assert e.origin["parents"] and e.origin["plan"]


def test_finds_under_the_shift_are_invariant():
    """Rotating the three factors permutes the terms: T̂ is the same after rotate()."""
    from search.lm.problem import parametrisation

    unit = small_unit("orbit", "cyclic")
    par = parametrisation(unit)
    x, w, d = par.expand(np.random.default_rng(1).standard_normal(par.size))
    e = Encoder.build(unit.format, x, w, d, ring="R64")

    def tensor(f):
        return np.einsum("la,lb,cl->abc", *f.floats())

    assert np.allclose(tensor(e.rotate()), tensor(e))


def test_counts_of_another_rank_are_refused():
    unit = small_unit("orbit", "cyclic").with_(counts={"3": 1, "1:<a>:+": 1})
    with pytest.raises(StlError, match="rank"):
        next(family("orbit").run(unit, Context()))


def test_solutions_come_with_least_kappa_first():
    from stl_algebra.scores import epsilon2, kappa2

    unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}, "restarts": 24, "iterations": 100})
    scores = [kappa2(e) for e in family("orbit").run(unit, Context())]
    assert len(scores) > 2 and scores == sorted(scores) and scores[0] < scores[-1]
    rough = Unit("orbit", "none", (2, 2, 2), 6, {"restarts": 12, "iterations": 60, "approximate": True}, 3)
    (best,) = family("orbit").run(rough, Context())
    result = minimise_again(rough)
    total = result.eps2 + 8.1e-6 * result.kappa2
    assert epsilon2(best) + 8.1e-6 * kappa2(best) == pytest.approx(total.min())


def minimise_again(unit):
    from search.lm.problem import parametrisation
    from search.lm.starts import solve

    return solve(unit, parametrisation(unit))[0]
