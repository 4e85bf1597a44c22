"""A persistent batched GEMM in Triton: one launch multiplies every channel, operands through TMA.

``P[l] = A[l] @ B[l]`` for l < r, A (r, M, K) row-major, B (r, K, N) row-major or, with ``b_transposed``,
(r, N, K): the layout the fp8 matrix units need. Each resident program walks output tiles in channel-major
order with a grouped swizzle inside a channel; the inner loop is software-pipelined (and warp-specialised
when asked). float32 accumulation, output in any dtype, optionally scaled per channel.

Why not always cuBLAS: the number of resident programs and the registers and shared memory they take are
ours to choose, so memory-bound passes can run beside it on the same multiprocessors.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from ..rounding import TRUNCATION

__all__ = ["FP8", "PROMOTED", "SPLIT", "Config", "bmm", "bmm_split", "suits"]


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
def _place(tile, tiles_m, tiles_n, BM: tl.constexpr, BN: tl.constexpr, GROUP: tl.constexpr):
    """Channel and corner of an output tile: channel by channel, grouped bands inside, for reuse in the L2."""
    channel = tile // (tiles_m * tiles_n)
    t = tile % (tiles_m * tiles_n)
    band = t // (GROUP * tiles_n)
    height = min(tiles_m - band * GROUP, GROUP)
    within = t % (GROUP * tiles_n)
    return channel, (band * GROUP + within % height) * BM, (within // height) * BN


@triton.jit
def _store(c, channel, m0, n0, acc, BM: tl.constexpr, BN: tl.constexpr, SUB: tl.constexpr):
    """Store an output tile in SUB column slices, which need a SUB-th of the shared memory."""
    if SUB == 1:
        c.store([channel, m0, n0], tl.reshape(acc.to(c.dtype), (1, BM, BN)))
    else:
        left, right = tl.split(tl.permute(tl.reshape(acc, (BM, 2, BN // 2)), (0, 2, 1)))
        _store(c, channel, m0, n0, left, BM, BN // 2, SUB // 2)
        _store(c, channel, m0, n0 + BN // 2, right, BM, BN // 2, SUB // 2)


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
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, BM, BN, GROUP)
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
        _store(c, channel, m0, n0, acc, BM, BN, SUB)


def _multiprocessors(a: torch.Tensor) -> int:
    return torch.cuda.get_device_properties(a.device).multi_processor_count if a.is_cuda else 2


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
        programs = config.programs_per_sm * _multiprocessors(a)
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


SPLIT = Config(stages=4, sub=4)  #: products of halves, one after the other
PROMOTED = Config(bn=128, stages=3, group=16)  #: the same with two accumulators, of 64 registers a thread each


@triton.jit
def split_kernel(
    a, b, c, R, M, N, K, gain,
    PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
    SUB: tl.constexpr, PROMOTED: tl.constexpr, FLATTEN: tl.constexpr,
):  # fmt: skip
    """a and b hold R channels of larger and R of smaller halves; the product of the smaller ones is left out.

    One sum over 3K columns, the small products first: what is truncated while the sum is small does not count.
    PROMOTED: the three products of every BK columns are summed alone, then added with rounding.
    """
    tiles_m = tl.cdiv(M, BM)
    tiles_n = tl.cdiv(N, BN)
    steps = tl.cdiv(K, BK)
    for tile in tl.range(tl.program_id(0), R * tiles_m * tiles_n, PROGRAMS, flatten=FLATTEN):
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, BM, BN, GROUP)
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        if PROMOTED:
            for step in tl.range(0, steps):
                lhs = tl.reshape(a.load([channel, m0, step * BK]), (BM, BK))
                rhs = tl.reshape(b.load([channel, step * BK, n0]), (BK, BN))
                lhs_low = tl.reshape(a.load([channel + R, m0, step * BK]), (BM, BK))
                rhs_low = tl.reshape(b.load([channel + R, step * BK, n0]), (BK, BN))
                part = tl.dot(lhs_low, rhs)
                part = tl.dot(lhs, rhs_low, part)
                acc += tl.dot(lhs, rhs, part)
        else:
            for step in tl.range(0, 3 * steps):
                second = (step >= steps).to(tl.int32)
                third = (step >= 2 * steps).to(tl.int32)
                k0 = (step - (second + third) * steps) * BK
                lhs = tl.reshape(a.load([channel + (1 - second) * R, m0, k0]), (BM, BK))
                rhs = tl.reshape(b.load([channel + (second - third) * R, k0, n0]), (BK, BN))
                acc = tl.dot(lhs, rhs, acc)
            acc = acc * gain
        _store(c, channel, m0, n0, acc, BM, BN, SUB)


def _stacked(x: torch.Tensor) -> torch.Tensor:
    """(2, r, a, b) as (2r, a, b), the strides of sizes one kept as they are (`flatten` would not)."""
    return x.as_strided((2 * x.shape[1], *x.shape[2:]), x.stride()[1:])


@functools.lru_cache(maxsize=8)
def _specialised(device: torch.device) -> ModuleType | None:
    """`kernels.triton.hopper` where it runs."""
    try:
        from . import hopper
    except ImportError:  # Gluon moves from version to version of Triton
        return None
    return hopper if hopper.specialises(device) else None


def bmm_split(
    a: torch.Tensor, b: torch.Tensor, *, promoted: bool = True, out: torch.Tensor | None = None,
    config: Config | None = None,
) -> torch.Tensor:  # fmt: skip
    """Product of numbers held as two halves: (2, r, M, K) × (2, r, K, N) in 16 bits → (r, M, N) float32.

    The matrix units truncate their sums, which pulls a sum of K products towards zero: of S = K/16 steps each loses
    `TRUNCATION` of the sum so far. A sum that grows steadily or at random has half its size on average on the way,
    so the result is multiplied by 1 + S/2·TRUNCATION: what is left is half the error for independent terms, and
    almost none for terms of one sign.

    Parameters
    ----------
    a, b : what :func:`suits`, each half contiguous after the other
    promoted : bool
        Add every ``config.bk`` columns to a second accumulator with rounding, without the error above; on Hopper,
        unless a ``config`` is given, by `kernels.triton.hopper`.
    """
    _, r, m, k = a.shape
    n = b.shape[3]
    if out is None:
        out = torch.empty((r, m, -(-n // 4) * 4), device=a.device, dtype=torch.float32)[..., :n]
    if out.numel() == 0 or k == 0:
        return out.zero_()
    if promoted and config is None and a.is_cuda and (special := _specialised(a.device)):
        special.bmm_split(a, b, out, _multiprocessors(a))
        return out
    config = config or (PROMOTED if promoted else SPLIT)
    programs = config.programs_per_sm * _multiprocessors(a)
    split_kernel[(min(programs, r * triton.cdiv(m, config.bm) * triton.cdiv(n, config.bn)),)](
        TensorDescriptor.from_tensor(_stacked(a), [1, config.bm, config.bk]),
        TensorDescriptor.from_tensor(_stacked(b), [1, config.bk, config.bn]),
        TensorDescriptor.from_tensor(out, [1, config.bm, config.bn // config.sub]), r, m, n, k,
        1 + TRUNCATION * k / 32, PROGRAMS=programs, BM=config.bm, BN=config.bn, BK=config.bk, GROUP=config.group,
        SUB=config.sub, PROMOTED=promoted, FLATTEN=config.flatten, num_warps=config.warps, num_stages=config.stages,
    )  # fmt: skip
    return out


def suits(*tensors: torch.Tensor) -> bool:
    """Can TMA describe these tensors? Unit last stride, other strides and addresses multiples of 16 bytes."""
    return all(
        t.stride(-1) == 1 and t.data_ptr() % 16 == 0
        and all(s * t.element_size() % 16 == 0 for s in t.stride()[:-1]) for t in tensors
    )  # fmt: skip
