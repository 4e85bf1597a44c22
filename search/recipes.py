"""Named recipes: how each exact rank of the rediscovery programme is found from a group and a seed.

A recipe is data: format, rank, group, engine and its settings, and the time it is allowed.  ``lm`` recipes run the
invariant Levenberg–Marquardt engine and rationalise what it finds; ``flip`` recipes walk flip graphs from the
standard algorithm.  No published factor enters anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stl_algebra import Encoder, StlError

if TYPE_CHECKING:
    from search.lm import LMResult

__all__ = ["RECIPES", "Finding", "Recipe", "recipe", "run_recipe"]

Log = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """One row of the programme.

    Attributes
    ----------
    name : str
    format : (n, m, p)
    rank : int
    ring : str
        Largest ring accepted: ``"Z"``, ``"Z[1/2]"``, ``"Q"`` or ``"GF(2)"``.
    engine : {"lm", "flip"}
    group : str
        For ``lm``: a group of :mod:`search.lm.groups`, ``"Z3"`` or ``"free"``; for ``flip``: ``"none"``, ``"C3"``
        or ``"C3xZ2"``.
    seconds : float
        Budget on two CPU cores (or on the GPU, for recipes that say ``gpu``).
    settings : dict
        ``lm``: counts (orbit multiplicities by orbit-type name), restarts, iterations, schedule, changes, start (where
        restarts begin, see :mod:`search.lm.starts`), enough (numerical solutions to stop at); ``flip``: lift
        (walk over GF(2), lift to Z or Q), else for `search_flips`.
    gpu : bool
        Whether the budget is meant for a GPU.
    """

    name: str
    format: tuple[int, int, int]
    rank: int
    ring: str
    engine: str
    group: str
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    gpu: bool = False


@dataclass
class Finding:
    """What a recipe came to.

    ``encoder`` is exact and proven, or None; ``numerical`` counts solutions to rounding, ``tried`` how many of them
    were handed to the rationaliser.
    """

    recipe: Recipe
    seed: int
    device: str
    encoder: Encoder | None = None
    restarts: int = 0
    numerical: int = 0
    tried: int = 0
    search_seconds: float = 0.0
    exact_seconds: float = 0.0
    best_eps2: float = float("nan")
    reason: str = ""
    solutions: dict[str, Any] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether an exact encoder of the rank came out."""
        return self.encoder is not None


def _z3(rank: int, fixed: int) -> dict[str, Any]:
    return {"counts": {"C3": fixed, "1": (rank - fixed) // 3}}


_HOPELESS = {"abandon": ((0.4, 0.35), (0.6, 0.15), (0.8, 0.05))}


#: Signed permutations generating the changes of basis (order 96) that fix Smirnov's ⟨3,3,6;40⟩, after a diagonal one.
S336 = "p:1-3-2,3-21,215-436*p:-312,-231,-2-4-613-5*p:123,12-3,1-3-2654*p:1-23,1-2-3,1-2-3456"

#: The same for AlphaEvolve's ⟨2,4,5;32⟩ (order 8).
S245 = "p:12,12-3-4,1234-5*p:1-2,-214-3,3412-5*p:12,-4-321,1432-5"


def _table() -> Iterator[Recipe]:
    two, three, four, five = (2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 5)
    yield Recipe("222-z3", two, 7, "Z", "lm", "Z3", 30,
                 {**_z3(7, 4), "restarts": 24, "iterations": 100, "enough": 2, "schedule": "fast"})
    yield Recipe("222-s3", two, 7, "Q", "lm", "s:(12)*s:(123)", 30,
                 {"counts": {"6.0:4+4+4": 1, "1.0:1+1+1": 1}, "restarts": 16, "iterations": 80, "enough": 2,
                  "schedule": "fast"})
    yield Recipe("222-flip", two, 7, "Z", "flip", "none", 10)
    yield Recipe("223-free", (2, 2, 3), 11, "Z", "lm", "free", 60, {"restarts": 48, "iterations": 150, "enough": 5,
                 "schedule": "fast"})
    yield Recipe("224-free", (2, 2, 4), 14, "Z", "lm", "free", 60, {"restarts": 48, "iterations": 150, "enough": 5,
                 "schedule": "fast"})
    yield Recipe("233-free", (2, 3, 3), 15, "Q", "lm", "free", 60, {"restarts": 64, "iterations": 200, "enough": 4,
                 "schedule": "fast"})
    yield Recipe("234-free", (2, 3, 4), 20, "Q", "lm", "free", 60, {"restarts": 64, "iterations": 250, "enough": 3,
                 "schedule": "fast"})
    for fmt, rank in (((2, 2, 3), 11), ((2, 2, 4), 14), ((2, 3, 3), 15), ((2, 3, 4), 20)):
        yield Recipe("".join(map(str, fmt)) + "-flip", fmt, rank, "Z", "flip", "none", 60)
    yield Recipe("333-z3-11", three, 23, "Q", "lm", "Z3", 60,
                 {**_z3(23, 11), "restarts": 48, "iterations": 100, "enough": 4, "slots": 16, "schedule": "fast"})
    yield Recipe("333-z3-2", three, 23, "Q", "lm", "Z3", 60,
                 {**_z3(23, 2), "restarts": 48, "iterations": 100, "enough": 4, "slots": 16, "schedule": "fast"})
    yield Recipe("333-z3-5", three, 23, "Q", "lm", "Z3", 60,
                 {**_z3(23, 5), "restarts": 48, "iterations": 100, "enough": 4, "slots": 16, "schedule": "fast"})
    yield Recipe("333-free", three, 23, "Q", "lm", "free", 120,
                 {"restarts": 16, "iterations": 140, "enough": 2, "slots": 4, "schedule": "fast"})
    yield Recipe("336-order96", (3, 3, 6), 40, "Q", "lm", S336, 120,
                 {"counts": {"24.68:4+7+7": 1, "16.1:1+3+3": 1}, "restarts": 16, "iterations": 100, "enough": 2,
                  "schedule": "fast"})
    yield Recipe("245-order8", (2, 4, 5), 32, "Q", "lm", S245, 120,
                 {"counts": {"8.0:8+20+10": 2, "4.0:4+10+8": 2, "4.2:4+10+8": 2}, "restarts": 192, "iterations": 110,
                  "enough": 2, "slots": 32, "changes": {**_HOPELESS, "mu_start": 0.1, "promote_below": 1e-3}})
    yield Recipe("334-deflate", (3, 3, 4), 29, "Q", "lm", "free", 300,
                 {"restarts": 192, "iterations": 120, "enough": 1, "slots": 16,
                  "changes": {"mu_start": 0.02, "mu_end": 5e-4, "promote_below": 1e-3, "abandon": ((0.6, 0.15),)},
                  "start": {"kind": "deflate", "squeeze": 0, "candidates": 24, "keep": 8, "from": {
                      "rank": 30, "restarts": 48, "iterations": 150, "slots": 16, "stop_after": 8,
                      "changes": {**_HOPELESS, "mu_start": 0.1, "promote_below": 3e-3}}}})
    yield Recipe("333-flip", three, 23, "Z", "flip", "none", 10)
    for fmt, rank in (((3, 3, 4), 29), ((3, 4, 4), 38), ((2, 5, 5), 40), ((3, 3, 5), 36), ((3, 4, 5), 47)):
        yield Recipe("".join(map(str, fmt)) + "-flip", fmt, rank, "Q", "flip", "none", 300, {"lift": True})
    yield Recipe("444-49-z3", four, 49, "Q", "lm", "Z3", 240,
                 {**_z3(49, 16), "restarts": 1536, "iterations": 180, "enough": 2, "schedule": "fast"})
    yield Recipe("444-49-flip", four, 49, "Z", "flip", "C3", 60)
    yield Recipe("444-48-e32", four, 48, "Z[1/2]", "lm", "E32", 120,
                 {"counts": {"32.0:16+16+16": 1, "16.13:8+8+8": 1}, "restarts": 96, "iterations": 120, "enough": 2,
                  "slots": 24, "schedule": "fast"})
    yield Recipe("444-48-order16", four, 48, "Z[1/2]", "lm", "E32/134", 60,
                 {"counts": {"16.0:16+16+16": 3}, "restarts": 512, "iterations": 200, "enough": 4,
                  "changes": _HOPELESS}, gpu=True)
    yield Recipe("444-48-order8", four, 48, "Z[1/2]", "lm", "E32/15", 60,
                 {"counts": {"8.0:16+16+16": 6}, "restarts": 768, "iterations": 200, "enough": 4,
                  "changes": _HOPELESS}, gpu=True)
    yield Recipe("255-free", (5, 2, 5), 40, "Q", "lm", "free", 120,
                 {"restarts": 1024, "iterations": 140, "enough": 3, "schedule": "fast"}, gpu=True)
    yield Recipe("444-47-flip", four, 47, "GF(2)", "flip", "none", 600, {"workers": 2})
    yield Recipe("555-97-flip", five, 97, "Q", "flip", "C3xZ2", 600, {"workers": 2, "lift": True})
    yield Recipe("555-93-flip", five, 93, "Q", "flip", "C3", 1800, {"workers": 2, "lift": True})
    yield Recipe("555-97-z3", five, 97, "Q", "lm", "Z3", 600,
                 {**_z3(97, 25), "restarts": 4096, "iterations": 240, "enough": 1,
                  "changes": {"abandon": ((0.5, 0.1), (0.7, 0.03), (0.85, 0.01))}}, gpu=True)


RECIPES: dict[str, Recipe] = {r.name: r for r in _table()}
"""All recipes by name, in the order of the programme."""


def recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises
    ------
    StlError
        For an unknown name; the message lists the known ones.
    """
    if name not in RECIPES:
        raise StlError("recipe", name, ", ".join(RECIPES), "see python -m search.rediscover --list")
    return RECIPES[name]


def run_recipe(job: Recipe, seed: int = 0, device: str = "cpu", seconds: float | None = None, log: Log = lambda _: None,
               ) -> Finding:
    """Run one recipe.

    Parameters
    ----------
    job : Recipe
    seed : int
    device : str
        Where an ``lm`` recipe optimises.
    seconds : float, optional
        Replaces the recipe's own budget.
    log : callable
        Receives one-line progress messages.
    """
    finding = Finding(job, seed, device)
    budget = job.seconds if seconds is None else seconds
    (_flip if job.engine == "flip" else _lm)(finding, budget, log)
    return finding


def _origin(finding: Finding, **more: Any) -> dict[str, Any]:
    from stl_algebra import __version__

    job = finding.recipe
    return {
        "family": "flip-graph" if job.engine == "flip" else "orbit-lm", "group": job.group, "recipe": job.name,
        "parameters": {k: v for k, v in job.settings.items() if k != "workers"}, "seed": finding.seed,
        "from": "scratch", "version": __version__, **more,
    }


def lm_parametrisation(job: Recipe) -> Any:
    """The parametrisation of an ``lm`` recipe."""
    from search.lm import CyclicZ3, Free
    from search.lm.groups import named_action
    from search.lm.orbits import Invariant, orbit_types
    from stl_algebra.targets import matmul

    if job.group == "free":
        return Free(matmul(*job.format), job.rank)
    counts = job.settings["counts"]
    if job.group == "Z3":
        return CyclicZ3(job.format[0], counts["C3"], counts["1"])
    action = named_action(job.group, job.format)
    largest = max(action.order // int(name.split(".")[0]) for name in counts)
    types = orbit_types(action, largest_stabiliser=largest)
    missing = set(counts) - {t.name for t in types}
    if missing:
        raise StlError("counts", sorted(missing), ", ".join(t.name for t in types), "name orbit types that exist")
    return Invariant(action, [counts.get(t.name, 0) for t in types], types=types)


def _lm(finding: Finding, budget: float, log: Log) -> None:
    from search.lm import SCHEDULES, minimise
    from search.lm.jobs import Job
    from search.lm.starts import starts_for
    from stl_algebra.targets import matmul

    job = finding.recipe
    target, settings = matmul(*job.format), job.settings
    parametrisation = lm_parametrisation(job)
    wanted = Job("x".join(map(str, job.format)), job.rank, job.group, restarts=settings["restarts"], seed=finding.seed,
                 schedule=settings.get("schedule", "default"), start=settings.get("start", {}))
    schedule = SCHEDULES[settings.get("schedule", "default")].with_(**settings.get("changes", {}))
    begin = time.perf_counter()
    last = [begin]

    def progress(state: dict[str, Any]) -> None:
        if time.perf_counter() - last[0] > 2:
            last[0] = time.perf_counter()
            log(f"{state['ended']} restarts ended, {state['converged']} exact to rounding, "
                f"best ε² {state['best_eps2']:.1e}, {state['iterations'] / state['seconds']:.0f} steps/s")

    begun = starts_for(wanted, parametrisation, finding.device)
    result = minimise(
        target, parametrisation, settings["restarts"], settings["iterations"], schedule, finding.seed,
        finding.device, None if begun is None else begun.theta, slots=settings.get("slots"),
        stop_after=settings.get("enough"), seconds=budget, progress=progress,
    )
    finding.search_seconds = time.perf_counter() - begin
    finding.restarts, finding.numerical = len(result.eps2), int(result.converged.sum())
    finding.best_eps2 = float(result.eps2.min())
    rows = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: finding.numerical]
    finding.solutions = {"e_x": result.e_x[rows], "e_w": result.e_w[rows], "d": result.d[rows]}
    if not len(rows):
        finding.reason = "no restart reached an exact solution"
        return
    _rationalise(finding, result, rows, target, max(10.0, budget - finding.search_seconds), log)
    finding.exact_seconds = time.perf_counter() - begin - finding.search_seconds


def _rationalise(finding: Finding, result: LMResult, rows: Any, target: Any, budget: float, log: Log) -> None:
    """Hand numerical solutions to the rationaliser, least κ² first, until one is proven exact."""
    from search.exact import rationalise
    from search.lm.harvest import as_it_stands

    job = finding.recipe
    end = time.perf_counter() + budget
    for row in rows:
        left = end - time.perf_counter()
        if left < 1:
            break
        finding.tried += 1
        plain = as_it_stands(target, result.factors(row))
        if plain is not None and (job.ring == "Q" or plain.ring.name in ("Z", job.ring)):
            finding.encoder = plain.with_origin(**_origin(finding, stage="rationalised", device=finding.device))
            return
        report = rationalise(
            target.dense(), *result.factors(row), symmetry="Z3" if job.group == "Z3" else None, ring=job.ring,
            seed=finding.seed, seconds=max(min(left, 60.0), left / 2),
        )
        finding.reason = "" if report.success else report.reason
        if not report.success:
            log(f"solution {finding.tried} not rationalised: {report.reason}")
            continue
        encoder = Encoder.build(
            target, report.e_x, report.e_w, (report.d, report.den), ring=report.ring,
            origin=_origin(finding, stage="rationalised", device=finding.device),
        )
        if encoder.is_exact:
            finding.encoder = encoder
            return
        finding.reason = "the rationalised factors failed the proof"


def _flip(finding: Finding, budget: float, log: Log) -> None:
    from search.flips import search_flips

    job = finding.recipe
    settings = dict(job.settings)
    lift = bool(settings.pop("lift", False))
    log("walking the flip graph")
    result = search_flips(
        job.format, "GF(2)" if lift else job.ring, None if job.group == "none" else job.group, job.rank, budget,
        finding.seed, **settings,
    )
    finding.search_seconds, finding.restarts = result.seconds, 1
    if not result.found:
        finding.reason = f"rank {result.rank} reached"
        return
    start = time.perf_counter()
    try:
        encoder = result.encoder(lift, **_origin(finding, stage="lifted" if lift else "walk"))
    except StlError as error:
        finding.reason = f"rank {result.rank} over GF(2): {error}"
        return
    finding.exact_seconds = time.perf_counter() - start
    if encoder.is_exact:
        finding.encoder = encoder
    else:
        finding.reason = "the scheme failed the proof"
