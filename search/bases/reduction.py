"""Dropping terms: where the products of two factors of the terms are linearly dependent, one term is superfluous.

If x_l ⊗ w_l = Σ λ_i x_i ⊗ w_i over the other terms, then x_l ⊗ w_l ⊗ d_l is absorbed by d_i ← d_i + λ_i d_l, and the
rank falls by one; likewise for the other two pairs of factors. Flip-graph reductions are the case of a common factor.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError

__all__ = ["dependence", "reduced"]

Array = NDArray[Any]
PRIME = (1 << 61) - 1


def dependence(encoder: Encoder) -> tuple[int, int, dict[int, Fraction]] | None:
    """Find a term that one of its factors can be moved away from.

    Returns
    -------
    (slot, term, coefficients) or None
        The other two factors of the term are ``Σ coefficients[i] ·`` those of the terms i. None if the products of
        factors are independent for all three pairs, which is proven (their rank modulo a prime is full).

    Raises
    ------
    StlError
        For rings other than Z, Z[1/2], Q and GF(p).
    """
    from flint import fmpz_mat, nmod_mat

    base = encoder.ring
    if base.degree > 1 or not base.exact:
        raise StlError("ring", base.name, "Z, Z[1/2], Q or GF(p)")
    p = base.characteristic or PRIME
    r = encoder.rank
    terms = [np.asarray(f.num).astype(object) for f in encoder.factors]
    terms[2] = terms[2].T
    for slot in range(3):
        one, two = terms[(slot + 1) % 3], terms[(slot + 2) % 3]
        pair = (one[:, :, None] * two[:, None, :]).reshape(r, -1)
        echelon, rank = nmod_mat(pair.shape[1], r, [int(v) % p for v in pair.T.ravel()], p).rref()
        if rank == r:
            continue
        pivots = _leading(echelon, rank)
        term = next(l for l in range(r) if l not in pivots)
        if base.characteristic:
            values = [Fraction(int(echelon[k, term])) for k in range(rank)]
        else:
            chosen = pair[pivots]
            columns = _leading(nmod_mat(rank, pair.shape[1], [int(v) % p for v in chosen.ravel()], p).rref()[0], rank)
            square = fmpz_mat(rank, rank, [int(v) for v in chosen[:, columns].T.ravel()])
            solved = square.solve(fmpz_mat(rank, 1, [int(v) for v in pair[term, columns]]))
            values = [Fraction(int(solved[k, 0].p), int(solved[k, 0].q)) for k in range(rank)]
            if any(
                sum(v * c for v, c in zip(values, column, strict=True)) != goal
                for column, goal in zip(chosen.T, pair[term], strict=True)
            ):
                continue  # dependent modulo the prime only
        return slot, term, {pivots[k]: v for k, v in enumerate(values) if v}
    return None


def _leading(echelon: Any, rank: int) -> list[int]:
    """Columns of the leading entries of a matrix in reduced row echelon form."""
    out: list[int] = []
    column = 0
    for row in range(rank):
        while int(echelon[row, column]) == 0:
            column += 1
        out.append(column)
    return out


def reduced(encoder: Encoder) -> Encoder:
    """Return the encoder without superfluous terms (itself if there are none).

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> reduced(schemes.strassen().direct_sum(schemes.strassen(), "p")).rank
    14
    """
    now = encoder
    while (found := dependence(now)) is not None:
        slot, term, values = found
        factors: list[Any] = []
        for s, f in enumerate(now.factors):
            rows = np.asarray(f.num).astype(object)
            rows = rows.T if s == 2 else rows
            if s == slot:
                rows = rows.copy()
                for i, v in values.items():
                    rows[i] = rows[i] + v * rows[term]
            rows = np.delete(rows, term, axis=0)
            scaled = np.array([[Fraction(v) / f.den for v in row] for row in rows], dtype=object)
            factors.append(scaled.T if s == 2 else scaled)
        if now.ring.characteristic:
            factors = [np.array([[int(v) % now.ring.characteristic for v in row] for row in f]) for f in factors]
            ring = now.ring.name
        else:
            ring = "Q" if any(v.denominator != 1 for f in factors for v in f.ravel()) else "Z"
        now = Encoder.build(now.target, factors[0], factors[1], factors[2], ring=ring)
    if now is encoder:
        return encoder
    return now.with_origin(**{**encoder.origin, "stage": "reduced", "parents": [encoder.digest[:8]]})
