"""One unit from start to finish, in a worker: run its family, make its finds exact, prove them, write their origins."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stl_algebra import Encoder

from .exactly import is_approximate, made_exact
from .origins import found
from .unit import Context, Unit, family

__all__ = ["KEPT", "Outcome", "work"]

#: Numerical and GF(2) finds of one unit that resisted exactness and are handed back all the same.
KEPT = 2
#: Seconds that making one unit's finds exact may take where nobody says how long the unit may.
LONGEST = 120.0


@dataclass
class Outcome:
    """What became of a unit.

    Attributes
    ----------
    unit : Unit
    status : "done", "cut" (its time ran out before it was through) or "failed"
    encoders : list of Encoder
        Proven ones, and approximations where the family looks for them; each carries its origin.
    resisting : list of Encoder
        Finds that could not be made exact here and may be elsewhere (`search.exact`).
    statistics : dict
        What the family counted, and ``tried`` and ``exact``: finds handed to the proof, and those that passed.
    seconds : float
    message : str
        Why something failed.
    """

    unit: Unit
    status: str = "done"
    encoders: list[Encoder] = field(default_factory=list)
    resisting: list[Encoder] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""


def work(unit: Unit, device: str = "cpu", seconds: float = math.inf, exact: bool = True) -> Outcome:
    """Run one unit; nothing that happens inside becomes an exception, `Outcome.status` says it.

    Parameters
    ----------
    unit : Unit
    device : str
    seconds : float
        Time allowed; what was found by then is handed back.
    exact : bool
        Whether to make finds exact here; otherwise they are handed back as they are.
    """
    if device == "cpu":
        _one_thread()
    context = Context(device, seconds)
    outcome = Outcome(unit, statistics=context.statistics)
    context.statistics.update(tried=0, exact=0)
    try:
        where = family(unit.family)
        where.check(unit.parameters)
        wanted = {**where.settings, **unit.parameters}.get("keep", 1)
        _take(where.run(unit, context), int(wanted), unit, context, outcome, exact)
    except Exception as error:  # any fault of a family is the unit's, never the run's
        outcome.status, outcome.message = "failed", f"{type(error).__name__}: {error}"[:2000]
    outcome.seconds = time.monotonic() - context.begun
    if outcome.status == "done" and context.left() <= 0:
        outcome.status = "cut"
    return outcome


def _take(finds: Iterator[Encoder], wanted: int, unit: Unit, context: Context, outcome: Outcome, exact: bool) -> None:
    """Read finds until as many as wanted have been made exact."""
    for find in finds:
        about = {k: v for k, v in find.origin.items() if k not in ("family", "group", "parameters")}
        parents = context.parents
        if is_approximate(find):
            outcome.encoders.append(find.with_origin(**found(unit, "polished", parents, **about)))
            continue
        if find.ring.exact and (find.ring.name != "GF(2)" or unit.ring == "GF(2)"):
            _ = find.is_exact  # the proof happens here, in the worker, and is cached
            stage = about.pop("stage", "found")
            outcome.encoders.append(find.with_origin(**found(unit, stage, parents, **about)))
            continue
        encoder, stage, reason = None, "", "not tried"
        if exact:
            context.statistics["tried"] += 1
            left = min(context.left(), LONGEST)
            encoder, stage, reason = made_exact(
                find, unit.symmetry, unit.ring, unit.seed, max(1.0, min(left, max(20.0, left / 2)))
            )
        if encoder is not None:
            context.statistics["exact"] += 1
            wanted -= 1
            outcome.encoders.append(encoder.with_origin(**found(unit, stage, parents, **about)))
        else:
            outcome.message = f"not exact: {reason}"
            if len(outcome.resisting) < KEPT:
                origin = found(unit, "numerical" if not find.ring.exact else "found", parents, **about, reason=reason)
                outcome.resisting.append(find.with_origin(**origin))
        if wanted <= 0 or context.left() <= 0:
            return


def _one_thread() -> None:
    """One unit, one core: the executor provides the parallelism."""
    try:
        import torch
    except ImportError:  # flip graphs need numpy and numba only
        return
    torch.set_num_threads(1)
