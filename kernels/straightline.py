"""Encode and decode as generated straight-line code: fixed coefficients, Kronecker factors one by one.

A coefficient matrix is written as a *recipe*: its Kronecker factors, outermost first, as text. Three levels
of Strassen are then 3 × (7×4) numbers instead of 343×64, and encoding costs 465 additions per 8×8 tile
where the dense product costs 21,952 multiply-adds. The generated Triton kernel holds one tile per
thread element in registers, walks the factors depth first and stores every channel once, so the pass stays
bound by memory bandwidth at any rank. Coefficients ±1 cost an addition, zeros cost nothing.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import math
from typing import Any

import numpy as np
import torch

from kernels._codegen import Factor, decode_source, encode_source, operations, transcode_source
from stl_algebra.errors import StlError

__all__ = ["decode", "encode", "kronecker_factors", "parse", "recipe", "recipe_if_worth_it", "source", "transcode"]

GRID = 65535  # a launch's second axis, over tile rows, ends here
MAX_OPERATIONS = 6000  # beyond this many lines the compiler takes longer than anyone will wait


def kronecker_factors(matrix: np.ndarray, rows: int, cols: int) -> list[Factor]:
    """Split an s × (rows·cols) matrix into Kronecker factors acting on nested tiles, outermost first.

    A factor pair (s₁; n₁, m₁) ⊗ (s₂; n₂, m₂) satisfies
    ``M[l₁s₂+l₂, (i₁n₂+i₂)·cols + k₁m₂+k₂] = A[l₁, i₁m₁+k₁] · B[l₂, i₂m₂+k₂]``; it is found by testing the
    rearranged matrix for rank one (Van Loan and Pitsianis 1993). Returns ``[matrix]`` itself when none fits.
    """
    s = matrix.shape[0]
    for n1 in _divisors(rows):
        for m1 in _divisors(cols):
            if n1 * m1 in (1, rows * cols):
                continue
            n2, m2 = rows // n1, cols // m1
            for s1 in _divisors(s):
                if s1 in (1, s):
                    continue
                s2 = s // s1
                t = matrix.reshape(s1, s2, n1, n2, m1, m2).transpose(0, 2, 4, 1, 3, 5)
                t = t.reshape(s1 * n1 * m1, s2 * n2 * m2)
                top, left = np.unravel_index(int(np.abs(t).argmax()), t.shape)
                if t[top, left] == 0:
                    continue
                a, b = t[:, left], t[top] / t[top, left]
                if np.abs(np.outer(a, b) - t).max() <= 1e-13 * np.abs(t).max():
                    first: Factor = (s1, n1, m1, tuple(float(v) for v in a))
                    return [first, *kronecker_factors(b.reshape(s2, n2 * m2), n2, m2)]
    return [(s, rows, cols, tuple(float(v) for v in matrix.ravel()))]


def recipe(matrix: np.ndarray, rows: int, cols: int) -> str:
    """Serialise the Kronecker factors of a coefficient matrix; :func:`parse` reads it back."""
    return _serialise(kronecker_factors(np.asarray(matrix, dtype=np.float64), rows, cols))


def recipe_if_worth_it(matrix: np.ndarray, rows: int, cols: int) -> str:
    """The recipe, or "" where the dense kernel is the better choice: code too long, or a large dense factor."""
    factors = kronecker_factors(np.asarray(matrix, dtype=np.float64), rows, cols)
    heavy = any(len(v) > 4096 and np.count_nonzero(v) > 0.75 * len(v) for *_, v in factors)
    return "" if heavy or operations(factors) > MAX_OPERATIONS else _serialise(factors)


def _serialise(factors: list[Factor]) -> str:
    parts = []
    for s, n, m, values in factors:
        parts.append(f"{s},{n},{m}:" + " ".join(f"{int(v)}" if v == int(v) else repr(v) for v in values))
    return "|".join(parts)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> tuple[Factor, ...]:
    """Read a recipe. Raises StlError when it is malformed."""
    out = []
    try:
        for part in text.split("|"):
            head, body = part.split(":")
            s, n, m = (int(v) for v in head.split(","))
            values = tuple(float(v) for v in body.split())
            if len(values) != s * n * m:
                raise ValueError(f"{len(values)} coefficients for {s}x{n}x{m}")
            out.append((s, n, m, values))
    except ValueError as error:
        raise StlError("recipe", text, "factors 's,rows,cols:c c c' joined by '|'", str(error)) from error
    return tuple(out)


def _divisors(value: int) -> list[int]:
    return [v for v in range(1, value + 1) if value % v == 0]


def _name(text: str, direction: str) -> str:
    return f"{direction}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def source(text: str, direction: str, contiguous: bool = True) -> str:
    """The generated Triton source for a recipe.

    ``direction`` is "encode", "decode" (recipe of Dᵀ) or "transcode" (recipes of Dᵀ and of the next E_X joined
    by ``>``).
    """
    name = _name(text, direction)
    if direction == "encode":
        return encode_source(parse(text), contiguous, name)
    if direction == "decode":
        return decode_source(parse(text), name)
    first, second = text.split(">")
    return transcode_source(parse(first), parse(second), name)


@functools.lru_cache(maxsize=128)
def _kernel(text: str, direction: str, contiguous: bool) -> Any:
    """Compile a recipe's source; Triton reads it back through ``linecache``."""
    import triton
    import triton.language as tl

    from kernels.triton_codec import _activate

    code = source(text, direction, contiguous)
    name = _name(text, direction)
    filename = f"<stl {name} {int(contiguous)}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"triton": triton, "tl": tl, "_activate": _activate, "__name__": __name__}
    exec(compile(code, filename, "exec"), scope)  # our own generated text, numbers only
    return scope[name]


@functools.lru_cache(maxsize=128)
def _table(text: str, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Coefficients of the outermost factor, for the kernels that loop over it."""
    return torch.tensor(parse(text)[0][3], device=device, dtype=torch.promote_types(dtype, torch.float32))


def _tile(factors: tuple[Factor, ...]) -> tuple[int, int, int]:
    """(channels, rows, columns) of the product of the factors."""
    s, rows, cols = (math.prod(f[i] for f in factors) for i in range(3))
    return s, rows, cols


def _fixed(dtype: torch.dtype, tiles: int, block: int | None) -> dict[str, Any]:
    """Compile-time arguments common to all the kernels; ``tiles`` is the number of tiles in a row."""
    import triton.language as tl

    natural = 128 if dtype.itemsize >= 4 else 256
    bt = block or max(16, min(natural, 1 << (max(tiles, 1) - 1).bit_length()))
    return {"BT": bt, "ACC": tl.float64 if dtype == torch.float64 else tl.float32}


def _finish(bias: torch.Tensor | None, activation: str) -> dict[str, Any]:
    from kernels.triton_codec import ACTIVATIONS

    return {"BIAS": bias is not None, "ACT": ACTIVATIONS[activation]}


def encode(x: torch.Tensor, text: str, *, out: torch.Tensor | None = None, block: int | None = None) -> torch.Tensor:
    """Encode every tile of (N, K) by a recipe → (s, ⌈N/rows⌉, ⌈K/cols⌉)."""
    s, rows, cols = _tile(parse(text))
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


def decode(
    p: torch.Tensor, text: str, height: int, width: int, *, bias: torch.Tensor | None = None, activation: str = "",
    out: torch.Tensor | None = None, block: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """Decode (s, a, b) by the recipe of **Dᵀ** (s × rows·cols) → (height, width), bias and activation fused."""
    _, rows, _ = _tile(parse(text))
    if out is None:
        out = torch.empty((height, width), device=p.device, dtype=p.dtype)
    if out.numel() == 0:
        return out
    _, a, b = p.shape
    fixed = _fixed(p.dtype, b, block) | _finish(bias, activation)
    kernel, table = _kernel(text, "decode", True), _table(text, str(p.device), p.dtype)
    for at in range(0, a, GRID):
        kernel[(-(-b // fixed["BT"]), min(GRID, a - at))](
            p[:, at:], table, bias if bias is not None else p, out[at * rows :], height - at * rows, width, b,
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
    _, *tile = _tile(parse(text_d))
    channels, *needed = _tile(parse(text_e))
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
