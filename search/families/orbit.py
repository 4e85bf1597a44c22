"""Orbit families of any symmetry group the engine can name: G-invariant encoders, one unit per multiset of orbit types.

The group acts on ⟨n,m,p⟩ by changes of basis, the cyclic shift and transpose reversal; an orbit type is a stabiliser
subgroup with the characters it acts by. Which multiset of types of a given rank is chosen decides whether random
starts succeed, so every round samples new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

from search.core.unit import Request, Start, Unit, register
from stl_algebra import StlError
from stl_algebra.known import best_rank, lower_bound
from stl_algebra.targets import matmul

#: Kinds of group → the actions tried, by format.
ACTIONS: dict[str, dict[tuple[int, int, int], tuple[str, ...]]] = {
    "dihedral": {(2, 2, 2): ("Z3*T",), (3, 3, 3): ("Z3*T",), (4, 4, 4): ("Z3*T",)},
    "symmetric": {(3, 3, 3): ("c:(12)*c:(123)", "Z3*c:(12)"), (4, 4, 4): ("c:(12)*c:(123)", "Z3*c:(12)")},
    "involution": {
        (2, 2, 2): ("d:1+1", "T"), (3, 3, 3): ("d:2+1", "T", "c:(12)"), (4, 4, 4): ("d:2+2", "d:3+1", "T"),
    },
    "extraspecial": {(4, 4, 4): ("E32", "E32/1234", "E32/123", "E32/45")},
}  # fmt: skip
MULTISETS_A_ROUND = 4
RESTARTS = {2: 24, 3: 16, 4: 4}


@lru_cache(maxsize=32)
def _types(name: str, fmt: tuple[int, int, int]) -> tuple[Any, list[Any]]:
    from search.lm.groups import named_action
    from search.lm.orbits import orbit_types

    action = named_action(name, fmt)
    return action, orbit_types(action)


def accepts(group: str) -> bool:
    """Whether ``--group`` spells an action, e.g. ``Z3*d:2+1`` (see `search.lm.groups`)."""
    return group not in ("Z3",) and all(part.startswith(("Z3", "T", "d:", "c:", "E32")) for part in group.split("*"))


def build(unit: Unit) -> Start:
    from search.lm.orbits import Invariant

    action, types = _types(unit.group, unit.format)
    return Start(
        target=matmul(*unit.format),
        parametrisation=Invariant(action, unit.parameters["counts"], types=types),
        restarts=RESTARTS.get(max(unit.format), 4),
    )


@register(
    "orbit", groups=tuple(ACTIONS), build=build, accepts=accepts,
    space="--group dihedral, symmetric, involution or extraspecial (orders 6, 6, 2, up to 32), or an action such as "
    "'Z3*d:2+1', 'T', 'c:(12)(34)', 'E32/13'; formats 2,2,2, 3,3,3 and 4,4,4 (actions: any they act on, nmp <= 125); "
    "ranks from the proven lower bound to nmp",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Sampled multisets of orbit types of the wanted rank, new ones every round."""
    kinds = ACTIONS.get(request.group)
    default = [(2, 2, 2), (3, 3, 3)] if kinds is None or (3, 3, 3) in kinds else [(4, 4, 4)]
    for fmt in [request.format] if request.format else default:
        rank = request.rank or best_rank(fmt)
        if rank is None or not lower_bound(fmt) <= rank <= prod(fmt) or prod(fmt) > 125:
            continue
        for name in (request.group,) if kinds is None else kinds.get(fmt, ()):
            try:
                action, types = _types(name, fmt)
            except StlError:
                if kinds is None:
                    raise
                continue
            if request.order not in (None, action.order):
                continue
            yield from _sampled(name, fmt, rank, types, request.seed + turn)


def _sampled(name: str, fmt: tuple[int, int, int], rank: int, types: list[Any], seed: int) -> Iterator[Unit]:
    from search.lm.orbits import sample_counts

    for counts in sample_counts(types, rank, MULTISETS_A_ROUND, seed):
        yield Unit("orbit", name, fmt, rank, {"counts": list(counts)}, seed)
