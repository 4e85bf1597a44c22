"""The main job: a group goes in, proven encoders come out.

Example: ``python -m search.run --group cyclic --format 3,3,3 --seconds 30``
"""

from __future__ import annotations

import contextlib
import json as js
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from stl_algebra import StlError
from stl_algebra.known import best_rank

from . import cli
from .cli import FINDS, Json, console, fail, friendly, parse_settings, parsed_format, print_json
from .core.catalogue import Row, naive_line
from .core.executors import checked_device, make_slots
from .core.ledger import Ledger
from .core.runner import LIMIT, MAX_ROUNDS, PATIENCE, Summary, Task, rounds, run
from .core.unit import Request, Unit, families, families_of

__all__ = ["best_table", "follow"]


def best_table(rows: list[Row], title: str, width: int = 80) -> Table:
    """The final table, which loses no figure at 80 columns: one line per target, rank and kind.

    Approximations no better than dropping standard products are counted in the caption, not shown.
    """
    worth = [r for r in rows if r.exact or (line := naive_line(r)) is None or r.total_bf16 < line]
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    if len(worth) < len(rows):
        table.caption = f"{len(rows) - len(worth)} approximations no better than dropping products are not shown"
    table.add_column("encoder", no_wrap=True, min_width=10)
    table.add_column("ring", no_wrap=True, overflow="ellipsis", max_width=6 if width < 100 else 12)
    table.add_column("found by", no_wrap=True, overflow="ellipsis", max_width=14 if width < 100 else 36)
    for name, least in (("ε²", 10), ("naive", 5), ("κ²", 5), ("in bf16", 7)):
        table.add_column(name, justify="right", no_wrap=True, min_width=least)
    table.add_column("file …", no_wrap=True, min_width=8)
    for r in worth:
        line = naive_line(r)
        fmt = r.target.removeprefix("matmul:").replace("x", ",")
        known = {0: "[bold green]best known", -1: "[bold green]NEW RECORD"}
        state = known.get(9 if r.standing is None else r.standing, "[green]proven") if r.exact else f"{r.epsilon2:.3g}"
        table.add_row(
            f"⟨{fmt};{r.rank}⟩", escape(r.ring), escape(f"{r.family} {r.group}"), state,
            "" if line is None or r.exact else f"{line:.3g}", f"{r.kappa2:.4g}", f"{r.total_bf16:.2g}",
            Path(r.file).stem.rsplit("_", 1)[-1],
        )  # fmt: skip
    return table


def _live_table(summary: Summary, flying: list[Unit], budget: float) -> Table:
    counted = summary.counted
    table = Table.grid(padding=(0, 2))
    table.add_row(
        f"[bold]{summary.seconds:5.0f} s[/] of {budget:.0f}",
        f"{summary.ran} units run, {summary.skipped} already known",
        f"{counted.get('converged', 0):.0f} of {counted.get('restarts', 0):.0f} restarts converged",
        f"{counted.get('exact', 0):.0f} of {counted.get('tried', 0):.0f} made exact",
        f"[green]{len(summary.improved)} improvements",
    )  # fmt: skip
    for label, count in sorted(summary.proven.items()):
        table.add_row("", "[green]proven", f"{escape(label)} × {count}")
    for name in summary.improved[-3:]:
        table.add_row("", "best so far", escape(Path(name).name))
    for u in flying:
        table.add_row("", "running", escape(u.label))
    return table


@contextlib.contextmanager
def follow(json: bool, seconds: float) -> Any:
    """What a run tells while it goes on: a live table on a terminal, else a line for each find and now and then one."""
    if json:
        yield None
    elif console.is_terminal:
        with Live(_STARTING, console=console, refresh_per_second=4, transient=True) as live:
            yield lambda s, flying: live.update(_live_table(s, flying, seconds))
    else:
        console.print(_STARTING)
        yield _lines(seconds)


_STARTING = "starting the workers (they import torch, and compile the first time); the budget counts from then on …"
#: Seconds without news after which a run that is not on a terminal says that it is alive.
SILENCE = 10.0


def _lines(budget: float) -> Callable[[Summary, list[Unit]], None]:
    shown: set[str] = set()
    spoke = [0.0]

    def progress(s: Summary, flying: list[Unit]) -> None:
        if s.seconds - spoke[0] >= SILENCE:
            spoke[0] = s.seconds
            best = f"best so far {Path(s.improved[-1]).stem}" if s.improved else "nothing yet"
            console.print(f"{s.seconds:6.1f} s  of {budget:.0f}: {s.ran} units run, {best}", markup=False)
        for name in [f"proven {label}" for label in s.proven] + [f"kept {Path(f).name}" for f in s.improved]:
            if name not in shown:
                shown.add(name)
                console.print(f"{s.seconds:6.1f} s  {name}", markup=False)

    return progress


def report(summary: Summary, out: Path) -> None:
    """The last words of a run."""
    counted = summary.counted
    console.print(
        f"{summary.ran} units run ({summary.skipped} already known, {summary.failed} failed) in {summary.seconds:.0f} "
        f"s; {counted.get('converged', 0):.0f} of {counted.get('restarts', 0):.0f} restarts converged; "
        f"{counted.get('exact', 0):.0f} of {counted.get('tried', 0):.0f} made exact; {len(summary.improved)} "
        f"improvements in {out}", markup=False,
    )  # fmt: skip
    if summary.proven:
        counts = ", ".join(f"{label} × {count}" for label, count in sorted(summary.proven.items()))
        console.print(f"found and proven in this run: {counts}", markup=False)
    if summary.resisting:
        console.print(
            f"{len(summary.resisting)} finds still to be made exact: python -m search.exact {out}/finds/* "
            f"--out {out}/encoders", markup=False,
        )  # fmt: skip
    notes = {str(o["statistics"]["note"]) for o in summary.outcomes.values() if "note" in o["statistics"]}
    for note in sorted(notes)[:6]:
        console.print(f"  {note}", markup=False)
    for message, count in sorted(summary.messages.items(), key=lambda v: -v[1])[:3]:
        console.print(f"  {count} × {message[:200]}", markup=False)


def _describe(request: Request, as_json: bool) -> None:
    """The first round of every family that serves a request; for a finite group its actions in words."""
    waves = [(f.name, f.round(request, 0)) for f in families_of(request)]
    rows: list[dict[str, Any]] = [
        {"family": name, "units": len(units), "formats": sorted({"x".join(map(str, u.format)) for u in units}),
         "ranks": sorted({u.rank for u in units}), "symmetries": sorted({u.symmetry for u in units})}
        for name, units in waves
    ]  # fmt: skip
    found: list[dict[str, Any]] = []
    if request.group and request.format and any(name == "action" and units for name, units in waves):
        from .families.action import described

        rank = request.rank or next(u.rank for name, units in waves if name == "action" for u in units)
        found = described(request, request.format, rank)
    if as_json:
        print_json({"families": rows, "actions": found})
        return
    table = Table("family", "units a round", "formats", "ranks", title="what would be searched")
    for row in rows:
        table.add_row(row["family"], str(row["units"]), ", ".join(row["formats"]), ", ".join(map(str, row["ranks"])))
    console.print(table)
    for row in found:
        console.print(
            f"{row['action']}  order {row['order']}, {row['types']} orbit types, {row['multisets']} multisets of the "
            f"rank: {row['words']}", markup=False,
        )  # fmt: skip


def _everything(request: Request) -> dict[str, list[Unit]]:
    """All units of a finite group on one format and rank."""
    from .families.action import accepts, everything

    if not request.group or not accepts(request.group) or request.format is None:
        raise StlError("exhaust", request.group, "a finite group, and its --format, e.g. --group S3 --format 2,2,2")
    rank = request.rank or best_rank(request.format)
    if rank is None:
        raise StlError("rank", None, "a --rank, as none is known for this format")
    return everything(request, request.format, rank)


def _exhausted(units: dict[str, list[Unit]], out: Path, as_json: bool) -> None:
    """What an exhaustive search has covered so far, in this run and earlier ones."""
    from .families.action import tally

    with Ledger(out / "ledger.sqlite") as ledger:
        table = tally(units, ledger.rows({"family": "action"}))
    if as_json:
        print_json({"actions": table})
        return
    for row in table:
        for counts in row["solved"]:
            text = " + ".join(f"{k}·[{name}]" for name, k in counts.items())
            console.print(f"solved  {row['action']}: {text}", markup=False)
    ran, total = sum(r["run"] for r in table), sum(r["multisets"] for r in table)
    solved = [r for r in table if r["solved"]]
    restarts = min((r["restarts"] for r in table if r["restarts"]), default=0)
    state = "exhausted" if ran == total else f"not exhausted ({ran} multisets run, the same command continues)"
    console.print(
        f"{state}: all {len(table)} faithful actions up to equivalence, {total} multisets of orbit types, {restarts} "
        f"restarts each; solutions for {sum(len(r['solved']) for r in solved)} multisets of {len(solved)} actions. "
        "No hit is evidence, not a proof.", markup=False,
    )  # fmt: skip


def _patience(group: str | None) -> int:
    """Rounds without an improvement after which a search stops: none under a finite group, where no two are alike."""
    from .families.action import accepts

    return MAX_ROUNDS if group and accepts(group) else PATIENCE


def _list_registry(as_json: bool) -> None:
    known = families()
    if as_json:
        rows = [{"name": f.name, "groups": f.groups, "space": f.space, "settings": f.settings} for f in known.values()]
        print_json({"families": rows})
        return
    table = Table("family", "--group", "space", "--set", title="registered families")
    for f in known.values():
        table.add_row(f.name, ", ".join(f.groups), escape(f.space), ", ".join(f.settings))
    console.print(table)


def _one(unit: str) -> list[Task]:
    try:
        return [Task(Unit.parse(js.loads(unit)))]
    except (ValueError, RecursionError) as error:
        if isinstance(error, StlError):
            raise
        raise StlError("unit", unit, "a unit as JSON, like the one in an encoder's origin") from None


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.run --group cyclic --format 3,3,3 --seconds 30")
def main(
    group: Annotated[
        str | None, typer.Option("--group", "--symmetry", help="a group such as S3, a symmetry such as Z3*T, or none")
    ] = None,
    family: Annotated[str | None, typer.Option(help="one family only; see --list")] = None,
    order: Annotated[int | None, typer.Option(help="order of the group (default: all the families use)")] = None,
    format: cli.Format = None,
    rank: cli.Rank = None,
    ring: cli.Ring = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="a setting of the family, e.g. restarts=96")] = None,
    start: Annotated[Path | None, typer.Option(help="begin at an encoder file")] = None,
    unit: Annotated[str | None, typer.Option(help="run one unit, written as JSON, and nothing else")] = None,
    seconds: cli.Seconds = 50.0,
    unit_seconds: Annotated[float, typer.Option(help="what each unit may take")] = LIMIT,
    seed: cli.Seed = 0,
    device: cli.Device = "cpu",
    backend: Annotated[str, typer.Option(help="processes, thread or ray")] = "processes",
    workers: cli.Workers = None,
    out: cli.Out = FINDS,
    json: Json = False,
    list_: Annotated[bool, typer.Option("--list", help="print the registered families and stop")] = False,
    describe: Annotated[
        bool, typer.Option("--describe", help="say what would be searched, and how much there is")
    ] = False,
    exhaust: Annotated[
        bool, typer.Option("--exhaust", help="every action of a finite group, every multiset of orbit types, once")
    ] = False,
) -> None:
    """Discover encoders from a group: construct, polish, rationalise, prove, score, keep what improves.

    The same command continues where it stopped: no unit is ever run twice.
    """
    with friendly():
        if list_:
            _list_registry(json)
            return
        for name, value in (("seconds", seconds), ("unit-seconds", unit_seconds)):
            if not value > 0:
                raise StlError(name, value, "a positive number")
        if not 0 <= seed < 2**31:
            raise StlError("seed", seed, "0 to 2^31 - 1")
        settings = parse_settings(set_ or [])
        if start is not None:
            settings["start"] = _start(family, start)
        request = Request(
            group or (None if family else "cyclic"), family, order, parsed_format(format), rank, ring, seed, settings
        )
        if describe:
            _describe(request, json)
            return
        whole = _everything(request) if exhaust else {}
        if whole:
            source = iter([[Task(u, seconds=unit_seconds) for its in whole.values() for u in its]])
        else:
            source = rounds(request, unit_seconds) if unit is None else iter([_one(unit)])
        slots = make_slots(backend, workers, checked_device(device))
        with follow(json, seconds) as progress:
            summary = run(source, out, slots, seconds, _patience(group), progress=progress)
    if whole:
        _exhausted(whole, out, json)
    elif json:
        print_json(asdict(summary))
    if not json:
        if summary.best:
            console.print(best_table(summary.best, "best for what was searched", console.width))
        report(summary, out)
    if summary.interrupted:
        fail("interrupted; everything found so far is saved, the same command continues", 130)
    if summary.ran and summary.failed == summary.ran:
        fail("every unit failed: " + next(iter(summary.messages), ""), 1)


def _start(family: str | None, file: Path) -> dict[str, Any]:
    if family not in ("flips", "orbit"):
        raise StlError("start", str(file), "a family that begins at files", "Add --family flips or --family orbit.")
    return {"file": str(file)} if family == "flips" else {"kind": "built", "from": {"file": str(file)}}


if __name__ == "__main__":
    app()
