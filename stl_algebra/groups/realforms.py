"""Real forms: what an irreducible complex representation is over the real numbers.

=============  ==========  =====================================================  =========
type           indicator   irreducible real representation                         commutant
=============  ==========  =====================================================  =========
real           1           ρ itself in a real basis, dimension d                   R
complex        0           [[Re ρ, -Im ρ], [Im ρ, Re ρ]], dimension 2d             C
quaternionic   -1          the same, dimension 2d (d is even)                      H
=============  ==========  =====================================================  =========

Exact real bases of real type come from Dixon's formula with a real linear character (all of its entries then lie in
Q(χ), a real field).  Quaternionic type is brought to the form of 2×2 blocks [[a, γ b̄], [b, ā]], γ < 0, whose real
span is a quaternion algebra.  Source: Serre, Linear Representations of Finite Groups, §13.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import Cyclotomic, prime_factors, stack
from stl_algebra.groups.irreducible import Irrep, irrep, realise
from stl_algebra.groups.linalg import inverse, row_basis
from stl_algebra.groups.modular import prime_congruent_one, rank_profile, root_of_unity
from stl_algebra.groups.table import FiniteGroup

__all__ = ["RealForm", "quaternionic_basis", "real_form", "real_irreps"]

RealArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class RealForm:
    """Irreducible real representation that belongs to a complex one.

    Attributes
    ----------
    irrep : Irrep
        The complex representation; its conjugate gives the same real form when the type is complex.
    """

    irrep: Irrep

    @property
    def type(self) -> str:
        """``"real"``, ``"complex"`` or ``"quaternionic"``."""
        return self.irrep.type

    @property
    def dimension(self) -> int:
        """Dimension over R: d for real type, 2d otherwise."""
        return self.irrep.dimension * (1 if self.irrep.indicator == 1 else 2)

    @property
    def commutant_dimension(self) -> int:
        """Real dimension of the commuting algebra: 1 (R), 2 (C) or 4 (H)."""
        return {"real": 1, "complex": 2, "quaternionic": 4}[self.type]

    @cached_property
    def matrices(self) -> Cyclotomic:
        """Exact real matrices, shape (|G|, D, D).

        Raises
        ------
        StlError
            For a real type whose invariant involution needs the square root of an irrational number (no group
            tried so far); `orthogonal` still gives floating-point matrices.
        """
        rho = self.irrep
        if rho.indicator == 1:
            if rho.matrices.is_real:
                return rho.matrices
            found = realise(rho.group, rho.index, real=True)
            return found.matrices if found is not None else _fixed_by_involution(rho)
        re, im = rho.matrices.real_imag()
        n, d = rho.group.order, rho.dimension
        top, bottom = stack([re, -im]), stack([im, re])  # (2, n, d, d): column blocks
        blocks = stack([top, bottom])  # (row block, column block, n, i, j)
        return blocks.transpose(2, 0, 3, 1, 4).reshape(n, 2 * d, 2 * d).minimal()

    @cached_property
    def orthogonal(self) -> RealArray:
        """float64 orthogonal matrices, shape (|G|, D, D); exists for every type."""
        rho = self.irrep
        if rho.indicator == 1:
            return _orthogonal_from_unitary(rho)
        u = rho.unitary
        return np.block([[u.real, -u.imag], [u.imag, u.real]])


def square_root(value: Fraction) -> Cyclotomic:
    """√value for a positive rational number as a cyclotomic number, by Gauss sums."""
    whole = value.numerator * value.denominator
    root = Cyclotomic.rational(np.array(1))
    for q in prime_factors(whole):
        power = 0
        while whole % q == 0:
            whole, power = whole // q, power + 1
        root = root * q ** (power // 2)
        if power % 2 and q == 2:
            root = root * Cyclotomic.roots_of_unity(np.array([1, 7]), 8).sum(0)
        elif power % 2:
            squares = {a * a % q for a in range(1, q)}
            signs = np.array([0] + [1 if a in squares else -1 for a in range(1, q)])
            gauss = Cyclotomic.from_counts(signs, q)  # squares to q or, for q ≡ 3 mod 4, to -q
            root = root * (gauss if q % 4 == 1 else gauss * Cyclotomic.roots_of_unity(np.array(3), 4))
    return root / value.denominator


def _fixed_by_involution(rho: Irrep) -> Cyclotomic:
    """Real matrices in a basis of vectors fixed by the commuting antilinear involution J: v ↦ S v̄ / √c.

    Needed when χ has real type but no real model over Q(χ), e.g. SmallGroup(48,15).
    """
    s = rho.conjugate.intertwiner(rho)
    seed = 0
    while not np.any(s.num):
        seed += 1
        s = rho.conjugate.intertwiner(rho, seed)
    s = Cyclotomic(s.num // int(np.gcd.reduce(s.num, axis=None)), s.conductor)
    square = (s @ s.conj())[0, 0]
    if not square.is_rational:
        raise StlError(
            "irrep", rho, "an involution whose square is rational", "Use .orthogonal for floating-point matrices."
        )
    c = square.fractions()[()]
    j = s * square_root(1 / c)
    unit = Cyclotomic.rational(np.eye(rho.dimension, dtype=np.int64))
    i = Cyclotomic.roots_of_unity(np.array(1), 4)
    both = stack([(unit + j).transpose(), ((unit - j) * i).transpose()]).reshape(2 * rho.dimension, rho.dimension)
    basis = both[np.array(row_basis(both))].transpose()
    return (inverse(basis) @ rho.matrices @ basis).minimal()


def _orthogonal_from_unitary(rho: Irrep) -> RealArray:
    """Real basis by the symmetric intertwiner: U ρ̄ = ρ U with U = Uᵀ unitary; its Takagi factor V makes V⁻¹ρV real."""
    u = rho.unitary
    if np.abs(u.imag).max() < 1e-12:
        return np.ascontiguousarray(u.real)
    d = rho.dimension
    rng = np.random.default_rng(0)
    start = rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d))
    s = np.einsum("gij,jk,glk->il", u, start + start.T, u)  # Σ ρ Y ρᵀ, since ρ̄⁻¹ = ρᵀ
    s /= np.sqrt(np.trace(s @ s.conj().T).real / d)
    # vectors fixed by the antiunitary involution v ↦ s v̄ span the real form
    samples = rng.normal(size=(d, 2 * d)) + 1j * rng.normal(size=(d, 2 * d))
    fixed = samples + s @ samples.conj()
    gram = (fixed.conj().T @ fixed).real  # inner products of fixed vectors are real
    values, vectors = np.linalg.eigh(gram)
    basis = fixed @ vectors[:, -d:] / np.sqrt(values[-d:])
    return np.ascontiguousarray((basis.conj().T @ u @ basis).real)


@lru_cache(maxsize=1024)
def real_form(group: FiniteGroup, index: int) -> RealForm:
    """Real form of the irreducible character with this index."""
    return RealForm(irrep(group, index))


def real_irreps(group: FiniteGroup) -> tuple[RealForm, ...]:
    """Irreducible real representations: every real and quaternionic character, one of each complex pair.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> [rho.dimension for rho in real_irreps(group("C3"))]
    [1, 2]
    """
    from stl_algebra.groups.characters import character_table

    bar = character_table(group).conjugates
    return tuple(real_form(group, i) for i in range(len(bar)) if i <= bar[i])


def quaternionic_basis(rho: Irrep) -> tuple[Cyclotomic, Cyclotomic]:
    """Basis in which a quaternionic ρ consists of blocks [[a, γ b̄], [b, ā]], exactly.

    Returns
    -------
    basis : Cyclotomic, shape (d, d)
        Columns v_1, J v_1, v_2, J v_2, … for the antilinear J: v ↦ S v̄ that commutes with ρ, J² = γ.
    gamma : Cyclotomic, shape ()
        The negative real number γ.
    """
    if rho.indicator != -1:
        raise StlError("rho", rho.type, "a representation of quaternionic type")
    d, seed = rho.dimension, 0
    while True:
        s = rho.conjugate.intertwiner(rho, seed)
        if np.any(s.num):
            break
        seed += 1
    content = int(np.gcd.reduce(s.num, axis=None))
    s = Cyclotomic(s.num // content, s.conductor)
    gamma = (s @ s.conj())[0, 0].minimal()
    p = prime_congruent_one(s.conductor, 2**20)
    image = s.modulo(p, root_of_unity(s.conductor, p))
    candidates = np.concatenate([np.stack([np.eye(d, dtype=np.int64)[i], image[:, i]]) for i in range(d)])
    chosen: list[int] = []
    for i in range(d):  # e_i and J e_i = S e_i enter together or not at all: spans of earlier pairs are J-stable
        if len(rank_profile(candidates[[*chosen, 2 * i]], p)) > len(chosen):
            chosen += [2 * i, 2 * i + 1]
    unit = Cyclotomic.rational(np.eye(d, dtype=np.int64))
    columns = [unit[:, k // 2] if k % 2 == 0 else s[:, k // 2] for k in chosen]
    return stack(columns).transpose(), gamma


def quaternionic_coordinates(rho: Irrep) -> tuple[Cyclotomic, Cyclotomic]:
    """The (a, b) parts of ρ in `quaternionic_basis`, shape (|G|, d/2, d/2, 2), and γ."""
    basis, gamma = quaternionic_basis(rho)
    moved = inverse(basis) @ rho.matrices @ basis
    n, m = rho.group.order, rho.dimension // 2
    return moved.reshape(n, m, 2, m, 2)[:, :, :, :, 0].transpose(0, 1, 3, 2), gamma
