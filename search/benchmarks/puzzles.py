"""Sizes of uniquely solvable puzzles by width, found through SAT and verified without it, and where none is larger.

Run ``python -m search.benchmarks.puzzles``; writes ``results/discovery/puzzles.csv``. A line is one question, whether
there is a puzzle of this width and size (with a symmetry imposed, if it says so): its rows, or ``none``, or ``open``
when the time was up.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from ..algebras.puzzles import LARGEST_STRONG, Tie, find_puzzle, is_puzzle
from ..cli import console, friendly

app = typer.Typer(add_completion=False, rich_markup_mode=None)
FIELDS = ("kind", "width", "size", "known", "tie", "answer", "seconds")
Question = tuple[str, int, int, Tie | None]
#: Sizes at which local puzzles of each width are asked for, and one beyond.
LOCAL = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 6}


def _cycles(total: int, lengths: list[int]) -> tuple[int, ...]:
    out, at = list(range(total)), 0
    for length in lengths:
        out[at : at + length] = [at + (i + 1) % length for i in range(length)]
        at += length
    return tuple(out)


def ties(width: int, size: int) -> Iterator[Tie]:
    """Symmetries of prime order that a puzzle could have: cycles of rows, of columns, of digits."""
    for order, digits in ((2, ((0, 1, 2), (1, 0, 2))), (3, ((0, 1, 2), (1, 2, 0))), (5, ((0, 1, 2),))):
        for columns in range(width // order + 1):
            for moved in digits:
                if columns or moved != (0, 1, 2):
                    for rows in range(size // order, max(0, size // order - 4), -1):
                        yield Tie(_cycles(size, [order] * rows), _cycles(width, [order] * columns), moved)


def questions(widest: int) -> list[Question]:
    """Known sizes and one beyond; with ties where the plain question is hard."""
    out: list[Question] = []
    for width in range(1, widest + 1):
        size = LARGEST_STRONG[width]
        out += [("strong", width, size, None), ("strong", width, size + 1, None)]
        if width >= 6:
            out += [("strong", width, size, tie) for tie in ties(width, size)]
        out += [("local", width, LOCAL[width], None), ("local", width, LOCAL[width] + 1, None)]
    return out


def answer(question: Question, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    kind, width, size, tie = question
    begun = time.perf_counter()
    try:
        rows = find_puzzle(width, size, kind, seconds, tie)
        said = "none" if rows is None else " ".join(rows)
        if rows is not None and not is_puzzle(rows, kind):
            said = "refuted"
    except TimeoutError:
        said = "open"
    return {
        "kind": kind, "width": width, "size": size, "known": LARGEST_STRONG[width] if kind == "strong" else "",
        "tie": "" if tie is None else f"rows {tie.rows} columns {tie.columns} digits {tie.digits}", "answer": said,
        "seconds": f"{time.perf_counter() - begun:.1f}",
    }  # fmt: skip


@app.command(epilog="Example: python -m search.benchmarks.puzzles --widest 4 --seconds 30")
def main(
    widest: Annotated[int, typer.Option(help="largest width")] = 6,
    seconds: Annotated[float, typer.Option(help="of every question")] = 60.0,
    workers: Annotated[int, typer.Option(help="processes")] = os.cpu_count() or 1,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
) -> None:
    """Puzzles of the known sizes, and proofs that there are no larger ones."""
    with friendly():
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(partial(answer, seconds=seconds), questions(widest)))
        (out / "discovery").mkdir(parents=True, exist_ok=True)
        with (out / "discovery" / "puzzles.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        for kind in ("strong", "local"):
            found = {r["width"]: r["size"] for r in rows if r["kind"] == kind and r["answer"] not in ("none", "open")}
            closed = [r["width"] for r in rows if r["kind"] == kind and r["answer"] == "none" and not r["tie"]]
            console.print(f"{kind}: sizes {found}; no larger ones at widths {closed}", markup=False)


if __name__ == "__main__":
    app()
