"""Monomial matrices by name, and fixed sequences of random groups of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from stl_algebra.errors import StlError

__all__ = ["ENTRY", "EXTRASPECIAL", "cycles", "monomial", "random_monomial", "random_signed", "signed_permutation"]

Array = np.ndarray[Any, np.dtype[Any]]
Format = tuple[int, int, int]
Signed = tuple[int, ...]
Phased = tuple[tuple[int, int], ...]
#: One entry of a monomial matrix in print: a sign, a unit and an index.
ENTRY = r"(-?)(i|ww|w|)([1-9])"
_UNITS = {"": 1.0, "i": 1j, "w": np.exp(2j * np.pi / 3), "ww": np.exp(-2j * np.pi / 3)}

#: Five involutions generating the extraspecial group 2^{1+4}₊ (order 32) modulo signs on each of three copies of
#: R⁴: column i of the matrix is sign(x)·e_|x| for the i-th entry x.
EXTRASPECIAL: tuple[tuple[Signed, Signed, Signed], ...] = (
    ((-1, 2, 3, 4), (-1, 2, -3, 4), (-1, 2, -3, 4)),
    ((-1, -2, -3, 4), (-1, -2, 3, 4), (-1, -2, 3, 4)),
    ((-1, 2, -3, 4), (-4, -3, 2, 1), (1, -2, 3, 4)),
    ((-1, -3, -2, 4), (-1, 2, 3, 4), (4, -3, -2, 1)),
    ((4, -2, 3, 1), (1, -3, -2, 4), (-1, -3, -2, -4)),
)


def signed_permutation(images: Sequence[int]) -> Array:
    """Matrix sending e_i to sign(x_i)·e_{|x_i|}, entries of `images` counted from 1.

    >>> signed_permutation((-2, 1)).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    matrix = np.zeros((len(images), len(images)))
    for column, image in enumerate(images):
        matrix[abs(image) - 1, column] = np.sign(image)
    return matrix


def monomial(spec: str, size: int) -> Array:
    """The matrix whose columns are listed, e.g. ``2-i13``: e_2, −i·e_1, e_3.

    >>> monomial("2-i1", 2).tolist()
    [[0j, (-0-1j)], [(1+0j), 0j]]
    """
    entries = re.findall(ENTRY, spec)
    images = [int(j) for _, _, j in entries]
    if sorted(images) != list(range(1, size + 1)):
        raise StlError(
            "symmetry", f"p:{spec}", f"each of 1..{size} once, with units -, i, w, ww", "For instance p:2-13."
        )
    matrix = np.zeros((size, size), dtype=complex)
    for column, (sign, unit, image) in enumerate(entries):
        matrix[int(image) - 1, column] = (-1.0 if sign else 1.0) * _UNITS[unit]
    return matrix.real if not np.abs(matrix.imag).any() else matrix


def cycles(spec: str, size: int) -> Array:
    """Permutation matrix of disjoint cycles in print, ``()`` for the identity.

    >>> cycles("(12)", 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    image = list(range(1, size + 1))
    if spec == "()":
        return np.eye(size)
    wrong = StlError("symmetry", f"c:{spec}", f"disjoint cycles of 1..{size}", "For instance c:(12)(34).")
    for cycle in re.findall(r"\(([1-9]+)\)", spec):
        points = [int(x) for x in cycle]
        if max(points) > size or len(set(points)) < len(points):
            raise wrong
        for here, there in zip(points, points[1:] + points[:1], strict=True):
            image[here - 1] = there
    if sorted(image) != list(range(1, size + 1)) or image == list(range(1, size + 1)):
        raise wrong
    return signed_permutation(image)


def _normal(image: Signed) -> Signed:
    """A signed permutation up to sign: first entry positive."""
    return image if image[0] > 0 else tuple(-x for x in image)


def _compose(g: Signed, h: Signed) -> Signed:
    """First h, then g, up to sign."""
    return _normal(tuple((1 if x > 0 else -1) * g[abs(x) - 1] for x in h))


def _closure(generators: Sequence[Any], one: Any, times: Any, limit: int) -> set[Any]:
    """The group that some elements generate, or a part of it with more than `limit` elements."""
    group, frontier = {one}, [one]
    while frontier and len(group) <= limit:
        g = frontier.pop()
        for product in (times(h, g) for h in generators):
            if product not in group:
                group.add(product)
                frontier.append(product)
    return group


def random_signed(fmt: Format, order: int, index: int) -> list[tuple[Signed, Signed, Signed]]:
    """Generators of a random group of `order` triples of signed permutations modulo signs, the `index`-th.

    Elements whose square is trivial on every side are added while the group they generate stays a divisor of the
    order wanted, so the groups are mostly 2-groups, abelian or not, like the stabilisers of ⟨4,4,4;48⟩ (2^{1+4}₊),
    ⟨2,4,5;32⟩ (2³) and ⟨3,3,6;40⟩.

    Raises
    ------
    StlError
        If no such group turns up (an order that involutions do not generate).

    >>> len(random_signed((4, 4, 4), 8, 0))
    2
    """
    rng = np.random.default_rng([order, index, *fmt])
    one = tuple(tuple(range(1, size + 1)) for size in fmt)

    def involution(size: int) -> Signed:
        while True:
            image = [int(x) for x in (rng.permutation(size) + 1) * rng.choice([-1, 1], size)]
            if _compose(tuple(image), tuple(image)) == tuple(range(1, size + 1)):
                return _normal(tuple(image))

    def times(g: tuple[Signed, ...], h: tuple[Signed, ...]) -> tuple[Signed, ...]:
        return tuple(_compose(x, y) for x, y in zip(g, h, strict=True))

    generators: list[tuple[Signed, Signed, Signed]] = []
    size = 1
    for _ in range(20_000):
        element = (involution(fmt[0]), involution(fmt[1]), involution(fmt[2]))
        bigger = len(_closure([*generators, element], one, times, order))
        if size < bigger <= order and order % bigger == 0:
            generators, size = [*generators, element], bigger
        if size == order:
            return generators
    raise StlError(
        "symmetry", f"mono:{order}:{index}", "an order that involutions generate", "Use 2, 4, 6, 8, 12, 16 …"
    )


def _phased_product(g: Phased, h: Phased, roots: int) -> Phased:
    """First h, then g, up to a common root of unity (column i of a matrix is ζ^k·e_j for its entry (j, k))."""
    columns = [(g[j][0], g[j][1] + k) for j, k in h]
    return tuple((j, (k - columns[0][1]) % roots) for j, k in columns)


def random_monomial(fmt: Format, roots: int, order: int, index: int) -> list[tuple[Array, Array, Array]]:
    """Generators of a random group of `order` triples of monomial matrices over the roots of unity, modulo scalars.

    Like :func:`random_signed`, with entries ζ^k, ζ = exp(2πi/roots), and generators of any order that fits.

    Raises
    ------
    StlError
        If no such group turns up.

    >>> [m.shape for m in random_monomial((2, 2, 3), 4, 4, 0)[0]]
    [(2, 2), (2, 2), (3, 3)]
    """
    rng = np.random.default_rng([roots, order, index, *fmt])
    one = tuple(tuple((j, 0) for j in range(size)) for size in fmt)

    def times(g: tuple[Phased, ...], h: tuple[Phased, ...]) -> tuple[Phased, ...]:
        return tuple(_phased_product(x, y, roots) for x, y in zip(g, h, strict=True))

    def element() -> tuple[Phased, ...]:
        """A power of a random element whose order divides the order of the group."""
        g: tuple[Phased, ...] = tuple(
            tuple(zip(rng.permutation(n).tolist(), rng.integers(0, roots, n).tolist(), strict=True)) for n in fmt
        )
        powers = [g]
        while powers[-1] != times(one, one):
            powers.append(times(g, powers[-1]))
        fitting = [k for k in range(2, len(powers) + 1) if len(powers) % k == 0 and order % k == 0]
        return powers[len(powers) // int(rng.choice(fitting)) - 1] if fitting else one

    for _ in range(400):
        generators: list[tuple[Phased, ...]] = []
        size = 1
        for _ in range(40):
            more = [*generators, element()]
            reached = len(_closure(more, one, times, order))
            if size < reached <= order and order % reached == 0:
                generators, size = more, reached
            if size == order:
                first, second, third = ([_phased_matrix(g[i], roots) for g in generators] for i in range(3))
                return list(zip(first, second, third, strict=True))
    raise StlError("symmetry", f"mono{roots}:{order}:{index}", "an order of such a group", "Use 2, 3, 4, 6, 8, 9, 12 …")


def _phased_matrix(columns: Phased, roots: int) -> Array:
    matrix = np.zeros((len(columns), len(columns)), dtype=complex)
    for column, (image, power) in enumerate(columns):
        matrix[image, column] = np.exp(2j * np.pi / roots) ** power
    return matrix
