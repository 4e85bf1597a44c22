"""The catalogue: a folder of encoder files and the index generated from them; list, show, import, export.

Files are immutable and named by content; an encoder enters when it is better than every entry of the same target,
rank and kind (exact in a ring, or approximate), so the folder holds the history of improvements.
"""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass, fields
from json import dumps
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from search.cli import console, friendly, parse_format, print_json
from stl_algebra import Encoder, StlError, load, ring, save, target, verify
from stl_algebra.known import best_rank, standing
from stl_algebra.scores import epsilon2, kappa2, predicted_error2

__all__ = ["Catalogue", "Row", "naive_line"]


@dataclass(frozen=True)
class Row:
    """One line of ``index.csv``; every column is derived from the file it names.

    ``found`` is True for encoders found here from a group and a seed, directly or by way of one that was (origin
    "from scratch").
    """

    file: str
    target: str
    rank: int
    ring: str
    exact: bool
    epsilon2: float
    kappa2: float
    total_bf16: float
    flop_ratio: float
    family: str
    group: str
    found: bool
    best_known_rank: str
    sha256: str

    @classmethod
    def of(cls, encoder: Encoder, file: str) -> Row:
        nan = float("nan")
        numeric = encoder.ring.embeds
        fmt = encoder.target.format
        known = best_rank(fmt, encoder.ring) if fmt else None
        eps2 = epsilon2(encoder) if numeric else (0.0 if encoder.is_exact else nan)
        return cls(
            file, encoder.target.name, encoder.rank, encoder.ring.name, encoder.ring.exact and encoder.is_exact,
            float(f"{eps2:.10g}"), float(f"{kappa2(encoder):.10g}") if numeric else nan,
            float(f"{predicted_error2(encoder):.10g}") if numeric else nan,
            round(encoder.target.norm2 / max(encoder.rank, 1), 6),
            str(encoder.origin.get("family", "")), str(encoder.origin.get("group", "")),
            encoder.origin.get("from") == "scratch", str(known or ""),
            encoder.digest,
        )  # fmt: skip

    @property
    def kind(self) -> tuple[str, int, str]:
        """What competes with what: target, rank, ring (approximate: real or complex), found here or published."""
        what = f"exact {self.ring}" if self.exact else "complex" if self.is_complex else "real"
        return self.target, self.rank, what + (", found" if self.found else "")

    @property
    def is_complex(self) -> bool:
        """Whether the coefficients are complex numbers."""
        return ring(self.ring).is_complex

    @property
    def standing(self) -> int | None:
        """0 for the best known rank over the row's own ring, 1 above it, −1 for a record; None if not comparable."""
        return standing(target(self.target), self.rank, self.ring)

    @property
    def cost(self) -> float:
        """What is compared within a kind: κ² of exact entries, total bf16 error of approximate ones; 0 over GF(q)."""
        value = self.kappa2 if self.exact else self.total_bf16
        return value if value == value else 0.0


class Catalogue:
    """A results folder; reading it proves nothing, `search.verify` does."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise StlError("out", str(folder), "a folder (it is a file)")
        self.index = self.folder / "index.csv"
        self._rows = self._scan()

    def _scan(self) -> dict[str, Row]:
        """Rows by file name: from the index where it has them (names are content hashes), else from the files."""
        cached = {}
        if self.index.exists():
            with self.index.open(newline="", encoding="utf-8", errors="replace") as stream:
                for raw in csv.DictReader(line.replace("\0", "") for line in stream):
                    try:
                        row = Row(**{f.name: _parse(str(f.type), raw[f.name]) for f in fields(Row)})
                    except (KeyError, TypeError, ValueError):
                        continue  # an index of another version: derive the row again
                    if len(row.sha256) == 64:  # else the line was cut short
                        cached[row.file] = row
        rows = {}
        for path in sorted(self.folder.rglob("*.safetensors")):
            name = path.relative_to(self.folder).as_posix()
            rows[name] = cached[name] if name in cached else Row.of(load(path, trust_certificate=True), name)
        return rows

    @property
    def rows(self) -> list[Row]:
        """All rows, by target, rank, exactness and cost."""
        return sorted(self._rows.values(), key=lambda r: (r.target, r.rank, not r.exact, r.cost, r.file))

    def best(self, kind: tuple[str, int, str]) -> Row | None:
        """The entry of least cost of a kind."""
        return min((r for r in self._rows.values() if r.kind == kind), key=lambda r: (r.cost, r.file), default=None)

    def add(self, encoder: Encoder, always: bool = False) -> tuple[Row, bool]:
        """Offer an encoder; it is written if it improves on its kind (or ``always``).

        Returns
        -------
        (row, improved) : the encoder's row (its file name empty if not written) and whether it was written.
        """
        row = Row.of(encoder, "")
        held = self.best(row.kind)
        if held is not None and not always and not row.cost < held.cost * (1 - 1e-6):
            return row, False
        path = save(encoder, self.folder / "encoders")
        name = path.relative_to(self.folder).as_posix()
        new = name not in self._rows
        self._rows[name] = row = Row.of(encoder, name)
        return row, new

    def write_index(self) -> None:
        """Regenerate ``index.csv`` (atomically)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.index.with_suffix(f".{os.getpid()}.part")
        with part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, [f.name for f in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(r) for r in self.rows)
        os.replace(part, self.index)


def _parse(kind: str, text: str) -> Any:
    if kind == "bool":
        return {"True": True, "False": False}[text]
    converters: dict[str, Any] = {"int": int, "float": float}
    return converters.get(kind, str)(text)


def naive_line(row: Row) -> float | None:
    """ε² of keeping r of the nmp standard products, for matrix products."""
    if not row.target.startswith("matmul:"):
        return None
    volume = prod(int(v) for v in row.target[7:].split("x"))
    return max(0.0, 1 - row.rank / volume)


# -------------------------------------------------------------------------- verbs
app = typer.Typer(add_completion=False, rich_markup_mode=None, help="List, show, export and import encoders.")
Out = Annotated[Path, typer.Option(help="results folder")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document")]


@app.command("list", epilog="Example: python -m search.catalog list --format 3,3,3")
def list_(
    out: Out = Path("results"), format: Annotated[str | None, typer.Option(help="n,m,p")] = None, json: Json = False
) -> None:
    """List the catalogue, best entries first, and regenerate its index."""
    with friendly():
        wanted = parse_format(format)
        catalogue = Catalogue(_existing(out))
        catalogue.write_index()
        name = f"matmul:{'x'.join(map(str, wanted))}" if wanted else None
        rows = [r for r in catalogue.rows if name in (None, r.target)]
        if json:
            print_json([asdict(r) for r in rows])
            return
        table = Table("target", "rank", "ring", "exact", "ε²", "κ²", "FLOP ratio", "origin", "file")
        for r in rows:
            table.add_row(
                r.target, str(r.rank), escape(r.ring), "proven" if r.exact else "", f"{r.epsilon2:.4g}",
                f"{r.kappa2:.4g}", f"{r.flop_ratio:.3f}", f"{r.family} {r.group}", Path(r.file).name,
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
        console.print(f"origin: {dumps(dict(encoder.origin))}", markup=False)
        if encoder.ring.exact and not encoder.ring.characteristic and encoder.rank <= 64:
            from stl_algebra.symbolic import formulas

            console.print(formulas(encoder), markup=False)


@app.command(epilog="Example: python -m search.catalog export FILE.safetensors scheme.json")
def export(
    file: Annotated[Path, typer.Argument(help="an encoder file")],
    to: Annotated[Path, typer.Argument(help="scheme.json (terms layout) or scheme.npz")],
) -> None:
    """Write an encoder in a published layout (.json: FastMatrixMultiplication; .npz: AlphaTensor, Cᵀ)."""
    with friendly():
        from search.formats import write_json, write_npz

        if to.suffix not in (".json", ".npz"):
            raise StlError("to", str(to), "a name ending in .json or .npz")
        (write_json if to.suffix == ".json" else write_npz)(load(file), to)
        console.print(f"wrote {to}", markup=False)


@app.command("import", epilog="Example: python -m search.catalog import published/*.json")
def import_(
    files: Annotated[list[Path], typer.Argument(help="schemes in any known layout")],
    out: Out = Path("results"),
) -> None:
    """Verify published schemes and take them into the catalogue with their origin; refuted ones are refused."""
    with friendly():
        from search.formats import read

        catalogue = Catalogue(out)
        for file in files:
            for reading in read(file):
                if not reading.report.holds:
                    raise StlError(str(file), str(reading.report), "a scheme that holds")
                row, new = catalogue.add(reading.encoder, always=True)
                console.print(f"{'added' if new else 'already there'}: {row.file}", markup=False)
        catalogue.write_index()


@app.command(epilog="Example: python -m search.catalog named")
def named(out: Out = Path("results")) -> None:
    """Add the classical encoders and the powers of Strassen's: what finds are compared with."""
    with friendly():
        from stl_algebra import schemes

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


def _existing(out: Path) -> Path:
    if not out.is_dir():
        raise StlError("out", str(out), "an existing results folder", "Run python -m search.run first.")
    return out


if __name__ == "__main__":
    app()
