"""One group of every kind: what ``python -m search.run --group NAME --seconds 60`` proves and scores.

Run ``python -m search.benchmarks.kinds``; writes ``results/discovery/kinds.csv``. Every line is one run of that
command, with a fresh folder and its default formats and ranks.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from stl_algebra import group

from ..cli import console, friendly

app = typer.Typer(add_completion=False, rich_markup_mode=None)
KINDS = {
    "cyclic": "C7", "abelian": "C2xC4", "dihedral": "D4", "quaternion": "Q8", "symmetric": "S4", "alternating": "A4",
    "affine": "AGL(1,5)", "extraspecial": "2^(1+4)+", "special linear": "SL(2,3)", "wreath product": "C3wrC2",
    "primitive": "A5", "elementary abelian": "C2^3", "Frobenius": "C7:C3",
}  # fmt: skip
FIELDS = ("kind", "group", "order", "seconds", "units", "failed", "proven", "exact kinds", "scored", "best scored")


def row(kind: str, name: str, seconds: float, workers: int) -> dict[str, Any]:
    """Run the command and read its JSON."""
    package = str(__package__).split(".")[0]
    with tempfile.TemporaryDirectory() as out:
        words = ["--group", name, "--seconds", str(seconds), "--workers", str(workers), "--json", "--out", out]
        done = subprocess.run([sys.executable, "-m", f"{package}.run", *words], capture_output=True, text=True)
        if done.returncode:
            return {"kind": kind, "group": name, "proven": done.stderr.strip()[:200]}
        said = json.loads(done.stdout)
    scored = [r for r in said["best"] if not r["exact"]]
    least = min(scored, key=lambda r: r["total_bf16"], default=None)
    return {
        "kind": kind, "group": name, "order": group(name).order, "seconds": seconds, "units": said["ran"],
        "failed": said["failed"], "proven": sum(said["proven"].values()),
        "exact kinds": "; ".join(sorted({f"{r['target']} rank {r['rank']} over {r['ring']} ({r['family']})"
                                         for r in said["best"] if r["exact"]})),
        "scored": len(scored),
        "best scored": f"{least['target']} rank {least['rank']}: {least['total_bf16']:.4g}" if least else "",
    }  # fmt: skip


@app.command(epilog="Example: python -m search.benchmarks.kinds --seconds 20")
def main(
    seconds: Annotated[float, typer.Option(help="of every run")] = 60.0,
    workers: Annotated[int, typer.Option(help="processes of every run")] = 2,
    together: Annotated[int, typer.Option(help="runs side by side")] = 1,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
) -> None:
    """Proven and scored encoders for a group of every kind."""
    with friendly(), ThreadPoolExecutor(together) as pool:
        rows = pool.map(lambda item: row(item[0], item[1], seconds, workers), KINDS.items())
        (out / "discovery").mkdir(parents=True, exist_ok=True)
        with (out / "discovery" / "kinds.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            for r in rows:
                writer.writerow(r)
                stream.flush()
                text = f"{r['kind']:20} {r['group']:10} {r['proven']} proven, {r.get('scored', '')} scored"
                console.print(text, markup=False)


if __name__ == "__main__":
    app()
