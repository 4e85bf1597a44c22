"""Border rank by numbers, under groups: where does ε² stop as the penalty falls? (`search.approx.stiff`)

A unit is a format, a rank, a symmetry and a multiset of its orbit types; its result, in the ledger, is the *floor* ε²
reached at the last penalty, the *slope* d log ε²/d log μ there, *fit/penalty*, and the *exponents*: how fast each orbit
grows, d log‖term‖/d log ε.  Along a border algorithm of error order e and degree d the slope is 3e/(3e + d) and
fit/penalty d/(3e); at a minimum that stays put the slope is 0. None of these numbers proves anything: a path can fall
for decades and stop, and random starts miss what is there. Handed on is the member of the path that rounds best in
bf16, if it lies below dropping products and below skipping K-tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from stl_algebra import Encoder, StlError
from stl_algebra.known import best_rank
from stl_algebra.symmetry import sample_multisets
from stl_algebra.targets import matmul

from ..core.unit import Context, Format, Request, Unit, register

#: Settings of a unit and their defaults.
#:
#: counts: orbit multiplicities, largest orbits first · sample: without them, which of the sampled multisets · restarts,
#: iterations: of the random starts · followed: ends whose paths are followed · least: last penalty · steps: at most, of
#: each point of a path.
SETTINGS: dict[str, Any] = {
    "counts": None, "sample": 0, "restarts": 48, "iterations": 150, "followed": 2, "least": 1e-9, "steps": 40,
}  # fmt: skip
#: Formats with the ranks in question, the first two to see that known answers come out: six products for ⟨2,2,2⟩ stop
#: at 1/8, ten for ⟨2,2,3⟩ fall to zero.
QUESTIONS: dict[Format, tuple[int, ...]] = {
    (2, 2, 2): (6,), (2, 2, 3): (10,), (3, 3, 3): (20, 19), (2, 3, 4): (19, 18), (3, 3, 4): (26, 25),
    (3, 4, 4): (35, 34), (4, 4, 4): (45, 44),
}  # fmt: skip
CUBIC = ("Z3", "Z3*d:2+1", "Z3*c:(12)", "c:(123)", "Z3*T", "Z3*c:(123)", "d:2+1", "c:(12)", "T")
GROUPS: dict[Format, tuple[str, ...]] = {
    (2, 2, 2): ("Z3",), (2, 2, 3): ("none", "d:1+1,1+1,2+1"), (3, 3, 3): CUBIC,
    (2, 3, 4): ("none", "d:1+1,2+1,2+2", "d:1+1,2+1,3+1", "c:(12),(12),(12)(34)"),
    (3, 3, 4): ("d:2+1,2+1,2+2", "d:2+1,2+1,3+1", "c:(123),(123),(123)", "c:(12),(12),(12)(34)"),
    (3, 4, 4): ("d:2+1,2+2,2+2", "d:2+1,3+1,3+1", "c:(123),(123),(123)", "c:(12),(12)(34),(12)(34)", "T"),
    (4, 4, 4): ("Z3*c:(123)", "Z3*c:(12)(34)", "Z3*d:3+1*c:(12)", "Z3*c:(1234)"),
}  # fmt: skip


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """Random starts, then the paths of the best ends; floor, slope and exponents go to the statistics."""
    from ..approx.explore import COLD
    from ..approx.pool import scored
    from ..approx.stiff import Problem, Step, follow
    from ..lm.engine import minimise
    from ..lm.invariant import Invariant, types_of
    from ..lm.problem import matmul_tensor

    own = {**SETTINGS, **unit.parameters}
    target = matmul_tensor(*unit.format)
    types = types_of(unit.symmetry, unit.format)[1]
    counts = own["counts"]
    if counts is None:
        sampled = sample_multisets(types, unit.rank, int(own["sample"]) + 1, unit.seed)
        if len(sampled) <= int(own["sample"]):
            context.statistics["multiset"] = "none left"
            return
        counts = sampled[int(own["sample"])]
    par = Invariant(unit.symmetry, unit.format, counts)
    if par.rank != unit.rank:
        names = ", ".join(t.name for t in types)
        raise StlError("counts", counts, f"multiplicities of {names} that add up to rank {unit.rank}")
    schedule = COLD.with_(mu_end=1e-5, kappa_weight=0.0)
    result = minimise(
        target, par, int(own["restarts"]), int(own["iterations"]), schedule, unit.seed, context.device,
        seconds=context.left() / 2,
    )  # fmt: skip
    problem = Problem(target, par, context.device)
    best: list[list[Step]] = [[]]
    for row in np.argsort(result.eps2)[: int(own["followed"])]:
        left = context.left() / 2
        path: list[Step] = list(
            follow(problem, result.theta[row], 1e-5, float(own["least"]), 0.1, int(own["steps"]), left)
        )
        if path and (not best[0] or path[-1].epsilon2 < best[0][-1].epsilon2):
            best = [path]
    context.statistics |= {"counts": list(par.counts), "unknowns": par.size, **_told(best[0], par)}
    ends = [scored(unit.format, par.expand(s.theta), {}) for s in best[0]]
    exact = best_rank(unit.format) or prod(unit.format)
    for end in sorted(ends, key=lambda e: e.total)[:1]:
        if end.total < 1 - unit.rank / min(prod(unit.format), exact):
            yield Encoder.build(matmul(*unit.format), *end.factors, ring="R64", origin={"label": par.label})


def _told(path: list[Any], par: Any) -> dict[str, Any]:
    """Floor, slope, fit/penalty and the exponents of the orbits, at the end of a path."""
    if len(path) < 2:
        return {}
    before, last = path[-2], path[-1]
    slope = np.log(last.epsilon2 / before.epsilon2) / np.log(last.mu / before.mu)
    strength = []
    for step in (before, last):
        x, w, d = par.expand(step.theta)
        strength.append(np.linalg.norm(x, axis=1) * np.linalg.norm(w, axis=1) * np.linalg.norm(d, axis=0))
    fall = 0.5 * np.log(last.epsilon2 / before.epsilon2)
    growth = np.log(np.maximum(strength[1], 1e-300) / np.maximum(strength[0], 1e-300))
    firsts = np.cumsum([0] + [o.size for o, k in par.orbits for _ in range(k)])[:-1]
    grows = [round(float(g / fall), 2) if abs(fall) > 1e-3 else 0.0 for g in growth[firsts]]
    return {
        "floor": float(last.epsilon2), "mu": float(last.mu), "kappa2": float(last.kappa2),
        "slope": round(float(slope), 4), "fit_over_penalty": round(float(last.ratio), 3),
        "gradient": float(last.gradient), "exponents": grows,
    }  # fmt: skip


@register(
    "border", run=run, late=True, settings=SETTINGS,
    space="floors of the error as terms grow, under the symmetries listed for 2,2,2 · 2,2,3 · 3,3,3 · 2,3,4 · 3,3,4 · "
    "3,4,4 · 4,4,4 at the ranks in question or one that is named, below the best known exact rank",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Every format and rank in question under every symmetry; another multiset and seed every round."""
    formats = QUESTIONS if request.format is None else [f for f in QUESTIONS if f == request.format]
    for fmt in formats:
        exact = best_rank(fmt) or prod(fmt)
        ranks = QUESTIONS[fmt] if request.rank is None else (request.rank,)
        for rank in ranks:
            if not prod(fmt) // 2 < rank < exact or request.order is not None:
                continue
            for symmetry in GROUPS[fmt]:
                yield Unit("border", symmetry, fmt, rank, {"sample": turn}, request.seed + turn, "R64")
