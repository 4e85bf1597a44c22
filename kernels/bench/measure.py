"""Measuring: machine header, medians with quantiles, errors against float64, and the one measurements table."""

from __future__ import annotations

import csv
import ctypes
import datetime
import functools
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from .._compat import triton_status

__all__ = [
    "COLUMNS", "Errors", "Row", "append", "capture", "codec_hash", "compare", "energy", "header", "new_run_id",
    "steady", "timings",
]  # fmt: skip


@dataclass
class Row:
    """One measurement; the key is everything before ``unit`` but ``run_id`` included."""

    run_id: str
    op: str
    provider: str
    mode: str
    dtype: str
    n: int
    k: int
    m: int
    format: str
    rank: int
    encoder: str
    metric: str
    unit: str
    q50: float
    q20: float | None = None
    q80: float | None = None
    rel_error: float | None = None
    predicted_error: float | None = None
    peak_bytes: int | None = None
    device: str = ""
    driver: str = ""
    torch: str = ""
    triton: str = ""
    commit: str = ""
    timestamp: str = ""


COLUMNS = [f.name for f in fields(Row)]
KEY = COLUMNS[: COLUMNS.index("unit")]


def header() -> dict[str, Any]:
    """Device, driver, versions and commit of this process."""
    driver, device = "", "cpu"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
        try:
            out = subprocess.run(
                ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            driver = out.stdout.strip().splitlines()[0] if out.stdout.strip() else ""
        except (OSError, subprocess.TimeoutExpired):
            driver = ""
    commit = os.environ.get("STL_COMMIT", "")
    if not commit:
        try:
            commit = subprocess.run(
                ["git", "rev-parse", "--short=12", "HEAD"],
                capture_output=True,
                text=True,
                cwd=Path(__file__).parent,
                timeout=20,
                check=False,
            ).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            commit = ""
    return {
        "device": device,
        "driver": driver,
        "torch": torch.__version__,
        "triton": triton_status().version,
        "commit": commit,
    }


def new_run_id() -> str:
    """A fresh identifier for everything measured side by side."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    return f"{now}-{hashlib.sha256(os.urandom(16)).hexdigest()[:6]}"


def codec_hash(encoder: Any) -> str:
    """First eight digits of the encoder file's hash, or of the float factors for an unsaved encoder."""
    digest = getattr(encoder, "digest", None)
    if isinstance(digest, str):
        return digest[:8]
    return hashlib.sha256(b"".join(v.tobytes() for v in encoder.floats())).hexdigest()[:8]


def append(path: str | os.PathLike[str], rows: Iterable[Row]) -> int:
    """Append rows to the table; a row whose key is already there replaces it. Returns the rows now in the file."""
    file = Path(path)
    table: dict[tuple[str, ...], dict[str, str]] = {}
    if file.exists():
        with file.open(newline="") as stream:
            for line in csv.DictReader(stream):
                table[tuple(line[c] for c in KEY)] = {c: line.get(c, "") for c in COLUMNS}
    for row in rows:
        text = {c: _text(v) for c, v in asdict(row).items()}
        table[tuple(text[c] for c in KEY)] = text
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.values())
    partial.replace(file)
    return len(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Errors:
    """Relative error against float64: RMS (‖y − ref‖/‖ref‖), largest entry over the RMS of ref, and where."""

    rms: float
    largest: float
    where: tuple[int, ...]
    unwritten: int  # NaN or Inf entries


def compare(y: torch.Tensor, ref: torch.Tensor) -> Errors:
    """Compare with a float64 reference of the same shape; NaN never passes."""
    y, ref = y.detach(), ref.detach()
    gap = (y.double() - ref).abs()
    bad = int((~torch.isfinite(y)).sum())
    if gap.numel() == 0:
        return Errors(0.0, 0.0, (), 0)
    scale = ref.pow(2).mean().sqrt().clamp_min(1e-300)
    at = int(torch.nan_to_num(gap, nan=float("inf")).argmax())
    where = (at // gap.shape[1], at % gap.shape[1]) if gap.dim() == 2 else (at,)
    return Errors(float(gap.pow(2).mean().sqrt() / scale), float(gap.max() / scale), where, bad)


def timings(
    fn: Callable[[], Any],
    device: torch.device | str,
    *,
    warmup: int = 25,
    rep: int = 100,
    graph: bool = False,
) -> tuple[float, float, float]:
    """Median, 20 % and 80 % quantiles of ``fn`` in milliseconds.

    CUDA: device events with the L2 cleared between runs (`triton.testing.do_bench`); with ``graph`` the call
    is captured once and its replay is timed, so launches cost what they cost in a captured model.
    CPU: wall clock, at least three runs.
    """
    if torch.device(device).type == "cuda":
        from triton.testing import do_bench

        run = capture(fn) if graph else fn
        q50, q20, q80 = do_bench(run, warmup=warmup, rep=rep, quantiles=[0.5, 0.2, 0.8])
        return float(q50), float(q20), float(q80)
    fn()
    times: list[float] = []
    until = time.perf_counter() + rep / 1000
    while len(times) < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        fn()
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return times[len(times) // 2], times[len(times) // 5], times[-1 - len(times) // 5]


def steady(
    providers: dict[str, Callable[[], Any]], device: torch.device | str, *, rounds: int = 2, warmup: int = 100,
    rep: int = 200, graph: bool = True,
) -> dict[str, tuple[float, float, float]]:  # fmt: skip
    """Each provider in its own steady state: warmed up for ``warmup`` ms, then timed for ``rep`` ms, ``rounds`` times.

    What a model made of that product alone would see: a power-limited chip settles to the clock that this very
    kernel allows. Returns name → (q50, q20, q80) in ms, each the mean over the rounds.
    """
    cuda = torch.device(device).type == "cuda"
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in providers}
    for _ in range(rounds):
        for name, fn in providers.items():
            run = capture(fn) if graph and cuda else fn
            seen[name].append(timings(run, device, warmup=warmup, rep=rep))
            del run
    return {name: tuple(sum(q[i] for q in quantiles) / rounds for i in range(3))  # type: ignore[misc]
            for name, quantiles in seen.items()}  # fmt: skip


def energy(fn: Callable[[], Any], device: torch.device | str, milliseconds: float) -> float | None:
    """Millijoules of one call, from the board's own counter over half a second of calls; None without a counter."""
    counter = _energy_counter() if torch.device(device).type == "cuda" else None
    if counter is None:
        return None
    run = capture(fn)
    calls = max(2, int(500 / milliseconds))
    for _ in range(calls // 2):
        run()
    torch.cuda.synchronize()
    before = counter()
    for _ in range(calls):
        run()
    torch.cuda.synchronize()
    return (counter() - before) / calls


@functools.lru_cache(maxsize=1)
def _energy_counter() -> Callable[[], int] | None:
    """The total energy counter of the current CUDA device in millijoules, through NVML; None where there is none."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        handle, value = ctypes.c_void_p(), ctypes.c_ulonglong()
        pci: Any = torch.cuda.get_device_properties(torch.cuda.current_device())  # torch's stub lacks these fields
        bus = f"{pci.pci_domain_id:08x}:{pci.pci_bus_id:02x}:{pci.pci_device_id:02x}.0"
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(handle)):
            return None
        if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value)):
            return None
    except (OSError, AttributeError):
        return None

    def read() -> int:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value))
        return int(value.value)

    return read


def capture(fn: Callable[[], Any]) -> Callable[[], None]:
    """Record ``fn`` into a CUDA graph; the returned call replays it. Its outputs stay in the graph's memory."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            fn()
    torch.cuda.current_stream().wait_stream(side)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        kept = fn()

    def replay() -> None:
        recorded.replay()

    replay.output = kept  # type: ignore[attr-defined]
    return replay
