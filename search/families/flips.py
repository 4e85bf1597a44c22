"""Flip graphs: random walks between exact schemes over GF(2) or Z, free or under a group, from any start.

C₃ and C₃×Z₂ have a walk of their own (`search.flips.walk`); every other symmetry whose matrices are signed permutations
has a general one (`search.flips.orbits`).

A unit wanted over Z walks over Z with entries −1, 0, 1; one wanted over GF(2) stays there; any other walks over GF(2)
and its schemes are lifted. A scheme that does not lift is walked on at its rank and tried again: liftable and
obstructed schemes lie side by side in the flip graph.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from stl_algebra import Encoder, StlError, load, symmetry

from ..core.unit import Context, Request, Unit, register
from ..flips.orbits import WALK, OrbitScheme, orbits_of, packed, search_orbits, standard_orbits, walk_orbits
from ..flips.scheme import MAX_ENTRIES, Scheme, mode_of, read_scheme
from ..flips.walk import Schedule

#: start: "standard", "grown", or {"file": …}, an encoder of this or another format · cubes: fixed terms of a symmetric
#: start · slack: ranks above the one hoped for that are handed on · tries: schemes to lift, walked on from the first ·
#: wander: flips between two of them · keep: lifts wanted · the others make the schedule of the walk.
SETTINGS: dict[str, Any] = {
    "start": None, "cubes": None, "slack": 0, "tries": 12, "wander": 300_000, "keep": 1,
    **{f.name: None for f in fields(Schedule)},
}  # fmt: skip


def schedule_of(unit: Unit, base: Schedule) -> Schedule:
    """The schedule of a unit: a base with the unit's own numbers."""
    own = {f.name: unit.parameters[f.name] for f in fields(Schedule) if unit.parameters.get(f.name) is not None}
    if not all(isinstance(v, int) for v in own.values()):
        raise StlError("parameters", own, "whole numbers")
    return replace(base, **own)


def accepts(group: str) -> bool:
    """Whether ``--group`` spells a symmetry; those by signed permutations can be kept by a walk."""
    return group == "none" or symmetry.is_explicit(group)


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """Walk until the rank is reached; then that scheme, and those a walk at constant rank leads to."""
    from ..flips.pools import wandered

    ring = "Z" if unit.ring == "Z" else "GF(2)"
    if own_walk(unit.symmetry, unit.format):
        result = _walked(unit, ring, mode_of(unit.symmetry, unit.format), context)
        scheme, flips = result.scheme, result.flips
        wander: Any = wandered
    else:
        scheme, flips = _walked_in_orbits(unit, ring, context)
        wander = _wandered_in_orbits
    first = scheme.encoder()
    context.statistics |= {
        "flips": flips, "reached": first.rank, "search_seconds": round(time.monotonic() - context.begun, 3)
    }  # fmt: skip
    if first.rank > unit.rank + int(unit.parameters.get("slack", 0)):
        return
    yield first
    if ring == "Z" or unit.ring == "GF(2)":
        return
    steps = int(unit.parameters.get("wander", SETTINGS["wander"]))
    for k in range(1, int(unit.parameters.get("tries", SETTINGS["tries"]))):
        if context.left() <= 0:
            return
        context.statistics["wandered"] = k
        yield wander(scheme, steps * (1 + k), (unit.seed, k)).encoder()


def own_walk(name: str, fmt: tuple[int, int, int]) -> bool:
    """Whether a symmetry is one of those with a walk of their own."""
    try:
        mode_of(name, fmt)
    except StlError:
        return False
    return True


def _walked_in_orbits(unit: Unit, ring: str, context: Context) -> tuple[OrbitScheme, int]:
    start = unit.parameters.get("start")
    if isinstance(start, dict):
        factors = read_start(start, ring, "none", context).factors()
        scheme = orbits_of(packed(unit.symmetry, unit.format, ring), *factors)
    else:
        scheme = standard_orbits(unit.symmetry, unit.format, ring)
    return search_orbits(scheme, unit.rank, min(context.left(), 1e9), unit.seed, schedule_of(unit, WALK))


def _wandered_in_orbits(scheme: OrbitScheme, flips: int, seed: tuple[int, ...]) -> OrbitScheme:
    return walk_orbits(scheme, 0, replace(WALK, flips=flips, plus_diff=0), seed)[0]


def _walked(unit: Unit, ring: str, mode: str | None, context: Context) -> Any:
    from ..flips.defaults import schedule_for
    from ..flips.explore import search_flips
    from ..flips.pools import SHORT, search_from

    start = unit.parameters.get("start")
    seconds = min(context.left(), 1e9)
    if isinstance(start, dict):
        scheme = read_start(start, ring, unit.symmetry, context)
        if scheme.format != unit.format or mode is None:
            return search_from(scheme, unit.format, unit.rank, seconds, unit.seed, schedule_of(unit, SHORT))
        start = scheme
    plan = schedule_of(unit, schedule_for(unit.format, ring, mode))
    cubes = unit.parameters.get("cubes")
    return search_flips(
        unit.format, ring, mode, unit.rank, seconds, unit.seed, schedule=plan, start=start,
        cubes=cubes if cubes is None or isinstance(cubes, int) else np.array(cubes),
    )  # fmt: skip


def read_start(start: dict[str, Any], ring: str, symmetry: str, context: Context) -> Scheme:
    """The scheme of an encoder file, over the ring of the walk; the encoder becomes a parent."""
    if set(start) != {"file"}:
        raise StlError("start", start, '"standard", "grown" or {"file": …}')
    encoder = load(Path(str(start["file"])))
    scheme = read_scheme(encoder, ring, symmetry if len(set(encoder.format)) == 1 else "none")
    context.parents.append(encoder)
    return scheme


@register(
    "flips", groups=("none",), run=run, settings=SETTINGS, accepts=accepts,
    space="--group none (order 1), Z3 (order 3), Z3*c:(1n)… (order 6), or a symmetry by signed permutations such as "
    "'c:(12)(34)', 'd:2+1', 'mono:4:0' (orders to 64); formats of at most 64 entries a factor (over Z 32) and at least "
    "8 products; ranks from the largest factor to nmp",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """One walk a round at the best rank that the ring allows."""
    from ..flips.defaults import goal_rank

    name = request.group or "none"
    ring = request.ring or "Z"
    walked = "Z" if ring == "Z" else "GF(2)"
    for fmt in [request.format] if request.format else [(2, 2, 2), (2, 2, 3), (2, 3, 3), (3, 3, 3)]:
        largest = max(fmt[0] * fmt[1], fmt[1] * fmt[2], fmt[0] * fmt[2])
        rank = request.rank or goal_rank(fmt, walked)
        if rank is None or not largest <= rank <= prod(fmt) or prod(fmt) < 8 or min(fmt) < 2:
            continue
        if largest > MAX_ENTRIES[walked]:
            continue
        try:
            order = symmetry.action(name, fmt).order
            if not own_walk(name, fmt):
                packed(name, fmt, walked)
        except StlError:
            if request.family == "flips" and request.format:
                raise
            continue
        if request.order not in (None, order):
            continue
        yield Unit("flips", name, fmt, rank, {}, request.seed + turn, ring)
