"""Error and time of encoder files on this machine's device.

Example: ``python -m kernels.validate results/encoders/2x2x2_r7_Z_*.safetensors --dtype fp32 --dtype bf16``

The work is done by `kernels.bench.validation`, which loads torch; this file answers ``--help`` without it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stl_algebra.errors import StlError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m kernels.validate encoder.safetensors --dtype fp32 --dtype bf16")
def main(
    files: Annotated[list[Path], typer.Argument(help="encoder files (.safetensors)")],
    dtype: Annotated[list[str] | None, typer.Option(help="fp64, fp32, bf16 or fp16; repeatable")] = None,
    size: Annotated[int, typer.Option(help="N = K = M (default: 4096 on CUDA, 256 on a CPU)")] = 0,
    tolerance: Annotated[float, typer.Option(help="allowed distance from the closed form")] = 0.2,
    seed: Annotated[int, typer.Option(help="seed of everything random; the same seed repeats the run")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 … or all")] = "all",
    out: Annotated[Path | None, typer.Option(help="what is written: a CSV file that rows are appended to")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document instead of tables")] = False,
) -> None:
    """Multiply random matrices with encoders: error against float64, plain torch, dense and the closed form; time.

    A file fails when an output entry is unwritten, when the kernels err more than twice the plain implementation, or
    when the error is more than --tolerance away from the closed form on CUDA. Exit code 1 when one fails, 2 for bad
    input.
    """
    from .bench import validation

    try:
        passed = validation.run(files, dtype or [], size, seed, device, tolerance, out, json)
    except StlError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        raise typer.Exit(2) from None
    if not passed:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
