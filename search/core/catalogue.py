"""The catalogue: a folder of immutable encoder files, named by content, and the index generated from them.

An encoder enters when it is better than every entry of the same target, rank and kind (exact in a ring, or
approximate), so the folder holds the history of improvements. Files are the truth, the index a convenience.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
from dataclasses import asdict, dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

from stl_algebra import Encoder, EncoderFileError, StlError, load, ring, save, target
from stl_algebra.files import file_name
from stl_algebra.known import best_rank, standing
from stl_algebra.scores import epsilon2, kappa2, predicted_error2

from . import tables
from .origins import completed, lineage, printable

__all__ = ["Catalogue", "Row", "naive_line"]

#: Below the results folder: encoders kept, and finds that resisted exactness so far.
ENCODERS, FINDS = "encoders", "finds"
SEAL = ".index"


@dataclass(frozen=True)
class Row:
    """One line of ``index.csv``; every column is derived from the file it names.

    ``found`` is True for encoders from scratch (`search.core.origins.lineage`).
    """

    file: str
    target: str
    rank: int
    ring: str
    exact: bool
    epsilon2: float
    kappa2: float
    total_bf16: float
    flop_ratio: float
    family: str
    group: str
    found: bool
    best_known_rank: str
    sha256: str

    @classmethod
    def of(cls, encoder: Encoder, file: str, exact: bool | None = None) -> Row:
        """The row of an encoder; ``exact`` if that has been established already."""
        nan = float("nan")
        numeric = encoder.ring.embeds
        fmt = encoder.target.format
        known = best_rank(fmt, encoder.ring) if fmt else None
        holds = encoder.ring.exact and (encoder.is_exact if exact is None else exact)
        eps2 = epsilon2(encoder) if numeric else (0.0 if holds else nan)
        return cls(
            file, encoder.target.name, encoder.rank, encoder.ring.name, holds,
            float(f"{eps2:.10g}"), float(f"{kappa2(encoder):.10g}") if numeric else nan,
            float(f"{predicted_error2(encoder):.10g}") if numeric else nan,
            round(encoder.target.norm2 / max(encoder.rank, 1), 6),
            printable(encoder.origin.get("family", ""), 40), printable(encoder.origin.get("group", ""), 200),
            lineage(encoder) == "scratch", str(known or ""), encoder.digest,
        )  # fmt: skip

    @property
    def kind(self) -> tuple[str, int, str]:
        """What competes with what: target, rank, ring (approximate: real or complex), found here or published."""
        what = f"exact {self.ring}" if self.exact else "complex" if self.is_complex else "real"
        return self.target, self.rank, what + (", found" if self.found else "")

    @property
    def is_complex(self) -> bool:
        """Whether the coefficients are complex numbers."""
        return ring(self.ring).is_complex

    @property
    def standing(self) -> int | None:
        """0 for the best known rank over the row's own ring, 1 above it, −1 for a record; None if not comparable."""
        return standing(target(self.target), self.rank, self.ring)

    @property
    def cost(self) -> float:
        """What is compared within a kind: κ² of exact entries, total bf16 error of approximate ones; 0 over GF(q).

        What cannot be computed costs infinitely much.
        """
        if self.exact and self.ring.startswith("GF("):
            return 0.0
        value = self.kappa2 if self.exact else self.total_bf16
        return value if value == value and value >= 0 else float("inf")


class Catalogue:
    """A results folder; reading it proves nothing (`search.verify` does) and writes nothing."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise StlError("out", str(folder), "a folder (it is a file)")
        self.index = self.folder / "index.csv"
        self._rows: dict[str, Row] = {}
        self._cached = self._read_index()
        self.refresh()

    def _read_index(self) -> dict[str, Row]:
        """Rows by file name, as the index has them; none if it is not as it was written."""
        cached: dict[str, Row] = {}
        seal = self.folder / SEAL
        if not self.index.exists() or not seal.exists() or seal.read_bytes() != _seal(self.index):
            return cached
        with self.index.open(newline="", encoding="utf-8", errors="replace") as stream:
            lines = csv.DictReader(line.replace("\0", "") for line in stream)
            with contextlib.suppress(csv.Error):
                for raw in lines:
                    try:
                        row = Row(**{f.name: _parse(str(f.type), raw[f.name]) for f in fields(Row)})
                    except (KeyError, TypeError, ValueError):
                        continue  # an index of another version: derive the row again
                    if len(row.sha256) == 64:  # else the line was cut short
                        cached[row.file] = row
        return cached

    def refresh(self) -> None:
        """Look at the folder again: other processes may have added files.

        A row of the index is used while its file is older than the index.
        """
        age = self.index.stat().st_mtime if self.index.exists() else 0.0
        rows = {}
        for path in sorted((self.folder / ENCODERS).glob("*.safetensors")):
            name = path.relative_to(self.folder).as_posix()
            held = self._rows.get(name)
            if held is None and name in self._cached and path.stat().st_mtime <= age:
                held = self._cached[name]
            rows[name] = held or self._derived(path, name)
        self._rows = rows

    def _derived(self, path: Path, name: str) -> Row:
        return Row.of(load(path, trust_certificate=True), name)

    @property
    def rows(self) -> list[Row]:
        """All rows, by target, rank, exactness and cost."""
        return sorted(self._rows.values(), key=lambda r: (r.target, r.rank, not r.exact, r.cost, r.file))

    def best(self, kind: tuple[str, int, str]) -> Row | None:
        """The entry of least cost of a kind."""
        return min((r for r in self._rows.values() if r.kind == kind), key=lambda r: (r.cost, r.file), default=None)

    def find(self, name: str) -> Encoder | None:
        """The encoder of a digest, or of its beginning (at least 8 hex digits)."""
        for row in self._rows.values():
            if len(name) >= 8 and row.sha256.startswith(name):
                return load(self.folder / row.file, trust_certificate=True)
        return None

    def add(self, encoder: Encoder, always: bool = False) -> tuple[Row, bool]:
        """Offer an encoder; it is written if it improves on its kind.

        The rule is for finds. What a person names – published schemes imported, the classical ones finds are compared
        with, a run told to keep every exact find – comes with ``always`` and is kept beside the better entry.

        Returns
        -------
        (row, improved) : the encoder's row (its file name empty if not written) and whether it was written.
        """
        encoder = completed(encoder, self.find)
        row = Row.of(encoder, "")
        held = self.best(row.kind)
        if row.cost == float("inf") or (held is not None and not always and not row.cost < held.cost * (1 - 1e-6)):
            return row, False
        path, new = self.store(encoder, ENCODERS)
        name = path.relative_to(self.folder).as_posix()
        if not new and name in self._rows:
            return self._rows[name], False
        self._rows[name] = row = Row.of(encoder, name)
        return row, True

    def store(self, encoder: Encoder, below: str) -> tuple[Path, bool]:
        """Write an encoder below a folder of the catalogue, whatever it is worth.

        A damaged file of its name is replaced; one that holds another encoder (names are 8 hex digits of the digest) is
        left alone and the new one gets a longer name.

        Returns
        -------
        (path, new)
        """
        folder = self.folder / below
        path = folder / file_name(encoder)
        if path.exists():
            held = _held(path)
            if held == encoder.digest:
                return path, False
            if held is None:
                path.unlink()
            else:
                return self._renamed(encoder, folder)
        return save(encoder, folder), True

    def _renamed(self, encoder: Encoder, folder: Path) -> tuple[Path, bool]:
        plain = file_name(encoder)
        path = folder / plain.replace(encoder.digest[:8], encoder.digest[:32])
        if path.exists() and _held(path) == encoder.digest:
            return path, False
        aside = folder / f".{os.getpid()}"
        os.replace(save(encoder, aside), path)
        aside.rmdir()
        return path, True

    def merge(self, other: Catalogue) -> int:
        """Take in every file of another catalogue (proven again); the union, whichever way and however often."""
        added = 0
        for row in other.rows:
            encoder = load(other.folder / row.file)
            path, new = self.store(encoder, ENCODERS)
            name = path.relative_to(self.folder).as_posix()
            self._rows[name] = Row.of(encoder, name)
            added += new
        for path in sorted((other.folder / FINDS).glob("*.safetensors")):
            added += self.store(load(path), FINDS)[1]
        self.write_index()
        return added

    def write_index(self) -> None:
        """Regenerate ``index.csv`` (atomically, one process at a time), and remove what killed writers left."""
        with tables.locked(self.folder):
            self.refresh()
            tables.write(self.index, [f.name for f in fields(Row)], (asdict(r) for r in self.rows))
            (self.folder / SEAL).write_bytes(_seal(self.index))
            for part in (self.folder, self.folder / ENCODERS, self.folder / FINDS):
                tables.sweep(part)


def _seal(index: Path) -> bytes:
    """What tells an index that was written here from one that was edited since."""
    return hashlib.sha256(index.read_bytes()).hexdigest().encode()


def _held(path: Path) -> str | None:
    """Digest of the encoder in a file; None if there is none to be read."""
    try:
        return load(path, trust_certificate=True).digest
    except EncoderFileError:
        return None


def _parse(kind: str, text: str) -> Any:
    if kind == "bool":
        return {"True": True, "False": False}[text]
    converters: dict[str, Any] = {"int": int, "float": float}
    return converters.get(kind, str)(text)


def naive_line(row: Row) -> float | None:
    """ε² of keeping r of the nmp standard products, for matrix products."""
    if not row.target.startswith("matmul:"):
        return None
    volume = prod(int(v) for v in row.target[7:].split("x"))
    return max(0.0, 1 - row.rank / volume)
