"""Exact irreducible matrix representations over cyclotomic fields.

Three constructions, all exact and deterministic:

1. *Symmetric groups*: Specht modules, integer matrices (module `young`).
2. *Clifford descent*: divide out the kernel, take an abelian normal subgroup N outside the centre, a linear
   constituent λ of χ on N and its stabiliser T; χ is induced from the part of χ on T that lies over λ.  Repeating this
   ends in a linear character for every p-group and supersolvable group, and then χ is a *monomial* representation:
   one root of unity per row, hence unitary.
3. *Dixon's formula* for what remains: if a linear λ of a subgroup H occurs once in χ, then with
   f(g) = (1/|H|) Σ_h λ(h⁻¹) χ(gh) and suitable x_i the matrices ρ(t) = (f(x_i⁻¹x_j))⁻¹ (f(x_i⁻¹ t x_j)) realise χ.
   This splits one minimal left ideal off the regular representation (Dixon, in DIMACS 11 (1993) 105–112).
   H is also searched for index χ(1), which makes the result monomial.

The numerical splitting of the regular representation (`split_regular`, seeded) is the independent second algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import lcm
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.characters import CharacterTable, _lift, character_table
from stl_algebra.groups.cyclotomic import Cyclotomic, prime_factors, totient
from stl_algebra.groups.linalg import inverse
from stl_algebra.groups.modular import rank_profile
from stl_algebra.groups.representations import Representation
from stl_algebra.groups.subgroups import subgroup_classes, sylow_subgroup
from stl_algebra.groups.table import FiniteGroup

__all__ = ["Irrep", "irrep", "irreps", "split_regular"]

IntArray = np.ndarray[Any, np.dtype[Any]]
MAX_LATTICE_ORDER = 200  # below this all subgroups are tried, above only cyclic, Sylow and derived ones


@dataclass(frozen=True, eq=False)
class Monomial:
    """ρ(g) e_j = ζ_e^exponents[g, j] e_(images[g, j]); both int arrays of shape (|G|, d)."""

    images: IntArray
    exponents: IntArray
    e: int

    def matrices(self) -> Cyclotomic:
        """Dense exact matrices, shape (|G|, d, d)."""
        n, d = self.images.shape
        values = Cyclotomic.roots_of_unity(self.exponents, self.e).minimal()
        num = np.zeros((n, d, d, values.num.shape[-1]), dtype=np.int64)
        num[np.arange(n)[:, None], self.images, np.arange(d)] = values.num
        return Cyclotomic(num, values.conductor)


@dataclass(frozen=True, eq=False, repr=False)
class Irrep(Representation):
    """An irreducible representation, tied to its row of the character table.

    Attributes
    ----------
    index : int
        Row of ``character_table(group)``.
    indicator : int
        Frobenius–Schur: 1 real, 0 complex, -1 quaternionic.
    method : str
        ``"linear"``, ``"specht"``, ``"monomial"`` or ``"dixon"``.
    monomial : Monomial or None
        Permutation and exponents when the matrices are monomial with roots of unity.
    """

    index: int = 0
    indicator: int = 1
    method: str = ""
    monomial: Monomial | None = None

    def __repr__(self) -> str:
        return f"Irrep({self.group.name or 'unnamed'}, χ{self.index}, dimension {self.dimension}, {self.type})"

    @cached_property
    def type(self) -> str:
        """``"real"``, ``"complex"`` or ``"quaternionic"``."""
        return {1: "real", 0: "complex", -1: "quaternionic"}[self.indicator]

    @property
    def is_unitary(self) -> bool:
        """Whether the exact matrices are unitary as they stand."""
        some = self.matrices[np.array(self.group.generators or (0,))]
        return (some @ some.conj().mT) == np.eye(self.dimension, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Inducing:
    """A subgroup and a function on it (values mod p) from which χ is induced."""

    subgroup: IntArray
    values: IntArray
    degree: int


def irreps(group: FiniteGroup, form: str = "monomial") -> tuple[Irrep, ...]:
    """All irreducible representations, one per row of ``character_table(group)``.

    Parameters
    ----------
    group : FiniteGroup
    form : {"monomial", "field"}
        ``"monomial"`` prefers one root of unity per row (unitary, sparse); ``"field"`` prefers the smallest
        cyclotomic field for the entries (rational matrices for D4 or S4, say), at the price of density.

    Returns
    -------
    tuple of Irrep
        Matrices are built when first used.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> [rho.dimension for rho in irreps(group("A5"))]
    [1, 3, 3, 4, 5]
    """
    return tuple(irrep(group, i, form) for i in range(len(character_table(group))))


@lru_cache(maxsize=4096)
def irrep(group: FiniteGroup, index: int, form: str = "monomial") -> Irrep:
    """The irreducible representation with character number `index`; see `irreps`.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> irrep(group("S3"), 2).dimension
    2
    """
    if form not in ("monomial", "field"):
        raise StlError("form", form, "'monomial' or 'field'")
    table = character_table(group)
    if not 0 <= index < len(table):
        raise StlError("index", index, f"a character index below {len(table)}")
    d, nu = int(table.degrees[index]), int(table.indicators[index])
    chi = table.modular[index][group.classes.of]
    if d == 1:
        exponents = _logarithms(chi, table)[:, None]
        mono = Monomial(np.zeros((group.order, 1), dtype=np.int64), exponents, group.exponent)
        return Irrep(group, 1, mono.matrices, index, nu, "linear", mono)
    if group.origin[:1] == ("symmetric",):
        from stl_algebra.groups.young import specht_of_character

        return Irrep(group, d, specht_of_character(group, table.values[index]), index, nu, "specht")
    if form == "field":
        choice = _multiplicity_one(group, chi, table, d, real=False)
        if choice is not None:
            return _from_choice(group, choice, table, index)
    found = _descend(group, chi, table, d)
    if found.degree == 1:
        mono = _induced_monomial(group, found.subgroup, _logarithms(found.values, table))
        return Irrep(group, d, mono.matrices, index, nu, "monomial", mono)
    top, embedding = _as_group(group, found.subgroup)
    choice = _multiplicity_one(top, found.values, table, found.degree, real=False, sparse=True)
    if choice is None:
        raise StlError(
            "index",
            index,
            "a character with a multiplicity-one linear constituent on some subgroup tried",
            f"Use split_regular for floating-point matrices (group of order {group.order}).",
        )
    subgroup, exponents = choice
    if len(subgroup) * found.degree == top.order:  # monomial after all
        mono = _induced_monomial(group, embedding[subgroup], exponents)
        return Irrep(group, d, mono.matrices, index, nu, "monomial", mono)

    def build() -> Cyclotomic:
        small = Representation(top, found.degree, lambda: _dixon(top, found.values, table, found.degree, *choice))
        return small.matrices if top is group else small.induce(group, embedding).matrices.minimal()

    return Irrep(group, d, build, index, nu, "dixon")


def realise(group: FiniteGroup, index: int, real: bool) -> Irrep | None:
    """Dixon's formula on G itself over the smallest field found; with `real`, only real λ (entries in Q(χ) ∩ R)."""
    table = character_table(group)
    d = int(table.degrees[index])
    choice = _multiplicity_one(group, table.modular[index][group.classes.of], table, d, real)
    return None if choice is None else _from_choice(group, choice, table, index)


def _from_choice(group: FiniteGroup, choice: tuple[IntArray, IntArray], table: CharacterTable, index: int) -> Irrep:
    d, nu = int(table.degrees[index]), int(table.indicators[index])
    if len(choice[0]) * d == group.order:
        mono = _induced_monomial(group, *choice)
        return Irrep(group, d, mono.matrices, index, nu, "monomial", mono)
    chi = table.modular[index][group.classes.of]
    return Irrep(group, d, lambda: _dixon(group, chi, table, d, *choice), index, nu, "dixon")


def _logarithms(values: IntArray, table: CharacterTable) -> IntArray:
    """Exponents k with root^k = value."""
    e, p = table.group.exponent, table.prime
    powers = np.array([pow(table.root, k, p) for k in range(e)])
    order = np.argsort(powers)
    return order[np.searchsorted(powers[order], values)]


def _as_group(group: FiniteGroup, elements: IntArray) -> tuple[FiniteGroup, IntArray]:
    if len(elements) == group.order:
        return group, np.arange(group.order)
    return group.subgroup(group._generating_subset(elements))


def _descend(group: FiniteGroup, chi: IntArray, table: CharacterTable, degree: int) -> _Inducing:
    """Clifford descent on element values modulo p; returns the inducing subgroup (elements of `group`)."""
    p, everything = table.prime, np.arange(group.order)
    if degree == 1:
        return _Inducing(everything, chi, 1)
    kernel = np.flatnonzero(chi == degree)
    if len(kernel) > 1:
        quotient, projection = group.quotient(kernel)
        below = np.empty(quotient.order, dtype=np.int64)
        below[projection] = chi
        found = _descend(quotient, below, table, degree)
        place = np.full(quotient.order, -1)
        place[found.subgroup] = np.arange(len(found.subgroup))
        up = np.flatnonzero(place[projection] >= 0)
        return _Inducing(up, found.values[place[projection[up]]], found.degree)
    normal = _abelian_normal(group)
    if normal is None:
        return _Inducing(everything, chi, degree)
    # a linear constituent λ of χ on N: fix its eigenvalue on one generator after the other
    function = chi[normal]
    place = np.full(group.order, -1)
    place[normal] = np.arange(len(normal))
    generators = group._generating_subset(normal)
    for s in generators:
        o = int(group.element_orders[s])
        w = pow(table.root, table.group.exponent // o, p)
        steps = place[np.stack([group.table[normal, group.power(s, k)] for k in range(o)])]
        for j in range(o):
            weights = np.array([pow(w, -j * k % o, p) for k in range(o)])
            part = (function[steps] * weights[:, None] % p).sum(axis=0) * pow(o, -1, p) % p
            if part[place[group.identity]]:
                function = part
                break
    scale = pow(int(function[place[group.identity]]), -1, p)
    linear = function * scale % p
    value = np.zeros(group.order, dtype=np.int64)
    value[normal] = linear
    stable = np.ones(group.order, dtype=bool)
    for s in generators:
        stable &= value[group.conjugate(everything, s)] == value[s]
    inertia = np.flatnonzero(stable)
    back = value[group.inverse[normal]]
    over = np.zeros(len(inertia), dtype=np.int64)
    for m, b in zip(normal, back, strict=True):
        over = (over + chi[group.table[inertia, m]] * int(b)) % p
    over = over * pow(len(normal), -1, p) % p
    smaller, embedding = _as_group(group, inertia)
    found = _descend(smaller, over, table, degree * len(inertia) // group.order)
    return _Inducing(embedding[found.subgroup], found.values, found.degree)


def _abelian_normal(group: FiniteGroup) -> IntArray | None:
    """Largest abelian normal subgroup of the form ⟨Z(G), class of x⟩ that is not central, or None."""
    centre, best = group.centre, None
    classes = group.classes
    for index, x in enumerate(classes.representatives):
        if classes.sizes[index] == 1:
            continue
        members = classes.members(index)
        if not np.array_equal(group.table[x, members], group.table[members, x]):
            continue  # conjugates of x must commute with x
        candidate = group.closure(members.tolist(), start=centre)
        if best is None or len(candidate) > len(best):
            best = candidate
    return best


def _induced_monomial(group: FiniteGroup, subgroup: IntArray, exponents: IntArray) -> Monomial:
    """Ind_H^G λ with λ(h) = ζ_e^exponents on the sorted elements of H."""
    reps, coset_of = group.left_cosets(subgroup)
    value = np.zeros(group.order, dtype=np.int64)
    value[subgroup] = exponents
    moved = group.table[:, reps]
    images = coset_of[moved]
    return Monomial(images, value[group.table[group.inverse[reps[images]], moved]], group.exponent)


def _multiplicity_one(
    group: FiniteGroup, psi: IntArray, table: CharacterTable, degree: int, real: bool, sparse: bool = False
) -> tuple[IntArray, IntArray] | None:
    """A subgroup H and exponents (base ζ of the table) of a linear λ with ⟨ψ|_H, λ⟩ = 1.

    Smallest field first; with `sparse`, subgroups of index ψ(1) (monomial matrices) come before all others.
    """
    p, e = table.prime, table.group.exponent
    best: tuple[Any, IntArray, IntArray] | None = None
    conductor = _conductor(group, psi, table)
    roots = np.array([pow(table.root, -x % e, p) for x in range(e)])
    candidates = sorted(_candidates(group), key=lambda c: (len(c[0]) * degree != group.order, -len(c[0])))
    for embedding, characters, exponent in candidates:
        scaled = characters * (e // exponent)
        counts = (psi[embedding] * roots[scaled] % p).sum(axis=1) % p * pow(len(embedding), -1, p) % p
        dense = len(embedding) * degree != group.order
        for row in np.flatnonzero(counts == 1):
            order = exponent // int(np.gcd.reduce(np.append(characters[row], exponent)))
            if real and order > 2:
                continue
            field = lcm(conductor, order if order % 4 != 2 else order // 2)
            score = (sparse and dense, totient(field), dense, -len(embedding))
            if best is None or score < best[0]:
                best = (score, embedding, scaled[row])
        if best is not None and best[0][:3] == (False, totient(conductor), False):
            break
    return None if best is None else (best[1], best[2])


def _conductor(group: FiniteGroup, psi: IntArray, table: CharacterTable) -> int:
    return _exact(group, psi, table).minimal().conductor


def _exact(group: FiniteGroup, psi: IntArray, table: CharacterTable) -> Cyclotomic:
    """Lift a character of `group` given modulo p to exact class values."""
    root = pow(table.root, table.group.exponent // group.exponent, table.prime)
    row = psi[group.classes.representatives][None]
    return _lift(group, row, table.prime, root)[0]


@lru_cache(maxsize=64)
def _candidates(group: FiniteGroup) -> tuple[tuple[IntArray, IntArray, int], ...]:
    """Proper subgroups worth trying: elements, exponents of their linear characters, and their exponent."""
    if group.order <= MAX_LATTICE_ORDER:
        found = [c.representative for c in subgroup_classes(group)]
    else:
        cyclic = [group.closure([int(r)]) for r in group.classes.representatives]
        found = [*cyclic, *(group.normalizer(c) for c in cyclic)]
        found += [group.centralizer([int(r)]) for r in group.classes.representatives]
        for q in prime_factors(group.order):
            sylow = sylow_subgroup(group, q)
            found += [sylow, group.normalizer(sylow)]
    out = []
    for h in {h.tobytes(): h for h in found if len(h) < group.order}.values():
        small, embedding = group.subgroup(group._generating_subset(h))
        out.append((embedding, _linear_characters(small), small.exponent))
    return tuple(out)


def _linear_characters(group: FiniteGroup) -> IntArray:
    """Exponents (base ζ_exponent) of every homomorphism to the roots of unity, one per row."""
    quotient, projection = group.quotient(group.derived_subgroup)
    table = character_table(quotient)
    scale = group.exponent // quotient.exponent
    return _logarithms(table.modular[:, quotient.classes.of], table)[:, projection] * scale


def _dixon(
    group: FiniteGroup, psi: IntArray, table: CharacterTable, degree: int, subgroup: IntArray, exponents: IntArray
) -> Cyclotomic:
    """ρ(t) = (f(x_i⁻¹ x_j))⁻¹ (f(x_i⁻¹ t x_j)) for all t, exact."""
    e, n = table.group.exponent, group.order
    values = _exact(group, psi, table)
    of = group.classes.of
    f: Any = None
    for k in np.unique(exponents):
        block = subgroup[exponents == k]
        num = values.num[of[group.table[:, block]]].sum(axis=1)
        part = Cyclotomic(num, values.conductor) * Cyclotomic.roots_of_unity(np.array(-k % e), e)
        f = part if f is None else f + part
    f = (f / len(subgroup)).minimal()
    # choose x_j among coset representatives of H so that the vectors x_j·u are independent
    p = table.prime
    image = f.modulo(p, pow(table.root, e // f.conductor, p))
    reps = group.left_cosets(subgroup)[0]
    count = min(len(reps), 4 * degree + 24)
    while True:
        rows = reps[:count]
        gram = image[group.table[np.ix_(group.inverse[rows], rows)]]
        chosen = rank_profile(gram, p)
        if len(chosen) == degree or count == len(reps):
            break
        count = min(len(reps), 2 * count)
    x = rows[np.array(chosen)]
    back = inverse(f[group.table[np.ix_(group.inverse[x], x)]])
    left = group.table[group.inverse[x]]  # row i: x_i⁻¹·t for all t
    index = group.table[left[:, :, None], x[None, None, :]]  # (i, t, j)
    return (back @ f[index.transpose(1, 0, 2)].reshape(n, degree, degree)).minimal()


def split_regular(group: FiniteGroup, index: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """Unitary matrices of χ_index by numerically splitting the regular representation, shape (|G|, d, d).

    A random Hermitian element of the commutant, restricted to the isotypic part, has d eigenvalues of multiplicity d;
    one eigenspace carries the irreducible representation.  Memory O(|G|²); independent of the exact constructions.
    """
    table = character_table(group)
    d, n = int(table.degrees[index]), group.order
    chi = table.values[index].complex()[group.classes.of]
    # isotypic projector and right multiplications act on functions on G; both commute with left translation
    projector = d / n * chi.conj()[group.table[:, group.inverse]]
    basis = np.linalg.svd(projector, hermitian=True)[0][:, : d * d]
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=n) + 1j * rng.normal(size=n)
    commutant = weights[group.table[group.inverse]]  # K[g, h] = w(g⁻¹h) satisfies K[xg, xh] = K[g, h]
    hermitian = basis.conj().T @ (commutant + commutant.conj().T) @ basis
    _, vectors = np.linalg.eigh(hermitian)
    space = basis @ vectors[:, :d]
    moved = space[group.table[group.inverse]]  # (ρ(g) v)(h) = v(g⁻¹h)
    return np.asarray(np.einsum("hi,ghj->gij", space.conj(), moved))
