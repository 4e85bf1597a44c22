"""Where restarts begin, as data: random, built from smaller solutions, deflated, or continued from elsewhere.

The ``start`` of a unit is one of

``{}``
    Gaussian starts.
``{"kind": "built", "from": EXPR, "noise": 0.05}``
    Encoders composed of smaller ones, terms dropped or added to the rank wanted.  EXPR is nested data:
    ``{"solve": "2x2x2", "rank": 7, "pool": 4}`` (found here and now; other fields as in a unit),
    ``{"naive": "2x3x1"}``, ``{"file": "….safetensors"}``, ``{"kron": [EXPR, EXPR]}``,
    ``{"sum": [EXPR, EXPR], "axis": "p"}``, ``{"rotate": EXPR}`` (⟨n,m,p⟩ to ⟨m,p,n⟩) and ``{"transpose": EXPR}``.
``{"kind": "deflate", "from": {CHANGES}, "squeeze": 100, "candidates": 4, "keep": 16}``
    Solutions of the unit with changes, for instance more orbits or another rank; orbits are squeezed, removed, merged
    or added (see :mod:`search.lm.deflation`).  The inner unit may have a start of its own, so ranks can be walked down.
``{"kind": "gf2", "symmetry": "none", "seconds": 10, "signs": "descent", "noise": 0.1}``
    Schemes over GF(2) from walks of the flip graph, with signs: random ones, random ones improved by descent
    (only without a symmetry), or those of a Hensel lift.
``{"kind": "border", "from": {CHANGES}, "cap": 2, "eps2": 0.02, "noise": 0.1, "rounds": 1}``
    The inexact ends of the unit with changes, of small ε², their large terms scaled down; with more rounds, the ends of
    runs from those, and so on.

Whatever a start costs (seconds, iterations) is counted with the unit. Starts found here are from scratch; files that
are read become parents.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, load
from stl_algebra.errors import StlError
from stl_algebra.targets import matmul

from ..core.unit import Context, Unit, parse_format
from .continuation import flip_schemes, signs_by_descent
from .deflation import Squeezed, cut, doomed, merged_starts, reordered
from .engine import LMResult, minimise
from .parametrisation import Parametrisation
from .problem import matmul_tensor, parametrisation, schedule_of, settings_of
from .projection import capped, fit_orbits, of_rank, perturbed

__all__ = ["KINDS", "Starts", "solve", "starts_for"]

Array = NDArray[Any]


@dataclass
class Starts:
    """Starting points of a run and what they cost.

    Attributes
    ----------
    theta : (R, size) array
    seconds : float
    steps : int
        Optimiser iterations spent on them.
    parents : list of Encoder
        Encoders read from files.
    """

    theta: Array = field(repr=False)
    seconds: float = 0.0
    steps: int = 0
    parents: list[Encoder] = field(default_factory=list, repr=False)


def solve(unit: Unit, par: Parametrisation, context: Context | None = None) -> tuple[LMResult, Starts | None]:
    """Run the optimiser on a unit, from wherever it starts.

    Returns
    -------
    result, starts : LMResult, Starts or None
        Starts are None for Gaussian ones. ``result.seconds`` and ``.iterations`` do not contain their cost.

    Examples
    --------
    >>> from search.lm.problem import parametrisation
    >>> unit = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}, "restarts": 16})
    >>> result, begun = solve(unit, parametrisation(unit))
    >>> bool(result.converged.any()), begun is None
    (True, True)
    """
    own, context = settings_of(unit), context or Context()
    begun = starts_for(unit, par, context)
    result = minimise(
        matmul_tensor(*unit.format),
        par,
        own["restarts"],
        own["iterations"],
        schedule_of(unit),
        unit.seed,
        context.device,
        None if begun is None else begun.theta,
        slots=own["slots"],
        stop_after=own["stop_after"],
        seconds=_left(context),
    )
    return result, begun


def _left(context: Context) -> float | None:
    return None if math.isinf(context.left()) else max(0.1, context.left())


def starts_for(unit: Unit, par: Parametrisation, context: Context | None = None) -> Starts | None:
    """The starting points a unit asks for, at most ``restarts`` of them; None for Gaussian ones.

    Raises
    ------
    StlError
        For an unknown kind, unknown fields, or a source that yields nothing to start from.
    """
    own = settings_of(unit)
    if not own["start"]:
        return None
    options = dict(own["start"])
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise StlError("start", kind, ", ".join(KINDS), 'for instance {"kind": "built", "from": {"naive": "2x2x2"}}')
    make, defaults = KINDS[kind]
    unknown = set(options) - set(defaults)
    if unknown:
        raise StlError("start", sorted(unknown), ", ".join(defaults), "correct the start's fields")
    if defaults.get("from", "") is None and not isinstance(options.get("from"), Mapping):
        raise StlError("start", kind, "a field 'from', an object", "say what to start from")
    begin = time.perf_counter()
    starts = make(unit, par, {**defaults, **options}, np.random.default_rng([unit.seed, 77]), context or Context())
    return replace(starts, theta=starts.theta[: own["restarts"]], seconds=time.perf_counter() - begin)


class _Builder:
    """Evaluates the expressions of built starts; leaves are solved once, then drawn from at random."""

    def __init__(self, seed: int, context: Context, ring: str) -> None:
        self.seed, self.context, self.ring = seed, context, ring
        self.pools: dict[str, list[Encoder]] = {}
        self.parents: list[Encoder] = []
        self.steps = 0

    def draw(self, expr: Any, rng: np.random.Generator) -> Encoder:
        """One encoder of an expression."""
        if not isinstance(expr, Mapping):
            raise StlError("from", expr, "an expression such as {'naive': '2x2x2'}", "see search.lm.starts")
        if "kron" in expr or "sum" in expr:
            parts = [self.draw(e, rng) for e in expr["kron" if "kron" in expr else "sum"]]
            whole = parts[0]
            for part in parts[1:]:
                whole = whole.kron(part) if "kron" in expr else whole.direct_sum(part, expr.get("axis", "n"))
            return whole
        if "rotate" in expr:
            return self.draw(expr["rotate"], rng).rotate()
        if "transpose" in expr:
            return self.draw(expr["transpose"], rng).transpose()
        key = repr(sorted(expr.items(), key=str))
        if key not in self.pools:
            self.pools[key] = self._leaf(expr)
        pool = self.pools[key]
        return pool[int(rng.integers(len(pool)))]

    def _leaf(self, expr: Mapping[str, Any]) -> list[Encoder]:
        if "naive" in expr:
            n, m, p = (int(x) for x in expr["naive"].split("x"))
            a, b, c = (x.ravel() for x in np.indices((n, m, p)))
            rows = np.arange(n * m * p)
            e_x, e_w, d = np.zeros((n * m * p, n * m)), np.zeros((n * m * p, m * p)), np.zeros((n * p, n * m * p))
            e_x[rows, a * m + b] = e_w[rows, b * p + c] = d[a * p + c, rows] = 1
            return [Encoder.build(matmul(n, m, p), e_x, e_w, d, ring=self.ring)]
        if "file" in expr:
            parent = load(Path(str(expr["file"])))
            self.parents.append(parent)
            return [parent.to_ring(self.ring)]
        if "solve" not in expr:
            known = "solve, naive, file, kron, sum, rotate, transpose"
            raise StlError("from", sorted(expr), known, "see search.lm.starts")
        changes = {k: v for k, v in expr.items() if k not in ("solve", "pool", "rank")}
        pool = int(expr.get("pool", 4))
        unit = Unit(
            "orbit",
            "none",
            parse_format(expr["solve"]),
            int(expr["rank"]),
            {"schedule": "fast", "stop_after": pool, "restarts": 64 * pool},
            self.seed,
        ).with_(**changes)
        par = parametrisation(unit)
        result, begun = solve(unit, par, self.context)
        self.steps += result.iterations + (begun.steps if begun else 0)
        self.parents += begun.parents if begun else []
        rows = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: int(result.converged.sum())]
        if len(rows):
            return [Encoder.build(matmul(*unit.format), *result.factors(r), ring=self.ring) for r in rows[:pool]]
        raise StlError("from", dict(expr), "a format and rank that are solved in the restarts given", "raise restarts")


def _built(
    unit: Unit, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, context: Context
) -> Starts:
    own = settings_of(unit)
    builder = _Builder(unit.seed, context, "C128" if own["field"] == "complex" else "R64")
    rows = []
    for _ in range(own["restarts"]):
        whole = builder.draw(options["from"], rng)
        if whole.format != unit.format:
            raise StlError("from", f"an encoder of {whole.format}", str(unit.format), "match the unit's format")
        floats = whole.floats(np.complex128 if own["field"] == "complex" else np.float64)
        rows.append(_placed(par, of_rank(floats, par.rank, rng), rng))
    theta = perturbed(np.stack(rows), options["noise"], rng)
    return Starts(theta, steps=builder.steps, parents=builder.parents)


def _placed(par: Parametrisation, factors: tuple[Array, Array, Array], rng: np.random.Generator) -> Array:
    """Parameters of given factors: as they are if nothing is tied, else fitted to the orbits."""
    return fit_orbits(par, factors, rng)[0]


@dataclass
class _Source:
    """What the inner unit of a start came to."""

    par: Parametrisation
    result: LMResult
    steps: int
    parents: list[Encoder]


def _source(unit: Unit, changes: Mapping[str, Any], context: Context) -> _Source:
    """Run the unit with changes; counts are those of the changes, or sampled."""
    plain: dict[str, Any] = {"start": {}, "stop_after": None}
    if "counts" not in changes and ("rank" in changes or "symmetry" in changes):
        plain["counts"] = None
    inner = unit.with_(**{**plain, **changes})
    par = parametrisation(inner)
    result, begun = solve(inner, par, context)
    return _Source(par, result, result.iterations + (begun.steps if begun else 0), begun.parents if begun else [])


def _deflated(
    unit: Unit, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, context: Context
) -> Starts:
    inner = _source(unit, options["from"], context)
    source, result, steps = inner.par, inner.result, inner.steps
    score = np.where(result.converged, result.kappa2, 1e6 * (1 + result.eps2))
    rows = np.argsort(score)[: options["keep"]]
    if not options["inexact"]:
        rows = rows[result.converged[rows]]
    if not len(rows):
        raise StlError("from", options["from"], "a unit that finds solutions", "raise its restarts, or set inexact")
    theta = result.theta[rows]
    starts = [merged_starts(source, par, theta, options["merges"], rng)]
    choices = doomed(source, par, theta, options["candidates"], rng)
    if choices:
        ordered = reordered(source, theta, choices)
        starts.append(cut(source, par, ordered, rng, options["fill"]))
        if options["squeeze"]:
            press = schedule_of(unit).with_(
                mu_start=options["mu"],
                mu_end=options["mu"],
                kappa_weight=options["kappa"],
                pull=0.0,
                abandon=(),
                promote_below=0.0,
                polish_below=0.0,
                stall=0.0,
            )
            squeezed = minimise(
                matmul_tensor(*unit.format),
                Squeezed(source, par, options["squeeze"]),
                iterations=options["steps"],
                schedule=press,
                device=context.device,
                init=ordered,
                seconds=_left(context),
                slots=settings_of(unit)["slots"],
            )
            steps += squeezed.iterations
            starts.insert(0, cut(source, par, squeezed.theta, rng, options["fill"]))
    pool = np.concatenate(starts)
    theta = perturbed(pool, options["noise"], rng) if options["noise"] else pool
    return Starts(theta[rng.permutation(len(theta))], steps=steps, parents=inner.parents)


def _continued(
    unit: Unit, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, context: Context
) -> Starts:
    target, signs = matmul_tensor(*unit.format), options["signs"]
    if signs not in ("descent", "random", "lift"):
        raise StlError("signs", signs, "descent, random, lift", "choose one")
    rank = options["rank"] or unit.rank
    seconds = min(options["seconds"], context.left())
    schemes = flip_schemes(unit.format, rank, options["symmetry"], seconds, unit.seed, lift=signs == "lift")
    rows = []
    for i in range(settings_of(unit)["restarts"]):
        scheme = schemes[i % len(schemes)]
        if signs == "descent" and unit.symmetry == "none":
            scheme = signs_by_descent(target, scheme, rng)
        theta = _placed(par, of_rank(scheme, par.rank, rng), rng)
        # with a symmetry the signs are chosen after tying, so that the orbits stay whole
        rows.append(theta * rng.choice([-1.0, 1.0], theta.shape) if signs == "random" else theta)
    return Starts(perturbed(np.stack(rows), options["noise"], rng))


def _bounded(
    unit: Unit, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, context: Context
) -> Starts:
    inner, own = _source(unit, options["from"], context), settings_of(unit)
    source, result, steps = inner.par, inner.result, inner.steps
    if source.size != par.size:
        raise StlError("from", options["from"], "a unit with the same orbit counts", "use kind deflate to change them")

    def again(ends: LMResult) -> Array:
        """One start from each inexact end near the target, nearest first; exact ones need no second try."""
        order = np.argsort(np.where(ends.converged, np.inf, ends.eps2))
        near = order[: int((~ends.converged & (ends.eps2 <= options["eps2"])).sum())][: own["restarts"]]
        if not len(near):
            raise StlError("from", options["from"], f"inexact ends with ε² up to {options['eps2']:g}", "raise eps2")
        return perturbed(capped(par, ends.theta[near], options["cap"]), options["noise"], rng)

    for _ in range(options["rounds"] - 1):
        result = minimise(
            matmul_tensor(*unit.format),
            par,
            iterations=own["iterations"],
            schedule=schedule_of(unit),
            device=context.device,
            init=again(result),
            slots=own["slots"],
            seconds=_left(context),
        )
        steps += result.iterations
    return Starts(again(result), steps=steps, parents=inner.parents)


Maker = Callable[[Unit, Parametrisation, dict[str, Any], np.random.Generator, Context], Starts]

#: Kinds of starts: what makes them and the fields they know with their defaults.
KINDS: dict[str, tuple[Maker, dict[str, Any]]] = {
    "built": (_built, {"from": None, "noise": 0.05}),
    "deflate": (
        _deflated,
        {
            "from": None,
            "squeeze": 100.0,
            "steps": 40,
            "mu": 1e-3,
            "kappa": 1e-4,
            "candidates": 4,
            "merges": 1,
            "keep": 16,
            "inexact": False,
            "fill": 0.3,
            "noise": 0.0,
        },
    ),
    "gf2": (_continued, {"rank": None, "symmetry": "none", "seconds": 10.0, "signs": "descent", "noise": 0.1}),
    "border": (_bounded, {"from": None, "cap": 2.0, "eps2": 0.02, "noise": 0.1, "rounds": 1}),
}
