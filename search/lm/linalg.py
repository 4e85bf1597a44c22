"""Batched Hermitian positive definite solves: one right-hand side per matrix, failures reported per matrix.

On CUDA the library's batched Cholesky of matrices of several hundred rows runs far below the chip's matrix rate, so
systems there take a left-looking factorisation in two levels of blocks, whose work is almost entirely batched matrix
products, each written where the next one reads it.  The corners on the diagonal are factored and inverted by a Triton
kernel where there is one, else by the library.  (The compiled steps on the CPU have their own factorisation,
:mod:`search.lm._packed`.)
"""

from __future__ import annotations

from functools import lru_cache
from subprocess import SubprocessError
from types import ModuleType

import torch
from torch import Tensor

__all__ = ["solve_lower", "triton_kernels"]

#: Columns updated by one large product, and columns factored at a time.
PANEL, BLOCK = 64, 32


def solve_lower(matrix: Tensor, rhs: Tensor, blocked: bool | None = None) -> tuple[Tensor, Tensor]:
    """Solve H x = g for a batch, reading only the lower triangle of H and destroying it.

    Parameters
    ----------
    matrix : (R, P + 1, P) tensor
        Hermitian positive definite matrices, lower triangle, and one row of room for the right-hand side; rows
        contiguous.
    rhs : (R, P) tensor
    blocked : bool, optional
        Force or forbid the blocked route; by default it is taken on CUDA.

    Returns
    -------
    x : (R, P) tensor
        Zero where the factorisation failed.
    ok : (R,) bool tensor
        False where H is not numerically positive definite.
    """
    size = matrix.shape[2]
    if blocked is None:
        blocked = matrix.is_cuda
    x, ok = _blocked(matrix, rhs) if blocked else _library(matrix[:, :size], rhs)
    ok = ok & torch.isfinite(x.abs().sum(1))
    return torch.where(ok[:, None], x, torch.zeros_like(x)), ok


@lru_cache(maxsize=2)
def triton_kernels(device: str) -> ModuleType | None:
    """The module :mod:`search.lm._gpu`, or None where Triton is missing or cannot build a kernel.

    (It needs a C compiler for its launchers.)
    """
    if device == "cuda" and not torch.cuda.is_available():
        return None
    try:
        from . import _gpu

        one = torch.ones(1, 1, 1, dtype=torch.float64, device=device)
        _gpu.factor_corners(one, torch.empty_like(one))
    except (ImportError, OSError, RuntimeError, SubprocessError):
        return None
    return _gpu


def _library(matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    factor, info = torch.linalg.cholesky_ex(matrix)
    return torch.cholesky_solve(rhs[:, :, None], factor)[:, :, 0], info == 0


def _blocked(matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    size = matrix.shape[2]
    # As one more row of the matrix the right-hand side is solved for along with the factorisation.
    matrix[:, size] = rhs.conj()
    lower = torch.empty_like(matrix)
    ok = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device)
    inverses = {}
    panels = [(lo, min(lo + PANEL, size)) for lo in range(0, size, PANEL)]
    blocks = {lo: [(a, min(a + BLOCK, hi)) for a in range(lo, hi, BLOCK)] for lo, hi in panels}
    for lo, hi in panels:
        if lo:
            matrix[:, lo:, lo:hi].baddbmm_(lower[:, lo:, :lo], lower[:, lo:hi, :lo].mH, alpha=-1)
        for a, b in blocks[lo]:
            strip = matrix[:, a:, a:b]
            if a > lo:
                strip.baddbmm_(lower[:, a:, lo:a], lower[:, a:b, lo:a].mH, alpha=-1)
            inverses[a], fine = _factor_corners(strip[:, : b - a], lower[:, a:b, a:b])
            ok &= fine
            torch.bmm(strip[:, b - a :], inverses[a].mH, out=lower[:, b:, a:b])
    y = lower[:, size, :, None].conj().resolve_conj().clone()
    for lo, hi in reversed(panels):
        if hi < size:
            y[:, lo:hi].baddbmm_(lower[:, hi:size, lo:hi].mH, y[:, hi:], alpha=-1)
        for a, b in reversed(blocks[lo]):
            if b < hi:
                y[:, a:b].baddbmm_(lower[:, b:hi, a:b].mH, y[:, b:hi], alpha=-1)
            y[:, a:b] = torch.bmm(inverses[a].mH, y[:, a:b])
    return y[:, :, 0], ok


def _factor_corners(corner: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
    """Factor a batch of small matrices into `lower`; their inverses, and whether each is positive definite."""
    if corner.is_cuda and corner.dtype == torch.float64:
        kernels = triton_kernels("cuda")
        if kernels is not None:
            inverse, fine = kernels.factor_corners(corner, lower)
            return inverse, fine
    factor, info = torch.linalg.cholesky_ex(corner)
    eye = torch.eye(corner.shape[1], dtype=corner.dtype, device=corner.device).expand(len(corner), -1, -1)
    lower.copy_(factor)
    return torch.linalg.solve_triangular(factor, eye, upper=False), info == 0
