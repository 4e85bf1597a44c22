"""Encoders as formulas: noncommuting SymPy symbols, the way papers print them.

The symbolic proof is independent of `identities`: SymPy multiplies everything out and collects; use it on small
formats. It is the oracle of the tests, not the tool for the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import StlError
from .rings import Array, Ring

if TYPE_CHECKING:
    import sympy

    from .encoder import Encoder

__all__ = ["coefficients", "expanded", "formulas", "proves_symbolically", "symbols"]


def symbols(encoder: Encoder) -> tuple[list[Any], list[Any], list[str]]:
    """Noncommuting symbols for the entries of A and of B, and names of those of C, in vec order."""
    import sympy

    shapes: list[tuple[int, int] | None] = [None] * 3
    if encoder.target.format:
        n, m, p = encoder.target.format
        shapes = [(n, m), (m, p), (n, p)]
    names = []
    for letter, size, shape in zip("ABC", encoder.target.shape, shapes, strict=True):
        plain = [f"{letter}_{i}" for i in range(size)]
        names.append(
            plain if shape is None else [f"{letter}_{i // shape[1] + 1}{i % shape[1] + 1}" for i in range(size)]
        )
    if encoder.target.quadratic:  # both arguments are A, whose entries must commute for A·Aᵀ to be symmetric
        same = [sympy.Symbol(v) for v in names[0]]
        return same, same, names[2]
    a, b = ([sympy.Symbol(v, commutative=False) for v in part] for part in names[:2])
    return a, b, names[2]


def _root(base: Ring) -> Any:
    """x of the ring Q[x]/(f) as SymPy writes it."""
    import sympy

    if base.name == "Q(i)":
        return sympy.I
    if base.name.startswith("Q(sqrt"):
        return sympy.sqrt(-base.polynomial[0])
    if base.name.startswith("Q(zeta"):
        return sympy.exp(2 * sympy.pi * sympy.I / int(base.name[7:-1]))
    return sympy.Symbol("eps")


def coefficients(encoder: Encoder, root: Any = None) -> tuple[Array, Array, Array]:
    """The three factors as object arrays of exact SymPy numbers (in ``root`` instead of x, if given)."""
    import sympy

    base = encoder.ring
    if not base.exact or base.characteristic:
        raise StlError("ring", base.name, "an exact ring of characteristic 0")
    if root is None:
        root = _root(base)
    out = []
    for f in encoder.factors:
        num = f.num[..., None] if f.num.ndim == 2 else f.num
        value = np.empty(num.shape[:2], dtype=object)
        for i, j in np.ndindex(*num.shape[:2]):
            value[i, j] = sum(
                (sympy.Rational(int(c), f.den) * root**e for e, c in enumerate(num[i, j])), sympy.Integer(0)
            )
        out.append(value)
    return out[0], out[1], out[2]


def formulas(encoder: Encoder) -> str:
    """The algorithm as text: ``m1 = (A_11 + A_22)·(B_11 + B_22)`` …, ``C_11 = m1 + m4 - m5 + m7`` …

    Examples
    --------
    >>> from stl_algebra.schemes import karatsuba
    >>> print(formulas(karatsuba(2)).splitlines()[-1])  # doctest: +SKIP
    C_2 = m2
    """
    import sympy

    e_x, e_w, d = coefficients(encoder)
    a, b, c = symbols(encoder)
    lines = [f"m{l + 1} = ({_dot(e_x[l], a)})·({_dot(e_w[l], b)})" for l in range(encoder.rank)]
    m = [sympy.Symbol(f"m{l + 1}") for l in range(encoder.rank)]
    lines += [f"{name} = {_dot(d[i], m)}" for i, name in enumerate(c)]
    return "\n".join(lines)


def _dot(row: Array, names: list[Any]) -> str:
    """A linear form in the given order (SymPy would sort m10 before m2)."""
    import sympy

    text = ""
    for value, name in zip(row, names, strict=True):
        if value == 0:
            continue
        sign, size = (" - ", -value) if value.could_extract_minus_sign() else (" + ", value)
        factor = "" if size == 1 else f"{size}*" if size.is_Rational or size.is_Atom else f"({sympy.sstr(size)})*"
        text += f"{sign}{factor}{name}"
    return (text[3:] if text.startswith(" + ") else "-" + text[3:]) if text else "0"


def _multiplied_out(encoder: Encoder, root: Any) -> list[Any]:
    """Entries of C, expanded, with powers of x reduced modulo f and then written in ``root``."""
    import sympy

    x = sympy.Dummy("x")
    e_x, e_w, d = coefficients(encoder, x)
    a, b, _ = symbols(encoder)
    left = [sum((v * s for v, s in zip(row, a, strict=True)), sympy.Integer(0)) for row in e_x]
    right = [sum((v * s for v, s in zip(row, b, strict=True)), sympy.Integer(0)) for row in e_w]
    products = [sympy.expand(u * v) for u, v in zip(left, right, strict=True)]
    f = sum(c * x**e for e, c in enumerate(encoder.ring.polynomial))
    powers = [
        sympy.rem(x**e, f, x).subs(x, root) if encoder.ring.degree > 1 else 1 for e in range(3 * encoder.ring.degree)
    ]
    out = []
    for row in d:
        total = sympy.expand(sum((v * q for v, q in zip(row, products, strict=True)), sympy.Integer(0)))
        parts = [term.as_independent(x, as_Add=False) for term in sympy.Add.make_args(total) if term != 0]
        out.append(sympy.expand(sympy.Add(*[rest * powers[sympy.degree(power, x) if power != 1 else 0]
                                            for rest, power in parts])))  # fmt: skip
    return out


def expanded(encoder: Encoder) -> dict[str, sympy.Expr]:
    """Each entry of C multiplied out, e.g. ``{"C_11": A_11*B_11 + A_12*B_21, …}``.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> expanded(strassen())["C_11"]
    A_11*B_11 + A_12*B_21
    """
    return dict(zip(symbols(encoder)[2], _multiplied_out(encoder, _root(encoder.ring)), strict=True))


def proves_symbolically(encoder: Encoder) -> bool:
    """True if SymPy, multiplying out noncommuting symbols, finds the target map (small formats only).

    Over Q[eps]/eps^(h+1) that is eps^h times the target, as in `identities.verify`.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> proves_symbolically(strassen()), proves_symbolically(strassen().drop_terms([0]))
    (True, False)
    """
    import sympy

    a, b, _ = symbols(encoder)
    t, x = encoder.target, sympy.Dummy("x")
    unit = x ** (encoder.ring.degree - 1) if encoder.ring.is_border else sympy.Integer(1)
    wanted = [sympy.Integer(0)] * t.shape[2]
    for (i, j, k), v in zip(t.index, t.value, strict=True):
        wanted[k] += int(v) * a[i] * b[j] * unit
    return all(sympy.expand(u - v) == 0 for u, v in zip(_multiplied_out(encoder, x), wanted, strict=True))
