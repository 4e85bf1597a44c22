"""Finite groups acting on matrix multiplication ⟨n,m,p⟩, given by what they do to the three spaces.

With spaces V1, V2, V3 of dimensions n, m, p the three slots are V1⊗V2*, V2⊗V3* and, stored untransposed, V3⊗V1*.  An
element g moves space i to space τ(g)(i) by an orthogonal (unitary) matrix; odd τ(g) are transpositions, which lead to
the dual spaces.  So a change of basis (A, B, C) ↦ (PAQ⁻¹, QBR⁻¹, PCR⁻¹) is τ = 1 with matrices P, Q, R; the cyclic
shift is τ = (123); A ↦ S Aᵀ S⁻¹ … is τ = (13) with S on the second space.  Matrices count up to scalars, which cancel
in the slots, so the spaces carry projective representations with independent classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.table import FiniteGroup

__all__ = ["Action", "fingerprint"]

Array = np.ndarray[Any, np.dtype[Any]]
SLOTS = ((0, 1), (1, 2), (2, 0))  # the spaces of each slot in trace form; the last is stored transposed
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: digests are typed by hand


@dataclass(frozen=True, eq=False)
class Action:
    """A finite group of isometries of ⟨n,m,p⟩ that permute encoders' terms.

    Attributes
    ----------
    group : FiniteGroup
        Element 0 is the identity; ``group.table[g, h]`` means first h, then g.
    format : (int, int, int)
    field : {"real", "complex"}
    name : str
        ``GROUP/REPS/DIGEST`` or ``GROUP/TWIST/REPS/DIGEST``: the group, how it permutes the spaces (T transposition,
        Z3 shift, S3 both), the degrees of the irreducible summands on each space (``~`` not linear, ``c`` complex and
        ``q`` quaternionic type), and a digest of the eigenvalues of all elements.  None of it depends on the place in
        an enumeration.
    words : str
        The same in English.
    tau : int array, shape (|G|, 3)
        ``tau[g, i]`` is the space to which g moves space i.
    build : callable
        Returns the three stacks of matrices of `spaces`.
    """

    group: FiniteGroup
    format: tuple[int, int, int]
    field: str
    name: str
    words: str
    tau: Array
    build: Callable[[], tuple[Array, Array, Array]] = field(repr=False)

    @property
    def order(self) -> int:
        """Number of elements."""
        return self.group.order

    @cached_property
    def spaces(self) -> tuple[Array, Array, Array]:
        """Matrices from space i to space tau[g, i]: three stacks of shape (|G|, d_i, d_i), float64 or complex128."""
        return self.build()

    @cached_property
    def slots(self) -> Array:
        """Slot to which g moves slot s, shape (|G|, 3)."""
        out = np.empty((self.order, 3), dtype=np.int64)
        for g, tau in enumerate(self.tau):
            for s, pair in enumerate(SLOTS):
                image = {int(tau[pair[0]]), int(tau[pair[1]])}
                out[g, s] = next(t for t, other in enumerate(SLOTS) if set(other) == image)
        return out

    @cached_property
    def maps(self) -> tuple[Array, Array, Array]:
        """Matrix of g from slot s to slot ``slots[g, s]``: three stacks of shape (|G|, d, d), acting on E_X, E_W, D."""
        n = self.format
        out = []
        for s, (i, j) in enumerate(SLOTS):
            stack = np.einsum("gac,gbd->gabcd", self.spaces[i], self.spaces[j].conj())
            if s == 2:  # stored as (first space, third space)
                stack = stack.transpose(0, 1, 2, 4, 3)
            odd = _is_odd(self.tau)
            flip = odd != (self.slots[:, s] == 2)
            size = n[i] * n[j]
            stack = np.ascontiguousarray(stack)
            result = np.empty((self.order, size, size), dtype=stack.dtype)
            result[~flip] = stack[~flip].reshape(-1, size, size)
            result[flip] = stack[flip].transpose(0, 2, 1, 3, 4).reshape(-1, size, size)
            out.append(result)
        return out[0], out[1], out[2]

    @property
    def dims(self) -> tuple[int, int, int]:
        """Lengths of the three slots."""
        n, m, p = self.format
        return n * m, m * p, n * p

    @cached_property
    def is_complex(self) -> bool:
        """Whether some slot matrix is not real."""
        return any(np.iscomplexobj(m) and bool(np.abs(m.imag).max() > 1e-9) for m in self.maps)

    def apply(self, g: int, term: Sequence[Array]) -> list[Array]:
        """Image of a rank-one term (three vectors) under element g."""
        out: list[Array] = [np.empty(0)] * 3
        for s in range(3):
            out[int(self.slots[g, s])] = self.maps[s][g] @ term[s]
        return out

    def verify(self, seed: int = 0) -> float:
        """Largest violation of the laws on generators: isometry, g·(h·t) = (gh)·t on tensors, and the target fixed.

        Rank-one tensors are compared through random linear forms; 1e-9 is exact to rounding.
        """
        rng = np.random.default_rng(seed)
        term = [rng.normal(size=d) for d in self.dims]
        forms = [[rng.normal(size=d) for d in self.dims] for _ in range(4)]

        def read(t: Sequence[Array]) -> Array:
            return np.array([np.prod([f[s] @ t[s] for s in range(3)]) for f in forms])

        n, m, p = self.format
        target = _target(n, m, p)
        worst = 0.0
        for g in self.group.generators or (0,):
            moved = np.einsum("abc,xa,yb,zc->xyz", target, *(self.maps[s][g] for s in range(3)), optimize=True)
            worst = max(worst, float(np.abs(moved.transpose(np.argsort(self.slots[g])) - target).max()))
            for s in range(3):
                matrix = self.maps[s][g]
                worst = max(worst, float(np.abs(matrix @ matrix.conj().T - np.eye(len(matrix))).max()))
            for h in range(self.order):
                left = read(self.apply(int(g), self.apply(h, term)))
                right = read(self.apply(int(self.group.table[g, h]), term))
                worst = max(worst, float(np.abs(left - right).max() / (1 + np.abs(right).max())))
        return worst

    def renamed(self, name: str, words: str | None = None) -> Action:
        """The same action under another name."""
        return replace(self, name=name, words=self.words if words is None else words)

    def __repr__(self) -> str:
        return f"Action({self.name} on ⟨{','.join(map(str, self.format))}⟩, order {self.order})"


def _target(n: int, m: int, p: int) -> Array:
    out = np.zeros((n, m, m, p, n, p))
    i, k, j = np.meshgrid(range(n), range(m), range(p), indexing="ij")
    out[i, k, k, j, i, j] = 1
    return out.reshape(n * m, m * p, n * p)


def _is_odd(tau: Array) -> Array:
    return np.asarray((tau == np.arange(3)).sum(axis=1) == 1)


def fingerprint(group: FiniteGroup, tau: Array, invariants: Sequence[tuple[Array, Array | None]],
                fmt: Sequence[int], field: str) -> str:
    """Five letters that depend only on the action up to equivalence.

    Parameters
    ----------
    group : FiniteGroup
    tau : int array, shape (|G|, 3)
    invariants : three pairs of a float array, shape (|G|,), and a complex array, shape (|G|, |G|), or None
        For each space numbers of elements and of pairs of elements that conjugation and rescaling do not change.
    fmt : (int, int, int)
    field : {"real", "complex"}

    Notes
    -----
    Elements get a colour from their order, τ and invariants; it is refined by the colours of h and gh and the pair
    invariants over all h; the digest is that of the multiset of colours, the least over admissible orders of the
    spaces (and complex conjugation).
    """
    odd = _is_odd(tau).astype(np.int64)
    single = [_mix(_integers(first)) for first, _ in invariants]
    best = None
    for bar in (False, True) if field == "complex" else (False,):
        pairs = [None if second is None else _mix(_integers(second.real) + 7 * _mix(_integers(
            -second.imag if bar else second.imag))) for _, second in invariants]
        for order in _orders(fmt):
            colour = _mix(group.element_orders.astype(np.uint64) + np.uint64(1000) * odd.astype(np.uint64))
            for k, i in enumerate(order):
                colour = colour + _mix(single[i] + np.uint64(k + 1))
            colour = _mix(colour)
            if pairs[0] is not None:
                total = _mix(colour)[None, :] + np.uint64(3) * colour[group.table]
                for k, i in enumerate(order):
                    total = total + _mix(np.asarray(pairs[i]) + np.uint64(k + 11))
                colour = _mix(colour + _mix(total).sum(axis=1, dtype=np.uint64))
            value = int(_mix(colour).sum(dtype=np.uint64))
            best = value if best is None or value < best else best
    assert best is not None
    digest = int(hashlib.sha256(str(best).encode()).hexdigest(), 16)
    return "".join(_LETTERS[digest // len(_LETTERS) ** i % len(_LETTERS)] for i in range(5))


def _integers(values: Array) -> Array:
    return np.rint(np.asarray(values) * 1e4 + 0.25).astype(np.int64).astype(np.uint64)


def _mix(values: Array) -> Array:
    """Scramble 64-bit integers (splitmix64), so that sums of them tell multisets apart."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _orders(fmt: Sequence[int]) -> list[tuple[int, ...]]:
    return [p for p in permutations(range(3)) if all(fmt[i] == fmt[j] for i, j in enumerate(p))]
