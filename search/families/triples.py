"""Exact encoders from the triple product property (Cohn and Umans 2003): subsets of a group multiply matrices.

For every group of a list the formats it realises are looked for, subsets S, T, U are put into its algebra
(`search.algebras.embedding`), and the products are those of its irreducible representations: over the reals, over
Q(ζ_n), or modulo a prime p that splits Q(ζ_n). No group of order up to 36 gets below nmp at formats up to 5 in this
way; what it gives are proven encoders with a fast transform, and the smallest groups of each format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, permutations
from typing import Any

from stl_algebra import Encoder, StlError, group
from stl_algebra.groups import groups, has_triple_product_property, realised_formats

from ..algebras.embedding import triple
from ..algebras.wedderburn import FIELDS, channels
from ..core.unit import Context, Format, Request, Unit, register

#: group: its name · triple: three lists of elements · field: "real", "complex" or "GF(p)".
SETTINGS: dict[str, Any] = {"group": None, "triple": None, "field": "real"}
MAX_ORDER, LISTED, LARGEST = 120, 32, 5
Subsets = tuple[list[int], list[int], list[int]]


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """The encoder, proven."""
    own = {**SETTINGS, **unit.parameters}
    field, name = str(own["field"]), str(own["group"])
    s, t, u = _subsets(own["triple"], name, unit.format)
    about = {"stage": "constructed", "triple": [s, t, u]}
    if match := re.fullmatch(r"GF\((\d+)\)", field):
        if int(match[1]) % (exponent := group(name).exponent) != 1:
            raise StlError("field", field, f"a prime that is 1 modulo {exponent}, the exponent of {name}")
        yield triple(name, s, t, u, "complex").to_ring(field).with_origin(**about)
        return
    yield triple(name, s, t, u, field).with_origin(**about)


def _subsets(value: Any, name: str, fmt: Format) -> Subsets:
    g = group(name)
    good = isinstance(value, list) and len(value) == 3 and all(isinstance(v, list) for v in value)
    if not good or any(not isinstance(x, int) or not 0 <= x < g.order for v in value for x in v):
        raise StlError("triple", value, f"three lists of elements of {name}, 0 to {g.order - 1}")
    if tuple(map(len, value)) != fmt or not has_triple_product_property(g, *value):
        raise StlError("triple", value, f"subsets of sizes {fmt} with the triple product property")
    return value[0], value[1], value[2]


@lru_cache(maxsize=256)
def _realised(name: str) -> dict[Format, Subsets]:
    """Formats with n ≤ m ≤ p and their subsets."""
    return realised_formats(group(name), LARGEST)


def subsets_for(name: str, fmt: Format) -> Subsets | None:
    """Subsets of sizes (n, m, p): the property does not mind the order of the three, nor what is left out.

    Examples
    --------
    >>> subsets_for("S3", (2, 2, 2)) is not None, subsets_for("S3", (2, 2, 3)) is None
    (True, True)
    """
    for held in _realised(name).values():
        for three in permutations(held):
            if all(len(v) >= size for v, size in zip(three, fmt, strict=True)):
                s, t, u = (v[:size] for v, size in zip(three, fmt, strict=True))
                return s, t, u
    return None


def accepts(name: str) -> bool:
    """Whether ``--group`` names finite groups of orders up to MAX_ORDER."""
    try:
        return not name.startswith("Z") and all(g.order <= MAX_ORDER for g in islice(groups(name), LISTED))
    except StlError:
        return False


@register(
    "triples", run=run, settings=SETTINGS, accepts=accepts,
    space="--group with finite groups of order up to 120, e.g. S3, A4, C7:C3, 2^(1+4)+, 'all<=12', and a format that "
    "one of them realises (sides up to 5); the rank is that of the group algebra; --set field=complex or GF(43)",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Every format the groups are found to realise, or the one asked for; there is nothing random in it."""
    if turn or not request.group or not accepts(request.group):
        return
    field = str(request.parameters.get("field", "real"))
    for g in islice(groups(request.group), LISTED):
        if g.order < 2 or request.order not in (None, g.order):
            continue
        rank = channels(g.name, field if field in FIELDS else "complex")
        if request.rank not in (None, rank):
            continue
        for fmt in [request.format] if request.format else sorted(_realised(g.name)):
            if max(fmt) <= LARGEST and min(fmt) > 1 and (found := subsets_for(g.name, fmt)) is not None:
                parameters = {"group": g.name, "triple": [list(map(int, v)) for v in found]}
                yield Unit("triples", "none", fmt, rank, parameters, 0)
