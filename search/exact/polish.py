"""Levenberg–Marquardt without penalty, down to rounding, on the free unknowns of a :class:`BrentSystem`.

Directions along which the solution set is flat (change of basis, continuous families) only meet the
damping, so the iteration converges to a nearby solution instead of wandering.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from .system import BrentSystem

__all__ = ["null_space", "polish"]

Array = NDArray[Any]
CONVERGED = 1e-13  # largest entry of the residual tensor that counts as zero


def polish(
    system: BrentSystem,
    theta: Array,
    free: Array,
    steps: int = 60,
    damping: float = 1e-6,
    tolerance: float = CONVERGED,
    bound: float = 1e3,
) -> tuple[Array, float]:
    """Solve the system in the unknowns marked free, starting at theta.

    Parameters
    ----------
    system : BrentSystem
        The system.
    theta : float array (unknowns + scales,)
        Start.
    free : bool array, same shape
        Which unknowns may move.
    steps : int
        Largest number of iterations.
    damping : float
        First Levenberg–Marquardt damping, relative to the mean diagonal of JᵀJ.
    tolerance : float
        Stop once the largest residual entry is below this.
    bound : float
        Give up when an unknown exceeds this (the solution is running to the border).

    Returns
    -------
    theta : float array
        The solution reached.
    size : float
        Its largest residual entry.
    """
    idx = np.flatnonzero(free)
    theta = theta.copy()
    if idx.size == 0:
        return theta, float(np.abs(system.residual(theta)).max())
    size = float(np.abs(system.residual(theta)).max())
    norm = np.inf
    stale = 0
    for _ in range(steps):
        if size < tolerance:
            break
        h, g, res = system.normal_equations(theta, idx)
        norm = float((res**2).sum())
        unit = float(np.trace(h)) / idx.size + 1e-300
        for _ in range(8):
            shifted = h.copy()
            shifted[np.diag_indices_from(shifted)] += damping * unit
            try:
                move = sl.cho_solve(sl.cho_factor(shifted, overwrite_a=True, check_finite=False), g)
            except (sl.LinAlgError, ValueError):
                damping = max(damping, 1e-12) * 10
                continue
            trial = theta.copy()
            trial[idx] += move
            new = system.residual(trial)
            if float((new**2).sum()) < norm:
                damping = max(damping * 0.1, 1e-13)
                break
            damping = max(damping, 1e-12) * 10
        else:
            return theta, size
        theta = trial
        before, size = size, float(np.abs(new).max())
        stale = stale + 1 if size > 0.5 * before else 0
        if np.abs(theta).max() > bound or stale > 8 or not np.isfinite(size):
            break
    return theta, size


def null_space(system: BrentSystem, theta: Array, free: Array, cut: float = 1e-11) -> tuple[Array, Array]:
    """Return the directions in which the free unknowns can move to first order.

    Returns
    -------
    index : int array (k,)
        The free unknowns.
    basis : float array (k, dim)
        Orthonormal null vectors of J restricted to them (eigenvalues of JᵀJ below ``cut`` times the
        largest, i.e. singular values below its root).
    """
    idx = np.flatnonzero(free)
    if idx.size == 0:
        return idx, np.zeros((0, 0))
    h, _, _ = system.normal_equations(theta, idx)
    values, vectors = sl.eigh(h, check_finite=False)
    return idx, vectors[:, values < cut * max(values[-1], 1e-300)]
