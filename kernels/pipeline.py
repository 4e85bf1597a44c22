"""One STL product on one device: which kernels run, in which order.

On CUDA with Triton the encode and decode passes are Triton kernels (straight-line when the coefficients are
fixed, dense otherwise) around a batched GEMM; everywhere else the plain torch reference runs.
"""

from __future__ import annotations

import functools
import math

import torch

from . import reference
from ._compat import is_hopper_or_newer, triton_status
from .recipes import operations, parse

__all__ = ["decode", "encode", "matmul_encoded", "product", "transcode"]


def _triton(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda and triton_status().usable


#: In 16 bits, a dense codec on a matrix of at least this many entries goes through the matrix units: below, the
#: straight-line code is as fast or faster; above, where power limits everything, fewer instructions win 1–3 %.
MATRIX_UNITS_FROM = 2**27


@functools.lru_cache(maxsize=256)
def _dense_codec(recipe: str) -> bool:
    """One factor of at most 16 entries a row, three quarters of it nonzero."""
    factors = parse(recipe)
    (s, n, m, values) = factors[0]
    return len(factors) == 1 and n * m <= 16 and s <= 32 and 4 * sum(v != 0 for v in values) >= 3 * len(values)


def _matrix_units(dtype: torch.dtype, entries: int, recipe: str) -> bool:
    sixteen = dtype in (torch.bfloat16, torch.float16)
    return sixteen and entries >= MATRIX_UNITS_FROM and _dense_codec(recipe)


def _nested(dtype: torch.dtype, recipe: str, last_stride: int = 1) -> bool:
    """A small factor outside a 4×4 one, in 16 bits: the kernels of `kernels.triton.nested`."""
    if not recipe or dtype not in (torch.bfloat16, torch.float16):
        return False
    from .triton import nested

    return nested.suits(recipe, dtype, last_stride)


@functools.lru_cache(maxsize=256)
def _powers_of_two(recipe: str) -> bool:
    """Are all coefficients 0 or ±2^k, so that 16 bits hold them exactly?"""
    if not recipe:
        return False
    values = {abs(v) for *_, vs in parse(recipe) for v in vs if v}
    return all(math.frexp(v)[0] == 0.5 and 2**-6 <= v <= 2**6 for v in values)


def encode(x: torch.Tensor, e: torch.Tensor, rows: int, cols: int, recipe: str = "") -> torch.Tensor:
    """(N, K), (r, rows·cols) → (r, ⌈N/rows⌉, ⌈K/cols⌉); ``recipe`` fixes the coefficients at compile time."""
    if not _triton(x):
        return reference.encode(x, e, rows, cols)
    if _nested(x.dtype, recipe, x.stride(1)):
        from .triton import nested

        return nested.encode(x, recipe)
    if recipe and not _matrix_units(x.dtype, x.numel(), recipe):
        from .triton import unrolled

        return unrolled.encode(x, recipe)
    from .triton import dense

    return dense.encode(x, e, rows, cols, exact16=_powers_of_two(recipe))


def decode(
    p: torch.Tensor,
    d: torch.Tensor,
    rows: int,
    cols: int,
    height: int,
    width: int,
    bias: torch.Tensor | None = None,
    recipe: str = "",
    activation: str = "",
) -> torch.Tensor:
    """(r, a, b), (rows·cols, r) → (height, width); ``recipe`` is that of dᵀ."""
    if not _triton(p):
        y = reference.decode(p, d, rows, cols, height, width)
        return reference.activate(y if bias is None else y + bias, activation)
    if _nested(p.dtype, recipe, p.stride(2)):
        from .triton import nested

        return nested.decode(p, recipe, height, width, bias=bias, activation=activation)
    if recipe and not _matrix_units(p.dtype, height * width, recipe):
        from .triton import unrolled

        return unrolled.decode(p, recipe, height, width, bias=bias, activation=activation)
    from .triton import dense

    return dense.decode(
        p, d, rows, cols, height, width, bias=bias, activation=activation, exact16=_powers_of_two(recipe)
    )


#: Longer generated code than this decodes and encodes in two passes.
MAX_TRANSCODE = 3000

#: From this size of a channel product on (every dimension), the Triton GEMM beats `torch.bmm` in 16 bits on an H200.
TRITON_GEMM_FROM = 4096


def product(x_hat: torch.Tensor, w_hat: torch.Tensor) -> torch.Tensor:
    """Channel products (r, a, b) × (r, b, c) → (r, a, c): cuBLAS, or the Triton GEMM where it is faster."""
    if (
        _triton(x_hat)
        and x_hat.dtype in (torch.bfloat16, torch.float16)
        and min(*x_hat.shape[1:], w_hat.shape[2]) >= TRITON_GEMM_FROM
        and is_hopper_or_newer(x_hat.device)
    ):
        from .triton import gemm

        if gemm.suits(x_hat, w_hat):
            return gemm.bmm(x_hat, w_hat, config=gemm.Config(stages=3))
    return torch.bmm(x_hat, w_hat)


def transcode(
    p: torch.Tensor,
    d: torch.Tensor,
    e: torch.Tensor,
    rows: int,
    cols: int,
    height: int,
    width: int,
    bias: torch.Tensor | None = None,
    recipe_d: str = "",
    recipe_e: str = "",
    activation: str = "",
) -> torch.Tensor:
    """Decode, bias, activation, and the next layer's encode: (r₁, a, b) → (r₂, a, b), one pass when possible."""
    if _triton(p) and recipe_d and recipe_e and _operations(recipe_d) + _operations(recipe_e) <= MAX_TRANSCODE:
        from .triton import unrolled

        return unrolled.transcode(p, recipe_d, recipe_e, height, width, bias=bias, activation=activation)
    y = decode(p, d, rows, cols, height, width, bias, recipe_d, activation)
    return encode(y, e, rows, cols, recipe_e)


@functools.lru_cache(maxsize=256)
def _operations(recipe: str) -> int:
    return operations(parse(recipe))


def matmul_encoded(
    x: torch.Tensor,
    w_hat: torch.Tensor,
    e_x: torch.Tensor,
    d: torch.Tensor,
    bias: torch.Tensor | None,
    n: int,
    m: int,
    p: int,
    width: int,
    recipe_x: str = "",
    recipe_d: str = "",
    activation: str = "",
) -> torch.Tensor:
    """(N, K), (r, ⌈K/m⌉, ⌈M/p⌉) → (N, M = width)."""
    x_hat = encode(x, e_x, n, m, recipe_x)
    products = product(x_hat, w_hat)
    del x_hat
    return decode(products, d, n, p, x.shape[0], width, bias, recipe_d, activation)
