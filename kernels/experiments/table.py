"""CSV rows as they finish, resume, and tables with 95 % intervals."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Table", "interval"]

#: two-sided 95 % quantiles of Student's t for 1 … 9 degrees of freedom
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval (Student's t); nan for a single value.

    >>> tuple(round(v, 3) for v in interval([1.0, 2.0, 3.0]))
    (2.0, 2.484)
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, float("nan")
    t = T95[len(values) - 2] if len(values) - 2 < len(T95) else 1.96
    return mean, t * statistics.stdev(values) / len(values) ** 0.5


class Table:
    """An append-only CSV file; ``key`` columns say which trainings are done."""

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self.path, self.key = path, tuple(key)
        path.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> list[dict[str, str]]:
        """All rows so far."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def done(self) -> set[tuple[str, ...]]:
        """Keys of the finished trainings."""
        return {tuple(row[k] for k in self.key) for row in self.rows()}

    def add(self, row: dict[str, Any]) -> None:
        """Append and flush one row; the first one fixes the columns."""
        new = not self.path.exists()
        columns = list(row) if new else self.path.read_text().splitlines()[0].split(",")
        with self.path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def summary(self, by: Sequence[str], values: Sequence[str]) -> list[dict[str, Any]]:
        """One row for every combination of ``by``: seeds, mean and 95 % half-width of each of ``values``."""
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in self.rows():
            groups.setdefault(tuple(row[k] for k in by), []).append(row)
        out = []
        for names, rows in groups.items():
            line: dict[str, Any] = dict(zip(by, names, strict=True)) | {"seeds": len(rows)}
            for value in values:
                found = [float(r[value]) for r in rows if r.get(value, "") not in ("", "nan")]
                line[value], line[f"{value} ±"] = interval(found) if found else (float("nan"), float("nan"))
            out.append(line)
        return out


def markdown(lines: Sequence[dict[str, Any]], digits: int = 3) -> str:
    """A table as Markdown; floats to ``digits``."""
    if not lines:
        return "(no rows)"
    heads = list(lines[0])

    def cell(value: Any) -> str:
        return f"{value:.{digits}f}" if isinstance(value, float) else str(value)

    rows = [heads, ["---"] * len(heads), *([cell(line[h]) for h in heads] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
