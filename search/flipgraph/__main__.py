"""One flip-graph search from the command line.

Example: ``python -m search.flipgraph 4x4x4 --rank 47 --seconds 300 --out results``
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli import console, friendly, parse_format, print_json
from search.flipgraph import search_flips
from stl_algebra import StlError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.flipgraph 4x4x4 --rank 47 --seconds 300 --out results")
def main(
    format: Annotated[str, typer.Argument(help="n,m,p, e.g. 3x3x4")],
    rank: Annotated[int, typer.Option(help="rank to reach")],
    ring: Annotated[str, typer.Option(help="GF(2) or Z (entries -1, 0, 1)")] = "GF(2)",
    symmetry: Annotated[str | None, typer.Option(help="C3 or C3xZ2 (square formats)")] = None,
    seconds: Annotated[float, typer.Option(help="budget")] = 60.0,
    seed: Annotated[int, typer.Option(help="seed of the walks")] = 0,
    workers: Annotated[int, typer.Option(help="parallel walks")] = 1,
    lift: Annotated[bool, typer.Option("--lift", help="lift a scheme over GF(2) to Z or Q")] = False,
    out: Annotated[Path | None, typer.Option(help="results folder whose catalogue takes the encoder")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Walk the flip graph from the standard algorithm; exit code 1 if the rank is not reached."""
    with friendly():
        sizes = parse_format(format)
        if sizes is None or not seconds > 0:
            raise StlError("seconds", seconds, "a positive number")
        result = search_flips(sizes, ring, symmetry, rank, seconds, seed, workers=workers)
        encoder = result.encoder(lift, seed=seed, workers=workers) if result.found else None
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
