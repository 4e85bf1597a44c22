"""The main job: a group goes in, proven encoders come out.

Example: ``python -m search.run --group cyclic --format 3,3,3 --seconds 30``
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from search.catalog import Catalogue, Row, naive_line
from search.cli import console, fail, friendly, parse_format, print_json
from search.core.executors import make_executor, warm_up
from search.core.ledger import Ledger
from search.core.pipeline import Outcome, run_unit
from search.core.unit import Request, Unit, families, families_of
from stl_algebra import StlError

__all__ = ["Summary", "search"]

#: A run stops after this many rounds in a row without an improvement, however much time is left.
PATIENCE = 3
MAX_ROUNDS = 10_000


@dataclass
class Summary:
    """What a run did; its attributes are the printed numbers."""

    group: str
    seconds: float = 0.0
    ran: int = 0
    skipped: int = 0
    failed: int = 0
    restarts: int = 0
    converged: int = 0
    tried: int = 0
    rationalised: int = 0
    proven: dict[str, int] = field(default_factory=dict)
    improved: list[str] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)
    best: list[Row] = field(default_factory=list)


def _rounds(request: Request) -> Iterator[list[Unit]]:
    """Lists of units, round after round; raises StlError if the request is impossible for every family."""
    searched = families_of(request.group)
    refusals = []
    for turn in range(MAX_ROUNDS):
        waves: list[list[Unit]] = []
        for f in searched:
            mine = list(f.units(request, turn))
            try:
                if turn == 0:
                    f.check(request, mine)
            except StlError as error:
                refusals.append(f"{f.name} needs {error.allowed.split(': ', 1)[1]}")
            waves.append(mine)
        # families take turns, so that a short run has tried each of them
        units = [u for wave in zip_longest(*waves) for u in wave if u is not None]
        if turn == 0 and not units:
            asked = {k: v for k in ("order", "format", "rank") if (v := getattr(request, k)) is not None}
            raise StlError("request", asked, "; ".join(refusals))
        if not units:
            return
        yield units


def search(
    request: Request, out: str | Path, seconds: float = 50.0, backend: str = "processes", workers: int | None = None,
    progress: Any = None,
) -> Summary:  # fmt: skip
    """Run the families of a group until the time is up, every unit once ever, and keep what improves.

    Parameters
    ----------
    request : Request
    out : path of the results folder (catalogue and ledger)
    seconds : float
        Time after which no new unit is started; units in flight finish. Counted from when the workers are up.
    backend, workers
        See `search.core.executors.make_executor`.
    progress : callable, optional
        Called with (summary, in flight) whenever something changes.

    Returns
    -------
    Summary

    Raises
    ------
    StlError
        If no family can do what is asked.
    """
    summary = Summary(request.group)
    rounds = _rounds(request)
    current: list[Unit] | None
    first = next(rounds)  # an impossible request is refused before anything is created
    catalogue = Catalogue(out)
    with Ledger(catalogue.folder / "ledger.sqlite") as ledger, contextlib.ExitStack() as stack:
        pool = stack.enter_context(make_executor(backend, workers))
        size: int = workers or getattr(pool, "_max_workers", None) or 2
        deaths: dict[str, int] = {}
        wait([pool.submit(warm_up) for _ in range(size)])  # importing torch is no search time
        start = time.monotonic()
        flying: dict[Future[Outcome], Unit] = {}
        queue: list[Unit] = []
        best: dict[tuple[str, int, str], Row] = {}
        quiet, current = 0, first
        try:
            while True:
                if not queue and current is not None and quiet < PATIENCE:
                    done = ledger.done(current)
                    queue = [u for u in current if u.key not in done]
                    summary.skipped += len(done)
                    current = next(rounds, None)
                    if not queue:
                        if current is None and not flying:
                            break
                        continue
                    quiet += 1
                lost: list[Unit] = []
                while queue and len(flying) < size and time.monotonic() - start < seconds and not lost:
                    unit = queue.pop(0)
                    try:
                        flying[pool.submit(run_unit, unit, request.device)] = unit
                    except BrokenExecutor:
                        lost.append(unit)
                if not flying and not lost:
                    break
                for future in wait(flying, timeout=0.25, return_when=FIRST_COMPLETED).done:
                    unit = flying.pop(future)
                    if isinstance(future.exception(), BrokenExecutor):
                        lost.append(unit)
                    elif _absorb(future, unit, summary, catalogue, ledger, best):
                        quiet = 0
                if lost:  # a worker was killed, for memory perhaps, and took the pool with it
                    lost += flying.values()
                    flying.clear()
                    queue = _second_chance(lost, deaths, summary, ledger) + queue
                    pool.shutdown(wait=False)
                    pool = stack.enter_context(make_executor(backend, workers))
                summary.seconds = time.monotonic() - start
                if progress:
                    progress(summary, list(flying.values()))
        finally:
            for future in flying:
                future.cancel()
            catalogue.write_index()
    summary.seconds = time.monotonic() - start
    wanted = {(r.target, r.rank) for r in best.values()} | {
        (f"matmul:{'x'.join(map(str, u.format))}", u.rank) for u in first
    }
    kinds = {r.kind for r in catalogue.rows if (r.target, r.rank) in wanted} | set(best)
    summary.best = sorted(
        (b for k in kinds if (b := catalogue.best(k)) is not None),
        key=lambda r: (r.target, r.rank, not r.exact, r.ring),
    )
    return summary


def _second_chance(lost: list[Unit], deaths: dict[str, int], summary: Summary, ledger: Ledger) -> list[Unit]:
    """Units to run again after the pool broke; one that was in flight three times is recorded as failed."""
    again = []
    for unit in lost:
        deaths[unit.key] = deaths.get(unit.key, 0) + 1
        if deaths[unit.key] < 3:
            again.append(unit)
            continue
        summary.ran += 1
        summary.failed += 1
        message = "failed: its worker was killed three times (out of memory?)"
        summary.messages[message] = summary.messages.get(message, 0) + 1
        ledger.record(Outcome(unit, message=message), [])
    return again


def _absorb(
    future: Future[Outcome], unit: Unit, summary: Summary, catalogue: Catalogue, ledger: Ledger,
    best: dict[tuple[str, int, str], Row],
) -> bool:  # fmt: skip
    """Take in one finished unit; True if it improved the catalogue. A unit that crashed is recorded, not fatal."""
    try:
        outcome = future.result()
    except Exception as error:
        summary.failed += 1
        outcome = Outcome(unit, message=f"failed: {type(error).__name__}: {error}")
    files = []
    improved = False
    for encoder in outcome.encoders:
        if encoder.ring.exact and encoder.is_exact:
            name = f"{encoder.label} over {encoder.ring.name}"
            summary.proven[name] = summary.proven.get(name, 0) + 1
        row, new = catalogue.add(encoder)
        if new:
            files.append(row.file)
            improved = True
            summary.improved.append(row.file)
            best[row.kind] = row
    ledger.record(outcome, files)
    if improved:
        catalogue.write_index()
    summary.ran += 1
    for name in ("restarts", "converged", "tried", "rationalised"):
        setattr(summary, name, getattr(summary, name) + getattr(outcome, name))
    if outcome.message:
        summary.messages[outcome.message] = summary.messages.get(outcome.message, 0) + 1
    return improved


def best_table(rows: list[Row], title: str) -> Table:
    """The final table: one line per target, rank and kind."""
    table = Table(title=title)
    for name in ("encoder", "group", "ring", "identity"):
        table.add_column(name, no_wrap=True)
    for name in ("ε²", "naive ε²", "κ²", "bf16 error²"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("file …", no_wrap=True)
    for r in rows:
        line = naive_line(r)
        fmt = r.target.removeprefix("matmul:").replace("x", ",")
        state = "[green]proven" if r.exact else "approximate"
        if r.exact:
            state += {0: ", [bold]best known rank", -1: ", NEW RECORD"}.get(r.standing, "")
        table.add_row(
            f"⟨{fmt};{r.rank}⟩", f"{r.family} {r.group}", escape(r.ring), state, f"{r.epsilon2:.4g}",
            "" if line is None or r.exact else f"{line:.3g}", f"{r.kappa2:.4g}", f"{r.total_bf16:.3g}",
            Path(r.file).stem.rsplit("_", 1)[-1],
        )  # fmt: skip
    return table


def _live_table(summary: Summary, flying: list[Unit], budget: float) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(
        f"[bold]{summary.seconds:5.0f} s[/] of {budget:.0f}",
        f"{summary.ran} units run, {summary.skipped} already known",
        f"{summary.converged} of {summary.restarts} restarts converged",
        f"{summary.rationalised} of {summary.tried} made exact", f"[green]{len(summary.improved)} improvements",
    )  # fmt: skip
    for label, count in sorted(summary.proven.items()):
        table.add_row("", "[green]proven", f"{escape(label)} × {count}")
    for name in summary.improved[-3:]:
        table.add_row("", "best so far", escape(Path(name).name))
    for u in flying:
        table.add_row("", "running", f"{u.family} {u.group} ⟨{','.join(map(str, u.format))};{u.rank}⟩ seed {u.seed}")
    return table


def _list_registry(as_json: bool) -> None:
    known = families()
    if as_json:
        print_json({"families": [{"name": f.name, "groups": f.groups, "space": f.space} for f in known.values()]})
        return
    table = Table("family", "--group", "space", title="registered families")
    for f in known.values():
        table.add_row(f.name, ", ".join(f.groups), f.space)
    console.print(table)


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.run --group cyclic --format 3,3,3 --seconds 30")
def main(
    group: Annotated[str, typer.Option(help="kind of group; see --list")] = "cyclic",
    order: Annotated[int | None, typer.Option(help="order of the group (default: all the families use)")] = None,
    format: Annotated[str | None, typer.Option(help="n,m,p or 3x3x3 (default: the family's own)")] = None,
    rank: Annotated[int | None, typer.Option(help="real rank (default: best known, or all orders)")] = None,
    seconds: Annotated[float, typer.Option(help="start no new unit after this many seconds of search")] = 50.0,
    seed: Annotated[int, typer.Option(help="first seed; rounds count up from it")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or cuda:1 … for the optimiser")] = "cpu",
    backend: Annotated[str, typer.Option(help="processes, thread or ray")] = "processes",
    workers: Annotated[int | None, typer.Option(help="parallel units (default: one per core)")] = None,
    out: Annotated[Path, typer.Option(help="results folder: encoders/, index.csv, ledger.sqlite")] = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="one JSON document instead of tables")] = False,
    list_: Annotated[bool, typer.Option("--list", help="print the registered families and stop")] = False,
) -> None:
    """Discover encoders from a group: construct, polish, rationalise, prove, score, keep what improves.

    The same command continues where it stopped: no unit is ever run twice.
    """
    with friendly():
        if list_:
            _list_registry(json)
            return
        if not seconds > 0:
            raise StlError("seconds", seconds, "a positive number")
        if not 0 <= seed < 2**31:
            raise StlError("seed", seed, "0 to 2^31 - 1")
        request = Request(group, order, parse_format(format), rank, seed, device)
        if device != "cpu":
            _check_device(device)
            backend = "thread" if backend == "processes" else backend
        with contextlib.ExitStack() as stack:
            progress = None
            if not json and console.is_terminal:
                live = stack.enter_context(Live(console=console, refresh_per_second=4, transient=True))
                progress = lambda s, flying: live.update(_live_table(s, flying, seconds))  # noqa: E731
            elif not json:
                shown: set[str] = set()

                def progress(s: Summary, flying: list[Unit]) -> None:
                    for name in [f"proven {label}" for label in s.proven] + [
                        f"kept {Path(f).name}" for f in s.improved
                    ]:
                        if name not in shown:
                            shown.add(name)
                            console.print(f"{s.seconds:6.1f} s  {name}", markup=False)

            summary = search(request, out, seconds, backend, workers, progress)
    if json:
        print_json(asdict(summary))
    else:
        if summary.best:
            console.print(best_table(summary.best, "best in the catalogue for what was searched; files end in hash"))
        console.print(
            f"{summary.ran} units run ({summary.skipped} already known, {summary.failed} failed) "
            f"in {summary.seconds:.0f} s; "
            f"{summary.converged} of {summary.restarts} restarts converged; {summary.rationalised} of {summary.tried} "
            f"made exact; {len(summary.improved)} improvements in {out}/index.csv", markup=False,
        )  # fmt: skip
        if summary.proven:
            counts = ", ".join(f"{label} × {count}" for label, count in sorted(summary.proven.items()))
            console.print(f"found and proven in this run: {counts}", markup=False)
        for message, count in sorted(summary.messages.items(), key=lambda v: -v[1])[:3]:
            console.print(f"  {count} × {message}", markup=False)
    if summary.ran and summary.failed == summary.ran:
        fail("every unit failed: " + next(iter(summary.messages), ""), 1)


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise StlError("device", device, "cpu, cuda or cuda:N") from None
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise StlError("device", device, "cpu (no CUDA device is visible here)" if kind == "cuda" else "cpu or cuda")


if __name__ == "__main__":
    app()
