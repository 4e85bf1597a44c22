"""Plans: named units with budgets and a reason, one line a unit.

A plan is a text file of JSON objects, one a line, with the fields of `Unit` and ``name``, ``seconds`` and ``reason``;
lines that begin with ``#`` are remarks. Shipped plans are found by name, others by path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from stl_algebra import StlError

from .runner import LIMIT, Task
from .unit import Unit, family

__all__ = ["names", "read", "write"]

SHIPPED = files(__package__.rpartition(".")[0]) / "data"
MAX_BYTES = 1 << 26
_EXTRA = ("name", "seconds", "reason")


def names() -> list[str]:
    """The shipped plans.

    Examples
    --------
    >>> names()
    ['rediscovery', 'symmetries']
    """
    return sorted(p.name.removesuffix(".jsonl") for p in SHIPPED.iterdir() if p.name.endswith(".jsonl"))


def read(plan: str | os.PathLike[str], check: bool = True) -> list[Task]:
    """The tasks of a plan.

    Parameters
    ----------
    plan : str or path
        Name of a shipped plan, or a file.
    check : bool
        Whether the families must exist and have the settings named.

    Raises
    ------
    StlError
        Names the line and the field that is wrong.

    Examples
    --------
    >>> [t.unit.rank for t in read("rediscovery") if t.name == "222-z3"]
    [7]
    """
    shipped = str(plan) in names()
    path: Traversable = SHIPPED / f"{plan}.jsonl" if shipped else Path(plan)
    try:
        if not shipped and Path(plan).stat().st_size > MAX_BYTES:
            raise StlError("plan", str(plan), f"a file of at most {MAX_BYTES} bytes")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, StlError):
            raise
        raise StlError("plan", str(plan), f"a plan ({', '.join(names())}) or a file of one ({error})") from None
    tasks = list(_tasks(lines, str(plan), check))
    if not tasks:
        raise StlError("plan", str(plan), "at least one unit")
    twice = [t.name for t in tasks if t.name and sum(u.name == t.name for u in tasks) > 1] if len(tasks) < 2000 else []
    if twice:
        raise StlError("plan", f"{plan}: {twice[0]} twice", "a name of its own for each unit")
    return tasks


def _tasks(lines: Iterable[str], plan: str, check: bool) -> Iterator[Task]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{plan}, line {number}"
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise StlError(where, line, "a JSON object")
            unit = Unit.parse({k: v for k, v in row.items() if k not in _EXTRA})
            if check:
                family(unit.family).check(unit.parameters)
            yield Task(unit, str(row.get("name", ""))[:80], _seconds(row), str(row.get("reason", ""))[:500])
        except StlError as error:
            raise StlError(where, error.argument, f"{error.allowed}, not {str(error.value)[:80]}", error.cure) from None
        except (ValueError, RecursionError):
            raise StlError(where, line, "a JSON object") from None


def _seconds(row: dict[str, Any]) -> float:
    value = row.get("seconds", LIMIT)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e7:
        raise StlError("seconds", value, "a positive number")
    return float(value)


def write(tasks: Iterable[Task], path: str | os.PathLike[str], remark: str = "") -> None:
    """Write a plan, one line a unit."""
    lines = [f"# {line}" for line in remark.splitlines()]
    for task in tasks:
        row: dict[str, Any] = {"name": task.name} if task.name else {}
        plain = task.unit.plain()
        row |= {k: v for k, v in plain.items() if not (k == "ring" and v == "Q(sqrt)") and v not in ({}, None)}
        row |= {"seconds": task.seconds} | ({"reason": task.reason} if task.reason else {})
        lines.append(json.dumps(row, ensure_ascii=False))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
