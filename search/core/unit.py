"""Families of candidates, registered by name; work units, the resumable atoms of a search.

A family is two functions in one module: a generator of `Unit` objects (plain data, cheap, runs in the parent) and a
``build`` that turns a unit into a `Start` (runs in the worker). Adding a family touches one new file in
`search.families`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from stl_algebra.errors import StlError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from search.lm import Parametrisation, Schedule
    from stl_algebra import Encoder, Target

__all__ = ["Family", "Request", "Start", "Unit", "families", "families_of", "family", "groups", "register"]

#: Part of every unit's key: raise it when a change makes old results incomparable.
RECIPE_VERSION = 1


@dataclass(frozen=True)
class Request:
    """What the user asked for; None means the family's own choice.

    Attributes
    ----------
    group : str
        Name of a kind of group, e.g. ``"cyclic"``.
    order : int or None
        Order of the group.
    format : (n, m, p) or None
    rank : int or None
        Real rank, the number of channels.
    seed : int
        Added to the round number to seed each unit.
    device : str
        Where the optimiser runs.
    """

    group: str
    order: int | None = None
    format: tuple[int, int, int] | None = None
    rank: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what families would take for "not given" (0) or could not count with."""
        for name in ("order", "rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StlError(name, value, "a positive integer")


@dataclass(frozen=True)
class Unit:
    """One deterministic, idempotent piece of work of about 1 to 30 seconds.

    ``parameters`` are whatever the family needs, JSON-able; equal units have equal keys, and the ledger runs a key
    only once.
    """

    family: str
    group: str
    format: tuple[int, int, int]
    rank: int
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    seed: int = 0

    @property
    def key(self) -> str:
        """SHA-256 (first 20 hex digits) of what determines the result."""
        data = [RECIPE_VERSION, self.family, self.group, list(self.format), self.rank, dict(self.parameters), self.seed]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:20]

    def origin(self, **more: Any) -> dict[str, Any]:
        """The `Encoder.origin` of what this unit finds."""
        from stl_algebra import __version__

        return {
            "family": self.family, "group": self.group, "parameters": dict(self.parameters), "seed": self.seed,
            "from": "scratch", "version": __version__, **more,
        }  # fmt: skip


@dataclass
class Start:
    """What the pipeline works on: finished encoders, a parametrisation to optimise, or both.

    Attributes
    ----------
    target : Target
    encoders : list of Encoder
        Constructed without optimisation; verified, scored and offered to the catalogue as they are.
    parametrisation : Parametrisation or None
        Search space of the Levenberg–Marquardt engine.
    init : array (R, size) or None
        Starting points; random ones if None.
    restarts, iterations, schedule
        For `search.lm.minimise`.
    symmetry : None or "Z3"
        What the rationaliser has to preserve.
    keep_numerical : bool
        Whether a solution that is no exact identity is a result (approximate families) or a failure.
    """

    target: Target
    encoders: list[Encoder] = field(default_factory=list)
    parametrisation: Parametrisation | None = None
    init: NDArray[Any] | None = None
    restarts: int = 32
    iterations: int = 200
    schedule: Schedule | str = "default"
    symmetry: str | None = None
    keep_numerical: bool = False


@dataclass(frozen=True)
class Family:
    """A registered family."""

    name: str
    groups: tuple[str, ...]
    space: str
    units: Callable[[Request, int], Iterator[Unit]]
    build: Callable[[Unit], Start]
    accepts: Callable[[str], bool] = lambda group: False  # spellings of --group beyond `groups`

    def check(self, request: Request, units: list[Unit]) -> None:
        """Raise a teaching error when a request leaves this family nothing to do."""
        if not units:
            asked = {k: v for k in ("order", "format", "rank") if (v := getattr(request, k)) is not None}
            raise StlError("request", asked, f"for family {self.name}: {self.space}")


_FAMILIES: dict[str, Family] = {}


def register(
    name: str,
    *,
    groups: tuple[str, ...],
    space: str,
    build: Callable[[Unit], Start],
    accepts: Callable[[str], bool] = lambda group: False,
) -> Callable[[Callable[[Request, int], Iterator[Unit]]], Callable[[Request, int], Iterator[Unit]]]:
    """Decorator for a generator ``units(request, round)`` that yields the units of one round of the search.

    Parameters
    ----------
    name : str
    groups : tuple of str
        Kinds of group (values of ``--group``) under which the family is searched.
    space : str
        One line that says which orders, formats and ranks are possible; shown in listings and errors.
    build : callable
        Unit → Start, run in the worker.
    accepts : callable, optional
        Further values of ``--group`` the family understands.
    """

    def add(units: Callable[[Request, int], Iterator[Unit]]) -> Callable[[Request, int], Iterator[Unit]]:
        _FAMILIES[name] = Family(name, groups, space, units, build, accepts)
        return units

    return add


def families() -> dict[str, Family]:
    """All families by name (imports the modules of `search.families` on first use)."""
    from search import families as package

    for module in iter_modules(package.__path__):
        import_module(f"search.families.{module.name}")
    return dict(sorted(_FAMILIES.items()))


def family(name: str) -> Family:
    """The family of that name; StlError lists the known ones."""
    known = families()
    if name not in known:
        raise StlError("family", name, ", ".join(known))
    return known[name]


def groups() -> list[str]:
    """Every kind of group some family is registered for."""
    return sorted({g for f in families().values() for g in f.groups})


def families_of(group: str) -> list[Family]:
    """The families searched under a kind of group; StlError lists the known kinds."""
    found = [f for f in families().values() if group in f.groups or f.accepts(group)]
    if not found:
        raise StlError("group", group, "one of " + ", ".join(groups()), "See python -m search.run --list.")
    return found
