"""Arrays of the package `galois` and our encoders: each can be had from the other, and encoders act on arrays.

An encoder over Z acts over every field, one over Z[1/2] over those of odd characteristic, one over GF(q) over GF(q)
(with the same modulus) and, if q is prime, over its extensions. `galois` is imported when a field of it is asked for;
arrays that are given are known by their class.

>>> import galois
>>> from stl_algebra.schemes import strassen
>>> GF = galois.GF(9)
>>> A, B = GF([[1, 2], [3, 4]]), GF([[5, 6], [7, 8]])
>>> bool((strassen()(A, B) == A @ B).all())
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import StlError
from .rings import Array, Ring, ring, spell

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = ["coefficients", "elements", "factors", "field_of", "galois_field", "matmul", "ring_of"]


def field_of(*arrays: Any) -> Any:
    """The `galois` class that all arrays belong to; None if none of them is of that kind.

    Raises
    ------
    StlError
        If they belong to different fields.
    """
    found = {type(a) for a in arrays if hasattr(type(a), "irreducible_poly") and isinstance(a, np.ndarray)}
    if len(found) > 1 or (found and not all(type(a) in found for a in arrays)):
        raise StlError("arrays", [type(a).__name__ for a in arrays], "arrays over one field", "GF(array) converts.")
    return next(iter(found), None)


def galois_field(base: Ring | str) -> Any:
    """The `galois` class of a ring GF(q), with the same modulus.

    Examples
    --------
    >>> galois_field("GF(4)").irreducible_poly
    Poly(x^2 + x + 1, GF(2))
    """
    import galois

    base = ring(base) if isinstance(base, str) else base
    if not base.characteristic:
        raise StlError("ring", base.name, "a finite field GF(q)")
    p, k = base.characteristic, base.degree
    if k == 1 or base.name == f"GF({p}^{k})":
        return galois.GF(p**k)
    return galois.GF(p, k, irreducible_poly=galois.Poly(list(base.polynomial[::-1]), field=galois.GF(p)))


def ring_of(field: Any) -> Ring:
    """The ring of a `galois` class.

    Examples
    --------
    >>> import galois
    >>> ring_of(galois.GF(2**3)).name
    'GF(2^3)'
    """
    p, k = int(field.characteristic), int(field.degree)
    if k == 1:
        return ring(f"GF({p})")
    modulus = tuple(int(c) for c in field.irreducible_poly.coeffs[::-1])
    return ring(f"GF({p})[x]/({spell(modulus)})")


def coefficients(array: Any) -> Array:
    """The coefficients on 1, x, … of a `galois` array, as our factors hold them: an axis more over GF(p^k), k > 1.

    Examples
    --------
    >>> import galois
    >>> coefficients(galois.GF(4)([2, 3])).tolist()  # x and x + 1
    [[0, 1], [1, 1]]
    """
    field = type(array)
    p, k = int(field.characteristic), int(field.degree)
    plain = np.asarray(array).view(np.ndarray)
    if k == 1:
        return plain.astype(np.int64)
    return np.stack([(plain // p**i % p).astype(np.int64) for i in range(k)], axis=-1)


def elements(num: Array, base: Ring, field: Any, den: int = 1) -> Any:
    """Numerators over a ring as a `galois` array: the inverse of `coefficients`, or the reduction modulo p.

    Raises
    ------
    StlError
        If the ring does not map to the field.

    Examples
    --------
    >>> import galois
    >>> print(elements(np.array([[1, -1]]), ring("Z"), galois.GF(3), den=2))  # ±1/2 modulo 3
    [[2 1]]
    """
    p, k = int(field.characteristic), int(field.degree)
    if base.exact and base.degree == 1 and base.characteristic in (0, p):
        if den % p == 0:
            raise StlError("field", f"GF({p**k})", f"a field in which {den} can be inverted")
        return field((np.asarray(num).astype(object) * pow(int(den), -1, p) % p).astype(np.int64))
    if base != ring_of(field):
        raise StlError("field", ring_of(field).name, f"a field that {base.name} maps to", "Encoder.to_ring converts.")
    return field((np.asarray(num).astype(object) * np.array([p**i for i in range(k)], dtype=object)).sum(axis=-1))


def factors(encoder: Encoder, field: Any = None) -> tuple[Any, Any, Any]:
    """(E_X, E_W, D) as `galois` arrays of shapes (r, a), (r, b), (c, r).

    Parameters
    ----------
    encoder : Encoder
    field : galois class, optional
        Default: that of the encoder's ring.

    Examples
    --------
    >>> from stl_algebra import Encoder, load
    >>> e = load("4x4x4", rank=47, ring="GF(2)")
    >>> x, w, d = factors(e)
    >>> x.shape, Encoder.build("4x4x4", x, w, d) == e
    ((47, 16), True)
    """
    field = galois_field(encoder.ring) if field is None else field
    x, w, d = (elements(f.num, encoder.ring, field, f.den) for f in encoder.factors)
    return x, w, d


def matmul(encoder: Encoder, a: Any, b: Any) -> Any:
    """``a @ b`` of `galois` matrices of any size through an exact encoder: its r products of blocks instead of nmp.

    Parameters
    ----------
    encoder : Encoder
        Exact, of a matrix product ⟨n,m,p⟩, over a ring that maps to the field.
    a, b : galois arrays of shapes (N, K), (K, M)
        Padded with zeros to multiples of n, m and p.

    Returns
    -------
    galois array of shape (N, M)

    Raises
    ------
    StlError
        For an encoder that is not exact, sizes that do not fit, or a field the ring does not map to.

    Examples
    --------
    >>> import galois
    >>> from stl_algebra import load
    >>> GF = galois.GF(2)
    >>> A, B = GF.Random((10, 9), seed=1), GF.Random((9, 11), seed=2)
    >>> bool((matmul(load("4x4x4", rank=47, ring="GF(2)"), A, B) == A @ B).all())
    True
    """
    field = field_of(a, b)
    if field is None:
        raise StlError("a, b", type(a).__name__, "galois arrays", "stl_kernels.exact_matmul multiplies integers.")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise StlError("a, b", (a.shape, b.shape), "shapes (N, K) and (K, M)")
    if not encoder.is_exact:
        raise StlError("encoder", encoder.label, "an exact encoder")
    (n, m, p), (e_x, e_w, d) = encoder.format, factors(encoder, field)
    x, w = _tiles(a, n, m), _tiles(b, m, p)
    x_hat = (e_x @ x.reshape(n * m, -1)).reshape(-1, *x.shape[1:])
    w_hat = (e_w @ w.reshape(m * p, -1)).reshape(-1, *w.shape[1:])
    products = field([xl @ wl for xl, wl in zip(x_hat, w_hat, strict=True)])
    y = (d @ products.reshape(encoder.rank, -1)).reshape(n, p, *products.shape[1:])
    return y.transpose(2, 0, 3, 1).reshape(products.shape[1] * n, -1)[: a.shape[0], : b.shape[1]]


def _tiles(matrix: Any, rows: int, columns: int) -> Any:
    """(rows·columns, N/rows, K/columns): entry (i, j) of every tile, the matrix padded with zeros."""
    high, wide = (-(-s // t) for s, t in zip(matrix.shape, (rows, columns), strict=True))
    whole = type(matrix).Zeros((high * rows, wide * columns))
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return whole.reshape(high, rows, wide, columns).transpose(1, 3, 0, 2).reshape(rows * columns, high, wide)
