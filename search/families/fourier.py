"""Fourier encoders of finite groups: approximate triple products, then least squares, then polish.

Cohn–Umans embed a matrix product in the algebra of a group: a_ik ↦ g^α(i,k), b_kj ↦ g^β(k,j), and entry (i,j) is read
from the coefficients. Below the order that the triple product property needs, products collide; for given index maps
α, β into a group G the best linear decoder is known in closed form. With N_g pairs falling on g and n_{ij,g} of them
wanted in entry (i,j), coefficient (i,j) is estimated by Σ_g (n_{ij,g}/N_g)·G_g and

    ε² = 1 − Σ_{ij,g} n²_{ij,g} / N_g / nmp.

The Fourier transform of G makes the product block diagonal; each block is multiplied by an exact encoder of its size.
For Z_r these are r complex channels, or one real channel for each real character and three for each complex pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import isinf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError, group, ring
from stl_algebra.groups import RealFourier
from stl_algebra.schemes import gauss, laderman, root_powers, standard, strassen
from stl_algebra.targets import Target, matmul

from ..core.unit import Context, Request, Unit, register

__all__ = [
    "algebra",
    "complex_encoder",
    "index_maps",
    "least_squares_decoder",
    "real_encoder",
    "real_rank",
    "retained_energy",
]

#: Largest group order; beyond it no tile of volume 64 has fewer channels than products.
MAX_ORDER = 63
NOISE = (0.02, 0.1, 0.25, 0.5)


@lru_cache(maxsize=64)
def algebra(name: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Multiplication table of a group and a real bilinear algorithm for its algebra R[G].

    Returns
    -------
    table : int array (|G|, |G|)
    left, right : float arrays (rank, |G|)
        Linear forms such that f·h is a linear function of the products (left f) ⊙ (right h): every block of the real
        Fourier transform is multiplied by an encoder of its matrix size, complex blocks in three real products
        (Gauss), quaternionic ones entry by entry.
    """
    g = group(name)
    transform = RealFourier(g)
    rows = transform.matrix.complex().real / np.sqrt(g.order)
    left, right = [], []
    for block in transform.blocks:
        part = rows[block.offset : block.offset + block.dimension]
        if block.type == "quaternionic":
            left.append(np.repeat(part, len(part), axis=0))
            right.append(np.tile(part, (len(part), 1)))
            continue
        e_x, e_w, _ = _block_encoder(block.size, block.type == "complex").floats()
        left.append(e_x @ part)
        right.append(e_w @ part)
    return np.asarray(g.table, dtype=np.int64), np.concatenate(left), np.concatenate(right)


def _block_encoder(size: int, is_complex: bool) -> Encoder:
    matrix = {2: strassen, 3: laderman}.get(size, lambda: standard(size, size, size))()
    return gauss().kron(matrix) if is_complex else matrix


def real_rank(order: int) -> int:
    """Real multiplications of the algebra R[Z_r]: one per real character, three per pair of complex characters."""
    real = 2 - order % 2
    return min(real, order) + 3 * ((order - real) // 2)


def _falls_on(alpha: NDArray[np.int64], beta: NDArray[np.int64], table: NDArray[np.int64]) -> tuple[Any, Any]:
    """N (|G|): pairs a_ik, b_k'j whose product falls on g; n (np, |G|): those wanted in entry (i, j)."""
    order = len(table)
    total = np.bincount(table[alpha.ravel()[:, None], beta.ravel()[None, :]].ravel(), minlength=order)
    wanted = table[alpha[:, :, None], beta[None, :, :]]  # (n, m, p)
    n, _, p = wanted.shape
    cell = (np.arange(n)[:, None, None] * p + np.arange(p)[None, None, :]) * order + wanted
    return total, np.bincount(cell.ravel(), minlength=n * p * order).reshape(n * p, order)


def retained_energy(alpha: NDArray[np.int64], beta: NDArray[np.int64], table: NDArray[np.int64]) -> float:
    """nmp·(1 − ε²) of index maps α (n, m) and β (m, p) into a group with the best decoder."""
    total, hits = _falls_on(alpha, beta, table)
    return float((hits**2 / np.maximum(total, 1)).sum())


def index_maps(
    fmt: tuple[int, int, int], table: NDArray[np.int64], seed: int, restarts: int = 12
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index maps of least collision: coordinate ascent of `retained_energy` from random maps.

    Returns
    -------
    alpha, beta : int arrays (n, m) and (m, p) of group elements
    """
    order = len(table)
    rng = np.random.default_rng([seed, order, *fmt])
    n, m, p = fmt
    best: tuple[float, NDArray[np.int64], NDArray[np.int64]] | None = None
    for _ in range(restarts):
        maps = [rng.integers(0, order, (n, m)), rng.integers(0, order, (m, p))]
        value, improved = retained_energy(maps[0], maps[1], table), True
        while improved:
            improved = False
            for index in rng.permutation(n * m + m * p):
                flat = maps[0].reshape(-1) if index < n * m else maps[1].reshape(-1)
                at = index if index < n * m else index - n * m
                keep = flat[at]
                for g in range(order):
                    flat[at] = g
                    trial = retained_energy(maps[0], maps[1], table)
                    if trial > value + 1e-12:
                        value, keep, improved = trial, g, True
                flat[at] = keep
        if best is None or value > best[0]:
            best = (value, maps[0].copy(), maps[1].copy())
    assert best is not None
    return best[1], best[2]


def _decoder(alpha: NDArray[np.int64], beta: NDArray[np.int64], table: NDArray[np.int64]) -> NDArray[Any]:
    """Exact least-squares decoder from group coefficients: (np, |G|) fractions n/N."""
    total, hits = _falls_on(alpha, beta, table)
    out = np.full(hits.shape, Fraction(0), dtype=object)
    for at in np.argwhere(hits):
        out[tuple(at)] = Fraction(int(hits[tuple(at)]), int(total[at[1]]))
    return out


def complex_encoder(alpha: NDArray[np.int64], beta: NDArray[np.int64], order: int, origin: dict[str, Any]) -> Encoder:
    """The encoder of complex rank r, exact over Q(ζ_r): E_X[k] = ζ^{kα}, E_W[k] = ζ^{kβ}, D by least squares."""
    n, m = alpha.shape
    p = beta.shape[1]
    base = ring(f"Q(zeta_{order})")
    powers = root_powers(base, order)
    k = np.arange(order)
    e_x = powers[np.outer(k, alpha.ravel()) % order]
    e_w = powers[np.outer(k, beta.ravel()) % order]
    shift = np.arange(order)
    read = _decoder(alpha, beta, (shift[:, None] + shift[None, :]) % order)  # (np, r)
    inverse = powers[np.outer(k, -k) % order].astype(object)  # (g, k, coefficient)
    d = np.tensordot(read, inverse, axes=([1], [0])) * Fraction(1, order)
    if base.degree == 1:
        e_x, e_w, d = e_x[..., 0], e_w[..., 0], d[..., 0]
    return Encoder.build((n, m, p), e_x, e_w, d, ring=base, origin=origin)


def least_squares_decoder(target: Target, e_x: NDArray[Any], e_w: NDArray[Any]) -> NDArray[Any]:
    """D (c, r) minimising ‖T̂ − T‖ for given encoders (r, a), (r, b): normal equations on Hadamard products of Grams."""
    gram = (e_x @ e_x.T) * (e_w @ e_w.T)
    right = np.zeros((target.shape[2], len(e_x)))
    for (a, b, c), v in zip(target.index, target.value, strict=True):
        right[c] += v * e_x[:, a] * e_w[:, b]
    return np.linalg.lstsq(gram, right.T, rcond=1e-10)[0].T


def real_encoder(
    alpha: NDArray[np.int64], beta: NDArray[np.int64], left: NDArray[Any], right: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Float factors of an encoder whose channels are those of the group algebra (see `algebra`), D by least squares."""
    target = matmul(alpha.shape[0], alpha.shape[1], beta.shape[1])
    e_x, e_w = left[:, alpha.ravel()], right[:, beta.ravel()]
    return e_x, e_w, least_squares_decoder(target, e_x, e_w)


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """The complex encoder in closed form, if the group is cyclic; then the real one, polished."""
    from ..lm import Free, Schedule, minimise

    name = str(unit.parameters["group"])
    table, left, right = algebra(name)
    alpha, beta = index_maps(unit.format, table, unit.seed)
    target = matmul(*unit.format)
    if is_cyclic(name):
        origin = {"stage": "constructed", "alpha": alpha.tolist(), "beta": beta.tolist()}
        yield complex_encoder(alpha, beta, len(table), origin)
    factors = real_encoder(alpha, beta, left, right)
    theta = np.concatenate([factors[0].ravel(), factors[1].ravel(), factors[2].T.ravel()])
    rng = np.random.default_rng([unit.seed, len(table)])
    scale = np.sqrt((theta**2).mean())
    init = np.array([theta + level * scale * rng.standard_normal(theta.size) for level in NOISE])
    result = minimise(
        target, Free(target, unit.rank), iterations=80, schedule=Schedule(mu_start=0.1, mu_end=1e-3), seed=unit.seed,
        device=context.device, init=init, seconds=None if isinf(context.left()) else max(0.1, context.left()),
    )  # fmt: skip
    context.statistics |= {
        "restarts": len(result.eps2), "converged": int(result.converged.sum()), "best_eps2": float(result.eps2.min()),
        "steps": result.iterations, "search_seconds": round(result.seconds, 3), "group": name,
    }  # fmt: skip
    for row in np.argsort(np.where(result.converged, result.kappa2, np.inf))[: int(result.converged.sum())]:
        yield Encoder.build(target, *result.factors(row), ring="R64")
    if not result.converged.any():
        error = np.where(np.isfinite(result.eps2), result.eps2 + 8.1e-6 * result.kappa2, np.inf)
        best = int(error.argmin())
        if np.isfinite(error[best]):
            yield Encoder.build(target, *result.factors(best), ring="R64")


def is_cyclic(name: str) -> bool:
    """Whether a group is named as a cyclic one, with a generator whose powers count up (``C7``)."""
    return re.fullmatch(r"C[1-9]\d*", name) is not None


def accepts(name: str) -> bool:
    """Whether ``--group`` names a finite group of a size the family can use, e.g. S3, D4, C2xC2, SmallGroup(16,3)."""
    try:  # Z3 is the name of a symmetry, the group is C3
        return not name.startswith("Z") and 2 <= group(name).order <= MAX_ORDER
    except StlError:
        return False


@register(
    "fourier", groups=("cyclic",), run=run, settings={"group": None}, accepts=accepts,
    space="orders r >= 2 whose real rank (1 per real character, 3 per complex pair) is below nmp, or a finite group "
    "such as S3, D4, C2xC2; formats n,m,p with nmp <= 64; a --rank that some order has, e.g. 2, 4, 5, 7, 8, 10, 11 ...",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Every cyclic order whose real rank is below the naive count, or the one group named."""
    named = request.group not in (None, "cyclic")
    for fmt in [request.format] if request.format else [(2, 2, 2), (3, 3, 3)]:
        if prod(fmt) > 64:
            continue
        for order in range(2, prod(fmt)) if not named else [0]:
            name = str(request.group) if named else f"C{order}"
            rank = len(algebra(name)[1]) if named else real_rank(order)
            order = len(algebra(name)[0]) if named else order
            if rank < prod(fmt) and request.order in (None, order) and request.rank in (None, rank):
                yield Unit("fourier", "none", fmt, rank, {"group": name}, request.seed + turn)
