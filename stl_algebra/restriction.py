"""Restriction of scalars: an encoder over a number field as one over Q."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .encoder import Encoder, Factor
from .errors import StlError
from .rings import Ring, ring
from .schemes import toom_cook
from .targets import field_product, product_target

__all__ = ["restrict_scalars"]


def restrict_scalars(encoder: Encoder) -> Encoder:
    """Weil restriction: an encoder over K = Q[x]/(f) of degree k as one over Q, for the same map on K-vectors.

    A vector over K becomes k times as long (coefficient index fastest), the target becomes the tensor product with
    the multiplication of K, and every product in K costs 2k − 1 rational ones (Toom–Cook; three for Q(i)). The
    result is exact exactly when the encoder is, which makes it an independent proof of identities over K.

    Raises
    ------
    StlError
        If the encoder's ring is no number field.
    """
    base = encoder.ring
    k = base.degree
    if k == 1 or base.characteristic or not base.exact:
        raise StlError("ring", base.name, "a number field of degree at least 2")
    scheme = toom_cook(k, k)
    reduction = _reduction(base)
    goal = product_target(encoder.target, field_product(base.name))
    steps = base.structure
    out = []
    for axis, f in enumerate(encoder.factors):
        terms = (np.swapaxes(f.num, 0, 1) if axis == 2 else f.num).astype(object)
        # multiplication by the coefficient, as a k×k matrix acting on coordinates: coef·x^j = Σ_t … x^t
        mats = np.einsum("lai,ijt->latj", terms, steps.astype(object))
        inner = scheme.factors[axis]
        small = inner.num.astype(object)
        if axis < 2:
            num = np.einsum("qt,latj->lqaj", small, mats)
        else:
            num = np.einsum("latj,jq->lqat", mats, reduction.astype(object) @ small)
        rows = num.reshape(encoder.rank * scheme.rank, -1)
        out.append(((rows.T if axis == 2 else rows), f.den * inner.den))
    factors = [Factor.of(num, den, ring("Q")) for num, den in out]
    origin = {"family": "restrict_scalars", "parents": [encoder.digest[:8]]}
    return Encoder(goal, ring("Q"), factors[0], factors[1], factors[2], origin)


def _reduction(base: Ring) -> NDArray[np.int64]:
    """(k, 2k−1): coefficients of a product polynomial reduced modulo f."""
    k = base.degree
    red = np.zeros((k, 2 * k - 1), dtype=np.int64)
    for e in range(2 * k - 1):
        i = min(e, k - 1)
        red[:, e] = base.structure[i, e - i]
    return red
