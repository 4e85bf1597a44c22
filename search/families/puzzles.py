"""Several products at once from uniquely solvable puzzles (Cohn, Kleinberg, Szegedy and Umans 2005).

A local puzzle of width k (`search.algebras.puzzles`) and an abelian group A of order l give simultaneous products in
the algebra of A^k. Two rows suffice: 123 and 312 with l = 8 multiply two pairs of 7×7 matrices in 512 products instead
of 686, over Z₂⁹ by a Walsh–Hadamard transform with entries ±1 and κ² = 2.68. Summed, the two are one product
⟨7,14,7;512⟩.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from stl_algebra import Encoder, StlError, group

from ..algebras.embedding import joined, simultaneous
from ..algebras.puzzles import is_puzzle, read_puzzle, triples_of
from ..algebras.wedderburn import channels
from ..core.unit import Context, Format, Request, Unit, register

#: group: the abelian group A · rows: the puzzle · field: "real" or "complex".
SETTINGS: dict[str, Any] = {"group": "C2^3", "rows": ["123", "312"], "field": "real"}
#: Largest order of A^k: its transform is a matrix of that size.
MAX_CHANNELS = 1024


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """The long product where the formats fit together, and all of them side by side."""
    own = {**SETTINGS, **unit.parameters}
    rows = own["rows"]
    if not isinstance(rows, list) or not is_puzzle(rows, "local"):
        raise StlError("rows", rows, "a local uniquely solvable puzzle, such as 123, 312")
    a = group(str(own["group"]))
    if a.order ** len(rows[0]) > MAX_CHANNELS:
        raise StlError("group", a.name, f"at most {MAX_CHANNELS} elements in its power {len(rows[0])}")
    name, triples = triples_of(rows, a.name)
    whole = simultaneous(name, triples, str(own["field"]))
    about = {"stage": "constructed", "puzzle": rows}
    if len({(n, p) for n, _, p in formats_of(rows, a.order)}) == 1:
        yield joined(whole).with_origin(**about)
    yield whole.with_origin(**about)


def formats_of(rows: list[str], order: int) -> list[Format]:
    """The product that each row stands for.

    Examples
    --------
    >>> formats_of(["123", "312"], 8)
    [(7, 7, 7), (7, 7, 7)]
    """
    counts = [np.bincount(row, minlength=3) for row in read_puzzle(rows)]
    return [((order - 1) ** int(x), (order - 1) ** int(y), (order - 1) ** int(z)) for x, y, z in counts]


def accepts(name: str) -> bool:
    """Whether ``--group`` names one abelian group whose power is not too large."""
    try:
        return not name.startswith("Z") and group(name).is_abelian and 4 < group(name).order ** 3 <= MAX_CHANNELS
    except StlError:
        return False


@register(
    "puzzles", run=run, settings=SETTINGS, accepts=accepts,
    space="--group with an abelian group of order l = 5 to 10 with l^3 products below 2(l-1)^3, e.g. C2^3 (7,14,7 of "
    "rank 512 over Z[1/2]) or C5, C6 (4,8,4 and 5,10,5 over cyclotomic fields); --set 'rows=[\"123\",\"312\"]'",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """The two-row puzzle over the group named; over the reals if that pays, else over Q(ζ_n)."""
    name = str(request.group or SETTINGS["group"])
    if turn or (request.group is not None and not accepts(request.group)):
        return
    order = group(name).order
    rows = request.parameters.get("rows", SETTINGS["rows"])
    if request.order not in (None, order) or not isinstance(rows, list):
        return
    products = formats_of(rows, order)
    n, p = products[0][0], products[0][2]
    whole = (n, sum(m for _, m, _ in products), p) if len({(n, p) for n, _, p in products}) == 1 else products[0]
    for field in ("real", "complex"):
        rank = channels("x".join([name] * len(rows[0])), field)
        if rank < sum(map(prod, products)) and max(whole) <= 16:
            if request.format in (None, whole) and request.rank in (None, rank):
                yield Unit("puzzles", "none", whole, rank, {"group": name, "rows": rows, "field": field}, 0)
            return
