"""Take up finds that were filed as numbers, or over GF(2), and make them exact.

Example: ``python -m search.exact results/encoders/4x4x4_r48_R64_*.safetensors --seconds 120 --out results/encoders``
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from stl_algebra import Encoder, StlError
from stl_algebra.files import load, save
from stl_algebra.symmetry import action

from ..cli import Group, Json, Seconds, Seed, announced, console, fail, friendly, print_json
from .road import RINGS, ExactReport, exact

__all__ = ["main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: What origins say where there was no symmetry.
NONE = ("", "none", "free")


@dataclass(frozen=True)
class Line:
    """One file's outcome."""

    file: str
    find: str
    group: str
    how: str
    encoder: str
    written: str
    seconds: float
    reason: str


def _group(find: Encoder, wanted: str | None) -> Any:
    """The action named on the command line, else in the find's origin; None for no symmetry."""
    name = find.origin.get("group", "") if wanted is None else wanted
    if name in NONE or not isinstance(name, str) or find.target.format is None:
        return None
    try:
        return action(name, find.format)
    except StlError:
        if wanted is None:
            return None  # a family that spells its groups in another way
        raise


def _line(path: Path, find: Encoder, group: str, report: ExactReport, out: Path | None) -> Line:
    written = ""
    if report.encoder is not None and out is not None:
        out.mkdir(parents=True, exist_ok=True)
        written = str(save(report.encoder, out))
    made = repr(report.encoder) if report.encoder is not None else ""
    how = report.how + (", within the symmetry" if report.invariant else "")
    return Line(path.name, repr(find), group, how, made, written, report.seconds, report.reason)


@app.command(epilog="Example: python -m search.exact find.safetensors --seconds 120 --out results/encoders")
def main(
    files: Annotated[list[Path], typer.Argument(help="encoder files (.safetensors) over R64, C128 or GF(2)")],
    seconds: Seconds = 60.0,
    seed: Seed = 0,
    group: Group = None,
    ring: Annotated[list[str] | None, typer.Option(help=f"{', '.join(RINGS)} (default: all; repeatable)")] = None,
    out: Annotated[Path | None, typer.Option(help="what is written: a folder of the exact encoders")] = None,
    json: Json = False,
) -> None:
    """Make finds exact: as they stand, rationalised within their symmetry, or lifted from GF(2).

    Exit code 0 if every file became exact, 1 if one did not, 2 if a file cannot be used.
    """
    with friendly():
        if not seconds > 0:
            raise StlError("seconds", seconds, "a positive number")
        lines = []
        end = time.monotonic() + seconds
        for done, path in enumerate(files):
            if path.suffix != ".safetensors":
                fail(f"{path}: not an encoder file (.safetensors); convert it with python -m search.verify --out")
            find = load(path)
            action = _group(find, group)
            share = max(0.1, (end - time.monotonic()) / (len(files) - done))  # of what is left, for each file
            with announced(f"{path.name}: {share:.0f} s at most", json):
                report = exact(find, action=action, seconds=share, seed=seed, rings=tuple(ring or RINGS))
            lines.append(_line(path, find, getattr(action, "name", "none"), report, out))
            if not json:
                last = lines[-1]
                console.print(f"{last.file}: {last.encoder or last.reason}", markup=False)
        if json:
            print_json({"rows": [vars(line) for line in lines]})
        else:
            table = Table("file", "symmetry", "how", "exact", "seconds", "written")
            for x in lines:
                table.add_row(x.file, x.group, x.how or "–", x.encoder or "no", f"{x.seconds:.1f}", x.written)
            console.print(table)
        if any(not line.encoder for line in lines):
            raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(app(prog_name="python -m search.exact"))
