"""Single precision on 16-bit matrix units: products of numbers split into two float16 halves, under exact encoders.

x = x₁ + x₂ with x₁, x₂ in float16 holds 22 bits, and x·w ≈ x₂w₁ + x₁w₂ + x₁w₁ costs three products that run an order
of magnitude faster than float32 ones (Markidis et al. 2018, Ootomo and Yokota 2022). Two things are added here.

*An encoder around it.* The encoder is applied in float32 and its channels are split in the same pass, so the halves
cost the bytes of the float32 channel; the three products of all channels are one launch, and an exact encoder needs
r/nmp of them. The matrix units truncate when they accumulate, an error that grows with the length of the sum:
an encoder divides that length by m, the mean loss is put back, and "promoted" sums move to a rounding accumulator.

*Scales.* float16 has five bits of exponent, and an encoder mixes the rows and columns of a tile. So A and B are
scaled by powers of two, exactly, before they are encoded (outside and inside scaling, Ballard, Benson, Druinsky,
Lipshitz and Schwartz 2016)::

    A = 2^r A′ 2^-s,   B = 2^s B′ 2^c,   AB = 2^r (A′B′) 2^c

with s_k the mean exponent of row k of B (a mean, because one large or one missing entry must not decide; of its first
1024 columns), then c and r from the largest entries of the columns of 2^-s B and of the rows of A 2^s. Over- and
underflow happen at the end only. An entry of the product that meets a NaN or an infinity is recomputed in plain
float32.

The error is relative to max_k|a_ik 2^s_k| · max_k|b_kj 2^-s_k|, as for any algorithm that mixes rows, not to
Σ_k |a_ik b_kj|: entries much smaller than their row and column allow lose relative accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from stl_algebra.errors import StlError

from . import reference
from ._compat import is_hopper_or_newer, runs_triton, triton_status
from .codec import Codec, EncoderLike, as_codec

__all__ = ["SplitWeight", "matmul_split", "reference_split", "split_weight", "supports_split"]

TOP = 14  # encoded entries stay below 2^(TOP + 1), inside float16
LEVEL = 1024  # columns whose mean exponent stands for a row
NONE = -1000  # the exponent of rows and columns without a finite nonzero entry: what they give is scaled to zero


class Exponents(NamedTuple):
    """Of rows or columns: exponents (N,), where a NaN or an infinity was met (N,), whether anywhere (1,); int32."""

    values: torch.Tensor
    flags: torch.Tensor
    any: torch.Tensor


@dataclass(frozen=True)
class SplitWeight:
    """A weight (K, M) scaled, encoded and split once.

    ``halves`` (2, r, ⌈K/m⌉, ⌈M/p⌉) float16; ``inner`` the exponents s (K,) of the rows, ``outer`` c (M,) of the
    columns; ``weight`` the original, for products that meet a NaN or an infinity.
    """

    codec: Codec
    halves: torch.Tensor
    inner: torch.Tensor
    outer: Exponents
    weight: torch.Tensor


def supports_split(device: torch.device | str) -> bool:
    """Does it pay there? CUDA with Triton on compute capability 9.0 or above."""
    device = torch.device(device)
    return device.type == "cuda" and triton_status().usable and is_hopper_or_newer(device)


def split_weight(w: torch.Tensor, encoder: EncoderLike | Codec) -> SplitWeight:
    """Scale, encode and split a weight (K, M) float32 once.

    Raises
    ------
    StlError
        If ``w`` is not a float32 matrix, or the encoder has too many coefficients to be compiled.
    """
    return _prepared(_path(w), w, _checked("w", w, as_codec(encoder)))


def matmul_split(
    x: torch.Tensor, weight: SplitWeight, *, promoted: bool = True, out: torch.Tensor | None = None
) -> torch.Tensor:
    """``x @ w`` in float32 by split products: (N, K) → (N, M).

    Parameters
    ----------
    weight : what :func:`split_weight` made of w
    promoted : bool
        Sum every 64 columns apart and add them with rounding: a fifth slower, and as accurate as the halves allow.
        Without, the error is that of a truncating accumulator over K/m columns, with its mean put back.
    out : (N, M) float32 with unit last stride, optional

    Raises
    ------
    StlError
        If ``x`` is not a float32 matrix on the weight's device with as many columns as w has rows.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> a, b = torch.randn(64, 48), torch.randn(48, 80)
    >>> y = matmul_split(a, split_weight(b, strassen()))
    >>> bool((y - a @ b).abs().max() < 1e-4)
    True
    """
    _checked("x", x, weight.codec)
    size = weight.weight.shape[0]
    if x.shape[1] != size or x.device != weight.halves.device:
        raise StlError("x", f"{tuple(x.shape)} on {x.device}", f"(N, {size}) on {weight.halves.device}, as the weight")
    return _multiplied(_path(x), x, weight, promoted, out)


def reference_split(a: torch.Tensor, b: torch.Tensor, encoder: EncoderLike | Codec) -> torch.Tensor:
    """The same rounding in plain torch on any device, products summed in float64: (N, K), (K, M) → (N, M)."""
    return _multiplied(Plain, a, _prepared(Plain, b, as_codec(encoder)), True, None)


def _prepared(path: type[Plain], w: torch.Tensor, codec: Codec) -> SplitWeight:
    inner = path.row_levels(w)
    outer = path.column_exponents(w, inner, _headroom(codec.e_w))
    return SplitWeight(codec, path.encode(w, codec, 1, inner, -outer.values), inner, outer, w)


def _multiplied(path: type[Plain], x: torch.Tensor, weight: SplitWeight, promoted: bool,
                out: torch.Tensor | None) -> torch.Tensor:  # fmt: skip
    codec = weight.codec
    rows = path.row_exponents(x, weight.inner, _headroom(codec.e_x))
    halves = path.encode(x, codec, 0, rows.values, weight.inner)
    products = path.product(halves, weight.halves, promoted)
    y = torch.empty((x.shape[0], weight.weight.shape[1]), device=x.device) if out is None else out
    path.decode(products, codec, rows, weight.outer, y)
    path.repair(x, weight.weight, y, rows, weight.outer)
    return y


def _checked(name: str, x: torch.Tensor, codec: Codec) -> Codec:
    if not isinstance(x, torch.Tensor) or x.dtype != torch.float32 or x.dim() != 2:
        found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise StlError(name, found, "a float32 matrix", "Products of other types: kernels.stl_matmul.")
    if not all(codec.recipes):
        raise StlError("encoder", codec.format, "an encoder with fixed-coefficient recipes",
                       "This one has too many coefficients to be compiled; kernels.stl_matmul runs it.")  # fmt: skip
    return codec


def _headroom(factor: np.ndarray) -> int:
    """Target exponent t: entries below 2^(t+1) stay below 2^(TOP+1) once encoded by ``factor`` (r, entries)."""
    return TOP - math.ceil(math.log2(max(float(np.abs(factor).sum(1).max()), 1.0)))


def _path(x: torch.Tensor) -> type[Plain]:
    return Compiled if runs_triton(x) else Plain


class Plain:
    """Every step in plain torch; :class:`Compiled` has the same steps as Triton kernels."""

    @staticmethod
    def row_levels(x: torch.Tensor) -> torch.Tensor:
        """⌊Mean exponent⌋ of each row, of its first `LEVEL` columns that hold a finite nonzero entry; else `NONE`."""
        count, total = (torch.zeros(x.shape[0], device=x.device, dtype=torch.int64) for _ in range(2))
        for block in x.split(LEVEL, 1):
            known = torch.isfinite(block) & (block != 0) & (count == 0)[:, None]
            total = total + torch.where(known, torch.frexp(block).exponent - 1, 0).sum(1)
            count = count + known.sum(1)
        mean = torch.div(total, count.clamp_min(1), rounding_mode="floor")
        return torch.where(count > 0, mean, NONE).to(torch.int32)

    @staticmethod
    def row_exponents(x: torch.Tensor, shift: torch.Tensor, target: int) -> Exponents:
        """e_i = max_k ⌊log₂|x_ik|⌋ + shift_k − target; `NONE` for zero rows."""
        nothing = -(1 << 20)
        known = torch.isfinite(x) & (x != 0)
        e = torch.where(known, torch.frexp(x).exponent - 1 + shift, nothing)
        top = e.amax(1) if x.shape[1] else torch.full((x.shape[0],), nothing, device=x.device)
        flags = (~torch.isfinite(x)).any(1).to(torch.int32)
        return Exponents(torch.where(top == nothing, NONE, top - target).to(torch.int32), flags,
                         flags.any().to(torch.int32)[None])  # fmt: skip

    @staticmethod
    def column_exponents(x: torch.Tensor, shift: torch.Tensor, target: int) -> Exponents:
        """f_j = max_k ⌊log₂|x_kj|⌋ − shift_k − target."""
        return Plain.row_exponents(x.t(), -shift, target)

    @staticmethod
    def encode(x: torch.Tensor, codec: Codec, side: int, rows: torch.Tensor, cols_by: torch.Tensor) -> torch.Tensor:
        """Scale by 2^(cols_by − rows), encode and split by E_X (side 0) or E_W (side 1) → (2, r, a, b) float16."""
        scaled = torch.ldexp(torch.nan_to_num(x.double(), 0.0, 0.0, 0.0), cols_by[None, :] - rows[:, None])
        factor = codec.tensors(x.device, torch.float32)[side]
        wide = reference.encode(scaled.float(), factor, *codec.format[side : side + 2])
        top = wide.half()
        return torch.stack([top, (wide - top.float()).half()])

    @staticmethod
    def product(lhs: torch.Tensor, rhs: torch.Tensor, promoted: bool) -> torch.Tensor:
        """Channel products of halves → (r, a, c) float32."""
        (a, a_lo), (b, b_lo) = lhs.double(), rhs.double()
        return (torch.bmm(a, b) + (torch.bmm(a_lo, b) + torch.bmm(a, b_lo))).float()

    @staticmethod
    def decode(p: torch.Tensor, codec: Codec, rows: Exponents, cols: Exponents, y: torch.Tensor) -> None:
        """Decode into y and undo the scales."""
        d = codec.tensors(p.device, torch.float32)[2]
        tile = reference.decode(p, d, codec.format[0], codec.format[2], *y.shape)
        y.copy_(torch.ldexp(tile.double(), rows.values[:, None] + cols.values[None, :]))

    @staticmethod
    def repair(a: torch.Tensor, b: torch.Tensor, y: torch.Tensor, rows: Exponents, cols: Exponents) -> None:
        """Recompute what meets a NaN or an infinity."""
        if bool(rows.any + cols.any):
            y.copy_(torch.where((rows.flags[:, None] | cols.flags[None, :]).bool(), a @ b, y))


class Compiled(Plain):
    """The steps as Triton kernels: one pass per exponent, encode with the split, one launch for all products."""

    @staticmethod
    def row_levels(x: torch.Tensor) -> torch.Tensor:
        """See `kernels.triton.scaling`."""
        from .triton import scaling

        return scaling.row_levels(x)

    @staticmethod
    def row_exponents(x: torch.Tensor, shift: torch.Tensor, target: int) -> Exponents:
        """See `kernels.triton.scaling`."""
        from .triton import scaling

        return Exponents(*scaling.row_exponents(x, shift, target))

    @staticmethod
    def column_exponents(x: torch.Tensor, shift: torch.Tensor, target: int) -> Exponents:
        """See `kernels.triton.scaling`."""
        from .triton import scaling

        return Exponents(*scaling.column_exponents(x, shift, target))

    @staticmethod
    def encode(x: torch.Tensor, codec: Codec, side: int, rows: torch.Tensor, cols_by: torch.Tensor) -> torch.Tensor:
        """See `kernels.triton.unrolled`."""
        from .triton import unrolled

        return unrolled.encode_halves(x, codec.recipes[side], rows, cols_by, _empty_halves(x, codec, side))

    @staticmethod
    def product(lhs: torch.Tensor, rhs: torch.Tensor, promoted: bool) -> torch.Tensor:
        """See `kernels.triton.gemm`."""
        from .triton import gemm

        return gemm.bmm_split(lhs, rhs, promoted=promoted)

    @staticmethod
    def decode(p: torch.Tensor, codec: Codec, rows: Exponents, cols: Exponents, y: torch.Tensor) -> None:
        """See `kernels.triton.unrolled`."""
        from .triton import unrolled

        unrolled.decode(p, codec.recipes[2], *y.shape, scale=(rows.values, cols.values), out=y)

    @staticmethod
    def repair(a: torch.Tensor, b: torch.Tensor, y: torch.Tensor, rows: Exponents, cols: Exponents) -> None:
        """See `kernels.triton.scaling`."""
        from .triton import scaling

        scaling.repair(a, b, y, rows, cols)


def _empty_halves(x: torch.Tensor, codec: Codec, side: int) -> torch.Tensor:
    """(2, r, a, b) float16, rows padded to 16 bytes as the products need them."""
    n, m = codec.format[side : side + 2]
    a, b = -(-x.shape[0] // n), -(-x.shape[1] // m)
    return torch.empty((2, codec.rank, a, -(-b // 8) * 8), device=x.device, dtype=torch.float16)[..., :b]
