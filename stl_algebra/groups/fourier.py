"""Fourier transform of functions on a finite group: over C (exact and fast), over R, and over GF(q).

f̂(ρ) = Σ_g f(g) ρ(g);  f(g) = (1/|G|) Σ_ρ d_ρ tr(f̂(ρ) ρ(g⁻¹)).  With (f * h)(x) = Σ_y f(y) h(y⁻¹x) this gives
(f * h)^(ρ) = f̂(ρ) ĥ(ρ): the group algebra is a sum of matrix algebras.  For unitary ρ, Plancherel reads
|G| Σ_g |f(g)|² = Σ_ρ d_ρ ‖f̂(ρ)‖².  Coordinates run over irreps in character-table order, entries row-major.

Fast transform: with A an abelian subgroup, every coset t·A takes one FFT of length |A|, and in a basis where ρ(a) is
diagonal f̂(ρ) is Σ_t ρ(t) diag(FFT values): |G|·(log|A| + [G:A]) multiplications up to the basis changes instead of
|G|².  For abelian groups A = G and this is the plain FFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import Cyclotomic, prime_factors, stack
from stl_algebra.groups.irreducible import Irrep, irreps
from stl_algebra.groups.table import FiniteGroup

__all__ = ["AbelianTransform", "FourierTransform", "abelian_basis", "convolve", "modular_fourier"]

IntArray = np.ndarray[Any, np.dtype[Any]]
ComplexArray = np.ndarray[Any, np.dtype[np.complex128]]


def convolve(group: FiniteGroup, f: Any, h: Any) -> Any:
    """(f * h)(x) = Σ_y f(y) h(y⁻¹x) for arrays whose last axis runs over the group (any dtype); O(|G|²)."""
    f, h = np.asarray(f), np.asarray(h)
    if f.shape[-1] != group.order or h.shape[-1] != group.order:
        raise StlError("f", (f.shape, h.shape), f"last axes of length {group.order}")
    return np.einsum("...y,...yx->...x", f, h[..., group.table[group.inverse]])


def abelian_basis(group: FiniteGroup) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Independent generators of an abelian group and their orders (each order divides the one before).

    Every element is s_0^i_0 · s_1^i_1 · … for exactly one tuple with 0 ≤ i_k < order_k.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> abelian_basis(group("C2xC4"))
    ((1, 4), (4, 2))
    """
    if not group.is_abelian:
        raise StlError("group", group, "an abelian group")
    if group.order == 1:
        return (), ()
    first = int(np.argmax(group.element_orders))  # an element of maximal order generates a direct factor
    cyclic = group.closure([first])
    quotient, projection = group.quotient(cyclic)
    inner, orders = abelian_basis(quotient)
    lifted = []
    for s, o in zip(inner, orders, strict=True):
        coset = np.flatnonzero(projection == s)
        lifted.append(int(coset[np.flatnonzero(group.element_orders[coset] == o)[0]]))
    return (first, *lifted), (int(group.element_orders[first]), *orders)


def _grid(group: FiniteGroup) -> tuple[IntArray, tuple[int, ...], tuple[int, ...]]:
    """Elements of an abelian group in row-major order of their exponents, independent generators, their orders."""
    generators, orders = abelian_basis(group)
    grid = np.array([group.identity])
    for s, o in zip(generators, orders, strict=True):
        powers = np.array([group.power(s, k) for k in range(o)])
        grid = group.table[grid[:, None], powers[None, :]].ravel()
    return grid, generators, orders


@dataclass(frozen=True, eq=False)
class AbelianTransform:
    """The FFT of an abelian group of any order up to the table limit; needs no character table.

    Characters are numbered by the dual grid: χ_j(s_0^i_0 s_1^i_1 …) = Π exp(2πi i_k j_k / orders[k]).
    """

    group: FiniteGroup

    @cached_property
    def _layout(self) -> tuple[IntArray, tuple[int, ...]]:
        grid, _, orders = _grid(self.group)
        return grid, orders or (1,)

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders of the independent generators, the shape of the dual grid."""
        return self._layout[1]

    def forward(self, f: Any) -> ComplexArray:
        """f̂(χ_j) = Σ_g f(g) χ_j(g), shape (…, *orders) for f of shape (…, |G|); O(|G| log |G|)."""
        values = np.asarray(f)
        if values.shape[-1:] != (self.group.order,):
            raise StlError("f", values.shape, f"a last axis of length {self.group.order}")
        grid, orders = self._layout
        cube = values[..., grid].reshape(*values.shape[:-1], *orders)
        return np.asarray(np.fft.ifftn(cube, axes=tuple(range(-len(orders), 0))) * self.group.order)

    def inverse(self, spectrum: Any) -> ComplexArray:
        """The function with these Fourier coefficients, shape (…, |G|)."""
        grid, orders = self._layout
        values = np.asarray(spectrum)
        if values.shape[values.ndim - len(orders) :] != orders:
            raise StlError("spectrum", values.shape, f"last axes {orders}")
        back = np.fft.fftn(values, axes=tuple(range(-len(orders), 0))) / self.group.order
        out = np.empty((*values.shape[: values.ndim - len(orders)], self.group.order), dtype=np.complex128)
        out[..., grid] = back.reshape(out.shape)
        return out

    def convolve(self, f: Any, h: Any) -> ComplexArray:
        """f * h through the transform."""
        return self.inverse(self.forward(f) * self.forward(h))


def _large_abelian_subgroup(group: FiniteGroup) -> IntArray:
    """A large abelian subgroup: greedy growth inside centralisers from every class."""
    best = group.centre
    for r in group.classes.representatives:
        current = group.closure([int(r)], start=group.centre)
        centralizer = group.centralizer(current)
        while len(centralizer) > len(current):
            outside = np.setdiff1d(centralizer, current)
            x = int(outside[np.argmax(group.element_orders[outside])])
            current = group.closure([x], start=current)
            centralizer = group.centralizer(current)
        if len(current) > len(best):
            best = current
    return best


@dataclass(frozen=True, eq=False)
class FourierTransform:
    """Fourier transform of one group with fixed irreducible matrices.

    Parameters
    ----------
    group : FiniteGroup
    form : {"monomial", "field"}
        Which exact matrices to use; see `irreps`.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> transform = FourierTransform(group("S3"))
    >>> transform.matrix @ transform.inverse_matrix == np.eye(6, dtype=int)
    True
    """

    group: FiniteGroup
    form: str = "monomial"

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """The irreducible representations, in the order of the coordinates."""
        return irreps(self.group, self.form)

    @cached_property
    def coordinates(self) -> IntArray:
        """Rows (irrep, i, j) that name the |G| Fourier coordinates, shape (|G|, 3)."""
        return np.array([(r.index, i, j) for r in self.irreps for i in range(r.dimension) for j in range(r.dimension)])

    # -- exact ----------------------------------------------------------------------------------------------
    @cached_property
    def matrix(self) -> Cyclotomic:
        """Exact forward matrix F, shape (|G|, |G|): row (ρ, i, j), column g is ρ(g)_ij."""
        n = self.group.order
        parts = [r.matrices.transpose(1, 2, 0).reshape(r.dimension**2, n) for r in self.irreps]
        return _concatenate(parts)

    @cached_property
    def inverse_matrix(self) -> Cyclotomic:
        """Exact inverse, shape (|G|, |G|): row g, column (ρ, i, j) is (d_ρ/|G|) ρ(g⁻¹)_ji."""
        n = self.group.order
        parts = [
            (r.matrices[self.group.inverse].transpose(2, 1, 0) * r.dimension / n).reshape(r.dimension**2, n)
            for r in self.irreps
        ]
        return _concatenate(parts).transpose()

    # -- fast -----------------------------------------------------------------------------------------------
    @cached_property
    def _plan(self) -> tuple[Any, ...]:
        group = self.group
        abelian = _large_abelian_subgroup(group)
        small, embedding = group.subgroup(group._generating_subset(abelian))
        grid, generators, orders = _grid(small)
        elements = embedding[grid]  # row-major over exponents
        reps = group.left_cosets(abelian)[0]
        position = group.table[np.ix_(reps, elements)]
        blocks = []
        rng = np.random.default_rng(0)
        weights = rng.normal(size=len(abelian)) + 1j * rng.normal(size=len(abelian))
        for r in self.irreps:
            rho = r.complex()
            basis = np.eye(r.dimension, dtype=complex)
            on_a = rho[elements]
            if np.abs(on_a * (1 - np.eye(r.dimension))).max() > 1e-12:
                unitary = r.unitary  # B ρ B⁻¹; recover B to diagonalise ρ itself
                form = np.einsum("gji,gjk->ik", rho.conj(), rho) / group.order
                back = np.linalg.inv(np.linalg.cholesky(form).conj().T) if not np.allclose(unitary, rho) else basis
                mix = np.einsum("a,aij->ij", weights, unitary[elements])
                basis = back @ np.linalg.eigh(mix + mix.conj().T)[1]
            undo = np.linalg.inv(basis)
            index = np.zeros(r.dimension, dtype=np.int64)
            for s, o in zip(generators, orders, strict=True):
                phases = np.diagonal(undo @ rho[embedding[s]] @ basis)
                index = index * o + np.rint(np.angle(phases) * o / (2 * np.pi)).astype(np.int64) % o
            blocks.append((rho[reps] @ basis, undo @ rho[group.inverse[reps]], basis, undo, index))
        return position, orders or (1,), blocks

    def forward(self, f: Any) -> list[ComplexArray]:
        """Fourier coefficients f̂(ρ), one array of shape (…, d, d) per irrep, for f of shape (…, |G|)."""
        values = np.asarray(f)
        if values.shape[-1:] != (self.group.order,):
            raise StlError("f", values.shape, f"a last axis of length {self.group.order}")
        position, orders, blocks = self._plan
        lead, m = values.shape[:-1], len(position)
        axes = tuple(range(-len(orders), 0))
        # numpy's inverse FFT has the sign of Σ f(a) χ(a); undo its 1/|A|
        spectrum = np.fft.ifftn(values[..., position].reshape(*lead, m, *orders), axes=axes) * position.shape[1]
        spectrum = spectrum.reshape(*lead, m, position.shape[1])
        return [np.einsum("tij,...tj->...ij", left, spectrum[..., index]) @ undo for left, _, _, undo, index in blocks]

    def inverse(self, coefficients: Sequence[Any]) -> ComplexArray:
        """The function with the given Fourier coefficients, shape (…, |G|)."""
        position, orders, blocks = self._plan
        if len(coefficients) != len(blocks):
            raise StlError("coefficients", len(coefficients), f"{len(blocks)} arrays, one per irrep")
        lead, m = np.asarray(coefficients[0]).shape[:-2], len(position)
        spectrum = np.zeros((*lead, m, position.shape[1]), dtype=np.complex128)
        for (_, right, basis, _, index), block, r in zip(blocks, coefficients, self.irreps, strict=True):
            part = np.einsum("tji,...ij->...tj", right, np.asarray(block) @ basis) * (r.dimension / self.group.order)
            for j, place in enumerate(index):
                spectrum[..., place] += part[..., j]
        axes = tuple(range(-len(orders), 0))
        values = np.fft.fftn(spectrum.reshape(*lead, m, *orders), axes=axes).reshape(*lead, m * position.shape[1])
        out = np.empty_like(values)
        out[..., position.ravel()] = values
        return out

    def convolve(self, f: Any, h: Any) -> ComplexArray:
        """f * h through the transform: block products, one per irrep."""
        return self.inverse([a @ b for a, b in zip(self.forward(f), self.forward(h), strict=True)])


def modular_fourier(group: FiniteGroup, q: int, form: str = "monomial") -> tuple[IntArray, IntArray]:
    """Fourier matrix over GF(q) and its inverse, for q ≡ 1 modulo the exponent of the group.

    Returns
    -------
    forward, backward : int arrays, shape (|G|, |G|)
        Entries 0 … q-1 in galois' numbering of GF(q) (residues when q is prime); coordinates as in
        `FourierTransform`.  ``galois.GF(q)(forward) @ galois.GF(q)(backward)`` is the identity.

    Raises
    ------
    StlError
        If q is not a prime power, q ≢ 1 modulo the exponent, or the characteristic divides a denominator of the
        exact matrices.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> forward, backward = modular_fourier(group("S3"), 7)
    >>> np.array_equal(forward @ backward % 7, np.eye(6, dtype=int))
    True
    """
    from stl_algebra.groups.generate import field_tables

    add, multiply, primitive = field_tables(q)
    if (q - 1) % group.exponent:
        raise StlError(
            "q",
            q,
            f"a prime power ≡ 1 modulo the exponent {group.exponent}",
            "Over other fields some irreducible matrices do not exist.",
        )
    transform = FourierTransform(group, form)
    return tuple(_reduce(part, q, add, multiply, primitive) for part in (transform.matrix, transform.inverse_matrix))  # type: ignore[return-value]


def _reduce(matrix: Cyclotomic, q: int, add: IntArray, multiply: IntArray, primitive: int) -> IntArray:
    """Image in GF(q) under ζ_n ↦ a primitive n-th root of unity."""
    p, n = prime_factors(q)[0], matrix.conductor
    if matrix.den % p == 0:
        raise StlError(
            "q",
            q,
            f"a characteristic that does not divide the denominator {matrix.den}",
            "Try the other form of the irreps.",
        )
    power = _field_power(multiply, primitive, (q - 1) // n)
    scale = pow(matrix.den, -1, p)  # prime-field residues keep their value in galois' numbering
    out = np.zeros(matrix.shape, dtype=np.int64)
    root = 1
    for k in range(matrix.num.shape[-1]):
        residues = (matrix.num[..., k] % p).astype(np.int64) * scale % p
        out = add[out, multiply[residues, root]]
        root = int(multiply[root, power])
    return out


def _field_power(multiply: IntArray, x: int, k: int) -> int:
    out = 1
    for _ in range(k):
        out = int(multiply[out, x])
    return out


def _concatenate(parts: Sequence[Cyclotomic]) -> Cyclotomic:
    """Join arrays along the first axis over the common field."""
    rows = [part[i] for part in parts for i in range(len(part))]
    return stack(rows)
