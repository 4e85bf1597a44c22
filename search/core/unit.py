"""What to try and how: units of work, and the families that make and run them.

A `Unit` is plain data: it can be written down, hashed, sent anywhere and run again. A `Family` is one module of
`search.families` with one `register` call: ``units`` lists what to try for a request, ``run`` tries one unit and yields
its finds. A find is an `Encoder`, exact or not; what happens to it afterwards (`search.core.work`) is the same for all.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from stl_algebra.encoder import Encoder
from stl_algebra.errors import StlError

__all__ = [
    "Context", "Family", "Request", "Unit", "families", "families_of", "family", "groups", "parse_format", "register",
]  # fmt: skip

#: Part of every unit's key: raise it when a change makes old results incomparable.
UNIT_VERSION = 2
#: Rings an encoder may be wanted in: exact ones, largest ring accepted; R64 and C128 if numbers will do.
RINGS = ("Z", "Z[1/2]", "Q", "Q(sqrt)", "GF(2)", "R64", "C128")
#: Bytes of a unit written down; what strangers send is refused above this.
MAX_UNIT_BYTES = 20_000
_NAME = re.compile(r"[ -~]{1,400}")

Format = tuple[int, int, int]


def parse_format(text: object) -> Format:
    """(n, m, p) from "3,3,3", "3x3x3", "3" or [3, 3, 3].

    Examples
    --------
    >>> parse_format("2x3x4"), parse_format("3")
    ((2, 3, 4), (3, 3, 3))
    """
    if isinstance(text, (list, tuple)) and all(isinstance(v, (int, str)) for v in text):
        text = "x".join(map(str, text))
    if isinstance(text, str) and re.fullmatch(r"\s*\d{1,2}(\s*[x,×]\s*\d{1,2}){0,2}\s*", text):
        sizes = [int(v) for v in re.split(r"[x,×]", text)] * (1 if re.search(r"[x,×]", text) else 3)
        if len(sizes) == 3 and all(1 <= v <= 16 for v in sizes):
            return sizes[0], sizes[1], sizes[2]
    raise StlError("format", text, "n,m,p such as 3,3,3 or 2x3x4, each from 1 to 16")


@dataclass(frozen=True)
class Unit:
    """One deterministic, idempotent piece of work of seconds to minutes.

    Attributes
    ----------
    family : str
    symmetry : str
        In the grammar of `stl_algebra.symmetry.grammar`; ``"none"`` for no symmetry.
    format : (n, m, p)
    rank : int
        Number of products.
    parameters : mapping
        What else the family needs, JSON-able.
    seed : int
        Of all random choices.
    ring : str
        Largest ring the encoder may end in (see `RINGS`).

    Examples
    --------
    >>> unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}})
    >>> Unit.parse(json.loads(json.dumps(unit.plain()))) == unit
    True
    """

    family: str
    symmetry: str
    format: Format
    rank: int
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    seed: int = 0
    ring: str = "Q(sqrt)"

    def __post_init__(self) -> None:
        for name in ("family", "symmetry"):
            value = getattr(self, name)
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise StlError(name, value, "1 to 400 printable ASCII characters")
        object.__setattr__(self, "format", parse_format(self.format))
        for name, least, most in (("rank", 1, 4096), ("seed", 0, 2**63 - 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise StlError(name, value, f"a whole number from {least} to {most}")
        if self.ring not in RINGS:
            raise StlError("ring", self.ring, ", ".join(RINGS))
        if not isinstance(self.parameters, Mapping):
            raise StlError("parameters", self.parameters, "a mapping")
        try:
            text = json.dumps(dict(self.parameters), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise StlError("parameters", self.parameters, "plain JSON data") from None
        if len(text) > MAX_UNIT_BYTES:
            raise StlError("parameters", f"{len(text)} bytes of JSON", f"at most {MAX_UNIT_BYTES}")
        object.__setattr__(self, "parameters", json.loads(text))

    @classmethod
    def parse(cls, row: object) -> Unit:
        """The unit that `plain` wrote down.

        Raises
        ------
        StlError
            Names the field that is missing, unknown or wrong.
        """
        names = [f.name for f in fields(cls)]
        if not isinstance(row, Mapping):
            raise StlError("unit", row, f"an object with the fields {', '.join(names)}")
        missing = {"family", "symmetry", "format", "rank"} - set(row)
        if missing or set(row) - set(names):
            wrong = sorted(map(str, missing or set(row) - set(names)))
            raise StlError("unit", wrong, f"the fields {', '.join(names)}", "Correct the unit's fields.")
        return cls(**row)

    def plain(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**row, "format": "x".join(map(str, self.format)), "parameters": dict(self.parameters)}

    def with_(self, **changes: Any) -> Unit:
        """A copy with some fields changed; what is no field is a parameter."""
        own = {f.name for f in fields(self)}
        parameters = {**self.parameters, **{k: v for k, v in changes.items() if k not in own}}
        return replace(self, **{"parameters": parameters, **{k: v for k, v in changes.items() if k in own}})

    @cached_property
    def key(self) -> str:
        """SHA-256 (first 20 hex digits) of what determines the result."""
        data = json.dumps([UNIT_VERSION, self.plain()], sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()[:20]

    @property
    def label(self) -> str:
        """For people: ``orbit Z3 ⟨3,3,3;23⟩ seed 0``."""
        return f"{self.family} {self.symmetry} ⟨{','.join(map(str, self.format))};{self.rank}⟩ seed {self.seed}"


@dataclass
class Context:
    """What a family is given besides the unit: where to run, how long, and whom to tell.

    Attributes
    ----------
    device : str
        Where an optimiser runs.
    seconds : float
        Time allowed; `left` counts it down from when the context was made.
    statistics : dict
        What the family counted (JSON-able); goes to the ledger.
    parents : list of Encoder
        Encoders of other units that the family read to begin from.
    log : callable
        Receives one-line progress messages.
    """

    device: str = "cpu"
    seconds: float = math.inf
    statistics: dict[str, Any] = field(default_factory=dict)
    parents: list[Encoder] = field(default_factory=list)
    log: Callable[[str], None] = lambda message: None
    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.seconds - (time.monotonic() - self.begun))


@dataclass(frozen=True)
class Request:
    """What the user asked for; None means the family's own choice.

    Attributes
    ----------
    group : str or None
        A kind of groups such as ``"cyclic"``, a symmetry such as ``"Z3*T"`` or ``"none"``, or a finite group.
    family : str or None
    order : int or None
        Order of the group.
    format : (n, m, p) or None
    rank : int or None
    ring : str or None
    seed : int
        Added to the round number to seed each unit.
    parameters : mapping
        Settings of the family's units to replace.

    Examples
    --------
    >>> Request("S3", rank=7).asked()
    {'rank': 7}
    """

    group: str | None = None
    family: str | None = None
    order: int | None = None
    format: Format | None = None
    rank: int | None = None
    ring: str | None = None
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse what families would take for "not given" (0) or could not count with."""
        for name in ("order", "rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StlError(name, value, "a positive integer")
        if self.ring is not None and self.ring not in RINGS:
            raise StlError("ring", self.ring, ", ".join(RINGS))

    def asked(self) -> dict[str, Any]:
        """What restricts the units, for error messages."""
        return {k: v for k in ("order", "format", "rank", "ring") if (v := getattr(self, k)) is not None}


Units = Callable[[Request, int], Iterator[Unit]]
Run = Callable[[Unit, Context], Iterator[Encoder]]


@dataclass(frozen=True)
class Family:
    """A registered family; see `register`."""

    name: str
    groups: tuple[str, ...]
    space: str
    units: Units
    run: Run
    settings: Mapping[str, Any]
    accepts: Callable[[str], bool]
    late: bool = False

    def round(self, request: Request, turn: int) -> list[Unit]:
        """The units of one round of a request, with its settings and ring in them."""
        if request.group is None:
            request = replace(request, group=self.groups[0] if self.groups else "none")
        self.check(request.parameters)
        changes: dict[str, Any] = dict(request.parameters)
        if request.ring is not None:
            changes["ring"] = request.ring
        found = list(self.units(request, turn))
        return [u.with_(**changes) for u in found] if changes else found

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse settings the family does not have."""
        unknown = sorted(set(parameters) - set(self.settings))
        if unknown:
            raise StlError("parameters", unknown, f"for family {self.name}: {', '.join(self.settings) or 'none'}")


_FAMILIES: dict[str, Family] = {}


def register(
    name: str,
    *,
    space: str,
    run: Run,
    groups: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
    accepts: Callable[[str], bool] = lambda group: False,
    late: bool = False,
) -> Callable[[Units], Units]:
    """Decorator for a generator ``units(request, turn)`` that yields the units of one round of the search.

    Parameters
    ----------
    name : str
    space : str
        One line that says which orders, formats and ranks are possible; shown in listings and errors.
    run : callable
        ``run(unit, context)``, in a worker: an iterator of finds, best first. It is read on until one of them has been
        made exact, so finds that are dear to make are better made late.
    groups : tuple of str
        Kinds of groups (values of ``--group``) under which the family is searched; the first is its default.
    settings : mapping
        Names and defaults of the parameters a unit of this family may have.
    accepts : callable, optional
        Further values of ``--group`` the family understands.
    late : bool
        Whether its units take so long that those of the other families come first in every round.
    """

    def add(units: Units) -> Units:
        _FAMILIES[name] = Family(name, groups, space, units, run, dict(settings or {}), accepts, late)
        return units

    return add


def families() -> dict[str, Family]:
    """All families by name (imports the modules of `search.families` on first use)."""
    package = import_module("..families", __package__)
    for module in iter_modules(package.__path__):
        if not module.name.startswith("_"):
            import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_FAMILIES.items()))


def family(name: str) -> Family:
    """The family of that name; StlError lists the known ones.

    Examples
    --------
    >>> family("orbit").name
    'orbit'
    """
    known = families()
    if name not in known:
        raise StlError("family", name, ", ".join(known))
    return known[name]


def groups() -> list[str]:
    """Every kind of group some family is registered for.

    Examples
    --------
    >>> "cyclic" in groups()
    True
    """
    return sorted({g for f in families().values() for g in f.groups})


def families_of(request: Request) -> list[Family]:
    """The families that serve a request; StlError lists the known kinds of groups.

    Examples
    --------
    >>> [f.name for f in families_of(Request("Z3"))]
    ['flips', 'orbit']
    """
    known = [family(request.family)] if request.family else list(families().values())
    group = request.group
    kind = any(group in f.groups for f in known)  # a kind of groups is no name of a group
    found = [f for f in known if group is None or group in f.groups or (not kind and f.accepts(group))]
    if not found:
        kinds = sorted({g for f in known for g in f.groups})
        raise StlError("group", group, "one of " + ", ".join(kinds), "See python -m search.run --list.")
    return found
