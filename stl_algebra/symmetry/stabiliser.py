"""Equivalence of encoders and the stabiliser of an encoder as a permutation group on its terms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.encoder import Encoder
from stl_algebra.errors import StlError

from .invariants import OUTER_TYPES, FactorMatrices, factor_matrices, pair_colours, prime_view, rank_triples, twist
from .search import automorphism_generators, first_valid, group_order, orbit
from .transform import Transformation, as_transformation, same_up_to_order, solve_bases

__all__ = ["Equivalence", "Stabiliser", "describe_group", "equivalent", "stabiliser"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Equivalence:
    """How one encoder is carried to another.

    Attributes
    ----------
    kind : (int, bool)
        Rotations and transposition applied first.
    image : int array (r,)
        Term l of the first encoder becomes term image[l] of the second.
    transformation : Transformation or None
        The exact change of basis; None when its entries are not small rationals (then the equivalence is
        established modulo ``prime`` only, or it lives in a number field).
    prime : int
        Characteristic of the computation.
    proven : bool
        The exact transformation was applied and gave the second encoder, coefficient by coefficient.
    """

    kind: tuple[int, bool]
    image: Array
    transformation: Transformation | None
    prime: int
    proven: bool


@dataclass(frozen=True)
class Stabiliser:
    """The isotropies that permute the terms of an encoder.

    Attributes
    ----------
    order : int
        Order of the group of all of them (as permutations of the terms).
    order_inner : int
        Order of the subgroup of pure changes of basis.
    kinds : tuple of (rotations, transposed)
        Which permutations of the three factors occur.
    name, name_inner : str
        Structure, or its order and invariants.
    generators : list of int arrays (r,)
        Image rows; ``kind_of`` gives the kind of each.
    orbits : tuple of tuples of int
        Orbits on the terms, largest first.
    prime : int
        Prime modulo which the changes of basis were computed.
    proven : int
        How many of the generators were also proven over the rationals.
    """

    order: int
    order_inner: int
    kinds: tuple[tuple[int, bool], ...]
    name: str
    name_inner: str
    generators: list[Array]
    kind_of: list[tuple[int, bool]]
    orbits: tuple[tuple[int, ...], ...]
    prime: int
    proven: int
    transformations: list[Transformation | None] = field(default_factory=list)

    def __repr__(self) -> str:
        sizes = "+".join(str(len(o)) for o in self.orbits)
        return f"Stabiliser {self.name} of order {self.order} (changes of basis: {self.name_inner}), orbits {sizes}"


def _allowed(fmt: tuple[int, int, int], goal: tuple[int, int, int]) -> list[tuple[int, bool]]:
    """Return the kinds that carry format ``fmt`` to format ``goal``."""
    out = []
    for k, t in OUTER_TYPES:
        f = (fmt[0], fmt[2], fmt[1]) if t else fmt  # (U,V,W) ↦ (Wᵀ,Vᵀ,Uᵀ) is ⟨n,p,m⟩
        for _ in range(k):
            f = (f[1], f[2], f[0])
        if f == goal:
            out.append((k, t))
    return out


def _exact(
    one: Encoder, two: Encoder, bases: tuple[Array, Array, Array], kind: tuple[int, bool], p: int
) -> tuple[Transformation | None, bool]:
    """Return the rational transformation behind residues and whether it provably carries one to two."""
    if one.ring.degree > 1 or two.ring.degree > 1 or one.ring.characteristic:
        return None, False
    found = as_transformation(bases, kind, p)
    if found is None:
        return None, False
    try:
        ok = same_up_to_order(found(one), two)
    except StlError:
        ok = False
    return (found, True) if ok else (None, False)


def _views(one: Encoder, two: Encoder) -> tuple[FactorMatrices, FactorMatrices, int]:
    """Return the factor matrices of both encoders modulo the same prime."""
    for skip in range(4):
        view, p = prime_view(one, skip)
        try:
            other = two if two.ring == view.ring else two.to_ring(view.ring)
        except StlError:
            continue
        return factor_matrices(view), factor_matrices(other), p
    raise StlError("rings", (one.ring.name, two.ring.name), "two rings with a common reduction modulo a prime")


def equivalent(
    one: Encoder, two: Encoder, kinds: list[tuple[int, bool]] | None = None, seed: int = 0
) -> Equivalence | None:
    """Find an isotropy that carries one encoder to another.

    Parameters
    ----------
    one, two : Encoder
        Matrix-multiplication encoders of equal rank whose formats are permutations of each other.
    kinds : list of (rotations, transposed), optional
        Which permutations of the factors are allowed (default: all that fit the formats).
    seed : int
        Seed of the random combinations.

    Returns
    -------
    Equivalence or None
        None means that the coloured pairs of terms do not match, or that no matching comes from a change of
        basis. That answer is exact up to hash collisions (2⁻⁶⁴) when the algebra of the terms is irreducible.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> bool(equivalent(schemes.strassen(), schemes.winograd()))
    True
    """
    if one.rank != two.rank:
        return None
    allowed = _allowed(one.format, two.format)
    a, b, p = _views(one, two)
    rng = np.random.default_rng(seed)
    goal = pair_colours(b, p)
    for kind in allowed if kinds is None else [k for k in kinds if k in allowed]:
        moved = twist(a, kind)
        hit: list[tuple[Array, Array, Array]] = []

        def check(image: Array, moved: FactorMatrices = moved, hit: list[Any] = hit) -> bool:
            bases = solve_bases(moved, b, image, p, rng)
            if bases is not None:
                hit.append(bases)
            return bases is not None

        image = first_valid(pair_colours(moved, p), goal, [], check)
        if image is not None:
            exact, proven = _exact(one, two, hit[-1], kind, p)
            return Equivalence(kind, image, exact, p, proven)
    return None


def stabiliser(encoder: Encoder, seed: int = 0, skip_primes: int = 0) -> Stabiliser:
    """Return the group of isotropies that permute the terms of an encoder.

    Parameters
    ----------
    encoder : Encoder
        An exact matrix-multiplication encoder over Z, Q, a number field or GF(p). Over a field K the group
        found is that of changes of basis over the algebraic closure that are visible modulo the prime used.
    seed : int
        Seed of the random combinations.
    skip_primes : int
        Use another prime (to confirm a result independently).

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> stabiliser(schemes.strassen()).order
    36
    """
    view, p = prime_view(encoder, skip_primes)
    mats = factor_matrices(view)
    rng = np.random.default_rng(seed)
    colours = pair_colours(mats, p)
    generators: list[Array] = []
    kind_of: list[tuple[int, bool]] = []

    def check(image: Array) -> bool:
        return solve_bases(mats, mats, image, p, rng) is not None

    inner, order_inner = automorphism_generators(colours, check)
    generators += inner
    kind_of += [(0, False)] * len(inner)
    kinds = [(0, False)]
    for kind in _allowed(encoder.format, encoder.format)[1:]:
        moved = twist(mats, kind)

        def check_moved(image: Array, moved: FactorMatrices = moved) -> bool:
            return solve_bases(moved, mats, image, p, rng) is not None

        image = first_valid(pair_colours(moved, p), colours, [], check_moved)
        if image is not None:
            kinds.append(kind)
            generators.append(image)
            kind_of.append(kind)
    order = group_order(generators)
    exact: list[Transformation | None] = []
    for g, kind in zip(generators, kind_of, strict=True):
        bases = solve_bases(twist(mats, kind), mats, g, p, rng)
        exact.append(_exact(encoder, encoder, bases, kind, p)[0] if bases else None)
    left = set(range(encoder.rank))
    orbits = []
    while left:
        piece = orbit(min(left), generators)
        orbits.append(tuple(sorted(piece)))
        left -= piece
    orbits.sort(key=lambda o: (-len(o), o))
    return Stabiliser(
        order,
        order_inner,
        tuple(kinds),
        describe_group(generators),
        describe_group(inner),
        generators,
        kind_of,
        tuple(orbits),
        p,
        sum(e is not None for e in exact),
        exact,
    )


def describe_group(generators: list[Array]) -> str:
    """Return the name of a permutation group: GAP's structure description up to order 63, else invariants.

    Above order 63 direct products of two smaller groups with the same element orders and class sizes are
    recognised; otherwise order, orders of centre and derived subgroup are given.
    """
    order = group_order(generators)
    if order == 1:
        return "1"
    from stl_algebra.groups.generate import permutation_group
    from stl_algebra.groups.table import MAX_ORDER

    if order > min(MAX_ORDER, 2000):
        return f"order {order}"
    group = permutation_group([[int(i) for i in g] for g in generators])
    name = _small_name(group)
    if name:
        return name
    centre, derived = len(group.centre), len(group.derived_subgroup)
    return f"order {order}, centre {centre}, derived subgroup {derived}"


def _fingerprint(group: Any) -> tuple[Any, ...]:
    """Return element orders, class data and squares: enough to tell most small groups apart."""
    orders = group.element_orders
    classes = group.classes
    square = Counter(int(group.table[i, i]) for i in range(len(group)))
    roots = tuple(sorted(Counter((int(orders[i]), n) for i, n in square.items()).items()))
    members = sorted((len(classes.members(i)), int(orders[classes.members(i)[0]])) for i in range(len(classes)))
    return (
        tuple(sorted(Counter(orders.tolist()).items())),
        tuple(members),
        roots,
        len(group.centre),
        len(group.derived_subgroup),
    )


def _small_name(group: Any) -> str:
    """Return the structure description of a group of order ≤ 63, or of a product of two such groups."""
    from stl_algebra.groups.products import direct_product
    from stl_algebra.groups.smallgroups import (
        MAX_SMALL_ORDER,
        number_of_small_groups,
        small_group,
        small_group_description,
    )

    order, goal = len(group), _fingerprint(group)
    if order <= MAX_SMALL_ORDER:
        names = [
            small_group_description(order, i)
            for i in range(1, number_of_small_groups(order) + 1)
            if _fingerprint(small_group(order, i)) == goal
        ]
        return " or ".join(names)
    for a in range(2, MAX_SMALL_ORDER + 1):
        if order % a or order // a > MAX_SMALL_ORDER or a > order // a or order > 600:
            continue
        for i in range(1, number_of_small_groups(a) + 1):
            for j in range(1, number_of_small_groups(order // a) + 1):
                one, two = small_group(a, i), small_group(order // a, j)
                if len(one.centre) * len(two.centre) == goal[3] and _fingerprint(direct_product(one, two)) == goal:
                    return f"{small_group_description(a, i)} x {small_group_description(order // a, j)}"
    return ""


def signature(encoder: Encoder) -> tuple[Any, ...]:
    """Return an invariant of the equivalence class: rank triples and pair colours, independent of term order."""
    view, p = prime_view(encoder)
    fmt = encoder.format
    mats = factor_matrices(view)
    best = min(tuple(np.sort(pair_colours(twist(mats, k), p).ravel()).tolist()) for k in _allowed(fmt, fmt))
    triples = Counter(tuple(sorted(t)) for t in rank_triples(encoder).tolist())
    return fmt, encoder.rank, tuple(sorted(triples.items())), hash(best)
