"""One walk: a schedule, the arrays, and the compiled kernel."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from ._state import Mode, State
from .scheme import SYMMETRIES, Scheme

__all__ = ["Schedule", "walk", "walk_from"]

#: Flips between two looks at the clock (about a quarter of a second).
CHUNK = 4_000_000
#: Orbits beyond the start for which plus transitions find room.
HEADROOM = 8


@dataclass(frozen=True)
class Schedule:
    """How to walk: plain data, all counted in flips and orbits.

    Attributes
    ----------
    flips : int
        Path length: flips of one walk before it is given up.
    plus_after : int
        Flips without a new minimum between two plus transitions.
    plus_diff : int
        A plus transition may start while the walk is less than this many orbits above its minimum.
    pool : int
        Schemes collected per rank before the next rank is attacked; 0 means independent restarts.
    patience : int
        With a pool: walks without success after which a rank that has no successor is given up (the
        search then starts afresh), or one that has some is left for the next.
    longest : int
        Moves that give a factor more non-zero entries than this are refused.

    Examples
    --------
    >>> Schedule(flips=1000).plus_after
    1000
    """

    flips: int = 20_000_000
    plus_after: int = 1_000
    plus_diff: int = 2
    pool: int = 0
    patience: int = 200
    longest: int = 64

    def __post_init__(self) -> None:
        least = {"flips": 0, "plus_after": 0, "plus_diff": 0, "pool": 0, "patience": 0, "longest": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise StlError(name, getattr(self, name), f"at least {low}", "correct the schedule")


def walk(
    terms: NDArray[np.uint64],
    signs: NDArray[np.int64],
    orbits: int,
    params: NDArray[np.int64],
    state: NDArray[np.uint64],
    best: NDArray[np.uint64],
    best_signs: NDArray[np.int64],
    stats: NDArray[np.int64],
) -> None:
    """Random walk of at most ``params[P_FLIPS]`` flips; stops when ``params[P_TARGET]`` orbits are left.

    Parameters
    ----------
    terms : (cap, 3) uint64, signs : (cap,) int64
        Start; overwritten by the last state.  ``cap`` also bounds what plus transitions may grow to.
    orbits : int
        Number of rows of ``terms`` in use.
    params : (P_LENGTH,) int64
        Ternary flag, symmetry (0 none, 1 C₃, 2 C₃×Z₂), bits per factor, target, flip limit, flips without
        a new minimum before a plus transition, how far above the best a plus transition may climb, and
        the fewest orbits seen before this call (``best`` is left alone until that is beaten).
    state : (1,) uint64
        Random generator, advanced.
    best, best_signs :
        Same shapes; receive the scheme with the fewest orbits seen.
    stats : (S_LENGTH,) int64
        Orbits now, orbits of the best, flips, plus transitions, reductions.
    """
    from . import _kernel as kernel

    cap, symmetry = signs.size, int(params[kernel.P_SYMMETRY])
    slots = 4 * (cap + 1)
    factors = np.zeros(slots, dtype=np.uint64)
    sizes = (4 << kernel.HASH_BITS, slots, slots, slots, slots, cap + 1)
    head, nxt, deg, ent, pos, free = (np.zeros(size, dtype=np.uint16) for size in sizes)
    arrays = State(
        fac=factors, keys=factors if symmetry < 2 else np.zeros_like(factors),
        sgn=np.ones(cap + 1, dtype=np.int64), head=head, nxt=nxt, deg=deg, ent=ent, pos=pos, free=free,
        cnt=np.zeros(3, dtype=np.int64),
    )  # fmt: skip
    mode = Mode(
        ternary=bool(params[kernel.P_TERNARY]), symmetric=symmetry > 0, reflect=symmetry == 2,
        bits=int(params[kernel.P_BITS]), apart=0 if symmetry else 3,
    )  # fmt: skip
    kernel._run(terms, signs, orbits, params, state, best, best_signs, stats, arrays, mode)


def walk_from(
    start: Scheme, orbits: int, schedule: Schedule, seed: Sequence[int], seconds: float = math.inf
) -> tuple[Scheme, int]:
    """One random walk; the unit of work, run in a worker process.

    Parameters
    ----------
    start : Scheme
    orbits : int
        Stop as soon as this few orbits are left.
    schedule : Schedule
    seed : sequence of int
        Determines the walk (as long as the clock does not end it).
    seconds : float
        Time limit, looked at every few million flips.

    Returns
    -------
    (Scheme, int)
        The latest scheme with the fewest orbits seen, and the number of flips made.

    Examples
    --------
    >>> from search.flips.scheme import standard
    >>> found, flips = walk_from(standard((2, 2, 2)), 7, Schedule(flips=100_000), [0])
    >>> found.rank, found.exact()
    (7, True)
    """
    from . import _kernel as kernel

    cap = start.orbits + HEADROOM
    terms, best = np.zeros((cap, 3), dtype=np.uint64), np.zeros((cap, 3), dtype=np.uint64)
    signs, best_signs = np.ones(cap, dtype=np.int64), np.ones(cap, dtype=np.int64)
    terms[: start.orbits], signs[: start.orbits] = start.terms, start.signs
    params = np.zeros(kernel.P_LENGTH, dtype=np.int64)
    params[kernel.P_TERNARY] = start.ring == "Z"
    params[kernel.P_SYMMETRY] = SYMMETRIES[start.symmetry][0]
    params[kernel.P_BITS] = start.format[0] * start.format[1]
    params[kernel.P_TARGET] = max(orbits, 0)
    params[kernel.P_PLUS_AFTER] = schedule.plus_after
    params[kernel.P_PLUS_DIFF] = schedule.plus_diff
    params[kernel.P_LONGEST] = schedule.longest
    params[kernel.P_LOWEST] = current = lowest = start.orbits
    best[:current], best_signs[:current] = start.terms, start.signs
    state = np.random.SeedSequence([int(s) for s in seed]).generate_state(1, np.uint64) | np.uint64(1)
    stats = np.zeros(kernel.S_LENGTH, dtype=np.int64)
    done, end = 0, time.monotonic() + seconds
    while done < schedule.flips and lowest > orbits and time.monotonic() < end:
        params[kernel.P_FLIPS] = min(CHUNK, schedule.flips - done)
        params[kernel.P_LOWEST] = lowest
        walk(terms, signs, current, params, state, best, best_signs, stats)
        current, lowest = int(stats[kernel.S_ORBITS]), int(stats[kernel.S_BEST])
        done += int(stats[kernel.S_FLIPS])
        if stats[kernel.S_FLIPS] < params[kernel.P_FLIPS]:  # target met, or no flip and no plus possible
            break
    if current == lowest:
        best, best_signs = terms, signs
    found = replace(start, terms=best[:lowest].copy(), signs=best_signs[:lowest].copy())
    return found, done
