"""Success rates from the rows of plans: with and without each symmetry, and from each kind of start.

    python -m search.benchmarks.success_rates results/discovery/*.csv

Gaussian starts of the same format, rank, symmetry and orbit counts are pooled; a symmetry is represented by its best
orbit type: ``success_rates.csv`` (all orbit types) and ``success_rates.svg``. For every format, rank, symmetry and
counts with more than one kind of start or schedule, ``starts.csv`` compares them (``starts.svg`` those without
symmetry): what a start costs, in iterations and seconds, is charged to it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from math import sqrt
from pathlib import Path
from typing import Any

__all__ = ["compare", "draw", "draw_starts", "label", "main", "pool", "wilson"]

COLUMNS = [
    "format",
    "rank",
    "symmetry",
    "counts",
    "types",
    "unknowns",
    "restarts",
    "hits",
    "rate",
    "low",
    "high",
    "steps",
    "steps_per_hit",
    "best_kappa2",
    "best_eps2",
]
STARTS = [
    "format",
    "rank",
    "symmetry",
    "counts",
    "device",
    "start",
    "restarts",
    "hits",
    "rate",
    "low",
    "high",
    "steps",
    "hits_per_1000_steps",
    "steps_low",
    "steps_high",
    "seconds",
    "hits_per_second",
    "seconds_low",
    "seconds_high",
    "best_kappa2",
    "best_eps2",
]


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of a success rate."""
    if not total:
        return 0.0, 1.0
    z, p = 1.96, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def label(start: str, schedule: str) -> str:
    """What a row's start and schedule are called in the comparison."""
    options = json.loads(start) if start else {"kind": "random"}
    name = str(options["kind"])
    if name == "built":
        name = next((k for k in ("sum", "kron") if k in options["from"]), "smaller solutions")
    if name == "deflate":
        name += ", squeezed" if options.get("squeeze", 100) else ", cut at once"
    if name == "gf2":
        name += ", " + options.get("signs", "descent")
    base, _, changes = schedule.partition(" ")
    changed = json.loads(changes) if changes else {}
    if changed.get("kappa_weight"):
        return name + " + κ²"
    return name if base == "fast" or changed.get("mu_start", 0.3) <= 0.1 else name + " (μ from 0.3)"


def compare(files: list[Path]) -> list[dict[str, Any]]:
    """Rows pooled by start and schedule, for problems with at least two of them of which one has succeeded."""
    sums: dict[tuple[str, ...], dict[str, Any]] = defaultdict(
        lambda: {"restarts": 0, "hits": 0, "steps": 0, "seconds": 0.0, "kappa": float("inf"), "eps2": float("inf")}
    )
    for path in files:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if "start_steps" not in (reader.fieldnames or []):
                continue
            for row in reader:
                problem = (row["format"], row["rank"], row["symmetry"], row["counts"], row["device"].partition(":")[0])
                entry = sums[(*problem, label(row["start"], row["schedule"]))]
                entry["restarts"] += int(row["restarts"])
                entry["hits"] += int(row["converged"])
                entry["steps"] += int(row["steps"]) + int(row["start_steps"])
                entry["seconds"] += float(row["search_seconds"]) + float(row["start_seconds"])
                entry["eps2"] = min(entry["eps2"], float(row["best_eps2"]))
                if int(row["converged"]):
                    entry["kappa"] = min(entry["kappa"], float(row["best_kappa2"]))
    problems: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for key, e in sums.items():
        problems[key[:5]].append(e["hits"])
    out = []
    for key, e in sums.items():
        if len(problems[key[:5]]) < 2 or not any(problems[key[:5]]):
            continue
        low, high = (x * e["restarts"] for x in wilson(e["hits"], e["restarts"]))
        out.append(
            {
                **dict(zip(STARTS[:6], key, strict=True)),
                "restarts": e["restarts"],
                "hits": e["hits"],
                "rate": e["hits"] / e["restarts"],
                "low": low / e["restarts"],
                "high": high / e["restarts"],
                "steps": e["steps"],
                "hits_per_1000_steps": 1e3 * e["hits"] / e["steps"],
                "steps_low": 1e3 * low / e["steps"],
                "steps_high": 1e3 * high / e["steps"],
                "seconds": e["seconds"],
                "hits_per_second": e["hits"] / e["seconds"],
                "seconds_low": low / e["seconds"],
                "seconds_high": high / e["seconds"],
                "best_kappa2": f"{e['kappa']:.4f}" if e["hits"] else "",
                "best_eps2": f"{e['eps2']:.2e}",
            }
        )
    return sorted(out, key=lambda r: (r["format"], int(r["rank"]), r["symmetry"], -r["hits_per_1000_steps"]))


def draw_starts(rows: list[dict[str, Any]], path: Path) -> None:
    """Solutions per 1000 iterations, those spent on the starts included, with 95 % intervals; a panel per problem."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    panels: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        panels[row["format"], row["rank"], row["symmetry"], row["device"]].append(row)
    size = (4.2 * len(panels), 3.4)
    figure, axes = plt.subplots(1, len(panels), figsize=size, constrained_layout=True, squeeze=False)
    for axis, ((fmt, rank, group, device), chosen) in zip(axes[0], panels.items(), strict=True):
        ordered = sorted(chosen, key=lambda r: r["hits_per_1000_steps"])
        values = [r["hits_per_1000_steps"] for r in ordered]
        below = [max(0.0, r["hits_per_1000_steps"] - r["steps_low"]) for r in ordered]
        above = [max(0.0, r["steps_high"] - r["hits_per_1000_steps"]) for r in ordered]
        colours = ["0.55" if r["start"].startswith("random") else "tab:blue" for r in ordered]
        axis.barh(range(len(ordered)), values, xerr=[below, above], color=colours, error_kw={"lw": 0.8})
        ticks = [f"{r['start']}  {r['hits']}/{r['restarts']}" for r in ordered]
        axis.set_yticks(range(len(ordered)), ticks, fontsize=7)
        name = "⟨" + fmt.replace("x", ",") + f";{rank}⟩"
        axis.set_title(name + ("" if group == "none" else f" {group}") + f", {device}", fontsize=9)
        axis.set_xlabel("solutions per 1000 iterations", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def pool(files: list[Path]) -> list[dict[str, Any]]:
    """Rows of plans, pooled over seeds and schedules, best first within each format and rank."""
    sums: dict[tuple[str, ...], dict[str, Any]] = defaultdict(
        lambda: {"restarts": 0, "hits": 0, "steps": 0, "kappa": float("inf"), "eps2": float("inf"), "unknowns": 0}
    )
    for path in files:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if "best_eps2" not in (reader.fieldnames or []) or "counts" not in (reader.fieldnames or []):
                continue
            for row in reader:
                if row.get("start") or row.get("field", "real") != "real":
                    continue
                entry = sums[row["format"], row["rank"], row["symmetry"], row["counts"], row["types"]]
                entry["unknowns"] = int(row["unknowns"])
                for name, column in (("restarts", "restarts"), ("hits", "converged"), ("steps", "steps")):
                    entry[name] += int(row[column])
                entry["eps2"] = min(entry["eps2"], float(row["best_eps2"]))
                if int(row["converged"]):
                    entry["kappa"] = min(entry["kappa"], float(row["best_kappa2"]))
    out = []
    for (fmt, rank, group, counts, types), e in sums.items():
        low, high = wilson(e["hits"], e["restarts"])
        out.append(
            {
                "format": fmt,
                "rank": int(rank),
                "symmetry": group,
                "counts": counts,
                "types": types,
                "unknowns": e["unknowns"],
                "restarts": e["restarts"],
                "hits": e["hits"],
                "rate": e["hits"] / max(1, e["restarts"]),
                "low": low,
                "high": high,
                "steps": e["steps"],
                "steps_per_hit": e["steps"] // e["hits"] if e["hits"] else "",
                "best_kappa2": f"{e['kappa']:.4f}" if e["hits"] else "",
                "best_eps2": f"{e['eps2']:.2e}",
            }
        )
    return sorted(out, key=lambda r: (r["format"], r["rank"], -r["rate"], r["symmetry"]))


def draw(rows: list[dict[str, Any]], path: Path, panels: list[tuple[str, int]]) -> None:
    """Horizontal bars with 95 % intervals, one panel per (format, rank): the best orbit type of each group."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.8), constrained_layout=True)
    for axis, (fmt, rank) in zip(axes, panels, strict=True):
        best: dict[str, dict[str, Any]] = {}
        for row in rows:
            if (row["format"], row["rank"]) == (fmt, rank):
                best.setdefault(row["symmetry"], row)
        chosen = sorted(best.values(), key=lambda r: r["rate"])
        labels = [f"{r['symmetry']}  ({r['unknowns']} unknowns)" for r in chosen]
        rates = [100 * r["rate"] for r in chosen]
        below = [100 * max(0.0, r["rate"] - r["low"]) for r in chosen]
        above = [100 * (r["high"] - r["rate"]) for r in chosen]
        colours = ["0.55" if r["symmetry"] == "none" else "tab:blue" for r in chosen]
        axis.barh(range(len(chosen)), rates, xerr=[below, above], color=colours, error_kw={"lw": 0.8})
        axis.set_yticks(range(len(chosen)), labels, fontsize=7)
        for at, row in enumerate(chosen):
            axis.annotate(
                f"{row['hits']}/{row['restarts']}",
                (100 * row["high"], at),
                fontsize=6,
                va="center",
                xytext=(3, 0),
                textcoords="offset points",
            )
        axis.set_title("⟨" + fmt.replace("x", ",") + f";{rank}⟩", fontsize=10)
        axis.set_xlabel("restarts that end exact, %", fontsize=8)
        axis.margins(x=0.15)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Pool the rows of plans into success rates per symmetry.")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("results/discovery"))
    options = parser.parse_args()
    rows = pool(options.files)
    with (options.out / "success_rates.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**r, **{k: f"{r[k]:.4f}" for k in ("rate", "low", "high")}} for r in rows)
    begun = compare(options.files)
    with (options.out / "starts.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, STARTS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in begun)
    if begun:
        draw_starts([r for r in begun if r["symmetry"] == "none"], options.out / "starts.svg")
    panels = [("2x2x2", 7), ("3x3x3", 23), ("4x4x4", 49), ("4x4x4", 48)]
    panels = [p for p in panels if any((r["format"], r["rank"]) == p for r in rows)]
    draw(rows, options.out / "success_rates.svg", panels)


if __name__ == "__main__":
    main()
