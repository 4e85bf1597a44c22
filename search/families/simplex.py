"""Simplex family: the S_{n+1}-orbit construction of Grochow and Moore, ⟨n,n,n; n³−n+1⟩, exact over Z."""

from __future__ import annotations

from collections.abc import Iterator
from math import factorial

from stl_algebra import Encoder
from stl_algebra.schemes import simplex

from ..core.unit import Context, Request, Unit, register


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """The construction."""
    yield simplex(unit.format[0]).with_origin(stage="constructed")


@register(
    "simplex", groups=("symmetric",), run=run,
    space="order (n+1)! for the format n,n,n with 2 <= n <= 7 and rank n^3-n+1 (7, 25, 61, 121, 211, 337)",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """One unit per n: the construction has no randomness, so later rounds add nothing."""
    if turn:
        return
    for n in range(2, 8) if request.format is None else [request.format[0]]:
        rank = n**3 - n + 1
        fits = request.format in (None, (n, n, n)) and request.order in (None, factorial(n + 1))
        if fits and request.rank in (None, rank) and 2 <= n <= 7 and (request.format or n <= 5):
            yield Unit("simplex", f"s:(12)*s:({''.join(map(str, range(1, n + 2)))})", (n, n, n), rank)
