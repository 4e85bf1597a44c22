"""Fourier encoders of cyclic groups: approximate triple products, then least squares, then polish.

Cohn–Umans embed a matrix product in the algebra of a group: a_ik ↦ g^α(i,k), b_kj ↦ g^β(k,j), and entry (i,j) is read
from the coefficients. Below the order that the triple product property needs, products collide; for given index maps
α, β into Z_r the best linear decoder is known in closed form. With N_g pairs falling on g and n_{ij,g} of them wanted
in entry (i,j), coefficient (i,j) is estimated by Σ_g (n_{ij,g}/N_g)·G_g and

    ε² = 1 − Σ_{ij,g} n²_{ij,g} / N_g / nmp.

The Fourier transform of Z_r makes the product diagonal: r complex channels, or one real channel for each real
character and three for each pair of complex ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.registry import Request, Start, Unit, register
from stl_algebra import Encoder, ring
from stl_algebra.targets import Target, matmul

__all__ = ["complex_encoder", "index_maps", "least_squares_decoder", "real_encoder", "real_rank", "retained_energy"]

NOISE = (0.02, 0.1, 0.25, 0.5)


def real_rank(order: int) -> int:
    """Real multiplications of the algebra R[Z_r]: one per real character, three per pair of complex characters."""
    real = 2 - order % 2
    return min(real, order) + 3 * ((order - real) // 2)


def retained_energy(alpha: NDArray[np.int64], beta: NDArray[np.int64], order: int) -> float:
    """nmp·(1 − ε²) of index maps α (n, m) and β (m, p) with the best decoder."""
    n, p = len(alpha), beta.shape[1]
    total = np.bincount(np.add.outer(alpha.ravel(), beta.ravel()).ravel() % order, minlength=order)
    wanted = (alpha[:, :, None] + beta[None, :, :]) % order  # (n, m, p)
    cell = (np.arange(n)[:, None, None] * p + np.arange(p)[None, None, :]) * order + wanted
    hits = np.bincount(cell.ravel(), minlength=n * p * order).reshape(n * p, order)
    return float((hits**2 / np.maximum(total, 1)).sum())


def index_maps(
    fmt: tuple[int, int, int], order: int, seed: int, restarts: int = 12
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index maps of least collision: coordinate ascent of `retained_energy` from random maps.

    Returns
    -------
    alpha, beta : int arrays (n, m) and (m, p) with values modulo ``order``
    """
    rng = np.random.default_rng([seed, order, *fmt])
    n, m, p = fmt
    best: tuple[float, NDArray[np.int64], NDArray[np.int64]] | None = None
    for _ in range(restarts):
        maps = [rng.integers(0, order, (n, m)), rng.integers(0, order, (m, p))]
        value, improved = retained_energy(maps[0], maps[1], order), True
        while improved:
            improved = False
            for index in rng.permutation(n * m + m * p):
                flat = maps[0].reshape(-1) if index < n * m else maps[1].reshape(-1)
                at = index if index < n * m else index - n * m
                keep = flat[at]
                for g in range(order):
                    flat[at] = g
                    trial = retained_energy(maps[0], maps[1], order)
                    if trial > value + 1e-12:
                        value, keep, improved = trial, g, True
                flat[at] = keep
        if best is None or value > best[0]:
            best = (value, maps[0].copy(), maps[1].copy())
    assert best is not None
    return best[1], best[2]


def _decoder(alpha: NDArray[np.int64], beta: NDArray[np.int64], order: int) -> list[list[Fraction]]:
    """Exact least-squares decoder from group coefficients: rows (i,j), columns g, entries n/N."""
    total = np.bincount(np.add.outer(alpha.ravel(), beta.ravel()).ravel() % order, minlength=order)
    rows = []
    for i in range(alpha.shape[0]):
        for j in range(beta.shape[1]):
            hits = np.bincount((alpha[i] + beta[:, j]) % order, minlength=order)
            rows.append([Fraction(int(h), int(t)) if h else Fraction(0) for h, t in zip(hits, total, strict=True)])
    return rows


def complex_encoder(alpha: NDArray[np.int64], beta: NDArray[np.int64], order: int, origin: dict[str, Any]) -> Encoder:
    """The encoder of complex rank r, exact over Q(ζ_r): E_X[k] = ζ^{kα}, E_W[k] = ζ^{kβ}, D by least squares."""
    n, m = alpha.shape
    p = beta.shape[1]
    base = ring(f"Q(zeta_{order})")
    powers = _root_powers(order)
    k = np.arange(order)
    e_x = powers[np.outer(k, alpha.ravel()) % order]
    e_w = powers[np.outer(k, beta.ravel()) % order]
    read = np.array(_decoder(alpha, beta, order), dtype=object)  # (np, r)
    inverse = powers[np.outer(k, -k) % order].astype(object)  # (g, k, coefficient)
    d = np.tensordot(read, inverse, axes=([1], [0])) * Fraction(1, order)
    if base.degree == 1:
        e_x, e_w, d = e_x[..., 0], e_w[..., 0], d[..., 0]
    return Encoder.build((n, m, p), e_x, e_w, d, ring=base, origin=origin)


def _root_powers(order: int) -> NDArray[np.int64]:
    """Coefficients of 1, ζ, …, ζ^{r−1} in the power basis of Q(ζ_r), shape (r, degree)."""
    base = ring(f"Q(zeta_{order})")
    if base.degree == 1:
        return np.array([[(-1) ** k if order == 2 else 1] for k in range(order)])
    out = np.zeros((order, base.degree), dtype=np.int64)
    out[0, 0] = 1
    step = np.zeros(base.degree, dtype=np.int64)
    step[1] = 1
    for k in range(1, order):
        out[k] = base.multiply(out[k - 1], step)
    return out


def least_squares_decoder(target: Target, e_x: NDArray[Any], e_w: NDArray[Any]) -> NDArray[Any]:
    """D (c, r) minimising ‖T̂ − T‖ for given encoders (r, a), (r, b): normal equations on Hadamard products of Grams."""
    gram = (e_x @ e_x.T) * (e_w @ e_w.T)
    right = np.zeros((target.shape[2], len(e_x)))
    for (a, b, c), v in zip(target.index, target.value, strict=True):
        right[c] += v * e_x[:, a] * e_w[:, b]
    return np.linalg.lstsq(gram, right.T, rcond=1e-10)[0].T


def real_encoder(
    alpha: NDArray[np.int64], beta: NDArray[np.int64], order: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Real form of rank `real_rank`: rows of the real Fourier matrix, complex pairs in three products (Karatsuba)."""
    target = matmul(alpha.shape[0], alpha.shape[1], beta.shape[1])

    def rows(index: NDArray[np.int64]) -> NDArray[Any]:
        angle = 2 * np.pi * index.ravel() / order
        out = []
        for k in range(order // 2 + 1):
            c, s = np.cos(k * angle), np.sin(k * angle)
            out += [c] if 2 * k % order == 0 else [c, s, c + s]
        return np.array(out) / np.sqrt(order)

    e_x, e_w = rows(alpha), rows(beta)
    return e_x, e_w, least_squares_decoder(target, e_x, e_w)


def build(unit: Unit) -> Start:
    from search.optimize import Free, Schedule

    order = unit.parameters["order"]
    alpha, beta = index_maps(unit.format, order, unit.seed)
    target = matmul(*unit.format)
    factors = real_encoder(alpha, beta, order)
    theta = np.concatenate([factors[0].ravel(), factors[1].ravel(), factors[2].T.ravel()])
    rng = np.random.default_rng([unit.seed, order])
    scale = np.sqrt((theta**2).mean())
    init = np.array([theta + level * scale * rng.standard_normal(theta.size) for level in NOISE])
    maps = {"alpha": alpha.tolist(), "beta": beta.tolist()}
    return Start(
        target=target,
        encoders=[complex_encoder(alpha, beta, order, unit.origin(stage="constructed", **maps))],
        parametrisation=Free(target, unit.rank),
        init=init,
        iterations=80,
        schedule=Schedule(mu_start=0.1, mu_end=1e-3),
        keep_numerical=True,
    )


@register(
    "fourier", groups=("cyclic",), build=build,
    space="orders r >= 2 whose real rank (1 per real character, 3 per complex pair) is below nmp; formats n,m,p with "
    "nmp <= 64; a --rank that some order has, e.g. 2, 4, 5, 7, 8, 10, 11, 13 ...",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Every order whose real rank is below the naive count."""
    for fmt in [request.format] if request.format else [(2, 2, 2), (3, 3, 3)]:
        if prod(fmt) > 64:
            continue
        for order in range(2, prod(fmt)):
            rank = real_rank(order)
            if rank >= prod(fmt) or request.order not in (None, order) or request.rank not in (None, rank):
                continue
            yield Unit("fourier", f"Z{order}", fmt, rank, {"order": order}, request.seed + turn)
