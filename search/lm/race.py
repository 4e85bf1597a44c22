"""Which multisets of orbit types to try, and for how long: quick probes of many, restarts for those that promise.

Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
2016): every multiset gets a few short restarts, the better third of each rung the next, longer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..core.unit import Context, Unit
from .engine import LMResult
from .invariant import Invariant
from .parametrisation import Parametrisation
from .problem import numbered, settings_of
from .starts import Starts, solve

__all__ = ["RUNGS", "Arm", "race"]

#: Restarts and iterations of each rung, as shares of the unit's own.
RUNGS = ((1 / 8, 0.4), (1 / 4, 0.6), (1.0, 1.0))
KEEP = 1 / 3


@dataclass
class Arm:
    """One multiset in a race: its parametrisation and the best so far."""

    par: Parametrisation
    eps2: float = np.inf
    restarts: int = 0
    result: LMResult | None = field(default=None, repr=False)
    begun: Starts | None = field(default=None, repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Orbits of each type."""
        return {o.name: k for o, k in self.par.orbits}

    def take(self, result: LMResult, begun: Starts | None) -> None:
        """Keep what a run came to."""
        self.result, self.begun = result, begun
        self.restarts += len(result.eps2)
        self.eps2 = min(self.eps2, float(result.eps2.min()))


def race(unit: Unit, context: Context) -> Iterator[Arm]:
    """Arms with solutions as they turn up, in the order of the rungs; at last, if there are none, the best arm.

    Parameters
    ----------
    unit : Unit
        Without counts: it races ``many`` multisets from the ``first`` on, in the order of `numbered`.
    context : Context
        Its statistics say how many multisets there are, were probed and raised.

    Examples
    --------
    >>> arm = next(race(Unit("orbit", "Z3", (2, 2, 2), 7, {"restarts": 16}), Context(seconds=30)))
    >>> arm.counts, bool(arm.result.converged.any())
    ({'3': 1, '1:<a>:+': 4}, True)
    """
    own = settings_of(unit)
    multisets = numbered(unit, own["many"])
    arms = [Arm(Invariant(unit.symmetry, unit.format, counts, own["field"])) for counts in multisets]
    arms.sort(key=lambda arm: arm.par.size)  # cheap ones first
    every, solved = list(arms), False
    context.statistics |= {"raced": len(arms), "rungs": ""}
    for rung, (restarts, iterations) in enumerate(RUNGS):
        for arm in arms:
            if context.left() <= 0:
                break
            share = {
                "counts": arm.counts, "restarts": max(2, round(own["restarts"] * restarts)),
                "iterations": max(10, round(own["iterations"] * iterations)),
            }  # fmt: skip
            result, begun = solve(unit.with_(**share, seed=unit.seed + rung), arm.par, context)
            arm.take(result, begun)
            if result.converged.any():
                solved = True
                yield arm
        context.statistics["rungs"] += f" {len(arms)}"
        arms = sorted((a for a in arms if a.restarts), key=lambda a: a.eps2)[: max(1, round(len(arms) * KEEP))]
    context.statistics["rungs"] = context.statistics["rungs"].strip()
    tried = [a for a in every if a.restarts]
    if tried and not solved:
        yield min(tried, key=lambda a: a.eps2)
