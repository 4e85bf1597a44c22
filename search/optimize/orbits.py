"""Orbit types of a group action on rank-one terms, and the parametrisations built from them.

A term t with stabiliser S spans a line in every slot, and S permutes these three lines: on each orbit of slots S
acts by a one-dimensional character of the subgroup that fixes one slot, and all scalars together have product one.
So the terms with stabiliser S form finitely many products of linear spaces, one for each consistent choice of
characters: the *orbit types*.  They are enumerated up to conjugacy; the discrete half of a search over invariant
encoders is the choice of how many orbits of each type to use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .actions import Action
from .parametrisation import OrbitType, Parametrisation

__all__ = ["Invariant", "counts_for_rank", "orbit_types", "sample_counts", "subgroups"]

Array = NDArray[Any]
Subgroup = frozenset[int]


def _closure(table: Array, seed: Sequence[int]) -> Subgroup:
    found, frontier = {0}, [0]
    while frontier:
        g = frontier.pop()
        for h in seed:
            x = int(table[h, g])
            if x not in found:
                found.add(x)
                frontier.append(x)
    return frozenset(found)


def subgroups(action: Action) -> list[Subgroup]:
    """All subgroups up to conjugacy, smallest first."""
    table = action.table
    known: set[Subgroup] = {frozenset({0})}
    frontier = list(known)
    while frontier:
        base = frontier.pop()
        for g in range(action.order):
            if g not in base:
                bigger = _closure(table, [*base, g])
                if bigger not in known:
                    known.add(bigger)
                    frontier.append(bigger)
    inverse = [action.inverse(g) for g in range(action.order)]
    chosen: list[Subgroup] = []
    covered: set[Subgroup] = set()
    for subgroup in sorted(known, key=lambda s: (len(s), sorted(s))):
        if subgroup not in covered:
            chosen.append(subgroup)
            for g in range(action.order):
                covered.add(frozenset(int(table[table[g, h], inverse[g]]) for h in subgroup))
    return chosen


def _eigenspaces(matrices: Sequence[Array], size: int, field: str) -> list[Array]:
    """Orthonormal bases of all simultaneous eigenspaces of unitary matrices (over the reals: eigenvalues ±1)."""
    spaces: list[Array] = [np.eye(size)]
    for matrix in matrices:
        values = np.linalg.eigvals(matrix)
        if field == "real":
            values = values[np.abs(values.imag) < 1e-7].real
        distinct: list[Any] = []
        for value in values:
            if all(abs(value - other) > 1e-6 for other in distinct):
                distinct.append(value)
        split = []
        for basis, value in itertools.product(spaces, distinct):
            _, sizes, right = np.linalg.svd((matrix - value * np.eye(size)) @ basis)
            null = right[int((sizes > 1e-7).sum()) :].conj().T
            if null.shape[1]:
                split.append(basis @ null)
        spaces = split
    return [_echelon(b) for b in spaces]


def _echelon(basis: Array) -> Array:
    """An orthonormal basis of the same space with as many unit vectors as it contains (readable, deterministic)."""
    projector = basis @ basis.conj().T
    units = [i for i in range(len(basis)) if abs(projector[i, i] - 1) < 1e-9]
    if len(units) == basis.shape[1]:
        return np.eye(len(basis))[:, units]
    return basis


def _stays(action: Action, g: int, term: list[Array]) -> bool:
    """Whether an element maps a term to itself as a tensor."""
    image = action.elements[g].apply(term)
    overlap = np.prod([x.conj() @ y for x, y in zip(term, image, strict=True)])
    norm = np.prod([np.linalg.norm(x) ** 2 for x in term])
    return bool(abs(overlap - norm) < 1e-6 * norm)


class _Candidate:
    """Stabiliser S, slot orbits and one eigenspace for each: the maps of the representative."""

    def __init__(self, action: Action, stabiliser: Subgroup, orbits: list[list[int]], spaces: Sequence[Array]) -> None:
        self.stabiliser, self.spaces, self.orbits = stabiliser, spaces, orbits
        self.block = [0, 0, 0]
        self.maps: list[Array] = [np.empty(0)] * 3
        for b, (orbit, basis) in enumerate(zip(orbits, spaces, strict=True)):
            for s in orbit:
                mover = next(g for g in sorted(stabiliser) if action.elements[g].slots[orbit[0]] == s)
                self.block[s] = b
                self.maps[s] = action.elements[mover].maps[orbit[0]] @ basis

    def sample(self, rng: np.random.Generator, field: str) -> list[Array]:
        """A generic term of this type."""
        y: list[Array] = [np.asarray(rng.standard_normal(b.shape[1]), dtype=complex) for b in self.spaces]
        if field == "complex":
            y = [x + 1j * rng.standard_normal(len(x)) for x in y]
        return [self.maps[s] @ y[self.block[s]] for s in range(3)]

    def contains(self, term: list[Array]) -> bool:
        """Whether a term fixed by S lies in this type's product of spaces."""
        return all(
            np.linalg.norm(m @ (m.conj().T @ x) - x) < 1e-7 * np.linalg.norm(x)
            for m, x in zip(self.maps, term, strict=True)
        )


def orbit_types(action: Action, field: str = "real", largest_stabiliser: int | None = None) -> list[OrbitType]:
    """All orbit types of an action over the reals or the complex numbers, largest orbits first.

    Parameters
    ----------
    action : Action
    field : {"real", "complex"}
    largest_stabiliser : int, optional
        Leave out types with larger stabilisers (short orbits), of which large groups have hundreds.

    Returns
    -------
    list of OrbitType
        Named ``size.index:widths``; for example ``3.0:8+8+8``.
    """
    if field == "real" and action.is_complex:
        raise StlError("field", field, "complex", f"{action.name} has complex matrices")
    rng = np.random.default_rng(7)
    table = action.table
    inverse = [action.inverse(g) for g in range(action.order)]
    found: list[OrbitType] = []
    for stabiliser in subgroups(action):
        if largest_stabiliser is not None and len(stabiliser) > largest_stabiliser:
            break
        kept: list[_Candidate] = []
        for candidate in _candidates(action, stabiliser, field):
            term = candidate.sample(rng, field)
            if [g for g in range(action.order) if _stays(action, g, term)] != sorted(stabiliser):
                continue
            normaliser = [
                g for g in range(action.order)
                if all(int(table[table[g, h], inverse[g]]) in stabiliser for h in stabiliser)
            ]
            images = [action.elements[g].apply(term) for g in normaliser]
            if not any(other.contains(image) for other in kept for image in images):
                kept.append(candidate)
        for candidate in kept:
            size = action.order // len(stabiliser)
            found.append(_orbit(action, candidate, sum(o.size == size for o in found)))
    return sorted(found, key=lambda o: -o.size)


def _candidates(action: Action, stabiliser: Subgroup, field: str) -> Iterator[_Candidate]:
    orbits: list[list[int]] = []
    for s in range(3):
        if not any(s in o for o in orbits):
            reached = {action.elements[g].slots[s] for g in stabiliser}
            orbits.append([s, *sorted(reached - {s})])
    choices = []
    for orbit in orbits:
        s = orbit[0]
        fixing = [action.elements[g].maps[s] for g in sorted(stabiliser) if action.elements[g].slots[s] == s]
        choices.append(_eigenspaces(fixing, action.dims[s], field))
    for spaces in itertools.product(*choices):
        yield _Candidate(action, stabiliser, orbits, spaces)


def _orbit(action: Action, candidate: _Candidate, index: int) -> OrbitType:
    """Transport the representative along the cosets of its stabiliser."""
    seen: set[int] = set()
    terms = []
    for g in range(action.order):
        if g in seen:
            continue
        seen |= {int(action.table[g, h]) for h in candidate.stabiliser}
        element = action.elements[g]
        slots: list[Any] = [None] * 3
        for s in range(3):
            matrix = element.maps[s] @ candidate.maps[s]
            if np.iscomplexobj(matrix) and np.abs(matrix.imag).max() < 1e-12:
                matrix = np.ascontiguousarray(matrix.real)
            slots[element.slots[s]] = (candidate.block[s], matrix)
        terms.append(tuple(slots))
    widths = tuple(int(b.shape[1]) for b in candidate.spaces)
    return OrbitType(f"{len(terms)}.{index}:{'+'.join(map(str, widths))}", tuple(terms), widths)


def counts_for_rank(types: Sequence[OrbitType], rank: int, limit: int = 100_000) -> list[tuple[int, ...]]:
    """All multiplicities (k_τ) with Σ k_τ·size_τ = rank, at most `limit` of them."""
    out: list[tuple[int, ...]] = []

    def extend(prefix: tuple[int, ...], left: int) -> None:
        if len(out) >= limit:
            return
        if len(prefix) == len(types) - 1:
            if left % types[-1].size == 0:
                out.append((*prefix, left // types[-1].size))
            return
        for k in range(left // types[len(prefix)].size + 1):
            extend((*prefix, k), left - k * types[len(prefix)].size)

    extend((), rank)
    return out


def sample_counts(
    types: Sequence[OrbitType], rank: int, samples: int, seed: int = 0, fixed_share: float = 0.35,
) -> list[tuple[int, ...]]:
    """Random multiplicities of a given rank, distinct, in the order drawn.

    The terms outside free orbits make up about `fixed_share` of the rank on average (successful Z₃ types have a
    third to a half), spread over the other types at random.
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    largest = max(t.size for t in types)
    small = [i for i, t in enumerate(types) if t.size < largest]
    free = [i for i, t in enumerate(types) if t.size == largest]
    for _ in range(samples * 200):
        counts = [0] * len(types)
        left = rank
        goal = rank * (1 - min(1.0, rng.gamma(4.0, fixed_share / 4.0))) if small else rank
        while left >= largest and rank - left + largest <= goal + 1e-9:
            counts[int(rng.choice(free))] += 1
            left -= largest
        weight = rng.dirichlet(np.ones(len(small))) if small else np.empty(0)
        while left:
            fits = [i for i in range(len(types)) if types[i].size <= left and (i in small or not small)]
            if not fits:
                break
            p = np.array([weight[small.index(i)] * types[i].size if i in small else 1.0 for i in fits]) + 1e-12
            pick = int(rng.choice(fits, p=p / p.sum()))
            counts[pick] += 1
            left -= types[pick].size
        if left == 0:
            found.setdefault(tuple(counts))
        if len(found) >= samples:
            break
    return list(found)


class Invariant(Parametrisation):
    """Encoders invariant under an action, with ``counts[i]`` orbits of type ``types[i]``.

    Parameters
    ----------
    action : Action
    counts : sequence of int
        One number per orbit type, in the order of :func:`orbit_types`.
    field : {"real", "complex"}
    types : sequence of OrbitType, optional
        The result of :func:`orbit_types`, to save recomputing it.
    """

    def __init__(
        self, action: Action, counts: Sequence[int], field: str = "real", types: Sequence[OrbitType] | None = None
    ) -> None:
        types = orbit_types(action, field) if types is None else types
        if len(counts) != len(types):
            names = ", ".join(t.name for t in types)
            raise StlError("counts", tuple(counts), f"{len(types)} numbers", f"orbit types: {names}")
        used = ", ".join(f"{k}·{t.name}" for t, k in zip(types, counts, strict=True) if k)
        label = f"{action.name}({used})"
        super().__init__(action.dims, list(zip(types, counts, strict=True)), label, field)
        self.action, self.counts = action, tuple(int(k) for k in counts)
