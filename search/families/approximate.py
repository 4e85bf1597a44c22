"""Approximate encoders from groups: an evolution of invariant subspaces below every trivial line (`search.approx`).

A unit begins in one symmetry, from an orbit-type multiset if it names one, and makes a fixed number of runs over its
ranks: orbits are exchanged, added and dropped, ends are released to subgroups and shaken. What it yields lies below
both lines an approximation has to beat, dropping products (1 − r/nmp) and skipping K-tiles of an exact encoder
(1 − r/R), in the total error of bf16. A unit with a population stays in one subspace and searches it in depth, from
encoders it names and from random ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from stl_algebra import Encoder, StlError
from stl_algebra.known import best_rank
from stl_algebra.targets import matmul

from ..core.unit import Context, Format, Request, Unit, register

if TYPE_CHECKING:
    from ..approx.pool import Pool

#: Settings of a unit and their defaults.
#:
#: counts: orbit multiplicities to begin with, by the names of orbit types · runs: how many in all · ranks: besides the
#: unit's own · restarts: multiplies those of every run · widest: unknowns of the largest space entered · explore: share
#: of runs that go to random multisets · release: a subgroup in which the ends of every rank are taken further at last ·
#: groups: symmetries besides the unit's own.
#: population: lineages that search the unit's own subspace (`search.approx.population`), none by default ·
#: generations, steps: of it · from: encoders it begins with (`search.approx.sources`), of any rank if there is no
#: symmetry · fresh: share of the lineages that begin at random.
#: caps: with encoders to begin from, the least ε² under each of these bounds on κ², as rounding weighs more.
#: keep: best ends of every rank that are yielded · above: whether those above the lines are too.
SETTINGS: dict[str, Any] = {
    "counts": None, "runs": 16, "ranks": [], "restarts": 1, "widest": 800, "explore": 0.25,
    "release": None, "groups": [], "population": 0, "generations": 40, "steps": 50, "from": [], "fresh": 0.5, "keep": 1,
    "above": False, "caps": [],
}  # fmt: skip
#: What was learnt about ⟨4,4,4⟩ under the cyclic shift and a rotation of three coordinates (order 9): multisets from
#: which random starts reach below the lines, and neighbouring ranks are reached by dropping and adding orbits.
ORDER_9 = "Z3*c:(123)"
START = {"9": 4, "3:<a>:+": 1, "3:<ab>:+": 1, "1:<a,b>:+": 5}
LEARNT: tuple[tuple[int, dict[str, Any]], ...] = (
    (47, {"counts": START, "ranks": [44, 45, 46], "widest": 300, "runs": 6, "explore": 0.0}),
    (
        40,
        {
            "counts": {"9": 4, "3:<ab>:+": 1, "1:<a,b>:+": 1},
            "ranks": [42, 43, 44],
            "widest": 300,
            "runs": 8,
            "explore": 0.0,
        },
    ),
    (47, {"counts": START, "ranks": [46], "runs": 2, "explore": 0.0, "release": "Z3"}),
)
#: Kinds of groups → symmetries by format, where nothing was learnt.
KINDS: dict[str, dict[Format, tuple[str, ...]]] = {
    "cyclic": {(4, 4, 4): ("Z3*c:(123)", "Z3"), (3, 3, 3): ("Z3",), (2, 2, 2): ("Z3",)},
    "dihedral": {(4, 4, 4): ("Z3*T", "Z3*c:(12)"), (3, 3, 3): ("Z3*c:(12)",)},
    "none": {},
}


def settings_of(unit: Unit) -> dict[str, Any]:
    """All settings of a unit, defaults filled in.

    Raises
    ------
    StlError
        For a value of the wrong kind.
    """
    own = {**SETTINGS, **unit.parameters}
    for name in ("runs", "restarts", "widest", "population", "generations", "steps", "keep"):
        if not isinstance(own[name], int) or not 0 <= own[name] <= 10**7:
            raise StlError(name, own[name], "a whole number from 0 to 10^7")
    for name in ("explore", "fresh"):
        if not isinstance(own[name], (int, float)) or not 0 <= own[name] <= 1:
            raise StlError(name, own[name], "a share from 0 to 1")
    kinds: dict[str, tuple[type, ...]] = {
        "ranks": (int,), "groups": (str,), "from": (str, dict), "caps": (int, float),
    }  # fmt: skip
    for name, kind in kinds.items():
        listed = isinstance(own[name], list) and all(isinstance(v, kind) for v in own[name])
        if not listed:
            raise StlError(name, own[name], "a list of " + " or ".join(k.__name__ for k in kind))
    counts = own["counts"]
    many = list(counts.values()) if isinstance(counts, dict) else counts
    if counts is not None and not (isinstance(many, list) and all(isinstance(k, int) for k in many)):
        raise StlError("counts", counts, "whole numbers by the names of orbit types, or a list, or null")
    if any(not 1 <= r <= prod(unit.format) for r in own["ranks"]):
        raise StlError("ranks", own["ranks"], f"whole numbers from 1 to {prod(unit.format)}")
    if not isinstance(own["release"], (str, type(None))) or not isinstance(own["above"], bool):
        raise StlError("release, above", (own["release"], own["above"]), "a symmetry or null, and true or false")
    return own


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """Search; the best ends of every rank, those below both lines unless all are asked for, least rank first."""
    own = settings_of(unit)
    ranks = sorted({unit.rank, *own["ranks"]})
    if own["caps"]:
        pool = _capped(unit, own, context)
    else:
        pool = _deep(unit, own, context) if own["population"] else _explored(unit, own, ranks, context)
    exact = best_rank(unit.format)
    for rank in ranks:
        line = 1 - rank / min(prod(unit.format), exact or prod(unit.format))
        for end in pool.ends.get(rank, [])[: int(own["keep"])]:
            context.statistics.setdefault(f"total_{rank}", round(end.total, 5))
            if end.total < line or own["above"]:
                about: dict[str, Any] = {k: end.origin[k] for k in ("label", "move", "trail")}
                yield Encoder.build(matmul(*unit.format), *end.factors, ring="R64", origin=about)


def _explored(unit: Unit, own: dict[str, Any], ranks: list[int], context: Context) -> Pool:
    """Runs over the subspaces of the unit's symmetries."""
    from ..approx.explore import COLD, Explorer
    from ..approx.pool import Pool

    pool = Pool()
    explorer = Explorer(
        unit.format,
        ranks,
        [unit.symmetry, *own["groups"]],
        pool,
        device=context.device,
        seed=unit.seed,
        restarts=int(own["restarts"]),
        seconds=float("inf"),
        explore=float(own["explore"]),
        widest=int(own["widest"]),
        log=context.log,
    )
    if own["counts"] is not None:
        from ..lm.invariant import Invariant

        counts = Invariant(unit.symmetry, unit.format, own["counts"]).counts
        arm = explorer.arm(unit.symmetry, counts, unit.rank)
        if explorer.space(arm.group, arm.counts).rank != unit.rank:
            raise StlError("counts", own["counts"], f"orbit multiplicities that add up to rank {unit.rank}")
        explorer.run(arm, "random", None, 24 * int(own["restarts"]), 150, COLD)
    for turn in range(int(own["runs"])):
        if context.left() <= 0:
            break
        explorer.step(ranks[turn % len(ranks)])
    for rank in ranks if own["release"] else ():
        if context.left() > 0:
            explorer.release(rank, str(own["release"]))
    context.statistics |= {"runs": explorer.runs, "moves": {k: f"{g} of {n}" for k, (n, g) in explorer.gains.items()}}
    return pool


def _capped(unit: Unit, own: dict[str, Any], context: Context) -> Pool:
    """Bounded κ² from the encoders named: the path over weights of κ² in the unit's symmetry."""
    from ..approx.pool import Pool, scored
    from ..approx.sources import encoders_from
    from ..approx.tradeoff import FINE, capped_ends, path

    if not all(isinstance(c, (int, float)) and c > 0 for c in own["caps"]) or not own["from"]:
        raise StlError("caps", own["caps"], "positive bounds on κ², with encoders to begin from")
    parents = encoders_from(own["from"], unit.format)
    context.parents += parents
    if any(p.rank != unit.rank for p in parents):
        raise StlError("from", own["from"], f"encoders of rank {unit.rank}")
    ends = [scored(unit.format, p.floats(), {}) for p in parents]
    points = path(
        unit.format, ends, FINE, unit.symmetry, context.device, int(own["steps"]), context.left() / len(FINE), unit.seed
    )
    pool = Pool()
    for cap, end in capped_ends([e for _, e in points], own["caps"]).items():
        end.origin = {"label": f"κ² ≤ {cap:g}", "move": "rounding weighs more", "trail": []}
        pool.offer(end)
    return pool


def _deep(unit: Unit, own: dict[str, Any], context: Context) -> Pool:
    """A population in the unit's own subspace."""
    from ..approx.pool import Pool, scored
    from ..approx.population import Population
    from ..approx.sources import encoders_from, starts_in
    from ..lm.invariant import Invariant, types_of
    from ..lm.problem import matmul_tensor

    action, types = types_of(unit.symmetry, unit.format)
    counts = own["counts"] if own["counts"] is not None else [unit.rank] if unit.symmetry == "none" else None
    par = None if counts is None else Invariant(unit.symmetry, unit.format, counts)
    if par is None or par.rank != unit.rank:
        names = ", ".join(t.name for t in types)
        raise StlError("counts", own["counts"], f"multiplicities of {names} that add up to rank {unit.rank}")
    parents = encoders_from(own["from"], unit.format)
    context.parents += parents
    crowd = Population(
        matmul_tensor(*unit.format), par, int(own["population"]), context.device, unit.seed, steps=int(own["steps"]),
        log=context.log,
    )  # fmt: skip
    starts = starts_in(par, action, types, parents, unit.seed)
    crowd.begin(starts, fresh=float(own["fresh"]) if starts is not None else 1.0)
    first = float(crowd.best()[0])
    made = crowd.run(int(own["generations"]), context.left())
    context.statistics |= {
        "generations": made, "begun": round(first, 5),
        "moves": {f"{m} {k}": f"{g:.1f} of {n:.0f}" for (m, k), (g, n) in crowd.tally.items()},
    }  # fmt: skip
    pool = Pool()
    for _, theta in crowd.ends(int(own["keep"])):
        origin = {"group": unit.symmetry, "label": par.label, "move": "population", "trail": [f"generation {made}"]}
        pool.offer(scored(unit.format, par.expand(theta), origin))
    return pool


@register(
    "approximate", groups=tuple(KINDS), run=run, late=True, settings=SETTINGS,
    space="approximate encoders below dropping products and below time-sharing; --group cyclic, dihedral or none, "
    "formats with nmp <= 64 (by default 4,4,4), ranks below the best known exact rank",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """What was learnt first, then every rank in question under every symmetry of the kind; new seeds every round."""
    kind, seed = request.group or "cyclic", request.seed + turn
    fmt = request.format or (4, 4, 4)
    exact = best_rank(fmt) or prod(fmt)
    if prod(fmt) > 64 or (request.rank is not None and request.rank >= exact):
        return
    orders = {"Z3": 3, "Z3*c:(123)": 9, "Z3*T": 6, "Z3*c:(12)": 6, "none": 1}
    if fmt == (4, 4, 4) and kind == "cyclic" and request.rank is None and request.order in (None, 9):
        for rank, parameters in LEARNT:
            yield Unit("approximate", ORDER_9, fmt, rank, parameters, seed, "R64")
        if request.format is None:
            return
    symmetries = KINDS.get(kind, {}).get(fmt, ("none",) if kind == "none" else ())
    wanted = [request.rank] if request.rank is not None else range(exact - 1, exact // 2, -2)
    for rank in wanted:
        for symmetry in symmetries:
            if request.order in (None, orders.get(symmetry)):
                yield Unit("approximate", symmetry, fmt, rank, {}, seed, "R64")
