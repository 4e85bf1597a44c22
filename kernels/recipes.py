"""Fixed coefficients as text: a matrix written as its Kronecker factors, outermost first.

Three levels of Strassen are then 3 × (7×4) numbers instead of 343×64, and encoding costs 465 additions per 8×8 tile
where the dense product costs 21,952 multiply-adds. `kernels.triton.unrolled` turns a recipe into a kernel; a
`Codec` holds the recipes of its three factors.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from stl_algebra.errors import StlError

__all__ = ["Factor", "kronecker_factors", "operations", "parse", "recipe", "recipe_if_worth_it", "tile_of"]

Factor = tuple[int, int, int, tuple[float, ...]]
"""(s, rows, cols, coefficients): an s × (rows·cols) matrix, row-major."""

MAX_OPERATIONS = 6000  # beyond this many lines the compiler takes longer than anyone will wait


def operations(factors: list[Factor] | tuple[Factor, ...]) -> int:
    """Multiply-adds per tile when the factors are applied one by one."""
    total, outer = 0, 1
    for index, (s, _, _, values) in enumerate(factors):
        inner = int(np.prod([f[1] * f[2] for f in factors[index + 1 :]], initial=1))
        total += outer * int(np.count_nonzero(values)) * inner
        outer *= s
    return total


def kronecker_factors(matrix: np.ndarray, rows: int, cols: int) -> list[Factor]:
    """Split an s × (rows·cols) matrix into Kronecker factors acting on nested tiles, outermost first.

    A factor pair (s₁; n₁, m₁) ⊗ (s₂; n₂, m₂) satisfies
    ``M[l₁s₂+l₂, (i₁n₂+i₂)·cols + k₁m₂+k₂] = A[l₁, i₁m₁+k₁] · B[l₂, i₂m₂+k₂]``; it is found by testing the
    rearranged matrix for rank one (Van Loan and Pitsianis 1993). Returns ``[matrix]`` itself when none fits.
    """
    s = matrix.shape[0]
    for n1 in _divisors(rows):
        for m1 in _divisors(cols):
            if n1 * m1 in (1, rows * cols):
                continue
            n2, m2 = rows // n1, cols // m1
            for s1 in _divisors(s):
                if s1 in (1, s):
                    continue
                s2 = s // s1
                t = matrix.reshape(s1, s2, n1, n2, m1, m2).transpose(0, 2, 4, 1, 3, 5)
                t = t.reshape(s1 * n1 * m1, s2 * n2 * m2)
                top, left = np.unravel_index(int(np.abs(t).argmax()), t.shape)
                if t[top, left] == 0:
                    continue
                a, b = t[:, left], t[top] / t[top, left]
                if np.abs(np.outer(a, b) - t).max() <= 1e-13 * np.abs(t).max():
                    first: Factor = (s1, n1, m1, tuple(float(v) for v in a))
                    return [first, *kronecker_factors(b.reshape(s2, n2 * m2), n2, m2)]
    return [(s, rows, cols, tuple(float(v) for v in matrix.ravel()))]


def recipe(matrix: np.ndarray, rows: int, cols: int) -> str:
    """Serialise the Kronecker factors of a coefficient matrix; :func:`parse` reads it back."""
    return _serialise(kronecker_factors(np.asarray(matrix, dtype=np.float64), rows, cols))


def recipe_if_worth_it(matrix: np.ndarray, rows: int, cols: int) -> str:
    """The recipe, or "" where the dense kernel is the better choice: code too long, or a large dense factor."""
    factors = kronecker_factors(np.asarray(matrix, dtype=np.float64), rows, cols)
    heavy = any(len(v) > 4096 and np.count_nonzero(v) > 0.75 * len(v) for *_, v in factors)
    return "" if heavy or operations(factors) > MAX_OPERATIONS else _serialise(factors)


def _serialise(factors: list[Factor]) -> str:
    parts = []
    for s, n, m, values in factors:
        parts.append(f"{s},{n},{m}:" + " ".join(f"{int(v)}" if v == int(v) else repr(v) for v in values))
    return "|".join(parts)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> tuple[Factor, ...]:
    """Read a recipe. Raises StlError when it is malformed."""
    out = []
    try:
        for part in text.split("|"):
            head, body = part.split(":")
            s, n, m = (int(v) for v in head.split(","))
            values = tuple(float(v) for v in body.split())
            if len(values) != s * n * m:
                raise ValueError(f"{len(values)} coefficients for {s}x{n}x{m}")
            out.append((s, n, m, values))
    except ValueError as error:
        raise StlError("recipe", text, "factors 's,rows,cols:c c c' joined by '|'", str(error)) from error
    return tuple(out)


def _divisors(value: int) -> list[int]:
    return [v for v in range(1, value + 1) if value % v == 0]


def tile_of(factors: tuple[Factor, ...]) -> tuple[int, int, int]:
    """(channels, rows, columns) of the product of the factors."""
    return math.prod(f[0] for f in factors), math.prod(f[1] for f in factors), math.prod(f[2] for f in factors)
