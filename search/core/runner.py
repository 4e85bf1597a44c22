"""The one loop: units in, each leased, run, absorbed into ledger and catalogue; failures retried, kills survived."""

from __future__ import annotations

import heapq
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count, zip_longest
from pathlib import Path
from types import FrameType
from typing import Any

from stl_algebra import Encoder, StlError

from .catalogue import FINDS, Catalogue, Row
from .executors import Slot, raised_by, version_of
from .ledger import ATTEMPTS, LEASE, Ledger, owner_here
from .unit import Request, Unit, families_of
from .work import Outcome, work

__all__ = ["Summary", "Task", "rounds", "run"]

#: Seconds a unit may take where nobody says.
LIMIT = 60.0
#: A worker is killed when its unit is this many seconds (and half its limit) over time.
GRACE = 60.0
#: After the first Ctrl-C, seconds that units in flight may still take.
LAST = 10.0
#: After the end of the run, seconds that units in flight may still take before their workers are killed.
AFTER = 2.0
#: A search without end stops after this many rounds in a row without an improvement, however much time is left.
PATIENCE = 3
MAX_ROUNDS = 10_000


@dataclass(frozen=True)
class Task:
    """A unit with its budget; a plan is a list of them.

    Attributes
    ----------
    unit : Unit
    name : str
        What the plan calls it.
    seconds : float
        Time allowed.
    reason : str
        Why it is tried.
    """

    unit: Unit
    name: str = ""
    seconds: float = LIMIT
    reason: str = ""


@dataclass
class Summary:
    """What a run did; its attributes are the printed numbers.

    Attributes
    ----------
    seconds : float
    ran, skipped, failed, cut : int
        Units run; settled before or run by others; that failed for good; that the end of the time cut short.
    retried : int
        Attempts that failed and were made again.
    counted : dict
        Sums of what the families counted (restarts, converged, tried, exact …).
    proven : dict
        How many exact encoders were found, by label.
    improved, resisting : list of str
        Files added to the catalogue, and finds that are still to be made exact.
    messages : dict
        Reasons with their counts.
    best : list of Row
    outcomes : dict
        Status, files and statistics of every unit run, by key.
    interrupted : bool
    """

    seconds: float = 0.0
    ran: int = 0
    skipped: int = 0
    failed: int = 0
    cut: int = 0
    retried: int = 0
    counted: dict[str, float] = field(default_factory=dict)
    proven: dict[str, int] = field(default_factory=dict)
    improved: list[str] = field(default_factory=list)
    resisting: list[str] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)
    best: list[Row] = field(default_factory=list)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    interrupted: bool = False


def rounds(request: Request, limit: float = LIMIT) -> Iterator[list[Task]]:
    """Tasks of a request, round after round; raises StlError if it is impossible for every family."""
    searched = families_of(request)
    for turn in range(MAX_ROUNDS):
        waves = {f.name: f.round(request, turn) for f in searched}
        # families take turns, so that a short run has tried each of them
        units = []
        for late in (False, True):
            together = zip_longest(*(waves[f.name] for f in searched if f.late == late))
            units += [u for wave in together for u in wave if u is not None]
        if turn == 0 and not units:
            raise StlError("request", request.asked(), "; ".join(f"for family {f.name}: {f.space}" for f in searched))
        if not units:
            return
        yield [Task(u, seconds=limit) for u in units]


def run(
    source: Iterator[list[Task]], out: str | Path, slots: list[Slot], seconds: float = math.inf,
    patience: int = PATIENCE, always: bool = False, again: bool = False,
    progress: Callable[[Summary, list[Unit]], None] | None = None,
) -> Summary:  # fmt: skip
    """Run tasks until there are no more or the time is up, every unit once ever, and keep what improves.

    Parameters
    ----------
    source : iterator of lists of Task
        Rounds; the next one is asked for when the last has been handed out.
    out : path of the results folder (catalogue and ledger)
    slots : list of Slot
        The workers (`search.core.executors.make_slots`).
    seconds : float
        Budget, counted from when the workers are up: no unit starts later, and those in flight get what is left.
    patience : int
        Rounds in a row without an improvement after which the search stops.
    always : bool
        File every exact encoder, not only improvements.
    again : bool
        Run units also if the ledger has them as done.
    progress : callable, optional
        Called with (summary, units in flight) whenever something changes.

    Returns
    -------
    Summary

    Raises
    ------
    StlError
        If no family can do what is asked, or ledger or catalogue cannot be used.
    """
    first = next(source, [])  # an impossible request is refused before anything is created
    catalogue = Catalogue(out)
    with Ledger(catalogue.folder / "ledger.sqlite") as ledger, _Interrupts() as interrupts:
        loop = _Loop(source, first, catalogue, ledger, slots, seconds, patience, always, again, progress, interrupts)
        try:
            loop.start()
            loop.run()
        finally:
            loop.stop()
        return loop.summary


class _Interrupts:
    """Counts Ctrl-C and SIGTERM instead of raising somewhere; from the third one on they raise as usual."""

    count = 0

    def __enter__(self) -> _Interrupts:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._one_more)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _one_more(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            raise KeyboardInterrupt


@dataclass
class _Flight:
    """A unit in a worker: until when it should be through, and when its worker is killed."""

    task: Task
    slot: Slot
    granted: float
    due: float


class _Loop:
    """The state behind `run`."""

    def __init__(
        self, source: Iterator[list[Task]], first: list[Task], catalogue: Catalogue, ledger: Ledger,
        slots: list[Slot], seconds: float, patience: int, always: bool, again: bool,
        progress: Callable[[Summary, list[Unit]], None] | None, interrupts: _Interrupts,
    ) -> None:  # fmt: skip
        self.source, self.catalogue, self.ledger, self.slots = source, catalogue, ledger, slots
        self.seconds, self.patience, self.always, self.progress = seconds, patience, always, progress
        self.again, self.interrupts, self.owner = again, interrupts, owner_here()
        self.summary = Summary()
        self.round: list[Task] | None = first
        self.queue: list[Task] = []
        self.later: list[tuple[float, int, Task]] = []  # failed a moment ago: (when, tie, task)
        self.flying: dict[Future[Outcome], _Flight] = {}
        self.free = list(slots)
        self.quiet = 0
        self.touched = {(f"matmul:{'x'.join(map(str, t.unit.format))}", t.unit.rank) for t in first}
        self.tie = count()
        self.begun = self.renewed = time.monotonic()
        self.stopping = math.inf

    # --------------------------------------------------------------- the loop
    def start(self) -> None:
        """Workers up: importing torch is no search time."""
        ready = [slot.start() for slot in self.slots[: max(1, len(self.round or []))] if slot.there()]
        while not wait(ready, timeout=0.25).done.issuperset(ready):
            if self.interrupts.count:
                break
        version_of(ready)
        self.begun = self.renewed = time.monotonic()

    def left(self) -> float:
        return min(self.seconds - (time.monotonic() - self.begun), self.stopping - time.monotonic())

    def run(self) -> None:
        while True:
            if self.interrupts.count and math.isinf(self.stopping):
                self.summary.interrupted, self.stopping = True, time.monotonic() + LAST
            if self.interrupts.count > 1 or (self.summary.interrupted and self.left() <= 0):
                return
            self._refill()
            self._launch()
            if not self.flying and not self._waiting():
                return
            done = wait(self.flying, timeout=0.25, return_when=FIRST_COMPLETED).done if self.flying else set()
            if not self.flying:
                time.sleep(0.1)
            for future in done:
                self._land(future)
            self._watch()
            self.summary.seconds = time.monotonic() - self.begun
            if self.progress:
                self.progress(self.summary, [f.task.unit for f in self.flying.values()])

    def stop(self) -> None:
        """Kill what still runs, give its leases back, and write the index."""
        if self.flying:
            self.ledger.release([f.task.unit for f in self.flying.values()], self.owner)
        for flight in self.flying.values():
            flight.slot.kill()
        with ThreadPoolExecutor(32) as pool:  # a worker takes half a second to end
            list(pool.map(Slot.close, self.slots))
        self.catalogue.write_index()
        self.summary.seconds = time.monotonic() - self.begun
        kinds = {r.kind for r in self.catalogue.rows if (r.target, r.rank) in self.touched}
        best = [b for k in kinds if (b := self.catalogue.best(k)) is not None]
        self.summary.best = sorted(best, key=lambda r: (r.target, r.rank, not r.exact, r.ring))

    def _waiting(self) -> bool:
        """Whether there is work that may still start."""
        return self.left() > 0 and not self.summary.interrupted and bool(self.queue or self.later or self.round)

    # -------------------------------------------------------------- the stages
    def _refill(self) -> None:
        """Due retries, then the next round, once the last one has been handed out."""
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            self.queue.insert(0, heapq.heappop(self.later)[2])
        while not self.queue and self.round is not None and self.left() > 0:
            if self.quiet >= self.patience:
                self.round = None
                break
            if self.again:
                self.ledger.forget_units(t.unit for t in self.round)
            settled = self.ledger.settled(t.unit for t in self.round)
            self.queue = [t for t in self.round if t.unit.key not in settled]
            self.summary.skipped += len(self.round) - len(self.queue)
            self.quiet += bool(self.queue)
            self.round = next(self.source, None)

    def _launch(self) -> None:
        while self.queue and self.left() > 0 and not self.summary.interrupted:
            slot = next((s for s in self.free if s.there()), None)
            if slot is None:
                return
            task = self.queue.pop(0)
            answer = self.ledger.claim(task.unit, self.owner, task.name)
            if answer == "later":
                heapq.heappush(self.later, (time.monotonic() + 1.0, next(self.tie), task))
            elif answer != "taken":
                self.summary.skipped += 1
            else:
                self.free.remove(slot)
                granted = min(task.seconds, self.left())
                due = time.monotonic() + (granted * 1.5 + GRACE if granted >= task.seconds else granted + AFTER)
                try:
                    future = slot.submit(work, task.unit, slot.device, granted)
                except BrokenExecutor:  # its worker died while it was idle
                    slot.kill()
                    future = slot.submit(work, task.unit, slot.device, granted)
                self.flying[future] = _Flight(task, slot, granted, due)

    def _land(self, future: Future[Outcome]) -> None:
        flight = self.flying.pop(future)
        unit = flight.task.unit
        error = future.exception()
        if error is None:
            outcome = future.result()
        elif (raised := raised_by(error)) is None:
            said = "out of memory?" if isinstance(error, BrokenExecutor) else type(error).__name__
            outcome = Outcome(unit, "killed", message=f"killed: its worker died ({said})")
            flight.slot.kill()
        else:
            outcome = Outcome(unit, "failed", message=f"failed: {type(raised).__name__}: {raised}"[:2000])
        if outcome.status == "cut" and flight.granted >= flight.task.seconds:
            outcome.status = "done"  # it had its own time, and that was not enough
        self.free.append(flight.slot)
        self._absorb(flight.task, outcome)

    def _watch(self) -> None:
        """Kill workers that are over time, and prolong the leases of the others."""
        now = time.monotonic()
        for future in [f for f, flight in self.flying.items() if now > flight.due and not f.done()]:
            flight = self.flying.pop(future)
            flight.slot.kill()
            self.free.append(flight.slot)
            if flight.granted < flight.task.seconds:  # the end of the run, not the unit's fault
                self._absorb(flight.task, Outcome(flight.task.unit, "cut", seconds=flight.granted))
                continue
            message = f"killed: over its time of {flight.granted:.0f} s"
            self._absorb(flight.task, Outcome(flight.task.unit, "killed", seconds=flight.granted, message=message))
        if now - self.renewed > LEASE / 4:
            self.renewed = now
            self.ledger.renew([f.task.unit for f in self.flying.values()], self.owner)

    def _absorb(self, task: Task, outcome: Outcome) -> None:
        """Take in one outcome: encoders to the catalogue, the unit to the ledger, failures to the retries."""
        files, new = self._file(outcome)
        self.ledger.record(outcome, files, task.name)
        s = self.summary
        if outcome.message:
            s.messages[outcome.message] = s.messages.get(outcome.message, 0) + 1
        s.outcomes[task.unit.key] = {
            "status": outcome.status, "files": files, "message": outcome.message, "seconds": outcome.seconds,
            "statistics": outcome.statistics, "exact": [_said(e) for e in outcome.encoders if _proven(e)],
        }  # fmt: skip
        if outcome.status in ("failed", "killed"):
            _, attempts, until = self.ledger.states([task.unit])[task.unit.key]
            if attempts < ATTEMPTS:
                s.retried += 1
                when = time.monotonic() + max(0.0, until - time.time())
                heapq.heappush(self.later, (when, next(self.tie), task))
                return
            s.failed += 1
        s.ran += 1
        s.cut += outcome.status == "cut"
        for name, value in outcome.statistics.items():
            if isinstance(value, (int, float)) and name in ("restarts", "converged", "tried", "exact", "flips"):
                s.counted[name] = s.counted.get(name, 0) + value
        if new:
            self.quiet = 0
            self.catalogue.write_index()

    def _file(self, outcome: Outcome) -> tuple[list[str], bool]:
        """Names of the files an outcome led to, and whether one of them improves the catalogue."""
        files, new = [], False
        s = self.summary
        for encoder in outcome.encoders:
            exact = _proven(encoder)
            if exact:
                label = f"{encoder.label} over {encoder.ring.name}"
                s.proven[label] = s.proven.get(label, 0) + 1
            row, added = self.catalogue.add(encoder, self.always and exact)
            self.touched.add((row.target, row.rank))
            if row.file:
                files.append(row.file)
            if added:
                new = True
                s.improved.append(row.file)
        for find in outcome.resisting:
            path, added = self.catalogue.store(find, FINDS)
            name = path.relative_to(self.catalogue.folder).as_posix()
            files.append(name)
            if added:
                s.resisting.append(name)
        return files, new


def _proven(encoder: Encoder) -> bool:
    return encoder.ring.exact and encoder.is_exact


def _said(encoder: Encoder) -> dict[str, Any]:
    """What a summary says of an exact encoder, whether it was filed or not."""
    row = Row.of(encoder, "")
    return {"rank": row.rank, "ring": row.ring, "kappa2": row.kappa2, "sha256": row.sha256}
