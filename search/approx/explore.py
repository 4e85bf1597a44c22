"""Which group, which orbit types, at which rank: asynchronous successive halving over invariant subspaces.

An *arm* is a group with a multiset of its orbit types.  New arms are drawn at random or made from good ones, of the
same rank or a neighbouring one, by exchanging orbits; each gets a few short runs, and the best third of every rung
goes on to more and longer ones (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.lm.actions import Action, conjugation, cyclic_shift, generate
from search.lm.engine import minimise
from search.lm.groups import named_action
from search.lm.jobs import matmul_tensor
from search.lm.orbits import Invariant, orbit_types, sample_counts
from search.lm.parametrisation import OrbitType, Parametrisation
from search.lm.schedules import SCHEDULES

Array = NDArray[Any]
Format = tuple[int, int, int]
Counts = tuple[int, ...]

#: Mean squared rounding of bf16 in encoded activations, encoded weights and products together (math.md §3).
BF16 = 8.25e-6
SCHEDULE = SCHEDULES["default"].with_(mu_start=0.3, mu_end=2e-5, kappa_weight=BF16, polish_below=0.0, anneal=0.8)
#: Restarts and iterations of the rungs.
RUNGS = ((12, 60), (24, 120), (48, 200), (96, 300))
KEEP = 3


@lru_cache(maxsize=512)
def action_of(name: str, fmt: Format) -> tuple[Action, tuple[OrbitType, ...]]:
    """An action and its orbit types; ``Z3~PART`` is the cyclic shift followed by PART on the first side alone."""
    parts = name.split("*")
    if any(p.startswith("Z3~") for p in parts):
        elements = []
        for part in parts:
            if part.startswith("Z3~"):
                inner = named_action(part[3:], fmt).elements[1]
                big = inner.maps[0].reshape([fmt[0]] * 4)  # P ⊗ P: recover P up to sign from one slice
                p = _square_root(big)
                elements.append(conjugation(p, np.eye(fmt[1]), np.eye(fmt[2])) @ cyclic_shift(fmt[0]))
            else:
                elements += list(named_action(part, fmt).elements[1:])
        action = generate(elements, name)
    else:
        action = named_action(name, fmt)
    return action, tuple(orbit_types(action))


def _square_root(big: Array) -> Array:
    """P from P ⊗ P, up to sign."""
    at = np.unravel_index(np.abs(np.einsum("ijij->ij", big.transpose(0, 2, 1, 3))).argmax(), big.shape[:1] * 2)
    i, j = int(at[0]), int(at[1])
    row: Array = big[i, :, j, :]
    return row / np.sqrt(abs(row[i, j]))


@dataclass
class Arm:
    """A group with a multiset of its orbit types, and the best it has given."""

    group: str
    counts: Counts
    rank: int
    rung: int = -1
    total: float = np.inf
    seconds: float = 0.0


@dataclass
class End:
    """Where a run ended."""

    rank: int
    total: float
    eps2: float
    kappa2: float
    factors: tuple[Array, Array, Array] = field(repr=False)
    origin: dict[str, Any]


@dataclass
class Pool:
    """The best distinct ends of every rank."""

    most: int = 24
    ends: dict[int, list[End]] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def offer(self, end: End) -> bool:
        """Keep an end if it is among the best of its rank; whether it is the best."""
        here = self.ends.setdefault(end.rank, [])
        if any(abs(e.total - end.total) < 1e-6 * end.total for e in here) or not np.isfinite(end.total):
            return False
        first = not here or end.total < here[0].total
        here.append(end)
        here.sort(key=lambda e: e.total)
        del here[self.most :]
        if first:
            self.changed.add(end.rank)
        return first

    def best(self, rank: int) -> float:
        """Least total error of a rank."""
        return self.ends[rank][0].total if self.ends.get(rank) else np.inf


def ends_of(result: Any, origin: dict[str, Any], most: int = 6, weight: float = BF16) -> list[End]:
    """The best ends of a run."""
    total = result.eps2 + weight * result.kappa2
    order = np.argsort(np.where(np.isfinite(total), total, np.inf))[:most]
    out = []
    for i in order:
        factors = tuple(np.array(f) for f in result.factors(int(i)))
        out.append(End(result.parametrisation.rank, float(total[i]), float(result.eps2[i]), float(result.kappa2[i]),
                       factors, {**origin, "restart": int(result.restart[i])}))
    return out


class Explorer:
    """Arms of one format at several ranks."""

    def __init__(
        self, fmt: Format, ranks: Sequence[int], groups: Sequence[str], pool: Pool, device: str = "cpu", seed: int = 0,
        scale: int = 1, log: Callable[[str], None] = print, limit: float = 8.0,
    ) -> None:
        self.fmt, self.ranks, self.pool, self.device, self.scale, self.log = fmt, tuple(ranks), pool, device, scale, log
        self.target = matmul_tensor(*fmt)
        self.rng = np.random.default_rng(seed)
        self.arms: dict[int, list[Arm]] = {r: [] for r in ranks}
        self.groups = list(groups)
        self.limit = limit
        self.bad: set[str] = set()
        self.tries = 0

    def step(self, rank: int) -> None:
        """One run: promote an arm of this rank if one deserves it, else try a new one."""
        arm = self._promotable(rank) or self._fresh(rank)
        if arm is None:
            return
        restarts, iterations = RUNGS[arm.rung + 1]
        action, types = action_of(arm.group, self.fmt)
        par = Invariant(action, arm.counts, types=types)
        self.tries += 1
        begin = time.perf_counter()
        restarts = max(4, int(restarts * self.scale * min(1.0, (250 / par.size) ** 2)))
        result = minimise(self.target, par, restarts=restarts, iterations=iterations, schedule=SCHEDULE,
                          seed=self.tries, device=self.device, seconds=self.limit)
        arm.rung += 1
        arm.seconds += time.perf_counter() - begin
        origin = {"group": arm.group, "counts": list(arm.counts), "label": par.label, "seed": self.tries,
                  "stage": f"group, rung {arm.rung}"}
        for end in ends_of(result, origin):
            arm.total = min(arm.total, end.total)
            self.pool.offer(end)

    def _promotable(self, rank: int) -> Arm | None:
        for rung in range(len(RUNGS) - 2, -1, -1):
            here = sorted((a for a in self.arms[rank] if a.rung >= rung), key=lambda a: a.total)
            for arm in here[: len(here) // KEEP]:
                if arm.rung == rung:
                    return arm
        return None

    def _fresh(self, rank: int) -> Arm | None:
        known = {(a.group, a.counts) for a in self.arms[rank]}
        for _ in range(40):
            mutate = self.rng.random() < min(0.65, len(self.arms[rank]) / 60)
            draw = self._mutant(rank) if mutate else self._random(rank)
            if draw is not None and draw not in known:
                arm = Arm(*draw, rank)
                self.arms[rank].append(arm)
                return arm
        return None

    def _random(self, rank: int) -> tuple[str, Counts] | None:
        group = str(self.rng.choice([g for g in self.groups if g not in self.bad]))
        try:
            _, types = action_of(group, self.fmt)
        except Exception as error:
            self.log(f"{group}: {error}")
            self.bad.add(group)
            return None
        share = float(self.rng.choice([0.15, 0.35, 0.6]))
        found = sample_counts(types, rank, 1, int(self.rng.integers(1 << 30)), share)
        return (group, found[0]) if found else None

    def _mutant(self, rank: int) -> tuple[str, Counts] | None:
        """A good arm of this or a near rank with some orbits exchanged."""
        near = [r for r in self.arms if abs(r - rank) <= 9 and self.arms[r]]
        if not near:
            return None
        weight = np.array([0.5 ** (abs(r - rank) / 2) for r in near])
        source = near[int(self.rng.choice(len(near), p=weight / weight.sum()))]
        arms = sorted(self.arms[source], key=lambda a: a.total)[: max(4, len(self.arms[source]) // 8)]
        arm = arms[min(len(arms) - 1, int(self.rng.exponential(3)))]
        _, types = action_of(arm.group, self.fmt)
        sizes = [t.size for t in types]
        counts = list(arm.counts)
        for _ in range(int(self.rng.integers(source == rank, 3))):
            held = [i for i, k in enumerate(counts) if k]
            if held:
                counts[int(self.rng.choice(held))] -= 1
        left = rank - sum(k * s for k, s in zip(counts, sizes, strict=True))
        while left < 0:
            held = [i for i, k in enumerate(counts) if k]
            i = int(self.rng.choice(held))
            counts[i] -= 1
            left += sizes[i]
        while left:
            fits = [i for i, s in enumerate(sizes) if s <= left]
            if not fits:
                return None
            size = int(self.rng.choice(sorted({sizes[i] for i in fits})))
            i = int(self.rng.choice([i for i in fits if sizes[i] == size]))
            counts[i] += 1
            left -= size
        return arm.group, tuple(counts)
