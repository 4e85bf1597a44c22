"""Straight-line programs that run: the algorithm as Python or C, with shared sums, for tiles or numbers.

The program of each factor is the shortest `straightline.share` finds, so the additions it makes are those reported.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ..encoder import Encoder
from ..errors import StlError
from ..straightline import share

__all__ = ["write_c", "write_latex", "write_python"]


def _lines(encoder: Encoder, half: str, end: str) -> list[str]:
    """Assignments: sums of a and b, products, outputs c; ``half`` spells a rational factor."""
    base = encoder.ring
    if not base.exact or base.degree > 1:
        raise StlError("ring", base.name, "Z, Z[1/2], Q or GF(p)")
    out: list[str] = []

    def scaled(f: Fraction, v: str) -> str:
        if abs(f) == 1:
            return v if f > 0 else f"-{v}"
        number = str(f.numerator) if f.denominator == 1 else half.format(f.numerator, f.denominator)
        return f"{number}*{v}"

    def evaluate(matrix: object, inputs: list[str], prefix: str, den: int) -> list[str]:
        program = share(np.asarray(matrix))
        names = list(inputs)
        for k, s in enumerate(program.steps):
            term = scaled(abs(s.factor), names[s.right])
            out.append(f"{prefix}{k} = {names[s.left]} {'-' if s.factor < 0 else '+'} {term}{end}")
            names.append(f"{prefix}{k}")
        return ["0" if o is None else scaled(o[1] / den, names[o[0]]) for o in program.outputs]

    second = "a" if encoder.target.quadratic else "b"
    a, b, _ = encoder.target.shape
    left = evaluate(encoder.e_x.num, [f"a[{i}]" for i in range(a)], "s", encoder.e_x.den)
    right = evaluate(encoder.e_w.num, [f"{second}[{i}]" for i in range(b)], "t", encoder.e_w.den)
    out += [f"m{l} = ({u})*({v}){end}" for l, (u, v) in enumerate(zip(left, right, strict=True))]
    results = evaluate(encoder.d.num, [f"m{l}" for l in range(encoder.rank)], "r", encoder.d.den)
    return out + [f"c[{i}] = {v}{end}" for i, v in enumerate(results)]


def _about(encoder: Encoder) -> str:
    what = f"{encoder.label} over {encoder.ring.name}: {encoder.target.name}, all matrices row-major"
    return what + (f"; reduce the results modulo {encoder.ring.characteristic}" if encoder.ring.characteristic else "")


def write_python(encoder: Encoder) -> str:
    """A function ``multiply(a, b)`` of two sequences; any type that has + - * works, and Fractions are exact."""
    second = "" if encoder.target.quadratic else ", b"
    lines = _lines(encoder, "Fraction({}, {})", "")
    head = f'"""{_about(encoder)}."""\n\nfrom fractions import Fraction\n\n\ndef multiply(a{second}):\n'
    body = "\n".join(f"    {v}" for v in [f"c = [0] * {encoder.target.shape[2]}", *lines, "return c"])
    return head + body + "\n"


def write_c(encoder: Encoder) -> str:
    """A function ``void multiply(const double *a, const double *b, double *c)``; T may be defined as another type."""
    lines = _lines(encoder, "((T){}/{})", ";")
    second = "" if encoder.target.quadratic else ", const T *b"
    typed = [v if v.startswith("c[") else f"const T {v}" for v in lines]
    head = (
        f"/* {_about(encoder)}. */\n#ifndef T\n#define T double\n#endif\n\nvoid multiply(const T *a{second}, T *c) {{\n"
    )
    return head + "\n".join(f"    {v}" for v in typed) + "\n}\n"


def write_latex(encoder: Encoder) -> str:
    """An ``align*`` environment of products and outputs, for papers (write only)."""
    from .formulas import _entry_names, _spell

    if not encoder.ring.exact:
        raise StlError("ring", encoder.ring.name, "an exact ring")
    names = _entry_names(encoder, "aac" if encoder.target.quadratic else "abc")

    def tex(text: str) -> str:
        import re

        text = re.sub(r"(\d+)/(\d+)", r"\\tfrac{\1}{\2}", text.replace("*", r"\,"))
        return re.sub(
            r"([a-z])(?:_)?(\d+)(?:_(\d+))?", lambda m: f"{m[1]}_{{{m[2]}{',' + m[3] if m[3] else ''}}}", text
        )

    e_x, e_w, d = encoder.factors
    products = [f"m{l + 1}" for l in range(encoder.rank)]
    rows = [f"{tex(q)} &= \\left({tex(_spell(e_x.num[l], e_x.den, names[0], encoder.ring))}\\right)"
            f"\\left({tex(_spell(e_w.num[l], e_w.den, names[1], encoder.ring))}\\right)"
            for l, q in enumerate(products)]  # fmt: skip
    rows += [f"{tex(c)} &= {tex(_spell(d.num[i], d.den, products, encoder.ring))}" for i, c in enumerate(names[2])]
    return f"% {_about(encoder)}\n\\begin{{align*}}\n  " + " \\\\\n  ".join(rows) + "\n\\end{align*}\n"
