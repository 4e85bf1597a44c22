"""Projective representations of dimension n up to equivalence, and the automorphisms that move them.

A *point* is a homomorphism G → PO(n) or PU(n) up to conjugation: a cocycle class and a sum of irreducible
projective representations of that class, sums that differ by a linear character being one point.  An automorphism a
(with complex conjugation, if asked) sends ρ to ρ∘a and permutes the points.  Classes in one orbit share their
representations: those of class f are ρ∘u for the ρ of the first class of its orbit and a fixed automorphism u, so
characters are computed once per orbit.

`Orbits` is a group of automorphisms acting on the points: least representative of an orbit, the automorphism that
leads there, and the stabiliser, again with orbits of its own.  A chain of them classifies pairs and triples.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cocycles import Cohomology, cohomology
from stl_algebra.groups.projective import ProjectiveIrrep, TwistedAlgebra, twisted_algebra
from stl_algebra.groups.table import MAX_ORDER, FiniteGroup

__all__ = ["Auto", "Orbits", "Point", "ProjectivePoints"]

IntArray = np.ndarray[Any, np.dtype[Any]]
MAX_CLASSES = 2**22
MAX_LISTED = 100_000  # points of one dimension kept in a list
MAX_CLOSURE = 4000  # groups of automorphisms up to this order are closed element by element, to keep few generators


@dataclass(frozen=True, eq=False)
class Auto:
    """An automorphism g ↦ map[g], after complex conjugation of the matrices if `bar`."""

    map: IntArray
    bar: bool = False

    def __matmul__(self, other: Auto) -> Auto:
        """First ρ ↦ ρ·self, then ·other: (ρ∘self)∘other."""
        return Auto(self.map[other.map], self.bar != other.bar)

    @property
    def inverse(self) -> Auto:
        """The automorphism that undoes this one."""
        back = np.empty_like(self.map)
        back[self.map] = np.arange(len(self.map))
        return Auto(back, self.bar)

    @property
    def key(self) -> bytes:
        return bytes([bool(self.bar)]) + self.map.astype(np.int16).tobytes()


@dataclass(frozen=True)
class Point:
    """A class (as a mixed-radix number) and a sum of irreps of the first class of its orbit."""

    cls: int
    summands: tuple[int, ...]

    @property
    def key(self) -> tuple[int, int, tuple[int, ...]]:
        """Order of enumeration: few summands first."""
        return len(self.summands), self.cls, self.summands


class ProjectivePoints:
    """All points of a group H ≤ G over a field, with the action of automorphisms of G that keep H.

    Parameters
    ----------
    group : FiniteGroup
        H.
    field : {"real", "complex"}
    generators : list of Auto
        Of G; every orbit of classes under them is computed once.
    embedding : int array, shape (|H|,), optional
        H in G, when H is a proper subgroup.
    """

    def __init__(
        self,
        group: FiniteGroup,
        field: str,
        generators: list[Auto],
        embedding: IntArray | None = None,
    ) -> None:
        self.group, self.field = group, field
        self.embedding = embedding
        self.where: Cohomology = cohomology(group, field)
        if len(self.where) > MAX_CLASSES:
            raise StlError("group", group, f"at most {MAX_CLASSES} cocycle classes", f"There are {len(self.where)}.")
        if embedding is not None:
            self._place = np.full(int(embedding.max()) + 1, -1)
            self._place[embedding] = np.arange(len(embedding))
        self.generators = [self.restrict(a) for a in generators]
        self._images = [self._class_image(a) for a in self.generators]
        self._classes()
        self._transversal: dict[int, Auto] = {}
        self._algebras: dict[int, TwistedAlgebra] = {}
        self._permutations: dict[tuple[int, bytes], IntArray] = {}
        self._sums: dict[tuple[int, int], list[tuple[int, ...]]] = {}
        self._class_cache: dict[bytes, IntArray] = {}
        self._listed: dict[int, list[Point]] = {}

    def restrict(self, auto: Auto) -> Auto:
        """An automorphism of G as one of H."""
        return auto if self.embedding is None else Auto(self._place[auto.map[self.embedding]], auto.bar)

    # -- classes --------------------------------------------------------------------------------------------
    def digits(self, code: int) -> tuple[int, ...]:
        """Digits of a class number."""
        out = []
        for m in reversed(self.where.moduli):
            code, digit = divmod(code, m)
            out.append(digit)
        return tuple(reversed(out))

    def number(self, cls: tuple[int, ...]) -> int:
        """Mixed-radix number of a class."""
        code = 0
        for digit, m in zip(cls, self.where.moduli, strict=True):
            code = code * m + digit % m
        return code

    def _class_image(self, auto: Auto) -> IntArray:
        """Number of f·a for every class number f, shape (N,): H² → H² is linear."""
        moduli = self.where.moduli
        table = np.zeros(1, dtype=np.int64)
        weights = [prod(moduli[i + 1 :]) for i in range(len(moduli))]
        images = self.where.image(auto.map)
        for m, image in zip(moduli, images, strict=True):  # most significant first, so that codes come out in order
            steps = []
            for x in range(m):
                step = [(-x if auto.bar else x) * y for y in image]
                steps.append(_add(table, step, moduli, weights))
            table = np.stack(steps, axis=1).ravel()
        return table

    def _classes(self) -> None:
        """Orbits of classes: root, parent and generator of every class number."""
        n = len(self.where)
        self.root = np.full(n, -1, dtype=np.int32)
        self._parent = np.zeros(n, dtype=np.int32)
        self._step = np.zeros(n, dtype=np.int8)
        for code in range(n):
            if self.root[code] >= 0:
                continue
            self.root[code] = code
            frontier = np.array([code])
            while len(frontier):
                fresh = []
                for i, image in enumerate(self._images):
                    target, first = np.unique(image[frontier], return_index=True)
                    new = self.root[target] < 0
                    target, source = target[new], frontier[first[new]]
                    self.root[target], self._parent[target], self._step[target] = code, source, i
                    fresh.append(target)
                frontier = np.concatenate(fresh) if fresh else np.empty(0, dtype=np.int64)
        self.roots = np.flatnonzero(self.root == np.arange(n))

    def transversal(self, cls: int) -> Auto:
        """u with representations of class `cls` = ρ∘u for ρ of the root class."""
        if cls not in self._transversal:
            path, at = [], cls
            while at != self.root[at]:
                path.append(self._step[at])
                at = int(self._parent[at])
            u = Auto(np.arange(self.group.order))
            for i in reversed(path):
                u = u @ self.generators[i]
            if len(self._transversal) > 50_000:
                self._transversal.clear()
            self._transversal[cls] = u
        return self._transversal[cls]

    def algebra(self, cls: int) -> TwistedAlgebra:
        """The representations of the root class of a class."""
        root = int(self.root[cls])
        if root not in self._algebras:
            self._algebras[root] = twisted_algebra(self.where, self.digits(root))
        return self._algebras[root]

    # -- points ---------------------------------------------------------------------------------------------
    def sums(self, cls: int, n: int) -> list[tuple[int, ...]]:
        """Sums of irreps of dimension n for a class, up to linear characters."""
        key = (int(self.root[cls]), n)
        if key not in self._sums:
            m = self.where.order_of(self.digits(key[0]))
            if m * self.group.order > MAX_ORDER:
                warnings.warn(
                    f"{self.group.name}: projective representations of a class of order {m} are left out, "
                    f"their central extension has more than {MAX_ORDER} elements",
                    stacklevel=2,
                )
                self._sums[key] = []
            else:
                self._sums[key] = self.algebra(cls).multisets(n)
        return self._sums[key]

    def points(self, n: int, roots_only: bool = False) -> Iterable[Point]:
        """Points of dimension n in order of their keys (of one class per orbit, if asked)."""
        if roots_only or self.count(n) > MAX_LISTED:
            return self._generate(n, roots_only)
        if n not in self._listed:
            self._listed[n] = list(self._generate(n, False))
        return self._listed[n]

    def _generate(self, n: int, roots_only: bool) -> Iterator[Point]:
        classes = self.roots if roots_only else np.arange(len(self.where))
        alive = {int(r) for r in self.roots if self.sums(int(r), n)}
        classes = classes[np.isin(self.root[classes], list(alive))]
        for size in range(1, n + 1):
            for cls in classes.tolist():
                yield from (Point(cls, s) for s in self.sums(cls, n) if len(s) == size)

    def count(self, n: int) -> int:
        """How many points there are in dimension n."""
        sizes = np.bincount(self.root, minlength=len(self.root))
        return sum(int(sizes[r]) * len(self.sums(int(r), n)) for r in self.roots)

    def act(self, point: Point, auto: Auto, n: int) -> Point:
        """The point of ρ·auto, for an automorphism of G."""
        auto = self.restrict(auto)
        cls = int(self.image(auto)[point.cls])
        if len(self.sums(cls, n)) == 1:
            return Point(cls, point.summands)
        stable = self.transversal(point.cls) @ auto @ self.transversal(cls).inverse
        moved = self._permute(int(self.root[cls]), stable)[list(point.summands)]
        return Point(cls, self.algebra(cls).canonical(moved.tolist()))

    def image(self, auto: Auto) -> IntArray:
        """`_class_image`, remembered."""
        key = auto.key
        if key not in self._class_cache:
            if len(self._class_cache) * len(self.where) > 2**24:
                self._class_cache.clear()
            self._class_cache[key] = self._class_image(auto)
        return self._class_cache[key]

    def _permute(self, root: int, auto: Auto) -> IntArray:
        """How an automorphism that fixes a root class permutes its irreps, shape (r,)."""
        key = (root, auto.key)
        if key not in self._permutations:
            algebra = self.algebra(root)
            chi, cls = algebra.characters, self.digits(root)
            if auto.bar:
                chi, cls = chi.conj(), tuple(-x % m for x, m in zip(cls, self.where.moduli, strict=True))
            found, mu = self.where.pull_back(cls, auto.map)
            if self.number(found) != root:
                raise AssertionError("the automorphism was to fix the class")
            phase = np.exp(2j * np.pi * np.array([float(x) for x in mu]))
            moved = chi[:, auto.map] * (phase.real if self.field == "real" else phase)
            if len(self._permutations) > 100_000:
                self._permutations.clear()
            self._permutations[key] = algebra.match(moved)
        return self._permutations[key]

    def irreps(self, point: Point) -> tuple[list[ProjectiveIrrep], Auto]:
        """Summands (of the root class) and the automorphism that carries them to the class of the point."""
        found = self.algebra(point.cls).irreps
        return [found[i] for i in point.summands], self.transversal(point.cls)

    def character(self, point: Point) -> IntArray:
        """Projective character of the point, up to a phase per element, shape (|H|,)."""
        u = self.transversal(point.cls)
        return np.asarray(self.algebra(point.cls).characters[list(point.summands)].sum(axis=0)[u.map])

    def matrices(self, point: Point) -> IntArray:
        """float64 orthogonal or complex128 unitary matrices of the point, shape (|H|, n, n)."""
        parts, u = self.irreps(point)
        n = sum(p.dimension for p in parts)
        out = np.zeros((self.group.order, n, n), dtype=np.float64 if self.field == "real" else np.complex128)
        at = 0
        for part in parts:
            d = part.dimension
            out[:, at : at + d, at : at + d] = part.matrices
            at += d
        return np.ascontiguousarray((out.conj() if u.bar else out)[u.map])

    def kernel(self, point: Point) -> IntArray:
        """Which elements act as scalars, bool of shape (|H|,)."""
        chi = self.character(point)
        return np.asarray(np.abs(np.abs(chi) - abs(chi[self.group.identity])) < 1e-6)


def _add(codes: IntArray, step: list[int], moduli: tuple[int, ...], weights: list[int]) -> IntArray:
    """codes + step digit by digit."""
    if all(m == 2 for m in moduli):
        return codes ^ sum((y % 2) * w for y, w in zip(step, weights, strict=True))
    out = np.zeros_like(codes)
    for y, m, w in zip(step, moduli, weights, strict=True):
        out += (codes // w + y) % m * w
    return out


class Orbits:
    """A group of automorphisms acting on the points of one dimension.

    Parameters
    ----------
    points : ProjectivePoints
    n : int
    generators : list of Auto
        Of G.
    order : int
        Order of the group they generate (0 when it is not known).
    """

    def __init__(self, points: ProjectivePoints, n: int, generators: list[Auto], order: int) -> None:
        self.points, self.n, self.generators, self.order = points, n, generators, order
        self._of: dict[Point, Point] = {}
        self._ways: dict[Point, dict[Point, Auto]] = {}
        self._stabilisers: dict[Point, tuple[list[Auto], int]] = {}

    def canonical(self, point: Point) -> tuple[Point, Auto | None]:
        """Least point of the orbit and an automorphism that leads there (None for the identity)."""
        if not self.generators:
            return point, None
        if point not in self._of:
            found = self._explore(point)
            least = min(found, key=lambda p: p.key)
            self._ways[least] = found
            self._of.update(dict.fromkeys(found, least))
        least = self._of[point]
        if least == point:
            return point, None
        ways = self._ways[least]
        return least, ways[point].inverse @ ways[least]

    def _explore(self, start: Point) -> dict[Point, Auto]:
        """All points of an orbit with an automorphism from `start` to each."""
        one = self.generators[0] @ self.generators[0].inverse
        found, queue = {start: one}, [start]
        for point in queue:
            for a in self.generators:
                image = self.points.act(point, a, self.n)
                if image not in found:
                    found[image] = found[point] @ a
                    queue.append(image)
        return found

    def orbit(self, point: Point) -> list[Point]:
        """All points of an orbit, in order of their keys."""
        if not self.generators:
            return [point]
        return sorted(self._ways[self.canonical(point)[0]], key=lambda p: p.key)

    def stabiliser(self, least: Point) -> tuple[list[Auto], int]:
        """Generators and order of the stabiliser of the least point of an orbit (Schreier's lemma)."""
        if not self.generators:
            return [], 1
        if least not in self._stabilisers:
            self.canonical(least)
            size = len(self._ways[least])
            order = self.order // size
            gens = self.generators if size == 1 else [] if order == 1 else self._schreier(least, order)
            self._stabilisers[least] = (gens, order)
        return self._stabilisers[least]

    def _schreier(self, least: Point, order: int) -> list[Auto]:
        ways = self._ways[least]
        back = ways[least].inverse
        way = {p: back @ auto for p, auto in ways.items()}
        rng = np.random.default_rng(0)
        pairs = [(p, a) for p in sorted(way, key=lambda p: p.key) for a in self.generators]

        def element(k: int) -> Auto:
            p, a = pairs[k]
            return way[p] @ a @ way[self.points.act(p, a, self.n)].inverse

        chosen: list[Auto] = []
        if order <= MAX_CLOSURE:
            inside: set[bytes] = set()
            for k in rng.permutation(len(pairs)):
                s = element(int(k))
                if s.key not in inside:
                    chosen.append(s)
                    inside = closure(chosen)
                    if len(inside) == order:
                        break
            return few_generators(chosen, order)
        mixed = element(0)
        while len(chosen) < 24:  # random elements: they lie in one proper subgroup with probability below 2^-15
            for _ in range(8):
                mixed = mixed @ element(int(rng.integers(len(pairs))))
            chosen.append(mixed)
        return chosen


def closure(generators: Sequence[Auto]) -> set[bytes]:
    """Keys of all elements of the group that some automorphisms generate."""
    one = generators[0] @ generators[0].inverse
    seen = {one.key}
    maps, bars = one.map[None], np.array([False])
    while len(maps):
        fresh_maps, fresh_bars = [], []
        for a in generators:
            for row, bar in zip(maps[:, a.map], bars != a.bar, strict=True):
                key = bytes([bool(bar)]) + row.astype(np.int16).tobytes()
                if key not in seen:
                    seen.add(key)
                    fresh_maps.append(row)
                    fresh_bars.append(bar)
        maps = np.array(fresh_maps).reshape(len(fresh_maps), len(one.map))
        bars = np.array(fresh_bars, dtype=bool)
    return seen


def few_generators(generators: list[Auto], order: int, limit: int = MAX_CLOSURE) -> list[Auto]:
    """A short generating list of the same group, by trying random products; groups beyond `limit` keep theirs."""
    if order > limit or len(generators) < 3:
        return generators
    rng = np.random.default_rng(1)

    def random() -> Auto:
        out = generators[int(rng.integers(len(generators)))]
        for i in rng.integers(len(generators), size=3 * len(generators)):
            out = out @ generators[int(i)]
        return out

    for count in range(2, len(generators)):
        for _ in range(3):
            chosen = [random() for _ in range(count)]
            if len(closure(chosen)) == order:
                return chosen
    return generators
