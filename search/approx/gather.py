"""Ends of searches made elsewhere, brought into a catalogue: the best of every rank with all they began from.

Example: ``python -m search.approx.gather FOLDER … --out results``

A file is offered if its total error in bf16 is below that of what the catalogue has of its format and rank; ε² and κ²
are recomputed by the dense contraction of :func:`search.approx.results.dense_scores` first, and have to agree with the
encoder's own. With it come, recursively, the encoders its unit names under ``from``, so that the command in its origin
can be repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stl_algebra import Encoder, StlError, load
from stl_algebra.scores import epsilon2, kappa2

from ..core.catalogue import Catalogue
from .objective import BF16
from .results import dense_scores, format_of

__all__ = ["gather", "named_in"]


def named_in(expression: Any) -> list[str]:
    """Names of the encoders in the ``from`` of a unit.

    Examples
    --------
    >>> named_in(["a", {"kron": ["b", {"rotate": "c"}]}])
    ['a', 'b', 'c']
    """
    if isinstance(expression, str):
        return [expression]
    if isinstance(expression, dict):
        return [n for key, value in expression.items() if key != "axis" for n in named_in(value)]
    return [n for part in expression or () for n in named_in(part)]


def checked(encoder: Encoder) -> float:
    """Total error in bf16 by the dense contraction.

    Raises
    ------
    StlError
        If that contraction and the library's closed form disagree.
    """
    found, claimed = dense_scores(encoder), (epsilon2(encoder), kappa2(encoder))
    if any(abs(a - b) > 1e-9 * max(1.0, abs(b)) for a, b in zip(found, claimed, strict=True)):
        raise StlError("encoder", encoder.label, f"scores {claimed}, not {found}", "Do not use the file.")
    return found[0] + BF16 * found[1]


def gather(folders: Iterable[Path], catalogue: Catalogue, least: float = 1e-4) -> list[str]:
    """Add what is better by a share `least`; names of the files added, parents included."""
    here = {path.stem: path for folder in folders for path in sorted(folder.rglob("*.safetensors"))}
    held: dict[tuple[str, int], float] = {}
    for row in catalogue.rows:
        if row.total_bf16 == row.total_bf16 and not row.is_complex:
            key = (row.target, row.rank)
            held[key] = min(held.get(key, float("inf")), row.total_bf16)
    best: dict[tuple[str, int], tuple[float, str]] = {}
    for stem, path in here.items():
        encoder = load(path)
        if format_of(encoder) is None:
            continue
        key, total = (encoder.target.name, encoder.rank), checked(encoder)
        if total < min(held.get(key, float("inf")) * (1 - least), best.get(key, (float("inf"),))[0]):
            best[key] = (total, stem)
    added, wanted = [], [stem for _, stem in best.values()]
    known = {Path(row.file).stem for row in catalogue.rows}
    while wanted:
        stem = wanted.pop()
        if stem in known or stem not in here:
            continue
        known.add(stem)
        encoder = load(here[stem])
        catalogue.add(encoder, always=True)
        added.append(stem)
        unit: Any = encoder.origin.get("unit") or {}
        wanted += named_in(unit.get("parameters", {}).get("from"))
    return sorted(added)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of encoder files, searched below too")
    parser.add_argument("--out", type=Path, default=Path("results"), help="results folder that takes them")
    options = parser.parse_args(arguments)
    try:
        for folder in options.folders:
            if not folder.is_dir():
                raise StlError("folders", str(folder), "a folder of encoder files")
        catalogue = Catalogue(options.out)
        added = gather(options.folders, catalogue)
        catalogue.write_index()
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join([*added, f"{len(added)} files added"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
