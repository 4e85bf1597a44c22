"""Where units run: processes of this machine, or a Ray cluster. Backend and worker count are separate options."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module
from typing import Any

from stl_algebra import StlError

__all__ = ["BACKENDS", "make_executor", "warm_up"]

BACKENDS = ("processes", "thread", "ray")


def _quiet() -> None:
    """Workers leave Ctrl-C to the parent, and end when it is killed (the queues alone would keep them waiting)."""
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


def make_executor(backend: str = "processes", workers: int | None = None) -> Executor:
    """An executor for `search.core.pipeline.run_unit`.

    Parameters
    ----------
    backend : "processes" (spawned, the default), "thread" (one process: CUDA, debugging) or "ray" (extra [distributed])
    workers : int, optional
        Default: one per CPU core for processes, 1 for thread.

    Raises
    ------
    StlError
        For an unknown backend, a worker count below 1, or ray without the package.
    """
    if backend not in BACKENDS:
        raise StlError("backend", backend, ", ".join(BACKENDS))
    if workers is not None and workers < 1:
        raise StlError("workers", workers, "at least 1")
    if backend == "thread":
        return ThreadPoolExecutor(workers or 1)
    if backend == "ray":
        return _RayExecutor()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read by the spawned workers when they load their BLAS
    count = workers or len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_quiet)


def warm_up() -> None:
    """Import in the worker what every unit needs; run once per worker before the clock starts."""
    import time

    for name in ("search.lm", "search.exact"):
        import_module(name)
    time.sleep(0.2)  # long enough that the pool starts every worker


class _RayExecutor(Executor):
    """`concurrent.futures` over Ray tasks, one CPU each."""

    def __init__(self) -> None:
        try:
            import ray
        except ImportError:
            raise StlError("backend", "ray", "an installed ray", "pip install 'stl-algebra[distributed]'") from None
        self._ray = ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        reference = self._ray.remote(fn).remote(*args, **kwargs)
        result: Future[Any] = reference.future()
        return result
