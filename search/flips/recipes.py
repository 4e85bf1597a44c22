"""Schedules and starts that reach the best known ranks: plain data, measured by ``search/benchmarks/flips.py``."""

from __future__ import annotations

from math import prod
from typing import Any

from search.flips.formats import extend
from search.flips.scheme import SYMMETRIES, Scheme, standard, symmetric_start
from search.flips.walk import Schedule
from stl_algebra.errors import StlError
from stl_algebra.known import best_rank

__all__ = ["default_cubes", "goal_rank", "grown_start", "grown_symmetric", "schedule_for"]

#: Up to this many products the standard algorithm is as good a start as a grown one.
STANDARD_UP_TO = 36


def schedule_for(fmt: tuple[int, int, int], ring: str, symmetry: str | None) -> Schedule:
    """The schedule `search_flips` uses when none is given.

    Over Z fewer flips are possible at a vertex, and plus transitions help only after a longer walk; with
    symmetry one orbit is three or six terms, and climbing several orbits is what opens the way down.
    """
    if symmetry is not None:
        if fmt[0] >= 5:
            return Schedule(flips=300_000_000, plus_after=5_000, plus_diff=6)
        return Schedule(flips=50_000_000, plus_after=3_000, plus_diff=3)
    if ring == "Z":
        return Schedule(flips=20_000_000, plus_after=30_000, plus_diff=1)
    if prod(fmt) >= 64:
        return Schedule(flips=20_000_000, plus_after=1_000, plus_diff=2)
    return Schedule(flips=20_000_000, plus_after=3_000, plus_diff=1)


def default_cubes(n: int, ring: str, symmetry: str, target_rank: int | None) -> int:
    """Fewest diagonal cubes s with s ≡ target_rank modulo the orbit length (1 without a target).

    The walk changes the rank by whole orbits, so s decides which ranks it can meet.
    """
    if target_rank is None:
        return 1
    length = SYMMETRIES[symmetry][1]
    for s in range(1, n + 1):
        if (target_rank - s) % length == 0:
            return s
    raise StlError(
        "target_rank", target_rank, f"a rank congruent to one of 1..{n} modulo {length} under {symmetry}",
        "Give cubes explicitly, or leave out the target.",
    )  # fmt: skip


def goal_rank(fmt: tuple[int, int, int], ring: str) -> int | None:
    """Rank a search over this ring can hope for: the best known one over it."""
    return best_rank(fmt, ring)


def grown_symmetric(n: int, ring: str, symmetry: str, cubes: Any, seconds: float, seed: int) -> tuple[Scheme, int]:
    """A symmetric start around a smaller scheme: one index less under C₃, two less under C₃×Z₂.

    The smaller format is searched for its best known rank, at most a third of the time.

    Returns
    -------
    (Scheme, int)
        The start, and the flips spent on it.
    """
    from search.flips.explore import search_flips

    m = n - (2 if symmetry == "C3xZ2" else 1)
    if m < 2:
        return symmetric_start(n, ring, symmetry, cubes), 0
    found = search_flips((m, m, m), ring, symmetry, goal_rank((m, m, m), ring), seconds / 3, seed, cubes=cubes)
    return symmetric_start(n, ring, symmetry, inner=found.scheme), found.flips


def grown_start(fmt: tuple[int, int, int], ring: str, seconds: float, seed: int) -> tuple[Scheme, int]:
    """A start made of smaller searches: ⟨n,m,p−1⟩ at its best known rank plus one slice of standard products.

    The largest size is reduced by one until the standard algorithm will do; every smaller format is
    searched in turn, at most a tenth of the time each.

    Returns
    -------
    (Scheme, int)
        The start, and the flips spent on it.
    """
    from search.flips.explore import search_flips

    axis = max(range(3), key=lambda k: fmt[k])
    sizes = list(fmt)
    sizes[axis] -= 1
    smaller = (sizes[0], sizes[1], sizes[2])
    if prod(fmt) <= STANDARD_UP_TO // 2 or min(smaller) < 2:
        return standard(fmt, ring), 0
    start, flips = grown_start(smaller, ring, seconds, seed)
    found = search_flips(smaller, ring, None, goal_rank(smaller, ring), seconds / 10, seed, start=start)
    return extend(found.scheme, "nmp"[axis]), flips + found.flips
