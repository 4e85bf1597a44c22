"""The plain way, kept for comparison: Levenberg–Marquardt with a dense Jacobian and the library's Cholesky.

Works for every parametrisation of :mod:`search.lm`; same objective, same acceptance rule and the same starts
as the engine, no early stopping.  Equations that a symmetry repeats are taken once.  ``python -m
search.benchmarks.lm_baseline --device cpu`` prints iterations per second of both, side by side.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..lm import CyclicZ3, Parametrisation, Schedule, minimise
from ..lm.assembly import Model
from ..lm.engine import random_starts
from ..lm.problem import matmul_tensor

__all__ = ["DenseEquations", "dense_jacobian", "minimise_dense"]


def dense_jacobian(model: Model, theta: Tensor) -> Tensor:
    """∂T̂/∂θ, shape (R, a·b·c, size)."""
    terms = model.terms(theta)
    jacobian = torch.zeros(len(theta), *model.par.dims, model.par.size, dtype=model.dtype, device=model.device)
    for i, (orbit, count) in enumerate(model.par.orbits):
        starts = model.par.offsets()[i]
        for j, term in enumerate(orbit.maps):
            x, y, z = (terms[i][s][:, :, j] for s in range(3))
            others = ("xkb,xkc,aq->xabckq", y, z), ("xka,xkc,bq->xabckq", x, z), ("xka,xkb,cq->xabckq", x, y)
            for (block, matrix), (formula, left, right) in zip(term, others, strict=True):
                width = orbit.widths[block]
                part = jacobian[..., starts[block] : starts[block] + count * width]
                image = torch.as_tensor(matrix, dtype=model.dtype, device=model.device)
                part += torch.einsum(formula, left, right, image).flatten(4)
    return jacobian.flatten(1, 3)


def distinct_equations(model: Model) -> tuple[Tensor, Tensor]:
    """One entry (a, b, c) for each set that agrees for every θ, (N, 3), and the root of its size, (N,).

    A symmetry that permutes the tensor's entries repeats each equation; found by comparing random models.
    """
    theta = torch.randn(3, model.par.size, dtype=model.dtype, generator=torch.Generator().manual_seed(1))
    residual = model.residual(model.terms(theta.to(model.device))).flatten(1).T.to(torch.complex128)
    samples = torch.view_as_real(residual.contiguous()).flatten(1).cpu().numpy()
    keys = np.round(samples / np.abs(samples).max(), 9) + 0.0
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    triples = np.stack(np.unravel_index(first, model.par.dims), axis=1)
    return torch.as_tensor(triples, device=model.device), torch.as_tensor(np.sqrt(counts), device=model.device)


class DenseEquations:
    """Residual and dense Jacobian of the distinct equations: gathered factors, multiplied and scattered."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.at, self.weight = distinct_equations(model)
        self.target = model.target[tuple(self.at.T)]
        # Type, term and slot with the k-th non-zero of each row of its map: equations, columns, values.
        self.scatter: list[tuple[int, int, int, Tensor, Tensor, Tensor]] = []
        for i, (orbit, _) in enumerate(model.par.orbits):
            for j, term in enumerate(orbit.maps):
                for s, (_, matrix) in enumerate(term):
                    row = torch.as_tensor(matrix, dtype=model.dtype, device=model.device)[self.at[:, s]]
                    order = (row.abs() > 1e-14).int().argsort(dim=1, descending=True, stable=True)
                    for k in range(matrix.shape[1]):
                        values = row.gather(1, order[:, k : k + 1])[:, 0]
                        used = torch.nonzero(values.abs() > 1e-14)[:, 0]
                        if len(used):
                            self.scatter.append((i, j, s, used, order[used, k], values[used]))

    def residual(self, terms: list[list[Tensor]]) -> Tensor:
        """Weighted T − T̂ at the distinct entries, (R, N)."""
        x, y, z = (f[:, :, self.at[:, s]] for s, f in enumerate(self.model.flat(terms)))
        return (self.target - (x * y * z).sum(1)) * self.weight

    def jacobian(self, terms: list[list[Tensor]]) -> Tensor:
        """Weighted ∂T̂/∂θ at the distinct entries, (R, N, size)."""
        par, starts = self.model.par, self.model.par.offsets()
        batch = len(terms[0][0])
        out = torch.zeros(batch, len(self.at), par.size, dtype=self.model.dtype, device=self.model.device)
        for i, j, s, rows, columns, values in self.scatter:
            orbit, count = par.orbits[i]
            block = orbit.maps[j][s][0]
            others = [terms[i][u][:, :, j][:, :, self.at[rows, u]] for u in range(3) if u != s]
            width, start = orbit.widths[block], starts[i][block]
            part = out[:, :, start : start + count * width].unflatten(2, (count, width))
            part[:, rows, :, columns] += (others[0] * others[1] * values).permute(2, 0, 1)
        return out.mul_(self.weight[:, None])


def minimise_dense(
    target: Any,
    parametrisation: Parametrisation,
    restarts: int,
    iterations: int,
    schedule: Schedule,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[Tensor, Tensor, float]:
    """(θ, ε², seconds) after a fixed number of iterations from the engine's own starts."""
    model = Model(parametrisation, target, device)
    equations = DenseEquations(model)
    theta = random_starts(parametrisation, model.norm2, restarts, seed).to(model.device)
    damping = torch.ones(restarts, dtype=torch.float64, device=model.device)
    begin = time.perf_counter()
    residual = equations.residual(model.terms(theta))
    for step in range(iterations):
        mu = schedule.penalty(step / iterations)
        value = residual.abs().square().sum(1) + mu * (model.metric * theta.abs().square()).sum(1)
        jacobian = equations.jacobian(model.terms(theta))
        gram = jacobian.mH @ jacobian
        gradient = torch.einsum("xnp,xn->xp", jacobian.conj(), residual) - mu * model.metric * theta
        gram.diagonal(dim1=1, dim2=2).add_((mu + damping[:, None]) * model.metric)
        factor, info = torch.linalg.cholesky_ex(gram)
        new = theta + torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
        new_residual = equations.residual(model.terms(new))
        new_value = new_residual.abs().square().sum(1) + mu * (model.metric * new.abs().square()).sum(1)
        ok = (new_value < value) & (info == 0)
        theta = torch.where(ok[:, None], new, theta)
        residual = torch.where(ok[:, None], new_residual, residual)
        damping = torch.where(ok, damping * 0.5, damping * 3).clamp(1e-9, 1e4)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return theta, residual.abs().square().sum(1) / model.norm2, time.perf_counter() - begin


def main() -> None:
    """Time the engine against this baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3, help="⟨t,t,t⟩")
    parser.add_argument("--orbits", default="11,4", help="fixed terms, orbits of three")
    parser.add_argument("--restarts", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    fixed, orbits = (int(x) for x in options.orbits.split(","))
    par, target = CyclicZ3(options.size, fixed, orbits), matmul_tensor(*[options.size] * 3)
    # A fixed amount of work for both: no polish, no early end.
    schedule = Schedule(polish_below=0.0, stall=0.0)
    # Once unmeasured: library handles, and on the CPU the compiled steps, are loaded at the first use.
    minimise(target, par, options.restarts, options.iterations, schedule, device=options.device)
    minimise_dense(target, par, min(4, options.restarts), 2, schedule, device=options.device)
    clocks = {}
    for name in ("engine", "baseline"):
        cpu = time.process_time()
        if name == "engine":
            result = minimise(target, par, options.restarts, options.iterations, schedule, device=options.device)
            wall, steps = result.seconds, result.iterations
        else:
            _, _, wall = minimise_dense(
                target, par, options.restarts, options.iterations, schedule, device=options.device
            )
            steps = options.restarts * options.iterations
        clocks[name] = {
            "wall_s": round(wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
            "steps": steps,
            "steps_per_s": round(steps / wall, 1),
        }
    clocks["ratio"] = {"wall": round(clocks["engine"]["steps_per_s"] / clocks["baseline"]["steps_per_s"], 2)}
    print(json.dumps({"parametrisation": par.label, "device": options.device, **clocks}))


if __name__ == "__main__":
    main()
