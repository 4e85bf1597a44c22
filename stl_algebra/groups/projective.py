"""Projective representations: homomorphisms to PO(n) and PU(n), by cocycle class.

A projective representation of class c has matrices with ρ(g) ρ(h) = ζ^c(g,h) ρ(gh).  It is the same as a linear
representation of the central extension of G by c in which the central element acts as ζ; so the exact machinery of
`irreducible` and `realforms` serves here too.  Over the real numbers matrices count up to sign (classes in H²(G, ±1)),
over the complex numbers up to phases (H²(G, C*) = M(G)).  Two real classes may be one over C: diag(1, -1) and
[[0, -1], [1, 0]] are different involutions of PO(2) and the same one of PU(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.characters import character_table
from stl_algebra.groups.cocycles import Class, Cohomology, central_extension, cohomology
from stl_algebra.groups.cyclotomic import Cyclotomic
from stl_algebra.groups.irreducible import irrep
from stl_algebra.groups.realforms import RealForm
from stl_algebra.groups.table import FiniteGroup

__all__ = ["ProjectiveIrrep", "TwistedAlgebra", "projective_degrees", "projective_irreps", "twisted_algebra"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class ProjectiveIrrep:
    """An irreducible projective representation over the field of its cohomology group.

    Attributes
    ----------
    algebra : TwistedAlgebra
        Group, field and class.
    index : int
        Its place in ``algebra.irreps``.
    row : int
        Row of the character table of ``algebra.extension`` (the first of a complex pair over the reals).
    indicator : int
        Frobenius–Schur of that row: 1 real, 0 complex, -1 quaternionic.
    """

    algebra: TwistedAlgebra
    index: int
    row: int
    indicator: int

    @property
    def type(self) -> str:
        """``"real"``, ``"complex"`` or ``"quaternionic"``: the commuting algebra over the reals."""
        return {1: "real", 0: "complex", -1: "quaternionic"}[self.indicator]

    @cached_property
    def degree(self) -> int:
        """Dimension of the complex representation."""
        return int(character_table(self.algebra.extension).degrees[self.row])

    @property
    def dimension(self) -> int:
        """Dimension over the field: over the reals twice the degree for complex and quaternionic type."""
        return self.degree * (2 if self.algebra.field == "real" and self.indicator != 1 else 1)

    @cached_property
    def character(self) -> Array:
        """Trace of ρ(g) for every g, shape (n,); real for the real field."""
        table = character_table(self.algebra.extension)
        values = table.values[self.row].complex()[self.algebra.extension.classes.of[self.algebra.lift]]
        if self.algebra.field == "complex":
            return values
        return np.asarray(values.real * (1 if self.indicator == 1 else 2))

    @cached_property
    def exact(self) -> Cyclotomic:
        """Exact matrices, shape (n, d, d); real but not always orthogonal over the reals."""
        rho = irrep(self.algebra.extension, self.row)
        source = RealForm(rho).matrices if self.algebra.field == "real" else rho.matrices
        return source[self.algebra.lift]

    @cached_property
    def matrices(self) -> Array:
        """float64 orthogonal or complex128 unitary matrices, shape (n, d, d)."""
        rho = irrep(self.algebra.extension, self.row)
        source = RealForm(rho).orthogonal if self.algebra.field == "real" else rho.unitary
        return np.ascontiguousarray(source[self.algebra.lift])

    def __repr__(self) -> str:
        where = self.algebra
        return f"ProjectiveIrrep({where.group.name}, class {where.cls}, degree {self.degree}, {self.type})"


@dataclass(frozen=True, eq=False)
class TwistedAlgebra:
    """The part of a central extension's representations that belongs to one cocycle class.

    Attributes
    ----------
    where : Cohomology
    cls : tuple of int
    extension : FiniteGroup
        Central extension of G by Z/m, m the order of the class.
    lift : int array, shape (n,)
        The element of the extension that stands for each g.
    """

    where: Cohomology
    cls: Class
    extension: FiniteGroup
    lift: Array

    @property
    def group(self) -> FiniteGroup:
        return self.where.group

    @property
    def field(self) -> str:
        return self.where.field

    @cached_property
    def cocycle(self) -> Array:
        """c(g, h) modulo ``where.modulus``, shape (n, n)."""
        return self.where.cocycle(self.cls)

    @cached_property
    def irreps(self) -> tuple[ProjectiveIrrep, ...]:
        """All irreducible projective representations of this class over the field, by degree."""
        table = character_table(self.extension)
        m = self.extension.order // self.group.order
        rows = np.arange(len(table))
        if m > 1:
            central = int(self.lift[self.group.identity]) + 1
            root = pow(table.root, self.extension.exponent // m, table.prime)
            values = table.modular[:, self.extension.classes.of[central]]
            rows = np.flatnonzero(values == table.degrees * root % table.prime)
        if self.field == "real":
            rows = rows[rows <= table.conjugates[rows]]
        indicators = table.indicators
        return tuple(ProjectiveIrrep(self, i, int(r), int(indicators[r])) for i, r in enumerate(rows))

    @cached_property
    def characters(self) -> Array:
        """Characters of the irreps, shape (r, n)."""
        return np.stack([rho.character for rho in self.irreps])

    @cached_property
    def dimensions(self) -> Array:
        """Dimensions of the irreps over the field, shape (r,)."""
        return np.array([rho.dimension for rho in self.irreps])

    def match(self, characters: Array) -> Array:
        """Which irrep has each of the given characters, by integral inner products; shape (len(characters),)."""
        inner = (characters @ self.characters.conj().T).real / self.group.order
        found = np.asarray(inner.argmax(axis=1))
        norms = (np.abs(self.characters[found]) ** 2).sum(axis=1) / self.group.order
        if np.abs(inner[np.arange(len(found)), found] - norms).max() > 1e-6:
            raise StlError("characters", "a class function", "irreducible characters of this class")
        return found

    @cached_property
    def twists(self) -> Array:
        """How the linear characters of G (with values ±1 over the reals) permute the irreps, shape (L, r)."""
        rows = np.unique(np.stack([self.match(self.characters * chi) for chi in linear_characters(self.where)]), axis=0)
        return np.asarray(rows)

    def multisets(self, n: int) -> list[tuple[int, ...]]:
        """Sums of irreps of total dimension n, one for each orbit under linear characters, fewest summands first.

        A sum is a sorted tuple of irrep indices, the least of its orbit.
        """
        dims, twists = self.dimensions, self.twists
        first = np.flatnonzero(twists.min(axis=0) == np.arange(len(dims)))
        out: list[tuple[int, ...]] = []
        for size in range(1, n + 1):
            rows = _sums(dims, first, n, size)
            if len(rows):
                out += [tuple(map(int, row)) for row in rows[_least(rows, twists)]]
        return out

    def canonical(self, indices: Sequence[int]) -> tuple[int, ...]:
        """The least sorted tuple in the orbit of a sum under linear characters."""
        moved = np.sort(self.twists[:, list(indices)], axis=1)
        return tuple(map(int, min(moved.tolist())))


def _sums(dims: Array, first: Array, n: int, size: int) -> Array:
    """Sorted index tuples of a given size and total dimension whose least entry lies in `first`."""
    usable = np.flatnonzero(dims <= n)
    if size == 1:
        return np.asarray([[i] for i in first if dims[i] == n], dtype=np.int64).reshape(-1, 1)
    out = []
    for i in first:
        rest = usable[usable >= i]
        rest = rest[dims[rest] <= n - dims[i] - (size - 2)]
        tails = np.array(list(combinations_with_replacement(rest.tolist(), size - 1)), dtype=np.int64)
        if len(tails):
            tails = tails.reshape(len(tails), size - 1)
            tails = tails[dims[tails].sum(axis=1) == n - dims[i]]
            out.append(np.concatenate([np.full((len(tails), 1), i), tails], axis=1))
    return np.concatenate(out) if out else np.empty((0, size), dtype=np.int64)


def _least(rows: Array, twists: Array) -> Array:
    """Which sorted rows are the least of their orbit under the index permutations."""
    base = twists.shape[1]
    weights = base ** np.arange(rows.shape[1] - 1, -1, -1, dtype=np.int64)
    mine = rows @ weights
    keep = np.ones(len(rows), dtype=bool)
    for twist in twists:
        keep &= np.sort(twist[rows], axis=1) @ weights >= mine
    return keep


@lru_cache(maxsize=4096)
def twisted_algebra(where: Cohomology, cls: Class) -> TwistedAlgebra:
    """The representations of one class."""
    m = where.order_of(cls)
    if m == 1:
        return TwistedAlgebra(where, cls, where.group, np.arange(where.group.order))
    cocycle = where.cocycle(cls).astype(np.int64) // (where.modulus // m) % m
    extension, _ = central_extension(where.group, [(cocycle, m)], f"{m}.{where.group.name}")
    return TwistedAlgebra(where, cls, extension, np.arange(where.group.order) * m)


@lru_cache(maxsize=512)
def linear_characters(where: Cohomology) -> Array:
    """Homomorphisms to ±1 or to C*, as complex numbers, shape (L, n)."""
    table = character_table(where.group)
    rows = np.flatnonzero(table.degrees == 1)
    if where.field == "real":
        rows = rows[table.indicators[rows] == 1]
    values = table.values[rows].complex()[:, where.group.classes.of]
    return np.asarray(values.real if where.field == "real" else values)


def projective_irreps(
    group: FiniteGroup,
    cls: Class | None = None,
    field: str = "complex",
) -> tuple[ProjectiveIrrep, ...]:
    """Irreducible projective representations of a class (or of all classes, trivial first).

    >>> from stl_algebra.groups import group, projective_irreps
    >>> [rho.degree for rho in projective_irreps(group("C2^4"), (0, 0, 1, 0, 0, 1))]
    [4]
    >>> [(rho.degree, rho.type) for rho in projective_irreps(group("A5"), (1,), "real")]
    [(2, 'quaternionic'), (2, 'quaternionic'), (4, 'quaternionic'), (6, 'quaternionic')]
    """
    where = cohomology(group, field)
    if cls is not None:
        return twisted_algebra(where, tuple(cls)).irreps
    return tuple(rho for c in where for rho in twisted_algebra(where, c).irreps)


def projective_degrees(group: FiniteGroup, cls: Class) -> list[int]:
    """Degrees of the complex irreducible projective representations of one class, sorted."""
    return sorted(rho.degree for rho in projective_irreps(group, cls))
