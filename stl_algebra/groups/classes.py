"""Conjugacy classes from the permutations by which generators conjugate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ConjugacyClasses", "conjugacy_classes"]

IntArray = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class ConjugacyClasses:
    """Conjugacy classes, ordered by element order, then size, then smallest element (identity first).

    Attributes
    ----------
    of : int array, shape (|G|,)
        Class index of every element.
    representatives, sizes, orders : int arrays, shape (k,)
        Smallest element, number of elements and common element order of each class.
    inverse : int array, shape (k,)
        Class of the inverses.
    """

    of: IntArray
    representatives: IntArray
    sizes: IntArray
    orders: IntArray
    inverse: IntArray

    def __len__(self) -> int:
        return len(self.sizes)

    def members(self, index: int) -> IntArray:
        """Sorted elements of one class."""
        return np.flatnonzero(self.of == index)


def conjugacy_classes(moves: Sequence[IntArray], orders: IntArray, inverse: IntArray) -> ConjugacyClasses:
    """The classes of a group.

    Parameters
    ----------
    moves : sequence of int arrays, shape (|G|,)
        For each generator s the number of s·g·s⁻¹ for every element g.
    orders, inverse : int arrays, shape (|G|,)
        Order and number of the inverse of every element.

    Examples
    --------
    >>> line = np.arange(3)
    >>> conjugacy_classes([line], np.array([1, 3, 3]), np.array([0, 2, 1])).inverse.tolist()
    [0, 2, 1]
    """
    line = np.arange(len(orders))
    least = line
    while True:  # every element learns the least element of its orbit; pointer jumping keeps rounds few
        new = least
        for move in moves:
            new = np.minimum(new, new[move])
            np.minimum.at(new, move, new[line])
        new = new[new]
        if np.array_equal(new, least):
            break
        least = new
    reps, of, sizes = np.unique(least, return_inverse=True, return_counts=True)
    order = np.lexsort((reps, sizes, orders[reps]))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    of, reps, sizes = place[of], reps[order], sizes[order]
    return ConjugacyClasses(of, reps, sizes, orders[reps], of[inverse[reps]])
