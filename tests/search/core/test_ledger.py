"""The ledger: every unit once, nothing lost, clear words for a damaged file."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from search.core.ledger import ATTEMPTS, Ledger, owner_here
from search.core.unit import Unit
from search.core.work import Outcome
from stl_algebra import StlError


def unit(k):
    return Unit("toy", "Z2", (2, 2, 2), 7, {"k": k}, k)


def done(k, status="done", **statistics):
    return Outcome(unit(k), status, statistics=statistics)


def test_records_once_and_remembers(tmp_path):
    path = tmp_path / "deep" / "ledger.sqlite"
    with Ledger(path) as ledger:
        assert len(ledger) == 0 and ledger.settled([unit(1)]) == set() and ledger.settled([]) == set()
        ledger.record(Outcome(unit(1), seconds=1.5, message="ok", statistics={"restarts": 8}), ["a"])
        ledger.record(done(1, restarts=4), ["b"])
        ledger.record(done(2))
    with Ledger(path) as ledger:
        assert len(ledger) == 2 and ledger.settled(unit(k) for k in range(5)) == {unit(1).key, unit(2).key}
        (row,) = ledger.rows({"key": unit(1).key[:9]})
        assert row["files"] == '["b"]' and row["parameters"] == '{"k": 1}' and ledger.counts() == {"done": 2}
        assert ledger.export(tmp_path / "units.csv") == 2
    with (tmp_path / "units.csv").open() as stream:
        assert {r["restarts"] for r in csv.DictReader(stream)} == {"4", ""}


def test_many_units_in_one_question(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(done(9_999))
        assert ledger.settled([unit(k) for k in range(10_000)]) == {unit(9_999).key}


def test_forgetting_a_unit_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "record", lambda *_: None)
    with pytest.raises(AssertionError):
        test_records_once_and_remembers(tmp_path)


def test_leases_are_exclusive_and_run_out(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as one, Ledger(tmp_path / "ledger.sqlite") as two:
        assert one.claim(unit(1), "a") == "taken" and two.claim(unit(1), "b") == "busy"
        assert one.claim(unit(2), "a", lease=-1) == "taken" and two.claim(unit(2), "b") == "taken"
        two.renew([unit(2)], "a")  # not the owner any more
        assert one.claim(unit(2), "a") == "busy"
        one.release([unit(1)], "b")  # nor is b the owner of this one
        assert two.claim(unit(1), "b") == "busy"
        one.release([unit(1)], "a")
        assert two.claim(unit(1), "b") == "taken"
        two.record(done(1))
        assert one.claim(unit(1), "a") == "settled" and one.states([unit(1)])[unit(1).key][0] == "done"


def test_failures_are_retried_later_and_given_up(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for attempt in range(1, ATTEMPTS + 1):
            assert ledger.settled([unit(1)]) == set()
            ledger.record(done(1, "failed"))
            status, attempts, until = ledger.states([unit(1)])[unit(1).key]
            assert (status, attempts) == ("failed", attempt) and until > time.time() + 2 * 4.0 ** (attempt - 1) - 1
            assert ledger.claim(unit(1), "a") == ("later" if attempt < ATTEMPTS else "settled")
        assert ledger.retry({"family": "other"}) == 0 and ledger.retry() == 1 and ledger.claim(unit(1), "a") == "taken"
        ledger.record(done(2, "cut"))
        assert ledger.claim(unit(2), "a") == "taken"  # what the end of a run cut short goes on at once
        assert ledger.forget({"status": "running"}) == 2 and len(ledger) == 0
        with pytest.raises(StlError, match="where"):
            ledger.forget({"colour": "red"})


def test_ledgers_of_two_machines_merge_to_the_union(tmp_path):
    with Ledger(tmp_path / "a.sqlite") as a, Ledger(tmp_path / "b.sqlite") as b, Ledger(tmp_path / "c.sqlite") as c:
        a.record(done(1, restarts=1))
        a.record(done(2, "failed"))
        b.record(done(2))
        b.record(done(3, "cut"))
        b.claim(unit(4), "somebody")
        assert a.merge(b) == 2 and a.merge(b) == 0
        assert c.merge(b) == 2 and c.merge(a) == 1 and c.merge(a) == 0
        seen = [{u: s[0] for u, s in x.states(unit(k) for k in range(9)).items()} for x in (a, c)]
        assert seen[0] == seen[1] == {unit(1).key: "done", unit(2).key: "done", unit(3).key: "cut"}


def test_a_damaged_page_a_foreign_table_and_a_lock_are_one_line(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        for k in range(300):
            ledger.record(done(k))
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StlError, match="rebuild"), Ledger(path) as ledger:
        list(ledger.rows())
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE units (key TEXT, colour TEXT)")
    with pytest.raises(StlError, match="other columns"):
        Ledger(path)
    with pytest.raises(StlError, match="existing ledger"):
        Ledger(tmp_path / "none.sqlite", create=False)


@pytest.mark.parametrize(
    "content",
    [b"no database at all, but long enough to be looked at as one" * 20, b"SQLite format 3\0" + b"\xff" * 200],
)
def test_a_damaged_ledger_is_named(tmp_path, content):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(StlError) as caught:
        Ledger(path)
    assert str(path) in str(caught.value) and "rebuild" in str(caught.value)


def test_two_writers_wait_for_each_other(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as one, Ledger(path) as two:
        for k in range(10):
            (one if k % 2 else two).record(done(k))
        assert len(one) == len(two) == 10


def test_kill_9_loses_nothing_recorded(tmp_path):
    path = tmp_path / "ledger.sqlite"
    code = (
        "from search.core.ledger import Ledger\nfrom search.core.work import Outcome\n"
        "from search.core.unit import Unit\n"
        f"ledger = Ledger({str(path)!r})\n"
        "for k in range(10**6):\n"
        "    ledger.record(Outcome(Unit('toy', 'Z2', (2, 2, 2), 7, {'k': k}, k)))\n    print(k, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().split("\n")[:-1] if line.isdigit()]
    process.wait()
    time.sleep(0.1)
    with Ledger(path) as ledger:
        assert ledger.settled(unit(k) for k in told) == {unit(k).key for k in told}
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_processes_that_open_a_new_ledger_together_wait_for_each_other(tmp_path):
    """Turning on write-ahead logging is refused, not delayed, while another process holds the file."""
    for turn in range(3):
        code = (
            "import sys\nfrom search.core.ledger import Ledger\nprint('up', flush=True)\nsys.stdin.readline()\n"
            f"with Ledger({str(tmp_path / str(turn) / 'ledger.sqlite')!r}) as ledger:\n    print(len(ledger))\n"
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        both = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(3)]
        assert [p.stdout.readline() for p in both] == ["up\n"] * 3
        for p in both:
            p.stdin.write("\n")
            p.stdin.flush()
        answers = [p.communicate(timeout=60) for p in both]
        assert all(out == "0\n" for out, _ in answers), answers


def test_leases_of_a_process_that_has_ended_are_void_at_once(tmp_path):
    here, _, mine = owner_here().rpartition(":")
    gone = subprocess.Popen(["true"])
    gone.wait()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for k, owner in enumerate((f"{here}:{gone.pid}", f"{here}:{mine}", f"elsewhere:{gone.pid}", "x", f"{here}:²")):
            assert ledger.claim(unit(k), owner) == "taken"
        assert [ledger.claim(unit(k), "another") for k in range(5)] == ["taken", "busy", "busy", "busy", "busy"]
