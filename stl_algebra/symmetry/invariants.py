"""Numbers that a change of basis and a rescaling of vectors leave alone, modulo a prime.

For terms l with factor matrices U_l (n×m), V_l (m×p) and W_l (p×n) (W the transpose of the tile of D), the
isotropy group acts by ``U ↦ S_n U S_m⁻¹``, ``V ↦ S_m V S_p⁻¹``, ``W ↦ S_p W S_n⁻¹``. The traces
``K[a,b,c] = tr(U_a V_b W_c)`` are invariant up to the scales s_a t_b u_c of the vectors, and since
s_l t_l u_l = 1 products such as ``K[a,b,b] K[b,a,a]`` and ``K[a,b,c] K[b,c,a] K[c,a,b]`` are invariant
outright. They colour the terms and the ordered pairs of terms; an isotropy that maps one encoder to another
must respect the colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.encoder import Encoder
from stl_algebra.errors import StlError

__all__ = [
    "OUTER_TYPES",
    "FactorMatrices",
    "factor_matrices",
    "pair_colours",
    "prime_view",
    "rank_triples",
    "trace_tensor",
    "twist",
]

Array = NDArray[Any]
FactorMatrices = tuple[Array, Array, Array]
#: Primes below 2²⁵, congruent to 1 modulo 24 · 5 · 7, so that the common number fields reduce modulo them.
PRIMES = (33550441, 33549601, 33547081, 33545401)
#: (rotations, transposed): the six ways to permute the three factors of the trace form.
OUTER_TYPES = tuple((k, t) for t in (False, True) for k in range(3))


def prime_view(encoder: Encoder, skip: int = 0) -> tuple[Encoder, int]:
    """Return the encoder reduced modulo a prime (its own characteristic if it has one) and that prime.

    Parameters
    ----------
    encoder : Encoder
    skip : int
        How many usable primes to pass over (for a second, independent computation).

    Raises
    ------
    StlError
        For floating-point rings, fields GF(p^k) and rings that reduce modulo none of the primes tried.
    """
    base = encoder.ring
    if base.characteristic and base.degree == 1:
        return encoder, base.characteristic
    if base.exact and base.embeds:
        for p in PRIMES:
            try:
                view = encoder.to_ring(f"GF({p})")
            except StlError:
                continue
            if skip == 0:
                return view, p
            skip -= 1
    raise StlError("ring", base.name, "Z, Z[1/2], Q, a number field or GF(p)", "Rationalise a numerical encoder first.")


def factor_matrices(encoder: Encoder) -> FactorMatrices:
    """Return U (r,n,m), V (r,m,p), W (r,p,n) as residues of an encoder over GF(p)."""
    n, m, p = encoder.format
    r = encoder.rank
    return (
        encoder.e_x.num.reshape(r, n, m).astype(np.int64),
        encoder.e_w.num.reshape(r, m, p).astype(np.int64),
        np.ascontiguousarray(encoder.d.num.T.reshape(r, n, p).swapaxes(1, 2)).astype(np.int64),
    )


def twist(mats: FactorMatrices, kind: tuple[int, bool]) -> FactorMatrices:
    """Rotate the roles of the factors ``kind[0]`` times after an optional transposition (U,V,W) ↦ (Wᵀ,Vᵀ,Uᵀ)."""
    u, v, w = mats
    if kind[1]:
        u, v, w = w.swapaxes(1, 2), v.swapaxes(1, 2), u.swapaxes(1, 2)
    for _ in range(kind[0]):
        u, v, w = v, w, u
    return u, v, w


def trace_tensor(mats: FactorMatrices, p: int) -> Array:
    """Return K[a,b,c] = tr(U_a V_b W_c) modulo p, (r, r, r)."""
    u, v, w = mats
    r, n, m = u.shape
    k = v.shape[2]
    uv = (u.reshape(r * n, m) @ v.transpose(1, 0, 2).reshape(m, -1)) % p  # (a i, b k)
    uv = uv.reshape(r, n, r, k).swapaxes(1, 2).reshape(r * r, n * k)
    out: Array = (uv @ w.swapaxes(1, 2).reshape(r, n * k).T % p).reshape(r, r, r)
    return out


def mix(values: Array) -> Array:
    """Return a well-spread 64-bit hash of integers, elementwise (splitmix64)."""
    x = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def pair_colours(mats: FactorMatrices, p: int) -> Array:
    """Return a 64-bit colour for every ordered pair of terms, equal for corresponding pairs, (r, r)."""
    k = trace_tensor(mats, p)
    r = len(k)
    with np.errstate(over="ignore"):
        abb, bab, bba = (np.einsum(s, k) for s in ("abb->ab", "bab->ab", "bba->ab"))
        colour = np.zeros((r, r), dtype=np.uint64)
        for one, two in ((abb, abb.T), (bab, bab.T), (bba, bba.T)):
            colour = mix(colour * np.uint64(3) + (one * two % p).astype(np.uint64))
        for one in (abb, bab, bba):
            colour = mix(colour * np.uint64(5) + 2 * (one != 0).astype(np.uint64) + (one.T != 0).astype(np.uint64))
        loop = (k * k.transpose(2, 0, 1) % p) * k.transpose(1, 2, 0) % p  # K[abc] K[cab] K[bca]
        for axes in ((0, 1, 2), (0, 2, 1)):
            item = mix(loop.transpose(axes).astype(np.uint64) * np.uint64(2) + (k.transpose(axes) != 0))
            colour = mix(colour * np.uint64(7) + item.sum(axis=2, dtype=np.uint64))
        third = mix(
            (k.transpose(0, 2, 1) != 0).astype(np.uint64)
            + 2 * (k.transpose(2, 0, 1) != 0)
            + 4 * (k.transpose(1, 2, 0) != 0)
        )
        return mix(colour * np.uint64(11) + third.sum(axis=2, dtype=np.uint64))


def rank_triples(encoder: Encoder) -> Array:
    """Return the ranks of the three factor matrices of every term, int array (r, 3).

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> rank_triples(schemes.strassen())[0].tolist()
    [2, 2, 2]
    """
    view, p = prime_view(encoder)
    return np.array([[_rank(m, p) for m in triple] for triple in zip(*factor_matrices(view), strict=True)])


def _rank(matrix: Array, p: int) -> int:
    from stl_algebra.groups.modular import row_reduce

    return len(row_reduce(matrix % p, p)[1])
