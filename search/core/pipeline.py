"""One work unit from start to finish: construct, polish, rationalise, verify, score. Runs in a worker process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search.core.unit import Start, Unit, family
from stl_algebra import Encoder, StlError

__all__ = ["Outcome", "rationalised", "run_unit"]

#: Numerically exact solutions of a unit that are handed to the rationaliser, least κ² first.
RATIONALISE_AT_MOST = 2
RATIONALISE_SECONDS = 20.0


@dataclass
class Outcome:
    """What a unit found; `encoders` carry their own origin, exactness is proven in the worker."""

    unit: Unit
    encoders: list[Encoder] = field(default_factory=list)
    restarts: int = 0
    converged: int = 0
    tried: int = 0
    rationalised: int = 0
    best_eps2: float = float("nan")
    seconds: float = 0.0
    message: str = ""


def run_unit(unit: Unit, device: str = "cpu") -> Outcome:
    """Run one unit; a unit that fails says so in its outcome's message and never raises for numerical reasons."""
    import torch

    if device == "cpu":
        torch.set_num_threads(1)  # one unit, one core: the executor provides the parallelism
    start = time.perf_counter()
    work = family(unit.family).build(unit)
    outcome = Outcome(
        unit, [e if e.origin.get("seed") is not None else e.with_origin(**unit.origin()) for e in work.encoders]
    )
    if work.parametrisation is not None:
        _optimise(unit, work, outcome, device)
    for encoder in outcome.encoders:
        _ = encoder.ring.exact and encoder.is_exact  # the proof happens here, in the worker, and is cached
    outcome.seconds = time.perf_counter() - start
    return outcome


def _optimise(unit: Unit, work: Start, outcome: Outcome, device: str) -> None:
    from search.lm import minimise

    assert work.parametrisation is not None
    result = minimise(
        work.target, work.parametrisation, work.restarts, work.iterations, work.schedule, unit.seed, device, work.init
    )
    outcome.restarts, outcome.converged = len(result.eps2), int(result.converged.sum())
    outcome.best_eps2 = float(result.eps2.min())
    order = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: min(outcome.converged, RATIONALISE_AT_MOST)]
    for row in order:
        outcome.tried += 1
        exact = rationalised(work, result.factors(row), unit, outcome)
        if exact is not None:
            outcome.rationalised += 1
            outcome.encoders.append(exact)
    if work.keep_numerical and not outcome.rationalised:
        usable = np.isfinite(result.eps2)
        error = np.where(usable, result.eps2 + 8.1e-6 * result.kappa2, np.inf)
        best = int(error.argmin())
        if usable[best]:
            outcome.encoders.append(
                Encoder.build(work.target, *result.factors(best), ring="R64", origin=unit.origin(stage="polished"))
            )


def rationalised(work: Start, factors: tuple[Any, Any, Any], unit: Unit, outcome: Outcome) -> Encoder | None:
    """The exact encoder of a numerical solution, or None with the reason in ``outcome.message``."""
    from search.exact import rationalise

    report = rationalise(
        work.target.dense(),
        *factors,
        symmetry=work.symmetry,
        ring="Q(sqrt)",
        seed=unit.seed,
        seconds=RATIONALISE_SECONDS,
    )
    if not report.success:
        outcome.message = f"not rationalised: {report.reason}"
        return None
    try:
        encoder = Encoder.build(
            work.target, report.e_x, report.e_w, (report.d, report.den), ring=report.ring,
            origin=unit.origin(stage="rationalised", invariant=report.invariant),
        )  # fmt: skip
    except StlError as error:
        outcome.message = f"not rationalised: {error}"
        return None
    return encoder if encoder.is_exact else None
