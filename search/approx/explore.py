"""Which group, which orbit types, from where: an evolution of invariant subspaces and of the encoders in them.

An *arm* is a group with a multiset of its orbit types and the best parameters found there.  New arms come from random
multisets, raised by successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020), or
from good arms by three warm moves:

* *exchange*: orbits that cost least to remove go, others come in, at the same or a neighbouring rank (deflation and
  continuation along the rank are the cases where nothing comes in or nothing goes);
* *release*: the same encoder under a subgroup, shaken a little;
* *shake*: the same arm again from its own ends with noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.symmetry import sample_multisets

from ..lm.deflation import from_copies, to_copies
from ..lm.engine import minimise
from ..lm.invariant import Invariant, types_of
from ..lm.parametrisation import OrbitType, Parametrisation
from ..lm.problem import matmul_tensor
from ..lm.projection import balanced
from ..lm.schedules import SCHEDULES
from .pool import BF16, End, Factors, Format, Pool, ends_of
from .restrict import restricted

__all__ = ["COLD", "WARM", "Arm", "Explorer", "removal_costs"]

Array = NDArray[Any]
Counts = tuple[int, ...]

#: From random starts: the norm penalty falls from where few terms pay to almost nothing, κ² weighs as in the score.
COLD = SCHEDULES["default"].with_(mu_start=0.3, mu_end=2e-5, kappa_weight=BF16, polish_below=0.0, anneal=0.8)
#: From good ends.
WARM = COLD.with_(mu_start=3e-3, mu_end=1e-7, damping=0.1, anneal=0.6, stall=1e-5)
#: Restarts and iterations of the rungs of successive halving, and the fraction that rises.
RUNGS = ((12, 60), (24, 120), (48, 200), (96, 300))
KEEP = 1 / 3


def subgroups_of(name: str) -> list[str]:
    """Names of the subgroups reached by leaving out parts of a name, largest first, and ``none``."""
    parts = name.split("*")
    if name == "none":
        return []
    smaller = ["*".join(p for j, p in enumerate(parts) if j != i) for i in range(len(parts))] if len(parts) > 1 else []
    return [*smaller, "none"]


def removal_costs(factors: Factors) -> Array:
    """Growth of ‖T̂−T‖² when a term goes and one slot of the others is refitted, the least of the three slots, (r,).

    With two slots fixed T̂ is linear in the third; leaving out column l of a least-squares fit costs
    ‖coefficient_l‖² / (G⁻¹)_ll with G the Gram matrix of the fixed parts.
    """
    x, w, d = balanced(*factors)
    slots = [x, w, d.T]
    grams = [s @ s.T for s in slots]
    cost = []
    for s in range(3):
        inverse = np.linalg.pinv(grams[(s + 1) % 3] * grams[(s + 2) % 3], rcond=1e-10, hermitian=True)
        cost.append((slots[s] ** 2).sum(1) / np.maximum(np.diag(inverse), 1e-300))
    least: Array = np.min(cost, axis=0)
    return least


@dataclass
class Arm:
    """A group with a multiset of its orbit types, and the best found there."""

    group: str
    counts: Counts
    rank: int
    rung: int = -1
    total: float = np.inf
    thetas: list[tuple[float, Array]] = field(default_factory=list, repr=False)
    trail: list[str] = field(default_factory=list)

    def keep(self, total: float, theta: Array, most: int = 8) -> None:
        """Remember parameters if they are among the best and new."""
        if np.isfinite(total) and all(abs(total - t) > 1e-5 * t for t, _ in self.thetas):
            self.thetas = sorted([*self.thetas, (total, theta)], key=lambda x: x[0])[:most]
            self.total = min(self.total, total)


class Explorer:
    """Arms of one format at several ranks; :meth:`step` makes one run and offers its ends to the pool.

    Parameters
    ----------
    fmt : (n, m, p)
    ranks : sequence of int
    groups : sequence of str
        Names of symmetries (:mod:`stl_algebra.symmetry.grammar`).
    pool : Pool
    device : str
    seed : int
    restarts : int
        Multiplies the restarts of every run.
    seconds : float
        Limit of a run.
    explore : float
        Share of the runs that go to random multisets and their promotion.
    widest : int
        Unknowns of the largest space entered.
    most : int
        Restarts of a run, at most.
    log : callable
    """

    def __init__(
        self,
        fmt: Format,
        ranks: Sequence[int],
        groups: Sequence[str],
        pool: Pool,
        device: str = "cpu",
        seed: int = 0,
        restarts: int = 1,
        seconds: float = 8.0,
        explore: float = 0.35,
        widest: int = 10_000,
        most: int = 256,
        log: Callable[[str], None] = print,
    ) -> None:
        self.fmt, self.pool, self.device, self.log = fmt, pool, device, log
        self.target, self.rng = matmul_tensor(*fmt), np.random.default_rng(seed)
        self.arms: dict[int, dict[tuple[str, Counts], Arm]] = {r: {} for r in ranks}
        self.groups, self.scale, self.seconds, self.explore = list(groups), restarts, seconds, explore
        self.widest, self.most = widest, most
        self.runs, self.seed = 0, seed
        self.gains: dict[str, list[int]] = {}

    # -- bookkeeping ---------------------------------------------------------------------------------------

    def arm(self, group: str, counts: Counts, rank: int) -> Arm:
        """The arm of that name, made if there is none."""
        return self.arms.setdefault(rank, {}).setdefault((group, counts), Arm(group, counts, rank))

    def space(self, group: str, counts: Counts) -> Parametrisation:
        """Its parametrisation."""
        return Invariant(group, self.fmt, counts)

    def adopt(self, end: End) -> None:
        """Make an arm of an encoder found elsewhere: under the group in its origin if it is invariant, else none."""
        for group in (str(end.origin.get("group", "none")), "none"):
            try:
                action, types = types_of(group, self.fmt)
                found = restricted(end.factors, action, types)
            except (ValueError, KeyError):
                continue
            if found is not None:
                arm = self.arm(group, found[0], end.rank)
                arm.trail = [str(t) for t in end.origin.get("trail", [])]
                arm.keep(end.total, found[1])
                return

    def elite(self, rank: int, spread: float = 3.0) -> Arm | None:
        """A good arm of a rank with parameters, better ones more often."""
        arms = self.arms.get(rank, {}).values()
        here = sorted((a for a in arms if a.thetas and len(a.thetas[0][1]) <= self.widest), key=lambda a: a.total)
        return here[min(len(here) - 1, int(self.rng.exponential(spread)))] if here else None

    # -- runs ----------------------------------------------------------------------------------------------

    def step(self, rank: int) -> None:
        """One run for a rank."""
        self.runs += 1
        near = [r for r in self.arms if abs(r - rank) <= 4 and self.elite(r) is not None]
        if self.rng.random() < self.explore or not near:
            self._cold(rank)
        elif self.elite(rank) is None:
            self._exchange(rank)
        else:
            draw = self.rng.random()
            (self._exchange if draw < 0.6 else self.release if draw < 0.8 else self._shake)(rank)

    def run(self, arm: Arm, move: str, init: Array | None, restarts: int, iterations: int, schedule: Any) -> None:
        """Optimise in an arm and keep the ends."""
        par = self.space(arm.group, arm.counts)
        before = self.pool.best(arm.rank)
        if self.device != "cpu" and iterations <= 100:
            schedule = schedule.with_(stall=0.0)  # a batch that keeps its size is captured once
        result = minimise(
            self.target,
            par,
            restarts=restarts,
            iterations=iterations,
            schedule=schedule,
            seed=1_000_003 * self.seed + self.runs,
            device=self.device,
            init=init,
            seconds=self.seconds,
        )
        origin = {
            "group": arm.group, "counts": list(arm.counts), "label": par.label, "seed": self.seed, "run": self.runs,
            "move": move, "trail": arm.trail[-10:],
        }  # fmt: skip
        for end in ends_of(result, origin):
            arm.keep(end.total, result.theta[end.origin["row"]])
            self.pool.offer(end)
        tally = self.gains.setdefault(move, [0, 0])
        tally[0] += 1
        tally[1] += self.pool.best(arm.rank) < before * 0.9995

    def _many(self, size: int, most: int) -> int:
        return int(np.clip(most * self.scale * min(1.0, (400 / size) ** 2), 6 if self.scale == 1 else 32, self.most))

    def _cold(self, rank: int) -> None:
        arm = self._promotable(rank) or self._fresh(rank)
        if arm is not None:
            restarts, iterations = RUNGS[arm.rung + 1]
            arm.rung += 1
            size = self.space(arm.group, arm.counts).size
            schedule = COLD if iterations > 100 else COLD.with_(stall=0.0)
            self.run(arm, "random", None, self._many(size, restarts), iterations, schedule)

    def _promotable(self, rank: int) -> Arm | None:
        for rung in range(len(RUNGS) - 2, -1, -1):
            here = sorted((a for a in self.arms[rank].values() if a.rung >= rung), key=lambda a: a.total)
            for arm in here[: int(len(here) * KEEP)]:
                if arm.rung == rung:
                    return arm
        return None

    def _fresh(self, rank: int) -> Arm | None:
        for _ in range(20):
            model = self.elite(rank) if self.rng.random() < 0.4 else None
            if model is not None and model.group in self.groups:
                counts = self._edited(model, [t.size for t in types_of(model.group, self.fmt)[1]], rank)
                if counts is not None and (model.group, counts) not in self.arms[rank]:
                    return self.arm(model.group, counts, rank)
                continue
            group = str(self.rng.choice(self.groups))
            try:
                _, types = types_of(group, self.fmt)
            except ValueError as error:
                self.log(f"{group}: {error}")
                self.groups.remove(group)
                continue
            share = float(self.rng.choice([0.15, 0.35, 0.6]))
            found = sample_multisets(types, rank, 1, int(self.rng.integers(1 << 30)), share)
            if found and (group, found[0]) not in self.arms[rank]:
                return self.arm(group, found[0], rank)
        return None

    def _exchange(self, rank: int) -> None:
        near = [r for r in self.arms if abs(r - rank) <= 4 and self.elite(r) is not None]
        weight = np.array([0.6 ** abs(r - rank) for r in near])
        source = self.elite(near[int(self.rng.choice(len(near), p=weight / weight.sum()))])
        assert source is not None
        types = types_of(source.group, self.fmt)[1]
        counts = self._edited(source, [t.size for t in types], rank)
        if counts is None:
            return
        arm = self.arm(source.group, counts, rank)
        arm.trail = [*source.trail, f"{source.group} r{source.rank} {source.total:.4f}"]
        old, new = self.space(source.group, source.counts), self.space(source.group, counts)
        many = self._many(new.size, 24)
        pick = [source.thetas[int(i)][1] for i in self.rng.integers(0, len(source.thetas), many)]
        init = np.stack([self._transplant(old, new, types, source.counts, counts, theta) for theta in pick])
        self.run(
            arm, "exchange" if source.rank == rank else "drop" if source.rank > rank else "add", init, many, 70, WARM
        )

    def _edited(self, source: Arm, sizes: list[int], rank: int) -> Counts | None:
        """Orbit counts near the source's with the wanted rank."""
        counts = list(source.counts)
        left = rank - source.rank
        for _ in range(int(self.rng.integers(1, 3)) if left == 0 else int(self.rng.integers(0, 2))):
            held = [i for i, k in enumerate(counts) if k]
            i = int(self.rng.choice(held))
            counts[i] -= 1
            left += sizes[i]
        while left < 0:
            held = [i for i, k in enumerate(counts) if k]
            if not held:
                return None
            i = int(self.rng.choice(held, p=np.array([1 / sizes[i] for i in held]) / sum(1 / sizes[i] for i in held)))
            counts[i] -= 1
            left += sizes[i]
        while left:
            fitting = sorted({s for s in sizes if s <= left})
            if not fitting:
                return None
            size = int(self.rng.choice(fitting))
            i = int(self.rng.choice([i for i, s in enumerate(sizes) if s == size]))
            counts[i] += 1
            left -= size
        return tuple(counts) if any(counts) else None

    def _transplant(
        self,
        old: Parametrisation,
        new: Parametrisation,
        types: Sequence[OrbitType],
        had: Counts,
        want: Counts,
        theta: Array,
    ) -> Array:
        """A start of the new arm from parameters of the old: cheap orbits go (with a random element), new ones come.

        Whatever type keeps its count still has a third of a chance to renew one orbit where orbits are exchanged.
        """
        held = {t.name: c for (t, _), c in zip(old.orbits, to_copies(old, theta), strict=True)}
        x, w, d = old.expand(theta)
        costs = removal_costs((x, w, d))
        of_type: dict[str, Array] = {}
        at = 0
        for orbit, count in old.orbits:
            of_type[orbit.name] = costs[at : at + count * orbit.size].reshape(count, orbit.size).sum(1)
            at += count * orbit.size
        rms = float(np.sqrt((theta**2).mean())) * float(self.rng.choice([0.1, 0.3, 0.8]))
        renew = sum(had) >= sum(want) and had == want
        lucky = int(self.rng.integers(len(new.orbits)))
        blocks_out = []
        for number, (orbit, count) in enumerate(new.orbits):
            kept = np.empty(0, dtype=int)
            if orbit.name in held:
                cost = np.log(np.maximum(of_type[orbit.name], 1e-12))
                cost = cost + 0.7 * self.rng.gumbel(size=len(cost))
                stay = min(count, len(cost)) - int(renew and number == lucky)
                kept = np.sort(np.argsort(-cost)[: max(0, stay)])
            blocks = []
            for b, width in enumerate(orbit.widths):
                fresh = rms * self.rng.standard_normal((1, count - len(kept), width))
                stayed = held[orbit.name][b][:, kept] if len(kept) else np.empty((1, 0, width))
                blocks.append(np.concatenate([stayed, fresh], axis=1))
            blocks_out.append(blocks)
        start: Array = from_copies(blocks_out)[0]
        return start

    def release(self, rank: int, group: str | None = None) -> None:
        """The encoders of a good arm under a subgroup: `group`, or one drawn from those its name shows."""
        arms = self.arms.get(rank, {}).values()
        here = sorted((a for a in arms if a.thetas and a.group not in ("none", group)), key=lambda a: a.total)
        if not here:
            return
        arm = here[0 if group else min(len(here) - 1, int(self.rng.exponential(2)))]
        smaller = [group] if group else subgroups_of(arm.group)
        group = smaller[int(self.rng.integers(len(smaller)))]
        action, types = types_of(group, self.fmt)
        par = self.space(arm.group, arm.counts)
        found = [f for _, theta in arm.thetas[:4] if (f := restricted(par.expand(theta), action, types)) is not None]
        same = [f for f in found if f[0] == found[0][0]]
        if not same or len(same[0][1]) > self.widest:
            return
        goal = self.arm(group, same[0][0], rank)
        goal.trail = [*arm.trail, f"{arm.group} r{rank} {arm.total:.4f}"]
        base = np.stack([f[1] for f in same])
        self.run(goal, "release", self._noisy(base, self._many(base.shape[1], 16)), len(base), 80, WARM)

    def _shake(self, rank: int) -> None:
        arm = self.elite(rank, 1.5)
        if arm is not None:
            base = np.stack([theta for _, theta in arm.thetas])
            self.run(arm, "shake", self._noisy(base, self._many(base.shape[1], 16)), len(base), 90, WARM)

    def _noisy(self, base: Array, many: int) -> Array:
        rows = base[np.arange(max(many, len(base))) % len(base)]
        level = self.rng.choice([0.01, 0.03, 0.1, 0.2], size=(len(rows), 1))
        level[: len(base)] = 0.0
        rms = np.sqrt((rows**2).mean(1, keepdims=True))
        return np.asarray(rows + level * rms * self.rng.standard_normal(rows.shape))
