"""Jobs: one optimiser run, or a few of the same kind, as plain data.

A job names a format, a group (see :mod:`search.lm.groups`; ``"free"`` for none) and either explicit orbit counts
or a rank for which orbit-type multisets are sampled; the rest are restarts, iterations, schedule changes, a time limit
and where the restarts begin (``start``, see :mod:`search.lm.starts`; empty for random starts).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .actions import Action
from .groups import named_action
from .orbits import Invariant, orbit_types, sample_counts
from .parametrisation import CyclicZ3, Free, OrbitType, Parametrisation
from .schedules import SCHEDULES, Schedule

__all__ = ["Job", "matmul_tensor", "parametrisations"]


@dataclass(frozen=True)
class Job:
    """One line of a plan; see the module's description.

    Attributes
    ----------
    format : str
        ``"3x3x4"``.
    rank : int
    group : str
    field : {"real", "complex"}
    counts : tuple of tuple of int
        Orbit multiplicities, largest orbits first, one tuple per parametrisation; sampled if empty.
    samples, fixed_share, largest_stabiliser
        How multiplicities are sampled (:func:`~search.lm.orbits.sample_counts`).
    restarts, iterations, seed, slots, stop_after
        Passed on to :func:`~search.lm.engine.minimise`.
    schedule, changes
        Name of a schedule and fields to change in it.
    start : dict
        Where restarts begin.
    seconds, job_seconds : float or None
        Limit of each parametrisation and of the whole job.
    """

    format: str
    rank: int
    group: str = "free"
    field: str = "real"
    counts: tuple[tuple[int, ...], ...] = ()
    samples: int = 1
    fixed_share: float = 0.35
    largest_stabiliser: int | None = None
    restarts: int = 64
    iterations: int = 200
    schedule: str = "default"
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    start: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    seconds: float | None = None
    job_seconds: float | None = None
    stop_after: int | None = None
    slots: int | None = None

    @staticmethod
    def parse(row: Mapping[str, Any]) -> Job:
        """A job from plain data (lists become tuples)."""
        unknown = set(row) - set(Job.__dataclass_fields__)
        if unknown:
            raise StlError("plan", sorted(unknown), ", ".join(Job.__dataclass_fields__), "correct the job's fields")
        row = dict(row)
        row["counts"] = tuple(tuple(c) for c in row.get("counts", ()))
        return Job(**row)

    def with_(self, changes: Mapping[str, Any]) -> Job:
        """A copy with some fields changed, given as plain data."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Job.parse({**own, **changes})

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(n, m, p)."""
        n, m, p = (int(x) for x in self.format.split("x"))
        return n, m, p

    def full_schedule(self) -> Schedule:
        """The named schedule with this job's changes."""
        if self.schedule not in SCHEDULES:
            raise StlError("schedule", self.schedule, ", ".join(SCHEDULES), "pass one of these")
        changes = dict(self.changes)
        if "abandon" in changes:
            changes["abandon"] = tuple(tuple(x) for x in changes["abandon"])
        return SCHEDULES[self.schedule].with_(**changes)


def matmul_tensor(n: int, m: int, p: int) -> NDArray[np.float64]:
    """Dense tensor of ⟨n,m,p⟩ in the project's convention (C not transposed)."""
    t = np.zeros((n, m, m, p, n, p))
    i, k, j = np.meshgrid(np.arange(n), np.arange(m), np.arange(p), indexing="ij")
    t[i, k, k, j, i, j] = 1
    return t.reshape(n * m, m * p, n * p)


@lru_cache(maxsize=64)
def _types(
    group: str, sizes: tuple[int, int, int], field: str, largest: int | None
) -> tuple[Action, tuple[OrbitType, ...]]:
    action = named_action(group, sizes)
    return action, tuple(orbit_types(action, field, largest))


def parametrisations(job: Job) -> Iterator[Parametrisation]:
    """The parametrisations of a job: its explicit counts, or sampled ones of its rank."""
    n, m, p = job.sizes
    if job.group == "free":
        yield Free(matmul_tensor(n, m, p), job.rank, job.field)
        return
    if job.group == "Z3" and job.counts:
        yield from (CyclicZ3(n, s, c, job.field) for c, s in job.counts)
        return
    action, types = _types(job.group, job.sizes, job.field, job.largest_stabiliser)
    chosen = job.counts or sample_counts(types, job.rank, job.samples, job.seed, job.fixed_share)
    for counts in chosen:
        counts = tuple(counts) + (0,) * (len(types) - len(counts))
        yield Invariant(action, counts, job.field, types)
