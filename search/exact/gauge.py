"""Choosing coordinates: bases of the three spaces in which a numerical algorithm becomes sparse.

A, B, C live in V_n⊗V_m*, V_m⊗V_p*, V_n⊗V_p*. The factor matrices of a term, U (n×m), V (m×p) and
Wᵀ-shaped W (p×n), transform as ``X ↦ S_left X S_right⁻¹``. Rank-one factors mark points (images) and
covectors (row spaces) of these spaces, factors of corank one mark kernels. If the algorithm is
equivalent to a rational one whose terms are individually rational, all these marks are rational points
once n of them are made the coordinate axes (and one more the all-ones vector): a projective frame. So
frames made of marks are the candidates, ranked by how many zeros they produce.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tying import Symmetry

__all__ = ["apply_bases", "candidate_bases", "keeps_order", "matmul_format", "moved_symmetry"]

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


def _distinct(vectors: list[Array], dim: int, axes: bool) -> tuple[Array, Array]:
    """Merge parallel vectors; return unit representatives and how often each occurred (axes added count 0)."""
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
    for axis in np.eye(dim) if axes else ():
        if all(abs(abs(float(k @ axis)) - 1) >= 1e-9 for k in kept):
            kept.append(axis)
            weight.append(0)
    return np.array(kept).reshape(-1, dim), np.array(weight, dtype=np.float64)


def _collect_marks(factors: Stack, dims: tuple[int, int, int], axes: bool) -> list[Marks]:
    """Return the marks of V_n, V_m, V_p; with ``axes`` the coordinate axes are marks of weight 0 as well."""
    points: list[list[Array]] = [[], [], []]
    covectors: list[list[Array]] = [[], [], []]
    for k, mats in enumerate(factors):
        l, r = k, (k + 1) % 3
        image, row, kernel, cokernel = _marks_of(mats)
        points[l] += image
        covectors[r] += row
        points[r] += kernel
        covectors[l] += cokernel
    out = []
    for k in range(3):
        p, pw = _distinct(points[k], dims[k], axes)
        c, cw = _distinct(covectors[k], dims[k], axes)
        out.append(Marks(p, c, pw, cw))
    return out


@dataclass(frozen=True)
class _Atoms:
    """Lines of the three spaces that a group permutes, as orbits: what a frame has to be a union of.

    ``orbits[k]`` lists for every orbit its lines (indices) in space k; ``blocks`` are the spaces that the group
    exchanges, of which the first determines the frames of all.
    """

    orbits: tuple[list[list[int]], list[list[int]], list[list[int]]]
    blocks: list[list[int]]


def _space_maps(symmetry: Symmetry, dims: tuple[int, int, int]) -> list[list[tuple[int, Array]]]:
    """Return for every element the space and the matrix to which it sends each of V_n, V_m, V_p.

    Slot k of the trace form is Hom(V_{k+1}, V_k); the third slot is stored transposed.
    """
    out = []
    for g in symmetry:
        images = []
        for s in range(3):
            t = g.slots[s]
            # (row, column) of the target slot × (row, column) of the source slot, in the trace form
            table = g.maps[s].reshape(*_stored(t, dims), *_stored(s, dims))
            if t == 2:
                table = table.swapaxes(0, 1)
            if s == 2:
                table = table.swapaxes(2, 3)
            place = np.unravel_index(int(np.abs(table).argmax()), table.shape)
            left = table[:, place[1], :, place[3]]
            images.append((t, left / np.linalg.norm(left, 2)))
        out.append(images)
    return out


def _stored(slot: int, dims: tuple[int, int, int]) -> tuple[int, int]:
    n, m, p = dims
    return ((n, m), (m, p), (n, p))[slot]


def _atoms(lines: Sequence[Array], maps: list[list[tuple[int, Array]]], dual: bool) -> _Atoms:
    """Return the orbits of the lines under a group of orthogonal matrices; lines without an image are left out."""
    marks = [(k, i) for k in range(3) for i in range(len(lines[k]))]
    images: dict[tuple[int, int], set[tuple[int, int]]] = {mark: set() for mark in marks}
    lost: set[tuple[int, int]] = set()
    for element in maps:
        for k, (t, matrix) in enumerate(element):
            if not len(lines[k]):
                continue
            act = np.linalg.inv(matrix).T if dual else matrix
            moved = lines[k] @ act.T
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            agree = np.abs(moved @ lines[t].T) if len(lines[t]) else np.zeros((len(moved), 1))
            for i, row in enumerate(agree):
                images[k, i].add((t, int(row.argmax())))
                if row.max() < 1 - 1e-8:
                    lost.add((k, i))
    orbits: tuple[list[list[int]], ...] = ([], [], [])
    seen: set[tuple[int, int]] = set()
    for mark, orbit in images.items():
        if mark in seen or mark in lost:
            continue
        seen |= orbit
        for k in range(3):
            orbits[k].append([i for space, i in sorted(orbit) if space == k])
    blocks: list[list[int]] = []
    for k in range(3):
        if not any(k in b for b in blocks):
            blocks.append(sorted({element[k][0] for element in maps}))
    return _Atoms(orbits, blocks)  # type: ignore[arg-type]


def _unions(sizes: list[int], dim: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Return sets of orbits whose sizes add up to dim: all of them, or a sample if there are too many."""
    usable = [i for i, s in enumerate(sizes) if 0 < s <= dim]
    out: list[tuple[int, ...]] = []

    def extend(prefix: tuple[int, ...], at: int, left: int) -> bool:
        if left == 0:
            out.append(prefix)
            return len(out) <= SUBSETS
        return all(
            extend((*prefix, usable[k]), k + 1, left - sizes[usable[k]])
            for k in range(at, len(usable))
            if sizes[usable[k]] <= left
        )

    if extend((), 0, dim):
        return out
    out = []
    for _ in range(SUBSETS // 4):
        left, chosen = dim, []
        for i in rng.permutation(usable):
            if sizes[i] <= left:
                chosen.append(int(i))
                left -= sizes[i]
        if left == 0:
            out.append(tuple(chosen))
    return out


def _ranked_frames(
    marks: list[Marks],
    maps: list[list[tuple[int, Array]]],
    dims: tuple[int, int, int],
    rng: np.random.Generator,
    keep: int,
) -> list[list[dict[int, Array]]]:
    """Return for every block of spaces the matrices S (coordinates x ↦ Sx) whose axes are marks, most zeros first."""
    pools = {False: [m.points for m in marks], True: [m.covectors for m in marks]}
    found: dict[int, list[tuple[float, dict[int, Array]]]] = {}
    for dual, lines in pools.items():
        short = [k for k in range(3) if len(lines[k]) < dims[k]]
        if len(maps) == 1:
            for k in short:
                extra = np.linalg.qr(rng.standard_normal((dims[k], dims[k])))[0]
                lines[k] = np.concatenate([lines[k], extra])
        atoms = _atoms(lines, maps, dual)
        for block in atoms.blocks:
            k = block[0]
            unions = _unions([len(o) for o in atoms.orbits[k]], dims[k], rng)
            if not unions:
                continue
            subsets = np.array([[i for o in u for i in atoms.orbits[k][o]] for u in unions])
            score, order = _scores(marks[k], lines[k][subsets], dual, rng)
            for i in order[:keep]:
                rows = lines[k][subsets[i]]
                frame = {}
                for space in block:
                    matrix = next(e[k][1] for e in maps if e[k][0] == space)
                    moved = rows @ (np.linalg.inv(matrix) if dual else matrix.T)
                    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
                    # points: S = (rowsᵀ)⁻¹ sends mark i to axis i; covectors: S = rows sends covector i to axis i
                    frame[space] = moved if dual else np.linalg.inv(moved).T
                owner = np.concatenate([[o] * len(atoms.orbits[k][o]) for o in unions[i]])
                found.setdefault(k, []).append((float(score[i]), _scale_axes(frame, marks, owner)))
    return [[f for _, f in sorted(found[k], key=lambda t: -t[0])[:keep]] for k in sorted(found)]


def _scores(marks: Marks, frame: Array, dual: bool, rng: np.random.Generator) -> tuple[Array, list[int]]:
    """Return how many zeros each of many frames (K, dim, dim) makes, and the usable frames, best first."""
    score = np.full(len(frame), -np.inf)
    usable = np.flatnonzero(np.abs(np.linalg.det(frame)) > 1e-6)
    if not usable.size:
        return score, []
    frame = frame[usable]
    inverse = np.linalg.inv(frame)
    # nearly dependent marks would magnify rounding: keep the better conditioned frames
    size = np.linalg.norm(inverse, axis=(1, 2))
    good = size < max(STEEPEST, 1.2 * float(size.min()))
    usable, frame, inverse = usable[good], frame[good], inverse[good]
    s = frame if dual else np.swapaxes(inverse, 1, 2)
    s_dual = np.swapaxes(inverse, 1, 2) if dual else frame  # acts on covectors as y ↦ S⁻ᵀ y
    total = np.zeros(len(s))
    for vecs, weight, act in ((marks.points, marks.point_weight, s), (marks.covectors, marks.covector_weight, s_dual)):
        if len(vecs):
            image = np.abs(np.einsum("kij,vj->kvi", act, vecs))
            zero = image < 1e-7 * image.max(axis=2, keepdims=True)
            total += np.einsum("kvi,v->k", zero.astype(np.float64), weight)
    score[usable] = total
    return score, [int(i) for i in usable[np.argsort(-total - 1e-3 * rng.random(len(total)))]]


def _scale_axes(frame: dict[int, Array], marks: list[Marks], owner: Array) -> dict[int, Array]:
    """Scale the coordinates so that as many marks as possible have entries of equal size.

    Every pair of non-zero coordinates of a mark votes for one ratio of two axis scales; the ratios with
    most votes are taken greedily while they form no cycle (a maximum spanning tree). Axes that the group exchanges
    (equal ``owner``) have one scale: the frame consists of unit vectors, on which orthogonal matrices act by signs.
    """
    votes: dict[tuple[int, int, int], list[float]] = {}
    for k, s in frame.items():
        for vecs, weight, act, sign in (
            (marks[k].points, marks[k].point_weight, s, 1.0),
            (marks[k].covectors, marks[k].covector_weight, np.linalg.inv(s).T, -1.0),
        ):
            for v, w in zip(vecs @ act.T, weight, strict=True):
                support = np.flatnonzero(np.abs(v) > 1e-7 * np.abs(v).max())
                for i, j in combinations(map(int, support), 2):
                    ratio = sign * float(np.log(abs(v[i])) - np.log(abs(v[j])))
                    a, b = int(owner[i]), int(owner[j])
                    if a > b:
                        a, b, ratio = b, a, -ratio
                    entry = votes.setdefault((a, b, int(round(ratio * 1e5))), [0.0, ratio])
                    entry[0] += float(w) / (1.0 + ratio * ratio)  # wild ratios come from entries that are nearly 0
    names = {int(o): i for i, o in enumerate(np.unique(owner))}
    log_scale = np.zeros(len(names))
    group = np.arange(len(names))
    for (a, b, _), (_, ratio) in sorted(votes.items(), key=lambda t: -t[1][0]):
        i, j = names[a], names[b]
        if group[i] == group[j]:
            continue
        # want log|v_i| + scale_i = log|v_j| + scale_j
        shift = log_scale[i] + ratio - log_scale[j]
        log_scale[group == group[j]] += shift
        group[group == group[j]] = group[i]
    axis = np.exp(log_scale - log_scale.mean())[[names[int(o)] for o in owner]]
    return {k: axis[:, None] * s for k, s in frame.items()}


def apply_bases(factors: Stack, bases: Stack) -> Stack:
    """Return S_left X S_right⁻¹ for the three stacks of factor matrices U (n×m), V (m×p), W (p×n)."""
    inverse = [np.linalg.inv(b) for b in bases]
    u, v, w = (bases[k] @ x @ inverse[(k + 1) % 3] for k, x in enumerate(factors))
    return u, v, w


def moved_symmetry(symmetry: Symmetry, bases: Stack) -> list[Moved]:
    """Return the elements of a group in other coordinates."""
    inverse = [np.linalg.inv(b) for b in bases]
    n, m, p = bases
    ni, mi, pi = inverse
    change = (np.kron(n, mi.T), np.kron(m, pi.T), np.kron(ni.T, p))
    back = (np.kron(ni, m.T), np.kron(mi, p.T), np.kron(n.T, pi))
    out = []
    for g in symmetry:
        a, b, c = (change[g.slots[s]] @ g.maps[s] @ back[s] for s in range(3))
        out.append(Moved(g.slots, (a, b, c)))
    return out


@dataclass(frozen=True)
class Moved:
    """A symmetry in other coordinates (see `tying.SlotMap`)."""

    slots: tuple[int, int, int]
    maps: tuple[Array, Array, Array]


def keeps_order(slots: tuple[int, int, int]) -> bool:
    """Whether a permutation of the slots is a cyclic shift (a reversal sends points to covectors)."""
    return tuple((s - slots[0]) % 3 for s in slots) == (0, 1, 2)


def candidate_bases(
    factors: Stack,
    dims: tuple[int, int, int],
    symmetry: Symmetry,
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
    symmetry : sequence of elements
        Orthogonal, without reversals; frames are unions of its orbits, so in the new bases it acts by signed
        permutations. Empty for no symmetry.
    rng : numpy Generator
        Breaks ties and samples subsets.
    keep : int
        How many changes of basis are ranked before they start to be drawn at random.
    """
    marks = _collect_marks(factors, dims, axes=bool(symmetry))
    maps = _space_maps(symmetry, dims) if symmetry else [[(k, np.eye(d)) for k, d in enumerate(dims)]]
    ranked = _ranked_frames(marks, maps, dims, rng, keep)
    if sum(len(r[0]) for r in ranked) < 3:
        return  # some space has no frame that the group permutes
    scored = []
    for i in range(keep):
        # the best frame of every space first, then geometrically spread draws from the ranked lists
        pick: dict[int, Array] = {}
        for r in ranked:
            pick |= r[min(int(rng.geometric(0.25)) - 1 if i else 0, len(r) - 1)]
        bases = (pick[0], pick[1], pick[2])
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
