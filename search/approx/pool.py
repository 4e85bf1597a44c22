"""Ends of runs, and the best of them by rank."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .objective import BF16, Factors, Objective

__all__ = ["BF16", "End", "Factors", "Format", "Pool", "ends_of", "scored"]

Array = NDArray[Any]
Format = tuple[int, int, int]


@dataclass
class End:
    """Where a run ended: factors, ε², κ² and the total error ε² + weight·κ² it is ranked by."""

    rank: int
    total: float
    eps2: float
    kappa2: float
    factors: Factors = field(repr=False)
    origin: dict[str, Any]


def scored(fmt: Format, factors: Factors, origin: dict[str, Any], weight: float = BF16) -> End:
    """An end from factors, at the best multiple of T̂."""
    goal = Objective(fmt, weight)
    factors = goal.rescaled(tuple(np.asarray(f, dtype=float) for f in factors))  # type: ignore[arg-type]
    eps2, kappa2 = goal.scores(factors)
    return End(len(factors[0]), eps2 + weight * kappa2, eps2, kappa2, factors, origin)


class Pool:
    """The best distinct ends of every rank.

    Parameters
    ----------
    most : int
        Ends kept of a rank.
    """

    def __init__(self, most: int = 24) -> None:
        self.most = most
        self.ends: dict[int, list[End]] = {}
        self.changed: set[int] = set()

    def offer(self, end: End) -> bool:
        """Keep an end if it is among the best of its rank; True if it is the best."""
        here = self.ends.setdefault(end.rank, [])
        if not np.isfinite(end.total) or any(abs(e.total - end.total) < 1e-5 * e.total for e in here):
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
        return self.ends[rank][0].total if self.ends.get(rank) else float("inf")

    def save(self, folder: Path, prefix: str, most: int = 1) -> None:
        """Write the ends that have become best since the last call: ``prefix_r44_0.npz`` …"""
        for rank in sorted(self.changed):
            for place, end in enumerate(self.ends[rank][:most]):
                x, w, d = end.factors
                np.savez(folder / f"{prefix}_r{rank}_{place}.npz", e_x=x, e_w=w, d=d, origin=json.dumps(end.origin))
        self.changed.clear()

    def load(self, fmt: Format, paths: Iterable[Path]) -> list[End]:
        """Read saved ends, score them anew and offer them; those that were new."""
        found = []
        for path in paths:
            with np.load(path) as data:
                end = scored(fmt, (data["e_x"], data["e_w"], data["d"]), json.loads(str(data["origin"])))
            known = any(abs(e.total - end.total) < 1e-5 * e.total for e in self.ends.get(end.rank, []))
            self.offer(end)
            if not known:
                found.append(end)
        return found


def ends_of(result: Any, origin: dict[str, Any], most: int = 6, weight: float = BF16) -> list[End]:
    """The best ends of a run, least total error first."""
    total = result.eps2 + weight * result.kappa2
    order = np.argsort(np.where(np.isfinite(total), total, np.inf))[:most]
    out = []
    for i in map(int, order):
        x, w, d = (np.array(f) for f in result.factors(i))
        out.append(
            End(
                result.parametrisation.rank,
                float(total[i]),
                float(result.eps2[i]),
                float(result.kappa2[i]),
                (x, w, d),
                {**origin, "row": i},
            )
        )
    return out
