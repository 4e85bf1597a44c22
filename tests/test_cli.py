"""The command `stl`: verbs are entry points, listed without being imported."""

import subprocess
import sys
import time
import typing
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from search import cli as search_cli
from stl_algebra.cli import GROUP, main

VERBS = sorted(e.name for e in entry_points(group=GROUP))


#: The vocabulary, as `search.cli` has it: an option of this name takes this type and begins its help like this. What a
#: verb adds goes into brackets; a list of them is spelt alike.
MEANS = {
    "--format": (str, "n,m,p or 3x3x3"),
    "--rank": (int, "number of products r"),
    "--ring": (str, "Z, Z[1/2], Q, Q(sqrt), Q(i)"),
    "--group": (str, "a group such as S3, a symmetry such as Z3*T, or none"),
    "--seconds": (float, "budget of the whole command"),
    "--seed": (int, "seed of everything random"),
    "--device": (str, "cpu, cuda, cuda:1 … or all"),
    "--workers": (int, "parallel units"),
    "--limit": (int, "most rows shown"),
    "--catalogue": (Path, "a results folder or folder of encoders to read"),
    "--out": (Path, "what is written:"),
    "--json": (bool, "one JSON document"),
}


#: Every command that can be run, by its words.
LEAVES = {
    entry.name if len(app.registered_commands) == 1 else f"{entry.name} {c.name or c.callback.__name__}": c
    for entry in entry_points(group=GROUP)
    for app in [entry.load()]
    for c in app.registered_commands
}


def options_of(function):
    """Type and help of every option of a command, by its long name."""
    found = {}
    for name, hint in typing.get_type_hints(function, include_extras=True).items():
        info = next((m for m in getattr(hint, "__metadata__", ()) if type(m).__name__ == "OptionInfo"), None)
        if info is not None:
            flags = [d for d in (info.default, *(info.param_decls or ())) if str(d).startswith("--")]
            plain = [t for t in typing.get_args(hint.__origin__) or (hint.__origin__,) if t is not type(None)]
            kind = typing.get_args(plain[0])[0] if typing.get_args(plain[0]) else plain[0]
            found |= dict.fromkeys(flags or ["--" + name.replace("_", "-")], (kind, info.help or ""))
    return found


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_options_mean_the_same_in_every_verb(name):
    command = LEAVES[name]
    options = options_of(command.callback)
    assert "--json" in options
    for flag in options.keys() & MEANS.keys():
        kind, words = options[flag]
        assert kind is MEANS[flag][0] and words.startswith(MEANS[flag][1]), (flag, kind, words)
    assert not [flag for flag, (_, words) in options.items() if not words]
    assert command.callback.__doc__ and "Example: " in (command.epilog or ""), "a description and an example"


def test_the_vocabulary_is_that_of_the_code():
    for flag in MEANS:
        assert hasattr(search_cli, flag[2:].capitalize()), flag


@pytest.mark.parametrize("verb", VERBS)
def test_help_loads_no_torch(verb):
    """So that it comes in well under a second (torch alone takes longer)."""
    code = (
        "import sys\nfrom stl_algebra.cli import main\n"
        f"try:\n    main(['{verb}', '--help'])\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


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


def test_progress_is_announced_within_two_seconds(capsys):
    with search_cli.announced("pricing"):
        time.sleep(1.3)
    with search_cli.announced("quick"):
        pass
    with search_cli.announced("silent", json=True):
        time.sleep(1.2)
    said = capsys.readouterr()
    assert "pricing …" in said.out + said.err and "quick" not in said.out + said.err and "silent" not in said.err


def test_kernels_loads_torch_with_its_first_name():
    code = (
        "import sys, kernels\nprint('torch' in sys.modules, callable(kernels.fast_matmul), 'torch' in sys.modules)\n"
        "import kernels.experiments.pretrained\n"
        "print(callable(kernels.calibrate), kernels.reference.__name__, hasattr(kernels, 'CUDAProperties'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.split() == ["False", "True", "True", "True", "kernels.reference", "False"], done.stderr
