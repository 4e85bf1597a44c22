"""Finds that are exact as they stand: vectors whose ratios are small numbers in the coordinates they were found in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, Ring
from stl_algebra import ring as ring_named
from stl_algebra.errors import StlError

from .solve import ring_of, third_factor

__all__ = ["as_it_stands"]

Array = NDArray[Any]
LARGEST = 8
TOLERANCE = 1e-7
#: Fields in which the entries of complex finds are looked for.
COMPLEX = ("Q(i)", "Q(zeta_3)")


def as_it_stands(find: Encoder) -> Encoder | None:
    """The exact encoder of a numerical one whose terms are rational up to scale in the coordinates it has.

    The vectors of E_X and E_W, divided by their largest entries, are read as fractions with denominators up to 8 (as
    elements p + qi or p + qζ₃ when they are complex); D follows by solving the Brent equations exactly. Finds under
    large monomial groups are often of this kind (⟨3,3,6;40⟩ has entries −1, 0, 1 in the coordinates of its group).

    Parameters
    ----------
    find : Encoder
        Over R64 or C128.

    Returns
    -------
    Encoder or None
        None when an entry is no such number, or the result fails the proof.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> as_it_stands(schemes.strassen().to_ring("R64"))
    Encoder⟨2,2,2;7⟩ over Z, exact, κ²=4
    """
    vectors = find.floats()[:2]
    units = []
    for f in vectors:
        top = np.take_along_axis(f, np.abs(f).argmax(axis=1)[:, None], axis=1)
        if not top.all():
            return None
        units.append(f / top)
    goal = find.target.dense(np.int64)
    for base in [None] if not find.ring.is_complex else [ring_named(name) for name in COMPLEX]:
        whole = [_integers(u, base) for u in units]
        if whole[0] is None or whole[1] is None:
            continue
        solved = third_factor(goal, whole[0], whole[1], base)
        if solved is None:
            continue
        try:
            encoder = Encoder.build(find.target, whole[0], whole[1], solved, ring=base or ring_of(solved[1]))
        except StlError:
            continue
        if encoder.is_exact:
            return encoder
    return None


def _integers(unit: Array, base: Ring | None) -> Array | None:
    """Return every vector times its common denominator, as integers (with two coefficients over a field)."""
    if base is None:
        table = unit[..., None]
    else:
        root = base.values(np.array([[0, 1]]), 1)[0]
        second = unit.imag / root.imag
        table = np.stack([unit.real - second * root.real, second], axis=-1)
    grids = np.stack([np.abs(table * q - np.rint(table * q)).max(axis=(1, 2)) for q in range(1, LARGEST + 1)])
    fits = grids < TOLERANCE * LARGEST
    if not fits.any(axis=0).all():
        return None
    whole = np.rint(table * (fits.argmax(axis=0) + 1)[:, None, None]).astype(np.int64)
    return whole if base is not None else whole[..., 0]
