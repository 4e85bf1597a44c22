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
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, permutations
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.generate import table_from_right_multiplication
from stl_algebra.groups.table import MAX_ORDER, FiniteGroup

__all__ = ["MAX_PAIRS", "Action", "Element", "fingerprint"]

Array = np.ndarray[Any, np.dtype[Any]]
SLOTS = ((0, 1), (1, 2), (2, 0))  # the spaces of each slot in trace form; the last is stored transposed
MAX_PAIRS = 1100  # order up to which names compare pairs of elements
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: digests are typed by hand


@dataclass(frozen=True, eq=False)
class Element:
    """One symmetry: slot s of a term goes to slot ``slots[s]`` by the matrix ``maps[s]``."""

    slots: tuple[int, int, int]
    maps: tuple[Array, Array, Array]


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
    build: Callable[[], tuple[Array, Array, Array]]

    @classmethod
    def from_generators(
        cls,
        fmt: Sequence[int],
        generators: Sequence[tuple[Sequence[int], Sequence[Any]]],
        name: str = "",
        limit: int = MAX_ORDER,
    ) -> Action:
        """The group that explicit symmetries generate, matrices counted up to scalars.

        Parameters
        ----------
        fmt : (int, int, int)
        generators : sequence of (tau, matrices)
            ``tau`` says where the three spaces go, (0, 1, 2) for a change of basis; ``matrices[i]`` is the unitary
            matrix from space i to space tau[i].
        name : str
            Of the group; its order when missing.
        limit : int
            Largest order accepted.

        Raises
        ------
        StlError
            For matrices that are not unitary or do not fit, or a group that does not close within `limit`.

        >>> turn = [[0, -1], [1, 0]]
        >>> Action.from_generators((2, 2, 2), [((1, 2, 0), [[[1, 0], [0, 1]]] * 3), ((0, 1, 2), [turn] * 3)]).order
        6
        """
        return _generated(tuple(fmt), generators, name, limit)

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

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """The group element by element: where each sends the three slots, and by which matrices."""
        return tuple(
            Element((int(t[0]), int(t[1]), int(t[2])), (self.maps[0][g], self.maps[1][g], self.maps[2][g]))
            for g, t in enumerate(self.slots)
        )

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


def _generated(
    fmt: tuple[int, ...], generators: Sequence[tuple[Sequence[int], Sequence[Any]]], name: str, limit: int
) -> Action:
    taus = np.array([t for t, _ in generators]).reshape(-1, 3)
    steps = [[np.asarray(m[i]) for _, m in generators] for i in range(3)]
    for k, where in enumerate(taus.tolist()):
        if sorted(where) != [0, 1, 2] or any(fmt[i] != fmt[j] for i, j in enumerate(where)):
            raise StlError(f"generators[{k}]", where, f"a permutation of the spaces that keeps the format {fmt}")
        for i in range(3):
            m = steps[i][k]
            if m.shape != (fmt[i], fmt[i]) or np.abs(m @ m.conj().T - np.eye(fmt[i])).max() > 1e-8:
                raise StlError(f"generators[{k}]", m.tolist(), f"a unitary {fmt[i]}×{fmt[i]} matrix for space {i + 1}")
    is_complex = any(np.iscomplexobj(m) for column in steps for m in column)
    kind = np.complex128 if is_complex else np.float64

    def normal(m: Array) -> Array:
        """Matrices with a positive first entry: what they are up to scalars."""
        flat = m.reshape(len(m), -1)
        first = flat[np.arange(len(m)), (np.abs(flat) > 0.01).argmax(axis=1)]
        return np.asarray(m * (first.conj() / np.abs(first))[:, None, None])

    def keys(tau: Array, mats: Sequence[Array]) -> list[bytes]:
        flat = [np.rint(view * 2.0**18 + 0.3) for m in mats for view in ((m.real, m.imag) if is_complex else (m,))]
        rows = np.concatenate([tau, *(f.reshape(len(f), -1) for f in flat)], axis=1).astype(np.int32)
        return [row.tobytes() for row in rows]

    tau: Array = np.arange(3)[None]
    mats: list[Array] = [np.eye(d, dtype=kind)[None] for d in fmt]
    index = {keys(tau, mats)[0]: 0}
    words = [""]
    everything: list[tuple[Array, list[Array]]] = [(tau, mats)]
    moves: list[list[int]] = [[] for _ in generators]
    while len(tau):
        images, first = [], len(index) - len(tau)
        for k in range(len(generators)):  # (g·s): first s, then g; g acts on a dual space by the conjugate matrix
            t = taus[k]
            bar = bool(_is_odd(t[None])[0])
            moved = [np.empty_like(m) for m in mats]
            for i in range(3):
                outer = mats[int(t[i])]
                moved[i] = normal((outer.conj() if bar else outer) @ steps[i][k])
            images.append((tau[:, t], moved, keys(tau[:, t], moved)))
        fresh_tau: list[Array] = []
        fresh: list[list[Array]] = [[], [], []]
        for row in range(len(tau)):
            for k, (t_new, m_new, key) in enumerate(images):
                if key[row] not in index:
                    if len(index) == limit:
                        raise StlError(
                            "generators",
                            name or "these",
                            f"a group of at most {limit} elements",
                            "Check the matrices; a rounding error or an irrational angle never closes.",
                        )
                    index[key[row]] = len(index)
                    words.append(words[first + row] + _LETTERS[k % len(_LETTERS)])
                    fresh_tau.append(t_new[row])
                    for i in range(3):
                        fresh[i].append(m_new[i][row])
                moves[k].append(index[key[row]])
        tau = np.array(fresh_tau).reshape(-1, 3)
        mats = [np.array(f, dtype=kind).reshape(-1, d, d) for f, d in zip(fresh, fmt, strict=True)]
        everything.append((tau, mats))
    tau = np.concatenate([t for t, _ in everything])
    x, y, z = (np.concatenate([m[i] for _, m in everything]) for i in range(3))
    spaces = (x, y, z)
    table = table_from_right_multiplication([np.array(m) for m in moves])
    chosen = tuple(dict.fromkeys(int(m[0]) for m in moves if m[0]))
    labels = [_powers(w) for w in words] if len(generators) <= len(_LETTERS) else None
    group = FiniteGroup(table, name or f"order{len(tau)}", labels, chosen, check=False)
    field = "complex" if is_complex else "real"
    digest = fingerprint(group, tau, [_measured(group, tau, m, i, field) for i, m in enumerate(spaces)], fmt, field)
    label = "-".join(str(d) for d in fmt)
    return Action(
        group,
        (fmt[0], fmt[1], fmt[2]),
        field,
        f"{group.name}/{label}/{digest}",
        f"generated by {len(generators)} explicit symmetries",
        tau,
        lambda: spaces,
    )


def _powers(word: str) -> str:
    """A word in generators with powers, e.g. ``a^2b``; the empty one is e."""
    runs = [(letter, len(list(run))) for letter, run in groupby(word)]
    return "".join(letter if k == 1 else f"{letter}^{k}" for letter, k in runs) or "e"


def _measured(group: FiniteGroup, tau: Array, rho: Array, i: int, field: str) -> tuple[Array, Array | None]:
    """What `fingerprint` compares on one space, from its matrices."""
    n = group.order
    mine = np.flatnonzero(tau[:, i] == i)
    some = rho[mine]
    chi = np.trace(some, axis1=1, axis2=2)
    first = np.zeros(n)
    first[mine] = np.abs(chi)
    if field == "real":
        power = np.broadcast_to(np.eye(rho.shape[1]), some.shape).copy()
        sign = np.zeros(len(mine))
        for k in range(1, int(group.element_orders.max()) + 1):
            power = power @ some
            if k == 2:
                first[mine] += 1e3 * np.trace(power, axis1=1, axis2=2)
            there = group.element_orders[mine] == k
            if k % 2 == 0:
                sign[there] = np.sign(power[there, 0, 0])
        if group.exponent == 1:
            first[mine] += 1e3 * rho.shape[1]
        first[mine] += 1e6 * sign
    if n > MAX_PAIRS:
        return first, None
    pair = np.zeros((n, n), dtype=complex)
    inner = np.einsum("gij,hji->gh", some, some)
    commute = (group.table == group.table.T)[np.ix_(mine, mine)]
    swap = (
        np.einsum(
            "gij,hjk,gkl,hli->gh",
            some,
            some,
            some.conj().transpose(0, 2, 1),
            some.conj().transpose(0, 2, 1),
            optimize=True,
        )
        / rho.shape[1]
    )
    pair[np.ix_(mine, mine)] = chi[:, None] * chi[None, :] * inner.conj() + 1000 * np.where(commute, swap, 0)
    return first, pair


def _target(n: int, m: int, p: int) -> Array:
    out = np.zeros((n, m, m, p, n, p))
    i, k, j = np.meshgrid(range(n), range(m), range(p), indexing="ij")
    out[i, k, k, j, i, j] = 1
    return out.reshape(n * m, m * p, n * p)


def _is_odd(tau: Array) -> Array:
    return np.asarray((tau == np.arange(3)).sum(axis=1) == 1)


def fingerprint(
    group: FiniteGroup, tau: Array, invariants: Sequence[tuple[Array, Array | None]], fmt: Sequence[int], field: str
) -> str:
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
        pairs = [
            None
            if second is None
            else _mix(_integers(second.real) + 7 * _mix(_integers(-second.imag if bar else second.imag)))
            for _, second in invariants
        ]
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
