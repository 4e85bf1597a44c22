"""Writes the Triton source that encodes integers into residues and decodes residues back, tile by tile.

Encoding walks the Kronecker factors in int64 and reduces every channel modulo every number of the system where it is
stored. Decoding walks Dᵀ in int32, one modulus after the other, and adds the entries
of the tile, each reduced once, to the two sums of the Chinese remainder theorem.
"""

from __future__ import annotations

from ..recipes import Factor
from .codegen import _PLACE, Tile, _decode_walk, _encode_walk, _product, _unzip, _Writer, _zip

__all__ = ["residue_decode_source", "residue_encode_source"]

_HEAD_ENCODE = (
    """
@triton.jit
def {name}(x, out, moduli, inverses, exponents, height, width, tile_cols, sx0, so0, so1, plane,
           BT: tl.constexpr, ACC: tl.constexpr, COUNT: tl.constexpr, SCALED: tl.constexpr):
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

_HEAD_DECODE = (
    """
@triton.jit
def {name}(base, y, moduli, inverses, first, second, constants, rows_by, cols_by, height, width, tile_cols,
           sp0, sp1, plane, sy0, BT: tl.constexpr, ACC: tl.constexpr, COUNT: tl.constexpr, KIND: tl.constexpr,
           SECOND: tl.constexpr, UNROLL: tl.constexpr):
"""
    + _PLACE
    + """    base += row * sp1 + t
    y += row * {rows} * sy0
    step = row * 0 + sp0
    plane += row * 0
    c = t.to(tl.int64)[:, None] * {cols} + tl.arange(0, {width})[None, :]
    known = (c < width) & (tl.arange(0, {width})[None, :] < {cols})
    NIL = tl.zeros((BT,), dtype=y.dtype.element_ty)
"""
)


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
        """Integers below 2⁵⁵: their float64 is off by two at most, and so is the remainder from its quotient."""
        found = [(at, self.let(f"{v}.to(tl.int32)"), self.let(f"{v}.to(tl.float64)")) for at, v in self.waiting]
        self.waiting = []
        if found:
            self.do("for l in range(COUNT):")
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
    """(moduli · channels) of residues → (N, M): float64, int64 modulo 2⁶⁴, or int64 modulo a number, by KIND."""
    rows, cols = _product(factors, 1), _product(factors, 2)
    width = 1 << (cols - 1).bit_length()
    w = _Writer()
    entries = [(i, k) for i in range(rows) for k in range(cols)]
    for i, k in entries:
        w.do(f"s{i}_{k} = tl.zeros((BT,), dtype=tl.float64)")
        w.do(f"u{i}_{k} = tl.zeros((BT,), dtype=SECOND)")
    w.loop("COUNT", "loop_unroll_factor=UNROLL")
    w.do("p = base + l * plane")
    w.do("m, inverse = tl.load(moduli + l), tl.load(inverses + l).to(tl.float32)")
    w.do("f, g = tl.load(first + l), tl.load(second + l)")
    for (i, k), value in _decode_walk(w, factors, roll=False).items():
        raised = w.let(f"raised({value}, m, inverse)")
        real = w.let(f"lowered({raised})")
        w.do(f"s{i}_{k} += {real} * f")
        w.do("if KIND == 0:")
        w.do(f"    u{i}_{k} += {real} * g")
        w.do("else:")
        w.do(f"    u{i}_{k} += ({raised} - 4096).to(tl.int64) * g")
    w.end()
    for i in range(rows):
        done = [w.let(f"assembled(s{i}_{k}, u{i}_{k}, constants, KIND)") for k in range(cols)]
        block = _zip(w, [done[k] if k < cols else "NIL" for k in range(width)])
        w.do(f"real = rows_at + {i} < height")
        w.do("if KIND == 0:")
        w.do("    by = tl.load(cols_by + c, mask=known, other=0)")
        w.do(f"    up = tl.load(rows_by + rows_at + {i}, mask=real, other=0)")
        w.do(f"    {block} = unscaled({block}, up[:, None], by)")
        w.do(f"tl.store(y + {i} * sy0 + c, {block}, mask=known & real[:, None])")
    return _HEAD_DECODE.format(name=name, rows=rows, cols=cols, width=width) + "\n".join(w.lines) + "\n"
