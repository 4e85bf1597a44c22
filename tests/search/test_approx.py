"""Approximate encoders: objective, invariant subspaces, the moves between them, causality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.approx.causal import causal_ends, leak, leak_mask, pure_terms, without_pure_terms
from search.approx.explore import Explorer, removal_costs, subgroups_of
from search.approx.objective import Objective
from search.approx.pool import Pool, scored
from search.approx.restrict import restricted
from search.lm.invariant import Invariant, types_of
from search.lm.problem import matmul_tensor
from stl_algebra import Encoder, StlError
from stl_algebra.schemes import laderman, standard, strassen, winograd
from stl_algebra.scores import epsilon2, kappa2


def factors(rng, fmt, rank):
    n, m, p = fmt
    return rng.standard_normal((rank, n * m)), rng.standard_normal((rank, m * p)), rng.standard_normal((n * p, rank))


def moment(rng, size):
    root = rng.standard_normal((size, size))
    return root @ root.T + np.eye(size)


# ---------------------------------------------------------------- objective
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(2, 2, 2), (1, 2, 3), (2, 3, 1)]), st.booleans())
def test_gradient_is_that_of_the_value(seed, fmt, moments):
    rng = np.random.default_rng(seed)
    n, m, p = fmt
    goal = Objective(fmt, 0.02, *((moment(rng, n * m), moment(rng, m * p)) if moments else ()))
    point = factors(rng, fmt, 4)
    slope = goal.gradient(point)
    for s in range(3):
        way = rng.standard_normal(point[s].shape)
        ends = [tuple(f + h * way if t == s else f for t, f in enumerate(point)) for h in (1e-5, -1e-5)]
        numeric = (goal.value(ends[0]) - goal.value(ends[1])) / 2e-5
        assert abs(numeric - (slope[s] * way).sum()) <= 1e-5 * (1 + abs(numeric))


def test_moments_are_what_tiles_with_these_moments_measure():
    rng = np.random.default_rng(3)
    fmt = (2, 2, 2)
    goal = Objective(fmt, 0.0, moment(rng, 4), moment(rng, 4))
    x, w, d = factors(rng, fmt, 5)
    batches = []
    for _ in range(30):
        a = rng.standard_normal((20_000, 4)) @ np.linalg.cholesky(goal.moment_a).T
        b = rng.standard_normal((20_000, 4)) @ np.linalg.cholesky(goal.moment_b).T
        exact = np.einsum("zij,zjk->zik", a.reshape(-1, 2, 2), b.reshape(-1, 2, 2)).reshape(-1, 4)
        gap = ((a @ x.T) * (b @ w.T)) @ d.T - exact
        batches.append([(gap**2).sum(), (exact**2).sum()])
    parts = np.array(batches)
    ratio = parts[:, 0].sum() / parts[:, 1].sum()
    spread = np.std(parts[:, 0] / parts[:, 1], ddof=1) / np.sqrt(len(parts))
    assert abs(ratio - goal.scores((x, w, d))[0]) < 4 * spread


def test_whitening_round_trip_and_stationary_scale():
    rng = np.random.default_rng(1)
    goal = Objective((2, 2, 3), 0.05, moment(rng, 4), moment(rng, 6))
    point = factors(rng, goal.fmt, 6)
    for a, b in zip(goal.restored(goal.whitened(point)), point, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    best = goal.rescaled(point)
    assert all(goal.value(best) <= goal.value((best[0], best[1], t * best[2])) for t in (0.9, 0.99, 1.01, 1.1))


def test_objective_agrees_with_the_scores_and_refuses_nonsense():
    encoder = strassen()
    eps2, k2 = Objective((2, 2, 2)).scores(encoder.floats())
    assert eps2 == pytest.approx(epsilon2(encoder)) and k2 == pytest.approx(kappa2(encoder))
    with pytest.raises(StlError, match="moment_a"):
        Objective((2, 2, 2), moment_a=np.eye(3))
    with pytest.raises(StlError, match="positive definite"):
        Objective((2, 2, 2), moment_b=np.zeros((4, 4)))


# ---------------------------------------------------------------- invariant subspaces
@pytest.mark.parametrize("group", ["Z3", "Z3*T", "Z3*d:1+1", "c:(12)", "Z3~c:(12)", "none"])
def test_an_invariant_encoder_is_found_in_its_subspace(group):
    """expand ∘ restricted is the identity on tensors, for the group itself and for every subgroup named."""
    rng = np.random.default_rng(5)
    _, types = types_of(group, (2, 2, 2))
    counts = tuple(1 if i < 4 else 0 for i in range(len(types)))
    space = Invariant(group, (2, 2, 2), counts)
    point = space.expand(rng.standard_normal(space.size))
    hat = np.einsum("la,lb,cl->abc", *point)
    for name in [group, *subgroups_of(group)]:
        smaller, kinds = types_of(name, (2, 2, 2))
        found = restricted(point, smaller, kinds)
        assert found is not None, name
        again = Invariant(name, (2, 2, 2), found[0])
        assert again.rank == space.rank
        np.testing.assert_allclose(np.einsum("la,lb,cl->abc", *again.expand(found[1])), hat, atol=1e-9)


def test_an_encoder_without_the_symmetry_is_refused():
    action, types = types_of("Z3", (2, 2, 2))
    assert restricted(factors(np.random.default_rng(0), (2, 2, 2), 6), action, types) is None


def test_cube_of_a_twisted_shift():
    """Z3~P generates a cyclic group of three times the order of P."""
    action, _ = types_of("Z3~c:(12)", (2, 2, 2))
    assert action.order == 6 and types_of("Z3~c:(123)", (3, 3, 3))[0].order == 9


def test_removal_costs_are_what_a_refit_pays():
    """For the slot that is refitted the cost is exact: compare with least squares over the other terms."""
    rng = np.random.default_rng(2)
    target = matmul_tensor(2, 2, 2)
    x, w, _ = factors(rng, (2, 2, 2), 5)
    terms = np.einsum("la,lb->lab", x, w).reshape(5, -1)
    flat = target.reshape(16, 4)
    d = np.linalg.lstsq(terms.T, flat, rcond=None)[0].T
    full = ((terms.T @ d.T - flat) ** 2).sum()
    for l in range(5):
        keep = [k for k in range(5) if k != l]
        refit = np.linalg.lstsq(terms[keep].T, flat, rcond=None)[0]
        rise = ((terms[keep].T @ refit - flat) ** 2).sum() - full
        assert removal_costs((x, w, d))[l] <= rise * (1 + 1e-9)
        assert rise > 0


# ---------------------------------------------------------------- search
def test_explorer_beats_dropping_products_and_is_deterministic():
    best = []
    for _ in range(2):
        pool = Pool()
        explorer = Explorer((2, 2, 2), [5, 6], ["Z3", "none"], pool, seed=4, seconds=60)
        for turn in range(12):
            explorer.step([5, 6][turn % 2])
        best.append([(pool.best(r), pool.ends[r][0].origin["group"]) for r in (5, 6)])
    assert best[0] == best[1]
    assert best[0][0][0] < 1 - 5 / 8 and best[0][1][0] < 1 - 6 / 7
    end = pool.ends[6][0]
    assert end.total == pytest.approx(scored((2, 2, 2), end.factors, {}).total, rel=1e-2)


def test_ends_survive_the_disk(tmp_path):
    pool = Pool()
    encoder = strassen()
    pool.offer(scored((2, 2, 2), encoder.floats(), {"group": "Z3"}))
    pool.save(tmp_path, "a")
    other = Pool()
    found = other.load((2, 2, 2), tmp_path.glob("*.npz"))
    assert len(found) == 1 and found[0].origin["group"] == "Z3" and other.best(7) == pytest.approx(pool.best(7))


# ---------------------------------------------------------------- causality
def test_leaving_out_pure_terms_leaks_nothing():
    cases = ((winograd(), (2, 2, 2), 1), (laderman(), (3, 3, 3), 2), (standard(2, 2, 2), (2, 2, 2), 8))
    for encoder, fmt, count in cases:
        assert len(pure_terms(encoder)) >= count
        thin = without_pure_terms(encoder, count)
        volume = fmt[0] * fmt[1] * fmt[2]
        assert epsilon2(thin) == pytest.approx(count / volume) and leak(thin, fmt) == 0.0
        if encoder.rank < volume:
            assert count / volume < 1 - thin.rank / encoder.rank  # below skipping K-tiles


def test_dropping_another_term_leaks():
    x, w, d = strassen().floats()
    assert leak(Encoder.build((2, 2, 2), x[1:], w[1:], d[:, 1:], ring="R64"), (2, 2, 2)) > 0


def test_only_later_to_earlier_rows_are_a_leak():
    """One term that reads a single entry of A and writes a single entry of C, in both directions of time."""
    one = np.eye(4)
    for source, goal, leaks in ((2, 0, True), (3, 1, True), (0, 2, False), (1, 1, False)):  # entries 0, 1 are row 0
        term = Encoder.build((2, 2, 2), one[source : source + 1], one[:1], one[:, goal : goal + 1], ring="R64")
        assert (leak(term, (2, 2, 2)) > 0) is leaks


def test_causal_search_reaches_one_eighth_with_no_leak():
    end = causal_ends((2, 2, 2), 6, restarts=12, iterations=250, seed=1)[0]
    assert end.epsilon2 == pytest.approx(1 / 8, abs=1e-4) and end.leak < 1e-7
    assert leak_mask((2, 2, 2)).sum() == 2 * 4 * 2


def test_dense_normal_equations_have_a_limit():
    with pytest.raises(StlError, match="sides up to 3"):
        causal_ends((4, 4, 4), 10)


# ---------------------------------------------------------------- family
def test_family_yields_what_lies_below_both_lines_and_repeats():
    from search.core.unit import Unit, family
    from search.core.work import work

    unit = Unit("approximate", "Z3", (2, 2, 2), 6, {"ranks": [5], "runs": 8}, 1, "R64")
    first, second = work(unit), work(unit)
    assert first.status == "done" and [e.digest for e in first.encoders] == [e.digest for e in second.encoders]
    assert {e.rank for e in first.encoders} == {5, 6}
    for encoder in first.encoders:
        assert epsilon2(encoder) < 1 - encoder.rank / 7 and encoder.origin["unit"]["family"] == "approximate"
    wrong = work(Unit("approximate", "Z3", (2, 2, 2), 6, {"counts": [1, 1]}, 0, "R64"))
    assert wrong.status == "failed" and "rank 6" in wrong.message
    learnt = family("approximate").units
    from search.core.unit import Request

    assert [u.format for u in learnt(Request(group="cyclic"), 0)] == [(4, 4, 4)] * 3
    assert not list(learnt(Request(group="cyclic", format=(2, 2, 2), rank=7), 0))


def test_rounding_that_weighs_more_makes_kappa_smaller_and_the_error_larger():
    from search.approx.tradeoff import capped_ends, coordinates, path

    pool = Pool()
    explorer = Explorer((2, 2, 2), [5], ["Z3", "none"], pool, seed=1, seconds=60)
    for _ in range(8):
        explorer.step(5)
    found = path((2, 2, 2), pool.ends[5][:4], (8.25e-6, 1.4e-3, 2e-2), iterations=40)
    errors, kappas = [e.eps2 for _, e in found], [e.kappa2 for _, e in found]
    assert errors == sorted(errors) and kappas == sorted(kappas, reverse=True) and kappas[0] > 2 * kappas[-1]
    assert errors[0] == pytest.approx(0.25, abs=0.01)  # the border value of six products in five
    assert capped_ends([e for _, e in found], (8.0,))[8.0].kappa2 <= 8
    with pytest.raises(StlError, match="invariant under"):
        path((2, 2, 2), [scored((2, 2, 2), winograd().floats(), {})], group="Z3~c:(12)")
    assert coordinates((2, 2, 2), [scored((2, 2, 2), strassen().floats(), {})]) is not None
