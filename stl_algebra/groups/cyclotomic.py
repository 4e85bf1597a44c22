"""Exact arrays of cyclotomic numbers: integer coefficients on the power basis of ζ_n, one common denominator.

The number with coefficients ``c`` is ``Σ_k c[k] ζ_n^k / den`` with ``ζ_n = exp(2πi/n)`` and ``k < φ(n)``; it is
unique because 1, ζ_n, …, ζ_n^(φ(n)-1) is a basis of Q(ζ_n) (and of Z[ζ_n] over Z).  This is the same trailing
coefficient axis that encoder factors over cyclotomic rings carry.

Exactness: every product is preceded by a bound.  Below 2^53 matrix products run as float64 BLAS calls (every
partial sum is an integer that float64 holds exactly), below 2^62 as int64, and otherwise on Python integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from math import gcd, isqrt, lcm
from typing import Any

import numpy as np

from stl_algebra.errors import StlError

__all__ = ["Cyclotomic", "cyclotomic_polynomial", "format_number", "totient"]

IntArray = np.ndarray[Any, np.dtype[Any]]


def prime_factors(n: int) -> list[int]:
    """Distinct prime factors of n ≥ 1, increasing.

    Examples
    --------
    >>> prime_factors(360)
    [2, 3, 5]
    """
    out, q = [], 2
    while q * q <= n:
        if n % q == 0:
            out.append(q)
            while n % q == 0:
                n //= q
        q += 1
    return [*out, n] if n > 1 else out


def totient(n: int) -> int:
    """Euler's φ(n), the degree of Q(ζ_n) over Q.

    Examples
    --------
    >>> totient(12)
    4
    """
    for q in prime_factors(n):
        n -= n // q
    return n


@cache
def cyclotomic_polynomial(n: int) -> tuple[int, ...]:
    """Coefficients of Φ_n, constant term first, length φ(n) + 1.

    Examples
    --------
    >>> cyclotomic_polynomial(6)
    (1, -1, 1)
    """
    numerator = [-1] + [0] * (n - 1) + [1]
    for d in range(1, n):
        if n % d == 0:
            divisor, quotient = cyclotomic_polynomial(d), []
            for top in range(len(numerator) - 1, len(divisor) - 2, -1):
                lead = numerator[top]  # divisors are monic
                quotient.append(lead)
                for i, c in enumerate(divisor):
                    numerator[top - len(divisor) + 1 + i] -= lead * c
            numerator = quotient[::-1]
    return tuple(numerator)


@cache
def power_basis(n: int) -> IntArray:
    """Row k holds the coefficients of ζ_n^k on the power basis; shape (n, φ(n)), int64, read-only."""
    phi = cyclotomic_polynomial(n)
    rows = np.zeros((n, len(phi) - 1), dtype=np.int64)
    row = np.array([1] + [0] * (len(phi) - 2), dtype=np.int64)
    for k in range(n):
        rows[k] = row
        carry, row = row[-1], np.concatenate([[0], row[:-1]])
        row = row - carry * np.array(phi[:-1], dtype=np.int64)
    rows.setflags(write=False)
    return rows


def _size(a: IntArray) -> int:
    return int(np.abs(a).max()) if a.size else 0


def _exact_matmul(a: IntArray, b: IntArray) -> IntArray:
    """a @ b over the integers; chooses float64, int64 or Python integers by the bound on partial sums."""
    bound = _size(a) * _size(b) * a.shape[-1]
    if bound < 2**53 and a.dtype != object and b.dtype != object:
        return np.rint(a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    if bound < 2**62 and a.dtype != object and b.dtype != object:
        return a @ b
    return np.matmul(a.astype(object), b.astype(object))


@dataclass(frozen=True, eq=False)
class Cyclotomic:
    """Array of numbers of Q(ζ_n), n = `conductor`.

    Parameters
    ----------
    num : int array, shape (*shape, φ(conductor))
        Numerators on the power basis of ζ_n.
    conductor : int
    den : int
        Common denominator, positive.

    Examples
    --------
    >>> Cyclotomic.rational([1, 2]).shape
    (2,)
    """

    num: IntArray
    conductor: int = 1
    den: int = 1

    def __post_init__(self) -> None:
        num = np.asarray(self.num)
        if num.ndim == 0 or num.shape[-1] != totient(self.conductor):
            raise StlError("num", num.shape, f"a trailing axis of length φ({self.conductor})")
        if self.den != 1 and num.size:
            common = int(np.gcd.reduce(num, axis=None))
            common = gcd(common, self.den)
            if common > 1:
                num = num // common
                object.__setattr__(self, "den", self.den // common)
        if num.dtype == object and _size(num) < 2**62:
            num = num.astype(np.int64)
        object.__setattr__(self, "num", num)

    # -- making ---------------------------------------------------------------------------------------------
    @classmethod
    def rational(cls, values: Any) -> Cyclotomic:
        """Array of integers or Fractions as an array over Q(ζ_1) = Q."""
        array = np.asarray(values)
        if array.dtype != object:
            return cls(array.astype(np.int64)[..., None])
        flat = [Fraction(v) for v in array.ravel()]
        den = lcm(1, *(v.denominator for v in flat))
        num = np.array([int(v * den) for v in flat], dtype=object).reshape(array.shape)
        return cls(num[..., None], 1, den)

    @classmethod
    def roots_of_unity(cls, exponents: IntArray, n: int) -> Cyclotomic:
        """ζ_n^exponents, elementwise."""
        return cls(power_basis(n)[np.asarray(exponents) % n], n)

    @classmethod
    def from_counts(cls, counts: IntArray, n: int, den: int = 1) -> Cyclotomic:
        """Σ_k counts[..., k] ζ_n^k / den for k < n (redundant coefficients, reduced modulo Φ_n)."""
        return cls(_exact_matmul(np.asarray(counts), power_basis(n)), n, den)

    # -- shape ----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of numbers (without the coefficient axis)."""
        return tuple(self.num.shape[:-1])

    @property
    def ndim(self) -> int:
        return self.num.ndim - 1

    def __len__(self) -> int:
        return int(self.num.shape[0])

    def __getitem__(self, key: Any) -> Cyclotomic:
        keys = key if isinstance(key, tuple) else (key,)
        if not any(k is Ellipsis for k in keys):  # `in` would compare arrays
            keys = (*keys, Ellipsis)
        return Cyclotomic(self.num[(*keys, slice(None))], self.conductor, self.den)

    def reshape(self, *shape: int) -> Cyclotomic:
        return Cyclotomic(self.num.reshape(*shape, self.num.shape[-1]), self.conductor, self.den)

    def transpose(self, *axes: int) -> Cyclotomic:
        """Permute the array axes (the coefficient axis stays last); default reverses them."""
        order = axes or tuple(range(self.ndim))[::-1]
        order = tuple(a % self.ndim for a in order)
        return Cyclotomic(self.num.transpose(*order, self.ndim), self.conductor, self.den)

    @property
    def mT(self) -> Cyclotomic:
        """Swap the last two array axes."""
        return Cyclotomic(np.swapaxes(self.num, -2, -3), self.conductor, self.den)

    def sum(self, axis: int | tuple[int, ...]) -> Cyclotomic:
        axes = axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(a % self.ndim for a in axes)
        return Cyclotomic(self.num.sum(axis=axes), self.conductor, self.den)

    # -- fields ---------------------------------------------------------------------------------------------
    def lift(self, conductor: int) -> Cyclotomic:
        """The same numbers inside the larger field Q(ζ_conductor)."""
        if conductor == self.conductor:
            return self
        if conductor % self.conductor:
            raise StlError("conductor", conductor, f"a multiple of {self.conductor}")
        step = conductor // self.conductor
        rows = power_basis(conductor)[np.arange(self.num.shape[-1]) * step % conductor]
        return Cyclotomic(_exact_matmul(self.num, rows), conductor, self.den)

    def minimal(self) -> Cyclotomic:
        """The same numbers over the smallest cyclotomic field that holds them all."""
        current = self
        for q in prime_factors(self.conductor):
            while current.conductor % q == 0:
                smaller = current._descend(q)
                if smaller is None:
                    break
                current = smaller
        return current

    def _descend(self, q: int) -> Cyclotomic | None:
        m = self.conductor // q
        if m % q == 0:  # Φ_n(x) = Φ_m(x^q): the subfield is spanned by every q-th power
            keep = np.zeros(self.num.shape[-1], dtype=bool)
            keep[::q] = True
            return None if np.any(self.num[..., ~keep]) else Cyclotomic(self.num[..., keep], m, self.den)
        # ζ_n = ζ_m^u ζ_q^v; split by the power of ζ_q, whose only relation is that all q powers sum to 0
        u, v = (pow(q, -1, m) if m > 1 else 0), pow(m, -1, q)
        exponents = np.arange(self.num.shape[-1])
        parts = []
        for j in range(q):
            mine = (exponents * v) % q == j
            rows = power_basis(m)[exponents[mine] * u % m]
            parts.append(_exact_matmul(self.num[..., mine], rows) if mine.any() else 0)
        if any(np.any(part != parts[1]) for part in parts[2:]):
            return None
        return Cyclotomic(np.asarray(parts[0] - parts[1] + np.zeros((*self.shape, totient(m)), int)), m, self.den)

    def galois(self, k: int) -> Cyclotomic:
        """Image under the automorphism ζ_n ↦ ζ_n^k (k prime to n)."""
        if gcd(k, self.conductor) != 1:
            raise StlError("k", k, f"an exponent prime to {self.conductor}")
        rows = power_basis(self.conductor)[np.arange(self.num.shape[-1]) * k % self.conductor]
        return Cyclotomic(_exact_matmul(self.num, rows), self.conductor, self.den)

    def conj(self) -> Cyclotomic:
        """Complex conjugate."""
        return self.galois(-1)

    @property
    def is_real(self) -> bool:
        return self == self.conj()

    @property
    def is_rational(self) -> bool:
        return self.minimal().conductor == 1

    def real_imag(self) -> tuple[Cyclotomic, Cyclotomic]:
        """Exact real and imaginary parts, in the real subfield of Q(ζ_lcm(4, n))."""
        wide = self.lift(lcm(4, self.conductor))
        bar = wide.conj()
        minus_i = Cyclotomic.roots_of_unity(np.array(3 * wide.conductor // 4), wide.conductor)
        return (wide + bar) / 2, ((wide - bar) * minus_i) / 2

    # -- arithmetic -----------------------------------------------------------------------------------------
    def _coerce(self, other: Any) -> tuple[Cyclotomic, Cyclotomic]:
        if not isinstance(other, Cyclotomic):
            other = Cyclotomic.rational(np.asarray(other, dtype=object) if isinstance(other, Fraction) else other)
        n = lcm(self.conductor, other.conductor)
        return self.lift(n), other.lift(n)

    def _scaled(self, factor: int) -> IntArray:
        num = self.num
        if factor != 1 and num.dtype != object and _size(num) * abs(factor) >= 2**61:
            num = num.astype(object)
        return num * factor

    def __add__(self, other: Any) -> Cyclotomic:
        a, b = self._coerce(other)
        den = lcm(a.den, b.den)
        return Cyclotomic(a._scaled(den // a.den) + b._scaled(den // b.den), a.conductor, den)

    def __radd__(self, other: Any) -> Cyclotomic:
        return self + other

    def __neg__(self) -> Cyclotomic:
        return Cyclotomic(-self.num, self.conductor, self.den)

    def __sub__(self, other: Any) -> Cyclotomic:
        a, b = self._coerce(other)
        return a + (-b)

    def __mul__(self, other: Any) -> Cyclotomic:
        a, b = self._coerce(other)
        x, y = a.num, b.num
        width = x.shape[-1]
        if x.dtype == object or y.dtype == object or _size(x) * _size(y) * width >= 2**62:
            x, y = x.astype(object), y.astype(object)
        shape = np.broadcast_shapes(x.shape[:-1], y.shape[:-1])
        acc = np.zeros((*shape, 2 * width - 1), dtype=x.dtype)
        for k in range(width):
            acc[..., k : k + width] += x[..., k : k + 1] * y
        return a._folded(acc, a.den * b.den)

    def __rmul__(self, other: Any) -> Cyclotomic:
        return self * other

    def __truediv__(self, other: int) -> Cyclotomic:
        sign = -1 if other < 0 else 1
        return Cyclotomic(self.num * sign, self.conductor, self.den * abs(other))

    def __matmul__(self, other: Cyclotomic) -> Cyclotomic:
        """Matrix product over the last two array axes, broadcasting the others; exact."""
        a, b = self._coerce(other)
        x, y = a.num, b.num
        width, inner, last = x.shape[-1], x.shape[-2], y.shape[-2]
        bound = _size(x) * _size(y) * inner * width
        dtype: Any = np.float64 if bound < 2**53 else np.int64 if bound < 2**62 else object
        if x.dtype == object or y.dtype == object:
            dtype = object
        x, y = x.astype(dtype), y.astype(dtype)
        flat = y.reshape(*y.shape[:-2], last * width)
        shape = np.broadcast_shapes(x.shape[:-3], y.shape[:-3])
        acc = np.zeros((*shape, x.shape[-3], last, 2 * width - 1), dtype=dtype)
        for k in range(width):
            part = np.matmul(np.ascontiguousarray(x[..., k]), flat)
            acc[..., k : k + width] += part.reshape(*part.shape[:-1], last, width)
        if dtype is np.float64:
            acc = np.rint(acc).astype(np.int64)
        return a._folded(acc, a.den * b.den)

    def _folded(self, acc: IntArray, den: int) -> Cyclotomic:
        rows = power_basis(self.conductor)[np.arange(acc.shape[-1]) % self.conductor]
        return Cyclotomic(_exact_matmul(acc, rows), self.conductor, den)

    def equals(self, other: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Elementwise exact equality."""
        diff = self - other
        return np.asarray(np.all(diff.num == 0, axis=-1))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cyclotomic | int | Fraction | np.ndarray):
            return NotImplemented
        return bool(np.all(self.equals(other)))

    __hash__ = None  # type: ignore[assignment]

    # -- views ----------------------------------------------------------------------------------------------
    def complex(self) -> np.ndarray[Any, np.dtype[np.complex128]]:
        """complex128 view; rounding errors of a few ulp times φ(n)."""
        zeta = np.exp(2j * np.pi * np.arange(self.num.shape[-1]) / self.conductor)
        return np.asarray((self.num.astype(np.float64) @ zeta) / self.den)

    def modulo(self, p: int, root: int) -> IntArray:
        """Image in GF(p) under ζ_n ↦ `root`, an element of multiplicative order n; p must not divide `den`."""
        if self.den % p == 0:
            raise StlError("p", p, f"a prime that does not divide the denominator {self.den}")
        powers = np.array([pow(root, k, p) for k in range(self.num.shape[-1])], dtype=np.int64)
        out = np.zeros(self.shape, dtype=np.int64)
        for k, w in enumerate(powers):  # term by term: each product stays below p² < 2^62
            out = (out + (self.num[..., k] % p).astype(np.int64) * w) % p
        return out * pow(self.den, -1, p) % p

    def fractions(self) -> Any:
        """Object array of Fractions; refuses numbers that are not rational."""
        small = self.minimal()
        if small.conductor != 1:
            raise StlError("self", self, "rational numbers", "Use .complex() or .num for the cyclotomic ones.")
        flat = [Fraction(int(v), small.den) for v in small.num.ravel()]
        out = np.empty(len(flat), dtype=object)
        out[:] = flat
        return out.reshape(self.shape)

    def companion(self) -> IntArray:
        """Integer matrices of multiplication by each numerator: shape (*shape, φ, φ), columns are images."""
        width = self.num.shape[-1]
        index = np.add.outer(np.arange(width), np.arange(width)) % self.conductor
        basis = power_basis(self.conductor)[index]  # (k, j, i): ζ^k ζ^j on ζ^i
        out = _exact_matmul(self.num, basis.reshape(width, width * width))
        return np.swapaxes(out.reshape(*self.shape, width, width), -1, -2)

    def __str__(self) -> str:
        if self.ndim == 0:
            return format_number(self)
        return "[" + ", ".join(str(self[i]) for i in range(len(self))) + "]"

    def __repr__(self) -> str:
        below = f", denominator {self.den}" if self.den > 1 else ""
        return f"Cyclotomic{self.shape} over Q(ζ_{self.conductor}){below}"


_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _term(coefficient: Fraction, symbol: str, first: bool) -> str:
    sign = "-" if coefficient < 0 else "" if first else "+"
    size = abs(coefficient)
    return sign + (symbol if size == 1 and symbol else f"{size}{symbol}")


def _squarefree(n: int) -> tuple[int, int]:
    root = 1
    for q in range(isqrt(abs(n)), 1, -1):
        if n % (q * q) == 0:
            root, n = q, n // (q * q)
            break
    return root, n


def format_number(value: Cyclotomic) -> str:
    """One number as people write it: ``-1``, ``2i``, ``(1+√5)/2``, ``ζ7+ζ7²``; always exact.

    Examples
    --------
    >>> format_number(Cyclotomic.rational(3))
    '3'
    """
    return _formatted(tuple(int(c) for c in value.num), value.conductor, value.den)


@lru_cache(maxsize=4096)  # tables repeat few values many times
def _formatted(num: tuple[int, ...], conductor: int, den: int) -> str:
    z = Cyclotomic(np.array(num, dtype=object), conductor, den).minimal()
    if z.conductor == 1:
        return str(Fraction(int(z.num[0]), z.den))
    units = [k for k in range(1, z.conductor) if gcd(k, z.conductor) == 1]
    others = [w for w in (z.galois(k) for k in units) if w != z]
    if all(w == others[0] for w in others[1:]):  # quadratic over Q: (a + √disc)/2 or (a - √disc)/2
        trace, square = (z + others[0]).fractions()[()], ((z - others[0]) * (z - others[0])).fractions()[()]
        root, free = _squarefree(square.numerator * square.denominator)
        half = Fraction(root, 2 * square.denominator)
        if abs(((trace / 2) + float(half) * complex(free) ** 0.5) - complex(z.complex())) > 1e-6:
            half = -half
        symbol = "i" if free == -1 else f"i√{-free}" if free < 0 else f"√{free}"
        den = lcm((trace / 2).denominator, half.denominator)
        a, b = trace / 2 * den, half * den
        body = (str(a) if a else "") + _term(b, symbol, a == 0)
        return body if den == 1 else f"({body})/{den}" if a else f"{body}/{den}"
    body = ""
    for k, c in enumerate(z.num):
        if c:
            raised = str(k).translate(_SUPERSCRIPTS) if k > 1 else ""
            power = f"ζ{z.conductor}{raised}" if k else ""
            body += _term(Fraction(int(c)), power, not body)
    return body if z.den == 1 else f"({body})/{z.den}"


def stack(values: Sequence[Cyclotomic]) -> Cyclotomic:
    """Stack arrays of equal shape along a new first axis, over the common field."""
    n = lcm(*(v.conductor for v in values))
    den = lcm(*(v.den for v in values))
    return Cyclotomic(np.stack([v.lift(n)._scaled(den // v.den) for v in values]), n, den)
