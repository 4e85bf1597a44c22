"""Finite groups acting on a bilinear target by isometries of its three slots.

An element sends slot s to slot π(s) by a unitary matrix M_s, hence a term x⁰⊗x¹⊗x² to the term whose slot π(s)
is M_s x^s.  For matrix multiplication these are the changes of basis (A, B, C) ↦ (PAQ⁻¹, QBR⁻¹, PCR⁻¹), the
cyclic shift of the trace form and the transpose reversal (Burichenko 2015 describes the whole isotropy group).
Elements that act alike on tensors are one element: matrices matter up to scalars with product one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .parametrisation import dense_target, trace_shift

__all__ = ["Action", "Element", "conjugation", "cyclic_shift", "generate", "transpose_reversal"]

Array = NDArray[Any]
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Element:
    """One symmetry: slot s goes to slot ``slots[s]`` by the matrix ``maps[s]``."""

    slots: tuple[int, int, int]
    maps: tuple[Array, Array, Array]

    def __matmul__(self, other: Element) -> Element:
        """The product: first `other`, then this element."""
        slots = tuple(self.slots[other.slots[s]] for s in range(3))
        maps = tuple(self.maps[other.slots[s]] @ other.maps[s] for s in range(3))
        return Element(slots, maps)  # type: ignore[arg-type]

    def apply(self, term: Sequence[Array]) -> list[Array]:
        """Image of a term (three vectors)."""
        out: list[Array] = [np.empty(0)] * 3
        for s in range(3):
            out[self.slots[s]] = self.maps[s] @ term[s]
        return out

    def apply_tensor(self, tensor: Array) -> Array:
        """Image of an (a, b, c) tensor."""
        moved = np.einsum("abc,xa,yb,zc->xyz", tensor, *self.maps, optimize=True)
        return np.transpose(moved, np.argsort(self.slots))


def _unitary(name: str, matrix: Any, size: int) -> Array:
    array = np.asarray(matrix)
    if array.shape != (size, size):
        raise StlError(name, f"shape {array.shape}", f"a {size}×{size} matrix", "match the format")
    if np.abs(array.conj().T @ array - np.eye(size)).max() > TOLERANCE:
        raise StlError(name, "a matrix that is not unitary", "a unitary (orthogonal) matrix", "change the basis")
    return array


def conjugation(p: Any, q: Any, r: Any) -> Element:
    """Change of basis (A, B, C) ↦ (PAQ⁻¹, QBR⁻¹, PCR⁻¹) by unitary P (n×n), Q (m×m), R (p×p).

    On coefficient matrices U ↦ PUQ⁻¹, V ↦ QVR⁻¹ and, as D reads vec(C) with the dual pairing, W ↦ P̄WRᵀ.
    """
    mats = [_unitary(name, x, len(np.asarray(x))) for name, x in (("P", p), ("Q", q), ("R", r))]
    big_p, big_q, big_r = mats
    return Element(
        (0, 1, 2), (np.kron(big_p, big_q.conj()), np.kron(big_q, big_r.conj()), np.kron(big_p.conj(), big_r))
    )


def cyclic_shift(n: int) -> Element:
    """The shift (u, v, w) ↦ (w, u, v) of the trace form of ⟨n,n,n⟩."""
    s0, s1, s2 = trace_shift(n)
    return Element((1, 2, 0), (s0, s1, s2))


def transpose_reversal(n: int, m: int) -> Element:
    """(AB)ᵀ = BᵀAᵀ for ⟨n,m,n⟩: exchanges slots 0 and 1 and transposes all three."""

    def flip(rows: int, columns: int) -> Array:
        size = rows * columns
        return np.eye(size).reshape(rows, columns, size).transpose(1, 0, 2).reshape(size, size)

    return Element((1, 0, 2), (flip(n, m), flip(m, n), flip(n, n)))


class Action:
    """A finite group of symmetries, closed, with its multiplication table.

    Attributes
    ----------
    elements : tuple of Element
        ``elements[0]`` is the identity.
    table : (|G|, |G|) int array
        ``table[g, h]`` is the index of g·h (first h, then g).
    name : str
    """

    def __init__(self, elements: Sequence[Element], table: Array, name: str) -> None:
        self.elements, self.table, self.name = tuple(elements), table, name

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.elements)

    @property
    def dims(self) -> tuple[int, int, int]:
        """Lengths of the three slots."""
        a, b, c = (m.shape[1] for m in self.elements[0].maps)
        return a, b, c

    @property
    def is_complex(self) -> bool:
        """Whether some matrix is not real."""
        return any(np.iscomplexobj(m) and np.abs(m.imag).max() > TOLERANCE for g in self.elements for m in g.maps)

    def fixes(self, target: Any) -> bool:
        """Whether every element maps the target tensor to itself."""
        dense = dense_target(target)
        return all(np.abs(g.apply_tensor(dense) - dense).max() < 1e-7 for g in self.elements)

    def inverse(self, g: int) -> int:
        """Index of g⁻¹."""
        return int(np.flatnonzero(self.table[g] == 0)[0])

    def __repr__(self) -> str:
        return f"Action⟨{self.name}, order {self.order}⟩"


def generate(generators: Sequence[Element], name: str, limit: int = 512) -> Action:
    """Close a set of generators into an :class:`Action`.

    Raises
    ------
    StlError
        If the closure exceeds `limit` elements (a generator of infinite or large order).
    """
    if not generators:
        raise StlError("generators", "none", "at least one symmetry", "use Free for no symmetry")
    dims = [m.shape[1] for m in generators[0].maps]
    rng = np.random.default_rng(20)
    probe = [rng.standard_normal(d) for d in dims]
    readers = [[rng.standard_normal(d) for d in dims] for _ in range(6)]

    def fingerprint(g: Element) -> Array:
        image = g.apply(probe)
        return np.array([np.prod([r[s] @ image[s] for s in range(3)]) for r in readers])

    identity = Element((0, 1, 2), tuple(np.eye(d) for d in dims))  # type: ignore[arg-type]
    elements, prints = [identity], [fingerprint(identity)]

    def find(g: Element) -> int:
        gaps = np.abs(np.asarray(prints) - fingerprint(g)).max(1) / np.abs(prints[0]).max()
        return int(gaps.argmin()) if gaps.min() < 1e-7 else -1

    at = 0
    while at < len(elements):
        for generator in generators:
            product = generator @ elements[at]
            if find(product) < 0:
                if len(elements) >= limit:
                    raise StlError("generators", name, f"a group of at most {limit} elements", "check the orders")
                elements.append(product)
                prints.append(fingerprint(product))
        at += 1
    table = np.array([[find(g @ h) for h in elements] for g in elements])
    return Action(elements, table, name)
