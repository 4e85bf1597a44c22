"""One invariant subspace in depth: a population of encoders that move, are polished together, and keep what is better.

:class:`search.approx.explore.Explorer` learns *which* subspace; a :class:`Population` works in a single one, the space
without symmetry included, with every lineage a row of one batch that stays on its device.  A generation makes one child
of every lineage by one move and polishes all of them by the same number of Levenberg–Marquardt steps:

* *swap*: orbits that cost little to remove are replaced by random ones;
* *widen*: orbits are added where the residual is largest, the wider encoder is polished, then as many cheap ones go;
* *thin*: cheap orbits go, the thinner encoder is polished, then orbits are added;
* *shake*: noise on all entries;
* *loosen*, *tighten*: κ² weighs a thirtieth or thirty times as much for a while, then as in the score again.

Moves that paid are drawn more often.  A child replaces its parent if it is better, or hardly worse; from time to time
the worst lineages start again from the best.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..lm.assembly import Model
from ..lm.captured import CapturedSteps
from ..lm.compiled import Stepper
from ..lm.engine import SlotState, random_starts
from ..lm.parametrisation import OrbitType, Parametrisation
from ..lm.schedules import Schedule
from .explore import COLD, WARM
from .objective import BF16

__all__ = ["MOVES", "Population", "Space", "removal_costs_of"]

Array = NDArray[Any]

#: Moves and how many orbits they exchange.
MOVES = (
    ("swap", 1), ("swap", 2), ("swap", 4), ("widen", 1), ("widen", 2), ("thin", 1), ("thin", 2), ("shake", 0),
    ("loosen", 0), ("tighten", 0),
)  # fmt: skip
#: Steps of a polish.
STEPS = 50


def removal_costs_of(slots: Sequence[Tensor]) -> Tensor:
    """Growth of ‖T̂−T‖² when a term goes and one slot of the others is refitted, batched: (R, r) of slots (R, r, dim).

    See :func:`search.approx.explore.removal_costs`; Grams are scaled to unit diagonal and lifted by 1e-9.
    """
    grams = [x @ x.transpose(1, 2) for x in slots]
    eye = torch.eye(slots[0].shape[1], dtype=slots[0].dtype, device=slots[0].device)
    least: Tensor | None = None
    for s in range(3):
        both = grams[(s + 1) % 3] * grams[(s + 2) % 3]
        size = both.diagonal(dim1=1, dim2=2).clamp(min=1e-300)
        scaled = both / (size[:, :, None] * size[:, None, :]).sqrt() + 1e-9 * eye
        inverse = torch.linalg.inv_ex(scaled).inverse.diagonal(dim1=1, dim2=2)
        cost = slots[s].square().sum(2) * size / inverse.clamp(min=1e-300)
        least = cost if least is None else torch.minimum(least, cost)
    assert least is not None
    return least


@dataclass
class Memory:
    """What the captured steps of a population share, as they are replayed one after another."""

    matrices: Tensor | None = None
    pool: Any = None

    def stepper(self, rows: int, size: int, device: torch.device) -> CapturedSteps:
        """Steps of `rows` rows of `size` unknowns that are captured into this memory."""
        stepper = CapturedSteps(rows)
        shape = (8 * stepper.unit, size + 1, size)
        need = shape[0] * shape[1] * shape[2]
        if self.matrices is None or self.matrices.numel() < need:
            self.matrices = torch.empty(need, dtype=torch.float64, device=device)
        stepper.buffer, stepper.pool = self.matrices[:need].view(shape), self.pool
        return stepper


@dataclass
class Space:
    """A parametrisation on a device, with the unknowns of every orbit copy and the steppers of its schedules."""

    par: Parametrisation
    model: Model
    columns: list[Tensor]  # per orbit type the unknowns of its copies, (count, unknowns)
    memory: Memory
    steppers: dict[tuple[str, int, int], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, par: Parametrisation, target: Array, device: str, memory: Memory) -> Space:
        """Lay out a parametrisation."""
        model = Model(par, target, device)
        columns = []
        for (orbit, count), starts in zip(par.orbits, par.offsets(), strict=True):
            blocks = [
                at + width * torch.arange(count)[:, None] + torch.arange(width)[None, :]
                for at, width in zip(starts, orbit.widths, strict=True)
            ]
            columns.append(torch.cat(blocks, dim=1).to(model.device))
        return cls(par, model, columns, memory)

    def descend(self, theta: Tensor, name: str, schedule: Schedule, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """`steps` iterations of every row under a schedule: parameters, ε² and κ²."""
        model, key = self.model, (name, len(theta), steps)
        if key not in self.steppers:
            stepper: Any = None
            if model.device.type == "cpu":
                stepper = Stepper(self.par, model.target.numpy(), schedule, steps)
            elif model.capturable:
                stepper = self.memory.stepper(len(theta), self.par.size, model.device)
            self.steppers[key] = stepper
        state = SlotState(model, schedule, steps, self.steppers[key])
        state.load(theta.clone(), torch.arange(len(theta)))
        state.advance(steps)
        if isinstance(state.stepper, CapturedSteps):
            self.memory.pool = state.stepper.pool
        return (state.theta, *self.scores(state.theta))

    def scores(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """ε² and κ² of every row."""
        terms = self.model.terms(theta)
        fit = self.model.residual(terms).flatten(1).square().sum(1)
        return fit / self.model.norm2, self.model.kappa(self.model.strengths(terms)) / self.model.norm2

    def costs(self, theta: Tensor, kind: int) -> Tensor:
        """Removal costs (R, count) of the copies of an orbit type, summed over their terms."""
        flat = removal_costs_of(self.model.flat(self.model.terms(theta)))
        at = sum(orbit.size * count for orbit, count in self.par.orbits[:kind])
        orbit, count = self.par.orbits[kind]
        return flat[:, at : at + orbit.size * count].reshape(len(theta), count, orbit.size).sum(2)


class Population:
    """Lineages of one invariant subspace; :meth:`run` takes them through generations.

    Parameters
    ----------
    target : (a, b, c) array
    par : Parametrisation
        Real.
    size : int
        Lineages.
    device : str
    seed : int
    weight : float
        Of κ² in the score.
    steps : int
        Iterations of a polish.
    slack : float
        A child replaces its parent if its score is below (1 + slack) times the parent's; falls to zero over a run.
    moves : sequence of (str, int)
        See the module.
    log : callable

    Examples
    --------
    >>> from ..lm.parametrisation import Free
    >>> from ..lm.problem import matmul_tensor
    >>> crowd = Population(matmul_tensor(2, 2, 2), Free(matmul_tensor(2, 2, 2), 5), size=8, seed=1)
    >>> crowd.begin()
    >>> crowd.run(4)
    4
    >>> round(float(crowd.best()[0]), 3)  # ¼ is the limit over the border
    0.252
    """

    def __init__(
        self,
        target: Array,
        par: Parametrisation,
        size: int = 64,
        device: str = "cpu",
        seed: int = 0,
        weight: float = BF16,
        steps: int = STEPS,
        slack: float = 0.02,
        moves: Sequence[tuple[str, int]] = MOVES,
        log: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.target, self.size, self.device, self.weight, self.steps = target, size, device, weight, steps
        self.slack, self.log, self.moves = slack, log, list(moves)
        self.where = torch.device(device)
        self.memory = Memory()
        if self.where.type == "cuda":  # room for two more orbits at once
            self.memory.stepper(size, par.size + 2 * max(o.unknowns for o, _ in par.orbits), self.where)
        self.space = Space.of(par, target, device, self.memory)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(self.where).manual_seed(seed)
        warm = WARM.with_(kappa_weight=weight, stall=0.0)
        self.schedules = {
            "cold": COLD.with_(kappa_weight=weight, stall=0.0),
            "warm": warm,
            "loose": warm.with_(kappa_weight=weight / 30),
            "tight": warm.with_(kappa_weight=weight * 30),
        }
        self.others: dict[tuple[int, int], Space] = {}
        self.tally = {move: [1.0, 1.0] for move in self.moves}  # gains and tries
        self.theta = torch.empty(0, par.size, dtype=torch.float64, device=self.where)
        self.total = torch.empty(0, dtype=torch.float64, device=self.where)
        self.generation = 0

    # -- beginning -----------------------------------------------------------------------------------------

    def begin(self, starts: Array | None = None, iterations: int = 150, fresh: float = 0.5) -> None:
        """Fill the lineages: from `starts` (k, size) with growing noise, the rest (a share `fresh`) at random."""
        given = 0 if starts is None else max(len(starts), round(self.size * (1 - fresh)))
        given, rows = min(given, self.size), []
        if given:
            base = torch.as_tensor(np.asarray(starts), dtype=torch.float64, device=self.where)
            base = base[torch.arange(given, device=self.where) % len(base)]
            level = torch.tensor(self.rng.choice([0.02, 0.1, 0.2], given), device=self.where)[:, None]
            level[: len(np.asarray(starts))] = 0.0
            rows.append(self._polished(self._noisy(base, level), "warm", 2 * self.steps))
        if given < self.size:
            seed = int(self.rng.integers(1 << 31))
            cold = random_starts(self.space.par, self.space.model.norm2, self.size - given, seed).to(self.where)
            rows.append(self._polished(cold, "cold", iterations))
        self.theta, self.total = (torch.cat([r[i] for r in rows]) for i in range(2))

    def _polished(self, theta: Tensor, schedule: str, steps: int, space: Space | None = None) -> tuple[Tensor, Tensor]:
        theta, eps2, kappa2 = (space or self.space).descend(theta, schedule, self.schedules[schedule], steps)
        total = eps2 + self.weight * kappa2
        return theta, torch.where(torch.isfinite(total), total, torch.full_like(total, torch.inf))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, device=self.where, generator=self.generator)

    def _noisy(self, theta: Tensor, level: Tensor) -> Tensor:
        rms = theta.square().mean(1, keepdim=True).sqrt()
        return theta + level * rms * self._normal(*theta.shape)

    # -- moves ---------------------------------------------------------------------------------------------

    def _kind(self, least: int) -> int:
        """An orbit type with more than `least` copies, those with more unknowns more often."""
        weight = np.array([o.unknowns * k * (k > least) for o, k in self.space.par.orbits], dtype=float)
        return int(self.rng.choice(len(weight), p=weight / weight.sum())) if weight.sum() else -1

    def _other(self, kind: int, change: int) -> Space:
        """The space with `change` more copies of one orbit type."""
        if (kind, change) not in self.others:
            par = self.space.par
            orbits = [(o, k + change * (i == kind)) for i, (o, k) in enumerate(par.orbits)]
            self.others[kind, change] = Space.of(
                Parametrisation(par.dims, orbits), self.target, self.device, self.memory
            )
        return self.others[kind, change]

    def _cheap(self, space: Space, theta: Tensor, kind: int, k: int) -> Tensor:
        """Orders (R, count) of the copies of a type with the k to be removed, drawn in favour of the cheap, first."""
        cost = space.costs(theta, kind).clamp(min=1e-14).log()
        gumbel = -torch.empty_like(cost).exponential_(generator=self.generator).clamp(min=1e-12).log()
        order = (cost - self.rng.choice([0.3, 1.0, 2.0]) * gumbel).argsort(1)
        return torch.cat([order[:, :k], order[:, k:].sort(1).values], dim=1)

    def _moved(self, source: Space, goal: Space, theta: Tensor, kind: int, order: Tensor, new: Tensor | None) -> Tensor:
        """Parameters in `goal` with the copies of a type in `order`, and `new` (R, k, unknowns) after them."""
        out = torch.empty(len(theta), goal.par.size, dtype=theta.dtype, device=theta.device)
        for i, columns in enumerate(source.columns):
            held = theta[:, columns.flatten()].reshape(len(theta), *columns.shape)
            if i == kind:
                held = held.gather(1, order[:, :, None].expand(-1, -1, held.shape[2]))
                held = held if new is None else torch.cat([held, new], dim=1)
            out[:, goal.columns[i].flatten()] = held.flatten(1)
        return out

    def _fresh(self, theta: Tensor, orbit: OrbitType, k: int) -> Tensor:
        """Random orbits (R, k, unknowns), small beside the entries of their rows."""
        rms = theta.square().mean(1).sqrt()[:, None, None] * float(self.rng.choice([0.1, 0.3, 0.8]))
        return rms * self._normal(len(theta), k, orbit.unknowns)

    def _pieces(self, space: Space, theta: Tensor, kind: int, k: int, sweeps: int = 8) -> Tensor:
        """Orbits (R, k, unknowns) along large pieces of the residual, by power iterations from random vectors."""
        orbit = space.par.orbits[kind][0]
        maps = [torch.as_tensor(m.real.copy(), dtype=theta.dtype, device=theta.device) for _, m in orbit.maps[0]]
        blocks = [b for b, _ in orbit.maps[0]]
        residual = space.model.residual(space.model.terms(theta))
        y = [self._normal(len(theta), k, width) for width in orbit.widths]
        for _ in range(sweeps):
            for b in range(len(y)):
                y = [v / v.norm(dim=2, keepdim=True).clamp(min=1e-300) for v in y]
                x = [y[blocks[s]] @ maps[s].T for s in range(3)]
                third = torch.einsum("Rabc,Rkc->Rkab", residual, x[2])
                slopes = [
                    torch.einsum("Rkab,Rkb->Rka", third, x[1]),
                    torch.einsum("Rkab,Rka->Rkb", third, x[0]),
                    torch.einsum("Rabc,Rka,Rkb->Rkc", residual, x[0], x[1]),
                ]
                parts = [slopes[s] @ maps[s] for s in range(3) if blocks[s] == b]
                y[b] = sum(parts[1:], parts[0])
        y = [v / v.norm(dim=2, keepdim=True).clamp(min=1e-300) for v in y]
        x = [y[blocks[s]] @ maps[s].T for s in range(3)]
        slope = torch.einsum("Rabc,Rka,Rkb,Rkc->Rk", residual, x[0], x[1], x[2])
        square = (x[0].square().sum(2) * x[1].square().sum(2) * x[2].square().sum(2)).clamp(min=1e-300)
        size = (slope / square)[:, :, None]
        scale = 0.7 * size.abs() ** (1 / 3)
        # one block thrice is odd in its vector; else the sign goes to the first block
        signs = [torch.sign(size) if b == 0 else torch.ones_like(size) for b in range(len(y))]
        return torch.cat([scale * sign * v for v, sign in zip(y, signs, strict=True)], dim=2)

    def child(self, move: str, k: int) -> tuple[Tensor, Tensor] | None:
        """One child of every lineage by a move, polished: parameters and scores; None where the move does not apply."""
        theta, steps = self.theta, self.steps
        if move == "shake":
            level = torch.tensor(self.rng.choice([0.01, 0.03, 0.1, 0.2], len(theta)), device=self.where)
            return self._polished(self._noisy(theta, level[:, None]), "warm", steps)
        if move in ("loosen", "tighten"):
            loose = self._noisy(theta, torch.full((len(theta), 1), 0.01, dtype=theta.dtype, device=self.where))
            loose = self._polished(loose, "loose" if move == "loosen" else "tight", steps)[0]
            return self._polished(loose, "warm", steps)
        kind = self._kind(k if move != "widen" else 0)
        if kind < 0:
            return None
        orbit, here = self.space.par.orbits[kind][0], self.space
        if move == "widen":
            wide, order = self._other(kind, k), torch.arange(here.par.orbits[kind][1], device=self.where)
            new = self._pieces(here, theta, kind, k)
            big = self._moved(here, wide, theta, kind, order.expand(len(theta), -1), new)
            big = self._polished(big, "warm", steps, wide)[0]
            small = self._moved(wide, here, big, kind, self._cheap(wide, big, kind, k)[:, k:], None)
            return self._polished(small, "warm", steps)
        order = self._cheap(here, theta, kind, k)[:, k:]
        if move == "swap":
            return self._polished(
                self._moved(here, here, theta, kind, order, self._fresh(theta, orbit, k)), "warm", steps
            )
        thin = self._other(kind, -k)
        small = self._polished(self._moved(here, thin, theta, kind, order, None), "warm", steps, thin)[0]
        order = torch.arange(thin.par.orbits[kind][1], device=self.where).expand(len(theta), -1)
        new = self._pieces(thin, small, kind, k) if self.rng.random() < 0.5 else self._fresh(small, orbit, k)
        return self._polished(self._moved(thin, here, small, kind, order, new), "warm", steps)

    # -- generations ---------------------------------------------------------------------------------------

    def run(self, generations: int, seconds: float = float("inf")) -> int:
        """Generations, until the time is up; how many were made."""
        begun = time.perf_counter()
        where = torch.cuda.device(self.where) if self.where.type == "cuda" else nullcontext()
        with torch.no_grad(), where:
            for turn in range(generations):
                if time.perf_counter() - begun > seconds:
                    return turn
                self._generation(self.slack * (1 - turn / generations))
        return generations

    def _generation(self, slack: float) -> None:
        odds = np.array([g / t for g, t in self.tally.values()]) + 0.05
        move = self.moves[int(self.rng.choice(len(self.moves), p=odds / odds.sum()))]
        children = self.child(*move)
        if children is None:
            return
        before = float(self.total.min())
        better = children[1] < self.total * (1 - 1e-3)  # more than a longer polish would give
        taken = children[1] < self.total * (1 + slack)
        best = int(self.total.argmin())
        taken[best] = children[1][best] < self.total[best]  # the best is never given up
        self.theta = torch.where(taken[:, None], children[0], self.theta)
        self.total = torch.where(taken, children[1], self.total)
        tally = self.tally[move]
        tally[0] += float(better.double().mean()) + 5 * float(self.total.min() < before * (1 - 1e-4))
        tally[1] += 2.0 if move[0] not in ("swap", "shake") else 1.0
        self.generation += 1
        if self.generation % 8 == 0:
            order = self.total.argsort()
            some = len(order) // 8
            if some:
                self.theta[order[-some:]], self.total[order[-some:]] = (
                    self.theta[order[:some]],
                    self.total[order[:some]],
                )
        self.log(
            f"{self.generation} {move[0]} {move[1]}: {float(self.total.min()):.5f}, {float(better.double().mean()):.0%}"
        )

    def best(self, most: int = 1) -> Array:
        """The best distinct scores; :meth:`ends` gives their parameters."""
        return np.array([t for t, _ in self.ends(most)])

    def ends(self, most: int = 1) -> list[tuple[float, Array]]:
        """The best distinct lineages: score and parameters (size,)."""
        total, theta = self.total.cpu().numpy(), self.theta.cpu().numpy()
        out: list[tuple[float, Array]] = []
        for i in np.argsort(total):
            if np.isfinite(total[i]) and (not out or total[i] > out[-1][0] * (1 + 1e-4)):
                out.append((float(total[i]), theta[i]))
            if len(out) == most:
                break
        return out
