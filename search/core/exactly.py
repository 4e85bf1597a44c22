"""Find → exact encoder: as it stands, rationalised, or lifted from GF(2). The one place that knows the ways."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError
from stl_algebra.scores import epsilon2

__all__ = ["NUMERICALLY_EXACT", "made_exact"]

#: ε² up to which a numerical find is taken for a rounded exact solution.
NUMERICALLY_EXACT = 1e-20
#: Above this many unknowns a lift without symmetry takes longer than it is worth.
LARGEST_LIFT = 9_000


def is_approximate(find: Encoder) -> bool:
    """Whether a numerical find is no solution to rounding, so that there is nothing to make exact."""
    return not find.ring.exact and not epsilon2(find) <= NUMERICALLY_EXACT


def made_exact(
    find: Encoder, symmetry: str = "none", ring: str = "Q(sqrt)", seed: int = 0, seconds: float = 60.0
) -> tuple[Encoder | None, str, str]:
    """An exact encoder from a find, proven.

    Parameters
    ----------
    find : Encoder
        Over R64 or C128 (a solution to rounding), over GF(2), or exact already.
    symmetry : str
        What the find is invariant under, kept where possible.
    ring : str
        Largest ring accepted.
    seed : int
    seconds : float

    Returns
    -------
    encoder, stage, reason : Encoder or None, str, str
        The stage is ``found`` (exact as it was), ``as it stands``, ``rationalised`` or ``lifted``; the reason says why
        there is no encoder.
    """
    if find.ring.name == "GF(2)" and ring != "GF(2)":
        return _lifted(find, symmetry, seed, seconds)
    if find.ring.exact:
        return (find, "found", "") if find.is_exact else (None, "", "the find is refuted")
    if find.ring.is_complex:
        return None, "", "complex factors are not rationalised"
    return _rationalised(find, symmetry, ring, seed, seconds)


def _rationalised(
    find: Encoder, symmetry: str, ring: str, seed: int, seconds: float
) -> tuple[Encoder | None, str, str]:
    from ..exact import rationalise

    plain = _as_it_stands(find)
    if plain is not None and (ring.startswith("Q") or plain.ring.name in ("Z", ring)):
        return plain, "as it stands", ""
    report = rationalise(
        find.target.dense(), *find.floats(), symmetry="Z3" if symmetry == "Z3" else None, ring=ring, seed=seed,
        seconds=seconds,
    )  # fmt: skip
    if not report.success:
        return None, "", report.reason
    try:
        factors = report.e_x, report.e_w, (report.d, report.den)
        encoder = Encoder.build(find.target, *factors, ring=report.ring)
    except StlError as error:
        return None, "", str(error)
    if not encoder.is_exact:
        return None, "", "the rationalised factors failed the proof"
    return encoder, "rationalised", ""


def _as_it_stands(find: Encoder, largest: int = 8, tolerance: float = 1e-7) -> Encoder | None:
    """The exact encoder of a solution whose terms are rational up to scale in the basis it was found in.

    The vectors of E_X and E_W, divided by their largest entries, are read as fractions with denominators up to
    `largest`; D follows by solving the Brent equations over Q. Solutions under large monomial groups are often of this
    kind (⟨3,3,6;40⟩ has coefficients −1, 0, 1 in the basis of its group).
    """
    from ..exact.solve import ring_of, third_factor

    whole: list[NDArray[np.int64]] = []
    for f in find.floats()[:2]:
        pivot = np.take_along_axis(f, np.abs(f).argmax(1)[:, None], axis=1)
        if not np.all(pivot):
            return None
        unit = f / pivot
        grids = np.stack([np.abs(unit * q - np.rint(unit * q)).max(1) for q in range(1, largest + 1)])
        fits = grids < tolerance * largest
        if not fits.any(0).all():
            return None
        whole.append(np.rint(unit * (fits.argmax(0) + 1)[:, None]).astype(np.int64))
    solved = third_factor(find.target.dense(np.int64), *whole)
    if solved is None:
        return None
    encoder = Encoder.build(find.target, whole[0], whole[1], solved, ring=ring_of(solved[1]))
    return encoder if encoder.is_exact else None


def _lifted(find: Encoder, symmetry: str, seed: int, seconds: float) -> tuple[Encoder | None, str, str]:
    """Hensel's lift of a scheme over GF(2), within its symmetry first."""
    from ..exact.hensel import hensel_lift
    from ..flips.scheme import scheme_of

    x, w, d = (np.asarray(f.num, dtype=np.int64) for f in find.factors)
    target = find.target.dense(np.int64)
    report: Any = None
    ties = scheme_of(find, symmetry).ties()
    if ties is not None:
        report = hensel_lift(target, x, w, d, seed=seed, seconds=seconds, ties=ties)
    if (report is None or not report.success) and (ties is None or x.size + w.size + d.size <= LARGEST_LIFT):
        report = hensel_lift(target, x, w, d, seed=seed, seconds=seconds)
    if not report.success:
        return None, "", str(report.reason)
    encoder = Encoder.build(find.target, report.e_x, report.e_w, (report.d, report.den), ring=report.ring)
    return (encoder, "lifted", "") if encoder.is_exact else (None, "", "the lift failed the proof")
