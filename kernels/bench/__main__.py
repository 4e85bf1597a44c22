"""``python -m kernels.bench [SECTION…]``: the performance tables, appended to results/measurements.csv.

Sections: ``table`` (the cells the project set out to pass), ``shapes`` (language-model shapes), ``growth`` (cost
against n, r and t), ``train`` (backward passes and peak memory), ``pair`` (two layers, apart and fused),
``precision`` (float32 against everything that could be used instead), ``dropin`` (`fast_matmul` as called),
``residues`` (float64 and exact integers likewise), ``merged`` (channels that share operands),
``outliers`` (rows a hundred times larger than their tile neighbours, and what scaling rows costs),
``calibrate`` (rates of this device for the cost model). Example::

    python -m kernels.bench table shapes --out results/measurements.csv

Method. Every provider is captured into a CUDA graph, warmed up until the clock has settled, then timed with
device events, the L2 cleared between runs; weights are encoded beforehand, the encode of the activation and the
decode of the output are inside. Before anything is timed, its output is compared with float64 on 512 rows: an
unwritten entry, or an error above twice the plain torch implementation's, and the cell is reported as failed
and not timed. Without CUDA the reference runs at a small size and says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__, epilog="Example: python -m kernels.bench table shapes --out results/measurements.csv")
def main(
    sections: Annotated[list[str] | None, typer.Argument(help="see above; default: table")] = None,
    out: Annotated[Path | None, typer.Option(help="what is written: a CSV file that rows are appended to")] = None,
    data: Annotated[Path | None, typer.Option(help="calibrate: write the device file into this folder")] = None,
    encoder: Annotated[list[Path] | None, typer.Option(help="encoder files to add to the cases; repeatable")] = None,
    only: Annotated[str, typer.Option(help="cases whose label contains this")] = "",
    json: Annotated[bool, typer.Option("--json", help="one JSON document instead of tables")] = False,
) -> None:
    """Measure and append; exit code 1 when a correctness gate fails, 2 for bad input."""
    from .sections import run_sections  # torch loads with it, and not for --help

    run_sections(sections or [], out, data, encoder or [], only, json)


if __name__ == "__main__":
    app()
