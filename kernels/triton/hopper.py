"""Products of float16 halves on Hopper with specialised warps: one fetches, two groups multiply and promote.

The plain Triton kernel (`gemm.bmm_split`) stops its matrix units while it adds a partial sum, and two accumulators of a
128×256 tile do not fit the registers. Here (Gluon, Triton's lower layer) one warp fills a ring in shared memory, and
each of two groups of four warps owns 64 rows of the tile. It multiplies the three products of `BK` columns into a
64×128 partial sum (64 registers a thread), adds that with rounding to the left half of its sum, then does the same for
the right half. While one group adds or stores, the other has the matrix units: the second starts half a step later.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import torch
import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from ..rounding import PROMOTION

__all__ = ["Ring", "bmm_split", "specialises"]

fetch = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared  # renamed after Triton 3.6
send = getattr(tma, "async_store", None) or tma.async_copy_shared_to_global


@dataclass(frozen=True)
class Ring:
    """Columns a stage holds, stages, and rows of tiles that are walked together."""

    bk: int = PROMOTION
    stages: int = 2
    group: int = 8


@gluon.jit
def _place(tile, tiles_m, tiles_n, GROUP: gl.constexpr):
    """Channel and corner of an output tile: channel by channel, in bands, for reuse in the L2."""
    channel = tile // (tiles_m * tiles_n)
    t = tile % (tiles_m * tiles_n)
    band = t // (GROUP * tiles_n)
    height = min(tiles_m - band * GROUP, GROUP)
    within = t % (GROUP * tiles_n)
    return channel, (band * GROUP + within % height) * 128, (within // height) * 256


@gluon.jit
def _load(a, b, a_ring, b_ring, full, empty, R, M, N, K, GROUP: gl.constexpr, STAGES: gl.constexpr):
    """The warp that fills the ring: both halves of 128 rows of A and of 256 columns of B a stage."""
    BK: gl.constexpr = a.block_type.shape[1]
    tiles_m, tiles_n = gl.cdiv(M, 128), gl.cdiv(N, 256)
    step = 0
    for tile in range(gl.program_id(0), R * tiles_m * tiles_n, gl.num_programs(0)):
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, GROUP)
        for k in range(0, K, BK):
            stage = step % STAGES
            ready = full.index(stage)
            mbarrier.wait(empty.index(stage), (step // STAGES & 1) ^ 1)
            mbarrier.expect(ready, 4 * a.block_type.nbytes + 4 * b.block_type.nbytes)
            for half in gl.static_range(2):
                for side in gl.static_range(2):
                    place = stage * 4 + half * 2 + side
                    fetch(a, [(channel + half * R) * M + m0 + 64 * side, k], ready, a_ring.index(place))
                    fetch(b, [(channel + half * R) * K + k, n0 + 128 * side], ready, b_ring.index(place))
            step += 1


@gluon.jit
def _products(part, a_ring, b_ring, stage, WHO: gl.constexpr, SIDE: gl.constexpr):
    """Start the three products of one stage and 128 columns of B, the small ones first."""
    high, low = a_ring.index(stage * 4 + WHO), a_ring.index(stage * 4 + 2 + WHO)
    b_high, b_low = b_ring.index(stage * 4 + SIDE), b_ring.index(stage * 4 + 2 + SIDE)
    part = warpgroup_mma(low, b_high, part, use_acc=False, is_async=True)
    part = warpgroup_mma(high, b_low, part, is_async=True)
    return warpgroup_mma(high, b_high, part, is_async=True)


@gluon.jit
def _store(c, staging, tile, channel, m0, n0):
    """A 64×128 tile in four slices through two places in shared memory."""
    halves = tile.reshape([64, 2, 64]).permute([0, 2, 1]).split()
    for i in gl.static_range(2):
        quarters = halves[i].reshape([64, 2, 32]).permute([0, 2, 1]).split()
        for j in gl.static_range(2):
            tma.store_wait(1)
            staging.index(j).reshape([64, 32]).store(quarters[j])
            fence_async_shared()
            send(c, [channel, m0, n0 + 64 * i + 32 * j], staging.index(j))


@gluon.jit
def _multiply(c, a_ring, b_ring, staging, full, empty, turn, R, M, N, K,
              WHO: gl.constexpr, BK: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr):  # fmt: skip
    """A group of four warps: 64 rows of every tile.

    A wait on what was just added keeps the compiler from adding later: it would need another 64 registers.
    """
    layout: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, 128, 16])
    tiles_m, tiles_n = gl.cdiv(M, 128), gl.cdiv(N, 256)
    part = gl.zeros([64, 128], gl.float32, layout)
    step = 0
    if WHO == 1:
        mbarrier.wait(turn, 0)
    for tile in range(gl.program_id(0), R * tiles_m * tiles_n, gl.num_programs(0)):
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, GROUP)
        left = gl.zeros([64, 128], gl.float32, layout)
        right = gl.zeros([64, 128], gl.float32, layout)
        for _ in range(0, K, BK):
            stage = step % STAGES
            mbarrier.wait(full.index(stage), step // STAGES & 1)
            part = warpgroup_mma_wait(0, (_products(part, a_ring, b_ring, stage, WHO, 0),))
            if WHO == 0:
                mbarrier.arrive(turn, count=1, pred=step == 0)
            left = warpgroup_mma_wait(0, (left + part,))
            part = warpgroup_mma_wait(0, (_products(part, a_ring, b_ring, stage, WHO, 1),))
            mbarrier.arrive(empty.index(stage), count=1)
            right = warpgroup_mma_wait(0, (right + part,))
            step += 1
        _store(c, staging, left, channel, m0 + 64 * WHO, n0)
        _store(c, staging, right, channel, m0 + 64 * WHO, n0 + 128)
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["R", "M", "N", "K"])
def split_kernel(a, b, c, R, M, N, K, GROUP: gl.constexpr, STAGES: gl.constexpr):
    """Persistent: program i takes output tiles i, i + programs, …"""
    BK: gl.constexpr = a.block_type.shape[1]
    a_ring = gl.allocate_shared_memory(a.dtype, [4 * STAGES, 64, BK], a.layout)
    b_ring = gl.allocate_shared_memory(b.dtype, [4 * STAGES, BK, 128], b.layout)
    upper = gl.allocate_shared_memory(gl.float32, [2, 1, 64, 32], c.layout)
    lower = gl.allocate_shared_memory(gl.float32, [2, 1, 64, 32], c.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    turn = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    mbarrier.init(turn, count=1)
    for i in gl.static_range(STAGES):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=2)
    gl.warp_specialize(
        [
            (_multiply, (c, a_ring, b_ring, upper, full, empty, turn, R, M, N, K, 0, BK, GROUP, STAGES)),
            (_multiply, (c, a_ring, b_ring, lower, full, empty, turn, R, M, N, K, 1, BK, GROUP, STAGES)),
            (_load, (a, b, a_ring, b_ring, full, empty, R, M, N, K, GROUP, STAGES)),
        ],
        [4, 1],
        [240, 24],
    )


def bmm_split(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, programs: int, ring: Ring = Ring()) -> torch.Tensor:
    """(2, r, M, K) × (2, r, K, N) float16 → ``out`` (r, M, N) float32, promoted every ``ring.bk`` columns.

    ``programs``: resident programs, at most one a multiprocessor. Nothing may be empty.
    """
    _, r, m, k = a.shape
    n = b.shape[3]
    lhs, rhs = a.as_strided((2 * r * m, k), a.stride()[2:]), b.as_strided((2 * r * k, n), b.stride()[2:])
    blocks = [64, ring.bk], [ring.bk, 128], [1, 64, 32]
    operands = [
        TensorDescriptor.from_tensor(t, block, gl.NVMMASharedLayout.get_default_for(block, kind))
        for t, block, kind in zip((lhs, rhs, out), blocks, (gl.float16, gl.float16, gl.float32), strict=True)
    ]
    tiles = r * triton.cdiv(m, 128) * triton.cdiv(n, 256)
    split_kernel[(min(programs, tiles),)](*operands, r, m, n, k, GROUP=ring.group, STAGES=ring.stages, num_warps=4,
                                          maxnreg=168)  # fmt: skip
    return out


@functools.lru_cache(maxsize=8)
def specialises(device: torch.device) -> bool:
    """Does the kernel run on this device? Compute capability 9 exactly; tried once, for Gluon's interface moves."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device)[0] != 9:
        return False
    try:
        a, b = (torch.zeros(2, 1, 8, 8, device=device, dtype=torch.float16) for _ in range(2))
        bmm_split(a, b, torch.empty(1, 8, 8, device=device), 1)
    except Exception as problem:
        warnings.warn(f"no specialised warps with Triton {triton.__version__}: {problem!r}"[:300], stacklevel=2)
        return False
    return True
