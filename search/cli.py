"""What all command-line verbs share: one-line errors, exit codes, JSON output, parsing of formats."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, NoReturn

from rich.console import Console

from stl_algebra import StlError

__all__ = ["console", "fail", "friendly", "parse_format", "print_json"]

#: Tables need room; where no terminal says how wide it is, 150 columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
#: Exit codes: 1 something was refuted or not found, 2 the request itself is wrong.
REFUTED, BAD_REQUEST = 1, 2


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
    except OSError as error:  # a folder that cannot be written, a full disk
        fail(f"{error.filename or 'file system'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        fail("interrupted; everything found so far is saved, the same command continues", 130)


def parse_format(text: str | None) -> tuple[int, int, int] | None:
    """(n, m, p) from "3,3,3", "3x3x3" or "3"."""
    if text is None:
        return None
    if not re.fullmatch(r"\s*\d{1,2}(\s*[x,×]\s*\d{1,2}){0,2}\s*", text):
        raise StlError("format", text, "n,m,p such as 3,3,3 or 2x3x4, each from 1 to 16")
    numbers = [int(v) for v in re.split(r"[x,×]", text)]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(1 <= v <= 16 for v in numbers):
        raise StlError("format", text, "n,m,p such as 3,3,3 or 2x3x4, each from 1 to 16")
    return numbers[0], numbers[1], numbers[2]


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
