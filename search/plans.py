"""Run plans: lists of named units with budgets, such as the rediscovery of the published ranks.

python -m search.plans list rediscovery
python -m search.plans run rediscovery 222-z3 333-z3-11 444-48-e32
"""

from __future__ import annotations

import os
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from stl_algebra import StlError
from stl_algebra.known import best_rank

from .cli import FINDS, Device, Json, Out, Seconds, Seed, Workers, console, fail, friendly, print_json
from .core import plans, tables
from .core.catalogue import Catalogue
from .core.executors import checked_device, make_slots
from .core.runner import Summary, Task, run
from .run import follow, report

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Plans: lists of named units with budgets.")

COLUMNS = (
    "name", "format", "rank", "best_known", "ring", "family", "symmetry", "found", "restarts", "converged", "tried",
    "search_seconds", "seconds", "kappa2", "best_eps2", "seed", "device", "cores", "file", "reason", "command",
)  # fmt: skip
Plan = Annotated[str, typer.Argument(help="name of a shipped plan, or a file")]


def row(task: Task, summary: Summary, catalogue: Catalogue, plan: str, device: str) -> dict[str, Any]:
    """The line of the table for one unit of a plan."""
    unit = task.unit
    done = summary.outcomes.get(unit.key, {"status": "not run", "files": [], "statistics": {}, "message": ""})
    counted = done["statistics"]
    held = {r.sha256: r for r in catalogue.rows}
    exact = [e for e in done.get("exact", []) if e["rank"] <= unit.rank]
    best = min(exact, key=lambda e: e["kappa2"], default=None)
    reason = "" if exact else done["message"] or counted.get("why", "") or (
        f"rank {counted['reached']} reached" if "reached" in counted else "no restart reached an exact solution"
        if counted.get("converged") == 0 else done["status"])  # fmt: skip
    return {
        "name": task.name, "format": "x".join(map(str, unit.format)), "rank": unit.rank,
        "best_known": best_rank(unit.format, best["ring"] if best else "Q"),
        "ring": best["ring"] if best else unit.ring, "family": unit.family,
        "symmetry": unit.symmetry, "found": bool(exact), "restarts": counted.get("restarts"),
        "converged": counted.get("converged"), "tried": counted.get("tried"),
        "search_seconds": counted.get("search_seconds"), "seconds": round(done.get("seconds", 0.0), 2),
        "kappa2": best["kappa2"] if best and isfinite(best["kappa2"]) else None,
        "best_eps2": counted.get("best_eps2"), "seed": unit.seed,
        "device": device, "cores": os.cpu_count(), "file": held[best["sha256"]].file if best and best["sha256"] in held
        else "", "reason": reason,
        "command": f"python -m search.plans run {plan} {task.name} --seed {unit.seed}"
        + (f" --device {device}" if device != "cpu" else ""),
    }  # fmt: skip


def record(rows: list[dict[str, Any]], path: Path, order: list[str]) -> None:
    """Merge rows into a table: a unit found before is replaced only by a faster find on the same device."""
    with tables.locked(path.parent):
        told = tables.read(path, ("name", "device", "found", "seconds")) if path.exists() else []
        held: dict[str, dict[str, Any]] = {f"{r['name']} {r['device']}": dict(r) for r in told}
        for new in rows:
            key = f"{new['name']} {new['device']}"
            old = held.get(key)
            faster = old is not None and new["found"] and new["seconds"] < tables.number(old["seconds"])
            if old is None or str(old["found"]) != "True" or faster:
                held[key] = new
        place = {name: i for i, name in enumerate(order)}
        tables.write(path, COLUMNS, sorted(held.values(), key=lambda r: (place.get(r["name"], 10**6), r["device"])))


@app.command("list", epilog="Example: python -m search.plans list rediscovery")
def list_(
    plan: Annotated[str | None, typer.Argument(help="name of a shipped plan, or a file")] = None,
    json: Json = False,
) -> None:
    """Show the plans there are, or the units of one."""
    with friendly():
        if plan is None:
            if json:
                print_json(plans.names())
            else:
                console.print("\n".join(plans.names()), markup=False)
            return
        tasks = plans.read(plan)
        if json:
            print_json([{"name": t.name, "seconds": t.seconds, "reason": t.reason, **t.unit.plain()} for t in tasks])
            return
        table = Table("name", "⟨n,m,p;r⟩", "ring", "family", "symmetry", "budget s", "reason")
        for t in tasks:
            u = t.unit
            label = f"⟨{','.join(map(str, u.format))};{u.rank}⟩"
            table.add_row(
                escape(t.name), label, escape(u.ring), u.family, escape(u.symmetry), f"{t.seconds:g}", escape(t.reason)
            )
        console.print(table)


@app.command("run", epilog="Example: python -m search.plans run rediscovery 222-z3 333-z3-11")
def run_(
    plan: Plan,
    units: Annotated[list[str] | None, typer.Argument(help="names of units (default: all)")] = None,
    seed: Seed = 0,
    unit_seconds: Annotated[float | None, typer.Option(help="what each unit may take (default: its own)")] = None,
    longest: Annotated[float | None, typer.Option(help="leave out units with larger budgets")] = None,
    seconds: Seconds = inf,
    device: Device = "cpu",
    backend: Annotated[str, typer.Option(help="processes, thread or ray")] = "processes",
    workers: Workers = None,
    again: Annotated[bool, typer.Option("--again", help="also units the ledger has as done")] = False,
    table: Annotated[Path | None, typer.Option(help="merge the rows into this CSV file")] = None,
    out: Out = FINDS,
    json: Json = False,
) -> None:
    """Run the units of a plan, each with its own budget; exit code 1 if one of those run found nothing exact."""
    with friendly():
        for name, value in (("seconds", seconds), ("unit-seconds", unit_seconds), ("longest", longest)):
            if value is not None and not value > 0:
                raise StlError(name, value, "a positive number")
        tasks = _chosen(plan, units or [], longest)
        tasks = [
            replace(t, unit=t.unit.with_(seed=t.unit.seed + seed), seconds=unit_seconds or t.seconds) for t in tasks
        ]
        slots = make_slots(backend, workers, checked_device(device))
        with follow(json, sum(t.seconds for t in tasks)) as progress:
            summary = run(iter([tasks]), out, slots, seconds, progress=progress, again=again)
        catalogue = Catalogue(out)
        rows = [row(t, summary, catalogue, plan, device) for t in tasks if t.unit.key in summary.outcomes]
        if table is not None and rows:
            record(rows, table, [t.name for t in tasks])
    if json:
        print_json(rows)
    else:
        _show(rows)
        report(summary, out)
    if summary.interrupted:
        fail("interrupted; everything found so far is saved, the same command continues", 130)
    if not all(r["found"] for r in rows):
        raise SystemExit(1)


def _chosen(plan: str, wanted: list[str], longest: float | None) -> list[Task]:
    tasks = plans.read(plan)
    unknown = set(wanted) - {t.name for t in tasks}
    if unknown:
        known = ", ".join(t.name for t in tasks if t.name) or "none with a name"
        raise StlError("units", sorted(unknown), known, f"See python -m search.plans list {plan}.")
    chosen = [t for t in tasks if not wanted or t.name in wanted]
    chosen = [t for t in chosen if longest is None or t.seconds <= longest]
    if not chosen:
        raise StlError("longest", longest, f"at least {min(t.seconds for t in tasks):g}, the smallest budget")
    return chosen


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("unit", "⟨n,m,p;r⟩", "ring", "symmetry", "found", "hits/restarts", "seconds", "κ²", "file / why not")
    for r in rows:
        hits = f"{r['converged']}/{r['restarts']}" if r["restarts"] is not None else ""
        table.add_row(
            escape(r["name"]), f"⟨{r['format'].replace('x', ',')};{r['rank']}⟩", escape(r["ring"]),
            escape(r["symmetry"]), "[green]yes[/]" if r["found"] else "[red]no[/]", hits, f"{r['seconds']:.1f}",
            "" if r["kappa2"] is None else f"{r['kappa2']:.2f}", escape(str(r["file"] or r["reason"])),
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    app()
