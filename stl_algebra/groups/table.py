"""A finite group is its multiplication table: ``table[g, h]`` is the index of g·h.

Everything else (inverses, orders, classes, subgroups, representations) is derived from the table once and cached
on the frozen object.  Subsets and subgroups are sorted integer arrays of element indices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from stl_algebra._html import table_html
from stl_algebra.errors import StlError
from stl_algebra.groups.classes import ConjugacyClasses, conjugacy_classes

if TYPE_CHECKING:
    from stl_algebra.groups.characters import CharacterTable
    from stl_algebra.groups.irreducible import Irrep
    from stl_algebra.groups.morphisms import Automorphisms
    from stl_algebra.groups.subgroups import SubgroupClass

__all__ = ["MAX_ORDER", "ConjugacyClasses", "FiniteGroup"]

IntArray = np.ndarray[Any, np.dtype[Any]]
MAX_ORDER = 8192  # a 128 MiB int16 table; every derived quantity stays within a few seconds below it


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    """A finite group given by its multiplication table.

    Parameters
    ----------
    table : int array, shape (n, n)
        ``table[g, h]`` is the index of g·h.  Stored read-only as int16.
    name : str
        How people call it, e.g. ``"C7:C3"``.
    labels : sequence of str, optional
        One printable name per element; default ``"g0", "g1", …`` with ``"e"`` for the identity.
    generators : sequence of int, optional
        Elements that generate the group; found greedily when missing.
    elements : array or tuple, optional
        Concrete elements (permutations as image rows, matrices, …) in table order.
    origin : tuple
        Constructor name and parameters, e.g. ``("symmetric", 4)``; closed-form representations use it.
    check : bool
        Prove the group axioms (identity, inverses, associativity by Light's test on generators, O(n²) per
        generator).  Constructors of this package pass False: their products are associative by construction.

    Raises
    ------
    StlError
        If the table is not square, has entries out of range, is larger than `MAX_ORDER`, or is not a group;
        the message names the failing identity.

    Examples
    --------
    >>> FiniteGroup(np.array([[0, 1], [1, 0]])).exponent
    2
    """

    table: IntArray
    name: str = ""
    labels: Sequence[str] | None = None
    generators: tuple[int, ...] = ()
    elements: Any = None
    origin: tuple[Any, ...] = ()
    check: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        table = np.asarray(self.table)
        if table.ndim != 2 or table.shape[0] != table.shape[1] or table.shape[0] == 0:
            raise StlError("table", table.shape, "a square table of at least one element")
        n = len(table)
        if n > MAX_ORDER:
            raise StlError("table", f"order {n}", f"order at most {MAX_ORDER}", "Work with a quotient or a subgroup.")
        if self.check:
            if not np.issubdtype(table.dtype, np.integer):
                raise StlError("table", table.dtype, "integer indices")
            if table.min() < 0 or table.max() >= n:
                raise StlError("table", int(table.max()), f"indices from 0 to {n - 1}")
        table = np.array(table, dtype=np.int16, order="C")
        table.setflags(write=False)
        object.__setattr__(self, "table", table)
        if self.labels is not None and len(self.labels) != n:
            raise StlError("labels", len(self.labels), f"{n} labels, one per element")
        if self.check:
            self._prove_group()
        if not self.generators and n > 1:
            object.__setattr__(self, "generators", self._greedy_generators())
        else:
            object.__setattr__(self, "generators", tuple(int(g) for g in self.generators))

    def _prove_group(self) -> None:
        table, n = self.table, self.order
        line = np.arange(n)
        ones = np.flatnonzero((table == line).all(axis=1))
        if len(ones) == 0 or not np.array_equal(table[:, ones[0]], line):
            raise StlError("table", "no identity", "an element e with e·g = g = g·e for every g")
        bad = np.flatnonzero((np.sort(table, axis=1) != line).any(axis=1))
        if len(bad):
            raise StlError("table", f"row {bad[0]} repeats an entry", "rows that are permutations (g·x = h solvable)")
        # Light: if (x·a)·y = x·(a·y) for all x, y and all a in a generating set, the operation is associative.
        # Elements reached by right multiplication ((a·b)·c)… lie in what the set generates, so reaching all is enough.
        reached, chosen = np.zeros(n, dtype=bool), []
        reached[ones[0]] = True
        while not reached.all():
            chosen.append(int(np.flatnonzero(~reached)[0]))
            reached[chosen[-1]] = True
            frontier = np.flatnonzero(reached)
            while len(frontier):
                new = np.unique(table[frontier][:, chosen])
                frontier = new[~reached[new]]
                reached[frontier] = True
        for a in chosen:
            wrong = table[table[:, a]] != table[:, table[a]]
            if wrong.any():
                x, y = map(int, np.argwhere(wrong)[0])
                raise StlError(
                    "table",
                    f"({x}·{a})·{y} = {table[table[x, a], y]} but {x}·({a}·{y}) = {table[x, table[a, y]]}",
                    "an associative product",
                    "Check which index is the row: table[g, h] is g·h.",
                )

    def _greedy_generators(self) -> tuple[int, ...]:
        chosen: list[int] = []
        inside = np.zeros(self.order, dtype=bool)
        inside[self.identity] = True
        for g in np.argsort(-self.element_orders, kind="stable"):
            if not inside[g]:
                chosen.append(int(g))
                inside[self.closure(chosen)] = True
                if inside.all():
                    break
        for g in list(chosen):  # drop what later generators made superfluous
            rest = [h for h in chosen if h != g]
            if len(self.closure(rest)) == self.order:
                chosen = rest
        return tuple(chosen)

    # -- elements -------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[int]:
        """The elements, as indices into the table."""
        return iter(range(self.order))

    @property
    def order(self) -> int:
        """Number of elements."""
        return int(self.table.shape[0])

    def __len__(self) -> int:
        return self.order

    def __repr__(self) -> str:
        return f"FiniteGroup({self.name or 'unnamed'}, order {self.order})"

    def _repr_html_(self) -> str:
        facts = [w for w, holds in (("abelian", self.is_abelian), ("simple", self.is_simple)) if holds]
        facts += ["solvable" if self.is_solvable else "not solvable"]
        rows = [
            ("order, exponent", f"{self.order}, {self.exponent}"), ("is", ", ".join(facts)),
            ("centre, derived subgroup", f"orders {len(self.centre)}, {len(self.derived_subgroup)}"),
            ("generated by", ", ".join(self.label(g) for g in self.generators) or "nothing"),
            ("classes", _some([f"{self.label(int(r))} × {size}" for r, size in zip(
                self.classes.representatives, self.classes.sizes, strict=True)])),
        ]  # fmt: skip
        return table_html((f"{self.name or 'a group'}", ""), rows)

    # -- what a mathematician tries first; the work is done by the functions of the same package --------------
    @classmethod
    def from_permutations(cls, *generators: Any, name: str = "") -> FiniteGroup:
        """Group generated by permutations, in cycle notation (points from 1) or as image rows (points from 0).

        >>> FiniteGroup.from_permutations("(1 2 3)", "(1 2)(4 5)")
        FiniteGroup(S3, order 6)
        """
        made: FiniteGroup = _groups("from_permutations")(
            ", ".join(generators) if all(isinstance(g, str) for g in generators) else [list(g) for g in generators]
        )
        if not name and made.order <= 63:
            name = _groups("small_group_description")(*_groups("small_group_id")(made))
        return FiniteGroup(made.table, name, made.labels, made.generators, made.elements, check=False)

    def character_table(self) -> CharacterTable:
        """Exact irreducible characters, see `characters.character_table`.

        >>> from stl_algebra import group
        >>> group("S3").character_table()
        CharacterTable(S3, degrees [1, 1, 2])
        """
        table: CharacterTable = _groups("character_table")(self)
        return table

    def irreps(self, form: str = "monomial") -> tuple[Irrep, ...]:
        """Exact irreducible representations, see `irreducible.irreps`.

        >>> from stl_algebra import group
        >>> [rho.dimension for rho in group("A4").irreps()]
        [1, 1, 1, 3]
        """
        found: tuple[Irrep, ...] = _groups("irreps")(self, form)
        return found

    def conjugacy_classes(self) -> list[list[int]]:
        """The classes as lists of elements, in the order of `classes`.

        >>> from stl_algebra import group
        >>> [len(c) for c in group("S3").conjugacy_classes()]
        [1, 3, 2]
        """
        return [self.classes.members(i).tolist() for i in range(len(self.classes))]

    def subgroups(self) -> list[SubgroupClass]:
        """Subgroups up to conjugacy, see `subgroups.subgroup_classes`.

        >>> from stl_algebra import group
        >>> [(c.order, c.length) for c in group("S3").subgroups()]
        [(1, 1), (2, 3), (3, 1), (6, 1)]
        """
        return list(_groups("subgroup_classes")(self))

    def automorphisms(self) -> Automorphisms:
        """The automorphism group, see `morphisms.automorphism_group`.

        >>> from stl_algebra import group
        >>> group("Q8").automorphisms().order
        24
        """
        found: Automorphisms = _groups("automorphism_group")(self)
        return found

    @cached_property
    def identity(self) -> int:
        """Index of the neutral element (0 for every constructor of this package)."""
        return int(np.argmax(np.diagonal(self.table) == np.arange(self.order)))

    @cached_property
    def inverse(self) -> IntArray:
        """Index of g⁻¹ for every g, shape (n,)."""
        out = np.empty(self.order, dtype=np.int64)
        rows, columns = np.nonzero(self.table == self.identity)
        out[rows] = columns
        return out

    @cached_property
    def element_orders(self) -> IntArray:
        """Smallest k ≥ 1 with g^k = e, shape (n,)."""
        orders = np.zeros(self.order, dtype=np.int64)
        line, power, k = np.arange(self.order), np.arange(self.order), 1
        while (orders == 0).any():
            orders[(power == self.identity) & (orders == 0)] = k
            power, k = self.table[power, line], k + 1
        return orders

    @cached_property
    def exponent(self) -> int:
        """Least common multiple of the element orders."""
        return lcm(*(int(o) for o in np.unique(self.element_orders)))

    @cached_property
    def is_abelian(self) -> bool:
        g = list(self.generators)
        return bool(np.array_equal(self.table[np.ix_(g, g)], self.table[np.ix_(g, g)].T))

    def label(self, g: int) -> str:
        """Printable name of element g."""
        return self.labels[g] if self.labels is not None else "e" if g == self.identity else f"g{g}"

    def product(self, *factors: int) -> int:
        """Index of the product of the factors, left to right (identity when empty)."""
        out = self.identity
        for g in factors:
            out = int(self.table[out, g])
        return out

    def power(self, g: Any, k: int) -> Any:
        """Index of g^k; g may be an integer array."""
        base, k = (g, k) if k >= 0 else (self.inverse[g], -k)
        out = np.full(np.shape(base), self.identity, dtype=np.int64)
        base = np.asarray(base)
        while k:
            if k & 1:
                out = self.table[out, base].astype(np.int64)
            base, k = self.table[base, base], k >> 1
        return int(out) if out.ndim == 0 else out

    def conjugate(self, g: Any, x: Any) -> Any:
        """Index of g·x·g⁻¹ (broadcasts over arrays)."""
        out = self.table[self.table[g, x], self.inverse[g]]
        return int(out) if np.ndim(out) == 0 else out

    def commutator(self, g: Any, h: Any) -> Any:
        """Index of g·h·g⁻¹·h⁻¹ (broadcasts over arrays)."""
        out = self.table[self.table[g, h], self.inverse[self.table[h, g]]]
        return int(out) if np.ndim(out) == 0 else out

    # -- classes --------------------------------------------------------------------------------------------
    @cached_property
    def classes(self) -> ConjugacyClasses:
        """Conjugacy classes."""
        moves = [self.conjugate(s, np.arange(self.order)) for s in self.generators]
        return conjugacy_classes(moves, self.element_orders, self.inverse)

    def power_map(self, k: int) -> IntArray:
        """Class of the k-th powers of each class, shape (number of classes,)."""
        return np.asarray(self.classes.of[self.power(self.classes.representatives, k)])

    def quotients(self) -> IntArray:
        """Class of x⁻¹·z for every element x and class representative z, shape (n, k)."""
        return np.asarray(self.classes.of[self.table[np.ix_(self.inverse, self.classes.representatives)]])

    # -- subgroups ------------------------------------------------------------------------------------------
    def closure(self, generators: Iterable[int], start: IntArray | None = None) -> IntArray:
        """Sorted elements of the subgroup generated by `generators` (and the subgroup `start`, if given).

        Dimino's algorithm: the union of cosets H·r grows until right multiplication by generators adds nothing.
        """
        group = np.array([self.identity]) if start is None else np.asarray(start)
        inside = np.zeros(self.order, dtype=bool)
        inside[group] = True
        used = [] if start is None else self._generating_subset(group)
        for g in generators:
            if inside[g]:
                continue
            used.append(int(g))  # at least doubles the subgroup, so `used` stays below log2 |G| + 1
            block, queue = np.flatnonzero(inside), [self.identity]
            for r in queue:
                for s in used:
                    x = self.table[r, s]
                    if not inside[x]:
                        inside[self.table[block, x]] = True
                        queue.append(int(x))
        return np.flatnonzero(inside)

    def _generating_subset(self, subgroup: IntArray) -> list[int]:
        inside, chosen = np.zeros(self.order, dtype=bool), []
        inside[self.identity] = True
        for g in subgroup[np.argsort(-self.element_orders[subgroup], kind="stable")]:
            if not inside[g]:
                chosen.append(int(g))
                inside[self.closure(chosen)] = True
                if np.count_nonzero(inside) == len(subgroup):
                    break
        return chosen

    def subgroup(self, elements: Iterable[int], name: str = "") -> tuple[FiniteGroup, IntArray]:
        """The subgroup generated by `elements` as a group of its own, with its embedding.

        Returns
        -------
        group : FiniteGroup
        embedding : int array, shape (|H|,)
            Index in this group of each element of the subgroup (increasing).
        """
        inside = self.closure([int(g) for g in elements])
        place = np.full(self.order, -1, dtype=np.int64)
        place[inside] = np.arange(len(inside))
        labels = None if self.labels is None else tuple(self.labels[g] for g in inside)
        payload = self.elements[inside] if isinstance(self.elements, np.ndarray) else None
        table = place[self.table[np.ix_(inside, inside)]]
        return FiniteGroup(table, name, labels, elements=payload, check=False), inside

    def is_subgroup(self, elements: IntArray) -> bool:
        """Whether the given elements are closed under the product (finite: then they are a subgroup)."""
        inside = np.zeros(self.order, dtype=bool)
        inside[elements] = True
        return bool(len(np.atleast_1d(elements))) and bool(inside[self.table[np.ix_(elements, elements)]].all())

    def require_subgroup(self, elements: Any, argument: str = "subgroup") -> IntArray:
        """Sorted array of the elements of a subgroup, or an `StlError` that says what is missing."""
        array = np.unique(np.asarray(elements, dtype=np.int64))
        if len(array) == 0 or array[0] < 0 or array[-1] >= self.order or not self.is_subgroup(array):
            raise StlError(
                argument,
                array.tolist(),
                "elements closed under the product",
                "Pass generators through FiniteGroup.closure first.",
            )
        return array

    def is_normal(self, subgroup: IntArray) -> bool:
        """Whether g·H·g⁻¹ = H for all g."""
        inside = np.zeros(self.order, dtype=bool)
        inside[subgroup] = True
        return all(bool(inside[self.conjugate(s, np.asarray(subgroup))].all()) for s in self.generators)

    def normal_closure(self, elements: Iterable[int]) -> IntArray:
        """Smallest normal subgroup that contains the elements."""
        of = self.classes.of
        wanted = np.unique(of[np.fromiter(elements, dtype=np.int64)])
        return self.closure(np.flatnonzero(np.isin(of, wanted)).tolist())

    def centralizer(self, elements: Iterable[int]) -> IntArray:
        """Elements that commute with each of the given ones."""
        keep = np.ones(self.order, dtype=bool)
        for g in elements:
            keep &= self.table[:, g] == self.table[g, :]
        return np.flatnonzero(keep)

    def normalizer(self, subgroup: IntArray) -> IntArray:
        """Elements g with g·H·g⁻¹ = H."""
        inside = np.zeros(self.order, dtype=bool)
        inside[subgroup] = True
        line = np.arange(self.order)
        keep = np.ones(self.order, dtype=bool)
        for h in self._generating_subset(np.asarray(subgroup)):
            keep &= inside[self.conjugate(line, h)]
        return np.flatnonzero(keep)

    @cached_property
    def centre(self) -> IntArray:
        """Elements that commute with all others."""
        return self.centralizer(self.generators)

    @cached_property
    def derived_subgroup(self) -> IntArray:
        """Subgroup generated by all commutators: the normal closure of commutators of generators."""
        pairs = {self.commutator(g, h) for g in self.generators for h in self.generators}
        return self.normal_closure(pairs or {self.identity})

    @cached_property
    def derived_series(self) -> tuple[IntArray, ...]:
        """G, G', G'', … until it becomes stationary."""
        series: list[IntArray] = [np.arange(self.order)]
        while True:
            group, embedding = self.subgroup(self._generating_subset(series[-1]))
            smaller = embedding[group.derived_subgroup]
            if len(smaller) == len(series[-1]):
                return tuple(series)
            series.append(smaller)

    @property
    def is_solvable(self) -> bool:
        return len(self.derived_series[-1]) == 1

    @property
    def is_perfect(self) -> bool:
        return len(self.derived_subgroup) == self.order

    @cached_property
    def is_simple(self) -> bool:
        """No normal subgroup besides the trivial one and the whole group (and order > 1)."""
        reps = self.classes.representatives[1:]
        return self.order > 1 and all(len(self.normal_closure([r])) == self.order for r in reps)

    @cached_property
    def is_nilpotent(self) -> bool:
        """Upper central series reaches the group."""
        group = self
        while group.order > 1:
            if len(group.centre) == 1:
                return False
            group = group.quotient(group.centre)[0]
        return True

    # -- cosets and quotients -------------------------------------------------------------------------------
    def left_cosets(self, subgroup: IntArray) -> tuple[IntArray, IntArray]:
        """Left cosets x·H.

        Returns
        -------
        representatives : int array, shape ([G:H],)
            Smallest element of each coset, increasing; the first coset is that of element 0.
        coset_of : int array, shape (|G|,)
            Index of the coset that contains each element.
        """
        least = self.table[:, np.asarray(subgroup)].min(axis=1)
        reps, coset_of = np.unique(least, return_inverse=True)
        return reps.astype(np.int64), coset_of

    def coset_action(self, subgroup: IntArray) -> IntArray:
        """Permutations g: x·H ↦ g·x·H, shape (|G|, [G:H]); entry [g, i] is the image of coset i."""
        reps, coset_of = self.left_cosets(self.require_subgroup(subgroup))
        return np.asarray(coset_of[self.table[:, reps]])

    def quotient(self, normal: IntArray, name: str = "") -> tuple[FiniteGroup, IntArray]:
        """G/N and the projection, int array of shape (|G|,).  Refuses subgroups that are not normal."""
        normal = self.require_subgroup(normal, "normal")
        if not self.is_normal(normal):
            raise StlError("normal", normal.tolist(), "a normal subgroup", "Use normal_closure to enlarge it.")
        reps, projection = self.left_cosets(normal)
        return FiniteGroup(projection[self.table[np.ix_(reps, reps)]], name, check=False), projection


def _groups(name: str) -> Any:
    """A function of `stl_algebra.groups`, which is built on this module and therefore looked up when it is called."""
    return getattr(import_module("stl_algebra.groups"), name)


def _some(words: Sequence[str], most: int = 12) -> str:
    return ", ".join(words[:most]) + (f", … ({len(words)} in all)" if len(words) > most else "")
