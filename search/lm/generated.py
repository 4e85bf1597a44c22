"""Actions that the group library generates (`stl_algebra.symmetry.actions`), as the engine takes them.

A name ``GROUP/REPS/DIGEST`` or ``GROUP/TWIST/REPS/DIGEST`` says which group acts, by which representations and how it
permutes the three spaces; orbit types are named by their stabilisers and characters. Neither depends on the order of
an enumeration.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any, cast

from stl_algebra import symmetry
from stl_algebra.errors import StlError
from stl_algebra.groups import group

from .actions import Action, Element
from .parametrisation import OrbitType

__all__ = ["actions_of", "engine_action", "generated", "is_generated", "orbit_types_of"]

Format = tuple[int, int, int]
#: Actions of one group on one format that are listed; larger families are cut there.
MAX_ACTIONS = 400


def is_generated(name: str) -> bool:
    """Whether a symmetry is spelt as the group library names its actions."""
    return name.count("/") >= 2


@lru_cache(maxsize=128)
def generated(name: str, fmt: Format, field: str = "real") -> symmetry.Action:
    """The generated action of that name; over the reals one of the complex numbers is found too.

    Raises
    ------
    StlError
        If there is none on this format.
    """
    try:
        return symmetry.action(name, fmt, field)
    except StlError:
        if field == "complex":
            raise
        return symmetry.action(name, fmt, "complex")


@lru_cache(maxsize=32)
def actions_of(name: str, fmt: Format, field: str = "real") -> tuple[symmetry.Action, ...]:
    """All faithful actions of a group on a format (at most `MAX_ACTIONS`), the most symmetric first.

    Examples
    --------
    >>> [len(actions_of(name, (2, 2, 2))) for name in ("C2", "C3", "S3")]
    [12, 4, 18]
    """
    return tuple(islice(symmetry.actions(group(name), fmt, field), MAX_ACTIONS))


def engine_action(found: symmetry.Action) -> Action:
    """The same action as elements on slots with their table."""
    elements = [
        Element(tuple(int(s) for s in found.slots[g]), tuple(found.maps[s][g] for s in range(3)))  # type: ignore[arg-type]
        for g in range(found.order)
    ]
    return Action(elements, found.group.table, found.name)


def orbit_types_of(found: symmetry.Action, longest: int | None = None) -> tuple[OrbitType, ...]:
    """Orbit types of rank-one terms, longest orbits first.

    Raises
    ------
    StlError
        If no orbit is as short as ``longest``.
    """
    types = tuple(OrbitType(t.name, cast(Any, t.maps), t.widths) for t in symmetry.term_types(found, longest))
    if not types:
        raise StlError("rank", longest, f"at least the shortest orbit of {found.name}", "Ask for a larger rank.")
    return types
