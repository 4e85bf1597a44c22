"""Moves between formats: extend, project and merge schemes; the results are starts for new walks.

Good schemes of a neighbouring format, filled up with standard products, are far better starts than the
standard algorithm (Arai–Ichikawa–Hukushima 2024 grow formats one slice at a time).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .scheme import Scheme, checked, from_factors, standard

__all__ = ["extend", "merge", "project", "rotate"]

_AXES = "nmp"


def _plain(scheme: Scheme) -> Scheme:
    """The same scheme without its symmetry."""
    if scheme.symmetry is None:
        return scheme
    return from_factors(scheme.format, *scheme.factors(), ring=scheme.ring)


def _axis(axis: str) -> int:
    if axis not in ("n", "m", "p"):
        raise StlError("axis", axis, "'n', 'm' or 'p'")
    return _AXES.index(axis)


def _tiles(scheme: Scheme) -> list[NDArray[np.int64]]:
    """Factors as (r, n, m), (r, m, p), (r, n, p)."""
    n, m, p = scheme.format
    e_x, e_w, d = scheme.factors()
    return [e_x.reshape(-1, n, m), e_w.reshape(-1, m, p), d.T.reshape(-1, n, p)]


def _from_tiles(fmt: tuple[int, int, int], tiles: list[NDArray[np.int64]], ring: str) -> Scheme:
    x, w, y = (t.reshape(len(t), -1) for t in tiles)
    return from_factors(fmt, x, w, y.T, ring=ring)


def _placed(scheme: Scheme, fmt: tuple[int, int, int], offset: tuple[int, int, int]) -> Scheme:
    """The scheme as products of a block of a larger format (not an exact scheme of that format)."""
    tiles = []
    for tile, (a, b) in zip(_tiles(scheme), ((0, 1), (1, 2), (0, 2)), strict=True):
        whole = np.zeros((len(tile), fmt[a], fmt[b]), dtype=np.int64)
        whole[:, offset[a] : offset[a] + tile.shape[1], offset[b] : offset[b] + tile.shape[2]] = tile
        tiles.append(whole)
    return _from_tiles(fmt, tiles, scheme.ring)


def merge(one: Scheme, two: Scheme, axis: str = "p") -> Scheme:
    """⟨n,m,p₁;r₁⟩ and ⟨n,m,p₂;r₂⟩ → ⟨n,m,p₁+p₂;r₁+r₂⟩, likewise along n or m (block matrices).

    Raises
    ------
    StlError
        If the rings or the two other sizes differ, or the result does not fit a machine word.

    Examples
    --------
    >>> from search.flips.scheme import standard
    >>> merge(standard((2, 2, 2)), standard((2, 2, 1)), "p").format
    (2, 2, 3)
    """
    k = _axis(axis)
    if one.ring != two.ring:
        raise StlError("two", two.ring, f"the ring of the first scheme, {one.ring}")
    if any(one.format[i] != two.format[i] for i in range(3) if i != k):
        raise StlError("two", two.format, f"a format that differs from {one.format} in {axis} only")
    sizes = list(one.format)
    sizes[k] += two.format[k]
    fmt = checked(sizes, one.ring, None)
    shift = [0, 0, 0]
    shift[k] = one.format[k]
    a, b = _placed(one, fmt, (0, 0, 0)), _placed(two, fmt, (shift[0], shift[1], shift[2]))
    return replace(a, terms=np.concatenate([a.terms, b.terms]), signs=np.concatenate([a.signs, b.signs]))


def extend(scheme: Scheme, axis: str = "p", by: int = 1) -> Scheme:
    """Enlarge one size by `by` with standard products: ⟨n,m,p;r⟩ → ⟨n,m,p+by;r+nm·by⟩.

    Examples
    --------
    >>> from search.flips.scheme import standard
    >>> extend(standard((2, 2, 2)), "p").format
    (2, 2, 3)
    """
    sizes = list(scheme.format)
    sizes[_axis(axis)] = by
    return merge(scheme, standard(sizes, scheme.ring), axis)


def project(scheme: Scheme, axis: str = "p", index: int = -1) -> Scheme:
    """Drop one row or column: ⟨n,m,p⟩ → ⟨n,m,p−1⟩; terms that become zero or equal are joined.

    Examples
    --------
    >>> from search.flips.scheme import standard
    >>> project(standard((2, 2, 3)), "p", 0).rank
    8
    """
    k = _axis(axis)
    size = scheme.format[k]
    if size < 2 or not -size <= index < size:
        raise StlError("index", index, f"a position within axis {axis} of size {size} (at least 2)")
    tiles = _tiles(scheme)
    for t, axes in enumerate(((0, 1), (1, 2), (0, 2))):
        if k in axes:
            tiles[t] = np.delete(tiles[t], index % size, axis=1 + axes.index(k))
    sizes = list(scheme.format)
    sizes[k] -= 1
    smaller = _from_tiles((sizes[0], sizes[1], sizes[2]), tiles, scheme.ring)
    return from_factors(smaller.format, *smaller.factors(), ring=scheme.ring)


def rotate(scheme: Scheme) -> Scheme:
    """Cyclic shift of the trace form: ⟨n,m,p⟩ → ⟨m,p,n⟩, same rank.

    Examples
    --------
    >>> from search.flips.scheme import standard
    >>> rotate(standard((2, 3, 4))).format
    (3, 4, 2)
    """
    n, m, p = scheme.format
    x, w, y = _tiles(_plain(scheme))
    return _from_tiles((m, p, n), [w, y.transpose(0, 2, 1), x.transpose(0, 2, 1)], scheme.ring)
