"""The penalty path of an approximation past the digits of normal equations, on a GPU or a CPU, in any subspace.

As μ falls in ‖T̂−T‖² + μ·(‖E_X‖²+‖E_W‖²+‖D‖²)/3, a border phenomenon grows without bound and the Jacobian's condition
number with it.  Steps here come from an orthogonal factorisation of the Jacobian over the penalty, so that nothing is
squared, and are bent back to the linear prediction along the stiff directions.  :func:`search.lm.border.descend` takes
the same steps from singular values, in coordinates of the invariant tensors; this one is for spaces of thousands of
unknowns.

Example: ``python -m search.approx.stiff 4x4x4_r44_R64_dbdc876d --device cuda --seconds 120``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stl_algebra import StlError

from ..lm.parametrisation import Parametrisation

__all__ = ["Problem", "Step", "follow"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """A point of a path: penalty, parameters, ε², κ², scaled gradient and ratio of the fit to the penalty."""

    mu: float
    theta: Array
    epsilon2: float
    kappa2: float
    gradient: float
    ratio: float


class Problem:
    """Residual and Jacobian of a target over a real parametrisation, in the coordinates √metric·θ of its penalty.

    Parameters
    ----------
    target : (a, b, c) array
    par : Parametrisation
    device : str

    Examples
    --------
    >>> from ..lm.parametrisation import Free
    >>> from ..lm.problem import matmul_tensor
    >>> problem = Problem(matmul_tensor(1, 1, 2), Free(matmul_tensor(1, 1, 2), 2))
    >>> y = torch.randn(problem.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> y, value, _ = problem.descend(y, 1e-9, 60)
    >>> value < 1e-6
    True
    """

    def __init__(self, target: Array, par: Parametrisation, device: str = "cpu") -> None:
        self.par, self.size, self.where = par, par.size, torch.device(device)
        self.scale = np.sqrt(par.metric())
        self.target = torch.as_tensor(target, dtype=torch.float64, device=self.where)
        self.norm2 = float((target**2).sum())
        x, w, d = par.expand(np.eye(par.size) / self.scale)
        slots = (x, w, d.transpose(0, 2, 1))
        self.maps = [torch.as_tensor(s.reshape(par.size, -1), device=self.where) for s in slots]  # (size, r·dim)

    def terms(self, y: Tensor) -> list[Tensor]:
        """Factors (r, dim) of the three slots."""
        return [(y @ m).view(self.par.rank, -1) for m in self.maps]

    def residual(self, y: Tensor) -> Tensor:
        """T̂ − T, flat."""
        x, w, d = self.terms(y)
        pairs = (x[:, :, None] * w[:, None, :]).flatten(1)
        return (pairs.T @ d).flatten() - self.target.flatten()

    def jacobian(self, y: Tensor) -> Tensor:
        """Derivative of :meth:`residual`, (abc, size)."""
        x, w, d = self.terms(y)
        (a, b, c), r = self.target.shape, self.par.rank
        eye = [torch.eye(n, dtype=y.dtype, device=y.device) for n in (a, b, c)]
        along = [
            torch.einsum("ai,lb,lc->abcli", eye[0], w, d),
            torch.einsum("bi,la,lc->abcli", eye[1], x, d),
            torch.einsum("ci,la,lb->abcli", eye[2], x, w),
        ]
        if self.size == r * (a + b + c) and not self.par.orbits[1:]:  # no ties: the maps only permute
            return torch.cat([p.reshape(a * b * c, -1) for p in along], dim=1) / torch.as_tensor(
                self.scale, device=self.where
            )
        return sum((p.reshape(a * b * c, -1) @ m.T for p, m in zip(along, self.maps, strict=True)), torch.zeros(()))

    def scores(self, y: Tensor) -> tuple[float, float]:
        """ε² and κ²."""
        x, w, d = self.terms(y)
        strength = (x.square().sum(1) * w.square().sum(1) * d.square().sum(1)).sum()
        return float(self.residual(y).square().sum()) / self.norm2, float(strength) / self.norm2

    def curvature(self, y: Tensor, f: Tensor, p: Tensor) -> Tensor:
        """What JᵀJ leaves out of half the Hessian of ‖residual‖² along p: Σ_i f_i ∇²f_i·p."""
        x, q = self.terms(y), self.terms(p)
        gap = f.view(self.target.shape)
        rules = (("abc,lb,lc->la", 1, 2), ("abc,la,lc->lb", 0, 2), ("abc,la,lb->lc", 0, 1))
        out = torch.zeros_like(y)
        for (rule, i, j), m in zip(rules, self.maps, strict=True):
            part = torch.einsum(rule, gap, q[i], x[j]) + torch.einsum(rule, gap, x[i], q[j])
            out += m @ part.flatten()
        return out

    def newton(
        self, y: Tensor, mu: float, iterations: int = 8, products: int = 60, goal: float = 1e-10
    ) -> tuple[Tensor, float]:
        """Newton steps for ‖residual‖² + μ‖y‖² near a minimum: the end and its gradient in units of the penalty's.

        The system is solved by conjugate gradients in the coordinates R·y of the factorisation JᵀJ + μ = RᵀR, in which
        only the curvature of the residual differs from the identity.
        """
        eye = mu**0.5 * torch.eye(self.size, dtype=y.dtype, device=y.device)
        size = float("inf")
        for _ in range(iterations):
            f = self.residual(y)
            jacobian = self.jacobian(y)
            upper = torch.linalg.qr(torch.cat([jacobian, eye]), mode="r").R
            gradient = jacobian.T @ f + mu * y
            del jacobian

            def back(v: Tensor, upper: Tensor = upper) -> Tensor:
                solution: Tensor = torch.linalg.solve_triangular(upper, v[:, None], upper=True)[:, 0]
                return solution

            def forth(v: Tensor, upper: Tensor = upper) -> Tensor:
                solution: Tensor = torch.linalg.solve_triangular(upper.T, v[:, None], upper=False)[:, 0]
                return solution

            rest = -forth(gradient)
            size, step, along = float(rest.norm()) / (mu * float(y @ y)) ** 0.5, torch.zeros_like(y), rest
            if size < goal:
                break
            first = float(rest @ rest)
            for _ in range(products):
                image = along + forth(self.curvature(y, f, back(along)))
                bend, old = float(along @ image), float(rest @ rest)
                if bend <= 0:
                    step = along if not step.any() else step
                    break
                step, rest = step + old / bend * along, rest - old / bend * image
                if float(rest @ rest) < 1e-12 * first:
                    break
                along = rest + float(rest @ rest) / old * along
            move, here, share = back(step), float(f @ f + mu * y @ y), 1.0
            while share > 1e-3:
                trial = self.residual(y + share * move)
                if float(trial @ trial + mu * (y + share * move).square().sum()) <= here * (1 + 1e-15):
                    break
                share /= 2
            y = y + share * move
        return y, size

    def descend(
        self, y: Tensor, mu: float, iterations: int, damping: float = 1.0, tolerance: float = 1e-7
    ) -> tuple[Tensor, float, float]:
        """Minimise ‖residual‖² + μ‖y‖² from y: the end, its value, and its gradient over the root of the value."""
        f = self.residual(y)
        value, quiet, slope = float(f @ f + mu * y @ y), 0, float("inf")
        rows = len(f)
        for _ in range(iterations):
            jacobian = self.jacobian(y)
            slope = float((jacobian.T @ f + mu * y).norm()) / value**0.5
            accepted = False
            while damping < 1e16:
                ridge = (mu * (1 + damping)) ** 0.5
                tall = torch.cat([jacobian, ridge * torch.eye(self.size, dtype=y.dtype, device=y.device)])
                q, upper = torch.linalg.qr(tall)

                def solve(top: Tensor, bottom: Tensor | None, q: Tensor = q, upper: Tensor = upper) -> Tensor:
                    right = q[:rows].T @ top
                    right = right if bottom is None else right + q[rows:].T @ bottom
                    solution: Tensor = torch.linalg.solve_triangular(upper, right[:, None], upper=True)[:, 0]
                    return solution

                move = solve(-f, -(mu / ridge) * y)
                goal, new, last = f + jacobian @ move, y + move, float("inf")
                for _ in range(10):  # keep the tensor where the linear model put it
                    off = self.residual(new) - goal
                    size = float(off.norm())
                    if not size < 0.5 * last or size < 1e-4 * float(goal.norm()):
                        break
                    last, new = size, new - solve(off, None)
                trial = self.residual(new)
                reached = float(trial @ trial + mu * new @ new)
                if reached < value:
                    accepted = True
                    break
                damping *= 4
            if not accepted:
                break
            quiet = quiet + 1 if value - reached < tolerance * value else 0
            y, f, value, damping = new, trial, reached, max(damping * 0.25, 1e-6)
            if quiet == 3:
                break
        return y, value, slope


def follow(
    problem: Problem, theta: Array, mu: float, least: float, factor: float = 10**-0.5, iterations: int = 60,
    seconds: float = float("inf"), tolerance: float = 1e-7,
) -> Iterator[Step]:  # fmt: skip
    """Points of the path from μ down to `least`, each begun where entries that grow by a power law would go next."""
    begun = time.monotonic()
    y = torch.as_tensor(theta * problem.scale, dtype=torch.float64, device=problem.where)
    before: Tensor | None = None
    while mu >= least and time.monotonic() - begun < seconds:
        start = y
        if before is not None:
            ratio = y / before
            guess = torch.where((ratio > 0.5) & (ratio < 2), y * ratio, y)
            value = [float(problem.residual(v).square().sum() + mu * v.square().sum()) for v in (guess, y)]
            start = guess if value[0] < value[1] else y
        before = y
        y, _, slope = problem.descend(start, mu, iterations, tolerance=tolerance)
        eps2, kappa2 = problem.scores(y)
        penalty = mu * float(y @ y)
        yield Step(mu, y.cpu().numpy() / problem.scale, eps2, kappa2, slope, eps2 * problem.norm2 / penalty)
        mu *= factor


def main(arguments: list[str] | None = None) -> int:
    """Follow the path of an encoder of the catalogue."""
    from ..lm.invariant import Invariant, types_of
    from ..lm.problem import matmul_tensor
    from .restrict import restricted
    from .results import format_of
    from .sources import encoder_from

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("encoder", help="name of a file of the catalogue, or a path")
    parser.add_argument("--group", default="none", help="the symmetry that is kept")
    parser.add_argument("--mu", type=float, default=1e-5)
    parser.add_argument("--least", type=float, default=1e-12)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="npz file for mu, theta, epsilon2, kappa2")
    options = parser.parse_args(arguments)
    try:
        encoder = encoder_from(options.encoder)
        fmt = format_of(encoder)
        if fmt is None:
            raise StlError("encoder", encoder.label, "an encoder of a matrix product")
        action, types = types_of(options.group, fmt)
        held = restricted(encoder.floats(), action, types)
        if held is None:
            raise StlError("group", options.group, f"a symmetry of {encoder.label}", "use none")
        par = Invariant(options.group, fmt, held[0])
        problem = Problem(matmul_tensor(*fmt), par, options.device)
        found: list[Step] = []
        print("mu         eps2         kappa2     slope   fit/penalty  gradient")
        for step in follow(
            problem, held[1], options.mu, options.least, iterations=options.iterations, seconds=options.seconds
        ):
            last = found[-1] if found else None
            slope = np.log(step.epsilon2 / last.epsilon2) / np.log(step.mu / last.mu) if last else np.nan
            print(
                f"{step.mu:.3e}  {step.epsilon2:.5e}  {step.kappa2:.3e}  {slope:6.4f}  {step.ratio:7.3f}"
                f"  {step.gradient:.1e}",
                flush=True,
            )
            found.append(step)
            if options.out is not None:
                np.savez(options.out, mu=[s.mu for s in found], theta=np.stack([s.theta for s in found]))
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
