"""Every fault is named with a test that exists, and one whole round of `tests.faults` passes."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "results" / "runs" / "README.md").read_text())


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_of_a_fault_exists(path, name):
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_list_of_faults_is_read():
    assert len(NAMED) > 40


@pytest.mark.timeout(200)
def test_a_round_of_poisoned_units():
    """Units whose outcomes cannot be pickled or unpickled, or whose workers exit."""
    done = subprocess.run([sys.executable, "-m", "tests.faults", "--one", "poisoned", "--seed", "2"], cwd=ROOT,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
