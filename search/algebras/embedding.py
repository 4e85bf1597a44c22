"""Encoders from group algebras: index maps in, an algorithm of the algebra between, a reading of its coefficients out.

    E_X = (transform at α),   E_W = (transform at β),   D = (reading) · (transform back).

Exact for subsets with the triple product property (`triple`), and for several products at once with the simultaneous
one (`simultaneous`; Cohn, Kleinberg, Szegedy and Umans 2005): those have a sum of products as their target, or, where
their formats fit, one longer product ⟨n, m+m′, p⟩. Every other pair of maps gives the best approximation that reads
coefficients of the group algebra (`search.algebras.indexmaps`).

Over Z₂^a all characters are ±1: the encoder is a Walsh–Hadamard transform, every term has the same size, and for s
products of equal volume κ² = s·(volume of all)/r, while κ² ≥ (volume of all)/r holds for every exact encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, Ring, StlError
from stl_algebra.encoder import Factor
from stl_algebra.rings import as_exact
from stl_algebra.targets import Target, direct_sum_target, matmul

from .indexmaps import Collisions, Ints, collisions, triple_maps
from .wedderburn import algebra

__all__ = ["embedded", "joined", "simultaneous", "simultaneous_collisions", "triple"]

Triple = tuple[Sequence[int], Sequence[int], Sequence[int]]


def embedded(of: Encoder, alpha: Ints, beta: Ints, reading: NDArray[Any], goal: Target) -> Encoder:
    """An encoder of ``goal`` through an algorithm of a group algebra.

    Parameters
    ----------
    of : Encoder
        With target ``group:NAME`` (`search.algebras.wedderburn.algebra`).
    alpha, beta : int arrays (a,) and (b,) of group elements, any shape of these sizes
    reading : array (c, |G|) of integers or Fractions
    goal : Target of shape (a, b, c)
    """
    base = of.ring
    x, w = of.e_x.num[:, np.ravel(alpha)], of.e_w.num[:, np.ravel(beta)]
    if base.exact:
        num, den = as_exact(reading, "reading")
        d = np.tensordot(num.astype(object), of.d.num.astype(object), axes=([1], [0]))
        factors = [(x, of.e_x.den), (w, of.e_w.den), (d, den * of.d.den)]
        base = _ring_of(base, factors)
    else:
        d = np.tensordot(np.asarray(reading, dtype=float), of.d.num, axes=([1], [0]))
        factors = [(x, 1), (w, 1), (d, 1)]
    e_x, e_w, back = (Factor.of(v, den, base) for v, den in factors)
    return Encoder(goal, base, e_x, e_w, back)


def _ring_of(base: Ring, factors: Sequence[tuple[Any, int]]) -> Ring:
    """Q if a reading brings denominators that Z and Z[1/2] do not have."""
    from stl_algebra import ring

    dens = [Factor.of(num, den, ring("Q")).den if base.degree == 1 else 1 for num, den in factors]
    return base if all(base.admits_denominator(v) for v in dens) else ring("Q")


def triple(name: str, s: Sequence[int], t: Sequence[int], u: Sequence[int], field: str = "real") -> Encoder:
    """The encoder of ⟨|S|, |T|, |U|⟩ from subsets of a group: a_st ↦ s⁻¹t, b_tu ↦ t⁻¹u, c_su is read at s⁻¹u.

    Exact if and only if S, T, U have the triple product property; otherwise the best approximation by these maps.

    Examples
    --------
    >>> from stl_algebra import groups
    >>> (s, t, u), = groups.realised_formats(groups.group("S3")).values()
    >>> triple("S3", s, t, u).label, triple("S3", s, t, u).is_exact
    ('⟨2,2,2;9⟩', True)
    """
    return simultaneous(name, [(s, t, u)], field)


def simultaneous_collisions(name: str, triples: Sequence[Triple]) -> tuple[Ints, Ints, Collisions, Target]:
    """Index maps of several products into one group, one after another, and what falls where."""
    from stl_algebra import group

    g = group(name)
    table, inverse = np.asarray(g.table, np.int64), np.asarray(g.inverse, np.int64)
    if not triples:
        raise StlError("triples", triples, "at least one triple of subsets")
    maps = [triple_maps(table, inverse, *v) for v in triples]
    parts = [collisions(a, b, table) for a, b in maps]
    alpha = np.concatenate([a.ravel() for a, _ in maps])
    beta = np.concatenate([b.ravel() for _, b in maps])
    total = np.bincount(table[alpha[:, None], beta[None, :]].ravel(), minlength=len(table))
    whole = Collisions(total, np.concatenate([v.hits for v in parts]), sum(v.volume for v in parts))
    goal = direct_sum_target([matmul(*a.shape, b.shape[1]) for a, b in maps])
    return alpha, beta, whole, goal


def simultaneous(name: str, triples: Sequence[Triple], field: str = "real") -> Encoder:
    """The encoder of several independent products from triples of subsets of one group.

    Exact if and only if the triples have the simultaneous triple product property.

    Returns
    -------
    Encoder
        With target ``matmul:…`` for one triple, ``matmul:…+matmul:…`` for several.
    """
    alpha, beta, found, goal = simultaneous_collisions(name, triples)
    return embedded(algebra(name, field), alpha, beta, found.reading, goal)


def joined(encoder: Encoder) -> Encoder:
    """One product ⟨n, m+m′+…, p⟩ from an encoder of several products ⟨n, m, p⟩, ⟨n, m′, p⟩, …: C = A₁B₁ + A₂B₂ + ….

    Raises
    ------
    StlError
        If the encoder's target is no sum of matrix products with the same n and p.
    """
    formats = [f for part in encoder.target.parts if (f := part.format)]
    if len(formats) != len(encoder.target.parts) or len({(n, p) for n, _, p in formats}) != 1:
        raise StlError("encoder", encoder.label, "a sum of products with the same n and p")
    n, _, p = formats[0]
    m = sum(f[1] for f in formats)
    columns, at = [], 0
    for _, width, _ in formats:  # where entry (i, k) of the long A comes from: block after block
        columns.append(at + np.arange(n * width).reshape(n, width))
        at += n * width
    order = np.concatenate(columns, axis=1).ravel()
    e_x, e_w, d = encoder.factors
    blocks = d.num.reshape(len(formats), n * p, *d.num.shape[1:]).sum(axis=0)
    long = [Factor.of(num, f.den, encoder.ring) for num, f in ((e_x.num[:, order], e_x), (e_w.num, e_w), (blocks, d))]
    origin = {"family": "joined", "parents": [encoder.digest[:8]]}
    return Encoder(matmul(n, m, p), encoder.ring, long[0], long[1], long[2], origin)
