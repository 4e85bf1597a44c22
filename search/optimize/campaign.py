"""Campaigns: many optimiser runs described as data, one table row each.

A *plan* is a list of jobs.  A job names a format, a group (see :mod:`search.optimize.groups`; ``"free"`` for none)
and either explicit orbit counts or a rank for which orbit-type multisets are sampled; the rest are restarts,
iterations, schedule changes and a time limit.  Rows carry everything needed to repeat them.

    python -m search.optimize.campaign plan.json --out rows.csv --solutions found.npz --device cuda
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .engine import LMResult, minimise
from .groups import named_action
from .orbits import Invariant, orbit_types, sample_counts
from .parametrisation import CyclicZ3, Free, Parametrisation
from .schedules import SCHEDULES, Schedule

__all__ = ["Job", "matmul_tensor", "parametrisations", "run_job", "wilson"]

FIELDS = [
    "format", "rank", "group", "field", "counts", "types", "unknowns", "restarts", "iterations", "schedule", "seed",
    "hits", "rate", "rate_low", "rate_high", "best_eps2", "q10_eps2", "median_eps2", "best_kappa2", "steps",
    "seconds", "device",
]


@dataclass(frozen=True)
class Job:
    """One line of a plan; see the module's description."""

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
    seed: int = 0
    seconds: float | None = None
    job_seconds: float | None = None
    stop_after: int | None = None
    slots: int | None = None

    @staticmethod
    def parse(row: dict[str, Any]) -> Job:
        """A job from plain data (lists become tuples)."""
        unknown = set(row) - set(Job.__dataclass_fields__)
        if unknown:
            raise StlError("plan", sorted(unknown), ", ".join(Job.__dataclass_fields__), "correct the job's fields")
        row = dict(row)
        row["counts"] = tuple(tuple(c) for c in row.get("counts", ()))
        return Job(**row)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(n, m, p)."""
        n, m, p = (int(x) for x in self.format.split("x"))
        return n, m, p

    def full_schedule(self) -> Schedule:
        """The named schedule with this job's changes."""
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


def parametrisations(job: Job) -> Iterator[Parametrisation]:
    """The parametrisations of a job: its explicit counts, or sampled ones of its rank."""
    n, m, p = job.sizes
    if job.group == "free":
        yield Free(matmul_tensor(n, m, p), job.rank, job.field)
        return
    if job.group == "Z3" and job.counts:
        yield from (CyclicZ3(n, s, c, job.field) for c, s in job.counts)
        return
    action = named_action(job.group, job.sizes)
    types = orbit_types(action, job.field, job.largest_stabiliser)
    chosen = job.counts or sample_counts(types, job.rank, job.samples, job.seed, job.fixed_share)
    for counts in chosen:
        counts = tuple(counts) + (0,) * (len(types) - len(counts))
        yield Invariant(action, counts, job.field, types)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of a success rate."""
    if not total:
        return 0.0, 1.0
    z, p = 1.96, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def run_job(job: Job, device: str = "cpu") -> Iterator[tuple[dict[str, Any], LMResult]]:
    """Run a job; one (row, result) per parametrisation."""
    target = matmul_tensor(*job.sizes)
    begin = time.perf_counter()
    for par in parametrisations(job):
        if job.job_seconds is not None and time.perf_counter() - begin > job.job_seconds:
            return
        result = minimise(
            target, par, job.restarts, job.iterations, job.full_schedule(), job.seed, device,
            slots=job.slots, stop_after=job.stop_after, seconds=job.seconds,
        )
        hits, total = int(result.converged.sum()), len(result.eps2)
        low, high = wilson(hits, total)
        kappa = result.kappa2[result.converged] if hits else result.kappa2[result.eps2.argmin() : ][:1]
        yield {
            "format": job.format, "rank": par.rank, "group": job.group, "field": job.field,
            "counts": " ".join(str(k) for _, k in par.orbits), "types": " ".join(o.name for o, _ in par.orbits),
            "unknowns": par.size, "restarts": total, "iterations": job.iterations,
            "schedule": job.schedule + ("" if not job.changes else " " + json.dumps(job.changes)),
            "seed": job.seed, "hits": hits, "rate": f"{hits / total:.4f}", "rate_low": f"{low:.4f}",
            "rate_high": f"{high:.4f}", "best_eps2": f"{result.eps2.min():.3e}",
            "q10_eps2": f"{np.quantile(result.eps2, 0.1):.3e}", "median_eps2": f"{np.median(result.eps2):.3e}",
            "best_kappa2": f"{kappa.min():.4f}", "steps": result.iterations,
            "seconds": f"{result.seconds:.2f}", "device": device,
        }, result


def main(argv: list[str] | None = None) -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Run a plan of optimiser jobs.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, default=Path("campaign.csv"))
    parser.add_argument("--solutions", type=Path, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", type=int, default=4, help="solutions kept per parametrisation")
    parser.add_argument("--seconds", type=float, default=None, help="start no job after this time")
    options = parser.parse_args(argv)
    begin = time.perf_counter()
    saved: dict[str, Any] = {}
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for row in json.loads(options.plan.read_text()):
            if options.seconds is not None and time.perf_counter() - begin > options.seconds:
                print("time is up; jobs left out from", row, flush=True)
                break
            job = Job.parse(row)
            for line, result in run_job(job, options.device):
                writer.writerow(line)
                file.flush()
                print(*(line[k] for k in ("format", "rank", "group", "field", "counts", "unknowns", "restarts", "hits",
                                          "best_eps2", "q10_eps2", "best_kappa2", "steps", "seconds")), flush=True)
                order = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: options.keep]
                order = order[result.converged[order]]
                if len(order):
                    key = f"{job.format}_r{line['rank']}_{job.group}_{job.field}_{len(saved) // 3}".replace("/", "-")
                    for name, array in zip(("e_x", "e_w", "d"), (result.e_x, result.e_w, result.d), strict=True):
                        saved[f"{key}.{name}"] = array[order]
                    if options.solutions is not None:
                        np.savez_compressed(options.solutions, **saved)


if __name__ == "__main__":
    main()
