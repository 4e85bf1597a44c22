"""Public files read and proven, by source and layout.

Run ``python -m search.benchmarks.layouts FOLDER…`` over checkouts of public repositories, each folder one source;
writes ``results/layouts.csv``. Of a kind with more than ``--most`` files an evenly spaced sample is read. CPU
time is of reading and proving together, on one core; the time of the proofs alone is by the clock.
"""

from __future__ import annotations

import csv
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import typer

from stl_algebra import EncoderFileError
from stl_algebra.layouts import read

from ..cli import console
from ..verify import files_under

app = typer.Typer(add_completion=False, rich_markup_mode=None)
FIELDS = ("source", "suffix", "files", "sampled", "layouts", "schemes", "proven", "refuted", "refused_files",
          "refused_members", "cpu_seconds", "proof_seconds", "first_refusal")  # fmt: skip
#: Suffixes that layouts of schemes have; a file without one may be a coefficient file.
SUFFIXES = {"", ".txt", ".json", ".npz", ".npy", ".sms", ".exp", ".m", ".mpl", ".ipynb", ".safetensors"}


def measure(folder: Path, suffix: str, files: list[Path], most: int) -> dict[str, object]:
    """One row of the table."""
    step = max(1, -(-len(files) // most))
    chosen = files[::step]
    counts: Counter[str] = Counter()
    layouts: Counter[str] = Counter()
    first, proving, start = "", 0.0, time.process_time()
    for path in chosen:
        try:
            found = read(path, allow_large=True)
        except EncoderFileError as error:
            counts["refused"] += 1
            first = first or str(error).replace(str(folder), folder.name)[:160]
            continue
        counts["members"] += len(found.refused)
        for reading in found:
            counts[reading.verdict] += 1
            layouts[reading.layout] += 1
            proving += reading.report.seconds
    seconds = time.process_time() - start
    values = (folder.name, suffix or "(none)", len(files), len(chosen),
              "; ".join(f"{k} {v}" for k, v in layouts.items()),
              sum(layouts.values()), counts["proven"], counts["refuted"], counts["refused"], counts["members"],
              round(seconds, 2), round(proving, 2), first)  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


@app.command(epilog="Example: python -m search.benchmarks.layouts ../alphatensor ../flips")
def main(
    folders: Annotated[list[Path], typer.Argument(help="checkouts, one a source")],
    most: Annotated[int, typer.Option(help="files read of each kind")] = 100,
    out: Annotated[Path, typer.Option(help="the table")] = Path("results/layouts.csv"),
) -> None:
    """Read public files of every layout and write how many are read and proven."""
    rows = []
    for folder in folders:
        kinds: dict[str, list[Path]] = defaultdict(list)
        for path in files_under([folder]):
            if path.suffix.lower() in SUFFIXES and ".git" not in path.parts:
                kinds[path.suffix.lower()].append(path)
        for suffix, files in sorted(kinds.items()):
            row = measure(folder, suffix, files, most)
            if row["schemes"]:
                rows.append(row)
                console.print(", ".join(f"{k} {v}" for k, v in row.items() if k != "first_refusal"), markup=False)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    app()
