"""The custom operators: ``stl_algebra::{encode, decode, matmul_encoded}``, with fake, autograd and dispatch.

They are the functions of `kernels.pipeline` as ``torch.library.custom_op`` (not ``triton_op``, which fails opcheck
without a GPU): opaque to the compiler, so ``torch.compile(fullgraph=True)`` keeps them as single nodes, and CUDA
graphs capture them.

Gradients are STL products again. With Ŷ = D(x̂ ⊙ ŵ) per tile:

* ĝ_p = encode(gY, Dᵀ), ĝ_x = ĝ_p ŵᵀ per channel, gX = decode(ĝ_x, E_Xᵀ)
* gŴ = x̂ᵀ ĝ_p per channel, with x̂ encoded again from x, so x is all that is saved
* gE_X[l, a] = Σ_tiles ĝ_x[l]·x[a],  gD[c, l] = Σ_tiles gY[c]·P[l]
"""

from __future__ import annotations

from typing import Any

import torch

from . import pipeline, reference

__all__ = ["decode", "encode", "matmul_encoded", "transcode"]


encode = torch.library.custom_op("stl_algebra::encode", pipeline.encode, mutates_args=())


@encode.register_fake
def _(x: torch.Tensor, e: torch.Tensor, rows: int, cols: int, *_: Any) -> torch.Tensor:
    return x.new_empty((e.shape[0], -(-x.shape[0] // rows), -(-x.shape[1] // cols)))


def _encode_setup(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    x, e, rows, cols, recipe = inputs
    ctx.save_for_backward(x, e)
    ctx.rest = (rows, cols, recipe)


def _encode_backward(ctx: Any, grad: torch.Tensor) -> Any:
    x, e = ctx.saved_tensors
    rows, cols, recipe = ctx.rest
    gx = ge = None
    if _needs(ctx, 0):
        gx = decode(grad, e.t(), rows, cols, x.shape[0], x.shape[1], None, recipe, "")
    if _needs(ctx, 1):
        ge = codec_gradient(grad, x, rows, cols).to(e.dtype)
    return gx, ge, None, None, None


encode.register_autograd(_encode_backward, setup_context=_encode_setup)


decode = torch.library.custom_op("stl_algebra::decode", pipeline.decode, mutates_args=())


@decode.register_fake
def _(p: torch.Tensor, d: torch.Tensor, rows: int, cols: int, height: int, width: int, *_: Any) -> torch.Tensor:
    return p.new_empty((height, width))


def _decode_setup(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    p, d, rows, cols, _, _, _, recipe, activation = inputs
    ctx.save_for_backward(p, d)
    ctx.rest = (rows, cols, recipe, activation)


def _decode_backward(ctx: Any, grad: torch.Tensor) -> Any:
    p, d = ctx.saved_tensors
    rows, cols, recipe, activation = ctx.rest
    _no_fused_activation(activation)
    gp = gd = gb = None
    if _needs(ctx, 0):
        gp = encode(grad, d.t(), rows, cols, recipe)
    if _needs(ctx, 1):
        gd = codec_gradient(p, grad, rows, cols).t().to(d.dtype)
    if _needs(ctx, 6):
        gb = grad.sum(0)
    return gp, gd, None, None, None, None, gb, None, None


decode.register_autograd(_decode_backward, setup_context=_decode_setup)


matmul_encoded = torch.library.custom_op("stl_algebra::matmul_encoded", pipeline.matmul_encoded, mutates_args=())


@matmul_encoded.register_fake
def _(x: torch.Tensor, w_hat: Any, e_x: Any, d: Any, bias: Any, n: int, m: int, p: int, width: int, *_: Any) -> Any:
    return x.new_empty((x.shape[0], width))


def _matmul_setup(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    x, w_hat, e_x, d, _, n, m, p, _, recipe_x, recipe_d, activation = inputs
    ctx.save_for_backward(x, w_hat, e_x, d)
    ctx.rest = (n, m, p, recipe_x, recipe_d, activation)


def _matmul_backward(ctx: Any, grad: torch.Tensor) -> Any:
    x, w_hat, e_x, d = ctx.saved_tensors
    n, m, p, recipe_x, recipe_d, activation = ctx.rest
    _no_fused_activation(activation)
    need_x, need_w, need_e, need_d, need_b = (_needs(ctx, i) for i in range(5))
    gx = gw = ge = gd = gb = None
    gp = encode(grad, d.t(), n, p, recipe_d) if need_x or need_w or need_e else None
    if gp is not None and (need_x or need_e):
        gx_hat = torch.bmm(gp, w_hat.transpose(1, 2))
        if need_e:
            ge = codec_gradient(gx_hat, x, n, m).to(e_x.dtype)
        if need_x:
            gx = decode(gx_hat, e_x.t(), n, m, x.shape[0], x.shape[1], None, recipe_x, "")
        del gx_hat
    if need_w or need_d:
        x_hat = encode(x, e_x, n, m, recipe_x)
        if need_w and gp is not None:
            gw = torch.bmm(x_hat.transpose(1, 2), gp)
        if need_d:
            gd = codec_gradient(torch.bmm(x_hat, w_hat), grad, n, p).t().to(d.dtype)
    if need_b:
        gb = grad.sum(0)
    return gx, gw, ge, gd, gb, None, None, None, None, None, None, None


matmul_encoded.register_autograd(_matmul_backward, setup_context=_matmul_setup)


transcode = torch.library.custom_op("stl_algebra::transcode", pipeline.transcode, mutates_args=())  # inference only


@transcode.register_fake
def _(p: torch.Tensor, d: torch.Tensor, e: torch.Tensor, *_: Any) -> torch.Tensor:
    return p.new_empty((e.shape[0], p.shape[1], p.shape[2]))


def codec_gradient(channels: torch.Tensor, x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """Σ over tiles of channel × entry: (r, a, b), (N, K) → (r, rows·cols); accumulated by the GEMM."""
    planes = reference.tiles(x, rows, cols)
    return channels.reshape(channels.shape[0], -1) @ planes.reshape(rows * cols, -1).t()


def _needs(ctx: Any, index: int) -> bool:
    """Is the gradient of this argument wanted? Trailing arguments left at their defaults are not listed."""
    return index < len(ctx.needs_input_grad) and bool(ctx.needs_input_grad[index])


def _no_fused_activation(activation: str) -> None:
    if activation:
        raise RuntimeError(
            f"the fused activation {activation!r} has no gradient; "
            "kernels.stl_matmul applies it outside the operator when gradients are needed"
        )
