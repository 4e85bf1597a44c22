"""`fast_matmul`: a drop-in product of large matrices through exact encoders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from stl_algebra.errors import StlError

from . import functional, ops
from .codec import Codec, EncoderLike
from .dispatch import plan_matmul

__all__ = ["fast_matmul", "staged_matmul"]


def fast_matmul(a: torch.Tensor, b: torch.Tensor, encoder: EncoderLike | Codec | str = "auto", *,
                rtol: float | None = None) -> torch.Tensor:  # fmt: skip
    """``a @ b`` for large matrices, faster where the algebra allows: (…, K), (K, M) → (…, M).

    Levels of Strassen's algorithm (exact; the error is rounding, κ² times the usual variance) are chosen by the
    cost model within the error budget; small products, budgets too tight and batched ``b`` run densely.
    Differentiable. `plan_matmul` tells what would be chosen.

    Parameters
    ----------
    a, b : float64, float32, bfloat16 or float16 tensors of one dtype and device
    encoder : "auto", "dense" or an exact encoder
    rtol : float, optional
        Largest relative (RMS) error allowed; by default 2e-14, 1e-5, 2.5e-2, 3e-3 for fp64, fp32, bf16, fp16.

    Raises
    ------
    StlError
        On mismatched dtypes, devices or shapes, or an unknown ``encoder``.
    """
    functional.check_operand("a", a, least=1)
    functional.check_operand("b", b, least=1)
    functional.check_pair("a", a, "b", b)
    if b.dim() != 2:
        return a @ b
    if a.shape[-1] != b.shape[0]:
        raise StlError("b.shape", tuple(b.shape), f"({a.shape[-1]}, M), to multiply a of width {a.shape[-1]}")
    flat = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    plan = plan_matmul(flat.shape[0], b.shape[0], b.shape[1], a.dtype, a.device, encoder=encoder, rtol=rtol)
    if not plan.stages:
        return a @ b
    return staged_matmul(flat, b, plan.stages).reshape(*a.shape[:-1], b.shape[1])


def staged_matmul(a: torch.Tensor, b: torch.Tensor, stages: Sequence[Codec]) -> torch.Tensor:
    """(N, K), (K, M) → (N, M) through codecs applied one inside the other, one encode pass per stage.

    Stage 2 encodes the channels of stage 1 as one tall matrix (rows padded so that tiles do not straddle
    channels), so deep levels need no kernel for a huge tile.
    """
    rows, _inner, cols = a.shape[0], a.shape[1], b.shape[1]
    tn = tm = tp = 1
    for codec in stages:
        n, m, p = codec.format
        tn, tm, tp = tn * n, tm * m, tp * p
    if len(stages) > 1:  # a single stage pads inside the kernels
        a = _pad(a, tn, tm)
        b = _pad(b, tm, tp)
    lhs, rhs = a, b
    shapes = []
    wide = torch.promote_types(a.dtype, torch.float32)
    for codec in stages:
        n, m, p = codec.format
        e_x, e_w, _ = codec.tensors(a.device, wide)
        fixed = codec.recipes
        shapes.append((lhs.shape[0], rhs.shape[1]))
        lhs = ops.encode(lhs, e_x, n, m, fixed[0]).flatten(0, 1)
        rhs = ops.encode(rhs, e_w, m, p, fixed[1]).flatten(0, 1)
    total = 1
    for codec in stages:
        total *= codec.rank
    y = torch.bmm(lhs.unflatten(0, (total, -1)), rhs.unflatten(0, (total, -1)))
    for codec, (height, width) in zip(reversed(stages), reversed(shapes), strict=True):
        n, _, p = codec.format
        d = codec.tensors(a.device, wide)[2]
        y = ops.decode(y.reshape(codec.rank, -1, y.shape[-1]), d, n, p, height, width, None,
                       codec.recipes[2], "")  # fmt: skip
    return y[:rows, :cols]


def _pad(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    extra = (-x.shape[0] % rows, -x.shape[1] % cols)
    return torch.nn.functional.pad(x, (0, extra[1], 0, extra[0])) if any(extra) else x
