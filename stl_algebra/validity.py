"""Where an identity holds that is not an identity everywhere: modulo which primes, over which rings."""

from __future__ import annotations

from math import gcd, lcm, prod
from typing import TYPE_CHECKING

import numpy as np

from ._threads import one_blas_thread
from .errors import StlError
from .identities import _block, _bound, _integers, _residues, _step, _symmetrised

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = ["residual_gcd", "rings_where_valid", "scaled_denominator"]


@one_blas_thread
def residual_gcd(encoder: Encoder) -> int:
    """g = gcd of all entries of den·(T̂ − T) over Z or Q, den the common denominator (0: the identity holds).

    The identity holds modulo m, for m prime to den, iff m divides g. Needs |T̂| below 2^53 in the integers of the
    numerators.
    """
    base = encoder.ring
    if base.characteristic or not base.exact or base.degree > 1:
        raise StlError("ring", base.name, "Z, Z[1/2] or Q")
    x, w, d, scale = _integers(encoder, encoder.target)
    if _bound(x, w, d, base) + scale >= 2**52:
        raise StlError("encoder", encoder.label, "coefficients whose Brent sums stay below 2^52")
    goal, g = encoder.target, 0
    parts = (_residues(x, 0, np.float64), _residues(w, 0, np.float64), _residues(d, 0, np.float64))
    step = goal.shape[0] if goal.quadratic else _step(x, w, d)
    hi = 0
    while hi < goal.shape[0]:  # one slice first: of a scheme that is simply wrong it tells all
        lo, hi = hi, min(goal.shape[0], hi + (step if hi or goal.quadratic else 1))
        block = _block(parts, base, 0, np.float64, lo, hi)
        at = goal.index[inside := (goal.index[:, 0] >= lo) & (goal.index[:, 0] < hi)]
        block[0, at[:, 2], at[:, 0] - lo, at[:, 1]] -= scale * goal.value[inside]
        if goal.quadratic:
            block = _symmetrised(block)
        g = gcd(g, int(np.gcd.reduce(block.astype(np.int64), axis=None)))
        if g == 1:
            break
    return g


def scaled_denominator(encoder: Encoder) -> int:
    """Least common denominator of the terms u_l ⊗ v_l ⊗ w_l over Q: 1 if moving constants between the three makes
    every coefficient an integer (½·u ⊗ v ⊗ 2w is a term over Z)."""
    den = prod(f.den for f in encoder.factors)
    if den == 1:
        return 1
    contents = [np.gcd.reduce(np.asarray(a), axis=1) if a.shape[1] else np.zeros(len(a), dtype=np.int64)
                for a in (encoder.e_x.num, encoder.e_w.num, encoder.d.num.T)]  # fmt: skip
    out = 1
    for content in zip(*contents, strict=True):
        out = lcm(out, den // gcd(den, prod(int(v) for v in content)))
    return out


def rings_where_valid(encoder: Encoder, primes: tuple[int, ...] = (2, 3, 5, 7, 11, 13)) -> list[str]:
    """Names of the rings in which the algorithm is exact: its own and the prime fields it can be reduced to.

    Over Z and Q, constants may be moved between the factors of a term. For a scheme that fails over Z or Q this
    finds "valid modulo 2 only" and its like (from `residual_gcd`); primes that divide a denominator are never among
    them, since there the coefficients mean nothing.
    """
    base = encoder.ring
    if not base.exact:
        return []
    names = [base.name] if encoder.is_exact else []
    if base.characteristic or base.is_border:
        return names
    if base.degree > 1:
        den = prod(f.den for f in encoder.factors)
        return names + [f"GF({p})" for p in primes if names and den % p and _has_root(base.polynomial, p)]
    if names:
        den = scaled_denominator(encoder)
        wider = ["Z"] if den == 1 and base.name != "Z" else []
        return names + wider + [f"GF({p})" for p in primes if den % p]
    den, g = prod(f.den for f in encoder.factors), residual_gcd(encoder)
    while (common := gcd(g, den)) > 1:
        g //= common
    fields = [f"GF({p})" for p in primes if g % p == 0]
    return fields if g in primes or g <= 1 else [*fields, f"Z/{g}"]


def _has_root(f: tuple[int, ...], p: int) -> bool:
    return any(sum(c * pow(v, e, p) for e, c in enumerate(f)) % p == 0 for v in range(p))
