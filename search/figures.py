"""The figures of README and results, from the tables in ``results/`` and nothing else.

Example: ``python -m search.figures``
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from fractions import Fraction
from math import prod
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from stl_algebra import StlError
from stl_algebra._style import OURS, SERIES, STYLE
from stl_algebra.known import best_rank

from .cli import Json, Out, announced, console, friendly, print_json

__all__ = ["FIGURES", "draw"]

Row = dict[str, str]
FORMATS = ((2, 2, 2), (3, 3, 3), (4, 4, 4))


def _read(folder: Path, name: str) -> list[Row]:
    path = folder / name
    if not path.is_file():
        raise StlError("results", str(path), "a table", "results/README.md says which command makes it.")
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _name(fmt: str) -> str:
    return f"⟨{fmt.replace('x', ',')}⟩"


def frontier(folder: Path, figure: Any) -> None:
    """Error of the best encoder of every rank, the two lines of no merit, and what is proven impossible."""
    rows = _read(folder, "frontier/points.csv")
    for i, (axis, fmt) in enumerate(zip(figure.subplots(1, 3), FORMATS, strict=True)):
        mine = [r for r in rows if r["format"] == "x".join(map(str, fmt))]
        volume, exact = prod(fmt), best_rank(fmt) or prod(fmt)
        best: dict[int, float] = {}
        bound: dict[int, float] = {}
        for r in mine:
            rank = int(r["rank"])
            best[rank] = min(best.get(rank, 9.0), float(r["total_bf16"]))
            bound[rank] = float(Fraction(r["bound"])) if r["bound"] else 0.0
        ranks = list(range(1, volume + 1))
        axis.plot(ranks[:-1], [1 - r / volume for r in ranks[:-1]], ":", color="0.55", label="products dropped")
        inside = [r for r in ranks if r < exact]
        axis.plot(inside, [1 - r / exact for r in inside], "--", color="0.35", label="K-tiles of an exact one skipped")
        shown = sorted(best)
        axis.plot(shown, [best[r] for r in shown], linewidth=1, label="found here", **OURS)
        floor = [(r, b) for r, b in sorted(bound.items()) if b > 0]
        if floor:
            axis.fill_between(*zip(*floor, strict=True), 1e-6, color="0.85", label="proven impossible")
        axis.axvline(exact, color="0.7", linewidth=0.8)
        axis.annotate(f"exact: {exact}", (exact, 0.5), fontsize=7, rotation=90, ha="right", color="0.35")
        axis.set(title=_name("x".join(map(str, fmt))), xlabel="rank r", yscale="log", ylim=(1e-5, 1.3))
        axis.xaxis.get_major_locator().set_params(integer=True)
        if i == 0:
            axis.set_ylabel("relative squared error in bf16")
        if i == 2:
            axis.legend(loc="lower left")


def groups(folder: Path, figure: Any) -> None:
    """The same search with and without groups at equal processor time: every seed, and the mean."""
    rows = _read(folder, "frontier/evidence.csv")
    cases = sorted({(r["format"], int(r["rank"])) for r in rows})
    axis = figure.subplots()
    for shift, side, style in ((-0.12, "groups", OURS), (0.12, "none", SERIES[0])):
        for i, (fmt, rank) in enumerate(cases):
            of = [float(r["total"]) for r in rows if (r["format"], int(r["rank"]), r["side"]) == (fmt, rank, side)]
            fill = style["color"] if side == "groups" else "white"
            label = {"groups": "with groups", "none": "without"}[side] if i == 0 else None
            axis.plot(
                [i + shift] * len(of), of, style["marker"], color=style["color"], markerfacecolor=fill, label=label
            )
            axis.plot([i + shift - 0.08, i + shift + 0.08], [mean(of)] * 2, color=style["color"])
    axis.set_xticks(range(len(cases)), [f"{_name(f)}\nrank {r}" for f, r in cases])
    axis.set(yscale="log", ylabel="relative squared error in bf16")
    axis.set_title("equal processor time, one mark a seed, bars: means")
    axis.legend()


def families(folder: Path, figure: Any) -> None:
    """The same time under fifteen groups, tile by tile and rank by rank: each group, the best named, beside none."""
    rows = [r for r in _read(folder, "families.csv") if r["total_bf16"] not in ("", "nan")]
    cells = sorted({(int(r["tile"]), int(r["rank"])) for r in rows})
    axis = figure.subplots()
    for i, cell in enumerate(cells):
        here = [r for r in rows if (int(r["tile"]), int(r["rank"])) == cell]
        under = sorted((float(r["total_bf16"]), r["group"]) for r in here if r["group"] != "none")
        free = [float(r["total_bf16"]) for r in here if r["group"] == "none"]
        hollow = {"color": OURS["color"], "markerfacecolor": "white"}
        axis.plot(
            [i - 0.1] * len(under), [e for e, _ in under], OURS["marker"], label="a group" if i == 0 else None, **hollow
        )
        axis.plot(
            [i - 0.1], [under[0][0]], OURS["marker"], color=OURS["color"], label="the best group" if i == 0 else None
        )
        axis.annotate(
            under[0][1], (i - 0.1, under[0][0]), (0, -11), textcoords="offset points", fontsize=7, ha="center"
        )
        axis.plot(
            [i + 0.15] * len(free),
            free,
            SERIES[0]["marker"],
            color=SERIES[0]["color"],
            label="none" if i == 0 else None,
        )
    axis.set_xticks(range(len(cells)), [f"⟨{t},{t},{t}⟩\nrank {r}" for t, r in cells])
    axis.set(yscale="log", ylabel="relative squared error in bf16", title="equal time under every group")
    axis.legend()


#: Providers of measurements as people call them; ours are those with an encoder.
PEERS = {
    "dense": "cuBLAS fp32", "tf32": "TF32", "fp16x3": "fp16 × 3, no encoder", "bf16x6": "bf16 × 6",
    "tf32x3": "TF32 × 3", "split_plain": "split, no encoder",
}  # fmt: skip


def speed(folder: Path, figure: Any) -> None:
    """Speed against error of float32 products at the largest common size of the latest run, rivals in the same run."""
    rows = [r for r in _read(folder, "measurements.csv") if r["op"] == "precision" and r["metric"] == "speedup"]
    rows = [r for r in rows if r["dtype"] == "fp32" and r["rel_error"] and r["mode"] in ("forward", "fast")]
    last = [r for r in rows if r["run_id"] == rows[-1]["run_id"]]
    sizes = sorted({int(r["n"]) for r in last})
    for axis, n in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        mine = [r for r in last if int(r["n"]) == n]
        for i, provider in enumerate(dict.fromkeys(r["provider"] for r in mine if r["rank"] == "0")):
            r = next(r for r in mine if r["provider"] == provider and r["rank"] == "0")
            style = SERIES[i % len(SERIES)]
            label = PEERS.get(provider, provider)
            axis.plot(
                float(r["rel_error"]), float(r["q50"]), style["marker"], color=style["color"], markerfacecolor="white",
                label=label,
            )  # fmt: skip
        ours = sorted((float(r["rel_error"]), float(r["q50"]), int(r["rank"])) for r in mine if r["rank"] != "0")
        axis.plot(
            [e for e, _, _ in ours],
            [s for _, s, _ in ours],
            OURS["marker"],
            color=OURS["color"],
            label="split under an encoder",
        )
        axis.axhline(1, color="0.6", linewidth=0.8)
        axis.set(xscale="log", xlabel="relative error against float64", title=f"n = k = m = {n}")
        if n == sizes[0]:
            axis.set_ylabel("speed, cuBLAS fp32 = 1")
            axis.legend()
    figure.suptitle(f"float32 products on one {last[0]['device']}, all in one run", fontsize=9)


def training(folder: Path, figure: Any) -> None:
    """What layers reach in training, by arm: mean and every seed; hollow: a leak makes the figure meaningless."""
    left, right = figure.subplots(1, 2)
    _arms(left, _read(folder, "experiments/vit.csv"), "accuracy", "MNIST accuracy of a small ViT, %")
    _arms(right, _read(folder, "experiments/gpt.csv"), "nats", "held-out nats a byte (lower is better)")


def _arms(axis: Any, rows: list[Row], value: str, title: str) -> None:
    arms: dict[str, list[Row]] = {}
    for r in rows:
        if r[value]:
            front = f", {r['front']} front" if r.get("front") else ""
            arms.setdefault(f"{r['arm']}{front} × {float(r['multiplications']):.3g}", []).append(r)
    order = sorted(arms, key=lambda a: mean(float(r[value]) for r in arms[a]), reverse=value == "nats")
    for i, arm in enumerate(order):
        values = [float(r[value]) for r in arms[arm]]
        leaks = any(float(r.get(key) or 0) > 1e-3 for r in arms[arm] for key in ("leak_time", "leak_batch"))
        style = SERIES[0] if arm.startswith(("dense", "2:4", "low rank")) else OURS
        fill = "white" if leaks else style["color"]
        axis.plot(values, [i] * len(values), style["marker"], color=style["color"], markerfacecolor=fill, alpha=0.8)
        axis.plot([mean(values)] * 2, [i - 0.3, i + 0.3], color=style["color"])
    axis.set_yticks(range(len(order)), order, fontsize=7)
    axis.set_title(title + "\nround: ours, square: rivals; hollow: leaks", fontsize=8)


FIGURES: dict[str, tuple[Callable[[Path, Any], None], tuple[float, float]]] = {
    "frontier": (frontier, (10.5, 3.6)),
    "groups": (groups, (8, 3.6)),
    "families": (families, (9, 3.8)),
    "speed": (speed, (9, 3.8)),
    "training": (training, (11, 6)),
}


def draw(name: str, results: Path, out: Path) -> Path:
    """Draw one figure into a folder.

    Raises
    ------
    StlError
        Without matplotlib, or if its table is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise StlError("figures", name, "an installed matplotlib", "pip install 'stl-algebra[notebooks]'") from None
    work, size = FIGURES[name]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size)
        work(results, figure)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None})
    return path


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.figures frontier")
def main(
    names: Annotated[list[str] | None, typer.Argument(help="which (default: all): " + ", ".join(FIGURES))] = None,
    results: Annotated[Path, typer.Option(help="the folder of tables")] = Path("results"),
    out: Out = Path("results/figures"),
    json: Json = False,
) -> None:
    """Draw the figures of README and results from their tables; nothing is measured or searched here."""
    with friendly():
        for name in names or ():
            if name not in FIGURES:
                raise StlError("names", name, ", ".join(FIGURES))
        with announced("drawing", json):
            paths = [str(draw(name, results, out)) for name in names or FIGURES]
        if json:
            print_json(paths)
        else:
            console.print("\n".join(paths), markup=False)


if __name__ == "__main__":
    app()
