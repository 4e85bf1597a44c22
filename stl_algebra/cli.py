"""The command ``stl``: every verb of the installed packages, found through entry points and imported only when used.

The verbs live where their code lives (`search`, `kernels`); this module knows none of them, so that no arrow points
back from here. A verb is an entry point of the group ``stl_algebra.commands`` whose object is a Typer application.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points

from ._version import __version__

__all__ = ["GROUP", "main"]

GROUP = "stl_algebra.commands"


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``stl VERB …``; without a verb print what there is.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the command line.

    Raises
    ------
    SystemExit
        With the verb's exit code; 2 for a verb that does not exist.
    """
    try:
        _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _dispatch(arguments: list[str]) -> None:
    verbs = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "Usage: stl VERB [OPTIONS]\n\nDiscover, prove, score and run algebraic encoders for cheaper matrix "
            f"multiplication.\n\nVerbs: {', '.join(sorted(verbs))}\nstl VERB --help describes one; stl --version.\n\n"
            "Example: stl run --group cyclic --seconds 30"
        )
        return
    verb, *rest = arguments
    if verb == "--version":
        print(f"stl-algebra {__version__}")
        return
    if verb not in verbs:
        near = get_close_matches(verb, verbs, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        print(f"error: verb = {verb!r}: expected one of {', '.join(sorted(verbs))}.{hint}", file=sys.stderr)
        raise SystemExit(2)
    verbs[verb].load()(rest, prog_name=f"stl {verb}")
