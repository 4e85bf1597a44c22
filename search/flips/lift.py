"""From schemes over GF(2) to encoders: lift, prove, keep the one with the smallest coefficients.

    python -m search.flips.lift found.npz --out results

A scheme that does not lift is walked on at its rank (or below, should it reduce) and tried again: liftable and
obstructed schemes lie side by side in the flip graph. A symmetric scheme is lifted within its symmetry first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search.exact.hensel import HenselReport, hensel_lift
from search.flips.campaign import load_schemes
from search.flips.pools import wandered
from search.flips.scheme import Scheme
from stl_algebra import Encoder, StlError
from stl_algebra.known import best_rank
from stl_algebra.targets import matmul

__all__ = ["lifted", "main", "simplest"]

#: Above this many unknowns a lift without symmetry takes longer than it is worth.
LARGEST = 9_000


def _tried(scheme: Scheme, seed: int, seconds: float) -> HenselReport:
    factors = scheme.factors()
    target = matmul(*scheme.format).dense(np.int64)
    ties = scheme.ties()
    if ties is not None:
        report = hensel_lift(target, *factors, seed=seed, seconds=seconds, ties=ties)
        if report.success or sum(f.size for f in factors) > LARGEST:
            return report
    return hensel_lift(target, *factors, seed=seed, seconds=seconds)


def lifted(scheme: Scheme, origin: dict[str, Any], seed: int = 0, seconds: float = 20.0) -> Encoder:
    """The scheme as an exact encoder over Z or Q (as it is, if its ring is Z).

    Raises
    ------
    StlError
        If no lift was found; the message says at which bit it is obstructed.
    """
    target = matmul(*scheme.format)
    if scheme.ring == "Z":
        return Encoder.build(target, *scheme.factors(), ring="Z", origin=origin)
    report = _tried(scheme, seed, seconds)
    if not report.success:
        raise StlError("scheme", scheme.rank, "a scheme over GF(2) that lifts", f"{report.reason}.")
    return Encoder.build(target, report.e_x, report.e_w, (report.d, report.den), ring=report.ring, origin=origin)


def _size(encoder: Encoder) -> tuple[int, int, int, int]:
    """Order of preference: rank, denominator, largest coefficient, non-zeros."""
    factors = encoder.factors
    return (
        encoder.rank, max(f.den for f in factors),
        max(int(abs(np.asarray(f.num)).max()) for f in factors), sum(int(np.count_nonzero(f.num)) for f in factors),
    )  # fmt: skip


def simplest(
    schemes: Iterable[Scheme], origin: dict[str, Any], seconds: float = 60.0, tries: int = 12, seed: int = 0,
    flips: int = 300_000, enough: int | None = None,
) -> Encoder:
    """The lift with the smallest coefficients among `tries` schemes: the given ones, then walks from them.

    Parameters
    ----------
    schemes : iterable of Scheme
        All of one format and rank.
    origin : dict
        Becomes the encoder's origin, with the number of the try added if it is a walked one.
    seconds : float
        No new try begins after this.
    tries, seed : int
    flips : int
        Length of the walk at constant rank to the next try.
    enough : int, optional
        Stop after this many lifts.

    Raises
    ------
    StlError
        If none of them lifts; the message is that of the last try.
    """
    given = list(schemes)
    best: Encoder | None = None
    lifts = 0
    failure: StlError | None = None
    end = time.monotonic() + seconds
    for k in range(tries):
        if k and time.monotonic() > end:
            break
        scheme = given[k % len(given)]
        about = dict(origin)
        if k >= len(given):
            scheme = wandered(scheme, flips * (1 + k // len(given)), (seed, k))
            about["wandered"] = {"flips": flips * (1 + k // len(given)), "seed": [seed, k]}
        try:
            encoder = lifted(scheme, about, seed)
        except StlError as error:
            failure = error
            continue
        lifts += 1
        if best is None or _size(encoder) < _size(best):
            best = encoder
        if lifts == enough:
            break
    if best is None:
        raise failure or StlError("schemes", 0, "at least one scheme")
    return best


def main(argv: Sequence[str] | None = None) -> None:
    """Lift the best schemes of every format in a file; those within `--slack` of the best known rank are filed."""
    from search.catalog import Catalogue

    parser = argparse.ArgumentParser(description="Lift what a flip-graph campaign found.")
    parser.add_argument("file", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="results folder whose catalogue takes the encoders")
    parser.add_argument("--slack", type=int, default=0, help="ranks above the best known that are still filed")
    parser.add_argument("--only", metavar="FORMAT", help="one format, e.g. 4x4x5")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each format")
    parser.add_argument("--tries", type=int, default=12)
    options = parser.parse_args(argv)
    found = [pair for file in options.file for pair in load_schemes(file)]
    for fmt in sorted({s.format for s, _ in found}):
        if options.only not in (None, "x".join(map(str, fmt))):
            continue
        rank = min(s.rank for s, _ in found if s.format == fmt)
        known = best_rank(fmt)
        if known is not None and rank > known + options.slack:
            print(f"{fmt}: rank {rank}, best known {known}")
            continue
        chosen = [(s, job) for s, job in found if (s.format, s.rank) == (fmt, rank)]
        job = chosen[0][1]
        origin = {
            "family": "flip-graph", "from": "scratch", "group": chosen[0][0].symmetry or "none",
            "walk": chosen[0][0].ring, "job": job,
        }  # fmt: skip
        try:
            encoder = simplest((s for s, j in chosen if j == job), origin, options.seconds, options.tries)
        except StlError as error:
            print(f"{fmt}: rank {rank} over GF(2); {error}")
            continue
        file = ""
        if options.out is not None:
            catalogue = Catalogue(options.out)
            file = catalogue.add(encoder, always=True)[0].file
            catalogue.write_index()
        _, denominator, largest, entries = _size(encoder)
        print(f"{encoder!r} {entries} non-zeros up to {largest}/{denominator} {file}", flush=True)


if __name__ == "__main__":
    main()
