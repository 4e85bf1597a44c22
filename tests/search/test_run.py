"""The main job: finds, proves, resumes, survives kill -9, and refuses nonsense in one line."""

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search import run
from search.core.unit import Unit
from stl_algebra import load, save, schemes

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
        (["--format", "3,3,3", "--rank", "28"], "nmp"),
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
        (["--family", "nothing"], "orbit"),
        (["--family", "simplex", "--group", "cyclic"], "symmetric"),
        (["--ring", "R"], "Z[1/2]"),
        (["--set", "colour"], "name=value"),
        (["--family", "flips", "--set", "colour=1"], "plus_after"),
        (["--unit", "{"], "JSON"),
        (["--unit", "[]"], "fields"),
        (["--unit", '{"family": "orbit"}'], "fields"),
        (["--start", "x.safetensors"], "--family flips"),
        (["--unit-seconds", "0"], "positive"),
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
    assert "simplex" in call("--list").stdout
    data = json.loads(call("--list", "--json").stdout)
    assert {f["name"] for f in data["families"]} >= {"flips", "fourier", "orbit", "pools", "simplex"}


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
            rows = db.execute("SELECT key, files FROM units WHERE status = 'done'")
            return {key: json.loads(names) for key, names in rows}
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
    assert after_kill.items() <= resumed.items()
    assert len(resumed) == len(after_kill) + summary["ran"] - summary["cut"]
    best = [r for r in summary["best"] if r["exact"]]
    assert best and best[0]["target"] == "matmul:2x2x2" and best[0]["rank"] == 7
    for names in resumed.values():
        for name in names:
            e = load(tmp_path / name)
            assert e.origin["lineage"] == "scratch" and (e.is_exact or e.origin["family"] in ("fourier", "approximate"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_unit_repeats_from_the_origin_of_its_find(tmp_path):
    unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}, "restarts": 24}, 1, "Z")
    words = ("--unit", json.dumps(unit.plain()), "--backend", "thread", "--json")
    first = json.loads(call(*words, "--out", tmp_path / "a").stdout)
    (file,) = first["improved"]
    origin = load(tmp_path / "a" / file).origin
    assert Unit.parse(origin["unit"]) == unit
    again = json.loads(call("--unit", json.dumps(origin["unit"]), *words[2:], "--out", tmp_path / "b").stdout)
    assert again["improved"] == [file]


def test_walks_are_reached_from_the_main_job(tmp_path):
    start = save(schemes.strassen(), tmp_path)
    words = ["--family", "flips", "--format", "2,2,3", "--rank", "11", "--start", start, "--backend", "thread"]
    summary = json.loads(call(*words, "--seconds", "20", "--json", "--out", tmp_path / "out").stdout)
    assert summary["proven"]["⟨2,2,3;11⟩ over Z"] >= 1
    assert not [r for r in summary["best"] if r["found"]]  # what begins at a published scheme is not from scratch
    words = ["--group", "Z3*c:(13)", "--format", "3,3,3", "--rank", "25", "--family", "flips", "--backend", "thread"]
    summary = json.loads(call(*words, "--seconds", "20", "--json", "--out", tmp_path / "out").stdout)
    assert any("⟨3,3,3;25⟩" in label for label in summary["proven"])


def test_the_abelian_barrier_is_printed(tmp_path):
    words = ("--group", "C2xC2", "--family", "fourier", "--format", "2,2,2", "--backend", "thread", "--workers", 1)
    result = call(*words, "--seconds", 8, "--set", "polish=kept", "--out", tmp_path)
    assert "C2xC2 on ⟨2,2,2⟩: equally full fibres" in result.output and "at most 4 of 8" in result.output


def test_the_final_table_keeps_every_figure_in_80_columns():
    from rich.console import Console

    from search.core.catalogue import Row
    from search.run import best_table
    from stl_algebra import catalogue, schemes

    found = [e.load() for e in catalogue.catalogue() if e.target == "matmul:4x4x4" and e.ring in ("Z", "Z[1/2]", "R64")]
    rows = [Row.of(e, f"encoders/4x4x4_r{e.rank}_X_{e.digest[:8]}.safetensors") for e in found]
    rows += [Row.of(schemes.standard(4, 4, 4).drop_terms([0]), "encoders/4x4x4_r63_Z_12345678.safetensors")]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(best_table(rows, "title"))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for row in rows[:-1]:
        assert row.file[-20:-12] in text and f"{row.kappa2:.4g}" in text and f"{row.total_bf16:.2g}" in text
    assert "best known" in text and "12345678" not in text and "1 approximations no better" in text
