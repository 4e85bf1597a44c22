"""Reading and writing other people's layouts of bilinear algorithms. Nothing read is ever evaluated or unpickled.

==================  ==========================================================================================
layout              convention
==================  ==========================================================================================
``.safetensors``    ours (`stl_algebra.files`)
``.json`` "rows"    n, m, p, rank, ring; u (nm × r), v (mp × r), w (np × r) as rows of entries
``.json`` "terms"   n = [n, m, p], m = rank, z2; u (r × nm), v, w as rows of terms, W on vec(Cᵀ)
                    (the FastMatrixMultiplication catalogue)
``.npz``            one array (3, nn, r) per square format or "n,m,p/u|v|w" (AlphaTensor's, W on vec(Cᵀ)); no pickles
text                three blocks of rows of entries separated by ``#`` lines (the classic coefficient files);
                    ``x`` and ``xi`` are ε and 1/ε
formulas            lines ``m1 = (a11 + a22) * (b11 + b22)`` and ``c11 = m1 + m4 - m5 + m7``
``_L.sms``          SMS triples in three files _L, _R (r × entries) and _P (entries × r)
==================  ==========================================================================================

Whether the third factor belongs to C or Cᵀ is not trusted but detected: both readings are verified.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, EncoderFileError, Report, Ring, StlError, load, ring, verify
from stl_algebra.targets import matmul

from .npz import MAX_BYTES, read_arrays

__all__ = ["Raw", "Reading", "interpret", "read", "write_json", "write_npz"]

MAX_DIMENSION = 64
MAX_RANK = 1 << 16
MAX_DIGITS = 2000
#: Numbers of one factor, each of which becomes a Python object.
MAX_NUMBERS = 1 << 23
_NUMBER = re.compile(rf"([+-]?[0-9]{{1,{MAX_DIGITS}}})(?:/([0-9]{{1,{MAX_DIGITS}}}))?")
_INDEX = re.compile(r"[0-9]{1,5}")


@dataclass
class Raw:
    """Three factors as found: entries first, (entries, r) or (entries, r, k), with what the file claims."""

    name: str
    factors: Sequence[NDArray[Any]]  # u, v, w
    ring: Ring
    format: tuple[int, int, int] | None = None
    layout: str = ""
    transposed: bool | None = None  # what the layout's convention says of C


@dataclass
class Reading:
    """One scheme, read and judged.

    Attributes
    ----------
    encoder : Encoder
        In the project's convention.
    report : Report
    transposed : bool
        True if the file's third factor is on vec(Cᵀ).
    note : str
        Diagnosis worth telling: unusual transposition, valid modulo 2 only, border of order h …
    """

    path: str
    name: str
    layout: str
    encoder: Encoder
    report: Report
    transposed: bool
    note: str = ""
    rings: list[str] = field(default_factory=list)


def read(path: str | os.PathLike[str]) -> list[Reading]:
    """Read every scheme in a file, whatever its layout, and verify it.

    Raises
    ------
    EncoderFileError
        For files of no known layout, malformed, hostile or too big.
    """
    try:
        return _read(Path(path), path)
    except EncoderFileError:
        raise
    except StlError as error:  # what a later step refuses, e.g. a ring too large for its proof
        raise EncoderFileError(path, error.argument, error.value, error.allowed, error.cure) from None


def _read(file: Path, path: str | os.PathLike[str]) -> list[Reading]:
    if file.suffix == ".safetensors":
        encoder = load(file)
        report = verify(encoder)
        note = ""
        if encoder.ring.exact and not report.holds:
            note = "declared approximate"
        return [Reading(str(path), file.name, "stl", encoder, report, False, note)]
    if file.suffix == ".npz":
        _check_file(file)
        raws = _read_npz(file)
    else:
        text = _text(file)
        reader: Callable[[Path, str], Raw] = _read_text
        if file.suffix == ".sms":
            reader = _read_sms
        elif text.lstrip()[:1] in ("{", "["):
            reader = _read_json
        raws = [reader(file, text)]
    return [interpret(str(path), raw) for raw in raws]


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise EncoderFileError(path, "file", "not a regular file", "a file with a bilinear algorithm")
    except (OSError, ValueError) as error:
        if isinstance(error, StlError):
            raise
        raise EncoderFileError(
            path, "file", getattr(error, "strerror", None) or str(error), "a readable file"
        ) from None
    if size > MAX_BYTES:
        raise EncoderFileError(path, "size", f"{size} bytes", f"at most {MAX_BYTES} bytes")


def _text(path: Path) -> str:
    _check_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        raise EncoderFileError(
            path, "content", "bytes that are no UTF-8 text", "JSON, npz, SMS or coefficient text"
        ) from None


def interpret(path: str, raw: Raw) -> Reading:
    """Decide between C and Cᵀ by verifying, and describe what holds."""
    sizes = [len(f) for f in raw.factors]
    fmt = raw.format or _format_of(path, sizes)
    n, m, p = fmt
    if sizes != [n * m, m * p, n * p]:
        raise EncoderFileError(path, "shape", sizes, f"{[n * m, m * p, n * p]} rows for format {fmt}")
    tries = []
    for transposed in (False, True):
        u, v, w = raw.factors
        if transposed:
            w = np.swapaxes(w.reshape(p, n, *w.shape[1:]), 0, 1).reshape(w.shape)
        try:
            encoder = Encoder.build(
                matmul(n, m, p), np.swapaxes(u, 0, 1), np.swapaxes(v, 0, 1), w, ring=raw.ring,
                origin={"family": "imported", "name": raw.name},
            )  # fmt: skip
        except StlError as error:
            raise EncoderFileError(path, error.argument, error.value, error.allowed) from None
        tries.append((encoder, verify(encoder), transposed))
        if tries[-1][1].holds:
            break
    encoder, report, transposed = min(tries, key=lambda t: t[1].failing)
    note = _diagnosis(raw, tries)
    if raw.transposed is not None and report.holds and transposed != raw.transposed and min(n, p) > 1:
        note = f"third factor is on vec({'Cᵀ' if transposed else 'C'}), unlike the {raw.layout} layout"
    return Reading(path, raw.name, raw.layout, encoder, report, transposed, note)


def _diagnosis(raw: Raw, tries: list[tuple[Encoder, Report, bool]]) -> str:
    """Why a scheme fails, if it is one of the usual reasons."""
    from stl_algebra.identities import rings_where_valid

    if raw.ring.name.startswith("Q[eps]") and any(r.holds for _, r, _ in tries):
        return f"border of order {raw.ring.degree - 1}"
    if any(r.holds for _, r, _ in tries) or raw.ring.characteristic or raw.ring.degree > 1:
        return ""
    for encoder, _, transposed in tries:
        try:
            names = rings_where_valid(encoder)
        except StlError:  # coefficients too large for the gcd of the residual: no diagnosis
            return ""
        if names:
            turn = " with Cᵀ" if transposed else ""
            primes = ", ".join(v[3:-1] for v in names if v.startswith("GF("))
            return f"valid modulo {primes} only{turn}" if primes else f"valid in {names[-1]} only{turn}"
    return ""


def _format_of(path: str, sizes: list[int]) -> tuple[int, int, int]:
    """n, m, p from nm, mp, np."""
    a, b, c = sizes
    n = isqrt(a * c // b) if b and (a * c) % b == 0 else 0
    if n == 0 or n * n * b != a * c or a % n or c % n:
        raise EncoderFileError(path, "shape", sizes, "nm, mp and np rows of a matrix format")
    return n, a // n, c // n


# ------------------------------------------------------------------------ JSON
def _read_json(path: Path, text: str) -> Raw:
    def number(value: str) -> int:
        if len(value) > MAX_DIGITS:
            raise EncoderFileError(path, "coefficient", f"{len(value)} digits", f"at most {MAX_DIGITS} digits")
        return int(value)

    def refuse(value: str) -> None:
        raise EncoderFileError(path, "coefficient", value, "finite exact numbers")

    try:
        data = json.loads(text, parse_int=number, parse_constant=refuse, parse_float=refuse)
    except RecursionError:
        raise EncoderFileError(path, "JSON", "nesting too deep", "an object with u, v and w") from None
    except ValueError as error:
        if isinstance(error, StlError):
            raise
        raise EncoderFileError(path, "JSON", str(error), "well-formed JSON") from None
    if not isinstance(data, dict) or not {"u", "v", "w"} <= set(data):
        raise EncoderFileError(path, "JSON", type(data).__name__, "an object with u, v and w")
    by_terms = isinstance(data.get("n"), list)
    dims = data["n"] if by_terms else [data.get(k) for k in "nmp"]
    rank = data.get("m") if by_terms else data.get("rank")
    if len(dims) != 3 or not all(type(v) is int and 1 <= v <= MAX_DIMENSION for v in dims):
        raise EncoderFileError(path, "n, m, p", dims, f"three integers from 1 to {MAX_DIMENSION}")
    if type(rank) is not int or not 0 <= rank <= MAX_RANK:
        raise EncoderFileError(path, "rank", rank, f"an integer from 0 to {MAX_RANK}")
    n, m, p = (int(v) for v in dims if v is not None)
    name = data.get("ring") or ("GF(2)" if data.get("z2") is True else "Q")
    try:
        base = ring(name)
    except StlError as error:
        raise EncoderFileError(path, "ring", name, error.allowed) from None
    factors = []
    for key, entries in (("u", n * m), ("v", m * p), ("w", n * p)):
        shape = (rank, entries) if by_terms else (entries, rank)
        a = _matrix(path, key, data[key], shape, base)
        factors.append(np.swapaxes(a, 0, 1) if by_terms else a)
    if name == "Q" and all(type(v) is int or Fraction(v).denominator == 1 for f in factors for v in f.ravel()):
        base = ring("Z")
    layout = "terms" if by_terms else "rows"
    return Raw(str(data.get("source", path.name))[:200], factors, base, (n, m, p), layout, by_terms)


def _matrix(path: Path, key: str, rows: Any, shape: tuple[int, int], base: Ring) -> NDArray[Any]:
    k = base.degree
    if not isinstance(rows, list) or len(rows) != shape[0]:
        raise EncoderFileError(
            path, key, f"{len(rows) if isinstance(rows, list) else type(rows).__name__} rows", f"{shape[0]} rows"
        )
    for i, row in enumerate(rows):  # before any memory is reserved for the claimed shape
        if not isinstance(row, list) or len(row) != shape[1]:
            found = len(row) if isinstance(row, list) else type(row).__name__
            raise EncoderFileError(path, f"{key}[{i}]", found, f"a list of {shape[1]} entries")
    if shape[0] * shape[1] * k > MAX_NUMBERS:
        raise EncoderFileError(path, key, (*shape, k), f"at most {MAX_NUMBERS} numbers")
    if k == 1 and all(
        isinstance(row, list) and len(row) == shape[1] and all(type(v) is int for v in row) for row in rows
    ):
        return np.array(rows, dtype=object).reshape(shape)  # the common case, a hundred times faster
    out = np.empty((*shape, k) if k > 1 else shape, dtype=object)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if k > 1:
                parts = value if isinstance(value, list) else [value]
                if not 1 <= len(parts) <= k:
                    raise EncoderFileError(path, f"{key}[{i}][{j}]", value, f"{k} coefficients over {base.name}")
                for t in range(k):
                    out[i, j, t] = _exact(path, f"{key}[{i}][{j}]", parts[t]) if t < len(parts) else Fraction(0)
            else:
                out[i, j] = _exact(path, f"{key}[{i}][{j}]", value)
    return out


def _exact(path: object, where: str, value: Any) -> Fraction:
    if type(value) is int:
        return Fraction(value)
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip())):
        bottom = int(match[2] or 1)
        if bottom:
            return Fraction(int(match[1]), bottom)
    raise EncoderFileError(path, where, value, "an integer or a fraction 'p/q'")


# ------------------------------------------------------------------------- npz
def _read_npz(path: Path) -> list[Raw]:
    arrays = read_arrays(path)
    if not arrays:
        raise EncoderFileError(path, "archive", "no members", "keys 'n,m,p' or 'n,m,p/u|v|w'")
    raws = []
    for key in sorted({k.split("/")[0] for k in arrays}):
        match = re.fullmatch(r"([0-9]{1,2}),([0-9]{1,2}),([0-9]{1,2})", key)
        if not match:
            raise EncoderFileError(path, "key", key, "keys 'n,m,p' or 'n,m,p/u|v|w'")
        if key in arrays:
            stack = arrays[key]
            if stack.ndim != 3 or len(stack) != 3:
                raise EncoderFileError(path, key, stack.shape, "an array (3, entries, rank)")
            parts = list(stack)
        else:
            parts = [arrays.get(f"{key}/{s}", np.zeros(0)) for s in "uvw"]
        if any(f.ndim != 2 or f.shape[1] != parts[0].shape[-1] or f.shape[1] > MAX_RANK for f in parts):
            raise EncoderFileError(path, key, [f.shape for f in parts], "three matrices (entries, rank)")
        fmt = (int(match[1]), int(match[2]), int(match[3]))
        raws.append(Raw(key, parts, ring("Z"), fmt, "npz", True))
    return raws


# ------------------------------------------------------------------------ text
def _read_formulas(path: Path, text: str) -> Raw:
    """Products ``m1 = (a11 + a22) * (b11 + b22)`` and outputs ``c11 = m1 + …``, indices of one digit."""
    from stl_algebra.schemes import from_text

    cells = {s: [(int(i), int(j)) for i, j in re.findall(rf"{s}([1-9])([1-9])", text)] for s in "abc"}
    if text.count("(") > 2 * MAX_RANK:
        raise EncoderFileError(path, "content", f"{text.count('(')} brackets", f"at most {MAX_RANK} products")
    if not all(cells.values()):
        raise EncoderFileError(path, "content", "no entries a11, b11, c11", "products and outputs of a scheme")
    n, m, p = max(i for i, _ in cells["a"]), max(j for _, j in cells["a"]), max(j for _, j in cells["b"])
    try:
        encoder = from_text((n, m, p), "\n".join(v for v in text.splitlines() if not v.lstrip().startswith("#")))
    except StlError as error:
        raise EncoderFileError(path, error.argument, error.value, error.allowed) from None
    parts = [encoder.e_x.num.T, encoder.e_w.num.T, encoder.d.num]
    return Raw(path.name, parts, ring("Z"), (n, m, p), "formulas", False)


def _read_text(path: Path, text: str) -> Raw:
    if re.search(r"^\s*c[1-9]{2}\s*=", text, re.MULTILINE):
        return _read_formulas(path, text)
    blocks: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("#"):
            if blocks[-1]:
                blocks.append([])
        elif line:
            if len(line) > 1 << 20:
                raise EncoderFileError(path, "line", f"{len(line)} characters", "rows of coefficients")
            blocks[-1].append(line.replace(",", " ").split())
    blocks = [b for b in blocks if b]
    if len(blocks) != 3:
        raise EncoderFileError(path, "content", f"{len(blocks)} blocks", "three blocks of rows separated by # lines")
    rank = len(blocks[0][0])
    if (
        any(len(row) != rank for b in blocks for row in b)
        or max(map(len, blocks)) > MAX_DIMENSION**2
        or rank > MAX_RANK
    ):
        raise EncoderFileError(
            path, "content", "rows of different lengths", f"rows of {rank} coefficients in each block"
        )
    border = any("x" in cell for b in blocks for row in b for cell in row)
    if not border:
        parts = [np.array([[_exact(path, "coefficient", c) for c in row] for row in b], dtype=object) for b in blocks]
        whole = all(v.denominator == 1 for f in parts for v in f.ravel())
        return Raw(path.name, parts, ring("Z" if whole else "Q"), None, "text", False)
    return _border(path, blocks)


def _border(path: Path, blocks: list[list[list[str]]]) -> Raw:
    """ε-coefficients: each factor times the power of ε that makes it a polynomial; the powers add up to the order."""
    tables = []
    order = 0
    for block in blocks:
        terms = [[_laurent(path, cell) for cell in row] for row in block]
        low = min((e for row in terms for cell in row for e in cell), default=0)
        order -= min(low, 0)
        tables.append((terms, min(low, 0)))
    base = ring(f"Q[eps]/eps^{order + 1}")
    k = order + 1
    parts = []
    for terms, low in tables:
        a = np.full((len(terms), len(terms[0]), k), Fraction(0), dtype=object)
        for i, row in enumerate(terms):
            for j, cell in enumerate(row):
                for e, v in cell.items():
                    if e - low < k:
                        a[i, j, e - low] += v
        parts.append(a if k > 1 else a[..., 0])
    return Raw(path.name, parts, base, None, "text", False)


def _laurent(path: Path, cell: str) -> dict[int, Fraction]:
    match = re.fullmatch(r"([+-]?)(\d{0,9}(?:/\d{1,9})?)\*?(xi|x)?", cell)
    if not match or not (match[2] or match[3]):
        raise EncoderFileError(path, "coefficient", cell, "a number, x or xi")
    value = _exact(path, "coefficient", match[2] or "1") * (-1 if match[1] == "-" else 1)
    return {{"x": 1, "xi": -1}.get(match[3] or "", 0): value} if value else {}


def _read_sms(path: Path, text: str) -> Raw:
    stem = re.fullmatch(r"(.*)_[LRP]\.sms", path.name)
    if not stem:
        raise EncoderFileError(path, "name", path.name, "three files NAME_L.sms, NAME_R.sms, NAME_P.sms")
    parts = []
    root = 0
    for side in "LRP":
        other = path.with_name(f"{stem[1]}_{side}.sms")
        a, d = _sms_matrix(other, text if other == path else _text(other))
        if root and d and root != d:
            raise EncoderFileError(other, "placeholder", f"sqrt({d})", f"sqrt({root}) as in the other files")
        root = root or d
        parts.append(a if side == "P" else np.swapaxes(a, 0, 1))
    base = ring(f"Q(sqrt({root}))") if root else ring("Q")
    if not root:
        parts = [a[..., 0] for a in parts]
        if all(v.denominator == 1 for f in parts for v in f.ravel()):
            base = ring("Z")
    return Raw(stem[1], parts, base, None, "sms", False)


def _sms_matrix(path: Path, text: str) -> tuple[NDArray[Any], int]:
    """(rows, columns, 2) coefficients on 1 and √d; "# N is a placeholder for sqrt(d)" is honoured."""
    mark = re.search(r"#\s*(\d{2,9}) is a placeholder for sqrt\((\d{1,6})\)", text)
    lines = [v.split() for v in text.splitlines() if v.strip() and not v.startswith("#")]
    if not lines or len(lines[0]) < 2 or not all(_INDEX.fullmatch(v) for v in lines[0][:2]):
        raise EncoderFileError(path, "header", lines[:1], "'rows columns kind'")
    rows, columns = int(lines[0][0]), int(lines[0][1])
    if not (1 <= rows <= MAX_RANK and 1 <= columns <= MAX_RANK and 2 * rows * columns <= MAX_NUMBERS):
        raise EncoderFileError(path, "header", (rows, columns), "dimensions of a scheme")
    out = np.full((rows, columns, 2), Fraction(0), dtype=object)
    for cells in lines[1:]:
        if cells[:2] == ["0", "0"]:
            break
        if len(cells) != 3 or not all(_INDEX.fullmatch(v) for v in cells[:2]):
            raise EncoderFileError(path, "triple", " ".join(cells), "'row column value'")
        i, j = int(cells[0]) - 1, int(cells[1]) - 1
        if not (0 <= i < rows and 0 <= j < columns):
            raise EncoderFileError(path, "triple", " ".join(cells), f"indices in {rows}×{columns}")
        value = _exact(path, "value", cells[2])
        if mark and value.numerator % int(mark[1]) == 0:
            out[i, j, 1] += value / int(mark[1])
        else:
            out[i, j, 0] += value
    return out, int(mark[2]) if mark else 0


# --------------------------------------------------------------------- writing
def write_json(encoder: Encoder, path: str | os.PathLike[str]) -> None:
    """Write the "terms" layout (FastMatrixMultiplication): integers or "p/q" strings, W on vec(Cᵀ)."""
    n, m, p = encoder.format
    if encoder.ring.degree > 1 or not encoder.ring.exact:
        raise StlError("ring", encoder.ring.name, "Z, Z[1/2], Q or GF(p)")
    rows = []
    for axis, f in enumerate(encoder.factors):
        a = f.num if axis < 2 else f.num.reshape(n, p, -1).transpose(1, 0, 2).reshape(n * p, -1).T
        rows.append([[_cell(int(v), f.den) for v in row] for row in a])
    data = {
        "n": [n, m, p],
        "m": encoder.rank,
        "z2": encoder.ring.name == "GF(2)",
        **dict(zip("uvw", rows, strict=True)),
    }
    Path(path).write_text(json.dumps(data) + "\n", encoding="utf-8")


def _cell(num: int, den: int) -> int | str:
    value = Fraction(num, den)
    return value.numerator if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def write_npz(encoder: Encoder, path: str | os.PathLike[str]) -> None:
    """Write AlphaTensor's convention, plain integer arrays "n,m,p/u|v|w" with W on vec(Cᵀ)."""
    n, m, p = encoder.format
    if encoder.ring.degree > 1 or not encoder.ring.exact or any(f.den != 1 for f in encoder.factors):
        raise StlError("ring", encoder.ring.name, "integer factors (Z or GF(p))")
    w = encoder.d.num.reshape(n, p, -1).transpose(1, 0, 2).reshape(n * p, -1)
    key = f"{n},{m},{p}"
    parts = {f"{key}/u": encoder.e_x.num.T, f"{key}/v": encoder.e_w.num.T, f"{key}/w": w}
    np.savez_compressed(Path(path), **{k: v.astype(np.int64) for k, v in parts.items()})  # type: ignore[arg-type]
