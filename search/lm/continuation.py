"""Continuation: starts over the reals from solutions elsewhere, over GF(2) or at the border.

A scheme over GF(2) fixes which coefficients are zero; with signs for the others it is a start over the reals, which
the optimiser either repairs or, where no lift exists (⟨4,4,4;47⟩), leaves at a positive distance.  Solutions of border
rank (ε² small, κ² large) become starts again once their large terms are scaled down (see
:func:`search.lm.projection.capped`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.errors import StlError

__all__ = ["flip_schemes", "signed", "signs_by_descent"]

Array = NDArray[Any]
Factors = tuple[Array, Array, Array]


def flip_schemes(
    fmt: tuple[int, int, int],
    rank: int,
    symmetry: str,
    seconds: float,
    seed: int,
    most: int = 8,
    lift: bool = False,
) -> list[Factors]:
    """Schemes over GF(2) of at most the given rank from walks of the flip graph, as floats.

    Parameters
    ----------
    fmt, rank, symmetry, seconds, seed
        For :func:`search.flips.search_flips`.
    most : int
        Largest number of schemes returned.
    lift : bool
        Hensel-lift them; entries are then integers or rationals instead of 0 and 1.

    Raises
    ------
    StlError
        If the walks do not reach the rank in time, or no scheme has a lift.
    """
    from stl_algebra.targets import matmul

    from ..exact.hensel import hensel_lift
    from ..flips.explore import search_flips
    from ..flips.scheme import mode_of

    result = search_flips(fmt, "GF(2)", mode_of(symmetry, fmt), rank, seconds, seed)
    if not result.found:
        raise StlError("rank", rank, f"{result.rank}, which is what the walks reached", "allow more seconds")
    schemes = [(result.e_x, result.e_w, result.d)]
    schemes += [scheme.factors() for scheme in result.pool if scheme.rank <= rank]
    found: list[Factors] = []
    for x, w, d in schemes[:most]:
        if not lift:
            found.append((np.abs(x) % 2.0, np.abs(w) % 2.0, np.abs(d) % 2.0))
            continue
        report = hensel_lift(matmul(*fmt).dense(np.int64), x, w, d, seed, seconds)
        if report.e_x is not None and report.e_w is not None and report.d is not None:
            found.append((report.e_x * 1.0, report.e_w * 1.0, report.d / report.den))
    if not found:
        raise StlError("lift", f"rank {rank} over GF(2)", "a scheme with a lift to the rationals", "use signs")
    return found


def signed(factors: Factors, rng: np.random.Generator) -> Factors:
    """The same scheme with random signs, as floats."""
    x, w, d = (np.asarray(f) * rng.choice([-1.0, 1.0], np.shape(f)) for f in factors)
    return x, w, d


def signs_by_descent(target: Array, factors: Factors, rng: np.random.Generator, sweeps: int = 6) -> Factors:
    """Random signs improved by descent: each is flipped if that lowers ‖T̂−T‖², until none does.

    Parameters
    ----------
    target : (a, b, c) array
    factors : (r, a), (r, b), (c, r) arrays with entries 0, ±1
    rng : Generator
    sweeps : int
        Most passes over all signs.
    """
    x, w, d = signed(factors, rng)
    parts = [x, w, np.ascontiguousarray(d.T)]
    residual = np.einsum("la,lb,lc->abc", *parts) - target
    for _ in range(sweeps):
        changed = False
        for s in range(3):
            u, v = (parts[t] for t in range(3) if t != s)
            moved = np.moveaxis(residual, s, 0)
            for l, i in zip(*np.nonzero(parts[s]), strict=True):
                # flipping the entry subtracts 2·entry·(u⊗v) from slice i: ‖R − 2y‖² − ‖R‖² = 4(‖y‖² − ⟨R, y⟩)
                y = parts[s][l, i] * np.outer(u[l], v[l])
                if (y * y).sum() < (moved[i] * y).sum():
                    moved[i] -= 2 * y
                    parts[s][l, i] *= -1
                    changed = True
        if not changed:
            break
    return parts[0], parts[1], parts[2].T.copy()
