"""The approximation frontier: ε², κ² and total bf16 error against rank, from the catalogue.

Example: ``python -m search.frontier --format 4,4,4``
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from search.cli import console, friendly, parsed_format, print_json
from search.core.catalogue import Catalogue, Row
from stl_algebra import StlError
from stl_algebra.known import best_rank

__all__ = ["Point", "frontier"]


@dataclass(frozen=True)
class Point:
    """The best encoder of one format and rank, with the two lines an approximation has to beat."""

    format: str
    rank: int
    flop_ratio: float
    epsilon2: float
    kappa2: float
    total_bf16: float
    naive: float
    time_sharing: float | None
    on_frontier: bool
    ring: str
    family: str
    file: str


def frontier(rows: list[Row], fmt: tuple[int, int, int]) -> list[Point]:
    """Best total bf16 error by rank; `on_frontier` if no smaller rank does as well.

    ``time_sharing`` is 1 − r/R, skipping K-tiles of the best known exact rank R (math of arXiv:2503.12211).
    """
    name = "matmul:" + "x".join(map(str, fmt))
    volume, exact = prod(fmt), best_rank(fmt)
    mine = [r for r in rows if r.target == name and r.total_bf16 == r.total_bf16 and not r.is_complex]
    points: list[Point] = []
    best = float("inf")
    for rank in sorted({r.rank for r in mine}):
        row = min((r for r in mine if r.rank == rank), key=lambda r: (r.total_bf16, r.file))
        better = row.total_bf16 < best
        best = min(best, row.total_bf16)
        point = Point(
            "x".join(map(str, fmt)), rank, volume / rank, row.epsilon2, row.kappa2, row.total_bf16,
            max(0.0, 1 - rank / volume), max(0.0, 1 - rank / exact) if exact else None, better, row.ring,
            row.family, row.file,
        )  # fmt: skip
        points.append(point)
    return points


def plot(points: list[Point], path: Path) -> None:
    """Write the figure (needs matplotlib, extra [notebooks])."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise StlError("plot", str(path), "an installed matplotlib", "pip install 'stl-algebra[notebooks]'") from None
    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    ranks = [p.rank for p in points]
    axes.plot(ranks, [p.naive for p in points], "--", color="0.5", label="standard products dropped")
    if points[0].time_sharing is not None:
        axes.plot(
            ranks, [p.time_sharing or 0 for p in points], ":", color="0.5", label="exact encoder, K-tiles skipped"
        )
    axes.plot(ranks, [p.total_bf16 for p in points], "o-", label="catalogue, total bf16 error")
    axes.set(
        xlabel="rank r", ylabel="relative squared error", yscale="log", title=f"⟨{points[0].format.replace('x', ',')}⟩"
    )
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.frontier --format 4,4,4 --plot results/figures/frontier_4x4x4.png")
def main(
    format: Annotated[
        list[str] | None, typer.Option(help="n,m,p; may be repeated (default: 2, 3 and 4 squared)")
    ] = None,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
    plot_to: Annotated[Path | None, typer.Option("--plot", help="write a figure of the first format")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Tabulate ε², κ² and total bf16 error against rank and FLOP ratio; also writes frontier.csv."""
    with friendly():
        formats = [f for text in format or ["2,2,2", "3,3,3", "4,4,4"] if (f := parsed_format(text))]
        catalogue = Catalogue(out)
        tables = [frontier(catalogue.rows, f) for f in formats]
        points = [p for t in tables for p in t]
        if not points:
            raise StlError(
                "out", str(out), "a catalogue with encoders of these formats", "Run python -m search.run first."
            )
        with (catalogue.folder / "frontier.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(asdict(points[0])), lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(p) for p in points)
        if plot_to is not None:
            plot(next(t for t in tables if t), plot_to)
        if json:
            print_json([asdict(p) for p in points])
            return
        for rows in filter(None, tables):
            table = Table(
                "rank",
                "FLOP ratio",
                "ε²",
                "κ²",
                "bf16 error²",
                "naive",
                "time-sharing",
                "ring",
                "family",
                title=rows[0].format,
            )
            for p in rows:
                sharing = "" if p.time_sharing is None else f"{p.time_sharing:.3f}"
                table.add_row(
                    str(p.rank), f"{p.flop_ratio:.2f}", f"{p.epsilon2:.4g}", f"{p.kappa2:.3g}", f"{p.total_bf16:.4g}",
                    f"{p.naive:.3f}", sharing, p.ring, p.family, style=None if p.on_frontier else "dim",
                )  # fmt: skip
            console.print(table)


if __name__ == "__main__":
    app()
