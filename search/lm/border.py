"""Border rank by numbers: terms whose factors are polynomials in t, and how the error falls as the terms grow.

An approximate algorithm of order h is an identity t^h·T = Σ_l t^(h−p_l) u_l(t)⊗v_l(t)⊗w_l(t) mod t^(h+1), where p_l ≤ h
is the *pole* of term l and its factors are polynomials of degree ≤ p_l; it proves that the border rank of T is at most
the number of terms.  `Series` is that system over any linear parametrisation (poles per orbit), in coordinates of the
invariant subspace; with all poles and h zero it is the ordinary approximation problem.  `descend` minimises
‖residual‖² + μ‖x‖² by Levenberg–Marquardt steps in the singular basis of the metric-scaled Jacobian: nothing is
squared, so that steps stay right at condition numbers (10¹¹ and more on a path to a border algorithm) where normal
equations have no digit left, and each step is bent back to the linear prediction along the stiff directions.

Only a *finite* solution of the polynomial system proves anything.  A residual that falls while the unknowns grow does
not: any tensor in a tangent space of the secant variety is approached like that (six terms for ⟨2,2,2⟩ too), and random
starts mostly end there even where a finite solution exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .parametrisation import OrbitType, Parametrisation, dense_target

__all__ = ["Series", "descend", "follow"]

Array = NDArray[np.float64]


def _tensor_of(orbit: OrbitType, basis: Array, dims: Sequence[int]) -> Array:
    """Coefficients of one orbit's tensor, (coordinates, width, width, width) for three blocks or one block thrice."""
    one = len(orbit.widths) == 1
    widths = [orbit.widths[0]] * 3 if one else list(orbit.widths)
    out = np.zeros((basis.shape[1], *widths))
    cube = basis.T.reshape(-1, *dims)
    for term in orbit.maps:
        part = cube
        for _, matrix in term:  # contracts the first slot left and puts the block's axis last
            part = np.moveaxis(np.tensordot(part, matrix.real, axes=(1, 0)), -1, -1)
        order = [0, 1, 2] if one else [block for block, _ in term]
        out += np.transpose(part, [0, *(1 + np.argsort(order))])
    return out


@dataclass
class Series:
    """The polynomial system of an approximate algorithm; x holds coefficient k of a block's unknowns in rows of k.

    Parameters
    ----------
    parametrisation : Parametrisation
        Real, with orbit types of three blocks, or of one block that fills all three slots.
    target : array or Target
    poles : sequence of int, one per orbit copy
    order : int
        h.

    Examples
    --------
    >>> from .parametrisation import Free
    >>> from .problem import matmul_tensor
    >>> t = matmul_tensor(1, 1, 2)
    >>> s = Series(Free(t, 2), t, [0, 0], 0)
    >>> x, fit = descend(s, np.random.default_rng(0).standard_normal(s.size), 1e-9)
    >>> fit < 1e-9
    True
    """

    parametrisation: Parametrisation
    target: Any
    poles: Sequence[int]
    order: int
    size: int = field(init=False)

    def __post_init__(self) -> None:
        par, dense = self.parametrisation, dense_target(self.target)
        kinds = [orbit for orbit, count in par.orbits for _ in range(count)]
        if len(self.poles) != len(kinds) or not all(0 <= p <= self.order for p in self.poles):
            raise StlError("poles", list(self.poles), f"{len(kinds)} whole numbers from 0 to the order {self.order}")
        if par.field != "real" or any(len(o.widths) == 2 for o in kinds):
            raise StlError("parametrisation", par.label, "a real one with one or three blocks per orbit type")
        self.norm2 = float((dense**2).sum())
        basis = self._basis(dense)
        self.goal = basis.T @ dense.ravel()
        made = {id(o): _tensor_of(o, basis, par.dims) for o in {id(o): o for o in kinds}.values()}
        self.copies: list[tuple[int, Array, tuple[int, ...], list[int]]] = []  # pole, tensor, widths, starts
        at, weights = 0, []
        for pole, orbit in zip(self.poles, kinds, strict=True):
            starts = []
            for width, weight in zip(orbit.widths, orbit.weights, strict=True):
                starts.append(at)
                at += width * (pole + 1)
                weights.append(np.full(width * (pole + 1), weight / 3))
            self.copies.append((pole, made[id(orbit)], orbit.widths, starts))
        self.size, self.metric = at, np.concatenate(weights)

    def _basis(self, dense: Array) -> Array:
        """Orthonormal basis of the span of all tensors of the parametrisation (and the target), (abc, coordinates)."""
        par, rng, found = self.parametrisation, np.random.default_rng(0), np.zeros((dense.size, 0))
        if all(o.size == 1 and len(o.widths) == 3 for o, _ in par.orbits):
            return np.eye(dense.size)
        while True:
            e_x, e_w, d = par.expand(rng.standard_normal((128, par.size)))
            more = np.einsum("Rla,Rlb,Rcl->Rabc", e_x, e_w, d, optimize=True).reshape(128, -1).T
            more = more / np.linalg.norm(more, axis=0)
            u, s, _ = scipy.linalg.svd(np.hstack([found, more, dense.reshape(-1, 1)]), full_matrices=False)
            rank = int((s > 1e-9 * s[0]).sum())
            if rank == found.shape[1]:
                return found
            found = u[:, :rank]

    def lift(self, theta: Array) -> Array:
        """x of parameters without powers of t (all poles zero): the same numbers, copies one after another."""
        out, at = [], 0
        for orbit, count in self.parametrisation.orbits:
            blocks = []
            for width in orbit.widths:
                blocks.append(theta[at : at + width * count].reshape(count, width))
                at += width * count
            out += [np.concatenate([b[c] for b in blocks]) for c in range(count)]
        return np.concatenate(out)

    def lower(self, x: Array) -> Array:
        """The parameters of an x without powers of t: the inverse of `lift`."""
        index = self.lift(np.arange(self.size, dtype=float)).astype(int)
        theta = np.empty(self.size)
        theta[index] = x
        return theta

    def _parts(self, x: Array) -> Iterator[tuple[int, Array, list[Array], list[int], bool]]:
        for pole, tensor, widths, starts in self.copies:
            blocks = [x[s : s + w * (pole + 1)].reshape(pole + 1, w) for s, w in zip(starts, widths, strict=True)]
            one = len(blocks) == 1
            yield pole, tensor, blocks * 3 if one else blocks, starts * 3 if one else starts, one

    def residual(self, x: Array) -> Array:
        """Coefficients of t^0 … t^h of the sum minus t^h·T, ((h+1)·coordinates,)."""
        out = np.zeros((self.order + 1, len(self.goal)))
        out[self.order] -= self.goal
        for pole, tensor, (u, v, w), _, _ in self._parts(x):
            first = np.tensordot(tensor, w, axes=(3, 1))
            second = np.einsum("rijc,bj->rbci", first, v, optimize=True)
            for b in range(pole + 1):
                for c in range(pole + 1 - b):
                    for a in range(pole + 1 - b - c):
                        out[self.order - pole + a + b + c] += second[:, b, c] @ u[a]
        return out.ravel()

    def jacobian(self, x: Array) -> Array:
        """Derivative of `residual`, ((h+1)·coordinates, size)."""
        n = len(self.goal)
        out = np.zeros((self.order + 1, n, self.size))
        for pole, tensor, blocks, starts, _ in self._parts(x):
            for s in range(3):
                p, q = [(1, 2), (0, 2), (0, 1)][s]
                moved = np.moveaxis(tensor, 1 + s, 1)
                first = np.tensordot(moved, blocks[q], axes=(3, 1))
                second = np.einsum("rijc,bj->rbci", first, blocks[p], optimize=True)
                width = blocks[s].shape[1]
                for b in range(pole + 1):
                    for c in range(pole + 1 - b):
                        for a in range(pole + 1 - b - c):
                            at = starts[s] + a * width
                            out[self.order - pole + a + b + c, :, at : at + width] += second[:, b, c]
        return out.reshape(-1, self.size)


def descend(
    system: Series, x: Array, mu: float, iterations: int = 100, damping: float = 1.0, tol: float = 1e-7
) -> tuple[Array, float]:
    """Minimise ‖residual‖² + μ‖x‖² (in the parametrisation's metric) from x; returns x and ‖residual‖²/‖T‖²."""
    scale = np.sqrt(system.metric)
    f = system.residual(x)
    value, quiet = f @ f + mu * (scale * x) @ (scale * x), 0
    for _ in range(iterations):
        u, s, vt = scipy.linalg.svd(system.jacobian(x) / scale, full_matrices=False, check_finite=False)
        rest = scale * x - vt.T @ (vt @ (scale * x))  # what no residual sees only shrinks
        gradient = s * (u.T @ f) + mu * (vt @ (scale * x))
        while mu * damping < 1e3 * (s[0] ** 2 + mu):
            base = s * s + mu * (1 + damping)
            y = -gradient / base
            new = x + (vt.T @ y - rest / (1 + damping)) / scale
            goal, last = f + u @ (s * y), np.inf
            for _ in range(12):
                off = system.residual(new) - goal
                size = float(np.linalg.norm(off))
                if not size < 0.5 * last or size < 1e-4 * np.linalg.norm(goal):
                    break
                last, new = size, new - (vt.T @ ((s / base) * (u.T @ off))) / scale
            trial = system.residual(new)
            reached = trial @ trial + mu * (scale * new) @ (scale * new)
            if reached < value:
                break
            damping *= 4
        else:
            break
        quiet = quiet + 1 if value - reached < tol * value else 0
        x, f, value, damping = new, trial, reached, max(damping * 0.25, 1e-6)
        if quiet == 3:
            break
    return x, float(f @ f) / system.norm2


def follow(
    system: Series, x: Array, penalties: Sequence[float], iterations: int = 300
) -> Iterator[tuple[float, Array, float]]:
    """The penalty path: (μ, x, ε²) for falling penalties, each from the end of the last."""
    for mu in penalties:
        x, eps2 = descend(system, x, mu, iterations)
        yield mu, x, eps2
