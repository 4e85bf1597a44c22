"""ε² against κ²: what an encoder becomes as rounding weighs more, and what it tends to where rounding is free.

Where κ² diverges as its weight falls, the encoder is a border phenomenon and ε² tends to the limit over the closure of
its rank; the best member for a number format is where ε² + κ²·Σu² is least.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..lm.engine import minimise
from ..lm.parametrisation import Free
from ..lm.problem import matmul_tensor
from ..lm.projection import balanced
from .explore import WARM
from .pool import End, Factors, Format, scored

__all__ = ["CAPS", "WEIGHTS", "capped_ends", "free_theta", "path"]

#: Weights of κ², from nearly free to fp8 and beyond; 8.25e-6 is bf16, 1.4e-3 fp8.
WEIGHTS = (1e-8, 1e-7, 1e-6, 8.25e-6, 3e-5, 1e-4, 4e-4, 1.4e-3, 5e-3, 2e-2, 6e-2)
#: Bounds on κ² that reports quote the best encoder under.
CAPS = (2.0, 8.0, 30.0)


def free_theta(factors: Factors) -> np.ndarray:
    """Parameters of :class:`search.lm.parametrisation.Free`: rows of E_X, of E_W, of Dᵀ, balanced."""
    e_x, e_w, d = balanced(*factors)
    return np.concatenate([e_x.ravel(), e_w.ravel(), d.T.ravel()]).real


def path(
    fmt: Format, ends: Sequence[End], weights: Sequence[float] = WEIGHTS, device: str = "cpu", iterations: int = 60,
    copies: int = 2, seconds: float = 10.0, seed: int = 0,
) -> list[tuple[float, End]]:
    """The best end for every weight, each begun from the ends of its neighbours, away from bf16 both ways.

    Parameters
    ----------
    fmt : (n, m, p)
    ends : sequence of End
        Of one rank, found with the bf16 weight.
    weights : sequence of float
    copies : int
        Starts made from each end: itself, then with noise.
    seconds : float
        Limit of each weight.
    """
    rank = ends[0].rank
    target, par = matmul_tensor(*fmt), Free(matmul_tensor(*fmt), rank)
    rng = np.random.default_rng(seed)
    middle = int(np.argmin([abs(np.log(w / 8.25e-6)) for w in weights]))
    found: dict[int, list[End]] = {}
    for order in (range(middle, len(weights)), range(middle - 1, -1, -1)):
        for i in order:
            before = found.get(i - 1 if i > middle else i + 1, []) or list(ends)
            base = np.stack([free_theta(e.factors) for e in before[:6]])
            rms = np.sqrt((base**2).mean(1, keepdims=True))
            starts = [base + 0.05 * k * rms * rng.standard_normal(base.shape) for k in range(copies)]
            schedule = WARM.with_(kappa_weight=weights[i], mu_start=1e-6, mu_end=min(1e-8, weights[i] / 10),
                                  damping=1e-2, stall=0.0)
            result = minimise(target, par, iterations=iterations, schedule=schedule, device=device,
                              init=np.concatenate(starts), seconds=seconds)
            here = [scored(fmt, result.factors(row), {**before[row % len(base)].origin, "weight": weights[i]},
                           weights[i]) for row in range(len(result.eps2))]
            here += [scored(fmt, e.factors, {**e.origin, "weight": weights[i]}, weights[i]) for e in before]
            found[i] = sorted(here, key=lambda e: e.total)[:6]
    return [(weights[i], found[i][0]) for i in sorted(found)]


def capped_ends(points: Sequence[End], caps: Sequence[float] = CAPS) -> dict[float, End]:
    """The least ε² among ends with κ² at most each cap."""
    out = {}
    for cap in caps:
        under = [e for e in points if e.kappa2 <= cap]
        if under:
            out[cap] = min(under, key=lambda e: e.eps2)
    return out
