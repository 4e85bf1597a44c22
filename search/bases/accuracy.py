"""The most accurate basis of an encoder: κ² minimised over its orbit under changes of basis.

With factor matrices U_l ↦ S_n U_l S_m⁻¹, V_l ↦ S_m V_l S_p⁻¹, W_l ↦ S_p W_l S_n⁻¹ (see
`stl_algebra.symmetry`), κ² depends only on the metrics SᵀS and is a sum of products of terms that are
log-convex along geodesics of positive matrices: every stationary point is the global minimum. It is found by
L-BFGS on triangular S; then elementary steps that are invertible over Z[1/2] descend towards it, so that the encoders
stay exact and dyadic. κ² does not move under orthogonal changes of basis, the growth factor γ of worst-case error
bounds does: it is lowered in a second stage (`least_growth`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from stl_algebra import Encoder, StlError, ring
from stl_algebra.files import file_name
from stl_algebra.scores import kappa2

from ..core.origins import derived

__all__ = [
    "Accurate",
    "accurate_encoders",
    "dyadic_descent",
    "growth",
    "growth_exponent",
    "improved",
    "least_growth",
    "most_accurate_bases",
    "orbit_kappa2",
    "proven_optimum",
    "stacks",
]

Array = NDArray[Any]
Stack = tuple[Array, Array, Array]
DETOURS = 3
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
        Largest denominator of a shear of the change of basis.
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

    found = minimize(
        value,
        np.zeros(edge[-1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-10},
    )
    bases = unpack(found.x)
    return orbit_kappa2(mats, bases)[0], [b / b[-1, -1] for b in bases]


def accurate_encoders(encoder: Encoder, tolerance: float = 1e-3, largest: int = 128) -> list[Accurate]:
    """Return exact encoders of decreasing κ² on the orbit of an encoder, in bases with dyadic entries and inverses.

    Parameters
    ----------
    encoder : Encoder
        An exact matrix-multiplication encoder over a real ring; over Z and Z[1/2] the results are over Z[1/2].
    tolerance : float
        Stop once κ² is within this fraction of the infimum over the orbit.
    largest : int
        Largest denominator 2^b of a single step (shear) of the change of basis.

    Returns
    -------
    list of Accurate
        Every entry improves on the encoder given and on the entries before it; empty when nothing does.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> best = accurate_encoders(schemes.strassen(), tolerance=1e-2)[-1]  # Strassen's own κ² is 4, the infimum 25/9
    >>> best.encoder.is_exact, best.kappa2 < 1.01 * 25 / 9
    (True, True)
    """
    mats = stacks(encoder)
    optimum, _ = most_accurate_bases(mats)
    best = kappa2(encoder)
    bases = [np.eye(x.shape[1]) for x in mats]
    out: list[Accurate] = []
    for bits in range(int(largest).bit_length()):
        if best <= optimum * (1 + tolerance):
            break
        value, bases = dyadic_descent(mats, bases, bits, optimum * (1 + tolerance))
        if value >= best - GAIN * (best - optimum):
            continue
        exact = [[[Fraction(float(v)) for v in row] for row in b.T] for b in bases]
        moved = improved(encoder, _narrow(encoder.change_basis(*exact)), objective="kappa2", denominator=1 << bits)
        best = kappa2(moved)
        out.append(Accurate(moved, best, 1 << bits, optimum))
    if out:
        out[-1] = replace(
            out[-1],
            encoder=improved(
                encoder, least_growth(out[-1].encoder), objective="kappa2", denominator=out[-1].denominator
            ),
        )
    return out


def _narrow(encoder: Encoder) -> Encoder:
    """The encoder over Z or Z[1/2] if its denominators allow it."""
    den = 1
    for f in encoder.factors:
        den *= f.den
    if encoder.ring.name != "Q" or den & (den - 1):
        return encoder
    return replace(encoder, ring=ring("Z" if den == 1 else "Z[1/2]"))


def proven_optimum(encoder: Encoder, largest: int = 64) -> Fraction | None:
    """Return the infimum of κ² over all changes of basis as a proven rational number, if it is attained at one.

    κ² depends on the metrics A_k = S_kᵀS_k only and is a sum of terms that are log-linear along geodesics of positive
    matrices, so it is convex along them and every stationary point is a global minimum. The metrics found numerically
    are read as rational matrices, and there the stationarity equations
    ``A_k (Σ_l t_l/n_kl X_kl A_{k+1}⁻¹ X_klᵀ) A_k = Σ_l t_l/n_{k-1,l} X_{k-1,l}ᵀ A_{k-1} X_{k-1,l}``, with
    n_kl = tr(X_kl A_{k+1}⁻¹ X_klᵀ A_k) and t_l the product of the three, are checked in rational arithmetic.

    Parameters
    ----------
    encoder : Encoder
        Exact, over Z, Z[1/2] or Q.
    largest : int
        Largest denominator of the metrics, scaled to have an entry 1.

    Returns
    -------
    Fraction or None

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> proven_optimum(schemes.strassen())
    Fraction(25, 9)
    """
    mats = stacks(encoder)
    _, bases = most_accurate_bases(mats)
    metrics = []
    for s in bases:
        metric = s.T @ s
        metric = metric / metric[0, 0]
        near = [[Fraction(float(v)).limit_denominator(largest) for v in row] for row in metric]
        if max(abs(float(a) - b) for x, y in zip(near, metric, strict=True) for a, b in zip(x, y, strict=True)) > 1e-3:
            return None
        metrics.append(np.array(near, dtype=object))
    r, (n, m, p) = encoder.rank, encoder.format
    shapes = ((n, m), (m, p), (n, p))
    factors = []
    for k, f in enumerate((encoder.e_x, encoder.e_w, encoder.d)):
        num = np.asarray(f.num).astype(object)
        whole = (num if k < 2 else num.T).reshape(r, *shapes[k]) * Fraction(1, f.den)
        factors.append(whole if k < 2 else whole.swapaxes(1, 2))
    inverse = [_inverse(a) for a in metrics]
    up, down, norms = [], [], []
    for k, x in enumerate(factors):
        rows = [v.dot(inverse[(k + 1) % 3]).dot(v.T) for v in x]
        up.append(rows)
        down.append([v.T.dot(metrics[k]).dot(v) for v in x])
        norms.append([(a.dot(metrics[k])).trace() for a in rows])
    terms = [norms[0][l] * norms[1][l] * norms[2][l] for l in range(r)]
    for k in range(3):
        left = sum(up[k][l] * (terms[l] / norms[k][l]) for l in range(r))
        right = sum(down[k - 1][l] * (terms[l] / norms[k - 1][l]) for l in range(r))
        if (metrics[k].dot(left).dot(metrics[k]) - right).any():
            return None
    return Fraction(sum(terms)) / (n * m * p)


def _inverse(matrix: Array) -> Array:
    """Exact inverse of a square matrix of fractions (Gauss and Jordan; metrics have non-zero pivots)."""
    size = len(matrix)
    one = np.array([[Fraction(int(i == j)) for j in range(size)] for i in range(size)])
    work = np.concatenate([matrix, one], axis=1)
    for i in range(size):
        work[i] = work[i] / work[i, i]
        for j in range(size):
            if j != i:
                work[j] = work[j] - work[i] * work[j, i]
    return work[:, size:]


def dyadic_descent(
    mats: Stack, bases: Sequence[Array], bits: int, enough: float = 0.0, sweeps: int = 400
) -> tuple[float, list[Array]]:
    """Lower κ² by elementary steps that are invertible over Z[1/2].

    Steps: shears ``S ← (I + a E_ij) S`` with a the best multiple of 2^-bits (κ² is a quartic in a), doublings and
    halvings of a row, and butterflies ``(x_i, x_j) ↦ (x_i + x_j, x_i − x_j)``, which are rotations by 45° up to the
    scale √2. Where no step helps, a butterfly is tried as a detour.

    Returns
    -------
    (κ², bases)
    """
    now = [np.array(b) for b in bases]
    value = orbit_kappa2(mats, now)[0]
    detours = 0
    for _ in range(sweeps):
        if value <= enough:
            break
        trial = _best_step(mats, now, bits)
        if trial[0] < value * (1 - 1e-5):
            value, now = trial
            continue
        if detours == DETOURS:
            break
        steps = list(_coarse_steps(now))
        found = None
        for step in steps:  # a detour: two more steps after any coarse one
            near = orbit_kappa2(mats, step)[0]
            if near > 1.6 * value:
                continue
            there = step
            for _ in range(2):
                near, there = _best_step(mats, there, bits)
            if near < value * (1 - 1e-5) and (found is None or near < found[0]):
                found = near, there
        detours += 1
        if found is None:
            break
        value, now = found
    return value, now


def _best_step(mats: Stack, bases: list[Array], bits: int) -> tuple[float, list[Array]]:
    """Return κ² and the bases after the best shear or, where no shear lowers κ², the best coarse step."""
    inverse = [np.linalg.inv(b) for b in bases]
    moved = [bases[k] @ x @ inverse[(k + 1) % 3] for k, x in enumerate(mats)]
    norms = np.array([(x**2).sum(axis=(1, 2)) for x in moved])
    value = float(norms.prod(axis=0).sum())
    unit = 2.0**-bits
    best: tuple[float, int, int, int, float] = value * (1 - 1e-9), 0, 0, 0, 0.0
    for k in range(3):
        # row i += a · row j, and so column j −= a · column i of the factor before: κ² is a quartic in a
        rows = np.einsum("lij,lkj->lik", moved[k], moved[k], optimize=True)
        columns = np.einsum("lji,ljk->lik", moved[k - 1], moved[k - 1], optimize=True)
        own = np.einsum("ljj->lj", rows)[:, None, :], 2 * rows, norms[k][:, None, None]
        before = np.einsum("lii->li", columns)[:, :, None], -2 * columns, norms[k - 1][:, None, None]
        c = np.zeros((5, len(bases[k]), len(bases[k])))
        for s, p in enumerate(own):
            for t, q in enumerate(before):
                c[s + t] += np.einsum("l,lij->ij", norms[k - 2], np.broadcast_to(p * q, rows.shape))
        a = np.zeros(c.shape[1:])
        for _ in range(6):  # Newton for the minimum near 0 (c: highest power first)
            slope = ((4 * c[0] * a + 3 * c[1]) * a + 2 * c[2]) * a + c[3]
            bend = (12 * c[0] * a + 6 * c[1]) * a + 2 * c[2]
            a = a - slope / np.where(bend > 0, bend, np.inf)
        for near in (np.floor(a / unit) * unit, np.ceil(a / unit) * unit):
            values = (((c[0] * near + c[1]) * near + c[2]) * near + c[3]) * near + c[4]
            np.fill_diagonal(values, np.inf)
            i, j = (int(q) for q in np.unravel_index(int(values.argmin()), values.shape))
            if values[i, j] < best[0] and near[i, j]:
                best = float(values[i, j]), k, i, j, float(near[i, j])
    if best[4]:
        _, k, i, j, step = best
        there = [b.copy() for b in bases]
        there[k][i] += step * there[k][j]
        return orbit_kappa2(mats, there)[0], there
    return min(((orbit_kappa2(mats, there)[0], there) for there in _coarse_steps(bases)), key=lambda s: s[0])


def _coarse_steps(bases: list[Array]) -> Iterator[list[Array]]:
    """Yield the bases after doubling or halving a row, and after a butterfly of two rows."""
    for k, base in enumerate(bases):
        for i in range(len(base)):
            for factor in (2.0, 0.5):
                there = [b.copy() for b in bases]
                there[k][i] *= factor
                yield there
            for j in range(i):
                there = [b.copy() for b in bases]
                there[k][[i, j]] = np.array([base[j] - base[i], base[j] + base[i]])
                yield there


def growth(encoder: Encoder) -> float:
    """The growth factor γ = max_c Σ_l |D[c,l]| ‖E_X[l]‖ ‖E_W[l]‖ of forward error bounds (classical: m).

    The error of a recursive ⟨n,n,n⟩ algorithm grows as the size to the power log_n γ (Dumas, Pernet and Sedoglavic
    2024). It is invariant under signed permutations of the coordinates only; κ² under all orthogonal matrices.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> round(growth(schemes.strassen()), 4)  # 4 + 2√2
    6.8284
    """
    x, w, d = encoder.floats()
    sizes = np.linalg.norm(x, axis=1) * np.linalg.norm(w, axis=1)
    return float((np.abs(d) * sizes).sum(axis=1).max())


def growth_exponent(encoder: Encoder) -> float:
    """log_N γ with N = (nmp)^(1/3), the exponent of the error bound of a recursive algorithm."""
    return 3 * float(np.log(growth(encoder)) / np.log(np.prod(encoder.format)))


def least_growth(encoder: Encoder, sweeps: int = 40) -> Encoder:
    """Return the encoder of least γ that rotations of the trace form and dyadic orthogonal matrices lead to.

    For square formats the three factors may take turns as D. Pairs of butterflies (tiles of even side) are the
    orthogonal matrices over Z[1/2] that matter, up to scale: they leave κ² as it is and change γ.
    """
    n, m, p = encoder.format
    turns = [encoder]
    if n == m == p:
        turns += [encoder.rotate(), encoder.rotate().rotate()]
    best = min(turns, key=growth)
    for turn in turns:
        now = turn
        for _ in range(sweeps):
            around = [now.change_basis(*step) for step in _pairings(now.format)]
            lower = min(around, key=growth, default=now)
            if growth(lower) >= growth(now) * (1 - 1e-9):
                break
            now = lower
        best = min(best, now, key=growth)
    return best if best is encoder else improved(encoder, best, objective="growth")


def _pairings(sides: tuple[int, int, int]) -> Iterator[list[list[list[int]]]]:
    """Yield changes of basis that act on one space by butterflies of all its coordinates in pairs."""
    for k, side in enumerate(sides):
        if side % 2:
            continue
        for pairs in _matchings(list(range(side))):
            matrix = np.zeros((side, side), dtype=np.int64)
            for i, j in pairs:
                matrix[i, i] = matrix[i, j] = matrix[j, i] = 1
                matrix[j, j] = -1
            yield [(matrix if s == k else np.eye(sides[s], dtype=np.int64)).tolist() for s in range(3)]


def _matchings(points: list[int]) -> Iterator[list[tuple[int, int]]]:
    if not points:
        yield []
        return
    first, rest = points[0], points[1:]
    for j in rest:
        for others in _matchings([x for x in rest if x != j]):
            yield [(first, j), *others]


def improved(parent: Encoder, child: Encoder, **details: Any) -> Encoder:
    """Return the child with an origin that names its parent and what made the parent."""
    goal = {"kappa2": "accuracy"}.get(str(details.get("objective")), str(details.get("objective", "all")))
    command = f"python -m search.improve results/encoders/{file_name(parent)} --objective {goal} --out results"
    return child.with_origin(**derived(parent, "improved", command, **details))
