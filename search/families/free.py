"""No symmetry at all: the baseline every group is compared with, and the way to small rectangular formats."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from search.core.unit import Request, Start, Unit, register
from stl_algebra.known import best_rank
from stl_algebra.targets import matmul


def build(unit: Unit) -> Start:
    from search.lm import Free

    target = matmul(*unit.format)
    return Start(
        target=target, parametrisation=Free(target, unit.rank), restarts=8 if prod(unit.format) > 16 else 24,
        iterations=200, keep_numerical=True,
    )  # fmt: skip


@register(
    "free", groups=("trivial",), build=build,
    space="order 1; formats n,m,p with 2 <= n*m*p <= 64; ranks from 1 to nmp",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Random starts at the best known rank unless a rank is given."""
    if request.order not in (None, 1):
        return
    for fmt in [request.format] if request.format else [(2, 2, 2), (2, 2, 3), (2, 3, 3)]:
        rank = request.rank or best_rank(fmt) or prod(fmt)
        if 2 <= prod(fmt) <= 64 and 1 <= rank <= prod(fmt):
            yield Unit("free", "C1", fmt, rank, {}, request.seed + turn)
