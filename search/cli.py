"""What all command-line verbs share: the vocabulary of options, one-line errors, exit codes, JSON output, progress."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from stl_algebra import StlError

from .core.unit import parse_format

__all__ = [
    "FINDS", "Catalogue", "Device", "Format", "Group", "Json", "Limit", "Out", "Rank", "Ring", "Seconds", "Seed",
    "Workers", "announced", "console", "fail", "friendly", "parse_format", "parse_settings", "parsed_format",
    "print_json", "readable_catalogue",
]  # fmt: skip

for _name in ("stdout", "stderr"):  # a program that closed them must not have our files in their places
    if getattr(sys, _name) is None:
        setattr(sys, _name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, TextIOWrapper):  # a terminal without ⟨ and κ shows ? instead of a traceback
        _stream.reconfigure(errors="replace")
#: Where finds go unless told otherwise: a folder of the user's, never the shipped catalogue of the checkout.
FINDS = Path("found")
#: Tables need room; where no terminal says how wide it is, 150 columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
#: The vocabulary: an option of one of these names means this in every verb (tests/test_cli.py walks them all).
Format = Annotated[str | None, typer.Option(help="n,m,p or 3x3x3 (default: all there are)")]
Rank = Annotated[int | None, typer.Option(help="number of products r (default: all there are)")]
Ring = Annotated[str | None, typer.Option(help="Z, Z[1/2], Q, Q(sqrt), Q(i), GF(2), R64 … (default: all there are)")]
Group = Annotated[str | None, typer.Option(help="a group such as S3, a symmetry such as Z3*T, or none")]
Seconds = Annotated[float, typer.Option(help="budget of the whole command, without the start of the workers")]
Seed = Annotated[int, typer.Option(help="seed of everything random; the same seed repeats the run")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 … or all")]
Workers = Annotated[int | None, typer.Option(help="parallel units (default: one per core or GPU)")]
Limit = Annotated[int, typer.Option(min=1, help="most rows shown")]
Out = Annotated[Path, typer.Option(help="what is written: a results folder, or a file")]
Catalogue = Annotated[
    Path | None, typer.Option(help="a results folder or folder of encoders to read (default: shipped)")
]
Json = Annotated[bool, typer.Option("--json", help="one JSON document instead of tables")]

#: Exit codes: 1 something was refuted or not found, 2 the request itself is wrong.
REFUTED, BAD_REQUEST = 1, 2
#: What to do about the file system's refusals.
ADVICE = {
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): " Free some space or pass another --out; everything found so far is "
    "kept, the same command continues.",
    (errno.EROFS, errno.EACCES, errno.EPERM): " Pass a place that can be written.",
}  # fmt: skip


def fail(message: str, code: int = BAD_REQUEST) -> NoReturn:
    """Print one line to standard error and exit."""
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def friendly() -> Iterator[None]:
    """Turn refusals into one line and exit code 2, a keyboard interrupt into 130."""
    try:
        yield
    except StlError as error:
        fail(str(error))
    except BrokenPipeError:  # whoever read our output has gone; the interpreter must not complain about it either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:  # a folder that cannot be written, a full disk
        advice = next((text for numbers, text in ADVICE.items() if error.errno in numbers), "")
        fail(f"{error.filename or 'file system'}: {error.strerror or error}.{advice}", 1)
    except KeyboardInterrupt:
        fail("interrupted; everything found so far is saved, the same command continues", 130)


@contextmanager
def announced(what: str, json: bool = False) -> Iterator[None]:
    """Say within a second what is going on, and then how long it has been: a spinner, or a line every ten seconds."""
    if json:
        yield
        return
    if console.is_terminal:
        with console.status(what):
            yield
        return
    over, start = threading.Event(), time.monotonic()

    def tell() -> None:
        if not over.wait(1.0):
            print(f"{what} …", file=sys.stderr, flush=True)
        while not over.wait(10.0):
            print(f"{what} … {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def readable_catalogue(folder: Path | None) -> Path:
    """The results folder to read (the one that holds ``encoders/``): the one named, else what the package ships.

    Raises
    ------
    StlError
        If there is no such folder.
    """
    if folder is None:
        from stl_algebra.catalogue import folder as shipped

        return shipped().parent
    if not folder.is_dir():
        raise StlError("catalogue", str(folder), "an existing results folder", "Run python -m search.run first.")
    return folder.resolve().parent if folder.name == "encoders" else folder


def parsed_format(text: str | None) -> tuple[int, int, int] | None:
    """(n, m, p) of an option, None if it was not given."""
    return None if text is None else parse_format(text)


def parse_settings(words: list[str]) -> dict[str, Any]:
    """{"restarts": 96} from ["restarts=96"]; values are JSON, else text."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name.isidentifier():
            raise StlError("set", word, "name=value, for instance restarts=96")
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def print_json(value: Any) -> None:
    """One JSON document on standard output; NaN and infinities, which JSON lacks, are written as null."""
    print(json.dumps(_clean(value), default=str, allow_nan=False))


def _clean(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return value
