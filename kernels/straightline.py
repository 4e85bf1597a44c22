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
from typing import Any

import numpy as np
import torch

from stl_algebra.errors import StlError

__all__ = ["Factor", "decode", "encode", "kronecker_factors", "parse", "recipe", "source", "worth_it"]

Factor = tuple[int, int, int, tuple[float, ...]]
"""(s, rows, cols, coefficients): an s × (rows·cols) matrix, row-major."""

MAX_OPERATIONS = 6000  # beyond this many lines the compiler takes longer than anyone will wait
ROLL = 700  # from here on the outermost factor becomes a loop with its coefficients in a table


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
    parts = []
    for s, n, m, values in kronecker_factors(np.asarray(matrix, dtype=np.float64), rows, cols):
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


def worth_it(matrix: np.ndarray, rows: int, cols: int) -> bool:
    """Is straight-line code small enough to compile (ever) and to beat the dense form (mostly zeros)?"""
    factors = kronecker_factors(np.asarray(matrix, dtype=np.float64), rows, cols)
    dense = all(np.count_nonzero(v) > 0.75 * len(v) for *_, v in factors)
    return _operations(factors) <= MAX_OPERATIONS and not (dense and matrix.size > 4096)


def _divisors(value: int) -> list[int]:
    return [v for v in range(1, value + 1) if value % v == 0]


def _operations(factors: list[Factor] | tuple[Factor, ...]) -> int:
    total, outer = 0, 1
    for index, (s, _, _, values) in enumerate(factors):
        inner = int(np.prod([f[1] * f[2] for f in factors[index + 1 :]], initial=1))
        total += outer * int(np.count_nonzero(values)) * inner
        outer *= s
    return total


def _product(factors: tuple[Factor, ...], index: int) -> int:
    return int(np.prod([f[index] for f in factors], initial=1))


def _rolls(factors: tuple[Factor, ...]) -> bool:
    return len(factors) > 1 and _operations(factors) > ROLL


def _combine(terms: list[tuple[float, str]]) -> str:
    """Σ c·v as source text; coefficients ±1 become signs."""
    text = ""
    for c, name in terms:
        magnitude = name if abs(c) == 1 else f"{abs(c)!r} * {name}"
        if not text:
            text = magnitude if c > 0 else f"-{magnitude}"
        else:
            text += f" {'+' if c > 0 else '-'} {magnitude}"
    return text or "ZERO"


class _Writer:
    """Collects lines and hands out fresh names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.indent = "    "

    def let(self, expression: str) -> str:
        name = f"v{self.count}"
        self.count += 1
        self.do(f"{name} = {expression}")
        return name

    def do(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def loop(self, times: int) -> None:
        self.do(f"for l in range({times}):")
        self.indent += "    "

    def end(self) -> None:
        self.indent = self.indent[:-4]


def _unzip(w: _Writer, block: str, cols: int) -> list[str]:
    """Split a (BT, cols) block, cols a power of two, into its columns without leaving registers."""
    if cols == 1:
        return [w.let(f"tl.reshape({block}, (BT,))")]
    names, width = [block], cols
    while width > 1:
        halves: list[str] = []
        for name in names:
            cube = w.let(f"tl.reshape({name}, (BT, {width // 2}, 2))")
            even, odd = f"{cube}e", f"{cube}o"
            w.do(f"{even}, {odd} = tl.split({cube})")
            halves += [even, odd]
        names, width = halves, width // 2
    flat = [w.let(f"tl.reshape({name}, (BT,))") for name in names]
    bits = cols.bit_length() - 1  # the k-th name is the column with bit-reversed index k
    return [flat[int(format(k, f"0{bits}b")[::-1], 2)] for k in range(cols)]


def _zip(w: _Writer, names: list[str]) -> str:
    """Inverse of :func:`_unzip`: columns into a (BT, cols) block."""
    if len(names) == 1:
        return w.let(f"tl.reshape({names[0]}, (BT, 1))")
    cols = len(names)
    bits = cols.bit_length() - 1
    level = [names[int(format(k, f"0{bits}b")[::-1], 2)] for k in range(cols)]
    level = [w.let(f"tl.reshape({v}, (BT, 1))") for v in level]
    width = 1
    while len(level) > 1:
        joined = []
        for a, b in zip(level[::2], level[1::2], strict=True):
            joined.append(w.let(f"tl.reshape(tl.join({a}, {b}), (BT, {2 * width}))"))
        level, width = joined, 2 * width
    return level[0]


_HEAD_ENCODE = """
@triton.jit
def {name}(x, table, out, height, width, tile_cols, sx0, sx1, so0, so1, BT: tl.constexpr, ACC: tl.constexpr):
    t = tl.program_id(0) * BT + tl.arange(0, BT)
    row = tl.program_id(1).to(tl.int64)
    inside = t < tile_cols
    rows_at = row * {rows} + tl.zeros_like(t)
    x += row * {rows} * sx0
    out += row * so1 + t
    step = row * 0 + so0  # 64-bit
    ZERO = tl.zeros((BT,), dtype=ACC)
    EL: tl.constexpr = out.dtype.element_ty
"""

_HEAD_DECODE = """
@triton.jit
def {name}(p, table, bias, y, height, width, tile_cols, sp0, sp1, sp2, sy0,
           BT: tl.constexpr, ACC: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr):
    t = tl.program_id(0) * BT + tl.arange(0, BT)
    row = tl.program_id(1).to(tl.int64)
    inside = t < tile_cols
    rows_at = row * {rows} + tl.zeros_like(t)
    p += row * sp1 + t.to(tl.int64) * sp2
    y += row * {rows} * sy0
    step = row * 0 + sp0  # 64-bit
    ZERO = tl.zeros((BT,), dtype=ACC)
    EL: tl.constexpr = y.dtype.element_ty
    c = t.to(tl.int64)[:, None] * {cols} + tl.arange(0, {width})[None, :]
    known = (c < width) & (tl.arange(0, {width})[None, :] < {cols})
"""


def _encode_source(factors: tuple[Factor, ...], contiguous: bool, name: str) -> str:
    rows = int(np.prod([f[1] for f in factors]))
    cols = int(np.prod([f[2] for f in factors]))
    w = _Writer()
    planes: dict[tuple[int, int], str] = {}
    wide = contiguous and cols & (cols - 1) == 0
    if wide:
        w.do(f"c = t.to(tl.int64)[:, None] * {cols} + tl.arange(0, {cols})[None, :]")
    for i in range(rows):
        w.do(f"real = rows_at + {i} < height")
        if wide:
            block = w.let(f"tl.load(x + {i} * sx0 + c, mask=(c < width) & real[:, None], other=0.0).to(ACC)")
            for k, column in enumerate(_unzip(w, block, cols)):
                planes[i, k] = column
        else:
            for k in range(cols):
                planes[i, k] = w.let(
                    f"tl.load(x + {i} * sx0 + (t.to(tl.int64) * {cols} + {k}) * sx1, "
                    f"mask=(t * {cols} + {k} < width) & real, other=0.0).to(ACC)"
                )

    def walk(level: int, tile: dict[tuple[int, int], str], channel: str) -> None:
        if level == len(factors):
            w.do(f"tl.store(out + ({channel}) * step, {tile[0, 0]}.to(EL), mask=inside)")
            return
        s, n1, m1, values = factors[level]
        n2 = (1 + max(i for i, _ in tile)) // n1
        m2 = (1 + max(k for _, k in tile)) // m1
        rest = _product(factors[level + 1 :], 0)
        rolled = level == 0 and _rolls(factors)
        if rolled:
            w.loop(s)
            coefs = [w.let(f"tl.load(table + l * {n1 * m1} + {j})") for j in range(n1 * m1)]
        for l in range(1 if rolled else s):
            sub = {}
            for i2 in range(n2):
                for k2 in range(m2):
                    planes_of = [
                        (i1 * m1 + k1, tile[i1 * n2 + i2, k1 * m2 + k2]) for i1 in range(n1) for k1 in range(m1)
                    ]
                    if rolled:
                        sub[i2, k2] = w.let(" + ".join(f"{coefs[j]} * {v}" for j, v in planes_of))
                    else:
                        terms = [(values[l * n1 * m1 + j], v) for j, v in planes_of if values[l * n1 * m1 + j] != 0]
                        sub[i2, k2] = w.let(_combine(terms))
            walk(level + 1, sub, f"l * {rest}" if rolled else f"{channel} + {l * rest}")
        if rolled:
            w.end()

    walk(0, planes, "0")
    return _HEAD_ENCODE.format(name=name, rows=rows) + "\n".join(w.lines) + "\n"


def _decode_source(factors: tuple[Factor, ...], name: str) -> str:
    rows = int(np.prod([f[1] for f in factors]))
    cols = int(np.prod([f[2] for f in factors]))
    w = _Writer()

    def walk(level: int, channel: str) -> dict[tuple[int, int], str]:
        if level == len(factors):
            return {(0, 0): w.let(f"tl.load(p + ({channel}) * step, mask=inside, other=0.0).to(ACC)")}
        s, n1, m1, values = factors[level]
        n2, m2, rest = (_product(factors[level + 1 :], i) for i in (1, 2, 0))
        tile: dict[tuple[int, int], str] = {}
        rolled = level == 0 and _rolls(factors)
        if rolled:
            for i in range(n1 * n2):
                for k in range(m1 * m2):
                    tile[i, k] = f"y{i}_{k}"
                    w.do(f"y{i}_{k} = ZERO")
            w.loop(s)
            coefs = [w.let(f"tl.load(table + l * {n1 * m1} + {j})") for j in range(n1 * m1)]
        for l in range(1 if rolled else s):
            sub = walk(level + 1, f"l * {rest}" if rolled else f"{channel} + {l * rest}")
            for i1 in range(n1):
                for k1 in range(m1):
                    j = i1 * m1 + k1
                    if not rolled and values[l * n1 * m1 + j] == 0:
                        continue
                    for (i2, k2), value in sub.items():
                        key = (i1 * n2 + i2, k1 * m2 + k2)
                        if rolled:
                            w.do(f"{tile[key]} += {coefs[j]} * {value}")
                            continue
                        terms = [(values[l * n1 * m1 + j], value)]
                        tile[key] = w.let(_combine([(1.0, tile[key]), *terms] if key in tile else terms))
        if rolled:
            w.end()
        return {(i, k): tile.get((i, k), "ZERO") for i in range(n1 * n2) for k in range(m1 * m2)}

    tile = walk(0, "0")
    width = 1 << (cols - 1).bit_length()
    for i in range(rows):
        block = _zip(w, [tile[i, k] if k < cols else "ZERO" for k in range(width)])
        w.do("if BIAS:")
        w.do(f"    {block} += tl.load(bias + c, mask=known, other=0.0).to(ACC)")
        w.do(f"{block} = _activate({block}, ACT)")
        w.do(f"tl.store(y + {i} * sy0 + c, {block}.to(EL), mask=known & (rows_at[:, None] + {i} < height))")
    return _HEAD_DECODE.format(name=name, rows=rows, cols=cols, width=width) + "\n".join(w.lines) + "\n"


def source(text: str, direction: str, contiguous: bool = True) -> str:
    """The generated Triton source for a recipe; ``direction`` is "encode" or "decode"."""
    name = f"{direction}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    factors = parse(text)
    body = _encode_source(factors, contiguous, name) if direction == "encode" else _decode_source(factors, name)
    return f"# generated from recipe {text[:80]}\n" + body


@functools.lru_cache(maxsize=128)
def _kernel(text: str, direction: str, contiguous: bool) -> Any:
    """Compile a recipe's source; Triton reads it back through ``linecache``."""
    import triton
    import triton.language as tl

    from kernels.triton_codec import _activate

    code = source(text, direction, contiguous)
    name = f"{direction}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    filename = f"<stl {name} {int(contiguous)}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"triton": triton, "tl": tl, "_activate": _activate, "__name__": __name__}
    exec(compile(code, filename, "exec"), scope)  # our own generated text, numbers only
    return scope[name]


@functools.lru_cache(maxsize=128)
def _table(text: str, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Coefficients of the outermost factor, for the kernels that loop over it."""
    return torch.tensor(parse(text)[0][3], device=device, dtype=torch.promote_types(dtype, torch.float32))


def _block(dtype: torch.dtype, cols: int, block: int | None) -> int:
    if block:
        return block
    natural = 128 if dtype.itemsize >= 4 else 256
    return max(16, min(natural, 1 << (max(cols, 1) - 1).bit_length()))


def _accumulator(dtype: torch.dtype) -> Any:
    import triton.language as tl

    return tl.float64 if dtype == torch.float64 else tl.float32


def encode(
    x: torch.Tensor,
    text: str,
    *,
    out: torch.Tensor | None = None,
    block: int | None = None,
    num_warps: int = 4,
) -> torch.Tensor:
    """Encode every tile of (N, K) by a recipe → (s, ⌈N/rows⌉, ⌈K/cols⌉)."""
    factors = parse(text)
    s, rows, cols = (int(np.prod([f[i] for f in factors])) for i in range(3))
    height, width = x.shape
    a, b = -(-height // rows), -(-width // cols)
    if out is None:
        out = torch.empty((s, a, b), device=x.device, dtype=x.dtype)
    if out.numel() == 0:
        return out
    bt = _block(x.dtype, b, block)
    _kernel(text, "encode", x.stride(1) == 1)[(-(-b // bt), a)](
        x,
        _table(text, str(x.device), x.dtype),
        out,
        height,
        width,
        b,
        x.stride(0),
        x.stride(1),
        out.stride(0),
        out.stride(1),
        BT=bt,
        ACC=_accumulator(x.dtype),
        num_warps=num_warps,
    )
    return out


def decode(
    p: torch.Tensor,
    text: str,
    height: int,
    width: int,
    *,
    bias: torch.Tensor | None = None,
    activation: str = "",
    out: torch.Tensor | None = None,
    block: int | None = None,
    num_warps: int = 4,
) -> torch.Tensor:
    """Decode (s, a, b) by the recipe of **Dᵀ** (s × rows·cols) → (height, width), bias and activation fused."""
    from kernels.triton_codec import ACTIVATIONS

    factors = parse(text)
    rows = int(np.prod([f[1] for f in factors]))
    if out is None:
        out = torch.empty((height, width), device=p.device, dtype=p.dtype)
    if out.numel() == 0:
        return out
    b = p.shape[2]
    bt = _block(p.dtype, b, block)
    _kernel(text, "decode", True)[(-(-b // bt), -(-height // rows))](
        p,
        _table(text, str(p.device), p.dtype),
        bias if bias is not None else p,
        out,
        height,
        width,
        b,
        p.stride(0),
        p.stride(1),
        p.stride(2),
        out.stride(0),
        BT=bt,
        ACC=_accumulator(p.dtype),
        BIAS=bias is not None,
        ACT=ACTIVATIONS[activation],
        num_warps=num_warps,
    )
    return out
