"""The encoders that come with the package, found by name: read-only, proven again when loaded.

>>> from stl_algebra import catalogue
>>> strassen_like = catalogue.best("2x2x2", rank=7, ring="Z")
>>> strassen_like.rank, strassen_like.is_exact
(7, True)

In a checkout these are the files of ``results/encoders``; an installed package carries them as data. A search writes to
a folder of its user's (`search.core.catalogue`), never here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

from ._html import table_html
from .encoder import Encoder
from .errors import StlError
from .files import load, read_header
from .rings import ring as named_ring
from .scores import predicted_error2
from .targets import target as named_target

__all__ = ["Catalogue", "Entry", "best", "catalogue", "folder"]


@dataclass(frozen=True)
class Entry:
    """What the header of an encoder file says; nothing is proven until `load`.

    Attributes
    ----------
    path : Path
    target : str
        ``matmul:4x4x4`` and the like.
    rank : int
    ring : str
    exact : bool
        Whether the file claims its identity (`load` proves it again).
    family, group : str
        Where it came from.
    """

    path: Path
    target: str
    rank: int
    ring: str
    exact: bool
    family: str
    group: str

    @property
    def name(self) -> str:
        """File name without its ending, e.g. ``4x4x4_r49_Z_2d5e8706``."""
        return self.path.stem

    @property
    def label(self) -> str:
        """⟨n,m,p;r⟩, or name;r for other targets."""
        what = (
            self.target.removeprefix("matmul:").replace("x", ",") if self.target.startswith("matmul:") else self.target
        )
        return f"⟨{what};{self.rank}⟩"

    def load(self) -> Encoder:
        """The encoder, proven again."""
        return load(self.path)


class Catalogue(Sequence[Entry]):
    """An immutable list of entries; prints as a table, in Jupyter as an HTML one."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Catalogue: ...
    def __getitem__(self, index: int | slice) -> Entry | Catalogue:
        return Catalogue(self._entries[index]) if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def where(
        self, format: str | Sequence[int] | None = None, rank: int | None = None, ring: str | None = None,
        exact: bool | None = None,
    ) -> Catalogue:  # fmt: skip
        """The entries that fit.

        Parameters
        ----------
        format : "4x4x4", (4, 4, 4) or another target's name, optional
        rank : int, optional
        ring : str, optional
            As rings are named, e.g. ``"Z"``, ``"Z[1/2]"``, ``"GF(2)"``, ``"R64"``.
        exact : bool, optional

        Raises
        ------
        StlError
            For a format or a ring that is none.

        Examples
        --------
        >>> {e.ring for e in catalogue().where("4x4x4", rank=47, exact=True)}
        {'GF(2)'}
        """
        goal = None if format is None else _target_name(format)
        base = None if ring is None else named_ring(ring).name
        return Catalogue(
            [
                e
                for e in self._entries
                if goal in (None, e.target)
                and rank in (None, e.rank)
                and base in (None, e.ring)
                and exact in (None, e.exact)
            ]
        )

    def __repr__(self) -> str:
        rows = [f"{e.label:14} {e.ring:10} {'exact' if e.exact else 'approximate':12} {e.name}" for e in self._entries]
        return "\n".join(rows) or "no encoder"

    def _repr_html_(self) -> str:
        rows = [(e.label, e.ring, "exact" if e.exact else "approximate", e.family, e.group, e.name) for e in self]
        return table_html(("encoder", "ring", "", "family", "group", "name"), rows)


def _target_name(format: str | Sequence[int]) -> str:
    if isinstance(format, str):
        plain = re.fullmatch(r"\s*⟨?\s*(\d+)\s*[x×,]\s*(\d+)\s*[x×,]\s*(\d+)\s*⟩?\s*", format)
        return f"matmul:{plain[1]}x{plain[2]}x{plain[3]}" if plain else named_target(format).name
    sizes = [int(v) for v in format]
    if len(sizes) != 3:
        raise StlError("format", format, "three sizes such as (4, 4, 4)")
    return named_target((sizes[0], sizes[1], sizes[2])).name


def folder() -> Path:
    """Where the encoders that come with the package lie.

    Raises
    ------
    StlError
        If this installation has none.
    """
    here = Path(__file__).resolve().parent
    for place in (here / "encoders", here.parent / "results" / "encoders"):
        if place.is_dir():
            return place
    cure = "Reinstall stl-algebra." if here.is_dir() else "Install the archive (pip install FILE) or unpack it."
    raise StlError("catalogue", str(here), "an installation with its encoder files", cure)


def _entries() -> Iterator[Entry]:
    for path in sorted(folder().glob("*.safetensors")):
        meta = read_header(path)
        origin, certificate = json.loads(meta["origin"]), json.loads(meta["certificate"])
        yield Entry(
            path, meta["target"], int(meta["rank"]), meta["ring"], bool(certificate["holds"]),
            str(origin.get("family", "")), str(origin.get("group", origin.get("symmetry", ""))),
        )  # fmt: skip


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """Every encoder that comes with the package, by target and rank.

    >>> len(catalogue().where("4x4x4", exact=True)) > 3
    True
    """
    return Catalogue(sorted(_entries(), key=lambda e: (e.target, e.rank, not e.exact, e.ring, e.name)))


def best(
    format: str | Sequence[int], rank: int | None = None, ring: str | None = None, exact: bool = True
) -> Encoder:  # fmt: skip
    """The shipped encoder of least rank, and of those the one with the least predicted bf16 error.

    Parameters
    ----------
    format : "4x4x4", (4, 4, 4) or another target's name
    rank : int, optional
        Default: the least there is.
    ring : str, optional
        Default: rings that act on real numbers; name ``"GF(2)"`` and the like to have those.
    exact : bool
        Whether the identity has to hold; with False (and a rank) the least error counts, exact or not.

    Raises
    ------
    StlError
        If there is none; the message lists what there is.

    Examples
    --------
    >>> best("4x4x4", rank=49, ring="Z").label
    '⟨4,4,4;49⟩'
    """
    of_format = catalogue().where(format)
    fits = of_format.where(None, rank, ring, True if exact else None)
    if ring is None:
        fits = Catalogue([e for e in fits if _acts_on_floats(e.ring)])
    if not fits:
        there = sorted(
            {f"{e.rank} over {e.ring}" for e in of_format if e.exact or not exact}, key=lambda t: int(t.split()[0])
        )
        raise StlError(
            "rank" if rank else "format", f"{format}, rank {rank}, ring {ring or 'any that acts on floats'}",
            ", ".join(there) or "a format of stl_algebra.catalogue.catalogue()", "Discover one: python -m search.run.",
        )  # fmt: skip
    least = min(e.rank for e in fits) if exact else None
    loaded = [e.load() for e in fits if least in (None, e.rank)]
    return min(loaded, key=lambda e: predicted_error2(e) if e.ring.embeds else 0.0)


def _acts_on_floats(name: str) -> bool:
    base = named_ring(name)
    return base.embeds and not base.is_complex
