"""Coefficient rings: one description serves them all.

Every ring here is R[x]/(f) with R one of Z, Z[1/2], Q, Z/p or the float64 numbers, and f monic with integer
coefficients. An element is its vector of coefficients on 1, x, …, x^(k−1); for k = 1 the coefficient axis is
dropped. So Q(i) is Q[x]/(x²+1), GF(4) is (Z/2)[x]/(x²+x+1), complex floats are R64[x]/(x²+1), and the
polynomials in ε up to order h, in which border-rank identities live, are Q[x]/(x^(h+1)).
"""

from __future__ import annotations

import cmath
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isqrt, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StlError

__all__ = ["Array", "Ring", "as_exact", "fit", "max_abs", "parse_polynomial", "ring", "spell"]

#: Arrays of numerators, float views: the element type varies (int64, Python integers, float64).
Array = NDArray[Any]

#: Largest characteristic: residues below 2^25 keep the float64 modular products of `identities` exact.
MAX_CHARACTERISTIC = 1 << 25
MAX_DEGREE = 64
#: Degree of number fields given by a polynomial, whose irreducibility is proven when the name is read.
MAX_FIELD_DEGREE = 32
#: Integer coefficients of f, which enter the structure constants.
MAX_COEFFICIENT = 1 << 30
ALLOWED = (
    "Z, Z[1/2], Q, Q(i), Q(zeta_n), Q(sqrt(d)), Q[x]/(f), GF(p), GF(p^k), GF(p)[x]/(f), Q[eps]/eps^k, R64 or C128, "
    f"with p < 2^25 and degree at most {MAX_DEGREE}"
)


@dataclass(frozen=True)
class Ring:
    """The ring R[x]/(f).

    Attributes
    ----------
    name : str
        Canonical name, e.g. ``"Q(sqrt(3))"``; `ring` parses it back.
    characteristic : int
        p for the rings over Z/p, else 0.
    polynomial : tuple of int
        Coefficients of the monic f, lowest first; ``(0, 1)`` (f = x) when the ring is R itself.
    denominators : str
        ``"none"`` (Z, Z/p and floats), ``"2"`` (powers of two) or ``"any"``.
    exact : bool
        False for R64 and C128, whose coefficients are float64.
    root : complex
        Image of x under the embedding into C that `Encoder.floats` uses (meaningless over Z/p and in Q[eps]).
    """

    name: str
    characteristic: int = 0
    polynomial: tuple[int, ...] = (0, 1)
    denominators: str = "none"
    exact: bool = True
    root: complex = 0j

    @property
    def degree(self) -> int:
        return len(self.polynomial) - 1

    @property
    def embeds(self) -> bool:
        """True if elements are (approximately) real or complex numbers, so that float views exist."""
        return self.characteristic == 0 and not self.is_border

    @property
    def is_border(self) -> bool:
        """True for the truncated polynomials Q[eps]/eps^(h+1), h > 0, in which identities hold up to powers of ε."""
        return self.degree > 1 and self.characteristic == 0 and not any(self.polynomial[:-1])

    @property
    def is_complex(self) -> bool:
        """True if the embedding `values` uses is not real, e.g. for Q(i) and Q(sqrt(-3))."""
        return self.degree > 1 and self.embeds and abs(self.root.imag) > 0

    @property
    def conductor(self) -> int:
        """n if the ring is Q(ζ_n) written on powers of ζ_n (1 for Z, Z[1/2] and Q, 4 for Q(i)), else 0."""
        if self.characteristic or not self.exact or self.is_border:
            return 0
        if self.degree == 1:
            return 1
        return 4 if self.name == "Q(i)" else int(self.name[7:-1]) if self.name.startswith("Q(zeta_") else 0

    @property
    def title(self) -> str:
        """The name, with the modulus where the name alone does not say it: ``GF(2^2) = GF(2)[x]/(x^2+x+1)``."""
        if self.characteristic and self.degree > 1 and "[x]" not in self.name:
            return f"{self.name} = GF({self.characteristic})[x]/({spell(self.polynomial)})"
        return self.name

    @property
    def structure(self) -> NDArray[np.int64]:
        """M, shape (k, k, k), with x^i · x^j = Σ_t M[i, j, t] x^t."""
        return _structure(self.polynomial)

    def admits_denominator(self, den: int) -> bool:
        if self.denominators == "any":
            return True
        return den == 1 or (self.denominators == "2" and den & (den - 1) == 0)

    def multiply(self, a: Array, b: Array) -> Array:
        """Elementwise product of two broadcastable arrays of ring elements (coefficient axis last if k > 1)."""
        k = self.degree
        if k == 1:
            return self.reduce(_times(a, b))
        parts = []
        for t in range(k):
            total = None
            for i, j in zip(*np.nonzero(self.structure[:, :, t]), strict=True):
                term = _times(_times(a[..., i], b[..., j]), self.structure[i, j, t])
                total = term if total is None else _plus(total, term)
            parts.append(total if total is not None else np.zeros(np.broadcast_shapes(a.shape, b.shape)[:-1], a.dtype))
        return self.reduce(np.stack(np.broadcast_arrays(*parts), axis=-1))

    def reduce(self, a: Array) -> Array:
        """Canonical representatives: residues 0 … p−1 over Z/p, unchanged otherwise."""
        if self.characteristic:
            a = a % self.characteristic
        return fit(a) if self.exact else a

    def values(self, num: Array, den: int) -> Array:
        """The embedded numbers num/den as float64 (or complex128 when the embedding is not real)."""
        if not self.embeds:
            raise StlError("ring", self.name, "a ring with real or complex values", "Lift the encoder to Z or Q first.")
        if den.bit_length() > 1000 or (num.dtype == object and max_abs(num).bit_length() > 1000):
            shape = num.shape
            f = np.array([float(Fraction(int(v), den)) for v in num.ravel()]).reshape(shape)
        else:
            f = num.astype(np.float64) / float(den)
        if self.degree == 1:
            return f
        powers = np.array([self.root**i for i in range(self.degree)])
        z = f @ powers
        return z if self.is_complex else z.real


@lru_cache(maxsize=256)
def _structure(f: tuple[int, ...]) -> NDArray[np.int64]:
    k = len(f) - 1
    power = np.zeros((2 * k - 1, k), dtype=object)
    power[:k] = np.eye(k, dtype=np.int64)
    for e in range(k, 2 * k - 1):
        carry = power[e - 1, -1]
        power[e, 1:] = power[e - 1, :-1]
        power[e] -= carry * np.array(f[:k], dtype=object)
    if power.size and int(np.abs(power).max()) >= 1 << 62:
        raise StlError("polynomial", spell(f), "one whose structure constants stay below 2^62")
    index = np.add.outer(np.arange(k), np.arange(k))
    result = power.astype(np.int64)[index]
    result.setflags(write=False)
    return result


def max_abs(a: Array) -> Any:
    """Largest absolute value of an array, 0 for an empty one (a Python int for integer arrays).

    Examples
    --------
    >>> max_abs(np.array([[-3, 2]]))
    3
    """
    if a.size == 0:
        return 0
    if a.dtype == object:
        return max(abs(int(v)) for v in a.ravel())
    if a.dtype.kind == "f":
        return float(np.abs(a).max())
    return max(int(a.max()), -int(a.min()))


def _times(a: Array, b: Array) -> Array:
    """Product that widens int64 to Python integers when it could overflow."""
    a, b = np.asarray(a), np.asarray(b)  # one index of a vector of Python integers is no array
    if a.dtype.kind == "i" and b.dtype.kind == "i" and int(max_abs(a)) * int(max_abs(b)) >= 2**62:
        a = a.astype(object)
    return np.asarray(a * b)


def _plus(a: Array, b: Array) -> Array:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "i" and b.dtype.kind == "i" and int(max_abs(a)) + int(max_abs(b)) >= 2**62:
        a = a.astype(object)
    return a + b


def fit(a: Array) -> Array:
    """int64 when every entry fits below 2^62, Python integers (dtype object) otherwise.

    The rule holds for int64 input too: |−2^63| overflows int64, which would make bounds computed from it negative.

    Examples
    --------
    >>> fit(np.array([1, 2], dtype=object)).dtype
    dtype('int64')
    """
    if a.dtype != object and a.dtype.kind not in "iub":
        return a
    wide = a.dtype.kind != "b" and int(max_abs(a)) >= 2**62
    return a.astype(object if wide else np.int64)


def as_exact(values: object, argument: str = "factor") -> tuple[Array, int]:
    """Numerators and least common denominator of nested ints, Fractions or "p/q" strings.

    Returns
    -------
    (num, den) : integer array of the same shape and a positive int.

    Raises
    ------
    StlError
        For entries that are neither integers nor fractions (floats are refused: they are not exact).

    Examples
    --------
    >>> as_exact([["1/2", 3]], "m")[1]
    2
    """
    allowed = "a rectangular array of integers, Fractions or 'p/q' strings"
    try:
        a = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise StlError(argument, values, allowed) from None
    if a.dtype.kind in "iub" or a.size == 0:
        return fit(a.astype(np.int64) if a.size == 0 else a), 1
    if a.dtype.kind == "f":
        a = np.array(values, dtype=object)  # NumPy reads a list with integers on both sides of 2^63 as floats
        if any(isinstance(v, float) for v in a.ravel().tolist()):
            raise StlError(argument, values, "integers, Fractions or 'p/q' strings", "Use ring='R64' for floats.")
    flat = a.ravel().tolist()
    if all(type(v) is int for v in flat):
        return fit(a), 1
    try:
        fractions = [_fraction(v) for v in flat]
    except (TypeError, ValueError, ZeroDivisionError):
        raise StlError(argument, values, allowed) from None
    den = lcm(*{v.denominator for v in fractions})
    num = np.empty(len(fractions), dtype=object)
    num[:] = [v.numerator * (den // v.denominator) for v in fractions]
    return fit(num.reshape(a.shape)), den


def _fraction(value: Any) -> Fraction:
    if isinstance(value, float):
        raise TypeError(value)
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d{1,4000}(/\d{1,4000})?\s*", value):
        raise ValueError(value)  # Fraction itself would expand "1e999999999"
    return Fraction(value)


_PATTERNS = (
    (re.compile(r"Q\(zeta_?(\d{1,9})\)"), lambda n: _cyclotomic(int(n))),
    (re.compile(r"Q\(sqrt\(?(-?\d{1,19})\)?\)"), lambda d: _quadratic(int(d))),
    (re.compile(r"GF\((\d{1,18})(?:\^(\d{1,9}))?\)"), lambda q, k: _finite(int(q), int(k or 1))),
    (re.compile(r"GF\((\d{1,9})\)\[x\]/\((.+)\)"), lambda p, f: _finite_quotient(int(p), f)),
    (re.compile(r"Q\[x\]/\((.+)\)"), lambda f: _number_field(f)),
    (re.compile(r"Q\[eps\]/eps\^(\d{1,9})"), lambda h: _truncated(int(h))),
)
_FIXED = {
    "Z": Ring("Z"),
    "Z[1/2]": Ring("Z[1/2]", denominators="2"),
    "Q": Ring("Q", denominators="any"),
    "Q(i)": Ring("Q(i)", polynomial=(1, 0, 1), denominators="any", root=1j),
    "R64": Ring("R64", exact=False),
    "C128": Ring("C128", polynomial=(1, 0, 1), exact=False, root=1j),
}


def ring(name: str | Ring) -> Ring:
    """The ring of that name.

    Parameters
    ----------
    name : str or Ring
        ``Z``, ``Z[1/2]``, ``Q``, ``Q(i)``, ``Q(zeta_n)``, ``Q(sqrt(d))`` for any d that is no square, number fields
        ``Q[x]/(x^3-2)`` for monic irreducible integer polynomials, ``GF(p)``, ``GF(p^k)`` (modulo the Conway
        polynomial), ``GF(p)[x]/(x^2+x+1)`` (modulo one's own), ``Q[eps]/eps^k`` or the numerical ``R64``, ``C128``.

    Raises
    ------
    StlError
        If the name means no ring, p^k is no prime power, √d is rational or f is reducible.

    Examples
    --------
    >>> ring("Q[x]/(x^2+1)").name, ring("Q(sqrt(1000003))").polynomial, ring("GF(4)").title
    ('Q(i)', (-1000003, 0, 1), 'GF(2^2) = GF(2)[x]/(x^2+x+1)')
    """
    if isinstance(name, Ring):
        return name
    if not isinstance(name, str):
        raise StlError("ring", name, ALLOWED)
    return _parse(name)


@lru_cache(maxsize=256)
def _parse(name: str) -> Ring:
    if name in _FIXED:
        return _FIXED[name]
    if len(name) < 400:
        for pattern, build in _PATTERNS:
            if match := pattern.fullmatch(name.replace(" ", "").replace("ζ", "zeta").replace("√", "sqrt")):
                return build(*match.groups())
    raise StlError("ring", name, ALLOWED)


def _cyclotomic(n: int) -> Ring:
    if not 1 <= n <= 1000:
        raise StlError("ring", f"Q(zeta_{n})", "1 <= n <= 1000")
    if n <= 2:
        return _FIXED["Q"]
    if n == 4:
        return _FIXED["Q(i)"]
    import flint

    f = tuple(int(c) for c in flint.fmpz_poly.cyclotomic(n).coeffs())
    if len(f) - 1 > MAX_DEGREE:
        raise StlError("ring", f"Q(zeta_{n})", f"degree at most {MAX_DEGREE}")
    return Ring(f"Q(zeta_{n})", polynomial=f, denominators="any", root=cmath.exp(2j * cmath.pi / n))


def _quadratic(d: int) -> Ring:
    if d == -1:
        return _FIXED["Q(i)"]
    if abs(d) >= 1 << 60 or (d >= 0 and isqrt(d) ** 2 == d):
        raise StlError("ring", f"Q(sqrt({d}))", "d no square, |d| < 2^60")
    return Ring(f"Q(sqrt({d}))", polynomial=(-d, 0, 1), denominators="any", root=cmath.sqrt(d))


def spell(polynomial: tuple[int, ...]) -> str:
    """The polynomial as text, highest power first, without spaces; `parse_polynomial` reads it back."""
    parts = []
    for e in range(len(polynomial) - 1, -1, -1):
        if c := polynomial[e]:
            power = "x" if e == 1 else f"x^{e}" if e else ""
            parts.append(f"{c:+d}" if not power else f"{'-' if c < 0 else '+'}{'' if abs(c) == 1 else abs(c)}{power}")
    return "".join(parts).removeprefix("+") or "0"


def parse_polynomial(text: str, degree: int = MAX_DEGREE) -> tuple[int, ...]:
    """Integer coefficients, lowest first, of ``x^3-2x+1`` and its like (``2*x`` and ``x**2`` too).

    Examples
    --------
    >>> parse_polynomial("x^2+1")
    (1, 0, 1)
    """
    plain = text.replace(" ", "").replace("**", "^").replace("*", "")
    terms = re.findall(r"([+-]?)(\d{0,10})(x?)(?:\^(\d{1,3}))?", plain)
    if "".join("".join((s, c, x, f"^{e}" if e else "")) for s, c, x, e in terms) != plain or not plain:
        raise StlError("polynomial", text, "a polynomial in x with integer coefficients such as x^3-2x+1")
    out = [0] * (degree + 1)
    for i, (sign, size, x, power) in enumerate(t for t in terms if t != ("", "", "", "")):
        e = int(power or 1) if x else 0
        if e > degree or (power and not x) or not (size or x) or (i and not sign):
            raise StlError("polynomial", text, f"signed terms of degree at most {degree}")
        out[e] += int(size or 1) * (-1 if sign == "-" else 1)
    while len(out) > 1 and not out[-1]:
        out.pop()
    return tuple(out)


def _number_field(text: str) -> Ring:
    f = parse_polynomial(text, MAX_FIELD_DEGREE)
    if len(f) < 2 or f[-1] != 1 or max(map(abs, f)) > MAX_COEFFICIENT:
        raise StlError("ring", f"Q[x]/({text})", f"a monic polynomial with coefficients up to {MAX_COEFFICIENT}")
    if len(f) == 2:
        return _FIXED["Q"]
    if len(f) == 3 and f[1] == 0:
        return _quadratic(-f[0])
    import flint

    _, factors = flint.fmpz_poly(list(f)).factor()
    if len(factors) != 1 or factors[0][1] != 1:
        raise StlError("ring", f"Q[x]/({spell(f)})", "an irreducible polynomial")
    _structure(f)  # refused here if the constants are too large
    return Ring(f"Q[x]/({spell(f)})", polynomial=f, denominators="any", root=_embedding(f))


def _embedding(f: tuple[int, ...]) -> complex:
    """The largest real root of f, or the root of largest imaginary part if none is real."""
    import flint

    found: list[Any] = flint.fmpz_poly(list(f)).complex_roots()
    roots = [complex(z[0]) for z in found]
    real = [z.real for z in roots if z.imag == 0]
    return complex(max(real)) if real else max(roots, key=lambda z: (z.imag, z.real))


def _truncated(h: int) -> Ring:
    if not 1 <= h <= MAX_DEGREE:
        raise StlError("ring", f"Q[eps]/eps^{h}", f"1 <= k <= {MAX_DEGREE}")
    return Ring(f"Q[eps]/eps^{h}", polynomial=(0,) * h + (1,), denominators="any")


def _prime_power(q: int) -> tuple[int, int]:
    """(p, e) with q = p^e, or (0, 0)."""
    p = next((s for s in range(2, isqrt(q) + 1) if q % s == 0), q)
    e, rest = 0, q
    while rest % p == 0:
        rest, e = rest // p, e + 1
    return (p, e) if rest == 1 else (0, 0)


def _finite(q: int, k: int) -> Ring:
    name = f"GF({q}^{k})" if k > 1 else f"GF({q})"
    if not 2 <= q < MAX_CHARACTERISTIC or not 1 <= k <= MAX_DEGREE:
        raise StlError("ring", name, "a prime power p^k with p < 2^25")
    p, e = _prime_power(q)
    if not p:
        raise StlError("ring", name, "a prime power p^k")
    k *= e
    if k == 1:
        return Ring(f"GF({p})", characteristic=p)
    if k > MAX_DEGREE:
        raise StlError("ring", name, f"degree at most {MAX_DEGREE}")
    f = _conway(p, k)
    if f is None:
        raise StlError("ring", name, "a field whose Conway polynomial is tabulated",
                       "Take a smaller p or k, or give the modulus: GF(p)[x]/(f).")  # fmt: skip
    return Ring(f"GF({p}^{k})", characteristic=p, polynomial=f)


def _conway(p: int, k: int) -> tuple[int, ...] | None:
    import galois

    try:
        return tuple(int(c) for c in galois.conway_poly(p, k).coeffs[::-1])
    except LookupError:
        return None


def _finite_quotient(p: int, text: str) -> Ring:
    """GF(p)[x]/(f); the field GF(p^k) if f is the Conway polynomial, so that one ring has one name."""
    base = _finite(p, 1)
    f = tuple(c % p for c in parse_polynomial(text))
    if base.degree > 1 or len(f) < 2 or f[-1] != 1:
        raise StlError("ring", f"GF({p})[x]/({text})", "a prime p and a monic polynomial")
    if len(f) == 2:
        return base
    import flint

    _, factors = flint.nmod_poly(list(f), p).factor()
    if len(factors) != 1 or factors[0][1] != 1:
        raise StlError("ring", f"GF({p})[x]/({text})", f"a polynomial irreducible modulo {p}")
    if f == _conway(p, len(f) - 1):
        return _finite(p, len(f) - 1)
    return Ring(f"GF({p})[x]/({spell(f)})", characteristic=p, polynomial=f)
