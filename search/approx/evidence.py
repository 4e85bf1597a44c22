"""Do groups help?  The same search with and without them, at equal time, repeated.

Both sides run the policy of :class:`search.approx.explore.Explorer`; one may choose among groups and release to
subgroups, the other knows only the space without symmetry.  They take turns, so that a busy machine hurts both alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .explore import Explorer
from .pool import Format, Pool

__all__ = ["Trial", "interval", "trials"]


@dataclass(frozen=True)
class Trial:
    """Least total error one side reached in its time."""

    format: str
    rank: int
    side: str
    seed: int
    seconds: float
    runs: int
    total: float
    group: str


def trials(
    fmt: Format,
    ranks: Sequence[int],
    groups: Sequence[str],
    repeats: int = 5,
    seconds: float = 10.0,
    device: str = "cpu",
    restarts: int = 1,
    first_seed: int = 0,
    slice_seconds: float = 2.0,
) -> Iterator[Trial]:
    """Both sides at every rank, `repeats` times with new seeds, each for `seconds` of its own time."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    for seed in range(first_seed, first_seed + repeats):
        for rank in ranks:
            pools = {"groups": Pool(), "none": Pool()}
            sides = {
                name: Explorer(
                    fmt, [rank], list(groups) if name == "groups" else ["none"], pool, device=device, seed=seed,
                    restarts=restarts, seconds=slice_seconds,
                )
                for name, pool in pools.items()
            }  # fmt: skip
            spent = dict.fromkeys(sides, 0.0)
            while min(spent.values()) < seconds:
                name = min(spent, key=lambda k: spent[k])
                begin = clock()
                sides[name].step(rank)
                spent[name] += clock() - begin
            for name, explorer in sides.items():
                best = pools[name].ends[rank][0]
                yield Trial(
                    "x".join(map(str, fmt)),
                    rank,
                    name,
                    seed,
                    round(spent[name], 2),
                    explorer.runs,
                    best.total,
                    str(best.origin["group"]),
                )


def interval(values: Sequence[float], level: float = 0.95, draws: int = 4000) -> tuple[float, float, float]:
    """Mean and a bootstrap interval of it."""
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    means = array[rng.integers(0, len(array), (draws, len(array)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(array.mean()), float(low), float(high)
