"""The command `stl`: verbs are entry points, listed without being imported."""

import subprocess
import sys
from importlib.metadata import entry_points

from click.testing import CliRunner
from stl_algebra.cli import GROUP, main


def test_every_verb_loads_and_has_help():
    verbs = {e.name for e in entry_points(group=GROUP)}
    assert {"run", "verify", "catalog", "groups", "validate", "bench"} <= verbs
    for name in sorted(verbs):
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, (name, result.output, result.exception)
        assert "sage" in result.output, name  # Usage: of click, usage: of argparse


def test_an_unknown_verb_is_one_line():
    result = CliRunner().invoke(main, ["verfy"])
    assert result.exit_code == 2 and "Did you mean verify?" in result.stderr and result.stderr.count("\n") == 1


def test_listing_verbs_imports_neither_torch_nor_the_packages():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom stl_algebra.cli import main\n"
        "out = CliRunner().invoke(main, ['--help']).output\nassert 'run' in out, out\n"
        "print([m for m in ('torch', 'search', 'kernels', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
