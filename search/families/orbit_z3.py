"""Orbit family of the cyclic shift: ⟨t,t,t;r⟩ invariant under Z₃, r = s + 3m (s fixed terms a⊗a⊗a, m orbits).

The trace form tr(ABC) is unchanged when the three factors rotate; an encoder whose terms are permuted by that shift
has a third of the unknowns. Which (s, m) is chosen decides whether random starts succeed (Ballard–Ikenmeyer–
Landsberg–Ryder 2018 for t = 3).
"""

from __future__ import annotations

from collections.abc import Iterator

from search.core.unit import Request, Start, Unit, register
from stl_algebra.known import best_rank, lower_bound
from stl_algebra.targets import matmul

MAX_TILE = 6
#: Restarts of a unit by tile size: a unit takes seconds.
RESTARTS = {2: 24, 3: 24, 4: 8, 5: 2, 6: 1}


def build(unit: Unit) -> Start:
    from search.lm import CyclicZ3

    t = unit.format[0]
    return Start(
        target=matmul(t, t, t),
        parametrisation=CyclicZ3(t, unit.parameters["fixed"], unit.parameters["orbits"]),
        restarts=RESTARTS[t],
        iterations=200,
        symmetry="Z3",
    )


@register(
    "orbit-z3", groups=("cyclic",), build=build,
    space="order 3 (the cyclic shift); square formats t,t,t with 2 <= t <= 6; ranks from the proven lower bound "
    "(7, 19, 28, 48, 72) to t^3",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Orbit types (s, m) with s near t² first, where the solutions were seen."""
    if request.order not in (None, 3):
        return
    formats = [request.format] if request.format else [(2, 2, 2), (3, 3, 3)]
    for fmt in formats:
        t = fmt[0]
        if len(set(fmt)) != 1 or not 2 <= t <= MAX_TILE:
            continue
        rank = request.rank or best_rank(fmt)
        if rank is None or not lower_bound(fmt) <= rank <= t**3:
            continue
        types = sorted(((s, (rank - s) // 3) for s in range(rank % 3, rank + 1, 3)), key=lambda o: abs(o[0] - t * t))
        for fixed, orbits in types[: 2 if t == 2 else 3]:
            yield Unit("orbit-z3", "Z3", fmt, rank, {"fixed": fixed, "orbits": orbits}, request.seed + turn)
