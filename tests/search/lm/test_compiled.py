"""The compiled steps against the batched torch steps, one iteration at a time; packed linear algebra."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from search.benchmarks.lm_baseline import DenseEquations, dense_jacobian, minimise_dense
from search.lm import CyclicZ3, Free, OrbitType, Parametrisation, Schedule, minimise
from search.lm._packed import PLAIN, factorise, solve_packed
from search.lm.assembly import Model
from search.lm.compiled import Stepper, slot_shares
from search.lm.engine import SlotState, random_starts
from search.lm.invariant import Invariant, types_of
from search.lm.linalg import solve_lower
from search.lm.problem import matmul_tensor
from stl_algebra.targets import polymul

EXTRAS = Schedule(kappa_weight=1e-2, clamp=0.3, clamp_weight=0.1, pull=0.1, pull_from=0.01)


def invariant(group, fmt, counts=None, field="real"):
    return Invariant(group, fmt, counts or [1] * len(types_of(group, fmt, field)[1]), field)


def states(par, target, schedule, steps, restarts=3, scale=1.0):
    """θ, λ, ‖T−T̂‖², iterations and polishing iterations after each step: compiled, then torch."""
    model = Model(par, target)
    starts = random_starts(par, model.norm2, restarts, 0) * scale
    run = SlotState(model, schedule, 40)
    run.load(starts.clone(), torch.arange(restarts))
    run.polish[-1] = 1  # one restart is polished
    mine = [x.numpy().copy() for x in (run.theta, run.lam, run.fit, run.count, run.polish)]
    stepper = Stepper(par, target, schedule, 40)
    for _ in range(steps):
        run.step()
        stepper.advance(*mine, 1)
        yield mine, [x.numpy() for x in (run.theta, run.lam, run.fit, run.count, run.polish)]


def assert_same_steps(par, target, schedule=EXTRAS, steps=4, **options):
    for mine, theirs in states(par, target, schedule, steps, **options):
        for a, b in zip(mine, theirs, strict=True):
            assert np.abs(a - b).max() <= 1e-9 * max(1.0, np.abs(b).max())


CASES = {
    "free 2x3x2": lambda: (Free(matmul_tensor(2, 3, 2), 5), matmul_tensor(2, 3, 2)),
    "free complex": lambda: (Free(matmul_tensor(2, 1, 3), 3, "complex"), matmul_tensor(2, 1, 3)),
    "polynomials": lambda: (Free(polymul(3, 2), 5), polymul(3, 2).dense()),
    "Z3": lambda: (CyclicZ3(3, 5, 2), matmul_tensor(3, 3, 3)),
    "Z3 without fixed terms": lambda: (CyclicZ3(2, 0, 2), matmul_tensor(2, 2, 2)),
    "Z3 complex": lambda: (CyclicZ3(2, 2, 1, "complex"), matmul_tensor(2, 2, 2)),
    "transpose": lambda: (invariant("T", (2, 3, 2)), matmul_tensor(2, 3, 2)),
    "Z3 and transpose": lambda: (invariant("Z3*T", (2, 2, 2)), matmul_tensor(2, 2, 2)),
    "S3 by permutations": lambda: (invariant("c:(12)*c:(123)", (3, 3, 3)), matmul_tensor(3, 3, 3)),
    "simplex S3 with Z3": lambda: (invariant("s:(12)*s:(123)*Z3", (2, 2, 2)), matmul_tensor(2, 2, 2)),
    "complex characters": lambda: (
        invariant("c:(123)*Z3", (3, 3, 3), field="complex"), matmul_tensor(3, 3, 3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_torch_code(case):
    par, target = CASES[case]()
    assert_same_steps(par, target)
    assert_same_steps(par, target, Schedule())


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["Z3", "T", "s:(12)", "c:(12)*Z3"]), st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.integers(0, 1), st.floats(0.5, 2.0),
)  # fmt: skip
def test_steps_agree_for_any_orbit_counts(group, counts, extras, scale):
    counts = counts[: len(types_of(group, (2, 2, 2))[1])]
    counts[0] += 1
    par = Invariant(group, (2, 2, 2), counts)
    assert_same_steps(par, matmul_tensor(2, 2, 2), EXTRAS if extras else Schedule(), steps=3, scale=scale)


def test_slots_are_merged_only_where_a_symmetry_of_the_target_permutes_them():
    cyclic = CyclicZ3(2, 1, 1)
    assert slot_shares(cyclic, matmul_tensor(2, 2, 2)) == [[[(0, 3)]], [[(0, 1)], [(1, 1)], [(2, 1)]]]
    lopsided = np.random.default_rng(0).standard_normal((4, 4, 4))
    assert slot_shares(cyclic, lopsided)[0] == [[(0, 1), (1, 1), (2, 1)]]
    one = np.eye(2)
    square = Parametrisation((2, 2, 2), [(OrbitType("aab", (((0, one), (0, one), (1, one)),), (2, 2)), 3)])
    target = np.random.default_rng(1).standard_normal((2, 2, 2))
    assert_same_steps(square, target)
    assert slot_shares(square, target + target.transpose(1, 0, 2))[0] == [[(0, 2)], [(2, 1)]]


def test_threads_and_order_do_not_change_a_restart():
    par, target = CyclicZ3(3, 5, 6), matmul_tensor(3, 3, 3)
    stepper = Stepper(par, target, Schedule(), 60)
    starts = random_starts(par, 27.0, 6, 0).numpy()
    results = []
    threads = torch.get_num_threads()
    for number, order in ((1, np.arange(6)), (3, np.arange(6)[::-1])):
        torch.set_num_threads(number)
        state = [starts[order].copy(), np.ones(6), np.full(6, 1e9), np.zeros(6, np.int64), np.zeros(6, np.int64)]
        stepper.advance(*state, 25)
        results.append(state[0][np.argsort(order)])
    torch.set_num_threads(threads)
    assert np.array_equal(*results)


def test_a_run_by_compiled_steps_is_the_run_by_torch_steps(monkeypatch):
    import search.lm.engine as engine

    target, par = matmul_tensor(2, 2, 2), CyclicZ3(2, 4, 1)
    compiled = minimise(target, par, 12, 60, "fast", seed=2)
    refilled = minimise(target, par, 12, 60, "fast", seed=2, slots=5)
    assert np.array_equal(compiled.theta, refilled.theta)  # to the last bit, unlike batched kernels
    monkeypatch.setattr(engine, "Stepper", lambda *_: None)
    plain = minimise(target, par, 12, 60, "fast", seed=2)
    assert np.array_equal(plain.converged, compiled.converged) and np.array_equal(plain.steps, compiled.steps)


def test_caches_that_cannot_be_written_are_done_without(tmp_path):
    import os
    import subprocess
    import sys

    code = (
        "import numba.core.caching as c\n"
        "c.CacheImpl._locator_classes = []\n"
        "import search.lm._kernel as k; print(type(k.advance).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "CPUDispatcher", done.stderr


# -- packed linear algebra ---------------------------------------------------------------------------------------


@njit(**{**PLAIN, "no_cpython_wrapper": False})
def solve(h, diagonal, l, inverse, x, columns):
    if not factorise(h, diagonal, l, inverse, columns, columns + 1):
        return False
    solve_packed(l, inverse, x, columns)
    return True


def packed(matrix, rhs):
    """Lower triangle with the right-hand side as one more row, padded to groups of four rows."""
    size = -(-len(matrix) // 4) * 4
    full = np.zeros((size + 4, size + 4))
    full[: len(matrix), : len(matrix)] = matrix
    full[size, : len(matrix)] = rhs
    groups = [full[i : i + 4, : i + 4].T.ravel() for i in range(0, size + 4, 4)]
    return np.concatenate(groups), size


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 330), st.integers(0, 99))
def test_packed_solves(size, seed):
    rng = np.random.default_rng(seed)
    root, rhs = rng.standard_normal((size, size)), rng.standard_normal(size)
    matrix = root @ root.T + np.eye(size)
    h, padded = packed(matrix, rhs)
    diagonal = np.ones(padded)
    diagonal[:size] = 0.5
    x = np.zeros(padded)
    assert solve(h, diagonal, np.full_like(h, np.nan), np.zeros(padded), x, padded // 4)
    exact = np.linalg.solve(matrix + 0.5 * np.eye(size), rhs)
    assert np.abs(x[:size] - exact).max() < 1e-9 * max(1.0, np.abs(exact).max())


@pytest.mark.parametrize("bad", [-1.0, np.nan])
@pytest.mark.parametrize("at", [0, 5, 70, 98])
def test_packed_factorisation_refuses_what_is_not_positive(bad, at):
    matrix = np.eye(99)
    matrix[at, at] = bad
    h, padded = packed(matrix, np.ones(99))
    diagonal = np.concatenate([np.zeros(99), [1.0]])
    assert not solve(h, diagonal, np.zeros_like(h), np.zeros(padded), np.zeros(padded), padded // 4)


# -- CUDA --------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", [c for c in CASES if "complex" not in c])
def test_the_triton_gram_and_factorisation_are_those_of_torch(case):
    par, target = CASES[case]()
    model = Model(par, target, "cuda")
    assert model._kernel is not None
    theta = random_starts(par, model.norm2, 5, 0).cuda()
    terms, size = model.terms(theta), par.size
    fast = model.gram(terms, torch.full((5, size + 1, size), torch.nan, dtype=torch.float64, device="cuda"))
    model._kernel = None
    plain = model.gram(terms, torch.zeros_like(fast))
    fast, plain = fast[:, :size].tril(), plain[:, :size].tril()
    assert (fast - plain).abs().max() < 1e-12 * plain.abs().max()
    matrix = plain + plain.tril(-1).mT + torch.eye(size, dtype=torch.float64, device="cuda")
    room = torch.cat([matrix, matrix[:, :1]], dim=1)
    room[2, size // 2, size // 2] = -1
    x, ok = solve_lower(room, theta, blocked=True)
    assert ok.tolist() == [True, True, False, True, True] and (x[2] == 0).all()
    error = (matrix @ x[:, :, None])[:, :, 0] - theta
    assert error[ok].abs().max() < 1e-9 * theta.abs().max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_captured_steps_are_the_steps(monkeypatch):
    import search.lm.engine as engine

    par, target = CyclicZ3(2, 4, 1), matmul_tensor(2, 2, 2)
    schedule = Schedule(polish_below=0.0, abandon=((0.3, 0.2),))  # some restarts end early, so that batches shrink
    captured = minimise(target, par, 40, 60, schedule, device="cuda", slots=24)
    monkeypatch.setattr(engine, "CAPTURE_BELOW", 0.0)
    plain = minimise(target, par, 40, 60, schedule, device="cuda", slots=24)
    assert np.array_equal(captured.steps, plain.steps) and np.allclose(captured.eps2, plain.eps2, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("case", ["Z3", "free complex", "S3 by permutations", "complex characters"])
def test_the_baseline_takes_the_same_way_with_distinct_equations(case):
    par, target = CASES[case]()
    model = Model(par, target)
    equations = DenseEquations(model)
    theta = torch.randn(2, par.size, dtype=model.dtype, generator=torch.Generator().manual_seed(4))
    terms = model.terms(theta)
    jacobian, exact = equations.jacobian(terms), dense_jacobian(model, theta)
    exact = exact.mH @ exact
    assert (jacobian.mH @ jacobian - exact).abs().max() < 1e-11 * exact.abs().max()
    fit = model.residual(terms).abs().square().sum((1, 2, 3))
    assert torch.allclose(equations.residual(terms).abs().square().sum(1), fit)
    assert (jacobian.shape[1] < target.size) == (case != "free complex")
    plain = Schedule(polish_below=0.0, stall=0.0)
    _, eps2, _ = minimise_dense(target, par, 3, 10, plain, seed=1)
    assert np.allclose(eps2, minimise(target, par, 3, 10, plain, seed=1).eps2, rtol=1e-6)


INTERPRETED = """
import sys
import torch
sys.path.insert(0, {here!r})
from test_compiled import CASES
from search.lm._gpu import GramKernel
from search.lm.assembly import Model
from search.lm.compiled import make_plan
from search.lm.linalg import triton_kernels
kernels = triton_kernels("cpu")
for case in ("polynomials", "Z3 and transpose"):
    par, target = CASES[case]()
    model = Model(par, target)
    terms = model.terms(torch.randn(2, par.size, dtype=torch.float64))
    plain, fast = (torch.zeros(2, par.size + 1, par.size, dtype=torch.float64) for _ in range(2))
    model.gram(terms, plain)
    GramKernel(make_plan(par, target), torch.device("cpu"))(model.flat(terms), fast)
    assert (fast.tril() - plain.tril()).abs().max() < 1e-12 * plain.abs().max(), case
for n in (16, 5):
    root = torch.randn(3, n, n, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(n, dtype=torch.float64)
    matrix[1, n // 2, n // 2] = -1
    factor = torch.empty_like(matrix)
    inverse, fine = kernels.factor_corners(matrix, factor)
    assert fine.tolist() == [True, False, True]
    assert torch.allclose(factor[0], torch.linalg.cholesky(matrix[0]), atol=1e-12)
    assert torch.allclose(inverse[2] @ factor[2], torch.eye(n, dtype=torch.float64), atol=1e-9)
print("same")
"""


def test_the_triton_kernels_interpreted_on_the_cpu():
    import os
    import subprocess
    import sys
    from pathlib import Path

    pytest.importorskip("triton")
    code = INTERPRETED.format(here=str(Path(__file__).parent))
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.strip() == "same", done.stderr
