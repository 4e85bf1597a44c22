"""Numerical bilinear algorithm in, exact one out (or the reason why not)."""

from __future__ import annotations

import time
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

from .gauge import apply_bases, candidate_bases, matmul_format
from .model import Model, Tying, free_tying
from .polish import polish
from .snap import PROFILES, Profile, Snapped, pin_vectors, snap
from .solve import clear_terms, holds, ring_of, third_factor
from .tie import tie_z3

__all__ = ["RationaliseReport", "rationalise"]

Array = NDArray[Any]
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
        Whether the exact terms are permuted by the cyclic shift as asked.
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
    symmetry: str | Tying | None = None,
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
    symmetry : None, "Z3" or Tying
        "Z3" keeps the terms permuted by the cyclic shift of the trace form (square formats only); the
        orbits are recognised from the factors. A :class:`Tying` prescribes shared unknowns.
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
        For shapes that do not fit, non-finite factors, or unknown symmetry or ring.
    """
    start = time.monotonic()
    target, e_x, e_w, d = _checked(target_dense, e_x, e_w, d, ring)
    rng = np.random.default_rng(seed)
    report = RationaliseReport(False)
    if isinstance(symmetry, Tying):
        tying, theta = symmetry, _read(symmetry, e_x, e_w, d)
    elif symmetry == "Z3":
        fmt = matmul_format(target)
        if fmt is None or len(set(fmt)) != 1:
            raise StlError("symmetry", symmetry, "None for a target that is not a square matrix product")
        tied = tie_z3(e_x, e_w, d, fmt[0])
        if isinstance(tied, str):
            return _done(report, tied, start)
        tying, theta = tied
    elif symmetry is None:
        tying = free_tying((target.shape[0], target.shape[1], target.shape[2]), e_x.shape[0])
        theta = _read(tying, e_x, e_w, d)
    else:
        raise StlError("symmetry", symmetry, 'None, "Z3" or a Tying')

    model = Model(target, tying)
    theta = np.concatenate([theta, np.ones(model.scales)])
    free = np.arange(theta.size) < model.size
    theta, report.residual = polish(model, theta, free, steps=200)
    if report.residual > 1e-11:
        return _done(report, f"does not converge to an exact solution: residual {report.residual:.1e}", start)

    fmt = matmul_format(target)
    deadline = start + seconds
    profiles = tuple(Profile(1, 1, 1, 0.3 * k, grid=grid * 2**k) for k in range(4)) if grid else PROFILES
    best: RationaliseReport | None = None
    for based in _gauges(model, theta, fmt, rng, attempts):
        based, _ = polish(model, based, free, steps=20, damping=1e-9)
        pinned_theta, pinned = pin_vectors(model, based)
        for profile in profiles:
            if time.monotonic() > deadline:
                break
            report.attempts += 1
            done = snap(model, pinned_theta, pinned, rng, deadline, profile)
            why = _finish(model, done, report)
            if why:
                report.failures.append(why)
                if done.moves == 0:
                    break  # these coordinates lead nowhere whatever the order of the moves
                continue
            report.steps, report.backtracks = done.moves, done.backtracks
            if best is None or _quality(report) < _quality(best):
                best = replace(report)
                now = time.monotonic()
                if _level(best.ring) <= RINGS.index(ring):
                    deadline = min(start + seconds, now + max(PATIENCE * (now - start), seconds / 5))
            if best.ring == "Z" or done.moves == 0 or grid:
                break
            report.failures.append(f"exact over {report.ring} only (denominator {report.den})")
        if time.monotonic() > deadline or (best is not None and (best.ring == "Z" or grid)):
            break
    if best is not None and _level(best.ring) <= RINGS.index(ring):
        best.success, best.invariant = True, tying.cyclic
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


def _read(tying: Tying, e_x: Array, e_w: Array, d: Array) -> Array:
    """Return the unknowns of a tying as the mean of the factor entries that read them."""
    total = np.zeros(tying.unknowns)
    count = np.zeros(tying.unknowns)
    for index, f in ((tying.x, e_x), (tying.w, e_w), (tying.d, d.T)):
        np.add.at(total, index, f)
        np.add.at(count, index, 1)
    return total / np.maximum(count, 1)


def _gauges(
    model: Model, theta: Array, fmt: tuple[int, int, int] | None, rng: np.random.Generator, attempts: int
) -> Any:
    """Yield the solution in one promising system of coordinates after the other."""
    if fmt is None or not (model.tying.cyclic or len(np.unique(model.tying.x)) == model.tying.x.size):
        for _ in range(attempts):
            yield theta
        return
    n, m, p = fmt
    u, v, w, _ = model.split(theta)
    r = model.rank
    mats = (u.reshape(r, n, m), v.reshape(r, m, p), np.swapaxes(w.reshape(r, n, p), 1, 2))
    for bases in candidate_bases(mats, fmt, model.tying.cyclic, rng, keep=attempts):
        x, y, z = apply_bases(mats, bases)
        moved = np.concatenate([np.zeros(model.size), theta[model.size :]])
        moved[model.tying.x] = x.reshape(r, -1)
        moved[model.tying.w] = y.reshape(r, -1)
        moved[model.tying.d] = np.swapaxes(z, 1, 2).reshape(r, -1)
        yield moved


def _finish(model: Model, done: Snapped, report: RationaliseReport) -> str:
    """Write the exact factors into the report if the snapped solution is one; else say why not."""
    t = model.tying
    if done.reason and not done.unknown:
        return done.reason
    if done.field:
        return _over_quadratic_field(model, done, report)
    exact = done.exact
    if done.unknown:
        why = _by_linear_solve(model, exact, report)
        return f"{done.reason}; {why}" if why else ""
    values = [v if v is not None else Fraction(0) for v in exact]
    rows = [[[values[i] for i in row] for row in index] for index in (t.x, t.w, t.d)]
    scale = [values[model.size + int(o)] for o in t.orbit]
    x, w, d, den = clear_terms(rows[0], rows[1], rows[2], scale)
    if not holds(model.target, x, w, d, den):
        return "all entries rational, but the identity fails in integers"
    report.e_x, report.e_w, report.d, report.den, report.ring = x, w, d, den, ring_of(den)
    return ""


def _over_quadratic_field(model: Model, done: Snapped, report: RationaliseReport) -> str:
    """Write factors over Q(√d) into the report and prove them; return why that is not possible."""
    base = ring_named(f"Q(sqrt({done.field}))")
    t = model.tying
    den = lcm(*(v.denominator for pair in done.quadratic for v in pair))
    numbers = np.array([[int(v * den) for v in pair] for pair in done.quadratic], dtype=object)
    x, w, d = (numbers[index] for index in (t.x, t.w, t.d))
    d = np.swapaxes(base.multiply(d, numbers[model.size + t.orbit][:, None, :]), 0, 1)
    index = np.argwhere(model.target)
    values = np.rint(model.target[tuple(index.T)]).astype(np.int64)
    a, b, c = model.target.shape
    encoder = Encoder.build(Target("dense", (a, b, c), index, values), x, w, (d, den**4), ring=base)
    if not encoder.is_exact:
        return f"all entries in {base.name}, but the identity fails there"
    report.e_x, report.e_w, report.d, report.den, report.ring = x, w, d, den**4, base.name
    return ""


def _by_linear_solve(model: Model, exact: list[Fraction | None], report: RationaliseReport) -> str:
    """Use that two exact factors determine the third linearly; return why that is not possible."""
    t = model.tying
    known = [all(exact[i] is not None for i in index.ravel()) for index in (t.x, t.w)]
    if not all(known):
        return "more than one factor has entries that are not rational"
    rows = [[[exact[i] or Fraction(0) for i in row] for row in index] for index in (t.x, t.w)]
    ones = [[Fraction(1)] for _ in range(model.rank)]
    x, w, _, _ = clear_terms(rows[0], rows[1], ones, [Fraction(1)] * model.rank)
    solved = third_factor(model.target, x, w)
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
