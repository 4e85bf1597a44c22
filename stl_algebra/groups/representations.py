"""Exact representations of a finite group and their algebra.

A representation is a homomorphism g ↦ ρ(g) with ρ(g·h) = ρ(g) ρ(h), stored as exact matrices for every element
(made on first use).  Vectors are columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.characters import character_table
from stl_algebra.groups.cyclotomic import Cyclotomic, stack
from stl_algebra.groups.linalg import row_basis, solve
from stl_algebra.groups.table import FiniteGroup

__all__ = ["Representation"]

IntArray = np.ndarray[Any, np.dtype[Any]]


WIDE = 8  # matrices up to this dimension are shown in a notebook


def _latex(matrix: Cyclotomic) -> str:
    rows = [[str(matrix[i, j]) for j in range(matrix.shape[1])] for i in range(matrix.shape[0])]
    return r"\begin{pmatrix}" + r"\\".join("&".join(map(_in_latex, row)) for row in rows) + r"\end{pmatrix}"


def _in_latex(number: str) -> str:
    """``(1+√5)/2`` and ``ζ7²`` as LaTeX writes them."""
    text = re.sub(r"√(\d+)", r"\\sqrt{\1}", number)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: "^{" + m[0].translate(_PLAIN) + "}", text)
    text = re.sub(r"ζ(\d+)", r"\\zeta_{\1}", text)
    below = re.fullmatch(r"\(?(.+?)\)?/(\d+)", text)
    return rf"\tfrac{{{below[1]}}}{{{below[2]}}}" if below else text


_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


@dataclass(frozen=True, eq=False, repr=False)
class Representation:
    """A matrix representation over a cyclotomic field.

    Attributes
    ----------
    group : FiniteGroup
    dimension : int
    build : callable
        Returns the matrices, Cyclotomic of shape (|G|, d, d), when first needed.
    """

    group: FiniteGroup
    dimension: int
    build: Callable[[], Cyclotomic] = field(repr=False)

    # -- making ---------------------------------------------------------------------------------------------
    @classmethod
    def from_matrices(cls, group: FiniteGroup, matrices: Any, check: bool = True) -> Representation:
        """From one matrix per element: Cyclotomic or integer / Fraction array of shape (|G|, d, d)."""
        exact = matrices if isinstance(matrices, Cyclotomic) else Cyclotomic.rational(matrices)
        if exact.ndim != 3 or len(exact) != group.order or exact.shape[1] != exact.shape[2]:
            raise StlError("matrices", exact.shape, f"shape ({group.order}, d, d)")
        out = Representation(group, exact.shape[1], lambda: exact)
        if check:
            out.require_homomorphism()
        return out

    @classmethod
    def from_generators(cls, group: FiniteGroup, images: Sequence[Any], check: bool = True) -> Representation:
        """From the matrices of ``group.generators``; refuses images that violate a relation."""
        exact = [m if isinstance(m, Cyclotomic) else Cyclotomic.rational(m) for m in images]
        if len(exact) != len(group.generators) or not exact:
            raise StlError("images", len(exact), f"{len(group.generators)} matrices, one per generator")
        out = Representation(group, exact[0].shape[0], lambda: _spread(group, stack(exact)))
        if check:
            out.require_homomorphism()
        return out

    @classmethod
    def from_permutations(cls, group: FiniteGroup, action: IntArray) -> Representation:
        """Permutation representation from ``action[g, i]`` = g·i, shape (|G|, d): ρ(g) e_i = e_(g·i)."""
        n, d = action.shape

        def build() -> Cyclotomic:
            num = np.zeros((n, d, d, 1), dtype=np.int64)
            num[np.arange(n)[:, None], action, np.arange(d)] = 1
            return Cyclotomic(num)

        return Representation(group, d, build)

    @classmethod
    def trivial(cls, group: FiniteGroup) -> Representation:
        """One-dimensional, every element acts as 1."""
        return cls.from_matrices(group, np.ones((group.order, 1, 1), dtype=np.int64), check=False)

    @classmethod
    def regular(cls, group: FiniteGroup) -> Representation:
        """Left regular representation: g permutes the basis of the group algebra by left multiplication."""
        return cls.from_permutations(group, group.table.astype(np.int64))

    @classmethod
    def cosets(cls, group: FiniteGroup, subgroup: IntArray) -> Representation:
        """Permutation representation on the left cosets of a subgroup."""
        return cls.from_permutations(group, group.coset_action(subgroup))

    # -- views ----------------------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.group.name or 'unnamed'}, dimension {self.dimension})"

    def _repr_latex_(self) -> str:
        """The images of the generators, exactly."""
        g, d = self.group, self.dimension
        images = []
        for s in g.generators or (g.identity,):
            word = g.label(s).replace("_", r"\_").replace("^", r"\hat{}")
            images.append(rf"\text{{{word}}}\mapsto{_latex(self.matrices[s])}" if d <= WIDE else rf"\text{{{word}}}")
        return "$" + r",\quad ".join(images) + (rf"\quad\text{{(dimension {d})}}" if d > WIDE else "") + "$"

    @cached_property
    def matrices(self) -> Cyclotomic:
        """Exact matrices of all elements, shape (|G|, d, d)."""
        return self.build()

    def __getitem__(self, g: int) -> Cyclotomic:
        return self.matrices[g]

    @cached_property
    def character(self) -> Cyclotomic:
        """Exact trace on each conjugacy class, shape (k,)."""
        d, some = self.dimension, self.matrices[self.group.classes.representatives]
        return Cyclotomic(some.num[:, np.arange(d), np.arange(d)].sum(axis=1), some.conductor, some.den)

    def complex(self) -> np.ndarray[Any, np.dtype[np.complex128]]:
        """complex128 matrices, shape (|G|, d, d), in the exact basis."""
        return self.matrices.complex()

    @cached_property
    def unitary(self) -> np.ndarray[Any, np.dtype[np.complex128]]:
        """complex128 unitary matrices, shape (|G|, d, d): the exact ones after Weyl's averaged inner product."""
        rho = self.complex()
        form = np.einsum("gji,gjk->ik", rho.conj(), rho) / self.group.order
        if np.allclose(form, np.eye(self.dimension), atol=1e-12):
            return rho
        lower = np.linalg.cholesky(form)  # form = L L*, and L* ρ(g) L^-* is unitary
        upper = lower.conj().T
        return upper @ rho @ np.linalg.inv(upper)

    @cached_property
    def kernel(self) -> IntArray:
        """Sorted elements that act as the identity."""
        one = Cyclotomic.rational(np.eye(self.dimension, dtype=np.int64))
        return np.flatnonzero(self.matrices.equals(one).all(axis=(1, 2)))

    @property
    def is_faithful(self) -> bool:
        return len(self.kernel) == 1

    @property
    def is_homomorphism(self) -> bool:
        """Exact check of ρ(s) ρ(g) = ρ(s·g) for all g and all generators s."""
        one = Cyclotomic.rational(np.eye(self.dimension, dtype=np.int64))
        if self.matrices[self.group.identity] != one:
            return False
        rho, table = self.matrices, self.group.table
        return all((rho[s] @ rho) == rho[table[s]] for s in self.group.generators)

    def require_homomorphism(self) -> None:
        """Raise `StlError` unless ρ is a homomorphism."""
        if not self.is_homomorphism:
            raise StlError(
                "matrices",
                self,
                "matrices with ρ(g)ρ(h) = ρ(g·h)",
                "The images violate a relation of the group, or follow another element order.",
            )

    # -- algebra --------------------------------------------------------------------------------------------
    def tensor(self, other: Representation) -> Representation:
        """ρ ⊗ σ on the Kronecker product (first factor slow)."""
        self._same_group(other)
        d, e, n = self.dimension, other.dimension, self.group.order

        def build() -> Cyclotomic:
            a = self.matrices.reshape(n, d, 1, d, 1)
            b = other.matrices.reshape(n, 1, e, 1, e)
            return (a * b).reshape(n, d * e, d * e)

        return Representation(self.group, d * e, build)

    __matmul__ = tensor

    def direct_sum(self, *others: Representation) -> Representation:
        """ρ ⊕ σ ⊕ … as block-diagonal matrices."""
        parts = (self, *others)
        for other in others:
            self._same_group(other)
        total = sum(p.dimension for p in parts)

        def build() -> Cyclotomic:
            offsets = np.cumsum([0, *(p.dimension for p in parts[:-1])]).tolist()
            return stack([_embed(p.matrices, total, at) for p, at in zip(parts, offsets, strict=True)]).sum(0)

        return Representation(self.group, total, build)

    @property
    def dual(self) -> Representation:
        """ρ*(g) = ρ(g⁻¹)ᵀ."""
        return Representation(self.group, self.dimension, lambda: self.matrices[self.group.inverse].mT)

    @property
    def conjugate(self) -> Representation:
        """Complex conjugate matrices."""
        return Representation(self.group, self.dimension, lambda: self.matrices.conj())

    def symmetric_power(self, k: int) -> Representation:
        """Action on homogeneous polynomials: Sym^k in the basis of monomials e_i1 … e_ik, i1 ≤ … ≤ ik."""
        return self._power(k, True)

    def exterior_power(self, k: int) -> Representation:
        """Λ^k in the basis e_i1 ∧ … ∧ e_ik, i1 < … < ik (zero-dimensional powers are refused)."""
        if k > self.dimension:
            raise StlError("k", k, f"at most the dimension {self.dimension}")
        return self._power(k, False)

    def _power(self, k: int, symmetric: bool) -> Representation:
        if not isinstance(k, int | np.integer) or k < 0:
            raise StlError("k", k, "an integer ≥ 0")
        choose = combinations_with_replacement if symmetric else combinations
        basis = list(choose(range(self.dimension), int(k)))
        if k == 0:
            return Representation.trivial(self.group)
        place = {b: i for i, b in enumerate(basis)}

        def build() -> Cyclotomic:
            m, n = self.matrices, self.group.order
            grid = np.indices((self.dimension,) * k).reshape(k, -1)
            rows = np.full(grid.shape[1], -1)
            signs = np.zeros(grid.shape[1], dtype=np.int64)
            for t, point in enumerate(grid.T.tolist()):
                key = tuple(sorted(point))
                if key in place:
                    rows[t] = place[key]
                    swaps = sum(point[i] > point[j] for i in range(k) for j in range(i + 1, k))
                    signs[t] = 1 if symmetric else (-1) ** swaps
            keep = rows >= 0
            columns = []
            for b in basis:  # image of e_b1 … e_bk: expand the product of the columns b1, …, bk and collect
                product = m[:, grid[0], b[0]]
                for i in range(1, k):
                    product = product * m[:, grid[i], b[i]]
                num = np.zeros((len(basis), n, product.num.shape[-1]), dtype=product.num.dtype)
                np.add.at(num, rows[keep], np.swapaxes(product.num * signs[:, None], 0, 1)[keep])
                columns.append(Cyclotomic(num, product.conductor, product.den))
            return stack(columns).transpose(2, 1, 0)

        return Representation(self.group, len(basis), build)

    def restrict(self, subgroup: FiniteGroup, embedding: IntArray) -> Representation:
        """Restriction to a subgroup (as returned by ``group.subgroup``)."""
        return Representation(subgroup, self.dimension, lambda: self.matrices[np.asarray(embedding)])

    def induce(self, group: FiniteGroup, embedding: IntArray) -> Representation:
        """Induction to an overgroup: ρ(g) moves block x_j·V to x_i·V by ρ(x_i⁻¹·g·x_j), x the coset representatives.

        Parameters
        ----------
        group : FiniteGroup
        embedding : int array, shape (|H|,)
            Injective homomorphism from ``self.group``.
        """
        from stl_algebra.groups.morphisms import require_homomorphism

        embedding = require_homomorphism(self.group, group, embedding)
        if len(np.unique(embedding)) != self.group.order:
            raise StlError("embedding", embedding.tolist(), "an injective homomorphism")
        reps, coset_of = group.left_cosets(np.sort(embedding))
        place = np.full(group.order, -1)
        place[embedding] = np.arange(len(embedding))
        d, m, n = self.dimension, len(reps), group.order

        def build() -> Cyclotomic:
            moved = group.table[:, reps]
            target = coset_of[moved]
            inner = place[group.table[group.inverse[reps[target]], moved]]
            source = self.matrices
            num = np.zeros((n, m, d, m, d, source.num.shape[-1]), dtype=source.num.dtype)
            num[np.arange(n)[:, None], target, :, np.arange(m), :] = source.num[inner]
            return Cyclotomic(num.reshape(n, m * d, m * d, -1), source.conductor, source.den)

        return Representation(group, m * d, build)

    def change_basis(self, basis: Cyclotomic) -> Representation:
        """B⁻¹ ρ(g) B for an invertible matrix B whose columns are the new basis vectors."""
        from stl_algebra.groups.linalg import inverse

        back = inverse(basis)
        return Representation(self.group, self.dimension, lambda: back @ self.matrices @ basis)

    # -- decomposition --------------------------------------------------------------------------------------
    def multiplicities(self) -> IntArray:
        """Multiplicity of every irreducible character (order of `character_table`), shape (k,)."""
        return character_table(self.group).multiplicities(self.character)

    def reynolds(self) -> Cyclotomic:
        """Projection onto the invariant vectors: (1/|G|) Σ_g ρ(g), exact, shape (d, d)."""
        return self.matrices.sum(0) / self.group.order

    def invariants(self) -> Cyclotomic:
        """Basis of the invariant vectors as rows, shape (dim V^G, d).

        Invariant polynomials of degree k are the invariants of ``self.dual.symmetric_power(k)``.
        """
        image = self.reynolds().transpose()
        return image[np.array(row_basis(image), dtype=np.int64)]

    def isotypic_projection(self, index: int) -> Cyclotomic:
        """Projection onto the part that transforms by χ_index: (χ(1)/|G|) Σ_g χ(g⁻¹) ρ(g), shape (d, d)."""
        table = character_table(self.group)
        if not 0 <= index < len(table):
            raise StlError("index", index, f"a character index below {len(table)}")
        chi = table.values[index].conj().minimal()[self.group.classes.of]
        weighted = self.matrices * chi.reshape(self.group.order, 1, 1)
        return weighted.sum(0) * int(table.degrees[index]) / self.group.order

    def decompose(self, irreps: Sequence[Representation]) -> tuple[Cyclotomic, list[tuple[int, int]]]:
        """Basis that splits ρ into the given irreducible matrices, exactly.

        Parameters
        ----------
        irreps : sequence of Representation
            One per irreducible character, in the order of `character_table` (see `irreps`).

        Returns
        -------
        basis : Cyclotomic, shape (d, d)
            Columns; ``basis⁻¹ ρ(g) basis`` is block diagonal with the matrices of the irreps.
        blocks : list of (irrep index, multiplicity)

        Notes
        -----
        The operators (d_i/|G|) Σ_g σ(g⁻¹)_1j ρ(g) carry the first component of each copy of σ to the others
        (Serre, Linear Representations of Finite Groups, §2.7).
        """
        columns, blocks = [], []
        for index, count in enumerate(self.multiplicities()):
            if count == 0:
                continue
            sigma = irreps[index]
            weights = sigma.matrices[self.group.inverse][:, 0, :]
            n, d = self.group.order, sigma.dimension
            flat = self.matrices.reshape(n, self.dimension**2)
            units = (weights.transpose() @ flat).reshape(d, self.dimension, self.dimension) * d / n
            picked = row_basis(units[0].transpose())
            columns += [units[j, :, c] for c in picked for j in range(d)]
            blocks.append((index, int(count)))
        return stack(columns).transpose(), blocks

    def intertwiner(self, other: Representation, seed: int = 0) -> Cyclotomic:
        """A matrix S with S ρ(g) = σ(g) S, from averaging a small random integer matrix; zero if none exists."""
        self._same_group(other)
        rng = np.random.default_rng(seed)
        start = Cyclotomic.rational(rng.integers(-2, 3, size=(other.dimension, self.dimension)))
        return (other.matrices @ start @ self.matrices[self.group.inverse]).sum(0)

    def coordinates(self, basis: Cyclotomic) -> Representation:
        """Restriction to an invariant subspace spanned by the rows of `basis`, in those coordinates."""

        def build() -> Cyclotomic:
            moved = basis @ self.matrices.mT  # rows (ρ(g) b_i)ᵀ
            flat = moved.reshape(-1, self.dimension)
            return solve(basis, flat).reshape(self.group.order, len(basis), len(basis)).mT

        return Representation(self.group, len(basis), build)

    def _same_group(self, other: Representation) -> None:
        if other.group is not self.group and not np.array_equal(other.group.table, self.group.table):
            raise StlError("other", other.group, f"a representation of {self.group}")


def _embed(matrices: Cyclotomic, total: int, at: int) -> Cyclotomic:
    n, d, _ = matrices.shape
    num = np.zeros((n, total, total, matrices.num.shape[-1]), dtype=matrices.num.dtype)
    num[:, at : at + d, at : at + d] = matrices.num
    return Cyclotomic(num, matrices.conductor, matrices.den)


def _spread(group: FiniteGroup, images: Cyclotomic) -> Cyclotomic:
    """Matrices of all elements from those of the generators: ρ(r·s) = ρ(r) ρ(s), level by level."""
    n, d = group.order, images.shape[1]
    one = Cyclotomic.rational(np.eye(d, dtype=np.int64)).lift(images.conductor)
    level = np.array([group.identity])
    done = np.zeros(n, dtype=bool)
    done[level] = True
    parts, places = [one[None]], [level]
    current = one[None]
    while len(level):
        fresh, owners = [], []
        for i, s in enumerate(group.generators):
            targets, first = np.unique(group.table[level, s], return_index=True)
            keep = ~done[targets]
            done[targets[keep]] = True
            if keep.any():
                fresh.append(current[first[keep]] @ images[i])
                owners.append(targets[keep])
        if not fresh:
            break
        den = int(np.lcm.reduce([f.den for f in fresh]))
        num = np.concatenate([f._scaled(den // f.den) for f in fresh])
        current, level = Cyclotomic(num, images.conductor, den), np.concatenate(owners)
        parts.append(current)
        places.append(level)
    order = np.argsort(np.concatenate(places))
    den = 1
    for part in parts:
        den = int(np.lcm(den, part.den))
    return Cyclotomic(np.concatenate([p._scaled(den // p.den) for p in parts])[order], images.conductor, den)
