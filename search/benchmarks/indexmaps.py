"""Annealing against coordinate ascent for index maps of least collision, group by group at tile 3.

Run ``python -m search.benchmarks.indexmaps``; writes ``results/discovery/indexmaps.csv``: retained energy (of 27, mean
and best of the seeds) with the same number of trial moves by each method, and by twelve ascents from random maps of a
few visits each, which was the search before. The barrier is that of `search.algebras.indexmaps`.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from stl_algebra import group

from ..algebras.indexmaps import collisions, index_maps
from ..cli import console, friendly

app = typer.Typer(add_completion=False, rich_markup_mode=None)
GROUPS = (
    "C8", "C9", "C10", "C12", "C15", "C16", "C18", "C20", "C21", "C24", "C26", "C2xC4", "C2^3", "C3xC3", "C4xC4", "S3",
    "D4", "Q8", "D5", "D6", "A4", "SL(2,3)",
)  # fmt: skip
#: Method, restarts and moves of each; the last is the old search: every value of every entry, a few times over.
METHODS = {"anneal": (40, 18_000), "ascent": (40, 18_000), "both": (40, 18_000), "ascent, 12 times": (12, 0)}
FIELDS = ("group", "order", "barrier", *(f"{m}, {what}" for m in METHODS for what in ("mean", "best")), "seeds")


def row(name: str, seeds: int, tile: int = 3) -> dict[str, Any]:
    """One group: what every method retains."""
    table = np.asarray(group(name).table, np.int64)
    out: dict[str, Any] = {"group": name, "order": len(table), "barrier": min(len(table), tile**3), "seeds": seeds}
    for method, (restarts, moves) in METHODS.items():
        moves = moves or 4 * 2 * tile * tile * len(table)
        kept = [
            collisions(*index_maps((tile,) * 3, table, seed, method.split(",")[0], restarts, moves), table).retained
            for seed in range(seeds)
        ]
        out |= {f"{method}, mean": f"{np.mean(kept):.4g}", f"{method}, best": f"{max(kept):.4g}"}
    return out


@app.command(epilog="Example: python -m search.benchmarks.indexmaps --seeds 2")
def main(
    seeds: Annotated[int, typer.Option(help="of every group and method")] = 5,
    workers: Annotated[int, typer.Option(help="processes")] = os.cpu_count() or 1,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
) -> None:
    """Annealing against ascent at equal trial moves."""
    with friendly():
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(partial(row, seeds=seeds), GROUPS))
        (out / "discovery").mkdir(parents=True, exist_ok=True)
        with (out / "discovery" / "indexmaps.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        for other in ("ascent", "ascent, 12 times"):
            pairs = [(float(r["anneal, mean"]), float(r[f"{other}, mean"])) for r in rows]
            more, less = sum(a > b + 1e-3 for a, b in pairs), sum(a < b - 1e-3 for a, b in pairs)
            console.print(f"annealing against {other}: better for {more}, worse for {less} of {len(rows)} groups")


if __name__ == "__main__":
    app()
