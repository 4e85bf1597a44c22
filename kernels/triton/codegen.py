"""Writes the Triton source of straight-line encode, decode and transcode kernels from Kronecker factors.

The text is plain Triton over named one-dimensional blocks (one tile per element), walked depth first; see
`kernels.triton.unrolled` for what it is good for.
"""

from __future__ import annotations

import numpy as np

from ..recipes import Factor, operations

__all__ = ["decode_source", "encode_source", "transcode_source"]

Tile = dict[tuple[int, int], str]
"""(row, column) of a tile entry → the name of the block that holds it."""

ROLL = 700  # from this many operations on the outermost factor becomes a loop with its coefficients in a table


def _product(factors: tuple[Factor, ...], index: int) -> int:
    return int(np.prod([f[index] for f in factors], initial=1))


def _rolls(factors: tuple[Factor, ...]) -> bool:
    return len(factors) > 1 and operations(factors) > ROLL


def _combine(terms: list[tuple[float, str]]) -> str:
    """Σ c·v as source text; coefficients ±1 become signs."""
    text = ""
    for c, name in terms:
        size = abs(c)
        magnitude = name if size == 1 else f"{int(size) if size == int(size) else size!r} * {name}"
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
        self.leaf = "tl.store(high + {at}, {value}.to(EL), mask=inside)"

    def let(self, expression: str) -> str:
        name = f"v{self.count}"
        self.count += 1
        self.do(f"{name} = {expression}")
        return name

    def do(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def store(self, at: str, value: str) -> None:
        """What becomes of an encoded channel."""
        self.do(self.leaf.format(at=at, value=value))

    def load(self, at: str) -> str:
        """A channel to be decoded."""
        return self.let(f"tl.load(p + {at}, mask=inside, other=0).to(ACC)")

    def loop(self, times: int | str, how: str = "") -> None:
        self.do(f"for l in tl.range(0, {times}, {how}):" if how else f"for l in range({times}):")
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


_TILES = """    t = {at} + tl.arange(0, BT)
    inside = t < tile_cols
    rows_at = row * {rows} + tl.zeros_like(t)
    ZERO = tl.zeros((BT,), dtype=ACC)
"""

_PLACE = """    row = tl.program_id(1).to(tl.int64)
""" + _TILES.replace("{at}", "tl.program_id(0) * BT")  # one block of tiles of one tile row
# offsets that multiply a stride are 64-bit through ``row``

_OUTPUT = """    high = out + row * so1 + t
    step = row * 0 + so0
    EL: tl.constexpr = out.dtype.element_ty
"""

_HEAD_ENCODE = (
    """
@triton.jit
def {name}(x, table, out, {extra}height, width, tile_cols, sx0, sx1, so0, so1, BT: tl.constexpr, ACC: tl.constexpr):
"""
    + _PLACE
    + """    x += row * {rows} * sx0
"""
    + _OUTPUT
)

_HEAD_DECODE = (
    """
@triton.jit
def {name}(p, table, bias, y, {extra}height, width, tile_cols, sp0, sp1, sp2, sy0,
           BT: tl.constexpr, ACC: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr):
"""
    + _PLACE
    + """    p += row * sp1 + t.to(tl.int64) * sp2
    y += row * {rows} * sy0
    step = row * 0 + sp0
    EL: tl.constexpr = y.dtype.element_ty
    c = t.to(tl.int64)[:, None] * {cols} + tl.arange(0, {width})[None, :]
    known = (c < width) & (tl.arange(0, {width})[None, :] < {cols})
"""
)

_HEAD_TRANSCODE = (
    """
@triton.jit
def {name}(p, bias, out, height, width, tile_cols, sp0, sp1, sp2, so0, so1,
           BT: tl.constexpr, ACC: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr):
"""
    + _PLACE
    + """    p += row * sp1 + t.to(tl.int64) * sp2
    high = out + row * so1 + t
    EL: tl.constexpr = out.dtype.element_ty
    step = row * 0 + sp0
"""
)


def _encode_walk(
    w: _Writer, factors: tuple[Factor, ...], tile: Tile, level: int = 0, channel: str = "0", roll: bool = True
) -> None:
    """Store every channel of a tile held as planes, one factor at a time, depth first."""
    if level == len(factors):
        w.store(f"({channel}) * step", tile[0, 0])
        return
    s, n1, m1, values = factors[level]
    n2 = (1 + max(i for i, _ in tile)) // n1
    m2 = (1 + max(k for _, k in tile)) // m1
    rest = _product(factors[level + 1 :], 0)
    rolled = roll and level == 0 and _rolls(factors)
    if rolled:
        w.loop(s)
        coefs = [w.let(f"tl.load(table + l * {n1 * m1} + {j})") for j in range(n1 * m1)]
    for l in range(1 if rolled else s):
        sub = {}
        for i2 in range(n2):
            for k2 in range(m2):
                planes_of = [(i1 * m1 + k1, tile[i1 * n2 + i2, k1 * m2 + k2]) for i1 in range(n1) for k1 in range(m1)]
                if rolled:
                    sub[i2, k2] = w.let(" + ".join(f"{coefs[j]} * {v}" for j, v in planes_of))
                else:
                    terms = [(values[l * n1 * m1 + j], v) for j, v in planes_of if values[l * n1 * m1 + j] != 0]
                    sub[i2, k2] = w.let(_combine(terms))
        _encode_walk(w, factors, sub, level + 1, f"l * {rest}" if rolled else f"{channel} + {l * rest}")
    if rolled:
        w.end()


def _decode_walk(
    w: _Writer, factors: tuple[Factor, ...], level: int = 0, channel: str = "0", roll: bool = True
) -> Tile:
    """Load channels and accumulate the planes of a tile, depth first; returns (i, k) → name."""
    if level == len(factors):
        return {(0, 0): w.load(f"({channel}) * step")}
    s, n1, m1, values = factors[level]
    n2, m2, rest = (_product(factors[level + 1 :], i) for i in (1, 2, 0))
    tile: Tile = {}
    rolled = roll and level == 0 and _rolls(factors)
    if rolled:
        for i in range(n1 * n2):
            for k in range(m1 * m2):
                tile[i, k] = f"y{i}_{k}"
                w.do(f"y{i}_{k} = ZERO")
        w.loop(s)
        coefs = [w.let(f"tl.load(table + l * {n1 * m1} + {j})") for j in range(n1 * m1)]
    for l in range(1 if rolled else s):
        sub = _decode_walk(w, factors, level + 1, f"l * {rest}" if rolled else f"{channel} + {l * rest}")
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


def encode_source(factors: tuple[Factor, ...], contiguous: bool, name: str, split: bool = False) -> str:
    """(N, K) → channels: load a tile, combine, store each channel once.

    With ``split`` the entries are scaled by 2^(ec_k − er_i) first and every channel is stored as two halves.
    """
    rows = int(np.prod([f[1] for f in factors]))
    cols = int(np.prod([f[2] for f in factors]))
    w = _Writer()
    if split:
        w.leaf = "store_halves(high + {at}, low + {at}, {value}, inside)"
    planes: Tile = {}
    wide = contiguous and cols & (cols - 1) == 0
    if split:
        w.do("low = lo + row * so1 + t")
        for k in range(cols):
            w.do(f"by{k} = tl.load(ec + t * {cols} + {k}, mask=t * {cols} + {k} < width, other=0)")
    if wide:
        w.do(f"c = t.to(tl.int64)[:, None] * {cols} + tl.arange(0, {cols})[None, :]")
    for i in range(rows):
        w.do(f"real = rows_at + {i} < height")
        if split:
            w.do(f"down{i} = tl.load(er + rows_at + {i}, mask=real, other=0)")
        if wide:
            block = w.let(f"tl.load(x + {i} * sx0 + c, mask=(c < width) & real[:, None], other=0.0).to(ACC)")
            found = _unzip(w, block, cols)
        else:
            found = [
                w.let(
                    f"tl.load(x + {i} * sx0 + (t.to(tl.int64) * {cols} + {k}) * sx1, "
                    f"mask=(t * {cols} + {k} < width) & real, other=0.0).to(ACC)"
                )
                for k in range(cols)
            ]
        for k, plane in enumerate(found):
            planes[i, k] = plane
    if split:
        for (i, k), plane in planes.items():
            planes[i, k] = w.let(f"scaled(finite({plane}), by{k} - down{i})")

    _encode_walk(w, factors, planes)
    return _HEAD_ENCODE.format(name=name, rows=rows, extra="lo, er, ec, " if split else "") + "\n".join(w.lines) + "\n"


def decode_source(factors: tuple[Factor, ...], name: str, split: bool = False) -> str:
    """Channels → (N, M), with bias and activation; with ``split`` entry (i, j) is scaled by 2^(er_i + ec_j) first."""
    rows = int(np.prod([f[1] for f in factors]))
    cols = int(np.prod([f[2] for f in factors]))
    w = _Writer()

    tile = _decode_walk(w, factors)
    width = 1 << (cols - 1).bit_length()
    if split:
        w.do("by = tl.load(ec + c, mask=known, other=0)")
    for i in range(rows):
        block = _zip(w, [tile[i, k] if k < cols else "ZERO" for k in range(width)])
        if split:
            w.do(f"up = tl.load(er + rows_at + {i}, mask=rows_at + {i} < height, other=0)")
            w.do(f"{block} = scaled({block}, tl.maximum(by + up[:, None], -252))")
        w.do("if BIAS:")
        w.do(f"    {block} += tl.load(bias + c, mask=known, other=0.0).to(ACC)")
        w.do(f"{block} = _activate({block}, ACT)")
        w.do(f"tl.store(y + {i} * sy0 + c, {block}.to(EL), mask=known & (rows_at[:, None] + {i} < height))")
    head = _HEAD_DECODE.format(name=name, rows=rows, cols=cols, width=width, extra="er, ec, " if split else "")
    return head + "\n".join(w.lines) + "\n"


def transcode_source(decoder: tuple[Factor, ...], encoder: tuple[Factor, ...], name: str) -> str:
    """Channels of one layer → channels of the next, with bias and activation between, the tile in registers.

    The output tile of the first format must be the input tile of the second. Entries beyond the edge are
    zero for the encoder, as they are when a matrix is encoded.
    """
    rows, cols = _product(decoder, 1), _product(decoder, 2)
    w = _Writer()
    tile = _decode_walk(w, decoder, roll=False)
    planes: Tile = {}
    for k in range(cols):
        w.do(f"known = t * {cols} + {k} < width")
        w.do("if BIAS:")
        w.do(f"    b{k} = tl.load(bias + t * {cols} + {k}, mask=known, other=0.0).to(ACC)")
        for i in range(rows):
            value = w.let(tile[i, k] + " + ZERO")
            w.do("if BIAS:")
            w.do(f"    {value} += b{k}")
            w.do(f"{value} = _activate({value}, ACT)")
            planes[i, k] = w.let(f"tl.where(known & (rows_at + {i} < height), {value}, ZERO)")
    w.do("step = row * 0 + so0")
    _encode_walk(w, encoder, planes, roll=False)
    return _HEAD_TRANSCODE.format(name=name, rows=rows) + "\n".join(w.lines) + "\n"
