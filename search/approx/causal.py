"""The causal frontier: least ε² of an encoder that lets no row of A reach an earlier row of C.

Rows are tokens: the entries of T̂ with input row > output row leak the future.  The line to beat is to skip K-tiles of
an exact encoder of rank R, 1 − r/R.  It can be beaten, exactly and with integer entries: a *pure* term of an exact
encoder (one entry of A times one of B into one entry of C) is itself a standard product, and without it the rest is T
minus that product, which leaks nothing.  Each pure term left out costs 1/nmp instead of 1/R: ⟨2,2,2;6⟩ has ε² = 1/8
against 1/7, and its square ⟨4,4,4;36⟩ 15/64 against 1/4.

:func:`causal_ends` searches in general: the leaking entries are pressed to zero by a weight that grows to 1e8 (what is
left is reported), the others count as in ε².  The weight is no product over the slots, so the normal equations are
formed densely: formats up to ⟨3,3,3⟩.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from ..lm.problem import matmul_tensor

__all__ = ["CausalEnd", "causal_ends", "leak", "leak_mask", "pure_terms", "without_pure_terms"]

Array = NDArray[Any]


@dataclass(frozen=True)
class CausalEnd:
    """An encoder found under the constraint: ε², κ² and the energy ‖leak‖²/‖T‖² that is left."""

    epsilon2: float
    kappa2: float
    leak: float
    factors: tuple[Array, Array, Array]


def leak_mask(fmt: tuple[int, int, int]) -> NDArray[np.bool_]:
    """True at the entries (a, b, c) of the tensor whose input row is later than the output row."""
    n, m, p = fmt
    source = np.repeat(np.arange(n), m)[:, None, None]
    goal = np.repeat(np.arange(n), p)[None, None, :]
    return np.broadcast_to(source > goal, (n * m, m * p, n * p))


def leak(encoder: Encoder, fmt: tuple[int, int, int]) -> float:
    """‖part of T̂ from later rows of A to earlier rows of C‖²/‖T‖², 0 for causal encoders.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> leak(strassen(), (2, 2, 2))
    0.0
    """
    x, w, d = encoder.floats()
    hat = np.einsum("la,lb,cl->abc", x, w, d, optimize=True)
    return float((np.abs(hat[leak_mask(fmt)]) ** 2).sum()) / encoder.target.norm2


def pure_terms(encoder: Encoder) -> list[int]:
    """Terms with one nonzero entry in every slot that are products of T: those that can be left out without a leak."""
    x, w, d = encoder.floats()
    single = ((x != 0).sum(1) == 1) & ((w != 0).sum(1) == 1) & ((d != 0).sum(0) == 1)
    target = encoder.target.dense()
    found = []
    for l in np.flatnonzero(single):
        a, b, c = int(np.flatnonzero(x[l])[0]), int(np.flatnonzero(w[l])[0]), int(np.flatnonzero(d[:, l])[0])
        if target[a, b, c] and abs(x[l, a] * w[l, b] * d[c, l] - target[a, b, c]) < 1e-12:
            found.append(int(l))
    return found


def without_pure_terms(encoder: Encoder, count: int | None = None) -> Encoder:
    """The encoder without `count` of its pure terms (all of them by default): ε² = count/nmp exactly, no leak.

    Examples
    --------
    >>> from stl_algebra.schemes import winograd
    >>> from stl_algebra.scores import epsilon2
    >>> thin = without_pure_terms(winograd())
    >>> thin.rank, epsilon2(thin)
    (6, 0.125)
    """
    pure = pure_terms(encoder)
    if count is not None and not 0 <= count <= len(pure):
        raise StlError("count", count, f"0 to {len(pure)}, the number of pure terms")
    gone = set(pure[: len(pure) if count is None else count])
    keep = [l for l in range(encoder.rank) if l not in gone]
    e_x, e_w, d = encoder.factors
    parts = (e_x.num[keep], e_x.den), (e_w.num[keep], e_w.den), (d.num[:, keep], d.den)
    return Encoder.build(encoder.target, *parts, ring=encoder.ring, origin=encoder.origin)


def causal_ends(
    fmt: tuple[int, int, int],
    rank: int,
    restarts: int = 64,
    iterations: int = 400,
    seed: int = 0,
    constrained: bool = True,
    ridge: float = 1e-7,
    device: str = "cpu",
) -> list[CausalEnd]:
    """Ends of Levenberg–Marquardt from random starts, least ε² first; without the constraint for comparison.

    Parameters
    ----------
    fmt, rank, restarts, iterations, seed
    constrained : bool
        False leaves the leak alone: the same search for the ordinary frontier.
    ridge : float
        Norm penalty at the end (it starts at 0.1).
    """
    if max(fmt) > 3:
        raise StlError("fmt", fmt, "sides up to 3", "the normal equations are dense")
    target = torch.as_tensor(matmul_tensor(*fmt), device=device)
    mask = torch.as_tensor(leak_mask(fmt).copy(), device=device)
    a, b, c = target.shape
    sizes = [rank * a, rank * b, rank * c]
    generator = torch.Generator().manual_seed(seed)
    sigma = float((target.square().sum() / (rank * a * b * c)) ** (1 / 6))
    theta = (sigma * torch.randn(restarts, sum(sizes), dtype=torch.float64, generator=generator)).to(device)
    lam = torch.ones(restarts, dtype=torch.float64, device=device)

    def split(t: torch.Tensor) -> list[torch.Tensor]:
        return [v.reshape(len(t), rank, -1) for v in torch.split(t, sizes, dim=1)]

    def gap(t: torch.Tensor) -> torch.Tensor:
        return torch.einsum("zla,zlb,zlc->zabc", *split(t)) - target

    for step in range(iterations):
        progress = min(1.0, step / (0.6 * iterations))
        mu = 0.1 * (ridge / 0.1) ** progress
        weight = torch.ones_like(target)
        if constrained:
            weight[mask] = 10.0 ** (4 * progress)
        x, w, d = split(theta)
        residual = gap(theta) * weight
        value = residual.square().sum((1, 2, 3)) + mu * theta.square().sum(1)
        eye = [torch.eye(k, dtype=torch.float64, device=device) for k in (a, b, c)]
        jacobian = (
            torch.cat(
                [
                    torch.einsum("ia,zlb,zlc->zabcli", eye[0], w, d).flatten(4),
                    torch.einsum("ib,zla,zlc->zabcli", eye[1], x, d).flatten(4),
                    torch.einsum("ic,zla,zlb->zabcli", eye[2], x, w).flatten(4),
                ],
                dim=-1,
            )
            * weight[..., None]
        )
        jacobian = jacobian.reshape(restarts, a * b * c, -1)
        gram = jacobian.mT @ jacobian
        gram.diagonal(dim1=1, dim2=2).add_((mu + lam)[:, None])
        slope = (jacobian.mT @ residual.reshape(restarts, -1, 1))[..., 0] + mu * theta
        factor, info = torch.linalg.cholesky_ex(gram)
        move = torch.cholesky_solve(slope[..., None], factor)[..., 0]
        new = theta - torch.where(info[:, None] == 0, move, torch.zeros_like(move))
        better = ((gap(new) * weight).square().sum((1, 2, 3)) + mu * new.square().sum(1) < value) & (info == 0)
        theta = torch.where(better[:, None], new, theta)
        lam = torch.where(better, lam * 0.4, lam * 4).clamp(1e-10, 1e6)
    x, w, d = split(theta)
    energy = float(target.square().sum())
    rest = gap(theta)
    eps2 = rest.square().sum((1, 2, 3)) / energy
    leak = rest[:, mask].square().sum(1) / energy
    kappa2 = (x.square().sum(2) * w.square().sum(2) * d.square().sum(2)).sum(1) / energy
    order = torch.argsort(eps2).tolist()
    return [
        CausalEnd(
            float(eps2[i]),
            float(kappa2[i]),
            float(leak[i]),
            (x[i].cpu().numpy(), w[i].cpu().numpy(), d[i].mT.cpu().numpy()),
        )
        for i in order
    ]
