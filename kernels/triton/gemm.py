"""A persistent batched GEMM in Triton: one launch multiplies every channel, operands through TMA.

``P[l] = A[l] @ B[l]`` for l < r, A (r, M, K) row-major, B (r, K, N) row-major or, with ``b_transposed``,
(r, N, K): the layout the fp8 matrix units need. Each resident program walks output tiles in channel-major
order with a grouped swizzle inside a channel; the inner loop is software-pipelined (and warp-specialised
when asked). float32 accumulation, output in any dtype, optionally scaled per channel.

Why not always cuBLAS: the number of resident programs and the registers and shared memory they take are
ours to choose, so memory-bound passes can run beside it on the same multiprocessors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

__all__ = ["FP8", "Config", "bmm", "suits"]


@dataclass(frozen=True)
class Config:
    """Block shape and resources of the GEMM."""

    bm: int = 128
    bn: int = 256
    bk: int = 64
    group: int = 8
    stages: int = 4
    warps: int = 8
    sub: int = 2  # the output tile is stored in this many column slices
    flatten: bool = True
    specialise: bool = False
    maxnreg: int | None = None
    programs_per_sm: int = 1


FP8 = Config(bk=128, stages=3)  #: the best block shape seen for e4m3 operands


@triton.jit
def bmm_kernel(
    a, b, c, scale, R, M, N, K,
    PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
    SUB: tl.constexpr, TRANS_B: tl.constexpr, SCALED: tl.constexpr, FLATTEN: tl.constexpr, WS: tl.constexpr,
):  # fmt: skip
    """Persistent: program i takes output tiles i, i + PROGRAMS, …"""
    tiles_m = tl.cdiv(M, BM)
    tiles_n = tl.cdiv(N, BN)
    per_channel = tiles_m * tiles_n
    steps = tl.cdiv(K, BK)
    for tile in tl.range(tl.program_id(0), R * per_channel, PROGRAMS, flatten=FLATTEN, warp_specialize=WS):
        channel = tile // per_channel
        t = tile % per_channel
        band = t // (GROUP * tiles_n)
        height = min(tiles_m - band * GROUP, GROUP)
        within = t % (GROUP * tiles_n)
        m0 = (band * GROUP + within % height) * BM
        n0 = (within // height) * BN
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for step in tl.range(0, steps):
            k0 = step * BK
            lhs = tl.reshape(a.load([channel, m0, k0]), (BM, BK))
            if TRANS_B:
                rhs = tl.trans(tl.reshape(b.load([channel, n0, k0]), (BN, BK)))
            else:
                rhs = tl.reshape(b.load([channel, k0, n0]), (BK, BN))
            acc = tl.dot(lhs, rhs, acc)
        if SCALED:
            acc = acc * tl.load(scale + channel)
        if SUB == 1:
            c.store([channel, m0, n0], tl.reshape(acc.to(c.dtype), (1, BM, BN)))
        else:
            halves = tl.permute(tl.reshape(acc, (BM, 2, BN // 2)), (0, 2, 1))
            left, right = tl.split(halves)
            if SUB == 2:
                c.store([channel, m0, n0], tl.reshape(left.to(c.dtype), (1, BM, BN // 2)))
                c.store([channel, m0, n0 + BN // 2], tl.reshape(right.to(c.dtype), (1, BM, BN // 2)))
            else:
                l0, l1 = tl.split(tl.permute(tl.reshape(left, (BM, 2, BN // 4)), (0, 2, 1)))
                r0, r1 = tl.split(tl.permute(tl.reshape(right, (BM, 2, BN // 4)), (0, 2, 1)))
                c.store([channel, m0, n0], tl.reshape(l0.to(c.dtype), (1, BM, BN // 4)))
                c.store([channel, m0, n0 + BN // 4], tl.reshape(l1.to(c.dtype), (1, BM, BN // 4)))
                c.store([channel, m0, n0 + BN // 2], tl.reshape(r0.to(c.dtype), (1, BM, BN // 4)))
                c.store([channel, m0, n0 + 3 * BN // 4], tl.reshape(r1.to(c.dtype), (1, BM, BN // 4)))


def bmm(
    a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor | None = None, out_dtype: torch.dtype | None = None,
    scale: torch.Tensor | None = None, b_transposed: bool = False, config: Config | None = None,
    programs: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """Batched product (r, M, K) × (r, K, N) → (r, M, N).

    Parameters
    ----------
    a, b : contiguous along the last dimension, other strides multiples of 16 bytes (a TMA requirement).
    scale : (r,) float32, optional
        Multiplies each channel's product.
    b_transposed : bool
        ``b`` is (r, N, K).
    programs : int, optional
        Resident programs; default one per multiprocessor.
    """
    config = config or Config()
    r, m, k = a.shape
    n = b.shape[1] if b_transposed else b.shape[2]
    if out is None:
        out = torch.empty((r, m, n), device=a.device, dtype=out_dtype or a.dtype)
    if out.numel() == 0 or k == 0:
        return out.zero_()
    if programs is None:
        programs = config.programs_per_sm * (
            torch.cuda.get_device_properties(a.device).multi_processor_count if a.is_cuda else 2
        )
    tiles = r * triton.cdiv(m, config.bm) * triton.cdiv(n, config.bn)
    programs = min(programs, tiles)
    b_block = [1, config.bn, config.bk] if b_transposed else [1, config.bk, config.bn]
    extra: dict[str, Any] = {"maxnreg": config.maxnreg} if config.maxnreg else {}
    bmm_kernel[(programs,)](
        TensorDescriptor.from_tensor(a, [1, config.bm, config.bk]),
        TensorDescriptor.from_tensor(b, b_block),
        TensorDescriptor.from_tensor(out, [1, config.bm, config.bn // config.sub]),
        scale if scale is not None else a, r, m, n, k, PROGRAMS=programs, BM=config.bm, BN=config.bn,
        BK=config.bk, GROUP=config.group, SUB=config.sub, TRANS_B=b_transposed, SCALED=scale is not None,
        FLATTEN=config.flatten and not config.specialise, WS=config.specialise, num_warps=config.warps,
        num_stages=config.stages, **extra,
    )  # fmt: skip
    return out


def suits(*tensors: torch.Tensor) -> bool:
    """Can TMA describe these tensors? Unit last stride, other strides and addresses multiples of 16 bytes."""
    return all(
        t.stride(-1) == 1 and t.data_ptr() % 16 == 0
        and all(s * t.element_size() % 16 == 0 for s in t.stride()[:-1]) for t in tensors
    )  # fmt: skip
