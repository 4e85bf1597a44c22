"""The one loop: rounds, retries, blame, time limits, leases, clean stops."""

import os
import signal
import threading
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from search.core import runner
from search.core.catalogue import Catalogue
from search.core.executors import Slot, make_slots
from search.core.ledger import Ledger
from search.core.runner import Task, rounds, run
from search.core.unit import Request, Unit, register
from stl_algebra import StlError, __version__
from stl_algebra.schemes import strassen, winograd


@pytest.fixture
def toys(families, monkeypatch):
    """A family whose units are instant: Winograd's form first, then Strassen's, for ever; k = 3 fails."""
    built = []
    monkeypatch.setattr("search.core.ledger.BACK_OFF", 0.01)
    monkeypatch.setattr(Slot, "start", lambda self: _started(self))

    def find(unit, context):
        built.append(unit.key)
        what = unit.parameters["k"]
        if what == 3:
            raise RuntimeError("a bug in the family")
        if what == "sleep":
            time.sleep(30)
        if what == "once" and built.count(unit.key) == 1:
            raise OSError("a file that is not there yet")
        yield winograd() if unit.seed == 0 else strassen()

    @register(
        "toy", groups=("toys",), space="rank 7 of the format 2,2,2, whatever else is asked", run=find,
        settings={"k": 0},
    )  # fmt: skip
    def units(request, turn):
        """Four a round."""
        if request.rank in (None, 7):
            for k in range(4):
                yield Unit("toy", "none", (2, 2, 2), 7, {"k": k}, request.seed + turn)

    return built


def _started(slot):
    """Without the imports a real worker makes."""
    slot._executor = slot._make()
    ready = Future()
    ready.set_result(__version__)
    return ready


def threads(count=1):
    return make_slots("thread", count)


def tasks(*what, seconds=60.0):
    return iter([[Task(Unit("toy", "none", (2, 2, 2), 7, {"k": k}, i), seconds=seconds) for i, k in enumerate(what)]])


def test_units_run_once_ever_and_improvements_are_kept(tmp_path, toys):
    first = run(rounds(Request("toys")), tmp_path, threads(), 60)
    good = [k for k in toys if toys.count(k) == 1]
    assert first.ran - first.failed == len(good) and first.failed == first.ran // 4 and first.skipped == 0
    assert any("a bug in the family" in m for m in first.messages) and first.retried == 2 * first.failed
    assert len(first.improved) == 2 and [r.kappa2 for r in first.best] == [4.0]
    toys.clear()
    second = run(rounds(Request("toys")), tmp_path, threads(), 60)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ledger) == first.ran + second.ran
    assert second.skipped >= first.ran and second.improved == [] and [r.kappa2 for r in second.best] == [4.0]
    assert len(list(tmp_path.glob("encoders/*"))) == 2 and (tmp_path / "index.csv").exists()


def test_a_search_that_repeats_itself_would_be_seen(tmp_path, toys, monkeypatch):
    monkeypatch.setattr(Ledger, "settled", lambda self, units: set())
    monkeypatch.setattr(Ledger, "claim", lambda *_: "taken")
    monkeypatch.setattr(runner, "MAX_ROUNDS", 3)
    with pytest.raises(AssertionError):
        test_units_run_once_ever_and_improvements_are_kept(tmp_path, toys)


def test_impossible_requests_create_nothing(tmp_path, toys):
    with pytest.raises(StlError, match="rank 7 of the format"):
        run(rounds(Request("toys", rank=8)), tmp_path / "out", threads(), 5)
    assert not (tmp_path / "out").exists()


def test_no_time_no_units(tmp_path, toys):
    summary = run(rounds(Request("toys")), tmp_path, threads(), 1e-9)
    assert summary.ran == 0 and summary.seconds < 5


def test_transient_failures_are_retried(tmp_path, toys):
    summary = run(tasks("once"), tmp_path, threads())
    assert (summary.ran, summary.failed, summary.retried) == (1, 0, 1) and len(summary.improved) == 1
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (row,) = ledger.rows()
        assert row["status"] == "done"


def test_a_unit_over_its_time_is_ended_and_others_go_on(tmp_path, toys, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.1)
    monkeypatch.setattr(runner, "ATTEMPTS", 1)
    summary = run(tasks("sleep", 0, 1, seconds=0.2), tmp_path, threads(2))
    assert summary.failed == 1 and summary.ran == 3 and any("over its time" in m for m in summary.messages)
    assert summary.seconds < 10


def test_the_budget_holds(tmp_path, toys, monkeypatch):
    monkeypatch.setattr(runner, "LAST", 0.5)
    summary = run(tasks("sleep", "sleep"), tmp_path, threads(1), seconds=0.5)
    assert summary.seconds < 5 and summary.cut == 1 and summary.failed == 0
    toys.clear()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:  # the units will be run again
        assert ledger.settled(t.unit for t in next(tasks("sleep", "sleep"))) == set()


class _Dying(Executor):
    """An executor whose first submissions die with their worker."""

    deaths = 0

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        if _Dying.deaths > 0:
            _Dying.deaths -= 1
            future.set_exception(BrokenProcessPool("a worker was killed"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize(("deaths", "failed"), [(1, 0), (2, 0), (3, 1)])
def test_a_worker_that_dies_is_blamed_on_its_unit_alone(tmp_path, toys, monkeypatch, deaths, failed):
    monkeypatch.setattr(_Dying, "deaths", deaths)
    summary = run(tasks(0), tmp_path, [Slot(_Dying)])
    assert summary.failed == failed and summary.ran == 1
    assert summary.proven == ({} if failed else {"⟨2,2,2;7⟩ over Z": 1})


def test_units_another_process_runs_are_left_to_it(tmp_path, toys):
    (task,) = next(tasks(0))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.claim(task.unit, "another") == "taken"
    summary = run(iter([[task]]), tmp_path, threads())
    assert summary.ran == 0 and summary.skipped == 1


def test_ctrl_c_stops_cleanly_with_what_was_found(tmp_path, toys, monkeypatch):
    monkeypatch.setattr(runner, "LAST", 0.5)
    threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
    begin = time.monotonic()
    summary = run(tasks(0, "sleep", 1), tmp_path, threads(1))
    assert summary.interrupted and summary.ran == 1 and time.monotonic() - begin < 10
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.counts()["done"] == 1 and ledger.settled(t.unit for t in next(tasks(0, "sleep", 1))) != set()
        assert ledger.claim(next(tasks(0, "sleep", 1))[1].unit, "another") == "taken"  # its lease was given back
    assert len(Catalogue(tmp_path).rows) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_bad_backends_are_refused():
    for backend, workers in (("x", None), ("thread", 0), ("processes", -1)):
        with pytest.raises(StlError, match="expected"):
            make_slots(backend, workers)


def test_families_take_turns_and_late_ones_come_last(families):
    for name, late in (("a", True), ("b", False), ("c", False)):

        @register(name, groups=("toys",), space="two units each", run=lambda *_: iter(()), late=late)
        def units(request, turn, name=name):
            """Two."""
            for k in range(2):
                yield Unit(name, "none", (2, 2, 2), 7, {}, k)

    first = next(rounds(Request("toys")))
    assert [t.unit.family for t in first] == ["b", "c", "b", "c", "a", "a"]


def test_patience_begins_anew_with_every_improvement(tmp_path, families, toys):
    """Six rounds that each improve run under a patience of two; then two that do not, and no more."""

    def find(unit, context):
        fewer = strassen().drop_terms(range(min(unit.seed, 5)))  # a new rank, hence a new kind, in each of six rounds
        yield fewer.with_origin()

    @register("better", groups=("better",), space="rank 7 of the format 2,2,2", run=find, settings={"k": 0})
    def units(request, turn):
        yield Unit("better", "none", (2, 2, 2), 7, {"k": turn}, request.seed + turn)

    summary = run(rounds(Request("better")), tmp_path, threads(1), 60, patience=2)
    assert len(summary.improved) == 6 and summary.ran == 8
