"""Any finite group by name: every action on the format, every multiset of orbit types, quick probes first.

The group library generates all faithful actions of a group on ⟨n,m,p⟩ by projective representations, the cyclic shift
and transposition (`stl_algebra.symmetry`), and the orbit types of each. A round takes the next few actions and of each
the next few multisets of the wanted rank; after the last action it comes back to the first with further multisets.
Ranks below what an exact encoder needs are searched for approximations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

from stl_algebra import StlError, symmetry
from stl_algebra.known import best_rank

from ..core.unit import Format, Request, Unit, family, register
from ..lm.generated import MAX_ACTIONS, actions_of, generated, is_generated
from ..lm.problem import SETTINGS
from .orbit import PARTS, run

__all__ = ["described", "everything", "multisets_of", "tally"]

#: Actions in a round, and multisets of each; up to LISTED multisets are taken in order, more are drawn.
ACTIONS, MULTISETS, LISTED = 8, 2, 400
RESTARTS = {2: 24, 3: 16, 4: 6, 5: 2}
LARGEST, MOST = 125, 1024
DEFAULTS: list[Format] = [(2, 2, 2), (3, 3, 3)]
#: Most multisets that an exhaustive search takes on.
EXHAUSTIBLE = 5000


def accepts(name: str) -> bool:
    """Whether ``--group`` names finite groups (also lists such as ``S3,D4``, ``all<=12``), or one of their actions."""
    from stl_algebra.groups import groups

    if is_generated(name):
        return True
    if name.split("*")[0].split(":")[0] in ("none", "Z3", "T") or name.startswith(tuple(p for p in PARTS if p != "T")):
        return False  # the grammar of explicit symmetries
    try:
        return all(g.order <= MOST for g in islice(groups(name), 64))
    except StlError:
        return False


def multisets_of(found: symmetry.Action, rank: int, skip: int, seed: int) -> list[dict[str, int]]:
    """A few multisets of orbit types of a rank, those after the first ``skip``: in order where they are few.

    Those with most long orbits come first; of many, the multisets are drawn with the shares of exact solutions.
    """
    from ..lm.generated import orbit_types_of
    from ..lm.orbits import sample_counts

    types = symmetry.term_types(found, rank)
    total = symmetry.count_multisets(types, rank) if types else 0
    if total <= LISTED:
        chosen: Sequence[tuple[int, ...]] = list(islice(symmetry.multisets(types, rank), skip, skip + MULTISETS))
    else:
        whole = orbit_types_of(found, rank)
        chosen = sample_counts(whole, rank, skip + MULTISETS, seed)[skip:]
    return [{t.name: k for t, k in zip(types, counts, strict=True) if k} for counts in chosen]


def _listed(request: Request, fmt: Format) -> list[symmetry.Action]:
    from stl_algebra.groups import groups

    name = str(request.group)
    field = str(request.parameters.get("field", "real"))
    if is_generated(name):
        return [generated(name, fmt, field)]
    found: list[symmetry.Action] = []
    for g in groups(name):
        if request.order in (None, g.order) and g.order > 1:
            found += actions_of(g.name, fmt, field)
    return found


def described(request: Request, fmt: Format, rank: int) -> list[dict[str, Any]]:
    """What will be searched: the actions in words, their orbit types, and how many multisets of the rank there are."""
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
        units[found.name] = [_unit(found, fmt, rank, counts, request.seed).with_(**changes) for counts in named]
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


def _unit(found: symmetry.Action, fmt: Format, rank: int, counts: dict[str, int], seed: int) -> Unit:
    parameters: dict[str, Any] = {"counts": counts, "restarts": RESTARTS.get(max(fmt), 2)}
    if found.field == "complex":
        parameters["field"] = "complex"
    best = best_rank(fmt)
    if best is not None and rank < best:
        parameters["approximate"] = True
    return Unit("action", found.name, fmt, rank, parameters, seed)


@register(
    "action", run=run, settings=SETTINGS, accepts=accepts,
    space="--group with any finite group, e.g. S3, D4, Q8, A4, SL(2,3), C2^4, 'S3,D4', 'all<=12' (orders 2 to 1024), "
    "or one of its actions as --describe names them; formats it acts on with nmp <= 125; any rank to nmp",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """The next actions of the group, and of each the next multisets of orbit types."""
    for fmt in [request.format] if request.format else DEFAULTS:
        rank = request.rank or best_rank(fmt)
        if rank is None or rank > prod(fmt) or prod(fmt) > LARGEST:
            continue
        listed = _listed(request, fmt)
        if not listed:
            continue
        rounds = -(-len(listed) // ACTIONS)
        for found in listed[turn % rounds * ACTIONS :][:ACTIONS]:
            for counts in multisets_of(found, rank, turn // rounds * MULTISETS, request.seed):
                yield _unit(found, fmt, rank, counts, request.seed + turn)
