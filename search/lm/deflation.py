"""Deflation: from encoders of a higher rank to starts at a lower one, orbit by orbit.

A solution of rank r+1 usually belongs to a family.  One orbit of it is singled out (the weakest, or one of two that
are nearly parallel), pressed towards zero by a heavier norm penalty while all others make up for it, and then removed
(or merged into its neighbour); what is left is a start at rank r.  Copies of orbits can also be added, so a solution
moves from any orbit-type multiset to any other of the same group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .parametrisation import OrbitType, Parametrisation

__all__ = [
    "Squeezed",
    "cut",
    "doomed",
    "from_copies",
    "merged_starts",
    "parallelism",
    "reordered",
    "strengths",
    "to_copies",
]

Array = NDArray[Any]


def to_copies(par: Parametrisation, theta: Array) -> list[list[Array]]:
    """The vectors of each orbit: per orbit type, per block, an array (R, count, width)."""
    batch = np.atleast_2d(theta)
    return [
        [batch[:, at : at + w * count].reshape(-1, count, w) for at, w in zip(starts, orbit.widths, strict=True)]
        for (orbit, count), starts in zip(par.orbits, par.offsets(), strict=True)
    ]


def from_copies(copies: Sequence[Sequence[Array]]) -> Array:
    """Parameter vectors (R, size) of what :func:`to_copies` took apart."""
    return np.concatenate([block.reshape(len(block), -1) for blocks in copies for block in blocks], axis=1)


def _slots(orbit: OrbitType, blocks: Sequence[Array]) -> list[Array]:
    """Vectors of the representatives, per slot an array (R, count, dim)."""
    return [blocks[b] @ matrix.T for b, matrix in orbit.maps[0]]


def strengths(orbit: OrbitType, blocks: Sequence[Array]) -> Array:
    """Norm of each orbit's representative as a tensor, (R, count)."""
    out = np.ones(blocks[0].shape[:2])
    for x in _slots(orbit, blocks):
        out = out * np.linalg.norm(x, axis=2)
    return out


def parallelism(orbit: OrbitType, blocks: Sequence[Array]) -> Array:
    """Cosines between the representatives as tensors, (R, count, count), zero on the diagonal."""
    count = blocks[0].shape[1]
    out = np.ones((len(blocks[0]), count, count))
    for x in _slots(orbit, blocks):
        unit = x / np.maximum(np.linalg.norm(x, axis=2, keepdims=True), 1e-300)
        out = out * np.abs(unit.conj() @ unit.swapaxes(1, 2))
    return out * (1 - np.eye(count))


def _surplus(source: Parametrisation, goal: Parametrisation) -> list[int]:
    """How many copies of each orbit type of the source the goal lacks (zero if it has as many or more)."""
    wanted = {orbit.name: count for orbit, count in goal.orbits}
    return [max(0, count - wanted.get(orbit.name, 0)) for orbit, count in source.orbits]


def doomed(
    source: Parametrisation, goal: Parametrisation, theta: Array, candidates: int, rng: np.random.Generator
) -> list[tuple[int, list[list[int]]]]:
    """Orders of the copies that put those to be removed last: for each row the weakest first, then random ones.

    Returns
    -------
    list of (row, orders)
        ``orders[i]`` is a permutation of the copies of orbit type i; at most `candidates` distinct choices per row.
    """
    surplus, out = _surplus(source, goal), []
    copies = to_copies(source, theta)
    sizes = [strengths(orbit, blocks) for (orbit, _), blocks in zip(source.orbits, copies, strict=True)]
    for row in range(len(np.atleast_2d(theta))):
        seen: set[tuple[int, ...]] = set()
        for attempt in range(4 * candidates):
            orders, key = [], []
            for size, less in zip(sizes, surplus, strict=True):
                # Gumbel noise on the ranks turns "the weakest" into a draw that favours the weak
                score = -0.5 * np.argsort(np.argsort(size[row])) + (rng.gumbel(size=size.shape[1]) if attempt else 0.0)
                order = np.argsort(score)
                keep = size.shape[1] - less
                orders.append([*np.sort(order[:keep]).tolist(), *order[keep:].tolist()])
                key += [-1, *sorted(order[keep:].tolist())]
            if tuple(key) not in seen:
                seen.add(tuple(key))
                out.append((row, orders))
            if len(seen) == candidates:
                break
    return out


def reordered(source: Parametrisation, theta: Array, choices: Sequence[tuple[int, list[list[int]]]]) -> Array:
    """Parameter vectors with the copies in the chosen orders, one row per choice."""
    copies = to_copies(source, theta)
    rows = []
    for row, orders in choices:
        rows.append(
            from_copies(
                [[b[row : row + 1, order] for b in blocks] for blocks, order in zip(copies, orders, strict=True)]
            )
        )
    return np.concatenate(rows)


def cut(
    source: Parametrisation, goal: Parametrisation, theta: Array, rng: np.random.Generator, fill: float = 0.3
) -> Array:
    """Starts of the goal from vectors of the source: the last surplus copies go, missing ones come in as noise.

    Parameters
    ----------
    fill : float
        Size of the entries of new copies relative to the mean of the others.
    """
    have = {orbit.name: blocks for (orbit, _), blocks in zip(source.orbits, to_copies(source, theta), strict=True)}
    rms = fill * float(np.sqrt((np.abs(theta) ** 2).mean()))
    out = []
    for orbit, count in goal.orbits:
        blocks = []
        for b, width in enumerate(orbit.widths):
            held = have[orbit.name][b] if orbit.name in have else np.empty((len(theta), 0, width), theta.dtype)
            held = held[:, :count]
            new = rms * rng.standard_normal((len(theta), count - held.shape[1], width))
            blocks.append(np.concatenate([held, new.astype(theta.dtype)], axis=1))
        out.append(blocks)
    return from_copies(out)


def merged_starts(
    source: Parametrisation, goal: Parametrisation, theta: Array, candidates: int, rng: np.random.Generator
) -> Array:
    """Starts of the goal in which, instead of removing a copy, it is merged into the one most parallel to it.

    Only for one surplus copy of one type; otherwise the array has no rows.
    """
    surplus = _surplus(source, goal)
    if sum(surplus) != 1:
        return np.empty((0, goal.size), dtype=theta.dtype)
    which = surplus.index(1)
    orbit = source.orbits[which][0]
    rows = []
    for row in range(len(theta)):
        copies = to_copies(source, theta[row : row + 1])
        near = parallelism(orbit, copies[which])[0]
        pairs = np.column_stack(np.unravel_index(np.argsort(-np.triu(near), axis=None), near.shape))[:candidates]
        for i, j in pairs[pairs[:, 0] < pairs[:, 1]]:
            blocks = [_merge(b, int(i), int(j)) for b in copies[which]]
            rows.append(from_copies([*copies[:which], blocks, *copies[which + 1 :]]))
    return cut(source, goal, np.concatenate(rows), rng) if rows else np.empty((0, goal.size), dtype=theta.dtype)


def _merge(block: Array, i: int, j: int) -> Array:
    """Copy i becomes the sum of directions of i and j with the larger norm; copy j goes last, to be cut off."""
    x, y = block[:, i], block[:, j]
    phase = (x.conj() * y).sum(1, keepdims=True)
    phase = np.where(np.abs(phase) > 0, phase / np.maximum(np.abs(phase), 1e-300), 1.0)
    total = x + y / phase
    size = np.maximum(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))[:, None]
    total = total * size / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-300)
    others = [k for k in range(block.shape[1]) if k not in (i, j)]
    return np.concatenate([block[:, others], total[:, None], block[:, j : j + 1]], axis=1)


class Squeezed(Parametrisation):
    """A parametrisation in which the last copies of some orbit types carry a heavier norm penalty.

    Parameters
    ----------
    source, goal : Parametrisation
        The surplus of the source over the goal is what is pressed towards zero.
    factor : float
        By how much their penalty is heavier.
    """

    def __init__(self, source: Parametrisation, goal: Parametrisation, factor: float) -> None:
        super().__init__(source.dims, source.orbits, source.label, source.field)
        self._surplus, self._factor = _surplus(source, goal), factor

    def metric(self) -> Array:
        """The usual weights, times the factor for the copies that are to vanish."""
        weights = super().metric().copy()
        for (orbit, count), starts, less in zip(self.orbits, self.offsets(), self._surplus, strict=True):
            for at, width in zip(starts, orbit.widths, strict=True):
                weights[at + (count - less) * width : at + count * width] *= self._factor
        return weights
