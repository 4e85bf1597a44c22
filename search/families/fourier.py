"""Fourier encoders of finite groups: approximate triple products, a kept transform, then a free polish.

Index maps α, β of least collision (`search.algebras.indexmaps`: annealing and coordinate ascent) put the entries of A
and B into a group algebra, whose product is taken block by block (`search.algebras.wedderburn`). Below the order that
the triple product property needs, products collide, and

1. the encoder that reads the coefficients as well as possible is exact in its ring and has ε² in closed form, together
   with what the abelian barrier says about it;
2. polished with its transform kept (`search.algebras.polish`), encoding remains an FFT or Walsh–Hadamard transform;
3. freely polished, the group has only given the start.

A rank below that of the group algebra is reached by leaving out irreducible representations.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import isinf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError, group
from stl_algebra.groups import FiniteGroup, groups
from stl_algebra.targets import matmul

from ..algebras.embedding import embedded
from ..algebras.indexmaps import collisions, index_maps
from ..algebras.polish import kept_polish, truncated
from ..algebras.wedderburn import algebra, channels
from ..core.unit import Context, Format, Request, Unit, register

#: group: its name · method: how index maps are searched · polish: "kept" and "free" are yielded, or one of them only.
SETTINGS: dict[str, Any] = {"group": None, "method": "both", "polish": "both"}
POLISHES = ("both", "kept", "free")
#: Largest group order; beyond it no tile of volume 64 has fewer channels than products.
MAX_ORDER = 63
NOISE = (0.02, 0.1, 0.25, 0.5)
#: Groups of a list that are searched in one round.
LISTED = 24


def run(unit: Unit, context: Context) -> Iterator[Encoder]:
    """The encoder in closed form where its field is small; with its transform kept; freely polished."""
    own = {**SETTINGS, **unit.parameters}
    if own["polish"] not in POLISHES:
        raise StlError("polish", own["polish"], ", ".join(POLISHES))
    name, goal = str(own["group"]), matmul(*unit.format)
    table = np.asarray(group(name).table, np.int64)
    alpha, beta = index_maps(unit.format, table, unit.seed, str(own["method"]))
    found = collisions(alpha, beta, table)
    about = {"alpha": alpha.tolist(), "beta": beta.tolist(), "barrier": found.barrier}
    context.statistics |= {"group": name, "retained": found.retained, "barrier": found.barrier}
    if group(name).is_abelian:
        context.statistics["note"] = f"{name} on ⟨{','.join(map(str, unit.format))}⟩: {found.barrier}"
    whole = algebra(name, "complex")
    if whole.ring.exact and unit.rank == channels(name):
        yield embedded(whole, alpha, beta, found.reading, goal).with_origin(stage="constructed", **about)
    real = algebra(name)
    left, right = (f[:, at.ravel()] for f, at in zip(real.floats()[:2], (alpha, beta), strict=True))
    kept = _fitting(left, right, real, unit)
    best = kept_polish(goal, left[kept], right[kept], unit.seed)
    context.statistics |= {"kept_eps2": best.epsilon2, "channels": len(kept)}
    if own["polish"] != "free":
        yield best.encoder(goal, transform="kept", x=best.x.tolist(), w=best.w.tolist(), channels=kept, **about)
    if own["polish"] != "kept":
        yield from _freely(unit, context, (best.e_x, best.e_w, best.d))


def _fitting(left: NDArray[Any], right: NDArray[Any], real: Encoder, unit: Unit) -> list[int]:
    """The channels of the group algebra that a unit of its rank uses."""
    blocks = [list(range(at, at + count)) for _, _, at, count in real.origin["blocks"]]
    kept = truncated(matmul(*unit.format), left, right, blocks, unit.rank)
    if not kept:
        raise StlError("rank", unit.rank, f"at least {min(map(len, blocks))}, the products of one representation")
    return kept


def _freely(unit: Unit, context: Context, factors: tuple[NDArray[Any], ...]) -> Iterator[Encoder]:
    """All coefficients free, from a kept transform shaken a little; products that are missing begin at random."""
    from ..lm import Free, Schedule, minimise

    goal, missing = matmul(*unit.format), unit.rank - len(factors[0])
    rng = np.random.default_rng([unit.seed, unit.rank])
    parts = [factors[0], factors[1], factors[2].T]
    scale = np.sqrt(np.mean([(v**2).mean() for v in parts]))
    fill = [np.concatenate([v, 0.5 * scale * rng.standard_normal((missing, v.shape[1]))]) for v in parts]
    theta = np.concatenate([v.ravel() for v in fill])
    init = np.array([theta + level * scale * rng.standard_normal(theta.size) for level in NOISE])
    result = minimise(
        goal, Free(goal, unit.rank), iterations=80, schedule=Schedule(mu_start=0.1, mu_end=1e-3), seed=unit.seed,
        device=context.device, init=init, seconds=None if isinf(context.left()) else max(0.1, context.left()),
    )  # fmt: skip
    context.statistics |= {
        "restarts": len(result.eps2), "converged": int(result.converged.sum()), "best_eps2": float(result.eps2.min()),
        "steps": result.iterations, "search_seconds": round(result.seconds, 3),
    }  # fmt: skip
    for row in np.argsort(np.where(result.converged, result.kappa2, np.inf))[: int(result.converged.sum())]:
        yield Encoder.build(goal, *result.factors(row), ring="R64")
    if not result.converged.any():
        error = np.where(np.isfinite(result.eps2), result.eps2 + 8.1e-6 * result.kappa2, np.inf)
        best = int(error.argmin())
        if np.isfinite(error[best]):
            yield Encoder.build(goal, *result.factors(best), ring="R64")


def accepts(name: str) -> bool:
    """Whether ``--group`` names finite groups of a size the family can use, e.g. S3, D4, abelian, 'S3,D4'."""
    try:  # Z3 is the name of a symmetry, the group is C3
        return not name.startswith("Z") and all(2 <= g.order <= MAX_ORDER for g in _listed(name))
    except StlError:
        return False


@lru_cache(maxsize=32)
def _listed(name: str) -> tuple[FiniteGroup, ...]:
    return tuple(g for g in islice(groups(name), LISTED) if g.order > 1)


def _units(request: Request, name: str, order: int, fmt: Format, seed: int) -> Iterator[Unit]:
    """The unit of one group: at the rank of its algebra, or at a smaller one that is asked for by name."""
    if request.order not in (None, order):
        return
    full = channels(name)
    rank = full if request.rank is None else request.rank
    if rank < prod(fmt) and (rank == full or (request.group != "cyclic" and rank < full)):
        yield Unit("fourier", "none", fmt, rank, {"group": name}, seed)


@register(
    "fourier", groups=("cyclic",), run=run, settings=SETTINGS, accepts=accepts,
    space="orders r >= 2 whose real rank (1 per real character, 3 per complex pair) is below nmp, or finite groups "
    "such as S3, D4, C2xC2, 'abelian<=9'; formats n,m,p with nmp <= 64; a --rank of at most the group's, e.g. 4, 7, 9",
)  # fmt: skip
def units(request: Request, turn: int) -> Iterator[Unit]:
    """Every cyclic order whose real rank is below the naive count, or the groups named."""
    for fmt in [request.format] if request.format else [(2, 2, 2), (3, 3, 3)]:
        if prod(fmt) > 64:
            continue
        if request.group in (None, "cyclic"):
            chosen = [(f"C{r}", r) for r in range(2, prod(fmt))]
        else:
            chosen = [(g.name, g.order) for g in _listed(str(request.group))]
        for name, order in chosen:
            yield from _units(request, name, order, fmt, request.seed + turn)
