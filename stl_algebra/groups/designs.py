"""Frames and designs from group orbits, with exact tests.

Vectors are rows of an exact array (Cyclotomic or rational), all of one norm; they may span a subspace, whose dimension
d is what counts.  An invariant Hermitian form replaces the standard inner product when the matrices are not unitary.

* centred tight frame: Σ w = 0 and Σ w w* = (N ‖w‖²/d) · 1 — what Grochow & Moore (arXiv:1612.01527) call a unitary
  2-design and what their matrix-multiplication identity needs;
* spherical t-design (real vectors): polynomials of degree ≤ t average as on the sphere;
* complex projective t-design: |⟨x, y⟩|^2t averages as over all states (frame potential meets the Welch bound);
* unitary t-design (a representation): ρ^⊗t ⊗ ρ̄^⊗t averages as over U(d).

Each test compares an exact average with its closed form; both sides are equal exactly for designs (Delsarte, Goethals,
Seidel 1977; Sidelnikov 1974; Gross, Audenaert, Eisert 2007).
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial, prod
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import Cyclotomic
from stl_algebra.groups.linalg import row_basis
from stl_algebra.groups.representations import Representation
from stl_algebra.groups.young import partitions

__all__ = [
    "frame_operator",
    "frame_potential",
    "gram_matrix",
    "invariant_form",
    "is_centred_tight_frame",
    "is_projective_design",
    "is_spherical_design",
    "is_unitary_design",
    "orbit",
    "projective_strength",
    "simplex",
    "spherical_strength",
    "unitary_strength",
]


def _exact(vectors: Any) -> Cyclotomic:
    out = vectors if isinstance(vectors, Cyclotomic) else Cyclotomic.rational(vectors)
    if out.ndim != 2 or len(out) == 0:
        raise StlError("vectors", out.shape, "a non-empty array of rows (N, d)")
    return out


def simplex(n: int) -> Cyclotomic:
    """The n + 1 vertices (n+1)·e_i - Σ e_j of a regular simplex, as rows of n + 1 coordinates spanning dimension n.

    Examples
    --------
    >>> simplex(2).shape
    (3, 3)
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise StlError("n", n, "an integer ≥ 1")
    return Cyclotomic.rational((n + 1) * np.eye(n + 1, dtype=np.int64) - 1)


def orbit(representation: Representation, vector: Any, up_to_phase: bool = False) -> Cyclotomic:
    """Distinct vectors ρ(g)·v as rows, in order of first appearance; optionally one per line.

    With `up_to_phase`, vectors that differ by a scalar factor count once.
    """
    v = vector if isinstance(vector, Cyclotomic) else Cyclotomic.rational(vector)
    if v.shape != (representation.dimension,):
        raise StlError("vector", v.shape, f"shape ({representation.dimension},)")
    if not np.any(v.num):
        raise StlError("vector", "zero", "a non-zero vector")
    images = (representation.matrices @ v.reshape(len(v), 1)).reshape(representation.group.order, len(v))
    _, first = np.unique(images.num.reshape(len(images), -1).astype(str), axis=0, return_index=True)
    images = images[np.sort(first)]
    if not up_to_phase:
        return images
    keep: list[int] = []
    for i in range(len(images)):
        # x and y are parallel when all 2×2 minors vanish
        if not any(_parallel(images[i], images[j]) for j in keep):
            keep.append(i)
    return images[np.array(keep)]


def _parallel(x: Cyclotomic, y: Cyclotomic) -> bool:
    outer = x.reshape(len(x), 1) * y.reshape(1, len(y))
    return outer == outer.transpose()


def invariant_form(representation: Representation) -> Cyclotomic:
    """The invariant Hermitian form Σ_g ρ(g)* ρ(g) / |G|, exact, positive definite, shape (d, d)."""
    rho = representation.matrices
    return (rho.conj().mT @ rho).sum(0) / representation.group.order


def gram_matrix(vectors: Any, form: Cyclotomic | None = None) -> Cyclotomic:
    """⟨x_i, x_j⟩ = x_i* B x_j, exact, shape (N, N); B is the identity unless given.

    Examples
    --------
    >>> gram_matrix(simplex(2)).shape
    (3, 3)
    """
    rows = _exact(vectors)
    left = rows.conj() if form is None else rows.conj() @ form
    return left @ rows.transpose()


def frame_operator(vectors: Any) -> Cyclotomic:
    """Σ x x* over the rows, exact, shape (d, d).

    Examples
    --------
    >>> frame_operator(simplex(2)).shape
    (3, 3)
    """
    rows = _exact(vectors)
    return rows.transpose() @ rows.conj()


def _norm(gram: Cyclotomic) -> Cyclotomic:
    diagonal = Cyclotomic(gram.num[np.arange(len(gram)), np.arange(len(gram))], gram.conductor, gram.den)
    if not diagonal.equals(diagonal[:1]).all():
        raise StlError(
            "vectors",
            "different norms",
            "vectors of equal norm, as in a unitary orbit",
            "Pass form=invariant_form(representation) for matrices that are not unitary.",
        )
    return diagonal[0]


def _power(x: Cyclotomic, k: int) -> Cyclotomic:
    out = Cyclotomic.rational(np.ones(x.shape, dtype=np.int64))
    for _ in range(k):
        out = out * x
    return out


def is_centred_tight_frame(vectors: Any, form: Cyclotomic | None = None) -> bool:
    """Exact test of Σ w = 0 and Σ w w* = (N ‖w‖²/d)·1 on the span of the vectors.

    Examples
    --------
    >>> is_centred_tight_frame(simplex(3))
    True
    """
    rows = _exact(vectors)
    gram = gram_matrix(rows, form)
    d = len(row_basis(gram))
    # on the span, Σ w w* is a multiple of 1 exactly when the Gram matrix is a multiple of a projection
    tight = (gram @ gram) * d == gram * _norm(gram) * len(rows)
    return tight and not np.any(rows.sum(0).num)


def spherical_strength(vectors: Any, form: Cyclotomic | None = None, limit: int = 12) -> int:
    """Largest t ≤ limit for which real vectors are a spherical t-design (0 when not even centred).

    Examples
    --------
    >>> spherical_strength(simplex(3))
    2
    """
    gram = gram_matrix(vectors, form)
    if not gram.is_real:
        raise StlError("vectors", gram, "real inner products", "Use projective_strength for complex vectors.")
    d, norm, n = len(row_basis(gram)), _norm(gram), len(gram)
    power = Cyclotomic.rational(np.ones((n, n), dtype=np.int64))
    for k in range(1, limit + 1):
        power = power * gram
        mean = Fraction(0) if k % 2 else Fraction(prod(range(1, k, 2)), prod(range(d, d + k, 2)))
        if power.sum((0, 1)) != _power(norm, k) * (mean * n * n):
            return k - 1
    return limit


def is_spherical_design(vectors: Any, t: int, form: Cyclotomic | None = None) -> bool:
    """Whether real vectors are a spherical t-design (exact).

    Examples
    --------
    >>> is_spherical_design(simplex(3), 2)
    True
    """
    return spherical_strength(vectors, form, t) >= t


def frame_potential(vectors: Any, t: int, form: Cyclotomic | None = None) -> Cyclotomic:
    """(1/N²) Σ |⟨x, y⟩|^2t, exact; for unit vectors it is at least 1/C(d+t-1, t), with equality for t-designs."""
    gram = gram_matrix(vectors, form)
    return _power(gram * gram.conj(), t).sum((0, 1)) / len(gram) ** 2


def projective_strength(vectors: Any, form: Cyclotomic | None = None, limit: int = 8) -> int:
    """Largest t ≤ limit for which the vectors are a complex projective t-design (0 when not even a tight frame)."""
    gram = gram_matrix(vectors, form)
    d, norm, n = len(row_basis(gram)), _norm(gram), len(gram)
    square, power = gram * gram.conj(), Cyclotomic.rational(np.ones((n, n), dtype=np.int64))
    for t in range(1, limit + 1):
        power = power * square
        if power.sum((0, 1)) != _power(norm, 2 * t) * Fraction(n * n, comb(d + t - 1, t)):
            return t - 1
    return limit


def is_projective_design(vectors: Any, t: int, form: Cyclotomic | None = None) -> bool:
    """Whether the vectors are a complex projective t-design (exact)."""
    return projective_strength(vectors, form, t) >= t


def _haar_moment(d: int, t: int) -> int:
    """∫ |tr U|^2t over U(d): Σ (f^λ)² over partitions λ of t with at most d rows; t! when d ≥ t."""
    total = 0
    for shape in partitions(t):
        if len(shape) <= d:
            columns = [sum(part > c for part in shape) for c in range(shape[0])]
            hooks = prod(shape[r] - c + columns[c] - r - 1 for r in range(len(shape)) for c in range(shape[r]))
            total += (factorial(t) // hooks) ** 2
    return total


def unitary_strength(representation: Representation, limit: int = 8) -> int:
    """Largest t ≤ limit for which the matrices ρ(g) are a unitary t-design: mean |χ|^2t equals its Haar value.

    t ≥ 1 exactly for irreducible representations.
    """
    chi, classes = representation.character, representation.group.classes
    square = chi * chi.conj()
    for t in range(1, limit + 1):
        mean = (_power(square, t) * classes.sizes).sum(0) / representation.group.order
        if mean != _haar_moment(representation.dimension, t):
            return t - 1
    return limit


def is_unitary_design(representation: Representation, t: int) -> bool:
    """Whether the matrices of a representation are a unitary t-design (exact)."""
    return unitary_strength(representation, t) >= t
