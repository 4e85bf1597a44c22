"""Rediscovery programme: find the published ranks again, from a group and a seed.

    python -m search.rediscover --list
    python -m search.rediscover 222-z3 333-z3-11 444-48-e32
    python -m search.rediscover --all-cpu --json
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from search.catalog import Catalogue
from search.cli import console, friendly, print_json
from search.recipes import RECIPES, Finding, recipe, run_recipe
from stl_algebra import StlError
from stl_algebra.known import best_rank
from stl_algebra.scores import kappa2

__all__ = ["main"]

COLUMNS = [
    "recipe", "format", "rank", "best_known", "ring", "engine", "group", "found", "restarts", "numerical", "tried",
    "search_s", "exact_s", "kappa2", "best_eps2", "seed", "device", "cores", "file", "reason", "command",
]

app = typer.Typer(add_completion=False, help=__doc__)


def row(finding: Finding, file: str = "") -> dict[str, Any]:
    """The line of the table for one finding."""
    job = finding.recipe
    extra = f" --device {finding.device}" if finding.device != "cpu" else ""
    return {
        "recipe": job.name, "format": "x".join(map(str, job.format)), "rank": job.rank,
        "best_known": best_rank(job.format), "ring": finding.encoder.ring.name if finding.encoder else job.ring,
        "engine": job.engine, "group": job.group, "found": finding.found, "restarts": finding.restarts,
        "numerical": finding.numerical, "tried": finding.tried, "search_s": round(finding.search_seconds, 2),
        "exact_s": round(finding.exact_seconds, 2),
        "kappa2": round(kappa2(finding.encoder), 4) if finding.encoder and job.ring != "GF(2)" else None,
        "best_eps2": finding.best_eps2, "seed": finding.seed, "device": finding.device,
        "cores": os.cpu_count(), "file": file, "reason": finding.reason,
        "command": f"python -m search.rediscover {job.name} --seed {finding.seed}{extra}",
    }


def record(rows: list[dict[str, Any]], path: Path) -> None:
    """Merge rows into the programme's table: a recipe found before is replaced only by a faster find."""
    held: dict[str, dict[str, Any]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            held = {f"{r['recipe']} {r['device']}": dict(r) for r in csv.DictReader(stream)}
    for new in rows:
        key = f"{new['recipe']} {new['device']}"
        old = held.get(key)
        if old is not None and str(old["found"]) == "True":
            faster = new["search_s"] + new["exact_s"] < float(old["search_s"]) + float(old["exact_s"])
            if not (new["found"] and faster):
                continue
        held[key] = new
    order = {name: i for i, name in enumerate(RECIPES)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(sorted(held.values(), key=lambda r: (order.get(r["recipe"], 999), r["device"])))
    os.replace(part, path)


def _listing(json: bool) -> None:
    if json:
        print_json([{"name": r.name, "format": r.format, "rank": r.rank, "ring": r.ring, "engine": r.engine,
                     "group": r.group, "seconds": r.seconds, "gpu": r.gpu} for r in RECIPES.values()])
        return
    table = Table("recipe", "format", "rank", "ring", "engine", "group", "budget s", "on")
    for r in RECIPES.values():
        table.add_row(r.name, "×".join(map(str, r.format)), str(r.rank), r.ring, r.engine, r.group,
                      f"{r.seconds:g}", "GPU" if r.gpu else "CPU")
    console.print(table)


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(
        "recipe", "⟨n,m,p;r⟩", "ring", "group", "found", "hits/restarts", "search s", "exact s", "κ²",
        "file / why not",
    )
    for r in rows:
        hits = f"{r['numerical']}/{r['restarts']}" if r["engine"] == "lm" else ""
        table.add_row(
            r["recipe"], f"⟨{r['format'].replace('x', ',')};{r['rank']}⟩", r["ring"], r["group"],
            "[green]yes[/]" if r["found"] else "[red]no[/]", hits, f"{r['search_s']:.1f}", f"{r['exact_s']:.1f}",
            "" if r["kappa2"] is None else f"{r['kappa2']:.2f}", r["file"] or r["reason"],
        )
    console.print(table)


@app.command()
def main(
    recipes: Annotated[list[str] | None, typer.Argument(help="names of recipes, e.g. 333-z3-11")] = None,
    listing: Annotated[bool, typer.Option("--list", help="show the recipes and stop")] = False,
    all_cpu: Annotated[bool, typer.Option("--all-cpu", help="run every recipe meant for the CPU")] = False,
    seed: Annotated[int, typer.Option(help="seed of all random choices")] = 0,
    seconds: Annotated[float | None, typer.Option(help="budget of each recipe instead of its own")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1 (for the lm engine)")] = "cpu",
    out: Annotated[Path, typer.Option(help="catalogue folder")] = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="one JSON document instead of a table")] = False,
) -> None:
    """Run recipes; exit code 1 if one of them found nothing.

    Example: python -m search.rediscover 222-z3 333-z3-11
    """
    with friendly():
        if listing:
            _listing(json)
            return
        if seconds is not None and not seconds > 0:
            raise StlError("seconds", seconds, "a positive number")
        chosen = [recipe(name) for name in recipes or []]
        if all_cpu:
            chosen += [r for r in RECIPES.values() if not r.gpu and r not in chosen]
        if not chosen:
            raise StlError("recipes", "none", ", ".join(RECIPES), "name some, or use --all-cpu or --list")
        Catalogue(out)  # refuses an unusable folder before any work is done
        rows = []
        for job in chosen:
            begin = time.perf_counter()

            def log(message: str, name: str = job.name, start: float = begin) -> None:
                if not json:
                    console.print(f"  {name} {time.perf_counter() - start:6.1f} s  {message}", style="dim")

            finding = run_recipe(job, seed, device, seconds, log)
            file = ""
            if finding.encoder is not None:
                catalogue = Catalogue(out)  # read anew: other processes may have added to the folder
                entry, _ = catalogue.add(finding.encoder)
                file = entry.file
                catalogue.write_index()
            rows.append(row(finding, file))
            record(rows[-1:], out / "discovery" / "rediscovery.csv")
            if not json:
                state = "found" if finding.found else f"not found ({finding.reason})"
                console.print(f"{job.name}: {state} in {time.perf_counter() - begin:.1f} s")
        if json:
            print_json(rows)
        else:
            _show(rows)
        if not all(r["found"] for r in rows):
            raise SystemExit(1)


if __name__ == "__main__":
    app()
