"""The ledger: what is being run, what was run, and what came of it. One SQLite file a results folder.

A unit's key is the primary key and a lease marks the units somebody runs, so any number of processes share a folder
without doing a unit twice; write-ahead logging and a commit per unit make any kill lose at most the units in flight,
whose leases end with their process, or run out if that was on another machine.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stl_algebra import StlError, __version__

from . import tables
from .unit import Unit
from .work import Outcome

__all__ = ["COLUMNS", "LEASE", "STATES", "Ledger", "owner_here"]

COLUMNS = (
    "key", "family", "symmetry", "format", "rank", "ring", "parameters", "seed", "name", "status", "attempts", "owner",
    "until", "finished", "seconds", "statistics", "message", "files", "version",
)  # fmt: skip
#: What a column may hold; whatever else is found there was damaged.
_NUMBERS: dict[str, tuple[type, ...]] = {
    "rank": (int,), "seed": (int,), "attempts": (int,), "until": (int, float), "seconds": (int, float, type(None)),
    "finished": (str, type(None)),
}  # fmt: skip
#: done; cut short by its time; failed (and retried a few times); lost every worker that tried; being run.
STATES = ("done", "cut", "failed", "killed", "running")
#: Seconds after which a lease nobody renews is void.
LEASE = 60.0
#: Seconds to wait for other processes that write.
PATIENCE = 30.0
#: Attempts at a unit that fails, and seconds before the next one: 2, 8, 32 …
ATTEMPTS = 3
BACK_OFF = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS units (
  key TEXT PRIMARY KEY, family TEXT, symmetry TEXT, format TEXT, rank INTEGER, ring TEXT, parameters TEXT, seed INTEGER,
  name TEXT, status TEXT, attempts INTEGER, owner TEXT, until REAL, finished TEXT, seconds REAL, statistics TEXT,
  message TEXT, files TEXT, version TEXT
) WITHOUT ROWID
"""


def owner_here() -> str:
    """Who holds a lease: machine (and the name space its process numbers belong to) and process."""
    spaces = Path("/proc/self/ns/pid")
    where = f"{socket.gethostname()}/{spaces.stat().st_ino}" if spaces.exists() else socket.gethostname()
    return f"{where}:{os.getpid()}"


def _gone(owner: str) -> bool:
    """Whether the owner is a process of this machine that has ended: its leases need not run out."""
    where, _, pid = owner.rpartition(":")
    if where != owner_here().rpartition(":")[0] or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


class Ledger:
    """Open (and create) the ledger of a results folder; use as a context manager.

    Raises
    ------
    StlError
        If the file is damaged, locked, or of another version; says what to do.
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.exists():
            raise StlError("ledger", str(path), "an existing ledger", "Run python -m search.run first.")
        with self._named():
            try:
                self._db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
                held = self._prepared()
            except sqlite3.OperationalError:
                wal = self.path.with_name(self.path.name + "-wal")
                if create or os.access(self.path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size):
                    raise
                # in a folder nobody can write to it can still be read: nothing changes while it is open
                self._db = sqlite3.connect(f"{self.path.resolve().as_uri()}?immutable=1", uri=True)
                held = self._columns()
        if held != COLUMNS:
            self._db.close()
            raise self._unusable(f"other columns ({', '.join(held[:4])} …)")

    def _prepared(self) -> tuple[str, ...]:
        """Names of the columns, once the file is a ledger with write-ahead logging.

        Turning that on takes the whole file, which SQLite refuses without waiting while others open it too.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA cache_size=-65536")  # 64 MB: keys are spread evenly over the whole file
        self._db.execute(_SCHEMA)
        return self._columns()

    def _columns(self) -> tuple[str, ...]:
        return tuple(row[1] for row in self._db.execute("PRAGMA table_info(units)"))

    def _unusable(self, why: str) -> StlError:
        cure = f"python -m search.runs rebuild --out {self.path.parent} puts it aside and begins a new one"
        return StlError("ledger", str(self.path), f"a ledger of this version ({why})", cure + "; no encoder is lost.")

    def _sound(self, names: Sequence[str], row: Sequence[Any]) -> Sequence[Any]:
        """The row, if its values are what such columns hold."""
        for name, value in zip(names, row, strict=True):
            if not isinstance(value, _NUMBERS.get(name, (str,))) or (name == "status" and value not in STATES):
                raise self._unusable(f"a damaged value in the column {name}")
        return row

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever SQLite objects to, in one line with a way on."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                cure = "End the program that does."
                raise StlError("ledger", str(self.path), "a ledger nobody locks", cure) from None
            if "disk" in str(error) or "readonly" in str(error) or "unable to open" in str(error):
                raise StlError("ledger", str(self.path), f"a writable place ({error})", "Pass another --out.") from None
            raise self._unusable(str(error)) from None
        except (sqlite3.Error, UnicodeDecodeError) as error:  # even messages about damage may be damaged
            raise self._unusable(str(error)) from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._named():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # ------------------------------------------------------------------ leases
    def states(self, units: Iterable[Unit]) -> dict[str, tuple[str, int, float]]:
        """(status, attempts, until) of those units that are in the ledger, by key."""
        keys = [u.key for u in units]
        found: dict[str, tuple[str, int, float]] = {}
        with self._named():
            for at in range(0, len(keys), 500):  # SQLite bounds the number of variables of a query
                part = keys[at : at + 500]
                query = f"SELECT key, status, attempts, until FROM units WHERE key IN ({','.join('?' * len(part))})"
                for row in self._db.execute(query, part):
                    key, status, attempts, until = self._sound(("key", "status", "attempts", "until"), row)
                    found[key] = (status, attempts, until)
        return found

    def settled(self, units: Iterable[Unit]) -> set[str]:
        """Keys of those units that need not be run: done, or failed for good."""
        done = self.states(units).items()
        return {k for k, (status, attempts, _) in done if status == "done" or _given_up(status, attempts)}

    def claim(self, unit: Unit, owner: str, name: str = "", lease: float = LEASE) -> str:
        """Take a unit for a while, if it is free.

        Returns
        -------
        str
            ``"taken"`` if the caller may run it now, else why not: ``"settled"``, ``"busy"`` (another process runs it)
            or ``"later"`` (it failed a moment ago).
        """
        now = time.time()
        with self._writing() as db:
            names = ("status", "attempts", "owner", "until")
            row = db.execute(f"SELECT {', '.join(names)} FROM units WHERE key = ?", (unit.key,)).fetchone()
            attempts = self._sound(names, row)[1] if row else 0
            if row and (row[0] == "done" or _given_up(row[0], attempts)):
                return "settled"
            if row and row[0] == "running" and row[3] > now and row[2] != owner and not _gone(row[2]):
                return "busy"
            if row and row[0] in ("failed", "killed") and row[3] > now:
                return "later"
            if row and row[0] == "running":  # its worker or its machine went away
                attempts += row[2] != owner
            self._put(unit, name=name, status="running", attempts=attempts, owner=owner, until=now + lease)
        return "taken"

    def renew(self, units: Iterable[Unit], owner: str, lease: float = LEASE) -> None:
        """Prolong the leases of units in flight."""
        with self._writing() as db:
            rows = [(time.time() + lease, u.key, owner) for u in units]
            db.executemany("UPDATE units SET until = ? WHERE key = ? AND owner = ? AND status = 'running'", rows)

    def release(self, units: Iterable[Unit], owner: str) -> None:
        """Give units back that were not finished; somebody else may take them at once."""
        with self._writing() as db:
            rows = [(u.key, owner) for u in units]
            db.executemany("UPDATE units SET until = 0 WHERE key = ? AND owner = ? AND status = 'running'", rows)

    # ----------------------------------------------------------------- results
    def record(self, outcome: Outcome, files: Sequence[str] = (), name: str = "") -> None:
        """Store an outcome; committed when this returns."""
        unit = outcome.unit
        with self._writing() as db:
            row = db.execute("SELECT attempts, name FROM units WHERE key = ?", (unit.key,)).fetchone()
            row = row and self._sound(("attempts", "name"), row)
            attempts = (row[0] if row else 0) + (outcome.status != "done")
            until = time.time() + BACK_OFF * 4.0 ** (attempts - 1) if outcome.status in ("failed", "killed") else 0.0
            self._put(
                unit, name=name or (row[1] if row else ""), status=outcome.status, attempts=attempts,
                owner=owner_here(), until=until, finished=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(outcome.seconds, 4), statistics=json.dumps(outcome.statistics, default=str),
                message=outcome.message, files=json.dumps(list(files)),
            )  # fmt: skip

    def _put(self, unit: Unit, **values: Any) -> None:
        row = {
            **unit.plain(), "key": unit.key, "parameters": json.dumps(dict(unit.parameters), sort_keys=True),
            "version": __version__, "statistics": "{}", "message": "", "files": "[]", "seconds": None, "finished": None,
            **values,
        }  # fmt: skip
        values_ = [row.get(c) for c in COLUMNS]
        self._db.execute(f"INSERT OR REPLACE INTO units VALUES ({','.join('?' * len(COLUMNS))})", values_)

    def forget(self, where: dict[str, str]) -> int:
        """Drop units whose columns have these values (``key`` may be a beginning); they will be run again."""
        clause, values = _clause(where)
        with self._writing() as db:
            return int(db.execute(f"DELETE FROM units WHERE {clause}", values).rowcount)

    def forget_units(self, units: Iterable[Unit]) -> None:
        """Drop these units unless somebody runs them."""
        with self._writing() as db:
            keys = [(u.key, time.time()) for u in units]
            db.executemany("DELETE FROM units WHERE key = ? AND NOT (status = 'running' AND until > ?)", keys)

    def retry(self, where: dict[str, str] | None = None) -> int:
        """Let failed and killed units be tried again, from the first attempt on."""
        clause, values = _clause(where or {})
        query = f"UPDATE units SET attempts = 0, until = 0 WHERE status IN ('failed', 'killed', 'cut') AND {clause}"
        with self._writing() as db:
            return int(db.execute(query, values).rowcount)

    def merge(self, other: Ledger) -> int:
        """Take in what another ledger knows and this one does not: the union, whichever way and however often.

        Returns
        -------
        int
            Rows that are new or more settled than those held.
        """
        rank = {s: i for i, s in enumerate(("running", "killed", "failed", "cut", "done"))}
        taken = 0
        with self._writing() as db:
            for row in other.rows():
                held = db.execute("SELECT status, attempts FROM units WHERE key = ?", (row["key"],)).fetchone()
                held = held and self._sound(("status", "attempts"), held)
                mine = (rank[held[0]], held[1]) if held else (-1, 0)
                if row["status"] == "running" or (rank[row["status"]], row["attempts"]) <= mine:
                    continue
                values = [row[c] for c in COLUMNS]
                db.execute(f"INSERT OR REPLACE INTO units VALUES ({','.join('?' * len(COLUMNS))})", values)
                taken += 1
        return taken

    # ------------------------------------------------------------------ reading
    def __len__(self) -> int:
        with self._named():
            return int(self._db.execute("SELECT COUNT(*) FROM units").fetchone()[0])

    def rows(
        self, where: dict[str, str] | None = None, limit: int = -1, newest: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Rows as mappings of `COLUMNS`, latest first, or latest last."""
        clause, values = _clause(where or {})
        way = "DESC" if newest else "ASC"
        query = f"SELECT * FROM units WHERE {clause} ORDER BY finished {way}, key {way} LIMIT ?"
        with self._named():
            for row in self._db.execute(query, [*values, limit]):
                yield dict(zip(COLUMNS, self._sound(COLUMNS, row), strict=True))

    def counts(self) -> dict[str, int]:
        """Units by status."""
        with self._named():
            return dict(self._db.execute("SELECT status, COUNT(*) FROM units GROUP BY status").fetchall())

    def export(self, path: Path, where: dict[str, str] | None = None) -> int:
        """Write the rows as CSV, what families counted in columns of their own (atomically). Returns the rows.

        Rows are read twice, first for the names of the columns, and never held together.
        """
        columns = dict.fromkeys(c for c in COLUMNS if c not in ("statistics", "until", "owner"))
        for row in self.rows(where):
            columns.update(dict.fromkeys(_counted(row)))
        rows = ({**_counted(row), **row} for row in self.rows(where, newest=False))
        return tables.write(path, list(columns), rows)


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    """What the family counted; nothing where a stranger's row holds no such thing."""
    try:
        found = json.loads(row["statistics"] or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _given_up(status: str, attempts: int) -> bool:
    return status in ("failed", "killed") and attempts >= ATTEMPTS


def _clause(where: dict[str, str]) -> tuple[str, list[str]]:
    unknown = set(where) - set(COLUMNS)
    if unknown:
        raise StlError("where", sorted(unknown), ", ".join(COLUMNS))
    parts = ["key >= ? AND key < ?" if c == "key" else f"{c} = ?" for c in where]  # a range, as keys are sorted
    values = [w for c, v in where.items() for w in ((v, v + "g") if c == "key" else (v,))]  # "g": after every hex digit
    return " AND ".join(parts) or "1", values
