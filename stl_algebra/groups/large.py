"""Permutation groups that are too large for a multiplication table: classes, powers and exact character tables.

Dixon–Schneider needs of a group only how often products of two classes hit a representative of each class, and the
classes of powers. Elements are permutations in one array, known again by a hash of their images, so a product of all
elements with one representative is a gather and a search: |G| × classes products in all, a second for Sp(4, 3)
(order 51840, 34 classes), where the table of `FiniteGroup` would take 5 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lcm
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.classes import ConjugacyClasses, conjugacy_classes
from stl_algebra.groups.generate import cycles

__all__ = ["PermutationGroup", "clifford", "symplectic"]

IntArray = np.ndarray[Any, np.dtype[Any]]
MAX_LARGE = 200_000
MAX_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class PermutationGroup:
    """All elements of a group of permutations, identity first, without a multiplication table.

    `character_table` takes it like a `FiniteGroup`.

    Attributes
    ----------
    name : str
    elements : (|G|, degree) int16 array
        Images; the product g·h means first h, then g.
    keys : (|G|,) uint64
        Hash of each element, and ``rank`` its order by hash.
    """

    name: str
    elements: IntArray
    weights: IntArray
    keys: IntArray
    rank: IntArray
    generators: tuple[int, ...]
    identity: int = 0

    def label(self, g: int) -> str:
        """Element g in cycle notation."""
        return cycles(self.elements[g])

    @classmethod
    def from_generators(cls, generators: Sequence[Sequence[int]], name: str = "") -> PermutationGroup:
        """The group that some permutations of 0 … n−1 generate, of at most `MAX_LARGE` elements.

        Raises
        ------
        StlError
            For rows that are no permutations of one set, or too many elements.

        Examples
        --------
        >>> PermutationGroup.from_generators([(1, 2, 3, 4, 5, 6, 7, 0), (1, 0, 2, 3, 4, 5, 6, 7)], "S8").order
        40320
        """
        given = np.array(generators)
        if given.ndim != 2 or not given.size or (np.sort(given, axis=1) != np.arange(given.shape[1])).any():
            raise StlError("generators", given.shape, "permutations of 0 … n−1, one a row")
        rows = given.astype(np.int16)
        weights = np.array(np.random.default_rng(1).integers(0, 2**63, rows.shape[1], dtype=np.uint64) * 2 + 1)
        one = np.arange(rows.shape[1], dtype=np.int16)[None]
        parts, keys = [one], _hash(one, weights)
        frontier = one
        while len(frontier):
            fresh = np.concatenate([row[frontier] for row in rows])  # first the element, then the generator
            marks, first = np.unique(_hash(fresh, weights), return_index=True)
            new = ~np.isin(marks, keys)
            frontier, keys = fresh[np.sort(first[new])], np.concatenate([keys, marks[new]])
            parts.append(frontier)
            if len(keys) > MAX_LARGE or len(keys) * rows.shape[1] * 2 > MAX_BYTES:
                raise StlError("generators", name or "these", f"a group of at most {MAX_LARGE} elements")
        elements = np.concatenate(parts)
        keys = _hash(elements, weights)
        found = cls(name, elements, weights, keys, np.argsort(keys), ())
        return cls(name, elements, weights, keys, found.rank, tuple(dict.fromkeys(found.index(rows).tolist())))

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.elements)

    def index(self, rows: IntArray) -> IntArray:
        """Numbers of elements given by their images."""
        place = np.searchsorted(self.keys, _hash(rows, self.weights), sorter=self.rank)
        return np.asarray(self.rank[np.minimum(place, self.order - 1)])

    @cached_property
    def inverse(self) -> IntArray:
        """Number of each inverse."""
        return self.index(np.argsort(self.elements, axis=1).astype(np.int16))

    @cached_property
    def element_orders(self) -> IntArray:
        """Smallest k ≥ 1 with g^k = e."""
        orders = np.zeros(self.order, dtype=np.int64)
        power, k = self.elements.copy(), 1
        line = np.arange(self.elements.shape[1])
        while (orders == 0).any():
            orders[(power == line).all(axis=1) & (orders == 0)] = k
            power, k = np.take_along_axis(self.elements, power.astype(np.int64), axis=1), k + 1
        return orders

    @cached_property
    def exponent(self) -> int:
        """Least common multiple of the element orders."""
        return lcm(*(int(o) for o in np.unique(self.element_orders)))

    def power(self, g: IntArray, k: int) -> IntArray:
        """Numbers of g^k."""
        base = self.elements[np.asarray(g)].astype(np.int64)
        out = np.broadcast_to(np.arange(base.shape[-1]), base.shape)
        for _ in range(k % self.exponent):
            out = np.take_along_axis(base, out, axis=-1)
        return self.index(out.reshape(-1, base.shape[-1]).astype(np.int16)).reshape(np.shape(g))

    def power_map(self, k: int) -> IntArray:
        """Class of the k-th powers of each class."""
        return np.asarray(self.classes.of[self.power(self.classes.representatives, k)])

    @cached_property
    def classes(self) -> ConjugacyClasses:
        """Conjugacy classes in the order of `FiniteGroup`: element order, size, smallest element."""
        moves = []
        for g in self.generators:
            row, back = self.elements[g], self.elements[self.inverse[g]]
            moves.append(self.index(row[self.elements[:, back]]))
        return conjugacy_classes(moves, self.element_orders, self.inverse)

    def quotients(self) -> IntArray:
        """Class of x⁻¹·z for every element x and class representative z, shape (|G|, k)."""
        out = np.empty((self.order, len(self.classes)), dtype=np.int64)
        back = self.elements[self.inverse]
        for column, z in enumerate(self.classes.representatives):
            out[:, column] = self.classes.of[self.index(back[:, self.elements[z]])]
        return out

    def __repr__(self) -> str:
        return f"PermutationGroup({self.name or 'unnamed'}, order {self.order})"


def _hash(rows: IntArray, weights: IntArray) -> IntArray:
    return np.asarray((rows.astype(np.uint64) + np.uint64(1)) @ weights)


def symplectic(p: int) -> PermutationGroup:
    """Sp(4, p) for a prime p on the nonzero vectors of GF(p)⁴, generated by transvections v ↦ v + ⟨v, u⟩u.

    Examples
    --------
    >>> symplectic(2).order
    720
    """
    if p not in (2, 3):
        raise StlError("p", p, "2 or 3", "Sp(4, 5) has 9360000 elements.")
    vectors = np.array(np.meshgrid(*[np.arange(p)] * 4, indexing="ij")).reshape(4, -1).T[1:]
    place = {v.tobytes(): i for i, v in enumerate(vectors)}
    form = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [-1, 0, 0, 0], [0, -1, 0, 0]])
    chosen = [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1)]
    rows = []
    for u in np.array(chosen):
        moved = (vectors + (vectors @ form @ u)[:, None] * u) % p
        rows.append([place[np.ascontiguousarray(v).tobytes()] for v in moved])
    return PermutationGroup.from_generators(rows, f"Sp(4,{p})")


def clifford(qubits: int = 2) -> PermutationGroup:
    """The Clifford group of one or two qubits modulo phases on the signed Pauli matrices: S₄, and 2⁴·S₆ of order 11520.

    Source: Gottesman, LNCS 1509 (1999) 302–313.

    Examples
    --------
    >>> clifford(1).order, clifford(2).order
    (24, 11520)
    """
    if qubits not in (1, 2):
        raise StlError("qubits", qubits, "1 or 2", "For three the group has 92897280 elements.")
    one, x, z = np.eye(2), np.array([[0, 1], [1, 0]], dtype=complex), np.diag([1.0 + 0j, -1])
    single = [one, x, 1j * x @ z, z]
    paulis = single[1:] if qubits == 1 else [np.kron(a, b) for a in single for b in single][1:]
    signed = [s * q for q in paulis for s in (1, -1)]
    gates = [(q + np.eye(len(q)) * 1j) / np.sqrt(2) for q in paulis]  # √P up to a phase: transvections
    rows = []
    for g in gates:
        images = [g @ q @ g.conj().T for q in signed]
        rows.append([next(i for i, q in enumerate(signed) if np.abs(q - image).max() < 1e-9) for image in images])
    return PermutationGroup.from_generators(rows, f"Clifford({qubits})")
