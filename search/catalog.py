"""The catalogue from the command line: list, show, import, export.

Example: ``python -m search.catalog list --format 3,3,3``
"""

from __future__ import annotations

import glob
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from stl_algebra import Encoder, StlError, load, schemes, verify
from stl_algebra.layouts import read, write
from stl_algebra.rings import ring as named_ring

from . import cli
from .cli import Format, Group, Json, Out, Rank, Ring, console, friendly, parsed_format, print_json, readable_catalogue
from .core.catalogue import Catalogue, Row, naive_line
from .core.origins import printable

__all__ = ["Catalogue", "Row", "chosen"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="List, show, export and import encoders.")
Encoders = Annotated[str, typer.Argument(help="an encoder file, or the beginning of its digest, e.g. 2d5e8706")]


def chosen(
    rows: list[Row], format: str | None = None, rank: int | None = None, ring: str | None = None,
    group: str | None = None, best: bool = False,
) -> list[Row]:  # fmt: skip
    """The rows that fit; with ``best`` the first of each target, rank and kind, exact ones first, useless ones not."""
    wanted = parsed_format(format)
    name = f"matmul:{'x'.join(map(str, wanted))}" if wanted else None
    base = None if ring is None else named_ring(ring).name
    fits = [
        r for r in rows
        if name in (None, r.target) and rank in (None, r.rank) and base in (None, r.ring) and group in (None, r.group)
    ]  # fmt: skip
    if not best:
        return fits
    first: dict[tuple[str, int, str], Row] = {}
    for r in fits:
        line = naive_line(r)
        if r.exact or line is None or r.total_bf16 < line:
            first.setdefault(r.kind, r)
    return sorted(first.values(), key=lambda r: (r.target, not r.exact))


@app.command("list", epilog="Example: python -m search.catalog list --format 3,3,3 --best")
def list_(
    catalogue: cli.Catalogue = None, format: Format = None, rank: Rank = None, ring: Ring = None, group: Group = None,
    best: Annotated[bool, typer.Option("--best", help="the best of each target, rank and kind")] = False,
    limit: cli.Limit = 1000, json: Json = False,
) -> None:  # fmt: skip
    """List a catalogue by target and rank, best entries first."""
    with friendly():
        rows = chosen(Catalogue(readable_catalogue(catalogue)).rows, format, rank, ring, group, best)
        shown = rows[:limit]
        if json:
            print_json([asdict(r) for r in shown])
            return
        if not rows:
            raise StlError("catalogue", "nothing that fits", "fewer conditions", "python -m search.catalog list")
        console.print(_table(shown, console.width < 100))
        if len(shown) < len(rows):
            console.print(f"{len(rows) - len(shown)} more: raise --limit", markup=False)


def _table(rows: list[Row], narrow: bool) -> Table:
    """One line an encoder; at 80 columns the digest stands for the file name (`catalog show` takes it)."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("encoder", no_wrap=True)
    table.add_column("ring", no_wrap=True, overflow="ellipsis", max_width=9 if narrow else None)
    for name in ("ε²", "κ²"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("origin", no_wrap=True, overflow="ellipsis", max_width=22 if narrow else 40)
    table.add_column("file …" if narrow else "file", no_wrap=True)
    for r in rows:
        fmt = r.target.removeprefix("matmul:").replace("x", ",") if r.target.startswith("matmul:") else r.target
        stem = Path(r.file).stem
        table.add_row(
            f"⟨{fmt};{r.rank}⟩", escape(r.ring), "[green]proven" if r.exact else f"{r.epsilon2:.3g}",
            f"{r.kappa2:.4g}", escape(printable(f"{r.family} {r.group}")), stem.rsplit("_", 1)[-1] if narrow else stem,
        )  # fmt: skip
    return table


@app.command(epilog="Example: python -m search.catalog show 2d5e8706")
def show(file: Encoders, catalogue: cli.Catalogue = None, json: Json = False) -> None:
    """Print an encoder: identity, scores, origin and formulas."""
    with friendly():
        path = _located(file, catalogue)
        encoder = load(path)
        row = Row.of(encoder, path.name)
        if json:
            print_json(asdict(row) | {"origin": dict(encoder.origin)})
            return
        console.print(repr(encoder), markup=False)
        console.print(f"{verify(encoder)}\n{path}", markup=False)
        for name, value in encoder.origin.items():
            text = value if isinstance(value, str) else dumps(value)
            console.print(f"{printable(name, 20):>12}  {printable(text, 2000)}", markup=False)
        if encoder.ring.exact and not encoder.ring.characteristic and encoder.rank <= 64:
            from stl_algebra.symbolic import formulas

            console.print(formulas(encoder), markup=False)


def _located(name: str, catalogue: Path | None) -> Path:
    """The file meant: a path, or the beginning of a digest in the catalogue (and in the user's own finds).

    Raises
    ------
    StlError
        If it is neither, or the beginning of several.
    """
    path = Path(name)
    if path.is_file() or path.suffix:
        return path
    folders = [readable_catalogue(catalogue)] + ([cli.FINDS] if catalogue is None and cli.FINDS.is_dir() else [])
    fits = {p.stem: p for f in folders for p in sorted((f / "encoders").glob(f"*_{glob.escape(name)}*.safetensors"))}
    fits |= {p.stem: p for f in folders for p in [f / "encoders" / f"{name}.safetensors"] if p.is_file()}
    if len(fits) != 1:
        what = "a file, or the digest of one in the catalogue" if not fits else "one of " + ", ".join(sorted(fits)[:8])
        raise StlError("file", name, what, "python -m search.catalog list shows them.")
    return next(iter(fits.values()))


@app.command(epilog="Example: python -m search.catalog export 2d5e8706 scheme.json")
def export(
    file: Encoders,
    to: Annotated[Path, typer.Argument(help="name.json, .npz, .npy, .sms, .exp, .txt, .formulas, .tex, .py or .c")],
    catalogue: cli.Catalogue = None, json: Json = False,
) -> None:  # fmt: skip
    """Write an encoder in a published layout (.json: FastMatrixMultiplication; .npz: AlphaTensor, Cᵀ), or to run."""
    with friendly():
        written = [str(path) for path in write(load(_located(file, catalogue)), to)]
        if json:
            print_json(written)
        for path in [] if json else written:
            console.print(f"wrote {path}", markup=False)


@app.command("import", epilog="Example: python -m search.catalog import published/*.json --out found")
def import_(
    files: Annotated[list[Path], typer.Argument(help="schemes in any known layout")],
    out: Out = cli.FINDS, json: Json = False,
) -> None:  # fmt: skip
    """Verify published schemes and take them into a results folder with their origin; refuted ones are refused."""
    with friendly():
        found = []
        for file in files:
            for reading in read(file):
                if not reading.report.holds:
                    raise StlError(str(file), str(reading.report), "a scheme that holds")
                claimed = {**reading.encoder.origin, "lineage": "published"}  # whatever a stranger's file says
                found.append(reading.encoder.with_origin(**claimed))
        _take(found, out, json)


@app.command(epilog="Example: python -m search.catalog named --out found")
def named(out: Out = cli.FINDS, json: Json = False) -> None:
    """Write the classical encoders and the powers of Strassen's: what finds are compared with."""
    with friendly():
        strassen = schemes.strassen()
        square = strassen.kron(strassen)
        classical = [
            strassen, schemes.winograd(), square, square.kron(strassen), schemes.laderman(), schemes.hopcroft(),
            schemes.simplex(3), schemes.karatsuba(2), schemes.toom_cook(3, 3),
        ]  # fmt: skip
        _take(classical, out, json)


def _take(encoders: list[Encoder], out: Path, json: bool) -> None:
    """File encoders whatever is there already, and say what became of each."""
    catalogue = Catalogue(out)
    taken = [catalogue.add(encoder, always=True) for encoder in encoders]
    catalogue.write_index()
    if json:
        print_json([{"file": row.file, "new": new} for row, new in taken])
    for row, new in [] if json else taken:
        console.print(f"{'added' if new else 'already there'}: {row.file}", markup=False)


@app.command(epilog="Example: python -m search.catalog index --out found")
def index(out: Out = cli.FINDS, json: Json = False) -> None:
    """Write ``index.csv`` of a results folder anew from its files."""
    with friendly():
        if not out.is_dir():
            raise StlError("out", str(out), "an existing results folder", "Run python -m search.run first.")
        catalogue = Catalogue(out)
        catalogue.write_index()
        if json:
            print_json({"encoders": len(catalogue.rows), "index": str(catalogue.index)})
            return
        console.print(f"{len(catalogue.rows)} encoders in {catalogue.index}", markup=False)


if __name__ == "__main__":
    app()
