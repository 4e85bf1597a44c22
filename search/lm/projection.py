"""Starts as factors, brought into the coordinates of a parametrisation: balanced, capped, fitted to orbits.

A term x⊗w⊗d is given only up to scalars with product one.  Where a parametrisation ties slots of a term together,
these scalars are chosen so that the tied vectors agree as far as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

from .deflation import from_copies, strengths, to_copies
from .parametrisation import OrbitType, Parametrisation

__all__ = ["balanced", "capped", "fit_orbits", "of_rank", "perturbed"]

Array = NDArray[Any]
Factors = tuple[Array, Array, Array]


def balanced(e_x: Array, e_w: Array, d: Array) -> Factors:
    """The same tensor with the three vectors of every term equally long.

    Examples
    --------
    >>> x, w, d = balanced(np.array([[4.0]]), np.array([[1.0]]), np.array([[2.0]]))
    >>> x.tolist(), w.tolist(), d.tolist()
    ([[2.0]], [[2.0]], [[2.0]])
    """
    slots = [np.asarray(e_x), np.asarray(e_w), np.asarray(d).T]
    norms = [np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in slots]
    mean = np.cbrt(norms[0] * norms[1] * norms[2])
    x, w, y = (mean * v / n for v, n in zip(slots, norms, strict=True))
    return x, w, y.T


def of_rank(factors: Factors, rank: int, rng: np.random.Generator, fill: float = 0.1) -> Factors:
    """Terms removed at random, weak ones rather than strong ones, or small random ones added, to have `rank` terms."""
    e_x, e_w, d = balanced(*factors)
    held = len(e_x)
    if held > rank:
        size = np.linalg.norm(e_x, axis=1)
        order = np.argsort(3 * np.log(np.maximum(size, 1e-300)) + rng.gumbel(size=held))[::-1]
        keep = np.sort(order[:rank])
        return e_x[keep], e_w[keep], d[:, keep]
    rms = fill * float(np.sqrt((np.abs(e_x) ** 2).mean()))
    new = [rms * rng.standard_normal((rank - held, size)) for size in (e_x.shape[1], e_w.shape[1], len(d))]
    return np.concatenate([e_x, new[0]]), np.concatenate([e_w, new[1]]), np.concatenate([d, new[2].T], axis=1)


def perturbed(theta: Array, noise: float, rng: np.random.Generator) -> Array:
    """Gaussian noise on every entry, of `noise` times the root mean square of the entries of its row."""
    rms = np.sqrt((np.abs(theta) ** 2).mean(axis=1, keepdims=True))
    kick = rng.standard_normal(theta.shape)
    if np.iscomplexobj(theta):
        kick = (kick + 1j * rng.standard_normal(theta.shape)) / np.sqrt(2)
    return np.asarray(theta + noise * rms * kick)


def capped(par: Parametrisation, theta: Array, cap: float) -> Array:
    """Orbits stronger than `cap` times the median of their row scaled down to it: bounded starts from border solutions.

    Near a solution of border rank a few large terms nearly cancel; scaled down they are an ordinary start again, and
    the norm penalty keeps them from growing back the same way.
    """
    copies = to_copies(par, theta)
    sizes = [strengths(orbit, blocks) for (orbit, _), blocks in zip(par.orbits, copies, strict=True)]
    limit = cap * np.median(np.concatenate(sizes, axis=1), axis=1, keepdims=True)
    out = []
    for blocks, size in zip(copies, sizes, strict=True):
        scale = np.cbrt(limit / np.maximum(size, np.maximum(limit, 1e-300)))[:, :, None]
        out.append([block * scale for block in blocks])
    return from_copies(out)


def _tied(orbit: OrbitType, term: Sequence[Array]) -> tuple[list[Array], float]:
    """Block vectors whose representative is nearest to a balanced term, and the squared distance of the two."""
    groups: dict[int, list[int]] = {}
    for s, (block, _) in enumerate(orbit.maps[0]):
        groups.setdefault(block, []).append(s)
    vectors = [np.asarray(x) for x in term]
    left: Any = 1.0
    for slots in groups.values():
        first = _pulled(orbit, slots[0], vectors[slots[0]])
        for s in slots[1:]:
            overlap = np.vdot(first, _pulled(orbit, s, vectors[s]))
            phase = overlap / abs(overlap) if abs(overlap) > 1e-12 else 1.0
            vectors[s] = vectors[s] / phase
            left = left * phase
    # the phase left over goes where it does least harm: a slot of its own, else a cube root in all three
    alone = [slots[0] for slots in groups.values() if len(slots) == 1]
    if alone:
        vectors[alone[0]] = vectors[alone[0]] * left
    elif np.iscomplexobj(left):
        vectors = [v * left ** (1 / 3) for v in vectors]
    else:
        vectors = [v * left for v in vectors]
    blocks, distance = [], 0.0
    for block in range(len(orbit.widths)):
        slots = groups.get(block, [])
        y = sum((_pulled(orbit, s, vectors[s]) for s in slots), np.zeros(orbit.widths[block])) / max(1, len(slots))
        blocks.append(np.asarray(y))
    for s, (block, matrix) in enumerate(orbit.maps[0]):
        distance += float((np.abs(matrix @ blocks[block] - vectors[s]) ** 2).sum())
    return blocks, distance


def _pulled(orbit: OrbitType, slot: int, vector: Array) -> Array:
    """Least-squares coordinates of a slot vector in its block (maps are multiples of isometries)."""
    matrix = orbit.maps[0][slot][1]
    weight = float((np.abs(matrix) ** 2).sum()) / matrix.shape[1]
    return np.asarray(matrix.conj().T @ vector / weight)


def fit_orbits(par: Parametrisation, factors: Factors, rng: np.random.Generator) -> tuple[Array, float]:
    """Parameters (size,) whose orbits come as close to the given terms as a greedy assignment finds.

    Free parametrisations take the terms as they are.  Otherwise each orbit takes the term that fits its type best
    and then removes from the list the terms that its images stand for; short orbits choose first.  For factors that
    are invariant up to scalars this finds their parameters, for others it is their projection onto the invariant
    subspace in the sense of choosing one representative per orbit.

    Parameters
    ----------
    par : Parametrisation
    factors : (r, a), (r, b), (c, r) arrays
    rng : Generator
        Breaks ties: the order in which terms are offered.

    Returns
    -------
    theta, distance : (size,) array, float
        The distance is relative: ‖terms − images‖ over ‖terms‖, in the balanced scaling.

    Raises
    ------
    StlError
        If the factors do not have the parametrisation's slot lengths.
    """
    e_x, e_w, d = balanced(*factors)
    if (e_x.shape[1], e_w.shape[1], len(d)) != par.dims:
        raise StlError("factors", (e_x.shape, e_w.shape, d.shape), f"slot lengths {par.dims}", "use another start")
    dtype = par.dtype
    if not np.issubdtype(dtype, np.complexfloating) and any(np.iscomplexobj(f) for f in (e_x, e_w, d)):
        raise StlError("factors", "complex entries", "real ones", 'use field "complex"')
    left = [[e_x[l], e_w[l], d[:, l]] for l in rng.permutation(len(e_x))]
    total = sum(float((np.abs(x) ** 2).sum()) for term in left for x in term)
    chosen: dict[int, list[list[Array]]] = {i: [] for i in range(len(par.orbits))}
    missed = 0.0
    for i in sorted(range(len(par.orbits)), key=lambda i: par.orbits[i][0].size):
        orbit, count = par.orbits[i]
        for _ in range(count):
            if not left:
                chosen[i].append([1e-3 * rng.standard_normal(w) for w in orbit.widths])
                continue
            fits = [_tied(orbit, term) for term in left]
            share = [
                f[1] / max(1e-300, sum(float((np.abs(x) ** 2).sum()) for x in t))
                for f, t in zip(fits, left, strict=True)
            ]
            best = int(np.argmin(share))
            blocks, distance = fits[best]
            missed += distance * orbit.size
            chosen[i].append(blocks)
            left = _without_images(orbit, blocks, left, best)
    copies = [
        [np.stack([c[b] for c in chosen[i]])[None] for b in range(len(orbit.widths))]
        for i, (orbit, _) in enumerate(par.orbits)
    ]
    return from_copies(copies)[0].astype(dtype), float(np.sqrt(missed / max(total, 1e-300)))


def _without_images(orbit: OrbitType, blocks: list[Array], terms: list[list[Array]], taken: int) -> list[list[Array]]:
    """The terms not yet accounted for: `taken` goes, and for every other image the term most parallel to it."""
    gone = {taken}
    for image in orbit.maps[1:]:
        vectors = [matrix @ blocks[block] for block, matrix in image]
        best, where = -1.0, -1
        for l, term in enumerate(terms):
            if l in gone:
                continue
            cosine = 1.0
            for x, y in zip(vectors, term, strict=True):
                cosine *= float(abs(np.vdot(x, y)) / max(1e-300, np.linalg.norm(x) * np.linalg.norm(y)))
            if cosine > best:
                best, where = cosine, l
        if where >= 0:
            gone.add(where)
    return [term for l, term in enumerate(terms) if l not in gone]
