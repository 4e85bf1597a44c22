"""Any finite group by name: every action on the format, every multiset of orbit types, quick probes first.

The group library generates all faithful actions of a group on ⟨n,m,p⟩ by projective representations, the cyclic shift
and transposition (`stl_algebra.symmetry`), and the orbit types of each. A round takes the next few actions and of each
the next few multisets of the wanted rank; after the last action it comes back to the first with further multisets.
Ranks below what an exact encoder needs are searched for approximations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import prod
from typing import Any

from stl_algebra import StlError, symmetry
from stl_algebra.known import best_rank

from ..core.unit import Format, Request, Unit, register
from ..lm.generated import actions_of, generated, is_generated
from ..lm.problem import SETTINGS
from .orbit import PARTS, run

__all__ = ["described", "multisets_of"]

#: Actions in a round, and multisets of each; up to LISTED multisets are taken in order, more are drawn.
ACTIONS, MULTISETS, LISTED = 8, 2, 400
RESTARTS = {2: 24, 3: 16, 4: 6, 5: 2}
LARGEST, MOST = 125, 1024
DEFAULTS: list[Format] = [(2, 2, 2), (3, 3, 3)]


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
        best = best_rank(fmt)
        for found in listed[turn % rounds * ACTIONS :][:ACTIONS]:
            for counts in multisets_of(found, rank, turn // rounds * MULTISETS, request.seed):
                parameters: dict[str, Any] = {"counts": counts, "restarts": RESTARTS.get(max(fmt), 2)}
                if found.field == "complex":
                    parameters["field"] = "complex"
                if best is not None and rank < best:
                    parameters["approximate"] = True
                yield Unit("action", found.name, fmt, rank, parameters, request.seed + turn)
