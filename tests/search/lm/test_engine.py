"""The engine: finds what it should, repeats itself, respects its rules, refuses bad input."""

import numpy as np
import pytest
import torch

from search.core.unit import Unit
from search.lm import SCHEDULES, CyclicZ3, Free, OrbitType, Parametrisation, Schedule, minimise
from search.lm.invariant import Invariant
from search.lm.problem import matmul_tensor, parametrisation, schedule_of, settings_of
from stl_algebra.errors import StlError
from stl_algebra.targets import matmul, polymul

T2 = matmul_tensor(2, 2, 2)


def test_the_dense_tensor_is_the_target_of_the_algebra_package():
    for fmt in ((2, 3, 4), (3, 3, 3)):
        assert np.array_equal(matmul_tensor(*fmt), matmul(*fmt).dense())


def test_strassen_rank_under_z3():
    result = minimise(matmul(2, 2, 2), CyclicZ3(2, 4, 1), 24, 100, "fast", seed=1)
    assert result.converged.sum() >= 4
    e_x, e_w, d = result.factors(result.best)
    tensor = np.einsum("la,lb,cl->abc", e_x, e_w, d)
    assert np.abs(tensor - T2).max() < 1e-12
    kappa2 = ((e_x**2).sum(1) * (e_w**2).sum(1) * (d**2).sum(0)).sum() / 8
    assert np.isclose(kappa2, result.kappa2[result.best]) and kappa2 > 2.77  # the minimum over the orbit is 25/9


def test_rank_23_in_a_quarter_of_the_restarts():
    result = minimise(matmul(3, 3, 3), CyclicZ3(3, 11, 4), 20, 200, seed=3)
    assert result.converged.sum() >= 5
    assert result.eps2[result.converged].max() < 1e-22


def test_grochow_moore_orbits():
    par = Invariant("s:(12)*s:(123)", (2, 2, 2), {"6": 1, "1:<b,a>:++,++,++": 1})
    result = minimise(T2, par, 16, 80, "fast")
    assert result.converged.any() and np.isclose(result.kappa2[result.best], 25 / 9, atol=1e-6)


def test_free_rectangular_and_other_targets():
    assert minimise(matmul(2, 2, 3), Free(matmul(2, 2, 3), 11), 6, 120, "fast").converged.any()
    karatsuba = minimise(polymul(2, 2), Free(polymul(2, 2), 3), 8, 80, "fast")
    assert karatsuba.converged.any()
    assert not minimise(polymul(2, 2), Free(polymul(2, 2), 2), 8, 80, "fast").converged.any()


def test_complex_unknowns_reach_a_complex_rank():
    # x² + 1 splits over C: the product of C as an R-algebra has rank 3 over R and 2 over C
    product = np.zeros((2, 2, 2))
    product[0, 0, 0] = product[0, 1, 1] = product[1, 0, 1] = 1
    product[1, 1, 0] = -1
    assert not minimise(product, Free(product, 2), 8, 80, "fast").converged.any()
    result = minimise(product, Free(product, 2, "complex"), 8, 80, "fast")
    assert result.converged.any() and result.e_x.dtype == np.complex128


def test_same_seed_same_answer_other_seed_another():
    a, b, c = (minimise(T2, CyclicZ3(2, 1, 2), 8, 60, "fast", seed=s) for s in (5, 5, 6))
    assert np.array_equal(a.theta, b.theta) and not np.array_equal(a.theta, c.theta)


def test_slots_do_not_change_what_restarts_do():
    whole = minimise(T2, CyclicZ3(2, 4, 1), 12, 60, "fast", seed=2)
    refilled = minimise(T2, CyclicZ3(2, 4, 1), 12, 60, "fast", seed=2, slots=5)
    assert np.array_equal(whole.restart, np.arange(12)) and np.array_equal(refilled.restart, np.arange(12))
    assert np.array_equal(whole.converged, refilled.converged)
    assert np.allclose(whole.eps2, refilled.eps2, rtol=1e-3, atol=1e-12)


def test_hopeless_restarts_are_given_up_early():
    patient = minimise(T2, Free(T2, 5), 8, 200, Schedule(stall=0.0))
    hasty = minimise(T2, Free(T2, 5), 8, 200, Schedule(stall=0.0, abandon=((0.3, 0.05),)))
    assert hasty.iterations < 0.5 * patient.iterations
    assert (hasty.steps <= 70).all() and (patient.steps >= 200).all()


def test_stop_after_enough_and_after_time():
    result = minimise(T2, CyclicZ3(2, 4, 1), 200, 100, "fast", slots=16, stop_after=2)
    assert result.converged.sum() >= 2 and len(result.eps2) < 200
    assert minimise(T2, Free(T2, 7), 4000, 500, seconds=0.3).seconds < 5


def test_starts_are_used_and_polished():
    good = minimise(T2, CyclicZ3(2, 4, 1), 24, 100, "fast", seed=1)
    start = good.theta[good.best] + 1e-3 * np.random.default_rng(0).standard_normal(28)
    again = minimise(T2, CyclicZ3(2, 4, 1), init=start, iterations=20, schedule=Schedule(mu_start=1e-3))
    assert again.converged.all() and np.abs(again.theta[0] - good.theta[good.best]).max() < 0.2


def test_penalties_do_what_they_say():
    plain = minimise(T2, Free(T2, 6), 12, 150, Schedule(polish_below=0.0), seed=1)
    heavy = minimise(T2, Free(T2, 6), 12, 150, Schedule(polish_below=0.0, kappa_weight=1e-2), seed=1)
    assert np.median(heavy.kappa2) < np.median(plain.kappa2) and heavy.eps2.min() > plain.eps2.min()
    free = minimise(T2, Free(T2, 7), 12, 150, Schedule(polish_below=0.0), seed=1)
    bounded = minimise(T2, Free(T2, 7), 12, 150, Schedule(polish_below=0.0, clamp=0.8, clamp_weight=1.0), seed=1)
    assert np.abs(bounded.theta).max() < 1.0 < np.abs(free.theta).max()
    pulled = minimise(T2, Free(T2, 7), 12, 150, Schedule(polish_below=0.0, pull=0.3, pull_from=0.2), seed=1)
    distance = [np.abs(r.theta - np.round(2 * r.theta) / 2).mean() for r in (free, pulled)]
    assert distance[1] < 0.7 * distance[0]


def test_progress_is_reported():
    seen = []
    minimise(T2, CyclicZ3(2, 4, 1), 8, 40, progress=seen.append)
    assert seen[-1]["ended"] == 8 and seen[-1]["iterations"] >= 8 * 40


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"restarts": 0}, "restarts"), ({"iterations": 0}, "iterations"), ({"schedule": "slow"}, "schedule"),
        ({"slots": 0}, "slots"), ({"device": "gpu"}, "device"), ({"device": "cuda:x"}, "device"),
        ({"init": np.zeros(3)}, "init"), ({"init": np.full((2, 28), np.nan)}, "init"),
        ({"target": np.zeros((4, 4))}, "target"), ({"target": np.full((4, 4, 4), np.nan)}, "target"),
        ({"target": np.zeros((9, 9, 9))}, "parametrisation"), ({"target": 1j * T2}, "target"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(change, word):
    arguments = {"target": T2, "parametrisation": CyclicZ3(2, 4, 1), "restarts": 2, "iterations": 5, **change}
    with pytest.raises(StlError, match=word):
        minimise(**arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named():
    with pytest.raises(StlError, match="no CUDA device"):
        minimise(T2, CyclicZ3(2, 4, 1), 2, 5, device="cuda")


def test_bad_parametrisations_and_schedules_are_refused():
    for make in (
        lambda: Free(T2, 0), lambda: CyclicZ3(0, 1, 1), lambda: CyclicZ3(2, -1, 2), lambda: CyclicZ3(2, 0, 0),
        lambda: Free(T2, 2, "quaternion"), lambda: Schedule(mu_end=0.0), lambda: Schedule(shrink=2.0),
        lambda: Schedule(anneal=0.0), lambda: Schedule(check_every=0), lambda: Schedule(stall=float("nan")),
        lambda: Parametrisation((4, 4, 4), [(OrbitType("x", (((0, np.eye(3)),) * 3,), (3,)), 1)]),
        lambda: settings_of(Unit("orbit", "none", (2, 2, 2), 7, {"colour": "red"})),
        lambda: settings_of(Unit("orbit", "none", (2, 2, 2), 7, {"restarts": 0})),
        lambda: settings_of(Unit("orbit", "none", (2, 2, 2), 7, {"start": 3})),
        lambda: schedule_of(Unit("orbit", "none", (2, 2, 2), 7, {"changes": {"colour": 1}})),
        lambda: schedule_of(Unit("orbit", "none", (2, 2, 2), 7, {"changes": {"mu_start": "red"}})),
        lambda: parametrisation(Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"C5": 1}})),
        lambda: parametrisation(Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": [1, 4, 0]})),
        lambda: parametrisation(Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": [1, -4]})),
        lambda: parametrisation(Unit("orbit", "Z3*T", (2, 2, 2), 7, {"first": -1})),
        lambda: parametrisation(Unit("orbit", "E32", (4, 4, 4), 1)),
    ):  # fmt: skip
        with pytest.raises(StlError):
            make()


def test_schedules_anneal_as_stated():
    s = SCHEDULES["default"]
    assert np.isclose(s.penalty(0), 0.3) and np.isclose(s.penalty(0.7), 1e-3) and np.isclose(s.penalty(1), 1e-3)


def test_units_name_their_parametrisation():
    unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": [1, 4]})
    by_name = unit.with_(counts={"3": 1, "1:<a>:+": 4})
    assert parametrisation(unit).label == parametrisation(by_name).label == "Z3(1·3, 4·1:<a>:+)"
    sampled = [parametrisation(Unit("orbit", "Z3*T", (2, 2, 2), 7, {"first": k}, 5)) for k in range(3)]
    assert len({p.label for p in sampled}) == 3 and all(p.rank == 7 for p in sampled)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_solutions():
    for par, fmt in ((CyclicZ3(2, 4, 1), (2, 2, 2)), (CyclicZ3(3, 11, 4), (3, 3, 3))):
        here, there = (minimise(matmul(*fmt), par, 16, 120, "fast", device=d) for d in ("cpu", "cuda"))
        assert abs(int(here.converged.sum()) - int(there.converged.sum())) <= 3 and there.converged.any()
