"""Restriction, induction and double cosets, and Mackey's theorem that joins them.

For subgroups H, K of G and a class function ψ of H,

    Res_K Ind_H^G ψ = Σ_{K g H} Ind_{K ∩ gHg⁻¹}^K  Res (ψ^g),      ψ^g(x) = ψ(g⁻¹ x g),

one term per double coset K g H (Serre, Linear Representations of Finite Groups, §7.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.characters import character_table
from stl_algebra.groups.cyclotomic import Cyclotomic, stack
from stl_algebra.groups.table import FiniteGroup

__all__ = ["DoubleCosets", "MackeyTerm", "branching", "double_cosets", "induce", "mackey", "restrict"]

IntArray = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class DoubleCosets:
    """The sets K g H.

    Attributes
    ----------
    representatives, sizes : int arrays, shape (c,)
        Least element and number of elements of each, in order of the representatives.
    of : int array, shape (|G|,)
        Which double coset holds each element.
    """

    representatives: IntArray
    sizes: IntArray
    of: IntArray

    def __len__(self) -> int:
        return len(self.sizes)


def double_cosets(group: FiniteGroup, left: IntArray, right: IntArray) -> DoubleCosets:
    """Double cosets ``left``·g·``right`` of two subgroups.

    >>> from stl_algebra.groups import group
    >>> s4 = group("S4")
    >>> h = s4.closure([1])
    >>> double_cosets(s4, h, h).sizes.tolist()
    [2, 4, 2, 4, 4, 4, 4]
    """
    left, right = group.require_subgroup(left, "left"), group.require_subgroup(right, "right")
    least = group.table[:, right].min(axis=1).astype(np.int64)  # least element of g·right
    least = least[group.table[left]].min(axis=0)  # over all h·g with h in left
    reps, of, sizes = np.unique(least, return_inverse=True, return_counts=True)
    return DoubleCosets(reps, sizes, of)


def restrict(group: FiniteGroup, subgroup: IntArray, function: Cyclotomic) -> Cyclotomic:
    """A class function (values on ``group.classes``) as one of the subgroup, on the classes of ``group.subgroup``."""
    small, embedding = group.subgroup(group.require_subgroup(subgroup).tolist())
    return character_table(group).restrict(_class_function(function, group), small, embedding)


def induce(group: FiniteGroup, subgroup: IntArray, function: Cyclotomic) -> Cyclotomic:
    """A class function of a subgroup (values on the classes of ``group.subgroup``) induced to the whole group."""
    small, embedding = group.subgroup(group.require_subgroup(subgroup).tolist())
    return character_table(group).induce(_class_function(function, small), small, embedding)


def _class_function(function: Any, group: FiniteGroup) -> Cyclotomic:
    found = function if isinstance(function, Cyclotomic) else Cyclotomic.rational(function)
    if found.shape != (len(group.classes),):
        raise StlError("function", found.shape, f"shape ({len(group.classes)},): one value per class of {group}")
    return found


def branching(group: FiniteGroup, subgroup: IntArray) -> IntArray:
    """Multiplicity of each irreducible character of H in the restriction of each one of G, shape (k_G, k_H).

    By Frobenius reciprocity column j also holds the multiplicities in Ind_H^G ψ_j.

    >>> from stl_algebra.groups import group
    >>> s4 = group("S4")
    >>> branching(s4, s4.derived_subgroup).tolist()
    [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    """
    small, embedding = group.subgroup(group.require_subgroup(subgroup).tolist())
    whole, part = character_table(group), character_table(small)
    return np.stack([part.multiplicities(whole.restrict(whole.values[i], small, embedding)) for i in range(len(whole))])


@dataclass(frozen=True, eq=False)
class MackeyTerm:
    """One double coset's part of Res_K Ind_H ψ.

    Attributes
    ----------
    g : int
        Representative of K g H.
    intersection : int array
        Elements of K ∩ gHg⁻¹.
    character : Cyclotomic
        Ind of ψ^g from there to K, on the classes of ``group.subgroup(K)``.
    """

    g: int
    intersection: IntArray
    character: Cyclotomic


def mackey(group: FiniteGroup, k: IntArray, h: IntArray, function: Cyclotomic) -> list[MackeyTerm]:
    """The terms of Res_K Ind_H^G ψ; their characters add up to it."""
    small, embedding = group.subgroup(group.require_subgroup(h).tolist())
    big, into = group.subgroup(group.require_subgroup(k).tolist())
    psi = _class_function(function, small)
    place = np.full(group.order, -1)
    place[embedding] = np.arange(len(embedding))
    inside = np.full(group.order, -1)
    inside[into] = np.arange(len(into))
    out = []
    for g in double_cosets(group, into, embedding).representatives:
        back = group.conjugate(int(group.inverse[g]), into)  # g⁻¹ x g for x in K
        meet = np.flatnonzero(place[back] >= 0)
        part, within = big.subgroup(meet.tolist())
        moved = psi[small.classes.of[place[back[within[part.classes.representatives]]]]]
        out.append(MackeyTerm(int(g), into[meet], character_table(big).induce(moved, part, within)))
    return out


def total(terms: list[MackeyTerm]) -> Cyclotomic:
    """Sum of the characters of the terms."""
    return stack([t.character for t in terms]).sum(0)
