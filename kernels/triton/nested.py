"""Encode and decode ⟨2,2,2;s⟩ ⊗ (4×4 tile, rank r) on the matrix units: 16 bits, fixed coefficients.

The 8×8 tile is four 4×4 quadrants. Encoding multiplies the inner r×16 factor with a block of each quadrant
(`tl.dot`, float32 accumulation) and stores s combinations of the four results; decoding is the mirror image. So one
exact Strassen level inside the channels of a dense encoder costs a dozen additions per channel, and the
pass stays bound by memory where straight-line code would run out of registers (64 entries a tile).

An inner coefficient that 16 bits do not hold is the sum of two that
do. Every output has one owner and a fixed order of summation.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from ..recipes import parse
from .dense import ACTIVATIONS, _activate, split_coefficients
from .unrolled import GRID

__all__ = ["decode", "encode", "suits"]

MAX_RANK = 64  # of the inner factor


@triton.jit
def _add(acc, z, C: tl.constexpr):
    """acc + C·z, without a multiplication for ±1."""
    if C == 1:
        acc += z
    elif C == -1:
        acc -= z
    elif C != 0:
        acc += z * C
    return acc


@triton.jit
def _dot(hi, lo, block, SPLIT: tl.constexpr):
    acc = tl.dot(hi, block)
    if SPLIT:
        acc = tl.dot(lo, block, acc)
    return acc


@triton.jit
def encode_kernel(
    x, e_hi, e_lo, out, height, width, tile_cols, sx0, so0, so1,
    OUTER: tl.constexpr, S: tl.constexpr, R: tl.constexpr, BR: tl.constexpr, BT: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """BT tiles of one tile row: out[l·R + r] = Σ_q OUTER[l, q] (E x_q)[r]."""
    t = tl.program_id(0) * BT + tl.arange(0, BT)
    row = tl.program_id(1).to(tl.int64)
    i = row * 8 + tl.arange(0, 4)[:, None]
    c = tl.program_id(0) * (8 * BT) + tl.arange(0, 8 * BT)[None, :]
    at = x + i * sx0 + c.to(tl.int64)
    top = tl.load(at, mask=(i < height) & (c < width), other=0.0)
    low = tl.load(at + 4 * sx0, mask=(i + 4 < height) & (c < width), other=0.0)
    q0, q1 = tl.split(tl.permute(tl.reshape(top, (4, BT, 2, 4)), (0, 3, 1, 2)))
    q2, q3 = tl.split(tl.permute(tl.reshape(low, (4, BT, 2, 4)), (0, 3, 1, 2)))
    q0 = tl.reshape(q0, (16, BT))
    q1 = tl.reshape(q1, (16, BT))
    q2 = tl.reshape(q2, (16, BT))
    q3 = tl.reshape(q3, (16, BT))
    e = tl.arange(0, 16)[None, :]
    for r0 in tl.static_range(0, R, BR):
        r = r0 + tl.arange(0, BR)[:, None]
        hi = tl.load(e_hi + r * 16 + e, mask=r < R, other=0.0)
        lo = tl.load(e_lo + r * 16 + e, mask=r < R, other=0.0)
        z0 = _dot(hi, lo, q0, SPLIT)
        z1 = _dot(hi, lo, q1, SPLIT)
        z2 = _dot(hi, lo, q2, SPLIT)
        z3 = _dot(hi, lo, q3, SPLIT)
        for l in tl.static_range(S):
            z = tl.zeros((BR, BT), dtype=tl.float32)
            z = _add(z, z0, OUTER[4 * l])
            z = _add(z, z1, OUTER[4 * l + 1])
            z = _add(z, z2, OUTER[4 * l + 2])
            z = _add(z, z3, OUTER[4 * l + 3])
            to = out + (l * R + r).to(tl.int64) * so0 + row * so1 + t[None, :]
            tl.store(to, z.to(out.dtype.element_ty), mask=(r < R) & (t[None, :] < tile_cols))


@triton.jit
def decode_kernel(
    p, d_hi, d_lo, outer, bias, y, height, width, tile_cols, sp0, sp1, sy0,
    S: tl.constexpr, R: tl.constexpr, BR: tl.constexpr, BT: tl.constexpr, SPLIT: tl.constexpr, BIAS: tl.constexpr,
    ACT: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """BT tiles of one tile row: y_q = act(Σ_l OUTER[l, q] D p_l + bias), p_l the R channels from l·R on.

    The loop over l is pipelined: several loads are in flight, where unrolled code would wait for each in turn.
    """
    t = tl.program_id(0) * BT + tl.arange(0, BT)[None, :]
    row = tl.program_id(1).to(tl.int64)
    e = tl.arange(0, 16)[:, None]
    y0 = tl.zeros((16, BT), dtype=tl.float32)
    y1 = tl.zeros((16, BT), dtype=tl.float32)
    y2 = tl.zeros((16, BT), dtype=tl.float32)
    y3 = tl.zeros((16, BT), dtype=tl.float32)
    r = tl.arange(0, BR)
    hi = tl.load(d_hi + e * R + r[None, :], mask=r[None, :] < R, other=0.0)
    lo = tl.load(d_lo + e * R + r[None, :], mask=r[None, :] < R, other=0.0)
    known = (r[:, None] < R) & (t < tile_cols)
    at = p + r.to(tl.int64)[:, None] * sp0 + row * sp1 + t
    for l in tl.range(0, S, num_stages=STAGES):
        planes = tl.load(at + (row * 0 + l * R) * sp0, mask=known, other=0.0)
        z = _dot(hi, lo, planes, SPLIT)
        y0 += z * tl.load(outer + 4 * l)
        y1 += z * tl.load(outer + 4 * l + 1)
        y2 += z * tl.load(outer + 4 * l + 2)
        y3 += z * tl.load(outer + 4 * l + 3)
    top = tl.join(tl.reshape(y0, (4, 4, BT)), tl.reshape(y1, (4, 4, BT)))
    low = tl.join(tl.reshape(y2, (4, 4, BT)), tl.reshape(y3, (4, 4, BT)))
    top = tl.reshape(tl.permute(top, (0, 2, 3, 1)), (4, 8 * BT))
    low = tl.reshape(tl.permute(low, (0, 2, 3, 1)), (4, 8 * BT))
    i = row * 8 + tl.arange(0, 4)[:, None]
    c = tl.program_id(0) * (8 * BT) + tl.arange(0, 8 * BT)[None, :]
    if BIAS:
        shift = tl.load(bias + c, mask=c < width, other=0.0).to(tl.float32)
        top += shift
        low += shift
    to = y + i * sy0 + c.to(tl.int64)
    tl.store(to, _activate(top, ACT).to(y.dtype.element_ty), mask=(i < height) & (c < width))
    tl.store(to + 4 * sy0, _activate(low, ACT).to(y.dtype.element_ty), mask=(i + 4 < height) & (c < width))


@functools.lru_cache(maxsize=256)
def _factors(text: str) -> tuple[tuple[float, ...], np.ndarray] | None:
    """(outer coefficients row by row, inner r×16 matrix), or None when the recipe has another form."""
    (s, n, m, outer), *rest = parse(text)
    if (n, m) != (2, 2) or s > 8 or not rest:
        return None
    rows, cols = (int(np.prod([f[i] for f in rest])) for i in (1, 2))
    if (rows, cols) != (4, 4):
        return None
    inner, height, width = np.ones((1, 1, 1)), 1, 1
    for r, a, b, values in rest:
        inner = np.einsum("lik,mjn->lmijkn", inner, np.array(values).reshape(r, a, b))
        height, width = height * a, width * b
        inner = inner.reshape(-1, height, width)
    matrix = inner.reshape(-1, 16)
    return (tuple(outer), matrix) if matrix.shape[0] <= MAX_RANK else None


def suits(text: str, dtype: torch.dtype, last_stride: int = 1) -> bool:
    """Can these kernels run this recipe?"""
    return dtype in (torch.bfloat16, torch.float16) and last_stride == 1 and _factors(text) is not None


@functools.lru_cache(maxsize=64)
def _operands(
    text: str, device: str, dtype: torch.dtype, transposed: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, bool]:
    """The inner matrix (or its transpose) as hi + lo in ``dtype``, the outer one, and whether lo is needed."""
    found = _factors(text)
    assert found is not None
    outer, inner = found
    hi, lo = split_coefficients(torch.tensor(inner.T if transposed else inner, device=device), dtype)
    table = torch.tensor(outer, device=device, dtype=torch.float32)
    return hi.contiguous(), lo.contiguous(), table, bool(lo.any())


def _shape(text: str, tiles: int, encoding: bool) -> dict[str, Any]:
    """Block sizes, the fastest of a sweep on an H200 over inner ranks 16, 24, 32, 48 and 49."""
    found = _factors(text)
    assert found is not None
    outer, inner = found
    rank = inner.shape[0]
    fitting = max(16, triton.next_power_of_2(max(tiles, 1)))
    shape: dict[str, Any] = {"S": len(outer) // 4, "R": rank}
    if encoding:
        return shape | {"OUTER": outer, "BR": 16, "BT": min(128, fitting), "num_warps": 8}
    block, stages = 128 if rank <= 32 else 64, 6 if rank <= 16 else 3
    return shape | {"BR": max(16, triton.next_power_of_2(rank)), "BT": min(block, fitting), "STAGES": stages}


def encode(x: torch.Tensor, text: str, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Encode every 8×8 tile of (N, K), unit last stride, by a recipe that :func:`suits` → (s·r, ⌈N/8⌉, ⌈K/8⌉)."""
    height, width = x.shape
    a, b = -(-height // 8), -(-width // 8)
    shape = _shape(text, b, True)
    if out is None:
        out = torch.empty((shape["S"] * shape["R"], a, b), device=x.device, dtype=x.dtype)
    if out.numel() == 0:
        return out
    hi, lo, _, two = _operands(text, str(x.device), x.dtype, False)
    for at in range(0, a, GRID):
        encode_kernel[(-(-b // shape["BT"]), min(GRID, a - at))](
            x[at * 8 :], hi, lo, out[:, at:], height - at * 8, width, b, x.stride(0), out.stride(0), out.stride(1),
            SPLIT=two, **shape,
        )  # fmt: skip
    return out


def decode(
    p: torch.Tensor, text: str, height: int, width: int, *, bias: torch.Tensor | None = None, activation: str = "",
    out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Decode (s·r, a, b) by the recipe of **Dᵀ** → (height, width), bias and activation fused."""
    if out is None:
        out = torch.empty((height, width), device=p.device, dtype=p.dtype)
    if out.numel() == 0:
        return out
    _, a, b = p.shape
    shape = _shape(text, b, False)
    hi, lo, outer, two = _operands(text, str(p.device), p.dtype, True)
    for at in range(0, a, GRID):
        decode_kernel[(-(-b // shape["BT"]), min(GRID, a - at))](
            p[:, at:], hi, lo, outer, bias if bias is not None else p, out[at * 8 :], height - at * 8, width, b,
            p.stride(0), p.stride(1), out.stride(0), SPLIT=two, BIAS=bias is not None, ACT=ACTIVATIONS[activation],
            **shape,
        )  # fmt: skip
    return out
