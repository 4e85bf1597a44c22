"""Success rates with and without each symmetry group: one table and one figure from the campaigns' rows.

    python -m search.benchmarks.success_rates results/discovery/*.csv

Rows of the same format, rank, group and orbit counts are pooled; a group is represented by its best orbit type.
Writes ``success_rates.csv`` (all orbit types) and ``success_rates.svg`` beside the input.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

from search.optimize.campaign import wilson

__all__ = ["draw", "main", "pool"]

COLUMNS = ["format", "rank", "group", "counts", "types", "unknowns", "restarts", "hits", "rate", "low", "high",
           "steps", "steps_per_hit", "best_kappa2", "best_eps2"]


def pool(files: list[Path]) -> list[dict[str, Any]]:
    """Rows of campaign tables, pooled over seeds and schedules, best first within each format and rank."""
    sums: dict[tuple[str, ...], dict[str, Any]] = defaultdict(
        lambda: {"restarts": 0, "hits": 0, "steps": 0, "kappa": float("inf"), "eps2": float("inf"), "unknowns": 0}
    )
    for path in files:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if "best_eps2" not in (reader.fieldnames or []) or "counts" not in (reader.fieldnames or []):
                continue
            for row in reader:
                entry = sums[row["format"], row["rank"], row["group"], row["counts"], row["types"]]
                entry["unknowns"] = int(row["unknowns"])
                for name in ("restarts", "hits", "steps"):
                    entry[name] += int(row[name])
                entry["eps2"] = min(entry["eps2"], float(row["best_eps2"]))
                if int(row["hits"]):
                    entry["kappa"] = min(entry["kappa"], float(row["best_kappa2"]))
    out = []
    for (fmt, rank, group, counts, types), e in sums.items():
        low, high = wilson(e["hits"], e["restarts"])
        out.append({
            "format": fmt, "rank": int(rank), "group": group, "counts": counts, "types": types,
            "unknowns": e["unknowns"], "restarts": e["restarts"], "hits": e["hits"],
            "rate": e["hits"] / max(1, e["restarts"]), "low": low, "high": high, "steps": e["steps"],
            "steps_per_hit": e["steps"] // e["hits"] if e["hits"] else "",
            "best_kappa2": f"{e['kappa']:.4f}" if e["hits"] else "", "best_eps2": f"{e['eps2']:.2e}",
        })
    return sorted(out, key=lambda r: (r["format"], r["rank"], -r["rate"], r["group"]))


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
                best.setdefault(row["group"], row)
        chosen = sorted(best.values(), key=lambda r: r["rate"])
        labels = [f"{r['group']}  ({r['unknowns']} unknowns)" for r in chosen]
        rates = [100 * r["rate"] for r in chosen]
        below = [100 * max(0.0, r["rate"] - r["low"]) for r in chosen]
        above = [100 * (r["high"] - r["rate"]) for r in chosen]
        colours = ["0.55" if r["group"] == "free" else "tab:blue" for r in chosen]
        axis.barh(range(len(chosen)), rates, xerr=[below, above], color=colours, error_kw={"lw": 0.8})
        axis.set_yticks(range(len(chosen)), labels, fontsize=7)
        for at, row in enumerate(chosen):
            axis.annotate(f"{row['hits']}/{row['restarts']}", (100 * row["high"], at), fontsize=6, va="center",
                          xytext=(3, 0), textcoords="offset points")
        axis.set_title("⟨" + fmt.replace("x", ",") + f";{rank}⟩", fontsize=10)
        axis.set_xlabel("restarts that end exact, %", fontsize=8)
        axis.margins(x=0.15)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Pool campaign rows into success rates per group.")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("results/discovery"))
    options = parser.parse_args()
    rows = pool(options.files)
    with (options.out / "success_rates.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**r, **{k: f"{r[k]:.4f}" for k in ("rate", "low", "high")}} for r in rows)
    panels = [("2x2x2", 7), ("3x3x3", 23), ("4x4x4", 49), ("4x4x4", 48)]
    panels = [p for p in panels if any((r["format"], r["rank"]) == p for r in rows)]
    draw(rows, options.out / "success_rates.svg", panels)


if __name__ == "__main__":
    main()
