"""The structured Gram and gradient against Jacobians by automatic and finite differences; linear solves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.benchmarks.lm_baseline import dense_jacobian
from search.lm import CyclicZ3, Free
from search.lm.assembly import Model
from search.lm.invariant import Invariant, types_of
from search.lm.linalg import solve_lower
from search.lm.problem import matmul_tensor


def one_of_each(group, fmt, field="real"):
    return Invariant(group, fmt, [1] * len(types_of(group, fmt, field)[1]), field)


CASES = [
    ("free 2x3x2", lambda: (Free(matmul_tensor(2, 3, 2), 4), (2, 3, 2))),
    ("free complex", lambda: (Free(matmul_tensor(2, 1, 3), 3, "complex"), (2, 1, 3))),
    ("Z3", lambda: (CyclicZ3(2, 2, 2), (2, 2, 2))),
    ("Z3 without fixed terms", lambda: (CyclicZ3(2, 0, 2), (2, 2, 2))),
    ("transpose", lambda: (one_of_each("T", (2, 3, 2)), (2, 3, 2))),
    ("Z3 and transpose", lambda: (one_of_each("Z3*T", (2, 2, 2)), (2, 2, 2))),
    ("S3 by permutations", lambda: (one_of_each("c:(12)*c:(123)", (3, 3, 3)), (3, 3, 3))),
    ("simplex S3 with Z3", lambda: (one_of_each("s:(12)*s:(123)*Z3", (2, 2, 2)), (2, 2, 2))),
    ("per side", lambda: (one_of_each("d:1+1,2+1,2+0", (2, 3, 2)), (2, 3, 2))),
    ("complex characters", lambda: (one_of_each("c:(123)*Z3", (3, 3, 3), "complex"), (3, 3, 3))),
]


@pytest.mark.parametrize("make", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_gram_and_gradient_match_the_dense_jacobian(make):
    par, fmt = make()
    model = Model(par, matmul_tensor(*fmt))
    theta = torch.randn(2, par.size, dtype=model.dtype, generator=torch.Generator().manual_seed(1))
    terms = model.terms(theta)
    residual = model.residual(terms)
    jacobian = dense_jacobian(model, theta)
    gram = model.gram(terms, torch.full((2, par.size, par.size), torch.nan, dtype=model.dtype))
    exact = jacobian.mH @ jacobian
    scale = exact.abs().max()
    assert (torch.tril(gram) - torch.tril(exact)).abs().max() < 1e-12 * scale
    gradient = torch.einsum("xnp,xn->xp", jacobian.conj(), residual.flatten(1))
    assert (model.gradient(terms, residual) - gradient).abs().max() < 1e-11 * gradient.abs().max()


@pytest.mark.parametrize("make", [CASES[0][1], CASES[2][1], CASES[9][1]], ids=["free", "Z3", "complex"])
def test_jacobian_matches_finite_differences(make):
    par, fmt = make()
    model = Model(par, matmul_tensor(*fmt))
    theta = torch.randn(1, par.size, dtype=model.dtype, generator=torch.Generator().manual_seed(2))
    jacobian = dense_jacobian(model, theta)[0]
    h = 1e-5
    for k in range(0, par.size, max(1, par.size // 7)):
        step = torch.zeros_like(theta)
        step[0, k] = h
        up, down = (model.residual(model.terms(theta + s * step)).flatten() for s in (1, -1))
        assert ((down - up) / (2 * h) - jacobian[:, k]).abs().max() < 1e-7


@pytest.mark.parametrize("make", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_numpy_expansion_agrees_with_the_model_and_is_linear(make):
    par, fmt = make()
    model = Model(par, matmul_tensor(*fmt))
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((3, par.size)).astype(par.dtype)
    e_x, e_w, d = par.expand(theta)
    assert e_x.shape == (3, par.rank, par.dims[0]) and d.shape == (3, par.dims[2], par.rank)
    slots = model.flat(model.terms(torch.as_tensor(theta)))
    for ours, theirs in zip((e_x, e_w, d.transpose(0, 2, 1)), slots, strict=True):
        assert np.abs(ours - theirs.numpy()).max() < 1e-12
    assert np.allclose(par.expand(2 * theta[0] - theta[1])[0], 2 * e_x[0] - e_x[1])
    norm = sum((np.abs(f[0]) ** 2).sum() for f in (e_x, e_w, d)) / 3
    assert np.isclose((par.metric() * np.abs(theta[0]) ** 2).sum(), norm)


def test_kappa_and_its_ridge():
    par = one_of_each("Z3*T", (2, 2, 2))
    model = Model(par, matmul_tensor(2, 2, 2))
    theta = torch.randn(1, par.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    value = model.kappa(model.strengths(model.terms(theta)))
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    ridge = model.kappa_ridge(model.strengths(model.terms(theta)))
    assert (2 * ridge * theta - gradient).abs().max() < 1e-10
    e_x, e_w, d = par.expand(theta.detach().numpy()[0])
    assert np.isclose(((e_x**2).sum(1) * (e_w**2).sum(1) * (d**2).sum(0)).sum(), value.item())


def with_room(matrix):
    return torch.cat([matrix, torch.full_like(matrix[:, :1], torch.nan)], dim=1)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 150), st.booleans(), st.booleans(), st.integers(0, 99))
def test_solves(batch, size, blocked, is_complex, seed):
    dtype = torch.complex128 if is_complex else torch.float64
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(batch, size, size, dtype=dtype, generator=generator)
    matrix = root @ root.mH + torch.eye(size)
    rhs = torch.randn(batch, size, dtype=dtype, generator=generator)
    junk = torch.triu(torch.full((size, size), torch.nan, dtype=torch.float64), 1)  # the upper part must not be read
    x, ok = solve_lower(with_room((torch.tril(matrix) + junk).to(dtype)), rhs, blocked=blocked)
    assert ok.all()
    assert ((matrix @ x[:, :, None])[:, :, 0] - rhs).abs().max() < 1e-8 * rhs.abs().max()


@pytest.mark.parametrize("blocked", [False, True])
def test_indefinite_matrices_are_reported_not_returned(blocked):
    matrix = torch.eye(100, dtype=torch.float64).repeat(3, 1, 1)
    matrix[1, 70, 70] = -1.0
    x, ok = solve_lower(with_room(matrix), torch.ones(3, 100, dtype=torch.float64), blocked=blocked)
    assert ok.tolist() == [True, False, True]
    assert (x[1] == 0).all() and torch.allclose(x[0], torch.ones(100, dtype=torch.float64))
