"""Orbit types: the ways in which a rank-one term can sit in an orbit of an action.

A term x⁰⊗x¹⊗x² with stabiliser S has lines that S permutes.  On each orbit of slots the part of S that fixes a slot
acts on its line by a character, all scalars together have product one, and the terms with given characters form a
product of linear spaces.  Types are listed up to conjugacy in G; each is named by its orbit size, generators of S
and their eigenvalues on each block of slots, e.g. ``12:<b>:+,-,-``.  An invariant encoder is a multiset of types
with Σ size = rank, and one vector per block for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any, Protocol

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.subgroups import subgroup_classes

from .isometries import Action

__all__ = ["TermType", "count_multisets", "multisets", "sample_multisets", "term_types"]

Array = np.ndarray[Any, np.dtype[Any]]


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, eq=False)
class TermType:
    """One orbit type of rank-one terms.

    Attributes
    ----------
    action : Action
    name : str
        ``SIZE:<GENERATORS>:EIGENVALUES``, or just the size for a free orbit.
    stabiliser : int array
        Sorted elements of S.
    blocks : tuple of int
        Block of each slot: slots in one block are tied together by S.
    basis : tuple of arrays
        ``basis[s]`` maps the vector of the block to slot s of the representative, shape (dim_s, width).
    widths : tuple of int
        Unknowns of each block.

    Examples
    --------
    >>> from stl_algebra.symmetry import action
    >>> term_types(action("T", (2, 3, 2)))[0]
    TermType(2, widths 6+6+4)
    """

    action: Action
    name: str
    stabiliser: Array
    blocks: tuple[int, int, int]
    basis: tuple[Array, Array, Array]
    widths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of terms in the orbit."""
        return self.action.order // len(self.stabiliser)

    @property
    def unknowns(self) -> int:
        """Entries of the block vectors."""
        return sum(self.widths)

    @property
    def dimension(self) -> int:
        """Dimension of the family of terms: unknowns less the scalings that cancel."""
        return self.unknowns - len(self.widths) + 1

    @cached_property
    def maps(self) -> tuple[tuple[tuple[int, Array], ...], ...]:
        """``maps[j][s]`` = (block, matrix) of slot s of term j; term 0 is the representative."""
        action = self.action
        reps, _ = action.group.left_cosets(self.stabiliser)
        out = []
        for g in reps:
            slots: list[Any] = [None] * 3
            for s in range(3):
                matrix = action.maps[s][g] @ self.basis[s]
                if np.iscomplexobj(matrix) and np.abs(matrix.imag).max() < 1e-12:
                    matrix = np.ascontiguousarray(matrix.real)
                slots[int(action.slots[g, s])] = (self.blocks[s], matrix)
            out.append(tuple(slots))
        return tuple(out)

    def __repr__(self) -> str:
        return f"TermType({self.name}, widths {'+'.join(map(str, self.widths))})"


def term_types(action: Action, longest: int | None = None) -> list[TermType]:
    """All orbit types of rank-one terms over the field of the action, longest orbits first.

    Parameters
    ----------
    action : Action
    longest : int, optional
        Leave out orbits of more terms (those that no encoder of smaller rank contains).

    >>> from stl_algebra.groups import group
    >>> from stl_algebra.symmetry import actions
    >>> a = next(actions(group("C3"), (2, 2, 2), twists=["Z3"]))
    >>> [(t.name, t.widths) for t in term_types(a)]
    [('3', (4, 4, 4)), ('1:<a>:+', (4,))]
    """
    group = action.group
    rng = np.random.default_rng(7)
    readers = [rng.normal(size=(d, 2)) @ np.array([1, 1j if action.field == "complex" else 0]) for d in action.dims]
    out = []
    for cls in subgroup_classes(group):
        if longest is not None and group.order // cls.order > longest:
            continue
        found = list(_of_stabiliser(action, cls.representative, cls.generators, rng))
        moves = group.left_cosets(cls.representative)[0]
        moves = moves[np.isin(moves, group.normalizer(cls.representative))]
        seen: set[bytes] = set()
        for candidate in found:
            keys = _keys(action, candidate, moves, readers)
            if not seen.intersection(keys):
                out.append(candidate)
            seen.update(keys)
    return sorted(out, key=lambda t: (-t.size, -t.unknowns))


def _of_stabiliser(
    action: Action,
    stabiliser: Array,
    generators: tuple[int, ...],
    rng: np.random.Generator,
) -> Iterator[TermType]:
    slots = action.slots
    heads: list[int] = []
    block, mover = [0, 0, 0], [0, 0, 0]
    done: set[int] = set()
    for s in range(3):
        if s in done:
            continue
        for g in stabiliser:  # the representative's slots in one orbit are images of its first slot
            t = int(slots[g, s])
            if t not in done:
                done.add(t)
                block[t], mover[t] = len(heads), int(g) if t != s else action.group.identity
        heads.append(s)
    choices = []
    for s in heads:
        fixing = stabiliser[slots[stabiliser, s] == s]
        gens = generators if len(fixing) == len(stabiliser) else tuple(action.group._generating_subset(fixing))
        choices.append([(values, basis, gens) for values, basis in _eigenspaces(action, s, gens)])
    for combination in product(*choices):
        if len(heads) == 3 and any(
            abs(np.prod(values) - 1) > 1e-6 for values in zip(*(c[0] for c in combination), strict=True)
        ):
            continue
        basis = [action.maps[heads[block[s]]][mover[s]] @ combination[block[s]][1] for s in range(3)]
        widths = tuple(c[1].shape[1] for c in combination)
        y = [rng.normal(size=(w, 2)) @ np.array([1, 1j if action.field == "complex" else 0]) for w in widths]
        term = [basis[s] @ y[block[s]] for s in range(3)]
        if np.array_equal(_fixing(action, term), stabiliser):
            name = _name(action, stabiliser, generators, [(c[0], c[2]) for c in combination])
            yield TermType(
                action, name, stabiliser, (block[0], block[1], block[2]), (basis[0], basis[1], basis[2]), widths
            )


def _eigenspaces(action: Action, slot: int, generators: tuple[int, ...]) -> Iterator[tuple[tuple[complex, ...], Array]]:
    """Joint eigenspaces of some elements on a slot, orthonormal, with their eigenvalues (±1 over the reals)."""
    size = action.dims[slot]
    spaces: list[tuple[tuple[complex, ...], Array]] = [((), np.eye(size))]
    for g in generators:
        matrix = action.maps[slot][g]
        values = np.linalg.eigvals(matrix)
        if action.field == "real":
            values = values[np.abs(values.imag) < 1e-7].real
        distinct: list[Any] = []
        for value in sorted(values.tolist(), key=lambda v: round(np.angle(v) % (2 * np.pi), 6)):
            if all(abs(value - other) > 1e-6 for other in distinct):
                distinct.append(value)
        split = []
        for (before, basis), value in product(spaces, distinct):
            _, sizes, right = np.linalg.svd((matrix - value * np.eye(size)) @ basis)
            kernel = right[int((sizes > 1e-7).sum()) :].conj().T
            if kernel.shape[1]:
                split.append(((*before, value), basis @ kernel))
        spaces = split
    for values_, basis in spaces:
        yield values_, _readable(basis)


def _readable(basis: Array) -> Array:
    """Unit vectors where they span the space, so that parameters are entries."""
    diagonal = np.einsum("ij,ij->i", basis, basis.conj()).real
    units = np.flatnonzero(np.abs(diagonal - 1) < 1e-9)
    return np.eye(len(basis))[:, units] if len(units) == basis.shape[1] else basis


def _fixing(action: Action, term: Sequence[Array]) -> Array:
    """Elements that map a term to itself as a tensor."""
    overlap: Array = np.ones(action.order, dtype=complex)
    for s, x in enumerate(term):
        image = action.maps[s] @ x
        for t, y in enumerate(term):
            there = action.slots[:, s] == t
            if there.any():
                overlap[there] *= image[there] @ y.conj()
    norm = float(np.prod([np.linalg.norm(x) ** 2 for x in term]))
    return np.flatnonzero(np.abs(overlap - norm) < 1e-6 * norm)


def _keys(action: Action, candidate: TermType, moves: Array, readers: Sequence[Array]) -> set[bytes]:
    """Fingerprints of the spaces of a type and of its images under the normaliser of its stabiliser."""
    table = np.empty((len(moves), 3))
    for s in range(3):
        targets = action.slots[moves, s]
        for t in range(3):
            rows = np.flatnonzero(targets == t)
            if len(rows):
                pulled = action.maps[s][moves[rows]].conj().transpose(0, 2, 1) @ readers[t]
                table[rows, t] = (np.abs(pulled @ candidate.basis[s].conj()) ** 2).sum(axis=1)
    return {row.tobytes() for row in np.rint(table * 1e5 + 0.25).astype(np.int64)}


def _name(
    action: Action,
    stabiliser: Array,
    generators: tuple[int, ...],
    blocks: Sequence[tuple[tuple[complex, ...], tuple[int, ...]]],
) -> str:
    size = action.order // len(stabiliser)
    if len(stabiliser) == 1:
        return str(size)
    group = action.group
    values = ",".join("".join(map(_unit, v)) if v else "+" for v, _ in blocks)
    return f"{size}:<{','.join(group.label(g) for g in generators)}>:{values}"


def _unit(value: complex) -> str:
    """A root of unity in print: +, - or its fraction of a turn."""
    if abs(value - 1) < 1e-6:
        return "+"
    if abs(value + 1) < 1e-6:
        return "-"
    return f"({Fraction(float(np.angle(value) / (2 * np.pi) % 1)).limit_denominator(5040)})"


def count_multisets(types: Sequence[_Sized], rank: int) -> int:
    """How many multisets of orbit types have a given rank.

    Examples
    --------
    >>> from stl_algebra.symmetry import action
    >>> count_multisets(term_types(action("Z3", (3, 3, 3))), 23)
    8
    """
    if rank < 1:
        raise StlError("rank", rank, "a positive integer")
    ways = [1] + [0] * rank
    for t in types:
        for r in range(t.size, rank + 1):
            ways[r] += ways[r - t.size]
    return ways[rank]


def multisets(types: Sequence[_Sized], rank: int) -> Iterator[tuple[int, ...]]:
    """All multisets of a given rank as multiplicities in the order of `types`, those of fewest orbits first.

    >>> from collections import namedtuple
    >>> Kind = namedtuple("Kind", "size")
    >>> list(multisets([Kind(3), Kind(1)], 7))
    [(2, 1), (1, 4), (0, 7)]
    """
    sizes = [t.size for t in types]
    # possible[i, r, n]: n orbits of the types from i on make up r terms
    possible = np.zeros((len(types) + 1, rank + 1, rank + 1), dtype=bool)
    possible[-1, 0, 0] = True
    for i in range(len(types) - 1, -1, -1):
        possible[i] = possible[i + 1]
        for r in range(sizes[i], rank + 1):
            possible[i, r, 1:] |= possible[i, r - sizes[i], :-1]

    def extend(i: int, left: int, orbits: int) -> Iterator[tuple[int, ...]]:
        if i == len(types):
            yield ()
            return
        for k in range(min(orbits, left // sizes[i]), -1, -1):
            if possible[i + 1, left - k * sizes[i], orbits - k]:
                for rest in extend(i + 1, left - k * sizes[i], orbits - k):
                    yield (k, *rest)

    for orbits in range(rank + 1):
        if possible[0, rank, orbits]:
            yield from extend(0, rank, orbits)


def sample_multisets(
    types: Sequence[_Sized], rank: int, samples: int, seed: int = 0, fixed_share: float = 0.35
) -> list[tuple[int, ...]]:
    """Random multisets of a given rank as multiplicities in the order of `types`, distinct, in the order drawn.

    The terms outside the longest orbits make up about `fixed_share` of the rank on average (successful ones under the
    cyclic shift have a third to a half), spread over the other types at random.

    Examples
    --------
    >>> from stl_algebra.symmetry import action
    >>> sample_multisets(term_types(action("Z3", (3, 3, 3))), 23, 2)
    [(5, 8), (4, 11)]
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    lengths = [t.size for t in types]
    largest = max(lengths)
    small = [i for i, n in enumerate(lengths) if n < largest]
    free = [i for i, n in enumerate(lengths) if n == largest]
    for _ in range(samples * 200):
        counts = [0] * len(types)
        left = rank
        goal = rank * (1 - min(1.0, rng.gamma(4.0, fixed_share / 4.0))) if small else rank
        while left >= largest and rank - left + largest <= goal + 1e-9:
            counts[int(rng.choice(free))] += 1
            left -= largest
        weight = rng.dirichlet(np.ones(len(small))) if small else np.empty(0)
        while left:
            fits = [i for i in range(len(types)) if lengths[i] <= left and (i in small or not small)]
            if not fits:
                break
            p = np.array([weight[small.index(i)] * lengths[i] if i in small else 1.0 for i in fits]) + 1e-12
            pick = int(rng.choice(fits, p=p / p.sum()))
            counts[pick] += 1
            left -= lengths[pick]
        if left == 0:
            found.setdefault(tuple(counts))
        if len(found) >= samples:
            break
    return list(found)
