"""Formulas: products, outputs and shared sums by name, one assignment a line; or trilinear products, one a line.

    m1 = (a11 + a22) * (b11 + b22)          P1 := (a11 + a22) * b11;          (a11+a22)*(b11+b22)*(c11+c22)
    s1 = a11 - 2*a12                        c11 := P1 + P4 - P5 + P7;         2/3*(a21 - a22)*b11*(c12+c21)/2
    c11 = m1 + 1/2 m4 - s2*b11

Names are names: any identifier, defined once, in any order; what is undefined or defined and never used is refused with
its line. The inputs are the names that are used and never defined, ``a12``, ``A_12``, ``A_1_12``, ``A[1,2]`` or, for
other targets, ``a7``; comments (``#``, ``//``, ``(* *)``) are dropped before anything is read. This is what papers,
the Yacas and tensor texts of Kemper, the ``.exp`` files of Kauers, Moosbauer and Wood, and our own ``catalog show``
write. Every line is parsed by descent over tokens into linear forms; nothing is evaluated.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from ..encoder import Encoder
from ..errors import StlError
from ..rings import Ring, fit, ring
from ..targets import Target, matmul, symmetric_square
from .expressions import Form, Reader, names_in
from .judge import MAX_DIMENSION, MAX_RANK, Raw
from .scalars import Numbers
from .source import CURE, Source, directives, says_mod_2, target_by_name

__all__ = ["looks_like_formulas", "read_formulas", "strip_comments", "write_exp", "write_formulas"]

_ASSIGN = re.compile(r"\s*([A-Za-z_α-ω][A-Za-z_0-9]*(?:\[[0-9 ,\]\[]*\])?)\s*(?::=|=|<-|←)\s*(.+)", re.DOTALL)
#: Checks of computer algebra systems, and the lines `catalog show` prints above the formulas.
_COMMAND = re.compile(
    r"\s*(?:(?:simplify|expand|print|echo|return|restart)\b|Encoder⟨|(?:proven|fails|numerical) over |origin: ).*",
    re.IGNORECASE | re.DOTALL,
)
_ENTRY = re.compile(r"([A-Za-z]+)_?\[?([0-9]{1,6})\]?(?:[_,\[ ]+([0-9]{1,3})\]?)?")


def strip_comments(text: str) -> str:
    """Without ``# …``, ``// …`` and ``(* … *)``; line numbers stay."""
    if "(*" in text:
        text = re.sub(r"\(\*.*?\*\)", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
    return re.sub(r"(?:#|//).*", "", text) if "#" in text or "//" in text else text


def looks_like_formulas(source: Source) -> bool:
    """Assignments, or products of names with two letters or more (a border scheme has the letter x alone)."""
    lines = [v[: 1 << 16] for v in strip_comments(source.text[: 1 << 22]).splitlines() if v.strip()][:40]
    if any(_ASSIGN.fullmatch(v) for v in lines):
        return True
    names = {name for name in names_in(lines) if not re.fullmatch(r"x[0-9]*i?|[iIj]", name)}
    return len({name.rstrip("0123456789_[], ") for name in names}) >= 2


def _statements(source: Source) -> list[tuple[int, str]]:
    """(line number, text) of every statement; a formula may go on after a line that ends in an operator."""
    text = strip_comments(source.text)
    if text.count("(") > 8 * source.budget.products:
        source.refuse("content", f"{text.count('(')} brackets", f"at most {source.budget.products} products", CURE)
    out: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if _COMMAND.fullmatch(line):
            continue
        for part in line.split(";"):
            plain = part.strip().rstrip(",:").rstrip()
            if not plain or _COMMAND.fullmatch(plain):
                continue
            goes_on = (
                bool(out)
                and out[-1][0] < number
                and (out[-1][1][-1] in "+-*·(=" or (plain[0] in "+-*·)" and "=" in text))
            )
            if goes_on:
                parts = out[-1]
                out[-1] = (number if "=" not in parts[1] else parts[0], parts[1] + " " + plain)
            else:
                out.append((number, plain))
    return out


def read_formulas(source: Source) -> list[Raw]:
    """Products and outputs by name, or trilinear products."""
    source.limit_text(2)
    base, goal = directives(source)
    goal = goal or target_by_name(source)
    reader = Reader(source, base)
    statements = _statements(source)
    assigned = [(n, m) for n, v in statements if (m := _ASSIGN.fullmatch(v))]
    loose = [(n, v) for n, v in statements if not _ASSIGN.fullmatch(v)]
    if len(assigned) > 2 * source.budget.products:
        source.refuse("content", f"{len(assigned)} formulas", f"at most {2 * source.budget.products}", CURE)
    for number, match in assigned:
        name = match[1].replace(" ", "")
        if name in reader.lines:
            source.refuse(
                f"line {number}", f"{name}, defined before in line {reader.lines[name][0]}", "each name defined once"
            )
        reader.lines[name] = (number, match[2])
    names = names_in(v for _, v in [*reader.lines.values(), *loose])
    inputs = _inputs(source, reader, names)
    if loose and assigned and not all(name in names for name in reader.lines):
        source.refuse(f"line {loose[0][0]}", loose[0][1][:60], "'name = formula' on every line, or on none")
    reader.work_out()
    if loose:
        return [_trilinear(source, reader, loose, inputs, goal)]
    return [_bilinear(source, reader, names, inputs, goal)]


def _inputs(source: Source, reader: Reader, names: set[str]) -> dict[str, tuple[int, ...]]:
    """Input symbols and their indices from 0 or 1, by what is used and never defined."""
    found = {}
    for name in sorted(names - set(reader.lines)):
        if reader.generator(name):
            continue
        match = _ENTRY.fullmatch(name)
        if not match:
            line = next((n for n, text in reader.lines.values() if name in names_in([text])), 1)
            source.refuse(
                f"line {line}", f"{name}, which is not defined", "names that are inputs (a11, b12) or defined"
            )
        found[name] = match
        reader.kinds[name] = match[1]
    letters = sorted({m[1] for m in found.values()})
    if not 1 <= len(letters) <= 3:
        undefined = ", ".join(sorted(found)[:4])
        source.refuse("content", f"undefined names {undefined}" if letters else "no inputs",
                      "entries of two matrices, a11 … and b11 …; every other name defined")  # fmt: skip
    reader.letters = tuple(letters)
    return {name: _index(source, match) for name, match in found.items()}


def _index(source: Source, match: re.Match[str]) -> tuple[int, ...]:
    """(i, j), or (i,) for one index; ``a12`` is (1, 2), ``a_1_12`` and ``a[1,12]`` have two indices of any length."""
    if match[3] is not None:
        return int(match[2]), int(match[3])
    digits = match[2]
    return (int(digits[0]), int(digits[1])) if len(digits) == 2 else (int(digits),)


def _bilinear(source: Source, reader: Reader, names: set[str], inputs: dict[str, tuple[int, ...]], goal: Target | None
              ) -> Raw:  # fmt: skip
    if len(reader.letters) == 3:
        counts = {v: min(n for n, t in reader.lines.values() if v in names_in([t])) for v in inputs}
        odd = min(inputs, key=lambda v: (sum(reader.kinds[u] == reader.kinds[v] for u in inputs), v))
        source.refuse(f"line {counts[odd]}", f"{odd}, which is not defined", "names that are inputs or defined")
    outputs = {v: m for v in reader.lines if v not in names and (m := _ENTRY.fullmatch(v))}
    prefixes = {m[1] for m in outputs.values()}
    third = "c" if "c" in prefixes else "C" if "C" in prefixes else max(prefixes, default="", key=lambda v: max(
        reader.lines[o][0] for o, m in outputs.items() if m[1] == v))  # fmt: skip
    outputs = {v: m for v, m in outputs.items() if m[1] == third}
    for name, (line, _) in reader.lines.items():
        if name not in names and name not in outputs:
            source.refuse(f"line {line}", f"{name}, which is never used", "only products that are used")
        if name in reader.kinds:
            source.refuse(f"line {line}", name, "inputs that are not assigned")
    if not outputs:
        source.refuse("content", "no outputs c11 …", "products and outputs of a scheme")
    rows: dict[tuple[int, ...], Form] = {}
    for name, match in outputs.items():
        reader.at = reader.lines[name][0]
        form = reader.forms[name]
        if reader.letter(form) not in ("*", ""):
            reader.refuse(f"{name}, a sum of entries", "outputs that are sums of products")
        if any(not s for s, _ in form) or ("!", 0) in form:
            reader.refuse(f"{name} with a constant or a trilinear term", "outputs that are sums of products")
        rows[_index(source, match)] = form
    used = sorted({s for form in rows.values() for s, _ in form}, key=lambda s: int(s[1:]))
    dead = {f"*{k}" for k in range(len(reader.products))} - set(used)
    if dead:
        lost = next((v for v, f in reader.forms.items() if any(s in dead for s, _ in f)), "a product")
        line = reader.lines[lost][0] if lost in reader.lines else 0
        source.refuse(f"line {line}", f"{lost}, a product that cancels or feeds nothing", "only products that are used")
    place = {s: l for l, s in enumerate(used)}
    lefts = [reader.products[int(s[1:])][0] for s in used]
    rights = [reader.products[int(s[1:])][1] for s in used]
    outs: list[list[tuple[tuple[int, ...], int, Fraction]]] = [[] for _ in used]
    for index, form in rows.items():
        for (s, e), c in form.items():
            outs[place[s]].append((index, e, c))
    return _assemble(source, reader, lefts, rights, outs, set(rows), inputs, goal, "formulas", False)


def _trilinear(source: Source, reader: Reader, loose: list[tuple[int, str]], inputs: dict[str, tuple[int, ...]],
               goal: Target | None) -> Raw:  # fmt: skip
    if len(reader.letters) != 3:
        source.refuse("content", f"entries of {', '.join(reader.letters)}", "products of entries of a, b and c")
    for name, (line, _) in reader.lines.items():
        if name in reader.kinds:
            source.refuse(f"line {line}", name, "inputs that are not assigned")
    outs = []
    for number, text in loose:
        reader.at = number
        before = len(reader.triples)
        form = reader.parse(text)
        if len(reader.triples) != before + 1 or {s for s, _ in form} != {"!"}:
            reader.refuse(text[:60], "one product of a sum of a's, of b's and of c's on each line")
        (((_, e), c),) = form.items()
        kinds = [reader.letter(f) for f in reader.triples[-1]]
        if sorted(kinds) != list(reader.letters):
            reader.refuse(text[:60], "one sum of a's, one of b's and one of c's on each line")
        u, v, w = (f for _, f in sorted(zip(kinds, reader.triples[-1], strict=True), key=lambda t: t[0]))
        reader.triples[-1] = ({(s, f + e): c * d for (s, f), d in u.items()}, v, w)
    lefts, rights = [t[0] for t in reader.triples], [t[1] for t in reader.triples]
    outs = [[(inputs[s], e, c) for (s, e), c in t[2].items()] for t in reader.triples]
    indices = {i for row in outs for i, _, _ in row}
    rest = {k: v for k, v in inputs.items() if reader.kinds[k] != reader.letters[2]}
    return _assemble(source, reader, lefts, rights, outs, indices, rest, goal, "product triples", None)


def _assemble(
    source: Source, reader: Reader, lefts: list[Form], rights: list[Form],
    outs: list[list[tuple[tuple[int, ...], int, Fraction]]], places: set[tuple[int, ...]],
    inputs: dict[str, tuple[int, ...]], goal: Target | None, layout: str, transposed: bool | None,
) -> Raw:  # fmt: skip
    """Factors from forms; sizes from the largest indices."""
    letters = reader.letters if reader.quadratic else reader.letters[:2]
    found = [{inputs[s] for s in inputs if reader.kinds[s] == letter} for letter in letters]
    if reader.quadratic:
        found = [found[0], found[0]]
    groups = [*found, places]
    widths = {len(i) for group in groups for i in group}
    if widths == {2} and reader.quadratic:
        goal, sizes, orders = _square_sizes(source, groups)
    elif widths == {2} and (goal is None or goal.format):
        goal, sizes, orders = _matrix_sizes(source, groups, goal)
    else:
        sizes, orders = _vector_sizes(source, groups, goal)
    rank = len(lefts)
    if rank > MAX_RANK:
        source.refuse("rank", rank, f"at most {MAX_RANK}")
    base = reader.base
    k = base.degree if base is not None else 1
    source.spend(rank * sum(sizes) * k)
    entries: list[list[tuple[int, int, int, Fraction]]] = [[], [], []]
    for l in range(rank):
        for axis, form in ((0, lefts[l]), (1, rights[l])):
            entries[axis] += [(orders[axis](inputs[s]), l, e, c) for (s, e), c in form.items()]
        entries[2] += [(orders[2](i), l, e, c) for i, e, c in outs[l]]
    parts = [_factor(source, part, (size, rank), base) for part, size in zip(entries, sizes, strict=True)]
    also = ring("GF(2)") if base is None and says_mod_2(source) else None
    return Raw(source.name, parts, layout, ring=base, also=also, target=goal, transposed=transposed)


def _corners(source: Source, groups: list[set[tuple[int, ...]]]) -> list[tuple[int, int]]:
    if min(i for g in groups for v in g for i in v) < 1:
        source.refuse("index", 0, "indices from 1")
    return [(max(v[0] for v in g), max(v[1] for v in g)) for g in groups]


def _matrix_sizes(
    source: Source, groups: list[set[tuple[int, ...]]], goal: Target | None
) -> tuple[Target, list[int], list[Any]]:
    """n, m, p from the largest indices (or from the target); C may be written as Cᵀ."""
    (r1, c1), (r2, c2), (r3, c3) = _corners(source, groups)
    straight = (max(r1, r3), max(c1, r2), max(c2, c3))
    crossed = (max(r1, c3), max(c1, r2), max(c2, r3))
    n, m, p = goal.format if goal is not None and goal.format else min(straight, crossed, key=sum)
    turned = r3 > n or c3 > p  # the third matrix fits only if it is Cᵀ
    if max(n, m, p) > MAX_DIMENSION:
        source.refuse("format", (n, m, p), f"dimensions up to {MAX_DIMENSION}")
    if r1 > n or max(c1, r2) > m or c2 > p or (turned and (c3 > n or r3 > p)):
        source.refuse("index", ((r1, c1), (r2, c2), (r3, c3)), f"indices of {(n, m, p)}")
    width = n if turned else p
    try:
        goal = matmul(n, m, p)
    except StlError as error:
        source.refuse(error.argument, error.value, error.allowed)
    return goal, list(goal.shape), [lambda i: (i[0] - 1) * m + i[1] - 1, lambda i: (i[0] - 1) * p + i[1] - 1,
                                    lambda i: (i[0] - 1) * width + i[1] - 1]  # fmt: skip


def _square_sizes(source: Source, groups: list[set[tuple[int, ...]]]) -> tuple[Target, list[int], list[Any]]:
    """C = A·Aᵀ: one triangle of C, either one."""
    (n, m), _, corner = _corners(source, groups)
    n = max(n, *corner)
    upper = [(i, j) for i in range(1, n + 1) for j in range(i, n + 1)]
    if len({(min(i), max(i)) for i in groups[2]}) != len(groups[2]):
        source.refuse("outputs", "both halves of C", "one triangle of the symmetric C = A·Aᵀ")
    where = {v: k for k, v in enumerate(upper)}
    goal = symmetric_square(n, m)
    return goal, list(goal.shape), [lambda i: (i[0] - 1) * m + i[1] - 1] * 2 + [lambda i: where[min(i), max(i)]]


def _vector_sizes(
    source: Source, groups: list[set[tuple[int, ...]]], goal: Target | None
) -> tuple[list[int], list[Any]]:
    """Entries with one index, from 0 if any is 0, else from 1; ``a12`` is the twelfth here."""
    flat = [{_joined(i) for i in g} for g in groups]
    start = 0 if any(0 in g for g in flat) else 1
    sizes = list(goal.shape) if goal is not None else [max(g) + 1 - start for g in flat]
    if max(sizes) > MAX_DIMENSION**2:
        source.refuse("index", max(sizes), f"at most {MAX_DIMENSION**2} entries")
    return sizes, [lambda i: _joined(i) - start] * 3


def _joined(index: tuple[int, ...]) -> int:
    return int("".join(map(str, index)))


def _factor(source: Source, entries: list[tuple[int, int, int, Fraction]], shape: tuple[int, int], base: Ring | None
            ) -> Numbers:  # fmt: skip
    den = lcm(*{c.denominator for *_, c in entries})
    if den.bit_length() > 4 * source.budget.digits_total:
        source.refuse("coefficients", f"a common denominator of {den.bit_length()} bits", "simpler fractions", CURE)
    k = base.degree if base is not None else 1
    rows = [i for i, *_ in entries]
    if rows and not (min(rows) >= 0 and max(rows) < shape[0]):
        source.refuse("index", max(rows), f"entries below {shape[0]}")
    values = [c.numerator * (den // c.denominator) for *_, c in entries]
    small = max(map(abs, values), default=0) < 2**50
    out = np.zeros((*shape, k), dtype=np.int64 if small and k == 1 else object)
    if k == 1:
        if rows:
            np.add.at(out[..., 0], (rows, [l for _, l, _, _ in entries]), np.array(values, dtype=out.dtype))
        return fit(out[..., 0]), den
    powers = _powers(base, max((e for _, _, e, _ in entries), default=0))
    for (i, l, e, _), value in zip(entries, values, strict=True):
        out[i, l] += powers[e] * value
    return fit(out), den


def _powers(base: Ring | None, top: int) -> list[Any]:
    assert base is not None
    x = np.zeros(base.degree, dtype=object)
    x[1] = 1
    out = [np.zeros(base.degree, dtype=object)]
    out[0][0] = 1
    for _ in range(top):
        out.append(base.multiply(out[-1], x).astype(object))
    return out


# ------------------------------------------------------------------ writing
def _spell(values: Any, den: int, names: list[str], base: Ring) -> str:
    """Σ coefficient·name; elements of a ring of degree k in brackets, on powers of its generator x."""
    out = []
    cells = values if values.ndim == 2 else values[:, None]
    for name, cell in zip(names, cells, strict=True):
        terms = [(Fraction(int(c), den), e) for e, c in enumerate(cell) if c]
        if not terms:
            continue
        if len(terms) == 1 and terms[0][1] == 0:
            c = terms[0][0]
            out.append(("-" if c < 0 else "+") + ("" if abs(c) == 1 else f"{abs(c)}*") + name)
        else:
            inner = "".join(("-" if c < 0 else "+") + "*".join([str(abs(c)), *["x"] * e]) for c, e in terms)
            out.append(f"+({inner.removeprefix('+')})*{name}")
    return "".join(out).removeprefix("+") or "0"


def _entry_names(encoder: Encoder, letters: str = "abc", transposed: bool = False) -> list[list[str]]:
    fmt = encoder.target.format
    if fmt is None:
        return [[f"{c}{i}" for i in range(size)] for c, size in zip(letters, encoder.target.shape, strict=True)]
    n, m, p = fmt
    gap = "_" if max(fmt) > 9 else ""
    out = []
    for c, (rows, columns) in zip(letters, ((n, m), (m, p), (n, p)), strict=True):
        swap = transposed and c == letters[2]
        out.append([f"{c}{gap}{(j if swap else i) + 1}{gap}{(i if swap else j) + 1}"
                    for i in range(rows) for j in range(columns)])  # fmt: skip
    return out


def _header(encoder: Encoder) -> str:
    if not encoder.ring.exact:
        raise StlError("ring", encoder.ring.name, "an exact ring", "Floats are written to .npz, .npy or our own files.")
    return f"# ring: {encoder.ring.name}, target: {encoder.target.name}\n# {encoder.label}\n"


def write_exp(encoder: Encoder) -> str:
    """Trilinear products ``(a11+a22)*(b11+b22)*(c11+c22)``, one a line, C transposed (c12 is the entry of row 2)."""
    if encoder.target.quadratic:
        raise StlError("target", encoder.target.name, "a target with two arguments")
    names = _entry_names(encoder, transposed=True)
    lines = []
    for l in range(encoder.rank):
        parts = (encoder.e_x.num[l], encoder.e_w.num[l], encoder.d.num[:, l])
        spelled = [_spell(v, f.den, n, encoder.ring) for v, f, n in zip(parts, encoder.factors, names, strict=True)]
        lines.append("*".join(f"({v})" for v in spelled))
    return _header(encoder) + "\n".join(lines) + "\n"


def write_formulas(encoder: Encoder) -> str:
    """Products ``m1 = (a11+a22)*(b11+b22)`` and outputs ``c11 = m1+m4``."""
    a, b, c = _entry_names(encoder, "aac" if encoder.target.quadratic else "abc")
    products = [f"m{l + 1}" for l in range(encoder.rank)]
    e_x, e_w, d = encoder.factors
    lines = [f"{q} = ({_spell(e_x.num[l], e_x.den, a, encoder.ring)})*({_spell(e_w.num[l], e_w.den, b, encoder.ring)})"
             for l, q in enumerate(products)]  # fmt: skip
    lines += [f"{name} = {_spell(d.num[i], d.den, products, encoder.ring)}" for i, name in enumerate(c)]
    return _header(encoder) + "\n".join(lines) + "\n"
