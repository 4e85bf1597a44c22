"""Finding the change of basis behind a permutation of terms, and the isotropy action itself."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.encoder import Encoder
from stl_algebra.errors import StlError

from .invariants import FactorMatrices

__all__ = ["Transformation", "apply_modulo", "canonical_form", "intertwiner", "same_up_to_order", "solve_bases"]

Array = NDArray[Any]


@dataclass(frozen=True, repr=False)
class Transformation:
    """An element of the isotropy group of a matrix-multiplication target.

    Acts as: transpose if asked, rotate ``rotations`` times, then (A, B, C) ↦ (P A Q⁻¹, Q B R⁻¹, P C R⁻¹).

    Attributes
    ----------
    rotations : int
        0, 1 or 2.
    transposed : bool
    p, q, r : lists of lists of Fraction
        Invertible matrices.
    """

    rotations: int
    transposed: bool
    p: list[list[Fraction]]
    q: list[list[Fraction]]
    r: list[list[Fraction]]

    def __repr__(self) -> str:
        words = [f"{name} = [{'; '.join(' '.join(map(str, row)) for row in matrix)}]" for name, matrix in self._bases()]
        words += [f"{self.rotations} rotations"] * bool(self.rotations) + ["transposed"] * self.transposed
        return f"Transformation({', '.join(words)})"

    def _bases(self) -> list[tuple[str, list[list[Fraction]]]]:
        return [("P", self.p), ("Q", self.q), ("R", self.r)]

    def _repr_latex_(self) -> str:
        matrices = [
            name + r"=\begin{pmatrix}" + r"\\".join("&".join(map(str, row)) for row in m) + r"\end{pmatrix}"
            for name, m in self._bases()
        ]
        before = [r"\text{transposed}"] * self.transposed + [rf"\text{{{self.rotations} rotations}}"] * bool(
            self.rotations
        )
        return "$" + r",\quad ".join([*before, *matrices]) + "$"

    def __call__(self, encoder: Encoder) -> Encoder:
        """Return the image of an encoder."""
        # Encoder.transpose is (U, V, W) ↦ (Vᵀ, Uᵀ, Wᵀ) in the trace form; two rotations make it (Wᵀ, Vᵀ, Uᵀ)
        out = encoder
        if self.transposed:
            out = out.transpose().rotate().rotate()
        for _ in range(self.rotations):
            out = out.rotate()
        return out.change_basis(self.p, self.q, self.r)


def intertwiner(left: Array, right: Array, p: int, rng: np.random.Generator) -> Array | None:
    """Return an invertible S modulo p with ``S L_i = R_i S`` for all i, or None.

    Three random combinations of the pairs generate the same algebra with overwhelming probability for
    large p; for small p all pairs are used. If solutions are not unique up to scale a random one is taken.
    """
    from stl_algebra.groups.modular import nullspace

    n = left.shape[1]
    if p > 10**6 and 3 < len(left) < 2**12:
        weight = rng.integers(1, p, (3, len(left)))
        # sums of len(left) products below 2⁵⁰ stay below 2⁶³
        left = np.einsum("ki,iab->kab", weight, left % p) % p
        right = np.einsum("ki,iab->kab", weight, right % p) % p
    eye = np.eye(n, dtype=np.int64)
    # vec(S L) = (I ⊗ Lᵀ) vec S, vec(R S) = (R ⊗ I) vec S
    system = np.concatenate([np.kron(eye, l.T) - np.kron(r, eye) for l, r in zip(left, right, strict=True)]) % p
    space = nullspace(system, p)
    if not len(space):
        return None
    for _ in range(1 if len(space) == 1 else 20):
        s = (space[0] if len(space) == 1 else rng.integers(0, p, len(space)) @ space % p).reshape(n, n)
        if inverse_modulo(s, p) is not None:
            return s
    return None


def inverse_modulo(matrix: Array, p: int) -> Array | None:
    """Return the inverse modulo p, or None."""
    from stl_algebra.groups.modular import row_reduce

    n = len(matrix)
    reduced, pivots = row_reduce(np.concatenate([matrix % p, np.eye(n, dtype=np.int64)], axis=1), p)
    return reduced[:, n:] if pivots == list(range(n)) else None


def _loops(mats: FactorMatrices, p: int, pairs: Array) -> tuple[Array, Array, Array]:
    """Return scale-free endomorphisms of the three spaces: U_lV_lW_l and U_aV_bW_a·U_bV_aW_b, rotated."""
    out = []
    for k in range(3):
        u, v, w = (mats[(k + i) % 3] for i in range(3))
        a, b = pairs.T
        single = (u @ v % p) @ w % p
        one = (u[a] @ v[b] % p) @ w[a] % p
        two = (u[b] @ v[a] % p) @ w[b] % p
        out.append(np.concatenate([single, one @ two % p]))
    return out[0], out[1], out[2]


def solve_bases(
    one: FactorMatrices, two: FactorMatrices, image: Array, p: int, rng: np.random.Generator
) -> tuple[Array, Array, Array] | None:
    """Return (S_n, S_m, S_p) modulo p mapping term l of ``one`` to term image[l] of ``two``, or None."""
    r = len(image)
    pairs = rng.integers(0, r, (3 * r, 2))
    target: FactorMatrices = (two[0][image], two[1][image], two[2][image])
    bases = []
    for left, right in zip(_loops(one, p, pairs), _loops(target, p, pairs), strict=True):
        s = intertwiner(left, right, p, rng)
        if s is None:
            return None
        bases.append(s)
    found = (bases[0], bases[1], bases[2])
    moved = apply_modulo(one, found, p)
    return found if moved is not None and _same_terms(moved, target, p) else None


def apply_modulo(mats: FactorMatrices, bases: tuple[Array, Array, Array], p: int) -> FactorMatrices | None:
    """Return (S_n U S_m⁻¹, S_m V S_p⁻¹, S_p W S_n⁻¹) modulo p; None when a basis is singular."""
    inverse = [inverse_modulo(b, p) for b in bases]
    if any(i is None for i in inverse):
        return None
    u, v, w = ((bases[k] @ x % p) @ inverse[(k + 1) % 3] % p for k, x in enumerate(mats))
    return u, v, w


def _same_terms(one: FactorMatrices, two: FactorMatrices, p: int) -> bool:
    """Return whether u⊗v⊗w agrees term by term: each vector up to a scale, the scales multiplying to 1."""
    r = len(one[0])
    left = np.ones(r, dtype=np.int64)
    right = np.ones(r, dtype=np.int64)
    row = np.arange(r)
    for x, y in zip(one, two, strict=True):
        x, y = x.reshape(r, -1), y.reshape(r, -1)
        at = (x != 0).argmax(axis=1)
        a, b = x[row, at], y[row, at]
        if ((a == 0) | (b == 0)).any() or ((x * b[:, None] - y * a[:, None]) % p).any():
            return False
        left, right = left * a % p, right * b % p
    return bool((left == right).all())


def rational_matrix(matrix: Array, p: int) -> list[list[Fraction]] | None:
    """Return the rational matrix with small entries that reduces to a multiple of ``matrix``, or None."""
    flat = matrix.ravel()
    pivot = int(flat[np.flatnonzero(flat)[0]])
    scaled = flat * pow(pivot, -1, p) % p
    bound = int((p // 2) ** 0.5)
    out = []
    for value in scaled.tolist():
        a, b, c, d = p, value, 0, 1
        while abs(b) > bound:
            q = a // b
            a, b, c, d = b, a - q * b, d, c - q * d
        if d == 0 or abs(d) > bound or (value * d - b) % p:
            return None
        out.append(Fraction(b, d))
    n = len(matrix)
    return [out[i * n : (i + 1) * n] for i in range(n)]


def as_transformation(bases: tuple[Array, Array, Array], kind: tuple[int, bool], p: int) -> Transformation | None:
    """Return the exact transformation with P = S_nᵀ, Q = S_mᵀ, R = S_pᵀ recovered from residues, or None."""
    mats = [rational_matrix(np.ascontiguousarray(b.T), p) for b in bases]
    if mats[0] is None or mats[1] is None or mats[2] is None:
        return None
    return Transformation(kind[0], kind[1], mats[0], mats[1], mats[2])


def canonical_form(encoder: Encoder) -> Encoder:
    """Return the encoder over Q with every term scaled to leading entries 1 in E_X and E_W and the terms sorted.

    Two encoders are made of the same rank-one tensors exactly when their canonical forms are equal. Changes of basis
    are not divided out: `equivalent` decides those.

    Raises
    ------
    StlError
        For rings other than Z, Z[1/2] and Q.
    """
    base = encoder.ring
    if base.degree > 1 or base.characteristic or not base.exact:
        raise StlError("ring", base.name, "Z, Z[1/2] or Q", "Other rings are compared with `equivalent`.")
    terms = sorted(_normal_terms(encoder))
    a, b, c = encoder.target.shape
    slots = [np.array([t[k] for t in terms], dtype=object).reshape(len(terms), n) for k, n in enumerate((a, b, c))]
    origin = {"family": "canonical_form", "parents": [encoder.digest[:8]]}
    return Encoder.build(encoder.target, slots[0], slots[1], slots[2].T, ring="Q", origin=origin)


def same_up_to_order(one: Encoder, two: Encoder) -> bool:
    """Prove that two exact encoders consist of the same rank-one tensors in some order (exact comparison).

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> same_up_to_order(schemes.strassen(), schemes.strassen().keep_terms([6, 5, 4, 3, 2, 1, 0]))
    True
    """
    return sorted(_normal_terms(one)) == sorted(_normal_terms(two))


def _normal_terms(encoder: Encoder) -> list[tuple[Any, ...]]:
    """Return every term as (u, v, w) with u, v scaled to first non-zero entry 1 and the scale moved to w."""
    out = []
    rows = [
        [[Fraction(int(x), f.den) for x in row] for row in num.tolist()]
        for f, num in zip(encoder.factors, (encoder.e_x.num, encoder.e_w.num, encoder.d.num.T), strict=True)
    ]
    for u, v, w in zip(*rows, strict=True):
        a = next((x for x in u if x), Fraction(1))
        b = next((x for x in v if x), Fraction(1))
        out.append((tuple(x / a for x in u), tuple(x / b for x in v), tuple(x * a * b for x in w)))
    return out
