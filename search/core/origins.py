"""Where an encoder came from: one schema, one writer, one rule of lineage.

=============  ========================================================================================
``family``     the family that found it, or the construction (``kron``, ``published`` …)
``group``      the symmetry of the search, or the finite group the family used; ``none``
``unit``       the unit that found it, as plain data; None if no unit did
``key``        that unit's key in the ledger
``seed``       of the unit
``start``      where the search began: the unit's start; ``default`` for that of its family
``stage``      how it became exact: ``constructed``, ``found``, ``rationalised``, ``lifted``, ``improved`` …
``parents``    digests (at least 8 hex digits) of the encoders it was made from
``lineage``    ``scratch`` or ``published``, see `lineage`
``version``    of this package
``command``    repeats it
=============  ========================================================================================

What else is known (``objective``, ``device``, a ``note`` that says why it cannot be repeated …) follows these. The
digest of an encoder does not cover its origin.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stl_algebra import Encoder, StlError, __version__

from .unit import Unit

__all__ = ["FIELDS", "LINEAGES", "completed", "derived", "found", "lineage", "of_parents", "printable", "unit_of"]

FIELDS = (
    "family", "group", "unit", "key", "seed", "start", "stage", "parents", "lineage", "version", "command",
)  # fmt: skip
LINEAGES = ("scratch", "published")
#: Bytes of an origin written down; what is longer is no origin but a payload.
MAX_BYTES = 64_000


def lineage(encoder: Encoder) -> str:
    """The one rule: an encoder is from scratch if a unit found it and everything it was made from is.

    Whatever says nothing about itself counts as published.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> lineage(schemes.strassen())
    'published'
    """
    value = encoder.origin.get("lineage")
    return value if value in LINEAGES else "published"


def of_parents(parents: Iterable[Encoder]) -> str:
    """Lineage of what is made from encoders: from scratch if all of them are (so with none of them).

    Examples
    --------
    >>> of_parents([])
    'scratch'
    """
    return "scratch" if all(lineage(p) == "scratch" for p in parents) else "published"


def found(unit: Unit, stage: str, parents: Sequence[Encoder] = (), **about: Any) -> dict[str, Any]:
    """The origin of what a unit found.

    Examples
    --------
    >>> unit = Unit("simplex", "S4", (3, 3, 3), 25)
    >>> origin = found(unit, "constructed")
    >>> origin["lineage"], origin["start"], origin["command"][:27]
    ('scratch', 'default', 'python -m search.run --unit')
    """
    group = unit.parameters.get("group", unit.symmetry)
    command = "python -m search.run --unit " + shlex.quote(json.dumps(unit.plain(), sort_keys=True))
    return _written(
        unit.family, str(group), unit, stage, [p.digest for p in parents], of_parents(parents), command, about
    )


def derived(parent: Encoder, stage: str, command: str, **about: Any) -> dict[str, Any]:
    """The origin of what was made from one encoder: what found the parent, the parent, and the step that followed."""
    unit, origin = unit_of(parent), parent.origin
    family, group = str(origin.get("family", "unknown")), str(origin.get("group", "none"))
    return _written(family, group, unit, stage, [parent.digest], of_parents([parent]), command, about)


def completed(encoder: Encoder, lookup: Callable[[str], Encoder | None] = lambda digest: None) -> Encoder:
    """An encoder whose origin has every field: what it says is kept, the rest is filled in.

    Parameters
    ----------
    encoder : Encoder
    lookup : callable
        Digest (or its beginning) → encoder, for the lineage of what was derived from others.
    """
    origin = dict(encoder.origin)
    if all(name in origin for name in FIELDS):
        return encoder
    names = origin.get("parents", [])
    names = [str(p) for p in names] if isinstance(names, list) else []
    parents = [lookup(p) for p in names]
    known = [p for p in parents if p is not None]
    line = of_parents(known) if names and len(known) == len(names) else "published"
    about = {k: v for k, v in origin.items() if k not in FIELDS}
    unit, stage = unit_of(encoder), str(origin.get("stage", "constructed"))
    if unit is not None:
        full = found(unit, stage, known, **about)
    else:
        full = _written(
            str(origin.get("family", "unknown")), str(origin.get("group", "none")), None, stage, names, line, "", about
        )
    kept = {k: v for k, v in origin.items() if k in FIELDS}
    return encoder.with_origin(**{**full, **kept})


def unit_of(encoder: Encoder) -> Unit | None:
    """The unit that found an encoder, if its origin names a valid one.

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> unit_of(schemes.strassen()) is None
    True
    """
    row = encoder.origin.get("unit")
    try:
        return None if row is None else Unit.parse(row)
    except (StlError, TypeError):
        return None


def _written(
    family: str, group: str, unit: Unit | None, stage: str, parents: list[str], line: str, command: str,
    about: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    start: Any = None
    if unit is not None:
        start = unit.parameters.get("start") or "default"
    origin = {
        "family": family, "group": group, "unit": unit.plain() if unit else None, "key": unit.key if unit else "",
        "seed": unit.seed if unit else None, "start": start, "stage": stage, "parents": list(parents),
        "lineage": line, "version": __version__, "command": command, **about,
    }  # fmt: skip
    size = len(json.dumps(origin, default=str))
    if size > MAX_BYTES:
        raise StlError("origin", f"{size} bytes", f"at most {MAX_BYTES}", "Shorten what is said about the encoder.")
    return origin


def printable(text: object, most: int = 60) -> str:
    """A stranger's text for a table or a spreadsheet: no control characters, no formula, of bounded length.

    Examples
    --------
    >>> printable("=cmd()\\x1b[31m")
    "'=cmd()?[31m"
    """
    plain = "".join(c if c.isprintable() else "?" for c in str(text))
    if plain[:1] in ("=", "+", "-", "@"):
        plain = "'" + plain
    return plain if len(plain) <= most else plain[: most - 1] + "…"
