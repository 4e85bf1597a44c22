"""Scale-out inside one machine: jobs of a plan spread over GPUs or CPU workers through executors.

The seam is `concurrent.futures.Executor`.  Every device has one job under way at a time and gets the next one when it
is free; with one executor per device (:func:`pinned_workers`) each process keeps to one GPU.  Results come back as
they finish and are the rows that :func:`search.lm.campaign.run_job` yields.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from stl_algebra.errors import StlError

from .jobs import Job

__all__ = ["Outcome", "devices_here", "pinned_workers", "run_plan", "split_restarts"]

#: Rows with their converged solutions, or the reason why there are none.
Outcome = list[tuple[dict[str, Any], dict[str, Any]]] | str


def devices_here() -> list[str]:
    """``["cuda:0", …]`` if there are CUDA devices, else ``["cpu"]``."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{i}" for i in range(count)] or ["cpu"]


@contextmanager
def pinned_workers(devices: Sequence[str]) -> Iterator[list[Executor]]:
    """One single-worker executor per device: this process for one device, a spawned process each for several."""
    with ExitStack() as stack:
        if len(devices) == 1:
            yield [stack.enter_context(ThreadPoolExecutor(1))]
        else:
            spawn = get_context("spawn")
            yield [stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for _ in devices]


def split_restarts(job: Job, parts: int) -> list[Job]:
    """A job as `parts` jobs with disjoint seeds and about equal numbers of restarts."""
    if parts < 1:
        raise StlError("parts", parts, "1, 2, …", "use at least one part")
    sizes = [job.restarts // parts + (i < job.restarts % parts) for i in range(parts)]
    return [replace(job, restarts=n, seed=job.seed + 1_000_003 * i) for i, n in enumerate(sizes) if n]


def _task(job: Job, device: str, alone: bool) -> Outcome:
    """Run one job in a worker; arrays of the converged solutions travel back, least κ² first."""
    import numpy as np
    import torch

    from .campaign import run_job

    if device == "cpu" and not alone:
        torch.set_num_threads(1)
    out = []
    try:
        for row, result in run_job(job, device):
            order = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: int(result.converged.sum())]
            out.append((row, {"e_x": result.e_x[order], "e_w": result.e_w[order], "d": result.d[order]}))
    except (StlError, RuntimeError) as error:  # torch raises RuntimeError when a device runs out of memory
        return out or f"{type(error).__name__}: {error}"
    finally:
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    return out


def run_plan(
    jobs: Sequence[Job], workers: Executor | Sequence[Executor], devices: Sequence[str] | None = None,
    seconds: float | None = None,
) -> Iterator[tuple[Job, Outcome]]:
    """Run jobs, one at a time per device.

    Parameters
    ----------
    jobs : sequence of Job
    workers : Executor or one Executor per device
    devices : sequence of str, optional
        Repeat ``"cpu"`` for several CPU workers. Default: :func:`devices_here`.
    seconds : float, optional
        No job starts after this time.

    Yields
    ------
    (job, outcome) : as jobs finish; the outcome is a list of ``(row, {"e_x", "e_w", "d"})``, the table row and the
        converged solutions, or, for a job that could not run, the reason.
    """
    devices = list(devices or devices_here())
    pools = [workers] * len(devices) if isinstance(workers, Executor) else list(workers)
    if len(pools) != len(devices):
        raise StlError("workers", len(pools), f"{len(devices)}, one per device", "or pass a single executor")
    begin, queue = time.perf_counter(), list(reversed(jobs))
    running: dict[Future[Outcome], tuple[Job, int]] = {}
    free = list(range(len(devices)))
    while queue or running:
        late = seconds is not None and time.perf_counter() - begin > seconds
        if late and queue:
            print(f"time is up: {len(queue)} jobs left out", flush=True)
            queue.clear()
        while queue and free:
            at, job = free.pop(0), queue.pop()
            running[pools[at].submit(_task, job, devices[at], len(devices) == 1)] = (job, at)
        for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
            job, at = running.pop(future)
            free.append(at)
            yield job, future.result()
