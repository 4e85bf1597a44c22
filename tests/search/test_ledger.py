"""The ledger: every unit once, nothing lost, clear words for a damaged file."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from search.core.pipeline import Outcome

from search.core.ledger import Ledger
from search.core.unit import Unit
from stl_algebra import StlError


def unit(k):
    return Unit("toy", "Z2", (2, 2, 2), 7, {"k": k}, k)


def test_records_once_and_remembers(tmp_path):
    path = tmp_path / "deep" / "ledger.sqlite"
    with Ledger(path) as ledger:
        assert len(ledger) == 0 and ledger.done([unit(1)]) == set() and ledger.done([]) == set()
        ledger.record(
            Outcome(unit(1), restarts=8, converged=3, tried=2, rationalised=1, seconds=1.5, message="ok"), ["a"]
        )
        ledger.record(Outcome(unit(1), restarts=4), [])
        ledger.record(Outcome(unit(2), restarts=2, converged=1), [])
    with Ledger(path) as ledger:
        assert len(ledger) == 2 and ledger.done(unit(k) for k in range(5)) == {unit(1).key, unit(2).key}
        assert ledger.rates() == [("toy", "Z2", "2x2x2:7", 6, 1, 0, 0.0)]


def test_many_units_in_one_question(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(Outcome(unit(39_999)), [])
        assert ledger.done([unit(k) for k in range(40_000)]) == {unit(39_999).key}


def test_forgetting_a_unit_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "record", lambda *_: None)
    with pytest.raises(AssertionError):
        test_records_once_and_remembers(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"no database at all, but long enough to be looked at as one" * 20, b"SQLite format 3\0" + b"\xff" * 200],
)
def test_a_damaged_ledger_is_named(tmp_path, content):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(StlError) as caught:
        Ledger(path)
    assert str(path) in str(caught.value) and "Move the file away" in str(caught.value)


def test_two_writers_wait_for_each_other(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as one, Ledger(path) as two:
        for k in range(10):
            (one if k % 2 else two).record(Outcome(unit(k)), [])
        assert len(one) == len(two) == 10


def test_kill_9_loses_nothing_recorded(tmp_path):
    path = tmp_path / "ledger.sqlite"
    code = (
        "from search.core.ledger import Ledger\nfrom search.core.pipeline import Outcome\n"
        "from search.core.unit import Unit\n"
        f"ledger = Ledger({str(path)!r})\n"
        "for k in range(10**6):\n"
        "    ledger.record(Outcome(Unit('toy', 'Z2', (2, 2, 2), 7, {'k': k}, k)), [])\n    print(k, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().split("\n")[:-1] if line.isdigit()]
    process.wait()
    time.sleep(0.1)
    with Ledger(path) as ledger:
        assert ledger.done(unit(k) for k in told) == {unit(k).key for k in told}
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
