"""Isomorphisms of edge-coloured complete graphs by refinement and individualisation, and permutation groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .invariants import mix

__all__ = ["automorphism_generators", "group_order", "isomorphisms", "orbit"]

Array = NDArray[Any]
Check = Callable[[Array], bool]
LEAVES = 4000  # candidates that fail the check before a branch is given up


def _refine(colours: Array, start: Array) -> Array:
    """Return the stable vertex colouring (64-bit hashes) that refines ``start``."""
    state = start
    cells = len(np.unique(state))
    with np.errstate(over="ignore"):
        while True:
            seen = mix(colours * np.uint64(13) + state[None, :])
            state = mix(state * np.uint64(17) + seen.sum(axis=1, dtype=np.uint64))
            now = len(np.unique(state))
            if now == cells:
                return state
            cells = now


def _mark(state: Array, vertex: int) -> Array:
    """Return the colouring with one vertex singled out."""
    with np.errstate(over="ignore"):
        out = state.copy()
        out[vertex] = mix(out[vertex : vertex + 1] + np.uint64(0xABCDEF))[0]
    return out


def isomorphisms(one: Array, two: Array, fixed: list[tuple[int, int]]) -> Iterator[Array]:
    """Yield vertex maps π (image rows) that respect two pair colourings and send a to b for (a, b) in fixed."""
    a = _refine(one, one.diagonal().copy())
    b = _refine(two, two.diagonal().copy())
    for x, y in fixed:
        if a[x] != b[y]:
            return
        a, b = _refine(one, _mark(a, x)), _refine(two, _mark(b, y))
    yield from _descend(one, two, a, b)


def _descend(one: Array, two: Array, a: Array, b: Array) -> Iterator[Array]:
    if not np.array_equal(np.sort(a), np.sort(b)):
        return
    values, counts = np.unique(a, return_counts=True)
    if counts.max() == 1:
        order = np.argsort(b)
        image: Array = order[np.searchsorted(b[order], a)]
        if np.array_equal(two[np.ix_(image, image)], one):
            yield image
        return
    cell = values[counts > 1][counts[counts > 1].argmin()]
    x = int(np.flatnonzero(a == cell)[0])
    marked = _refine(one, _mark(a, x))
    for y in np.flatnonzero(b == cell):
        yield from _descend(one, two, marked, _refine(two, _mark(b, int(y))))


def first_valid(one: Array, two: Array, fixed: list[tuple[int, int]], check: Check) -> Array | None:
    """Return the first isomorphism that passes the check, or None."""
    for tried, image in enumerate(isomorphisms(one, two, fixed)):
        if check(image):
            return image
        if tried >= LEAVES:
            return None
    return None


def orbit(point: int, generators: list[Array]) -> set[int]:
    """Return the orbit of a point under image rows."""
    seen, queue = {point}, [point]
    while queue:
        x = queue.pop()
        for g in generators:
            y = int(g[x])
            if y not in seen:
                seen.add(y)
                queue.append(y)
    return seen


def automorphism_generators(colours: Array, check: Check) -> tuple[list[Array], int]:
    """Return strong generators and the order of the group of colour-preserving maps that pass the check.

    The stabiliser chain along a base is built from its end: on every level one map is sought for each
    point of the base point's cell that the maps found so far do not reach.
    """
    base: list[int] = []
    states = [_refine(colours, colours.diagonal().copy())]
    while True:
        values, counts = np.unique(states[-1], return_counts=True)
        if counts.max() == 1:
            break
        cell = values[counts > 1][counts[counts > 1].argmin()]
        base.append(int(np.flatnonzero(states[-1] == cell)[0]))
        states.append(_refine(colours, _mark(states[-1], base[-1])))
    found: list[Array] = []
    order = 1
    for level in range(len(base) - 1, -1, -1):
        x, state = base[level], states[level]
        reached = orbit(x, found)
        for y in map(int, np.flatnonzero(state == state[x])):
            if y in reached:
                continue
            fixed = [(b, b) for b in base[:level]] + [(x, y)]
            image = first_valid(colours, colours, fixed, check)
            if image is not None:
                found.append(image)
                reached = orbit(x, found)
        order *= len(reached)
    return found, order


def group_order(generators: list[Array]) -> int:
    """Return the order of a permutation group (Schreier–Sims through SymPy)."""
    if not generators:
        return 1
    from sympy.combinatorics import Permutation, PermutationGroup

    return int(PermutationGroup([Permutation([int(i) for i in g]) for g in generators]).order())
