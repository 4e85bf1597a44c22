"""What the optimiser reads out of a unit: its settings, its parametrisation, its schedule.

A unit of the Levenberg–Marquardt engine names a format, a rank and a symmetry (see :mod:`search.lm.groups`; ``none``
for none) and either explicit orbit counts or which of the sampled orbit-type multisets to take.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from ..core.unit import Unit
from .actions import Action
from .generated import engine_action, generated, is_generated, orbit_types_of
from .groups import named_action
from .orbits import Invariant, orbit_types, sample_counts
from .parametrisation import CyclicZ3, Free, OrbitType, Parametrisation
from .schedules import SCHEDULES, Schedule

__all__ = ["SETTINGS", "matmul_tensor", "parametrisation", "schedule_of", "settings_of"]

#: Settings of a unit and their defaults.
#:
#: field: "real" or "complex" · counts: orbit multiplicities, by orbit-type name or as a list, largest orbits first ·
#: sample: without counts, which of the sampled multisets to take · fixed_share, largest_stabiliser: how they are
#: sampled (`search.lm.orbits.sample_counts`) · restarts, iterations, slots, stop_after: for `minimise` · schedule,
#: changes: name of a schedule and fields to change in it · start: where restarts begin (`search.lm.starts`) · tries:
#: most solutions handed on · keep: exact encoders wanted · approximate: whether an inexact end is a result.
SETTINGS: dict[str, Any] = {
    "field": "real", "counts": None, "sample": 0, "fixed_share": 0.35, "largest_stabiliser": None, "restarts": 64,
    "iterations": 200, "slots": None, "stop_after": None, "schedule": "default", "changes": {}, "start": {},
    "tries": 8, "keep": 1, "approximate": False,
}  # fmt: skip


def settings_of(unit: Unit) -> dict[str, Any]:
    """All settings of a unit, defaults filled in.

    Raises
    ------
    StlError
        For a setting there is not, or a value of the wrong kind.
    """
    unknown = sorted(set(unit.parameters) - set(SETTINGS))
    if unknown:
        raise StlError("parameters", unknown, ", ".join(SETTINGS), "Correct the unit's settings.")
    own = {**SETTINGS, **unit.parameters}
    for name in ("restarts", "iterations", "tries", "keep"):
        if not isinstance(own[name], int) or not 1 <= own[name] <= 10**7:
            raise StlError(name, own[name], "a whole number from 1 to 10^7")
    for name in ("slots", "stop_after", "largest_stabiliser"):
        if own[name] is not None and (not isinstance(own[name], int) or own[name] < 1):
            raise StlError(name, own[name], "a positive whole number, or null")
    if not isinstance(own["sample"], int) or not 0 <= own["sample"] <= 200:
        raise StlError("sample", own["sample"], "a whole number from 0 to 200")
    for name in ("changes", "start"):
        if not isinstance(own[name], Mapping):
            raise StlError(name, own[name], "an object")
    return own


def schedule_of(unit: Unit) -> Schedule:
    """The named schedule with the unit's changes."""
    own = settings_of(unit)
    if own["schedule"] not in SCHEDULES:
        raise StlError("schedule", own["schedule"], ", ".join(SCHEDULES), "pass one of these")
    changes = dict(own["changes"])
    unknown = sorted(set(changes) - set(Schedule.__dataclass_fields__))
    if unknown:
        raise StlError("changes", unknown, ", ".join(Schedule.__dataclass_fields__), "correct the schedule")
    if "abandon" in changes:
        changes["abandon"] = tuple(tuple(x) for x in changes["abandon"])
    try:
        return SCHEDULES[own["schedule"]].with_(**changes)
    except TypeError:
        raise StlError("changes", changes, "numbers", "correct the schedule") from None


def matmul_tensor(n: int, m: int, p: int) -> NDArray[np.float64]:
    """Dense tensor of ⟨n,m,p⟩ in the project's convention (C not transposed)."""
    t = np.zeros((n, m, m, p, n, p))
    i, k, j = np.meshgrid(np.arange(n), np.arange(m), np.arange(p), indexing="ij")
    t[i, k, k, j, i, j] = 1
    return t.reshape(n * m, m * p, n * p)


@lru_cache(maxsize=64)
def types_of(
    symmetry: str, fmt: tuple[int, int, int], field: str = "real", largest: int | None = None
) -> tuple[Action, tuple[OrbitType, ...]]:
    """A named action and its orbit types, computed once."""
    if is_generated(symmetry):
        found = generated(symmetry, fmt, field)
        types = orbit_types_of(found)
        return engine_action(found), tuple(t for t in types if largest is None or found.order <= largest * t.size)
    action = named_action(symmetry, fmt)
    return action, tuple(orbit_types(action, field, largest))


def parametrisation(unit: Unit) -> Parametrisation:
    """The parametrisation of a unit: its explicit counts, or the sampled ones of its rank that it names."""
    own = settings_of(unit)
    counts, fmt = own["counts"], unit.format
    if unit.symmetry == "none":
        return Free(matmul_tensor(*fmt), unit.rank, own["field"])
    if unit.symmetry == "Z3" and counts is not None:
        if isinstance(counts, Mapping):
            unknown = set(counts) - {"C3", "1"}
            if unknown:
                raise StlError("counts", sorted(unknown), "C3 (fixed terms) and 1 (orbits of three)")
            fixed, orbits = counts.get("C3", 0), counts.get("1", 0)
        else:
            orbits, fixed = _numbers(counts, 2)
        if len(set(fmt)) != 1:
            raise StlError("format", fmt, "a square format for the symmetry Z3")
        return CyclicZ3(fmt[0], fixed, orbits, own["field"])
    largest = own["largest_stabiliser"]
    if isinstance(counts, Mapping):
        if largest is None and not is_generated(unit.symmetry):  # no larger stabilisers than the names speak of
            action = named_action(unit.symmetry, fmt)
            largest = max((action.order // int(name.split(".")[0]) for name in counts), default=None)
        action, types = types_of(unit.symmetry, fmt, own["field"], largest)
        missing = set(counts) - {t.name for t in types}
        if missing:
            raise StlError("counts", sorted(missing), ", ".join(t.name for t in types), "name orbit types that exist")
        return Invariant(action, [counts.get(t.name, 0) for t in types], own["field"], types)
    action, types = types_of(unit.symmetry, fmt, own["field"], largest)
    if counts is None:
        sampled = sample_counts(types, unit.rank, own["sample"] + 1, unit.seed, own["fixed_share"])
        if len(sampled) <= own["sample"]:
            raise StlError("sample", own["sample"], f"below {len(sampled)}, the number of multisets of this rank")
        counts = sampled[own["sample"]]
    counts = _numbers(counts, None)
    return Invariant(action, tuple(counts) + (0,) * (len(types) - len(counts)), own["field"], types)


def _numbers(counts: Any, length: int | None) -> tuple[int, ...]:
    good = isinstance(counts, (list, tuple)) and all(isinstance(k, int) and k >= 0 for k in counts)
    if not good or (length is not None and len(counts) != length):
        raise StlError("counts", counts, f"{length or 'a list of'} numbers, largest orbits first, or an object by name")
    return tuple(counts)
