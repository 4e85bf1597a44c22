"""Small exact-matrix helpers behind `Encoder`: tiles as matrices, widening products, inverses."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import StlError
from .rings import Array, Ring, as_exact, fit, max_abs


def sides(axis: int) -> tuple[int, int]:
    """Which two of (n, m, p) are the rows and columns of A, B and C."""
    return ((0, 1), (1, 2), (0, 2))[axis]


def tile_shape(fmt: tuple[int, int, int], axis: int) -> tuple[int, int]:
    s, t = sides(axis)
    return fmt[s], fmt[t]


def axis_of(name: str) -> int:
    if name not in ("n", "m", "p"):
        raise StlError("axis", name, "'n', 'm' or 'p'")
    return "nmp".index(name)


def term_first(num: Array, axis: int) -> Array:
    """(r, entries, …) from a factor, and back: only D stores the terms second."""
    return np.swapaxes(num, 0, 1) if axis == 2 else num


def flip_tile(num: Array, shape: tuple[int, int]) -> Array:
    tiles = num.reshape(num.shape[0], *shape, *num.shape[2:])
    return np.swapaxes(tiles, 1, 2).reshape(num.shape)


def scale(num: Array, by: int) -> Array:
    return num if by == 1 else fit(num.astype(object) * by)


def contract(x: Array, mat: Array, axis: int) -> Array:
    """Σ_i x[…, i, …] mat[i, j] at the given axis, widening integers that could overflow."""
    if x.dtype.kind == "i" and int(max_abs(x)) * int(max_abs(mat)) * len(mat) >= 2**62:
        x = x.astype(object)
    return np.moveaxis(np.tensordot(x, mat, axes=([axis], [0])), -1, axis)


def square(value: Any, base: Ring, name: str, size: int) -> tuple[Array, int]:
    if base.exact:
        num, den = as_exact(value, name)
    else:
        try:
            num, den = np.asarray(value, dtype=np.float64), 1
        except (TypeError, ValueError):
            raise StlError(name, value, "a matrix of real numbers") from None
        if not np.isfinite(num).all():
            raise StlError(name, value, "finite numbers")
    if num.shape != (size, size):
        raise StlError(name, num.shape, f"a {size}×{size} matrix")
    return num, den


def inverse(mat: tuple[Array, int], base: Ring, name: str) -> tuple[Array, int]:
    """Exact inverse (numerators, denominator) over Q, modulo p, or in float64."""
    num, den = mat
    singular = StlError(name, num.tolist(), "an invertible matrix")
    if not base.exact:
        try:
            return np.linalg.inv(num), 1
        except np.linalg.LinAlgError:
            raise singular from None
    import flint

    rows = [[int(v) for v in row] for row in num]
    try:
        if base.characteristic:
            scale = pow(den, -1, base.characteristic)
            inv = flint.nmod_mat(
                [[v * scale % base.characteristic for v in row] for row in rows], base.characteristic
            ).inv()
            return fit(np.array([[int(v) for v in row] for row in inv.tolist()], dtype=object)), 1
        top, bottom = (flint.fmpq_mat(flint.fmpz_mat(rows)).inv() * den).numer_denom()
    except (ZeroDivisionError, ValueError):
        raise singular from None
    return fit(np.array([[int(v) for v in row] for row in top.tolist()], dtype=object)), int(bottom)
