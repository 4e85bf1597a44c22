"""From the solutions of a campaign to exact encoders in the catalogue.

    python -m search.lm.harvest found.npz --results results --seconds 60

Each numerical solution is rationalised, proven, and written with the row of the campaign that found it as its origin;
solutions that resist are counted with the reason, and can be kept as numerical encoders.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search.catalog import Catalogue
from stl_algebra import Encoder, __version__
from stl_algebra.errors import EncoderFileError, StlError
from stl_algebra.files import load
from stl_algebra.targets import matmul

from .starts import parents_of

__all__ = ["as_it_stands", "harvest", "main", "origin_of"]


def origin_of(row: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The origin of an encoder that a campaign found: its row without the statistics."""
    start = json.loads(row["start"]) if row.get("start") else {}
    return {
        "family": "orbit-lm", "group": row["group"], "counts": row["counts"], "types": row["types"],
        "field": row["field"], "iterations": row["iterations"], "restarts": row["restarts"],
        "schedule": row["schedule"], "start": start, "seed": row["seed"], "device": row["device"],
        "from": _roots(parents_of(start)), "version": __version__, **more,
    }


def _roots(files: Sequence[str]) -> str | list[str]:
    """"scratch" if all the files' encoders are from scratch; else the files."""
    for file in files:
        try:
            if load(file).origin.get("from") != "scratch":
                return list(files)
        except EncoderFileError:
            return list(files)
    return "scratch"


def as_it_stands(target: Any, factors: Sequence[Any], largest: int = 8, tolerance: float = 1e-7) -> Encoder | None:
    """The exact encoder of a solution whose terms are rational up to scale in the basis it was found in.

    The vectors of E_X and E_W, divided by their largest entries, are read as fractions with denominators up to
    `largest`; D follows by solving the Brent equations over Q.  Solutions under large monomial groups are often of
    this kind (⟨3,3,6;40⟩ has coefficients −1, 0, 1 in the basis of its group), and no change of basis is needed.

    Parameters
    ----------
    target : Target
    factors : (e_x, e_w, d)
        Real numerical factors.

    Returns
    -------
    Encoder or None
        None when an entry is no such fraction, or the result fails the proof.
    """
    from search.exact.solve import ring_of, third_factor

    whole = []
    for f in (np.asarray(x) for x in factors[:2]):
        unit = f / np.take_along_axis(f, np.abs(f).argmax(1)[:, None], axis=1)
        grids = np.stack([np.abs(unit * q - np.rint(unit * q)).max(1) for q in range(1, largest + 1)])
        fits = grids < tolerance * largest
        if not fits.any(0).all():
            return None
        whole.append(np.rint(unit * (fits.argmax(0) + 1)[:, None]).astype(np.int64))
    solved = third_factor(target.dense(np.int64), *whole)
    if solved is None:
        return None
    encoder = Encoder.build(target, whole[0], whole[1], solved, ring=ring_of(solved[1]))
    return encoder if encoder.is_exact else None


def harvest(
    found: dict[str, Any], seconds: float = 60.0, ring: str = "Q(sqrt)", most: int = 4, only: str = ""
) -> Iterator[tuple[str, int, Encoder | None, str]]:
    """Rationalise the solutions of each key until one is exact.

    Parameters
    ----------
    found : mapping
        ``KEY.e_x``, ``KEY.e_w``, ``KEY.d`` with a leading axis of solutions; ``KEY.row``, the campaign's row as JSON.
    seconds : float
        Time for each solution.
    ring : str
        Largest ring accepted.
    most : int
        Most solutions tried for each key.
    only : str
        Keys that do not start with this are passed over.

    Yields
    ------
    (key, tried, encoder or None, reason)
    """
    from search.exact import rationalise

    for name in sorted(found):
        key, _, part = name.rpartition(".")
        if part != "row" or not key.startswith(only):
            continue
        row = json.loads(str(found[name]))
        target = matmul(*(int(x) for x in row["format"].split("x")))
        stacks = [found[f"{key}.{f}"] for f in ("e_x", "e_w", "d")]
        encoder, reason, tried = None, "complex factors are not rationalised", 0
        for e_x, e_w, d in list(zip(*stacks, strict=True))[: 0 if np.iscomplexobj(stacks[0]) else most]:
            tried += 1
            encoder = as_it_stands(target, (e_x, e_w, d))
            if encoder is not None:
                encoder = encoder.with_origin(**origin_of(row, stage="rationalised"))
                break
            report = rationalise(
                target.dense(), e_x, e_w, d, symmetry="Z3" if row["group"] == "Z3" else None, ring=ring,
                seed=int(row["seed"]), seconds=seconds,
            )
            reason = report.reason
            if not report.success:
                continue
            try:
                encoder = Encoder.build(
                    target, report.e_x, report.e_w, (report.d, report.den), ring=report.ring,
                    origin=origin_of(row, stage="rationalised"),
                )
            except StlError as error:
                reason = str(error)
                continue
            if encoder.is_exact:
                break
            encoder, reason = None, "the rationalised factors failed the proof"
        yield key, tried, encoder, reason


def main(argv: list[str] | None = None) -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Make a campaign's solutions exact and file them.")
    parser.add_argument("solutions", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"), help="catalogue folder")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each solution")
    parser.add_argument("--ring", default="Q(sqrt)")
    parser.add_argument("--most", type=int, default=4, help="solutions tried per row of the campaign")
    parser.add_argument("--only", default="", help="only keys that start with this, for instance 3x4x5")
    parser.add_argument("--always", action="store_true", help="file encoders even if better ones are known")
    parser.add_argument("--numerical", action="store_true", help="keep the first solution as it is if none gets exact")
    options = parser.parse_args(argv)
    catalogue = Catalogue(options.results)
    with np.load(options.solutions) as file:
        found = {name: file[name] for name in file.files}
    for key, tried, encoder, reason in harvest(found, options.seconds, options.ring, options.most, options.only):
        if encoder is None and options.numerical:
            row = json.loads(str(found[f"{key}.row"]))
            e_x, e_w, d = (found[f"{key}.{f}"][0] for f in ("e_x", "e_w", "d"))
            encoder = Encoder.build(
                matmul(*(int(x) for x in row["format"].split("x"))), e_x, e_w, d,
                ring="C128" if np.iscomplexobj(e_x) else "R64", origin=origin_of(row, stage="polished", reason=reason),
            )
        if encoder is None:
            print(f"{key}: {tried} tried, none exact: {reason}", flush=True)
            continue
        entry, _ = catalogue.add(encoder, always=options.always)
        print(f"{key}: {encoder!r} after {tried} tried, {entry.file or 'no better than what is filed'}", flush=True)
        catalogue.write_index()


if __name__ == "__main__":
    main()
