"""Schemes with few additions: a walk over the schemes of a rank that are near a given one.

Flips (two terms that share a factor exchange parts of the others) and elementary changes of basis lead from scheme to
scheme of the same rank. The walk is annealed on the sums that have to be formed: different rows of E_X, E_W and Dᵀ, and
a little for each that is no sum of two others. The cheapest schemes met get short chains (`chains`).

Walks from one scheme end again and again at the same count, walks from another scheme of the rank at another one (57 or
59, seldom 56, at ⟨3,3,3;23⟩). So every second walk begins elsewhere.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError

from ..flips.explore import search_flips
from ..flips.pools import wandered
from ..flips.scheme import read_scheme
from ._chains import anneal
from .accuracy import improved
from .chains import _numbers, total_additions

__all__ = ["Cheap", "cheapest"]

Array = NDArray[Any]
POOL = 24
WANDERING = 2_000_000  #: flips to another scheme of the same rank


@dataclass(frozen=True)
class Cheap:
    """A scheme with few additions.

    Attributes
    ----------
    encoder : Encoder
    additions : int
        Of the programs for E_X, E_W and D together.
    walks : int
        Walks up to the one that found it; 0 for the encoder given.
    """

    encoder: Encoder
    additions: int
    walks: int


def _matrices(encoder: Encoder, mod2: bool) -> Array:
    """Factor matrices U (n×m), V (m×p), W (p×n), row-major, padded to one width: (3, r, width)."""
    n, _, p = encoder.format
    r = encoder.rank
    parts = [np.asarray(f.num).astype(np.int64) for f in (encoder.e_x, encoder.e_w)]
    parts.append(np.asarray(encoder.d.num).astype(np.int64).T.reshape(r, n, p).swapaxes(1, 2).reshape(r, -1))
    out = np.zeros((3, r, max(q.shape[1] for q in parts)), dtype=np.int64)
    for k, part in enumerate(parts):
        out[k, :, : part.shape[1]] = part % 2 if mod2 else part
    return out


def _encoder(like: Encoder, matrices: Array) -> Encoder:
    n, m, p = like.format
    r = like.rank
    d = matrices[2][:, : n * p].reshape(r, p, n).swapaxes(1, 2).reshape(r, -1).T
    return Encoder.build(like.target, matrices[0][:, : n * m], matrices[1][:, : m * p], d, ring=like.ring)


def cheapest(
    encoder: Encoder,
    seconds: float = 60.0,
    seed: int = 0,
    steps: int = 1_000_000,
    largest: int = 1,
    hot: float = 1.6,
    cold: float = 0.15,
    weight: float = 0.7,
    turns: float = 0.1,
    fresh: bool = False,
    walks: int | None = None,
) -> Cheap:
    """Walk from an encoder over Z or GF(2) to one of the same rank with fewer additions.

    Parameters
    ----------
    encoder : Encoder
        Proven, without denominators, entries at most `largest`.
    seconds : float
        No new walk begins after this.
    seed : int
    steps : int
        Proposals of one walk, in which the temperature falls from `hot` to `cold`.
    largest : int
        Entries stay within this bound (over Z).
    weight : float
        Cost of a sum that is not a sum of two others, beyond its own addition.
    turns : float
        Share of the changes of basis among the proposals.
    fresh : bool
        Every second walk begins at a scheme that flips reach from nothing, not at one they reach from the encoder's.
    walks : int, optional
        At most so many; with enough time the result is then the same on every machine.

    Returns
    -------
    Cheap
        At least as cheap as the encoder given; proven.

    Raises
    ------
    StlError
        For other rings and for entries beyond `largest`.
    """
    mod2 = encoder.ring.characteristic == 2
    if not mod2 and encoder.ring.name != "Z":
        raise StlError("ring", encoder.ring.name, "Z or GF(2)")
    start = _matrices(encoder, mod2)
    if np.abs(start).max() > largest:
        raise StlError("largest", largest, f"at least {np.abs(start).max()}, the largest entry of the scheme")
    widths = [a * b for a, b in zip(encoder.format, (*encoder.format[1:], encoder.format[0]), strict=True)]
    numbers = np.zeros((3, start.shape[2]), dtype=np.int64)
    for k, width in enumerate(widths):
        numbers[k, :width] = _numbers(width, mod2)
    best, count = encoder, total_additions(encoder, seed=seed)
    base, rounds, found, end = start, 0, 0, time.monotonic() + seconds
    while rounds == 0 or (time.monotonic() < end and rounds != walks):
        left = end - time.monotonic()
        vectors = base.copy() if rounds % 2 == 0 else _elsewhere(encoder, fresh, largest, (seed, rounds), left)
        pool = np.zeros((POOL, *start.shape), dtype=np.int64)
        costs, marks = np.full(POOL, np.inf), np.zeros(POOL, dtype=np.int64)
        anneal(
            vectors, np.array(encoder.format), numbers, mod2, largest, steps, hot, cold, weight, turns, seed + rounds,
            pool, costs, marks,
        )  # fmt: skip
        near = np.isfinite(costs) & (costs < costs[0] + 1.0)
        for matrices in pool[near]:
            trial = _encoder(encoder, matrices)
            total = total_additions(trial, effort=3_000, restarts=2, seed=seed)
            if total < count and trial.is_exact:
                best, count, base, found = trial, total, matrices, rounds + 1
        rounds += 1
    if best is not encoder:
        best = improved(encoder, best, objective="additions", additions=count)
    return Cheap(best, count, found)


def _elsewhere(encoder: Encoder, fresh: bool, largest: int, seed: tuple[int, int], seconds: float) -> Array:
    """Factor matrices of another scheme of the same format and rank, over the same ring; the encoder's if none."""
    mod2 = encoder.ring.characteristic == 2
    ring = "GF(2)" if mod2 else "Z"
    if fresh:
        found = search_flips(encoder.format, ring, None, encoder.rank, max(1.0, seconds), sum(seed))
        scheme = found.scheme
    elif largest > 1:
        return _matrices(encoder, mod2)  # flips over Z keep to entries −1, 0, 1
    else:
        scheme = wandered(read_scheme(encoder, ring), WANDERING, seed)
    other = scheme.encoder()
    return _matrices(other if other.rank == encoder.rank else encoder, mod2)
