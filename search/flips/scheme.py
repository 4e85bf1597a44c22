"""Schemes of flip graphs: packed orbits, their expansion to factor matrices, and the exact check.

A `Scheme` is a list of orbit representatives (see `search.flips._kernel` for the packing), plus a few
*cubes* ``a⊗a⊗a`` that the walk leaves alone.  Without symmetry there are no cubes and the third factor is
the row-major output C.  With symmetry the scheme lives in the trace form tr(ABC), whose third factor is C
transposed; `Scheme.factors` converts, so that D never is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.encoder import Encoder
from stl_algebra.errors import StlError
from stl_algebra.targets import matmul

__all__ = [
    "SYMMETRIES", "Scheme", "checked", "diagonal_blocks", "from_factors", "holds", "mode_of", "pack", "read_scheme",
    "standard", "symmetric_start", "unpack",
]  # fmt: skip

#: Group name → (code for the kernel, orbit length).
SYMMETRIES: dict[str | None, tuple[int, int]] = {None: (0, 1), "C3": (1, 3), "C3xZ2": (2, 6)}
RINGS = ("GF(2)", "Z")


def mode_of(symmetry: str, fmt: tuple[int, int, int]) -> str | None:
    """What a symmetry of the common grammar (`stl_algebra.symmetry.grammar`) is to a walk.

    ``none`` is None, ``Z3`` is C₃, and ``Z3*c:(1n)(2m)…``, the shift and the reversal of the indices, is C₃×Z₂.

    Examples
    --------
    >>> mode_of("none", (3, 3, 4)), mode_of("Z3", (4, 4, 4)), mode_of("Z3*c:(15)(24)", (5, 5, 5))
    (None, 'C3', 'C3xZ2')
    """
    n = fmt[0]
    if symmetry == "none":
        return None
    reversal = "".join(f"({i}{n + 1 - i})" for i in range(1, n // 2 + 1))
    modes = {"Z3": "C3", f"Z3*c:{reversal}": "C3xZ2"}
    if symmetry not in modes or len(set(fmt)) != 1:
        square = f", {', '.join(modes)}" if len(set(fmt)) == 1 else " (others need a square format)"
        raise StlError("symmetry", symmetry, f"for a walk on {'x'.join(map(str, fmt))}: none{square}")
    return modes[symmetry]


#: Entries per factor that fit one machine word: one bit each, or two for −1, 0, 1.
MAX_ENTRIES = {"GF(2)": 64, "Z": 32}

Factors = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def pack(rows: NDArray[Any], ring: str) -> NDArray[np.uint64]:
    """Pack integer rows into machine words.

    Parameters
    ----------
    rows : (r, a) integer array
        Reduced mod 2 over GF(2); entries −1, 0, 1 over Z.
    ring : "GF(2)" or "Z"

    Returns
    -------
    (r,) uint64

    Raises
    ------
    StlError
        If a row is too long for one word, or an entry over Z is outside −1, 0, 1.

    Examples
    --------
    >>> pack(np.array([[1, 0, -1]]), "Z")
    array([17179869185], dtype=uint64)
    """
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] > MAX_ENTRIES[ring]:
        raise StlError("rows", rows.shape, f"a matrix with at most {MAX_ENTRIES[ring]} columns over {ring}")
    place = np.uint64(1) << np.arange(rows.shape[1], dtype=np.uint64)
    if ring == "GF(2)":
        return ((rows % 2).astype(np.uint64) * place).sum(axis=1, dtype=np.uint64)
    if rows.size and np.abs(rows).max() > 1:
        raise StlError("rows", int(np.abs(rows).max()), "entries -1, 0, 1", "Use ring='GF(2)' and lift.")
    plus = ((rows == 1).astype(np.uint64) * place).sum(axis=1, dtype=np.uint64)
    minus = ((rows == -1).astype(np.uint64) * place).sum(axis=1, dtype=np.uint64)
    return plus | (minus << np.uint64(32))


def unpack(words: NDArray[np.uint64], size: int, ring: str) -> NDArray[np.int64]:
    """Inverse of `pack`: (r,) words → (r, size) integers (0, 1 over GF(2); −1, 0, 1 over Z).

    Examples
    --------
    >>> unpack(np.array([5], dtype=np.uint64), 3, "GF(2)").tolist()
    [[1, 0, 1]]
    """
    place = np.arange(size, dtype=np.uint64)
    bits = ((words[:, None] >> place) & np.uint64(1)).astype(np.int64)
    if ring == "Z":
        bits -= ((words[:, None] >> (place + np.uint64(32))) & np.uint64(1)).astype(np.int64)
    return bits


def _matmul_tensor(fmt: tuple[int, int, int]) -> NDArray[np.int64]:
    n, m, p = fmt
    t = np.zeros((n, m, m, p, n, p), dtype=np.int64)
    i, k, j = np.ix_(range(n), range(m), range(p))
    t[i, k, k, j, i, j] = 1
    return t.reshape(n * m, m * p, n * p)


def holds(fmt: tuple[int, int, int], e_x: Any, e_w: Any, d: Any, ring: str = "Z") -> bool:
    """Whether the factors multiply matrices exactly (all n²m²p² Brent equations; mod 2 over GF(2)).

    Float64 products are exact here: all sums are integers far below 2⁵³ because the entries are checked
    to be small first (|entry| ≤ 2¹⁰ and r ≤ 2²⁰ would still be safe).

    Examples
    --------
    >>> holds((2, 2, 2), *standard((2, 2, 2)).factors())
    True
    """
    x, w, y = (np.asarray(f, dtype=np.int64) for f in (e_x, e_w, d))
    if ring == "GF(2)":
        x, w, y = x % 2, w % 2, y % 2
    r = x.shape[0]
    largest = max([1, *(int(np.abs(f).max()) for f in (x, w, y) if f.size)])
    if r * largest**3 >= 2**53:
        raise StlError("factors", largest, "entries small enough for an exact check in float64")
    pairs = (x[:, :, None] * w[:, None, :]).reshape(r, -1).astype(np.float64)
    got = (pairs.T @ y.T.astype(np.float64)).astype(np.int64)
    rest = got - _matmul_tensor(fmt).reshape(got.shape)
    return not np.any(rest % 2 if ring == "GF(2)" else rest)


@dataclass(frozen=True)
class Scheme:
    """A vertex of a flip graph.

    Attributes
    ----------
    format : (n, m, p)
    ring : "GF(2)" or "Z"
    symmetry : None, "C3" or "C3xZ2"
    terms : (m, 3) uint64
        Orbit representatives; trace form if symmetric.
    signs : (m,) int64
        ±1 per orbit (all 1 over GF(2)).
    cubes : (s,) uint64
        Fixed terms ``a⊗a⊗a`` (empty without symmetry).

    Examples
    --------
    >>> standard((2, 2, 2)).rank, standard((2, 2, 2)).exact()
    (8, True)
    """

    format: tuple[int, int, int]
    ring: str
    symmetry: str | None
    terms: NDArray[np.uint64]
    signs: NDArray[np.int64]
    cubes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    @property
    def orbits(self) -> int:
        return len(self.terms)

    @property
    def rank(self) -> int:
        """Number of terms if no two of them coincide: s + g·m."""
        return len(self.cubes) + SYMMETRIES[self.symmetry][1] * self.orbits

    def factors(self) -> Factors:
        """Expand to ``(e_x (r, nm), e_w (r, mp), d (np, r))``, terms that cancel or repeat joined.

        Over GF(2) an orbit of ``a⊗a⊗a`` counts three times, hence once, and equal terms cancel: the rank
        of the result can be lower than `rank`.
        """
        n, m, p = self.format
        u, v, w = (unpack(self.terms[:, k], size, self.ring) for k, size in enumerate((n * m, m * p, n * p)))
        u = u * self.signs[:, None]
        if self.symmetry is None:
            return _joined(u, v, w, self.ring)
        x, y, z = _expanded(u, v, w, unpack(self.cubes, n * n, self.ring), self.symmetry)
        return _joined(x, y, z, self.ring)

    def ties(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """What the symmetry makes equal, as `search.exact.hensel.hensel_lift` wants it.

        Returns
        -------
        (variable, equations) or None
            For every entry of E_X, E_W, Dᵀ of `factors` the number of its variable; one Brent equation of
            each orbit. None without symmetry, or if terms of the expansion were joined.
        """
        n = self.format[0]
        if self.symmetry is None or len(self.factors()[0]) != self.rank:
            return None
        ids = np.arange((len(self.cubes) + 3 * self.orbits) * n * n).reshape(-1, n * n)
        a, rest = ids[: len(self.cubes)], ids[len(self.cubes) :].reshape(-1, 3, n * n)
        x, y, z = _expanded(rest[:, 0], rest[:, 1], rest[:, 2], a, self.symmetry)
        whole = np.arange(n**6).reshape(n * n, n * n, n * n)
        images = [whole, whole.transpose(1, 2, 0), whole.transpose(2, 0, 1)]
        if self.symmetry == "C3xZ2":
            images += [image[::-1, ::-1, ::-1] for image in images]
        first = np.minimum.reduce(images) == whole  # in the trace form; D wants C not transposed
        first = first.reshape(n * n, n * n, n, n).transpose(0, 1, 3, 2)
        return np.concatenate([x.ravel(), y.ravel(), z.ravel()]), np.flatnonzero(first)

    def encoder(self) -> Encoder:
        """The scheme as an encoder over its ring."""
        return Encoder.build(matmul(*self.format), *self.factors(), ring=self.ring)

    def exact(self) -> bool:
        """Verify all Brent equations of the expansion."""
        return holds(self.format, *self.factors(), ring=self.ring)


def _expanded(
    u: NDArray[np.int64], v: NDArray[np.int64], w: NDArray[np.int64], a: NDArray[np.int64], symmetry: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All terms of orbits (u, v, w) (each (m, n²)) and cubes a (s, n²); the third factors as C, not transposed."""
    n = math.isqrt(a.shape[1])
    parts = [(u, v, w), (v, w, u), (w, u, v)]
    if symmetry == "C3xZ2":
        parts += [(x[:, ::-1], y[:, ::-1], z[:, ::-1]) for x, y, z in parts]
    x, y, z = (np.concatenate([a, *(q[k] for q in parts)]) for k in range(3))
    return x, y, z.reshape(-1, n, n).transpose(0, 2, 1).reshape(-1, n * n)


def _joined(x: NDArray[np.int64], y: NDArray[np.int64], z: NDArray[np.int64], ring: str) -> Factors:
    """Merge terms that share two factors (up to sign), drop zeros; return (e_x, e_w, d)."""
    terms = [[x[l], y[l], z[l]] for l in range(len(x))]
    changed = True
    while changed:
        changed = False
        for k in range(3):
            seen: dict[bytes, int] = {}
            kept: list[list[NDArray[np.int64]]] = []
            for term in terms:
                f = [g if ring == "GF(2)" else g * _lead(g) for g in term]
                f[k] = term[k] if ring == "GF(2)" else term[k] * _lead(term[k - 1]) * _lead(term[k - 2])
                key = f[k - 1].tobytes() + f[k - 2].tobytes()
                if key in seen:
                    other = kept[seen[key]]
                    total = (other[k] + f[k]) % 2 if ring == "GF(2)" else other[k] + f[k]
                    if ring == "GF(2)" or np.abs(total).max(initial=0) <= 1:
                        other[k] = total
                        changed = True
                        continue
                seen[key] = len(kept)
                kept.append(f)
            terms = [t for t in kept if all(np.any(g) for g in t)]
    stack = [np.array([t[k] for t in terms], dtype=np.int64).reshape(len(terms), -1) for k in range(3)]
    return stack[0], stack[1], np.ascontiguousarray(stack[2].T)


def _lead(row: NDArray[np.int64]) -> int:
    """Sign of the first non-zero entry (1 for a zero row)."""
    support = np.flatnonzero(row)
    return int(np.sign(row[support[0]])) if support.size else 1


def checked(fmt: Sequence[int], ring: str, symmetry: str | None) -> tuple[int, int, int]:
    """Validate a format, ring and symmetry; StlError names what is wrong.

    Examples
    --------
    >>> checked((2, 2, 3), "Z", None)
    (2, 2, 3)
    """
    sizes = tuple(int(s) for s in fmt) if len(fmt) == 3 else ()
    if len(sizes) != 3 or min(sizes) < 1:
        raise StlError("format", fmt, "three positive sizes (n, m, p)")
    if ring not in RINGS:
        raise StlError("ring", ring, "'GF(2)' or 'Z'")
    if symmetry not in SYMMETRIES:
        raise StlError("symmetry", symmetry, "None, 'C3' or 'C3xZ2'")
    n, m, p = sizes
    if max(n * m, m * p, n * p) > MAX_ENTRIES[ring]:
        raise StlError("format", fmt, f"factors of at most {MAX_ENTRIES[ring]} entries over {ring}")
    if symmetry is not None and not n == m == p:
        raise StlError("format", fmt, f"a square format for symmetry {symmetry!r}")
    return n, m, p


def standard(fmt: Sequence[int], ring: str = "GF(2)") -> Scheme:
    """The standard algorithm ⟨n,m,p;nmp⟩ as a scheme without symmetry.

    Examples
    --------
    >>> standard((2, 2, 3)).rank
    12
    """
    n, m, p = checked(fmt, ring, None)
    i, k, j = (g.ravel().astype(np.uint64) for g in np.mgrid[:n, :m, :p])
    index = np.stack([i * np.uint64(m) + k, k * np.uint64(p) + j, i * np.uint64(p) + j], axis=1)
    return Scheme((n, m, p), ring, None, np.uint64(1) << index, np.ones(len(index), dtype=np.int64))


def from_factors(fmt: Sequence[int], e_x: Any, e_w: Any, d: Any, ring: str = "GF(2)") -> Scheme:
    """Scheme without symmetry from plain factors ``e_x (r, nm)``, ``e_w (r, mp)``, ``d (np, r)``.

    Integer factors may be read mod 2; over Z the entries must be −1, 0, 1. Zero terms are dropped.

    Examples
    --------
    >>> from_factors((2, 2, 2), *standard((2, 2, 2)).factors()).rank
    8
    """
    n, m, p = checked(fmt, ring, None)
    parts = [np.asarray(e_x), np.asarray(e_w), np.asarray(d).T]
    for name, part, size in zip(("e_x", "e_w", "d"), parts, (n * m, m * p, n * p), strict=True):
        if part.ndim != 2 or part.shape != (len(parts[0]), size) or not np.issubdtype(part.dtype, np.integer):
            raise StlError(name, (part.shape, str(part.dtype)), f"integers, {size} entries for each of r terms")
    terms = np.stack([pack(part, ring) for part in parts], axis=1)
    signs = np.ones(len(terms), dtype=np.int64)
    return Scheme((n, m, p), ring, None, terms[np.all(terms != 0, axis=1)], signs[np.all(terms != 0, axis=1)])


def read_scheme(encoder: Encoder, ring: str, symmetry: str = "none") -> Scheme:
    """The scheme of an encoder over a ring asked for.

    Its symmetry is known again if the terms stand in the order `Scheme.factors` puts them; otherwise it is left out.

    Raises
    ------
    StlError
        If the coefficients cannot be read over the ring, or the scheme is not exact there.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> read_scheme(schemes.strassen(), "Z", "Z3").orbits
    7
    """
    whole = all(f.num.ndim == 2 and f.num.dtype.kind in "iO" for f in encoder.factors)
    if not whole or any(f.den % 2 == 0 or (ring == "Z" and f.den != 1) for f in encoder.factors):
        raise StlError("start", encoder.label, f"an encoder that can be read over {ring}")
    e_x, e_w, d = (np.asarray(f.num % 2 if ring == "GF(2)" else f.num).astype(np.int64) for f in encoder.factors)
    fmt = encoder.format
    plain = from_factors(fmt, e_x, e_w, d, ring=ring)
    if not plain.exact():
        raise StlError("start", encoder.label, f"an exact encoder over {ring}")
    mode = mode_of(symmetry, fmt)
    if mode is None:
        return plain
    n, length = fmt[0], SYMMETRIES[mode][1]
    u, v, w = e_x, e_w, d.T.reshape(-1, n, n).transpose(0, 2, 1).reshape(-1, n * n)
    cubes = int(np.argmin([*np.all((u == v) & (v == w), axis=1).tolist(), False]))
    while cubes > 0 and (len(u) - cubes) % length:
        cubes -= 1
    last = cubes + (len(u) - cubes) // length
    if (len(u) - cubes) % length == 0:
        terms = np.stack([pack(x[cubes:last], ring) for x in (u, v, w)], axis=1)
        found = Scheme(fmt, ring, mode, terms, np.ones(len(terms), dtype=np.int64), pack(u[:cubes], ring))
        same = found.factors()
        if all(x.shape == y.shape and np.array_equal(x, y) for x, y in zip(same, (e_x, e_w, d), strict=True)):
            return found
    return plain


def diagonal_blocks(n: int, count: int) -> list[list[int]]:
    """Split 0..n−1 into `count` sets that index reversal maps to one another.

    The nested shells {i, n−1−i} are the parts; too few cubes: the outer shells are joined; too many: the
    inner shells are split.  ``diagonal_blocks(5, 3)`` is [[0, 4], [1, 3], [2]].

    Examples
    --------
    >>> diagonal_blocks(5, 3)
    [[0, 4], [1, 3], [2]]
    """
    if not 1 <= count <= n:
        raise StlError("cubes", count, f"between 1 and {n} diagonal cubes for n = {n}")
    shells = [sorted({i, n - 1 - i}) for i in range((n + 1) // 2)]
    while len(shells) > count:
        shells[0:2] = [sorted(shells[0] + shells[1])]
    split = count - len(shells)
    pairs = [s for s in reversed(shells) if len(s) == 2][:split]
    return [part for s in shells for part in ([[i] for i in s] if s in pairs else [s])]


def symmetric_start(
    n: int,
    ring: str = "GF(2)",
    symmetry: str = "C3",
    cubes: int | NDArray[Any] = 1,
    inner: Scheme | None = None,
) -> Scheme:
    """A C₃- or C₃×Z₂-invariant start for ⟨n,n,n⟩: cubes, and the rest of the tensor in unit orbits.

    With cubes ``Σ a⊗a⊗a`` taken out, what is left of the trace tensor must vanish on the diagonal
    ``e⊗e⊗e`` for the rest to split into orbits of full length; the projectors onto a partition of the
    index set do this (Moosbauer–Poole 2025 start from diagonal cubes).  Over GF(2) an orbit of ``e⊗e⊗e``
    counts three times, hence once, so any cubes will do under C₃, and any reversal-invariant set whose
    sum has a 1 in the centre (n odd) under C₃×Z₂.  The number s of cubes stays fixed along the walk, so
    ranks are s mod 3 (or 6).

    Parameters
    ----------
    n : int
    ring : "GF(2)" or "Z"
    symmetry : "C3" or "C3xZ2"
        Z₂ reverses the indices, (i, j) → (n−1−i, n−1−j).
    cubes : int or (s, n, n) integer array
        How many diagonal projectors (0 only over GF(2)), or the cubes themselves.
    inner : Scheme, optional
        A scheme of a smaller square format with the same symmetry, used for that block of the product (the
        first indices under C₃, the middle ones under C₃×Z₂); its cubes replace `cubes`.

    Returns
    -------
    Scheme

    Examples
    --------
    >>> start = symmetric_start(3, "GF(2)", "C3", 2)
    >>> start.rank, start.exact()
    (32, True)
    """
    checked((n, n, n), ring, symmetry)
    inside = np.zeros((0, 3), dtype=np.uint64)
    if inner is not None:
        inside, mats = _embedded(inner, n, ring, symmetry)
    elif isinstance(cubes, (int, np.integer)):
        blocks = diagonal_blocks(n, int(cubes)) if cubes or ring != "GF(2)" else []
        mats = np.zeros((len(blocks), n, n), dtype=np.int64)
        for q, block in enumerate(blocks):
            mats[q, block, block] = 1
    else:
        mats = np.asarray(cubes, dtype=np.int64).reshape(-1, n, n)
    a = mats.reshape(len(mats), n * n)
    # Trace form: the third factor is C transposed.
    trace = _matmul_tensor((n, n, n)).reshape(n * n, n * n, n, n).transpose(0, 1, 3, 2).reshape((n * n,) * 3)
    have = [unpack(inside[:, k], n * n, ring) for k in range(3)]
    if inner is not None:
        have[0] = have[0] * inner.signs[:, None]
    x, y, z = _expanded(have[0], have[1], have[2], a, symmetry)
    z = z.reshape(-1, n, n).transpose(0, 2, 1).reshape(-1, n * n)
    rest = trace - (np.einsum("lx,ly->xyl", x, y).reshape(n**4, -1) @ z).reshape(trace.shape)
    rest = rest % 2 if ring == "GF(2)" else rest
    if np.abs(rest).max(initial=0) > 1:
        raise StlError("cubes", mats.tolist(), "cubes that leave a remainder with entries -1, 0, 1")
    reps: list[tuple[int, int, int]] = []
    signs: list[int] = []
    last = n * n - 1
    for x, y, z in zip(*np.nonzero(rest), strict=True):
        sign = int(rest[x, y, z])
        if sign == 0:  # already taken by the orbit of an earlier entry
            continue
        images = [(x, y, z), (y, z, x), (z, x, y)]
        if symmetry == "C3xZ2":
            images += [(last - i, last - j, last - k) for i, j, k in images]
        distinct = set(images)
        weight = len(images) // len(distinct)
        odd_cube = ring == "GF(2)" and weight % 2 == 1
        if (weight != 1 and not odd_cube) or any(rest[i] != sign for i in distinct):
            raise StlError(
                "cubes", mats.tolist(), f"a {symmetry}-invariant set whose remainder has full orbits",
                "1..n diagonal projectors always work.",
            )  # fmt: skip
        for image in distinct:
            rest[image] = 0
        reps.append((int(x), int(y), int(z)))
        signs.append(sign)
    terms = np.concatenate([inside, np.uint64(1) << np.array(reps, dtype=np.uint64).reshape(-1, 3)])
    first = np.ones(0, dtype=np.int64) if inner is None else inner.signs
    return Scheme((n, n, n), ring, symmetry, terms, np.append(first, np.array(signs, dtype=np.int64)), pack(a, ring))


def _embedded(inner: Scheme, n: int, ring: str, symmetry: str) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Representatives and cubes (s, n, n) of a smaller scheme as those of a block of ⟨n,n,n⟩."""
    m = inner.format[0]
    if (inner.ring, inner.symmetry) != (ring, symmetry) or m > n or (symmetry == "C3xZ2" and (n - m) % 2):
        allowed = f"a scheme over {ring} under {symmetry} that fits into the middle of size {n}"
        raise StlError("inner", (inner.format, inner.ring, inner.symmetry), allowed)
    low = (n - m) // 2 if symmetry == "C3xZ2" else 0

    def placed(words: NDArray[np.uint64]) -> NDArray[np.int64]:
        whole = np.zeros((len(words), n, n), dtype=np.int64)
        whole[:, low : low + m, low : low + m] = unpack(words, m * m, ring).reshape(-1, m, m)
        return whole

    terms = [pack(placed(inner.terms[:, k]).reshape(-1, n * n), ring) for k in range(3)]
    cubes = placed(inner.cubes)
    if ring == "Z":  # no orbit stands for e⊗e⊗e there: the new diagonal entries become cubes
        new = [i for i in range(n) if not low <= i < low + m]
        extra = np.zeros((len(new), n, n), dtype=np.int64)
        extra[range(len(new)), new, new] = 1
        cubes = np.concatenate([cubes, extra])
    return np.stack(terms, axis=1), cubes
