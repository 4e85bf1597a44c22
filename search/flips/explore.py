"""Searching flip graphs: restarts, plus transitions, pools of schemes per rank, several processes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .defaults import STANDARD_UP_TO, default_cubes, goal_rank, schedule_for
from .formats import extend
from .scheme import SYMMETRIES, Scheme, checked, from_factors, holds, standard, symmetric_start
from .walk import Schedule, walk_from

__all__ = ["FlipResult", "search_flips"]


@dataclass(frozen=True)
class FlipResult:
    """Outcome of `search_flips`; the factors have been verified exactly.

    Attributes
    ----------
    e_x (r, nm), e_w (r, mp), d (np, r) : int arrays
        Entries 0, 1 (to be read mod 2) over GF(2), −1, 0, 1 over Z; C is not transposed.
    rank : int
    flips : int
        Over all walks and processes.
    seconds : float
    found : bool
        Whether ``rank <= target_rank``.
    history : list of (seconds, flips, rank)
        Every improvement.
    scheme : Scheme
        The packed form; a possible ``start`` of another search.
    pool : list of Scheme
        The schemes of lowest rank met (one without pools).
    """

    e_x: NDArray[np.int64]
    e_w: NDArray[np.int64]
    d: NDArray[np.int64]
    rank: int
    flips: int
    seconds: float
    found: bool
    history: list[tuple[float, int, int]]
    scheme: Scheme
    pool: list[Scheme] = field(default_factory=list)


#: What travels to a worker: start, whether to grow another one instead, goal, schedule, seed, seconds.
_Task = tuple[Scheme, bool, int, Schedule, tuple[int, int], float]


def _task(args: _Task) -> tuple[Scheme, int]:
    """One walk in a worker, from a freshly grown start if asked for."""
    start, grow, goal, plan, seed, seconds = args
    end, spent = time.monotonic() + seconds, 0
    if grow:
        fresh = seed[0] + 1_000_003 * seed[1]
        if start.symmetry is None:
            start, spent = grown_start(start.format, start.ring, seconds, fresh)
        else:
            n, s = start.format[0], len(start.cubes)
            start, spent = grown_symmetric(n, start.ring, start.symmetry, s, seconds, fresh)
    found, flips = walk_from(start, goal, plan, seed, max(0.0, end - time.monotonic()))
    return found, spent + flips


def search_flips(
    format: Sequence[int],
    ring: str = "GF(2)",
    symmetry: str | None = None,
    target_rank: int | None = None,
    seconds: float = 60.0,
    seed: int = 0,
    *,
    schedule: Schedule | None = None,
    pool: int | None = None,
    start: Scheme | tuple[Any, Any, Any] | str | None = None,
    cubes: int | NDArray[Any] | None = None,
    max_flips: int | None = None,
    workers: int = 1,
    executor: Executor | None = None,
) -> FlipResult:
    """Search a flip graph for a scheme of low rank; nothing published is ever used as a start.

    Parameters
    ----------
    format : (n, m, p)
        Factors of at most 64 entries over GF(2) and 32 over Z.
    ring : "GF(2)" or "Z"
        Over Z all coefficients stay in {−1, 0, 1}: no lifting is needed.
    symmetry : None, "C3" or "C3xZ2"
        Walk on whole orbits (square formats).
    target_rank : int, optional
        Stop there; without it the whole time is used.
    seconds : float
        Time budget; compiling or loading the kernel in this process does not count.
    seed : int
        Walk number i uses the seed (seed, i); equal seeds, workers and `max_flips` give equal results.
    schedule : Schedule, optional
        Default: `search.flips.defaults.schedule_for`.
    pool : int, optional
        Overrides ``schedule.pool``.
    start : "standard", "grown", Scheme or (e_x, e_w, d), optional
        Default: the standard algorithm (with symmetry `symmetric_start`) up to 36 products, above that
        a start grown from smaller formats, afresh for every walk
        (`grown_start`). With symmetry "grown" begins at a smaller square format
        under the same symmetry (`grown_symmetric`). Plain factors are possible
        only without symmetry.
    cubes : int or (s, n, n) array, optional
        Fixed terms of the symmetric start (`symmetric_start`); default: the fewest that fit the target.
    max_flips : int, optional
        Budget in flips, for reproducible runs.
    workers : int
        Walks per round.
    executor : concurrent.futures.Executor, optional
        Where the walks run; here, one after the other, if there is none.

    Returns
    -------
    FlipResult

    Raises
    ------
    StlError
        For a format, ring, symmetry or start that does not fit.

    Examples
    --------
    >>> search_flips((2, 2, 2), "Z", target_rank=7, seconds=20).rank
    7
    """
    fmt = checked(format, ring, symmetry)
    if workers < 1:
        raise StlError("workers", workers, "at least 1")
    plan = schedule or schedule_for(fmt, ring, symmetry)
    if pool is not None:
        plan = replace(plan, pool=pool)
    grown = start == "grown" or (start is None and symmetry is None and prod(fmt) > STANDARD_UP_TO)
    if isinstance(start, Scheme):
        if (start.format, start.ring, start.symmetry) != (fmt, ring, symmetry):
            raise StlError("start", (start.format, start.ring, start.symmetry), f"{(fmt, ring, symmetry)}")
        first = start
    elif isinstance(start, str) and (start not in ("standard", "grown") or (grown and symmetry and ring == "Z")):
        raise StlError("start", start, "'standard', or 'grown' without a symmetry or over GF(2)")
    elif start is not None and not isinstance(start, str):
        if symmetry is not None:
            raise StlError("start", "plain factors", "a Scheme when a symmetry is asked for")
        first = from_factors(fmt, *start, ring=ring)
    elif symmetry is None:
        first = standard(fmt, ring)
    else:
        chosen = default_cubes(fmt[0], ring, symmetry, target_rank) if cubes is None else cubes
        first = symmetric_start(fmt[0], ring, symmetry, chosen)
    if not first.exact():
        raise StlError("start", repr(fmt), f"an exact scheme over {ring}")

    walk_from(standard((1, 2, 1)), 0, Schedule(flips=1), [0])  # compiles, or loads what was compiled
    length = SYMMETRIES[symmetry][1]
    goal = 0 if target_rank is None else max(0, (target_rank - len(first.cubes)) // length)
    search = _Search(first, grown, goal, plan, seed, seconds, max_flips)
    search.run(executor, workers)
    best = search.best
    e_x, e_w, d = best.factors()
    if not holds(fmt, e_x, e_w, d, ring):  # cannot happen unless the kernel is wrong: never return it
        raise AssertionError(f"flip-graph walk left the tensor of {fmt} over {ring}")
    found = target_rank is not None and len(e_x) <= target_rank
    return FlipResult(
        e_x, e_w, d, len(e_x), search.flips, search.elapsed(), found, search.history, best,
        search.levels.get(best.orbits, [best]),
    )  # fmt: skip


def grown_symmetric(n: int, ring: str, symmetry: str, cubes: Any, seconds: float, seed: int) -> tuple[Scheme, int]:
    """A symmetric start around a smaller scheme: one index less under C₃, two less under C₃×Z₂.

    The smaller format is searched for its best known rank, at most a third of the time.

    Returns
    -------
    (Scheme, int)
        The start, and the flips spent on it.
    """
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
    axis = max(range(3), key=lambda k: fmt[k])
    sizes = list(fmt)
    sizes[axis] -= 1
    smaller = (sizes[0], sizes[1], sizes[2])
    if prod(fmt) <= STANDARD_UP_TO // 2 or min(smaller) < 2:
        return standard(fmt, ring), 0
    start, flips = grown_start(smaller, ring, seconds, seed)
    found = search_flips(smaller, ring, None, goal_rank(smaller, ring), seconds / 10, seed, start=start)
    return extend(found.scheme, "nmp"[axis]), flips + found.flips


class _Search:
    """The loop behind `search_flips`: which scheme to walk from next, and what to keep."""

    def __init__(
        self, first: Scheme, grown: bool, goal: int, plan: Schedule, seed: int, seconds: float,
        max_flips: int | None,
    ) -> None:  # fmt: skip
        self.first, self.grown, self.goal, self.plan, self.seed = first, grown, goal, plan, seed
        self.seconds, self.max_flips = seconds, math.inf if max_flips is None else max_flips
        self.began = time.monotonic()
        self.best, self.flips, self.walks = first, 0, 0
        self.history: list[tuple[float, int, int]] = [(0.0, 0, first.rank)]
        self.levels: dict[int, list[Scheme]] = {first.orbits: [first]}
        self.level, self.failures = first.orbits, 0
        self.rng = np.random.default_rng([seed, 0x5EED])

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def run(self, runner: Executor | None, width: int) -> None:
        while self.best.orbits > self.goal and self.elapsed() < self.seconds and self.flips < self.max_flips:
            tasks = [self._next() for _ in range(width)]
            results = map(_task, tasks) if runner is None else runner.map(_task, tasks)
            for task, (scheme, flips) in zip(tasks, results, strict=True):
                self._take(task[0], scheme, flips)

    def _next(self) -> _Task:
        self.walks += 1
        left = self.seconds - self.elapsed()
        plan = replace(self.plan, flips=int(min(self.plan.flips, self.max_flips - self.flips)))
        seed = (self.seed, self.walks)
        if self.plan.pool == 0:
            return self.first, self.grown, self.goal, plan, seed, left
        choices = self.levels[self.level]
        start = choices[int(self.rng.integers(len(choices)))]
        grow = self.grown and start is self.first
        return start, grow, max(self.goal, self.level - 1), plan, seed, left

    def _take(self, start: Scheme, scheme: Scheme, flips: int) -> None:
        self.flips += flips
        if scheme.orbits < self.best.orbits:
            self.best = scheme
            self.history.append((self.elapsed(), self.flips, scheme.rank))
        if self.plan.pool == 0:
            return
        if scheme.orbits < start.orbits:
            self.levels.setdefault(scheme.orbits, []).append(scheme)
            self.failures = 0
        else:
            self.failures += 1
        below = [k for k in self.levels if k < self.level]
        if below and (len(self.levels[max(below)]) >= self.plan.pool or self.failures >= self.plan.patience):
            del self.levels[self.level]
            self.level, self.failures = max(below), 0
        elif self.failures >= self.plan.patience:
            # A dead end: begin again, with fresh seeds.
            self.levels = {self.first.orbits: [self.first]}
            self.level, self.failures = self.first.orbits, 0
