"""The approximation frontier: error against rank and price, with the lines to beat and what is proven impossible.

Example: ``python -m search.frontier --format 4,4,4``
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from stl_algebra import Encoder, StlError, load
from stl_algebra.known import best_rank

from . import cli
from .cli import Json, announced, console, friendly, parsed_format, print_json, readable_catalogue
from .core.catalogue import Catalogue, Row
from .core.unit import Format

if TYPE_CHECKING:  # torch and scipy load when they are used, not for --help
    from .approx.report import Point

__all__ = ["frontier"]


def frontier(folder: Path, rows: list[Row], fmt: Format, dtype: str = "bf16") -> list[Point]:
    """Best encoders of a format by rank and class; files of ranks above the best known exact one are left out."""
    from .approx.report import best_points

    name = "matmul:" + "x".join(map(str, fmt))
    exact = best_rank(fmt)
    mine = [r for r in rows if r.target == name and r.total_bf16 == r.total_bf16 and not r.is_complex]
    read: list[tuple[str, Encoder]] = [
        (r.file, load(folder / r.file, trust_certificate=True)) for r in mine if exact is None or r.rank <= exact + 1
    ]
    return best_points(read, fmt, exact, dtype) if read else []


def _table(points: list[Point], fmt: Format, dtype: str, details: bool) -> Table:
    table = Table(title=f"⟨{','.join(map(str, fmt))}⟩: ε² + rounding in {dtype}", padding=(0, 1))
    for name in ("rank", "mult.", "ε²", "κ²", "error", "dropped", "shared", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("group" if not details else "best with")
    if details:
        for name in ("time", "traffic", "rows X/D", "adds X/D"):
            table.add_column(name, justify="right", no_wrap=True)
    by_file: dict[tuple[int, str], list[Point]] = {}
    for p in points:
        if details or p.kind == "any":
            by_file.setdefault((p.rank, p.file), []).append(p)
    for same in by_file.values():
        p, cost = same[0], same[0].price
        row = [
            str(p.rank), f"{cost.flops:.3f}", f"{cost.epsilon2:.3g}", f"{cost.kappa2:.3g}", f"{p.total:.3g}",
            f"{p.dropping:.3f}", "" if p.time_sharing is None else f"{p.time_sharing:.3f}",
            f"{float(cost.bound):.3f}" if cost.bound else "", ", ".join(x.kind for x in same) if details else p.group,
        ]  # fmt: skip
        if details:
            row += [
                f"{cost.time:.2f}",
                f"{cost.traffic_x:.2f}",
                f"{cost.distinct_x}/{cost.distinct_d}",
                f"{cost.adds_x}/{cost.adds_d}",
            ]
        table.add_row(*row, style=None if p.below else "dim")
    return table


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.frontier --format 4,4,4 --plot frontier.svg")
def main(
    format: Annotated[
        list[str] | None, typer.Option(help="n,m,p or 3x3x3 (default: 2,2,2, 3,3,3 and 4,4,4; repeatable)")
    ] = None,
    catalogue: cli.Catalogue = None,
    dtype: Annotated[str, typer.Option(help="number format of the error: fp32, fp16, bf16 or fp8")] = "bf16",
    details: Annotated[
        bool, typer.Option("--details", help="also with bounded κ², small entries, few distinct rows; prices")
    ] = False,
    table_to: Annotated[Path | None, typer.Option("--csv", help="write all points: file, unit, command")] = None,
    plot_to: Annotated[Path | None, typer.Option("--plot", help="write a figure of the first format")] = None,
    json: Json = False,
) -> None:
    """Tabulate the best encoders beside dropping products, time-sharing and the certified bound; writes nothing itself.

    Rows below both lines are bright, others dim. mult.: fraction of the multiplications; dropped: 1 − r/nmp;
    shared: 1 − r/R of the best known exact rank R; bound: no encoder of this rank has a smaller ε²; time: predicted for
    a side of 8192, over that of the plain product (search.approx.prices.relative_time).
    """
    with friendly():
        formats = [f for text in format or ["2,2,2", "3,3,3", "4,4,4"] if (f := parsed_format(text))]
        held = Catalogue(readable_catalogue(catalogue))
        with announced(f"pricing the encoders of {len(formats)} formats", json):
            tables = {f: frontier(held.folder, held.rows, f, dtype) for f in formats}
        points = [p for t in tables.values() for p in t]
        if not points:
            raise StlError(
                "catalogue", str(held.folder), "a catalogue with encoders of these formats", "Run python -m search.run."
            )
        if table_to is not None:
            with table_to.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, list(points[0].row()), lineterminator="\n")
                writer.writeheader()
                writer.writerows(p.row() for p in points)
        if plot_to is not None:
            from .approx.report import plot

            first = next(f for f, t in tables.items() if t)
            plot(tables[first], plot_to, best_rank(first))
        if json:
            print_json([p.row() for p in points])
            return
        for fmt, rows in tables.items():
            if rows:
                console.print(_table(rows, fmt, dtype, details))


if __name__ == "__main__":
    app()
