"""Batched products whose channels share operands: one left operand for several products, several products in one sum.

Products of an encoder with the same row of E_X have the same encoded activation; products with the same column of D end
in the same decoded channel and may be added while they are multiplied.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .gemm import Config, _multiprocessors, _place, _store

__all__ = ["bmm_merged"]


@triton.jit
def merged_kernel(
    a, b, c, starts, lhs_of, G, M, N, K,
    PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
    SUB: tl.constexpr,
):  # fmt: skip
    """Output channel g = Σ over l in [starts_g, starts_g+1) of a[lhs_of_l] @ b[l]."""
    tiles_m = tl.cdiv(M, BM)
    tiles_n = tl.cdiv(N, BN)
    steps = tl.cdiv(K, BK)
    for tile in tl.range(tl.program_id(0), G * tiles_m * tiles_n, PROGRAMS):
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, BM, BN, GROUP)
        first = tl.load(starts + channel)
        count = tl.load(starts + channel + 1) - first
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for step in tl.range(0, count * steps):
            l = first + step // steps
            k0 = (step % steps) * BK
            lhs = tl.reshape(a.load([tl.load(lhs_of + l), m0, k0]), (BM, BK))
            acc = tl.dot(lhs, tl.reshape(b.load([l, k0, n0]), (BK, BN)), acc)
        _store(c, channel, m0, n0, acc, BM, BN, SUB)


def bmm_merged(a: torch.Tensor, b: torch.Tensor, starts: torch.Tensor, lhs_of: torch.Tensor, *,
               config: Config | None = None) -> torch.Tensor:  # fmt: skip
    """(d, M, K), (r, K, N) → (g, M, N), with ``starts`` (g + 1,) and ``lhs_of`` (r,) int32 as the kernel has them."""
    config = config or Config(stages=3)
    groups, (_, m, k), n = len(starts) - 1, a.shape, b.shape[2]
    out = torch.empty((groups, m, n), device=a.device, dtype=a.dtype)
    tiles = groups * triton.cdiv(m, config.bm) * triton.cdiv(n, config.bn)
    programs = min(tiles, _multiprocessors(a))
    merged_kernel[(programs,)](
        TensorDescriptor.from_tensor(a, [1, config.bm, config.bk]),
        TensorDescriptor.from_tensor(b, [1, config.bk, config.bn]),
        TensorDescriptor.from_tensor(out, [1, config.bm, config.bn // config.sub]), starts, lhs_of, groups, m, n, k,
        PROGRAMS=programs, BM=config.bm, BN=config.bn, BK=config.bk, GROUP=config.group, SUB=config.sub,
        num_warps=config.warps, num_stages=config.stages,
    )  # fmt: skip
    return out
