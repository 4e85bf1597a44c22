"""Starts: layouts survive, deflation moves between ranks, projection finds orbits, every kind composes with a job."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.core.unit import Unit, parse_format
from search.lm import CyclicZ3, Free, minimise
from search.lm.continuation import flip_schemes, signed, signs_by_descent
from search.lm.deflation import (
    Squeezed,
    cut,
    doomed,
    from_copies,
    merged_starts,
    parallelism,
    reordered,
    strengths,
    to_copies,
)
from search.lm.invariant import Invariant, types_of
from search.lm.problem import matmul_tensor, parametrisation, schedule_of
from search.lm.projection import balanced, capped, fit_orbits, of_rank, perturbed
from search.lm.starts import KINDS, solve, starts_for
from stl_algebra.errors import StlError

T2 = matmul_tensor(2, 2, 2)
RNG = np.random.default_rng


def tensor(factors):
    e_x, e_w, d = factors
    return np.einsum("la,lb,cl->abc", e_x, e_w, d)


def invariant(group, fmt, field="real", each=1):
    return Invariant(group, fmt, [each] * len(types_of(group, fmt, field)[1]), field)


PARS = [
    lambda: Free(T2, 4), lambda: CyclicZ3(2, 3, 2), lambda: invariant("Z3*T", (2, 2, 2)),
    lambda: invariant("T", (2, 3, 2), each=2), lambda: invariant("s:(12)*s:(123)", (2, 2, 2)),
    lambda: invariant("c:(123)*Z3", (3, 3, 3), "complex"), lambda: invariant("d:1+1,2+1,2+0", (2, 3, 2)),
]  # fmt: skip


def theta_of(par, seed=0, rows=2):
    rng = RNG(seed)
    theta = rng.standard_normal((rows, par.size))
    return theta + 1j * rng.standard_normal(theta.shape) if par.field == "complex" else theta


@pytest.mark.parametrize("make", PARS)
def test_copies_are_a_view_of_theta(make):
    par = make()
    theta = theta_of(par)
    assert np.array_equal(from_copies(to_copies(par, theta)), theta)
    # strengths are the norms of the representatives among the expanded terms
    e_x, e_w, d = par.expand(theta)
    norm = np.linalg.norm(e_x, axis=2) * np.linalg.norm(e_w, axis=2) * np.linalg.norm(d, axis=1)
    at = 0
    for (orbit, count), blocks in zip(par.orbits, to_copies(par, theta), strict=True):
        assert np.allclose(strengths(orbit, blocks), norm[:, at : at + count * orbit.size : orbit.size])
        at += count * orbit.size


@pytest.mark.parametrize("make", PARS)
def test_the_parameters_of_invariant_factors_are_found_again(make):
    par = make()
    factors = par.expand(theta_of(par, 3, 1)[0])
    e_x, e_w, d = factors
    rng = RNG(5)
    order = rng.permutation(par.rank)
    scale = np.exp(rng.standard_normal((2, par.rank))) * rng.choice([-1, 1], (2, par.rank))
    shuffled = (
        (e_x * scale[0][:, None])[order],
        (e_w * scale[1][:, None])[order],
        (d / (scale[0] * scale[1]))[:, order],
    )
    theta, distance = fit_orbits(par, shuffled, rng)
    assert distance < 1e-6
    assert np.abs(tensor(par.expand(theta)) - tensor(factors)).max() < 1e-8 * np.abs(tensor(factors)).max()


def test_projection_of_what_is_not_invariant_says_how_far_it_is():
    par = CyclicZ3(2, 4, 1)
    rng = RNG(1)
    theta, distance = fit_orbits(
        par, (rng.standard_normal((7, 4)), rng.standard_normal((7, 4)), rng.standard_normal((4, 7))), rng
    )
    assert theta.shape == (par.size,) and np.isfinite(theta).all() and distance > 0.1
    with pytest.raises(StlError, match="slot lengths"):
        fit_orbits(par, (np.ones((7, 6)), np.ones((7, 4)), np.ones((4, 7))), rng)
    with pytest.raises(StlError, match="complex"):
        fit_orbits(par, (1j * np.ones((7, 4)), np.ones((7, 4)), np.ones((4, 7))), rng)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_rank_is_reached_and_balance_keeps_the_tensor(held, wanted, seed):
    rng = RNG(seed)
    factors = rng.standard_normal((held, 4)), rng.standard_normal((held, 6)), rng.standard_normal((6, held))
    even = balanced(*factors)
    assert np.allclose(tensor(even), tensor(factors))
    lengths = [np.linalg.norm(f, axis=1) for f in (even[0], even[1], even[2].T)]
    assert np.allclose(lengths[0], lengths[1]) and np.allclose(lengths[0], lengths[2])
    out = of_rank(factors, wanted, rng)
    assert [f.shape for f in out] == [(wanted, 4), (wanted, 6), (6, wanted)]
    if wanted >= held:
        assert np.allclose(out[0][:held], even[0])
    else:
        assert all(min(np.linalg.norm(row - r) for r in even[0]) < 1e-12 for row in out[0])


def test_the_weakest_copies_go_first_and_cutting_them_costs_little():
    source, goal = CyclicZ3(2, 5, 4), CyclicZ3(2, 4, 3)
    theta = theta_of(source, 2, 1)
    copies = [[b.copy() for b in blocks] for blocks in to_copies(source, theta)]
    for blocks, weak in zip(copies, (1, 3), strict=True):  # one orbit of each type made negligible
        for b in blocks:
            b[:, weak] *= 1e-2
    theta = from_copies(copies)
    choices = doomed(source, goal, theta, 3, RNG(0))
    assert len(choices) == 3 and all(row == 0 for row, _ in choices)
    starts = cut(source, goal, reordered(source, theta, choices), RNG(0))
    assert starts.shape == (3, goal.size)
    whole = tensor(source.expand(theta[0]))
    loss = [np.linalg.norm(tensor(goal.expand(s)) - whole) for s in starts]
    assert loss[0] < 1e-4 and min(loss[1:]) > 1e-2  # the first choice is the weakest, the others are not


def test_missing_orbits_come_in_as_noise():
    source, goal = CyclicZ3(2, 1, 2), CyclicZ3(2, 4, 1)  # one orbit less, three fixed terms more
    theta = theta_of(source, 4, 2)
    starts = cut(source, goal, reordered(source, theta, doomed(source, goal, theta, 1, RNG(0))), RNG(0), fill=0.1)
    assert starts.shape == (2, goal.size)
    fixed = to_copies(goal, starts)[1 if goal.orbits[0][0].name == "1" else 0][0]
    assert np.isclose(np.abs(fixed[:, 1:]).std(), 0.06, atol=0.04)


def test_parallel_terms_are_merged():
    source, goal = Free(T2, 5), Free(T2, 4)
    theta = theta_of(source, 6, 1)
    copies = [[b.copy() for b in blocks] for blocks in to_copies(source, theta)]
    for b, sign in zip(copies[0], (-1, -1, 1), strict=True):
        b[:, 3] = sign * b[:, 1] * 1.01
    theta = from_copies(copies)
    near = parallelism(source.orbits[0][0], to_copies(source, theta)[0])[0]
    assert np.unravel_index(near.argmax(), near.shape) in ((1, 3), (3, 1)) and np.isclose(near.max(), 1)
    (merged,) = merged_starts(source, goal, theta, 1, RNG(0))
    kept = tensor(goal.expand(merged))
    rest = [0, 2, 4]
    e_x, e_w, d = source.expand(theta[0])
    others = tensor((e_x[rest], e_w[rest], d[:, rest]))
    pair = tensor((e_x[[1]], e_w[[1]], d[:, [1]]))
    cosine = ((kept - others) * pair).sum() / np.linalg.norm(kept - others) / np.linalg.norm(pair)
    assert cosine > 0.999
    assert len(merged_starts(source, Free(T2, 3), theta, 1, RNG(0))) == 0


def test_squeezing_empties_the_last_copies():
    source, goal = CyclicZ3(2, 5, 1), CyclicZ3(2, 4, 1)
    pressed = Squeezed(source, goal, 100.0)
    ratio = pressed.metric() / source.metric()
    assert sorted(set(ratio)) == [1.0, 100.0] and (ratio == 100.0).sum() == 4
    found = minimise(T2, source, 8, 60, "fast", seed=1)
    theta = found.theta[found.converged][:1]
    ordered = reordered(source, theta, doomed(source, goal, theta, 2, RNG(0)))
    schedule = schedule_of(Unit("orbit", "none", (2, 2, 2), 7)).with_(mu_start=3e-3, mu_end=3e-3, polish_below=0.0)
    result = minimise(T2, pressed, iterations=60, init=ordered, schedule=schedule)
    weak = [strengths(o, b)[:, -1] for (o, _), b in zip(source.orbits, to_copies(source, result.theta), strict=True)]
    assert min(weak[1] if source.orbits[1][0].name == "1:<a>:+" else weak[0]) < 0.02


def test_large_terms_are_scaled_down_to_the_cap():
    par = Free(T2, 4)
    theta = theta_of(par, 1, 3)
    copies = [[b.copy() for b in blocks] for blocks in to_copies(par, theta)]
    for b in copies[0]:
        b[:, 0] *= 30
    bounded = capped(par, from_copies(copies), 2.0)
    before = strengths(par.orbits[0][0], copies[0])
    after = strengths(par.orbits[0][0], to_copies(par, bounded)[0])
    limit = 2 * np.median(before, axis=1, keepdims=True)
    assert np.allclose(after, np.minimum(before, limit)) and (before.max(1) > 100 * after.max(1)).any()


def test_noise_is_relative():
    theta = 5.0 + np.zeros((3, 4000))
    kick = perturbed(theta, 0.1, RNG(0)) - theta
    assert abs(kick.std() - 0.5) < 0.02
    assert np.iscomplexobj(perturbed(theta + 0j, 0.1, RNG(0)))


def test_signs_are_kept_off_zeros_and_improved_by_descent():
    schemes = flip_schemes((2, 2, 2), 7, "none", 5.0, seed=1)
    x, w, d = schemes[0]
    assert not ((tensor((x, w, d)) - T2) % 2).any()
    plain, better = signed(schemes[0], RNG(3)), signs_by_descent(T2, schemes[0], RNG(3))
    for f, g, h in zip(schemes[0], plain, better, strict=True):
        assert np.array_equal(np.abs(g), f) and np.array_equal(np.abs(h), f)
    gaps = [np.linalg.norm(tensor(f) - T2) for f in (plain, better)]
    assert gaps[1] < gaps[0]
    # no single flip helps any more
    for k in range(3):
        for at in zip(*np.nonzero(better[k]), strict=True):
            other = [f.copy() for f in better]
            other[k][at] *= -1
            assert np.linalg.norm(tensor(other) - T2) >= gaps[1] - 1e-9
    with pytest.raises(StlError, match="walks"):
        flip_schemes((2, 2, 2), 6, "none", 0.2, seed=1)


def unit_of(format="2x2x2", rank=7, symmetry="none", seed=0, **settings):
    return Unit("orbit", symmetry, parse_format(format), rank, settings, seed)


FAST = {"restarts": 8, "iterations": 60, "schedule": "fast", "changes": {"mu_start": 0.02}}
SUM = {"sum": [{"solve": "2x2x2", "rank": 7}, {"naive": "2x2x1"}], "axis": "p"}


@pytest.mark.parametrize(
    ("job", "start"),
    [
        ({"format": "2x2x3", "rank": 11}, {"kind": "built", "from": SUM, "noise": 0.02}),
        ({"format": "3x2x2", "rank": 11}, {"kind": "built", "from": {"rotate": {"rotate": SUM}}, "noise": 0.02}),
        ({"format": "2x4x2", "rank": 14}, {"kind": "built", "from": {"kron": [
            {"solve": "2x2x2", "rank": 7}, {"naive": "1x2x1"}]}, "noise": 0.02}),
        ({"format": "2x2x2", "rank": 7, "symmetry": "Z3", "counts": [1, 4]},
         {"kind": "deflate", "from": {"counts": [1, 5]}}),
        ({"format": "2x2x3", "rank": 11}, {"kind": "deflate", "squeeze": 0, "from": {"rank": 12}}),
        ({"format": "2x2x3", "rank": 11}, {"kind": "gf2", "seconds": 5}),
        ({"format": "3x2x3", "rank": 15, "iterations": 120, "changes": {"mu_start": 0.1}, "seed": 5},
         {"kind": "border", "from": {"restarts": 16}, "eps2": 0.2}),
    ],
)  # fmt: skip
def test_every_kind_leads_to_solutions(job, start):
    full = unit_of(**{**FAST, "seed": 3, **job, "start": start})
    par = parametrisation(full)
    result, begun = solve(full, par)
    assert result.converged.any() and 0 < len(begun.theta) <= 8 and begun.seconds > 0
    assert begun.parents == []
    again = starts_for(full, par)
    if start["kind"] != "gf2":  # walks are limited by time
        assert np.allclose(begun.theta, again.theta)


def test_border_starts_leave_exact_ends_out():
    unit = unit_of(
        **{
            **FAST,
            "format": "2x2x2",
            "rank": 7,
            "symmetry": "Z3",
            "counts": [1, 4],
            "seed": 3,
            "start": {"kind": "border", "from": {"restarts": 24}, "eps2": 1.0, "noise": 0.0, "cap": 1e9},
        }
    )
    par = parametrisation(unit)
    starts = starts_for(unit, par).theta
    e_x, e_w, d = par.expand(starts)
    gaps = [np.linalg.norm(tensor((e_x[i], e_w[i], d[i])) - T2) for i in range(len(starts))]
    assert min(gaps) > 0.1  # the inner unit finds exact solutions, as the test above shows; none of them is a start


def test_files_are_parents(tmp_path):
    from stl_algebra import Encoder, save
    from stl_algebra.targets import matmul

    found = minimise(T2, CyclicZ3(2, 4, 1), 24, 100, "fast", seed=1)
    encoder = Encoder.build(matmul(2, 2, 2), *found.factors(found.best), ring="R64")
    path = str(save(encoder, tmp_path))
    start = {"kind": "built", "from": {"kron": [{"file": path}, {"naive": "1x1x1"}]}, "noise": 0.0}
    unit = unit_of(restarts=2, start=start)
    begun = starts_for(unit, parametrisation(unit))
    assert begun.parents == [encoder]
    (one, two) = begun.theta  # the same terms in two orders
    assert all(np.allclose(tensor(Free(T2, 7).expand(theta)), T2) for theta in (one, two))


@pytest.mark.parametrize(
    ("start", "word"),
    [
        ({"kind": "magic"}, "built"), ({"kind": "built"}, "from"), ({"kind": "built", "from": {}, "size": 3}, "size"),
        ({"kind": "built", "from": {"naive": "2x2x3"}}, "format"), ({"kind": "built", "from": 7}, "object"),
        ({"kind": "built", "from": {"kron": [7]}}, "expression"),
        ({"kind": "built", "from": {"solve": "2x2x2", "rank": 6, "restarts": 4}}, "solved"),
        ({"kind": "built", "from": {"colour": 1}}, "solve"),
        ({"kind": "deflate", "from": {"rank": 5, "restarts": 2, "iterations": 10}}, "finds solutions"),
        ({"kind": "border", "from": {"rank": 5, "restarts": 2, "iterations": 10}}, "orbit counts"),
        ({"kind": "border", "from": {"restarts": 2, "iterations": 10}, "eps2": 1e-3}, "inexact ends"),
    ],
)  # fmt: skip
def test_bad_starts_teach(start, word):
    unit = unit_of(restarts=2, iterations=10, start=start)
    with pytest.raises(StlError, match=word):
        starts_for(unit, parametrisation(unit))


def test_no_start_means_gaussian_starts():
    unit = unit_of()
    assert starts_for(unit, parametrisation(unit)) is None and set(KINDS) == {"built", "deflate", "gf2", "border"}
