"""Find → exact encoder: which finds there are to be made exact, within which symmetry and into which rings."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from stl_algebra import Encoder, StlError
from stl_algebra.scores import epsilon2

__all__ = ["NUMERICALLY_EXACT", "is_approximate", "made_exact"]

#: ε² up to which a numerical find is taken for a rounded exact solution.
NUMERICALLY_EXACT = 1e-20


def is_approximate(find: Encoder) -> bool:
    """Whether a numerical find is no solution to rounding, so that there is nothing to make exact."""
    return not find.ring.exact and not epsilon2(find) <= NUMERICALLY_EXACT


def made_exact(
    find: Encoder, symmetry: str = "none", ring: str = "Q(sqrt)", seed: int = 0, seconds: float = 60.0
) -> tuple[Encoder | None, str, str]:
    """An exact encoder from a find, proven (`search.exact.exact`).

    Parameters
    ----------
    find : Encoder
        Over R64 or C128 (a solution to rounding), over GF(2), or exact already.
    symmetry : str
        What the find is invariant under, kept where possible.
    ring : str
        Largest ring accepted; "Q(sqrt)" also means the complex rings there are.
    seed : int
    seconds : float

    Returns
    -------
    encoder, stage, reason : Encoder or None, str, str
        The stage is ``found`` (exact as it was), ``as it stands``, ``rationalised`` or ``lifted``; the reason says why
        there is no encoder.
    """
    from ..exact import RINGS, exact

    if find.ring.exact and (find.ring.name != "GF(2)" or ring == "GF(2)"):
        return (find, "found", "") if find.is_exact else (None, "", "the find is refuted")
    rings = RINGS if ring == "Q(sqrt)" or ring not in RINGS else RINGS[: RINGS.index(ring) + 1]
    action = None if symmetry == "none" else _action(symmetry, find.format)
    report = exact(find, action=action, seconds=seconds, seed=seed, rings=rings)
    return report.encoder, report.how, report.reason


@lru_cache(maxsize=64)
def _action(symmetry: str, fmt: tuple[int, int, int]) -> Any:
    from stl_algebra.symmetry import action

    try:
        return action(symmetry, fmt)
    except StlError:  # a find of another format than its unit, which a pool of walks yields
        return None
