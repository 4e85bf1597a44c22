"""The group algebra over the real numbers: block by block, with exact real coordinates and multiplication counts.

R[G] is a sum of matrix algebras over R, C and H, one per irreducible real representation.  Real coordinates of f:

* real type: the entries of Σ f(g) ρ(g) for real matrices ρ — d² numbers, multiplied as d×d real matrices;
* complex type: real and imaginary parts of the entries, 2d² numbers for ρ and its conjugate together;
* quaternionic type: real and imaginary parts of (a, b) in the 2×2 blocks [[a, γ b̄], [b, ā]] — d² numbers,
  multiplied as d/2×d/2 matrices over a quaternion algebra.

Bilinear cost of a block: rank⟨d,d,d⟩ real multiplications for real type, 3·rank⟨d,d,d⟩ for complex type (rank of C
over R is 3), 8·rank⟨d/2,d/2,d/2⟩ for quaternionic type (rank of H over R is 8; Howell & Lafon 1975).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from stl_algebra.groups.cyclotomic import Cyclotomic
from stl_algebra.groups.fourier import _concatenate
from stl_algebra.groups.realforms import RealForm, quaternionic_coordinates, real_irreps
from stl_algebra.groups.table import FiniteGroup

__all__ = ["RealBlock", "RealFourier", "best_known_rank", "real_multiplications"]

# Smallest known ranks of ⟨d,d,d⟩ over a field that contains 1/2 (d = 4: Dumas, Pernet, Sedoglavic 2025)
_SQUARE_RANKS = {1: 1, 2: 7, 3: 23, 4: 48, 5: 93, 6: 153, 7: 249, 8: 336}

SCALAR_COST = {"real": 1, "complex": 3, "quaternionic": 8}  # bilinear rank over R of R, C and H


@cache
def best_known_rank(d: int) -> int:
    """Smallest number of real multiplications known to the project for a d×d matrix product.

    Above 8: Kronecker products of smaller formats and zero padding to the next size, never more than d³.

    Examples
    --------
    >>> best_known_rank(2)
    7
    """
    if d in _SQUARE_RANKS:
        return _SQUARE_RANKS[d]
    options = [d**3] + [best_known_rank(a) * best_known_rank(d // a) for a in range(2, d) if d % a == 0]
    if d % 2:
        options.append(best_known_rank(d + 1))
    return min(options)


@dataclass(frozen=True)
class RealBlock:
    """One simple summand of R[G].

    Attributes
    ----------
    index : int
        Character number (the smaller one of a complex pair).
    type : str
        ``"real"``, ``"complex"`` or ``"quaternionic"``.
    size : int
        Matrix size over R, C or H: d, d, d/2.
    offset, dimension : int
        The coordinates ``offset … offset + dimension - 1`` of the real Fourier transform.
    gamma : float
        J² for quaternionic blocks, else 0.
    """

    index: int
    type: str
    size: int
    offset: int
    dimension: int
    gamma: float = 0.0

    def multiplications(self, rank: Callable[[int], int] = best_known_rank) -> int:
        """Real multiplications for one product in this block, given ranks of ⟨d,d,d⟩."""
        return SCALAR_COST[self.type] * rank(self.size)


@dataclass(frozen=True, eq=False)
class RealFourier:
    """Real Fourier transform of a finite group."""

    group: FiniteGroup

    @cached_property
    def forms(self) -> tuple[RealForm, ...]:
        """Irreducible real representations, one per block."""
        return real_irreps(self.group)

    @cached_property
    def _parts(self) -> list[tuple[Cyclotomic, float]]:
        n, parts = self.group.order, []
        for form in self.forms:
            rho, gamma = form.irrep, 0.0
            d = rho.dimension
            if form.type == "real":
                rows = form.matrices.transpose(1, 2, 0).reshape(d * d, n)
            else:
                if form.type == "complex":
                    flat = rho.matrices.transpose(1, 2, 0).reshape(d * d, n)
                else:
                    pairs, exact = quaternionic_coordinates(rho)
                    gamma = float(exact.complex().real)
                    flat = pairs.transpose(1, 2, 3, 0).reshape(d * d // 2, n)
                re, im = flat.real_imag()
                rows = _concatenate([re, im])  # all real parts, then all imaginary parts
            parts.append((rows.minimal(), gamma))
        return parts

    @cached_property
    def blocks(self) -> tuple[RealBlock, ...]:
        """The simple summands of R[G] and their coordinates."""
        out, offset = [], 0
        for form, (rows, gamma) in zip(self.forms, self._parts, strict=True):
            size = form.irrep.dimension // (2 if form.type == "quaternionic" else 1)
            out.append(RealBlock(form.irrep.index, form.type, size, offset, len(rows), gamma))
            offset += len(rows)
        return tuple(out)

    @cached_property
    def matrix(self) -> Cyclotomic:
        """Exact real forward matrix, shape (|G|, |G|), rows in block order."""
        return _concatenate([rows for rows, _ in self._parts])

    @cached_property
    def inverse_matrix(self) -> Cyclotomic:
        """Exact inverse of `matrix`."""
        from stl_algebra.groups.linalg import inverse

        return inverse(self.matrix.minimal())

    def multiply(self, x: Any, y: Any) -> Any:
        """Product of two elements of R[G] in real Fourier coordinates (float64, last axis |G|), block by block."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        out = np.empty(np.broadcast_shapes(x.shape, y.shape))
        for block in self.blocks:
            part = slice(block.offset, block.offset + block.dimension)
            out[..., part] = _multiply_block(block, x[..., part], y[..., part])
        return out

    def convolve(self, f: Any, h: Any) -> Any:
        """f * h for real functions: transform, multiply block by block, transform back (float64)."""
        forward, backward = self.matrix.complex().real, self.inverse_matrix.complex().real
        return self.multiply(np.asarray(f) @ forward.T, np.asarray(h) @ forward.T) @ backward.T

    def real_multiplications(self, rank: Callable[[int], int] = best_known_rank) -> int:
        """Real multiplications of one product in R[G], summed over the blocks; see `RealBlock.multiplications`."""
        return sum(block.multiplications(rank) for block in self.blocks)


def _multiply_block(block: RealBlock, x: Any, y: Any) -> Any:
    m, lead = block.size, x.shape[:-1]
    if block.type == "real":
        real = x.reshape(*lead, m, m) @ y.reshape(*y.shape[:-1], m, m)
        return real.reshape(*real.shape[:-2], m * m)
    half = block.dimension // 2
    u, v = x[..., :half] + 1j * x[..., half:], y[..., :half] + 1j * y[..., half:]
    if block.type == "complex":
        product = u.reshape(*lead, m, m) @ v.reshape(*v.shape[:-1], m, m)
    else:
        u, v = u.reshape(*lead, m, m, 2), v.reshape(*v.shape[:-1], m, m, 2)
        a, b, c, d = u[..., 0], u[..., 1], v[..., 0], v[..., 1]
        # [[a, γ b̄], [b, ā]]·[[c], [d]] is the first column of the product
        product = np.stack([a @ c + block.gamma * b.conj() @ d, b @ c + a.conj() @ d], axis=-1)
    flat = product.reshape(*np.broadcast_shapes(lead, y.shape[:-1]), half)
    return np.concatenate([flat.real, flat.imag], axis=-1)


def real_multiplications(group: FiniteGroup, rank: Callable[[int], int] = best_known_rank) -> int:
    """Real multiplications of one product in R[G] from the character table alone (no matrices needed).

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> real_multiplications(group("S3"))
    9
    """
    from stl_algebra.groups.characters import character_table

    table = character_table(group)
    cost = 0
    for i, (d, nu) in enumerate(zip(table.degrees.tolist(), table.indicators.tolist(), strict=True)):
        if i <= table.conjugates[i]:
            kind = {1: "real", 0: "complex", -1: "quaternionic"}[nu]
            cost += SCALAR_COST[kind] * rank(d // 2 if nu == -1 else d)
    return cost
