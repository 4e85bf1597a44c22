"""2-cocycles, the Schur multiplier and central extensions, exactly, from the multiplication table.

Write G = F/R with F free on the generators of G.  In F/[F,R] the kernel A = R/[F,R] is central and universal: every
central extension of G is a push-out of it, A ≅ Z^d × M(G) for d generators, M(G) is the Schur multiplier (Hopf), and
H²(G, C) = Hom(A, C) / Hom(F, C).  So a class is the list of values that the relators of G take in C, up to changing
the lifts of the generators.

Module `universal` computes A.  Sources: Hopf, Comment. Math. Helv. 14 (1942) 257–309; Schur, Crelle 127 (1904) 20–50.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import gcd, lcm, prod
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.generate import table_from_right_multiplication
from stl_algebra.groups.table import MAX_ORDER, FiniteGroup
from stl_algebra.groups.universal import UniversalExtension, smith_form, universal_extension

__all__ = ["Cohomology", "central_extension", "cohomology", "is_cocycle", "schur_cover", "schur_multiplier"]

IntArray = np.ndarray[Any, np.dtype[Any]]
Class = tuple[int, ...]


def schur_multiplier(group: FiniteGroup) -> tuple[int, ...]:
    """Elementary divisors of M(G) = H²(G, C*), each dividing the next; () when it is trivial.

    >>> from stl_algebra.groups import group, schur_multiplier
    >>> schur_multiplier(group("A5")), schur_multiplier(group("C2^3")), schur_multiplier(group("Q8"))
    ((2,), (2, 2, 2), ())
    """
    extension = universal_extension(group)
    return tuple(sorted(extension.smith[i] for i in extension.torsion))


def schur_cover(group: FiniteGroup) -> tuple[FiniteGroup, IntArray]:
    """A Schur cover (representation group) of G and its projection to G.

    Every irreducible projective representation of G lifts to a linear one of the cover.  The kernel is M(G).

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> schur_cover(group("A4"))[0].order
    24
    """
    extension = universal_extension(group)
    cocycles = [
        (extension.cocycle(extension.to_smith[:, i], extension.smith[i]), extension.smith[i]) for i in extension.torsion
    ]
    return central_extension(group, cocycles, f"cover of {group.name or 'G'}")


def central_extension(
    group: FiniteGroup,
    cocycles: Sequence[tuple[IntArray, int]],
    name: str = "",
) -> tuple[FiniteGroup, IntArray]:
    """The extension of G by ⊕ Z/m_i with (g, a)·(h, b) = (gh, a + b + c(g, h)), and its projection to G.

    Parameters
    ----------
    group : FiniteGroup
    cocycles : sequence of (int array (n, n), m)
        Normalised 2-cocycles with values modulo m.
    name : str

    Returns
    -------
    extension : FiniteGroup
        Element (g, a) at index g·M + a, M = Π m_i, digits of `a` with the last cocycle fastest.
    projection : int array, shape (n·M,)
    """
    sizes = tuple(m for _, m in cocycles)
    kernel = prod(sizes)
    if kernel * group.order > MAX_ORDER:
        raise StlError(
            "group", group, f"an extension of order at most {MAX_ORDER}", f"This one has order {kernel}·{group.order}."
        )
    g, a = np.divmod(np.arange(group.order * kernel), kernel)
    digits = np.array(np.unravel_index(a, sizes)) if sizes else np.zeros((0, len(a)), dtype=np.int64)

    def times(h: int, b: Sequence[int]) -> IntArray:
        moved = [(digits[i] + b[i] + c[g, h]) % m for i, (c, m) in enumerate(cocycles)]
        inner = np.ravel_multi_index(tuple(moved), sizes) if sizes else 0
        return np.asarray(group.table[g, h].astype(np.int64) * kernel + inner)

    none = (0,) * len(sizes)
    units = [tuple(int(i == j) for j in range(len(sizes))) for i in range(len(sizes))]
    columns = [times(s, none) for s in group.generators] + [times(group.identity, u) for u in units]
    chosen = tuple(s * kernel for s in group.generators) + tuple(
        group.identity * kernel + int(np.ravel_multi_index(u, sizes)) for u in units
    )
    identity = group.identity * kernel
    if not columns:
        return FiniteGroup(group.table, name, check=False), np.arange(group.order)
    table = table_from_right_multiplication(columns, identity)
    return FiniteGroup(table, name, None, chosen, check=False), g


def is_cocycle(group: FiniteGroup, c: IntArray, modulus: int) -> bool:
    """Whether c(g, h) + c(gh, k) = c(h, k) + c(g, hk) modulo `modulus` for all g, h, and all generators k.

    Generators suffice: the identity for k and for k' gives it for kk'.
    """
    c, t = np.asarray(c, dtype=np.int64), group.table
    return all(not np.any((c + c[t, k] - c[:, k][None, :] - c[:, t[:, k]]) % modulus) for k in group.generators)


@dataclass(frozen=True, eq=False)
class Cohomology:
    """H²(G, ±1) (field "real") or H²(G, C*) (field "complex") as ⊕ Z/d_i with explicit cocycles.

    The first holds the classes of projective representations by real matrices up to sign, the second of those by
    complex matrices up to scalars.

    Attributes
    ----------
    group : FiniteGroup
    field : {"real", "complex"}
    moduli : tuple of int
        The d_i.  A class is a tuple of as many digits.
    modulus : int
        Cocycles take values in Z/modulus, standing for exp(2πi·/modulus).
    basis : int array, shape (len(moduli), k)
        Relator values of the generating classes, modulo `modulus`.

    >>> from stl_algebra.groups import cohomology, group
    >>> cohomology(group("C2^2"), "real").moduli, cohomology(group("C2^2"), "complex").moduli
    ((2, 2, 2), (2,))
    """

    group: FiniteGroup
    field: str
    moduli: tuple[int, ...]
    modulus: int
    basis: IntArray

    def __len__(self) -> int:
        return prod(self.moduli)

    def __iter__(self) -> Iterator[Class]:
        return iter(product(*(range(m) for m in self.moduli)))

    @property
    def trivial(self) -> Class:
        """The class of linear representations."""
        return (0,) * len(self.moduli)

    def relator_values(self, cls: Class) -> IntArray:
        """Value of each relator, modulo `modulus`, shape (k,)."""
        if len(cls) != len(self.moduli):
            raise StlError("cls", cls, f"{len(self.moduli)} digits, one per factor {self.moduli}")
        return np.asarray(np.array(cls, dtype=np.int64) @ self.basis % self.modulus)

    def cocycle(self, cls: Class) -> IntArray:
        """The cocycle c(g, h) of a class, values modulo `modulus`, shape (n, n)."""
        return _class_cocycle(self, cls)

    def order_of(self, cls: Class) -> int:
        """Order of a class: the least m with m·cls = 0."""
        return lcm(1, *(m // gcd(m, x) for x, m in zip(cls, self.moduli, strict=True)))

    def classify(self, values: Sequence[int]) -> Class:
        """Class with the given relator values modulo `modulus`."""
        if self.field == "real":
            return _classify_real(self, values)[0]
        extension = universal_extension(self.group)
        out = []
        for i in extension.torsion:
            total = sum(int(x) * v for x, v in zip(extension.from_smith[i], values, strict=True))
            digit, rest = divmod(total % self.modulus * extension.smith[i], self.modulus)
            if rest:
                raise StlError("values", list(values), "relator values that satisfy the relations of A")
            out.append(digit)
        return tuple(out)

    def image(self, automorphism: IntArray) -> list[Class]:
        """Classes of c(a(g), a(h)) for the generating classes c; the map on all classes is linear."""
        stack = _basis_cocycles(self)
        values = [_walk(self.group, word, automorphism, stack) for word in universal_extension(self.group).relators]
        table = np.array(values, dtype=np.int64).reshape(len(values), len(self.moduli)) % self.modulus
        return [self.classify(column.tolist()) for column in table.T]

    def pull_back(self, cls: Class, automorphism: IntArray) -> tuple[Class, list[Fraction]]:
        """Class of c(a(g), a(h)) and phases μ with ρ'(g) = exp(2πi·μ(g)) ρ(a(g)) having the standard cocycle of it.

        Parameters
        ----------
        cls : tuple of int
        automorphism : int array, shape (n,)
        """
        extension, c, m = universal_extension(self.group), self.cocycle(cls), self.modulus
        gens = self.group.generators
        values = [int(_walk(self.group, word, automorphism, c[None])[0]) % m for word in extension.relators]
        found, phases = _classify_real(self, values) if self.field == "real" else _with_phases(self, values)
        mu: list[Fraction] = [Fraction(0)] * self.group.order
        for h in extension.order[1:]:
            up, i = int(extension.parent[h]), int(extension.via[h])
            step = Fraction(int(c[automorphism[up], automorphism[gens[i]]]), m)
            mu[h] = (mu[up] + step - phases[i]) % 1
        return found, mu


def _walk(group: FiniteGroup, word: Sequence[int], automorphism: IntArray, cocycles: IntArray) -> IntArray:
    """Value of the word in the images of the generators, in the extension by each of the stacked cocycles."""
    g, total = group.identity, np.zeros(len(cocycles), dtype=np.int64)
    for letter in word:
        x = int(automorphism[group.generators[abs(letter) - 1]])
        if letter < 0:
            back = int(group.inverse[x])
            total -= cocycles[:, x, back]
            x = back
        total += cocycles[:, g, x]
        g = int(group.table[g, x])
    return total


@lru_cache(maxsize=64)
def _basis_cocycles(where: Cohomology) -> IntArray:
    """Cocycles of the generating classes, shape (r, n, n)."""
    n, r = where.group.order, len(where.moduli)
    out = np.zeros((r, n, n), dtype=np.int16)
    for i in range(r):
        out[i] = where.cocycle(tuple(int(j == i) for j in range(r)))
    return out


@lru_cache(maxsize=4096)
def _class_cocycle(where: Cohomology, cls: Class) -> IntArray:
    return universal_extension(where.group).cocycle(where.relator_values(cls), where.modulus)


@lru_cache(maxsize=512)
def cohomology(group: FiniteGroup, field: str = "complex") -> Cohomology:
    """The group of cocycle classes for projective representations over a field.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> cohomology(group("C2xC2"), "complex")
    Cohomology(group=FiniteGroup(C2xC2, order 4), field='complex', moduli=(2,), modulus=2, basis=array([[0, 0, 1]]))
    """
    extension = universal_extension(group)
    if field == "complex":
        moduli = tuple(extension.smith[i] for i in extension.torsion)
        modulus = lcm(1, *moduli)
        rows = [extension.to_smith[:, i] * (modulus // extension.smith[i]) % modulus for i in extension.torsion]
        basis = np.array(rows, dtype=np.int64).reshape(len(rows), len(extension.relators))
        return Cohomology(group, field, moduli, modulus, basis)
    if field != "real":
        raise StlError("field", field, "'real' or 'complex'")
    # Hom(A, ±1): coordinates of even or no order; the vectors x with to_smith-rows give a basis of all such maps
    even = [i for i, d in enumerate(extension.smith) if d % 2 == 0]
    maps = extension.to_smith[:, even].T % 2
    chosen: list[IntArray] = []
    bits = _Bits()
    for row in extension.exponents.T % 2:
        bits.insert(row)
    for row in maps:
        if bits.insert(row):
            chosen.append(row)
    basis = np.array(chosen, dtype=np.int64).reshape(len(chosen), len(extension.relators))
    return Cohomology(group, field, (2,) * len(chosen), 2, basis)


class _Bits:
    """Echelon basis over GF(2) that remembers which inserted rows make up each vector."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, int]] = {}
        self.count = 0

    @staticmethod
    def pack(row: Any) -> int:
        return sum(1 << i for i, x in enumerate(row) if x % 2)

    def reduce(self, vector: int, combination: int = 0) -> tuple[int, int]:
        while vector:
            top = vector.bit_length()
            if top not in self.rows:
                break
            vector, combination = vector ^ self.rows[top][0], combination ^ self.rows[top][1]
        return vector, combination

    def insert(self, row: Any) -> bool:
        vector, combination = self.reduce(self.pack(row), 1 << self.count)
        self.count += 1
        if vector:
            self.rows[vector.bit_length()] = (vector, combination)
        return bool(vector)


@lru_cache(maxsize=512)
def _real_echelon(where: Cohomology) -> _Bits:
    bits = _Bits()
    for row in (*where.basis, *universal_extension(where.group).exponents.T):
        bits.insert(row)
    return bits


def _classify_real(where: Cohomology, values: Sequence[int]) -> tuple[Class, list[Fraction]]:
    """Class and generator signs ε_s (as 0 or 1/2) with values - Σ_s e_is ε_s = relator_values(class)."""
    left, used = _real_echelon(where).reduce(_Bits.pack(values))
    if left:
        raise StlError("values", list(values), "relator values that satisfy the relations of A")
    count = len(where.moduli)
    gens = len(where.group.generators)
    return (tuple(used >> i & 1 for i in range(count)), [Fraction(used >> (count + s) & 1, 2) for s in range(gens)])


def _with_phases(where: Cohomology, values: Sequence[int]) -> tuple[Class, list[Fraction]]:
    """The same over C, with phases in Q/Z."""
    cls = where.classify(values)
    rest = [Fraction(int(v - w), where.modulus) % 1 for v, w in zip(values, where.relator_values(cls), strict=True)]
    return cls, _divide(universal_extension(where.group), rest)


def _divide(extension: UniversalExtension, rest: list[Fraction]) -> list[Fraction]:
    """ε in (Q/Z)^d with exponents·ε = rest; R* is divisible, so a solution exists for values trivial on M(G)."""
    d = extension.exponents.shape[1]
    rows: list[list[Any]] = [[*map(int, row), value] for row, value in zip(extension.exponents, rest, strict=True)]
    _, forth, _ = smith_form(extension.exponents, d)
    done: list[list[Any]] = [
        [*(sum(row[j] * int(forth[j, i]) for j in range(d)) for i in range(d)), row[d]] for row in rows
    ]
    # the columns now have elementary divisors: triangulate by integer steps, carrying the right-hand side along
    pivots: list[tuple[int, list[Any]]] = []
    for column in range(d):
        busy = [row for row in done if row[column]]
        done = [row for row in done if not row[column]]
        while len(busy) > 1:
            busy.sort(key=lambda row: abs(row[column]))
            small = busy[0]
            reduced = [
                [x - row[column] // small[column] * y for x, y in zip(row, small, strict=True)] for row in busy[1:]
            ]
            done += [row for row in reduced if not row[column]]
            busy = [small, *(row for row in reduced if row[column])]
        pivots += [(column, row) for row in busy]
    if any(row[d] % 1 for row in done):
        raise StlError("values", [str(v) for v in rest], "relator values that satisfy the relations of A")
    solution = [Fraction(0)] * d
    for column, row in reversed(pivots):
        known = sum((row[j] * solution[j] for j in range(column + 1, d)), Fraction(0))
        solution[column] = (row[d] - known) / row[column] % 1
    return [sum((int(forth[i, j]) * solution[j] for j in range(d)), Fraction(0)) % 1 for i in range(d)]
