"""Campaigns: many optimiser runs described as data, one table row each.

A *plan* is a list of jobs (:mod:`search.lm.jobs`).  Rows carry everything needed to repeat them, and what the
starting points cost.

    python -m search.lm.campaign plan.json --out rows.csv --solutions found.npz --device cuda
    python -m search.lm.campaign plan.json --out rows.csv --solutions found.npz --device all

``--device all`` spreads the jobs over all GPUs of the machine, one process each.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .engine import LMResult
from .jobs import Job, matmul_tensor, parametrisations
from .starts import solve

__all__ = ["FIELDS", "Job", "main", "matmul_tensor", "parametrisations", "run_job", "wilson"]

FIELDS = [
    "format", "rank", "group", "field", "counts", "types", "unknowns", "restarts", "iterations", "schedule", "seed",
    "hits", "rate", "rate_low", "rate_high", "best_eps2", "q10_eps2", "median_eps2", "best_kappa2", "steps",
    "seconds", "device", "start", "start_steps", "start_seconds",
]


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
    begin = time.perf_counter()
    for par in parametrisations(job):
        if job.job_seconds is not None and time.perf_counter() - begin > job.job_seconds:
            return
        result, begun = solve(job, par, device)
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
            "seconds": f"{result.seconds:.2f}", "device": device, "start": json.dumps(job.start) if job.start else "",
            "start_steps": begun.steps if begun else 0, "start_seconds": f"{begun.seconds if begun else 0.0:.2f}",
        }, result


class _Record:
    """The table and the solutions file of a campaign, written as rows come in."""

    def __init__(self, out: Path, solutions: Path | None, keep: int) -> None:
        self.file = out.open("w", newline="", encoding="utf-8")
        self.writer = csv.DictWriter(self.file, FIELDS, lineterminator="\n")
        self.writer.writeheader()
        self.file.flush()
        self.solutions, self.keep = solutions, keep
        self.saved: dict[str, Any] = {}

    def add(self, job: Job, line: dict[str, Any], found: dict[str, Any]) -> None:
        """One row, and the first solutions (least κ² first) as ``KEY.e_x`` … with the row as ``KEY.row``."""
        self.writer.writerow(line)
        self.file.flush()
        print(*(line[k] for k in ("format", "rank", "group", "field", "counts", "unknowns", "restarts", "hits",
                                  "best_eps2", "q10_eps2", "best_kappa2", "steps", "seconds", "start_seconds", "start",
                                  "schedule")), flush=True)
        if not len(found["e_x"]) or self.solutions is None:
            return
        key = f"{job.format}_r{line['rank']}_{job.group}_{job.field}_{len(self.saved) // 4}".replace("/", "-")
        for name in ("e_x", "e_w", "d"):
            self.saved[f"{key}.{name}"] = found[name][: self.keep]
        self.saved[f"{key}.row"] = np.array(json.dumps(line))
        part = self.solutions.with_suffix(".part.npz")
        np.savez_compressed(part, **self.saved)
        part.replace(self.solutions)


def main(argv: list[str] | None = None) -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Run a plan of optimiser jobs.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, default=Path("campaign.csv"))
    parser.add_argument("--solutions", type=Path, default=None)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, a list with commas, or all")
    parser.add_argument("--keep", type=int, default=4, help="solutions kept per parametrisation")
    parser.add_argument("--seconds", type=float, default=None, help="start no job after this time")
    options = parser.parse_args(argv)
    from .scale import devices_here, pinned_workers, run_plan

    begin = time.perf_counter()
    record = _Record(options.out, options.solutions, options.keep)
    jobs = [Job.parse(row) for row in json.loads(options.plan.read_text(encoding="utf-8"))]
    devices = devices_here() if options.device == "all" else options.device.split(",")
    with pinned_workers(devices) as workers:
        for job, outcome in run_plan(jobs, workers, devices, options.seconds):
            if isinstance(outcome, str):
                print("no result:", outcome, job, flush=True)
                continue
            for line, found in outcome:
                record.add(job, line, found)
    print(f"{time.perf_counter() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
