"""Flip graphs under any group of signed permutations of the entries, as a symmetry of the common grammar names it.

Where `search.flips.walk` knows no symmetry, C₃ and C₃×Z₂ and is fastest, this walk takes every action on a format whose
matrices are signed permutations (``T``, ``c:(12)(34)``, ``Z3*c:(123)``, ``d:2+1``, ``E32`` …). Short orbits take part:
see `search.flips._orbits` for the moves and why they are exact.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, symmetry
from stl_algebra.errors import StlError
from stl_algebra.targets import matmul

from .scheme import RINGS, Factors, holds, pack, standard, unpack
from .walk import Schedule

__all__ = ["OrbitScheme", "PackedGroup", "orbits_of", "packed", "search_orbits", "standard_orbits", "walk_orbits"]

Format = tuple[int, int, int]
#: Elements of a group, so that a stabiliser is one machine word.
MOST = 64
#: Flips between two looks at the clock, and orbits for which plus transitions find room.
CHUNK, HEADROOM = 200_000, 8
#: Of a walk: under a group one orbit is several terms, and climbing two is what opens the way down.
WALK = Schedule(flips=10_000_000, plus_after=2_000, plus_diff=2, patience=12)
#: Schemes of the lowest rank that are walked on from.
POOL = 64


@dataclass(frozen=True, eq=False)
class PackedGroup:
    """A group of signed permutations of the entries of terms, modulo 2 over GF(2).

    Attributes
    ----------
    name, format, ring
    perm : (|G|, 3) int64
        Slot to which g takes slot s.
    images : tuple of three (|G|, d_s) int64 arrays
        Entry to which g takes each entry of slot s.
    signs : tuple of three (|G|, d_s) int64 arrays
        The sign it gets (1 over GF(2)).
    mul : (|G|, |G|) int64

    Examples
    --------
    >>> packed("E32/1", (4, 4, 4), "Z").order
    2
    """

    name: str
    format: Format
    ring: str
    perm: NDArray[np.int64]
    images: tuple[NDArray[np.int64], ...]
    signs: tuple[NDArray[np.int64], ...]
    mul: NDArray[np.int64]

    @property
    def order(self) -> int:
        """Number of elements that act differently."""
        return len(self.perm)

    def move(self, g: int, term: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Image of terms, each slot an (r, d) array of integers."""
        out: list[Any] = [None] * 3
        for s in range(3):
            moved = np.empty_like(term[s])
            moved[:, self.images[s][g]] = term[s] * self.signs[s][g]
            out[int(self.perm[g, s])] = moved
        return out

    def kernel(self) -> Any:
        """The tables of the compiled walk."""
        from ._state import Group

        width, planes = (8, 4) if self.ring == "Z" else (8, 8)
        tab = np.zeros((self.order, 3, planes, 256), dtype=np.uint64)
        bits = (np.arange(256)[:, None] >> np.arange(8)) & 1 > 0  # (value, bit)
        for s in range(3):
            size = self.images[s].shape[1]
            place = self.images[s] + np.where(self.signs[s] < 0, 32, 0)
            words = np.zeros((self.order, width * planes), dtype=np.uint64)
            words[:, :size] = np.uint64(1) << place.astype(np.uint64)
            for b in range(planes):
                eight = words[:, 8 * b : 8 * b + 8]
                tab[:, s, b] = np.where(bits[None], eight[:, None, :], np.uint64(0)).sum(axis=2, dtype=np.uint64)
        still = (self.perm == np.arange(3)).all(axis=1)
        inverse = (self.mul == 0).argmax(axis=1)
        return Group(self.perm, tab, self.mul, inverse, still, self.ring == "Z")


@lru_cache(maxsize=32)
def packed(name: str, fmt: Format, ring: str) -> PackedGroup:
    """A symmetry of the common grammar as permutations of entries.

    Raises
    ------
    StlError
        If a matrix is no signed permutation, or more than 64 elements act differently.

    Examples
    --------
    >>> packed("Z3*c:(123)", (3, 3, 3), "Z").order, packed("d:2+1", (3, 3, 3), "GF(2)").order
    (9, 1)
    """
    action = symmetry.action(name, fmt)
    images, signs = [], []
    for stack in action.maps:
        whole = np.rint(stack.real).astype(np.int64)
        once = (np.abs(whole).sum(axis=1) == 1).all()  # a column is one ±1
        if np.abs(stack - whole).max() > 1e-9 or not once:
            raise StlError("symmetry", name, "signed permutations of the basis, for a walk", "Use --family orbit.")
        images.append(np.abs(whole).argmax(axis=1))
        sign = np.take_along_axis(whole, images[-1][:, None, :], axis=1)[:, 0]
        signs.append(sign if ring == "Z" else np.ones_like(sign))
    rows = np.concatenate([action.slots, *images, *signs], axis=1)
    _, first, group_of = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    first, group_of = np.sort(first), np.argsort(np.argsort(first))[group_of.ravel()]
    if len(first) > MOST:
        raise StlError("symmetry", name, f"at most {MOST} elements, for a walk", "Take a subgroup.")
    mul = group_of[action.group.table[np.ix_(first, first)].astype(np.int64)].astype(np.int64)
    perm = action.slots[first].astype(np.int64)
    return PackedGroup(name, fmt, ring, perm, tuple(i[first] for i in images), tuple(s[first] for s in signs), mul)


@dataclass(frozen=True, eq=False)
class OrbitScheme:
    """A vertex of the flip graph of a group: one representative an orbit.

    Attributes
    ----------
    group : PackedGroup
    terms : (m, 3) uint64
    signs : (m,) int64
    sizes : (m,) int64
        Terms of each orbit.

    Examples
    --------
    >>> standard_orbits("c:(12)", (3, 3, 3), "Z").encoder()
    Encoder⟨3,3,3;27⟩ over Z, exact, κ²=1
    """

    group: PackedGroup
    terms: NDArray[np.uint64]
    signs: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def rank(self) -> int:
        """Number of terms."""
        return int(self.sizes.sum())

    def factors(self) -> Factors:
        """All terms: ``(e_x (r, nm), e_w (r, mp), d (np, r))``, an orbit at a time."""
        n, m, p = self.group.format
        rows = [unpack(self.terms[:, k], size, self.group.ring) for k, size in enumerate((n * m, m * p, n * p))]
        rows[0] = rows[0] * self.signs[:, None]
        moved = [self.group.move(g, rows) for g in range(self.group.order)]
        out: list[list[NDArray[np.int64]]] = []
        for i in range(len(self.terms)):
            seen: dict[bytes, list[NDArray[np.int64]]] = {}
            for image in moved:
                term = [image[s][i] for s in range(3)]
                seen.setdefault(_tensor_key(term), term)
            out += seen.values()
        x, w, y = (np.array([t[s] for t in out], dtype=np.int64) for s in range(3))
        return x, w, np.ascontiguousarray(y.T)

    def encoder(self) -> Encoder:
        """The scheme as an encoder over its ring."""
        return Encoder.build(matmul(*self.group.format), *self.factors(), ring=self.group.ring)

    def exact(self) -> bool:
        """Verify all Brent equations of the expansion."""
        return holds(self.group.format, *self.factors(), ring=self.group.ring)


def _tensor_key(term: Sequence[NDArray[np.int64]]) -> bytes:
    """The same for terms that are equal as tensors: signs are moved to the last factor."""
    signs = [int(t[np.flatnonzero(t)[0]]) for t in term[:2]]
    return b"".join((t * e).tobytes() for t, e in zip(term, (*signs, signs[0] * signs[1]), strict=True))


def orbits_of(group: PackedGroup, e_x: Any, e_w: Any, d: Any) -> OrbitScheme:
    """A scheme under a group from its factors; by default the standard algorithm is one for every group.

    Raises
    ------
    StlError
        If the group does not permute the terms.

    Examples
    --------
    >>> strassen = search_orbits(standard_orbits("none", (2, 2, 2), "Z"), 7, 20)[0]
    >>> orbits_of(packed("none", (2, 2, 2), "Z"), *strassen.factors()).rank
    7
    """
    rows = [np.asarray(e_x, dtype=np.int64), np.asarray(e_w, dtype=np.int64), np.asarray(d, dtype=np.int64).T]
    place = {_tensor_key([f[i] for f in rows]): i for i in range(len(rows[0]))}
    moved = [group.move(g, rows) for g in range(group.order)]
    done: set[int] = set()
    chosen, sizes = [], []
    for i in range(len(rows[0])):
        if i in done:
            continue
        orbit = {place.get(_tensor_key([f[i] for f in image]), -1) for image in moved}
        if -1 in orbit or orbit & done:
            raise StlError("start", "these terms", f"terms that {group.name} permutes")
        done |= orbit
        chosen.append(i)
        sizes.append(len(orbit))
    signs = np.ones((3, len(chosen)), dtype=np.int64)
    if group.ring == "Z":
        for s in range(3):
            signs[s] = [int(np.sign(rows[s][i][np.flatnonzero(rows[s][i])[0]])) for i in chosen]
    words = [pack(rows[s][chosen] * signs[s][:, None], group.ring) for s in range(3)]
    return OrbitScheme(group, np.stack(words, axis=1), signs.prod(axis=0), np.array(sizes, dtype=np.int64))


def standard_orbits(name: str, fmt: Format, ring: str) -> OrbitScheme:
    """The standard algorithm under a symmetry.

    Examples
    --------
    >>> start = standard_orbits("c:(12)", (2, 2, 2), "GF(2)")
    >>> start.rank, start.sizes.tolist(), start.exact()
    (8, [2, 2, 2, 2], True)
    """
    if ring not in RINGS:
        raise StlError("ring", ring, "'GF(2)' or 'Z'")
    return orbits_of(packed(name, fmt, ring), *standard(fmt, ring).factors())


def walk_orbits(
    start: OrbitScheme, rank: int, schedule: Schedule, seed: Sequence[int], seconds: float = math.inf
) -> tuple[OrbitScheme, int]:
    """One random walk.

    Parameters
    ----------
    start : OrbitScheme
    rank : int
        Stop as soon as this few terms are left.
    schedule : Schedule
        ``flips``, ``plus_after``, ``plus_diff`` (in orbits of full length) and ``longest`` count.
    seed : sequence of int
    seconds : float

    Returns
    -------
    (OrbitScheme, int)
        The latest scheme of lowest rank, and the number of flips made.

    Examples
    --------
    >>> found, flips = walk_orbits(standard_orbits("c:(12)", (2, 2, 2), "Z"), 7, Schedule(flips=100_000), [0], 20)
    >>> found.exact(), found.rank <= 8
    (True, True)
    """
    from ._orbits import _run
    from ._state import Box, Orbits

    group, n = start.group, len(start.terms) + HEADROOM
    tables = group.kernel()

    def room() -> Any:
        factors, keys = (np.zeros((n, 3), dtype=np.uint64) for _ in range(2))
        sign, stab, size = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.uint64), np.zeros(n, dtype=np.int64)
        return Orbits(factors, sign, stab, size, keys)

    orbits, best = room(), room()
    box = Box(
        np.zeros((3, 3), dtype=np.uint64), np.ones(3, dtype=np.int64), np.zeros(3, dtype=np.uint64),
        np.array([schedule.longest], dtype=np.uint64),
    )  # fmt: skip
    _fill(orbits, start, tables, box)
    for here, there in zip(orbits, best, strict=True):
        there[...] = here
    state = np.random.SeedSequence([int(s) for s in seed]).generate_state(1, np.uint64) | np.uint64(1)
    stats = np.array([start.rank, start.rank, 0, 0], dtype=np.int64)
    done, end = 0, time.monotonic() + seconds
    while done < schedule.flips and stats[1] > rank and time.monotonic() < end:
        flips = min(CHUNK, schedule.flips - done)
        params = np.array([rank, flips, schedule.plus_after, schedule.plus_diff * group.order], dtype=np.int64)
        _run(orbits, tables, params, state, best, stats, box)
        done += int(stats[2])
        if stats[2] < flips:
            break
    if stats[0] == stats[1]:  # the walk is at its lowest rank: the scheme met last
        best = orbits
    alive = np.flatnonzero(best.size)
    return OrbitScheme(group, best.fac[alive].copy(), best.sgn[alive].copy(), best.size[alive].copy()), done


def _fill(orbits: Any, start: OrbitScheme, tables: Any, box: Any) -> None:
    """Write the representatives of a scheme with their stabilisers."""
    from ._orbits import _stabiliser, _write

    for i, term in enumerate(start.terms):
        stab, _ = _stabiliser(term, tables, box.image)
        _write(i, term, start.signs[i], stab, orbits, tables)


def search_orbits(
    start: OrbitScheme, rank: int, seconds: float, seed: int = 0, schedule: Schedule = WALK
) -> tuple[OrbitScheme, int]:
    """Walks until a rank is reached or the time is up, each from one of the schemes of lowest rank met so far.

    After `patience` walks in a row that led no lower it begins at the start again.

    Returns
    -------
    (OrbitScheme, int)
        The scheme of lowest rank, exact, and the number of flips of all walks.

    Raises
    ------
    StlError
        If the start is not exact.

    Examples
    --------
    >>> search_orbits(standard_orbits("c:(12)", (2, 2, 2), "Z"), 7, 20)[0].rank
    7
    """
    if not start.exact():
        raise StlError("start", start.rank, f"an exact scheme over {start.group.ring}")
    rng = np.random.default_rng([seed, 0x0FB1])
    best, pool, failures, flips, walks = start, [start], 0, 0, 0
    end = time.monotonic() + seconds
    while best.rank > rank and time.monotonic() < end:
        walks += 1
        here = pool[int(rng.integers(len(pool)))]
        found, made = walk_orbits(here, rank, schedule, (seed, walks), end - time.monotonic())
        flips += made
        failures = 0 if found.rank < pool[0].rank else failures + 1
        if found.rank < pool[0].rank:
            pool = [found]
        elif found.rank == pool[0].rank and len(pool) < POOL:
            pool.append(found)
        if found.rank < best.rank:
            best = found
        if failures >= max(1, schedule.patience):
            pool, failures = [start], 0
    if not best.exact():  # cannot happen unless the kernel is wrong: never return it
        raise AssertionError(f"the walk under {start.group.name} left the tensor of {start.group.format}")
    return best, flips
