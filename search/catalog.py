"""The catalogue from the command line: list, show, import, export.

Example: ``python -m search.catalog list --format 3,3,3``
"""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from stl_algebra import StlError, load, schemes, verify
from stl_algebra.layouts import read, write

from .cli import console, friendly, parsed_format, print_json
from .core.catalogue import Catalogue, Row
from .core.origins import printable

__all__ = ["Catalogue", "Row"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="List, show, export and import encoders.")
Out = Annotated[Path, typer.Option(help="results folder")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document")]


@app.command("list", epilog="Example: python -m search.catalog list --format 3,3,3")
def list_(
    out: Out = Path("results"), format: Annotated[str | None, typer.Option(help="n,m,p")] = None, json: Json = False
) -> None:
    """List the catalogue, best entries first."""
    with friendly():
        wanted = parsed_format(format)
        catalogue = Catalogue(_existing(out))
        name = f"matmul:{'x'.join(map(str, wanted))}" if wanted else None
        rows = [r for r in catalogue.rows if name in (None, r.target)]
        if json:
            print_json([asdict(r) for r in rows])
            return
        table = Table("target", "rank", "ring", "exact", "ε²", "κ²", "FLOP ratio", "origin", "file")
        for r in rows:
            table.add_row(
                r.target, str(r.rank), escape(r.ring), "proven" if r.exact else "", f"{r.epsilon2:.4g}",
                f"{r.kappa2:.4g}", f"{r.flop_ratio:.3f}", escape(printable(f"{r.family} {r.group}")), Path(r.file).name,
            )  # fmt: skip
        console.print(table)


@app.command(epilog="Example: python -m search.catalog show results/encoders/2x2x2_r7_Z_69fc3460.safetensors")
def show(file: Annotated[Path, typer.Argument(help="an encoder file")], json: Json = False) -> None:
    """Print an encoder: identity, scores, origin and formulas."""
    with friendly():
        encoder = load(file)
        row = Row.of(encoder, file.name)
        if json:
            print_json(asdict(row) | {"origin": dict(encoder.origin)})
            return
        console.print(repr(encoder), markup=False)
        console.print(str(verify(encoder)), markup=False)
        for name, value in encoder.origin.items():
            text = value if isinstance(value, str) else dumps(value)
            console.print(f"{printable(name, 20):>12}  {printable(text, 2000)}", markup=False)
        if encoder.ring.exact and not encoder.ring.characteristic and encoder.rank <= 64:
            from stl_algebra.symbolic import formulas

            console.print(formulas(encoder), markup=False)


@app.command(epilog="Example: python -m search.catalog export FILE.safetensors scheme.json")
def export(
    file: Annotated[Path, typer.Argument(help="an encoder file")],
    to: Annotated[Path, typer.Argument(help="name.json, .npz, .npy, .sms, .exp, .txt, .formulas, .tex, .py or .c")],
) -> None:
    """Write an encoder in a published layout (.json: FastMatrixMultiplication; .npz: AlphaTensor, Cᵀ), or to run."""
    with friendly():
        for path in write(load(file), to):
            console.print(f"wrote {path}", markup=False)


@app.command("import", epilog="Example: python -m search.catalog import published/*.json")
def import_(
    files: Annotated[list[Path], typer.Argument(help="schemes in any known layout")],
    out: Out = Path("results"),
) -> None:
    """Verify published schemes and take them into the catalogue with their origin; refuted ones are refused."""
    with friendly():
        catalogue = Catalogue(out)
        for file in files:
            for reading in read(file):
                if not reading.report.holds:
                    raise StlError(str(file), str(reading.report), "a scheme that holds")
                claimed = {**reading.encoder.origin, "lineage": "published"}  # whatever a stranger's file says
                row, new = catalogue.add(reading.encoder.with_origin(**claimed), always=True)
                console.print(f"{'added' if new else 'already there'}: {row.file}", markup=False)
        catalogue.write_index()


@app.command(epilog="Example: python -m search.catalog named")
def named(out: Out = Path("results")) -> None:
    """Add the classical encoders and the powers of Strassen's: what finds are compared with."""
    with friendly():
        catalogue = Catalogue(out)
        strassen = schemes.strassen()
        square = strassen.kron(strassen)
        for encoder in (
            strassen, schemes.winograd(), square, square.kron(strassen), schemes.laderman(), schemes.hopcroft(),
            schemes.simplex(3), schemes.karatsuba(2), schemes.toom_cook(3, 3),
        ):  # fmt: skip
            row, new = catalogue.add(encoder, always=True)
            console.print(f"{'added' if new else 'already there'}: {row.file}", markup=False)
        catalogue.write_index()


@app.command(epilog="Example: python -m search.catalog index")
def index(out: Out = Path("results")) -> None:
    """Write ``index.csv`` anew from the files."""
    with friendly():
        catalogue = Catalogue(_existing(out))
        catalogue.write_index()
        console.print(f"{len(catalogue.rows)} encoders in {catalogue.index}", markup=False)


def _existing(out: Path) -> Path:
    if not out.is_dir():
        raise StlError("out", str(out), "an existing results folder", "Run python -m search.run first.")
    return out


if __name__ == "__main__":
    app()
