"""Where units run: slots, each of them one worker. Processes of this machine, one per GPU, threads, or a Ray cluster.

The seam is `concurrent.futures.Executor`: a slot holds an executor of one worker, so what kills a worker is blamed on
the one unit it had, and stopping a slot disturbs no other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from importlib import import_module
from typing import Any

from stl_algebra import StlError, __version__

__all__ = ["BACKENDS", "Slot", "checked_device", "devices_here", "make_slots", "raised_by", "version_of"]

BACKENDS = ("processes", "thread", "ray")


class Slot:
    """One worker that runs one unit at a time.

    Attributes
    ----------
    device : str
        Passed to what runs here.
    there : callable
        Whether there is room for it at the moment: the nodes of a cluster come and go.
    """

    def __init__(
        self, make: Callable[[], Executor], device: str = "cpu", there: Callable[[], bool] = lambda: True
    ) -> None:
        self.device, self.there = device, there
        self._make = make
        self._executor: Executor | None = None
        self._pid: Future[int] | None = None

    def start(self) -> Future[str]:
        """Start the worker and let it import what every unit needs; its version of this package."""
        self._executor = self._make()
        if isinstance(self._executor, ProcessPoolExecutor):
            self._pid = self._executor.submit(os.getpid)
        return self._executor.submit(warm_up)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run something here; the worker is started if there is none."""
        if self._executor is None:
            self.start()
        assert self._executor is not None
        return self._executor.submit(fn, *args)

    def kill(self) -> None:
        """End the worker at once, whatever it does; the next `submit` starts another. Threads cannot be ended."""
        executor, pid, self._executor, self._pid = self._executor, self._pid, None, None
        if executor is None:
            return
        if pid is not None and pid.done() and not pid.exception():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid.result(), signal.SIGKILL)
        if isinstance(executor, _RayExecutor):
            executor.cancel()
        executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the worker when it is idle."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def raised_by(error: BaseException) -> BaseException | None:
    """What the function that ran raised; None if its worker died under it (killed, out of memory, node lost)."""
    if isinstance(error, BrokenExecutor):
        return None
    if type(error).__module__.startswith("ray."):
        cause: BaseException | None = getattr(error, "cause", None)
        return cause
    return error


def version_of(ready: list[Future[str]]) -> None:
    """Refuse workers that could not start or hold another version, which would find other bits.

    Raises
    ------
    StlError
        If none of them came up, or one has another version.
    """
    errors = [e for f in ready if f.done() and (e := f.exception()) is not None]
    if ready and len(errors) == len(ready):
        error = raised_by(errors[0]) or errors[0]
        said = f"{type(error).__name__}: {error}"[:500]
        raise StlError("backend", said, "workers that start", "Install this package on every node.")
    others = sorted({f.result() for f in ready if f.done() and f.exception() is None} - {__version__})
    if others:
        raise StlError("backend", ", ".join(others), f"workers of version {__version__}", "Update every node.")


def devices_here() -> list[str]:
    """``["cuda:0", …]`` if there are CUDA devices, else ``["cpu"]``."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{i}" for i in range(count)] or ["cpu"]


def checked_device(device: str) -> str:
    """The device if it is usable here: ``cpu``, ``cuda``, ``cuda:N`` or ``all`` (every GPU, or the CPU).

    Raises
    ------
    StlError
        If it is none of these, or there is no such device.
    """
    if device in ("cpu", "all"):
        return device
    import torch

    try:
        where = torch.device(device)
    except RuntimeError:
        raise StlError("device", device, "cpu, cuda, cuda:N or all") from None
    if where.type != "cuda":
        raise StlError("device", device, "cpu, cuda, cuda:N or all")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (where.index or 0) >= count:
        here = f"cuda:0 to cuda:{count - 1}" if count else "cpu (no CUDA device is visible here)"
        raise StlError("device", device, here)
    return device


def make_slots(backend: str = "processes", workers: int | None = None, device: str = "cpu") -> list[Slot]:
    """The workers of a run.

    Parameters
    ----------
    backend : "processes" (spawned, the default), "thread" (in this process, for debugging: units cannot be stopped) or
        "ray" (every CPU or GPU of the cluster that ``RAY_ADDRESS`` names, or of this machine; extra [distributed])
    workers : int, optional
        Default: one per CPU core (1 for thread), or one per GPU. With ray, the most that are used: as nodes join and
        leave, so many units run as there is room for.
    device : "cpu", "cuda", "cuda:N" or "all"

    Raises
    ------
    StlError
        For an unknown backend or device, a worker count below 1, or ray without the package.
    """
    if backend not in BACKENDS:
        raise StlError("backend", backend, ", ".join(BACKENDS))
    if workers is not None and workers < 1:
        raise StlError("workers", workers, "at least 1")
    if backend == "ray":
        return _ray_slots(workers, device)
    devices = devices_here() if checked_device(device) == "all" else [device]
    if devices == ["cpu"]:
        devices = ["cpu"] * (1 if backend == "thread" else len(os.sched_getaffinity(0)))
    if workers is not None:
        devices = [devices[i % len(devices)] for i in range(workers)]
    if backend == "thread":
        return [Slot(_ThreadExecutor, d) for d in devices]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read by the spawned workers when they load their BLAS
    return [Slot(_process, d) for d in devices]


class _ThreadExecutor(Executor):
    """A thread for each submission, which the end of the program does not wait for."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        future.set_running_or_notify_cancel()
        threading.Thread(target=call, daemon=True).start()
        return future


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_quiet)


def _quiet() -> None:
    """Workers leave Ctrl-C to the parent, and end when it is killed (the queues alone would keep them waiting)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


def warm_up() -> str:
    """Import (and the first time compile) in the worker what every unit needs, before the clock starts."""
    import_module("..exact", __package__)
    lm, problem = (import_module(name, __package__) for name in ("..lm", "..lm.problem"))
    target = problem.matmul_tensor(2, 2, 2)
    lm.minimise(target, lm.Free(target, 7), 1, 2)
    return __version__


def _ray_slots(workers: int | None, device: str) -> list[Slot]:
    try:
        import ray
    except ImportError:
        raise StlError("backend", "ray", "an installed ray", "pip install 'stl-algebra[distributed]'") from None
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "")
            raise StlError("RAY_ADDRESS", where, f"a Ray cluster that answers ({str(error)[:200]})") from None
    room = _Room("CPU" if device == "cpu" else "GPU")
    if room.now() < 1 and workers is None:
        raise StlError("device", device, f"a Ray cluster with a {room.kind}")
    return [
        # Ray shows a task only the GPU it was given, which is cuda:0 to it
        Slot(lambda: _RayExecutor(room.kind), "cpu" if room.kind == "CPU" else "cuda", lambda i=i: i < room.now())  # type: ignore[misc]
        for i in range(workers or room.now())
    ]


class _Room:
    """How many CPUs or GPUs the cluster has, asked anew every two seconds: units wait here, not in Ray's queue."""

    def __init__(self, kind: str) -> None:
        self.kind, self._asked, self._count = kind, -1.0, 0

    def now(self) -> int:
        import ray

        if self._asked < 0 or time.monotonic() - self._asked > 2:
            self._asked, self._count = time.monotonic(), int(ray.cluster_resources().get(self.kind, 0))
        return self._count


class _RayExecutor(Executor):
    """`concurrent.futures` over Ray tasks, one CPU or GPU each; the runner retries, so Ray does not."""

    def __init__(self, kind: str) -> None:
        import ray

        self._ray = ray
        self._options = {"num_cpus": 1, "num_gpus": int(kind == "GPU"), "max_retries": 0}
        self._last: Any = None

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._last = self._ray.remote(**self._options)(fn).remote(*args, **kwargs)
        result: Future[Any] = self._last.future()
        return result

    def cancel(self) -> None:
        if self._last is not None:
            self._ray.cancel(self._last, force=True)
