"""Hensel lifting: a bilinear algorithm modulo 2 becomes one modulo 4, 8, … and then over Z or Q.

If x solves the Brent equations modulo 2^k, then x + 2^k δ solves them modulo 2^(k+1) exactly when
J δ = (T − T̂(x)) / 2^k modulo 2, with J the Jacobian of the *original* solution modulo 2. So J is eliminated
once over GF(2) (bit-packed) and every further bit costs one product. Unknowns outside the pivot columns
keep their value; zeros are made pivots last, so they stay zero when that is possible. The 2-adic limit is
read as small integers as soon as they satisfy the identity, else by rational reconstruction (Kauers and
Moosbauer, "Flip graphs for matrix multiplication", 2022, section 5).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from stl_algebra.errors import StlError

from .solve import clear_terms, holds, ring_of
from .tying import Symmetry, equations, permuted

__all__ = ["HenselReport", "hensel_lift", "ties_modulo_2"]

Array = NDArray[Any]
Ties = tuple[NDArray[np.int64], NDArray[np.int64]]
BITS = 40  # precision at which rational reconstruction is tried (numerators and denominators below 2^19.5)
# At the first bit the choice of signs changes the defect by J·δ only, so that obstruction is final.
NO_LIFT = "no lift modulo 4 exists: the algorithm is one of characteristic 2 only"
READ_AT = (2, 3, 4, 6, 9, 14, 20, 28, BITS)


@dataclass
class HenselReport:
    """What came out of :func:`hensel_lift`.

    Attributes
    ----------
    success : bool
        An exact algorithm over Z or Q was proven.
    e_x, e_w, d : int arrays (r, a), (r, b), (c, r), or None
        Numerators; D carries the denominator ``den``.
    den : int
    ring : str
        Z or Q (denominators are odd).
    reason : str
        Why it failed: the bit at which no lift exists, or that the limit is not rational.
    bits : int
        Precision reached in the best attempt.
    attempts : int
    seconds : float
    """

    success: bool
    e_x: Array | None = None
    e_w: Array | None = None
    d: Array | None = None
    den: int = 1
    ring: str = ""
    reason: str = ""
    bits: int = 1
    attempts: int = 0
    seconds: float = 0.0


class _Elimination:
    """Row echelon form of a bit matrix with the row operations, to solve for many right-hand sides."""

    def __init__(self, matrix: Array, order: Array) -> None:
        rows, columns = matrix.shape
        self.columns = columns
        width = -(-columns // 64)
        packed = np.zeros((rows, width + -(-rows // 64)), dtype=np.uint64)
        packed[:, :width] = _pack(matrix[:, order])
        packed[:, width:] = _pack(np.eye(rows, dtype=bool))
        rank = 0
        pivots = []
        for j in range(columns):
            word, bit = divmod(j, 64)
            column = (packed[:, word] >> np.uint64(bit)) & np.uint64(1)
            below = np.flatnonzero(column[rank:])
            if not below.size:
                continue
            row = rank + int(below[0])
            if row != rank:
                packed[[rank, row]] = packed[[row, rank]]
                column[[rank, row]] = column[[row, rank]]
            column[rank] = 0
            busy = np.flatnonzero(column)
            packed[busy, word:] ^= packed[rank, word:]
            pivots.append(j)
            rank += 1
            if rank == rows:
                break
        self.pivots = order[np.array(pivots, dtype=np.int64)]
        self._operations = packed[:, width:]

    def solve(self, right: Array) -> Array | None:
        """Return a solution with zeros outside the pivot columns, or None."""
        packed = _pack(right[None, :].astype(bool))[0]
        bits = np.bitwise_count(self._operations & packed).sum(axis=1) & 1
        rank = len(self.pivots)
        if bits[rank:].any():
            return None
        out = np.zeros(self.columns, dtype=np.int64)
        out[self.pivots] = bits[:rank]
        return out


def _pack(matrix: Array) -> Array:
    """Pack a bool matrix into uint64 words along its rows, lowest bit first."""
    padded = np.zeros((matrix.shape[0], -(-matrix.shape[1] // 64) * 64), dtype=bool)
    padded[:, : matrix.shape[1]] = matrix
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


def _jacobian(x: Array, w: Array, d: Array, tie: Array | None = None) -> Array:
    """Return the Jacobian modulo 2 of T̂ by (x, w, dᵀ), or by the variables they are tied to, bool (abc, ·)."""
    (r, a), b, c = x.shape, w.shape[1], d.shape[1]
    x, w, d = (f % 2 != 0 for f in (x, w, d))
    col = np.arange(r * (a + b + c)) if tie is None else tie
    jac = np.zeros((a, b, c, col.max() + 1), dtype=bool)
    for l in range(r):
        vw, uw, uv = np.outer(w[l], d[l]), np.outer(x[l], d[l]), np.outer(x[l], w[l])
        for i in range(a):
            jac[i, :, :, col[l * a + i]] ^= vw
        for i in range(b):
            jac[:, i, :, col[r * a + l * b + i]] ^= uw
        for i in range(c):
            jac[:, :, i, col[r * (a + b) + l * c + i]] ^= uv
    return jac.reshape(a * b * c, -1)


def hensel_lift(
    target: Array,
    e_x: Array,
    e_w: Array,
    d: Array,
    seed: int = 0,
    seconds: float = 60.0,
    attempts: int = 16,
    ties: Ties | None = None,
) -> HenselReport:
    """Lift an algorithm modulo 2 to the integers or the rationals.

    Parameters
    ----------
    target : int array (a, b, c)
        Dense target tensor.
    e_x, e_w, d : int arrays (r, a), (r, b), (c, r)
        Factors that satisfy the Brent equations modulo 2 (signs, if there are any, serve as first guess).
    seed, seconds, attempts
        When the lift is obstructed at a bit, or its limit is not rational, another one is tried with random
        signs of the unknowns that the equations leave free.
    ties : (variable, equations), optional
        A lift within a symmetry: the unknown that every entry of E_X, E_W and Dᵀ (one after the other, row by
        row) is equal to, and one equation (index into the target) of every orbit. Fewer unknowns and equations
        by the order of the group, and more often a lift (Moosbauer–Poole 2025).

    Returns
    -------
    HenselReport

    Raises
    ------
    StlError
        For shapes that do not fit or factors that are no solution modulo 2.
    """
    start = time.monotonic()
    goal = np.rint(np.asarray(target)).astype(np.int64)
    x, w, dt = np.asarray(e_x), np.asarray(e_w), np.asarray(d).T
    if goal.ndim != 3 or {f.ndim for f in (x, w, dt)} != {2} or len({len(f) for f in (x, w, dt)}) != 1:
        raise StlError("factors", [f.shape for f in (x, w, dt)], "shapes (r, a), (r, b), (c, r)")
    if (x.shape[1], w.shape[1], dt.shape[1]) != goal.shape:
        raise StlError("factors", [f.shape for f in (x, w, dt)], f"shapes that fit the target {goal.shape}")
    first = [np.where(np.abs(f) == 1, f, f % 2).astype(np.int64) for f in (x, w, dt)]
    if (_defect(goal, first) & 1).any():
        raise StlError("factors", "a residual that is odd", "a solution of the Brent equations modulo 2")
    report = HenselReport(False)
    theta = np.concatenate([f.ravel() for f in first])
    tie, rows = ties or (np.arange(theta.size), np.arange(goal.size))
    if tie.shape != theta.shape:
        raise StlError("ties", tie.shape, f"one variable for each of {theta.size} entries")
    jac = _jacobian(first[0], first[1], first[2], tie)[rows]
    tied = np.zeros(tie.max() + 1, dtype=np.int64)
    tied[tie] = theta
    if not np.array_equal(tied[tie], theta):
        raise StlError("ties", "entries that differ", "factors with the symmetry")
    theta = tied
    # support first: zeros become pivots, and so change, only where the support alone does not suffice
    system = _Elimination(jac, np.argsort(theta == 0, kind="stable"))
    rng = np.random.default_rng(seed)
    loose = np.setdiff1d(np.flatnonzero(theta), system.pivots)
    reasons: list[str] = []
    while report.attempts < attempts and (not reasons or time.monotonic() - start < seconds):
        trial = theta.copy()
        if report.attempts:
            trial[loose] *= rng.choice([-1, 1], loose.size)
        report.attempts += 1
        why = _lift(goal, [f.shape for f in first], trial, (tie, rows), system, report)
        if not why:
            report.success = True
            break
        reasons.append(why)
        if not loose.size or why == NO_LIFT:
            break
    report.reason = "" if report.success else max(set(reasons), key=reasons.count)
    report.seconds = time.monotonic() - start
    return report


def ties_modulo_2(vectors: Sequence[Array], symmetry: Symmetry) -> Ties | str:
    """Return the ties of a find over GF(2) under a group of permutations, for :func:`hensel_lift`.

    Parameters
    ----------
    vectors : int arrays (r, a), (r, b), (r, c)
        Rows of E_X, E_W and Dᵀ.
    symmetry : sequence of elements with ``slots`` and ``maps``

    Returns
    -------
    (variable, equations) or str
        Or the reason why there are none: a matrix that is no permutation, or terms that are not permuted.
    """
    if any(((m != 0) & (m != 1)).any() for g in symmetry for m in g.maps):
        return "only permutations of the coordinates are kept in a lift"
    action = permuted([np.asarray(v, dtype=np.float64) for v in vectors], symmetry, 1e-9)
    if isinstance(action, str):
        return action
    widths = [v.shape[1] for v in vectors]
    offsets = np.cumsum([0] + [v.size for v in vectors])
    edges = []
    for g, terms in zip(symmetry, action, strict=True):
        for s, width in enumerate(widths):
            t = g.slots[s]
            term, entry = (i.ravel() for i in np.indices((len(terms), width)))
            there = offsets[t] + terms[term] * widths[t] + g.maps[s].argmax(axis=0)[entry]
            edges.append((offsets[s] + term * width + entry, there))
    rows, columns = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = sp.csr_matrix((np.ones(rows.size, dtype=np.int8), (rows, columns)), shape=(offsets[-1], offsets[-1]))
    return connected_components(graph, directed=False)[1].astype(np.int64), equations(symmetry, tuple(widths))[0]


def _split(theta: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    edge = np.cumsum([s[0] * s[1] for s in shapes])
    return [part.reshape(s) for part, s in zip(np.split(theta, edge[:-1]), shapes, strict=True)]


def _defect(goal: Array, factors: list[Array]) -> Array:
    """Return T − T̂ modulo 2⁶⁴ (integer overflow wraps around, which keeps the low bits right)."""
    x, w, d = factors
    pair = (x[:, :, None] * w[:, None, :]).reshape(len(x), -1)
    return goal.ravel() - (pair.T @ d).ravel()


def _lift(
    goal: Array, shapes: list[tuple[int, ...]], theta: Array, ties: Ties, system: _Elimination, report: HenselReport
) -> str:
    """Lift bit by bit; fill in the report and return "", or return why it fails."""
    tie, equations = ties
    for k in range(1, BITS + 1):
        if k in READ_AT:
            half = 1 << (k - 1)
            small = (theta + half - 1) % (1 << k) - (half - 1)  # residues in (−2^(k−1), 2^(k−1)]
            x, w, d = _split(small[tie], shapes)
            if holds(goal, x, w, d.T, 1):
                report.e_x, report.e_w, report.d, report.den, report.ring = x, w, d.T.copy(), 1, "Z"
                return ""
        if k == BITS:
            break
        defect = _defect(goal, _split(theta[tie], shapes))[equations]
        step = system.solve((defect >> k) & 1)
        if step is None:
            return NO_LIFT if k == 1 else f"obstructed: this solution modulo 2^{k} has no lift modulo 2^{k + 1}"
        theta = theta + (step << k)
        report.bits = max(report.bits, k + 1)
    values = [_fraction(int(v) % (1 << BITS)) for v in theta]
    if any(v is None for v in values):
        return f"the 2-adic limit is not rational with numerators and denominators below 2^{BITS // 2 - 1}"
    table = np.array([v if v is not None else Fraction(0) for v in values], dtype=object)
    rows = [part.tolist() for part in _split(table[tie], shapes)]
    x, w, d, den = clear_terms(rows[0], rows[1], rows[2], [Fraction(1)] * shapes[0][0])
    if not holds(goal, x, w, d, den):
        return "the reconstructed rationals do not satisfy the identity"
    report.e_x, report.e_w, report.d, report.den, report.ring = x, w, d, den, ring_of(den)
    return ""


def _fraction(value: int) -> Fraction | None:
    """Return the fraction a/b with |a|, b < 2^(BITS/2 − 1) congruent to value modulo 2^BITS, or None."""
    modulus, bound = 1 << BITS, 1 << (BITS // 2 - 1)
    a, b, s, t = modulus, value, 0, 1
    while b > bound:
        q = a // b
        a, b, s, t = b, a - q * b, t, s - q * t
    if t == 0 or abs(t) > bound:
        return None
    return Fraction(b, t)
