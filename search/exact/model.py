"""The polynomial system a bilinear algorithm satisfies, with tied terms and a scale per orbit.

A term of the sum is written ``λ_l u_l ⊗ v_l ⊗ w_l``. Every entry of u, v, w is one unknown of ``theta``
(several entries may share it: that is how a symmetry ties terms) and every orbit of terms has one
scale λ, so that one entry of every vector can be pinned to 1 and a term fixed by the cyclic shift,
``λ a ⊗ a ⊗ a``, needs no cube root of λ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from stl_algebra.errors import StlError

__all__ = ["Model", "Tying", "free_tying", "square_side", "z3_tying"]

Array = NDArray[Any]
EXPLICIT = 2e8  # below this many operations JᵀJ is formed from J itself


@dataclass(frozen=True)
class Tying:
    """Which unknown every factor entry reads.

    Attributes
    ----------
    x, w, d : int arrays (r, a), (r, b), (r, c)
        Unknown read by ``E_X[l, i]``, ``E_W[l, i]`` and ``D[i, l]``.
    orbit : int array (r,)
        Index of the scale λ of every term.
    vectors : int array (k, width)
        The unknowns grouped into the vectors whose scale is free (padded with -1).
    cyclic : bool
        Whether the tying is that of the cyclic shift, so one change of basis acts on all three sides.
    """

    x: Array
    w: Array
    d: Array
    orbit: Array
    vectors: Array
    cyclic: bool = False

    @property
    def unknowns(self) -> int:
        """Number of entries of ``theta`` (without the scales)."""
        return int(max(self.x.max(), self.w.max(), self.d.max())) + 1


def free_tying(shape: tuple[int, int, int], r: int) -> Tying:
    """Return the tying without any symmetry: every factor entry is its own unknown."""
    a, b, c = shape
    x = np.arange(a * r).reshape(r, a)
    w = np.arange(b * r).reshape(r, b) + a * r
    d = np.arange(c * r).reshape(r, c) + (a + b) * r
    width = max(a, b, c)
    vectors = -np.ones((3 * r, width), dtype=np.int64)
    for k, block in enumerate((x, w, d)):
        vectors[k * r : (k + 1) * r, : block.shape[1]] = block
    return Tying(x, w, d, np.arange(r), vectors)


def square_side(dim: int) -> int:
    """Return t with t² = dim, or 0."""
    t = int(round(dim**0.5))
    return t if t * t == dim else 0


def z3_tying(t: int, fixed: int, orbits: int) -> Tying:
    """Return the tying of the cyclic shift of ⟨t,t,t⟩: ``fixed`` terms a⊗a⊗a and ``orbits`` triples.

    Terms come as ``fixed`` fixed ones, then (b,c,d) for every orbit, then all (c,d,b), then all (d,b,c);
    the third factor is stored as D with C not transposed, hence the transposed index.
    """
    size = t * t
    count = fixed + 3 * orbits
    vec = np.arange(count * size).reshape(count, size)
    swap = np.arange(size).reshape(t, t).T.reshape(-1)
    fix, b, c, d = (
        np.arange(fixed),
        *(np.arange(orbits) + fixed + k * orbits for k in range(3)),
    )
    one, two, three = (
        np.concatenate([fix, b, c, d]),
        np.concatenate([fix, c, d, b]),
        np.concatenate([fix, d, b, c]),
    )
    scale = np.concatenate([fix, *[np.arange(orbits) + fixed] * 3])
    return Tying(vec[one], vec[two], vec[three][:, swap], scale, vec, cyclic=True)


class Model:
    """Residual, gradient and Gauss–Newton matrix of ``Σ λ u⊗v⊗w = T`` in the unknowns of a tying.

    Parameters
    ----------
    target : float array (a, b, c)
        Dense target tensor.
    tying : Tying
        Where every factor entry is read from.
    """

    def __init__(self, target: Array, tying: Tying) -> None:
        self.target = np.asarray(target, dtype=np.float64)
        self.tying = tying
        a, b, c = self.target.shape
        r = tying.x.shape[0]
        if tying.x.shape != (r, a) or tying.w.shape != (r, b) or tying.d.shape != (r, c):
            raise StlError("tying", (tying.x.shape, tying.w.shape, tying.d.shape),
                           f"index arrays (r, {a}), (r, {b}), (r, {c})")
        self.rank, self.shape = r, (a, b, c)
        self.size = tying.unknowns
        self.scales = int(tying.orbit.max()) + 1
        self._entries, self._weight = self._equations()
        self._columns = np.concatenate([tying.x.ravel(), tying.w.ravel(), tying.d.ravel()])
        self._scale_columns = self.size + np.repeat(tying.orbit, a)

    def _equations(self) -> tuple[Array, Array]:
        """Return the tensor entries that are different equations and how often each occurs.

        Under the cyclic shift the entries (x, y, z) of the trace form come in triples with the same equation.
        """
        a, b, c = self.shape
        if not self.tying.cyclic:
            return np.arange(a * b * c), np.ones(a * b * c)
        t = square_side(a)
        swap = np.arange(a).reshape(t, t).T.ravel()
        x, y, z = (v.ravel() for v in np.indices((a, a, a)))
        place = (x * a + y) * a + swap[z]
        turned = [(u * a + v) * a + w for u, v, w in ((x, y, z), (y, z, x), (z, x, y))]
        first = np.minimum(np.minimum(turned[0], turned[1]), turned[2]) == turned[0]
        return place[first], np.where((x == y) & (y == z), 1.0, 3.0)[first]

    def split(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """Return u (r,a), v (r,b), w (r,c) and the scale of every term (r,)."""
        t = self.tying
        return theta[t.x], theta[t.w], theta[t.d], theta[self.size :][t.orbit]

    def residual(self, theta: Array) -> Array:
        """Return ``T - Σ λ u⊗v⊗w`` as an (a, b, c) array."""
        u, v, w, scale = self.split(theta)
        vw = (v[:, :, None] * w[:, None, :]).reshape(self.rank, -1)
        out: Array = self.target - ((scale[:, None] * u).T @ vw).reshape(self.shape)
        return out

    def normal_equations(self, theta: Array, idx: Array) -> tuple[Array, Array, Array]:
        """Return the Gauss–Newton matrix JᵀJ, the descent direction Jᵀ·residual, and the residual.

        Parameters
        ----------
        theta : float array (unknowns + scales,)
            Where to linearise.
        idx : int array (f,)
            The unknowns that move: JᵀJ is (f, f).
        """
        if idx.size**2 * self._entries.size < EXPLICIT:
            res = self.residual(theta)
            jac = self._jacobian(theta, idx)[:, self._entries]
            weighted = jac * self._weight
            return weighted @ jac.T, weighted @ res.ravel()[self._entries], res
        return self._gram(theta, idx)

    def _jacobian(self, theta: Array, idx: Array) -> Array:
        """Return the derivatives of T̂ by the unknowns idx as rows, (f, abc)."""
        u, v, w, scale = self.split(theta)
        a, b, c = self.shape
        position = -np.ones(theta.size, dtype=np.int64)
        position[idx] = np.arange(idx.size)
        jac = np.zeros((idx.size, a, b, c))
        first = scale[:, None] * u
        for k, (slot, left, right) in enumerate(((self.tying.x, v, w), (self.tying.w, first, w),
                                                 (self.tying.d, first, v))):
            if k == 0:
                right = scale[:, None] * right
            at = position[slot]
            term, entry = np.nonzero(at >= 0)
            block = left[term][:, :, None] * right[term][:, None, :]
            where = (at[term, entry], *[slice(None)] * k, entry)
            np.add.at(jac, where, block)
        for s in idx[idx >= self.size] - self.size:
            terms = self.tying.orbit == s
            jac[position[self.size + s]] = np.einsum("la,lb,lc->abc", u[terms], v[terms], w[terms])
        return jac.reshape(idx.size, -1)

    def _gram(self, theta: Array, idx: Array) -> tuple[Array, Array, Array]:
        """Normal equations from the Gram matrices of the factors: J (abc × unknowns) is never formed."""
        u, v, w, scale = self.split(theta)
        a, b, c = self.shape
        r = self.rank
        first = scale[:, None] * u
        uu, vv, ww = first @ first.T, v @ v.T, w @ w.T
        xw, xd, wd = _cross(ww, first, v), _cross(vv, first, w), _cross(uu, v, w)
        full = np.block([
            [_diagonal(vv * ww, a), xw, xd],
            [xw.T, _diagonal(uu * ww, b), wd],
            [xd.T, wd.T, _diagonal(uu * vv, c)],
        ])
        res = self.residual(theta)
        vw = (v[:, :, None] * w[:, None, :]).reshape(r, b * c)
        half = (first @ res.reshape(a, b * c)).reshape(r, b, c)
        down = np.concatenate([
            (vw @ res.reshape(a, b * c).T).ravel(),
            np.einsum("lbc,lc->lb", half, w).ravel(),
            np.einsum("lbc,lb->lc", half, v).ravel(),
        ])
        lift = self._chain(u, scale)[:, idx]
        tied = (lift.T @ full) @ lift
        return np.asarray(tied), np.asarray(lift.T @ down), res

    def _chain(self, u: Array, scale: Array) -> sp.csr_matrix:
        """Return d(λu, v, w)/d(theta, λ) as a sparse matrix."""
        a, b, c = self.shape
        r = self.rank
        rows = np.arange(r * (a + b + c))
        entries = np.concatenate([np.repeat(scale, a), np.ones(r * (b + c)), u.ravel()])
        row = np.concatenate([rows, np.arange(r * a)])
        column = np.concatenate([self._columns, self._scale_columns])
        return sp.csr_matrix((entries, (row, column)), shape=(rows.size, self.size + self.scales))


def _diagonal(gram: Array, width: int) -> Array:
    """Return the block gram[l,l'] δ_{aa'} of the Gauss–Newton matrix."""
    r = len(gram)
    out = np.zeros((r, width, r, width))
    out[:, np.arange(width), :, np.arange(width)] = gram
    return out.reshape(r * width, r * width)


def _cross(gram: Array, left: Array, right: Array) -> Array:
    """Return the block ((l,a),(l',b)) ↦ gram[l,l'] left[l',a] right[l,b]."""
    r, a = left.shape
    b = right.shape[1]
    scaled = (gram[:, :, None] * left).swapaxes(1, 2)  # (l, a, l')
    out: Array = (scaled[:, :, :, None] * right[:, None, None, :]).reshape(r * a, r * b)
    return out
