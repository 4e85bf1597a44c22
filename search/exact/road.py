"""The one road from a find to a proven encoder: as it stands, rationalised within its symmetry, or lifted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from .hensel import hensel_lift, ties_modulo_2
from .rational import rationalise
from .recognise import as_it_stands
from .tying import SlotMap

__all__ = ["RINGS", "ExactReport", "HasElements", "exact"]

Array = NDArray[Any]
#: Rings an encoder may come out in; "Q(sqrt)" stands for every real quadratic field.
RINGS = ("Z", "Z[1/2]", "Q", "Q(sqrt)", "Q(i)", "Q(zeta_3)")
SHARE = 0.6  # of the time goes to the search within the symmetry


class HasElements(Protocol):
    """A group given by its elements, such as `stl_algebra.symmetry.Action`."""

    @property
    def elements(self) -> Sequence[SlotMap]: ...


@dataclass(frozen=True)
class ExactReport:
    """What :func:`exact` came to.

    Attributes
    ----------
    encoder : Encoder or None
        Proven; its origin is that of the find with ``stage`` added.
    how : str
        "proven" (it was exact already), "as it stands", "rationalised" or "lifted"; empty without an encoder.
    invariant : bool
        Whether the encoder was found within the symmetry given.
    tried : tuple of (str, str)
        The steps that failed, and why.
    seconds : float
    """

    encoder: Encoder | None
    how: str = ""
    invariant: bool = False
    tried: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    @property
    def success(self) -> bool:
        """Whether there is a proven encoder."""
        return self.encoder is not None

    @property
    def reason(self) -> str:
        """Why there is none (empty on success)."""
        return "" if self.encoder is not None else "; ".join(f"{step}: {why}" for step, why in self.tried)


def exact(
    find: Encoder,
    *,
    action: HasElements | None = None,
    seconds: float = 60.0,
    seed: int = 0,
    rings: Sequence[str] = RINGS,
) -> ExactReport:
    """Make an exact, proven encoder of a find.

    Numerical finds (R64, C128) are read off as they stand if their entries are small numbers, else polished and
    rationalised (real ones), within their symmetry first; finds over GF(2) are Hensel-lifted; finds over exact
    rings are proven.

    Parameters
    ----------
    find : Encoder
        Over R64, C128, GF(2) or an exact ring.
    action : object with ``elements``, optional
        A finite group of orthogonal symmetries of the target that permutes the terms of the find, for instance an
        `stl_algebra.symmetry.Action`. The result is invariant under it where that is possible in the time.
    seconds : float
        Time for everything.
    seed : int
    rings : sequence of str
        Rings accepted, of those in `RINGS`.

    Returns
    -------
    ExactReport

    Raises
    ------
    StlError
        For unknown rings or seconds below zero.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> report = exact(schemes.strassen().to_ring("GF(2)"))
    >>> report.how, report.encoder
    ('lifted', Encoder⟨2,2,2;7⟩ over Z, exact, κ²=4)
    """
    unknown = [name for name in rings if name not in RINGS]
    if unknown or not rings:
        raise StlError("rings", unknown or tuple(rings), "some of " + ", ".join(RINGS))
    if not seconds >= 0:
        raise StlError("seconds", seconds, "a time of at least 0")
    start = time.monotonic()
    elements = tuple(action.elements) if action is not None else ()
    if find.ring.name == "GF(2)":
        report = _lifted(find, elements, seconds, seed)
    elif find.ring.exact:
        report = _proven(find)
    else:
        report = _from_numbers(find, elements, seconds, seed, tuple(rings))
    encoder = report.encoder
    if encoder is not None and find.ring != encoder.ring and not _accepted(encoder.ring.name, rings):
        why = (report.how, f"exact over {encoder.ring.name} only")
        report = ExactReport(None, tried=(*report.tried, why))
    return replace(report, seconds=time.monotonic() - start)


def _accepted(name: str, rings: Sequence[str]) -> bool:
    return name in rings or (name.startswith("Q(sqrt") and "Q(sqrt)" in rings)


def _named(find: Encoder, encoder: Encoder, how: str, **more: Any) -> Encoder:
    """The encoder with the find's origin."""
    return encoder.with_origin(**{**find.origin, "stage": how, **more})


def _proven(find: Encoder) -> ExactReport:
    if find.is_exact:
        return ExactReport(find, "proven")
    return ExactReport(None, tried=(("proof", f"the identity does not hold over {find.ring.name}"),))


def _lifted(find: Encoder, elements: Sequence[SlotMap], seconds: float, seed: int) -> ExactReport:
    """Lift a find over GF(2), within its symmetry first."""
    if not find.is_exact:
        return ExactReport(None, tried=(("proof", "the identity does not hold over GF(2)"),))
    e_x, e_w, d = (f.num for f in find.factors)
    goal = find.target.dense(np.int64)
    tried: list[tuple[str, str]] = []
    ties = ties_modulo_2((e_x, e_w, d.T), elements) if elements else None
    if isinstance(ties, str):
        tried.append(("lift within the symmetry", ties))
        ties = None
    for tie in ([ties] if ties is not None else []) + [None]:
        lift = hensel_lift(goal, e_x, e_w, d, seed, SHARE * seconds if tie else seconds, ties=tie)
        if lift.success:
            encoder = Encoder.build(find.target, lift.e_x, lift.e_w, (lift.d, lift.den), ring=lift.ring)
            if encoder.is_exact:
                return ExactReport(_named(find, encoder, "lifted"), "lifted", tie is not None, tuple(tried))
        tried.append(("lift within the symmetry" if tie else "lift", lift.reason or "the proof fails"))
    return ExactReport(None, tried=tuple(tried))


def _from_numbers(
    find: Encoder, elements: Sequence[SlotMap], seconds: float, seed: int, rings: tuple[str, ...]
) -> ExactReport:
    """Read off, else rationalise, a numerical find."""
    plain = as_it_stands(find)
    if plain is not None and _accepted(plain.ring.name, rings):
        return ExactReport(_named(find, plain, "rationalised"), "as it stands", bool(elements))
    tried = [("as it stands", f"exact over {plain.ring.name} only" if plain else "entries that are no small numbers")]
    if find.ring.is_complex:
        return ExactReport(None, tried=(*tried, ("rationalise", "complex finds are only read off as they stand")))
    real = [name for name in RINGS[:4] if name in rings]
    if not real:
        return ExactReport(None, tried=(*tried, ("rationalise", f"a real find in none of {', '.join(rings)}")))
    end = time.monotonic() + seconds
    for group in [elements, ()] if elements else [()]:
        step = "rationalise within the symmetry" if group else "rationalise"
        left = (end - time.monotonic()) * (SHARE if group else 1.0)
        if left <= 0:
            tried.append((step, "time is up"))
            break
        made = rationalise(find.target.dense(), *find.floats(), group, ring=real[-1], seed=seed, seconds=left)
        if not made.success:
            tried.append((step, made.reason))
            continue
        encoder = Encoder.build(find.target, made.e_x, made.e_w, (made.d, made.den), ring=made.ring)
        if encoder.is_exact and _accepted(encoder.ring.name, rings):
            named = _named(find, encoder, "rationalised", invariant=made.invariant)
            return ExactReport(named, "rationalised", made.invariant, tuple(tried))
        tried.append((step, f"exact over {encoder.ring.name} only" if encoder.is_exact else "the proof fails"))
    return ExactReport(None, tried=tuple(tried))
