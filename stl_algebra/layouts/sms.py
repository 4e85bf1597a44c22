"""SMS matrices: ``rows columns kind``, lines ``i j value``, ``0 0 0`` (LinBox, PLinOpt); three files make a scheme.

``NAME_L.sms`` (r × a), ``NAME_R.sms`` (r × b) and ``NAME_P.sms`` (c × r); any target, found from the shapes. A comment
``# 1013 is a placeholder for sqrt(3)`` makes the number 1013 (or the letter X, as in ``1/2X``) the square root.
``NAME-ALT`` in alternative bases is read together with its changes of basis ``NAME-CoB``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..encoder import Encoder
from ..errors import StlError
from ..rings import Array, fit, ring
from .judge import MAX_RANK, Raw
from .scalars import Numbers, numbers
from .source import CURE, Source, directives

__all__ = ["looks_like_sms", "read_sms", "write_sms"]

_HEAD = re.compile(r"\s*(?:#[^\n]*\n\s*)*[0-9]{1,9}[ \t]+[0-9]{1,9}[ \t]+[A-Za-z]+[ \t]*\r?(?:\n|$)", re.ASCII)
_PLACEHOLDER = re.compile(
    r"#\s*(\w{1,9}) is a place(?:r)?holder for (?:sqrt\((-?[0-9]{1,18})\)|(?:a |the )?square root of (-?[0-9]{1,18}))",
    re.ASCII,
)
_INDEX = re.compile(r"[0-9]{1,6}", re.ASCII)
_NAME = re.compile(r"(.*)_[LRP]\.sms", re.DOTALL)


def looks_like_sms(source: Source) -> bool:
    return _HEAD.match(source.text) is not None


def read_sms(source: Source) -> list[Raw]:
    """The scheme this file is a third of."""
    path = Path(source.path)
    if not (stem := _NAME.fullmatch(path.name)):
        source.refuse("name", path.name, "one of three files NAME_L.sms, NAME_R.sms, NAME_P.sms")
    triple, root = _triple(source, path, stem[1])
    note = ""
    for mine, other in (("-ALT", "-CoB"), ("-CoB", "-ALT")):
        if stem[1].endswith(mine):
            partner = stem[1].removesuffix(mine) + other
            if not all(path.with_name(f"{partner}_{s}.sms").exists() for s in "LRP"):
                source.refuse("name", path.name, f"{partner}_L.sms, _R.sms and _P.sms beside it",
                              "Bases and bilinear part make one scheme.")  # fmt: skip
            second, other_root = _triple(source, path, partner)
            root = _agree(source, root, other_root)
            bases, inner = (second, triple) if mine == "-ALT" else (triple, second)
            triple = [_product(source, inner[0], bases[0], root), _product(source, inner[1], bases[1], root),
                      _product(source, bases[2], inner[2], root)]  # fmt: skip
            note = f"alternative bases {partner if mine == '-ALT' else stem[1]} multiplied in"
    if root == 0:
        triple = [(num[..., 0], den) for num, den in triple]
    parts = [(np.swapaxes(num, 0, 1), den) for num, den in triple[:2]] + [triple[2]]
    if len({num.shape[1] for num, _ in parts}) > 1:
        source.refuse("shape", [num.shape[:2] for num, _ in triple], "L (r × a), R (r × b) and P (c × r)")
    claimed, goal = directives(source)
    base = ring(f"Q(sqrt({root}))") if root else claimed
    if base is not None and base.degree > 1 and not root:
        source.refuse("ring", base.name, "a placeholder for the square root, or a ring of degree 1")
    return [Raw(stem[1], parts, "sms", ring=base, target=goal, transposed=False, note=note)]


def _triple(source: Source, path: Path, stem: str) -> tuple[list[Numbers], int]:
    out, root = [], 0
    for side in "LRP":
        other = path.with_name(f"{stem}_{side}.sms")
        part = source if other == path else source.beside(other)
        part.limit_text(0.7)
        num, den, d = _matrix(part)
        source.numbers = max(source.numbers, part.numbers)
        root = _agree(part, root, d)
        out.append((num, den))
    return out, root


def _agree(source: Source, root: int, other: int) -> int:
    if root and other and root != other:
        source.refuse("placeholder", f"sqrt({other})", f"sqrt({root}) as in the other files")
    return root or other


def _product(source: Source, left: Numbers, right: Numbers, root: int) -> Numbers:
    (a, da), (b, db) = left, right
    if a.shape[1] != b.shape[0]:
        source.refuse("shape", (a.shape[:2], b.shape[:2]), "a bilinear part that fits its bases")
    if a.shape[0] * a.shape[1] * b.shape[1] > 1 << 24:
        source.refuse("shape", (a.shape[:2], b.shape[:2]), "at most 2^24 products", CURE)
    p, q, r, s = (v.astype(object) for v in (a[..., 0], a[..., 1], b[..., 0], b[..., 1]))
    return fit(np.stack([p @ r + root * (q @ s), p @ s + q @ r], axis=-1)), da * db


def _matrix(source: Source) -> tuple[Array, int, int]:
    """(rows, columns, 2) numerators on 1 and √d, their denominator, and d (0: rational)."""
    mark = _PLACEHOLDER.search(source.text)
    symbol, root = (mark[1], int(mark[2] or mark[3])) if mark else ("", 0)
    lines = [v.split() for v in source.text.splitlines() if v.strip() and not v.lstrip().startswith("#")]
    if not lines or not 2 <= len(lines[0]) <= 3 or not all(_INDEX.fullmatch(v) for v in lines[0][:2]):
        source.refuse("header", " ".join(lines[0][:4]) if lines else "", "'rows columns kind'")
    rows, columns = int(lines[0][0]), int(lines[0][1])
    if not (1 <= rows <= MAX_RANK and 1 <= columns <= MAX_RANK):
        source.refuse("header", (rows, columns), f"dimensions from 1 to {MAX_RANK}")
    source.spend(2 * rows * columns)
    places, values = [], []
    for cells in lines[1:]:
        if cells[:2] == ["0", "0"]:
            break
        if len(cells) != 3 or not (_INDEX.fullmatch(cells[0]) and _INDEX.fullmatch(cells[1])):
            source.refuse("triple", " ".join(cells[:4]), "'row column value'")
        i, j = int(cells[0]) - 1, int(cells[1]) - 1
        if not (0 <= i < rows and 0 <= j < columns):
            source.refuse("triple", " ".join(cells), f"indices in {rows}×{columns}")
        places.append((i, j))
        values.append(cells[2])
    plain, surd = _split(values, symbol)
    num, den = numbers(source, plain, "value")
    out = np.zeros((rows, columns, 2), dtype=num.dtype if num.dtype == object else np.int64)
    at = np.array(places, dtype=np.int64).reshape(-1, 2)
    second = np.array(surd, dtype=bool)
    if symbol.isdecimal() and len(num):  # the placeholder is a number: what it divides is a multiple of the root
        unit = int(symbol)
        second = (num % unit == 0) & (num != 0)
        num = np.where(second, num // unit, num)
    if len(at):
        np.add.at(out, (at[:, 0], at[:, 1], second.astype(np.int64)), num)
    return fit(out), den, root


def _split(values: list[str], symbol: str) -> tuple[list[str], list[bool]]:
    """Values without the letter that stands for the root, and whether they had it."""
    if not symbol or symbol.isdecimal():
        return values, [False] * len(values)
    plain = []
    for v in values:
        bare = v.replace(f"*{symbol}", symbol).replace(f"{symbol}*", symbol)
        rest = bare.replace(symbol, "", 1) if bare.count(symbol) == 1 else bare
        plain.append(rest if rest not in ("", "+", "-") else rest + "1")
        if rest.startswith("/") or rest.startswith("-/"):  # X/2
            plain[-1] = rest.replace("/", "1/", 1)
    return plain, [symbol in v for v in values]


def write_sms(encoder: Encoder, path: Path) -> list[Path]:
    """Write ``NAME_L.sms``, ``NAME_R.sms`` and ``NAME_P.sms`` for a path NAME.sms or NAME_L.sms.

    Raises
    ------
    StlError
        For rings other than Z, Z[1/2], Q, GF(p) (with its name in a comment) and Q(√d).
    """
    base = encoder.ring
    quadratic = base.degree == 2 and base.characteristic == 0 and base.polynomial[1] == 0 and not base.is_border
    if not base.exact or (base.degree > 1 and not quadratic):
        raise StlError("ring", base.name, "Z, Z[1/2], Q, GF(p) or Q(sqrt(d))")
    stem = re.sub(r"(_[LRP])?\.sms$", "", path.name)
    out = []
    for side, f in zip("LRP", encoder.factors, strict=True):
        lines = [f"# ring: {base.name}, target: {encoder.target.name}"]
        if quadratic:
            lines.append(f"# X is a placeholder for sqrt({-base.polynomial[0]})")
        lines.append(f"{f.num.shape[0]} {f.num.shape[1]} R")
        cells = f.num if f.num.ndim == 3 else f.num[..., None]
        for i, j in np.argwhere((cells != 0).any(axis=2)):
            for e in np.flatnonzero(cells[i, j]):
                num, den = int(cells[i, j, e]), f.den
                lines.append(f"{i + 1} {j + 1} {num}{f'/{den}' if den > 1 else ''}{'X' if e else ''}")
        file = path.with_name(f"{stem}_{side}.sms")
        file.write_text("\n".join([*lines, "0 0 0"]) + "\n", encoding="utf-8")
        out.append(file)
    return out
