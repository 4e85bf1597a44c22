"""``python -m kernels.bench.figures``: the figures derived from results/measurements.csv.

Example::

    python -m kernels.bench.figures results/measurements.csv --out results/figures

Draws the measured speed-up over dense against size for every rank with its FLOP limit, and where the time of
each product goes, and the error of float32 products against K and dynamic range. Nothing is measured here; needs
matplotlib (``pip install 'stl-algebra[notebooks]'``).
"""

from __future__ import annotations

import csv
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from stl_algebra.errors import StlError

from .measure import COLUMNS

__all__ = ["draw_breakdown", "draw_errors", "draw_speedups", "main", "read"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
PARTS = ("encode", "product", "decode")


def read(path: Path) -> list[dict[str, str]]:
    """Rows of the measurements table; StlError when it is missing or has other columns."""
    if not path.exists():
        raise StlError("FILE", str(path), "a measurements table", "Run python -m kernels.bench table --out FILE.")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or list(rows[0]) != COLUMNS:
        raise StlError("FILE", str(path), f"a table with the columns {', '.join(COLUMNS)}")
    return rows


def _family(format: str, rank: int) -> str:
    """What an encoder is called in the figure: without the exact Strassen levels around or inside it."""
    for _ in range(format.count("2x2x2·") + format.count("8x8x8")):
        rank //= 7
    inner = format.split("·")[-1].replace("8x8x8", "4x4x4")
    return (
        "Strassen, best level"
        if (inner, rank) in (("4x4x4", 49), ("2x2x2", 7))
        else f"⟨{inner.replace('x', ',')};{rank}⟩"
    )


def draw_speedups(rows: list[dict[str, str]], axis: Any) -> int:
    """Speed-up over dense against n, the best form of each encoder in the latest run; returns the points drawn."""
    series: dict[tuple[str, str], dict[int, tuple[str, float]]] = {}
    for row in rows:
        if row["metric"] == "speedup" and row["n"] == row["k"] == row["m"] and row["op"] in ("matmul", "fp8"):
            points = series.setdefault((row["dtype"], _family(row["format"], int(row["rank"]))), {})
            run, best = points.get(int(row["n"]), ("", 0.0))
            value = float(row["q50"])
            points[int(row["n"])] = (row["run_id"], max(best, value) if run == row["run_id"] else value)
    for index, ((dtype, name), points) in enumerate(sorted(series.items())):
        sizes = sorted(points)
        marker = "os"[index // 10 % 2] + ("-" if len(sizes) > 1 else "")
        axis.plot(sizes, [points[n][1] for n in sizes], marker, label=f"{dtype} {name}")
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(xscale="log", xlabel="n = k = m", ylabel="speed-up over dense", title="weights encoded beforehand")
    axis.set_xticks([2**i for i in range(10, 15)], [str(2**i) for i in range(10, 15)])
    axis.minorticks_off()
    axis.legend(fontsize=6, ncols=2)
    return sum(map(len, series.values()))


def draw_breakdown(rows: list[dict[str, str]], axis: Any, dtype: str = "bf16") -> int:
    """Encode, product and decode as shares of the dense time of the same run; returns the bars drawn."""
    dense = {(r["run_id"], r["n"]): float(r["q50"]) for r in rows
             if r["provider"] == "dense" and r["dtype"] == dtype and r["n"] == r["k"] == r["m"]}  # fmt: skip
    bars: dict[tuple[int, int], dict[str, float]] = {}
    for row in rows:
        base = dense.get((row["run_id"], row["n"]))
        if row["mode"] in PARTS and row["dtype"] == dtype and row["n"] == row["k"] == row["m"] and base:
            bars.setdefault((int(row["n"]), int(row["rank"])), {})[row["mode"]] = float(row["q50"]) / base
    for index, (_, shares) in enumerate(sorted(bars.items())):
        left = 0.0
        for part, colour in zip(PARTS, ("tab:orange", "tab:blue", "tab:green"), strict=True):
            axis.barh(index, shares.get(part, 0.0), left=left, color=colour, label=part if index == 0 else None)
            left += shares.get(part, 0.0)
    axis.set_yticks(range(len(bars)), [f"n={n} r={rank}" for n, rank in sorted(bars)], fontsize=7)
    axis.axvline(1, color="grey", linewidth=0.8)
    axis.set(xlabel=f"time / dense time ({dtype})", title="where the time goes (each part alone)")
    if bars:
        axis.legend(fontsize=7)
    return len(bars)


LABELS = {"precision_k": "K, length of the sums", "precision_range": "e: rows and columns spread over 2^±e"}


def draw_errors(rows: list[dict[str, str]], axis: Any, op: str) -> int:
    """Error of every provider of the latest run, measured and (dashed) predicted; returns the points drawn."""
    of_op = [row for row in rows if row["op"] == op]
    latest = [row for row in of_op if row["run_id"] == of_op[-1]["run_id"]]
    for provider in dict.fromkeys(row["provider"] for row in latest):
        mine = [row for row in latest if row["provider"] == provider]
        at = [float(row["k"] if op == "precision_k" else row["mode"].removeprefix("2^±")) for row in mine]
        (line,) = axis.plot(at, [float(row["rel_error"]) for row in mine], "o-", label=provider)
        known = [(x, float(row["predicted_error"])) for x, row in zip(at, mine, strict=True) if row["predicted_error"]]
        if known:
            axis.plot(*zip(*known, strict=True), "--", color=line.get_color(), linewidth=0.8)
    axis.set(xlabel=LABELS[op], ylabel="relative error, float32", yscale="log")
    axis.set_xscale("log" if op == "precision_k" else "linear")
    axis.legend(fontsize=7)
    return len(latest)


@app.command(help=__doc__)
def main(
    file: Annotated[Path, typer.Argument(help="measurements table")] = Path("results/measurements.csv"),
    out: Annotated[Path, typer.Option(help="folder for the figures")] = Path("results/figures"),
) -> None:
    """Draw; exit code 2 when the table is missing, foreign or empty."""
    try:
        rows = read(file)
        if importlib.util.find_spec("matplotlib") is None:
            raise StlError("matplotlib", "absent", "matplotlib", "pip install 'stl-algebra[notebooks]'.")
    except StlError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    from matplotlib.figure import Figure

    out.mkdir(parents=True, exist_ok=True)
    draws: dict[str, Callable[..., int]] = {"kernel_speedups": draw_speedups, "kernel_breakdown": draw_breakdown}
    draws |= {op: functools.partial(draw_errors, op=op) for op in LABELS if any(row["op"] == op for row in rows)}
    for name, draw in draws.items():
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        drawn = draw(rows, figure.subplots())
        figure.savefig(out / f"{name}.svg", metadata={"Date": None})
        typer.echo(f"{out / name}.svg: {drawn} entries")


if __name__ == "__main__":
    app()
