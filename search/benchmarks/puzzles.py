"""Sizes of uniquely solvable puzzles by width, found through SAT or grown, verified without it; where none is larger.

Run ``python -m search.benchmarks.puzzles``; writes ``results/discovery/puzzles.csv``. A line is one question, whether
there is a puzzle of this width and size: its rows, or ``none`` (proven by the SAT solver), or ``open`` when the time
was up, or how many rows a growth has reached.
"""

from __future__ import annotations

import csv
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from ..algebras.growing import grow_puzzle
from ..algebras.puzzles import LARGEST_STRONG, find_puzzle, is_puzzle
from ..cli import console, friendly

app = typer.Typer(add_completion=False, rich_markup_mode=None)
FIELDS = ("kind", "width", "size", "known", "method", "seed", "answer", "seconds", "rows")
Question = tuple[str, int, int, str, int]
#: Sizes at which local puzzles of each width are asked for, and one beyond.
LOCAL = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 6}


def questions(widest: int, seeds: int) -> list[Question]:
    """Known sizes and one beyond through SAT; where that is too hard, the known size by growth, from several seeds."""
    out: list[Question] = []
    for width in range(1, widest + 1):
        size = LARGEST_STRONG[width]
        if width <= 5:
            out += [("strong", width, size, "sat", 0), ("strong", width, size + 1, "sat", 0)]
        if width >= 4:
            out += [("strong", width, size, "growth", seed) for seed in range(seeds)]
        out += [("local", width, LOCAL[width] + more, "sat", 0) for more in (0, 1)]
    return sorted(out, key=lambda q: q[3] == "sat" or q[1] < 6)  # the long ones first


def answer(question: Question, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    kind, width, size, method, seed = question
    begun, rows = time.perf_counter(), None
    try:
        rows = (
            grow_puzzle(width, size, seconds, seed) if method == "growth" else find_puzzle(width, size, kind, seconds)
        )
        said = "none" if rows is None else "found" if len(rows) == size else f"{len(rows)} rows"
    except TimeoutError:
        said = "open"
    if rows is not None and not is_puzzle(rows, kind):
        said = "refuted"
    return {
        "kind": kind, "width": width, "size": size, "known": LARGEST_STRONG[width] if kind == "strong" else "",
        "method": method, "seed": seed, "answer": said, "seconds": f"{time.perf_counter() - begun:.1f}",
        "rows": " ".join(rows or ()),
    }  # fmt: skip


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """The table, by kind, width and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda r: (r["kind"] != "strong", *(r[k] for k in FIELDS[1:6]))))


@app.command(epilog="Example: python -m search.benchmarks.puzzles --widest 4 --seconds 30")
def main(
    widest: Annotated[int, typer.Option(help="largest width")] = 6,
    seeds: Annotated[int, typer.Option(help="growths of every width")] = 4,
    seconds: Annotated[float, typer.Option(help="of every question")] = 60.0,
    workers: Annotated[int, typer.Option(help="processes")] = os.cpu_count() or 1,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
) -> None:
    """Puzzles of the known sizes, and proofs that there are no larger ones."""
    with friendly():
        rows: list[dict[str, Any]] = []
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            flying = [pool.submit(answer, q, seconds) for q in questions(widest, seeds)]
            for future in as_completed(flying):
                rows.append(future.result())
                write(rows, out / "discovery" / "puzzles.csv")
        for kind in ("strong", "local"):
            mine = [r for r in rows if r["kind"] == kind]
            found = {w: max(len(r["rows"].split()) for r in mine if r["width"] == w) for w in range(1, widest + 1)}
            closed = sorted({r["width"] for r in mine if r["answer"] == "none"})
            console.print(f"{kind}: sizes {found}; no larger ones at widths {closed}", markup=False)


if __name__ == "__main__":
    app()
