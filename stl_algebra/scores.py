"""Closed forms for what an encoder costs and how wrong it is, with a Monte-Carlo check of each.

For independent A, B with uncorrelated zero-mean unit-variance entries:

    ε² = ‖T̂ − T‖² / ‖T‖²                                          relative squared approximation error
    κ² = Σ_l ‖E_X[l]‖² ‖E_W[l]‖² ‖D[:,l]‖² / ‖T‖²                  amplification of rounding (standard algorithm: 1)
    total ≈ ε² + κ² · (u_x² + u_w² + u_p²)                          u² the mean squared relative rounding of a format

Both hold for whole matrices too, since the errors of tiles add incoherently over K.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np

from ._html import table_html
from .errors import StlError
from .rings import Array

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = [
    "PRECISION",
    "Additions",
    "Score",
    "additions",
    "epsilon2",
    "expansion",
    "flop_ratio",
    "growth",
    "kappa2",
    "monte_carlo_epsilon2",
    "monte_carlo_rounding",
    "predicted_error2",
    "round_to",
    "score",
    "unit_rounding2",
]

#: Significand bits, the implicit one included.
PRECISION = {"fp64": 53, "fp32": 24, "tf32": 11, "fp16": 11, "bf16": 8, "fp8": 4}


def epsilon2(encoder: Encoder) -> float:
    """ε² = ‖T̂ − T‖²/‖T‖², dimensionless; 0 for an exact encoder.

    For proven encoders exactly 0.0; otherwise from the residual tensor, slice by slice, which loses no digits to
    cancellation and needs little memory. For a quadratic target (B = A, unit Gaussian entries) a form xᵀRx has
    E(xᵀRx)² = (tr R)² + 2‖sym R‖², and that takes the place of ‖R‖².

    Examples
    --------
    >>> from stl_algebra.schemes import standard
    >>> epsilon2(standard(2, 2, 2).drop_terms([0]))  # one of eight products left out
    0.125
    """
    if not encoder.ring.embeds:
        raise StlError("ring", encoder.ring.name, "a ring with real or complex values")
    if encoder.ring.exact and encoder.is_exact:
        return 0.0
    e_x, e_w, d = encoder.floats()
    goal = encoder.target
    if goal.quadratic:
        gap = np.einsum("la,lb,cl->abc", e_x, e_w, d, optimize=True) - goal.dense()
        return _quadratic_energy(gap) / _quadratic_energy(goal.dense())
    total = 0.0
    order = np.argsort(goal.index[:, 0], kind="stable")
    ends = np.searchsorted(goal.index[order, 0], np.arange(e_x.shape[1] + 1))
    for a in range(e_x.shape[1]):  # one slice at a time: bounded memory for any format
        gap = (d * e_x[:, a]) @ e_w
        here = order[ends[a] : ends[a + 1]]
        gap[goal.index[here, 2], goal.index[here, 1]] -= goal.value[here]
        total += float((np.abs(gap) ** 2).sum())
    return total / goal.norm2


def _quadratic_energy(t: Array) -> float:
    """Σ_c E|xᵀ T_c x|² for standard Gaussian x and T of shape (a, a, c)."""
    traces = np.einsum("aac->c", t)
    symmetric = (t + np.swapaxes(t, 0, 1)) / 2
    return float((np.abs(traces) ** 2).sum() + 2 * (np.abs(symmetric) ** 2).sum())


def kappa2(encoder: Encoder) -> float:
    """κ² = Σ_l ‖E_X[l]‖² ‖E_W[l]‖² ‖D[:,l]‖² / ‖T‖², dimensionless.

    Examples
    --------
    >>> from stl_algebra.schemes import standard, strassen
    >>> kappa2(standard(2, 2, 2)), kappa2(strassen())
    (1.0, 4.0)
    """
    e_x, e_w, d = (np.abs(f) ** 2 for f in encoder.floats())
    return float((e_x.sum(1) * e_w.sum(1) * d.sum(0)).sum()) / encoder.target.norm2


def growth(encoder: Encoder) -> float:
    """γ = max_c Σ_l |D[c,l]| ‖E_X[l]‖ ‖E_W[l]‖ (2-norms): each recursive level multiplies the error bound by it.

    The bound of the full recursion on ⟨n,n,n⟩ grows like N^(log_n γ); the standard algorithm has γ = n, exponent 1.
    Dumas, Pernet and Sedoglavic, "Strassen's algorithm is not optimally accurate" (ISSAC 2024).

    Examples
    --------
    >>> from stl_algebra.schemes import standard, strassen
    >>> growth(standard(3, 3, 3)), round(growth(strassen()), 4)
    (3.0, 6.8284)
    """
    e_x, e_w, d = (np.abs(f) for f in encoder.floats())
    return float((d @ (np.linalg.norm(e_x, axis=1) * np.linalg.norm(e_w, axis=1))).max(initial=0.0))


def unit_rounding2(dtype: str) -> float:
    """u²: mean squared relative rounding error of a format, for log-uniformly distributed significands.

    An error uniform in ±ulp/2 at x ∈ [1,2) has E[err²/x²] = (ulp²/12) · (3/8)/ln 2; subnormals are neglected, so fp8
    assumes operands scaled into range.

    Examples
    --------
    >>> f"{unit_rounding2('bf16'):.2e}"
    '2.75e-06'
    """
    if dtype not in PRECISION:
        raise StlError("dtype", dtype, ", ".join(PRECISION))
    return float(4.0 ** (1 - PRECISION[dtype]) / 12 * 0.375 / log(2))


def predicted_error2(encoder: Encoder, dtype: str = "bf16", products: str | None = None) -> float:
    """Relative squared error ε² + κ²(2u² + u_p²) of STL in a number format.

    Parameters
    ----------
    encoder : Encoder
    dtype : str
        Format of encoded activations and weights: fp64, fp32, tf32, bf16, fp16 or fp8 (e4m3).
    products : str, optional
        Format in which channel products are stored before decoding; default: dtype, but bf16 for fp8 and fp32 for
        tf32 (tensor cores accumulate in fp32 and tf32 is no storage format).

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> round(predicted_error2(strassen(), "bf16") * 1e5, 2)  # κ² = 4
    3.3
    """
    held = products or {"fp8": "bf16", "tf32": "fp32"}.get(dtype, dtype)
    return epsilon2(encoder) + kappa2(encoder) * (2 * unit_rounding2(dtype) + unit_rounding2(held))


def flop_ratio(encoder: Encoder) -> float:
    """nmp/r: how many times fewer multiplications than the standard algorithm (terms of T over r).

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> round(flop_ratio(strassen()), 4)
    1.1429
    """
    return encoder.target.norm2 / max(encoder.rank, 1)


def expansion(encoder: Encoder) -> float:
    """r/a: size of the encoded activation over that of X.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> expansion(strassen())
    1.75
    """
    return encoder.rank / encoder.target.shape[0]


@dataclass(frozen=True)
class Additions:
    """Additions and subtractions per tile in E_X, E_W and D, as written and with common subexpressions shared."""

    naive: tuple[int, int, int]
    shared: tuple[int, int, int]

    @property
    def total(self) -> int:
        """All three, as written (the figure most tables give)."""
        return sum(self.naive)

    @property
    def total_shared(self) -> int:
        """All three after common-subexpression elimination."""
        return sum(self.shared)

    def __str__(self) -> str:
        return f"{self.total} additions, {self.total_shared} with shared sums (E_X, E_W, D: {self.shared})"


def additions(encoder: Encoder) -> Additions:
    """Additions before and after common-subexpression elimination (scalings by ±1 are free, others not counted).

    Examples
    --------
    >>> from stl_algebra.schemes import winograd
    >>> sum(additions(winograd()).shared)
    15
    """
    from .straightline import additions as count

    if encoder.ring.degree > 1 or not encoder.ring.exact:
        raise StlError("ring", encoder.ring.name, "an exact ring of degree 1")
    counts = [count(f.num) for f in encoder.factors]
    return Additions(tuple(c[0] for c in counts), tuple(c[1] for c in counts))  # type: ignore[arg-type]


@dataclass(frozen=True, repr=False)
class Score:
    """The figures tables print; attributes are the printed numbers."""

    label: str
    ring: str
    exact: bool
    epsilon2: float
    kappa2: float
    flop_ratio: float
    expansion: float
    total_bf16: float

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("ε²", "0, exact" if self.exact else f"{self.epsilon2:.4g}"), ("κ²", f"{self.kappa2:.4g}"),
            ("multiplications", f"{self.flop_ratio:.4g} times fewer"),
            ("entries after encoding", f"{self.expansion:.4g} times as many"),
            ("relative squared error in bf16", f"{self.total_bf16:.3g}"),
        ]  # fmt: skip

    def __repr__(self) -> str:
        return f"Score({self.label} over {self.ring}, ε²={self.epsilon2:.3g}, κ²={self.kappa2:.4g})"

    def __str__(self) -> str:
        return f"{self.label} over {self.ring}: " + "; ".join(f"{name} {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        return table_html((self.label, self.ring), self._rows())


def score(encoder: Encoder) -> Score:
    """ε², κ², FLOP ratio, expansion and predicted bf16 error of an encoder.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> score(strassen()).kappa2
    4.0
    """
    return Score(
        encoder.label, encoder.ring.name, encoder.is_exact, epsilon2(encoder), kappa2(encoder), flop_ratio(encoder),
        expansion(encoder), predicted_error2(encoder, "bf16"),
    )  # fmt: skip


# ------------------------------------------------------------------ Monte Carlo
def round_to(x: Array, dtype: str) -> Array:
    """Round float64 to the significand length of a format (round to nearest even, no exponent limits)."""
    if dtype not in PRECISION:
        raise StlError("dtype", dtype, ", ".join(PRECISION))
    if dtype == "fp64":
        return x
    mantissa, exponent = np.frexp(x)
    scale = 2.0 ** PRECISION[dtype]
    return np.ldexp(np.rint(mantissa * scale) / scale, exponent)


def _sample(encoder: Encoder, samples: int, seed: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    a, b, _ = encoder.target.shape
    x, w = rng.standard_normal((a, samples)), rng.standard_normal((b, samples))
    if encoder.target.quadratic:
        w = x
    t = encoder.target
    exact = np.zeros((t.shape[2], samples))
    np.add.at(exact, t.index[:, 2], t.value[:, None] * x[t.index[:, 0]] * w[t.index[:, 1]])
    return x, w, exact


def monte_carlo_epsilon2(encoder: Encoder, samples: int = 20_000, seed: int = 0) -> float:
    """Measured E‖Ĉ−C‖² / E‖C‖² over Gaussian tiles, the independent check of `epsilon2`.

    Examples
    --------
    >>> from stl_algebra.schemes import standard
    >>> abs(monte_carlo_epsilon2(standard(2, 2, 2).drop_terms([0])) - 0.125) < 0.02
    True
    """
    x, w, exact = _sample(encoder, samples, seed)
    e_x, e_w, d = encoder.floats()
    return float((np.abs(d @ ((e_x @ x) * (e_w @ w)) - exact) ** 2).sum() / (exact**2).sum())


def monte_carlo_rounding(
    encoder: Encoder, dtype: str = "bf16", tiles: int = 32, samples: int = 2_000, seed: int = 0
) -> float:
    """Measured relative squared error with encoded operands and channel products rounded to ``dtype``.

    Sums over ``tiles`` tile products before the products are rounded, as a tensor-core GEMM along K does; the check
    of `predicted_error2` with ``products=dtype``.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> ratio = monte_carlo_rounding(strassen(), "bf16") / predicted_error2(strassen(), "bf16")
    >>> 0.8 < ratio < 1.2
    True
    """
    e_x, e_w, d = encoder.floats()
    products, exact = np.zeros((encoder.rank, samples)), np.zeros((encoder.target.shape[2], samples))
    for k in range(tiles):
        x, w, c = _sample(encoder, samples, seed * 1_000_003 + k)
        products = products + round_to(e_x @ x, dtype) * round_to(e_w @ w, dtype)
        exact = exact + c
    error = d @ round_to(products, dtype) - exact
    return float((error**2).sum() / (exact**2).sum())
