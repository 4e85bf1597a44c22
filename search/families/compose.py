"""Composed encoders: the best that sums, Kronecker products and restriction make of the catalogue, proven.

``--family compose --format 6,6,8 --ring Z`` gives ⟨2,2,2;7⟩ ⊗ ⟨3,3,4;29⟩; see `search.algebras.composition`. The
encoders of the catalogue that a plan uses become the parents of what it makes.
"""

from __future__ import annotations

from collections.abc import Iterator

from stl_algebra import Encoder, StlError

from ..algebras.composition import LARGEST, RINGS, composer
from ..core.unit import Context, Format, Request, Unit, register

#: Formats composed where none is asked for: those with sides up to this.
DEFAULT = 6


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """The composition."""
    if unit.ring not in RINGS:
        raise StlError("ring", unit.ring, ", ".join(RINGS))
    table = composer(unit.ring, max(unit.format))
    plan = table.plan(unit.format)
    if plan.rank > unit.rank:
        raise StlError("rank", unit.rank, f"at least {plan.rank}, from {plan}")
    found, parents = table.built(unit.format)
    context.parents += parents
    context.statistics |= {"plan": str(plan), "rank": plan.rank}
    yield found.with_origin(stage="constructed", plan=str(plan))


@register(
    "compose", run=run,
    space="--family compose with a format of sides up to 12 that is better composed than done in one piece, and "
    "a --ring of Z, Z[1/2], Q (default) or GF(2); no --order; the rank is what the catalogue's parts give",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """One unit a format: whatever is made of more than one part."""
    ring = "Q" if request.ring in (None, "Q(sqrt)") else request.ring
    if turn or request.order is not None or request.group not in (None, "none") or ring not in RINGS:
        return
    largest = DEFAULT if request.format is None else max(request.format)
    if largest > LARGEST:
        return
    table = composer(str(ring), largest)
    chosen: list[Format] = [request.format] if request.format else [f for f in table.formats if f[0] > 1]
    for fmt in chosen:
        plan = table.plan(fmt)
        if plan.parts and request.rank in (None, plan.rank):
            yield Unit("compose", "none", fmt, plan.rank, {}, 0, str(ring))
