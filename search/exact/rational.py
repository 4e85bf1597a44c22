"""Numerical bilinear algorithm in, exact one out (or the reason why not)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stl_algebra import Encoder, Target
from stl_algebra import ring as ring_named
from stl_algebra.errors import StlError

from .gauge import apply_bases, candidate_bases, keeps_order, matmul_format, moved_symmetry
from .polish import polish
from .snap import PROFILES, Profile, Snapped, pin_vectors, snap
from .solve import clear_terms, holds, ring_of, third_factor
from .system import BrentSystem
from .tying import Symmetry, Tying, free_tying, permuted, tie

__all__ = ["RationaliseReport", "rationalise"]

Array = NDArray[Any]
Vectors = tuple[Array, Array, Array]
Tied = tuple[Tying, Array, Symmetry]
RINGS = ("Z", "Z[1/2]", "Q", "Q(sqrt)")
PATIENCE = 2.0  # after an exact solution outside Z, look on for this multiple of the time spent


@dataclass
class RationaliseReport:
    """What came out of :func:`rationalise`.

    Attributes
    ----------
    success : bool
        An exact algorithm was proven in the ring asked for.
    e_x, e_w, d : int arrays (r, a), (r, b), (c, r), or None
        Numerators; E_X and E_W are integral, D carries the denominator ``den``.
    den : int
        Denominator of D.
    ring : str
        Smallest of Z, Z[1/2], Q the factors lie in, or Q(sqrt(d)): then the factors have a last axis of two
        coefficients, on 1 and √d.
    reason : str
        Why it failed (empty on success).
    steps, backtracks : int
        Snapping moves made and taken back in the pass that counted.
    attempts : int
        Changes of basis tried.
    seconds : float
        Wall time.
    residual : float
        Largest residual entry after polishing, before anything was snapped.
    invariant : bool
        Whether the exact terms are permuted by the symmetry asked for (or its part without reversals).
    """

    success: bool
    e_x: Array | None = None
    e_w: Array | None = None
    d: Array | None = None
    den: int = 1
    ring: str = ""
    reason: str = ""
    steps: int = 0
    backtracks: int = 0
    attempts: int = 0
    seconds: float = 0.0
    residual: float = float("nan")
    invariant: bool = False
    failures: list[str] = field(default_factory=list)


# The systems are small: BLAS threads would wait for one another.
@threadpool_limits.wrap(limits=1, user_api="blas")  # type: ignore[untyped-decorator]
def rationalise(
    target_dense: Array,
    e_x: Array,
    e_w: Array,
    d: Array,
    symmetry: Symmetry = (),
    ring: str = "Q",
    seed: int = 0,
    seconds: float = 60.0,
    attempts: int = 24,
    grid: int = 0,
) -> RationaliseReport:
    """Turn a numerical solution of the Brent equations into an exact one.

    The solution is polished to rounding; its coordinates are chosen so that distinguished directions of
    its rank-one factors become axes; every vector is scaled to have an entry 1; unknowns are snapped to
    small rationals one by one along the flat directions that remain; the result is proven in integers.
    Several choices of coordinates are tried until one succeeds in the ring asked for.

    Parameters
    ----------
    target_dense : float array (a, b, c)
        Target tensor with integer entries; for matrix products C is not transposed.
    e_x, e_w, d : float arrays (r, a), (r, b), (c, r)
        Numerical factors, close enough to a solution for Levenberg–Marquardt to converge.
    symmetry : sequence of elements
        All elements of a finite group of orthogonal symmetries of the target that permutes the terms (the
        ``elements`` of an action); the result has this symmetry. Empty for none.
    ring : {"Z", "Z[1/2]", "Q", "Q(sqrt)"}
        Largest ring accepted; "Q(sqrt)" means any real quadratic field.
    seed : int
        Seed of all random choices.
    seconds : float
        Wall-time limit.
    attempts : int
        Largest number of changes of basis tried.
    grid : int
        0 looks for the simplest algorithm of the family; q > 0 for one close to the numerical solution (its
        free parameters are rounded to multiples of 1/q, 1/(2q) …), which keeps its κ² but not its sparsity.

    Returns
    -------
    RationaliseReport

    Raises
    ------
    StlError
        For shapes that do not fit, non-finite factors, or an unknown ring.
    """
    start = time.monotonic()
    target, e_x, e_w, d = _checked(target_dense, e_x, e_w, d, ring)
    rng = np.random.default_rng(seed)
    report = RationaliseReport(False)
    begun = _polished(target, (e_x, e_w, d.T), symmetry)
    if isinstance(begun, str):
        return _done(report, begun, start)
    vectors, report.residual = begun
    if report.residual > 1e-11:
        return _done(report, f"does not converge to an exact solution: residual {report.residual:.1e}", start)

    deadline = start + seconds
    profiles = tuple(Profile(1, 1, 1, 0.3 * k, grid=grid * 2**k) for k in range(4)) if grid else PROFILES
    best: RationaliseReport | None = None
    for tied in _coordinates(target, vectors, symmetry, rng, attempts):
        if isinstance(tied, str):
            report.failures.append(tied)
            continue
        system, theta, group = BrentSystem(target, tied[0]), tied[1], tied[2]
        free = np.arange(theta.size) < system.size
        theta, _ = polish(system, theta, free, steps=20, damping=1e-9)
        pinned_theta, pinned = pin_vectors(system, theta)
        for profile in profiles:
            if time.monotonic() > deadline:
                break
            report.attempts += 1
            done = snap(system, pinned_theta, pinned, rng, deadline, profile)
            why = _finish(system, done, report)
            if why:
                report.failures.append(why)
                if done.moves == 0:
                    break  # these coordinates lead nowhere whatever the order of the moves
                continue
            report.steps, report.backtracks = done.moves, done.backtracks
            if best is None or _quality(report) < _quality(best):
                best = replace(report, invariant=_invariant(report, group))
                now = time.monotonic()
                if _level(best.ring) <= RINGS.index(ring):
                    deadline = min(start + seconds, now + max(PATIENCE * (now - start), seconds / 5))
            if best.ring == "Z" or done.moves == 0 or grid:
                break
            report.failures.append(f"exact over {report.ring} only (denominator {report.den})")
        if time.monotonic() > deadline or (best is not None and (best.ring == "Z" or grid)):
            break
    if best is not None and _level(best.ring) <= RINGS.index(ring):
        best.success = True
        best.attempts, best.failures = report.attempts, report.failures
        return _done(best, "", start)
    if best is not None:
        best.attempts, best.failures, report = report.attempts, report.failures, best
    counts = {why: report.failures.count(why) for why in report.failures}
    common = max(counts, key=lambda w: counts[w]) if counts else "no change of basis to try"
    if best is not None:
        common = f"exact over {best.ring} only (denominator {best.den})"
    return _done(report, common, start)


def _checked(target: Array, e_x: Array, e_w: Array, d: Array, ring: str) -> tuple[Array, Array, Array, Array]:
    """Return float arrays of fitting shapes or raise."""
    target, e_x, e_w, d = (np.asarray(v, dtype=np.float64) for v in (target, e_x, e_w, d))
    if target.ndim != 3 or not np.array_equal(target, np.rint(target)):
        raise StlError("target_dense", target.shape, "a 3-way array of integers")
    a, b, c = target.shape
    r = e_x.shape[0] if e_x.ndim == 2 else -1
    for name, f, shape in (("e_x", e_x, (r, a)), ("e_w", e_w, (r, b)), ("d", d, (c, r))):
        if f.shape != shape:
            raise StlError(name, f.shape, f"shape {shape} for a target of shape {target.shape}")
        if not np.isfinite(f).all():
            raise StlError(name, "NaN or Inf", "finite numbers")
    if ring not in RINGS:
        raise StlError("ring", ring, "one of " + ", ".join(RINGS))
    return target, e_x, e_w, d


def _polished(target: Array, vectors: Vectors, symmetry: Symmetry) -> tuple[Vectors, float] | str:
    """Return the solution close to the vectors, within the symmetry, and its residual; or why there is none."""
    shape = (target.shape[0], target.shape[1], target.shape[2])
    tied = tie(vectors, symmetry) if symmetry else ""
    if isinstance(tied, str):
        if "not rational" not in tied and tied:
            return tied
        # steps of least norm commute with orthogonal matrices: they keep the symmetry without being told
        tying = free_tying(shape, len(vectors[0]))
        tied = tying, np.concatenate([v.ravel() for v in vectors] + [np.ones(len(vectors[0]))])
    system = BrentSystem(target, tied[0])
    theta, size = polish(system, tied[1], np.arange(tied[1].size) < system.size, steps=200)
    u, v, w, scale = system.split(theta)
    return (scale[:, None] * u, v, w), size


def _coordinates(
    target: Array, vectors: Vectors, symmetry: Symmetry, rng: np.random.Generator, attempts: int
) -> Iterator[Tied | str]:
    """Yield the solution, tied, in one promising system of coordinates after the other (or why it cannot be tied)."""
    shape = (target.shape[0], target.shape[1], target.shape[2])
    fmt = matmul_format(target)
    r = len(vectors[0])
    if symmetry or fmt is None:
        for _ in range(1 if fmt else attempts):
            yield _tied(vectors, symmetry, shape)
    if fmt is None:
        return
    n, m, p = fmt
    mats = (vectors[0].reshape(r, n, m), vectors[1].reshape(r, m, p), np.swapaxes(vectors[2].reshape(r, n, p), 1, 2))
    shifts = [g for g in symmetry if keeps_order(g.slots)]
    for group in [shifts, []] if symmetry else [[]]:
        for bases in candidate_bases(mats, fmt, group, rng, keep=attempts):
            x, y, z = apply_bases(mats, bases)
            moved = (x.reshape(r, -1), y.reshape(r, -1), np.swapaxes(z, 1, 2).reshape(r, -1))
            tied = _tied(moved, moved_symmetry(symmetry, bases), shape)
            if isinstance(tied, str) and len(shifts) < len(symmetry):
                tied = _tied(moved, moved_symmetry(shifts, bases), shape)
            yield tied


def _tied(vectors: Vectors, symmetry: Symmetry, shape: tuple[int, int, int]) -> Tied | str:
    """Return the tying, its unknowns, scales last, and the symmetry in these coordinates."""
    if symmetry:
        tied = tie(vectors, symmetry)
        return tied if isinstance(tied, str) else (*tied, symmetry)
    r = len(vectors[0])
    return free_tying(shape, r), np.concatenate([v.ravel() for v in vectors] + [np.ones(r)]), symmetry


def _invariant(report: RationaliseReport, symmetry: Symmetry) -> bool:
    """Return whether the symmetry permutes the exact terms (asked again: it is why they were tied)."""
    if not symmetry or report.e_x is None or report.e_w is None or report.d is None:
        return False
    values = [np.asarray(f) for f in (report.e_x, report.e_w, np.swapaxes(report.d, 0, 1))]
    if values[0].ndim == 3:
        values = [ring_named(report.ring).values(f, 1) for f in values]
    return not isinstance(permuted([f.astype(np.float64) for f in values], symmetry, 1e-9), str)


def _finish(system: BrentSystem, done: Snapped, report: RationaliseReport) -> str:
    """Write the exact factors into the report if the snapped solution is one; else say why not."""
    if done.reason and not done.unknown:
        return done.reason
    if done.field:
        return _over_quadratic_field(system, done, report)
    if done.unknown:
        why = _by_linear_solve(system, done.exact, report)
        return f"{done.reason}; {why}" if why else ""
    values = _numbers(done.exact)
    rows = [system.tying.read(values, s).tolist() for s in range(3)]
    x, w, d, den = clear_terms(rows[0], rows[1], rows[2], values[system.size + system.tying.orbit].tolist())
    if not holds(system.target, x, w, d, den):
        return "all entries rational, but the identity fails in integers"
    report.e_x, report.e_w, report.d, report.den, report.ring = x, w, d, den, ring_of(den)
    return ""


def _numbers(exact: Sequence[Fraction | None]) -> Array:
    """Return the unknowns as an object array of fractions (0 for those not recognised)."""
    out = np.empty(len(exact), dtype=object)
    out[:] = [v if v is not None else Fraction(0) for v in exact]
    return out


def _over_quadratic_field(system: BrentSystem, done: Snapped, report: RationaliseReport) -> str:
    """Write factors over Q(√d) into the report and prove them; return why that is not possible."""
    base = ring_named(f"Q(sqrt({done.field}))")
    t = system.tying
    den = lcm(*(v.denominator for pair in done.quadratic for v in pair))
    numbers = np.array([[int(v * den) for v in pair] for pair in done.quadratic], dtype=object)
    x, w, d = (np.stack([t.read(numbers[:, k], s) for k in range(2)], axis=-1) for s in range(3))
    d = np.swapaxes(base.multiply(d, numbers[system.size + t.orbit][:, None, :]), 0, 1)
    index = np.argwhere(system.target)
    values = np.rint(system.target[tuple(index.T)]).astype(np.int64)
    a, b, c = system.target.shape
    encoder = Encoder.build(Target("dense", (a, b, c), index, values), x, w, (d, den**4), ring=base)
    if not encoder.is_exact:
        return f"all entries in {base.name}, but the identity fails there"
    report.e_x, report.e_w, report.d, report.den, report.ring = x, w, d, den**4, base.name
    return ""


def _by_linear_solve(system: BrentSystem, exact: Sequence[Fraction | None], report: RationaliseReport) -> str:
    """Use that two exact factors determine the third linearly; return why that is not possible."""
    t = system.tying
    if any(exact[i] is None for s in range(2) for i in t.slots[s][2].tolist()):
        return "more than one factor has entries that are not rational"
    rows = [t.read(_numbers(exact), s).tolist() for s in range(2)]
    ones = [[Fraction(1)] for _ in range(system.rank)]
    x, w, _, _ = clear_terms(rows[0], rows[1], ones, [Fraction(1)] * system.rank)
    solved = third_factor(system.target, x, w)
    if solved is None:
        return "the third factor is not determined over Q by the other two"
    report.e_x, report.e_w, (report.d, report.den) = x, w, solved
    report.ring = ring_of(report.den)
    return ""


def _level(name: str) -> int:
    """Return the place of a ring in `RINGS`."""
    return len(RINGS) - 1 if name.startswith("Q(sqrt") else RINGS.index(name)


def _quality(report: RationaliseReport) -> tuple[int, int, int]:
    """Return what is minimised among exact results: ring, denominator, sum of absolute numerators."""
    total = sum(int(np.abs(f).sum()) for f in (report.e_x, report.e_w, report.d) if f is not None)
    return _level(report.ring), report.den, total


def _done(report: RationaliseReport, reason: str, start: float) -> RationaliseReport:
    """Stamp reason and wall time."""
    report.reason = reason
    report.seconds = time.monotonic() - start
    return report
