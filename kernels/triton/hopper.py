"""Products of float16 halves on Hopper with warps that specialise: one loads, two groups multiply and promote.

The plain Triton kernel (`gemm.bmm_split`) has to stop its matrix units while it adds a partial sum, and a 128×256 tile
with two accumulators does not fit the registers. Here (Gluon, Triton's lower layer) one warp fills a ring of shared
memory, and each of two warp groups owns 64 rows of the tile: it multiplies `BK` columns into a 64×128 partial sum of
64 registers a thread, twice, and adds it with rounding to its half of the 128 registers of its sum. While one group
adds, the other has the matrix units. No synchronisation but the ring's.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

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

__all__ = ["Ring", "bmm_split"]


@dataclass(frozen=True)
class Ring:
    """Columns a stage holds, stages, and rows of tiles that are walked together."""

    bk: int = 32
    stages: int = 4
    group: int = 8
    lag: int = 0


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
    """The warp that fills the ring."""
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
                    tma.async_copy_global_to_shared(
                        a, [(channel + half * R) * M + m0 + 64 * side, k], ready, a_ring.index(place))
                    tma.async_copy_global_to_shared(
                        b, [(channel + half * R) * K + k, n0 + 128 * side], ready, b_ring.index(place))
            step += 1


@gluon.jit
def _chunk(part, a_ring, b_ring, place, GROUP: gl.constexpr, SIDE: gl.constexpr):
    """The three products of one stage and 128 columns of B, small ones first."""
    low, high = a_ring.index(place + 2 + GROUP), a_ring.index(place + GROUP)
    b_low, b_high = b_ring.index(place + 2 + SIDE), b_ring.index(place + SIDE)
    part = warpgroup_mma(low, b_high, part, use_acc=False, is_async=True)
    part = warpgroup_mma(high, b_low, part, is_async=True)
    part = warpgroup_mma(high, b_high, part, is_async=True)
    return part


@gluon.jit
def _store(c, staging, acc, channel, m0, n0):
    """A 64×128 tile in four slices through two places of shared memory."""
    halves = acc.reshape([64, 2, 64]).permute([0, 2, 1]).split()
    for i in gl.static_range(2):
        quarters = halves[i].reshape([64, 2, 32]).permute([0, 2, 1]).split()
        for j in gl.static_range(2):
            place = staging.index(j)
            tma.store_wait(1)
            place.reshape([64, 32]).store(quarters[j])
            fence_async_shared()
            tma.async_copy_shared_to_global(c, [channel, m0, n0 + 64 * i + 32 * j], place)


@gluon.jit
def _multiply(c, a_ring, b_ring, staging, full, empty, turn, R, M, N, K,
              WHO: gl.constexpr, BK: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr, LAG: gl.constexpr):  # fmt: skip
    """A group of four warps: 64 rows of every tile."""
    layout: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, 128, 16])
    tiles_m, tiles_n = gl.cdiv(M, 128), gl.cdiv(N, 256)
    part = gl.zeros([64, 128], gl.float32, layout)
    step = 0
    if WHO == 1 and LAG >= 0:
        mbarrier.wait(turn, 0)
    for tile in range(gl.program_id(0), R * tiles_m * tiles_n, gl.num_programs(0)):
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, GROUP)
        left = gl.zeros([64, 128], gl.float32, layout)
        right = gl.zeros([64, 128], gl.float32, layout)
        for _ in range(0, K, BK):
            stage = step % STAGES
            mbarrier.wait(full.index(stage), step // STAGES & 1)
            part = _chunk(part, a_ring, b_ring, stage * 4, WHO, 0)
            part = warpgroup_mma_wait(0, (part,))
            if WHO == 0 and LAG >= 0:
                mbarrier.arrive(turn, count=1, pred=step == LAG)
            left = warpgroup_mma_wait(0, (left + part,))
            part = _chunk(part, a_ring, b_ring, stage * 4, WHO, 1)
            part = warpgroup_mma_wait(0, (part,))
            mbarrier.arrive(empty.index(stage), count=1)
            right = warpgroup_mma_wait(0, (right + part,))
            step += 1
        _store(c, staging, left, channel, m0 + 64 * WHO, n0)
        _store(c, staging, right, channel, m0 + 64 * WHO, n0 + 128)
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["R", "M", "N", "K"])
def split_kernel(a, b, c, R, M, N, K, GROUP: gl.constexpr, STAGES: gl.constexpr, LAG: gl.constexpr):
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
            (_multiply, (c, a_ring, b_ring, upper, full, empty, turn, R, M, N, K, 0, BK, GROUP, STAGES, LAG)),
            (_multiply, (c, a_ring, b_ring, lower, full, empty, turn, R, M, N, K, 1, BK, GROUP, STAGES, LAG)),
            (_load, (a, b, a_ring, b_ring, full, empty, R, M, N, K, GROUP, STAGES)),
        ],
        [4, 1], [240, 24],
    )  # fmt: skip


def bmm_split(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, programs: int, ring: Ring = Ring()) -> torch.Tensor:
    """(2, r, M, K) × (2, r, K, N) float16 → (r, M, N) float32, promoted every ``ring.bk`` columns."""
    _, r, m, k = a.shape
    n = b.shape[3]
    lhs, rhs = a.as_strided((2 * r * m, k), a.stride()[2:]), b.as_strided((2 * r * k, n), b.stride()[2:])
    blocks = [64, ring.bk], [ring.bk, 128], [1, 64, 32]
    kinds = gl.float16, gl.float16, gl.float32
    a_layout, b_layout, c_layout = (gl.NVMMASharedLayout.get_default_for(s, t) for s, t in zip(blocks, kinds, strict=True))
    tiles = r * triton.cdiv(m, 128) * triton.cdiv(n, 256)
    split_kernel[(min(programs, tiles),)](
        TensorDescriptor.from_tensor(lhs, blocks[0], a_layout), TensorDescriptor.from_tensor(rhs, blocks[1], b_layout),
        TensorDescriptor.from_tensor(out, blocks[2], c_layout), r, m, n, k, GROUP=ring.group, STAGES=ring.stages, LAG=ring.lag,
        num_warps=4, maxnreg=168)  # fmt: skip
    return out
