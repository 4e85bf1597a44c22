"""What the ledger costs by number of units: recording, asking, listing, counting, exporting, merging, and its size.

``python -m search.benchmarks.ledger --sizes 10000,100000,1000000`` writes results/runs/ledger.csv. Every unit is leased
and recorded as a run does it, one commit each. ``--writers 8`` also lets that many processes share one ledger.
"""

from __future__ import annotations

import csv
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from stl_algebra import StlError

from ..cli import console, friendly
from ..core.ledger import Ledger
from ..core.unit import Unit
from ..core.work import Outcome

OUT = Path("results/runs/ledger.csv")
#: Units asked about at once by a round of the search.
ASKED = 1000


def unit(number: int) -> Unit:
    """Of the size that units of the main job have."""
    return Unit("orbit", "Z3", (3, 3, 3), 23, {"counts": {"1:<a>:+": 2, "3": 7}, "restarts": 24}, number)


def record(path: Path, numbers: range, owner: str) -> float:
    """Lease and record units as a run does, one in fifty failed; seconds taken."""
    begin = time.perf_counter()
    with Ledger(path) as ledger:
        for k in numbers:
            u = unit(k)
            if ledger.claim(u, owner) == "taken":
                counted = {"restarts": 24, "converged": k % 5, "tried": 1, "exact": k % 2, "best_eps2": 1e-9 * k}
                status = "failed" if k % 50 == 0 else "done"
                ledger.record(Outcome(u, status, statistics=counted, seconds=1.0), [f"encoders/{u.key}.safetensors"])
    return time.perf_counter() - begin


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def questions(path: Path, size: int) -> dict[str, float]:
    """Milliseconds of every question a run, its watcher or its owner asks."""
    with Ledger(path) as ledger:
        known = [unit(k) for k in range(1, size, size // ASKED | 1)][:ASKED]
        new = [unit(size + k) for k in range(ASKED)]
        if len(ledger.settled(known)) < len(known) // 2 or ledger.settled(new):
            raise StlError("ledger", str(path), "the units just recorded")
        asked = {
            "ask_1000_ms": lambda: ledger.settled(known + new),
            "latest_40_ms": lambda: list(ledger.rows(limit=40)),
            "failed_40_ms": lambda: list(ledger.rows({"status": "failed"}, 40)),
            "one_key_ms": lambda: list(ledger.rows({"key": known[0].key[:8]})),
            "counts_ms": ledger.counts,
            "export_ms": lambda: ledger.export(path.with_suffix(".csv")),
        }
        found = {name: 1000 * _timed(work) for name, work in asked.items()}
    with Ledger(path.with_name("other.sqlite")) as other, Ledger(path) as ledger:
        found["merge_ms"] = 1000 * _timed(lambda: other.merge(ledger))
    return found


def together(path: Path, writers: int, each: int) -> float:
    """Units a second of several processes on one ledger."""
    context = multiprocessing.get_context("spawn")
    parts = [(path, range(i * each, (i + 1) * each), f"writer {i}") for i in range(writers)]
    with context.Pool(writers) as pool:
        pool.map(time.sleep, [0.1] * writers)  # all of them are up
        begin = time.perf_counter()
        pool.starmap(record, parts, chunksize=1)
        took = time.perf_counter() - begin
    with Ledger(path) as ledger:
        if len(ledger) != writers * each:
            raise StlError("ledger", len(ledger), f"{writers * each} rows")
    return writers * each / took


def main(
    sizes: Annotated[str, typer.Option(help="numbers of units, growing")] = "1000,10000",
    writers: Annotated[str, typer.Option(help="numbers of processes on one ledger")] = "1,2,4",
    each: Annotated[int, typer.Option(help="units a writer")] = 2000,
    out: Annotated[Path, typer.Option(help="CSV to write")] = OUT,
) -> None:
    """Measure, print, and write a row as each is known."""
    with friendly():
        try:
            wanted, together_ = ([int(v) for v in text.split(",") if v] for text in (sizes, writers))
        except ValueError:
            raise StlError("sizes", f"{sizes} {writers}", "whole numbers, for instance 1000,10000") from None
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            path, held = Path(folder) / "ledger.sqlite", 0
            for size in sorted(wanted):
                took = record(path, range(held, size), "writer")
                row: dict[str, Any] = {"units": size, "writers": 1, "units_per_second": round((size - held) / took)}
                held = size
                row |= {name: round(v, 2) for name, v in questions(path, size).items()}
                files = path.parent.glob("ledger.sqlite*")
                row["megabytes"] = round(sum(p.stat().st_size for p in files) / 1e6, 1)
                row["export_megabytes"] = round(path.with_suffix(".csv").stat().st_size / 1e6, 1)
                row["peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
                rows.append(row)
                _write(out, rows)
        for count in together_:
            with tempfile.TemporaryDirectory() as folder:
                rate = together(Path(folder) / "ledger.sqlite", count, each)
            rows.append({"units": count * each, "writers": count, "units_per_second": round(rate)})
            _write(out, rows)
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(str(row.get(name, "")) for name in rows[0]))
        console.print(table)


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
