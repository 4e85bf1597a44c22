"""What composition makes of the catalogue, format by format and ring by ring, beside the best known ranks.

Run ``python -m search.benchmarks.composition``; writes ``results/composition.csv``. ``rank`` is the best of the
catalogue and of its compositions, ``composed`` the best made of smaller formats alone, ``known`` the best published
rank over the ring (`stl_algebra.known`); every encoder of the table is built and its identity proven.
"""

from __future__ import annotations

import csv
import time
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from stl_algebra.known import best_rank
from stl_algebra.scores import kappa2

from ..algebras.composition import RINGS, composer
from ..cli import console, friendly

app = typer.Typer(add_completion=False, rich_markup_mode=None)
FIELDS = ("format", "ring", "rank", "composed", "known", "plan", "kappa2", "proven", "seconds")


def rows_of(ring: str, largest: int) -> list[dict[str, Any]]:
    """One row a format with sides from 2 to ``largest``."""
    table, alone = composer(ring, largest), composer(ring, largest, own=False)
    rows = []
    for fmt in table.formats:
        if fmt[0] < 2:
            continue
        begun = time.perf_counter()
        encoder, _ = table.built(fmt)
        plan = table.plan(fmt)
        rows.append({
            "format": "x".join(map(str, fmt)), "ring": ring, "rank": encoder.rank,
            "composed": alone.plan(fmt).rank if alone.plan(fmt).rank < prod(fmt) else "",
            "known": best_rank(fmt, ring) or "", "plan": str(plan),
            "kappa2": f"{kappa2(encoder):.4g}" if encoder.ring.embeds else "", "proven": encoder.is_exact,
            "seconds": f"{time.perf_counter() - begun:.2f}",
        })  # fmt: skip
    return rows


@app.command(epilog="Example: python -m search.benchmarks.composition --largest 6")
def main(
    largest: Annotated[int, typer.Option(help="largest side")] = 8,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
) -> None:
    """Best composed rank of every format, proven, beside the best known one."""
    with friendly():
        rows = [row for ring in RINGS for row in rows_of(ring, largest)]
        out.mkdir(parents=True, exist_ok=True)
        with (out / "composition.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        for ring in RINGS:
            mine = [r for r in rows if r["ring"] == ring]
            console.print(
                f"{ring}: {len(mine)} formats, {sum(bool(r['proven']) for r in mine)} proven, "
                f"{sum(r['rank'] == r['known'] for r in mine)} at the best known rank, "
                f"{sum(r['known'] != '' and r['rank'] < r['known'] for r in mine)} below it", markup=False,
            )  # fmt: skip


if __name__ == "__main__":
    app()
