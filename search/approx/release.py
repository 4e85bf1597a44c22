"""From good ends to better ones without a group: free polish, terms dropped, merged or added, and compositions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.lm.engine import minimise
from search.lm.jobs import matmul_tensor
from search.lm.parametrisation import Free
from search.lm.projection import balanced

from .explore import SCHEDULE, End, ends_of

Array = NDArray[Any]
Factors = tuple[Array, Array, Array]

#: Gentle: starts are good already.
POLISH = SCHEDULE.with_(mu_start=1e-4, mu_end=1e-9, damping=1e-2, stall=1e-5, anneal=0.5)


def free_theta(factors: Factors) -> Array:
    """Parameters of `Free`: all rows of E_X, then of E_W, then of Dᵀ, balanced."""
    e_x, e_w, d = balanced(*factors)
    return np.concatenate([e_x.ravel(), e_w.ravel(), d.T.ravel()]).real


def polish(
    fmt: tuple[int, int, int], starts: Sequence[tuple[Factors, dict[str, Any]]], device: str = "cpu",
    iterations: int = 120, noise: Sequence[float] = (0.0,), seed: int = 0, seconds: float | None = None,
    slots: int = 64, most: int = 24, schedule: Any = POLISH,
) -> list[End]:
    """Free Levenberg–Marquardt from every start, as it stands and with noise; the best ends first."""
    rank = len(starts[0][0][0])
    target = matmul_tensor(*fmt)
    par = Free(target, rank)
    rng = np.random.default_rng(seed)
    base = np.stack([free_theta(f) for f, _ in starts])
    rms = np.sqrt((base**2).mean(1, keepdims=True))
    init = np.concatenate([base + s * rms * rng.standard_normal(base.shape) for s in noise])
    result = minimise(target, par, iterations=iterations, schedule=schedule, device=device, init=init, seconds=seconds,
                      slots=min(slots, len(init)))
    ends = ends_of(result, {}, most)
    for end in ends:
        row = end.origin.pop("restart")
        end.origin = {**starts[row % len(starts)][1], "released": f"free, noise {noise[row // len(starts)]}"}
    return ends


def removal_costs(factors: Factors) -> Array:
    """How much ‖T̂−T‖² grows at first order when a term goes and one slot of the others is refitted: the least of three.

    With the other two slots fixed, T̂ is linear in one; leaving out column l of a least-squares fit costs
    ‖coefficient_l‖² / (G⁻¹)_ll, G the Gram matrix of the fixed parts.
    """
    x, w, d = balanced(*factors)
    slots = [x, w, d.T]
    grams = [s @ s.T for s in slots]
    cost = []
    for s in range(3):
        gram = grams[(s + 1) % 3] * grams[(s + 2) % 3]
        inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
        cost.append((slots[s] ** 2).sum(1) / np.maximum(np.diag(inverse), 1e-300))
    return np.min(cost, axis=0)


def without(factors: Factors, gone: Sequence[int]) -> Factors:
    """Some terms removed and the decoder refitted (ridge against blow-up)."""
    keep = [l for l in range(len(factors[0])) if l not in set(gone)]
    x, w, d = balanced(*factors)
    x, w, d = x[keep], w[keep], d[:, keep]
    return x, w, d


def dropped(end: End, candidates: int) -> list[tuple[Factors, dict[str, Any]]]:
    """Starts one rank lower: the cheapest terms removed."""
    order = np.argsort(removal_costs(end.factors))[:candidates]
    return [(without(end.factors, [int(l)]), {**_parent(end), "start": f"term {int(l)} dropped"}) for l in order]


def merged(end: End, candidates: int) -> list[tuple[Factors, dict[str, Any]]]:
    """Starts one rank lower: two terms that share almost two of their three directions become one."""
    x, w, y = (f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-300)
               for f in (end.factors[0], end.factors[1], end.factors[2].T))
    cosines = [np.abs(f @ f.T) for f in (x, w, y)]
    two = np.max([cosines[s] * cosines[(s + 1) % 3] for s in range(3)], axis=0)
    pairs = np.argsort(-np.triu(two, 1), axis=None)[:candidates]
    out = []
    bx, bw, bd = balanced(*end.factors)
    for i, j in zip(*np.unravel_index(pairs, two.shape), strict=True):
        # best rank-one approximation of the sum of the two terms, by a few alternating steps
        u, v, z = bx[i].copy(), bw[i].copy(), bd[:, i].copy()
        for _ in range(20):
            for t in (i, j):
                pass
            u = sum(bx[t] * (bw[t] @ v) * (bd[:, t] @ z) for t in (i, j)) / ((v @ v) * (z @ z))
            v = sum(bw[t] * (bx[t] @ u) * (bd[:, t] @ z) for t in (i, j)) / ((u @ u) * (z @ z))
            z = sum(bd[:, t] * (bx[t] @ u) * (bw[t] @ v) for t in (i, j)) / ((u @ u) * (v @ v))
        keep = [l for l in range(len(bx)) if l not in (i, j)]
        factors = (np.vstack([bx[keep], u]), np.vstack([bw[keep], v]), np.column_stack([bd[:, keep], z]))
        if all(np.isfinite(f).all() for f in factors):
            out.append((factors, {**_parent(end), "start": f"terms {i} and {j} merged"}))
    return out


def grown(
    fmt: tuple[int, int, int], end: End, candidates: int, seed: int = 0
) -> list[tuple[Factors, dict[str, Any]]]:
    """Starts one rank higher: rank-one approximations of what is missing, from several random directions."""
    rng = np.random.default_rng(seed)
    x, w, d = balanced(*end.factors)
    gap = matmul_tensor(*fmt) - np.einsum("la,lb,cl->abc", x, w, d)
    out = []
    for k in range(candidates):
        v, z = rng.standard_normal(gap.shape[1]), rng.standard_normal(gap.shape[2])
        for _ in range(15):
            u = np.einsum("abc,b,c->a", gap, v, z)
            u /= np.linalg.norm(u)
            v = np.einsum("abc,a,c->b", gap, u, z)
            v /= np.linalg.norm(v)
            z = np.einsum("abc,a,b->c", gap, u, v)
            size = np.linalg.norm(z)
            z = z / size
        root = np.cbrt(size)
        factors = (np.vstack([x, root * u]), np.vstack([w, root * v]), np.column_stack([d, root * z]))
        out.append((factors, {**_parent(end), "start": f"term added, direction {k}"}))
    return out


def _parent(end: End) -> dict[str, Any]:
    o = end.origin
    trail = [*o.get("trail", []), f"r{end.rank} {end.total:.4f}"]
    return {k: o[k] for k in ("group", "counts", "label", "seed", "from") if k in o} | {"trail": trail[-12:]}


def kron(f: Factors, g: Factors, fmt_f: tuple[int, int, int], fmt_g: tuple[int, int, int]) -> Factors:
    """Encoder of the product format from two, indices of the first factor outermost on every side."""
    def mix(p: Array, q: Array, a: tuple[int, int], b: tuple[int, int]) -> Array:
        both = np.einsum("lij,mkn->lmikjn", p.reshape(-1, *a), q.reshape(-1, *b))
        return both.reshape(len(p) * len(q), a[0] * b[0] * a[1] * b[1])

    (n, m, p), (n2, m2, p2) = fmt_f, fmt_g
    return (mix(f[0], g[0], (n, m), (n2, m2)), mix(f[1], g[1], (m, p), (m2, p2)),
            mix(f[2].T, g[2].T, (n, p), (n2, p2)).T)


def summed(f: Factors, g: Factors, fmt_f: tuple[int, int, int], fmt_g: tuple[int, int, int], axis: int) -> Factors:
    """Encoder of the format whose side `axis` (0: n, 1: m, 2: p) is the sum of both."""
    total = list(fmt_f)
    total[axis] += fmt_g[axis]
    sides = ((0, 1), (1, 2), (0, 2))
    out = []
    for s, (a, b) in enumerate(sides):
        blocks = []
        for which, (h, fmt) in enumerate(((f, fmt_f), (g, fmt_g))):
            rows = h[s] if s < 2 else h[2].T
            full = np.zeros((len(rows), total[a], total[b]))
            at = [0, 0, 0]
            if which:
                at[axis] = fmt_f[axis]
            full[:, at[a] : at[a] + fmt[a], at[b] : at[b] + fmt[b]] = rows.reshape(-1, fmt[a], fmt[b])
            blocks.append(full.reshape(len(rows), -1))
        out.append(np.vstack(blocks))
    return out[0], out[1], out[2].T
