"""The polynomial system a bilinear algorithm satisfies, with tied terms and a scale per orbit.

A term of the sum is written ``λ_l u_l ⊗ v_l ⊗ w_l``. Every entry of u, v, w is a linear combination of the unknowns
``theta`` (that is how a symmetry ties terms, see `tying`) and every orbit of terms has one scale λ, so that one entry
of every vector can be pinned to 1 and a term fixed by the cyclic shift, ``λ a ⊗ a ⊗ a``, needs no cube root of λ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .tying import Tying

__all__ = ["BrentSystem"]

Array = NDArray[Any]
EXPLICIT = 2e8  # below this many operations JᵀJ is formed from J itself


class BrentSystem:
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
        if tying.shape != self.target.shape:
            raise StlError("tying", tying.shape, f"slots of widths {self.target.shape}")
        self.rank, self.shape = tying.rank, tying.shape
        self.size = tying.unknowns
        self.scales = int(tying.orbit.max()) + 1
        self._matrix = tying.matrix()

    def split(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """Return u (r,a), v (r,b), w (r,c) and the scale of every term (r,), in the numbers of theta."""
        scale = theta[self.size :][self.tying.orbit]
        if theta.dtype == object:
            u, v, w = (self.tying.read(theta, s) for s in range(3))
            return u, v, w, scale
        whole = self._matrix @ theta[: self.size]
        a, b, _ = self.shape
        u, v, w = np.split(whole, [self.rank * a, self.rank * (a + b)])
        return u.reshape(self.rank, -1), v.reshape(self.rank, -1), w.reshape(self.rank, -1), scale

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
        entries, weight = self.tying.entries, self.tying.weight
        if idx.size**2 * entries.size < EXPLICIT:
            res = self.residual(theta)
            jac = self._jacobian(theta, idx)[:, entries]
            weighted = jac * weight
            return weighted @ jac.T, weighted @ res.ravel()[entries], res
        return self._gram(theta, idx)

    def descent(self, theta: Array, res: Array) -> Array:
        """Return Jᵀ · res, by all unknowns and scales, for a given residual tensor."""
        u, v, w, scale = self.split(theta)
        a, b, c = self.shape
        half = ((scale[:, None] * u) @ res.reshape(a, b * c)).reshape(-1, b, c)
        by_first = np.einsum("abc,lb,lc->la", res, v, w, optimize=True)
        down = (by_first * scale[:, None], np.einsum("lbc,lc->lb", half, w), np.einsum("lbc,lb->lc", half, v))
        out = np.zeros(self.size + self.scales)
        out[: self.size] = self._matrix.T @ np.concatenate([d.ravel() for d in down])
        np.add.at(out, self.size + self.tying.orbit, (by_first * u).sum(axis=1))
        return out

    def _jacobian(self, theta: Array, idx: Array) -> Array:
        """Return the derivatives of T̂ by the unknowns idx as rows, (f, abc)."""
        u, v, w, scale = self.split(theta)
        a, b, c = self.shape
        position = -np.ones(theta.size, dtype=np.int64)
        position[idx] = np.arange(idx.size)
        jac = np.zeros((idx.size, a, b, c))
        first = scale[:, None] * u
        for k, (left, right) in enumerate(((v, scale[:, None] * w), (first, w), (first, v))):
            term, entry, unknown, coefficient = self.tying.slots[k]
            at = position[unknown]
            term, entry, coefficient, at = (x[at >= 0] for x in (term, entry, coefficient, at))
            block = (coefficient[:, None] * left[term])[:, :, None] * right[term][:, None, :]
            where: Any = (at, *[slice(None)] * k, entry)
            np.add.at(jac, where, block)
        for s in idx[idx >= self.size] - self.size:
            terms = self.tying.orbit == s
            jac[position[self.size + s]] = np.einsum("la,lb,lc->abc", u[terms], v[terms], w[terms])
        return jac.reshape(idx.size, -1)

    def _gram(self, theta: Array, idx: Array) -> tuple[Array, Array, Array]:
        """Normal equations from the Gram matrices of the factors: J (abc × unknowns) is never formed."""
        u, v, w, scale = self.split(theta)
        a, b, c = self.shape
        first = scale[:, None] * u
        uu, vv, ww = first @ first.T, v @ v.T, w @ w.T
        xw, xd, wd = _cross(ww, first, v), _cross(vv, first, w), _cross(uu, v, w)
        full = np.block(
            [
                [_diagonal(vv * ww, a), xw, xd],
                [xw.T, _diagonal(uu * ww, b), wd],
                [xd.T, wd.T, _diagonal(uu * vv, c)],
            ]
        )
        res = self.residual(theta)
        lift = self._chain(u, scale)[:, idx]
        tied = (lift.T @ full) @ lift
        return np.asarray(tied), self.descent(theta, res)[idx], res

    def _chain(self, u: Array, scale: Array) -> sp.csr_matrix:
        """Return d(λu, v, w)/d(theta, λ) as a sparse matrix."""
        a, b, c = self.shape
        r = self.rank
        entries = np.concatenate([np.repeat(scale, a), np.ones(r * (b + c))])
        scales = sp.csr_matrix(
            (u.ravel(), (np.arange(r * a), np.repeat(self.tying.orbit, a))), shape=(entries.size, self.scales)
        )
        return sp.csr_matrix(sp.hstack([sp.diags(entries) @ self._matrix, scales]))


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
