"""The command ``stl``: every verb of the installed packages, found through entry points and imported only when used.

The verbs live where their code lives (`search`, `kernels`); this module knows none of them, so that no arrow points
back from here. A verb is an entry point of the group ``stl_algebra.commands`` whose object is a Typer application, a
click command, or a ``main(argv)`` function.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from . import __version__

__all__ = ["main"]

GROUP = "stl_algebra.commands"


class Verbs(click.Group):
    """A group whose members are entry points; listing them imports nothing."""

    def _found(self) -> dict[str, EntryPoint]:
        return {e.name: e for e in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._found())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs (stl VERB --help)"):
            formatter.write_text(", ".join(self.list_commands(ctx)))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = self._found().get(name)
        if entry is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self._found(), 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            print(f"error: verb = {name!r}: expected {', '.join(self.list_commands(ctx))}.{hint}", file=sys.stderr)
            raise SystemExit(2)
        return _command(name, entry.load())


def _command(name: str, loaded: Any) -> click.Command:
    import typer

    if isinstance(loaded, typer.Typer):
        return typer.main.get_command(loaded)
    if isinstance(loaded, click.Command):
        return loaded

    @click.command(name, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("argv", nargs=-1, type=click.UNPROCESSED)
    def passed_on(argv: tuple[str, ...]) -> None:
        loaded(list(argv))

    return passed_on


@click.command(cls=Verbs, epilog="Example: stl run --group cyclic --seconds 30")
@click.version_option(__version__, package_name="stl-algebra")
def main() -> None:
    """Discover, prove, score and run algebraic encoders for cheaper matrix multiplication."""
