"""Flip graphs over many formats at once: good schemes of one format are starts for its neighbours.

A unit names the largest format; all from ``least`` up to it are searched, none below the best rank of characteristic 0
if the schemes are to be lifted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from stl_algebra import Encoder, StlError
from stl_algebra.known import best_rank

from ..core.unit import Context, Request, Unit, register
from ..flips.scheme import MAX_ENTRIES
from ..flips.walk import Schedule
from .flips import read_start, schedule_of

#: least: smallest size of a format · size: schemes kept per format · slack: ranks above the best known that are still
#: handed on · starts: encoder files to begin with · each: schemes handed on per format · keep: lifts wanted in all ·
#: the others make the schedule of the walks.
SETTINGS: dict[str, Any] = {
    "least": 2, "size": 24, "slack": 0, "starts": [], "each": 2, "keep": 1000,
    **{f.name: None for f in fields(Schedule)},
}  # fmt: skip


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """Walk all formats for two thirds of the time; then the schemes of lowest rank of each, best formats first."""
    from ..flips.pools import SHORT, Pools, all_formats

    own = {**SETTINGS, **unit.parameters}
    ring = "Z" if unit.ring == "Z" else "GF(2)"
    formats = all_formats(int(own["least"]), unit.format)
    floors = {f: best_rank(f) or 0 for f in formats} if unit.ring != "GF(2)" else {}
    if (4, 4, 4) in floors:
        floors[4, 4, 4] = 49  # 48 needs ½, so over GF(2) there is no such scheme to lift
    pools = Pools(formats, ring, floors, int(own["size"]), unit.seed, schedule_of(unit, SHORT))
    for file in own["starts"]:
        scheme = read_start({"file": file}, ring, "none", context)
        a, b, c = sorted(scheme.format)
        if (a, b, c) in pools.pools and scheme.rank >= floors.get((a, b, c), 0):
            pools.add(scheme)
    pools.run(min(context.left(), 1e9) * (1 if ring == "Z" else 2 / 3), floors)
    context.statistics |= {
        "flips": pools.flips, "reached": pools.rank(unit.format),
        "ranks": {"x".join(map(str, f)): pools.rank(f) for f in formats},
    }  # fmt: skip
    for fmt, pool in pools.pools.items():
        known = best_rank(fmt)
        if known is None or pool[0].rank <= known + int(own["slack"]):
            for scheme in pool[-int(own["each"]) :]:
                yield scheme.encoder()


@register(
    "pools", run=run, settings=SETTINGS,
    space="--group none; formats of at most 64 entries a factor (over Z 32), the largest of those searched; the rank "
    "hoped for",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """One set of pools a round."""
    fmt = request.format or (3, 3, 3)
    ring = request.ring or "Q"
    limit = MAX_ENTRIES["Z" if ring == "Z" else "GF(2)"]
    rank = request.rank or best_rank(fmt)
    largest = max(fmt[0] * fmt[1], fmt[1] * fmt[2], fmt[0] * fmt[2])
    if request.order in (None, 1) and rank is not None and max(9, largest) <= min(limit, rank) and rank <= 512:
        if request.group not in (None, "none"):
            raise StlError("group", request.group, "none, for family pools")
        yield Unit("pools", "none", fmt, rank, {}, request.seed + turn, ring)
