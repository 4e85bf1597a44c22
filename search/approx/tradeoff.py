"""ε² against κ²: what an encoder becomes as rounding weighs more, and what it tends to where rounding is free.

Where κ² diverges as its weight falls, the encoder is a border phenomenon and ε² tends to the limit over the closure of
its rank; the best member for a number format is where ε² + κ²·Σu² is least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import StlError

from ..lm.engine import minimise
from ..lm.invariant import Invariant, types_of
from ..lm.parametrisation import Parametrisation
from ..lm.problem import matmul_tensor
from .explore import WARM
from .pool import BF16, End, Format, scored
from .restrict import restricted

__all__ = ["CAPS", "FINE", "WEIGHTS", "capped_ends", "coordinates", "path"]

Array = NDArray[Any]

#: Weights of κ², from nearly free to fp8 and beyond; 8.25e-6 is bf16, 1.4e-3 fp8.
WEIGHTS = (1e-8, 1e-7, 1e-6, 8.25e-6, 3e-5, 1e-4, 4e-4, 1.4e-3, 5e-3, 2e-2, 6e-2)
#: Finer, for the best encoder under a bound on κ².
FINE = tuple(8.25e-6 * 1.7**k for k in range(17))
#: Bounds on κ² that reports quote the best encoder under.
CAPS = (2.0, 8.0, 30.0)


def coordinates(fmt: Format, ends: Sequence[End], group: str = "none") -> tuple[Parametrisation, Array] | None:
    """The space of a group that holds the first end, and the parameters of those ends that lie in it."""
    action, types = types_of(group, fmt)
    found = [f for e in ends if (f := restricted(e.factors, action, types)) is not None]
    if not found:
        return None
    counts = found[0][0]
    return Invariant(group, fmt, counts), np.stack([theta for c, theta in found if c == counts])


def path(
    fmt: Format,
    ends: Sequence[End],
    weights: Sequence[float] = WEIGHTS,
    group: str = "none",
    device: str = "cpu",
    iterations: int = 60,
    seconds: float = 10.0,
    seed: int = 0,
) -> list[tuple[float, End]]:
    """The best end for every weight, each begun from the ends of its neighbours, away from bf16 both ways.

    Parameters
    ----------
    fmt : (n, m, p)
    ends : sequence of End
        Of one rank, found with the bf16 weight.
    weights : sequence of float
    group : str
        The space that is not left; the ends must lie in it.
    seconds : float
        Limit of each weight.
    """
    held = coordinates(fmt, ends, group)
    if held is None:
        raise StlError("ends", f"{len(ends)} ends", f"at least one invariant under {group}", "use the group none")
    par, begin = held
    target, rng = matmul_tensor(*fmt), np.random.default_rng(seed)
    middle = int(np.argmin([abs(np.log(w / BF16)) for w in weights]))
    found: dict[int, tuple[Array, list[End]]] = {}
    for order in (range(middle, len(weights)), range(middle - 1, -1, -1)):
        for i in order:
            weight, before = weights[i], found.get(i - 1 if i > middle else i + 1)
            base = begin[:6] if before is None else before[0]
            rms = np.sqrt((base**2).mean(1, keepdims=True))
            shaken = base + 0.05 * rms * rng.standard_normal(base.shape)
            schedule = WARM.with_(
                kappa_weight=weight, mu_start=1e-6, mu_end=min(1e-8, weight / 10), damping=1e-2, stall=0.0
            )
            result = minimise(
                target,
                par,
                iterations=iterations,
                schedule=schedule,
                device=device,
                init=np.concatenate([base, shaken]),
                seconds=seconds,
            )
            theta = np.concatenate([result.theta, base])
            here = [scored(fmt, par.expand(t), {"group": group, "weight": weight}, weight) for t in theta]
            best = np.argsort([e.total for e in here])[:6]
            found[i] = theta[best], [here[int(k)] for k in best]
    return [(weights[i], found[i][1][0]) for i in sorted(found)]


def capped_ends(points: Sequence[End], caps: Sequence[float] = CAPS) -> dict[float, End]:
    """The least ε² among ends with κ² at most each cap."""
    out = {}
    for cap in caps:
        under = [e for e in points if e.kappa2 <= cap]
        if under:
            out[cap] = min(under, key=lambda e: e.eps2)
    return out
