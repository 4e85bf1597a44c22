"""FLOP formulas of the operators: import this module once and `torch.utils.flop_counter` counts STL layers.

Apart from `kernels.ops` because torch's counter imports Triton. Counted are the channel products and the multiply-adds
of encoding and decoding, forward and backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from . import ops  # noqa: F401  defines the operators
from .recipes import operations, parse

__all__: list[str] = []


def _codec_flops(tile_shape: Any, factor_shape: Any, recipe: str) -> int:
    """Twice the multiply-adds of encoding or decoding all tiles: those of the recipe, else of the dense factor."""
    tiles = tile_shape[1] * tile_shape[2]
    return 2 * tiles * (operations(parse(recipe)) if recipe else factor_shape[0] * factor_shape[1])


@register_flop_formula(torch.ops.stl_algebra.encode)
def _(x: Any, e: Any, rows: int, cols: int, recipe: str = "", *, out_shape: Any = None, **_: Any) -> int:
    return _codec_flops(out_shape, e, recipe)


@register_flop_formula(torch.ops.stl_algebra.decode)
def _(p: Any, d: Any, rows: int, cols: int, height: int, width: int, bias: Any = None, recipe: str = "",
      activation: str = "", *, out_shape: Any = None, **_: Any) -> int:  # fmt: skip
    return _codec_flops(p, d, recipe)


@register_flop_formula(torch.ops.stl_algebra.matmul_encoded)
def _(x: Any, w_hat: Any, e_x: Any, d: Any, bias: Any, n: int, m: int, p: int, width: int, recipe_x: str = "",
      recipe_d: str = "", activation: str = "", *, out_shape: Any = None, **_: Any) -> int:  # fmt: skip
    r, a, b = w_hat
    rows = -(-x[0] // n)
    return _codec_flops((r, rows, a), e_x, recipe_x) + 2 * r * rows * a * b + _codec_flops((r, rows, b), d, recipe_d)
