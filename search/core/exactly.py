"""Find → exact encoder for the spine: the unit's symmetry by name, the road of `search.exact`."""

from __future__ import annotations

from stl_algebra import Encoder
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
        The stage is the step of `search.exact.exact` that succeeded; the reason says why there is no encoder.
    """
    from ..exact import RINGS, exact
    from ..lm.groups import named_action

    action = None if symmetry == "none" else named_action(symmetry, find.format)
    rings = RINGS[: RINGS.index(ring) + 1] if ring in RINGS else RINGS
    report = exact(find, action=action, seconds=seconds, seed=seed, rings=rings)
    return report.encoder, report.how, report.reason
