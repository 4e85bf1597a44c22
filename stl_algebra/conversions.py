"""Moving encoders between rings: embeddings, reduction modulo p, floats.

Every map here is a ring homomorphism, so an identity that holds before holds after; what is no homomorphism
(lifting GF(p) to Z, rounding floats) is refused with a pointer to the search that does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import lcm
from typing import TYPE_CHECKING

import numpy as np

from .errors import StlError
from .rings import Array, Ring, ring

if TYPE_CHECKING:
    from .encoder import Encoder, Factor

__all__ = ["common_ring", "convert"]

_LADDER = ("Z", "Z[1/2]", "Q")


def common_ring(one: Ring, two: Ring) -> Ring:
    """The smallest ring both embed into.

    Raises
    ------
    StlError
        If none is known, e.g. for GF(2) and Q.

    Examples
    --------
    >>> from stl_algebra import ring
    >>> common_ring(ring("Z[1/2]"), ring("Q(i)")).name
    'Q(i)'
    """
    if one == two:
        return one
    if not one.exact or not two.exact:
        if one.embeds and two.embeds:
            return ring("C128") if one.is_complex or two.is_complex else ring("R64")
    elif one.characteristic == two.characteristic:
        for small, large in ((one, two), (two, one)):
            if small.characteristic and small.degree == 1:
                return large
            if small.name in _LADDER:
                if large.name in _LADDER:
                    return ring(max(one.name, two.name, key=_LADDER.index))
                return large
        m, n = one.conductor, two.conductor
        if m and n:
            return ring(f"Q(zeta_{lcm(m, n)})")
    elif "Z" in (one.name, two.name):
        return two if one.name == "Z" else one
    raise StlError("ring", (one.name, two.name), "two rings with a common extension", "Convert one with to_ring first.")


def convert(encoder: Encoder, goal: Ring) -> Encoder:
    """The encoder over another ring, by the homomorphism between the two.

    Raises
    ------
    StlError
        If there is none: denominators not invertible, f without a root modulo p, lifting from GF(p), floats to exact.
    """
    here = encoder.ring
    if here == goal:
        return encoder
    move = _homomorphism(encoder, here, goal)
    factors = [type(f).of(*move(f), goal) for f in encoder.factors]
    for f, name in zip(factors, ("e_x", "e_w", "d"), strict=True):
        if goal.exact and not goal.admits_denominator(f.den):
            raise StlError(f"denominator of {name}", f.den, f"one that {goal.name} has", "Use 'Q'.")
    origin = {"family": f"to {goal.name}", "parents": [encoder.digest[:8]]}
    return replace(encoder, ring=goal, e_x=factors[0], e_w=factors[1], d=factors[2], origin=origin)


def _homomorphism(encoder: Encoder, here: Ring, goal: Ring) -> Callable[[Factor], tuple[Array, int]]:
    if not goal.exact:
        if not here.embeds or (here.is_complex and goal.degree == 1):
            raise StlError("ring", here.name, "a ring that embeds into the reals", "Use 'C128' for complex encoders.")
        return lambda f: (_pairs(here.values(f.num, f.den)) if goal.degree == 2 else here.values(f.num, f.den), 1)
    if not here.exact:
        raise StlError("ring", here.name, "an exact ring", "Use search.exact to turn floats into exact numbers.")
    if here.characteristic:
        if goal.characteristic == here.characteristic and here.degree == 1:
            return lambda f: (_pad(f.num, goal.degree), 1)
        raise StlError(
            "ring", goal.name, f"an extension of {here.name}", "Lifting to Z is a search: use search.exact.hensel."
        )
    if here.is_border:
        raise StlError("ring", goal.name, f"{here.name} itself", "A border identity holds only up to powers of eps.")
    if goal.characteristic:
        p = goal.characteristic
        if any(f.den % p == 0 for f in encoder.factors):
            raise StlError("ring", goal.name, f"a characteristic that divides no denominator (here {p} does)")
        if here.degree == 1:
            return lambda f: (_pad(f.num, goal.degree), f.den)
        return lambda f: (_pad(_evaluate(f.num, _root_modulo(here, p), p), goal.degree), f.den)
    if here.degree == 1:
        return lambda f: (_pad(f.num, goal.degree), f.den)
    m, n = here.conductor, goal.conductor
    if m and n and n % m == 0:
        return lambda f: (_substitute(f.num, goal, n // m), f.den)
    if goal.degree == 1 and all(not (f.num[..., 1:] != 0).any() for f in encoder.factors):
        return lambda f: (f.num[..., 0], f.den)
    raise StlError("ring", goal.name, f"a ring that contains {here.name}")


def _pad(num: Array, degree: int) -> Array:
    if degree == 1:
        return num
    return np.concatenate([num[..., None], np.zeros((*num.shape, degree - 1), num.dtype)], axis=-1)


def _pairs(z: Array) -> Array:
    return np.stack([z.real, z.imag if np.iscomplexobj(z) else np.zeros_like(z)], axis=-1)


def _substitute(num: Array, goal: Ring, step: int) -> Array:
    """x ↦ y^step, reduced modulo the polynomial of the larger cyclotomic field."""
    k = goal.degree
    powers = np.zeros((num.shape[-1], k), dtype=object)
    element = np.zeros(k, dtype=object)
    element[0] = 1
    y = np.zeros(k, dtype=object)
    y[1] = 1
    for i in range(num.shape[-1]):
        powers[i] = element
        for _ in range(step):
            element = goal.multiply(element, y).astype(object)
    return num.astype(object) @ powers


def _root_modulo(base: Ring, p: int) -> int:
    import flint

    roots = [int(r) for r, _ in flint.nmod_poly(list(base.polynomial), p).roots()]
    if not roots:
        raise StlError(
            "ring", f"GF({p})", f"a prime modulo which {base.name} has a root", "Choose p ≡ 1 mod n for ζ_n."
        )
    return min(roots)


def _evaluate(num: Array, root: int, p: int) -> Array:
    powers = np.array([pow(root, i, p) for i in range(num.shape[-1])], dtype=object)
    return (num.astype(object) @ powers) % p
