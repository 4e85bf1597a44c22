"""Nested lists of numbers, whatever the language: Mathematica, Maple, Python and NumPy, MATLAB.

==================  ==========================================================================================
Mathematica ``.m``  ``{{A₁, B₁, C₁}, {A₂, B₂, C₂}, …}``, matrices ``{{1, 0}, {0, 1}}`` (Kauers–Moosbauer, Perminov)
Maple ``.mpl``      ``Tensor:=TriadSet([Triad([Matrix(2, 2, [[1,0],[0,1]]), …]), …])`` (Sedoglavic's catalogue), lists
Python, notebooks   ``decomposition_444 = (np.array([[0.5+0.5j, …]]), …)``, one scheme an assignment (AlphaEvolve)
MATLAB              ``A = [1 0; 0 1]; B = …; C = …;``, entries × r or r × entries
==================  ==========================================================================================

Everything is brought to JSON text – brackets, numbers, and complex numbers and fractions as strings – and parsed as
such; no code is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from ..errors import StlError
from ..rings import fit, ring
from ..targets import matmul
from .judge import MAX_RANK, Raw
from .scalars import Numbers, numbers
from .source import Source, says_mod_2

__all__ = ["looks_nested", "notebook_cells", "read_matlab", "read_nested"]

_COMPLEX = re.compile(
    r"(?<![\w.])([+-]?[0-9.]+(?:e[+-]?[0-9]+)?)\s*([+-]\s*[0-9.]+(?:e[+-]?[0-9]+)?)\s*\*?[jI](?![\w])"
)
_IMAGINARY = re.compile(r"(?<![\w.\"])([+-]?[0-9.]+)\*?[jI](?![\w])")
#: A cell of a Maple matrix that may be arithmetic, as in 1*(0-1)+2/3.
_CELL = re.compile(r"(?<=[\[,])[-+*/()0-9\s]{2,400}(?=[\],])")
_PLAIN = re.compile(r"\s*-?[0-9]+\s*(?:/\s*[0-9]+\s*)?")
_FRACTION = re.compile(r"(?<![\w.])(-?[0-9]+)\s*/\s*([0-9]+)")
_NUMBER = re.compile(r"(?<![\w.\",])?(-?)\s*(\d*)\.(\d*)")
_MATRIX = re.compile(r"Matrix\(\s*[0-9]+\s*,\s*[0-9]+\s*,")
_MATLAB = re.compile(r"([A-Za-z]\w*)\s*=\s*\[([^\[\]=]*)\]")
_ASSIGN = re.compile(r"(?:^|[\n:;])[ \t]*([A-Za-z_]\w*)\s*:?=\s*(?=[\[{]|\(?\s*(?:np\.|numpy\.)?array\(|Triad|\(\s*\[)")


#: Fractions and complex numbers, and lists, of a text larger than a megabyte.
MAX_STRINGS, MAX_LISTS, MAX_ASSIGNMENTS = 1 << 18, 1 << 19, 256


def looks_nested(source: Source) -> bool:
    """Opens with nested brackets, or assigns them."""
    text = source.text[: 1 << 16]
    return re.match(r"\s*(?:\(\*.*?\*\)\s*)*\{\s*\{", text, re.DOTALL) is not None or _ASSIGN.search(text) is not None


def notebook_cells(source: Source) -> str | None:
    """The code of a Jupyter notebook as one text, None for other JSON."""
    if '"cells"' not in source.text:
        return None
    try:
        cells = json.loads(source.text)["cells"]
        return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def read_nested(source: Source, text: str | None = None) -> list[Raw]:
    """Every scheme among the nested lists of a file."""
    text = source.text if text is None else text
    if text.count("/") + text.count("j") > MAX_STRINGS or text.count("[") + text.count("{") > MAX_LISTS:
        source.limit_text(1)
    text = re.sub(r"\(\*.*?\*\)", "", text, flags=re.DOTALL) if "(*" in text else text
    raws = []
    failure = ""
    for name, body in _values(text):
        try:
            value = json.loads(_as_json(body))
        except (ValueError, RecursionError) as error:
            failure = failure or f"{name}: {error}" if not isinstance(error, RecursionError) else "nesting too deep"
            continue
        shaped = _scheme(source, name or source.name, value)
        if shaped is not None:
            raws.append(shaped)
    if not raws:
        source.refuse("content", failure[:80] or "no list of three factors", "nested lists of the matrices of a scheme")
    return raws


def _values(text: str) -> Iterator[tuple[str, str]]:
    """(name, bracketed text) of every assignment of a list, or of the one list of the file."""
    starts = [(m[1], m.end()) for m in islice(_ASSIGN.finditer(text), MAX_ASSIGNMENTS)]
    if not starts:
        starts = [("", re.search(r"[\[{(]", text).start())] if re.search(r"[\[{(]", text) else []  # type: ignore[union-attr]
    ends = [s for _, s in starts[1:]] + [len(text)]
    for (name, start), end in zip(starts, ends, strict=True):
        body = text[start:end]
        depth, last = 0, 0
        for m in re.finditer(r"[\[{(]|[\]})]", body):
            depth += 1 if m[0] in "[{(" else -1
            if depth == 0:
                last = m.end()
                break
        if last:
            yield name, body[:last]


def _as_json(body: str) -> str:
    body = re.sub(r"#.*", "", body) if "#" in body else body
    body = body.translate({ord("{"): "[", ord("}"): "]"})
    if "Matrix" in body:
        body = _MATRIX.sub("", body)
    if re.search(r"[\d.]\s*\*?[jI]\b", body):
        body = _COMPLEX.sub(lambda m: f'"{m[1]},{m[2].replace(" ", "")}"', body)
        body = _IMAGINARY.sub(lambda m: f'"0,{m[1]}"', body)
    if "Triad" in body:
        body = _CELL.sub(lambda m: m[0] if _PLAIN.fullmatch(m[0]) else _arithmetic(m[0]), body)
    if "/" in body:
        body = _FRACTION.sub(r'"\1/\2"', body)
    if "Triad" in body or "Matrix" in body:  # Maple: every bracket is a call's
        body = re.sub(r"\b(?:TriadSet|Triad|Matrix|List)\b|[()]", "", body)
    elif re.search(r"[A-Za-z(]", body):
        body, calls = re.subn(r"\b(?:np\.|numpy\.)?(?:as)?array\(\s*(?=\[)", "", body)
        if calls:
            body = re.sub(r"\]\s*(?:,\s*(?:dtype|order)\s*=\s*[\w.']+\s*)*\)(?=\s*(?:[,\])]|$))", "]", body)
        body = body.translate({ord("("): "[", ord(")"): "]"})
    if "." in body:
        body = re.sub(r"(?<![\w\"])(-?)\.(\d)", r"\g<1>0.\2", body)
        body = re.sub(r"(\d)\.(?![\d])", r"\1.0", body)
    body = re.sub(r"\+(?=\d)", "", body) if re.search(r"[\[,]\s*\+\d", body) else body
    return re.sub(r",\s*(?=\])", "", body)


def _arithmetic(text: str) -> str:
    """The value of sums, products and small powers of integers, by recursive descent; other text stays as it is."""
    tokens = re.findall(r"[0-9]{1,18}|\*\*|[-+*/()]", text)
    if "".join(tokens) != re.sub(r"\s", "", text) or tokens.count("(") > 32 or tokens.count("-") > 64:
        return text
    tokens.append("")
    tokens.reverse()

    def total() -> Fraction:
        value = product()
        while tokens[-1] in ("+", "-"):
            value += product() if tokens.pop() == "+" else -product()
        return value

    def product() -> Fraction:
        value = power()
        while tokens[-1] in ("*", "/"):
            value = value * power() if tokens.pop() == "*" else value / power()
        return value

    def power() -> Fraction:
        if tokens[-1] in ("-", "+"):
            return power() if tokens.pop() == "+" else -power()
        value = atom()
        if tokens[-1] != "**":
            return value
        tokens.pop()
        exponent = tokens.pop()
        if len(exponent) != 1 or not exponent.isdecimal() or max(abs(value.numerator), value.denominator) >> 64:
            raise ValueError(text)
        return Fraction(value ** int(exponent))

    def atom() -> Fraction:
        token = tokens.pop()
        if token != "(":
            return Fraction(token)
        value = total()
        if tokens.pop() != ")":
            raise ValueError(text)
        return value

    try:
        value = total()
    except (ValueError, ZeroDivisionError, IndexError):
        return text
    return str(value) if tokens == [""] and value.numerator.bit_length() < 256 else text


def _strip(value: Any) -> Any:
    """Lists of one list are what call brackets left behind."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value


def _depth(value: Any) -> int:
    d = 0
    while isinstance(value, list) and value:
        value, d = value[0], d + 1
    return d


def _scheme(source: Source, name: str, value: Any) -> Raw | None:
    """A list of triples of matrices, three lists of matrices, or three matrices; None for other data."""
    value = _strip(value)
    if not isinstance(value, list) or len(value) < 1:
        return None
    if len(value) == 3 and all(_depth(_strip(v)) == 2 for v in value):
        return _three_matrices(source, name, [_strip(v) for v in value], "nested lists")
    terms = [_strip(v) if _depth(v) > 3 else v for v in value]
    if len(value) == 3 and all(_depth(v) == 3 for v in value) and not all(len(v) == 3 for v in value):
        terms = [list(t) for t in zip(*value, strict=False)]  # three lists of matrices
    if all(isinstance(t, list) and len(t) == 3 for t in terms) and _depth(terms) in (3, 4):
        return _terms(source, name, [[_strip(v) if _depth(v) > 2 else v for v in t] for t in terms])
    return None


def _terms(source: Source, name: str, terms: list[list[Any]]) -> Raw:
    """r triples of matrices (or of vectors)."""
    shapes = [_shape(source, name, v) for v in terms[0]]
    if len(terms) > MAX_RANK:
        source.refuse(name, f"{len(terms)} terms", f"at most {MAX_RANK}")
    flats: list[list[Any]] = [[], [], []]
    source.spend(len(terms) * sum(rows * columns for rows, columns in shapes))
    for l, term in enumerate(terms):
        for axis, (value, shape) in enumerate(zip(term, shapes, strict=True)):
            if _shape(source, name, value) != shape:
                source.refuse(f"{name}, term {l + 1}", _shape(source, name, value), f"matrices of shape {shape}")
            flats[axis] += [v for row in value for v in row] if shape[0] and isinstance(value[0], list) else value
    parts, over = _numbers(source, flats)
    parts = [(np.swapaxes(num.reshape(len(terms), -1, *num.shape[1:]), 0, 1), den) for num, den in parts]
    goal = None
    (n, m), (m2, p), _ = shapes
    if m == m2 and shapes[2] in ((n, p), (p, n)) and isinstance(terms[0][0][0], list):
        goal = _matmul(source, n, m, p)
    transposed = None if shapes[2] == (n, p) == (p, n) else shapes[2] != (n, p)
    also = ring("GF(2)") if says_mod_2(source) else None
    return Raw(name, parts, "nested lists", ring=over, also=also, target=goal, transposed=transposed)


def _matmul(source: Source, n: int, m: int, p: int) -> Any:
    try:
        return matmul(n, m, p)
    except StlError as error:
        source.refuse(error.argument, error.value, error.allowed)


def _shape(source: Source, name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or not value:
        source.refuse(name, "an empty list or a number", "matrices")
    if not isinstance(value[0], list):
        return 1, len(value)
    if any(not isinstance(row, list) or len(row) != len(value[0]) for row in value):
        source.refuse(name, "rows of different lengths", "rectangular matrices")
    return len(value), len(value[0])


def _three_matrices(source: Source, name: str, value: list[Any], layout: str) -> Raw:
    shapes = [_shape(source, name, v) for v in value]
    source.spend(sum(rows * columns for rows, columns in shapes))
    parts, over = _numbers(source, [[v for row in a for v in row] for a in value])
    shaped = [(num.reshape(*shape, *num.shape[1:]), den) for (num, den), shape in zip(parts, shapes, strict=True)]
    turned = [(np.swapaxes(num, 0, 1), den) for num, den in shaped]
    ours = [turned[0], turned[1], shaped[2]]  # E_X and E_W r × entries, D entries × r
    also = ring("GF(2)") if says_mod_2(source) else None
    return Raw(name, shaped, layout, ring=over, also=also, alternatives=[turned, ours])


def _numbers(source: Source, flats: list[list[Any]]) -> tuple[list[Numbers], Any]:
    """Numbers, or Gaussian ones where some are complex (written "re,im")."""
    if not any(isinstance(v, str) and "," in v for flat in flats for v in flat):
        return [numbers(source, flat) for flat in flats], None
    out = []
    for flat in flats:
        pairs = [v.split(",", 1) if isinstance(v, str) and "," in v else (v, 0) for v in flat]
        num, den = numbers(source, [v for pair in pairs for v in pair])
        out.append((fit(num.reshape(-1, 2)), den))
    return out, ring("Q(i)")


# ------------------------------------------------------------------ MATLAB
def read_matlab(source: Source) -> list[Raw]:
    """``A = [1 0; 0 1];`` three times, in this order A, B, C."""
    text = re.sub(r"%.*", "", source.text).replace("...\n", " ")
    matrices = []
    for m in _MATLAB.finditer(text):
        rows = [row.replace(",", " ").split() for row in re.split(r"[;\n]", m[2]) if row.strip()]
        if rows:
            matrices.append((m[1], rows))
        if len(matrices) > 3:
            source.refuse("content", "more than three matrices", "the three factors of a scheme")
    if len(matrices) != 3:
        source.refuse("content", f"{len(matrices)} matrices", "three, the factors of a scheme")
    for name, rows in matrices:
        if len({len(r) for r in rows}) != 1:
            source.refuse(name, "rows of different lengths", "a rectangular matrix")
    source.spend(sum(len(rows) * len(rows[0]) for _, rows in matrices))
    return [_three_matrices(source, source.name, [rows for _, rows in matrices], "MATLAB")]
