"""Linear parametrisations of the factors: free, and tied along the orbits of a finite symmetry group.

Every parametrisation is a linear map θ ↦ (E_X, E_W, D).  It is assembled from *orbit types*: the terms
(rank-one tensors) of one orbit are all images of one representative, and the representative itself is a
linear function of a few vectors.  The optimiser needs nothing else: no Jacobian is ever formed, only Grams
between the representatives and all terms (see :mod:`search.lm.assembly`).

Layout of θ.  Orbit types come one after another; within a type its *blocks* (independent vectors of the
representative) come one after another; within a block the `count` copies of the orbit, each `width` numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

__all__ = ["CyclicZ3", "Free", "OrbitType", "Parametrisation", "dense_target", "trace_shift"]

Array = NDArray[Any]


@dataclass(frozen=True)
class OrbitType:
    """One way a rank-one term can sit in an orbit.

    Attributes
    ----------
    name : str
        What it is (:func:`stl_algebra.symmetry.term_types`), e.g. ``"1:<a>:+"``.
    maps : tuple of tuple of (int, array)
        ``maps[j][s] = (block, M)``: slot `s` (0: E_X, 1: E_W, 2: D) of term `j` of the orbit is ``M @ y_block``
        with M of shape (dim_s, width_block).  Term 0 is the representative.
    widths : tuple of int
        Number of unknowns in each block.

    Examples
    --------
    >>> one = OrbitType("1", (((0, np.eye(2)), (1, np.eye(2)), (2, np.eye(2))),), (2, 2, 2))
    >>> one.size, one.unknowns
    (1, 6)
    """

    name: str
    maps: tuple[tuple[tuple[int, Array], tuple[int, Array], tuple[int, Array]], ...]
    widths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of terms in the orbit."""
        return len(self.maps)

    @property
    def unknowns(self) -> int:
        """Number of unknowns of one orbit."""
        return sum(self.widths)

    @property
    def weights(self) -> tuple[float, ...]:
        """Squared norm of the factors per squared norm of each block (maps are multiples of isometries)."""
        total = np.zeros(len(self.widths))
        for term in self.maps:
            for block, matrix in term:
                total[block] += float(np.linalg.norm(matrix) ** 2) / self.widths[block]
        return tuple(float(x) for x in total)

    @property
    def is_complex(self) -> bool:
        """Whether a map has non-real entries."""
        return any(np.iscomplexobj(m) and bool(np.abs(m.imag).max() > 1e-12) for t in self.maps for _, m in t)


class Parametrisation:
    """Factors tied along orbits: ``orbits`` is a sequence of (orbit type, number of copies).

    Parameters
    ----------
    dims : (int, int, int)
        Lengths a, b, c of the three slots.
    orbits : sequence of (OrbitType, int)
        The orbit-type multiset; zero counts are dropped.
    label : str
        Shown in tables.
    field : {"real", "complex"}
        Field of the unknowns.

    Attributes
    ----------
    rank : int
        Σ count · orbit size.
    size : int
        Number of unknowns.
    """

    def __init__(
        self,
        dims: Sequence[int],
        orbits: Sequence[tuple[OrbitType, int]],
        label: str = "",
        field: str = "real",
    ) -> None:
        if field not in ("real", "complex"):
            raise StlError("field", field, "real, complex", "choose one of the two")
        self.dims = (int(dims[0]), int(dims[1]), int(dims[2]))
        for orbit, count in orbits:
            if count < 0:
                raise StlError("count", count, "0, 1, 2, …", f"use a non-negative number of orbits {orbit.name}")
        self.orbits = tuple((o, int(k)) for o, k in orbits if k > 0)
        self.field = field
        if not self.orbits:
            raise StlError("orbits", "no orbit at all", "at least one orbit", "raise a count above zero")
        for orbit, _ in self.orbits:
            if field == "real" and orbit.is_complex:
                raise StlError("field", field, "complex", f"orbit type {orbit.name} has complex maps")
            for term in orbit.maps:
                for s, (block, matrix) in enumerate(term):
                    if matrix.shape != (self.dims[s], orbit.widths[block]):
                        raise StlError(
                            "orbits",
                            f"{orbit.name}: map of shape {matrix.shape} in slot {s}",
                            f"shape {(self.dims[s], orbit.widths[block])}",
                            "check the order of the three slots",
                        )
        self.rank = sum(o.size * k for o, k in self.orbits)
        self.size = sum(o.unknowns * k for o, k in self.orbits)
        self.label = label or "+".join(f"{k}×{o.name}[{o.size}]" for o, k in self.orbits)

    @property
    def dtype(self) -> type[np.generic]:
        """Numpy dtype of θ."""
        return np.complex128 if self.field == "complex" else np.float64

    def offsets(self) -> list[list[int]]:
        """Start of each block in θ, per orbit type."""
        out, at = [], 0
        for orbit, count in self.orbits:
            row = []
            for width in orbit.widths:
                row.append(at)
                at += width * count
            out.append(row)
        return out

    def metric(self) -> Array:
        """Weights w (size,) with Σ w θ² = (‖E_X‖² + ‖E_W‖² + ‖D‖²)/3: the norm all penalties use.

        The third makes a penalty mean the same for the free parametrisation and for the Z₃-invariant one,
        where it is the plain ‖θ‖².
        """
        parts = [
            np.full(width * count, weight / 3.0)
            for orbit, count in self.orbits
            for width, weight in zip(orbit.widths, orbit.weights, strict=True)
        ]
        return np.concatenate(parts)

    def expand(self, theta: Array) -> tuple[Array, Array, Array]:
        """Factors of a batch of parameter vectors.

        Parameters
        ----------
        theta : (R, size) or (size,) array

        Returns
        -------
        e_x, e_w, d : arrays (R, r, a), (R, r, b), (R, c, r); without R for a single θ.
        """
        theta = np.asarray(theta)
        batch = theta.reshape(-1, self.size)
        slots: list[list[Array]] = [[], [], []]
        for (orbit, count), starts in zip(self.orbits, self.offsets(), strict=True):
            blocks = [
                batch[:, at : at + width * count].reshape(-1, count, width)
                for at, width in zip(starts, orbit.widths, strict=True)
            ]
            for s in range(3):
                images = [blocks[term[s][0]] @ term[s][1].T for term in orbit.maps]
                stacked = np.stack(images, axis=2)
                slots[s].append(stacked.reshape(len(batch), count * orbit.size, self.dims[s]))
        e_x, e_w, d = (np.concatenate(part, axis=1) for part in slots)
        d = d.transpose(0, 2, 1)
        return (e_x[0], e_w[0], d[0]) if theta.ndim == 1 else (e_x, e_w, d)

    def __repr__(self) -> str:
        return f"{type(self).__name__}⟨{self.label}: rank {self.rank}, {self.size} {self.field} unknowns⟩"


def dense_target(target: Any) -> Array:
    """Dense (a, b, c) array of a target: a `stl_algebra` Target (anything with ``.dense()``) or an array.

    Raises
    ------
    StlError
        For an array that is not three-dimensional or not finite.

    Examples
    --------
    >>> from stl_algebra.targets import matmul
    >>> dense_target(matmul(2, 2, 3)).shape
    (4, 6, 6)
    """
    dense = np.asarray(target.dense() if hasattr(target, "dense") else target)
    if dense.ndim != 3 or 0 in dense.shape:
        raise StlError("target", f"array of shape {dense.shape}", "a non-empty (a, b, c) array", "pass a 3-tensor")
    dense = dense.astype(np.complex128 if np.iscomplexobj(dense) else np.float64)
    if not np.isfinite(dense).all():
        raise StlError("target", "NaN or Inf entries", "finite entries", "clean the tensor first")
    return dense


def trace_shift(n: int) -> list[Array]:
    """Matrices S₀: slot 0 → 1, S₁: slot 1 → 2, S₂: slot 2 → 0 of the cyclic shift of ⟨n,n,n⟩.

    In the trace form tr(ABC) the shift is (u, v, w) ↦ (w, u, v); as D is stored for C and not for Cᵀ,
    entering or leaving slot 2 transposes.

    Examples
    --------
    >>> [m.shape for m in trace_shift(2)]
    [(4, 4), (4, 4), (4, 4)]
    """
    one = np.eye(n * n)
    transpose = one.reshape(n, n, n * n).transpose(1, 0, 2).reshape(n * n, n * n)
    return [one, transpose, transpose]


class Free(Parametrisation):
    """No symmetry: r independent terms, θ = (E_X, E_W, Dᵀ), (a + b + c)·r unknowns.

    Examples
    --------
    >>> from search.lm.problem import matmul_tensor
    >>> Free(matmul_tensor(2, 2, 2), 7)
    Free⟨free[7]: rank 7, 84 real unknowns⟩
    """

    def __init__(self, target: Any, r: int, field: str = "real") -> None:
        if r < 1:
            raise StlError("r", r, "1, 2, …", "ask for at least one term")
        dims = dense_target(target).shape
        one = (0, np.eye(dims[0])), (1, np.eye(dims[1])), (2, np.eye(dims[2]))
        super().__init__(dims, [(OrbitType("1", (one,), tuple(dims)), r)], f"free[{r}]", field)


class CyclicZ3(Parametrisation):
    """Invariant under the cyclic shift of ⟨t,t,t⟩: `s` fixed terms a⊗a⊗a and `m` orbits of three.

    The rank is s + 3m and the unknowns are t²·(s + 3m), a third of the free ones.  Vectors are kept in the
    trace form, the slot-2 maps transpose (see :func:`trace_shift`).

    Examples
    --------
    >>> CyclicZ3(3, 11, 4)
    CyclicZ3⟨Z3(11,4): rank 23, 207 real unknowns⟩
    """

    def __init__(self, t: int, s: int, m: int, field: str = "real") -> None:
        if t < 1:
            raise StlError("t", t, "1, 2, …", "use a positive tile size")
        one, _, transpose = trace_shift(t)
        a = t * t
        fixed = OrbitType("1:<a>:+", (((0, one), (0, one), (0, transpose)),), (a,))
        terms = tuple(((-j % 3, one), ((1 - j) % 3, one), ((2 - j) % 3, transpose)) for j in range(3))
        orbit = OrbitType("3", terms, (a, a, a))
        super().__init__((a, a, a), [(fixed, s), (orbit, m)], f"Z3({s},{m})", field)
        self.s, self.m = s, m
