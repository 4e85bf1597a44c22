"""Consecutive STL layers without the activation between them ever reaching memory."""

from __future__ import annotations

import math

import torch

from stl_algebra.errors import StlError

from . import functional, ops, pipeline, reference
from .linear import STLLinear

__all__ = ["mlp"]


def mlp(x: torch.Tensor, first: STLLinear, second: STLLinear, activation: str = "gelu") -> torch.Tensor:
    """``second(act(first(x)))`` with decode, bias, activation and encode of the middle in one pass.

    The saving is one write and one read of the hidden activation and a launch. With gradients enabled, or
    when the tiles do not meet (the output tile of ``first`` must be the input tile of ``second``), the layers run
    one after the other with the same result up to rounding of the hidden activation.

    Parameters
    ----------
    x : (…, first.in_features)
    activation : {"", "relu", "gelu", "silu"}

    Returns
    -------
    (…, second.out_features)

    Raises
    ------
    StlError
        If the layers' sizes do not chain or the activation is unknown.
    """
    if first.out_features != second.in_features:
        raise StlError("second.in_features", second.in_features, f"{first.out_features}, the outputs of first")
    if activation not in functional.ACTIVATION_NAMES:
        raise StlError("activation", activation, "one of " + ", ".join(map(repr, functional.ACTIVATION_NAMES)))
    n, m, p = first.format
    n2, m2, p2 = second.format
    recipe_x, _, recipe_d = first.recipes
    next_x, _, next_d = second.recipes
    learning = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, *first.parameters(), *second.parameters()))  # fmt: skip
    plain = all(not layer.activation and not layer.scale_rows and layer.mode != "dense" and layer.rows != "batch"
                for layer in (first, second))  # fmt: skip
    ragged = x.dim() > 2 and x.shape[-2] % n != 0
    if learning or (n, p) != (n2, m2) or not (recipe_d and next_x) or not plain or ragged:
        return second(reference.activate(first(x), activation))
    flat = x.reshape(math.prod(x.shape[:-1]), first.in_features)
    products = pipeline.product(ops.encode(flat, first.e_x, n, m, recipe_x), first.w_hat)
    hidden = ops.transcode(products, first.d, second.e_x, n, p, flat.shape[0], first.out_features, first.bias,
                           recipe_d, next_x, activation)  # fmt: skip
    del products
    y = ops.decode(pipeline.product(hidden, second.w_hat), second.d, n2, p2, flat.shape[0], second.out_features,
                   second.bias, next_d, "")  # fmt: skip
    return y.reshape(*x.shape[:-1], second.out_features)
