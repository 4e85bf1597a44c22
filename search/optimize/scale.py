"""Scale-out inside one machine: jobs of a plan spread over GPUs or CPU workers through an executor.

The seam is `concurrent.futures.Executor`.  Each task pins itself to one device of the list (round robin by its
number) or, on the CPU, to one thread; results come back as they finish, in no particular order, and are the same
rows that :func:`search.optimize.campaign.run_job` yields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from typing import Any

from stl_algebra.errors import StlError

from .campaign import Job, run_job

__all__ = ["devices_here", "run_plan", "split_restarts"]


def devices_here() -> list[str]:
    """``["cuda:0", …]`` if there are CUDA devices, else ``["cpu"]``."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{i}" for i in range(count)] or ["cpu"]


def split_restarts(job: Job, parts: int) -> list[Job]:
    """A job as `parts` jobs with disjoint seeds and about equal numbers of restarts."""
    if parts < 1:
        raise StlError("parts", parts, "1, 2, …", "use at least one part")
    from dataclasses import replace

    sizes = [job.restarts // parts + (i < job.restarts % parts) for i in range(parts)]
    return [replace(job, restarts=n, seed=job.seed + 1_000_003 * i) for i, n in enumerate(sizes) if n]


def _task(job: Job, device: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Run one job in a worker; arrays of the converged solutions travel back, least κ² first."""
    import numpy as np
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    out = []
    for row, result in run_job(job, device):
        order = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: int(result.converged.sum())]
        out.append((row, {"e_x": result.e_x[order], "e_w": result.e_w[order], "d": result.d[order]}))
    return out


def run_plan(
    jobs: Sequence[Job], executor: Executor, devices: Sequence[str] | None = None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Run jobs on an executor with one worker per device (or any number of CPU workers).

    Yields
    ------
    (row, solutions) : the table row and ``{"e_x", "e_w", "d"}`` of its converged solutions.
    """
    devices = list(devices or devices_here())
    futures = [executor.submit(_task, job, devices[i % len(devices)]) for i, job in enumerate(jobs)]
    for future in as_completed(futures):
        yield from future.result()
