"""Numbers of other people's files in bulk: every *different* spelling is parsed once, the rest is table look-up.

A scheme of ten thousand coefficients has a handful of different ones, so exact rationals with one common denominator
cost hardly more than integers, and no object is made for a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import lcm, prod
from typing import Any

import numpy as np

from ..rings import Array, Ring, fit, ring
from .source import CURE, Source

__all__ = ["Numbers", "exact", "numbers", "smallest_ring", "table"]

#: Numerators and their common denominator.
Numbers = tuple[Array, int]
_NUMBER = re.compile(
    r"[({]?\s*([+-]?)\s*([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?\s*(?:/\s*([0-9]+))?\s*[)}]?", re.ASCII
)
NEEDED = "an integer, a fraction 'p/q' or a decimal number"


def exact(source: Source, value: Any, where: str = "coefficient") -> Fraction:
    """One number exactly: int, float (the dyadic number it is), or text such as ``-3``, ``2/3``, ``0.5``, ``1e-3``."""
    if type(value) is int:
        if value.bit_length() > 3.33 * source.budget.digits:
            source.refuse(where, f"{value.bit_length()} bits", f"at most {source.budget.digits} digits", CURE)
        return Fraction(value)
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            source.refuse(where, value, "finite numbers")
        return Fraction(float(value))
    if not isinstance(value, str):
        source.refuse(where, value, NEEDED)
    if len(value) > 2 * source.budget.digits + 8:
        source.refuse(where, f"{len(value)} characters", f"at most {source.budget.digits} digits", CURE)
    match = _NUMBER.fullmatch(value.strip())
    if not match or not (match[2] or match[3]):
        source.refuse(where, value, NEEDED)
    sign, whole, decimals, exponent, below = match.groups()
    decimals = decimals or ""
    power = int(exponent or 0)
    digits = len(whole) + len(decimals) + abs(power)
    if max(digits, len(below or "")) > source.budget.digits:
        source.refuse(where, f"{max(digits, len(below or ''))} digits", f"at most {source.budget.digits} digits", CURE)
    if below is not None and not int(below):
        source.refuse(where, value, "a denominator other than 0")
    top = int((whole + decimals) or 0) * (-1 if sign == "-" else 1)
    shift = power - len(decimals)
    return Fraction(top * 10 ** max(shift, 0), int(below or 1) * 10 ** max(-shift, 0))


def numbers(source: Source, values: Sequence[Any] | Iterable[Any], where: str = "coefficient") -> Numbers:
    """Numerators (one axis) and common denominator of many numbers.

    Raises
    ------
    EncoderFileError
        For what is no number, or different numbers of more digits together than the budget allows.
    """
    flat = values if isinstance(values, list) else list(values)
    kinds = set(map(type, flat))
    if not kinds <= {int, str, float}:
        bad = next(v for v in flat if type(v) not in (int, str, float))
        source.refuse(where, bad, NEEDED)
    if kinds == {int} and flat and min(flat) > -(2**62) and max(flat) < 2**62:
        return np.array(flat, dtype=np.int64), 1
    parsed: dict[Any, Fraction] = {}
    spent = 0
    for spelling in set(flat):
        value = parsed[spelling] = exact(source, spelling, where)
        spent += (value.numerator.bit_length() + value.denominator.bit_length()) // 3
        if spent > source.budget.digits_total:
            source.refuse(where, f"different numbers of {spent} digits together",
                          f"at most {source.budget.digits_total}", CURE)  # fmt: skip
    den = lcm(*{v.denominator for v in parsed.values()})
    scaled = {k: v.numerator * (den // v.denominator) for k, v in parsed.items()}
    if sum(v.bit_length() for v in scaled.values()) > 40 * source.budget.digits_total:
        source.refuse(where, f"a common denominator of {den.bit_length()} bits", "simpler fractions", CURE)
    if max((abs(v) for v in scaled.values()), default=0) < 2**62:
        return np.fromiter(map(scaled.__getitem__, flat), dtype=np.int64, count=len(flat)), den
    out = np.empty(len(flat), dtype=object)
    out[:] = [scaled[v] for v in flat]
    return out, den


def table(source: Source, rows: Any, shape: tuple[int, ...], where: str) -> Numbers:
    """Numbers in nested lists of a known shape (rows, columns) or (rows, columns, k).

    Over a ring of degree k an entry may be a bare number, and shorter lists are filled with zeros.
    """
    source.spend(prod(shape), where)
    if not isinstance(rows, list) or len(rows) != shape[0]:
        source.refuse(where, f"{len(rows)} rows" if isinstance(rows, list) else type(rows).__name__, f"{shape[0]} rows")
    flat: list[Any] = []
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != shape[1]:
            found = f"{len(row)} entries" if isinstance(row, list) else type(row).__name__
            source.refuse(f"{where}[{i}]", found, f"a list of {shape[1]} entries")
        flat += row
    if len(shape) == 3:
        parts: list[Any] = []
        k = shape[2]
        for i, cell in enumerate(flat):
            inner = cell if isinstance(cell, list) else [cell]
            if not 1 <= len(inner) <= k:
                source.refuse(f"{where}[{i // shape[1]}][{i % shape[1]}]", cell, f"{k} coefficients")
            parts += inner
            parts += [0] * (k - len(inner))
        flat = parts
    num, den = numbers(source, flat, where)
    return fit(num.reshape(shape)), den


def smallest_ring(parts: Sequence[Numbers]) -> Ring:
    """Z, Z[1/2] or Q: the first that has all the coefficients."""
    den = prod(d for _, d in parts)
    return ring("Z" if den == 1 else "Z[1/2]" if den & (den - 1) == 0 else "Q")
