"""Units a second by number of workers, and what a unit costs besides its own work.

``python -m search.benchmarks.scaling --workers 1,2,4,8`` appends to results/runs/scaling.csv. Every unit does the same
number of optimiser steps at a rank that has no solution, so nothing ends early: on ``cpu`` 24 restarts of ⟨3,3,3;22⟩
under the shift, on ``cuda`` 512 of ⟨4,4,4;47⟩. ``busy`` is the share of the workers' time spent inside units;
``unit_seconds`` grows where cores share caches and clocks, or somebody else has them. The last rows run units that do
next to nothing and so measure leasing, dispatch, ledger and catalogue.
"""

from __future__ import annotations

import csv
import os
import platform
import tempfile
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stl_algebra import StlError

from ..cli import console, friendly
from ..core.executors import make_slots
from ..core.runner import Task, run
from ..core.unit import Unit

OUT = Path("results/runs/scaling.csv")


@dataclass(frozen=True)
class Row:
    """One measurement; times in seconds, ``overhead_ms`` per unit and worker."""

    kind: str
    backend: str
    device: str
    workers: int
    cores: int
    units: int
    wall: float
    unit_seconds: float
    units_per_second: float
    speedup: float
    busy: float
    overhead_ms: float
    start_seconds: float
    load: float
    machine: str


def busy_unit(device: str, seed: int) -> Unit:
    """The same number of steps whatever the seed."""
    if device == "cpu":
        return Unit("orbit", "Z3", (3, 3, 3), 22, {"counts": {"1:<a>:+": 1, "3": 7}, "restarts": 24}, seed, "Z")
    return Unit("orbit", "Z3", (4, 4, 4), 47, {"counts": {"1:<a>:+": 2, "3": 15}, "restarts": 512}, seed, "Z")


def empty_unit(device: str, seed: int) -> Unit:
    """Next to no work: one restart of a few milliseconds."""
    return Unit("orbit", "Z3", (2, 2, 2), 6, {"counts": {"1:<a>:+": 3, "3": 1}, "restarts": 1}, seed, "Z")


def measured(kind: str, backend: str, device: str, workers: int, units: list[Unit], base: float | None) -> Row:
    """Run the units in a folder of their own; the clock starts when the workers are up."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        slots = make_slots(backend, workers, device)
        summary = run(iter([[Task(u, seconds=600.0) for u in units]]), folder, slots)
        whole = time.monotonic() - begin
    if summary.ran != len(units) or summary.failed:
        raise StlError("units", f"{summary.ran} run, {summary.failed} failed", f"{len(units)} run, none failed")
    inside = sum(float(o["seconds"]) for o in summary.outcomes.values())
    rate = len(units) / summary.seconds
    return Row(
        kind, backend, device, workers, len(os.sched_getaffinity(0)), len(units), round(summary.seconds, 3),
        round(inside / len(units), 4), round(rate, 3), round(rate / base, 3) if base else 1.0,
        round(inside / (workers * summary.seconds), 4),
        round(1000 * (workers * summary.seconds - inside) / len(units), 2), round(whole - summary.seconds, 1),
        round(os.getloadavg()[0], 1), _machine(device),
    )  # fmt: skip


def _machine(device: str) -> str:
    """Model of the card or of the processor."""
    if device != "cpu":
        import torch

        return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "no GPU"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main(
    workers: Annotated[str, typer.Option(help="numbers of workers, in this order")] = "1,2",
    backend: Annotated[str, typer.Option(help="processes, thread or ray")] = "processes",
    device: Annotated[str, typer.Option(help="cpu, cuda (one GPU), all (one worker a GPU)")] = "cpu",
    each: Annotated[int, typer.Option(help="units a worker")] = 16,
    empty: Annotated[int, typer.Option(help="empty units a worker, for the overhead (0: none)")] = 200,
    out: Annotated[Path, typer.Option(help="CSV to append to")] = OUT,
) -> None:
    """Measure, print and append a row as each is known."""
    with friendly():
        counts = [int(v) for v in workers.split(",") if v.strip().isdigit() and int(v) > 0]
        if not counts:
            raise StlError("workers", workers, "positive numbers, for instance 1,2,4,8")
        table = Table("kind", "workers", "units/s", "speed-up", "unit s", "busy", "overhead ms")
        for kind, make, size in (("busy", busy_unit, each), ("empty", empty_unit, empty)):
            base = None
            for n in counts if size else []:
                units = [make(device, seed) for seed in range(size * n)]
                row = measured(kind, backend, device, n, units, base)
                base = base or row.units_per_second / n
                _append(out, row)
                table.add_row(
                    kind, str(n), f"{row.units_per_second:.2f}", f"{row.speedup:.2f}", f"{row.unit_seconds:.3f}",
                    f"{row.busy:.3f}", f"{row.overhead_ms:.1f}",
                )  # fmt: skip
        console.print(table)


def _append(out: Path, row: Row) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    new = not out.exists()
    with out.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if new:
            writer.writerow([f.name for f in fields(Row)])
        writer.writerow(astuple(row))


if __name__ == "__main__":
    typer.run(main)
