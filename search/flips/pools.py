"""Search over many formats at once: good schemes of one format are starts for its neighbours.

Every round takes one format, builds a start from the pools (its own best scheme, a smaller format extended by
one slice, two formats merged, a larger one with a slice dropped), walks from it, and files what comes out. The
idea is that of Arai–Ichikawa–Hukushima 2024 (growing) and Kauers–Wood 2025 (projecting ⟨5,5,5;93⟩ and
⟨6,6,6;153⟩ down); here the moves are drawn at random and the pools feed one another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations_with_replacement
from math import prod

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.known import best_rank

from .explore import FlipResult
from .formats import merge, project, rotate
from .scheme import Scheme, checked, from_factors, standard
from .walk import Schedule, walk_from

__all__ = ["Pools", "all_formats", "oriented", "search_from", "transposed", "wandered"]

Format = tuple[int, int, int]

#: How long one walk from a pool is.
SHORT = Schedule(flips=40_000_000, plus_after=1_000, plus_diff=2)


def transposed(scheme: Scheme) -> Scheme:
    """Cᵀ = BᵀAᵀ: ⟨n,m,p⟩ → ⟨p,m,n⟩, same rank.

    Examples
    --------
    >>> transposed(standard((2, 3, 4))).format
    (4, 3, 2)
    """
    n, m, p = scheme.format
    x, w, d = scheme.factors()
    r = len(x)
    flip = [t.reshape(r, a, b).transpose(0, 2, 1).reshape(r, -1) for t, a, b in ((w, m, p), (x, n, m), (d.T, n, p))]
    return from_factors((p, m, n), flip[0], flip[1], flip[2].T, ring=scheme.ring)


def oriented(scheme: Scheme, fmt: Format) -> Scheme:
    """The scheme for another order of its three sizes.

    Raises
    ------
    StlError
        If `fmt` is no rearrangement of the scheme's format.

    Examples
    --------
    >>> oriented(standard((2, 3, 4)), (4, 2, 3)).format
    (4, 2, 3)
    """
    for turned in (scheme, transposed(scheme)):
        for _ in range(3):
            if turned.format == fmt:
                return turned
            turned = rotate(turned)
    raise StlError("fmt", fmt, f"the sizes of {scheme.format} in some order")


class Pools:
    """Schemes without symmetry for many formats, all over one ring, kept at the lowest rank met.

    Parameters
    ----------
    formats : iterable of (n, m, p)
        Formats to improve; sizes are sorted.
    ring : "GF(2)" or "Z"
    floors : mapping, optional
        Format → rank below which no walk goes: over GF(2) schemes below the best rank of characteristic 0
        cannot be lifted, and spoil what is grown from them.
    size : int
        Schemes kept per format.
    seed : int
    schedule : Schedule
        Of every walk.

    Examples
    --------
    >>> pools = Pools([(2, 2, 2)])
    >>> pools.rank((2, 2, 2)), pools.add(standard((2, 2, 2)))
    (8, False)
    """

    def __init__(
        self, formats: Iterable[Format], ring: str = "GF(2)", floors: Mapping[Format, int] | None = None,
        size: int = 24, seed: int = 0, schedule: Schedule = SHORT,
    ) -> None:  # fmt: skip
        self.ring, self.size, self.schedule = ring, size, schedule
        self.floors = dict(floors or {})
        self.seed, self.rounds, self.flips = seed, 0, 0
        self.rng = np.random.default_rng([seed, 0x3E7A])
        self.pools: dict[Format, list[Scheme]] = {}
        self.work: dict[Format, int] = {}
        for fmt in formats:
            key = _sorted(checked(fmt, ring, None))
            self.pools[key] = [standard(key, ring)]
            self.work[key] = 0

    def rank(self, fmt: Format) -> int:
        """Lowest rank filed for the format (nmp if it is not among those searched)."""
        pool = self.pools.get(_sorted(fmt))
        return pool[0].rank if pool else prod(fmt)

    def add(self, scheme: Scheme) -> bool:
        """File a scheme of one of the formats; True if it is the best of its format so far."""
        key = _sorted(scheme.format)
        if key not in self.pools:
            raise StlError("scheme", scheme.format, f"one of the formats {sorted(self.pools)}")
        scheme = oriented(scheme, key)
        best = self.rank(key)
        if scheme.rank < best:
            self.pools[key] = [scheme]
            return True
        if scheme.rank == best:
            pool = self.pools[key]
            if len(pool) < self.size:
                pool.append(scheme)
            else:
                pool[int(self.rng.integers(len(pool)))] = scheme
        return False

    def _some(self, fmt: Format) -> Scheme:
        """A random filed scheme in the orientation asked for (the standard one for small formats)."""
        pool = self.pools.get(_sorted(fmt))
        if pool is None:
            return standard(fmt, self.ring)
        return oriented(pool[int(self.rng.integers(len(pool)))], fmt)

    def start(self, fmt: Format) -> Scheme:
        """A start for a walk at this format: one of its own, or one made from its neighbours.

        Of the neighbours a move of low resulting rank is preferred (Boltzmann weights, one unit of rank each
        counting a factor e^½).
        """
        if self.rank(fmt) < prod(fmt) and self.rng.random() < 0.5:
            return self._some(fmt)
        moves: list[tuple[float, int, int]] = []  # resulting rank, axis, slices of the second part (−1: drop one)
        for k in range(3):
            for part in range(1, fmt[k] // 2 + 1):
                rank = self.rank(_resized(fmt, k, fmt[k] - part)) + self.rank(_resized(fmt, k, part))
                moves.append((rank, k, part))
            larger = _resized(fmt, k, fmt[k] + 1)
            if _sorted(larger) in self.pools:
                moves.append((self.rank(larger) - 0.7 * prod(fmt) / fmt[k], k, -1))
        ranks = np.array([m[0] for m in moves])
        weight = np.exp(-0.5 * (ranks - ranks.min()))
        _, k, part = moves[int(self.rng.choice(len(moves), p=weight / weight.sum()))]
        if part < 0:
            return self._dropped(_resized(fmt, k, fmt[k] + 1), k)
        return merge(self._some(_resized(fmt, k, fmt[k] - part)), self._some(_resized(fmt, k, part)), "nmp"[k])

    def _dropped(self, larger: Format, k: int) -> Scheme:
        """The filed scheme without the slice whose loss costs it most terms."""
        scheme = self._some(larger)
        cuts = [project(scheme, "nmp"[k], i) for i in range(larger[k])]
        return min(cuts, key=lambda c: (c.rank, self.rng.random()))

    def round(self, seconds: float = math.inf) -> tuple[Format, int]:
        """One walk; returns the format and the rank that came out."""
        keys = list(self.pools)
        done = [self.rank(k) <= self.floors.get(k, 0) for k in keys]
        hope = np.where(done, 0.05, 1.0)
        weight = hope * [prod(k) / (1.0 + self.work[k]) for k in keys]
        fmt = keys[int(self.rng.choice(len(keys), p=weight / weight.sum()))]
        floor = self.floors.get(fmt, 0)
        start = self.start(fmt)
        self.rounds += 1
        best = self.rank(fmt)
        found, flips = start, 0
        if start.rank > floor:
            found, flips = walk_from(start, floor, self.schedule, (self.seed, self.rounds), seconds)
        self.flips += flips
        self.work[fmt] += 1
        if found.rank < best:
            self.work[fmt] = 0
        self.add(found)
        return fmt, found.rank

    def run(self, seconds: float, enough: Mapping[Format, int] | None = None) -> None:
        """Rounds until the time is up or the ranks in `enough` are all reached."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if enough and all(self.rank(f) <= r for f, r in enough.items()):
                return
            self.round(max(0.1, end - time.monotonic()))


def wandered(start: Scheme, flips: int, seed: tuple[int, ...]) -> Scheme:
    """The scheme that a walk of the given length without plus transitions ends at (of lower rank if it reduces).

    Raises
    ------
    StlError
        For a negative number of flips.

    Examples
    --------
    >>> scheme = wandered(standard((2, 2, 2)), 1000, (0,))
    >>> scheme.exact(), scheme.rank <= 8
    (True, True)
    """
    if flips < 0:
        raise StlError("flips", flips, "at least 0")
    return walk_from(start, 0, replace(SHORT, flips=flips, plus_diff=0), seed)[0]


def search_from(
    start: Scheme,
    fmt: Format,
    target_rank: int,
    seconds: float = 60.0,
    seed: int = 0,
    schedule: Schedule = SHORT,
) -> FlipResult:
    """Search a format from a scheme of another one (larger or smaller), by way of the formats in between.

    Parameters
    ----------
    start : Scheme
        Its symmetry is forgotten.
    fmt : (n, m, p)
    target_rank : int
        Stop there.
    seconds, seed, schedule
        As in `Pools`.

    Returns
    -------
    FlipResult
        In the orientation asked for.
    """
    goal, given = _sorted(checked(fmt, start.ring, None)), _sorted(start.format)
    low, high = zip(*((min(a, b), max(a, b)) for a, b in zip(goal, given, strict=True)), strict=True)
    between = [f for f in all_formats(low[0], high) if all(a <= b for a, b in zip(low, f, strict=True))]
    floors = {f: best_rank(f) or 0 for f in between} | {goal: target_rank}
    pools = Pools(between, start.ring, floors, seed=seed, schedule=schedule)
    pools.add(from_factors(start.format, *start.factors(), ring=start.ring))
    begin, first = time.monotonic(), pools.rank(goal)
    pools.run(seconds, {goal: target_rank})
    spent = time.monotonic() - begin
    best = oriented(pools.pools[goal][-1], fmt)
    e_x, e_w, d = best.factors()
    history = [(0.0, 0, first), (spent, pools.flips, best.rank)]
    pool = [oriented(s, fmt) for s in pools.pools[goal]]
    return FlipResult(
        e_x, e_w, d, best.rank, pools.flips, spent, best.rank <= target_rank, history, best, pool
    )  # fmt: skip


def _sorted(fmt: Iterable[int]) -> Format:
    a, b, c = sorted(fmt)
    return a, b, c


def _resized(fmt: Format, k: int, size: int) -> Format:
    sizes = list(fmt)
    sizes[k] = size
    return sizes[0], sizes[1], sizes[2]


def all_formats(least: int, largest: Format) -> list[Format]:
    """All sorted formats with sizes from `least` that fit inside `largest` (sorted too).

    Examples
    --------
    >>> all_formats(2, (2, 3, 3))
    [(2, 2, 2), (2, 2, 3), (2, 3, 3)]
    """
    top = _sorted(largest)
    sizes = range(least, top[2] + 1)
    return [f for f in combinations_with_replacement(sizes, 3) if all(a <= b for a, b in zip(f, top, strict=True))]
