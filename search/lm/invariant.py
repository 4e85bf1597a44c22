"""Encoders invariant under a symmetry, as parametrisations: so many orbits of each orbit type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from stl_algebra import symmetry
from stl_algebra.errors import StlError
from stl_algebra.symmetry import Action

from .parametrisation import OrbitType, Parametrisation

__all__ = ["Invariant", "types_of"]


@lru_cache(maxsize=256)
def types_of(name: str, fmt: tuple[int, int, int], field: str = "real") -> tuple[Action, tuple[OrbitType, ...]]:
    """An action by name, as for :func:`stl_algebra.symmetry.action`, and its orbit types, largest orbits first.

    Examples
    --------
    >>> action, types = types_of("Z3*c:(12)", (2, 2, 2))
    >>> [t.name for t in types]
    ['6', '3:<b>:+,+,+', '3:<b>:+,-,-', '2:<a>:+', '1:<a,b>:+']
    """
    action = symmetry.action(name, fmt, field)
    return action, tuple(OrbitType(t.name, cast(Any, t.maps), t.widths) for t in symmetry.term_types(action))


class Invariant(Parametrisation):
    """Encoders invariant under an action, with so many orbits of each type.

    Parameters
    ----------
    name, fmt, field
        The symmetry, as for :func:`types_of`.
    counts : mapping or sequence of int
        By the names of orbit types, or one number per type, largest orbits first.

    Raises
    ------
    StlError
        For orbit types that do not exist.

    Examples
    --------
    >>> Invariant("Z3", (2, 2, 2), {"3": 1, "1:<a>:+": 4})
    Invariant⟨Z3(1·3, 4·1:<a>:+): rank 7, 28 real unknowns⟩
    """

    def __init__(
        self,
        name: str,
        fmt: tuple[int, int, int],
        counts: Mapping[str, int] | Sequence[int],
        field: str = "real",
    ) -> None:
        action, types = types_of(name, fmt, field)
        if isinstance(counts, Mapping):
            unknown = sorted(set(counts) - {t.name for t in types})
            counts = [counts.get(t.name, 0) for t in types]
        else:
            unknown = [str(k) for k in [*counts][len(types) :]]
        if unknown:
            raise StlError("counts", unknown, f"orbit types of {name}: {', '.join(t.name for t in types)}")
        used = list(zip(types, counts, strict=False))
        label = f"{name}({', '.join(f'{k}·{t.name}' for t, k in used if k)})"
        super().__init__(action.dims, used, label, field)
        self.action, self.counts = action, (*map(int, counts), *[0] * (len(types) - len(counts)))
