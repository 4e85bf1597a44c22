"""The most accurate basis of an encoder: κ² minimised over its orbit under changes of basis.

With factor matrices U_l ↦ S_n U_l S_m⁻¹, V_l ↦ S_m V_l S_p⁻¹, W_l ↦ S_p W_l S_n⁻¹ (see
`stl_algebra.symmetry`), κ² depends only on the metrics SᵀS and is a sum of products of terms that are
log-convex along geodesics of positive matrices: every stationary point is the global minimum. It is found by
L-BFGS on triangular S and then approximated by rational matrices of small denominator, which gives exact
encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from stl_algebra import Encoder, StlError
from stl_algebra.files import file_name
from stl_algebra.scores import kappa2

from ..core.origins import derived

__all__ = ["Accurate", "accurate_encoders", "improved", "most_accurate_bases", "orbit_kappa2"]

Array = NDArray[Any]
Stack = tuple[Array, Array, Array]
DENOMINATORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128)
GAIN = 0.3  # a larger denominator must close this part of the remaining gap to the optimum


@dataclass(frozen=True)
class Accurate:
    """An exact encoder in a better basis.

    Attributes
    ----------
    encoder : Encoder
    kappa2 : float
        Its κ².
    denominator : int
        Common denominator of the entries of the bases used.
    optimum : float
        Infimum of κ² over the whole (real) orbit.
    """

    encoder: Encoder
    kappa2: float
    denominator: int
    optimum: float


def stacks(encoder: Encoder) -> Stack:
    """Return U (r,n,m), V (r,m,p), W (r,p,n) as floats.

    Raises
    ------
    StlError
        For targets that are no matrix products and for complex or finite rings.
    """
    n, m, p = encoder.format
    if not encoder.ring.embeds or encoder.ring.is_complex:
        raise StlError("ring", encoder.ring.name, "a ring of real numbers", "Take the rational form of the scheme.")
    r = encoder.rank
    x, w, d = encoder.floats()
    return x.reshape(r, n, m), w.reshape(r, m, p), np.ascontiguousarray(d.T.reshape(r, n, p).swapaxes(1, 2))


def orbit_kappa2(mats: Stack, bases: Sequence[Array]) -> tuple[float, list[Array]]:
    """Return κ² in the bases S_n, S_m, S_p and its gradients by them.

    Parameters
    ----------
    mats : float arrays (r, n, m), (r, m, p), (r, p, n)
    bases : three invertible float arrays (n, n), (m, m), (p, p)
    """
    inverse = [np.linalg.inv(b) for b in bases]
    moved = [bases[k] @ x @ inverse[(k + 1) % 3] for k, x in enumerate(mats)]
    norms = np.array([(x**2).sum(axis=(1, 2)) for x in moved])
    terms = norms.prod(axis=0)
    volume = float(np.prod([len(b) for b in bases]))
    gradients = []
    for k in range(3):
        left, right = moved[k], moved[k - 1]  # S_k acts on the rows of one factor, S_k⁻¹ on the columns of another
        g = np.einsum("l,lij,lkj->ik", terms / norms[k], left, left, optimize=True)
        g -= np.einsum("l,lji,ljk->ik", terms / norms[k - 1], right, right, optimize=True)
        gradients.append(2 * g @ inverse[k].T / volume)
    return float(terms.sum()) / volume, gradients


def most_accurate_bases(mats: Stack, steps: int = 2000) -> tuple[float, list[Array]]:
    """Return the least κ² over all changes of basis and upper triangular S_n, S_m, S_p that attain it.

    The infimum need not be attained (some orbits are closed only in the limit); the value returned is then
    the one reached after ``steps`` iterations.
    """
    dims = [x.shape[1] for x in mats]
    places = [np.triu_indices(d) for d in dims]
    edge = np.cumsum([0] + [len(p[0]) for p in places])
    diagonal = [p[0] == p[1] for p in places]

    def unpack(theta: Array) -> list[Array]:
        out = []
        for k, d in enumerate(dims):
            s = np.zeros((d, d))
            values = theta[edge[k] : edge[k + 1]].copy()
            values[diagonal[k]] = np.exp(np.clip(values[diagonal[k]], -30, 30))
            s[places[k]] = values
            out.append(s)
        return out

    def value(theta: Array) -> tuple[float, Array]:
        bases = unpack(theta)
        f, gradients = orbit_kappa2(mats, bases)
        flat = []
        for k, g in enumerate(gradients):
            v = g[places[k]]
            v[diagonal[k]] *= bases[k][places[k]][diagonal[k]]
            flat.append(v)
        return float(np.log(f)), np.concatenate(flat) / f

    found = minimize(value, np.zeros(edge[-1]), jac=True, method="L-BFGS-B",
                     options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-10})
    bases = unpack(found.x)
    return orbit_kappa2(mats, bases)[0], [b / b[-1, -1] for b in bases]


def accurate_encoders(encoder: Encoder, tolerance: float = 1e-3, largest: int = 128) -> list[Accurate]:
    """Return exact encoders of decreasing κ² and growing denominators on the orbit of an encoder.

    Parameters
    ----------
    encoder : Encoder
        An exact matrix-multiplication encoder over a real ring.
    tolerance : float
        Stop once κ² is within this fraction of the infimum over the orbit.
    largest : int
        Largest denominator of the bases tried.

    Returns
    -------
    list of Accurate
        Every entry improves on the encoder given and on the entries before it; empty when nothing does.
    """
    mats = stacks(encoder)
    optimum, bases = most_accurate_bases(mats)
    best = kappa2(encoder)
    out: list[Accurate] = []
    for q in DENOMINATORS:
        if q > largest or best <= optimum * (1 + tolerance):
            break
        found: tuple[float, list[Array]] | None = None
        for turned in _forms(bases):
            rounded = [np.rint(b * q) for b in turned]
            if min(abs(np.linalg.det(b)) for b in rounded) < 0.5:
                continue
            value = orbit_kappa2(mats, rounded)[0]
            if value < best - GAIN * (best - optimum) and (found is None or value < found[0]):
                found = value, rounded
        if found is None:
            continue
        exact = [[[Fraction(int(v), q) for v in row] for row in b.T] for b in found[1]]
        moved = improved(encoder, encoder.change_basis(*exact), objective="kappa2", denominator=q)
        best = kappa2(moved)
        out.append(Accurate(moved, best, q, optimum))
    return out


def improved(parent: Encoder, child: Encoder, **details: Any) -> Encoder:
    """Return the child with an origin that names its parent and what made the parent."""
    goal = {"kappa2": "accuracy"}.get(str(details.get("objective")), str(details.get("objective", "all")))
    command = f"python -m search.improve results/encoders/{file_name(parent)} --objective {goal} --out results"
    return child.with_origin(**derived(parent, "improved", command, **details))


def _forms(bases: list[Array], turns: int = 24) -> list[list[Array]]:
    """Return bases of the same metrics SᵀS: triangular, lower triangular, symmetric, randomly turned; scaled.

    κ² only depends on the metric, but which form rounds well differs.
    """
    rng = np.random.default_rng(0)
    metrics = [b.T @ b for b in bases]
    lower = [_lower(a) for a in metrics]
    values = [np.linalg.eigh(a) for a in metrics]
    symmetric = [v @ np.diag(np.sqrt(w)) @ v.T for w, v in values]
    forms = [bases, lower, symmetric]
    for _ in range(turns):
        forms.append([np.linalg.qr(rng.standard_normal(b.shape))[0] @ b for b in bases])
    out = []
    for form in forms:
        for norm in (1.0, 1.25, 1.5):
            out.append([norm * b / np.abs(np.linalg.det(b)) ** (1 / len(b)) for b in form])
    return out


def _lower(metric: Array) -> Array:
    """Return the lower triangular L with LᵀL = metric (the reversed Cholesky factor, transposed)."""
    reverse = np.linalg.cholesky(metric[::-1, ::-1])[::-1, ::-1]
    return np.ascontiguousarray(reverse.T)

