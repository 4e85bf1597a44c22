"""Encoders invariant under a symmetry, by Levenberg–Marquardt: any symmetry of the grammar or none, any start.

The group acts on ⟨n,m,p⟩ by changes of basis, the cyclic shift and transpose reversal; an orbit type is a stabiliser
subgroup with the characters it acts by. Which multiset of types of a given rank is chosen decides whether random starts
succeed, so every round races others (`search.lm.race`); under the cyclic shift (s fixed terms a⊗a⊗a, m orbits of three,
r = s + 3m) those with s near t² come first, where the solutions were seen (Ballard–Ikenmeyer–Landsberg–Ryder 2018 for
t = 3).
Without a symmetry this is the baseline every group is compared with, and the way to small rectangular formats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from stl_algebra import Encoder, StlError, symmetry
from stl_algebra.known import best_rank, lower_bound
from stl_algebra.targets import matmul

from ..core.unit import Context, Format, Request, Unit, register
from ..lm.problem import SETTINGS

if TYPE_CHECKING:
    from ..lm.race import Arm

#: Kinds of groups → the symmetries tried, by format.
KINDS: dict[str, dict[Format, tuple[str, ...]]] = {
    "cyclic": {(t, t, t): ("Z3",) for t in range(2, 7)},
    "none": {},
    "dihedral": {(2, 2, 2): ("Z3*T",), (3, 3, 3): ("Z3*T",), (4, 4, 4): ("Z3*T",)},
    "symmetric": {(3, 3, 3): ("c:(12)*c:(123)", "Z3*c:(12)"), (4, 4, 4): ("c:(12)*c:(123)", "Z3*c:(12)")},
    "involution": {
        (2, 2, 2): ("d:1+1", "T"), (3, 3, 3): ("d:2+1", "T", "c:(12)"), (4, 4, 4): ("d:2+2", "d:3+1", "T"),
    },
    "extraspecial": {(4, 4, 4): ("E32", "E32/1234", "E32/123", "E32/45")},
}  # fmt: skip
#: Formats searched where none is asked for.
DEFAULTS: dict[str, list[Format]] = {
    "none": [(2, 2, 2), (2, 2, 3), (2, 3, 3)], "extraspecial": [(4, 4, 4)], "": [(2, 2, 2), (3, 3, 3)],
}  # fmt: skip
#: Multisets of orbit types that race in a unit.
RACED = 9
#: Restarts of a unit by tile size, so that it takes seconds: under a symmetry, and under the shift.
RESTARTS = {2: 24, 3: 24, 4: 16}
RESTARTS_Z3 = {2: 24, 3: 24, 4: 8, 5: 2, 6: 1}
LARGEST = 125


def accepts(group: str) -> bool:
    """Whether ``--group`` spells a symmetry, e.g. ``Z3*d:2+1`` (see `stl_algebra.symmetry.grammar`), or ``none``."""
    return group == "none" or symmetry.is_explicit(group)


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """Optimise from the unit's starts; solutions of least κ² first, else, if wanted, the least inexact end.

    Without counts the multisets of orbit types that the unit names race, and each that is solved is handed on.
    """
    from ..lm.problem import parametrisation, settings_of
    from ..lm.race import Arm, race
    from ..lm.starts import solve

    own = settings_of(unit)
    if own["counts"] is None and unit.symmetry != "none":
        for arm in race(unit, context):
            yield from _finds(unit, own, arm, context)
        return
    par = parametrisation(unit)
    if par.rank != unit.rank:
        raise StlError("counts", own["counts"], f"orbit multiplicities that add up to rank {unit.rank}, not {par.rank}")
    arm = Arm(par)
    arm.take(*solve(unit, par, context))
    yield from _finds(unit, own, arm, context)


def _finds(unit: Unit, own: dict[str, Any], arm: Arm, context: Context) -> Iterator[Encoder]:
    """Count what a run of one multiset came to, and hand on its ends."""
    result, begun, par = arm.result, arm.begun, arm.par
    assert result is not None
    hits = result.converged
    target = matmul(*unit.format)
    context.parents += begun.parents if begun else []
    kappa = result.kappa2[hits] if hits.any() else result.kappa2[result.eps2.argmin() :][:1]
    context.statistics |= {
        "restarts": max(arm.restarts, context.statistics.get("restarts", 0)), "converged": int(hits.sum()),
        "field": own["field"],
        "counts": " ".join(str(k) for _, k in par.orbits), "types": " ".join(o.name for o, _ in par.orbits),
        "unknowns": par.size, "iterations": own["iterations"],
        "schedule": own["schedule"] + (" " + json.dumps(own["changes"]) if own["changes"] else ""),
        "start": json.dumps(own["start"]) if own["start"] else "", "steps": result.iterations,
        "best_eps2": float(result.eps2.min()), "q10_eps2": float(np.quantile(result.eps2, 0.1)),
        "median_eps2": float(np.median(result.eps2)), "best_kappa2": float(kappa.min()), "device": context.device,
        "start_steps": begun.steps if begun else 0, "start_seconds": round(begun.seconds if begun else 0.0, 2),
        "search_seconds": round(result.seconds, 3),
    }  # fmt: skip
    ring = "C128" if own["field"] == "complex" else "R64"
    order = np.argsort(np.where(hits, result.kappa2, np.inf))
    for row in order[: min(int(hits.sum()), own["tries"])]:
        yield Encoder.build(target, *result.factors(row), ring=ring)
    if own["approximate"] and not hits.any():
        error = np.where(np.isfinite(result.eps2), result.eps2 + 8.1e-6 * result.kappa2, np.inf)
        best = int(error.argmin())
        if np.isfinite(error[best]):
            yield Encoder.build(target, *result.factors(best), ring=ring)


@register(
    "orbit", groups=tuple(KINDS), run=run, settings=SETTINGS, accepts=accepts,
    space="--group cyclic (order 3, formats t,t,t with 2 <= t <= 6), none (order 1, nmp <= 64), dihedral, symmetric, "
    "involution or extraspecial (orders 6, 6, 2, up to 32; 2,2,2, 3,3,3 and 4,4,4), or a symmetry such as 'Z3*d:2+1', "
    "'T', 'c:(12)(34)', 'E32/13' (formats it acts on, nmp <= 125); ranks from the proven lower bound (none: 1) to nmp",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Orbit-type multisets of the wanted rank, new ones every round."""
    kind = request.group or "cyclic"
    for fmt in [request.format] if request.format else DEFAULTS.get(kind, DEFAULTS[""]):
        rank = request.rank or best_rank(fmt) or (prod(fmt) if kind == "none" else None)
        if rank is None or rank > prod(fmt):
            continue
        if kind == "none":
            if request.order in (None, 1) and 2 <= prod(fmt) <= 64:
                restarts = 8 if prod(fmt) > 16 else 24
                yield Unit("orbit", "none", fmt, rank, {"restarts": restarts, "approximate": True}, request.seed + turn)
            continue
        if rank < lower_bound(fmt):
            continue
        for name in KINDS[kind].get(fmt, ()) if kind in KINDS else (kind,):
            if name == "Z3":
                yield from _shift(request, fmt, rank, turn)
            elif prod(fmt) <= LARGEST:
                yield from _raced(request, name, fmt, rank, turn)


def _shift(request: Request, fmt: Format, rank: int, turn: int) -> Iterator[Unit]:
    t = fmt[0]
    if request.order not in (None, 3) or len(set(fmt)) != 1 or t not in RESTARTS_Z3:
        return
    types = sorted(((s, (rank - s) // 3) for s in range(rank % 3, rank + 1, 3)), key=lambda o: abs(o[0] - t * t))
    for fixed, orbits in types[: 2 if t == 2 else 3]:
        parameters: dict[str, Any] = {"counts": {"1:<a>:+": fixed, "3": orbits}, "restarts": RESTARTS_Z3[t]}
        yield Unit("orbit", "Z3", fmt, rank, parameters, request.seed + turn)


def _raced(request: Request, name: str, fmt: Format, rank: int, turn: int) -> Iterator[Unit]:
    try:
        action = symmetry.action(name, fmt)
    except StlError:
        if request.group in KINDS:  # not every symmetry of a kind acts on every format
            return
        raise
    if request.order in (None, action.order):
        parameters: dict[str, Any] = {
            "first": turn * RACED, "many": RACED, "restarts": RESTARTS.get(max(fmt), 8),
            **({"field": "complex"} if action.field == "complex" else {}),
        }  # fmt: skip
        yield Unit("orbit", name, fmt, rank, parameters, request.seed + turn)
