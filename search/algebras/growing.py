"""Large strong puzzles by ruin and recreate: rows are taken out at random, and whatever fits is put in again.

SAT settles small widths; at width 6 neither it nor imposed symmetries reach the known size. Here a candidate row has
to get along with every row already there (a table of pairs), then the whole is tested by matching: rows, and places of
the second and third permutation, that only the identity can serve are struck out until nothing changes, and what is
left is searched through. Whatever is found is verified by `search.algebras.puzzles.is_puzzle`.
"""

from __future__ import annotations

import time
from itertools import product

import numpy as np
from numpy.typing import NDArray

from stl_algebra import StlError

from .._jit import njit
from .puzzles import is_puzzle

__all__ = ["grow_puzzle"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: Steps of one matching search after which a puzzle is taken for one that is not strong.
PATIENCE = 20_000


@njit(cache=True)
def _free(rows: Ints, free: Bools) -> None:  # pragma: no cover
    """free[u, v, w]: no column has exactly two of u_i = 1, v_i = 2, w_i = 3."""
    size, width = rows.shape
    for u in range(size):
        for v in range(size):
            for w in range(size):
                free[u, v, w] = True
                for i in range(width):
                    if (rows[u, i] == 0) + (rows[v, i] == 1) + (rows[w, i] == 2) == 2:
                        free[u, v, w] = False
                        break


@njit(cache=True)
def _is_strong(rows: Ints, free: Bools) -> bool:  # pragma: no cover
    """Whether only the identity matches; False too if that takes too long to see."""
    size = len(rows)
    _free(rows, free)
    alive = np.ones(size, np.bool_)
    changed = True
    while changed:  # what has no other option keeps its own place
        changed = False
        seen = np.zeros((3, size), np.bool_)
        for u in range(size):
            for v in range(size):
                for w in range(size):
                    if alive[u] and alive[v] and alive[w] and free[u, v, w] and not (u == v and v == w):
                        seen[0, u], seen[1, v], seen[2, w] = True, True, True
        for r in range(size):
            if alive[r] and not (seen[0, r] and seen[1, r] and seen[2, r]):
                alive[r], changed = False, True
    order = np.flatnonzero(alive)
    count = len(order)
    if count == 0:
        return True
    pointer, taken = np.zeros(count + 1, np.int64), np.zeros((2, size), np.bool_)
    chosen = np.zeros((count, 2), np.int64)
    depth, steps = 0, 0
    while depth >= 0:
        steps += 1
        if steps > PATIENCE:
            return False
        if depth == count:
            for d in range(count):
                if chosen[d, 0] != order[d] or chosen[d, 1] != order[d]:
                    return False
            depth -= 1
            taken[0, chosen[depth, 0]], taken[1, chosen[depth, 1]] = False, False
            continue
        u, found = order[depth], False
        while pointer[depth] < count * count:
            v, w = order[pointer[depth] // count], order[pointer[depth] % count]
            pointer[depth] += 1
            if free[u, v, w] and not taken[0, v] and not taken[1, w]:
                chosen[depth, 0], chosen[depth, 1] = v, w
                taken[0, v], taken[1, w] = True, True
                found = True
                break
        if found:
            depth += 1
            pointer[depth] = 0
        else:
            depth -= 1
            if depth >= 0:
                taken[0, chosen[depth, 0]], taken[1, chosen[depth, 1]] = False, False
    return True


@njit(cache=True)
def _pairs(words: Ints) -> Bools:  # pragma: no cover
    """Which words get along two by two."""
    count = len(words)
    free, good = np.zeros((2, 2, 2), np.bool_), np.zeros((count, count), np.bool_)
    for a in range(count):
        for b in range(a):
            good[a, b] = good[b, a] = _is_strong(words[np.array([a, b])], free)
    return good


@njit(cache=True)
def _recreate(rng: np.random.Generator, words: Ints, good: Bools, held: Ints, most: int) -> Ints:  # pragma: no cover
    """Put rows in, in random order, as long as the puzzle stays strong and has at most ``most`` rows."""
    out, count = np.zeros(most, np.int64), len(held)
    out[:count] = held
    for word in rng.permutation(len(words)):
        if count == most:
            break
        fits = True
        for i in range(count):
            if not good[word, out[i]]:
                fits = False
                break
        if fits:
            out[count] = word
            free = np.zeros((count + 1, count + 1, count + 1), np.bool_)
            if _is_strong(words[out[: count + 1]], free):
                count += 1
    return out[:count]


def grow_puzzle(width: int, size: int, seconds: float = 60.0, seed: int = 0) -> list[str]:
    """The largest strong puzzle, of at most this size, that is found in time.

    Examples
    --------
    >>> len(grow_puzzle(3, 3, seconds=30))
    3
    """
    if not 1 <= width <= 8 or not 1 <= size <= 40:
        raise StlError("width, size", (width, size), "1 to 8 and 1 to 40")
    words = np.array(list(product(range(3), repeat=width)), dtype=np.int64)
    good, rng = _pairs(words), np.random.default_rng(seed)
    end = time.monotonic() + seconds
    best = here = _recreate(rng, words, good, np.zeros(0, np.int64), size)
    while len(best) < size and time.monotonic() < end:
        gone = int(rng.integers(1, 2 + len(here) // 3))
        found = _recreate(rng, words, good, rng.permutation(here)[gone:], size)
        if len(found) >= len(here) or rng.random() < 0.02:
            here = found
        if len(here) > len(best):
            best = here
    rows = ["".join(str(v + 1) for v in word) for word in words[np.sort(best)]]
    if not is_puzzle(rows):
        raise AssertionError("the growth and the verification disagree")
    return rows
