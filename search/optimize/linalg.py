"""Batched Hermitian positive definite solves: one right-hand side per matrix, failures reported per matrix.

On the CPU this is LAPACK through torch.  On CUDA the library's batched Cholesky of matrices of several hundred
rows runs far below the chip's float64 matrix rate, so larger systems take a left-looking blocked factorisation
whose work is almost entirely batched matrix products; the right-hand side rides along as an extra row.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["solve_lower"]

#: Systems with more unknowns than this take the blocked route on CUDA.
BLOCKED_ABOVE = 128
BLOCK = 64


def solve_lower(matrix: Tensor, rhs: Tensor, blocked: bool | None = None) -> tuple[Tensor, Tensor]:
    """Solve H x = g for a batch, reading only the lower triangle of H and destroying it.

    Parameters
    ----------
    matrix : (R, P, P) tensor
        Hermitian positive definite matrices, lower triangle.
    rhs : (R, P) tensor
    blocked : bool, optional
        Force or forbid the blocked route; by default it is taken on CUDA for large P.

    Returns
    -------
    x : (R, P) tensor
        Zero where the factorisation failed.
    ok : (R,) bool tensor
        False where H is not numerically positive definite.
    """
    if blocked is None:
        blocked = matrix.is_cuda and matrix.shape[1] > BLOCKED_ABOVE
    x, ok = _blocked(matrix, rhs) if blocked else _library(matrix, rhs)
    ok = ok & torch.isfinite(x.abs().sum(1))
    return torch.where(ok[:, None], x, torch.zeros_like(x)), ok


def _library(matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    factor, info = torch.linalg.cholesky_ex(matrix)
    return torch.cholesky_solve(rhs[:, :, None], factor)[:, :, 0], info == 0


def _blocked(matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    size = matrix.shape[1]
    edges = list(range(0, size, BLOCK)) + [size]
    y = rhs.clone()
    ok = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device)
    inverses = []
    for lo, hi in zip(edges[:-1], edges[1:], strict=True):
        panel = matrix[:, lo:, lo:hi]
        if lo:
            left = matrix[:, lo:, :lo]
            row = matrix[:, lo:hi, :lo]
            panel = torch.baddbmm(panel, left, row.mH, alpha=-1)
            y[:, lo:hi] -= torch.bmm(row, y[:, :lo, None])[:, :, 0]
        factor, info = torch.linalg.cholesky_ex(panel[:, : hi - lo])
        eye = torch.eye(hi - lo, dtype=matrix.dtype, device=matrix.device).expand(len(matrix), -1, -1)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        ok &= info == 0
        matrix[:, lo:hi, lo:hi] = factor
        if hi < size:
            matrix[:, hi:, lo:hi] = torch.bmm(panel[:, hi - lo :], inverse.mH)
        y[:, lo:hi] = torch.bmm(inverse, y[:, lo:hi, None])[:, :, 0]
        inverses.append(inverse)
    for index in range(len(edges) - 2, -1, -1):
        lo, hi = edges[index], edges[index + 1]
        if hi < size:
            y[:, lo:hi] -= torch.bmm(matrix[:, hi:, lo:hi].mH, y[:, hi:, None])[:, :, 0]
        y[:, lo:hi] = torch.bmm(inverses[index].mH, y[:, lo:hi, None])[:, :, 0]
    return y, ok
