"""Best ranks by composition: sums along a side, Kronecker products and restriction of what the catalogue holds.

`Composer` fills a table over all formats with sides up to a bound by dynamic programming; a plan says how a format is
reached and `built` makes the encoder, whose identity is then proven like any other. Ranks do not depend on the order
of the sides (rotation and transposition), so plans are kept for n ≤ m ≤ p.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import prod

from stl_algebra import Encoder, StlError, catalogue
from stl_algebra.catalogue import Entry
from stl_algebra.schemes import standard

__all__ = ["LARGEST", "RINGS", "Composer", "Plan", "composer", "oriented"]

Format = tuple[int, int, int]
#: Rings a composition can be asked for, and those of the catalogue that lie in them.
RINGS: dict[str, tuple[str, ...]] = {
    "Z": ("Z",), "Z[1/2]": ("Z", "Z[1/2]"), "Q": ("Z", "Z[1/2]", "Q"), "GF(2)": ("Z", "GF(2)"),
}  # fmt: skip
LARGEST = 12


@dataclass(frozen=True)
class Plan:
    """How a format is reached.

    Attributes
    ----------
    format : (n, m, p) with n ≤ m ≤ p
    rank : int
    how : "standard", "catalogue", "sum", "kron" or "restrict"
    parts : tuple of Plan
    entry : Entry or None
        The file, for ``catalogue``.
    """

    format: Format
    rank: int
    how: str
    parts: tuple[Plan, ...] = ()
    entry: Entry | None = field(default=None, compare=False)

    def __str__(self) -> str:
        name = f"⟨{','.join(map(str, self.format))};{self.rank}⟩"
        if not self.parts:
            return name if self.how == "catalogue" else ",".join(map(str, self.format))
        sign = {"sum": " + ", "kron": " ⊗ ", "restrict": ""}[self.how]
        inner = sign.join(f"({p})" if p.how in ("sum", "kron") else str(p) for p in self.parts)
        return f"{inner} restricted" if self.how == "restrict" else inner


def _sorted(fmt: Format) -> Format:
    n, m, p = sorted(fmt)
    return n, m, p


def oriented(encoder: Encoder, fmt: Format) -> Encoder:
    """The encoder with its sides in the order asked for, by rotation and transposition.

    Examples
    --------
    >>> oriented(standard(2, 3, 4), (4, 2, 3)).format
    (4, 2, 3)
    """
    for start in (encoder, encoder.transpose()):
        turned = start
        for _ in range(3):
            if turned.format == fmt:
                return turned
            turned = turned.rotate()
    raise StlError("format", fmt, f"an order of {encoder.format}")


class Composer:
    """The table of one ring.

    Parameters
    ----------
    ring : str
        One of `RINGS`.
    largest : int
        Largest side.
    own : bool
        Whether a format's own encoder in the catalogue counts; without it the table says what composition alone gives
        from *smaller* formats.

    Examples
    --------
    >>> str(Composer("Z", 4).plan((4, 4, 4)))
    '⟨4,4,4;49⟩'
    >>> str(Composer("Z", 4, own=False).plan((4, 4, 4)))
    '⟨2,2,2;7⟩ ⊗ ⟨2,2,2;7⟩'
    """

    def __init__(self, ring: str, largest: int = 8, own: bool = True) -> None:
        if ring not in RINGS:
            raise StlError("ring", ring, ", ".join(RINGS))
        if not 1 <= largest <= LARGEST:
            raise StlError("largest", largest, f"1 to {LARGEST}")
        self.ring, self.largest = ring, largest
        self.formats: list[Format] = list(combinations_with_replacement(range(1, largest + 1), 3))
        self.formats.sort(key=lambda f: (prod(f), f))
        self.held: dict[Format, Plan] = {}
        self.table: dict[Format, Plan] = {f: Plan(f, prod(f), "standard") for f in self.formats}
        self._read_catalogue()
        if own:
            self.table |= self.held
            for fmt, plan in self._restricted():
                self._offer(fmt, plan)
        changed = True
        while changed:
            changed = False
            for fmt in self.formats:
                for plan in self._made_of(fmt, own):
                    changed |= self._offer(fmt, plan)

    def plan(self, fmt: Format) -> Plan:
        """The best plan for a format, whatever the order of its sides."""
        if _sorted(fmt) not in self.table:
            raise StlError("format", fmt, f"sides from 1 to {self.largest}")
        return self.table[_sorted(fmt)]

    def built(self, fmt: Format) -> tuple[Encoder, list[Encoder]]:
        """The encoder of a plan, not yet proven, and the encoders of the catalogue it is made of."""
        parents: list[Encoder] = []
        return oriented(self._build(self.plan(fmt), parents), fmt), parents

    def _offer(self, fmt: Format, plan: Plan) -> bool:
        better = plan.rank < self.table[fmt].rank
        if better:
            self.table[fmt] = plan
        return better

    def _read_catalogue(self) -> None:
        for e in catalogue.catalogue().where(exact=True):
            if e.target.startswith("matmul:") and "+" not in e.target and e.ring in RINGS[self.ring]:
                n, m, p = (int(v) for v in e.target[7:].split("x"))
                fmt = _sorted((n, m, p))
                if max(fmt) <= self.largest and (fmt not in self.held or e.rank < self.held[fmt].rank):
                    self.held[fmt] = Plan(fmt, e.rank, "catalogue", (), e)

    def _restricted(self) -> Iterator[tuple[Format, Plan]]:
        """One row or column of a held encoder set to zero: terms that vanish are saved."""
        for fmt, plan in list(self.held.items()):
            for smaller in {_sorted(f) for f in _one_less(fmt)}:
                if smaller[0] >= 1 and plan.rank <= self.table[smaller].rank + 8:
                    rank = _cut(_load(plan, self.ring), smaller).rank
                    yield smaller, Plan(smaller, rank, "restrict", (plan,))

    def _made_of(self, fmt: Format, own: bool) -> Iterator[Plan]:
        pool = self.table if own else self.table | {f: p for f, p in self.held.items() if f != fmt}
        best = {f: min(pool[f], self.table[f], key=lambda p: p.rank) for f in pool}
        for side in range(3):
            for first in range(1, fmt[side] // 2 + 1):
                parts = tuple(
                    best[_sorted((*fmt[:side], width, *fmt[side + 1 :]))]  # type: ignore[arg-type]
                    for width in (first, fmt[side] - first)
                )
                yield Plan(fmt, sum(p.rank for p in parts), "sum", parts)
        divisors = [[d for d in range(1, v + 1) if v % d == 0] for v in fmt]
        for inner in product(*divisors):
            outer = tuple(v // d for v, d in zip(fmt, inner, strict=True))
            if prod(inner) > 1 and prod(outer) > 1:
                parts = (best[_sorted(inner)], best[_sorted(outer)])  # type: ignore[arg-type]
                yield Plan(fmt, parts[0].rank * parts[1].rank, "kron", parts)

    def _build(self, plan: Plan, parents: list[Encoder]) -> Encoder:
        if plan.how == "standard":
            return self._here(standard(*plan.format))
        if plan.how == "catalogue":
            found = _load(plan, self.ring)
            parents.append(found)
            return oriented(found, plan.format)
        parts = [self._build(p, parents) for p in plan.parts]
        if plan.how == "restrict":
            return oriented(_cut(parts[0], plan.format), plan.format)
        if plan.how == "kron":
            one, two = parts
            for turned in _orders(two):
                fmt = tuple(x * y for x, y in zip(one.format, turned.format, strict=True))
                if _sorted(fmt) == plan.format:  # type: ignore[arg-type]
                    return oriented(one.kron(turned), plan.format)
        for one, two in product(_orders(parts[0]), _orders(parts[1])):
            if (
                one.format[:2] == two.format[:2]
                and _sorted((*one.format[:2], one.format[2] + two.format[2])) == plan.format
            ):
                return oriented(one.direct_sum(two, "p"), plan.format)
        raise AssertionError(f"no order of the parts makes {plan}")

    def _here(self, encoder: Encoder) -> Encoder:
        return encoder.to_ring("GF(2)") if self.ring == "GF(2)" else encoder


def _orders(encoder: Encoder) -> list[Encoder]:
    out = []
    for start in (encoder, encoder.transpose()):
        out += [start, start.rotate(), start.rotate().rotate()]
    return out


def _one_less(fmt: Format) -> list[Format]:
    return [tuple(v - (i == side) for i, v in enumerate(fmt)) for side in range(3)]  # type: ignore[misc]


def _load(plan: Plan, ring: str) -> Encoder:
    assert plan.entry is not None
    return _loaded(plan.entry, ring)


@lru_cache(maxsize=256)
def _loaded(entry: Entry, ring: str) -> Encoder:
    encoder = catalogue.best(entry.target, entry.rank, entry.ring)  # of several the one that rounds least
    return encoder.to_ring("GF(2)") if ring == "GF(2)" else encoder


def _cut(encoder: Encoder, smaller: Format) -> Encoder:
    """The restriction by one position to a format (in any order of its sides) that leaves fewest terms."""
    best: Encoder | None = None
    for side, name in enumerate("nmp"):
        sizes = list(encoder.format)
        sizes[side] -= 1
        if _sorted((sizes[0], sizes[1], sizes[2])) != smaller or not sizes[side]:
            continue
        for gone in range(encoder.format[side]):
            kept = [i for i in range(encoder.format[side]) if i != gone]
            found = encoder.restrict(**{name: kept})
            if best is None or found.rank < best.rank:
                best = found
    if best is None:
        raise StlError("format", smaller, f"one of {_one_less(encoder.format)}")
    return best


@lru_cache(maxsize=16)
def composer(ring: str, largest: int = 8, own: bool = True) -> Composer:
    """The table of a ring, filled once."""
    return Composer(ring, largest, own)
