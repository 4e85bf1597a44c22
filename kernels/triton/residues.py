"""Residues on the int8 matrix units: scales, encode, batched products reduced in the epilogue, and decode with CRT.

Residues modulo l of a batch of r channels lie in one array (L·r, a, b) of int8, modulus after modulus, as integers of
absolute value at most 127 that are congruent to what they stand for; which representative does not matter. One launch
multiplies all of them. Reduction uses q = round(v/m) from the top 53 (float64) or 22 (float32) bits: the remainder may
miss the smallest representative by a few, so the moduli of large numbers are at most 243, or 256, where the low byte is
the residue.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from ..recipes import parse, tile_of
from .gemm import Config, _multiprocessors, _place, _store
from .residue_codegen import residue_decode_source, residue_encode_source

__all__ = ["INT8", "decode", "encode", "exponents", "multiply"]

INT8 = Config(bk=128, stages=3, group=16)
GRID = 65535  # a launch's second axis, over tile rows, ends here
BAD = 1 << 20  #: the exponent of a row that holds a NaN or an infinity
_MAGIC32 = tl.constexpr(0x4B400000)  # the bits of 1.5·2²³: an integer added to them is a float32 that ends in it


@triton.jit
def residue(number, low, m, inverse):
    """A residue of an integer given in float64 and by its low bits, as int8."""
    quotient = (number * inverse + 6755399441055744.0).to(tl.int64, bitcast=True)  # 1.5·2⁵²: an integer in the low bits
    return (low - quotient.to(tl.int32) * m).to(tl.int8)


@triton.jit
def _quotient(exact, inverse):
    """The bits of 1.5·2²³ + v/m rounded, for an integer |v| < 2²² in float32."""
    return (exact * inverse + 12582912.0).to(tl.int32, bitcast=True)


@triton.jit
def spread(pair):
    """Two bytes, read as one int16, as two numbers r + 128 in the halves of an int32."""
    wide = pair.to(tl.int32)
    return ((wide & 0xFF) | ((wide & 0xFF00) << 8)) ^ 0x800080


@triton.jit
def low(pair):
    """The lower half of a pair of sums in [0, 2¹⁶), as the end of the float32 1.5·2²³ + v."""
    return (pair & 0xFFFF) | _MAGIC32


@triton.jit
def high(pair):
    """The upper half."""
    return (pair >> 16) | _MAGIC32


@triton.jit
def raised(bits, m, inverse):
    """The residue of smallest absolute value of v, plus 2¹², from the bits of 1.5·2²³ + v + `BIAS`."""
    quotient = _quotient(bits.to(tl.float32, bitcast=True) - 12599296.0, inverse)
    return bits - quotient * m + (_MAGIC32 * m - (_MAGIC32 + 12288))


@triton.jit
def lowered(v):
    """0 ≤ v < 2³¹ less 2¹² in float64; cheaper than a conversion."""
    bits = v.to(tl.uint32, bitcast=True).to(tl.int64) | 0x4330000000000000
    return bits.to(tl.float64, bitcast=True) - 4503599627374592.0  # 2⁵² + 2¹²


@triton.jit
def reduced(v, m, inverse, SHIFT: tl.constexpr, AGAIN: tl.constexpr):
    """A residue of an int32 sum from its bits above SHIFT; AGAIN: then from what that leaves, where 8 bits are few."""
    top = (((v >> SHIFT) + _MAGIC32).to(tl.float32, bitcast=True) - 12582912.0) + 0.5  # the middle of what is cut
    scale = top * 0.0 + inverse * (1 << SHIFT)
    v -= (tl.fma(top, scale, top * 0.0 + 12582912.0).to(tl.int32, bitcast=True) - _MAGIC32) * m
    if AGAIN:
        v -= (_quotient((v + _MAGIC32).to(tl.float32, bitcast=True) - 12582912.0, inverse) - _MAGIC32) * m
    return v


@triton.jit
def power_of_two(e):
    """2^e in float64, e clamped to the exponents of normal numbers."""
    return ((tl.minimum(tl.maximum(e, -1022), 1023) + 1023).to(tl.int64) << 52).to(tl.float64, bitcast=True)


@triton.jit
def scaled(x, e):
    """x·2^e."""
    half = e >> 1
    return x * power_of_two(half) * power_of_two(e - half)


@triton.jit
def rounded(x, up):
    """x·2^up rounded to integers; zero where the row is `BAD`."""
    return tl.where(up == 1048576, 0.0, tl.floor(scaled(x, tl.where(up == 1048576, 0, up)) + 0.5))


@triton.jit
def unscaled(x, up, by):
    """x·2^-(up + by); NaN where either is `BAD`."""
    return tl.where((up == 1048576) | (by == 1048576), float("nan"), scaled(x, -(up + by)))


@triton.jit
def assembled(s, u, constants, KIND: tl.constexpr):
    """The number from its two sums; see `kernels.residues.Assembly`."""
    if KIND == 0:
        quotient = tl.floor(s * tl.load(constants + 2) + 0.5)
        return (s - quotient * tl.load(constants)) + (u - quotient * tl.load(constants + 1))
    x = u - tl.floor(s + 0.5).to(tl.int64) * tl.load(constants)
    if KIND == 1:
        return x
    modulus = tl.load(constants + 1)
    x -= tl.floor(x.to(tl.float64) / modulus.to(tl.float64)).to(tl.int64) * modulus  # |x| < 2⁵³
    return tl.where(x < 0, x + modulus, tl.where(x >= modulus, x - modulus, x))


@triton.jit
def _magnitude(x):
    """|x|, zero where x is not finite."""
    y = tl.abs(x)
    return tl.where(y <= 1.7976931348623157e308, y, 0.0)


@triton.jit
def exponent_kernel(x, out, width, sx0, log2_norm, log2_top, BLOCK: tl.constexpr):
    """One row a program: its largest entry, then its norm relative to that, from the cache."""
    x += tl.program_id(0).to(tl.int64) * sx0
    best = tl.zeros((BLOCK,), tl.float64)
    bad = tl.zeros((BLOCK,), tl.int32)
    for k0 in range(0, width, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        block = tl.load(x + k, mask=k < width, other=0.0)
        best = tl.maximum(best, _magnitude(block))
        bad |= (tl.abs(block) <= 1.7976931348623157e308).to(tl.int32) ^ 1
    top = tl.max(best, 0)
    small = top < 2.2250738585072014e-308
    field = (tl.where(small, top * 18446744073709551616.0, top).to(tl.int64, bitcast=True) >> 52).to(tl.int32)
    e = tl.where(top > 0.0, field - 1023 - tl.where(small, 64, 0), 0)
    total = tl.zeros((BLOCK,), tl.float64)
    for k0 in range(0, width, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        block = scaled(_magnitude(tl.load(x + k, mask=k < width, other=0.0)), -e)
        total += block * block
    norm = tl.log2(tl.maximum(tl.sum(total, 0), 1.0).to(tl.float32)) * 0.5
    up = tl.minimum(tl.floor(log2_norm - norm), log2_top - 1.0).to(tl.int32) - e
    tl.store(out + tl.program_id(0), tl.where(tl.max(bad, 0) > 0, 1048576, up))


def exponents(x: torch.Tensor, log2_norm: float, log2_top: int) -> torch.Tensor:
    """(N, K) float64 → (N,) int32 u with ‖x_i‖·2^u ≤ 2^log2_norm and max|x_ik|·2^u < 2^log2_top; `BAD`, see above."""
    out = torch.empty(x.shape[0], device=x.device, dtype=torch.int32)
    if out.numel():
        block = min(4096, triton.next_power_of_2(max(x.shape[1], 16)))
        exponent_kernel[(x.shape[0],)](x, out, x.shape[1], x.stride(0), log2_norm - 1e-4, float(log2_top), BLOCK=block,
                                       num_warps=8 if block > 1024 else 4)  # fmt: skip
    return out


def _name(text: str, direction: str) -> str:
    return f"residue_{direction}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@functools.lru_cache(maxsize=64)
def _kernel(text: str, direction: str) -> Any:
    """Compile the generated source of a recipe; Triton reads it back through ``linecache``."""
    name = _name(text, direction)
    code = (residue_encode_source if direction == "encode" else residue_decode_source)(parse(text), name)
    filename = f"<stl {name}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"triton": triton, "tl": tl, "residue": residue, "raised": raised, "lowered": lowered,
                             "spread": spread, "low": low, "high": high,
                             "rounded": rounded, "unscaled": unscaled, "assembled": assembled,
                             "__name__": __name__}  # fmt: skip
    exec(compile(code, filename, "exec"), scope)  # our own generated text, numbers only
    return scope[name]


def _planes(count: int, rows: int, cols: int, device: torch.device) -> torch.Tensor:
    """(count, rows, cols) int8, rows on multiples of 16 bytes as the products need them."""
    return torch.empty((count, rows, -(-cols // 16) * 16), device=device, dtype=torch.int8)[..., :cols]


def encode(
    x: torch.Tensor, text: str, moduli: torch.Tensor, inverses: torch.Tensor, by: torch.Tensor | None = None, *,
    block: int | None = None, warps: int = 4,
) -> torch.Tensor:  # fmt: skip
    """Residues of the encoded tiles of a matrix: (N, K) → (L·r, ⌈N/rows⌉, ⌈K/cols⌉) int8.

    Parameters
    ----------
    x : integers, or float64 to be multiplied by 2^``by`` and rounded; unit last stride, encoded entries below 2⁵⁴
    text : recipe with integer coefficients
    moduli, inverses : (L,) int32 and their reciprocals in float64
    by : (N,) int32, optional
    """
    s, rows, cols = tile_of(parse(text))
    height, width = x.shape
    a, b = -(-height // rows), -(-width // cols)
    out = _planes(len(moduli) * s, a, b, x.device)
    if out.numel() == 0:
        return out
    block = block or max(16, min(256, triton.next_power_of_2(b)))
    for at in range(0, a, GRID):
        _kernel(text, "encode")[(-(-b // block), min(GRID, a - at))](
            x[at * rows :], out[:, at:], moduli, inverses,
            by[at * rows :] if by is not None else moduli, height - at * rows, width, b, x.stride(0), out.stride(0),
            out.stride(1), s * out.stride(0), len(moduli), BT=block, ACC=tl.int64, SCALED=by is not None,
            num_warps=warps,
        )  # fmt: skip
    return out


def decode(
    p: torch.Tensor, text: str, moduli: torch.Tensor, inverses: torch.Tensor, first: torch.Tensor,
    second: torch.Tensor, constants: torch.Tensor, kind: int, height: int, width: int,
    by: tuple[torch.Tensor, torch.Tensor] | None = None, *, block: int | None = None, warps: int = 4,
    unroll: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """Decode by the recipe of **Dᵀ** and put together: (L·r, a, c) int8 → (height, width) float64 or int64.

    ``first``, ``second``, ``constants`` and ``kind`` as `kernels.residues.Assembly` has them; ``by``: exponents of rows
    and columns that :func:`encode` multiplied by.
    """
    s, rows, _ = tile_of(parse(text))
    out = torch.empty((height, width), device=p.device, dtype=torch.int64 if kind else torch.float64)
    if out.numel() == 0:
        return out
    count, a, b = p.shape
    pairs = -(-b // 2)
    p = p.as_strided((count, a, 2 * pairs), p.stride()).view(torch.int16)  # rows are padded to 16 bytes
    block = block or max(16, min(256, triton.next_power_of_2(b)))
    rows_by, cols_by = by if by is not None else (moduli, moduli)
    for at in range(0, a, GRID):
        _kernel(text, "decode")[(-(-b // block), min(GRID, a - at))](
            p[:, at:], out[at * rows :], moduli, inverses, first, second, constants,
            rows_by[at * rows :] if by is not None else rows_by, cols_by, height - at * rows, width, pairs, p.stride(0),
            p.stride(1), s * p.stride(0), out.stride(0), len(moduli), BT=block, KIND=kind,
            SECOND=tl.int64 if kind else tl.float64, UNROLL=unroll or (1 if s > 16 else 2), num_warps=warps,
        )  # fmt: skip
    return out


@triton.jit
def multiply_kernel(
    a, b, c, moduli, inverses, R, CHANNELS, M, N, K,
    PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
    SUB: tl.constexpr, SHIFT: tl.constexpr, AGAIN: tl.constexpr, FLATTEN: tl.constexpr,
):  # fmt: skip
    """int8 products summed in int32 and reduced before they are stored; persistent, channel after channel."""
    tiles_m = tl.cdiv(M, BM)
    tiles_n = tl.cdiv(N, BN)
    for tile in tl.range(tl.program_id(0), R * tiles_m * tiles_n, PROGRAMS, flatten=FLATTEN):
        channel, m0, n0 = _place(tile, tiles_m, tiles_n, BM, BN, GROUP)
        acc = tl.zeros((BM, BN), dtype=tl.int32)
        for step in tl.range(0, tl.cdiv(K, BK)):
            lhs = tl.reshape(a.load([channel, m0, step * BK]), (BM, BK))
            rhs = tl.trans(tl.reshape(b.load([channel, n0, step * BK]), (BN, BK)))
            acc = tl.dot(lhs, rhs, acc, out_dtype=tl.int32)
        m = tl.load(moduli + channel // CHANNELS)
        inverse = tl.load(inverses + channel // CHANNELS).to(tl.float32)
        _store(c, channel, m0, n0, reduced(acc, m, inverse, SHIFT, AGAIN), BM, BN, SUB)


def shift_for(inner: int, largest: int) -> tuple[int, bool]:
    """Low bits of a sum of ``inner`` products that the first quotient ignores, and whether a second one is needed.

    Operands are at most largest/2 + 5. The first remainder is at most largest/2, plus half of what is ignored, plus
    2⁻²⁴ of the sum for the rounded reciprocal.
    """
    bound = inner * min(127, largest // 2 + 5) ** 2
    shift = max(0, bound.bit_length() - 22)
    return shift, largest / 2 + (1 << shift) / 2 + bound / 2**24 >= 127.5


def multiply(
    a: torch.Tensor, b: torch.Tensor, moduli: torch.Tensor, inverses: torch.Tensor, largest: int, *,
    out: torch.Tensor | None = None, config: Config = INT8, shift: tuple[int, bool] | None = None,
) -> torch.Tensor:  # fmt: skip
    """Channel products modulo every number: (L·r, M, K) × (L·r, N, K)ᵀ int8 → (L·r, M, N) int8, for K ≤ 60,000.

    ``largest``: the largest of the moduli, 256 left aside.
    """
    count, m, k = a.shape
    n = b.shape[1]
    if out is None:
        out = _planes(count, m, n, a.device)
    if out.numel() == 0 or k == 0:
        return out.zero_()
    programs = config.programs_per_sm * _multiprocessors(a)
    low, again = shift or shift_for(k, largest)
    multiply_kernel[(min(programs, count * triton.cdiv(m, config.bm) * triton.cdiv(n, config.bn)),)](
        TensorDescriptor.from_tensor(a, [1, config.bm, config.bk]),
        TensorDescriptor.from_tensor(b, [1, config.bn, config.bk]),
        TensorDescriptor.from_tensor(out, [1, config.bm, config.bn // config.sub]), moduli, inverses, count,
        count // len(moduli), m, n, k, PROGRAMS=programs, BM=config.bm, BN=config.bn, BK=config.bk,
        GROUP=config.group, SUB=config.sub, SHIFT=low, AGAIN=again,
        FLATTEN=config.flatten, num_warps=config.warps, num_stages=config.stages,
    )  # fmt: skip
    return out
