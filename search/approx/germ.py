"""Border algorithms as polynomials: t^h·T = Σ t^(h−p_l) u_l(t)⊗v_l(t)⊗w_l(t) mod t^(h+1), begun from a path.

:class:`search.lm.border.Series` is that system in the coordinates of an invariant subspace and solves it by singular
values; this one is without symmetry, for thousands of unknowns on a GPU, and begins where a path of
:mod:`search.approx.stiff` leads: terms of exponent p grow as t^−p, so t^(p/3)·(factor) is a power series in t along
the path, and its first coefficients are the start.  Entries can be *pinned*: fixed one batch after another to multiples
of a step as long as the rest can follow, until what is left is a rational point to be checked exactly.

Example: ``python -m search.approx.germ results/border/path_4x4x4_r44.npz --device cuda --out germ.npz``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stl_algebra.errors import StlError

__all__ = ["RIDGES", "Germ", "exact_residual", "exponents", "fitted"]

Array = NDArray[Any]

#: Ridges of successive solutions; the last, without any, is the system itself.
RIDGES = (1e-6, 1e-9, 1e-12, 0.0)


def exponents(small: Array, factors: Sequence[tuple[Array, Array, Array]]) -> Array:
    """How fast each term grows along a path: −d log‖term‖/d log t between the last two points, (r,).

    Parameters
    ----------
    small : (P,) array
        t, for instance the root of ε².
    factors : sequence of P triples (E_X, E_W, D)
    """
    size = [
        np.linalg.norm(x, axis=1) * np.linalg.norm(w, axis=1) * np.linalg.norm(d, axis=0) for x, w, d in factors[-2:]
    ]
    rate: Array = -np.log(size[1] / size[0]) / np.log(small[-1] / small[-2])
    return rate


def fitted(
    small: Array, factors: Sequence[tuple[Array, Array, Array]], poles: Sequence[int], order: int, degree: int
) -> Array:
    """Coefficients (order + 1, 3, r, dim) of the power series of the factors, fitted over the points of a path.

    A term of pole p has factors of orders t^−1 (p of them) and t^0; the fit has `degree` + 1 coefficients, of which the
    first ``order + 1`` are returned.
    """
    rows = []
    for t, (x, w, d) in zip(small, factors, strict=True):
        slots = np.stack([x, w, d.T])
        norms = np.maximum(np.linalg.norm(slots, axis=2), 1e-300)
        whole = norms.prod(0) * t ** np.asarray(poles)
        rows.append(slots / norms[:, :, None] * np.cbrt(whole)[None, :, None])
    powers = np.stack([np.asarray(small) ** k for k in range(degree + 1)], axis=1)
    flat = np.stack(rows).reshape(len(rows), -1)
    found = np.linalg.lstsq(powers, flat, rcond=None)[0].reshape(degree + 1, *rows[0].shape)
    out = np.zeros((order + 1, *rows[0].shape))
    out[: degree + 1] = found[: order + 1]
    return out


class Germ:
    """The polynomial system of a target, poles p_l and an order h, with some unknowns pinned.

    A term of pole p < h is written with a first factor divisible by t^(h−p), so that the system is
    Σ_l u_l(t)⊗v_l(t)⊗w_l(t) = t^h·T mod t^(h+1) for all.

    Parameters
    ----------
    target : (n, n, n) array
    poles : sequence of int
    order : int
    device : str

    Examples
    --------
    >>> from ..lm.problem import matmul_tensor
    >>> germ = Germ(matmul_tensor(1, 1, 1), [0], 0)
    >>> x, value = germ.solve(germ.start(np.full((1, 3, 1, 1), 0.7)))
    >>> value < 1e-20
    True
    """

    def __init__(self, target: Array, poles: Sequence[int], order: int, device: str = "cpu") -> None:
        self.order, self.poles, self.where = order, list(poles), torch.device(device)
        if len(set(target.shape)) != 1 or not all(0 <= p <= order for p in self.poles):
            raise StlError("poles", self.poles, f"whole numbers from 0 to the order {order}, of a cubic target")
        self.target = torch.as_tensor(target, dtype=torch.float64, device=self.where)
        self.dim, self.rank = target.shape[0], len(self.poles)
        pole = torch.tensor(self.poles, device=self.where)[None, :]
        power = torch.arange(order + 1, device=self.where)[:, None]
        #: Unknowns that matter, (order + 1, 3, r, n).
        self.used = torch.stack([power >= order - pole, power <= pole, power <= pole], dim=1)[..., None]
        self.used = self.used.expand(-1, -1, -1, self.dim).clone()
        self.free = self.used.clone()

    def start(self, coefficients: Array) -> Tensor:
        """A point of the system from power series (order + 1, 3, r, n) whose first factors are not yet shifted."""
        x = torch.as_tensor(coefficients, dtype=torch.float64, device=self.where).clone()
        for l, pole in enumerate(self.poles):
            x[:, 0, l] = torch.roll(x[:, 0, l], self.order - pole, 0)
        return torch.where(self.used, x, torch.zeros_like(x))

    def _pairs(self, x: Tensor, p: int, q: int) -> list[Tensor]:
        """Coefficients of the products of slots p and q of every term, each (r, n, n)."""
        out = []
        for m in range(self.order + 1):
            parts = [x[b, p][:, :, None] * x[m - b, q][:, None, :] for b in range(m + 1)]
            out.append(sum(parts[1:], parts[0]))
        return out

    def residual(self, x: Tensor) -> Tensor:
        """Coefficients of t^0 … t^h of the sum minus t^h·T, (h + 1, n, n, n)."""
        pairs = self._pairs(x, 1, 2)
        out = []
        for k in range(self.order + 1):
            parts = [x[a, 0].T @ pairs[k - a].flatten(1) for a in range(k + 1)]
            out.append(sum(parts[1:], parts[0]).view(self.target.shape))
        out[self.order] = out[self.order] - self.target
        return torch.stack(out)

    def slope(self, x: Tensor, f: Tensor) -> Tensor:
        """Half the gradient of ‖residual‖², in the shape of x."""
        out = torch.zeros_like(x)
        for s, (p, q, rule) in enumerate(((1, 2, "abc,lbc->la"), (0, 2, "abc,lac->lb"), (0, 1, "abc,lab->lc"))):
            pairs = self._pairs(x, p, q)
            for a in range(self.order + 1):
                for k in range(a, self.order + 1):
                    out[a, s] += torch.einsum(rule, f[k], pairs[k - a])
        return out

    def gram(self, x: Tensor) -> Tensor:
        """JᵀJ of the free unknowns: put together from r×r Grams, with no Jacobian (see :mod:`search.lm.assembly`)."""
        h, n, r = self.order, self.dim, self.rank
        out = torch.zeros(h + 1, 3, r, n, h + 1, 3, r, n, dtype=x.dtype, device=x.device)
        eye = torch.eye(n, dtype=x.dtype, device=x.device)
        inner = [[[x[a, s] @ x[b, s].T for b in range(h + 1)] for a in range(h + 1)] for s in range(3)]
        for s in range(3):
            for s2 in range(3):
                for m in range(h + 1):
                    for m2 in range(h + 1):
                        block = self._block(x, inner, eye, s, s2, m, m2)
                        for k in range(max(m, m2), h + 1):
                            out[k - m, s, :, :, k - m2, s2] += block
        free = self.free.flatten()
        flat = out.view(free.numel(), free.numel())
        return flat if bool(free.all()) else flat[free][:, free]

    def _block(self, x: Tensor, inner: Any, eye: Tensor, s: int, s2: int, m: int, m2: int) -> Tensor:
        """(r, n, r, n): inner products of derivatives along slots s and s2, of orders m and m2 in the other factors."""
        if s == s2:
            p, q = (s + 1) % 3, (s + 2) % 3
            parts = [inner[p][b][c] * inner[q][m - b][m2 - c] for b in range(m + 1) for c in range(m2 + 1)]
            total: Tensor = sum(parts[1:], parts[0])
            return total[:, None, :, None] * eye[None, :, None, :]
        third = 3 - s - s2
        parts = [
            torch.einsum("lk,ki,lj->likj", inner[third][b][c], x[m2 - c, s], x[m - b, s2])
            for b in range(m + 1)
            for c in range(m2 + 1)
        ]
        whole: Tensor = sum(parts[1:], parts[0])
        return whole

    def solve(
        self, x: Tensor, iterations: int = 30, damping: float = 1e-2, least: float = 1e-13, goal: float = 1e-26,
        ridge: float = 0.0, log: Callable[[str], None] = lambda message: None,
    ) -> tuple[Tensor, float]:  # fmt: skip
        """Levenberg–Marquardt steps in the free unknowns for ‖residual‖² + ridge·‖x‖²; the end and ‖residual‖²."""
        f = self.residual(x)
        value = float(f.square().sum()) + ridge * float(x.square().sum())
        for turn in range(iterations):
            if value < goal:
                break
            gram, slope = self.gram(x), (self.slope(x, f) + ridge * x)[self.free]
            gram.diagonal().add_(ridge)
            size, taken = float(gram.diagonal().mean()), False
            while damping < 1e6:
                lifted = gram.clone()
                lifted.diagonal().add_(damping * size)
                factor, info = torch.linalg.cholesky_ex(lifted)
                if int(info) == 0:
                    new = x.clone()
                    new[self.free] -= torch.cholesky_solve(slope[:, None], factor)[:, 0]
                    trial = self.residual(new)
                    reached = float(trial.square().sum()) + ridge * float(new.square().sum())
                    if reached < value:
                        taken = True
                        break
                damping *= 8
            if not taken:
                break
            fit = float(trial.square().sum())
            log(f"{turn} {reached:.3e} fit {fit:.3e} damping {damping:.1e} norm {float(new.norm()):.4f}")
            stuck = reached > value * (1 - 1e-6)
            x, f, value, damping = new, trial, reached, max(damping / 5, least)
            if stuck:
                break
        return x, float(f.square().sum())

    def normalised(self, x: Tensor) -> Tensor:
        """The same terms with the largest leading entry of the first two factors equal to one at every order, pinned.

        A factor may be divided by any power series that does not vanish at 0 if another is multiplied by it.
        """
        x = x.clone()
        for l, pole in enumerate(self.poles):
            for s in (0, 1):
                shift = self.order - pole if s == 0 else 0
                pivot = int(x[shift, s, l].abs().argmax())
                series = x[shift:, s, l, pivot].clone()
                inverse = torch.zeros_like(series)
                inverse[0] = 1 / series[0]
                for k in range(1, len(series)):
                    inverse[k] = -(series[1 : k + 1] * inverse[:k].flip(0)).sum() / series[0]
                for slot, by, first in ((s, inverse, shift), (2, series, 0)):
                    old = x[first:, slot, l].clone()
                    for k in range(len(old)):
                        parts = [by[j] * old[k - j] for j in range(min(k, len(by) - 1) + 1)]
                        x[first + k, slot, l] = sum(parts[1:], parts[0])
                self.free[:, s, l, pivot] = False
        return torch.where(self.used, x, torch.zeros_like(x))

    def sparser(
        self, x: Tensor, turns: int = 30, start: float = 0.3, end: float = 0.03, pull: float = 1e-5,
        log: Callable[[str], None] = lambda message: None,
    ) -> Tensor:  # fmt: skip
        """Move along the solutions to where few unknowns are not zero: reweighted least squares of Σ log(x² + δ²)."""
        for turn in range(turns):
            delta = start * (end / start) ** (turn / max(1, turns - 1))
            weight = pull * (0.1 / (x.square() + delta**2) + 0.01)[self.free]
            gram, f = self.gram(x), self.residual(x)
            gram.diagonal().add_(weight)
            factor, info = torch.linalg.cholesky_ex(gram)
            if int(info):
                break
            move = -torch.cholesky_solve((self.slope(x, f)[self.free] + weight * x[self.free])[:, None], factor)[:, 0]
            move = move * min(1.0, 0.1 * float(x.norm()) / float(move.norm()))
            new = x.clone()
            new[self.free] += move
            new, value = self.solve(new, 6, 1e-9, goal=1e-20)
            if value > 1e-14:
                pull /= 4
                continue
            x = new
            small = int((x[self.free].abs() < 1e-3).sum())
            log(f"{turn} δ {delta:.4f} value {value:.1e} norm {float(x.norm()):.3f} small {small}")
        return x

    def movable(self, x: Tensor, lift: float = 1e-9) -> Tensor:
        """How far each free unknown can move along the solutions, 0 to 1; the sum is the dimension of the family."""
        gram = self.gram(x)
        size = lift * float(gram.diagonal().mean())
        gram.diagonal().add_(size)
        return size * torch.cholesky_inverse(torch.linalg.cholesky(gram)).diagonal()

    def pin(
        self, x: Tensor, steps: Sequence[float], batch: float = 0.25, tolerance: float = 1e-20, iterations: int = 7,
        seconds: Callable[[], float] = lambda: float("inf"), log: Callable[[str], None] = lambda message: None,
    ) -> Tensor:  # fmt: skip
        """Fix free unknowns to multiples of each step in turn (0 is one), nearest first, while the rest can follow.

        Parameters
        ----------
        steps : sequence of float
            ``inf`` for zero alone, then for instance 1 and ½.
        batch : float
            Share of the dimension of the family that is fixed at once; halved when the rest cannot follow.
        seconds : callable
            Time left.
        """
        banned = torch.zeros_like(self.free)
        for step in steps:
            share = batch
            while seconds() > 0:
                moves = self.movable(x)
                goal = torch.zeros_like(x) if step == float("inf") else (x / step).round() * step
                gap = (x - goal).abs()[self.free]
                allowed = (moves > 0.02) & (gap < (0.35 if step == float("inf") else 0.51 * step)) & ~banned[self.free]
                dimension = float(moves.sum())
                if dimension < 0.3 or not bool(allowed.any()):
                    break
                order = torch.where(allowed, gap / moves.clamp(min=1e-9).sqrt(), torch.full_like(gap, torch.inf))
                many = min(max(1, round(share * dimension)), int(allowed.sum()))
                place = self.free.flatten().nonzero()[:, 0][order.argsort()[:many]]
                held, new = self.free.clone(), x.clone()
                self.free.view(-1)[place] = False
                new.view(-1)[place] = goal.flatten()[place]
                new, value = self.solve(new, iterations, 1e-9, goal=1e-24)
                if value < tolerance and float(new.abs().max()) < 1.5 * float(x.abs().max()) + 1:
                    x, share = new, min(batch, share * 1.5)
                    log(f"step {step}: {many} of dimension {dimension:.1f}, {int(self.free.sum())} free, {value:.1e}")
                elif many == 1:
                    self.free = held
                    banned.view(-1)[place] = True
                else:
                    self.free, share = held, share / 3
        return x


def exact_residual(parts: Sequence[Array], target: Array) -> list[float]:
    """Largest entry of the residual of each order, in exact integers, of a sum of floating-point arrays.

    Parameters
    ----------
    parts : sequence of (order + 1, 3, r, n) arrays
        A point of a :class:`Germ`; a second part holds what double precision has cut off the first.
    target : (n, n, n) array of integers
    """
    bits = 260  # below the last binary digit of what is stored
    whole = sum(np.vectorize(lambda v: int(v * 2.0**120) << (bits - 120), otypes=[object])(p) for p in parts[:1])
    for part in parts[1:]:
        whole = whole + np.vectorize(lambda v: int(v * 2.0**200) << (bits - 200), otypes=[object])(part)
    order, rank, n = whole.shape[0] - 1, whole.shape[2], whole.shape[3]
    out = []
    for k in range(order + 1):
        total = np.zeros((n, n * n), dtype=object)
        for a in range(k + 1):
            pairs = sum(whole[b, 1][:, :, None] * whole[k - a - b, 2][:, None, :] for b in range(k - a + 1))
            total = total + whole[a, 0].T.dot(pairs.reshape(rank, n * n))
        if k == order:
            total = total - np.asarray(target).astype(int).astype(object).reshape(n, n * n) * (1 << (3 * bits))
        out.append(float(max(abs(int(v)) for v in total.ravel()) / (1 << (3 * bits - 200))) * 2.0**-200)
    return out


def main(arguments: list[str] | None = None) -> int:
    """From a path of rank r of ⟨4,4,4⟩ (or another square format) to a solution of the polynomial system."""
    from ..lm.parametrisation import Free
    from ..lm.problem import matmul_tensor
    from .stiff import Problem

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("path", type=Path, help="npz file with mu (P,) and theta (P, size), falling mu, no symmetry")
    parser.add_argument("--side", type=int, default=4, help="n of ⟨n,n,n⟩")
    parser.add_argument("--degree", type=int, default=2, help="of the fit")
    parser.add_argument("--iterations", type=int, default=40, help="of each ridge; ten times as many of the last")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="npz file for x and poles")
    options = parser.parse_args(arguments)
    try:
        if not options.path.is_file():
            raise StlError("path", str(options.path), "an npz file with mu and theta")
        with np.load(options.path) as stored:
            theta = stored["theta"][np.argsort(-stored["mu"])]
        target = matmul_tensor(*[options.side] * 3)
        rank, left = divmod(theta.shape[1], 3 * options.side**2)
        if left or len(theta) < options.degree + 2:
            raise StlError("path", theta.shape, f"at least {options.degree + 2} points of terms of ⟨n,n,n⟩")
        problem = Problem(target, Free(target, rank))
        points = [torch.as_tensor(t * problem.scale) for t in theta]
        small = np.sqrt([problem.scores(y)[0] for y in points])
        factors = [problem.par.expand(t) for t in theta]
        rates = exponents(small, factors)
        poles = [max(0, round(float(rate))) for rate in rates]
        print("exponents", np.round(np.sort(rates), 2), "order", max(poles))
        germ = Germ(target, poles, max(poles), options.device)
        start = fitted(small, factors, poles, max(poles), options.degree)
        start[2:] = 0
        x = germ.start(start)
        for ridge in RIDGES:
            x, value = germ.solve(x, options.iterations * (1 if ridge else 10), 1e-5, ridge=ridge)
            print(f"ridge {ridge:g}: ‖residual‖² {value:.3e}, norm {float(x.norm()):.4f}", flush=True)
        if options.out is not None:
            np.savez_compressed(options.out, x=x.cpu().numpy(), poles=poles)
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
