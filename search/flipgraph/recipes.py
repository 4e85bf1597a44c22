"""Schedules and starts that reach the best known ranks: data, measured by ``search/benchmarks/flips.py``."""

from __future__ import annotations

from search.flipgraph.engine import Schedule
from search.flipgraph.scheme import SYMMETRIES
from stl_algebra.errors import StlError

__all__ = ["BEST_KNOWN", "default_cubes", "schedule_for"]

#: Best known ranks (math.md §6 of the design notes); over GF(2) ⟨4,4,4⟩ has 47.
BEST_KNOWN: dict[tuple[int, int, int], int] = {
    (2, 2, 2): 7, (2, 2, 3): 11, (2, 2, 4): 14, (2, 2, 5): 18, (2, 3, 3): 15, (2, 3, 4): 20, (2, 3, 5): 25,
    (2, 4, 4): 26, (2, 4, 5): 32, (2, 5, 5): 40, (3, 3, 3): 23, (3, 3, 4): 29, (3, 3, 5): 36, (3, 4, 4): 38,
    (3, 4, 5): 47, (3, 5, 5): 58, (4, 4, 4): 48, (4, 4, 5): 61, (4, 5, 5): 76, (5, 5, 5): 93, (6, 6, 6): 153,
}  # fmt: skip


def schedule_for(fmt: tuple[int, int, int], ring: str, symmetry: str | None) -> Schedule:
    """The schedule `search_flips` uses when none is given."""
    return Schedule()


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
    )
