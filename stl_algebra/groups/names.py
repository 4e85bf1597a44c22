"""Read group names: ``C4xC2``, ``D4``, ``Q8``, ``S3``, ``A5``, ``SL(2,3)``, ``SmallGroup(32,49)``, ``C7:C3``.

Grammar (blanks ignored, × and x alike, ≀ and wr alike, powers bind tightest)::

    product  := extension ("x" extension)*
    extension:= wreath [":" wreath]            C_m:C_k only, acting as faithfully as it can
    wreath   := power ["wr" power]
    power    := atom ["^" integer]
    atom     := family | "(" product ")"

Names that do not parse are looked up among the structure descriptions of the 319 groups of order ≤ 63.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import lru_cache

from stl_algebra.errors import StlError
from stl_algebra.groups import constructors as make
from stl_algebra.groups.smallgroups import MAX_SMALL_ORDER, _catalogue, small_group
from stl_algebra.groups.table import MAX_ORDER, FiniteGroup

__all__ = ["FAMILIES", "group"]

# pattern, constructor from the matched integers, example, what it is
FAMILIES: tuple[tuple[str, Callable[..., FiniteGroup], str, str], ...] = (
    (r"[CZ]_?(\d+)", make.cyclic, "C5", "cyclic of order n"),
    (r"D_?(\d+)", make.dihedral, "D4", "dihedral of order 2n"),
    (r"Dic_?(\d+)", make.dicyclic, "Dic3", "dicyclic of order 4n"),
    (r"Q_?(\d+)", make.quaternion, "Q8", "generalised quaternion of order n = 8, 16, …"),
    (r"(?:SD|QD)_?(\d+)", make.semidihedral, "SD16", "semidihedral of order n = 16, 32, …"),
    (r"M_?(\d+)", make.modular_group, "M16", "modular 2-group of order n = 16, 32, …"),
    (r"S_?(\d+)", make.symmetric, "S4", "symmetric on n ≤ 7 points"),
    (r"A_?(\d+)", make.alternating, "A5", "alternating on n ≤ 7 points"),
    (r"AGL\(1,(\d+)\)", make.affine, "AGL(1,8)", "affine maps of the line over GF(q)"),
    (r"GL\(2,(\d+)\)", make.general_linear, "GL(2,3)", "invertible 2×2 matrices over GF(q)"),
    (r"SL\(2,(\d+)\)", make.special_linear, "SL(2,3)", "2×2 matrices of determinant 1 over GF(q)"),
    (r"(?:PSL|L2?)\(2,(\d+)\)", make.projective_special_linear, "PSL(2,7)", "SL(2,q) modulo ±1"),
    (r"(?:He|Heis|Heisenberg)\((\d+)\)", make.heisenberg, "Heis(3)", "Heisenberg group over GF(q)"),
    (r"(?:F|Frob|Frobenius)\((\d+),(\d+)\)", make.frobenius, "Frobenius(7,3)", "C_p:C_k, faithful action"),
    (r"(?:SmallGroup|SG)\((\d+),(\d+)\)", small_group, "SmallGroup(32,49)", "by order ≤ 63 and GAP index"),
)
MAX_NAME = 100  # characters; longer ones are typing accidents, and deep brackets would exhaust the stack
_EXTRASPECIAL = re.compile(r"(\d+)\^[({]1\+(\d+)[)}](?:_?([+-]))")


def group(name: str) -> FiniteGroup:
    """The group that a name means.

    Raises
    ------
    StlError
        If the name means no group (the message lists close names and the families), if a description fits
        several groups (the message lists their SmallGroup identifiers), or if the group is too large.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        raise StlError("name", name, "a group name", "For example C4xC2, D4, Q8, S3, SL(2,3), SmallGroup(32,49).")
    return _named(name)


@lru_cache(maxsize=256)
def _named(name: str) -> FiniteGroup:
    text = re.sub(r"\s+", "", name).replace("×", "x").replace("≀", "wr").replace("⋊", ":")
    if text in ("1", "trivial"):
        return make.cyclic(1)
    parser = _Parser(text)
    try:
        found = parser.product()
        if parser.rest:
            raise _NoGroup
    except _NoGroup:
        found = _described(text, name)
    if found.name == text:
        return found
    return FiniteGroup(found.table, text, found.labels, found.generators, found.elements, found.origin, check=False)


class _NoGroup(Exception):
    """The grammar does not read this name."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.rest = text

    def take(self, pattern: str) -> re.Match[str] | None:
        found = re.match(pattern, self.rest)
        if found:
            self.rest = self.rest[found.end() :]
        return found

    def product(self) -> FiniteGroup:
        factors = [self.extension()]
        while self.take("x"):
            factors.append(self.extension())
        if len(factors) > 1 and all(f.origin[:1] == ("cyclic",) for f in factors):
            return make.abelian(*(f.order for f in factors))
        return make.direct_product(*factors)

    def extension(self) -> FiniteGroup:
        left = self.wreath()
        if self.take(":"):
            right = self.wreath()
            if left.origin[:1] != ("cyclic",) or right.origin[:1] != ("cyclic",):
                raise _NoGroup
            m, k = left.order, right.order
            return make.metacyclic(m, k, make.unit_of_order(m, k))
        return left

    def wreath(self) -> FiniteGroup:
        left = self.power()
        return make.wreath_product(left, self.power()) if self.take("wr") else left

    def power(self) -> FiniteGroup:
        special = self.take(_EXTRASPECIAL.pattern)
        if special:
            width = int(special[2])
            if width % 2:
                raise StlError("name", special[0], "an even width, as in 2^(1+4)+")
            return make.extraspecial(int(special[1]), width // 2, special[3])
        base = self.atom()
        exponent = self.take(r"\^(\d+)")
        if not exponent:
            return base
        k = int(exponent[1])
        if k > 64 or base.order ** min(k, 20) > MAX_ORDER:
            raise StlError("name", exponent[0], f"a group of order at most {MAX_ORDER}")
        return make.abelian(*[base.order] * k) if base.origin[:1] == ("cyclic",) else make.direct_product(*[base] * k)

    def atom(self) -> FiniteGroup:
        if self.take(r"\("):
            inside = self.product()
            if not self.take(r"\)"):
                raise _NoGroup
            return inside
        for pattern, constructor, _, _ in FAMILIES:
            found = self.take(pattern + r"(?![0-9A-Za-z](?<!x)(?<!w))")
            if found:
                return constructor(*map(int, found.groups()))
        raise _NoGroup


def _described(text: str, name: str) -> FiniteGroup:
    expanded = re.sub(r"(C\d+)\^(\d+)", lambda m: "(" + "x".join([m[1]] * min(int(m[2]), 64)) + ")", text)
    wanted = {text, expanded}
    if re.fullmatch(r"\([^()]*\)", expanded):  # C2^3 expands to a bracket that descriptions do not carry
        wanted.add(expanded[1:-1])
    matches, everything = [], []
    for order in range(1, MAX_SMALL_ORDER + 1):
        for index, (description, _) in enumerate(_catalogue()[order], 1):
            everything.append(description)
            if description in wanted:
                matches.append((order, index))
    if len(matches) == 1:
        return small_group(*matches[0])
    if matches:
        ids = ", ".join(f"SmallGroup({n},{i})" for n, i in matches)
        raise StlError("name", name, "a name that means one group", f"This description fits {ids}; say which.")
    close = difflib.get_close_matches(text, dict.fromkeys(everything + [f[2] for f in FAMILIES]), 4)
    hint = f"Did you mean {', '.join(close)}? " if close else ""
    raise StlError("name", name, "the name of a group", hint + "Known: " + ", ".join(f[2] for f in FAMILIES)
                   + ", 2^(1+4)+, products C4xC2, powers C2^3, C7:C3, C3^3wrC2; `python -m search.groups` lists them.")
