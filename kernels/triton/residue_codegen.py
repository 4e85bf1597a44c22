"""Writes the Triton source that encodes integers into residues and decodes residues back, tile by tile.

Encoding walks the Kronecker factors in int64 and reduces every channel modulo every number of the system where it is
stored. Decoding walks Dᵀ on pairs of tiles in the halves of an int32, one modulus after the other, and adds the entries
of the tiles, each reduced once, to the two sums of the Chinese remainder theorem.
"""

from __future__ import annotations

import numpy as np

from ..recipes import Factor
from .codegen import _PLACE, Tile, _decode_walk, _encode_walk, _product, _unzip, _Writer, _zip

__all__ = ["residue_decode_source", "residue_encode_source"]

BIAS = 1 << 14  # what is added to a decoded sum, so that the lower one of a pair borrows nothing

_HEAD_ENCODE = (
    """
@triton.jit
def {name}(x, out, moduli, inverses, exponents, height, width, tile_cols, sx0, so0, so1, plane, count,
           BT: tl.constexpr, ACC: tl.constexpr, SCALED: tl.constexpr):
"""
    + _PLACE
    + """    x += row * {rows} * sx0
    out += row * so1 + t
    step = row * 0 + so0
    plane += row * 0
    c = t.to(tl.int64)[:, None] * {cols} + tl.arange(0, {width})[None, :]
    known = (c < width) & (tl.arange(0, {width})[None, :] < {cols})
"""
)

_HEAD_DECODE = """
@triton.jit
def {name}(base, y, moduli, inverses, first, second, constants, rows_by, cols_by, height, width, pairs,
           sp0, sp1, plane, sy0, count, BT: tl.constexpr, KIND: tl.constexpr, SECOND: tl.constexpr,
           UNROLL: tl.constexpr):
    HALF: tl.constexpr = BT // 2
    t = tl.program_id(0) * HALF + tl.arange(0, HALF)
    row = tl.program_id(1).to(tl.int64)
    inside = t < pairs
    rows_at = row * {rows} + tl.zeros((BT,), dtype=tl.int32)
    ZERO = tl.zeros((HALF,), dtype=tl.int32)
    base += row * sp1 + t
    y += row * {rows} * sy0
    step = row * 0 + sp0
    plane += row * 0
    tile = tl.program_id(0) * BT + tl.arange(0, BT)
    c = tile.to(tl.int64)[:, None] * {cols} + tl.arange(0, {width})[None, :]
    known = (c < width) & (tl.arange(0, {width})[None, :] < {cols})
    NIL = tl.zeros((BT,), dtype=y.dtype.element_ty)
"""


class _Pairs(_Writer):
    """Two neighbouring tiles in the halves of one int32: an addition serves both."""

    def load(self, at: str) -> str:
        return self.let(f"spread(tl.load(p + {at}, mask=inside, other=0))")


class _Residues(_Writer):
    """Channels are collected and stored together, one modulus after the other: its constants are loaded once."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self.together = together
        self.waiting: list[tuple[str, str]] = []

    def store(self, at: str, value: str) -> None:
        self.waiting.append((at, value))
        if len(self.waiting) == self.together:
            self.flush()

    def flush(self) -> None:
        """Integers below 2⁵⁴: float64 and the reciprocal move the remainder by five at most."""
        found = [(at, self.let(f"{v}.to(tl.int32)"), self.let(f"{v}.to(tl.float64)")) for at, v in self.waiting]
        self.waiting = []
        if found:
            self.do("for l in range(count):")
            self.do("    m, inverse = tl.load(moduli + l), tl.load(inverses + l)")
            for at, low, number in found:
                self.do(f"    tl.store(out + l * plane + {at}, residue({number}, {low}, m, inverse), mask=inside)")


def residue_encode_source(factors: tuple[Factor, ...], name: str) -> str:
    """(N, K) integers, or float64 numbers times 2^exponents rounded to integers → (moduli · channels) of residues."""
    rows, cols = _product(factors, 1), _product(factors, 2)
    width = 1 << (cols - 1).bit_length()
    w = _Residues(8 if len(factors) == 1 else factors[-1][0])
    planes: Tile = {}
    for i in range(rows):
        w.do(f"real = rows_at + {i} < height")
        loaded = w.let(f"tl.load(x + {i} * sx0 + c, mask=known & real[:, None], other=0)")
        w.do("if SCALED:")
        w.do(f"    up = tl.load(exponents + rows_at + {i}, mask=real, other=0)")
        w.do(f"    {loaded} = rounded({loaded}, up[:, None])")
        block = w.let(f"{loaded}.to(ACC)")
        for k, plane in enumerate(_unzip(w, block, width)[:cols]):
            planes[i, k] = plane
    _encode_walk(w, factors, planes, roll=False)
    w.flush()
    return _HEAD_ENCODE.format(name=name, rows=rows, cols=cols, width=width) + "\n".join(w.lines) + "\n"


def residue_decode_source(factors: tuple[Factor, ...], name: str) -> str:
    """(moduli · channels) of pairs of residues → (N, M): float64, int64 modulo 2⁶⁴ or modulo a number, by KIND."""
    rows, cols = _product(factors, 1), _product(factors, 2)
    width = 1 << (cols - 1).bit_length()
    w = _Pairs()
    entries = [(i, k) for i in range(rows) for k in range(cols)]
    for i, k in entries:
        for half in ("a", "b"):
            w.do(f"s{i}_{k}{half} = tl.zeros((HALF,), dtype=tl.float64)")
            w.do(f"u{i}_{k}{half} = tl.zeros((HALF,), dtype=SECOND)")
    w.loop("count", "loop_unroll_factor=UNROLL")
    w.do("p = base + l * plane")
    w.do("m, inverse = tl.load(moduli + l), tl.load(inverses + l).to(tl.float32)")
    w.do("f, g = tl.load(first + l), tl.load(second + l)")
    sums = _row_sums(factors)
    for (i, k), value in _decode_walk(w, factors, roll=False).items():
        both = w.let(f"{value} + {(BIAS - 128 * sums[i, k]) * 65537}")
        for half in ("a", "b"):
            raised = w.let(f"raised({'low' if half == 'a' else 'high'}({both}), m, inverse)")
            real = w.let(f"lowered({raised})")
            w.do(f"s{i}_{k}{half} += {real} * f")
            w.do("if KIND == 0:")
            w.do(f"    u{i}_{k}{half} += {real} * g")
            w.do("else:")
            w.do(f"    u{i}_{k}{half} += ({raised} - 4096).to(tl.int64) * g")
    w.end()
    for i in range(rows):
        done = []
        for k in range(cols):
            two = [w.let(f"assembled(s{i}_{k}{half}, u{i}_{k}{half}, constants, KIND)") for half in ("a", "b")]
            done.append(w.let(f"tl.reshape(tl.join({two[0]}, {two[1]}), (BT,))"))
        block = _zip(w, [done[k] if k < cols else "NIL" for k in range(width)])
        w.do(f"real = rows_at + {i} < height")
        w.do("if KIND == 0:")
        w.do("    by = tl.load(cols_by + c, mask=known, other=0)")
        w.do(f"    up = tl.load(rows_by + rows_at + {i}, mask=real, other=0)")
        w.do(f"    {block} = unscaled({block}, up[:, None], by)")
        w.do(f"tl.store(y + {i} * sy0 + c, {block}, mask=known & real[:, None])")
    body = "\n".join(w.lines)
    return _HEAD_DECODE.format(name=name, rows=rows, cols=cols, width=width) + body + "\n"


def _row_sums(factors: tuple[Factor, ...]) -> dict[tuple[int, int], int]:
    """Sum of the coefficients of every entry of a decoded tile."""
    whole = np.ones((1, 1, 1))
    for s, rows, cols, values in factors:
        inner = np.array(values).reshape(s, rows, cols)
        whole = np.einsum("aij,bkl->abikjl", whole, inner)
        whole = whole.reshape(-1, whole.shape[2] * rows, whole.shape[4] * cols)
    return {(i, k): int(v) for (i, k), v in np.ndenumerate(whole.sum(0))}
