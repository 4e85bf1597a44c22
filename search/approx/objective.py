"""What an approximate encoder is judged by: ε² (with second moments, if known) plus a weight times κ².

For tiles A, B with second moments Σ_A, Σ_B (of vec A, vec B, zero mean) and R = T̂ − T,

    E‖Ĉ − C‖² = Σ_c tr(R_cᵀ Σ_A R_c Σ_B) = ‖(Σ_A^½ ⊗ Σ_B^½ ⊗ 1) R‖²,

so the problem with moments is the plain one for the whitened tensor (Σ_A^½, Σ_B^½, 1)·T: nothing in the optimiser
changes, and E_X, E_W are carried back by the inverse roots.  The rounding term follows: E|E_X[l]·vec A|² is the squared
length of the whitened row.  Correlation between the tiles that one output sums over K adds cross terms that this
leaves out; :func:`search.approx.realdata` measures what they do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from ..lm.problem import matmul_tensor

__all__ = ["BF16", "FORMATS", "Factors", "Objective"]

Array = NDArray[Any]
Factors = tuple[Array, Array, Array]

#: Mean squared rounding of encoded activations, encoded weights and channel products together (math.md §3), by format.
FORMATS = {"fp32": 1.3e-10, "fp16": 1.3e-7, "bf16": 8.25e-6, "fp8": 1.4e-3}
BF16 = FORMATS["bf16"]


@dataclass(frozen=True, eq=False)
class Objective:
    """ε² + weight·κ² of encoders of one format.

    Parameters
    ----------
    fmt : (n, m, p)
    weight : float
        Of κ², for instance ``FORMATS["bf16"]``; larger for encoders that are to be trained or held in fp8.
    moment_a, moment_b : (nm, nm), (mp, mp) arrays, optional
        Second moments of vec A and vec B; identities if left out.

    Examples
    --------
    >>> plain = Objective((1, 1, 1))
    >>> one = np.ones((1, 1))
    >>> plain.scores((one, one, 0.5 * one))  # half the product: ε² = ¼, κ² = ¼
    (0.25, 0.25)
    """

    fmt: tuple[int, int, int]
    weight: float = BF16
    moment_a: Array | None = field(default=None, repr=False)
    moment_b: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n, m, p = self.fmt
        for name, moment, size in (("moment_a", self.moment_a, n * m), ("moment_b", self.moment_b, m * p)):
            if moment is None:
                continue
            if moment.shape != (size, size) or not np.isfinite(moment).all():
                raise StlError(name, f"array of shape {moment.shape}", f"a finite ({size}, {size}) array")
            if np.linalg.eigvalsh((moment + moment.T) / 2)[0] <= 0:
                raise StlError(name, "a singular matrix", "a positive definite one", "add a little of the identity")

    def _roots(self) -> list[tuple[Array, Array] | None]:
        out: list[tuple[Array, Array] | None] = []
        for moment in (self.moment_a, self.moment_b):
            if moment is None:
                out.append(None)
                continue
            values, vectors = np.linalg.eigh((moment + moment.T) / 2)
            out.append(((vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T))
        return out

    def target(self) -> Array:
        """The (whitened) tensor to approximate, (nm, mp, np)."""
        tensor: Array = matmul_tensor(*self.fmt)
        for axis, root in enumerate(self._roots()):
            if root is not None:
                tensor = np.moveaxis(np.tensordot(root[0], tensor, (1, axis)), 0, axis)
        return tensor

    def whitened(self, factors: Factors) -> Factors:
        """Factors in the coordinates of :meth:`target`."""
        return self._carried(factors, 0)

    def restored(self, factors: Factors) -> Factors:
        """Factors of a solution for :meth:`target`, back in the coordinates of A and B."""
        return self._carried(factors, 1)

    def _carried(self, factors: Factors, which: int) -> Factors:
        x, w, d = factors
        roots = self._roots()
        return (x if roots[0] is None else x @ roots[0][which], w if roots[1] is None else w @ roots[1][which], d)

    def scores(self, factors: Factors) -> tuple[float, float]:
        """(ε², κ²) of an encoder under the moments: expected squared error and rounding gain over E‖C‖²."""
        x, w, d = self.whitened(factors)
        target = self.target()
        gap = np.einsum("la,lb,cl->abc", x, w, d, optimize=True) - target
        norm2 = float((target**2).sum())
        return float((gap**2).sum()) / norm2, float(((x**2).sum(1) * (w**2).sum(1) * (d**2).sum(0)).sum()) / norm2

    def value(self, factors: Factors) -> float:
        """ε² + weight·κ²."""
        eps2, kappa2 = self.scores(factors)
        return eps2 + self.weight * kappa2

    def gradient(self, factors: Factors) -> Factors:
        """Closed-form gradient of :meth:`value` with respect to (E_X, E_W, D)."""
        x, w, d = self.whitened(factors)
        target = self.target()
        gap = np.einsum("la,lb,cl->abc", x, w, d, optimize=True) - target
        scale = 2 / float((target**2).sum())
        sx, sw, sd = (x**2).sum(1), (w**2).sum(1), (d**2).sum(0)
        g_x = np.einsum("abc,lb,cl->la", gap, w, d, optimize=True) + self.weight * (sw * sd)[:, None] * x
        g_w = np.einsum("abc,la,cl->lb", gap, x, d, optimize=True) + self.weight * (sx * sd)[:, None] * w
        g_d = np.einsum("abc,la,lb->cl", gap, x, w, optimize=True) + self.weight * (sx * sw)[None, :] * d
        roots = self._roots()
        g_x = g_x if roots[0] is None else g_x @ roots[0][0]
        g_w = g_w if roots[1] is None else g_w @ roots[1][0]
        return scale * g_x, scale * g_w, scale * g_d

    def rescaled(self, factors: Factors) -> Factors:
        """The best multiple of T̂, put into D; there ε² + weight·κ² = 1 − ⟨T,T̂⟩/‖T‖² (a stationary point)."""
        x, w, d = self.whitened(factors)
        target = self.target()
        hat = np.einsum("la,lb,cl->abc", x, w, d, optimize=True)
        strength = float(((x**2).sum(1) * (w**2).sum(1) * (d**2).sum(0)).sum())
        scale = float((hat * target).sum()) / (float((hat**2).sum()) + self.weight * strength)
        return factors[0], factors[1], scale * factors[2]
