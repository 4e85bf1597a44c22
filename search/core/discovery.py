"""Discovery from a notebook: a group and a format go in, proven encoders come out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from stl_algebra import Encoder, StlError, load
from stl_algebra._html import table_html
from stl_algebra._pictures import encoder_html
from stl_algebra.known import compare

from .executors import checked_device, make_slots
from .runner import LIMIT, Summary, rounds, run
from .unit import Request, Unit, parse_format

__all__ = ["Discovery", "discover"]


class Discovery(Sequence[Encoder]):
    """What a search found, best first: exact by rank, ring (Z, Z[1/2], Q, others) and κ², then approximate by error.

    Attributes
    ----------
    summary : search.core.runner.Summary
        What was run: seconds, units, restarts, reasons.
    folder : Path or None
        Where the encoders lie; None if nowhere.
    """

    def __init__(self, encoders: Sequence[Encoder], summary: Summary, folder: Path | None) -> None:
        self._encoders, self.summary, self.folder = tuple(encoders), summary, folder

    @overload
    def __getitem__(self, index: int) -> Encoder: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Encoder]: ...
    def __getitem__(self, index: int | slice) -> Encoder | Sequence[Encoder]:
        return self._encoders[index]

    def __len__(self) -> int:
        return len(self._encoders)

    @property
    def best(self) -> Encoder:
        """The first one.

        Raises
        ------
        StlError
            If nothing was found.
        """
        if not self._encoders:
            reasons = "; ".join(self.summary.messages) or "nothing converged"
            raise StlError("discover", "nothing found", "a find", f"{reasons}. Give more seconds or another group.")
        return self._encoders[0]

    def __repr__(self) -> str:
        s = self.summary
        head = f"Discovery({len(self)} encoders, {s.ran} units in {s.seconds:.0f} s)"
        return "\n".join([head, *(f"  {e!r}" for e in self[:5]), *(["  …"] if len(self) > 5 else [])])

    def _repr_html_(self) -> str:
        s = self.summary
        rows = [(e.label, e.ring.name, compare(e) if e.is_exact and e.target.format else "", repr(e)) for e in self]
        head = f"<div>{len(self)} encoders, {s.ran} units in {s.seconds:.0f} s</div>"
        return head + table_html(("encoder", "ring", "beside the best known", "scores"), rows) + (
            encoder_html(self[0]) if self else ""
        )  # fmt: skip


def discover(
    group: str | None = None, format: str | Sequence[int] | None = None, *, rank: int | None = None,
    ring: str | None = None, family: str | None = None, seconds: float = 30.0, seed: int = 0,
    settings: dict[str, Any] | None = None, device: str = "cpu", workers: int | None = None,
    backend: str = "processes", out: str | Path | None = None, progress: bool = True,
) -> Discovery:  # fmt: skip
    """Search for encoders and show how it goes; the command ``stl run`` for people who are in Python already.

    Parameters
    ----------
    group : str, optional
        A kind of groups (``"cyclic"``), a symmetry (``"Z3*T"``, ``"none"``) or a group (``"S3"``); default: all kinds.
    format : "3x3x3" or (3, 3, 3), optional
        Default: the families' own.
    rank : int, optional
        Default: the best known, or all a family has.
    ring, family, settings, device, workers, backend : optional
        As the options of ``stl run``.
    seconds : float
        Budget, counted from when the workers are up.
    seed : int
    out : path, optional
        A results folder that is kept, and continued by the next call; default: one that is thrown away.
    progress : bool
        A line that is rewritten: time, units, best so far.

    Returns
    -------
    Discovery
        A sequence of encoders, best first.

    Raises
    ------
    StlError
        If no family can do what is asked; the message says what each of them can.

    Examples
    --------
    >>> found = discover("cyclic", "2x2x2", rank=7, seconds=4, backend="thread", progress=False)
    >>> found.best.label, found.best.is_exact
    ('⟨2,2,2;7⟩', True)

    Notes
    -----
    Workers are processes of their own: in a script the call belongs below ``if __name__ == "__main__":``.
    """
    wanted = None if format is None else parse_format(format if isinstance(format, str) else ",".join(map(str, format)))
    request = Request(group, family, None, wanted, rank, ring, seed, settings or {})
    if not seconds > 0:
        raise StlError("seconds", seconds, "a positive number")
    with _folder(out) as folder, _told(progress, seconds) as tell:
        slots = make_slots(backend, workers, checked_device(device))
        summary = run(rounds(request, LIMIT), folder, slots, seconds, progress=tell)
        files = sorted({f for o in summary.outcomes.values() for f in o["files"] if f.startswith("encoders/")})
        files = files or [r.file for r in summary.best]  # all done before: what the folder has
        found = [load(folder / name) for name in files]
    found.sort(key=lambda e: (not e.is_exact, e.rank if e.is_exact else 0, _ladder(e), _cost(e)))
    return Discovery(found, summary, None if out is None else Path(out))


def _ladder(encoder: Encoder) -> int:
    """The simpler the ring, the smaller."""
    rings = ("Z", "Z[1/2]", "Q")
    return rings.index(encoder.ring.name) if encoder.ring.name in rings else len(rings)


def _cost(encoder: Encoder) -> float:
    from stl_algebra.scores import kappa2, predicted_error2

    if not encoder.ring.embeds:
        return 0.0
    return kappa2(encoder) if encoder.is_exact else predicted_error2(encoder)


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="stl-") as name:
        yield Path(name)


@contextmanager
def _told(wanted: bool, budget: float) -> Iterator[Callable[[Summary, list[Unit]], None] | None]:
    """One line that is rewritten in a notebook and on a terminal alike."""
    if not wanted:
        yield None
        return

    spoke = [-1.0]

    def say(text: str) -> None:
        print("\r" + text.ljust(78)[:78], end="", flush=True)

    def tell(s: Summary, flying: list[Unit]) -> None:
        if s.seconds - spoke[0] < 1:
            return
        spoke[0] = s.seconds
        best = min(s.proven, key=lambda label: int(label.split(";")[1].split("⟩")[0]), default="")
        running = "" if best else f"trying {flying[0].label}" if flying else ""
        say(f"{s.seconds:4.0f} of {budget:.0f} s, {s.ran} units, {len(s.improved)} finds {best or running}")

    say("starting the workers (a few seconds; the first time they compile) …")
    try:
        yield tell
    finally:
        print()
