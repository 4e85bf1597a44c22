"""From the three factors a file holds to a verdict: which target, which orientation, and the proof.

What layouts leave open – C or Cᵀ, row- or column-major, which bilinear map – is decided by trying. A candidate is first
evaluated at random points modulo a prime, which a true scheme always survives and a false one practically never; those
that survive are proven. A wrong guess never verifies, so detection is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import gcd, isqrt, prod

import numpy as np

from .._threads import one_blas_thread
from ..encoder import Encoder
from ..errors import EncoderFileError, StlError
from ..identities import Report, proof_work, verify
from ..rings import Array, Ring, max_abs, ring
from ..targets import (
    Target,
    complex_product,
    cyclic_convolution,
    matmul,
    polymul,
    polynomial_low,
    quaternion_product,
    symmetric_square,
)
from ..validity import rings_where_valid
from .scalars import Numbers, smallest_ring
from .source import Source

__all__ = ["MAX_RANK", "Raw", "Reading", "judge"]

MAX_DIMENSION = 64
MAX_RANK = 1 << 16
#: Modulus of the random evaluation.
_FILTER = 262139
#: Multiply–adds that one reading of one scheme costs whatever its size, and each number in the quick check.
_EACH, _QUICK = 2 * 10**7, 10


@dataclass
class Raw:
    """Three factors as found, entries first: numerators (entries, r) or (entries, r, k), each over a denominator.

    Attributes
    ----------
    name : str
        Of the scheme inside the file.
    factors : three (num, den)
    layout : str
        Which reader found it.
    ring : Ring, optional
        What the file claims; None: the smallest of Z, Z[1/2], Q that has the coefficients.
    also : Ring, optional
        Where else it may be meant to hold ("mod 2" in a file's name): tried if it fails over ``ring``.
    target : Target, optional
        What the file claims; None: found from the shapes.
    transposed : bool, optional
        The layout's convention for C; None: no convention.
    alternatives : list of three (num, den)
        Other ways the same numbers may be meant, where the file does not say (r × entries instead of entries × r).
    note : str
        Something to tell about how it was read.
    """

    name: str
    factors: Sequence[Numbers]
    layout: str
    ring: Ring | None = None
    also: Ring | None = None
    target: Target | None = None
    transposed: bool | None = None
    alternatives: list[Sequence[Numbers]] = field(default_factory=list)
    note: str = ""


@dataclass
class Reading:
    """One scheme, read and judged.

    Attributes
    ----------
    path, name, layout : str
    encoder : Encoder
        In the project's convention.
    report : Report
    transposed : bool
        True if the file's third factor is on vec(Cᵀ).
    note : str
        Diagnosis worth telling: unusual transposition, valid modulo 2 only, border of order h …
    guessed : bool
        True if nothing named the target, so that it was chosen by the shapes: if it is not proven, the guess may be
        what is wrong, and the verdict is not "refuted".
    rings : list of str
        Where it holds (`validity.rings_where_valid`), if asked for.
    """

    path: str
    name: str
    layout: str
    encoder: Encoder
    report: Report
    transposed: bool
    note: str = ""
    guessed: bool = False
    rings: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """ "proven", "refuted", "unproven" (of a guessed target), "approximate" (declared so) or "numerical" (floats,
        with a residual)."""
        if self.report.holds:
            return "proven"
        if not self.encoder.ring.exact:
            return "numerical"
        if self.guessed:
            return "unproven"
        return "approximate" if self.layout == "stl" else "refuted"


@dataclass(frozen=True)
class _Candidate:
    """One reading of the raw factors: entry permutations that bring them to the convention of a target."""

    target: Target
    orders: tuple[Array | None, Array | None, Array | None]
    turned: tuple[bool, bool, bool]


def _flip(rows: int, columns: int) -> Array:
    """Order with x[order] = vec(X) for x = vec(Xᵀ), X of shape (rows, columns)."""
    return np.arange(rows * columns).reshape(columns, rows).T.ravel()


def _format_of(a: int, b: int, c: int) -> tuple[int, int, int] | None:
    """n, m, p from nm, mp, np."""
    n = isqrt(a * c // b) if b and (a * c) % b == 0 else 0
    if n == 0 or n * n * b != a * c or a % n or c % n or max(n, a // n, c // n) > MAX_DIMENSION:
        return None
    return n, a // n, c // n


def _turns(of: Target, transposed: bool | None) -> Iterator[_Candidate]:
    """All ways of reading the entries, the layout's own convention first."""
    fmt = of.format
    if fmt is None:
        yield _Candidate(of, (None, None, None), (False, False, False))
        if of.quadratic and of.name.startswith("symmetric:"):
            n = isqrt(2 * of.shape[2])
            m = of.shape[0] // n
            upper = [(i, j) for i in range(n) for j in range(i, n)]
            lower = [(i, j) for j in range(n) for i in range(j + 1)]
            by_columns = np.array([lower.index(v) for v in upper])
            for flat in (None, _flip(n, m)):
                for order in (None, by_columns):
                    for second in (flat, _flip(n, m) if flat is None else None):
                        if flat is not None or order is not None or second is not None:
                            yield _Candidate(of, (flat, second, order), (flat is not None, second is not None, False))
        return
    n, m, p = fmt
    flips = (_flip(n, m), _flip(m, p), _flip(n, p))
    first = bool(transposed)
    for turned in sorted(product((False, True), repeat=3), key=lambda t: (t[:2] != (False, False), t[2] != first, t)):
        if any(t and 1 in s for t, s in zip(turned, ((n, m), (m, p), (n, p)), strict=True)):
            continue  # a vector is its own transpose
        orders = tuple(f if t else None for f, t in zip(flips, turned, strict=True))
        yield _Candidate(of, orders, turned)  # type: ignore[arg-type]


def _targets(sizes: tuple[int, int, int]) -> Iterator[Target]:
    """Bilinear maps these shapes may belong to, the likeliest first."""
    a, b, c = sizes
    fmt = _format_of(a, b, c)
    makers: list[Callable[[], Target]] = []
    if fmt:
        makers.append(lambda: matmul(*fmt))
    if c == a + b - 1:
        makers.append(lambda: polymul(a, b))
    if a == b == c:
        makers += [lambda: cyclic_convolution(a), lambda: polynomial_low(a)]
        makers += [complex_product] if a == 2 else [quaternion_product] if a == 4 else []
    n = isqrt(2 * c)
    if a == b and n * (n + 1) == 2 * c and a % n == 0:
        makers.append(lambda: symmetric_square(n, a // n))
    for make in makers:
        try:
            yield make()
        except StlError:  # too large to be that
            continue


@one_blas_thread
def judge(source: Source, raw: Raw) -> Reading:
    """The scheme with its verdict.

    Raises
    ------
    EncoderFileError
        If the shapes fit no target, or the proof is beyond the budget.
    """
    try:
        return _judge(source, raw)
    except EncoderFileError:
        raise
    except StlError as error:  # what a later step refuses, e.g. a ring too large for its proof
        raise EncoderFileError(source.path, error.argument, error.value, error.allowed, error.cure) from None


def _judge(source: Source, raw: Raw) -> Reading:
    parts = [(num, den) for num, den in raw.factors]
    if raw.ring is not None and not raw.ring.exact:
        reading = _judge_floats(source, raw, parts)
        if reading is not None:
            return reading
    base = raw.ring if raw.ring is not None and raw.ring.exact else smallest_ring(parts)
    first: Reading | None = None
    for over in [base] + ([raw.also] if raw.also is not None else []):
        for oriented in _oriented(raw):
            reading = _best(source, raw, oriented, over)
            if reading is not None and reading.report.holds:
                return reading
            first = first or reading
    if first is None:
        sizes = [len(num) for num, _ in parts]
        source.refuse("shape", sizes, "rows of a matrix format (nm, mp, np) or of another target")
    first.note = first.note or _diagnosis(source, first)
    return first


def _oriented(raw: Raw) -> Iterator[list[Numbers]]:
    """The factors as read, and in the other ways they may be meant."""
    for parts in (raw.factors, *raw.alternatives):
        if len({num.shape[1] for num, _ in parts}) == 1:
            yield list(parts)


def _best(source: Source, raw: Raw, parts: list[Numbers], base: Ring) -> Reading | None:
    """The candidate that is proven, or the refutation of the likeliest one; None if the shapes fit nothing."""
    sizes = tuple(len(num) for num, _ in parts)
    rank = parts[0][0].shape[1]
    if rank > MAX_RANK:
        source.refuse("rank", rank, f"at most {MAX_RANK}")
    targets = [raw.target] if raw.target is not None else list(_targets(sizes))  # type: ignore[arg-type]
    targets = [t for t in targets if t.shape == sizes]
    if raw.target is not None and not targets:
        source.refuse("shape", list(sizes), f"{list(raw.target.shape)} entries for {raw.target.name}")
    candidates = [c for t in targets for c in _turns(t, raw.transposed)]
    if not candidates:
        return None
    refuted = None
    k = base.degree
    least = rank * prod(sizes) * k * k if k > 1 else 0  # what the proof will take at least
    source.prove(_EACH + max(least / 10, len(candidates) * _QUICK * rank * sum(sizes) * k * k) + 10**4 * k**3)
    quick = _Quick(parts, base, base.characteristic or _FILTER)
    for c in candidates:
        if not quick.misses(c):
            reading = _prove(source, raw, parts, base, c)
            if reading.report.holds:
                return reading
            refuted = refuted or reading
    if refuted is not None:
        return refuted
    # refuted however it is read: report on the reading that comes nearest
    source.prove(_EACH + 2 * len(candidates) * _QUICK * rank * sum(sizes) * k * k)
    small = [q for q in (2, 3) if all(den % q for _, den in parts) and not base.characteristic][:1]
    tests = [_Quick(parts, base, q) for q in (*small, base.characteristic or _FILTER)]
    nearest = min(candidates, key=lambda c: [test.misses(c) for test in tests])
    return _prove(source, raw, parts, base, nearest)


def _prove(source: Source, raw: Raw, parts: list[Numbers], base: Ring, c: _Candidate) -> Reading:
    turned = [(num if order is None else num[order], den) for (num, den), order in zip(parts, c.orders, strict=True)]
    e_x, e_w = ((np.swapaxes(num, 0, 1), den) for num, den in turned[:2])
    encoder = Encoder.build(
        c.target, e_x, e_w, turned[2], ring=base,
        origin={"family": "imported", "name": raw.name[:200]},
    )  # fmt: skip
    source.prove(proof_work(encoder))
    report = verify(encoder)
    note = raw.note
    if report.holds:
        note = "; ".join(v for v in (note, _convention(raw, c), _border(encoder)) if v)
    return Reading(source.path, raw.name, raw.layout, encoder, report, c.turned[2], note, raw.target is None)


def _convention(raw: Raw, c: _Candidate) -> str:
    if c.target.format is None:
        return "column-major" if any(c.turned) else ""
    n, _, p = c.target.format
    if c.turned == (False, False, bool(raw.transposed) and min(n, p) > 1):
        return ""
    if c.turned[0] or c.turned[1]:
        sides = [v for v, t in zip(("A", "B", "C"), c.turned, strict=True) if t]
        return f"on vec({'ᵀ), vec('.join(sides)}ᵀ)"
    if raw.transposed is None:
        return ""
    return f"third factor is on vec({'Cᵀ' if c.turned[2] else 'C'}), unlike the {raw.layout} layout"


def _border(encoder: Encoder) -> str:
    return f"border of order {encoder.ring.degree - 1}" if encoder.ring.is_border else ""


def _diagnosis(source: Source, reading: Reading) -> str:
    """Why a scheme fails, if it is one of the usual reasons and there is time to find out."""
    encoder = reading.encoder
    if encoder.ring.characteristic or encoder.ring.degree > 1:
        return ""
    try:
        source.prove(5.0 * encoder.rank * prod(encoder.target.shape))
        names = rings_where_valid(encoder)
    except StlError:  # coefficients too large for the gcd of the residual: no diagnosis
        return ""
    if not names:
        return ""
    turn = " with Cᵀ" if reading.transposed else ""
    primes = ", ".join(v[3:-1] for v in names if v.startswith("GF("))
    return f"valid modulo {primes} only{turn}" if primes else f"valid in {names[-1]} only{turn}"


# ------------------------------------------------------------------ the quick check
class _Quick:
    """Ĉ against C at random points modulo p, for one set of factors and many ways of reading their entries.

    Over rings of degree 1 in float64, exactly: residues below 2^18 and sums of at most 2^16 products stay below 2^53.
    """

    def __init__(self, parts: list[Numbers], base: Ring, p: int) -> None:
        self.base, self.p = base, p
        self.usable = p <= _FILTER and all(gcd(den, p) == 1 for _, den in parts)
        if self.usable:
            self.scale = prod(den for _, den in parts) % p
            kind = np.float64 if base.degree == 1 else np.int64
            self.parts = [(num if max_abs(num) < p else num % p).astype(kind) for num, _ in parts]

    def misses(self, c: _Candidate) -> int:
        """Entries of Ĉ that differ from C: if any, the candidate is certainly wrong modulo p."""
        if not self.usable:
            return 0
        rng, base, p, k = np.random.default_rng(1), self.base, self.p, self.base.degree
        points = 8 if p < 100 else 1
        a = rng.integers(0, p, (points, c.target.shape[0]))
        b = a if c.target.quadratic else rng.integers(0, p, (points, c.target.shape[1]))
        exact = np.zeros((points, c.target.shape[2], k), dtype=np.int64)
        value = a[:, c.target.index[:, 0]] * b[:, c.target.index[:, 1]] % p * (c.target.value % p * self.scale % p) % p
        exact[..., k - 1 if base.is_border else 0] += _gathered(c.target, value)
        sums = []
        for v, x, order in zip((a, b), self.parts, c.orders, strict=False):
            moved = v if order is None else v[:, np.argsort(order)]
            sums.append(moved.astype(x.dtype) @ x % p if k == 1 else np.tensordot(moved, x, axes=(1, 0)) % p)
        d, order = self.parts[2], c.orders[2]
        if k == 1:
            found = (sums[0] * sums[1] % p @ d.T % p)[..., None]
        else:
            both = _times(sums[0], sums[1], base, p)
            found = np.stack([_times(d % p, q[None], base, p).sum(axis=1) for q in both])
        found = found if order is None else found[:, order]
        return int(np.count_nonzero((found - exact) % p))


def _gathered(of: Target, value: Array) -> Array:
    """(points, c): the sum over the terms of each output."""
    out = np.zeros((of.shape[2], len(value)), dtype=np.int64)
    np.add.at(out, of.index[:, 2], value.T)
    return out.T


def _times(a: Array, b: Array, base: Ring, p: int) -> Array:
    m = base.structure % p
    out = np.zeros(np.broadcast_shapes(a.shape, b.shape), dtype=np.int64)
    for i, j, t in zip(*np.nonzero(m), strict=True):
        out[..., t] += a[..., i] * b[..., j] % p * m[i, j, t] % p
    return out % p


# ------------------------------------------------------------------ numerical schemes
def _judge_floats(source: Source, raw: Raw, parts: list[Numbers]) -> Reading | None:
    """A scheme claimed over R64 or C128: exact if its floats are, else the reading of least residual."""
    base = raw.ring
    assert base is not None
    exactly = Raw(raw.name, parts, raw.layout, None if base.degree == 1 else ring("Q(i)"), None, raw.target,
                  raw.transposed, raw.alternatives, f"claimed over {base.name}, holds exactly")  # fmt: skip
    if all(den.bit_length() < 64 for _, den in parts):
        reading = _judge(source, exactly)
        if reading.report.holds:
            return reading
    best: Reading | None = None
    for oriented in _oriented(raw):
        sizes = tuple(len(num) for num, _ in oriented)
        targets = [raw.target] if raw.target is not None else list(_targets(sizes))  # type: ignore[arg-type]
        floats = [(num / float(den)).astype(np.float64) for num, den in oriented]
        for c in (c for t in targets if t.shape == sizes for c in _turns(t, raw.transposed)):
            turned = [f if order is None else f[order] for f, order in zip(floats, c.orders, strict=True)]
            values = [f[..., 0] + 1j * f[..., 1] if base.degree == 2 and f.ndim == 3 else f for f in turned]
            encoder = Encoder.build(c.target, values[0].T, values[1].T, values[2], ring=base,
                                    origin={"family": "imported", "name": raw.name[:200]})  # fmt: skip
            source.prove(proof_work(encoder))
            report = verify(encoder)
            if best is None or report.residual < best.report.residual:
                best = Reading(source.path, raw.name, raw.layout, encoder, report, c.turned[2], raw.note,
                               raw.target is None)  # fmt: skip
    return best
