"""What the optimiser reads out of a unit: its settings, its parametrisation, its schedule.

A unit of the Levenberg–Marquardt engine names a format, a rank and a symmetry (see :mod:`stl_algebra.symmetry.grammar`;
``none`` for none) and either explicit orbit counts or which of the sampled orbit-type multisets to take.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError
from stl_algebra.symmetry import count_multisets, multisets, sample_multisets

from ..core.unit import Unit
from .invariant import Invariant, types_of
from .parametrisation import Free, Parametrisation
from .schedules import SCHEDULES, Schedule

__all__ = ["LISTED", "SETTINGS", "matmul_tensor", "numbered", "parametrisation", "schedule_of", "settings_of"]

#: Multisets of a rank up to which all of them are taken in order.
LISTED = 5000

#: Settings of a unit and their defaults.
#:
#: field: "real" or "complex" · counts: orbit multiplicities, by orbit-type name or as a list, largest orbits first ·
#: first, many: without counts, how many multisets to race and from which on (`numbered`) · restarts, iterations, slots,
#: stop_after: for `minimise` · schedule, changes: name of a schedule and fields to change in it · start: where restarts
#: begin (`search.lm.starts`) · tries: most solutions handed on · keep: exact encoders wanted · approximate: whether an
#: inexact end is a result.
SETTINGS: dict[str, Any] = {
    "field": "real", "counts": None, "first": 0, "many": 9, "restarts": 64,
    "iterations": 200, "slots": None, "stop_after": None, "schedule": "default", "changes": {}, "start": {},
    "tries": 8, "keep": 1, "approximate": False,
}  # fmt: skip


def settings_of(unit: Unit) -> dict[str, Any]:
    """All settings of a unit, defaults filled in.

    Raises
    ------
    StlError
        For a setting there is not, or a value of the wrong kind.

    Examples
    --------
    >>> settings_of(Unit("orbit", "none", (2, 2, 2), 7, {"restarts": 8}))["restarts"]
    8
    """
    unknown = sorted(set(unit.parameters) - set(SETTINGS))
    if unknown:
        raise StlError("parameters", unknown, ", ".join(SETTINGS), "Correct the unit's settings.")
    own = {**SETTINGS, **unit.parameters}
    for name in ("restarts", "iterations", "tries", "keep", "many"):
        if not isinstance(own[name], int) or not 1 <= own[name] <= 10**7:
            raise StlError(name, own[name], "a whole number from 1 to 10^7")
    for name in ("slots", "stop_after"):
        if own[name] is not None and (not isinstance(own[name], int) or own[name] < 1):
            raise StlError(name, own[name], "a positive whole number, or null")
    if not isinstance(own["first"], int) or not 0 <= own["first"] <= 10**6:
        raise StlError("first", own["first"], "a whole number from 0 to 10^6")
    for name in ("changes", "start"):
        if not isinstance(own[name], Mapping):
            raise StlError(name, own[name], "an object")
    return own


def schedule_of(unit: Unit) -> Schedule:
    """The named schedule with the unit's changes.

    Examples
    --------
    >>> schedule_of(Unit("orbit", "none", (2, 2, 2), 7, {"changes": {"mu_end": 0.002}})).mu_end
    0.002
    """
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
    """Dense tensor of ⟨n,m,p⟩ in the project's convention (C not transposed).

    Examples
    --------
    >>> matmul_tensor(2, 3, 4).shape
    (6, 12, 8)
    """
    t = np.zeros((n, m, m, p, n, p))
    i, k, j = np.meshgrid(np.arange(n), np.arange(m), np.arange(p), indexing="ij")
    t[i, k, k, j, i, j] = 1
    return t.reshape(n * m, m * p, n * p)


def numbered(unit: Unit, many: int = 1) -> list[dict[str, int]]:
    """Some multisets of orbit types of a unit's rank, from the one on that its setting ``first`` says.

    Where there are at most `LISTED` they come in order, fewest orbits first, and after the last the first again; of
    more, every other one is drawn at random with the shares of known exact encoders.

    Raises
    ------
    StlError
        If orbits of this symmetry never add up to the rank.

    Examples
    --------
    >>> numbered(Unit("orbit", "Z3", (3, 3, 3), 23), 3)
    [{'3': 7, '1:<a>:+': 2}, {'3': 6, '1:<a>:+': 5}, {'3': 5, '1:<a>:+': 8}]
    """
    own, rank = settings_of(unit), unit.rank
    types = [t for t in types_of(unit.symmetry, unit.format, own["field"])[1] if t.size <= rank]
    total = count_multisets(types, rank) if types else 0
    if not total:
        sizes = sorted({t.size for t in types_of(unit.symmetry, unit.format, own["field"])[1]})
        raise StlError("rank", rank, f"a sum of orbit sizes of {unit.symmetry}: {', '.join(map(str, sizes))}")
    begin = own["first"] % total
    if total <= LISTED:
        chosen = list(islice(multisets(types, rank), begin, begin + many))
    else:
        drawn = sample_multisets(types, rank, many // 2, 1000 * unit.seed + own["first"])
        begin = own["first"] - own["first"] // 2
        chosen = list(dict.fromkeys([*islice(multisets(types, rank), begin, begin + many - len(drawn)), *drawn]))
    return [{t.name: k for t, k in zip(types, counts, strict=True) if k} for counts in chosen]


def parametrisation(unit: Unit) -> Parametrisation:
    """The parametrisation of a unit: its explicit counts, or the first multiset of its rank that it names.

    Raises
    ------
    StlError
        For a symmetry that does not act on the format, or counts of orbit types that it has not.

    Examples
    --------
    >>> parametrisation(Unit("orbit", "Z3", (2, 2, 2), 7))
    Invariant⟨Z3(2·3, 1·1:<a>:+): rank 7, 28 real unknowns⟩
    """
    own = settings_of(unit)
    if unit.symmetry == "none":
        return Free(matmul_tensor(*unit.format), unit.rank, own["field"])
    counts = numbered(unit)[0] if own["counts"] is None else own["counts"]
    numbers = counts.values() if isinstance(counts, Mapping) else counts
    if not isinstance(counts, (Mapping, list, tuple)) or not all(isinstance(k, int) and k >= 0 for k in numbers):
        raise StlError("counts", counts, "numbers by orbit type, or a list of them, largest orbits first")
    return Invariant(unit.symmetry, unit.format, counts, own["field"])
