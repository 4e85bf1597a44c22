"""Mutate everything that is read besides encoder files: plans, units, tables, the index, ledgers, words of a command.

``python -m tests.fuzz_inputs --count 10000`` writes results/runs/fuzz.csv: what was read, what was refused in one line.
Any other exception, a refusal of several lines, or more than two seconds is a fault. Differential checks: what is read
as a plan is written and read again as the same plan; an index, whatever it says, changes no row; a ledger that opens
gives as many rows as it counts.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from search import plans as table
from search.cli import parse_settings
from search.core import plans, tables
from search.core.catalogue import Catalogue
from search.core.ledger import Ledger
from search.core.runner import Task
from search.core.unit import RINGS, Request, Unit, families, families_of, parse_format
from search.core.work import Outcome
from stl_algebra import StlError
from stl_algebra.groups.names import group
from stl_algebra.schemes import strassen, winograd
from tests.fuzz_files import SECONDS, mutate_bytes, mutate_tokens, mutate_value

UNITS = [
    Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"1:<a>:+": 4, "3": 1}, "restarts": 24}, 0, "Z"),
    Unit("flips", "none", (2, 2, 2), 7, {"start": {"file": "x.safetensors"}, "tries": 3}, 5, "GF(2)"),
    Unit(
        "orbit",
        "none",
        (2, 2, 3),
        11,
        {"start": {"kind": "built", "from": {"sum": [{"naive": "2x2x1"}, {"naive": "2x2x2"}]}}},
    ),
]
WORDS = ["Z3", "S4", "D4*C2", "c:(12)(34)", "Z3*d:2+1", "E32/13", "SmallGroup(8,3)", "GL(3,2)", "mono:1-2", "p:3",
         "none", "cyclic", "2x2x2", "3,3,3", "restarts=96", "all<=16", "Z_2^3", "Sym(4)", "<(1,2,3),(1,2)>",
         "Dih(8)"]  # fmt: skip
Judge = Callable[[Path, random.Random], str]
KINDS: dict[str, Judge] = {}


def kind(function: Judge) -> Judge:
    """Register an input; it returns "read" or "refused" or raises."""
    KINDS[function.__name__] = function
    return function


def changed(text: str, rng: random.Random) -> bytes:
    """A damaged version: of its JSON in its right place, of its tokens, or of its bytes."""
    how = rng.random()
    if how < 0.4:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        try:
            lines[at] = json.dumps(mutate_value(json.loads(lines[at]), rng))
            return "\n".join(lines).encode()
        except (ValueError, RecursionError):
            pass
    return mutate_tokens(text, rng).encode() if how < 0.75 else mutate_bytes(text.encode(), rng)


@kind
def plan(folder: Path, rng: random.Random) -> str:
    path = folder / "plan.jsonl"
    plans.write([Task(u, f"u{i}", 5.0, "why") for i, u in enumerate(UNITS)], path, "a remark")
    path.write_bytes(changed(path.read_text(), rng))
    tasks = plans.read(path)
    plans.write(tasks, folder / "again.jsonl")
    assert [(t.unit, t.name, t.seconds) for t in plans.read(folder / "again.jsonl")] == [
        (t.unit, t.name, t.seconds) for t in tasks
    ]
    return "read"


@kind
def unit(folder: Path, rng: random.Random) -> str:
    made = Unit.parse(mutate_value(rng.choice(UNITS).plain(), rng))
    assert Unit.parse(json.loads(json.dumps(made.plain()))) == made and len(made.key) == 20
    return "read"


@kind
def index(folder: Path, rng: random.Random) -> str:
    catalogue = Catalogue(folder / "catalogue")
    if not catalogue.rows:
        catalogue.add(winograd())
        catalogue.add(strassen())
    catalogue.write_index()
    right = [r.file for r in catalogue.rows], [r.kappa2 for r in catalogue.rows]
    path = catalogue.index
    path.write_bytes(changed(path.read_text(), rng))
    told = Catalogue(folder / "catalogue").rows
    assert ([r.file for r in told], [r.kappa2 for r in told]) == right
    return "read"


@kind
def results(folder: Path, rng: random.Random) -> str:
    """A table of results that a run merges its rows into."""
    path = folder / "table.csv"
    path.unlink(missing_ok=True)
    row = dict.fromkeys(table.COLUMNS, "") | {"name": "a", "device": "cpu", "found": True, "seconds": 1.5}
    table.record([row, {**row, "name": "b"}], path, ["a", "b"])
    path.write_bytes(changed(path.read_text(), rng))
    table.record([row], path, ["a", "b"])
    assert "a cpu" in {f"{r['name']} {r['device']}" for r in tables.read(path, ("name", "device"))}
    return "read"


@kind
def ledger(folder: Path, rng: random.Random) -> str:
    path = folder / "ledger.sqlite"
    for old in folder.glob("ledger.sqlite*"):
        old.unlink()
    with Ledger(path) as fresh:
        for u in UNITS:
            fresh.record(Outcome(u, statistics={"restarts": 3}))
    path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    with Ledger(path) as damaged, Ledger(folder / "other.sqlite") as other:
        rows = list(damaged.rows())
        assert len(rows) == len(damaged) == sum(damaged.counts().values())
        damaged.export(folder / "rows.csv")
        other.merge(damaged)
    return "read"


@kind
def words(folder: Path, rng: random.Random) -> str:
    """Groups, formats and settings as a command line gives them."""
    word = changed(rng.choice(WORDS), rng).decode(errors="replace")
    outcome = "refused"
    asked = {"group": word, "rank": rng.choice((None, 7)), "ring": rng.choice((None, *RINGS))}
    for reader in (parse_format, lambda w: parse_settings([w]), lambda w: families_of(Request(**asked)), group):
        try:
            reader(word)
        except StlError as error:
            said(error)
        else:
            outcome = "read"
    return outcome


def said(error: StlError) -> None:
    """A refusal is one line of bounded length."""
    assert "\n" not in str(error) and len(str(error)) < 2000, str(error)


def fuzz(count: int, seed: int, folder: Path) -> Counter[tuple[str, str]]:
    """Outcomes of ``count`` mutations, by kind of input."""
    rng = random.Random(seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    families()  # importing them is no reader's time
    for number in range(count):
        name = list(KINDS)[number % len(KINDS)]
        state = rng.getstate()
        begin = time.process_time()
        try:
            outcome = KINDS[name](folder, rng)
        except StlError as error:
            said(error)
            outcome = "refused"
        except Exception as error:
            raise AssertionError(f"{name} {number} of seed {seed}: {type(error).__name__}: {error}") from error
        took = time.process_time() - begin
        assert took < SECONDS, f"{name} {number} of seed {seed}: {took:.1f} s (state {state[1][-1]})"
        outcomes[name, outcome] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/runs/fuzz.csv"))
    options = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = fuzz(options.count, options.seed, Path(folder))
    rows = [{"input": name, "inputs": sum(v for (n, _), v in outcomes.items() if n == name),
             "read": outcomes[name, "read"], "refused": outcomes[name, "refused"], "seed": options.seed}
            for name in KINDS]  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tables.write(options.out, list(rows[0]), rows)
    for row in rows:
        print(row)
    print(f"{options.count} inputs in {time.perf_counter() - begin:.0f} s, no other outcome")


if __name__ == "__main__":
    sys.exit(main())
