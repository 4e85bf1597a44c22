"""Progressive snapping: pin one unknown after the other to a small rational and solve for the rest."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .digits import (
    minimal_polynomial,
    polynomial_text,
    quadratic_field,
    quadratic_from_digits,
    rational_from_digits,
    refine,
)
from .polish import null_space, polish
from .system import BrentSystem

__all__ = ["Snapped", "pin_vectors", "snap"]

Array = NDArray[Any]
# Values an unknown may be moved to along a flat direction.
VALUES = tuple(Fraction(v) for v in ("0", "1", "-1", "1/2", "-1/2", "2", "-2"))
MOVE_STEPS = 20  # iterations after a move; one that leads to a solution converges quadratically
SETTLE = 6  # then the remaining unknowns are rounded to multiples of 1/SETTLE
CARRIED = 4  # failed moves that are repeated in small steps
GENEROUS = (1e-4, 1e-6)  # tolerances tried before NEAR when a pass begins
NEAR = 1e-8  # an unknown this close to one of VALUES already has that value
DETERMINED = 1e-5  # null-space row norm below which an unknown is fixed by the others
# (tolerance, largest denominator) for unknowns that the others determine: tolerance · denominator² is far
# below 1, so that a random real number hardly ever passes
RECOGNISED = (1e-9, 720)


@dataclass(frozen=True)
class Profile:
    """How reluctantly unknowns are moved to 0, to ±1 and to other values, and how random the pass is.

    ``jitter`` perturbs the order of the moves, ``walk`` is the length of a random step along the flat
    directions before the first move: the nearest small rationals are then other ones. With ``grid`` q
    unknowns are moved to the nearest multiple of 1/q instead, which keeps the result close to the start.
    """

    zero: float
    one: float
    other: float
    jitter: float
    walk: float = 0.0
    grid: int = 0

    def values(self, theta: Array) -> Array:
        """Return the values every unknown may be moved to, (unknowns, k)."""
        if self.grid:
            return np.asarray(np.rint(theta * self.grid) / self.grid)[:, None]
        return np.broadcast_to(np.array([float(v) for v in VALUES]), (theta.size, len(VALUES)))

    def exact(self, value: float) -> Fraction:
        """Return the fraction behind one of :meth:`values`."""
        return Fraction(round(value * self.grid), self.grid) if self.grid else Fraction(value)

    @property
    def weights(self) -> Array:
        """Cost factor of every column of :meth:`values`."""
        if self.grid:
            return np.ones(1)
        return np.array([self.zero, self.one, self.one] + [self.other] * (len(VALUES) - 3))


PROFILES = (
    Profile(0.25, 1.0, 8.0, 0.0),
    Profile(0.7, 1.0, 3.0, 0.2),
    Profile(0.25, 1.0, 8.0, 0.3, walk=1.0),
    Profile(0.1, 1.0, 8.0, 0.5, walk=2.0),
    Profile(0.4, 1.0, 20.0, 0.5, walk=1.0),
    Profile(1.0, 1.0, 1.0, 0.2, grid=4),  # the last resort: any rational point close by
)


@dataclass
class Snapped:
    """Outcome of one pass of snapping.

    Attributes
    ----------
    theta : float array
        The final numerical solution.
    exact : list of Fraction or None
        The rational value of every unknown (None: not recognised).
    moves, backtracks : int
        How many unknowns were moved along flat directions, how many attempts were taken back.
    reason : str
        Empty when every unknown is rational (or in one real quadratic field).
    field, quadratic : int and list of (Fraction, Fraction)
        d and every unknown as p + q√d, when they are irrational numbers of Q(√d); 0 and empty otherwise.
    """

    theta: Array
    exact: list[Fraction | None]
    moves: int = 0
    backtracks: int = 0
    reason: str = ""
    unknown: list[int] = dataclasses.field(default_factory=list)
    field: int = 0
    quadratic: list[tuple[Fraction, Fraction]] = dataclasses.field(default_factory=list)


def pin_vectors(system: BrentSystem, theta: Array) -> tuple[Array, Array]:
    """Rescale every vector so that one entry is 1, moving its scale into λ; mark that entry as pinned.

    The pin is the entry that makes most of the vector's entries equal to 0 or ±1; the largest of those.
    """
    theta = theta.copy()
    tying = system.tying
    pinned = np.zeros(theta.size, dtype=bool)
    factor = np.ones(len(tying.vectors))
    for k, row in enumerate(tying.vectors):
        idx = row[row >= 0]
        v = theta[idx]
        top = float(np.abs(v).max())
        if top == 0:
            continue
        best, choice = (-1, 0.0), 0
        for i in np.flatnonzero(np.abs(v) > 0.03 * top):
            rel = v / v[i]
            nice = int((np.abs(rel - np.clip(np.rint(rel), -1, 1)) < 1e-6).sum())
            rank = (nice, round(abs(float(v[i])) / top, 6))
            if rank > best:
                best, choice = rank, int(i)
        factor[k] = v[choice]
        theta[idx] = v / v[choice]
        pinned[idx[choice]] = True
    theta[system.size :] *= factor[tying.reads].prod(axis=1)
    return theta, pinned


def _recognise(value: float, tol: float, largest: int) -> Fraction | None:
    """Return the simplest fraction within tol of value (continued fractions), if its denominator is small."""
    whole = math.floor(value)
    before, now = (1, 0), (whole, 1)
    rest = value - whole
    while abs(value - now[0] / now[1]) > tol:
        if rest == 0 or now[1] > largest:
            return None
        digit = math.floor(1 / rest)
        rest = 1 / rest - digit
        before, now = now, (digit * now[0] + before[0], digit * now[1] + before[1])
    return Fraction(*now) if now[1] <= largest else None


def _wander(
    system: BrentSystem, theta: Array, free: Array, idx: Array, basis: Array, rng: np.random.Generator, length: float
) -> Array:
    """Return a solution about ``length`` away along the flat directions (shorter where they end)."""
    direction = basis @ rng.standard_normal(basis.shape[1])
    for _ in range(4):
        trial = theta.copy()
        trial[idx] += length * direction
        trial, size = polish(system, trial, free, steps=30, damping=1e-4)
        if size < 1e-12:
            return trial
        length *= 0.4
    return theta


def _fix_near(system: BrentSystem, out: Snapped, free: Array, entries: Array, generous: bool) -> bool:
    """Fix every unknown that practically equals one of VALUES and solve again; False if that fails.

    Where the solution set is singular, residuals at rounding leave the unknowns uncertain by the square
    root of rounding; so generous tolerances are tried first.
    """
    nice = np.array([float(v) for v in VALUES])
    gap = np.abs(out.theta[:, None] - nice)
    near, gap = gap.argmin(axis=1), gap.min(axis=1)
    for tol in (*(GENEROUS if generous else ()), NEAR):
        places = np.flatnonzero(free & entries & (gap < tol))
        if tol > NEAR and not (free & entries & (gap < tol) & (gap >= NEAR)).any():
            continue
        trial = out.theta.copy()
        trial[places] = nice[near[places]]
        free[places] = False
        trial, size = polish(system, trial, free, steps=20, damping=1e-9)
        if size < (1e-12 if tol > NEAR else 1e-10):
            out.theta = trial
            for i in places:
                out.exact[i] = VALUES[near[i]]
            return True
        free[places] = True
    return False


def _carry(
    system: BrentSystem, theta: Array, free: Array, place: int, goal: float, bound: float
) -> tuple[Array, float]:
    """Move one unknown to its goal in small steps, solving for the others after each."""
    start = float(theta[place])
    size = np.inf
    for t in (0.2, 0.4, 0.6, 0.8, 1.0):
        theta = theta.copy()
        theta[place] = start + t * (goal - start) if t < 1 else goal
        tolerance = 1e-9 if t < 1 else 1e-13
        theta, size = polish(system, theta, free, steps=12, damping=1e-4, bound=bound, tolerance=tolerance)
        if size > 1e-6:
            break
    return theta, size


def _batch(cost: Array, values: Array, rows: Array, theta: Array, count: int) -> list[tuple[int, float]]:
    """Choose up to ``count`` moves that are independent to first order, cheapest first.

    Parameters
    ----------
    cost, values : float arrays (k, v)
        Cost of moving each unknown to each of its values, and the values.
    rows : float array (k, dim)
        Rows of the null-space basis.
    theta : float array (k,)
        Present values.
    """
    directions = np.zeros((0, rows.shape[1]))
    shift = np.zeros(rows.shape[1])
    out: list[tuple[int, float]] = []
    for k in np.argsort(cost.min(axis=1)):
        row = rows[k] - (rows[k] @ directions.T) @ directions
        size = float(np.linalg.norm(row))
        if size < 0.3 * np.linalg.norm(rows[k]):
            continue
        now = float(theta[k] + rows[k] @ shift)
        stretch = cost[k] / np.maximum(np.abs(values[k] - theta[k]), 1e-12)  # weight / reach
        value = float(values[k][int(np.argmin(np.abs(values[k] - now) * stretch))])
        shift += row * ((value - now) / size**2)
        directions = np.concatenate([directions, row[None, :] / size])
        out.append((int(k), value))
        if len(out) == count:
            break
    return out


def _move_all(
    system: BrentSystem,
    out: Snapped,
    free: Array,
    idx: Array,
    basis: Array,
    moves: list[tuple[int, float]],
    profile: Profile,
    bound: float,
) -> bool:
    """Make several moves at once; on success write them into ``out`` and ``free``."""
    rows = np.array([basis[k] for k, _ in moves])
    places = idx[[k for k, _ in moves]]
    goals = np.array([v for _, v in moves])
    trial = out.theta.copy()
    trial[idx] += basis @ np.linalg.lstsq(rows, goals - trial[places], rcond=None)[0]
    trial[places] = goals
    free[places] = False
    trial, size = polish(system, trial, free, steps=MOVE_STEPS, damping=1e-4, bound=bound)
    if size < 1e-12 and np.abs(trial).max() < bound:
        out.theta = trial
        for place, goal in zip(places, goals.tolist(), strict=True):
            out.exact[place] = profile.exact(goal)
        out.moves += len(moves)
        return True
    free[places] = True
    out.backtracks += 1
    return False


def snap(
    system: BrentSystem,
    theta: Array,
    pinned: Array,
    rng: np.random.Generator,
    deadline: float,
    profile: Profile = PROFILES[0],
    tries: int = 10,
    bound: float = 64.0,
) -> Snapped:
    """Turn a numerical solution into a rational one by snapping unknowns one by one.

    Unknowns that already equal a small rational are fixed at once. While flat directions remain, the
    unknown that reaches such a value by the shortest move along them is fixed there and the system is
    solved again for the others; a move after which the residual does not return to rounding is taken
    back and the next one tried.

    Parameters
    ----------
    system, theta : BrentSystem, float array
        A solution to machine precision.
    pinned : bool array
        Unknowns pinned to 1 (see :func:`pin_vectors`).
    rng : numpy Generator
        Perturbs the order of the moves.
    deadline : float
        ``time.monotonic()`` at which to give up.
    profile : Profile
        Which values are preferred.
    tries : int
        Moves attempted before the pass fails.
    bound : float
        Largest unknown allowed (or four times the largest at the start, if that is more).
    """
    out = Snapped(theta.copy(), [None] * theta.size)
    bound = max(bound, 4 * float(np.abs(theta).max()))
    for i in np.flatnonzero(pinned):
        out.exact[i], out.theta[i] = Fraction(1), 1.0
    free = ~pinned
    first = True
    banned: set[tuple[int, int]] = set()
    together = 3  # a third of the flat directions is used up at once while that works
    walk = profile.walk
    entries = np.arange(theta.size) < system.size
    while True:
        if not _fix_near(system, out, free, entries, first):
            out.reason = "fixing near-rational entries broke the identity"
            return out
        first = False
        idx, basis = null_space(system, out.theta, free)
        if basis.shape[1] == 0:
            break
        if walk:
            out.theta = _wander(system, out.theta, free, idx, basis, rng, walk)
            walk = 0.0
            continue
        reach = np.linalg.norm(basis, axis=1)
        movable = np.flatnonzero((reach > DETERMINED) & (idx < system.size))
        if movable.size == 0:
            movable = np.flatnonzero(reach > DETERMINED)
        values = profile.values(out.theta[idx])
        cost = np.abs(out.theta[idx[movable], None] - values[movable]) / reach[movable, None] * profile.weights
        if profile.jitter:
            cost = cost * np.exp(profile.jitter * rng.standard_normal(cost.shape))
        if together > 1 and basis.shape[1] > 3:
            chosen = _batch(cost, values[movable], basis[movable], out.theta[idx[movable]], basis.shape[1] // together)
            if _move_all(system, out, free, idx, basis, [(int(movable[k]), v) for k, v in chosen], profile, bound):
                continue
            together = together * 2 if basis.shape[1] // together > 2 else 1
            continue
        attempts = 0
        for flat in np.argsort(cost, axis=None):
            row, col = divmod(int(flat), values.shape[1])
            k = int(movable[row])
            if (int(idx[k]), col) in banned:
                continue
            if time.monotonic() > deadline:
                out.reason = "time is up"
                return out
            goal = float(values[k, col])
            trial = out.theta.copy()
            trial[idx] += basis @ (basis[k] * ((goal - trial[idx[k]]) / reach[k] ** 2))
            trial[idx[k]] = goal
            free[idx[k]] = False
            trial, size = polish(system, trial, free, steps=MOVE_STEPS, damping=1e-4, bound=bound)
            if size > 1e-12 and attempts < CARRIED:
                trial, size = _carry(system, out.theta, free, int(idx[k]), goal, bound)
            if size < 1e-12 and np.abs(trial).max() < bound:
                out.theta, out.exact[idx[k]] = trial, profile.exact(goal)
                out.moves += 1
                break
            free[idx[k]] = True
            banned.add((int(idx[k]), col))
            out.backtracks += 1
            attempts += 1
            if attempts >= tries:
                break
        else:
            attempts = tries  # no move left to try
        if attempts >= tries:
            if profile.grid:
                out.reason = f"no move along {basis.shape[1]} flat directions keeps the identity"
                return out
            # the simplest values are out of reach: settle for any rational point close by
            profile, banned = Profile(1.0, 1.0, 1.0, profile.jitter, grid=SETTLE), set()
    _read_off(system, out)
    return out


def _read_off(system: BrentSystem, out: Snapped) -> None:
    """Recognise the unknowns that the snapped ones determine, with more digits where float64 does not do."""
    guess = list(out.exact)
    for place, value in enumerate(out.theta.tolist()):
        if guess[place] is None:
            guess[place] = _recognise(value, RECOGNISED[0] * max(1.0, abs(value)), RECOGNISED[1])
    if None in guess:
        digits = refine(system, out.theta, out.exact)
        if digits is None:
            out.reason = "the last unknowns are not isolated"
            return
        guess = [v if v is not None else rational_from_digits(digits[i]) for i, v in enumerate(out.exact)]
        out.unknown = [i for i, v in enumerate(guess) if v is None]
        if out.unknown:
            poly = minimal_polynomial(digits[out.unknown[0]])
            if poly and (d := quadratic_field(poly)):
                pairs = [
                    (v, Fraction(0)) if v is not None else quadratic_from_digits(digits[i], d)
                    for i, v in enumerate(guess)
                ]
                if None not in pairs:
                    out.field, out.unknown, out.quadratic = d, [], [p for p in pairs if p is not None]
                    return
            what = f"a root of {polynomial_text(poly)}" if poly else "no algebraic number of small height"
            out.reason = (
                f"{len(out.unknown)} isolated entries are irrational: {out.theta[out.unknown[0]]:.12g} is {what}"
            )
    out.exact = guess
