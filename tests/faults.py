"""Inject faults into real runs, over and over, and count what was survived.

``python -m tests.faults --rounds 200 --jobs 8`` writes one row a fault to results/runs/faults.csv. Every round works in
a folder of its own: a plan of small units is run by the command a user types, a fault hits it at a random moment, the
same command is given again, and then

- the ledger is whole, every unit of the plan is settled, and none that was done before was done again;
- every file loads and proves, and each kind's best encoder is the one an undisturbed run keeps;
- no process outlives its parent, no unfinished file is left in the end, and no command ended in a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from search.core import plans, runner, tables
from search.core.catalogue import Catalogue
from search.core.executors import make_slots
from search.core.ledger import Ledger
from search.core.runner import Task, run
from search.core.unit import Unit
from search.core.work import Outcome, work
from stl_algebra import load

ROOT = Path(__file__).parents[1]
OUT = Path("results/runs/faults.csv")
FOUND = [
    Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"1:<a>:+": 4, "3": 1}, "restarts": 24}, s, "Z") for s in range(8)
]
LOST = [
    Unit("orbit", "Z3", (3, 3, 3), 22, {"counts": {"1:<a>:+": 1, "3": 7}, "restarts": 16}, s, "Z") for s in range(8)
]
UNITS = [u for pair in zip(FOUND, LOST, strict=True) for u in pair] + [Unit("simplex", "none", (2, 2, 2), 7)]
FAULTS: dict[str, Callable[[random.Random, Path], None]] = {}


def fault(function: Callable[[random.Random, Path], None]) -> Callable[[random.Random, Path], None]:
    """Register a fault under its name."""
    FAULTS[function.__name__] = function
    return function


# ------------------------------------------------------------------ what is run
def start(out: Path, *words: str, workers: int = 2) -> subprocess.Popen[str]:
    """The command of a user, in a session of its own."""
    command = [sys.executable, "-m", "search.plans", "run", os.environ["STL_FAULTS_PLAN"], "--out", str(out),
               "--workers", str(workers), "--json", *words]  # fmt: skip
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)


def ended(process: subprocess.Popen[str], *codes: int) -> str:
    """Standard error of a command that has to end with one of these codes, without a traceback."""
    _, said = process.communicate(timeout=300)
    assert "Traceback" not in said and process.returncode in codes, (process.returncode, said[-2000:])
    said = said.split("multiprocessing/resource_tracker.py")[0]  # Python's own helper complains about killed parents
    assert len(said.strip().splitlines()) <= 1, said
    return said


def family_of(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == session and words[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def done_in(out: Path) -> dict[str, tuple[str, str]]:
    """Finished units with the moment and the files, from a ledger somebody may be writing to."""
    if not (out / "ledger.sqlite").exists():
        return {}
    with Ledger(out / "ledger.sqlite", create=False) as ledger:
        return {r["key"]: (r["finished"], r["files"]) for r in ledger.rows({"status": "done"})}


def some_done(rng: random.Random, out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a random number of units is done, and a moment longer; the run may be over by then."""
    count = rng.randrange(len(UNITS))
    wait_until(lambda: process.poll() is not None or len(done_in(out)) >= count)
    time.sleep(rng.random() * 0.4)


def best_in(out: Path) -> dict[str, float]:
    """Least cost of every kind."""
    catalogue = Catalogue(out)
    return {" ".join(map(str, r.kind)): min(o.cost for o in catalogue.rows if o.kind == r.kind) for r in catalogue.rows}


def resumed(out: Path, before: dict[str, tuple[str, str]]) -> None:
    """Give the command again and check everything the module promises."""
    ended(start(out), 0, 1)
    after = done_in(out)
    assert before.items() <= after.items(), "units done before were done again"
    with Ledger(out / "ledger.sqlite") as ledger:
        assert ledger.settled(UNITS) == {u.key for u in UNITS}, ledger.counts()
    assert sqlite3.connect(out / "ledger.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert all((out / n).exists() for _, names in {**after, **before}.values() for n in json.loads(names))
    assert all(load(p).is_exact for p in out.rglob("*.safetensors"))
    kept = best_in(out)
    wanted = json.loads(os.environ.get("STL_FAULTS_BEST", "null"))
    assert wanted is None or kept == wanted, (kept, wanted)
    assert not [p for p in out.rglob("*") if p.name.endswith(".part") or p.name.startswith(".writing-")
                if time.time() - p.stat().st_mtime > tables.STALE]  # fmt: skip


# ------------------------------------------------------------------ processes
def _signalled(rng: random.Random, out: Path, numbers: list[int], codes: tuple[int, ...]) -> None:
    process = start(out)
    some_done(rng, out, process)
    before = done_in(out)
    for number in numbers:
        if process.poll() is None:
            os.kill(process.pid, number)
            time.sleep(rng.random() * 0.5)
    ended(process, *codes)
    wait_until(lambda: not family_of(process.pid), 30)
    resumed(out, before)


@fault
def parent_killed(rng: random.Random, out: Path) -> None:
    """kill -9 of the run."""
    _signalled(rng, out, [signal.SIGKILL], (-signal.SIGKILL, 0, 1))


@fault
def interrupted(rng: random.Random, out: Path) -> None:
    """Ctrl-C once."""
    _signalled(rng, out, [signal.SIGINT], (130, 0, 1))


@fault
def interrupted_twice(rng: random.Random, out: Path) -> None:
    """Ctrl-C twice."""
    _signalled(rng, out, [signal.SIGINT, signal.SIGINT], (130, 0, 1))


@fault
def terminated(rng: random.Random, out: Path) -> None:
    """SIGTERM, as schedulers send it."""
    _signalled(rng, out, [signal.SIGTERM], (130, 0, 1))


@fault
def stopped_and_continued(rng: random.Random, out: Path) -> None:
    """SIGSTOP and SIGCONT, as a suspended machine."""
    _signalled(rng, out, [signal.SIGSTOP, signal.SIGCONT], (0, 1))


@fault
def worker_killed(rng: random.Random, out: Path) -> None:
    """kill -9 of one worker: its unit is tried again, the run goes on."""
    process = start(out)
    some_done(rng, out, process)
    workers = [p for p in family_of(process.pid) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    if workers and process.poll() is None:
        os.kill(rng.choice(workers), signal.SIGKILL)
    ended(process, 0, 1)
    resumed(out, {})


@fault
def two_processes(rng: random.Random, out: Path) -> None:
    """Two runs on one folder, one of which may be killed: no unit twice."""
    both = [start(out, workers=1) for _ in range(2)]
    if rng.random() < 0.5:
        some_done(rng, out, both[0])
        both[0].kill()
    told = [p.communicate(timeout=300) for p in both]
    assert all("Traceback" not in said for _, said in told), told
    names = [r["name"] for text, _ in told if text for r in json.loads(text)]
    with Ledger(out / "ledger.sqlite") as ledger:  # twice only what failed once, or whose owner was not heard of
        tried = {r["name"]: r["attempts"] for r in ledger.rows()}
    assert all(count <= 1 + tried[name] for name, count in Counter(names).items()), (names, tried)
    resumed(out, done_in(out))


# ------------------------------------------------------------------- hard disks
class Disk:
    """A file system of a size of its own (needs the right to mount)."""

    def __init__(self, place: Path, size: str) -> None:
        self.place = place
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)

    def again(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=False, capture_output=True)

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=False)


def mountable() -> bool:
    """Whether this machine lets us mount disks to fill."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Disk(Path(folder) / "disk", "1m"):
                return True
        except (OSError, subprocess.CalledProcessError):
            print("no file system can be mounted here: disk_full and read_only are left out")
            return False


@fault
def disk_full(rng: random.Random, out: Path) -> None:
    """A disk that is full at some moment of the run, and is given room afterwards."""
    with Disk(out.parent / "disk", f"{rng.randrange(4, 240)}k") as disk:
        place = disk.place / "found"
        place.mkdir()
        said = ended(start(place), 0, 1, 2)
        assert not said or "space" in said or "full" in said, said
        disk.again("size=16m")
        resumed(place, done_in(place) if (place / "ledger.sqlite").exists() else {})


@fault
def read_only(rng: random.Random, out: Path) -> None:
    """A file system that turns read-only at some moment."""
    with Disk(out.parent / "disk", "16m") as disk:
        place = disk.place / "found"
        place.mkdir()
        process = start(place)
        some_done(rng, place, process)
        before = done_in(place)
        disk.again("ro")
        said = ended(process, 0, 1, 2)
        assert not said or "writ" in said or "ead-only" in said or "error" in said, said
        disk.again("rw")
        resumed(place, before)


# ----------------------------------------------------------------- damaged files
def _whole(out: Path) -> None:
    ended(start(out), 0, 1)


def _verb(out: Path, *words: str, option: str = "--out") -> str:
    process = subprocess.Popen([sys.executable, "-m", *words, option, str(out)], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    return ended(process, 0, 1, 2)


def _damaged(rng: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    kind = rng.randrange(3)
    if kind == 0:
        data = data[: rng.randrange(len(data))]
    elif kind == 1:
        for _ in range(rng.choice((1, 20, 400))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    else:
        at = rng.randrange(len(data))
        data[at : at + 4096] = bytes(len(data[at : at + 4096]))
    path.write_bytes(bytes(data))


@fault
def ledger_damaged(rng: random.Random, out: Path) -> None:
    """Bytes of the ledger lost or changed: used as it is or refused in one line; what was found is rebuilt."""
    _whole(out)
    files = {p: p.read_bytes() for p in out.rglob("*.safetensors")}
    _damaged(rng, out / "ledger.sqlite")
    said = _verb(out, "search.runs", "list")
    said += ended(start(out), 0, 1, 2)
    assert not said or "rebuild" in said, said
    _verb(out, "search.runs", "rebuild")
    assert {p: p.read_bytes() for p in out.rglob("*.safetensors")} == files
    resumed(out, done_in(out))


@fault
def encoder_damaged(rng: random.Random, out: Path) -> None:
    """Bytes of an encoder file lost or changed: named in one line, never believed, and found again."""
    _whole(out)
    path = rng.choice(sorted(out.rglob("*.safetensors")))
    _damaged(rng, path)
    said = _verb(out, "search.catalog", "list", option="--catalogue")
    if said:
        assert path.name in said, said
        path.unlink()
    with Ledger(out / "ledger.sqlite") as ledger:
        ledger.forget({"family": "orbit"})
        ledger.forget({"family": "simplex"})
    resumed(out, {})


@fault
def index_forged(rng: random.Random, out: Path) -> None:
    """An index that lies, or is garbage: the files tell."""
    _whole(out)
    right = Catalogue(out).rows
    index = out / "index.csv"
    if rng.random() < 0.5:
        _damaged(rng, index)
    else:
        index.write_text(index.read_text().replace(",7,Z,", f",{rng.randrange(1, 7)},Z,").replace("True", "False"))
    assert Catalogue(out).rows == right
    resumed(out, done_in(out))


# ----------------------------------------------------------------- units that misbehave
class _Poison:
    """Pickled by a worker, it does harm where it is unpickled."""

    def __init__(self, harm: str) -> None:
        self.harm = harm

    def __reduce__(self) -> tuple[Any, ...]:
        if self.harm == "unpicklable":
            raise TypeError("cannot be pickled")
        return _harm, (self.harm,)


class _Odd(Exception):
    """An exception whose copy cannot be made: it wants two arguments and keeps one."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(one)


def _harm(kind: str) -> None:
    raise {"value": ValueError, "memory": MemoryError, "recursion": RecursionError, "odd": EOFError}[kind](kind)


def misbehaving(unit: Unit, device: str, seconds: float) -> Outcome:
    """In place of `work`: units of an odd seed do harm in their worker or in whoever reads their outcome."""
    if unit.family != "orbit" or unit.rank == 7:
        return work(unit, device, seconds)
    kinds = ("value", "memory", "recursion", "odd", "unpicklable", "exit", "abort", "exception", "interrupt", "huge")
    kind = kinds[unit.seed % len(kinds)]
    if kind == "exit":
        os._exit(3)
    if kind == "abort":
        os.abort()
    if kind == "exception":
        raise _Odd(1, 2)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "huge":
        raise MemoryError("no room for " + "x" * 10_000_000)
    return Outcome(unit, statistics={"poison": _Poison(kind)})


@fault
def poisoned(rng: random.Random, out: Path) -> None:
    """Outcomes that cannot be pickled or unpickled, workers that exit: blamed on their unit, which is given up."""
    runner.work = misbehaving  # type: ignore[attr-defined]
    bad = [Unit("orbit", "none", (2, 2, 2), 6, {"restarts": 1}, s) for s in rng.sample(range(10), 3)]
    units = [*bad, *FOUND[:4]]
    rng.shuffle(units)
    summary = run(iter([[Task(u) for u in units]]), out, make_slots("processes", 2))
    assert summary.failed == 3 and summary.ran == 7 and len(summary.improved) >= 1, summary
    assert all(len(m) < 2100 for m in summary.messages)


@fault
def hung(rng: random.Random, out: Path) -> None:
    """Units that never end: their workers are killed, the others go on."""
    runner.GRACE = 0.3
    bad = [Unit("fourier", "none", (4, 4, 4), 61, {"group": "C31"}, s) for s in range(2)]  # minutes of index maps
    tasks = [Task(u, seconds=0.5) for u in bad] + [Task(u) for u in FOUND[:4]]
    rng.shuffle(tasks)
    summary = run(iter([tasks]), out, make_slots("processes", 2))
    assert summary.failed == 2 and summary.ran == 6 and any("over its time" in m for m in summary.messages), summary


# ----------------------------------------------------------------------- rounds
def one(name: str, seed: int) -> None:
    """One round, in this process."""
    folder = Path(tempfile.mkdtemp(prefix="fault-"))
    os.environ["STL_FAULTS_PLAN"] = str(folder / "plan.jsonl")
    plans.write([Task(u, str(i)) for i, u in enumerate(UNITS)], folder / "plan.jsonl")
    FAULTS[name](random.Random(seed), folder / "found")
    shutil.rmtree(folder, ignore_errors=True)


def _round(name: str, seed: int) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-m", "tests.faults", "--one", name, "--seed", str(seed)], cwd=ROOT,
                          capture_output=True, text=True, timeout=900, check=False)  # fmt: skip
    return name, "" if done.returncode == 0 else (done.stderr.strip() or f"exit {done.returncode}")[-700:]


def undisturbed() -> dict[str, float]:
    """What the plan leads to where nothing happens."""
    with tempfile.TemporaryDirectory() as folder:
        run(iter([[Task(u) for u in UNITS]]), folder, make_slots("thread", 1))
        return best_in(Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=len(FAULTS))
    parser.add_argument("--jobs", type=int, default=2, help="rounds at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="no round starts later")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", choices=FAULTS, help="one round, here")
    options = parser.parse_args()
    if options.one:
        one(options.one, options.seed)
        return 0
    os.environ["STL_FAULTS_BEST"] = json.dumps(undisturbed())
    print(os.environ["STL_FAULTS_BEST"])
    begin = time.monotonic()
    chosen = [n for n in FAULTS if options.only in n and (mountable() or n not in ("disk_full", "read_only"))]

    def play(k: int) -> tuple[str, str] | None:
        if time.monotonic() - begin > options.seconds:
            return None
        name, problem = _round(chosen[k % len(chosen)], options.seed + k)
        print(f"{time.monotonic() - begin:6.0f} s  {name}: {problem or 'survived'}", flush=True)
        return name, problem

    with ThreadPoolExecutor(options.jobs) as pool:
        told = [t for t in pool.map(play, range(options.rounds)) if t is not None]
    rows = [{"fault": name, "rounds": sum(n == name for n, _ in told),
             "survived": sum(n == name and not p for n, p in told), "first_seed": options.seed,
             "what": str(FAULTS[name].__doc__).splitlines()[0]} for name in chosen]  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tables.write(options.out, list(rows[0]), rows)
    for row in rows:
        print(f"{row['survived']:4} of {row['rounds']:4}  {row['fault']}: {row['what']}")
    print(f"{sum(r['survived'] for r in rows)} of {sum(r['rounds'] for r in rows)} rounds survived")
    return int(any(p for _, p in told))


if __name__ == "__main__":
    sys.exit(main())
