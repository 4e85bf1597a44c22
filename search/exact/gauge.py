"""Choosing coordinates: bases of the three spaces in which a numerical algorithm becomes sparse.

A, B, C live in V_n⊗V_m*, V_m⊗V_p*, V_n⊗V_p*. The factor matrices of a term, U (n×m), V (m×p) and
Wᵀ-shaped W (p×n), transform as ``X ↦ S_left X S_right⁻¹``. Rank-one factors mark points (images) and
covectors (row spaces) of these spaces, factors of corank one mark kernels. If the algorithm is
equivalent to a rational one whose terms are individually rational, all these marks are rational points
once n of them are made the coordinate axes (and one more the all-ones vector): a projective frame. So
frames made of marks are the candidates, ranked by how many zeros they produce.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Marks", "apply_bases", "candidate_bases", "matmul_format"]

Array = NDArray[Any]
Stack = tuple[Array, Array, Array]
STEEPEST = 8.0  # largest Frobenius norm of the inverse of a frame of unit vectors
SUBSETS = 20000  # more subsets of marks than this are sampled, not enumerated


def matmul_format(target: Array) -> tuple[int, int, int] | None:
    """Return (n, m, p) when the tensor is the product of n×m by m×p matrices (C not transposed)."""
    a, b, c = target.shape
    n, m, p = (int(round(v**0.5)) for v in (a * c / b, a * b / c, b * c / a))
    if (n * m, m * p, n * p) != (a, b, c) or np.count_nonzero(target) != n * m * p:
        return None
    i, k, j = (x.ravel() for x in np.indices((n, m, p)))
    return (n, m, p) if bool(np.all(target[i * m + k, k * p + j, i * p + j] == 1)) else None


@dataclass(frozen=True)
class Marks:
    """Distinguished directions of one space: points and covectors with their multiplicity."""

    points: Array
    covectors: Array
    point_weight: Array
    covector_weight: Array


def _marks_of(mats: Array, tol: float = 1e-7) -> tuple[list[Array], list[Array], list[Array], list[Array]]:
    """Return (image points, row covectors, kernel points, left-kernel covectors) of a stack of matrices."""
    left: list[Array] = []
    right: list[Array] = []
    kernel: list[Array] = []
    cokernel: list[Array] = []
    u, s, vt = np.linalg.svd(mats, full_matrices=True)
    rank = (s > tol * s[:, :1]).sum(axis=1)
    rows, cols = mats.shape[1:]
    for i, k in enumerate(rank):
        if k == 1:
            left.append(u[i, :, 0])
            right.append(vt[i, 0])
        if k == cols - 1 and cols > 1:
            kernel.append(vt[i, -1])
        if k == rows - 1 and rows > 1:
            cokernel.append(u[i, :, -1])
    return left, right, kernel, cokernel


def _distinct(vectors: list[Array], dim: int) -> tuple[Array, Array]:
    """Merge parallel vectors; return unit representatives and how often each occurred."""
    kept: list[Array] = []
    weight: list[int] = []
    for v in vectors:
        v = v / np.linalg.norm(v)
        for i, k in enumerate(kept):
            if abs(abs(float(k @ v)) - 1) < 1e-9:
                weight[i] += 1
                break
        else:
            kept.append(v)
            weight.append(1)
    return np.array(kept).reshape(-1, dim), np.array(weight, dtype=np.float64)


def _collect_marks(factors: Stack, dims: tuple[int, int, int], cyclic: bool) -> list[Marks]:
    """Return the marks of V_n, V_m, V_p (of the single space V when the three are identified)."""
    points: list[list[Array]] = [[], [], []]
    covectors: list[list[Array]] = [[], [], []]
    for k, mats in enumerate(factors):
        l, r = k, (k + 1) % 3
        image, row, kernel, cokernel = _marks_of(mats)
        points[l] += image
        covectors[r] += row
        points[r] += kernel
        covectors[l] += cokernel
    if cyclic:
        points = [[v for space in points for v in space]]
        covectors = [[v for space in covectors for v in space]]
    out = []
    for k in range(len(points)):
        p, pw = _distinct(points[k], dims[k])
        c, cw = _distinct(covectors[k], dims[k])
        out.append(Marks(p, c, pw, cw))
    return out


def _ranked_frames(marks: Marks, dim: int, rng: np.random.Generator, keep: int) -> list[Array]:
    """Return matrices S (coordinates x ↦ Sx) whose axes are marks, most zeros first."""
    found: list[tuple[float, Array]] = []
    for pool, dual in ((marks.points, False), (marks.covectors, True)):
        if len(pool) < dim:
            extra = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
            pool = np.concatenate([pool, extra])
        if comb(len(pool), dim) <= SUBSETS:
            subsets = np.array(list(combinations(range(len(pool)), dim)))
        else:
            subsets = np.array([rng.choice(len(pool), dim, replace=False) for _ in range(SUBSETS // 4)])
        frame = pool[subsets]  # (K, dim, dim), rows are the chosen marks
        frame = frame[np.abs(np.linalg.det(frame)) > 1e-6]
        if not len(frame):
            continue
        inverse = np.linalg.inv(frame)
        # nearly dependent marks would magnify rounding: keep the better conditioned frames
        size = np.linalg.norm(inverse, axis=(1, 2))
        good = size < max(STEEPEST, 1.2 * float(size.min()))
        frame, inverse = frame[good], inverse[good]
        # points: S = (rowsᵀ)⁻¹ sends mark i to axis i; covectors: S = rows sends covector i to axis i
        s = frame if dual else np.swapaxes(inverse, 1, 2)
        s_dual = inverse if dual else frame  # acts on covectors as y ↦ S⁻ᵀ y
        if dual:
            s_dual = np.swapaxes(s_dual, 1, 2)
        score = np.zeros(len(s))
        for vecs, weight, act in ((marks.points, marks.point_weight, s),
                                  (marks.covectors, marks.covector_weight, s_dual)):
            if len(vecs):
                image = np.abs(np.einsum("kij,vj->kvi", act, vecs))
                zero = image < 1e-7 * image.max(axis=2, keepdims=True)
                score += np.einsum("kvi,v->k", zero.astype(np.float64), weight)
        order = np.argsort(-score - 1e-3 * rng.random(len(score)))[:keep]
        found += [(float(score[i]), s[i]) for i in order]
    found.sort(key=lambda t: -t[0])
    return [_scale_axes(s, marks) for _, s in found[:keep]]


def _scale_axes(s: Array, marks: Marks) -> Array:
    """Scale the coordinates so that as many marks as possible have entries of equal size.

    Every pair of non-zero coordinates of a mark votes for one ratio of two axis scales; the ratios with
    most votes are taken greedily while they form no cycle (a maximum spanning tree).
    """
    dim = len(s)
    votes: dict[tuple[int, int, int], list[float]] = {}
    dual = np.linalg.inv(s).T
    for vecs, weight, act, sign in ((marks.points, marks.point_weight, s, 1.0),
                                    (marks.covectors, marks.covector_weight, dual, -1.0)):
        for v, w in zip(vecs @ act.T, weight, strict=True):
            support = np.flatnonzero(np.abs(v) > 1e-7 * np.abs(v).max())
            for i, j in combinations(map(int, support), 2):
                ratio = sign * float(np.log(abs(v[i])) - np.log(abs(v[j])))
                entry = votes.setdefault((i, j, int(round(ratio * 1e5))), [0.0, ratio])
                entry[0] += float(w) / (1.0 + ratio * ratio)  # wild ratios come from entries that are nearly 0
    log_scale = np.zeros(dim)
    group = np.arange(dim)
    for (i, j, _), (_, ratio) in sorted(votes.items(), key=lambda t: -t[1][0]):
        if group[i] == group[j]:
            continue
        # want log|v_i| + scale_i = log|v_j| + scale_j
        shift = log_scale[i] + ratio - log_scale[j]
        log_scale[group == group[j]] += shift
        group[group == group[j]] = group[i]
    out: Array = np.exp(log_scale - log_scale.mean())[:, None] * s
    return out


def apply_bases(factors: Stack, bases: Stack) -> Stack:
    """Return S_left X S_right⁻¹ for the three stacks of factor matrices U (n×m), V (m×p), W (p×n)."""
    inverse = [np.linalg.inv(b) for b in bases]
    u, v, w = (bases[k] @ x @ inverse[(k + 1) % 3] for k, x in enumerate(factors))
    return u, v, w


def candidate_bases(
    factors: Stack,
    dims: tuple[int, int, int],
    cyclic: bool,
    rng: np.random.Generator,
    keep: int = 24,
) -> Iterator[Stack]:
    """Yield changes of basis (S_n, S_m, S_p), the one that makes most entries vanish first.

    Parameters
    ----------
    factors : three float arrays (r, n, m), (r, m, p), (r, p, n)
        The factor matrices of the terms.
    dims : (n, m, p)
        Dimensions of the three spaces.
    cyclic : bool
        One basis for all three spaces.
    rng : numpy Generator
        Breaks ties and samples subsets.
    keep : int
        How many changes of basis are ranked before they start to be drawn at random.
    """
    marks = _collect_marks(factors, dims, cyclic)
    ranked = [_ranked_frames(mk, dims[k], rng, keep) for k, mk in enumerate(marks)]
    scored = []
    for i in range(keep):
        # the best frame of every space first, then geometrically spread draws from the ranked lists
        pick = [r[min(int(rng.geometric(0.25)) - 1 if i else 0, len(r) - 1)] for r in ranked]
        bases = (pick[0],) * 3 if cyclic else (pick[0], pick[1], pick[2])
        image = apply_bases(factors, bases)
        zeros = sum(int((np.abs(x) < 1e-7 * np.abs(x).max(axis=(1, 2), keepdims=True)).sum()) for x in image)
        scored.append((zeros, i, bases))
    scored.sort(key=lambda t: (-t[0], t[1]))
    seen: set[bytes] = set()
    for _, _, bases in scored:
        key = np.round(np.concatenate([b.ravel() for b in bases]), 6).tobytes()
        if key not in seen:
            seen.add(key)
            yield bases
