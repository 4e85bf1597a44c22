"""Schedules that reach the best known ranks, and ranks to hope for; measured by ``search/benchmarks/flips.py``."""

from __future__ import annotations

from math import prod

from stl_algebra.errors import StlError
from stl_algebra.known import best_rank

from .scheme import SYMMETRIES
from .walk import Schedule

__all__ = ["STANDARD_UP_TO", "default_cubes", "goal_rank", "schedule_for"]

#: Up to this many products the standard algorithm is as good a start as a grown one.
STANDARD_UP_TO = 36


def schedule_for(fmt: tuple[int, int, int], ring: str, symmetry: str | None) -> Schedule:
    """The schedule `search_flips` uses when none is given.

    Over Z fewer flips are possible at a vertex, and plus transitions help only after a longer walk; with
    symmetry one orbit is three or six terms, and climbing several orbits is what opens the way down.

    Examples
    --------
    >>> schedule_for((3, 3, 3), "Z", None)
    Schedule(flips=20000000, plus_after=30000, plus_diff=1, pool=0, patience=200, longest=64)
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

    Examples
    --------
    >>> default_cubes(5, "GF(2)", "C3", 93)
    3
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
    """Rank a search over this ring can hope for: the best known one over it.

    Examples
    --------
    >>> goal_rank((4, 4, 4), "GF(2)")
    47
    """
    return best_rank(fmt, ring)
