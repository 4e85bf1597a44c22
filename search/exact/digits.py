"""More digits than float64 for an isolated solution, and recognition of the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, isqrt
from typing import Any

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from .system import BrentSystem

__all__ = [
    "minimal_polynomial",
    "polynomial_text",
    "quadratic_field",
    "quadratic_from_digits",
    "rational_from_digits",
    "refine",
]

Array = NDArray[Any]
BITS = 320
SLACK = 48  # bits at the end of the fixed-point numbers that are not trusted


def refine(system: BrentSystem, theta: Array, exact: Sequence[Fraction | None], bits: int = BITS) -> list[int] | None:
    """Compute an isolated solution to ``bits`` binary digits.

    Newton with a float64 Jacobian that is factorised once and residuals in fixed-point integers: every
    step adds about ten decimal digits (iterative refinement).

    Parameters
    ----------
    system : BrentSystem
    theta : float array
        Solution to machine precision, isolated once the exact unknowns are held.
    exact : sequence of Fraction or None
        The unknowns held fixed.

    Returns
    -------
    list of int or None
        The unknowns times 2^bits; None when the iteration does not converge.
    """
    one = 1 << bits
    x = np.array(
        [
            _fixed(v, bits) if v is not None else _fixed(Fraction(t), bits)
            for v, t in zip(exact, theta.tolist(), strict=True)
        ],
        dtype=object,
    )
    idx = np.array([i for i, v in enumerate(exact) if v is None], dtype=np.int64)
    if not idx.size:
        return list(x)
    h, _, _ = system.normal_equations(theta, idx)
    try:
        factor = sl.cho_factor(h, check_finite=False)
    except sl.LinAlgError:
        return None
    goal = np.rint(system.target).astype(np.int64).astype(object) * one
    last = one
    for _ in range(bits // 16):
        u, v, w, scale = system.split(x)
        first = (scale[:, None] * u) // one
        pair = (v[:, :, None] * w[:, None, :]).reshape(system.rank, -1) // one
        res = goal - (first.T.dot(pair) // one).reshape(goal.shape)
        size = int(np.abs(res).max())
        if size < 1 << (SLACK // 2):
            return list(x)
        if size > last // 4:
            return None
        last = size
        shift = max(0, size.bit_length() - 60)
        small = (res // (1 << shift)).astype(np.float64) / 2.0**60
        down = system.descent(theta, small)[idx]
        move = sl.cho_solve(factor, down, check_finite=False)
        x[idx] += np.array([_fixed(Fraction(m), 60 + shift) for m in move.tolist()], dtype=object)
    return None


def _fixed(value: Fraction, bits: int) -> int:
    return round(value * (1 << bits))


def rational_from_digits(value: int, bits: int = BITS) -> Fraction | None:
    """Return the rational number with value = round(q · 2^bits), if its denominator is below 2^(bits/2 − slack).

    The denominator found must leave a gap of at least 2^SLACK to what a random real number would need.
    """
    guess = Fraction(value, 1 << bits).limit_denominator(1 << (bits // 2 - SLACK))
    close = abs(guess * (1 << bits) - value) < 1 << (SLACK - 8)
    return guess if close else None


def minimal_polynomial(value: int, bits: int = BITS, degree: int = 6) -> list[int] | None:
    """Return integer coefficients (constant first) of the polynomial of least degree that value/2^bits satisfies.

    Lattice reduction (LLL) of the powers of the number; accepted only when the coefficients are so small
    that chance is excluded by 2^SLACK.
    """
    from flint import fmpz_mat

    powers = [1 << bits]
    for n in range(1, degree + 1):
        powers.append(powers[-1] * value >> bits)
        size = n + 1
        keep = bits - SLACK
        rows = [[int(i == j) for j in range(size)] + [powers[i] >> (bits - keep)] for i in range(size)]
        reduced = fmpz_mat(rows).lll()
        first = [int(reduced[0, j]) for j in range(size)]
        weight = max(1, *(abs(v) for v in first)).bit_length()
        if first[-1] and abs(int(reduced[0, size])) < 1 << (weight + 16) and weight * size < keep - SLACK:
            common = gcd(*first) * (1 if first[-1] > 0 else -1)
            return [v // common for v in first]
    return None


def quadratic_field(coefficients: Sequence[int]) -> int:
    """Return the square-free d > 1 with the roots of a quadratic polynomial in Q(√d); 0 if there is none below 10⁶."""
    if len(coefficients) != 3:
        return 0
    c, b, a = coefficients
    d = b * b - 4 * a * c
    for s in range(2, min(isqrt(max(d, 0)), 10**4) + 1):
        while d % (s * s) == 0:
            d //= s * s
    return d if 1 < d <= 10**6 else 0


def quadratic_from_digits(value: int, d: int, bits: int = BITS) -> tuple[Fraction, Fraction] | None:
    """Return (p, q) with value/2^bits = p + q√d, found by LLL; None unless chance is excluded by 2^SLACK."""
    from flint import fmpz_mat

    keep = bits - SLACK
    numbers = [1 << keep, isqrt(d << (2 * keep)), value >> SLACK]
    reduced = fmpz_mat([[int(i == j) for j in range(3)] + [numbers[i]] for i in range(3)]).lll()
    p, q, r = (int(reduced[0, j]) for j in range(3))
    weight = max(1, abs(p), abs(q), abs(r)).bit_length()
    if r == 0 or abs(int(reduced[0, 3])) >= 1 << (weight + 16) or 3 * weight >= keep - SLACK:
        return None
    return Fraction(-p, r), Fraction(-q, r)


def polynomial_text(coefficients: Sequence[int]) -> str:
    """Return a polynomial as text, highest power first, e.g. ``x^2 - 3x + 1``."""
    out = ""
    for power in range(len(coefficients) - 1, -1, -1):
        c = coefficients[power]
        if c:
            body = "" if abs(c) == 1 and power else str(abs(c))
            body += "" if power == 0 else "x" if power == 1 else f"x^{power}"
            out += (" - " if c < 0 else " + ") + body if out else ("-" if c < 0 else "") + body
    return out or "0"
