"""One factor of an encoder: a matrix over a ring, in lowest terms and read-only."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from . import fields
from .errors import StlError
from .rings import Array, Ring, as_exact, fit

__all__ = ["Factor", "factor_of"]


@dataclass(frozen=True, eq=False)
class Factor:
    """A matrix over a ring: ``num / den``, num of shape (rows, columns) or (rows, columns, k)."""

    num: Array
    den: int = 1

    @classmethod
    def of(cls, num: Array, den: int, base: Ring) -> Factor:
        """Canonical form: lowest terms, residues reduced, read-only."""
        if not base.exact:
            num = np.asarray(num, dtype=np.float64)
        elif base.characteristic:
            if den % base.characteristic == 0:
                raise StlError("denominator", den, f"a unit of {base.name}", "Choose another prime.")
            num = base.reduce(np.asarray(num).astype(object) * pow(den, -1, base.characteristic))
            den = 1
        else:
            num = fit(np.asarray(num))
            if den != 1:
                g = gcd(den, int(np.gcd.reduce(num, axis=None)) if num.size else 0)
                num, den = fit(num // g), den // g
        num = np.ascontiguousarray(num)
        num.setflags(write=False)
        return cls(num, int(den))


def factor_of(value: Any, base: Ring, name: str) -> Factor:
    """Read a factor: exact numbers of any kind, a pair with a denominator, an array of a field, or floats over R64.

    Raises
    ------
    StlError
        Naming the factor, for what is no matrix over the ring.

    Examples
    --------
    >>> from stl_algebra.rings import ring
    >>> f = factor_of([["1/2", 1]], ring("Q"), "e_x")
    >>> f.num.tolist(), f.den
    ([[1, 2]], 2)
    """
    if isinstance(value, Factor):
        return Factor.of(value.num, value.den, base)
    if (field := fields.field_of(value)) is not None:
        if fields.ring_of(field) != base:
            raise StlError(name, f"an array over {fields.ring_of(field).name}", f"one over {base.name}")
        value = fields.coefficients(value)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], (int, np.integer)):
        num, den = as_exact(value[0], name)
        den *= int(value[1])
        if den <= 0:
            raise StlError(f"{name} denominator", den, "a positive integer")
    elif base.exact:
        num, den = as_exact(value, name)
    else:
        try:
            num, den = np.asarray(value), 1
            if np.iscomplexobj(num):
                if not base.is_complex:
                    raise StlError(name, "complex numbers", "real numbers", "Use ring='C128'.")
                num = np.stack([num.real, num.imag], axis=-1)
            num = num.astype(np.float64)
        except (TypeError, ValueError) as error:
            if isinstance(error, StlError):
                raise
            raise StlError(name, value, "a rectangular array of numbers") from error
        if not np.isfinite(num).all():
            bad = np.argwhere(~np.isfinite(num))[0].tolist()
            raise StlError(name, f"{num[tuple(bad)]} at {bad}", "finite numbers")
    if base.degree > 1 and num.ndim == 2:
        num = np.concatenate([num[..., None], np.zeros((*num.shape, base.degree - 1), num.dtype)], axis=-1)
    wanted = 2 if base.degree == 1 else 3
    if num.ndim != wanted or (wanted == 3 and num.shape[2] != base.degree):
        tail = f" × {base.degree} coefficients" if wanted == 3 else ""
        raise StlError(name, num.shape, f"a matrix{tail} over {base.name}")
    return Factor.of(num, den, base)
