"""Where restarts begin, as data: random, built from smaller solutions, deflated, or continued from elsewhere.

The ``start`` of a job is one of

``{}``
    Gaussian starts.
``{"kind": "built", "from": EXPR, "noise": 0.05}``
    Encoders composed of smaller ones, terms dropped or added to the rank wanted.  EXPR is nested data:
    ``{"solve": "2x2x2", "rank": 7, "pool": 4}`` (found here and now; other fields as in a job),
    ``{"naive": "2x3x1"}``, ``{"file": "….safetensors"}``, ``{"kron": [EXPR, EXPR]}``,
    ``{"sum": [EXPR, EXPR], "axis": "p"}``, ``{"rotate": EXPR}`` (⟨n,m,p⟩ to ⟨m,p,n⟩) and ``{"transpose": EXPR}``.
``{"kind": "deflate", "from": {JOB CHANGES}, "squeeze": 100, "candidates": 4, "keep": 16}``
    Solutions of a job with more orbits or another rank; orbits are squeezed, removed, merged or added (see
    :mod:`search.lm.deflation`).  The inner job may have a start of its own, so ranks can be walked down.
``{"kind": "gf2", "symmetry": null, "seconds": 10, "signs": "descent", "noise": 0.1}``
    Schemes over GF(2) from walks of the flip graph, with signs: random ones, random ones improved by descent
    (only without a group), or those of a Hensel lift.
``{"kind": "border", "from": {JOB CHANGES}, "cap": 2, "eps2": 0.02, "noise": 0.1, "rounds": 1}``
    The inexact ends of a job with small ε², their large terms scaled down; with more rounds, the ends of runs from
    those, and so on.

Whatever a start costs (seconds, iterations) is counted with the job.  Starts found here are "from scratch"; one that
reads a file names it as its parent.
"""

from __future__ import annotations

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

from .continuation import flip_schemes, signs_by_descent
from .deflation import Squeezed, cut, doomed, merged_starts, reordered
from .engine import LMResult, minimise
from .jobs import Job, matmul_tensor, parametrisations
from .parametrisation import Parametrisation
from .projection import capped, fit_orbits, of_rank, perturbed

__all__ = ["KINDS", "Starts", "parents_of", "solve", "starts_for"]

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
    """

    theta: Array = field(repr=False)
    seconds: float = 0.0
    steps: int = 0


def solve(job: Job, par: Parametrisation, device: str = "cpu") -> tuple[LMResult, Starts | None]:
    """Run one parametrisation of a job, from wherever it starts.

    Returns
    -------
    result, starts : LMResult, Starts or None
        Starts are None for Gaussian ones. ``result.seconds`` and ``.iterations`` do not contain their cost.
    """
    begun = starts_for(job, par, device)
    left = job.seconds if job.seconds is None or begun is None else max(0.1, job.seconds - begun.seconds)
    result = minimise(
        matmul_tensor(*job.sizes), par, job.restarts, job.iterations, job.full_schedule(), job.seed, device,
        None if begun is None else begun.theta, slots=job.slots, stop_after=job.stop_after, seconds=left,
    )
    return result, begun


def starts_for(job: Job, par: Parametrisation, device: str = "cpu") -> Starts | None:
    """The starting points a job asks for, at most ``job.restarts``; None for Gaussian ones.

    Raises
    ------
    StlError
        For an unknown kind, unknown fields, or a source that yields nothing to start from.
    """
    if not job.start:
        return None
    options = dict(job.start)
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise StlError("start", kind, ", ".join(KINDS), 'for instance {"kind": "built", "from": {"naive": "2x2x2"}}')
    make, defaults = KINDS[kind]
    unknown = set(options) - set(defaults)
    if unknown:
        raise StlError("start", sorted(unknown), ", ".join(defaults), "correct the start's fields")
    missing = [name for name, value in defaults.items() if value is None and name == "from" and name not in options]
    if missing:
        raise StlError("start", kind, "a field 'from'", "say what to start from")
    begin = time.perf_counter()
    starts = make(job, par, {**defaults, **options}, np.random.default_rng([job.seed, 77]), device)
    return replace(starts, theta=starts.theta[: job.restarts], seconds=time.perf_counter() - begin)


def parents_of(start: Mapping[str, Any]) -> list[str]:
    """The files a start reads, at any depth; empty for starts from scratch."""
    out: list[str] = []

    def visit(value: Any) -> None:
        if isinstance(value, Mapping):
            out.extend([value["file"]] if isinstance(value.get("file"), str) else [])
            for part in value.values():
                visit(part)
        elif isinstance(value, (list, tuple)):
            for part in value:
                visit(part)

    visit(start)
    return out


class _Builder:
    """Evaluates the expressions of built starts; leaves are solved once, then drawn from at random."""

    def __init__(self, seed: int, device: str, ring: str) -> None:
        self.seed, self.device, self.ring = seed, device, ring
        self.pools: dict[str, list[Encoder]] = {}
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
            return [load(Path(expr["file"])).to_ring(self.ring)]
        if "solve" not in expr:
            known = "solve, naive, file, kron, sum, rotate, transpose"
            raise StlError("from", sorted(expr), known, "see search.lm.starts")
        changes = {k: v for k, v in expr.items() if k not in ("solve", "pool")}
        pool = int(expr.get("pool", 4))
        job = Job.parse({
            "format": expr["solve"], "schedule": "fast", "seed": self.seed, "stop_after": pool, "restarts": 64 * pool,
            "field": "real", **changes,
        })
        for par in parametrisations(job):
            result, begun = solve(job, par, self.device)
            self.steps += result.iterations + (begun.steps if begun else 0)
            rows = np.argsort(np.where(result.converged, result.kappa2, np.inf))[: int(result.converged.sum())]
            if len(rows):
                return [Encoder.build(matmul(*job.sizes), *result.factors(r), ring=self.ring) for r in rows[:pool]]
        raise StlError("from", dict(expr), "a format and rank that are solved in the restarts given", "raise restarts")


def _built(job: Job, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, device: str) -> Starts:
    builder = _Builder(job.seed, device, "C128" if job.field == "complex" else "R64")
    rows = []
    for _ in range(job.restarts):
        whole = builder.draw(options["from"], rng)
        if whole.format != job.sizes:
            raise StlError("from", f"an encoder of {whole.format}", str(job.sizes), "match the job's format")
        floats = whole.floats(np.complex128 if job.field == "complex" else np.float64)
        rows.append(_placed(par, of_rank(floats, par.rank, rng), rng))
    return Starts(perturbed(np.stack(rows), options["noise"], rng), steps=builder.steps)


def _placed(par: Parametrisation, factors: tuple[Array, Array, Array], rng: np.random.Generator) -> Array:
    """Parameters of given factors: as they are if nothing is tied, else fitted to the orbits."""
    return fit_orbits(par, factors, rng)[0]


def _source(job: Job, changes: Mapping[str, Any], device: str) -> tuple[Parametrisation, LMResult, int]:
    """Run the inner job of a start on its first parametrisation."""
    inner = job.with_({"start": {}, "seconds": None, "stop_after": None, **changes})
    source = next(iter(parametrisations(inner)))
    result, begun = solve(inner, source, device)
    return source, result, result.iterations + (begun.steps if begun else 0)


def _deflated(job: Job, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, device: str) -> Starts:
    source, result, steps = _source(job, options["from"], device)
    score = np.where(result.converged, result.kappa2, 1e6 * (1 + result.eps2))
    rows = np.argsort(score)[: options["keep"]]
    if not options["inexact"]:
        rows = rows[result.converged[rows]]
    if not len(rows):
        raise StlError("from", options["from"], "a job that finds solutions", "raise its restarts, or set inexact")
    theta = result.theta[rows]
    starts = [merged_starts(source, par, theta, options["merges"], rng)]
    choices = doomed(source, par, theta, options["candidates"], rng)
    if choices:
        ordered = reordered(source, theta, choices)
        starts.append(cut(source, par, ordered, rng, options["fill"]))
        if options["squeeze"]:
            press = job.full_schedule().with_(
                mu_start=options["mu"], mu_end=options["mu"], kappa_weight=options["kappa"], pull=0.0, abandon=(),
                promote_below=0.0, polish_below=0.0, stall=0.0,
            )
            squeezed = minimise(
                matmul_tensor(*job.sizes), Squeezed(source, par, options["squeeze"]), iterations=options["steps"],
                schedule=press, device=device, init=ordered, slots=job.slots,
            )
            steps += squeezed.iterations
            starts.insert(0, cut(source, par, squeezed.theta, rng, options["fill"]))
    pool = np.concatenate(starts)
    theta = perturbed(pool, options["noise"], rng) if options["noise"] else pool
    return Starts(theta[rng.permutation(len(theta))], steps=steps)


def _continued(job: Job, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, _: str) -> Starts:
    target, signs = matmul_tensor(*job.sizes), options["signs"]
    if signs not in ("descent", "random", "lift"):
        raise StlError("signs", signs, "descent, random, lift", "choose one")
    rank = options["rank"] or job.rank
    schemes = flip_schemes(job.sizes, rank, options["symmetry"], options["seconds"], job.seed, lift=signs == "lift")
    rows = []
    for i in range(job.restarts):
        scheme = schemes[i % len(schemes)]
        if signs == "descent" and job.group == "free":
            scheme = signs_by_descent(target, scheme, rng)
        theta = _placed(par, of_rank(scheme, par.rank, rng), rng)
        # with a group the signs are chosen after tying, so that the orbits stay whole
        rows.append(theta * rng.choice([-1.0, 1.0], theta.shape) if signs == "random" else theta)
    return Starts(perturbed(np.stack(rows), options["noise"], rng))


def _bounded(job: Job, par: Parametrisation, options: dict[str, Any], rng: np.random.Generator, device: str) -> Starts:
    source, result, steps = _source(job, options["from"], device)
    if source.size != par.size:
        raise StlError("from", options["from"], "a job with the same orbit counts", "use kind deflate to change them")

    def again(ends: LMResult) -> Array:
        """One start from each inexact end near the target, nearest first; exact ones need no second try."""
        order = np.argsort(np.where(ends.converged, np.inf, ends.eps2))
        near = order[: int((~ends.converged & (ends.eps2 <= options["eps2"])).sum())][: job.restarts]
        if not len(near):
            raise StlError("from", options["from"], f"inexact ends with ε² up to {options['eps2']:g}", "raise eps2")
        return perturbed(capped(par, ends.theta[near], options["cap"]), options["noise"], rng)

    for _ in range(options["rounds"] - 1):
        result = minimise(
            matmul_tensor(*job.sizes), par, iterations=job.iterations, schedule=job.full_schedule(), device=device,
            init=again(result), slots=job.slots,
        )
        steps += result.iterations
    return Starts(again(result), steps=steps)


Maker = Callable[[Job, Parametrisation, dict[str, Any], np.random.Generator, str], Starts]

#: Kinds of starts: what makes them and the fields they know with their defaults.
KINDS: dict[str, tuple[Maker, dict[str, Any]]] = {
    "built": (_built, {"from": None, "noise": 0.05}),
    "deflate": (_deflated, {"from": None, "squeeze": 100.0, "steps": 40, "mu": 1e-3, "kappa": 1e-4, "candidates": 4,
                            "merges": 1, "keep": 16, "inexact": False, "fill": 0.3, "noise": 0.0}),
    "gf2": (_continued, {"rank": None, "symmetry": None, "seconds": 10.0, "signs": "descent", "noise": 0.1}),
    "border": (_bounded, {"from": None, "cap": 2.0, "eps2": 0.02, "noise": 0.1, "rounds": 1}),
}
