"""Exact linear algebra over cyclotomic fields.

A d×d matrix over Q(ζ_n) is a dφ(n)×dφ(n) integer matrix over a denominator (companion embedding), which python-flint
inverts exactly.  Which rows and columns to use is decided modulo a prime; the result is checked exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import Cyclotomic
from stl_algebra.groups.modular import prime_congruent_one, rank_profile, root_of_unity

__all__ = ["inverse", "nullspace", "row_basis", "solve"]

IntArray = np.ndarray[Any, np.dtype[Any]]


def _modular(matrix: Cyclotomic) -> tuple[IntArray, int]:
    """Image modulo a prime that splits in the field and does not divide the denominator."""
    above = 2**20
    while True:
        p = prime_congruent_one(matrix.conductor, above)
        if matrix.den % p:
            return matrix.modulo(p, root_of_unity(matrix.conductor, p)), p
        above = p


def inverse(matrix: Cyclotomic) -> Cyclotomic:
    """Exact inverse of a (d, d) matrix; `StlError` when it is singular."""
    import flint

    d = len(matrix)
    if matrix.shape != (d, d):
        raise StlError("matrix", matrix.shape, "a square matrix")
    width = matrix.num.shape[-1]
    blocks = matrix.companion().transpose(0, 2, 1, 3).reshape(d * width, d * width)
    try:
        solved: Any = flint.fmpz_mat(d * width, d * width, [int(v) for v in blocks.ravel()]).inv()
    except ZeroDivisionError as problem:
        raise StlError("matrix", matrix, "an invertible matrix") from problem
    num, den = solved.numer_denom()
    table = np.array([[int(v) for v in row] for row in num.tolist()], dtype=object).reshape(d, width, d, width)
    return Cyclotomic(table[:, :, :, 0].transpose(0, 2, 1) * matrix.den, matrix.conductor, int(den))


def row_basis(matrix: Cyclotomic) -> list[int]:
    """Indices of the first maximal set of linearly independent rows.

    Decided modulo one prime above 2^20; independence found there is certain, and dependence is wrong only if the prime
    divides a minor, which `solve` would then notice.
    """
    image, p = _modular(matrix)
    return rank_profile(image, p)


def solve(basis: Cyclotomic, rows: Cyclotomic) -> Cyclotomic:
    """Coefficients X with X · basis = rows, for independent rows of `basis`; refuses rows outside their span."""
    columns = row_basis(basis.transpose())
    square = basis[:, np.array(columns)] if columns else basis[:, :0]
    if len(columns) != len(basis):
        raise StlError("basis", f"rank {len(columns)}", f"{len(basis)} independent rows")
    out = rows[:, np.array(columns)] @ inverse(square)
    if not (out @ basis) == rows:
        raise StlError("rows", rows, "rows in the span of the basis")
    return out


def nullspace(matrix: Cyclotomic) -> Cyclotomic:
    """Rows v that span {v : matrix · v = 0}, shape (nullity, columns); exact."""
    rows = row_basis(matrix)
    count = matrix.shape[1]
    if not rows:
        return Cyclotomic.rational(np.eye(count, dtype=np.int64))
    part = matrix[np.array(rows)]
    pivots = row_basis(part.transpose())
    free = [c for c in range(count) if c not in set(pivots)]
    if not free:
        return Cyclotomic(np.zeros((0, count, matrix.num.shape[-1]), dtype=np.int64), matrix.conductor)
    answer = -(inverse(part[:, np.array(pivots)]) @ part[:, np.array(free)])
    num = np.zeros((len(free), count, answer.num.shape[-1]), dtype=answer.num.dtype)
    num[:, pivots] = np.swapaxes(answer.num, 0, 1)
    num[np.arange(len(free)), free, 0] = answer.den
    out = Cyclotomic(num, answer.conductor, answer.den)
    if np.any((matrix @ out.mT).num):
        raise StlError("matrix", matrix, "a matrix whose rank survives modulo the test prime")
    return out
