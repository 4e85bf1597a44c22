"""CSV files that several processes write: whole or not at all, one writer at a time, and no litter."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stl_algebra import StlError

__all__ = ["locked", "number", "read", "sweep", "write"]

#: Bytes of a table that is read.
MAX_BYTES = 1 << 26
#: Seconds after which an unfinished file has no writer any more.
STALE = 3600.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process, however that ends, and leaves no file behind."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on this system: the last writer wins
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a table by an atomic rename, columns that are not named left out; the number of rows."""
    part, written = path.with_name(f".{path.name}.{os.getpid()}.part"), 0
    try:
        with part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(columns), lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            for written, row in enumerate(rows, 1):  # noqa: B007
                writer.writerow(row)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return written


def read(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table that has at least these columns.

    Raises
    ------
    StlError
        If it has not, is no text, or is larger than `MAX_BYTES`.
    """
    wanted, cure = f"a CSV table with the columns {', '.join(needed)}", "Move the file away or name another."
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StlError("table", str(path), f"at most {MAX_BYTES} bytes", cure)
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise StlError("table", str(path), f"{wanted} ({error})", cure) from None
    if any(row.get(name) is None for row in rows for name in needed):
        raise StlError("table", str(path), wanted, cure)
    return rows


def number(text: object) -> float:
    """A cell as a number; infinity where it is none."""
    try:
        value = float(str(text))
    except ValueError:
        return float("inf")
    return value if value == value else float("inf")


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left unfinished."""
    for pattern in (".*.part", ".writing-*"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
