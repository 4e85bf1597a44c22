"""Section ``dropin``: `fast_matmul` against ``@`` as a user calls them, at every size and dtype: never slower.

Both are called eagerly and in turn, so the clock, the allocator and the launches are the same for both; the figure is
the ratio of the two medians. Products that are too small for any plan are torch's own plus one look at the shapes
(0.3 µs of the host's time; 8 µs for those with a plan).
"""

from __future__ import annotations

import datetime
import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..dispatch import plan_matmul
from ..matmul import fast_matmul
from ..rounding import NAMES
from . import measure

__all__ = ["dropin_rows", "in_turn"]

SIZES = {"cuda": (256, 512, 1024, 1500, 2048, 3000, 4096, 6144, 8192, 12288), "cpu": (64, 128, 256, 512, 1000)}


def dropin_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """Rows of op "fast_matmul": milliseconds of both and how many times faster than ``@``; error against float64."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    rows = []
    for dtype, name in NAMES.items():
        for n in SIZES[device.type]:
            a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
            runs: dict[str, Callable[[], torch.Tensor]] = {
                "dense": functools.partial(torch.matmul, a, b), "fast_matmul": functools.partial(fast_matmul, a, b)
            }  # fmt: skip
            ms = in_turn(runs, device, 0.4 if n <= 8192 else 0.8)
            exact = a[:64].double() @ b.double()
            plan = plan_matmul(n, n, n, dtype, device)
            for provider, run in runs.items():
                error = measure.compare(run()[:64], exact).rms
                for metric, unit, value in (("time", "ms", ms[provider]), ("speedup", "x", ms["dense"] / ms[provider])):
                    rows.append(measure.Row(run_id, "fast_matmul", provider, plan.label if provider != "dense" else "",
                                            name, n, n, n, "", 0, "", metric, unit, value, rel_error=error,
                                            timestamp=now, **head))  # fmt: skip
    return rows


def in_turn(runs: Mapping[str, Callable[[], Any]], device: torch.device, seconds: float) -> dict[str, float]:
    """Median milliseconds of each run, called in turn, there and back, for ``seconds``, at least 6 times each."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(next(iter(times.values()))) < 6:
        for name in (*runs, *reversed(list(runs))):
            times[name].append(_once(runs[name], device))
    return {name: statistics.median(found) for name, found in times.items()}


def _once(run: Callable[[], Any], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1e3
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    torch.cuda._sleep(200_000)  # about 0.1 ms of work ahead in the stream, as in a model: what the host does is hidden
    start_event.record()
    run()
    end_event.record()
    end_event.synchronize()
    return float(start_event.elapsed_time(end_event))
