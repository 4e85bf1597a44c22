"""The exact end of rationalisation: integer proof, linear solves over Q, choice of the ring."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stl_algebra.rings import Ring

__all__ = ["clear_terms", "holds", "primitive", "ring_of", "third_factor"]

Array = NDArray[Any]


def primitive(vector: Sequence[Fraction]) -> tuple[list[int], Fraction]:
    """Return integers without common factor and the scale s with vector = s · integers."""
    den = lcm(*(f.denominator for f in vector))
    ints = [int(f * den) for f in vector]
    common = gcd(*ints)
    if common == 0:
        return ints, Fraction(0)
    return [i // common for i in ints], Fraction(common, den)


def clear_terms(
    x: list[list[Fraction]], w: list[list[Fraction]], d: list[list[Fraction]], scale: Sequence[Fraction]
) -> tuple[Array, Array, Array, int]:
    """Return integer factors E_X (r,a), E_W (r,b), D (c,r) and the one denominator of D.

    Vectors are made primitive; the leftover scale of a term is spread as a cube where it is one (which
    keeps terms fixed by the cyclic shift in the form a⊗a⊗a) and otherwise goes to D.
    """
    xs, ws, ds, rest = [], [], [], []
    for u, v, z, s in zip(x, w, d, scale, strict=True):
        (u1, a), (v1, b), (z1, c) = primitive(u), primitive(v), primitive(z)
        s = s * a * b * c
        root = _cube_root(s)
        if root is not None and root.denominator == 1:
            k = int(root)
            u1, v1, z1, s = [k * i for i in u1], [k * i for i in v1], [k * i for i in z1], Fraction(1)
        xs.append(u1)
        ws.append(v1)
        ds.append(z1)
        rest.append(s)
    den = lcm(*(s.denominator for s in rest))
    ds = [[int(s * den) * i for i in z] for z, s in zip(ds, rest, strict=True)]
    return _ints(xs), _ints(ws), _ints(ds).T, den


def _ints(rows: list[list[int]]) -> Array:
    """Return an int64 array, or an object array of Python integers when an entry is larger."""
    big = max((abs(i) for row in rows for i in row), default=0)
    return np.array(rows, dtype=np.int64 if big < 2**62 else object)


def _cube_root(value: Fraction) -> Fraction | None:
    """Return the rational cube root, or None."""
    roots = []
    for k in (value.numerator, value.denominator):
        guess = round(abs(k) ** (1 / 3)) if abs(k) < 10**45 else 0
        if guess**3 != abs(k):
            return None
        roots.append(guess if k > 0 else -guess)
    return Fraction(roots[0], roots[1])


def holds(target: Array, x: Array, w: Array, d: Array, den: int) -> bool:
    """Prove ``Σ_l x[l,a] w[l,b] d[c,l] = den · T[a,b,c]`` in integers.

    int64 is exact while r · max|x| · max|w| · max|d| < 2⁶³; beyond that Python integers are used.
    """
    bound = x.shape[0]
    for f in (x, w, d):
        bound *= max(1, max(abs(int(f.min())), abs(int(f.max()))))
    goal = np.rint(target).astype(np.int64)
    if bound < 2**62 and abs(den) * max(1, int(np.abs(goal).max())) < 2**62:
        x, w, d = (f.astype(np.int64) for f in (x, w, d))
    else:
        x, w, d, goal = (f.astype(object) for f in (x, w, d, goal))
    a, b, c = target.shape
    pair = (x[:, :, None] * w[:, None, :]).reshape(x.shape[0], a * b)
    return bool(np.array_equal(d.dot(pair), den * goal.reshape(a * b, c).T))


def ring_of(den: int) -> str:
    """Return the smallest ring among Z, Z[1/2], Q in which 1/den lies."""
    if abs(den) == 1:
        return "Z"
    return "Z[1/2]" if den & (den - 1) == 0 else "Q"


def third_factor(target: Array, x: Array, w: Array, base: Ring | None = None) -> tuple[Array, int] | None:
    """Solve ``Σ_l x[l,a] w[l,b] D[c,l] = T[a,b,c]`` for D over Q, or over a number field.

    Parameters
    ----------
    target : array (a, b, c) of integers
    x, w : int arrays (r, a), (r, b), with a last axis of k coefficients over a field of degree k > 1
        The two exact factors.
    base : Ring, optional
        The number field; Q if None.

    Returns
    -------
    (num, den) : int array (c, r) or (c, r, k) and int, or None
        None when the products are linearly dependent or do not span the target.
    """
    from flint import fmpz_mat, nmod_mat

    a, b, c = target.shape
    r, k = len(x), base.degree if base else 1
    x, w = x.astype(object), w.astype(object)
    goal = np.rint(target).astype(np.int64).reshape(a * b, c)
    if base is not None and k > 1:
        pair = base.multiply(x[:, :, None], w[:, None, :]).astype(object)
        # multiplication by a field element as a k×k matrix: unknown (l, j) meets equation (a, b, t)
        pair = np.einsum("labi,ijt->ljabt", pair, base.structure.astype(object)).reshape(r * k, a * b * k)
        goal = np.concatenate([goal[:, None, :], np.zeros((a * b, k - 1, c), dtype=np.int64)], axis=1).reshape(-1, c)
    else:
        pair = (x[:, :, None] * w[:, None, :]).reshape(r, a * b)
    prime = (1 << 61) - 1
    _, rank, pivots = _pivots(nmod_mat(r * k, pair.shape[1], [int(v) % prime for v in pair.ravel()], prime))
    if rank < r * k:
        return None
    square = fmpz_mat(r * k, r * k, [int(v) for v in pair[:, pivots].T.ravel()])
    solved = square.solve(fmpz_mat(r * k, c, [int(v) for v in goal[pivots].ravel()]))
    num, den = cast(Any, solved).numer_denom()
    table = np.array([[int(num[i, j]) for i in range(r * k)] for j in range(c)], dtype=object)
    holding = not (pair.T.dot(table.T) - int(den) * goal.astype(object)).any()
    if max(abs(int(table.min())), abs(int(table.max()))) < 2**62:
        table = table.astype(np.int64)
    return (table if k == 1 else table.reshape(c, r, k), int(den)) if holding else None


def _pivots(matrix: Any) -> tuple[Any, int, list[int]]:
    """Return reduced row echelon form, rank and pivot columns of a flint matrix modulo a prime."""
    reduced, rank = matrix.rref()
    pivots: list[int] = []
    col = 0
    for row in range(rank):
        while int(reduced[row, col]) == 0:
            col += 1
        pivots.append(col)
    return reduced, rank, pivots
