"""What was run: list the ledger, watch a run, retry or forget units, merge what several machines did.

Example: ``python -m search.runs list --status failed``
"""

from __future__ import annotations

import json as js
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from stl_algebra import StlError

from .cli import FINDS, Json, Limit, Out, console, friendly, print_json
from .core.catalogue import Catalogue
from .core.ledger import STATES, Ledger
from .core.origins import printable, unit_of
from .core.work import Outcome

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="What was run: list, watch, retry, forget, merge.")
Status = Annotated[str | None, typer.Option(help=", ".join(STATES))]
Key = Annotated[str | None, typer.Option(help="a unit's key, or its beginning")]
Family = Annotated[str | None, typer.Option(help="units of one family")]


def _where(status: str | None, key: str | None, family: str | None) -> dict[str, str]:
    if status is not None and status not in STATES:
        raise StlError("status", status, ", ".join(STATES))
    return {k: v for k, v in (("status", status), ("key", key), ("family", family)) if v is not None}


def _said(facts: dict[str, Any], sentence: str, json: bool) -> None:
    """The same facts as JSON or as a sentence."""
    if json:
        print_json(facts)
    else:
        console.print(sentence.format(**facts), markup=False)


def _open(out: Path) -> Ledger:
    return Ledger(out / "ledger.sqlite", create=False)


def _table(ledger: Ledger, where: dict[str, str], limit: int) -> Table:
    counts = ", ".join(f"{n} {status}" for status, n in sorted(ledger.counts().items()))
    table = Table(title=f"{len(ledger)} units: {counts}")
    for name in ("key", "unit", "status", "tries", "seconds", "exact", "message or files"):
        table.add_column(name, no_wrap=name in ("key", "status"))
    for r in ledger.rows(where, limit):
        counted = js.loads(r["statistics"] or "{}")
        state = r["status"] if r["status"] != "running" or r["until"] > time.time() else "running?"
        said = r["message"] or " ".join(Path(f).name for f in js.loads(r["files"] or "[]"))
        unit = printable(f"{r['family']} {r['symmetry']} {r['format']}:{r['rank']} seed {r['seed']}", 60)
        table.add_row(
            r["key"][:8], escape(unit), state, str(r["attempts"]),
            "" if r["seconds"] is None else f"{r['seconds']:.1f}",
            str(counted.get("exact", "")), escape(printable(said, 120)),
        )  # fmt: skip
    return table


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    out: Out = FINDS,
    watch: Annotated[bool, typer.Option("--watch", help="as list --watch")] = False,
) -> None:
    """Without a verb: list."""
    if context.invoked_subcommand is None:
        list_(out, watch=watch, limit=40)


@app.command("list", epilog="Example: python -m search.runs list --status failed")
def list_(
    out: Out = FINDS, status: Status = None, key: Key = None, family: Family = None,
    limit: Limit = 40,
    watch: Annotated[bool, typer.Option("--watch", help="look again every two seconds, until Ctrl-C")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """List units, latest first."""
    with friendly(), _open(out) as ledger:
        where = _where(status, key, family)
        if json:
            print_json(list(ledger.rows(where, limit)))
            return
        if not watch:
            console.print(_table(ledger, where, limit))
            return
        with Live(_table(ledger, where, limit), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(2)
                live.update(_table(ledger, where, limit), refresh=True)


@app.command(epilog="Example: python -m search.runs retry --family flips")
def retry(out: Out = FINDS, key: Key = None, family: Family = None, json: Json = False) -> None:
    """Let failed and killed units be tried again; the same search or plan then runs them."""
    with friendly(), _open(out) as ledger:
        _said({"retried": ledger.retry(_where(None, key, family))}, "{retried} units may be tried again", json)


@app.command(epilog="Example: python -m search.runs forget --key 0a1b2c")
def forget(out: Out = FINDS, status: Status = None, key: Key = None, family: Family = None, json: Json = False) -> None:
    """Drop units from the ledger, so that they are run again; encoders stay."""
    with friendly(), _open(out) as ledger:
        where = _where(status, key, family)
        if not where:
            raise StlError("forget", "everything", "--status, --key or --family", "Or move the folder away.")
        _said({"forgotten": ledger.forget(where)}, "{forgotten} units forgotten", json)


@app.command(epilog="Example: python -m search.runs merge node1/results node2/results --out results")
def merge(
    folders: Annotated[list[Path], typer.Argument(help="results folders")], out: Out = FINDS, json: Json = False
) -> None:
    """Take ledgers and catalogues of other folders into one: the union, however often it is done."""
    with friendly():
        for folder in folders:
            if not folder.is_dir():
                raise StlError("folders", str(folder), "an existing results folder")
        catalogue, counts = Catalogue(out), list[dict[str, Any]]()
        with Ledger(out / "ledger.sqlite") as mine:
            for folder in folders:
                units = 0
                if (folder / "ledger.sqlite").exists():
                    with _open(folder) as other:
                        units = mine.merge(other)
                files = catalogue.merge(Catalogue(folder))
                counts.append({"folder": str(folder), "units": units, "files": files})
                if not json:
                    _said(counts[-1], "{folder}: {units} units, {files} files", json)
        if json:
            print_json(counts)


@app.command(epilog="Example: python -m search.runs export units.csv --family orbit")
def export(
    to: Annotated[Path, typer.Argument(help="a CSV file")],
    out: Out = FINDS, status: Status = None, key: Key = None, family: Family = None, json: Json = False,
) -> None:  # fmt: skip
    """Write units as CSV, what their families counted in columns of its own."""
    with friendly(), _open(out) as ledger:
        rows = ledger.export(to, _where(status, key, family))
        _said({"rows": rows, "file": str(to)}, "{rows} rows in {file}", json)


@app.command(epilog="Example: python -m search.runs rebuild")
def rebuild(out: Out = FINDS, json: Json = False) -> None:
    """Put a ledger that cannot be used aside and begin a new one with the units whose finds are in the catalogue."""
    with friendly():
        path = out / "ledger.sqlite"
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for suffix in ("", "-wal", "-shm"):
            if (old := path.with_name(path.name + suffix)).exists():
                os.replace(old, path.with_name(f"ledger-{stamp}.sqlite{suffix}.aside"))
        catalogue = Catalogue(out)
        units: dict[str, tuple[Outcome, list[str]]] = {}
        for row in catalogue.rows:
            encoder = catalogue.find(row.sha256)
            unit = unit_of(encoder) if encoder is not None else None
            if unit is not None and encoder is not None and encoder.origin.get("stage") != "improved":
                units.setdefault(unit.key, (Outcome(unit, message="from the catalogue"), []))[1].append(row.file)
        with Ledger(path) as ledger:
            for outcome, files in units.values():
                ledger.record(outcome, files)
            counts = {"units": len(ledger), "encoders": len(catalogue.rows)}
            _said(counts, "{units} units from {encoders} encoders", json)


if __name__ == "__main__":
    app()
