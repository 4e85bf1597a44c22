"""Planted bugs: every line below is put into a copy of the code, and the tests named must go red.

    make mutants                       all of them
    python tests/mutants.py WORD …     those whose file or reason contains a word

A mutant is one replacement in one file with the reason why it would matter. A survivor means that no test noticed.
Not part of `make test`: it runs the tests once for every mutant.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("stl_algebra", "search", "kernels", "tests", "results/encoders", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """Replace ``old`` (which must occur exactly once) by ``new`` in ``file``; ``tests`` must then fail."""

    file: str
    old: str
    new: str
    tests: str
    why: str


M = Mutant
LIMITS = "tests/stl_algebra/test_limits.py"
MUTANTS = [
    M("stl_algebra/identities.py", "reach < 2**24", "reach < 2**27", LIMITS, "float32 rounds above 2^24"),
    M("stl_algebra/identities.py", "elif reach < 2**53", "elif reach < 2**66", LIMITS, "float64 rounds above 2^53"),
    M(
        "stl_algebra/identities.py",
        "_primes(2 * reach + 1,",
        "_primes(reach // 2**40,",
        "tests/stl_algebra/test_identities.py",
        "too few primes for the bound",
    ),
    M(
        "stl_algebra/rings.py",
        "int(max_abs(a)) * int(max_abs(b)) >= 2**62",
        "int(max_abs(a)) * int(max_abs(b)) >= 2**66",
        LIMITS,
        "products overflow int64",
    ),
    M(
        "stl_algebra/rings.py",
        "int(max_abs(a)) + int(max_abs(b)) >= 2**62",
        "int(max_abs(a)) + int(max_abs(b)) >= 2**66",
        LIMITS,
        "sums overflow int64",
    ),
    M("stl_algebra/_tiles.py", "* len(mat) >= 2**62", "* len(mat) >= 2**66", LIMITS, "changes of basis overflow int64"),
    M(
        "stl_algebra/scores.py",
        "epsilon2(encoder) + kappa2(encoder) * (2 *",
        "epsilon2(encoder) + kappa2(encoder) * (1 *",
        "tests/stl_algebra/test_scores.py",
        "one operand's rounding forgotten",
    ),
    M("stl_algebra/known.py", "445:61,2:60", "445:61,2:59", "tests/stl_algebra/test_known.py", "a wrong best rank"),
    M(
        "stl_algebra/known.py",
        "2 * a * c + 2 * a - c - 2",
        "2 * a * c + 2 * a - c + 2",
        "tests/stl_algebra/test_known.py",
        "a wrong lower bound of rectangular formats",
    ),
    M(
        "stl_algebra/catalogue.py",
        "least = min(e.rank for e in fits)",
        "least = max(e.rank for e in fits)",
        "tests/stl_algebra/test_catalogue.py",
        "the largest rank called best",
    ),
    M(
        "kernels/dispatch.py",
        "error = staged_error(stages, dtype, k)",
        "error = 0.0",
        "tests/kernels/test_planning.py",
        "an inexact encoder within a small rtol",
    ),
    M(
        "kernels/rounding.py",
        "kept * (1 - codec.epsilon2)",
        "kept",
        "tests/kernels/test_planning.py",
        "ε² forgotten by the planner",
    ),
    M(
        "kernels/rounding.py",
        "(steps + 1) / 2",
        "(steps + 1)",
        "tests/kernels/test_planning.py",
        "accumulator term doubled",
    ),
    M(
        "kernels/reference.py",
        "wide = torch.promote_types(planes.dtype, torch.float32)",
        "wide = planes.dtype",
        "tests/kernels/test_reference.py",
        "the kernels' oracle accumulating in 16 bits",
    ),
    M(
        "kernels/reference.py",
        "return full[:height, :width].contiguous()",
        "return full[:height, :width]",
        "tests/kernels/test_reference.py",
        "padding kept alive behind a view",
    ),
    M("kernels/rows.py", "-length % n))", "0))", "tests/kernels/test_rows.py", "layers: ragged sequences share a tile"),
    M("kernels/rows.py", "x = x.transpose(0, -2)", "pass", "tests/kernels/test_rows.py", "layers: rows=batch is time"),
    M(
        "kernels/leak.py",
        "change[:, :position]",
        "change[:, :start]",
        "tests/kernels/test_rows.py",
        "layers: leaks inside the changed tile are missed",
    ),
    M(
        "kernels/_compat.py",
        "or forward_ad._current_level >= 0",
        "",
        "tests/kernels/test_fitting_in.py",
        "layers: forward-mode derivatives are silently zero",
    ),
    M(
        "kernels/linear.py",
        'if before.device.type == "meta" or now.device.type == "meta":',
        "if now.dtype.itemsize >= 4:",
        "tests/kernels/test_fitting_in.py",
        "layers: to_empty leaves a garbage codec",
    ),
    M(
        "kernels/modules.py",
        "module.activation_relu_or_gelu = 0",
        "pass",
        "tests/kernels/test_fitting_in.py",
        "layers: the fused path multiplies by the dense views",
    ),
    M(
        "kernels/calibrate.py",
        "h = (gram * mixed[:, None, :, None])",
        "h = (gram * mixed.abs()[:, None, :, None])",
        "tests/kernels/test_calibration.py",
        "layers: a refit that is not the optimum",
    ),
    M(
        "kernels/experiments/training.py",
        "norm = torch.stack([g.square().sum(1) for g in grads]).sum(0).sqrt()",
        "norm = torch.stack([g.square().sum() for g in grads]).sum(0).sqrt().expand(len(grads[0]))",
        "tests/kernels/test_experiments.py",
        "layers: models of an ensemble are clipped together",
    ),
]


def run(mutant: Mutant, folder: Path) -> tuple[bool, float]:
    """Plant one mutant in the copy, run its tests, take it out; (killed, seconds)."""
    path = folder / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.file}: {mutant.old!r} occurs {source.count(mutant.old)} times; mend the table")
    begin = time.monotonic()
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        command = [
            sys.executable, "-m", "pytest", "-x", "-q", "-o", "addopts=--import-mode=importlib", "-p", "no:xdist",
                   *mutant.tests.split()]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return True, time.monotonic() - begin
    finally:
        path.write_text(source, encoding="utf-8")
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutant.tests}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}")
    return done.returncode == 1, time.monotonic() - begin


def main(words: list[str]) -> int:
    """Run the mutants; the exit code is the number of survivors, at most 99."""
    chosen = [m for m in MUTANTS if not words or any(w in m.file or w in m.why for w in words)]
    survivors = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            target = folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        for mutant in chosen:
            killed, seconds = run(mutant, folder)
            survivors += [] if killed else [mutant]
            print(f"{'killed  ' if killed else 'SURVIVED'} {seconds:5.1f} s  {mutant.file}: {mutant.why}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return min(len(survivors), 99)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
