"""Public files read and proven, by source and layout.

Run ``python -m search.benchmarks.layouts FOLDER…`` over checkouts of public repositories, each folder one source;
writes ``results/layouts.csv``. Of a kind with more than ``--most`` files an evenly spaced sample is read. Times are
of the process, on one core: ``cpu_seconds`` of reading with detection and proof, ``proof_seconds`` of the proofs once
more and alone. Of the refuted schemes ``modulo_only`` hold modulo a prime, which their files do not say; ``unproven``
are those without the target guessed from their shapes. The last rows are the sums, and those of the integer schemes
with sides up to 8.
"""

from __future__ import annotations

import csv
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from stl_algebra import EncoderFileError, verify
from stl_algebra.layouts import read

from ..cli import console
from ..verify import files_under

app = typer.Typer(add_completion=False, rich_markup_mode=None)
COUNTS = (
    "files",
    "sampled",
    "schemes",
    "proven",
    "refuted",
    "modulo_only",
    "unproven",
    "refused_files",
    "refused_members",
)
TIMES = ("cpu_seconds", "proof_seconds")
FIELDS = ("source", "suffix", *COUNTS, *TIMES, "layouts", "first_refusal")
#: Suffixes that layouts of schemes have; a file without one may be a coefficient file.
SUFFIXES = {"", ".txt", ".json", ".npz", ".npy", ".sms", ".exp", ".m", ".mpl", ".ipynb", ".safetensors"}


def measure(folder: Path, suffix: str, files: list[Path], most: int, small: Counter[str]) -> dict[str, Any]:
    """One row of the table; integer schemes with sides up to 8 are added to ``small``."""
    step = max(1, -(-len(files) // most))
    chosen = files[::step]
    counts: Counter[str] = Counter(files=len(files), sampled=len(chosen))
    layouts: Counter[str] = Counter()
    times = dict.fromkeys(TIMES, 0.0)
    first = ""
    for path in chosen:
        start = time.process_time()
        try:
            found = read(path, allow_large=True)
        except EncoderFileError as error:
            counts["refused_files"] += 1
            first = first or str(error).replace(str(folder), folder.name)[:160]
            continue
        finally:
            times["cpu_seconds"] += time.process_time() - start
        counts["refused_members"] += len(found.refused)
        for reading in found:
            start = time.process_time()
            verify(reading.encoder)
            seconds = time.process_time() - start
            times["proof_seconds"] += seconds
            counts.update({"schemes": 1, reading.verdict: 1})
            counts["modulo_only"] += reading.verdict == "refuted" and reading.note.startswith("valid modulo")
            layouts[reading.layout] += 1
            if (
                reading.verdict == "proven"
                and reading.report.ring == "Z"
                and max(reading.encoder.target.format or (9,)) < 9
            ):
                small.update({"schemes": 1, "proven": 1, "microseconds": round(1e6 * seconds)})
    return {
        "source": folder.name, "suffix": suffix or "(none)", **{k: counts[k] for k in COUNTS},
        **{k: round(v, 3) for k, v in times.items()},
        "layouts": "; ".join(f"{k} {v}" for k, v in layouts.items()), "first_refusal": first,
    }  # fmt: skip


@app.command(epilog="Example: python -m search.benchmarks.layouts ../alphatensor ../flips")
def main(
    folders: Annotated[list[Path], typer.Argument(help="checkouts, one a source")],
    most: Annotated[int, typer.Option(help="files read of each kind")] = 100,
    out: Annotated[Path, typer.Option(help="the table")] = Path("results/layouts.csv"),
) -> None:
    """Read public files of every layout and write how many are read and proven."""
    rows: list[dict[str, Any]] = []
    small: Counter[str] = Counter()
    for folder in folders:
        kinds: dict[str, list[Path]] = defaultdict(list)
        for path in files_under([folder]):
            if path.suffix.lower() in SUFFIXES and ".git" not in path.parts:
                kinds[path.suffix.lower()].append(path)
        for suffix, files in sorted(kinds.items()):
            row = measure(folder, suffix, files, most, small)
            if row["schemes"]:
                rows.append(row)
                console.print(", ".join(f"{k} {v}" for k, v in row.items() if k != "first_refusal"), markup=False)
    sums = {k: round(sum(r[k] for r in rows), 3) for k in (*COUNTS, *TIMES)}
    seconds = round(small.pop("microseconds", 0) / 1e6, 3)
    rows += [{"source": "all"} | sums, {"source": "integer schemes, sides up to 8", **small, "proof_seconds": seconds}]
    for row in rows[-2:]:
        console.print(", ".join(f"{k} {v}" for k, v in row.items()), markup=False)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    app()
