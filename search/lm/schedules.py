"""Schedules: everything that steers the Levenberg–Marquardt engine, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stl_algebra.errors import StlError

__all__ = ["SCHEDULES", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Penalties, damping and stopping rules of one run.

    The objective is ‖T̂−T‖² + μ·(‖E_X‖²+‖E_W‖²+‖D‖²)/3 + κ-weight·Σ_l‖E_X[l]‖²‖E_W[l]‖²‖D[:,l]‖²
    + clamp-weight·Σ max(0, |θ|−clamp)² + pull·Σ (θ − nearest multiple of grid)².

    Attributes
    ----------
    mu_start, mu_end : float
        Norm penalty μ, falling geometrically from the first to the second.
    anneal : float
        Fraction of the iterations over which μ falls; afterwards it stays at `mu_end`.
    kappa_weight : float
        Weight of the κ² term (un-normalised), switched on for the whole annealing phase.
    clamp, clamp_weight : float
        Soft bound on the entries of θ and its weight; weight 0 switches it off.
    pull, pull_from, grid : float
        Weight of the attraction to multiples of `grid`, active after the fraction `pull_from` of the run.
    damping, shrink, grow, damping_min, damping_max : float
        Levenberg–Marquardt damping: start value, factors after an accepted and a rejected step, bounds.
    init_scale : float
        Size of random starts relative to the one at which E‖T̂‖² ≈ ‖T‖².
    promote_below : float
        A restart whose ε² falls below this goes to the final polish at once.
    polish_below : float
        At the end of the annealing, restarts with ε² below this are polished at zero penalty.
    polish_iterations : int
        Most polishing steps.
    polish_kappa_max : float
        Polishing stops as border-like when κ² exceeds this.
    exact_below : float
        ε² that counts as numerically exact.
    abandon : tuple of (float, float)
        (fraction of the iterations, ε²): a restart with a larger ε² at that point is given up.
    stall : float
        A restart at `mu_end` whose objective falls by less than this fraction between two checks has ended.
    check_every : int
        Iterations between two looks at the stopping rules (and refills of finished slots).

    Examples
    --------
    >>> Schedule(mu_start=0.1).mu_start
    0.1
    """

    mu_start: float = 0.3
    mu_end: float = 1e-3
    anneal: float = 0.7
    kappa_weight: float = 0.0
    clamp: float = 2.0
    clamp_weight: float = 0.0
    pull: float = 0.0
    pull_from: float = 0.5
    grid: float = 0.5
    damping: float = 1.0
    shrink: float = 0.5
    grow: float = 3.0
    damping_min: float = 1e-9
    damping_max: float = 1e4
    init_scale: float = 1.0
    promote_below: float = 0.0
    polish_below: float = 2e-3
    polish_iterations: int = 40
    polish_kappa_max: float = 1e3
    exact_below: float = 1e-22
    abandon: tuple[tuple[float, float], ...] = ()
    stall: float = 1e-4
    check_every: int = 10

    def __post_init__(self) -> None:
        for name in ("mu_start", "mu_end", "damping", "damping_min", "init_scale", "grid"):
            if not getattr(self, name) > 0:
                raise StlError(name, getattr(self, name), "a positive number", "correct the schedule")
        for name in ("kappa_weight", "clamp_weight", "pull", "stall", "promote_below", "polish_below"):
            if not getattr(self, name) >= 0:
                raise StlError(name, getattr(self, name), "zero or a positive number", "correct the schedule")
        if not 0 < self.anneal <= 1:
            raise StlError("anneal", self.anneal, "a fraction in (0, 1]", "correct the schedule")
        if not (0 < self.shrink < 1 < self.grow):
            raise StlError("shrink, grow", (self.shrink, self.grow), "shrink < 1 < grow", "correct the schedule")
        if self.check_every < 1 or self.polish_iterations < 0:
            raise StlError("check_every", self.check_every, "1, 2, …", "correct the schedule")

    def penalty(self, progress: float) -> float:
        """Norm penalty μ at a fraction `progress` in [0, 1] of the iterations."""
        return float(self.mu_start * (self.mu_end / self.mu_start) ** min(1.0, progress / self.anneal))

    def with_(self, **changes: Any) -> Schedule:
        """A copy with some fields changed."""
        return replace(self, **changes)


SCHEDULES: dict[str, Schedule] = {
    "default": Schedule(),
    "fast": Schedule(mu_start=0.1, promote_below=3e-3, abandon=((0.4, 0.35), (0.6, 0.15), (0.8, 0.05))),
    "accurate": Schedule(kappa_weight=1e-4),
    "bounded": Schedule(clamp=1.2, clamp_weight=0.05),
    "half-integer": Schedule(pull=0.02, pull_from=0.6),
}
"""Named schedules; the names appear in origins of encoders and on the command line."""
