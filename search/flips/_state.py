"""The arrays that a compiled walk works on (plain named tuples, which numba passes by value)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Mode(NamedTuple):
    """What stays fixed during a walk."""

    ternary: bool
    symmetric: bool
    reflect: bool
    bits: int
    apart: int  # 3 keeps the three positions in separate chains, 0 joins them


class State(NamedTuple):
    """Arrays of a walk. Slot 0 (and orbit 0) is unused, so that 0 can mean "none".

    The tables are unsigned 16-bit: compact, and known to be non-negative, which spares index checks.
    """

    fac: NDArray[np.uint64]  # factor of each slot, 0 if the orbit is dead
    keys: NDArray[np.uint64]  # name it is filed under (the same array without σ)
    sgn: NDArray[np.int64]  # sign of each orbit
    head: NDArray[np.uint16]  # first slot of each chain
    nxt: NDArray[np.uint16]  # next slot in the chain
    deg: NDArray[np.uint16]  # flip partners of each slot
    ent: NDArray[np.uint16]  # slots with partners
    pos: NDArray[np.uint16]  # place of a slot in ent
    free: NDArray[np.uint16]  # stack of dead orbits
    cnt: NDArray[np.int64]


class Group(NamedTuple):
    """The elements as tables: ``tab[g, s, byte, value]`` is the image of eight entries of slot s."""

    perm: NDArray[np.int64]
    tab: NDArray[np.uint64]
    mul: NDArray[np.int64]
    inv: NDArray[np.int64]
    still: NDArray[np.bool_]  # whether an element keeps all slots in place
    ternary: bool


class Box(NamedTuple):
    """Room to work in."""

    terms: NDArray[np.uint64]  # (3, 3)
    signs: NDArray[np.int64]  # (3,)
    image: NDArray[np.uint64]  # (3,)
    longest: NDArray[np.uint64]  # most entries of a factor


class Orbits(NamedTuple):
    """Representatives, their signs, stabilisers as bits, orbit sizes (0: no orbit here), and names of their factors."""

    fac: NDArray[np.uint64]
    sgn: NDArray[np.int64]
    stab: NDArray[np.uint64]
    size: NDArray[np.int64]
    keys: NDArray[np.uint64]
