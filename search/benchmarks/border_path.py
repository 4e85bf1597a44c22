"""The penalty path of a symmetric approximation: does ε² fall to zero as the terms grow, or does it stop?

    python -m search.benchmarks.border_path 4x4x4 45 --symmetry 'Z3*c:(123)' --counts 4,0,1,0,1,3 --seconds 200
    python -m search.benchmarks.border_path 4x4x4 45 --symmetry 'Z3*c:(123)' --counts 4,0,1,0,1,3 \
        --path results/border/path_4x4x4_r45.npz

Prints μ, ε², κ², the slope d log ε²/d log μ and fit/penalty, the ratio of ‖T̂−T‖² to the penalty.  Along the path of
an approximate algorithm of error order e and degree d (terms t^−d, error t^e) the slope is 2e/(2e + 2d/3) and
fit/penalty is d/(3e): 3/7 and 4/3 for e = 1, d = 4.  A slope that falls while fit/penalty grows says that ε²
stops, or that the step has not converged.  Without ``--path`` the best of random starts is followed; with it, stored
points are evaluated.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from stl_algebra.errors import StlError

from ..core.unit import Unit, parse_format
from ..lm.border import Series, descend
from ..lm.engine import minimise
from ..lm.problem import matmul_tensor, parametrisation
from ..lm.schedules import SCHEDULES

__all__ = ["main", "system_of"]


def system_of(fmt: str, rank: int, symmetry: str, counts: list[int] | None) -> Series:
    """The approximation problem (no powers of t) of a format, rank, group and orbit counts."""
    unit = Unit("orbit", symmetry, parse_format(fmt), rank, {"counts": counts} if counts else {})
    par = parametrisation(unit)
    if par.rank != rank:
        raise StlError("counts", counts, f"orbit counts of rank {rank} (these have {par.rank})")
    return Series(par, matmul_tensor(*unit.format), [0] * sum(k for _, k in par.orbits), 0)


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]  # argparse turns a ValueError into its own message


def _line(system: Series, mu: float, theta: np.ndarray, eps2: float, before: tuple[float, float] | None) -> str:
    e_x, e_w, d = system.parametrisation.expand(theta)
    kappa2 = ((e_x**2).sum(1) * (e_w**2).sum(1) * (d**2).sum(0)).sum() / system.norm2
    penalty = mu * (system.parametrisation.metric() * theta**2).sum()
    slope = np.log(eps2 / before[1]) / np.log(mu / before[0]) if before else np.nan
    ratio = eps2 * system.norm2 / penalty
    return f"{mu:.3e}  {eps2:.5e}  {kappa2:.3e}  {slope:6.4f}  {ratio:7.3f}"


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("format")
    parser.add_argument("rank", type=int)
    parser.add_argument("--symmetry", default="none")
    parser.add_argument("--counts", type=_counts, help="copies of each orbit type, largest orbits first")
    parser.add_argument("--restarts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--path", type=Path, help="stored points (mu, theta) to evaluate instead of following")
    args = parser.parse_args(argv)
    try:
        system = system_of(args.format, args.rank, args.symmetry, args.counts)
    except StlError as error:
        parser.error(str(error))
    print("mu         eps2         kappa2     slope   fit/penalty")
    before: tuple[float, float] | None = None
    if args.path:
        stored = np.load(args.path)
        for mu, theta in zip(stored["mu"], stored["theta"], strict=True):
            f = system.residual(system.lift(theta))
            eps2 = float(f @ f) / system.norm2
            print(_line(system, float(mu), theta, eps2, before))
            before = float(mu), eps2
        return 0
    begin, schedule = time.monotonic(), SCHEDULES["default"].with_(mu_end=2e-5, polish_below=0.0, anneal=0.8)
    run = minimise(system.target, system.parametrisation, args.restarts, 200, schedule, args.seed)
    theta, mu = run.theta[int(run.eps2.argmin())], 2e-5
    while time.monotonic() - begin < args.seconds and mu > 1e-14:
        x, eps2 = descend(system, system.lift(theta), mu, 600)
        theta = system.lower(x)
        print(_line(system, mu, theta, eps2, before), flush=True)
        before, mu = (mu, eps2), mu * 10**-0.5
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
