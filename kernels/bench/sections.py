"""The sections of ``python -m kernels.bench``: what is measured, and how it is shown."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from stl_algebra.errors import StlError

from .. import devices
from . import measure
from .cases import SECTIONS, file_cases
from .dropin import dropin_rows
from .merged import merged_rows
from .precision import precision_rows
from .residues import residue_rows
from .run import Outcome, run_case
from .studies import calibrate, outlier_rows, pair_rows, training_rows

__all__ = ["STUDIES", "rows_of", "run_sections"]

STUDIES = {
    "train": training_rows, "pair": pair_rows, "precision": precision_rows, "dropin": dropin_rows,
    "residues": residue_rows, "merged": merged_rows, "outliers": outlier_rows,
}  # fmt: skip


def rows_of(outcome: Outcome, head: dict[str, Any], run_id: str) -> list[measure.Row]:
    """An outcome as rows of the measurements table."""
    case = outcome.case
    label = "·".join("x".join(map(str, c.format)) for c in case.stages)
    rank = int(np.prod([c.rank for c in case.stages]))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    rows = []
    timed = [(provider, "forward", t) for provider, t in outcome.times.items()]
    timed += [("stl", mode, t) for mode, t in outcome.parts.items()]
    for provider, mode, t in timed:
        ours = provider.startswith("stl")
        rows.append(measure.Row(
            run_id, case.op, provider, mode, case.dtype, case.n, case.k, case.m, label if ours else "",
            rank if ours else 0, measure.codec_hash(case.stages[0]) if ours else "", "time", "ms", *t,
            outcome.error if ours else outcome.dense_error if provider == "dense" else None,
            outcome.predicted if ours else None, outcome.peak_bytes if provider == "stl" else None,
            timestamp=now, **head))  # fmt: skip
    if "stl" in outcome.times:  # the pair was timed alternately: its ratio is steadier than either time
        rows.append(replace(next(r for r in rows if r.provider == "stl"), metric="speedup", unit="x",
                            q50=outcome.speedup, q20=None, q80=None))  # fmt: skip
    return rows


def run_sections(
    sections: list[str], out: Path | None, data: Path | None, encoder: list[Path], only: str, as_json: bool
) -> None:
    """Measure and append: the command `kernels.bench`.

    Raises
    ------
    typer.Exit
        1 when a correctness gate fails, 2 for bad input.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = device.type != "cuda"
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 170)
    known = [*SECTIONS, *STUDIES, "calibrate"]
    chosen = sections or ["table"]
    for section in chosen:
        if section not in known:
            console.print(f"[red]{StlError('SECTION', section, 'one of ' + ', '.join(known))}", highlight=False)
            raise typer.Exit(2)
    try:
        extra = [case for path in encoder for case in file_cases(path, small)]
    except StlError as error:
        console.print(f"[red]{error}", highlight=False)
        raise typer.Exit(2) from None
    head, run_id = measure.header(), measure.new_run_id()
    note = " (no CUDA device: the plain torch reference at toy sizes; the times say nothing)" if small else ""
    console.print(f"{head['device']} driver {head['driver'] or '–'} torch {head['torch']} triton "
                  f"{head['triton'] or '–'} commit {head['commit'] or '–'} run {run_id}{note}")  # fmt: skip
    outcomes: list[Outcome] = []
    rows: list[measure.Row] = []
    for section in chosen:
        if section == "calibrate":
            rates = calibrate(device, small)
            if data is not None:
                devices.write(rates, data)
            console.print(json.dumps(rates))
        elif section in STUDIES:
            found = STUDIES[section](device, head, run_id, small)
            rows += found
            if not as_json:
                console.print(_rows_table(section, found))
        else:
            for case in [*SECTIONS[section](small), *extra]:
                if only and only not in case.label:
                    continue
                outcome = run_case(case, device)
                outcomes.append(outcome)
                rows += rows_of(outcome, head, run_id)
                if device.type == "cuda":
                    torch.cuda.empty_cache()
        if out is not None:
            measure.append(out, rows)
    if as_json:
        print(json.dumps({"run_id": run_id, **head, "rows": [vars(r) for r in rows]}))
    elif outcomes:
        console.print(_table(outcomes))
    if any(row.metric == "failed" for row in rows):
        raise typer.Exit(1)
    if any(o.problem for o in outcomes):
        for o in outcomes:
            if o.problem:
                console.print(f"[red]{o.case.label} {o.case.n}: {o.problem}", highlight=False)
        raise typer.Exit(1)


def _rows_table(section: str, rows: list[measure.Row]) -> Table:
    """Rows of a study as they are."""
    table = Table(title=section)
    columns = ("provider", "mode", "dtype", "n × k × m", "format", "rank", "metric", "value", "error", "closed form")
    for column in columns:
        table.add_column(column, justify="left" if column in ("provider", "mode") else "right", overflow="fold")
    for r in rows:
        errors = ("" if e is None else f"{e:.2e}" for e in (r.rel_error, r.predicted_error))
        table.add_row(r.provider, r.mode, r.dtype, f"{r.n}×{r.k}×{r.m}", r.format, str(r.rank or ""), r.metric,
                      f"{r.q50:.4g} {r.unit}", *errors)  # fmt: skip
    return table


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="speed-up over dense, weights encoded beforehand")
    for column in (
        "case",
        "n × k × m",
        "dense ms",
        "stl ms",
        "speed-up",
        "to pass",
        "FLOP limit",
        "kernel err",
        "plain err",
        "total err",
        "closed form",
        "dense err",
        "peak MB",
        "others",
    ):
        table.add_column(column, justify="left" if column in ("case", "others") else "right", overflow="fold")
    for o in outcomes:
        c = o.case
        limit = float(np.prod([np.prod(s.format) / s.rank for s in c.stages]))
        if o.problem:
            table.add_row(c.label, f"{c.n}×{c.k}×{c.m}", "–", "–", "FAILED", "", "", "", "", o.problem)
            continue
        verdict = "" if c.target is None else f"{c.target} {'✓' if o.speedup >= c.target else '✗'}"
        others = ", ".join(f"{k} {v[0]:.3f}" for k, v in o.times.items() if k not in ("dense", "stl"))
        errors = (o.kernel_error, o.plain_error, o.error, o.predicted, o.dense_error)
        times = [f"{o.times[name][0]:.4f}" for name in ("dense", "stl")]
        table.add_row(c.label, f"{c.n}×{c.k}×{c.m}", *times, f"{o.speedup:.3f}", verdict, f"{limit:.2f}",
                      *(f"{e:.2e}" for e in errors), f"{o.peak_bytes / 1e6:.0f}", others)  # fmt: skip
    return table
