"""How a symmetry ties the entries of the factors together.

A group that permutes the terms of an algorithm leaves one representative of every orbit to be found, and the
representative itself lies in a product of linear spaces: its stabiliser acts on its vectors by characters. So every
factor entry is a linear combination, with integer coefficients in coordinates in which the group is rational, of the
entries of a few free vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

__all__ = ["SlotMap", "Symmetry", "Tying", "equations", "free_tying", "permuted", "tie"]

Array = NDArray[Any]
PARALLEL = 1e-3  # how far the cosine between a term's image and a term may be from 1
LARGEST = 64  # denominators of the matrices of a rational representation


class SlotMap(Protocol):
    """One symmetry: slot s of a term goes to slot ``slots[s]`` by the matrix ``maps[s]``."""

    @property
    def slots(self) -> tuple[int, int, int]: ...

    @property
    def maps(self) -> tuple[Array, Array, Array]: ...


Symmetry = Sequence[SlotMap]


@dataclass(frozen=True)
class Tying:
    """Which free unknowns every factor entry is a combination of.

    Attributes
    ----------
    slots : three tuples (term, entry, unknown, coefficient) of int arrays
        ``slot[term, entry] = Σ coefficient · theta[unknown]`` for E_X, E_W and Dᵀ.
    orbit : int array (r,)
        Index of the scale λ of every term.
    vectors : int array (k, width)
        The unknowns grouped into the vectors whose scale is free (padded with -1).
    reads : int array (orbits, 3)
        Which vector each slot of the first term of every orbit is made of.
    entries, weight : arrays
        Different entries of the target tensor (flat) and how many each of them stands for.
    """

    slots: tuple[tuple[Array, Array, Array, Array], ...]
    orbit: Array
    vectors: Array
    reads: Array
    entries: Array
    weight: Array
    shape: tuple[int, int, int] = field(default=(0, 0, 0))

    @property
    def unknowns(self) -> int:
        """Number of entries of ``theta`` (without the scales)."""
        return int(self.vectors.max()) + 1

    @property
    def rank(self) -> int:
        """Number of terms."""
        return len(self.orbit)

    def matrix(self) -> sp.csr_matrix:
        """The linear map from theta to (E_X, E_W, Dᵀ), one after the other, row by row."""
        at, columns, values, offset = [], [], [], 0
        for (term, entry, unknown, coefficient), width in zip(self.slots, self.shape, strict=True):
            at.append(offset + term * width + entry)
            columns.append(unknown)
            values.append(coefficient.astype(np.float64))
            offset += self.rank * width
        place = (np.concatenate(at), np.concatenate(columns))
        return sp.csr_matrix((np.concatenate(values), place), shape=(offset, self.unknowns))

    def read(self, theta: Array, slot: int) -> Array:
        """Factor of one slot, (r, width), in the numbers of theta (floats, Python integers or Fractions)."""
        term, entry, unknown, coefficient = self.slots[slot]
        out = np.zeros((self.rank, self.shape[slot]), dtype=theta.dtype)
        if theta.dtype == object:
            out += Fraction(0) if isinstance(theta[0], Fraction) else 0
        np.add.at(out, (term, entry), coefficient * theta[unknown])
        return out


def free_tying(shape: tuple[int, int, int], r: int) -> Tying:
    """Return the tying without any symmetry: every factor entry is its own unknown."""
    slots, vectors, start = [], -np.ones((3 * r, max(shape)), dtype=np.int64), 0
    for k, width in enumerate(shape):
        term, entry = (v.ravel() for v in np.indices((r, width)))
        unknown = start + np.arange(r * width)
        slots.append((term, entry, unknown, np.ones(r * width, dtype=np.int64)))
        vectors[k * r : (k + 1) * r, :width] = unknown.reshape(r, width)
        start += r * width
    size = int(np.prod(shape))
    reads = np.arange(3 * r).reshape(3, r).T
    return Tying(tuple(slots), np.arange(r), vectors, reads, np.arange(size), np.ones(size), shape)


def permuted(vectors: Sequence[Array], symmetry: Symmetry, tolerance: float = PARALLEL) -> Array | str:
    """Return the permutation of the terms by every element, (|G|, r), or why they are not permuted.

    Parameters
    ----------
    vectors : float arrays (r, a), (r, b), (r, c)
        The three vectors of every term.
    """
    norms = [np.linalg.norm(v, axis=1) for v in vectors]
    if min(n.min() for n in norms) == 0:
        return f"term {int(np.argmin(np.minimum.reduce(norms)))} is zero"
    unit = [v / n[:, None] for v, n in zip(vectors, norms, strict=True)]
    r = len(unit[0])
    out = np.empty((len(symmetry), r), dtype=np.int64)
    for g, element in enumerate(symmetry):
        agree = np.ones((r, r))
        for s in range(3):
            image = unit[s] @ element.maps[s].T
            image = image / np.linalg.norm(image, axis=1, keepdims=True)
            agree *= np.abs(image @ unit[element.slots[s]].conj().T)
        out[g] = agree.argmax(axis=1)
        worst = int(agree.max(axis=1).argmin())
        if agree[worst].max() < 1 - tolerance:
            return f"term {worst} has no image under element {g} of the group (closest {agree[worst].max():.6f})"
        if len(set(out[g].tolist())) < r:
            return f"element {g} of the group does not permute the terms"
    return out


def tie(vectors: Sequence[Array], symmetry: Symmetry, tolerance: float = PARALLEL) -> tuple[Tying, Array] | str:
    """Tie the terms of a numerical algorithm along the orbits of a group that permutes them.

    Parameters
    ----------
    vectors : float arrays (r, a), (r, b), (r, c)
        Rows of E_X, E_W and Dᵀ.
    symmetry : sequence of elements with ``slots`` and ``maps``
        All elements of the group, with matrices that are rational in these coordinates.
    tolerance : float
        How far the cosine between the image of a term and a term may be from 1.

    Returns
    -------
    (tying, theta) or str
        The tying and the unknowns with the scales after them, or the reason why there is none.
    """
    action = permuted(vectors, symmetry, tolerance)
    if isinstance(action, str):
        return action
    r, shape = len(vectors[0]), tuple(v.shape[1] for v in vectors)
    orbit, count = -np.ones(r, dtype=np.int64), 0
    theta: list[Array] = []
    groups: list[Array] = []
    reads: list[list[int]] = []
    scales: list[float] = []
    coo: list[list[tuple[Array, Array, Array, Array]]] = [[], [], []]
    for head in range(r):
        if orbit[head] >= 0:
            continue
        movers = {int(action[g, head]): g for g in range(len(symmetry) - 1, -1, -1)}
        made = _representative(vectors, head, [symmetry[int(g)] for g in np.flatnonzero(action[:, head] == head)])
        if isinstance(made, str):
            return made
        spaces, block, values = made
        maps = {head: list(spaces)}
        for m, g in movers.items():
            moved: list[Array] = [np.empty(0)] * 3
            for s in range(3):
                moved[symmetry[g].slots[s]] = symmetry[g].maps[s] @ spaces[s]
            maps[m] = moved
        whole = _integral(maps, block, {m: symmetry[g].slots for m, g in movers.items()})
        if whole is None:
            return "the group is not rational in these coordinates"
        coefficients, stretch = whole
        start = sum(len(v) for v in theta) + np.cumsum([0] + [len(v) for v in values])
        reads.append([len(groups) + b for b in block])
        for b, y in enumerate(values):
            theta.append(y / stretch[b])
            groups.append(start[b] + np.arange(len(y)))
        for m, g in movers.items():
            orbit[m] = count
            for s in range(3):
                slot = symmetry[g].slots[s]
                table = coefficients[m][slot]
                entry, column = np.nonzero(table)
                coo[slot].append((np.full(len(entry), m), entry, start[block[s]] + column, table[entry, column]))
        rep = [spaces[s] @ values[block[s]] for s in range(3)]
        scales.append(float(np.prod([v[head] @ x / (x @ x) for v, x in zip(vectors, rep, strict=True)])))
        count += 1
    padded = -np.ones((len(groups), max(map(len, groups))), dtype=np.int64)
    for k, row in enumerate(groups):
        padded[k, : len(row)] = row
    slots = tuple(tuple(np.concatenate(part) for part in zip(*lists, strict=True)) for lists in coo)
    entries, weight = equations(symmetry, shape)
    tying = Tying(slots, orbit, padded, np.array(reads), entries, weight, shape)  # type: ignore[arg-type]
    return tying, np.concatenate([*theta, np.array(scales)])


def _representative(
    vectors: Sequence[Array], head: int, stabiliser: Symmetry
) -> tuple[list[Array], list[int], list[Array]] | str:
    """Return the maps from blocks to the three slots of a term, the block of every slot, and the blocks' values."""
    spaces: list[Array] = [np.empty(0)] * 3
    block = [-1, -1, -1]
    values: list[Array] = []
    for base in range(3):
        if block[base] >= 0:
            continue
        x = vectors[base][head] / np.linalg.norm(vectors[base][head])
        fixing = [g.maps[base] for g in stabiliser if g.slots[base] == base]
        basis = _eigenspace(fixing, x)
        if basis is None:
            return "the group is not rational in these coordinates"
        for g in stabiliser:
            s = g.slots[base]
            if block[s] < 0:
                block[s] = len(values)
                spaces[s] = basis if s == base else g.maps[base] @ basis
        values.append(np.linalg.lstsq(basis, x, rcond=None)[0])
    return spaces, block, values


def _eigenspace(matrices: Sequence[Array], x: Array) -> Array | None:
    """Return a rational basis (columns) of the space of vectors on which the matrices act as they do on x."""
    shifted = [m - np.sign(x @ m @ x) * np.eye(len(x)) for m in matrices]
    shifted = [m for m in shifted if np.abs(m).max() > 1e-9]
    if not shifted:
        return np.eye(len(x))
    work = np.concatenate(shifted)
    pivots, row = [], 0
    for j in range(work.shape[1]):  # reduced row echelon form
        k = row + int(np.abs(work[row:, j]).argmax())
        if abs(work[k, j]) < 1e-9:
            continue
        work[[row, k]] = work[[k, row]]
        work[row] /= work[row, j]
        work -= np.where(np.arange(len(work)) == row, 0.0, work[:, j])[:, None] * work[row]
        pivots.append(j)
        row += 1
        if row == len(work):
            break
    loose = [j for j in range(work.shape[1]) if j not in pivots]
    basis = np.zeros((work.shape[1], len(loose)))
    basis[loose, np.arange(len(loose))] = 1
    basis[pivots] = -work[:row][:, loose]
    return basis if _fractions(basis) is not None else None


def _fractions(table: Array) -> Array | None:
    """Return the smallest denominator of every column, or None if an entry is no small fraction."""
    out = np.zeros(table.shape[1], dtype=np.int64)
    for q in range(1, LARGEST + 1):
        scaled = table * q
        out[(out == 0) & (np.abs(scaled - np.rint(scaled)).max(axis=0, initial=0.0) < 1e-8 * q)] = q
        if out.all():
            return out
    return None if table.shape[1] else out


def _integral(
    maps: dict[int, list[Array]], block: list[int], slots: dict[int, tuple[int, int, int]]
) -> tuple[dict[int, list[Array]], list[Array]] | None:
    """Return the maps of an orbit as integers and what the unknowns of every block are divided by for that."""
    stretch: dict[int, list[int]] = {}
    for m, tables in maps.items():
        for s in range(3):
            den = _fractions(tables[slots[m][s]])
            if den is None:
                return None
            now = stretch.setdefault(block[s], [1] * len(den))
            stretch[block[s]] = [lcm(a, int(b)) for a, b in zip(now, den, strict=True)]
    factors = [np.array(stretch[b]) for b in range(len(stretch))]
    out: dict[int, list[Array]] = {}
    for m, tables in maps.items():
        out[m] = [np.empty(0)] * 3
        for s in range(3):
            t = slots[m][s]
            out[m][t] = np.rint(tables[t] * factors[block[s]]).astype(np.int64)
    return out, factors


def equations(symmetry: Symmetry, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return one entry of the target tensor for every orbit of a monomial group, and the sizes of the orbits."""
    size = int(np.prod(shape))
    whole = np.arange(size)
    index = np.unravel_index(whole, shape)
    edges = []
    for g in symmetry:
        if any(not np.array_equal((np.abs(m) > 1e-9).sum(axis=0), np.ones(m.shape[1])) for m in g.maps):
            return whole, np.ones(size)
        image: list[Array] = [np.empty(0)] * 3
        for s in range(3):
            image[g.slots[s]] = np.abs(g.maps[s]).argmax(axis=0)[index[s]]
        edges.append(np.ravel_multi_index(tuple(image), shape))
    rows = np.tile(whole, len(edges))
    graph = sp.csr_matrix((np.ones(rows.size, dtype=np.int8), (rows, np.concatenate(edges))), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    _, first, counts = np.unique(label, return_index=True, return_counts=True)
    return first, counts.astype(np.float64)
