"""An encoder as a point of an invariant subspace: the orbits its terms form under a group, with their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.symmetry import Action

from ..lm.parametrisation import OrbitType
from ..lm.projection import _tied, balanced

__all__ = ["restricted"]

Array = NDArray[Any]


def restricted(
    factors: tuple[Array, Array, Array], action: Action, types: Sequence[OrbitType], tolerance: float = 1e-5
) -> tuple[tuple[int, ...], Array] | None:
    """Orbit counts and parameters of an encoder under a group, or None if the group does not permute its terms.

    Parameters
    ----------
    factors : (r, a), (r, b), (c, r) real arrays
    action, types
        The group and its orbit types (:func:`search.lm.invariant.types_of`).
    tolerance : float
        Largest relative distance of a term from its image.

    Returns
    -------
    counts, theta
        For :class:`search.lm.invariant.Invariant` with these types; None where some orbit fits no type.
    """
    x, w, d = balanced(*factors)
    slots = [x, w, d.T.copy()]
    norms = [(s**2).sum(1) for s in slots]
    weight = norms[0] * norms[1] * norms[2]
    images = np.empty((action.order, len(x)), dtype=int)
    for g, element in enumerate(action.elements):
        moved: list[Array] = [np.empty(0)] * 3
        for s in range(3):
            moved[element.slots[s]] = slots[s] @ np.real(element.maps[s]).T
        overlap = (moved[0] @ slots[0].T) * (moved[1] @ slots[1].T) * (moved[2] @ slots[2].T)
        distance = (weight[:, None] + weight[None, :] - 2 * overlap) / np.maximum(weight[:, None], 1e-300)
        images[g] = distance.argmin(1)
        if distance.min(1).max() > tolerance or len(set(images[g])) < len(x):
            return None
    copies: list[list[list[Array]]] = [[] for _ in types]
    seen: set[int] = set()
    for l in range(len(x)):
        if l in seen:
            continue
        orbit = sorted(set(images[:, l].tolist()))
        seen |= set(orbit)
        place = _placed([[s[t] for s in slots] for t in orbit], types, len(orbit), tolerance)
        if place is None:
            return None
        copies[place[0]].append(place[1])
    theta = [
        np.concatenate([blocks[b] for blocks in copies[i]])
        for i, orbit_type in enumerate(types)
        if copies[i]
        for b in range(len(orbit_type.widths))
    ]
    return tuple(len(c) for c in copies), np.concatenate(theta)


def _placed(
    orbit: list[list[Array]], types: Sequence[OrbitType], size: int, tolerance: float
) -> tuple[int, list[Array]] | None:
    """The narrowest type of that size some term of the orbit belongs to, with the parameters of that term."""
    fitting = sorted((t.unknowns, i) for i, t in enumerate(types) if t.size == size)
    total = sum(float((v**2).sum()) for v in orbit[0])
    for _, i in fitting:
        for term in orbit:
            blocks, distance = _tied(types[i], term)
            if distance < tolerance * total:
                return i, [np.real(b) for b in blocks]
    return None
