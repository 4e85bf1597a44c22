"""Triton kernels that encode and decode with coefficients read at run time.

Two forms of each, for any tile, rank, strides and ragged edge:

``dot``
    one matrix-unit product of the coefficient matrix with a block of tiles: bfloat16 and float16.
    A coefficient is split into the sum of two 16-bit numbers when it is not one itself, so the
    encoder's own entries are not rounded to eight bits.
``outer``
    rank-one updates in full precision on the ordinary cores: float32 and float64 (no TF32).

The indices into memory are 64-bit, so tensors beyond 2³¹ elements are safe.
Every program owns its outputs: no atomics, results are bitwise reproducible.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

__all__ = ["ACTIVATIONS", "decode", "encode"]

ACTIVATIONS = {"": 0, "relu": 1, "gelu": 2, "silu": 3}


@triton.jit
def _activate(y, ACT: tl.constexpr):
    if ACT == 1:
        y = tl.maximum(y, 0.0)
    elif ACT == 2:  # tanh form; tanh(z) = 2σ(2z) − 1
        z = 0.7978845608028654 * (y + 0.044715 * y * y * y)
        y = y / (1.0 + tl.exp(-2.0 * z))
    elif ACT == 3:
        y = y / (1.0 + tl.exp(-y))
    return y


@triton.jit
def encode_kernel(
    x, e_hi, e_lo, out, height, width, tile_rows, tile_cols, sx0, sx1, so0, so1, NT: tl.constexpr, MT: tl.constexpr,
    R: tl.constexpr, BR: tl.constexpr, EP: tl.constexpr, BT: tl.constexpr, SPLIT: tl.constexpr, DOT: tl.constexpr,
    VEC: tl.constexpr, SATURATE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """One work item: BT tiles of one tile row, all R channels; programs stride over the items.

    ``out[l, a, b] = Σ_e E[l, e] x_tile[a, b][e]``."""
    col_blocks = tl.cdiv(tile_cols, BT)
    for item in range(tl.program_id(0), tile_rows * col_blocks, tl.num_programs(0)):
        col_block = item % col_blocks
        row = (item // col_blocks).to(tl.int64)
        t = col_block * BT + tl.arange(0, BT)
        for r0 in range(0, R, BR):
            r = r0 + tl.arange(0, BR)
            if DOT:
                if VEC:  # power-of-two tile on contiguous rows: wide loads, then regroup in registers
                    i = tl.arange(0, NT)
                    c = col_block * (BT * MT) + tl.arange(0, BT * MT)
                    ptr = x + (row * NT + i)[:, None] * sx0 + c.to(tl.int64)[None, :]
                    inside = ((row * NT + i)[:, None] < height) & (c[None, :] < width)
                    block = tl.load(ptr, mask=inside, other=0.0).to(e_hi.dtype.element_ty)
                    block = tl.reshape(block, (NT, BT, MT))
                    block = tl.reshape(tl.permute(block, (0, 2, 1)), (NT * MT, BT))
                else:
                    e = tl.arange(0, EP)
                    yy = row * NT + (e // MT)
                    xx = t.to(tl.int64)[None, :] * MT + (e % MT)[:, None]
                    inside = (e[:, None] < NT * MT) & (yy[:, None] < height) & (xx < width)
                    block = tl.load(x + yy[:, None] * sx0 + xx * sx1, mask=inside, other=0.0)
                    block = block.to(e_hi.dtype.element_ty)
                e = tl.arange(0, EP)
                known = (r[:, None] < R) & (e[None, :] < NT * MT)
                hi = tl.load(e_hi + r[:, None] * (NT * MT) + e[None, :], mask=known, other=0.0)
                acc = tl.dot(hi, block)
                if SPLIT:
                    lo = tl.load(e_lo + r[:, None] * (NT * MT) + e[None, :], mask=known, other=0.0)
                    acc = tl.dot(lo, block, acc)
            else:
                acc = tl.zeros((BR, BT), dtype=ACC)
                for k in range(NT * MT):
                    yy = row * NT + k // MT + tl.zeros_like(t)
                    xx = t.to(tl.int64) * MT + k % MT
                    plane = tl.load(x + yy * sx0 + xx * sx1, mask=(yy < height) & (xx < width), other=0.0)
                    coef = tl.load(e_hi + r * (NT * MT) + k, mask=r < R, other=0.0)
                    acc += coef[:, None].to(ACC) * plane[None, :].to(ACC)
            ptr = out + r.to(tl.int64)[:, None] * so0 + row * so1 + t[None, :]
            if SATURATE:  # e4m3 has no infinity: beyond 448 the conversion would give NaN
                acc = tl.clamp(acc, -448.0, 448.0)
            tl.store(ptr, acc.to(out.dtype.element_ty), mask=(r[:, None] < R) & (t[None, :] < tile_cols))


@triton.jit
def decode_kernel(
    p, d_hi, d_lo, bias, y, height, width, tile_rows, tile_cols, sp0, sp1, sp2, sy0, NT: tl.constexpr,
    MT: tl.constexpr, R: tl.constexpr, BR: tl.constexpr, EP: tl.constexpr, BT: tl.constexpr, SPLIT: tl.constexpr,
    DOT: tl.constexpr, VEC: tl.constexpr, ACC: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """One work item: BT output tiles of one tile row, with bias and activation fused.

    ``y_tile[a, b][c] = act(Σ_l D[c, l] p[l, a, b] + bias)``.
    """
    col_blocks = tl.cdiv(tile_cols, BT)
    for item in range(tl.program_id(0), tile_rows * col_blocks, tl.num_programs(0)):
        col_block = item % col_blocks
        row = (item // col_blocks).to(tl.int64)
        t = col_block * BT + tl.arange(0, BT)
        e = tl.arange(0, EP)
        acc = tl.zeros((EP, BT), dtype=ACC)
        if DOT:
            for r0 in range(0, R, BR):
                r = r0 + tl.arange(0, BR)
                ptr = p + r.to(tl.int64)[:, None] * sp0 + row * sp1 + t.to(tl.int64)[None, :] * sp2
                planes = tl.load(ptr, mask=(r[:, None] < R) & (t[None, :] < tile_cols), other=0.0)
                known = (e[:, None] < NT * MT) & (r[None, :] < R)
                hi = tl.load(d_hi + e[:, None] * R + r[None, :], mask=known, other=0.0)
                acc = tl.dot(hi, planes, acc)
                if SPLIT:
                    lo = tl.load(d_lo + e[:, None] * R + r[None, :], mask=known, other=0.0)
                    acc = tl.dot(lo, planes, acc)
        else:
            ptr = p + row * sp1 + t.to(tl.int64) * sp2
            for l in range(R):
                plane = tl.load(ptr, mask=t < tile_cols, other=0.0)
                ptr += sp0
                coef = tl.load(d_hi + e * R + l, mask=e < NT * MT, other=0.0)
                acc += coef[:, None].to(ACC) * plane[None, :].to(ACC)
        if VEC:
            i = tl.arange(0, NT)
            c = col_block * (BT * MT) + tl.arange(0, BT * MT)
            block = tl.permute(tl.reshape(acc, (NT, MT, BT)), (0, 2, 1))
            block = tl.reshape(block, (NT, BT * MT))
            if BIAS:
                block += tl.load(bias + c, mask=c < width, other=0.0).to(ACC)[None, :]
            block = _activate(block, ACT)
            inside = ((row * NT + i)[:, None] < height) & (c[None, :] < width)
            tl.store(
                y + (row * NT + i)[:, None] * sy0 + c.to(tl.int64)[None, :],
                block.to(y.dtype.element_ty),
                mask=inside,
            )
        else:
            yy = row * NT + (e // MT)
            xx = t.to(tl.int64)[None, :] * MT + (e % MT)[:, None]
            inside = (e[:, None] < NT * MT) & (yy[:, None] < height) & (xx < width)
            if BIAS:
                acc += tl.load(bias + xx, mask=inside, other=0.0).to(ACC)
            acc = _activate(acc, ACT)
            tl.store(y + yy[:, None] * sy0 + xx, acc.to(y.dtype.element_ty), mask=inside)


def _power_of_two(value: int) -> bool:
    return value & (value - 1) == 0


def split_coefficients(e: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """``e`` as hi + lo in ``dtype``: about sixteen correct bits in bfloat16."""
    hi = e.to(dtype)
    return hi, (e - hi.to(e.dtype)).to(dtype)


def _operands(
    coefficients: torch.Tensor, dtype: torch.dtype, rows: int, cols: int, tiles: int, exact16: bool | None,
    contiguous: bool, programs: int,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:  # fmt: skip
    """Coefficients as hi and lo, and the kernel's compile-time arguments; block sizes measured on an H200.

    ``coefficients`` is (r, rows·cols) or its transpose, ``tiles`` the number of tiles in a row.
    """
    nm = rows * cols
    r = coefficients.numel() // nm
    dot = dtype in (torch.bfloat16, torch.float16)
    ep = max(16 if dot else 1, triton.next_power_of_2(nm))
    br = max(16 if dot else 1, min(64, triton.next_power_of_2(r)))
    widest = {16: 512, 32: 256}.get(br, 128) if nm <= 16 else 32
    if not dot:  # registers: the accumulator is BR×BT (encode) or EP×BT (decode)
        br, widest = min(br, 16), 64 if nm > 16 else min(widest, 128)
    bt = max(16, min(widest, triton.next_power_of_2(max(tiles, 1))))
    hi, lo = split_coefficients(coefficients, dtype) if dot else (coefficients, coefficients)
    fixed = {
        "NT": rows, "MT": cols, "R": r, "BR": br, "EP": ep, "BT": bt, "DOT": dot, "SPLIT": dot and not exact16,
        "VEC": dot and contiguous and nm >= 16 and _power_of_two(rows) and _power_of_two(cols),
        "ACC": tl.float64 if dtype == torch.float64 else tl.float32,
        "num_stages": 3 if programs else 1,  # prefetching pays only when a program walks many items
    }  # fmt: skip
    return hi.contiguous(), lo.contiguous(), fixed


def encode(
    x: torch.Tensor, e: torch.Tensor, rows: int, cols: int, *, exact16: bool | None = None,
    out: torch.Tensor | None = None, programs: int = 0,
) -> torch.Tensor:  # fmt: skip
    """Encode every tile of a matrix.

    Parameters
    ----------
    x : (N, K) tensor of any strides.
    e : (r, rows·cols) coefficients (kept in float32 or better by the caller).
    rows, cols : int
        Tile format.
    exact16 : bool, optional
        The coefficients are exactly representable in ``x.dtype`` (skips the second product).
    out : (r, ⌈N/rows⌉, ⌈K/cols⌉) tensor with unit last stride, optional.
    programs : int
        Resident programs that walk the blocks, prefetching; 0 for one program a block.

    Returns
    -------
    (r, ⌈N/rows⌉, ⌈K/cols⌉) tensor of ``x.dtype``.
    """
    height, width = x.shape
    r = e.shape[0]
    a, b = -(-height // rows), -(-width // cols)
    if out is None:
        out = torch.empty((r, a, b), device=x.device, dtype=x.dtype)
    if out.numel() == 0:
        return out
    work = torch.bfloat16 if x.dtype.itemsize == 1 else x.dtype  # fp8 activations are widened in registers
    hi, lo, fixed = _operands(e, work, rows, cols, b, exact16, x.stride(1) == 1, programs)
    items = a * triton.cdiv(b, fixed["BT"])
    encode_kernel[(min(items, programs) if programs else items,)](
        x, hi, lo, out, height, width, a, b, x.stride(0), x.stride(1), out.stride(0), out.stride(1),
        SATURATE=out.dtype == torch.float8_e4m3fn, **fixed,
    )  # fmt: skip
    return out


def decode(
    p: torch.Tensor, d: torch.Tensor, rows: int, cols: int, height: int, width: int, *,
    bias: torch.Tensor | None = None, activation: str = "", exact16: bool | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Decode every tile, add the bias and apply the activation in the same pass.

    Parameters
    ----------
    p : (r, ⌈height/rows⌉, ⌈width/cols⌉) channel products, any strides.
    d : (rows·cols, r) coefficients.
    bias : (width,) tensor, optional.
    activation : {"", "relu", "gelu", "silu"}

    Returns
    -------
    (height, width) tensor of ``p.dtype``.
    """
    _, a, b = p.shape
    if out is None:
        out = torch.empty((height, width), device=p.device, dtype=p.dtype)
    if out.numel() == 0:
        return out
    hi, lo, fixed = _operands(d, p.dtype, rows, cols, b, exact16, True, 0)
    decode_kernel[(a * triton.cdiv(b, fixed["BT"]),)](
        p, hi, lo, bias if bias is not None else p, out, height, width, a, b, p.stride(0), p.stride(1), p.stride(2),
        out.stride(0), BIAS=bias is not None, ACT=ACTIVATIONS[activation], **fixed,
    )  # fmt: skip
    return out
