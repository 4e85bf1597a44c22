"""Bini tables: ``Bini n m p r`` and one line a product, ``l ; Γ ; Α ; Β`` – entries of C, A and B (Kemper)."""

from __future__ import annotations

import re

import numpy as np

from ..errors import StlError
from ..rings import ring
from ..targets import matmul
from .judge import MAX_RANK, Raw
from .scalars import numbers
from .source import Source, says_mod_2

__all__ = ["looks_like_bini", "read_bini"]

_HEAD = re.compile(
    r"^[ \t]*Bini\s+([0-9]{1,2})\s+([0-9]{1,2})\s+([0-9]{1,2})\s+([0-9]{1,6})\s*$", re.MULTILINE | re.ASCII
)


def looks_like_bini(source: Source) -> bool:
    return "Bini" in source.text[: 1 << 16] and _HEAD.search(source.text) is not None


def read_bini(source: Source) -> list[Raw]:
    """The table's scheme; modulo 2 if the file says so and it does not hold over Z."""
    source.limit_text(4)
    head = _HEAD.search(source.text)
    assert head is not None
    n, m, p, r = map(int, head.groups())
    try:
        goal = matmul(n, m, p)
    except StlError as error:
        source.refuse(error.argument, error.value, error.allowed)
    order = (goal.shape[2], goal.shape[0], goal.shape[1])
    if not 0 < r <= MAX_RANK:
        source.refuse("rank", r, f"1 to {MAX_RANK}")
    source.spend(r * sum(order))
    columns: list[list[str]] = [[], [], []]
    rows = 0
    for line in source.text[head.end() :].splitlines():
        parts = line.partition("#")[0].split(";")
        if len(parts) != 4 or not parts[0].strip().isdecimal():
            if any(ch.isdigit() for ch in line.partition("#")[0]):
                source.refuse("row", line.strip()[:60], "'l ; entries of C ; entries of A ; entries of B'")
            continue
        rows += 1
        for column, part, size in zip(columns, parts[1:], order, strict=True):
            cells = part.split()
            if len(cells) != size or rows > r:
                source.refuse(f"product {rows}", f"{len(cells)} entries", f"{r} products of {order} entries")
            column += cells
    if rows != r:
        source.refuse("content", f"{rows} products", f"{r} as the header says")
    w, u, v = (numbers(source, column) for column in columns)
    parts_ = [(np.ascontiguousarray(num.reshape(r, -1).T), den) for num, den in (u, v, w)]
    also = ring("GF(2)") if says_mod_2(source) else None
    return [Raw(source.name, parts_, "Bini table", also=also, target=goal, transposed=False)]
