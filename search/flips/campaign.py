"""Flip-graph campaigns: many searches described as data, run side by side, their schemes kept in one small file.

    python -m search.flips.campaign results/discovery/plans/flips1.json --seconds 220 --workers 12 --out found.npz
    python -m search.flips.lift found.npz --out results

The first command needs numpy and numba only; the second lifts, proves and files what was found.

A *plan* is a JSON list of jobs. A job with ``"format": "6x6x6"`` is one search: its keys ``ring``, ``symmetry``,
``cubes``, ``target``, ``start``, ``seed`` go to `search_flips`, and ``flips``, ``plus_after``, ``plus_diff``,
``longest``, ``pool``, ``patience`` make its `Schedule`. A job with ``"upto": "4x5x5"`` searches all formats from
``"least"`` to that one at once (`search.flips.pools.Pools`), none below the best rank of characteristic 0 if it
says ``"liftable": true``, beginning with the schemes of a file if it has ``"schemes": "FILE"``. ``"copies": k``
repeats a job with seeds seed, …, seed + k − 1.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from search.flips.explore import search_flips
from search.flips.pools import SHORT, Pools, all_formats
from search.flips.scheme import Scheme
from search.flips.walk import Schedule
from stl_algebra.errors import StlError
from stl_algebra.known import best_rank

__all__ = ["expand", "load_schemes", "main", "run_job", "save_schemes"]

Job = Mapping[str, Any]
#: Schemes of lowest rank a job hands back for each format.
KEEP = 6
_WALK = {f.name for f in fields(Schedule)}
_SEARCH = {"format", "ring", "symmetry", "cubes", "target", "start", "seed"}
_META = {"upto", "least", "ring", "liftable", "schemes", "seed", "size"}


def _format(text: str) -> tuple[int, int, int]:
    parts = str(text).split("x")
    if len(parts) != 3 or not all(p.isdecimal() for p in parts):
        raise StlError("format", text, "three sizes like 4x4x5")
    return int(parts[0]), int(parts[1]), int(parts[2])


def expand(plan: Sequence[Job]) -> Iterator[Job]:
    """Check a plan and repeat its jobs as they say.

    Raises
    ------
    StlError
        For a key that no job of its kind has.
    """
    for job in plan:
        known = (_META if "upto" in job else _SEARCH) | _WALK | {"copies"}
        unknown = set(job) - known
        if unknown:
            raise StlError("plan", sorted(unknown), f"keys among {sorted(known)}")
        for k in range(int(job.get("copies", 1))):
            yield {**job, "seed": int(job.get("seed", 0)) + k}


def run_job(job: Job, seconds: float) -> tuple[list[Scheme], int]:
    """Run one job; its schemes of lowest rank (per format) and the flips made."""
    plan = {k: v for k, v in job.items() if k in _WALK}
    if "upto" in job:
        formats = all_formats(int(job.get("least", 2)), _format(job["upto"]))
        floors = {f: best_rank(f) or 0 for f in formats} if job.get("liftable") else {}
        if (4, 4, 4) in floors:
            floors[4, 4, 4] = 49  # 48 needs ½, so over GF(2) there is no such scheme to lift
        schedule = Schedule(**{**{f.name: getattr(SHORT, f.name) for f in fields(Schedule)}, **plan})
        pools = Pools(formats, job.get("ring", "GF(2)"), floors, int(job.get("size", 24)), job["seed"], schedule)
        for scheme, _ in load_schemes(job["schemes"]) if "schemes" in job else []:
            if _fits(scheme, pools, floors):
                pools.add(scheme)
        pools.run(seconds)
        return [s for pool in pools.pools.values() for s in pool[-KEEP:]], pools.flips
    cubes = job.get("cubes")
    result = search_flips(
        _format(job["format"]), job.get("ring", "GF(2)"), job.get("symmetry"), job.get("target"), seconds,
        job["seed"], schedule=Schedule(**plan) if plan else None, start=job.get("start"),
        cubes=cubes if cubes is None or isinstance(cubes, int) else np.array(cubes),
    )  # fmt: skip
    return result.pool[-KEEP:], result.flips


def _fits(scheme: Scheme, pools: Pools, floors: Mapping[tuple[int, int, int], int]) -> bool:
    a, b, c = sorted(scheme.format)
    return (a, b, c) in pools.pools and scheme.symmetry is None and scheme.rank >= floors.get((a, b, c), 0)


def save_schemes(path: Path | str, found: Sequence[tuple[Scheme, Job]]) -> None:
    """Write schemes and the jobs they come from as one compressed ``.npz`` (packed words, no pickle)."""
    arrays: dict[str, Any] = {}
    rows = []
    for i, (scheme, job) in enumerate(found):
        arrays[f"terms{i}"], arrays[f"signs{i}"] = scheme.terms, scheme.signs.astype(np.int8)
        arrays[f"cubes{i}"] = scheme.cubes
        rows.append({"format": scheme.format, "ring": scheme.ring, "symmetry": scheme.symmetry, "job": dict(job)})
    path = Path(path)
    part = path.with_name(path.name + ".part.npz")
    np.savez_compressed(part, about=np.array(json.dumps(rows)), **arrays)
    os.replace(part, path)


def load_schemes(path: Path | str) -> list[tuple[Scheme, dict[str, Any]]]:
    """Read what `save_schemes` wrote; every scheme is checked to be exact over its ring.

    Raises
    ------
    StlError
        If a scheme is not.
    """
    found = []
    with np.load(path, allow_pickle=False) as data:
        for i, row in enumerate(json.loads(str(data["about"]))):
            n, m, p = row["format"]
            scheme = Scheme((n, m, p), row["ring"], row["symmetry"], data[f"terms{i}"],
                            data[f"signs{i}"].astype(np.int64), data[f"cubes{i}"])  # fmt: skip
            if not scheme.exact():
                raise StlError("file", f"{path}: scheme {i}", "exact schemes")
            found.append((scheme, row["job"]))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run a plan; prints one line per job, as it ends."""
    parser = argparse.ArgumentParser(description="Run a plan of flip-graph searches.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each job")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="added to the seed of every job")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    jobs = [{**job, "seed": job["seed"] + options.seed} for job in expand(json.loads(options.plan.read_text()))]
    found: list[tuple[Scheme, Job]] = []
    begin = time.monotonic()
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run_job, job, options.seconds): job for job in jobs}
        for done in as_completed(running):
            job = running[done]
            schemes, flips = done.result()
            found += [(s, job) for s in schemes]
            best = {"x".join(map(str, s.format)): s.rank for s in sorted(schemes, key=lambda s: (s.format, -s.rank))}
            spent = f"{time.monotonic() - begin:6.0f} s {flips:.1e} flips"
            print(spent, json.dumps(job), json.dumps(best), flush=True)
            save_schemes(options.out, found)


if __name__ == "__main__":
    main()
