"""Re-prove any encoder file, ours or published.

Example: ``python -m search.verify results/encoders/*.safetensors scheme.json``
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from stl_algebra import EncoderFileError, StlError

from .cli import BAD_REQUEST, REFUTED, console, friendly, print_json
from .formats import Reading, read

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_SUFFIXES = {".safetensors", ".json", ".npz", ".sms", ".txt"}


def files_under(paths: list[Path]) -> list[Path]:
    """The files named, and those of a known layout below the folders named (of a catalogue: its encoder files)."""
    out: list[Path] = []
    for path in paths:
        if path.is_dir():
            suffixes = {".safetensors"} if (path / "index.csv").exists() else _SUFFIXES
            out += sorted(p for p in path.rglob("*") if p.suffix in suffixes and p.is_file())
        else:
            out.append(path)
    sides = ("_R.sms", "_P.sms")
    return [p for p in out if not (p.name.endswith(sides) and p.with_name(p.name[:-6] + "_L.sms") in out)]


def _row(reading: Reading) -> dict[str, Any]:
    r = reading.report
    return {
        "file": reading.path, "name": reading.name, "scheme": reading.encoder.label, "ring": r.ring,
        "convention": "Cᵀ" if reading.transposed else "C", "proven": r.holds, "failing": r.failing,
        "equations": r.total,
        "first": [str(e) for e in r.first], "method": r.method, "note": reading.note, "seconds": r.seconds,
        "rings": reading.rings,
    }  # fmt: skip


@app.command(epilog="Example: python -m search.verify results/encoders/*.safetensors scheme.json")
def main(
    files: Annotated[list[Path], typer.Argument(help="files or folders; JSON, npz, SMS, coefficient text or ours")],
    ring: Annotated[str | None, typer.Option(help="prove over this ring instead, e.g. GF(2)")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Read, detect the convention, and prove the Brent equations.

    Exit code 0 if every scheme is proven (numerical and declared-approximate encoders count as read), 1 if one is
    refuted, 2 if a file cannot be used.
    """
    with friendly():
        listed = files_under(files)
        if not listed:
            raise StlError("files", [str(f) for f in files], "at least one file of a known layout")
        start = time.perf_counter()
        rows, errors = [], []
        for path in listed:
            try:
                readings = read(path)
                for reading in readings:
                    if ring is not None:
                        _over(reading, ring)
                    _list_rings(reading)
                    rows.append(_row(reading) | {"approximate": _approximate(reading)})
            except (EncoderFileError, StlError) as error:
                errors.append(str(error) if isinstance(error, EncoderFileError) else f"{path}: {error}")
        seconds = time.perf_counter() - start
        proving = sum(r["seconds"] for r in rows)
        refuted = [r for r in rows if not r["proven"] and not r["approximate"]]
        if json:
            print_json({"schemes": rows, "errors": errors, "seconds": seconds, "proof_seconds": proving})
        else:
            _print(rows)
            console.print(
                f"{sum(r['proven'] for r in rows)} of {len(rows)} schemes proven, {len(refuted)} refuted, "
                f"{sum(r['approximate'] for r in rows)} approximate, {len(errors)} files refused; "
                f"{proving:.2f} s of proofs in {seconds:.2f} s", markup=False,
            )  # fmt: skip
        for text in errors:  # one line each, on standard error
            print("refused: " + " ".join(text.split()), file=sys.stderr)
        raise SystemExit(BAD_REQUEST if errors else REFUTED if refuted else 0)


def _approximate(reading: Reading) -> bool:
    return reading.layout == "stl" and not reading.report.holds


def _over(reading: Reading, name: str) -> None:
    from stl_algebra import verify

    reading.encoder = reading.encoder.to_ring(name)
    reading.report = verify(reading.encoder)


def _list_rings(reading: Reading) -> None:
    from stl_algebra.identities import rings_where_valid

    try:
        reading.rings = rings_where_valid(reading.encoder)
    except StlError:  # coefficients too large for the gcd of the residual: the verdict stands without the list
        reading.rings = []


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("file", "scheme", "ring", "C or Cᵀ", "verdict", "seconds")
    for r in rows:
        verdict = "[green]proven[/]" if r["proven"] else "approximate" if r["approximate"] else "[red]refuted[/]"
        if r["note"]:
            verdict += f" ({escape(r['note'])})"
        if others := [v for v in r["rings"] if v != r["ring"]]:
            verdict += escape(f", also in {', '.join(others)}" if r["proven"] else f", holds in {', '.join(others)}")
        if not r["proven"] and not r["approximate"]:
            verdict += escape(f" {r['failing']} of {r['equations']} equations fail: " + "; ".join(r["first"][:2]))
        table.add_row(
            escape(Path(r["file"]).name),
            r["scheme"],
            escape(r["ring"]),
            r["convention"],
            verdict,
            f"{r['seconds']:.3f}",
        )
    if rows:
        console.print(table)


if __name__ == "__main__":
    app()
