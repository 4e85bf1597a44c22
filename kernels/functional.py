"""The functions users call: `stl_matmul`, `encode_weight`, `stl_matmul_encoded`; all checks live here."""

from __future__ import annotations

import math

import torch

from stl_algebra.errors import StlError

from . import dispatch, ops, reference
from ._compat import must_decompose
from .codec import SUPPORTED_DTYPES, Codec, EncoderLike, as_codec

__all__ = ["encode_weight", "stl_matmul", "stl_matmul_encoded"]

ACTIVATION_NAMES = ("", "relu", "gelu", "silu")


def _coefficient_dtype(dtype: torch.dtype) -> torch.dtype:
    """Coefficients are kept in at least float32, whatever the activations are."""
    return torch.promote_types(dtype, torch.float32)


def check_operand(name: str, tensor: torch.Tensor, least: int = 2) -> None:
    """Refuse what no kernel can take: not a tensor, wrong dtype, too few dimensions."""
    if not isinstance(tensor, torch.Tensor):
        raise StlError(name, type(tensor).__name__, "a torch.Tensor")
    if tensor.dtype not in SUPPORTED_DTYPES:
        raise StlError(
            f"{name}.dtype",
            tensor.dtype,
            "float64, float32, bfloat16 or float16",
            f"Convert it first: {name}.to(torch.bfloat16).",
        )
    if tensor.dim() < least:
        raise StlError(f"{name}.shape", tuple(tensor.shape), f"at least {least} dimension(s)")


def check_pair(a_name: str, a: torch.Tensor, b_name: str, b: torch.Tensor) -> None:
    """Refuse operands of different dtype or device."""
    if a.dtype != b.dtype:
        raise StlError(
            f"{b_name}.dtype",
            b.dtype,
            f"{a.dtype}, the dtype of {a_name}",
            f"Convert one: {b_name}.to({a.dtype}).",
        )
    if a.device != b.device:
        raise StlError(
            f"{b_name}.device",
            str(b.device),
            f"{a.device}, the device of {a_name}",
            f"Move one: {b_name}.to({a.device!r}).",
        )


def autocast(*tensors: torch.Tensor | None) -> list[torch.Tensor | None]:
    """Under ``torch.autocast`` cast float operands to its dtype, as ``torch.matmul`` does (not float64)."""
    first = tensors[0]
    assert first is not None
    kind = first.device.type
    if not torch.is_autocast_enabled(kind):
        return list(tensors)
    dtype = torch.get_autocast_dtype(kind)
    return [t.to(dtype) if t is not None and t.is_floating_point() and t.dtype != torch.float64 else t for t in tensors]


def encode_weight(w: torch.Tensor, encoder: EncoderLike | Codec) -> torch.Tensor:
    """Encode a weight matrix once: (K, M) → (r, ⌈K/m⌉, ⌈M/p⌉), differentiable.

    Raises
    ------
    StlError
        For a tensor that is not a float matrix.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> encode_weight(torch.randn(6, 4), strassen()).shape  # r, K/m, M/p
    torch.Size([7, 3, 2])
    """
    codec = as_codec(encoder)
    check_operand("w", w)
    if w.dim() != 2:
        raise StlError("w.shape", tuple(w.shape), "two dimensions (K, M)")
    _, m, p = codec.format
    return encode(w, codec.tensors(w.device, _coefficient_dtype(w.dtype))[1], m, p, codec.recipes[1])


def encode(w: torch.Tensor, e: torch.Tensor, rows: int, cols: int, recipe: str) -> torch.Tensor:
    """The encoding operator, or plain torch under transforms that need to see inside. Shared with `STLLinear`."""
    if must_decompose():
        return reference.encode(w, e, rows, cols)
    out: torch.Tensor = ops.encode(w, e, rows, cols, recipe)
    return out


def stl_matmul_encoded(
    x: torch.Tensor,
    w_hat: torch.Tensor,
    encoder: EncoderLike | Codec,
    out_features: int,
    *,
    bias: torch.Tensor | None = None,
    activation: str = "",
) -> torch.Tensor:
    """STL product with encoded weights: (…, K), (r, ⌈K/m⌉, ⌈M/p⌉) → (…, M).

    Parameters
    ----------
    x : (…, K) float tensor, any leading shape (empty ones too), any strides.
    w_hat : output of :func:`encode_weight`, or a trained parameter of that shape.
    encoder : stl_algebra.Encoder or Codec
    out_features : int
        M; the last tile column may be ragged.
    bias : (M,) tensor, optional
    activation : {"", "relu", "gelu", "silu"}
        Fused with the decode pass ("gelu" is the tanh form).

    Returns
    -------
    (…, M) tensor of ``x.dtype``.

    Raises
    ------
    StlError
        On mismatched dtype, device or shape, or an unknown activation.
    """
    codec = as_codec(encoder)
    dtype = _coefficient_dtype(x.dtype)
    e_x, _, d = codec.tensors(x.device, dtype)
    fixed_x, _, fixed_d = codec.recipes
    return run(x, w_hat, e_x, d, codec.format, out_features, bias, activation, fixed_x, fixed_d)


def run(
    x: torch.Tensor,
    w_hat: torch.Tensor,
    e_x: torch.Tensor,
    d: torch.Tensor,
    format: tuple[int, int, int],
    out_features: int,
    bias: torch.Tensor | None,
    activation: str,
    recipe_x: str,
    recipe_d: str,
) -> torch.Tensor:
    """Check, flatten the leading shape, run the operator, restore the shape. Shared with `STLLinear`."""
    check_operand("x", x, least=1)
    check_operand("w_hat", w_hat, least=3)
    if activation not in ACTIVATION_NAMES:
        raise StlError("activation", activation, "one of " + ", ".join(map(repr, ACTIVATION_NAMES)))
    cast = autocast(x, w_hat, bias)
    assert cast[0] is not None and cast[1] is not None
    x, w_hat, bias = cast[0], cast[1], cast[2]
    check_pair("x", x, "w_hat", w_hat)
    n, m, p = format
    width = x.shape[-1]
    needed = (e_x.shape[0], -(-width // m), -(-out_features // p))
    if tuple(w_hat.shape) != needed:
        raise StlError(
            "w_hat.shape",
            tuple(w_hat.shape),
            f"{needed} for x of width {width}, {out_features} outputs and format {format}",
            "Encode the weight with the same encoder.",
        )
    if bias is not None:
        check_pair("x", x, "bias", bias)
        if tuple(bias.shape) != (out_features,):
            raise StlError("bias.shape", tuple(bias.shape), f"({out_features},)")
    lead = x.shape[:-1]
    flat = x.reshape(math.prod(lead), width)
    fused = activation
    if (
        activation
        and torch.is_grad_enabled()
        and any(t is not None and t.requires_grad for t in (x, w_hat, e_x, d, bias))
    ):
        fused = ""  # the pre-activation is needed for the gradient
    if must_decompose():
        y = reference.matmul_encoded(flat, w_hat, e_x, d, n, m, p, out_features, bias, fused)
    else:
        y = ops.matmul_encoded(flat, w_hat, e_x, d, bias, n, m, p, out_features, recipe_x, recipe_d, fused)
    if fused != activation:
        y = reference.activate(y, activation)
    return y.reshape(*lead, out_features)


def stl_matmul(
    x: torch.Tensor,
    w: torch.Tensor,
    encoder: EncoderLike | Codec,
    *,
    bias: torch.Tensor | None = None,
    activation: str = "",
    fallback: str = "never",
) -> torch.Tensor:
    """``x @ w`` through an encoder: (…, K), (K, M) → (…, M). Differentiable in x, w and bias.

    Parameters
    ----------
    x, w : float tensors of one dtype and device.
    encoder : stl_algebra.Encoder or Codec
        Exact encoders give ``x @ w`` to rounding (κ² times the usual variance), others an approximation with
        relative squared error ε². Under ``torch.compile`` pass a Codec (``kernels.as_codec(encoder)``, once).
    fallback : {"never", "dense"}
        "dense" asks the cost model first and uses ``x @ w`` where the encoder would be slower, with a
        warning that says so (`kernels.dispatch`).

    Raises
    ------
    StlError
        On mismatched dtype, device or shape, or unknown options.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> a, b = torch.randn(5, 7), torch.randn(7, 3)
    >>> torch.allclose(stl_matmul(a, b, strassen()), a @ b, atol=1e-4)
    True
    """
    check_operand("x", x, least=1)
    check_operand("w", w)
    check_pair("x", x, "w", w)
    if w.dim() != 2 or x.shape[-1] != w.shape[0]:
        raise StlError("w.shape", tuple(w.shape), f"({x.shape[-1]}, M), to multiply x of width {x.shape[-1]}")
    if fallback not in ("never", "dense"):
        raise StlError("fallback", fallback, "'never' or 'dense'")
    codec = as_codec(encoder)
    cast = autocast(x, w, bias)
    assert cast[0] is not None and cast[1] is not None
    x, w, bias = cast[0], cast[1], cast[2]
    n, (k, m) = x.numel() // max(x.shape[-1], 1), w.shape
    if fallback == "dense" and dispatch.declines(n, k, m, codec, x.dtype, x.device, encoded_weight=False):
        y = x @ w if bias is None else x @ w + bias
        return reference.activate(y, activation)
    return stl_matmul_encoded(x, encode_weight(w, codec), codec, w.shape[1], bias=bias, activation=activation)
