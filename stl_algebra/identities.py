"""Proving bilinear identities: the Brent equations, exactly, in blocked matrix products.

T̂ − T has abc entries, each a sum over r terms. Written as a matrix product, D · (rows E_X[l,a]·E_W[l,b]), it costs
one BLAS call per block, and it is *exact* in floating point for this reason:

    every partial sum, in whatever order, is an integer of absolute value at most
        S = max_c Σ_l |D[c,l]| · max_a |E_X[l,a]| · max_b |E_W[l,b]|,
    and all integers up to 2^24 (float32) or 2^53 (float64) are floating-point numbers, so no operation rounds.

When S is larger, the same products are taken modulo several primes, small enough for the argument to hold for
residues, until the product of the primes exceeds twice the largest possible |T̂ − T|: zero modulo all of them is then
zero (Chinese remainder theorem). Nothing is ever decided by a tolerance. BLAS runs on one thread meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isqrt, prod
from typing import TYPE_CHECKING

import numpy as np

from ._threads import one_blas_thread
from .errors import StlError
from .rings import Array, Ring, max_abs
from .targets import MAX_QUADRATIC, Target, target

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = ["Equation", "Report", "proof_work", "verify"]

#: Bytes of one block of products; keeps ⟨16,16,16⟩ and larger in bounded memory.
BLOCK_BYTES = 1 << 26
#: Bits of S beyond which a proof is refused: about 5000 primes.
MAX_BOUND_BITS = 1 << 17
#: Products r·a·b of schemes that are proven in one matrix product.
SMALL = 1 << 17
SHOWN = 5


@dataclass(frozen=True)
class Equation:
    """One Brent equation that fails: its place (a, b, c), what the encoder gives and what the target needs."""

    place: tuple[int, int, int]
    text: str
    found: str
    needed: str

    def __str__(self) -> str:
        return f"{self.text}: found {self.found}, needed {self.needed}"


@dataclass(frozen=True, repr=False)
class Report:
    """Outcome of a verification; truthy exactly when the identity is proven.

    Attributes
    ----------
    holds : bool
        T̂ = T in the ring. Always False for numerical rings (see `residual`).
    failing, total : int
        Brent equations that fail, and all of them (abc).
    first : tuple of Equation
        The first few failures in order of (a, b, c).
    method : str
        The arithmetic used and why it is exact.
    bound : int
        S of the module docstring (for rings of degree k: of the coefficients).
    residual : float
        max |T̂ − T| for R64 and C128, else 0 or nan (not computed).
    ring, digest : str
    seconds : float
    """

    holds: bool
    failing: int
    total: int
    first: tuple[Equation, ...]
    method: str
    bound: int
    ring: str
    digest: str
    seconds: float
    residual: float = float("nan")

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        state = "proven" if self.holds else "numerical" if not np.isnan(self.residual) else f"{self.failing} fail"
        return f"Report({state} over {self.ring}, {self.total} equations)"

    def _repr_html_(self) -> str:
        from ._html import report_html

        return report_html(self)

    def __str__(self) -> str:
        if self.holds:
            return f"proven over {self.ring}: {self.total} equations hold ({self.method})"
        if not np.isnan(self.residual):
            return f"numerical over {self.ring}: max residual {self.residual:.3g}"
        lines = [f"fails over {self.ring}: {self.failing} of {self.total} equations"]
        return "\n  ".join(lines + [str(e) for e in self.first])


@one_blas_thread
def verify(encoder: Encoder, of: Target | str | tuple[int, int, int] | None = None, stop_early: bool = False) -> Report:
    """Prove or refute T̂ = T over the encoder's ring.

    Parameters
    ----------
    encoder : Encoder
    of : Target, name or (n, m, p), optional
        Another target to compare with (its shape must fit); default: the encoder's own.
    stop_early : bool
        Stop at the first block that fails: ``failing`` is then a lower bound, ``holds`` is right all the same.

    Returns
    -------
    Report

    Raises
    ------
    StlError
        If the target's shape does not fit the factors.

    Notes
    -----
    Brent, "Algorithms for matrix multiplication" (1970), equations (5.03). Over a truncated ring Q[eps]/eps^(h+1)
    the identity proven is T̂ = ε^h·T, an approximate algorithm of order h (Bini et al. 1979).

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> verify(strassen()).holds
    True
    >>> verify(strassen().drop_terms([0])).failing > 0
    True
    """
    start = time.perf_counter()
    goal = encoder.target if of is None else target(of)
    if goal.shape != encoder.target.shape:
        raise StlError("of", goal.name, f"a target of shape {encoder.target.shape}")
    base = encoder.ring
    if not base.exact:
        return _numerical(encoder, goal, start)
    x, w, d, scale = _integers(encoder, goal)
    bound = _bound(x, w, d, base)
    reach = (bound + scale * int(max_abs(goal.value))) * (2 if goal.quadratic else 1)
    dtype: type = np.float64
    if base.characteristic:
        if (one := _residue_sum(base, base.characteristic, 0)) * (encoder.rank + 1) >= 2**53:
            raise StlError("rank", encoder.rank, f"at most {max(0, (2**53 - 1) // one - 1)} over {base.name}")
        moduli = [base.characteristic]
        dtype = np.float32 if one * (encoder.rank + 1) < 2**23 else np.float64
        method = f"residues modulo {base.characteristic} in {dtype.__name__}, whose integers no sum leaves"
    elif reach < 2**53:
        dtype = np.float32 if reach < 2**24 else np.float64
        moduli = [0]
        method = f"{dtype.__name__} products, exact since every partial sum is at most {bound}"
    else:
        moduli = _primes(2 * reach + 1, base, encoder.rank)
        method = f"Chinese remainders modulo {len(moduli)} primes, bound {bound.bit_length()} bits"
    failing, places = _count(x, w, d, base, goal, scale, moduli, dtype, stop_early)
    if goal == encoder.target:
        vars(encoder)["is_exact"] = failing == 0  # the cache of that property: nothing is proven twice
    first = tuple(_spell(encoder, goal, place) for place in places)
    a, b, c = goal.shape
    return Report(
        failing == 0, failing, a * b * c, first, method, bound, base.name, encoder.digest,
        time.perf_counter() - start, 0.0 if failing == 0 else float("nan"),
    )  # fmt: skip


def proof_work(encoder: Encoder, of: Target | None = None) -> float:
    """Multiply–adds `verify` takes, roughly: r·a·b·c for each modulus and coefficient product, before any is spent."""
    goal, base = of or encoder.target, encoder.ring
    moduli = 1
    if base.exact and not base.characteristic:
        x, w, d, scale = _integers(encoder, goal)
        bits = (_bound(x, w, d, base) + scale).bit_length()
        moduli = 1 if bits < 53 else 1 + bits // 18
    a, b, c = goal.shape
    if base.degree > 1 or goal.quadratic or not base.exact:
        return float(encoder.rank * a * b * c) * base.degree**2 * moduli * (2 if goal.quadratic else 1)
    return float(np.count_nonzero(encoder.e_x.num) * b * c + 16 * a * b * c + 1000 * a) * moduli


# --------------------------------------------------------------- exact counting
def _integers(encoder: Encoder, goal: Target) -> tuple[list[Array], list[Array], list[Array], int]:
    """Coefficient slices of the numerators and the common denominator, the scale of T."""
    slices = []
    for f in encoder.factors:
        num = f.num if f.num.ndim == 3 else f.num[..., None]
        slices.append([num[..., t] for t in range(num.shape[2])])
    scale = prod(f.den for f in encoder.factors)
    return slices[0], slices[1], slices[2], scale


def _bound(x: list[Array], w: list[Array], d: list[Array], base: Ring) -> int:
    """Largest |coefficient| any partial sum of T̂ can reach, with the structure constants of the ring."""

    def peak(parts: list[Array], axis: int) -> list[list[int]]:
        return [[int(v) for v in np.abs(p).max(axis=axis)] if p.size else [0] * p.shape[1 - axis] for p in parts]

    if base.degree == 1:
        tops = [int(max_abs(v[0])) for v in (x, w, d)]
        terms = x[0].shape[0]
        if prod(max(t, 1) for t in tops) * max(terms, 1) < 2**62:  # the common case, without Python integers
            if not terms:
                return max(tops)
            both = np.abs(x[0]).max(axis=1, initial=0) * np.abs(w[0]).max(axis=1, initial=0)
            return max(*tops, int(both.max()), int((np.abs(d[0]) @ both).max(initial=0)))
    px, pw = peak(x, 1), peak(w, 1)
    k, m = base.degree, np.abs(base.structure)
    rank = x[0].shape[0]
    size = max(int(max_abs(v)) for v in (*x, *w)) if rank else 0
    if rank and max(size, 1) ** 2 * int(m.max()) * k * k < 2**62:  # all in int64, but for the last product
        ax, aw = (np.stack([np.abs(p).max(axis=1, initial=0) for p in part]) for part in (x, w))
        inner_ = np.einsum("ijt,il,jl->tl", m, ax, aw, optimize=True)
        tops = [int(max_abs(v)) for v in (*x, *w, *d)] + [int(inner_.max())]
        weight = [np.abs(v).max(axis=0, initial=0).astype(object) for v in d]  # an upper bound of every row
        sums = [[int(weight[j] @ inner_[i].astype(object)) for j in range(k)] for i in range(k)]
        return max(*tops, *(sum(int(m[i, j, t]) * sums[i][j] for i in range(k) for j in range(k) if m[i, j, t])
                            for t in range(k)))  # fmt: skip
    inner = [[sum(int(m[i, j, t]) * px[i][l] * pw[j][l] for i in range(k) for j in range(k) if m[i, j, t])
              for l in range(rank)] for t in range(k)]  # fmt: skip
    worst = 0
    for t in range(k):
        rows = sum(
            (int(m[i, j, t]) * np.abs(d[j]).astype(object).dot(np.array(inner[i], dtype=object))
             for i in range(k) for j in range(k) if m[i, j, t]),
            start=np.zeros(d[0].shape[0], dtype=object),
        )  # fmt: skip
        worst = max(worst, int(max(rows, default=0)))
    # What a zero coefficient multiplies must be finite too: 0 · inf is not 0.
    peaks = [int(max_abs(v)) for v in (*x, *w, *d)] + [v for row in inner for v in row]
    return max(worst, *peaks)


def _residue_sum(base: Ring, p: int, rank: int) -> int:
    """Bound of every sum of products of two balanced residues: over l, or over the k² structure constants."""
    return max(rank + 1, base.degree**2) * ((p + 1) // 2) ** 2


def _primes(needed: int, base: Ring, rank: int) -> list[int]:
    """Primes small enough for exact residue arithmetic whose product exceeds ``needed``."""
    top = min(2 * isqrt(2**52 // max(rank + 1, base.degree**2)), 1 << 25)
    if needed.bit_length() > MAX_BOUND_BITS:
        raise StlError("factors", f"a bound of {needed.bit_length()} bits", f"coefficients that stay below "
                       f"2^{MAX_BOUND_BITS} in the Brent equations")  # fmt: skip
    found, total = [], 1
    while total <= needed:
        low = max(3, top - (1 << 14))
        if low >= top:
            raise StlError("factors", f"{needed.bit_length()}-bit bound", "smaller coefficients")
        for p in reversed(_primes_between(low, top)):
            found.append(p)
            total *= p
            if total > needed:
                break
        top = low
    return found


@lru_cache(maxsize=64)
def _primes_between(low: int, high: int) -> tuple[int, ...]:
    """The primes p with low <= p < high (high at most 2^25), by a sieve."""
    plain = np.ones(high - low, dtype=bool)
    small = np.ones(isqrt(high) + 1, dtype=bool)
    small[:2] = False
    for s in range(2, len(small)):
        if small[s]:
            small[s * s :: s] = False
            plain[max(s * s, (low + s - 1) // s * s) - low :: s] = False
    return tuple(int(v) + low for v in np.flatnonzero(plain) if v + low > 1)


def _residues(parts: list[Array], p: int, dtype: type) -> list[Array]:
    """Balanced residues modulo p (the integers themselves for p = 0) as floats."""
    if p == 0:
        return [v.astype(dtype) for v in parts]
    half = p // 2
    return [(((v + half) % p) - half).astype(dtype) for v in parts]


def _step(x: list[Array], w: list[Array], d: list[Array]) -> int:
    """Indices a taken together, so that no array of a block exceeds BLOCK_BYTES by much."""
    k, rank = len(x), len(x[0])
    return max(1, BLOCK_BYTES // (8 * k * max(1, rank, k * d[0].shape[0]) * max(1, w[0].shape[1])))


def _block(
    factors: tuple[list[Array], list[Array], list[Array]], base: Ring, p: int, dtype: type, lo: int, hi: int
) -> Array:
    """T̂ coefficients of shape (k, c, hi − lo, b) for a in [lo, hi), modulo p if p > 0."""
    x, w, d = factors
    k, m = base.degree, base.structure
    if p:
        m = (m + p // 2) % p - p // 2  # large constants would break the bound of the sums below
    rank, b, c = len(x[0]), w[0].shape[1], d[0].shape[0]
    inner = []
    for t in range(k):
        total: Array = np.zeros((rank, hi - lo, b), dtype=dtype)
        for i, j in zip(*np.nonzero(m[:, :, t]), strict=True):
            term = x[i][:, lo:hi, None] * w[j][:, None, :]
            total += term if m[i, j, t] == 1 else m[i, j, t] * _balance(term, p)
        inner.append(_balance(total, p).reshape(rank, (hi - lo) * b))
    full = (np.concatenate(d, axis=0) @ np.concatenate(inner, axis=1)).reshape(k, c, k, hi - lo, b)
    if k == 1:
        return _balance(full[:, :, 0], p)
    out: Array = np.zeros((k, c, hi - lo, b), dtype=dtype)
    for i, j, t in zip(*np.nonzero(m), strict=True):
        out[t] += m[i, j, t] * _balance(full[j, :, i], p)
    return _balance(out, p)


def _balance(v: Array, p: int) -> Array:
    return v if p == 0 else v - p * np.rint(v / p)


def _count(
    x: list[Array], w: list[Array], d: list[Array], base: Ring, goal: Target, scale: int, moduli: list[int],
    dtype: type, stop_early: bool,
) -> tuple[int, list[tuple[int, int, int]]]:  # fmt: skip
    """Number of failing equations and the first few places, over all moduli together, in one pass over blocks."""
    level = base.degree - 1 if base.is_border else 0
    failing = 0
    places: list[tuple[int, int, int]] = []

    def residues(p: int) -> tuple[list[Array], list[Array], list[Array]]:
        return _residues(x, p, dtype), _residues(w, p, dtype), _residues(d, p, dtype)

    if base.degree == 1 and not goal.quadratic:
        return _count_plain((x[0], w[0], d[0]), goal, scale, moduli, dtype, stop_early)
    kept = {p: residues(p) for p in moduli[:1]}  # of many moduli the residues are recomputed: bounded memory
    a, step = goal.shape[0], _step(x, w, d)
    if goal.quadratic:
        step = a  # T̂ and its transpose meet in one block; `targets.MAX_QUADRATIC` bounds it
        if base.degree * goal.shape[2] * a * a > 4 * MAX_QUADRATIC:
            raise StlError("ring", base.name, f"a ring of smaller degree for {goal.name}")
    for lo in range(0, a, step):
        hi = min(a, lo + step)
        inside = (goal.index[:, 0] >= lo) & (goal.index[:, 0] < hi)
        at, value = goal.index[inside], goal.value[inside]
        wrong = np.zeros((hi - lo, goal.shape[1], goal.shape[2]), dtype=bool)
        for p in moduli:
            block = _block(kept.get(p) or residues(p), base, p, dtype, lo, hi)
            block[level, at[:, 2], at[:, 0] - lo, at[:, 1]] -= np.array([_signed(int(v) * scale, p) for v in value])
            if goal.quadratic:  # only the symmetric part counts, and on the diagonal (2T = 0 modulo 2!) T itself
                block = _symmetrised(block)
            wrong |= (_balance(block, p) != 0).any(axis=0).transpose(1, 2, 0)
        count = int(np.count_nonzero(wrong))
        failing += count
        if count and len(places) < SHOWN:
            found = np.argwhere(wrong)[: SHOWN - len(places)]
            places += [(int(i) + lo, int(j), int(k)) for i, j, k in found]
        if count and stop_early:
            break
    return failing, places


def _count_plain(
    factors: tuple[Array, Array, Array], goal: Target, scale: int, moduli: list[int], dtype: type, stop_early: bool
) -> tuple[int, list[tuple[int, int, int]]]:  # fmt: skip
    """`_count` over rings of degree 1: slices of a with their non-zero terms only, small schemes in one product."""
    (a, b, c), rank = goal.shape, len(factors[0])
    whole = rank * a * b <= SMALL
    slices = [(0, a)] if whole else [(i, i + 1) for i in range(a)]
    order = np.argsort(goal.index[:, 0], kind="stable")
    index, value = goal.index[order], goal.value[order]
    ends = np.searchsorted(index[:, 0], [v for s in slices for v in s]).reshape(-1, 2)
    failing = 0
    places: list[tuple[int, int, int]] = []
    wrong: dict[int, Array] = {}  # of several moduli: an equation counts once
    for p in moduli:
        x, w, d = (_residues([v], p, dtype)[0] for v in factors)
        turned = np.ascontiguousarray(d.T)
        wanted: Array = np.array([_signed(int(v) * scale, p) for v in np.unique(value)], dtype=dtype)
        needed = wanted[np.searchsorted(np.unique(value), value)]
        for (lo, _hi), (start, end) in zip(slices, ends, strict=True):
            if whole:
                inner = _balance((x[:, :, None] * w[:, None, :]).reshape(rank, a * b), p)
                block = (d @ inner).reshape(c, a, b)
            else:
                used = np.flatnonzero(x[:, lo])
                block = (turned[used].T @ _balance(x[used, lo, None] * w[used], p))[:, None, :]
            at = index[start:end]
            block[at[:, 2], at[:, 0] - lo, at[:, 1]] -= needed[start:end]
            block = _balance(block, p)
            if not (count := int(np.count_nonzero(block))):
                continue
            if len(moduli) > 1:
                wrong[lo] = wrong.get(lo, False) | (block != 0)
            else:
                failing += count
                places += _places(block, lo, SHOWN - len(places))
            if stop_early:
                break
    for lo in sorted(wrong):
        failing += int(np.count_nonzero(wrong[lo]))
        places += _places(wrong[lo], lo, SHOWN - len(places))
    return failing, places


def _places(block: Array, lo: int, most: int) -> list[tuple[int, int, int]]:
    """The first places (a, b, c) that are not zero in a block of shape (c, a − lo, b)."""
    if most <= 0:
        return []
    return [(int(i) + lo, int(j), int(k)) for i, j, k in np.argwhere((block != 0).transpose(1, 2, 0))[:most]]


def _signed(value: int, p: int) -> int:
    return value if p == 0 else (value + p // 2) % p - p // 2


def _entry(encoder: Encoder, place: tuple[int, int, int]) -> list[Fraction]:
    """One entry of T̂ in exact arithmetic (coefficients on the powers of x)."""
    a, b, c = place
    base = encoder.ring
    x, w, d = encoder.e_x.num[:, a], encoder.e_w.num[:, b], encoder.d.num[c]
    product = base.multiply(base.multiply(x.astype(object), w.astype(object)), d.astype(object))
    total = product.astype(object).sum(axis=0)
    den = prod(f.den for f in encoder.factors)
    values = [Fraction(int(v), den) for v in np.atleast_1d(total)]
    if base.characteristic:
        values = [Fraction(int(v) % base.characteristic) for v in values]
    return values


def _spell(encoder: Encoder, goal: Target, place: tuple[int, int, int]) -> Equation:
    def text(values: list[Fraction]) -> str:
        names = ["", *(("x" if i == 1 else f"x^{i}") for i in range(1, len(values)))]
        parts = [f"{_digits(v)}{n and '·' + n}" for v, n in zip(values, names, strict=True) if v]
        return " + ".join(parts) or "0"

    values = _entry(encoder, place)
    needed = [Fraction(0)] * len(values)
    level = len(values) - 1 if encoder.ring.is_border else 0
    hit = np.flatnonzero((goal.index == np.array(place)).all(axis=1))
    if len(hit):
        needed[level] = Fraction(int(goal.value[hit[0]]))
    return Equation(place, goal.spell(*place), text(values), text(needed))


def _digits(value: Fraction) -> str:
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    return str(value) if bits < 1000 else f"(a number of {bits} bits)"


# ------------------------------------------------------------------ relatives
def _numerical(encoder: Encoder, goal: Target, start: float) -> Report:
    e_x, e_w, d = encoder.floats()
    failing, worst = 0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # huge floats: the residual is then infinite
        for a in range(goal.shape[0]):  # one slice at a time: bounded memory
            gap = _numerical_slice(e_x, e_w, d, goal, a)
            if goal.quadratic:
                gap = gap + np.stack([(d * e_w[:, a]) @ e_x[:, b] for b in range(goal.shape[0])])
                here = goal.index[:, 1] == a
                gap[goal.index[here, 0], goal.index[here, 2]] -= goal.value[here]
            size = np.abs(gap)
            failing += int(np.count_nonzero(size != 0))
            worst = max(worst, float(np.where(np.isfinite(size), size, np.inf).max(initial=0.0)))
    return Report(
        False, failing, prod(goal.shape), (), "float64, a numerical encoder proves nothing", 0,
        encoder.ring.name, encoder.digest, time.perf_counter() - start, worst,
    )  # fmt: skip


def _numerical_slice(e_x: Array, e_w: Array, d: Array, goal: Target, a: int) -> Array:
    """T̂ − T at fixed a, shape (b, c)."""
    gap = e_w.T @ (d * e_x[:, a]).T
    here = goal.index[:, 0] == a
    gap[goal.index[here, 1], goal.index[here, 2]] -= goal.value[here]
    return gap


def _symmetrised(block: Array) -> Array:
    """R + Rᵀ in (a, b), and R itself on the diagonal: what counts when both arguments are the same vector."""
    both = block + np.swapaxes(block, 2, 3)
    i = np.arange(block.shape[2])
    both[:, :, i, i] = block[:, :, i, i]
    return both
