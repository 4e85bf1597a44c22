"""Sums of products by name, parsed by descent over tokens into linear and bilinear forms; nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..rings import Ring, ring
from .scalars import exact
from .source import CURE, Source

__all__ = ["Form", "Reader", "names_in"]

TOKEN = re.compile(
    r"\s+|(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)|"
    r"(?P<name>√[0-9]+|sqrt\(-?[0-9]{1,18}\)|[A-Za-z_α-ω][A-Za-z_0-9]*(?:\[[0-9 ,\]\[]*\])?'?)|(?P<op>[-+*/()·×−])",
)
_GENERATORS = {"I": "Q(i)", "j": "Q(i)", "i": "Q(i)"}
_SAME = {"·": "*", "×": "*", "−": "-"}
MAX_NESTING = 20
#: Terms a line may expand to, and all lines together.
MAX_TERMS = 1 << 19
MAX_POWER = 200

#: A linear form: {(symbol, power of the ring's generator): coefficient}; the symbol "" is 1. Integers stay
#: Python integers, which is ten times faster than Fractions.
Form = dict[tuple[str, int], Any]


@dataclass
class Reader:
    """Definitions of one file, and the products met while they are worked out."""

    source: Source
    base: Ring | None
    lines: dict[str, tuple[int, str]] = field(default_factory=dict)  # name → line, right-hand side
    forms: dict[str, Form] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=lambda: {"!": "!"})  # input → its letter; "*" products, "!" triples
    products: list[tuple[Form, Form]] = field(default_factory=list)
    triples: list[tuple[Form, Form, Form]] = field(default_factory=list)
    letters: tuple[str, ...] = ()
    at: int = 0  # line being read
    spent: int = 0

    def refuse(self, found: object, needed: str) -> Any:
        self.source.refuse(f"line {self.at}", found, needed)

    # ---- linear algebra of forms
    def letter(self, form: Form) -> str:
        """ "" for constants, the letter of inputs, "*" for products; refuses mixtures."""
        known = self.kinds
        kinds = {known.get(s, "") for s, _ in form}
        if len(kinds) > 1:
            self.refuse(f"a sum of {', '.join(sorted(k or '1' for k in kinds))}", "sums of entries of one matrix")
        return kinds.pop() if kinds else ""

    def times(self, u: Form, v: Form) -> Form:
        one, two = self.letter(u), self.letter(v)
        out: Form
        if not one or not two:
            scalar, other = (u, v) if not one else (v, u)
            if scalar.keys() == {("", 0)}:
                c = scalar["", 0]
                out = {k: c * d for k, d in other.items()}
            else:
                out = {}
                for (_, e), c in scalar.items():
                    for (s, f), d in other.items():
                        out[s, e + f] = out.get((s, e + f), 0) + c * d
                        if e + f > MAX_POWER:
                            self.refuse(f"a power above {MAX_POWER}", "small powers of the ring's generator")
            self.charge(out)
            return {k: c for k, c in out.items() if c}
        if "!" in (one, two):
            self.refuse("a product of more than three sums", "products of two or of three sums of entries")
        if "*" in (one, two):
            product, third = (u, v) if one == "*" else (v, u)
            if len(product) != 1 or self.letter(third) == "*":
                self.refuse("a product of sums of products", "products of two or of three sums of entries")
            (((symbol, e), c),) = product.items()
            left, right = self.products[int(symbol[1:])]
            scaled = {(s, f + e): c * d for (s, f), d in left.items()}
            self.triples.append((scaled, right, third))
            return {("!", 0): 1}
        order = (u, v) if self.rank_of(one) <= self.rank_of(two) else (v, u)
        if one == two and not self.quadratic:
            self.refuse(f"a product of two entries of {one}", "an entry of the first times one of the second matrix")
        self.products.append(order)
        if len(self.products) > self.source.budget.products:
            self.source.refuse("content", f"more than {self.source.budget.products} products",
                               f"at most {self.source.budget.products} products", CURE)  # fmt: skip
        symbol = f"*{len(self.products) - 1}"
        self.kinds[symbol] = "*"
        return {(symbol, 0): 1}

    @property
    def quadratic(self) -> bool:
        return len(self.letters) == 1

    def rank_of(self, letter: str) -> int:
        return self.letters.index(letter) if letter in self.letters else len(self.letters)

    def charge(self, form: Form) -> None:
        """Count the terms of a form, long numbers more than once."""
        self.spent += len(form)
        for c in form.values():
            if type(c) is int and -(2**63) < c < 2**63:
                continue
            bits = c.numerator.bit_length() + c.denominator.bit_length()
            if bits > 64:
                self.spent += bits >> 6
                if bits > 8 * self.source.budget.digits:
                    self.refuse(f"a coefficient of {bits} bits", f"at most {self.source.budget.digits} digits")
        if self.spent > MAX_TERMS:
            self.source.refuse("content", f"more than {MAX_TERMS} terms", "formulas that expand to fewer", CURE)

    # ---- parsing
    def symbol(self, name: str) -> Form:
        if name in self.lines:
            return self.forms[name]
        if name in self.kinds:
            return {(name, 0): 1}
        generator = self.generator(name)
        if generator:
            return {("", 1): 1}
        return self.refuse(f"{name}, which is not defined", "names that are inputs or defined")

    def generator(self, name: str) -> bool:
        """Whether a name is the generator of the coefficient ring; the first such name decides the ring."""
        root = re.fullmatch(r"sqrt\((-?[0-9]+)\)|√([0-9]+)", name)
        wanted = f"Q(sqrt({root[1] or root[2]}))" if root else _GENERATORS.get(name, "")
        if self.base is not None and self.base.degree > 1:
            return name in ("x", "X", "eps", "ε", "zeta") or bool(wanted and ring(wanted) == self.base)
        if not wanted or (self.base is not None):
            return False
        self.base = ring(wanted)
        return True

    def work_out(self) -> None:
        """The form of every defined name, in the order of the lines as far as uses allow; circles are refused."""
        needs = {name: [u for u in names_in([text]) if u in self.lines] for name, (_, text) in self.lines.items()}
        state: dict[str, int] = {}
        for start in self.lines:
            stack = [(start, iter(needs[start]))] if start not in state else []
            state.setdefault(start, 1)
            while stack:
                name, rest = stack[-1]
                other = next(rest, None)
                if other is None:
                    stack.pop()
                    state[name] = 2
                    self.at, text = self.lines[name]
                    self.forms[name] = self.parse(text)
                elif state.get(other) == 1:
                    self.at = self.lines[other][0]
                    self.refuse(f"{other}, defined by itself", "definitions without circles")
                elif other not in state:
                    state[other] = 1
                    stack.append((other, iter(needs[other])))

    def parse(self, text: str) -> Form:
        """One right-hand side."""
        tokens: list[tuple[str, str]] = []
        seen = 0
        for match in TOKEN.finditer(text):
            if match.start() != seen:
                break
            seen = match.end()
            if match.lastgroup:
                op = match[0]
                tokens.append((match.lastgroup, _SAME.get(op, op)))
        if seen != len(text):
            self.refuse(text[seen : seen + 20], "numbers, names, + - * / and brackets")
        tokens.append(("end", ""))
        form, end = self.sum(tokens, 0, 0)
        if tokens[end][0] != "end":
            self.refuse(tokens[end][1], "an operator or the end of the formula")
        return form

    def sum(self, tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Form, int]:
        if depth > MAX_NESTING:
            self.refuse("deeply nested brackets", f"at most {MAX_NESTING} levels")
        out: Form = {}
        first = True
        while True:
            sign = 1
            signed = False
            while tokens[at][1] in ("+", "-") and tokens[at][0] == "op":
                sign *= -1 if tokens[at][1] == "-" else 1
                signed = True
                at += 1
            if not first and not signed:
                self.charge(out)
                return out, at
            term, at = self.product(tokens, at, depth)
            for key, c in term.items():
                total = out.get(key, 0) + sign * c
                if total:
                    out[key] = total
                else:
                    out.pop(key, None)
            first = False

    def product(self, tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Form, int]:
        out, at = self.factor(tokens, at, depth)
        while True:
            kind, text = tokens[at]
            if text == "*" and kind == "op":
                sign = 1
                while tokens[at + 1] in (("op", "-"), ("op", "+")):  # 2*-a11
                    sign *= -1 if tokens[at + 1][1] == "-" else 1
                    at += 1
                value, at = self.factor(tokens, at + 1, depth)
                out = self.times(out, {k: sign * c for k, c in value.items()})
            elif text == "/" and kind == "op":
                value, at = self.factor(tokens, at + 1, depth)
                if set(value) != {("", 0)}:
                    self.refuse("a division by what is no number", "division by numbers only")
                out = {k: lean(Fraction(c) / value["", 0]) for k, c in out.items()}
            elif kind in ("number", "name") or text == "(":
                value, at = self.factor(tokens, at, depth)
                out = self.times(out, value)
            else:
                return out, at

    def factor(self, tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Form, int]:
        kind, text = tokens[at]
        if kind == "number":
            number = (
                int(text) if len(text) < 18 and text.isdecimal() else lean(exact(self.source, text, f"line {self.at}"))
            )
            return ({("", 0): number} if number else {}), at + 1
        if kind == "name":
            return self.symbol(text), at + 1
        if text == "(":
            value, at = self.sum(tokens, at + 1, depth + 1)
            if tokens[at][1] != ")":
                self.refuse(tokens[at][1] or "the end of the line", "a closing bracket")
            return value, at + 1
        return self.refuse(text or "the end of the line", "a number, a name or an opening bracket")


def lean(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value


def names_in(texts: Iterable[str]) -> set[str]:
    return {m["name"].replace(" ", "") for text in texts for m in TOKEN.finditer(text) if m["name"]}
