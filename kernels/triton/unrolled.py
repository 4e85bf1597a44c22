"""Encode, decode and transcode as generated code: fixed coefficients, unrolled, Kronecker factors one by one.

From a recipe (`kernels.recipes`) a Triton kernel is written that holds one tile per thread element in
registers, walks the factors depth first and stores every channel once, so the pass stays bound by memory bandwidth
at any rank. Coefficients ±1 cost an addition, zeros cost nothing.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
from typing import Any

import torch
import triton
import triton.language as tl

from stl_algebra.errors import StlError

from ..recipes import operations, parse, tile_of
from .codegen import decode_source, encode_source, transcode_source
from .dense import ACTIVATIONS, _activate
from .scaling import finite, scaled, store_halves

__all__ = ["decode", "encode", "encode_halves", "source", "transcode"]

SHORT = 200  # operations of a recipe up to which a thread has the registers for two tiles
GRID = 65535  # a launch's second axis, over tile rows, ends here


def _name(text: str, direction: str) -> str:
    return f"{direction}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def source(text: str, direction: str, contiguous: bool = True) -> str:
    """The generated Triton source for a recipe.

    ``direction`` is "encode", "decode" (recipe of Dᵀ), the same with "_split" (scaled by powers of two, channels as
    two halves), or "transcode" (recipes of Dᵀ and of the next E_X joined by ``>``).
    """
    name = _name(text, direction)
    if direction.startswith("encode"):
        return encode_source(parse(text), contiguous, name, split=direction.endswith("split"))
    if direction.startswith("decode"):
        return decode_source(parse(text), name, split=direction.endswith("split"))
    first, second = text.split(">")
    return transcode_source(parse(first), parse(second), name)


@functools.lru_cache(maxsize=128)
def _kernel(text: str, direction: str, contiguous: bool) -> Any:
    """Compile a recipe's source; Triton reads it back through ``linecache``."""
    code = source(text, direction, contiguous)
    name = _name(text, direction)
    filename = f"<stl {name} {int(contiguous)}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"triton": triton, "tl": tl, "_activate": _activate, "finite": finite, "scaled": scaled,
                             "store_halves": store_halves, "__name__": __name__}  # fmt: skip
    exec(compile(code, filename, "exec"), scope)  # our own generated text, numbers only
    return scope[name]


@functools.lru_cache(maxsize=128)
def _table(text: str, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Coefficients of the outermost factor, for the kernels that loop over it."""
    return torch.tensor(parse(text)[0][3], device=device, dtype=torch.promote_types(dtype, torch.float32))


def _fixed(dtype: torch.dtype, tiles: int, block: int | None) -> dict[str, Any]:
    """Compile-time arguments common to all the kernels; ``tiles`` is the number of tiles in a row."""
    natural = 128 if dtype.itemsize >= 4 else 256
    bt = block or max(16, min(natural, 1 << (max(tiles, 1) - 1).bit_length()))
    return {"BT": bt, "ACC": tl.float64 if dtype == torch.float64 else tl.float32}


def _finish(bias: torch.Tensor | None, activation: str) -> dict[str, Any]:
    return {"BIAS": bias is not None, "ACT": ACTIVATIONS[activation]}


def encode(x: torch.Tensor, text: str, *, out: torch.Tensor | None = None, block: int | None = None) -> torch.Tensor:
    """Encode every tile of (N, K) by a recipe → (s, ⌈N/rows⌉, ⌈K/cols⌉)."""
    s, rows, cols = tile_of(parse(text))
    height, width = x.shape
    a, b = -(-height // rows), -(-width // cols)
    if out is None:
        out = torch.empty((s, a, b), device=x.device, dtype=x.dtype)
    if out.numel() == 0:
        return out
    fixed = _fixed(x.dtype, b, block)
    kernel, table = _kernel(text, "encode", x.stride(1) == 1), _table(text, str(x.device), x.dtype)
    for at in range(0, a, GRID):
        kernel[(-(-b // fixed["BT"]), min(GRID, a - at))](
            x[at * rows :], table, out[:, at:], height - at * rows, width, b, *x.stride(), out.stride(0), out.stride(1),
            **fixed,
        )  # fmt: skip
    return out


def encode_halves(
    x: torch.Tensor, text: str, rows_by: torch.Tensor, cols_by: torch.Tensor, out: torch.Tensor, *,
    block: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """Encode x_ik·2^(cols_by_k − rows_by_i), non-finite entries as zero, every channel as the sum of two halves.

    (N, K) float32, (N,) and (K,) int32 → ``out`` (2, s, ⌈N/rows⌉, ⌈K/cols⌉) in 16 bits, ``out[0]`` the larger part.
    """
    _, rows, cols = tile_of(parse(text))
    height, width = x.shape
    a, b = -(-height // rows), -(-width // cols)
    if out.numel() == 0:
        return out
    if block is None and operations(parse(text)) <= SHORT and b >= 256:
        block = 256  # two tiles a thread: stores of four bytes
    fixed = _fixed(x.dtype, b, block)
    kernel, table = _kernel(text, "encode_split", x.stride(1) == 1), _table(text, str(x.device), x.dtype)
    for at in range(0, a, GRID):
        kernel[(-(-b // fixed["BT"]), min(GRID, a - at))](
            x[at * rows :], table, out[0, :, at:], out[1, :, at:], rows_by[at * rows :], cols_by, height - at * rows,
            width, b, *x.stride(), out.stride(1), out.stride(2), **fixed,
        )  # fmt: skip
    return out


def decode(
    p: torch.Tensor, text: str, height: int, width: int, *, bias: torch.Tensor | None = None, activation: str = "",
    scale: tuple[torch.Tensor, torch.Tensor] | None = None, out: torch.Tensor | None = None, block: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """Decode (s, a, b) by the recipe of **Dᵀ** (s × rows·cols) → (height, width), bias and activation fused.

    ``scale``: exponents of rows (height,) and columns (width,), int32; entry (i, j) is multiplied by 2^(e_i + f_j).
    """
    _, rows, _ = tile_of(parse(text))
    if out is None:
        out = torch.empty((height, width), device=p.device, dtype=p.dtype)
    if out.numel() == 0:
        return out
    _, a, b = p.shape
    fixed = _fixed(p.dtype, b, block) | _finish(bias, activation)
    kernel, table = _kernel(text, "decode_split" if scale else "decode", True), _table(text, str(p.device), p.dtype)
    for at in range(0, a, GRID):
        by = (scale[0][at * rows :], scale[1]) if scale else ()
        kernel[(-(-b // fixed["BT"]), min(GRID, a - at))](
            p[:, at:], table, bias if bias is not None else p, out[at * rows :], *by, height - at * rows, width, b,
            *p.stride(), out.stride(0), **fixed,
        )  # fmt: skip
    return out


def transcode(
    p: torch.Tensor, text_d: str, text_e: str, height: int, width: int, *, bias: torch.Tensor | None = None,
    activation: str = "", block: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """Decode, add the bias, activate and encode for the next layer in one pass.

    (r₁, a, b) channel products → (r₂, a, b) encoded activations of the next layer, whose input tile must be
    the output tile of this one; the activation itself is never written to memory.
    """
    _, *tile = tile_of(parse(text_d))
    channels, *needed = tile_of(parse(text_e))
    if tile != needed:
        raise StlError("second.format", needed, f"an input tile of {tile}, the output tile of the first layer")
    _, a, b = p.shape
    out = torch.empty((channels, a, b), device=p.device, dtype=p.dtype)
    if out.numel() == 0:
        return out
    fixed = _fixed(p.dtype, b, block) | _finish(bias, activation)
    kernel = _kernel(f"{text_d}>{text_e}", "transcode", True)
    for at in range(0, a, GRID):
        kernel[(-(-b // fixed["BT"]), min(GRID, a - at))](
            p[:, at:], bias if bias is not None else p, out[:, at:], height - at * tile[0], width, b, *p.stride(),
            out.stride(0), out.stride(1), **fixed,
        )  # fmt: skip
    return out
