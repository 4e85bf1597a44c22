"""Any finite group by name: every action on the format, every multiset of orbit types, quick probes first.

The group library generates all faithful actions of a group on ⟨n,m,p⟩ by projective representations, the cyclic shift
and transposition (`stl_algebra.symmetry`), and the orbit types of each. In a round the next multisets of the wanted
rank of every action race (`search.lm.race`), twice as many as in the round before; after the last of them the first
come again with other random starts. Ranks below what an exact encoder needs are searched for approximations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from math import prod
from typing import Any

from stl_algebra import StlError, symmetry
from stl_algebra.known import best_rank

from ..core.unit import Format, Request, Unit, family, register
from ..lm.problem import SETTINGS
from .orbit import run

__all__ = ["actions_of", "described", "everything", "tally"]

#: Multisets raced in a unit of the first round.
RACED = 9
RESTARTS = {2: 24, 3: 24, 4: 16, 5: 8}
LARGEST, MOST = 125, 1024
DEFAULTS: list[Format] = [(2, 2, 2), (3, 3, 3)]
#: Actions of one group on one format that are listed; larger families are cut there.
MAX_ACTIONS = 400
#: Most multisets that an exhaustive search takes on.
EXHAUSTIBLE = 5000


def accepts(name: str) -> bool:
    """Whether ``--group`` names finite groups (also lists such as ``S3,D4``, ``all<=12``), or one of their actions."""
    from stl_algebra.groups import groups

    if symmetry.is_generated(name):
        return True
    if name == "none" or symmetry.is_explicit(name):
        return False
    try:
        return all(g.order <= MOST for g in islice(groups(name), 64))
    except StlError:
        return False


@lru_cache(maxsize=32)
def actions_of(name: str, fmt: Format, field: str = "real") -> tuple[symmetry.Action, ...]:
    """All faithful actions of a group on a format (at most `MAX_ACTIONS`), the most symmetric first.

    Examples
    --------
    >>> [len(actions_of(name, (2, 2, 2))) for name in ("C2", "C3", "S3")]
    [12, 4, 18]
    """
    from stl_algebra.groups import group

    return tuple(islice(symmetry.actions(group(name), fmt, field), MAX_ACTIONS))


def _listed(request: Request, fmt: Format) -> list[symmetry.Action]:
    from stl_algebra.groups import groups

    name = str(request.group)
    field = str(request.parameters.get("field", "real"))
    if symmetry.is_generated(name):
        return [symmetry.action(name, fmt, None if field == "real" else field)]
    found: list[symmetry.Action] = []
    for g in groups(name):
        if request.order in (None, g.order) and g.order > 1:
            found += actions_of(g.name, fmt, field)
    return found


def described(request: Request, fmt: Format, rank: int) -> list[dict[str, Any]]:
    """What will be searched: the actions in words, their orbit types, and how many multisets of the rank there are.

    Examples
    --------
    >>> from search.core.unit import Request
    >>> described(Request("C3", format=(2, 2, 2)), (2, 2, 2), 7)[3]["multisets"]
    3
    """
    rows = []
    for found in _listed(request, fmt):
        types = symmetry.term_types(found, rank)
        rows.append({
            "action": found.name, "order": found.order, "words": found.words, "types": len(types),
            "multisets": symmetry.count_multisets(types, rank) if types else 0,
        })  # fmt: skip
    return rows


def everything(request: Request, fmt: Format, rank: int) -> dict[str, list[Unit]]:
    """One unit for every multiset of orbit types of every action of a group, by action.

    Raises
    ------
    StlError
        If the group has no action on the format, or there is too much for all of it to be run.

    Examples
    --------
    >>> from search.core.unit import Request
    >>> [len(units) for units in everything(Request("C3"), (2, 2, 2), 7).values()]
    [3, 0, 0, 3]
    """
    listed = _listed(request, fmt)
    if not listed:
        raise StlError("group", request.group, f"a group that acts on ⟨{','.join(map(str, fmt))}⟩")
    kinds = [(found, symmetry.term_types(found, rank)) for found in listed[:MAX_ACTIONS]]
    total = sum(symmetry.count_multisets(types, rank) for _, types in kinds if types)
    if len(listed) >= MAX_ACTIONS or total > EXHAUSTIBLE:
        raise StlError(
            "group", f"{request.group}: {len(listed)} actions, {total} multisets", f"fewer than {MAX_ACTIONS} actions "
            f"and at most {EXHAUSTIBLE} multisets", "Name one of its actions (see --describe) or a larger group.",
        )  # fmt: skip
    family("action").check(request.parameters)
    changes = dict(request.parameters) | ({} if request.ring is None else {"ring": request.ring})
    units = {}
    for found, types in kinds:
        named = [{t.name: k for t, k in zip(types, counts, strict=True) if k}
                 for counts in (symmetry.multisets(types, rank) if types else ())]  # fmt: skip
        units[found.name] = [_unit(found, fmt, rank, {"counts": c}, request.seed).with_(**changes) for c in named]
    return units


def tally(units: Mapping[str, list[Unit]], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What became of an exhaustive search, by action, from the rows of the ledger.

    Returns
    -------
    list of dict
        ``action``, ``multisets``, ``run`` of them to their end, ``restarts`` each of those had at least (fewer where
        solutions came first), ``solved``: the multisets that have an exact solution to rounding.
    """
    done = {r["key"]: json.loads(r["statistics"] or "{}") for r in rows if r["status"] == "done"}
    table = []
    for action, its in units.items():
        ran = [(u, done[u.key]) for u in its if u.key in done]
        table.append({
            "action": action, "multisets": len(its), "run": len(ran),
            "restarts": min((s.get("restarts", 0) for _, s in ran if not s.get("converged")), default=0),
            "solved": [u.parameters["counts"] for u, s in ran if s.get("converged")],
        })  # fmt: skip
    return table


def _unit(found: symmetry.Action, fmt: Format, rank: int, parameters: dict[str, Any], seed: int) -> Unit:
    parameters = parameters | {"restarts": RESTARTS.get(max(fmt), 4)}
    if found.field == "complex":
        parameters["field"] = "complex"
    best = best_rank(fmt)
    if best is not None and rank < best:
        parameters["approximate"] = True
    return Unit("action", found.name, fmt, rank, parameters, seed)


@register(
    "action", run=run, settings=SETTINGS, accepts=accepts,
    space="--group with any finite group, e.g. S3, D4, Q8, A4, SL(2,3), C2^4, 'S3,D4', 'all<=12' (orders 2 to 1024), "
    "or one of its actions as --describe names them; formats it acts on with nmp <= 125; any rank to nmp that is a sum "
    "of orbit sizes",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """A race under every action between the next multisets of orbit types, twice as many as in the round before."""
    for fmt in [request.format] if request.format else DEFAULTS:
        rank = request.rank or best_rank(fmt)
        if rank is None or rank > prod(fmt) or prod(fmt) > LARGEST:
            continue
        double = 2 ** min(turn, 6)
        race = {"first": RACED * (double - 1), "many": RACED * double}
        for found in _listed(request, fmt):
            if _reaches(found, rank):
                yield _unit(found, fmt, rank, race, request.seed + turn)


@lru_cache(maxsize=1024)
def _reaches(found: symmetry.Action, rank: int) -> bool:
    """Whether some orbits of an action make up a rank."""
    types = symmetry.term_types(found, rank)
    return bool(types) and symmetry.count_multisets(types, rank) > 0
