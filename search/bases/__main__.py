"""Fewer additions: walk to cheaper schemes of the same rank, and write straight-line programs that run.

Example: ``python -m search.bases results/encoders/3x3x3_r23_Z_25a87af5.safetensors --seconds 120 --out cheap --code c``
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stl_algebra import Encoder
from stl_algebra.files import load, save
from stl_algebra.straightline import source

from ..cli import console, friendly, print_json
from .chains import encoder_chains, exact_extras
from .cheapest import cheapest
from .reduction import reduced

__all__ = ["main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Language(StrEnum):
    """What programs are written in."""

    python = "python"
    c = "c"


def _walked(
    encoder: Encoder, path: Path, seconds: float, seed: int, steps: int, fresh: bool, walks: int | None
) -> Encoder:
    """The cheapest scheme near an encoder, where walks are possible (Z and GF(2)); else the encoder."""
    walks = encoder.ring.name in ("Z", "GF(2)")
    if not seconds or not walks:
        return encoder
    largest = int(max(abs(f.num).max() for f in encoder.factors))
    found = cheapest(encoder, seconds, seed, steps, largest, fresh=fresh, walks=walks)
    if not found.walks:
        return encoder
    command = f"python -m search.bases {path} --seconds 86400 --walks {found.walks} --seed {seed} --steps {steps}"
    return found.encoder.with_origin(**{**found.encoder.origin, "command": command + " --fresh" * fresh})


@app.command(epilog="Example: python -m search.bases scheme.safetensors --seconds 60 --out cheap --code python")
def main(
    files: Annotated[list[Path], typer.Argument(help="exact encoder files (.safetensors) over Z, Z[1/2], Q or GF(2)")],
    seconds: Annotated[float, typer.Option(min=0, max=86400, help="time for walks from each file; 0: none")] = 60.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    steps: Annotated[int, typer.Option(min=1000, help="proposals of one walk")] = 1_000_000,
    walks: Annotated[int | None, typer.Option(min=1, help="at most so many walks: repeatable")] = None,
    fresh: Annotated[bool, typer.Option(help="every second walk begins at a scheme that flips find anew")] = False,
    effort: Annotated[int, typer.Option(min=100, help="steps of annealing for every chain")] = 50_000,
    out: Annotated[Path | None, typer.Option(help="folder for encoders and programs")] = None,
    code: Annotated[Language | None, typer.Option(help="write the programs as text")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Count additions by chains with cancellation and lower them; exit code 0, or 2 if a file cannot be used."""
    with friendly():
        rows = []
        for path in files:
            encoder = reduced(load(path))
            better = _walked(encoder, path, seconds, seed, steps, fresh, walks)
            programs = encoder_chains(better, effort, 8, seed)
            counts = [p.additions for p in programs]
            row = {
                "file": path.name, "encoder": better.label, "ring": better.ring.name,
                "given": sum(p.additions for p in encoder_chains(encoder, effort, 8, seed)), "additions": sum(counts),
                "parts": counts, "scalings": sum(p.scalings for p in programs), "written": "",
            }  # fmt: skip
            matrices = (better.e_x.num, better.e_w.num, better.d.num.T)
            if better.rank < 30 and better.ring.name != "GF(2)":
                # a side of n different sums with `few` extras is minimal when no fewer extras suffice
                row["minimal"] = [
                    _minimal(m, p.additions, k, better) for k, (m, p) in enumerate(zip(matrices, programs, strict=True))
                ]
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                row["written"] = str(save(better, out))
                if code is not None:
                    suffix = ".py" if code is Language.python else ".c"
                    Path(str(row["written"])).with_suffix(suffix).write_text(source(programs, code.value))
            rows.append(row)
        if json:
            print_json({"rows": rows})
            return
        table = Table("file", "encoder", "ring", "given", "additions", "E_X + E_W + D", "scalings", "written")
        for r in rows:
            table.add_row(
                *(str(r[k]) for k in ("file", "encoder", "ring", "given", "additions", "parts", "scalings", "written"))
            )
        console.print(table)


def _minimal(matrix: object, additions: int, slot: int, encoder: Encoder) -> bool:
    """Whether exhaustive search over extras (at most two) shows that a side needs that many additions."""
    import numpy as np

    table = np.asarray(matrix)
    side = additions if slot < 2 else additions - encoder.rank + encoder.target.shape[2]
    rows = {
        tuple((r if r[np.flatnonzero(r)[0]] > 0 else -r) // max(1, np.gcd.reduce(r)))
        for r in table
        if np.count_nonzero(r) > 1
    }
    spare = side - len(rows)
    return spare == 0 or (spare <= 2 and exact_extras(table, most=spare - 1) is None)


if __name__ == "__main__":
    sys.exit(app(prog_name="python -m search.bases"))
