"""Flip graphs: flips per second and time to rank, to a CSV, if wanted beside another program.

    python -m search.benchmarks.flips --quick
    python -m search.benchmarks.flips --out results/discovery/flipgraph_times.csv
    python -m search.benchmarks.flips --case 333-gf2 --other "PROGRAM --size {n} {m} {p} --rank {rank} --seed {seed}"

Every search starts from the standard algorithm (or a start grown from it), and every rank counted as found has
been verified exactly.  Times are wall and CPU seconds of one process; compilation happens before the clock starts.
``--other`` times an outside command on the same cases, seed by seed, in turn with ours (start-up included, as it is
in ours); `{ring}` is replaced by the ring's name.
"""

from __future__ import annotations

import argparse
import csv
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..flips import Schedule, Scheme, search_flips, standard, symmetric_start, walk_from

__all__ = ["CASES", "SPEED", "Case", "Row", "main", "speed", "time_to_rank"]


@dataclass(frozen=True)
class Case:
    """A rank to reach: what, over which ring, under which symmetry, within how many seconds."""

    name: str
    format: tuple[int, int, int]
    rank: int
    ring: str = "GF(2)"
    symmetry: str | None = None
    seconds: float = 60.0


@dataclass(frozen=True)
class Row:
    """One measurement, as written to the CSV."""

    what: str
    program: str
    case: str
    ring: str
    symmetry: str
    target: int
    seed: int
    rank: int
    found: bool
    wall_seconds: float
    cpu_seconds: float
    flips: int
    flips_per_cpu_second: float
    machine: str


CASES = tuple(
    Case(f"{''.join(map(str, fmt))}-{'z' if ring == 'Z' else 'gf2'}{tag}", fmt, rank, ring, symmetry, seconds)
    for fmt, rank, ring, symmetry, tag, seconds in (
        ((2, 2, 2), 7, "Z", None, "", 20), ((2, 2, 3), 11, "Z", None, "", 20), ((2, 2, 4), 14, "Z", None, "", 20),
        ((2, 3, 3), 15, "Z", None, "", 20), ((2, 3, 4), 20, "Z", None, "", 60), ((3, 3, 3), 23, "GF(2)", None, "", 20),
        ((3, 3, 3), 23, "Z", None, "", 20), ((3, 3, 3), 23, "Z", "C3", "-c3", 20),
        ((3, 3, 4), 29, "GF(2)", None, "", 60), ((3, 3, 4), 29, "Z", None, "", 120),
        ((3, 4, 4), 38, "GF(2)", None, "", 120), ((2, 5, 5), 40, "GF(2)", None, "", 120),
        ((3, 3, 5), 36, "GF(2)", None, "", 120), ((4, 4, 4), 49, "Z", "C3", "-c3", 120),
        ((4, 4, 4), 47, "GF(2)", None, "", 300), ((5, 5, 5), 97, "GF(2)", "C3xZ2", "-c3z2", 120),
        ((5, 5, 5), 93, "GF(2)", "C3", "-c3", 600),
    )
)  # fmt: skip

#: Starts on which the bare flip rate is measured (with plus transitions, no target).
SPEED: tuple[tuple[str, Scheme], ...] = tuple(
    (f"{s.format[0]}{s.format[1]}{s.format[2]}", s)
    for s in (
        standard((3, 3, 3)), standard((4, 4, 4)), standard((5, 5, 5)), standard((3, 3, 3), "Z"),
        standard((4, 4, 4), "Z"), symmetric_start(4, "GF(2)", "C3", 2), symmetric_start(5, "GF(2)", "C3", 3),
        symmetric_start(5, "GF(2)", "C3xZ2", 3), symmetric_start(6, "GF(2)", "C3xZ2", 3),
    )
)  # fmt: skip


def _machine() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    import numba

    return f"{name}; Python {platform.python_version()}; numba {numba.__version__}"


def speed(name: str, start: Scheme, seed: int, flips: int = 10_000_000) -> Row:
    """Flip rate of a long walk that is not allowed to end."""
    wall, cpu = time.perf_counter(), time.process_time()
    found, done = walk_from(start, 0, Schedule(flips=flips, plus_after=50_000, plus_diff=2), [seed])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Row("speed", "stl", name, start.ring, start.symmetry or "none", 0, seed, found.rank, found.exact(),
               round(wall, 4), round(cpu, 4), done, round(done / max(cpu, 1e-9)), _machine())  # fmt: skip


def time_to_rank(case: Case, seed: int) -> Row:
    """One search for one rank."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = search_flips(case.format, case.ring, case.symmetry, case.rank, case.seconds, seed)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Row("time to rank", "stl", case.name, case.ring, case.symmetry or "none", case.rank, seed, result.rank,
               result.found, round(wall, 4), round(cpu, 4), result.flips, round(result.flips / max(cpu, 1e-9)),
               _machine())  # fmt: skip


def other_program(template: str, case: Case, seed: int) -> Row:
    """Time an outside command; its exit status 0 counts as success."""
    import resource

    n, m, p = case.format
    command = template.format(n=n, m=m, p=p, rank=case.rank, ring=case.ring, seed=seed + 1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, timeout=case.seconds, check=False)
        found = done.returncode == 0
    except subprocess.TimeoutExpired:
        found = False
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return Row("time to rank", "other", case.name, case.ring, case.symmetry or "none", case.rank, seed,
               case.rank if found else 0, found, round(wall, 4), round(cpu, 4), 0, 0, _machine())  # fmt: skip


def _report(rows: Sequence[Row]) -> None:
    for key in dict.fromkeys((r.what, r.case, r.ring, r.symmetry, r.program) for r in rows):
        group = [r for r in rows if (r.what, r.case, r.ring, r.symmetry, r.program) == key]
        cpu = statistics.median(r.cpu_seconds for r in group)
        if key[0] == "speed":
            rate = statistics.median(r.flips_per_cpu_second for r in group)
            print(f"{key[1]:12s} {key[2]:6s} {key[3]:6s} {rate / 1e6:6.1f} million flips per CPU second")
        else:
            wins = sum(r.found for r in group)
            wall = statistics.median(r.wall_seconds for r in group)
            print(f"{key[4]:6s} {key[1]:14s} rank {group[0].target:3d}: {wins}/{len(group)} found, "
                  f"median {cpu:.3f} s CPU, {wall:.3f} s wall")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=[c.name for c in CASES], help="only these (repeatable)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds per case (default 5)")
    parser.add_argument("--quick", action="store_true", help="one seed, cases of at most 27 products")
    parser.add_argument("--no-speed", action="store_true", help="leave out the flip rates")
    parser.add_argument("--other", help="command template of another program to time in turn")
    parser.add_argument("--out", type=Path, help="CSV to write")
    options = parser.parse_args(argv)
    seeds = 1 if options.quick else options.seeds
    search_flips((2, 2, 2), target_rank=7, seconds=300)  # compile
    rows: list[Row] = []
    for row in _measure(options, seeds):
        rows.append(row)
        line = f"{row.program:6s} {row.case:12s} seed {row.seed}: rank {row.rank}, {row.cpu_seconds:.3f} s CPU"
        print(line, flush=True)
        if options.out:  # rewritten as it grows: an interrupted run keeps what it has
            _write(options.out, rows)
    _report(rows)
    return 0 if all(r.found for r in rows if r.program == "stl") else 1


def _measure(options: argparse.Namespace, seeds: int) -> Iterator[Row]:
    if not options.no_speed:
        for name, start in SPEED:
            yield from (speed(name, start, seed) for seed in range(min(seeds, 3)))
    for case in CASES:
        n, m, p = case.format
        if (options.case and case.name not in options.case) or (options.quick and n * m * p > 27):
            continue
        for seed in range(seeds):
            yield time_to_rank(case, seed)
            if options.other:
                yield other_program(options.other, case, seed)


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(r) for r in rows)


if __name__ == "__main__":
    sys.exit(main())
