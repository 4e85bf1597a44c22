"""A plain Triton GEMM whose only point is ``input_precision``, as a rival."""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def dot_kernel(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr):
    """One output tile a program, in bands of eight."""
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    tile = tl.program_id(0)
    band = tile // (8 * tiles_n)
    height = min(tiles_m - band * 8, 8)
    m0 = (band * 8 + tile % (8 * tiles_n) % height) * BM
    n0 = (tile % (8 * tiles_n) // height) * BN
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, K, BK):
        acc = tl.dot(a.load([m0, k0]), b.load([k0, n0]), acc, input_precision=PRECISION)
    c.store([m0, n0], acc)


def dot(a: torch.Tensor, b: torch.Tensor, precision: str) -> torch.Tensor:
    """(N, K), (K, M) float32 → (N, M)."""
    out = torch.empty((a.shape[0], b.shape[1]), device=a.device)
    bm, bn, bk = 128, 128, 32
    grid = triton.cdiv(a.shape[0], bm) * triton.cdiv(b.shape[1], bn)
    dot_kernel[(grid,)](
        TensorDescriptor.from_tensor(a, [bm, bk]), TensorDescriptor.from_tensor(b, [bk, bn]),
        TensorDescriptor.from_tensor(out, [bm, bn]), *a.shape[:1], b.shape[1], a.shape[1],
        BM=bm, BN=bn, BK=bk, PRECISION=precision, num_warps=8, num_stages=3)  # fmt: skip
    return out
