"""The main job: finds, proves, resumes, survives kill -9, and refuses nonsense in one line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search import run
from search.core import unit as registry
from search.core.executors import make_executor
from search.core.ledger import Ledger
from search.core.unit import Request, Start, Unit, register
from search.run import search
from stl_algebra import StlError, load
from stl_algebra.schemes import strassen, winograd
from stl_algebra.targets import matmul

ROOT = Path(__file__).parents[2]


def call(*words):
    result = CliRunner().invoke(run.app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# ------------------------------------------------------------------ bad options
@pytest.mark.parametrize(
    ("words", "possible"),
    [
        (["--group", "nothing"], "cyclic"),
        (["--format", "3,3"], "n,m,p"),
        (["--format", "0,1,1"], "1 to 16"),
        (["--format", "x"], "n,m,p"),
        (["--format", "17,17,17"], "1 to 16"),
        (["--format", "3,3,3", "--rank", "3"], "lower bound"),
        (["--rank", "0"], "rank"),
        (["--rank", "-5"], "rank"),
        (["--order", "0"], "order"),
        (["--order", "-3"], "order"),
        (["--format", "16,16,16"], "nmp <= 64"),
        (["--device", "cuda"], "cpu"),
        (["--device", "potato"], "cpu"),
        (["--device", "mps"], "cpu"),
        (["--seconds", "0"], "positive"),
        (["--seconds", "-1"], "positive"),
        (["--seconds", "nan"], "positive"),
        (["--seed", "-1"], "2^31"),
        (["--backend", "x"], "processes, thread, ray"),
        (["--workers", "0"], "at least 1"),
        (["--group", "simplex"], "symmetric"),
        (["--group", "symmetric", "--rank", "8", "--format", "3,3,4"], "n,n,n"),
    ],
)
def test_bad_options_are_refused_in_one_line(tmp_path, words, possible):
    if words == ["--device", "cuda"]:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device")
    result = call(*words, "--out", tmp_path / "out")
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and possible in lines[0], (
        result.stderr
    )
    assert not list((tmp_path / "out").glob("encoders/*"))


def test_an_output_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere"):
        result = call("--group", "symmetric", "--format", "2,2,2", "--out", out)
        assert result.exit_code in (1, 2) and len(result.stderr.strip().splitlines()) == 1


def test_the_registry_is_listed():
    assert "orbit-z3" in call("--list").stdout
    data = json.loads(call("--list", "--json").stdout)
    assert {f["name"] for f in data["families"]} >= {"free", "fourier", "orbit-z3", "simplex"}


# ------------------------------------------------------------- rounds and units
@pytest.fixture
def toys(monkeypatch):
    """A family whose units are instant: Winograd's form first, then Strassen's, for ever."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry.families()))
    built = []

    def build(unit):
        built.append(unit.key)
        if unit.parameters["k"] == 3:
            raise RuntimeError("a bug in the family")
        return Start(matmul(2, 2, 2), encoders=[winograd() if unit.seed == 0 else strassen()])

    @register("toy", groups=("toys",), space="rank 7 of the format 2,2,2, whatever else is asked", build=build)
    def units(request, turn):
        """Four a round."""
        if request.rank in (None, 7):
            for k in range(4):
                yield Unit("toy", "T", (2, 2, 2), 7, {"k": k}, request.seed + turn)

    return built


def test_units_run_once_ever_and_improvements_are_kept(tmp_path, toys):
    first = search(Request("toys"), tmp_path, 60, "thread")
    assert first.ran == len(toys) == len(set(toys)) and first.skipped == 0
    assert first.failed == first.ran // 4 and any("a bug in the family" in m for m in first.messages)
    assert len(first.improved) == 2 and [r.kappa2 for r in first.best] == [4.0]
    toys.clear()
    second = search(Request("toys"), tmp_path, 60, "thread")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ledger) == first.ran + second.ran
    assert second.skipped >= first.ran and second.improved == [] and [r.kappa2 for r in second.best] == [4.0]
    assert len(list(tmp_path.glob("encoders/*"))) == 2 and (tmp_path / "index.csv").exists()


def test_a_search_that_repeats_itself_would_be_seen(tmp_path, toys, monkeypatch):
    monkeypatch.setattr(Ledger, "done", lambda self, units: set())
    with pytest.raises(AssertionError):
        test_units_run_once_ever_and_improvements_are_kept(tmp_path, toys)


def test_impossible_requests_create_nothing(tmp_path, toys):
    with pytest.raises(StlError, match="rank 7 of the format"):
        search(Request("toys", rank=8), tmp_path / "out", 5, "thread")
    assert not (tmp_path / "out").exists()


def test_time_is_kept(tmp_path, toys):
    summary = search(Request("toys"), tmp_path, 1e-9, "thread")
    assert summary.ran == 0 and summary.seconds < 5


def test_executors():
    with make_executor("thread", 2) as pool:
        future = pool.submit(int, "7")
        assert isinstance(future, Future) and future.result() == 7
    for backend, workers in (("x", None), ("thread", 0), ("processes", -1)):
        with pytest.raises(StlError, match="expected"):
            make_executor(backend, workers)


# --------------------------------------------------------------- the real thing
def shell(out, *words, **options):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "search.run",
            "--group",
            "cyclic",
            "--order",
            "3",
            "--format",
            "2,2,2",
            "--out",
            str(out),
            *words,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def rows_of(out):
    if not (out / "ledger.sqlite").exists():
        return {}
    try:
        with sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True) as db:
            return {key: json.loads(names) for key, names in db.execute("SELECT key, files FROM units")}
    except sqlite3.OperationalError:
        return {}


def running(group):
    """Processes of a process group that are alive (no zombies)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


@pytest.mark.timeout(300)
def test_finds_proves_survives_kill_9_and_resumes(tmp_path):
    process = shell(tmp_path, "--seconds", "200", "--workers", "1")
    deadline = time.monotonic() + 150
    while not any(rows_of(tmp_path).values()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    before = rows_of(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert any(before.values()), "nothing found"
    while running(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running(process.pid) == [], "workers outlive their parent"
    after_kill = rows_of(tmp_path)
    assert before.items() <= after_kill.items()

    process = shell(tmp_path, "--seconds", "0.5", "--workers", "1", "--json")
    stdout, stderr = process.communicate(timeout=150)
    assert process.returncode == 0, stderr
    summary = json.loads(stdout)
    assert summary["skipped"] >= len(after_kill) > 0 or summary["ran"] == 0
    resumed = rows_of(tmp_path)
    assert after_kill.items() <= resumed.items() and len(resumed) == len(after_kill) + summary["ran"]
    best = [r for r in summary["best"] if r["exact"]]
    assert best and best[0]["target"] == "matmul:2x2x2" and best[0]["rank"] == 7
    for names in resumed.values():
        for name in names:
            e = load(tmp_path / name)
            assert e.origin["from"] == "scratch" and (e.is_exact or e.origin["family"] == "fourier")
    assert not list(tmp_path.rglob("*.part"))


class _Breaking(ThreadPoolExecutor):
    """A pool whose first `deaths` units die with their worker."""

    deaths = 0

    def submit(self, fn, /, *args, **kwargs):
        if fn is run.run_unit and _Breaking.deaths > 0:
            _Breaking.deaths -= 1
            future = Future()
            future.set_exception(BrokenProcessPool("a worker was killed"))
            return future
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize(("deaths", "failed"), [(1, 0), (3, 1)])
def test_a_killed_worker_costs_no_unit(tmp_path, monkeypatch, deaths, failed):
    monkeypatch.setattr(run, "make_executor", lambda *_: _Breaking(1))
    monkeypatch.setattr(_Breaking, "deaths", deaths)
    summary = run.search(Request("symmetric", format=(2, 2, 2), order=6), tmp_path, seconds=60)
    assert summary.failed == failed
    assert summary.proven == ({} if failed else {"⟨2,2,2;7⟩ over Z": 1})
