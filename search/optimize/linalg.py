"""Batched Hermitian positive definite solves: one right-hand side per matrix, failures reported per matrix.

On the CPU the LAPACK inside torch runs in place on the row-major lower triangle (torch's own batched Cholesky
copies every matrix several times, which costs more than the factorisation at the sizes met here).  On CUDA the
library's batched Cholesky of matrices of several hundred rows runs far below the chip's matrix rate, so larger
systems take a left-looking blocked factorisation whose work is almost entirely batched matrix products.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["solve_lower"]

#: Systems with more unknowns than this take the blocked route on CUDA.
BLOCKED_ABOVE = 96
BLOCK = 64

_PREFIX = {torch.float32: "s", torch.float64: "d", torch.complex64: "c", torch.complex128: "z"}


def solve_lower(matrix: Tensor, rhs: Tensor, blocked: bool | None = None) -> tuple[Tensor, Tensor]:
    """Solve H x = g for a batch, reading only the lower triangle of H and destroying it.

    Parameters
    ----------
    matrix : (R, P, P) tensor
        Hermitian positive definite matrices, contiguous, lower triangle.
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
    if blocked:
        x, ok = _blocked(matrix, rhs)
    elif matrix.is_cuda:
        x, ok = _library(matrix, rhs)
    else:
        kernel = _lapack_kernel(_PREFIX[matrix.dtype])
        x, ok = _library(matrix, rhs) if kernel is None else _lapack(kernel, matrix, rhs)
    ok = ok & torch.isfinite(x.abs().sum(1))
    return torch.where(ok[:, None], x, torch.zeros_like(x)), ok


@lru_cache(maxsize=4)
def _lapack_kernel(prefix: str) -> Callable[[Any, Any, Any], None] | None:
    """Compiled loop over the batch around torch's ?potrf and ?potrs; None where torch does not export them.

    Row-major lower is column-major upper of the transpose, so for complex matrices the conjugate system is
    solved; the caller conjugates the right-hand side and the solution.
    """
    import numba

    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        addresses = [ctypes.cast(getattr(library, prefix + name), ctypes.c_void_p) for name in ("potrf_", "potrs_")]
    except (OSError, AttributeError):
        return None
    potrf = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * 5))(addresses[0].value or 0)
    potrs = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * 8))(addresses[1].value or 0)

    @numba.njit(nogil=True)
    def solve(a: Any, b: Any, failed: Any) -> None:
        size = np.array([a.shape[1]], dtype=np.int32)
        one = np.array([1], dtype=np.int32)
        upper = np.array([85], dtype=np.uint8)  # 'U'
        info = np.zeros(1, dtype=np.int32)
        for i in range(a.shape[0]):
            potrf(upper.ctypes, size.ctypes, a[i].ctypes, size.ctypes, info.ctypes)
            failed[i] = info[0]
            if info[0] == 0:
                potrs(
                    upper.ctypes, size.ctypes, one.ctypes, a[i].ctypes, size.ctypes, b[i].ctypes, size.ctypes,
                    info.ctypes,
                )

    compiled: Callable[[Any, Any, Any], None] = solve
    return compiled


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64)


def _library(matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    factor, info = torch.linalg.cholesky_ex(matrix)
    return torch.cholesky_solve(rhs[:, :, None], factor)[:, :, 0], info == 0


def _lapack(kernel: Callable[[Any, Any, Any], None], matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    a, b = matrix.contiguous().numpy(), rhs.conj().resolve_conj().clone().contiguous()
    failed = np.zeros(len(a), dtype=np.int32)
    threads = min(torch.get_num_threads(), len(a))
    if threads <= 1:
        kernel(a, b.numpy(), failed)
    else:
        cuts = np.linspace(0, len(a), threads + 1).astype(int)
        spans = list(pairwise(cuts))
        list(_pool().map(lambda c: kernel(a[c[0] : c[1]], b.numpy()[c[0] : c[1]], failed[c[0] : c[1]]), spans))
    return b.conj().resolve_conj(), torch.from_numpy(failed == 0)


def _blocked(matrix: Tensor, rhs: Tensor) -> tuple[Tensor, Tensor]:
    size = matrix.shape[1]
    edges = [*range(0, size, BLOCK), size]
    y = rhs.clone()
    ok = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device)
    inverses = []
    for lo, hi in pairwise(edges):
        panel = matrix[:, lo:, lo:hi]
        if lo:
            row = matrix[:, lo:hi, :lo]
            panel = torch.baddbmm(panel, matrix[:, lo:, :lo], row.mH, alpha=-1)
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
