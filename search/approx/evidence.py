"""Do groups help?  The same search with and without them, at equal time, repeated.

Both sides run a :class:`search.approx.population.Population` with the same moves from random starts.  One has all the
time in the space without symmetry; the other spends half of it in an invariant subspace of the rank (`LEARNT`, what
earlier searches found; a subspace drawn blindly does not pay) and releases its best ends for the other half.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lm.invariant import Invariant
from ..lm.parametrisation import Parametrisation
from ..lm.problem import matmul_tensor
from .pool import Format
from .population import Population

__all__ = ["LEARNT", "Trial", "interval", "trials"]

#: A good multiset of every rank: symmetry and orbit multiplicities, largest orbits first.
LEARNT: dict[Format, dict[int, tuple[str, tuple[int, ...]]]] = {
    (2, 2, 2): {5: ("Z3", (1, 2))},
    (3, 3, 3): {15: ("Z3", (4, 3)), 20: ("Z3", (5, 5))},
    (4, 4, 4): {
        24: ("Z3*c:(12)(34)", (3, 0, 1, 1, 1)),
        28: ("Z3*c:(12)(34)", (4, 0, 1, 0, 1)),
        36: ("Z3*c:(123)", (4, 0, 0, 0, 0, 0)),
        44: ("Z3*c:(123)", (4, 0, 1, 1, 0, 2)),
    },
}


@dataclass(frozen=True)
class Trial:
    """Least total error one side reached in its time."""

    format: str
    rank: int
    side: str
    seed: int
    seconds: float
    generations: int
    total: float
    group: str


def _space(fmt: Format, group: str, counts: Sequence[int]) -> Parametrisation:
    return Invariant(group, fmt, counts)


def _lineages(unknowns: int, device: str) -> int:
    """Lineages that keep a GPU busy without filling it; few on a core."""
    return 8 if device == "cpu" else 8 * max(4, min(64, round(1.6e7 / unknowns**2)))


def _searched(
    fmt: Format, par: Parametrisation, starts: NDArray[np.float64] | None, seconds: float, device: str, seed: int
) -> tuple[Population, int]:
    begun = time.perf_counter()
    crowd = Population(matmul_tensor(*fmt), par, _lineages(par.size, device), device, seed)
    crowd.begin(starts, fresh=1.0 if starts is None else 0.0)
    return crowd, crowd.run(10**6, seconds - (time.perf_counter() - begun))


def trials(
    fmt: Format,
    learnt: Mapping[int, tuple[str, Sequence[int]]],
    repeats: int = 5,
    seconds: float = 10.0,
    device: str = "cpu",
    first_seed: int = 0,
) -> Iterator[Trial]:
    """Both sides at every rank, `repeats` times with new seeds, each for `seconds`."""
    for seed in range(first_seed, first_seed + repeats):
        for rank, (group, counts) in learnt.items():
            for side in ("groups", "none"):
                begun, made, starts = time.perf_counter(), 0, None
                if side == "groups":
                    par = _space(fmt, group, counts)
                    crowd, made = _searched(fmt, par, None, seconds / 2, device, seed)
                    x, w, d = par.expand(np.stack([theta for _, theta in crowd.ends(8)]))
                    starts = np.concatenate([f.reshape(len(x), -1) for f in (x, w, d.transpose(0, 2, 1))], axis=1)
                left = seconds - (time.perf_counter() - begun)
                crowd, more = _searched(fmt, _space(fmt, "none", (rank,)), starts, left, device, seed)
                yield Trial(
                    "x".join(map(str, fmt)), rank, side, seed, round(time.perf_counter() - begun, 2), made + more,
                    float(crowd.best()[0]), group if side == "groups" else "none",
                )  # fmt: skip


def interval(values: Sequence[float], level: float = 0.95, draws: int = 4000) -> tuple[float, float, float]:
    """Mean and a bootstrap interval of it."""
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    means = array[rng.integers(0, len(array), (draws, len(array)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(array.mean()), float(low), float(high)
