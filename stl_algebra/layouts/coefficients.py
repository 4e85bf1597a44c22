"""Coefficients as plain text: blocks of rows, headers with sizes, bit masks, and border schemes in x.

================  =======================================================================================
blocks            three blocks of rows of entries (entries × r), separated by ``#`` lines or blank lines (Benson–
                  Ballard). ``x``, ``x2``, ``xi``, ``x2i`` are ε, ε², 1/ε, 1/ε², with rational factors (``1/5x``) and
                  sums in brackets (``(1+-x)``): a border scheme. Further blocks are substitutions, rows that define
                  the additional rows of the first two factors and the additional columns of the third
sizes             ``n m p r``, then the entries of the three factors in any line breaks (Perminov); a leading count
                  announces several schemes
bit masks         ``r``, then three integers a line: bit i is entry i, over GF(2); or ``n m p r`` before them
================  =======================================================================================
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from ..encoder import Encoder
from ..errors import StlError
from ..rings import Ring, fit, ring
from ..targets import Target, matmul
from .judge import MAX_DIMENSION, MAX_RANK, Raw
from .scalars import Numbers, exact, numbers
from .source import Source, directives, says_mod_2

__all__ = ["read_blocks", "read_numbers", "write_text"]

_CELLS = re.compile(r"\([^()\s]*\)|[^\s,;]+")
_TERM = re.compile(r"([+-]{0,2})([0-9]*(?:\.[0-9]+)?(?:/[0-9]+)?)\*?(x([0-9]{0,2})(i?))?", re.ASCII)
MAX_ORDER = 24
MAX_SCHEMES = 1024


# ------------------------------------------------------------------ blocks
def _blocks(source: Source) -> list[list[list[str]]]:
    """Rows of cells, in blocks; blocks after the third may be empty and are kept, others are not."""
    marked = "#" in source.text
    blocks: list[list[list[str]]] = [[]]
    total = 0
    for line in source.text.splitlines():
        body, hash_, _ = line.partition("#")
        cells = _CELLS.findall(body)
        if cells:
            blocks[-1].append(cells)
            total += len(cells)
            if total > source.budget.numbers:
                source.spend(total)
        elif hash_ or not (marked or line.strip()):
            filled = sum(map(bool, blocks))
            if blocks[-1] or filled >= 3:
                blocks.append([])
    source.spend(total)
    return blocks


def read_blocks(source: Source) -> list[Raw]:
    """Three blocks of rows, perhaps with powers of x and with substitutions."""
    source.limit_text(3)
    blocks = _blocks(source)
    while len(blocks) > 3 and not any(blocks[3:]):
        del blocks[3:]
    if len(blocks) < 3 or not all(blocks[:3]):
        source.refuse(
            "content", f"{sum(map(bool, blocks))} blocks of rows", "three blocks of rows separated by # lines"
        )
    if len(blocks) > 7:
        source.refuse("content", f"{len(blocks)} blocks of rows", "three, and at most three of substitutions")
    for b, block in enumerate(blocks):
        if len({len(row) for row in block}) > 1 or len(block) > MAX_RANK or (block and len(block[0]) > MAX_RANK):
            widths = sorted({len(row) for row in block})
            source.refuse(f"block {b + 1}", f"rows of {widths[0]} to {widths[-1]} coefficients",
                          "rows of the same length in a block")  # fmt: skip
    base, goal = directives(source)
    if any("x" in cell for block in blocks for row in block for cell in row):
        if len(blocks) > 3:
            source.refuse("content", "powers of x together with substitutions", "one or the other")
        return [_powers_of_x(source, blocks, base, goal)]
    parts = [_matrix(source, block) for block in blocks]
    note = ""
    if len(parts) > 3:
        parts = _substituted(source, parts)
        note = "substitutions expanded"
    if len({num.shape[1] for num, _ in parts}) > 1:
        source.refuse("content", f"blocks of {[num.shape[1] for num, _ in parts]} columns", "the same rank in each")
    if base is not None and base.degree > 1:
        zeros = [np.zeros((*num.shape, base.degree - 1), dtype=np.int64) for num, _ in parts]
        parts = [
            (np.concatenate([num[..., None], z], axis=-1), den) for (num, den), z in zip(parts, zeros, strict=True)
        ]
    also = ring("GF(2)") if base is None and says_mod_2(source) else None
    return [Raw(source.name, parts, "text", ring=base, also=also, target=goal, transposed=False, note=note)]


def _matrix(source: Source, rows: list[list[str]]) -> Numbers:
    width = len(rows[0]) if rows else 0
    num, den = numbers(
        source, [int(c) if c.isdecimal() and len(c) < 18 and c.isascii() else c for r in rows for c in r]
    )
    return num.reshape(len(rows), width), den


def _substituted(source: Source, parts: list[Numbers]) -> list[Numbers]:
    """U, V: extra rows are sums of entries, given by S (extra × entries). W: extra columns are sums of products."""
    out = []
    for axis in range(3):
        num, den = parts[axis]
        s, s_den = parts[3 + axis] if len(parts) > 3 + axis else (np.zeros((0, 0), dtype=np.int64), 1)
        extra = len(s)
        if extra:
            size = num.shape[0 if axis < 2 else 1] - extra
            if size != s.shape[1]:
                source.refuse(f"substitution {axis + 1}", s.shape, f"{extra} rows of {size} coefficients")
            low, high = (num[:size], num[size:]) if axis < 2 else (num[:, :size], num[:, size:])
            added = s.T.astype(object) @ high.astype(object) if axis < 2 else high.astype(object) @ s.astype(object)
            num, den = fit(low.astype(object) * s_den + added), den * s_den
        out.append((num, den))
    return out


# ------------------------------------------------------------------ border schemes
def _powers_of_x(source: Source, blocks: list[list[list[str]]], base: Ring | None, goal: Target | None) -> Raw:
    """Coefficients on powers of x: ε of a border scheme, or the generator of the ring a comment names.

    Of a border scheme each factor is multiplied by the power of ε that makes it a polynomial; the powers add up to
    the order.
    """
    parsed = {cell: _laurent(source, cell) for block in blocks for row in block for cell in set(row)}
    field = base is not None and base.degree > 1 and not base.is_border
    lows = [min((e for row in block for cell in row for e in parsed[cell]), default=0) for block in blocks]
    lows = [0 if field else min(low, 0) for low in lows]
    order = -sum(lows)
    if order > MAX_ORDER:
        source.refuse("powers of x", order, f"an order of at most {MAX_ORDER}")
    if base is None or not field:
        base = ring(f"Q[eps]/eps^{order + 1}")
    elif any(not 0 <= e < base.degree for v in parsed.values() for e in v):
        source.refuse("powers of x", "a negative or large power", f"powers below {base.degree} over {base.name}")
    k = base.degree
    parts = []
    for block, low in zip(blocks, lows, strict=True):
        shape = (len(block), len(block[0]))
        source.spend(shape[0] * shape[1] * k)
        cells = {cell for row in block for cell in row}
        den = lcm(*(v.denominator for cell in cells for v in parsed[cell].values()))
        known = {}
        for cell in cells:
            v = np.zeros(k, dtype=object)
            for e, c in parsed[cell].items():
                if e - low < k:
                    v[e - low] += c.numerator * (den // c.denominator)
            known[cell] = v
        num = fit(np.array([known[cell] for row in block for cell in row], dtype=object).reshape(*shape, k))
        parts.append((num if k > 1 else num[..., 0], den))
    return Raw(source.name, parts, "text", ring=base, target=goal, transposed=False)


def _laurent(source: Source, cell: str) -> dict[int, Fraction]:
    """``3``, ``-x``, ``1/5x2``, ``x2i``, ``(1+-x)`` as {exponent: coefficient}."""
    inner = cell[1:-1] if cell[:1] == "(" and cell[-1:] == ")" else cell
    out: dict[int, Fraction] = {}
    at = 0
    if len(inner) > source.budget.digits:
        source.refuse("coefficient", f"{len(inner)} characters", f"at most {source.budget.digits}")
    while at < len(inner):
        match = _TERM.match(inner, at)
        if not match or match.end() == at or not (match[2] or match[3]) or (at and not match[1]):
            source.refuse("coefficient", cell, "a number, x, x2, xi, x2i, or a sum of multiples of them in brackets")
        sign = -1 if match[1].count("-") % 2 else 1
        e = (int(match[4] or 1) * (-1 if match[5] else 1)) if match[3] else 0
        value = out.get(e, Fraction(0)) + sign * exact(source, match[2] or "1")
        out.pop(e, None)
        if value:
            out[e] = value
        at = match.end()
    if not inner:
        source.refuse("coefficient", cell, "a number")
    return out


# ------------------------------------------------------------------ sizes and bit masks
def read_numbers(source: Source) -> list[Raw]:
    """Nothing but numbers: ``n m p r`` and entries (one scheme or several), or bit masks."""
    cells = re.sub(r"#.*", "", source.text).replace(",", " ").split()
    source.spend(len(cells))
    found = _masks(source, cells) or _sized(source, cells, False) or _sized(source, cells, True)
    if not found:
        source.refuse("content", f"{len(cells)} numbers", "'n m p r' and r·(nm + mp + np) entries, or r lines of masks")
    return found


def _head(cells: list[str], at: int, count: int) -> list[int] | None:
    head = cells[at : at + count]
    if len(head) < count or not all(v.isascii() and v.isdecimal() and len(v) < 6 for v in head):
        return None
    return list(map(int, head))


def _sized(source: Source, cells: list[str], pairs: bool) -> list[Raw] | None:
    """Schemes with their sizes; numbers, or pairs of numerator and denominator. None if the counts do not fit."""
    first = _head(cells, 0, 1)
    if first is None:
        return None
    for at, count in ((0, 1), (1, min(first[0], MAX_SCHEMES))):
        raws: list[Raw] = []
        while len(raws) < count:
            raw, at = _one(source, cells, at, pairs, f"{source.name}#{len(raws) + 1}" if count > 1 else source.name)
            if raw is None:
                break
            raws.append(raw)
        if at == len(cells) and len(raws) == count and raws:
            return raws
    return None


def _one(source: Source, cells: list[str], at: int, pairs: bool, name: str) -> tuple[Raw | None, int]:
    head = _head(cells, at, 4)
    if head is None or not all(1 <= v <= MAX_DIMENSION for v in head[:3]) or not 0 < head[3] <= MAX_RANK:
        return None, at
    n, m, p, r = head
    each, sizes = 2 if pairs else 1, (n * m, m * p, n * p)
    end = at + 4 + each * r * sum(sizes)
    if end > len(cells):
        return None, at
    values: list[Any] = cells[at + 4 : end]
    if pairs:
        values = [f"{a}/{b}" for a, b in zip(values[::2], values[1::2], strict=True)]
    num, den = numbers(source, [_plain(v) for v in values])
    ends = np.cumsum([0, *(r * size for size in sizes)])
    flat = [num[a:b] for a, b in itertools.pairwise(ends)]
    by_term = [(f.reshape(r, -1).T, den) for f in flat]
    by_entry = [(f.reshape(-1, r), den) for f in flat]
    also = ring("GF(2)") if says_mod_2(source) else None
    return Raw(name, by_term, "numbers", also=also, target=matmul(n, m, p), alternatives=[by_entry]), end


def _plain(v: str) -> int | str:
    return int(v) if len(v) < 18 and v.isascii() and v.lstrip("-").isdecimal() else v


def _masks(source: Source, cells: list[str]) -> list[Raw] | None:
    """``r`` and r triples of masks; the sizes are given before, or are the bits used."""
    first = next((v for v in re.sub(r"#.*", "", source.text).splitlines() if v.strip()), "").split()
    for skip in (0, 3):
        head = _head(cells, 0, skip + 1)
        if head is None or len(first) != skip + 1 or len(cells) != skip + 1 + 3 * head[skip] or not head[skip]:
            continue
        body = cells[skip + 1 :]
        if not all(v.isascii() and v.isdecimal() and len(v) < 1300 for v in body):
            continue
        masks = [[int(v) for v in body[axis::3]] for axis in range(3)]
        bits = [max(v.bit_length() for v in column) for column in masks]
        if skip:
            n, m, p = head[:3]
            bits = [n * m, m * p, n * p]
        if max(bits) > MAX_DIMENSION**2 or not all(bits):
            continue
        source.spend(sum(bits) * head[skip])
        goal = matmul(*head[:3]) if skip else None
        factors = [(np.array([[v >> i & 1 for v in column] for i in range(size)], dtype=np.int64), 1)
                   for column, size in zip(masks, bits, strict=True)]  # fmt: skip
        return [Raw(source.name, factors, "bit masks", ring=ring("GF(2)"), target=goal)]
    return None


# ------------------------------------------------------------------ writing
def write_text(encoder: Encoder) -> str:
    """Three blocks of rows separated by ``#`` lines; ε is written x, over Q[eps]/eps^(h+1) with 1/ε^h in the last.

    Over other rings of degree above one x is the generator that the first line's ring has.
    """
    base = encoder.ring
    if not base.exact:
        raise StlError("ring", base.name, "an exact ring", "Floats are written to .npz, .npy or our own files.")
    blocks = []
    for axis, f in enumerate(encoder.factors):
        num = f.num if axis == 2 else np.swapaxes(f.num, 0, 1)
        low = base.degree - 1 if axis == 2 and base.is_border else 0
        spell = {v: _cell(v, f.den, low) for v in set(map(_key, num.reshape(-1, *num.shape[2:])))}
        blocks.append("\n".join(" ".join(spell[_key(v)] for v in row) for row in num))
    head = f"# ring: {base.name}, target: {encoder.target.name}\n"
    return head + "\n#\n".join(blocks) + "\n"


def _key(v: Any) -> tuple[int, ...]:
    return tuple(int(c) for c in np.atleast_1d(v))


def _cell(value: tuple[int, ...], den: int, low: int) -> str:
    terms = []
    for e, c in enumerate(value):
        if c:
            power = e - low
            x = "" if power == 0 else f"x{abs(power) if abs(power) > 1 else ''}{'i' if power < 0 else ''}"
            q = Fraction(c, den)
            size = "" if x and abs(q) == 1 else str(abs(q))
            terms.append(("-" if q < 0 else "") + size + x)
    return f"({'+'.join(terms)})" if len(terms) > 1 else terms[0] if terms else "0"
