"""The command `stl`: verbs are entry points, listed without being imported."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from stl_algebra.cli import GROUP, main

VERBS = sorted(e.name for e in entry_points(group=GROUP))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_loads_and_has_help(verb, capsys):
    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])
    assert not done.value.code
    assert f"stl {verb}" in capsys.readouterr().out


def test_the_verbs_of_the_readme_are_there():
    assert {"run", "verify", "catalog", "groups", "frontier", "validate", "bench"} <= set(VERBS)


def test_an_unknown_verb_is_one_line(capsys):
    with pytest.raises(SystemExit) as done:
        main(["verfy"])
    said = capsys.readouterr().err
    assert done.value.code == 2 and "Did you mean verify?" in said and said.count("\n") == 1


def test_listing_verbs_imports_neither_torch_nor_the_packages():
    code = (
        "import sys\nfrom stl_algebra.cli import main\nmain(['--help'])\n"
        "print([m for m in ('torch', 'stl_search', 'stl_kernels', 'search', 'kernels', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]" and "run" in done.stdout, done.stdout + done.stderr
