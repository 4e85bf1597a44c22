"""One flip-graph search from the command line.

Example: ``python -m search.flips 4x4x4 --rank 47 --seconds 300 --out results``

With ``--start FILE`` the walks begin at an encoder found before, also one of a neighbouring format:
``python -m search.flips 4x5x5 --rank 76 --start results/encoders/5x5x5_r93_Z_75263c7d.safetensors --lift``
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from search.cli import console, friendly, parse_format, print_json
from search.flips import Scheme, from_factors, search_flips
from search.flips.pools import SHORT, search_from
from search.flips.recipes import schedule_for
from stl_algebra import StlError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _scheme(file: Path, ring: str) -> tuple[Scheme, dict[str, Any]]:
    """The scheme of an encoder file, over the ring of the walk, and what a find has of that file as its origin."""
    from stl_algebra.files import load

    encoder = load(file)
    if any(f.den % 2 == 0 or (ring == "Z" and f.den != 1) for f in encoder.factors):
        raise StlError("start", file.name, f"an encoder that can be read over {ring}")
    e_x, e_w, d = ((np.asarray(f.num) % 2 if ring == "GF(2)" else np.asarray(f.num)) for f in encoder.factors)
    e_x, e_w, d = e_x.astype(np.int64), e_w.astype(np.int64), d.astype(np.int64)
    scheme = from_factors(encoder.format, e_x, e_w, d, ring=ring)
    if not scheme.exact():
        raise StlError("start", file.name, f"an exact encoder over {ring}")
    return scheme, {"from": encoder.origin.get("from", file.name), "start": file.name}


@app.command(epilog="Example: python -m search.flips 4x4x4 --rank 47 --seconds 300 --out results")
def main(
    format: Annotated[str, typer.Argument(help="n,m,p, e.g. 3x3x4")],
    rank: Annotated[int, typer.Option(help="rank to reach")],
    ring: Annotated[str, typer.Option(help="GF(2) or Z (entries -1, 0, 1)")] = "GF(2)",
    symmetry: Annotated[str | None, typer.Option(help="C3 or C3xZ2 (square formats)")] = None,
    seconds: Annotated[float, typer.Option(help="budget")] = 60.0,
    seed: Annotated[int, typer.Option(help="seed of the walks")] = 0,
    workers: Annotated[int, typer.Option(help="parallel walks")] = 1,
    lift: Annotated[bool, typer.Option("--lift", help="lift a scheme over GF(2) to Z or Q")] = False,
    start: Annotated[Path | None, typer.Option(help="encoder file to start from, of this or another format")] = None,
    longest: Annotated[int, typer.Option(help="most non-zero entries of a factor")] = 64,
    flips: Annotated[int, typer.Option(min=1, help="with --start: length of one walk")] = SHORT.flips,
    tries: Annotated[int, typer.Option(min=1, help="with --lift: take the simplest of so many lifts")] = 1,
    out: Annotated[Path | None, typer.Option(help="results folder whose catalogue takes the encoder")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Walk the flip graph from the standard algorithm; exit code 1 if the rank is not reached."""
    with friendly():
        sizes = parse_format(format)
        if sizes is None or not seconds > 0:
            raise StlError("seconds", seconds, "a positive number")
        origin: dict[str, Any] = {"seed": seed, "longest": longest}
        if start is None:
            plan = replace(schedule_for(sizes, ring, symmetry), longest=longest)
            result = search_flips(sizes, ring, symmetry, rank, seconds, seed, schedule=plan, workers=workers)
            origin["workers"] = workers
        else:
            scheme, lineage = _scheme(start, ring)
            result = search_from(scheme, sizes, rank, seconds, seed, replace(SHORT, flips=flips, longest=longest))
            origin |= {"flips": flips, **lineage}
        encoder = result.encoder(lift, tries=tries, **origin) if result.found else None
        file = ""
        if encoder is not None and out is not None:
            from search.catalog import Catalogue

            catalogue = Catalogue(out)
            file = catalogue.add(encoder, always=True)[0].file
            catalogue.write_index()
        if json:
            found = {"found": result.found, "rank": result.rank, "flips": result.flips, "seconds": result.seconds}
            print_json(found | {"encoder": repr(encoder) if encoder else None, "file": file})
        else:
            console.print(f"rank {result.rank} after {result.flips:,} flips in {result.seconds:.2f} s", markup=False)
            if encoder is not None:
                console.print(f"{encoder!r} {file}", markup=False)
        if encoder is None:
            raise SystemExit(1)


if __name__ == "__main__":
    app()
