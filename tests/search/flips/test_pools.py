"""Flip graphs over many formats: pools, units of work, lifting with and without symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.core.unit import Unit
from search.core.work import work
from search.exact.hensel import hensel_lift
from search.flips import Schedule, search_flips, standard, symmetric_start, walk_from
from search.flips.pools import Pools, all_formats, oriented, transposed, wandered
from search.flips.scheme import unpack
from stl_algebra import Encoder, schemes
from stl_algebra.errors import StlError
from stl_algebra.files import save
from stl_algebra.targets import matmul


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
@pytest.mark.parametrize("longest", [2, 3])
def test_factors_stay_as_short_as_asked(ring, longest):
    plan = Schedule(flips=200_000, plus_after=100, plus_diff=4, longest=longest)
    found, _ = walk_from(standard((3, 3, 3), ring), 0, plan, [1])
    assert found.exact()
    assert np.count_nonzero(unpack(found.terms.ravel(), 9, ring), axis=1).max() <= longest
    free, _ = walk_from(standard((3, 3, 3), ring), 0, Schedule(flips=200_000, plus_after=100, plus_diff=4), [1])
    assert np.count_nonzero(unpack(free.terms.ravel(), 9, ring), axis=1).max() > longest


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 3), st.sampled_from(["GF(2)", "Z"]), st.permutations(range(3)))
def test_orientation_keeps_rank_and_exactness(fmt, ring, order):
    scheme, _ = walk_from(standard(fmt, ring), 0, Schedule(flips=5_000), [2])
    wanted = tuple(fmt[i] for i in order)
    turned = oriented(scheme, wanted)
    assert (turned.format, turned.rank) == (wanted, scheme.rank) and turned.exact()
    assert transposed(scheme).format == fmt[::-1] and transposed(scheme).exact()
    with pytest.raises(StlError, match="fmt"):
        oriented(scheme, (fmt[0] + 1, fmt[1], fmt[2]))


def test_wandering_keeps_the_rank_and_moves():
    start = search_flips((3, 3, 3), target_rank=23, seconds=30, seed=1).scheme
    other = wandered(start, 100_000, (3, 4))
    assert other.rank == 23 and other.exact()
    assert set(map(tuple, other.terms)) != set(map(tuple, start.terms))
    with pytest.raises(StlError, match="flips"):
        wandered(start, -1, (0,))


def test_pools_reach_the_best_known_ranks_of_small_formats():
    pools = Pools(all_formats(2, (3, 3, 3)), seed=3, schedule=Schedule(flips=1_000_000, plus_after=3_000, plus_diff=1))
    goal = {(2, 2, 2): 7, (2, 2, 3): 11, (2, 3, 3): 15, (3, 3, 3): 23}
    pools.run(60, goal)
    assert {f: pools.rank(f) for f in goal} == goal
    for fmt, pool in pools.pools.items():
        assert all(s.format == fmt and s.exact() and s.rank == pools.rank(fmt) for s in pool)


def test_pools_go_down_from_larger_formats_and_not_below_the_floor():
    pools = Pools([(2, 2, 2), (2, 2, 3)], floors={(2, 2, 2): 8}, seed=1)
    assert pools.add(search_flips((2, 2, 3), target_rank=11, seconds=30).scheme)
    assert not pools.add(standard((2, 3, 2)))  # other order of the sizes, higher rank
    assert [s.rank for s in pools.pools[2, 2, 3]] == [11]
    starts = [pools.start((2, 2, 2)) for _ in range(40)]
    assert all(s.format == (2, 2, 2) and s.exact() and s.rank <= 8 for s in starts)
    assert any(np.bitwise_count(s.terms).max() > 1 for s in starts)  # a slice dropped from rank 11
    pools = Pools([(2, 2, 2)], floors={(2, 2, 2): 8})
    pools.run(0.3)
    assert pools.rank((2, 2, 2)) == 8
    with pytest.raises(StlError, match="formats"):
        pools.add(standard((3, 3, 3)))


@pytest.mark.parametrize(("n", "symmetry", "rank"), [(3, "C3", 23), (4, "C3", 49), (4, "C3xZ2", 49), (5, "C3xZ2", 103)])
def test_lift_within_the_symmetry(n, symmetry, rank):
    scheme = search_flips((n, n, n), "GF(2)", symmetry, rank, 60, 1).scheme
    ties = scheme.ties()
    assert ties is not None
    group = 3 if symmetry == "C3" else 6
    assert n**6 / group <= len(ties[1]) < n**6 / group + 2 * n**2  # one equation of each orbit
    assert ties[0].max() + 1 == n * n * (len(scheme.cubes) + 3 * scheme.orbits)
    report = hensel_lift(matmul(n, n, n).dense(), *scheme.factors(), ties=ties)
    assert report.success, report.reason
    z = report.d.T.reshape(-1, n, n).transpose(0, 2, 1).reshape(-1, n * n)

    def tensor(x, y, w):
        return np.einsum("la,lb,lc->abc", x, y, w)

    assert np.array_equal(tensor(report.e_x, report.e_w, z), tensor(report.e_w, z, report.e_x))
    m = scheme.orbits  # the second rotation of the first orbit is that of the first, over Z too
    s = len(scheme.cubes)
    assert np.array_equal(report.e_x[s], z[s + m]) and np.array_equal(report.e_w[s], report.e_x[s + m])


def test_ties_that_do_not_fit_are_refused():
    scheme = search_flips((2, 2, 2), "GF(2)", "C3", 7, 30).scheme
    variable, equations = scheme.ties()
    target = matmul(2, 2, 2).dense()
    with pytest.raises(StlError, match="ties"):
        hensel_lift(target, *scheme.factors(), ties=(variable[1:], equations))
    with pytest.raises(StlError, match="ties"):
        hensel_lift(target, *scheme.factors(), ties=(np.zeros_like(variable), equations))
    assert standard((2, 2, 2)).ties() is None


def run_unit(symmetry, fmt, rank, ring="Q", family="flips", seconds=60.0, seed=0, **settings):
    return work(Unit(family, symmetry, fmt, rank, settings, seed, ring), seconds=seconds)


def test_units_walk_lift_and_say_why_not():
    outcome = run_unit("none", (2, 3, 3), 15)
    (encoder,) = outcome.encoders
    assert encoder.rank == 15 and encoder.is_exact and encoder.origin["stage"] == "lifted"
    assert outcome.statistics["reached"] == 15 and outcome.statistics["flips"] > 0
    assert run_unit("none", (2, 2, 2), 7, "Z").encoders[0].origin["stage"] == "found"
    both = run_unit("none", (2, 2, 3), 11, keep=2, wander=20_000)
    assert len(both.encoders) == 2 and len({e.digest for e in both.encoders}) == 2
    broken = run_unit("none", (4, 4, 4), 47, seconds=120.0, seed=2, tries=1)
    assert broken.encoders == [] and "characteristic 2" in broken.message
    (find,) = broken.resisting
    assert find.ring.name == "GF(2)" and find.rank == 47 and "characteristic 2" in find.origin["reason"]
    missed = run_unit("none", (2, 2, 2), 6, "Z", seconds=0.5)
    assert missed.encoders == [] and missed.statistics["reached"] == 7


def test_symmetric_units_are_lifted_within_their_symmetry():
    (encoder,) = run_unit("Z3*c:(14)(23)", (4, 4, 4), 49).encoders

    def terms(e):
        tensors = np.einsum("la,lb,cl->labc", *e.floats())
        return sorted(t.round(6).tobytes() for t in tensors + 0.0)

    assert encoder.is_exact and encoder.origin["stage"] == "lifted" and terms(encoder) == terms(encoder.rotate())


def test_units_of_pools_lift_every_format_and_begin_at_files(tmp_path):
    outcome = run_unit("none", (2, 2, 3), 11, family="pools", seconds=40.0, flips=100_000)
    assert outcome.status != "failed", outcome.message
    assert {(e.format, e.rank, e.ring.name) for e in outcome.encoders} == {((2, 2, 2), 7, "Z"), ((2, 2, 3), 11, "Z")}
    big = next(e for e in outcome.encoders if e.rank == 11)
    file = str(save(big, tmp_path))
    again = run_unit("none", (2, 2, 3), 11, family="pools", seconds=0.05, starts=[file], flips=1000)
    assert again.statistics["ranks"]["2x2x3"] == 11


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
@pytest.mark.parametrize(("symmetry", "n"), [("C3", 3), ("C3", 4), ("C3xZ2", 4)])
def test_symmetric_start_around_a_smaller_scheme(ring, symmetry, n):
    inner = search_flips((2, 2, 2), ring, symmetry, 7, 30, 1).scheme
    start = symmetric_start(n, ring, symmetry, inner=inner)
    assert start.exact() and start.rank < symmetric_start(n, ring, symmetry, 1).rank
    found, _ = walk_from(start, 0, Schedule(flips=20_000, plus_after=200, plus_diff=3), [n])
    assert found.exact() and found.symmetry == symmetry


def test_symmetric_start_refuses_what_does_not_fit():
    inner = search_flips((2, 2, 2), "GF(2)", "C3xZ2", 7, 30, 1).scheme
    for n, ring, symmetry in ((3, "GF(2)", "C3xZ2"), (4, "Z", "C3xZ2"), (4, "GF(2)", "C3"), (1, "GF(2)", "C3xZ2")):
        with pytest.raises(StlError, match="inner"):
            symmetric_start(n, ring, symmetry, inner=inner)


def test_grown_symmetric_search():
    result = search_flips((3, 3, 3), "GF(2)", "C3", 25, 30, 1, start="grown", cubes=1)
    assert result.found and result.scheme.exact() and len(result.scheme.cubes) == 1
    with pytest.raises(StlError, match="start"):
        search_flips((3, 3, 3), "Z", "C3", 25, 30, 1, start="grown")


def test_walks_start_from_an_encoder_of_another_format(tmp_path):
    (first,) = run_unit("none", (2, 2, 3), 11, "Z").encoders
    file = save(first, tmp_path)
    for fmt, rank in (((2, 2, 2), 7), ((3, 2, 3), 15)):
        (encoder,) = run_unit("none", fmt, rank, start={"file": str(file)}, longest=6).encoders
        assert encoder.is_exact and encoder.rank == rank and encoder.format == fmt
        assert encoder.origin["lineage"] == "scratch" and encoder.origin["parents"] == [first.digest]
        assert encoder.origin["start"] == {"file": str(file)}
    published = save(schemes.strassen(), tmp_path)  # what begins at a published scheme is not from scratch
    (encoder,) = run_unit("none", (2, 2, 3), 11, start={"file": str(published)}).encoders
    assert encoder.origin["lineage"] == "published"
    e_x, e_w, d = (f.num for f in schemes.strassen().factors)
    half = Encoder.build((2, 2, 2), (e_x, 2), e_w, 2 * d, ring="Q")  # an even denominator cannot be read modulo 2
    refused = run_unit("none", (2, 2, 3), 11, start={"file": str(save(half, tmp_path))})
    assert refused.status == "failed" and "start" in refused.message
