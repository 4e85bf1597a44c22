"""Places that refuse: full disks, read-only folders, terminals without Unicode, closed or broken output, archives."""

import errno
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search import catalog, plans, run, runs
from search.core import tables
from search.core.catalogue import Catalogue
from search.core.ledger import Ledger
from search.core.unit import Unit
from search.core.work import Outcome
from stl_algebra import StlError
from stl_algebra.schemes import strassen

ROOT = Path(__file__).parents[2]
SEARCH = ("--family", "simplex", "--format", "2,2,2", "--seconds", "60", "--backend", "thread", "--workers", "1")


def call(app, *words):
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def python(*words, **options):
    """A command of its own; (exit code, standard output, lines of standard error)."""
    done = subprocess.run([sys.executable, "-m", *map(str, words)], timeout=200, capture_output=True, text=True,
                          **{"cwd": ROOT, **options})  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr.strip().splitlines()


@pytest.fixture
def disk(tmp_path):
    """A file system of a size of its own, mounted while the test runs."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@pytest.mark.parametrize("left", [2, 44, 60, 90])
def test_a_full_disk_is_one_line_and_costs_no_find(disk, left):
    place = disk("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    (place / "fill").write_bytes(bytes(((1 << 20) // 1024 - left) * 1024))
    refused = call(run.app, *SEARCH, "--out", place / "found")
    if left < 90:
        assert refused.exit_code in (1, 2) and len(refused.stderr.strip().splitlines()) == 1
        assert "space" in refused.stderr or "disk is full" in refused.stderr
    assert not [p for p in place.rglob("*") if p.name.endswith(".part") or p.name.startswith(".writing-")]
    (place / "fill").unlink()
    with Ledger(place / "found" / "ledger.sqlite") as ledger:
        ledger.forget({"status": "running"})  # whose lease would run out in a minute
    assert call(run.app, *SEARCH, "--out", place / "found").exit_code == 0
    assert len(Catalogue(place / "found").rows) == 1


def test_a_folder_nobody_writes_to_can_be_read_and_says_so(disk, tmp_path):
    place = disk("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    Catalogue(place).add(strassen())
    with Ledger(place / "ledger.sqlite") as ledger:
        ledger.record(Outcome(Unit("simplex", "none", (2, 2, 2), 7)))
    disk("-o", "remount,ro")
    assert "1 units" in call(runs.app, "list", "--out", place).stdout
    assert "1 rows" in call(runs.app, "export", tmp_path / "u.csv", "--out", place).stdout
    assert "2x2x2_r7_Z_69fc3460" in call(catalog.app, "list", "--catalogue", place).stdout
    assert call(runs.app, "merge", place, "--out", tmp_path / "merged").exit_code == 0
    for words in (("forget", "--status", "done", "--out", place), ("export", place / "u.csv", "--out", place)):
        refused = call(runs.app, *words)
        assert refused.exit_code in (1, 2) and len(refused.stderr.strip().splitlines()) == 1
        assert "writ" in refused.stderr, refused.stderr
    refused = call(run.app, *SEARCH, "--out", place)
    assert refused.exit_code in (1, 2) and "writ" in refused.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_the_advice_fits_the_refusal(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(tables, "write", refuse)
    Catalogue(tmp_path / "a").add(strassen())
    refused = call(runs.app, "merge", tmp_path / "a", "--out", tmp_path / "b")
    assert refused.exit_code == 1 and str(tmp_path) in refused.stderr and os.strerror(number) in refused.stderr
    advice = {errno.ENOSPC: "Free some space", errno.EROFS: "can be written", errno.EACCES: "can be written"}
    assert advice.get(number, "\n") in refused.stderr


def test_a_terminal_of_ascii_shows_question_marks():
    code, stdout, stderr = python(
        "search.plans", "list", "rediscovery", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert code == 0 and not stderr and stdout.isascii() and "?2,2,2;7?" in stdout


def test_closed_and_broken_output(tmp_path):
    words = (sys.executable, "-m", "search.plans", "list", "rediscovery")
    closed = subprocess.run(
        words, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(1), timeout=99
    )
    assert (closed.returncode, closed.stderr) == (0, "")
    code, _, stderr = python(*words[2:], preexec_fn=lambda: os.close(2))
    assert code == 0 and not stderr
    reader, writer = os.pipe()
    os.close(reader)  # whoever was to read has gone
    gone = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=99)
    os.close(writer)
    assert gone.returncode == 1 and "Traceback" not in gone.stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=99)
    assert done.returncode == 1 and "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_the_package_runs_from_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for name in ("search", "stl_algebra"):
            for path in (ROOT / name).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, path.relative_to(ROOT))
    there = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "package.zip"), "PATH": os.environ["PATH"]}}
    code, stdout, stderr = python("search.plans", "list", **there)
    assert code == 0 and "rediscovery" in stdout and not stderr
    code, stdout, stderr = python("search.run", "--list", **there)
    assert code == 0 and "simplex" in stdout and not stderr
    look = "from stl_algebra import StlError, catalogue\ntry: catalogue.best('2x2x2')\nexcept StlError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=99, **there)
    assert done.returncode == 0 and "pip install FILE" in done.stdout


# ------------------------------------------------------------------- tables
def test_two_writers_of_a_table_lose_no_row(tmp_path):
    """300 rows, of which two writers without a lock lost 281."""
    path = tmp_path / "deep" / "table.csv"

    def fill(writer):
        for k in range(40):
            row = dict.fromkeys(plans.COLUMNS, "") | {
                "name": f"{writer}-{k}",
                "device": "cpu",
                "found": True,
                "seconds": 1.0,
            }
            plans.record([row], path, [])

    both = [threading.Thread(target=fill, args=(name,)) for name in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(tables.read(path, ("name",))) == 80


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"a,b\n1,2\n", b"name,device\nx\n", b"name,device\n\0,1\n", b'name\n"' + b"x" * 200_000]
)
def test_a_table_that_is_none_is_refused_in_words(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    try:
        rows = tables.read(tmp_path / "t.csv", ("name", "device"))
    except StlError as error:
        assert "t.csv" in str(error) and "\n" not in str(error)
    else:
        assert all({"name", "device"} <= set(row) for row in rows) and b"\0" in data


def test_litter_of_killed_writers_is_swept_and_unfinished_work_is_not(tmp_path):
    catalogue = Catalogue(tmp_path)
    catalogue.add(strassen())
    old = [tmp_path / ".index.csv.1.part", tmp_path / "encoders" / ".writing-abc"]
    young = tmp_path / "encoders" / ".writing-def"
    for path in (*old, young):
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, (time.time() - 2 * tables.STALE,) * 2)
    catalogue.write_index()
    assert young.exists() and not any(p.exists() for p in old) and len(Catalogue(tmp_path).rows) == 1
