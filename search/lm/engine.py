"""Batched Levenberg–Marquardt over any linear parametrisation, float64.

All restarts of a run advance together in `slots`; a slot whose restart has ended (exact, hopeless, or out of
iterations) is refilled from the queue, and the batch shrinks once the queue is empty.  Each slot has its own
iteration counter, so penalties follow the schedule per restart and the result depends on the seed alone (on CUDA up
to the rounding of batched kernels), unless a time limit is given.

On CUDA a step is batched torch code (:meth:`SlotState.step`), replayed as a CUDA graph; on the CPU the same steps are
taken one restart at a time by compiled code (:mod:`search.lm.compiled`), for which the torch code is the oracle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stl_algebra.errors import StlError

from .assembly import Model
from .captured import CapturedSteps
from .compiled import Stepper
from .linalg import solve_lower
from .parametrisation import Parametrisation, dense_target
from .schedules import SCHEDULES, Schedule

__all__ = ["LMResult", "minimise", "random_starts"]

#: Floating-point operations of a step of all slots up to which a CUDA graph is worth its capture.
CAPTURE_BELOW = 1e12


@dataclass(frozen=True)
class LMResult:
    """What a run ended with, one row per restart that was started, in restart order.

    Attributes
    ----------
    e_x, e_w, d : (R, r, a), (R, r, b), (R, c, r) float64 or complex128 arrays
        Factors in the project's convention (D reads vec(C), not transposed).
    eps2 : (R,) array
        ‖T̂−T‖²/‖T‖².
    kappa2 : (R,) array
        Σ_l ‖E_X[l]‖²‖E_W[l]‖²‖D[:,l]‖² / ‖T‖².
    theta : (R, size) array
        Parameters; ``parametrisation.expand(theta)`` gives the factors.
    converged : (R,) bool array
        ε² at or below the schedule's `exact_below`.
    steps : (R,) int array
        Iterations each restart took (annealing and polish together).
    restart : (R,) int array
        Index of each row among the restarts asked for (rows are missing after a time limit).
    seconds : float
        Wall time.
    iterations : int
        Iterations summed over restarts.
    parametrisation : Parametrisation
    schedule : Schedule
    """

    e_x: NDArray[Any] = field(repr=False)
    e_w: NDArray[Any] = field(repr=False)
    d: NDArray[Any] = field(repr=False)
    eps2: NDArray[np.float64] = field(repr=False)
    kappa2: NDArray[np.float64] = field(repr=False)
    theta: NDArray[Any] = field(repr=False)
    converged: NDArray[np.bool_] = field(repr=False)
    steps: NDArray[np.int64] = field(repr=False)
    restart: NDArray[np.int64] = field(repr=False)
    seconds: float
    iterations: int
    parametrisation: Parametrisation
    schedule: Schedule = field(repr=False)

    @property
    def best(self) -> int:
        """Row to look at first: of the converged ones the least κ², else the least ε²."""
        if self.converged.any():
            return int(np.where(self.converged, self.kappa2, np.inf).argmin())
        return int(self.eps2.argmin())

    def factors(self, row: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(E_X, E_W, D) of one row."""
        return self.e_x[row], self.e_w[row], self.d[row]


def random_starts(parametrisation: Parametrisation, norm2: float, count: int, seed: int) -> Tensor:
    """Gaussian starts (count, size) with E‖T̂‖² ≈ ‖T‖², drawn on the CPU so that every device sees the same."""
    a, b, c = parametrisation.dims
    sigma = (norm2 / (parametrisation.rank * a * b * c)) ** (1 / 6)
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if parametrisation.field == "complex" else torch.float64
    noise = torch.randn(count, parametrisation.size, dtype=dtype, generator=generator)
    scale = []
    for orbit, k in parametrisation.orbits:
        for block, width in enumerate(orbit.widths):
            slot, matrix = next((s, m) for t in orbit.maps for s, (b_, m) in enumerate(t) if b_ == block)
            # A vector confined to a subspace of its slot gets the length a free one would have.
            entry = sigma * (parametrisation.dims[slot] / width) ** 0.5
            scale.append(np.full(width * k, entry / (np.linalg.norm(matrix) / width**0.5)))
    return noise * torch.as_tensor(np.concatenate(scale))


def default_slots(size: int, item: int, device: torch.device) -> int:
    """Restarts to advance together: what fits a GPU; on a CPU few, so that a run stops soon after it found enough."""
    if device.type == "cpu":
        return 16
    return max(4, min(4096, int(40e9 / (2 * item * size * size))))


def step_flops(parametrisation: Parametrisation) -> float:
    """Floating-point operations of one iteration of one restart: the factorisation and the residual."""
    a, b, c = parametrisation.dims
    field = 4 if parametrisation.field == "complex" else 1
    return field * (parametrisation.size**3 / 3 + 2.0 * parametrisation.rank * a * b * c)


def squared_norm(x: Tensor) -> Tensor:
    """Squared 2-norm of each row of a batch, (R,)."""
    flat = (torch.view_as_real(x) if x.is_complex() else x).flatten(1)
    norm: Tensor = torch.linalg.vector_norm(flat, dim=1)
    return norm.square()


class SlotState:
    """State of the slots of one run."""

    def __init__(
        self, model: Model, schedule: Schedule, iterations: int, stepper: Stepper | CapturedSteps | None = None
    ) -> None:
        self.model, self.schedule, self.iterations, self.stepper = model, schedule, iterations, stepper
        self.device = model.device
        self.index = torch.empty(0, dtype=torch.long, device=self.device)
        self.buffer: Tensor | None = None

    def fork(self) -> SlotState:
        """An empty state with the same model and rules."""
        return SlotState(self.model, self.schedule, self.iterations)

    def load(self, theta: Tensor, index: Tensor) -> None:
        """Add restarts to the slots."""
        n = len(theta)
        theta = theta.to(self.device)
        residual = self.model.residual(self.model.terms(theta))
        fresh = {
            "theta": theta,
            "index": index.to(self.device),
            "lam": torch.full((n,), self.schedule.damping, dtype=torch.float64, device=self.device),
            "count": torch.zeros(n, dtype=torch.long, device=self.device),
            "polish": torch.zeros(n, dtype=torch.long, device=self.device),
            "last": torch.full((n,), torch.inf, dtype=torch.float64, device=self.device),
            "residual": residual,
            "fit": squared_norm(residual),
        }
        first = not len(self.index)
        for name, value in fresh.items():
            setattr(self, name, value if first else torch.cat([getattr(self, name), value]))

    def keep(self, rows: Tensor) -> None:
        """Drop all slots but `rows`."""
        for name in ("theta", "index", "lam", "count", "polish", "last", "residual", "fit"):
            setattr(self, name, getattr(self, name)[rows])

    theta: Tensor
    lam: Tensor
    count: Tensor
    polish: Tensor
    last: Tensor
    residual: Tensor
    fit: Tensor

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per-slot weights of the norm penalty, the κ² term and the pull, zero for slots being polished."""
        s = self.schedule
        progress = self.count.double() / max(1, self.iterations)
        mu = s.mu_start * (s.mu_end / s.mu_start) ** (progress / s.anneal).clamp(max=1.0)
        on = (self.polish == 0).double()
        return mu * on, s.kappa_weight * on, s.pull * on * (progress >= s.pull_from)

    def extras(
        self, theta: Tensor, terms: list[list[Tensor]], weights: tuple[Tensor, Tensor, Tensor], derivatives: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Value (R,) of all terms but the fit; if asked for, half gradient and diagonal curvature (R, size)."""
        s, metric = self.schedule, self.model.metric
        mu, kappa, pull = weights
        value = mu * (metric * theta.abs().square()).sum(1)
        curvature = mu[:, None] * metric
        gradient = curvature * theta
        if s.kappa_weight:
            strengths = self.model.strengths(terms)
            value = value + kappa * self.model.kappa(strengths)
            if derivatives:
                ridge = kappa[:, None] * self.model.kappa_ridge(strengths)
                gradient, curvature = gradient + ridge * theta, curvature + ridge
        for weight, distance in self._potentials(theta, pull):
            value = value + weight * distance.abs().square().sum(1)
            if derivatives:
                active = distance.abs() > 0
                gradient = gradient + weight[:, None] * distance
                curvature = curvature + weight[:, None] * active
        return value, gradient, curvature

    def _potentials(self, theta: Tensor, pull: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(weight (R,), signed distance (R, size)) of the soft bound and of the pull towards the grid."""
        s = self.schedule
        parts = torch.view_as_real(theta) if theta.is_complex() else theta
        found = []
        if s.clamp_weight:
            found.append((s.clamp_weight * (self.polish == 0).double(), parts - parts.clamp(-s.clamp, s.clamp)))
        if s.pull:
            found.append((pull, parts - (parts / s.grid).round() * s.grid))
        return [(w, torch.view_as_complex(x.contiguous()) if theta.is_complex() else x) for w, x in found]

    def advance(self, steps: int) -> None:
        """`steps` iterations of every slot."""
        if self.stepper is None:
            for _ in range(steps):
                self.step()
            return
        if isinstance(self.stepper, CapturedSteps):
            self.stepper.advance(self, steps)
            return
        theta, lam, fit, count, polish = (x.numpy() for x in (self.theta, self.lam, self.fit, self.count, self.polish))
        self.stepper.advance(theta, lam, fit, count, polish, steps)

    def step(self) -> None:
        """One Levenberg–Marquardt iteration of every slot."""
        s, model, theta = self.schedule, self.model, self.theta
        weights = self.weights()
        terms = model.terms(theta)
        value, pull_back, curvature = self.extras(theta, terms, weights, True)
        objective = self.fit + value
        # One more row than unknowns: the solver puts the gradient there.
        shape = (len(theta), model.par.size + 1, model.par.size)
        if self.buffer is None or self.buffer.shape != shape:
            self.buffer = None
            self.buffer = torch.empty(shape, dtype=model.dtype, device=self.device)
        gram = model.gram(terms, self.buffer)
        gram[:, :-1].diagonal(dim1=1, dim2=2).add_(curvature + self.lam[:, None] * model.metric)
        move, ok = solve_lower(gram, model.gradient(terms, self.residual) - pull_back)
        new = theta + move
        new_terms = model.terms(new)
        residual = model.residual(new_terms)
        fit = squared_norm(residual)
        ok = ok & (fit + self.extras(new, new_terms, weights, False)[0] < objective)
        polishing = self.polish > 0
        shrink = torch.where(polishing, 0.1 * s.shrink, torch.full_like(self.lam, s.shrink))
        low = torch.where(polishing, 1e-2 * s.damping_min, torch.full_like(self.lam, s.damping_min))
        self.theta = torch.where(ok[:, None], new, theta)
        self.residual = torch.where(ok[:, None, None, None], residual, self.residual)
        self.fit = torch.where(ok, fit, self.fit)
        self.lam = torch.where(ok, self.lam * shrink, self.lam * s.grow).clamp(max=s.damping_max).maximum(low)
        self.count = self.count + 1
        self.polish = self.polish + polishing.long()

    def check(self) -> Tensor:
        """Move slots to the polish and return the mask of those that have ended."""
        s = self.schedule
        eps2 = self.fit / self.model.norm2
        polishing = self.polish > 0
        done = polishing & ((eps2 <= s.exact_below) | (self.polish > s.polish_iterations))
        if polishing.any():
            strengths = self.model.strengths(self.model.terms(self.theta))
            done |= polishing & (self.model.kappa(strengths) / self.model.norm2 > s.polish_kappa_max)
        progress = self.count / max(1, self.iterations)
        for fraction, bound in s.abandon:
            done |= ~polishing & (progress >= fraction) & (eps2 > bound)
        ended = progress >= 1
        weights = self.weights()
        total = self.fit + weights[0] * (self.model.metric * self.theta.abs().square()).sum(1)
        flat = progress >= s.anneal
        ended = ended | (flat & (self.last - total < s.stall * total))
        self.last = torch.where(flat, total, torch.inf)
        enter = ~polishing & ~done & ((ended & (eps2 < s.polish_below)) | (eps2 < s.promote_below))
        self.polish = torch.where(enter, 1, self.polish)
        self.lam = torch.where(enter, 1e-3, self.lam)
        return done | (ended & ~polishing & ~enter) | ~torch.isfinite(self.fit)


def _check_device(device: str) -> None:
    """Refuse a device that this machine does not have."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise StlError("device", device, "cpu, cuda, cuda:0, …", "name one of these")
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and not here:
        raise StlError("device", device, "cpu (this machine has no CUDA device)", "leave the option out")
    if kind == "cuda" and int(index or 0) >= here:
        raise StlError("device", device, f"cuda:0 … cuda:{here - 1}", "name a device that exists")


def minimise(
    target: Any,
    parametrisation: Parametrisation,
    restarts: int = 64,
    iterations: int = 200,
    schedule: Schedule | str = "default",
    seed: int = 0,
    device: str = "cpu",
    init: Any = None,
    slots: int | None = None,
    stop_after: int | None = None,
    seconds: float | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> LMResult:
    """Approximate or decompose a target tensor from many starts at once.

    Parameters
    ----------
    target : Target or (a, b, c) array
    parametrisation : Parametrisation
        Must expand to factors of the target's slot lengths; its group must fix the target.
    restarts : int
        Random starts (ignored when `init` is given).
    iterations : int
        Annealing iterations of each restart; the polish comes on top.
    schedule : Schedule or str
        A schedule or the name of one in `SCHEDULES`.
    seed : int
        Determines the random starts.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …
    init : (R, size) array, optional
        Starting points instead of random ones.
    slots : int, optional
        Restarts advanced together.
    stop_after : int, optional
        Stop once this many restarts have converged.
    seconds : float, optional
        Stop at the first check after this time; restarts under way are returned as they stand.
    progress : callable, optional
        Called at every check with ``{"ended", "converged", "best_eps2", "seconds", "iterations"}``.

    Returns
    -------
    LMResult

    Raises
    ------
    StlError
        For a target or start of the wrong shape, NaN or Inf, an unknown schedule, or non-positive counts.

    Examples
    --------
    >>> from search.lm import Free
    >>> from search.lm.problem import matmul_tensor
    >>> found = minimise(matmul_tensor(2, 2, 2), Free(matmul_tensor(2, 2, 2), 7), 16, 80, "fast")
    >>> bool(found.converged.any())
    True
    """
    dense = dense_target(target)
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise StlError("schedule", schedule, ", ".join(SCHEDULES), "pass one of these or a Schedule")
        schedule = SCHEDULES[schedule]
    for name, count in (("restarts", restarts), ("iterations", iterations), ("slots", 1 if slots is None else slots)):
        if count < 1:
            raise StlError(name, count, "1, 2, …", "raise it")
    _check_device(device)
    model = Model(parametrisation, dense, device)
    if init is None:
        starts = random_starts(parametrisation, model.norm2, restarts, seed) * schedule.init_scale
    else:
        array = np.atleast_2d(np.asarray(init))
        if array.ndim != 2 or array.shape[1] != parametrisation.size or not np.isfinite(array).all():
            raise StlError("init", f"array of shape {array.shape}", f"finite (R, {parametrisation.size})", "")
        starts = torch.as_tensor(array.astype(parametrisation.dtype))
    total = len(starts)
    slots = min(total, slots or default_slots(parametrisation.size, starts.element_size(), model.device))

    begin = time.perf_counter()
    stepper: Stepper | CapturedSteps | None = None
    if model.device.type == "cpu":
        stepper = Stepper(parametrisation, dense, schedule, iterations)
    elif model.capturable and slots * step_flops(parametrisation) < CAPTURE_BELOW:
        stepper = CapturedSteps(slots)
    run = SlotState(model, schedule, iterations, stepper)
    done: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    queued = hits = ended_count = spent = 0
    best = float("inf")

    def harvest(rows: Tensor) -> None:
        done.append(tuple(x[rows].cpu() for x in (run.index, run.theta, run.fit, run.count)))  # type: ignore[arg-type]

    # Triton kernels and graph captures act on the current device, whatever their tensors live on.
    where = torch.cuda.device(model.device) if model.device.type == "cuda" else nullcontext()
    with torch.no_grad(), where:
        while True:
            if queued < total and len(run.index) <= slots - max(1, slots // 8):
                more = min(total - queued, slots - len(run.index))
                run.load(starts[queued : queued + more], torch.arange(queued, queued + more))
                queued += more
            if not len(run.index):
                break
            run.advance(schedule.check_every)
            spent += schedule.check_every * len(run.index)
            ended = run.check()
            stop = seconds is not None and time.perf_counter() - begin > seconds
            if ended.any():
                harvest(ended)
                eps2 = done[-1][2] / model.norm2
                ended_count += len(eps2)
                hits += int((eps2 <= schedule.exact_below).sum())
                best = min(best, float(eps2.min()))
                run.keep(torch.nonzero(~ended)[:, 0])
            if progress is not None:
                progress(
                    {
                        "ended": ended_count,
                        "converged": hits,
                        "best_eps2": best,
                        "seconds": time.perf_counter() - begin,
                        "iterations": spent,
                    }
                )
            if stop or (stop_after is not None and hits >= stop_after):
                harvest(torch.ones(len(run.index), dtype=torch.bool, device=run.device))
                break
    rows = [torch.cat(x).numpy() for x in zip(*done, strict=True)]
    order = np.argsort(rows[0])
    index, theta, fit, steps = (x[order] for x in rows)
    return _result(parametrisation, schedule, model.norm2, theta, fit, steps, index, time.perf_counter() - begin, spent)


def _result(
    parametrisation: Parametrisation,
    schedule: Schedule,
    norm2: float,
    theta: Any,
    fit: Any,
    count: Any,
    index: Any,
    seconds: float,
    spent: int,
) -> LMResult:
    """Expand on the CPU and collect."""
    e_x, e_w, d = parametrisation.expand(theta)
    strength = (np.abs(e_x) ** 2).sum(2) * (np.abs(e_w) ** 2).sum(2) * (np.abs(d) ** 2).sum(1)
    eps2 = fit / norm2
    return LMResult(
        e_x,
        e_w,
        d,
        eps2,
        strength.sum(1) / norm2,
        theta,
        eps2 <= schedule.exact_below,
        count,
        index,
        seconds,
        spent,
        parametrisation,
        schedule,
    )
