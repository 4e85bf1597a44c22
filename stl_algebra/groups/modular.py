"""Linear algebra modulo a prime p < 2^31, as Dixon's character algorithm needs it (int64, products below 2^62)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from stl_algebra.groups.cyclotomic import prime_factors

__all__ = ["eigenvectors", "matmul", "nullspace", "prime_congruent_one", "rank_profile", "root_of_unity", "row_reduce"]

IntArray = np.ndarray[Any, np.dtype[Any]]


@cache
def prime_congruent_one(modulus: int, above: int) -> int:
    """Smallest prime p ≡ 1 (mod modulus) with p > above.

    Examples
    --------
    >>> prime_congruent_one(12, 100)
    109
    """
    p = above // modulus * modulus + 1
    while p <= above or prime_factors(p) != [p]:
        p += modulus
    return p


@cache
def root_of_unity(order: int, p: int) -> int:
    """An element of multiplicative order exactly `order` modulo the prime p ≡ 1 (mod order).

    Examples
    --------
    >>> root_of_unity(4, 13)
    8
    """
    for a in range(1, p):
        w = pow(a, (p - 1) // order, p)
        if all(pow(w, order // q, p) != 1 for q in prime_factors(order)):
            return w
    raise AssertionError("GF(p)* is cyclic, so a root of every order dividing p - 1 exists")


def matmul(a: IntArray, b: IntArray, p: int) -> IntArray:
    """a @ b mod p; float64 while the partial sums stay below 2^53, in pieces otherwise.

    Examples
    --------
    >>> matmul(np.array([[3]]), np.array([[5]]), 7).tolist()
    [[1]]
    """
    depth = max(1, min(a.shape[-1], 2**53 // (p * p)))
    out: Any = 0
    for k in range(0, a.shape[-1], depth):
        part = a[..., k : k + depth].astype(np.float64) @ b[..., k : k + depth, :].astype(np.float64)
        out = (out + (part % p).astype(np.int64)) % p
    return np.asarray(out)


def row_reduce(a: IntArray, p: int) -> tuple[IntArray, list[int]]:
    """Reduced row echelon form without zero rows, and the pivot columns."""
    a = a % p
    pivots: list[int] = []
    for column in range(a.shape[1]):
        row = len(pivots)
        if row == len(a):
            break
        hits = np.flatnonzero(a[row:, column])
        if len(hits) == 0:
            continue
        best = row + int(hits[0])
        if best != row:
            a[[row, best]] = a[[best, row]]
        a[row] = a[row] * pow(int(a[row, column]), -1, p) % p
        factors = a[:, column].copy()
        factors[row] = 0
        busy = np.flatnonzero(factors)
        a[busy] = (a[busy] - factors[busy, None] * a[row]) % p
        pivots.append(column)
    return a[: len(pivots)], pivots


def rank_profile(a: IntArray, p: int) -> list[int]:
    """Indices of the first maximal set of linearly independent rows modulo p."""
    return row_reduce(np.ascontiguousarray(a.T), p)[1]


def nullspace(a: IntArray, p: int) -> IntArray:
    """Rows spanning {v : a·v = 0 mod p}, in echelon form.

    Examples
    --------
    >>> nullspace(np.array([[1, 2]]), 5).tolist()
    [[1, 2]]
    """
    reduced, pivots = row_reduce(a, p)
    free = [c for c in range(a.shape[1]) if c not in set(pivots)]
    out = np.zeros((len(free), a.shape[1]), dtype=np.int64)
    for i, c in enumerate(free):
        out[i, c] = 1
        out[i, pivots] = -reduced[:, c] % p
    return row_reduce(out, p)[0] if len(free) else out


def eigenvectors(a: IntArray, vector: IntArray, p: int) -> tuple[IntArray, IntArray]:
    """Eigenvalues of a diagonalisable matrix over GF(p) that `vector` meets, and its components.

    Krylov: the dependency among v, a·v, a²·v, … is the minimal polynomial of v; its roots are found by trying all p
    residues; dividing it by (x - λ) and applying the quotient to v leaves the component of v at λ.

    Returns
    -------
    values : int array, shape (m,)
    components : int array, shape (m, n); ``a @ components[i] = values[i]·components[i]``
    """
    n = len(a)
    krylov = np.zeros((n + 1, n), dtype=np.int64)
    krylov[0] = vector % p
    for k in range(n):
        krylov[k + 1] = matmul(a, krylov[k][:, None], p)[:, 0]
    reduced, pivots = row_reduce(np.ascontiguousarray(krylov.T), p)
    m = len(pivots)  # the first m vectors are independent, the next depends on them
    polynomial = np.append(-reduced[:, m] % p if m <= n else [], 1)
    x = np.arange(p, dtype=np.int64)
    value = np.ones(p, dtype=np.int64)
    for c in polynomial[-2::-1]:
        value = (value * x + int(c)) % p
    roots = np.flatnonzero(value == 0)
    quotient = np.zeros((len(roots), m), dtype=np.int64)
    carry = np.ones(len(roots), dtype=np.int64)
    for k in range(m - 1, -1, -1):  # synthetic division by every (x - λ) at once
        quotient[:, k] = carry
        carry = (carry * roots + int(polynomial[k])) % p
    return roots, matmul(quotient, krylov[:m], p)
