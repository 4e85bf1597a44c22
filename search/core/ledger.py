"""The SQLite ledger of work units: what was run, with which result. One writer, the parent process.

A unit's key is the primary key, so nothing runs twice; write-ahead logging and a commit per unit make any kill lose at
most the units in flight.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from search.core.unit import Unit
from stl_algebra import StlError

if TYPE_CHECKING:
    from search.core.pipeline import Outcome

__all__ = ["Ledger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS units (
  key TEXT PRIMARY KEY, family TEXT, grp TEXT, format TEXT, rank INTEGER, parameters TEXT, seed INTEGER,
  restarts INTEGER, converged INTEGER, tried INTEGER, rationalised INTEGER, best_eps2 REAL, seconds REAL,
  message TEXT, files TEXT, finished TEXT
)
"""


class Ledger:
    """Open (and create) the ledger of a results folder; use as a context manager."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self.path, timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(_SCHEMA)
            self._db.commit()
        except sqlite3.DatabaseError as error:
            raise StlError(
                "ledger", str(path), f"a SQLite ledger ({error})", "Move the file away; units will be redone."
            ) from None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def done(self, units: Iterable[Unit]) -> set[str]:
        """Keys of those units that have been run."""
        keys = [u.key for u in units]
        found: set[str] = set()
        for at in range(0, len(keys), 500):  # SQLite bounds the number of variables of a query
            part = keys[at : at + 500]
            query = f"SELECT key FROM units WHERE key IN ({','.join('?' * len(part))})"
            found |= {row[0] for row in self._db.execute(query, part)}
        return found

    def record(self, outcome: Outcome, files: list[str]) -> None:
        """Store an outcome; committed when this returns."""
        u = outcome.unit
        row = (
            u.key, u.family, u.group, "x".join(map(str, u.format)), u.rank,
            json.dumps(dict(u.parameters), sort_keys=True),
            u.seed, outcome.restarts, outcome.converged, outcome.tried, outcome.rationalised, outcome.best_eps2,
            outcome.seconds, outcome.message, json.dumps(files), datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        self._db.execute(f"INSERT OR REPLACE INTO units VALUES ({','.join('?' * len(row))})", row)
        self._db.commit()

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM units").fetchone()[0])

    def rates(self) -> list[tuple[str, str, str, int, int, int, float]]:
        """(family, group, format, restarts, converged, rationalised, seconds) summed over units."""
        query = (
            "SELECT family, grp, format || ':' || rank, SUM(restarts), SUM(converged), SUM(rationalised), SUM(seconds)"
        )
        return list(self._db.execute(query + " FROM units GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"))
