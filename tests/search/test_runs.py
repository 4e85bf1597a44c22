"""The verbs that look after the ledger, and runs that share a folder, are stopped, or lose a worker."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search import runs
from search.core import plans, runner
from search.core.catalogue import Catalogue
from search.core.executors import make_slots
from search.core.ledger import Ledger
from search.core.origins import found
from search.core.runner import Task, run
from search.core.unit import Unit
from search.core.work import Outcome, work
from stl_algebra.schemes import strassen, winograd

ROOT = Path(__file__).parents[2]
UNITS = [Unit("flips", "none", (2, 2, 2), 7, {}, seed, "Z") for seed in range(6)]


def call(*words):
    result = CliRunner().invoke(runs.app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def filled(folder):
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.record(Outcome(UNITS[0], statistics={"exact": 1}), ["encoders/x.safetensors"])
        for _ in range(3):
            ledger.record(Outcome(UNITS[1], "failed", message="failed: \x1b[31m[red]"))
        ledger.claim(UNITS[2], "somebody")
    return folder


def test_list_retry_forget_export(tmp_path):
    filled(tmp_path)
    rows = json.loads(call("list", "--out", tmp_path, "--json").stdout)
    assert {r["status"] for r in rows} == {"done", "failed", "running"}
    shown = call("list", "--out", tmp_path)
    assert shown.exit_code == 0 and "3 units" in shown.stdout and "\x1b" not in shown.stdout
    assert call("--out", tmp_path).stdout == shown.stdout
    assert len(json.loads(call("list", "--out", tmp_path, "--status", "failed", "--json").stdout)) == 1
    assert "1 units" in call("retry", "--out", tmp_path).stdout
    assert "1 units" in call("forget", "--out", tmp_path, "--key", UNITS[0].key[:8]).stdout
    assert "2 rows" in call("export", tmp_path / "u.csv", "--out", tmp_path).stdout
    assert (tmp_path / "u.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(
    "words",
    [["list", "--status", "red"], ["forget"], ["list", "--out", "/nonexistent"], ["merge", "/nonexistent"],
     ["retry", "--out", "/nonexistent"]],
)  # fmt: skip
def test_bad_requests(tmp_path, words):
    filled(tmp_path)
    result = call(*words, *([] if "--out" in words else ["--out", tmp_path]))
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1


def test_merge_is_the_union_of_folders(tmp_path):
    filled(tmp_path / "a")
    Catalogue(tmp_path / "a").add(strassen())
    Catalogue(tmp_path / "b").add(winograd())
    for _ in range(2):
        assert call("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c").exit_code == 0
        with Ledger(tmp_path / "c" / "ledger.sqlite") as ledger:
            assert ledger.counts() == {"done": 1, "failed": 1}
        assert len(Catalogue(tmp_path / "c").rows) == 2


@pytest.mark.parametrize("damage", ["garbage", "foreign", "inside"])
def test_a_ledger_beyond_use_is_rebuilt_from_the_catalogue(tmp_path, damage):
    unit = Unit("orbit", "Z3", (2, 2, 2), 7)
    cat = Catalogue(tmp_path)
    cat.add(strassen().with_origin(**found(unit, "rationalised")))
    filled(tmp_path)
    path = tmp_path / "ledger.sqlite"
    if damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif damage == "foreign":
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE units (colour TEXT)")
    else:
        sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(path.read_bytes()[:5000] + b"\xff" * 3000)
    refused = call("list", "--out", tmp_path)
    assert refused.exit_code == 2 and "rebuild" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
    assert call("rebuild", "--out", tmp_path).exit_code == 0
    with Ledger(path) as ledger:
        assert ledger.settled([unit]) == {unit.key} and len(ledger) == 1
    assert len(list(tmp_path.glob("*.aside"))) >= 1


# ------------------------------------------------------------------ company
def shell(plan, out, *words):
    command = [sys.executable, "-m", "search.plans", "run", str(plan), "--out", str(out), "--workers", "1", *words]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.timeout(200)
def test_two_processes_share_a_folder_without_doing_a_unit_twice(tmp_path):
    units = [Unit("flips", "none", (2, 2, 2), 6, {}, seed, "Z") for seed in range(8)]  # each takes its whole time
    plans.write([Task(u, str(i), 1.5) for i, u in enumerate(units)], tmp_path / "p.jsonl")
    both = [shell(tmp_path / "p.jsonl", tmp_path / "out", "--json") for _ in range(2)]
    rows = [json.loads(p.communicate(timeout=180)[0]) for p in both]
    names = [r["name"] for part in rows for r in part]
    assert sorted(names) == [str(i) for i in range(8)]
    with Ledger(tmp_path / "out" / "ledger.sqlite") as ledger:
        assert ledger.counts() == {"done": 8}


@pytest.mark.timeout(200)
def test_the_first_ctrl_c_ends_in_words_and_leaves_no_lease(tmp_path):
    unit = Unit("flips", "none", (2, 2, 2), 6, {}, 0, "Z")
    plans.write([Task(UNITS[0], "quick"), Task(unit, "long", 300)], tmp_path / "p.jsonl")
    process = shell(tmp_path / "p.jsonl", tmp_path / "out")
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not list((tmp_path / "out").glob("encoders/*")):
        time.sleep(0.2)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)  # the second one does not wait for the unit in flight
    begin = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - begin < 8
    assert len(stderr.strip().splitlines()) == 1 and "saved" in stderr and "Traceback" not in stdout
    with Ledger(tmp_path / "out" / "ledger.sqlite") as ledger:
        assert ledger.counts()["done"] == 1 and ledger.claim(unit, "another") == "taken"


# -------------------------------------------------------------- lost workers
@pytest.mark.timeout(200)
def test_a_killed_worker_is_replaced_and_its_neighbour_is_not_disturbed(tmp_path):
    units = [Unit("flips", "none", (2, 2, 2), 6, {}, seed, "Z") for seed in range(2)]
    slots = make_slots("processes", 2)
    killed = []

    def kill():
        killed.append(slots[0]._pid.result())
        os.kill(killed[0], signal.SIGKILL)

    def progress(summary, flying):
        if len(flying) == 2 and not killed and not timer.is_alive():
            timer.start()

    timer = threading.Timer(0.5, kill)
    summary = run(iter([[Task(u, seconds=4.0) for u in units]]), tmp_path, slots, progress=progress)
    assert killed and summary.retried == 1 and summary.ran == 2 and summary.failed == 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        rows = {r["seed"]: r for r in ledger.rows()}
    assert [rows[0]["attempts"], rows[1]["attempts"]] == [1, 0] and rows[1]["status"] == "done"


@pytest.mark.timeout(200)
def test_a_hanging_worker_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.5)
    monkeypatch.setattr(runner, "ATTEMPTS", 1)
    unit = Unit("fourier", "none", (4, 4, 4), 61, {"group": "C31"}, 0)  # the index maps take minutes
    slots = make_slots("processes", 1)
    summary = run(iter([[Task(unit, seconds=0.5), Task(UNITS[0])]]), tmp_path, slots)
    assert summary.failed == 1 and summary.ran == 2 and any("over its time" in m for m in summary.messages)


def test_equal_units_give_equal_bits_whatever_runs_them(tmp_path):
    # code just compiled and the same code read from its cache round differently: a unit whose end does not hang on that
    unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}, "restarts": 24}, 1, "Z")
    here = {e.digest for e in work(unit).encoders}
    for backend in ("thread", "processes"):
        summary = run(iter([[Task(unit)]]), tmp_path / backend, make_slots(backend, 1), always=True)
        (done,) = summary.outcomes.values()
        assert {e["sha256"] for e in done["exact"]} == here


def test_watching_shows_what_changes_until_ctrl_c(tmp_path):
    filled(tmp_path)
    words = [sys.executable, "-m", "search.runs", "--watch", "--out", str(tmp_path)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(Outcome(UNITS[3]))
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and len(stderr.strip().splitlines()) == 1 and "4 units" in stdout
