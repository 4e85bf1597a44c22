"""The one front door: what a file is, is decided by what it holds, never by its name.

The first reader that recognises the content gets the file. A wrong guess never verifies (see `judge`), so sniffing is
safe; the ones that need a look at the whole text come last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import targets
from ..encoder import Encoder
from ..errors import EncoderFileError, StlError
from ..files import load, save
from ..identities import verify
from ..targets import Target
from . import arrays, bini, coefficients, formulas, json_terms, nested, programs, sms
from .judge import Raw, Reading, judge
from .source import LARGE, NORMAL, Source

__all__ = ["WRITERS", "Readings", "read", "write"]


class Readings(list[Reading]):
    """The schemes of one file that could be read, and the refusals of those that could not.

    Attributes
    ----------
    refused : list of EncoderFileError
    """

    def __init__(self, found: Sequence[Reading] = (), refused: Sequence[EncoderFileError] = ()) -> None:
        super().__init__(found)
        self.refused = list(refused)


def _is_numbers(source: Source) -> bool:
    if source.text.count("#") > 1 << 16:
        return False
    return re.fullmatch(r"[0-9+\-/.,\s]*", re.sub(r"#.*", "", source.text)) is not None and "#" not in _after_head(
        source
    )


def _after_head(source: Source) -> str:
    """The text after the comments it begins with: a # there separates blocks."""
    return re.sub(r"\A(?:\s*#[^\n]*\n)*", "", source.text)


def _is_matlab(source: Source) -> bool:
    return re.search(r"^[ \t]*[A-Za-z]\w*[ \t]*=[ \t]*\[[ \t]*(?!\[)[-+0-9]", source.text, re.MULTILINE) is not None


#: (recognises, reads), in the order they are asked.
_READERS: list[tuple[Callable[[Source], bool], Callable[[Source], list[Any]]]] = [
    (arrays.looks_like_zip, arrays.read_npz),
    (arrays.looks_like_npy, arrays.read_npy),
    (json_terms.looks_like_json, json_terms.read_json),
    (sms.looks_like_sms, sms.read_sms),
    (bini.looks_like_bini, bini.read_bini),
    (_is_matlab, nested.read_matlab),
    (nested.looks_nested, nested.read_nested),
    (_is_numbers, coefficients.read_numbers),
    (formulas.looks_like_formulas, formulas.read_formulas),
    (lambda source: True, coefficients.read_blocks),
]


def read(path: str | os.PathLike[str], allow_large: bool = False, target: Target | str | None = None) -> Readings:
    """Read every scheme in a file, whatever its layout, and verify it.

    Parameters
    ----------
    path : path of a file in any layout of `stl_algebra.layouts`
    allow_large : bool
        Lift the budget (`stl_algebra.layouts.Budget`) that bounds time and memory.
    target : Target or name, optional
        The bilinear map the file's schemes are for, where the file does not say and the shapes fit several.

    Returns
    -------
    Readings
        A list of `Reading`, with the members that could not be read as ``refused``.

    Raises
    ------
    EncoderFileError
        If nothing in the file can be read: of no known layout, malformed, hostile, or beyond the budget.
    """
    source = Source.open(path, LARGE if allow_large else NORMAL)
    goal = None if target is None else targets.target(target)
    try:
        return _read(source, goal)
    except EncoderFileError:
        raise
    except StlError as error:  # what a later step refuses, e.g. a ring too large for its proof
        raise EncoderFileError(path, error.argument, error.value, error.allowed, error.cure) from None


def _read(source: Source, goal: Target | None) -> Readings:
    if _looks_ours(source.data):
        return Readings([_ours(source)])
    raws: list[Raw | EncoderFileError] = next(reader for knows, reader in _READERS if knows(source))(source)
    found, refused = [], []
    for raw in raws:
        if isinstance(raw, EncoderFileError):
            refused.append(raw)
            continue
        if goal is not None:
            raw.target = goal
        try:
            found.append(judge(source, raw))
        except EncoderFileError as error:
            refused.append(error)
    if refused and not found:
        raise refused[0]
    return Readings(found, refused)


def _looks_ours(data: bytes) -> bool:
    """A safetensors header: eight bytes of length, then a JSON object."""
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 1 << 40


def _ours(source: Source) -> Reading:
    encoder = load(source.path, allow_large=source.budget is LARGE)
    report = verify(encoder)
    note = "declared approximate" if encoder.ring.exact and not report.holds else ""
    return Reading(source.path, source.name, "stl", encoder, report, False, note)


# ------------------------------------------------------------------ writing
#: Layout by suffix: what `write` makes, and for which rings it is read back.
WRITERS: dict[str, Callable[[Encoder], str | bytes]] = {
    ".json": json_terms.write_json,
    ".npz": arrays.write_npz,
    ".npy": arrays.write_npy,
    ".txt": coefficients.write_text,
    ".exp": formulas.write_exp,
    ".formulas": formulas.write_formulas,
    ".tex": programs.write_latex,
    ".py": programs.write_python,
    ".c": programs.write_c,
}


def write(encoder: Encoder, path: str | os.PathLike[str]) -> list[Path]:
    """Write an encoder in the layout its suffix names; returns the files written.

    ``.safetensors`` (ours), ``.json`` (terms), ``.npz`` (AlphaTensor), ``.npy``, ``.sms`` (three files), ``.exp``
    (trilinear products), ``.txt`` (coefficients), ``.formulas``, and to run or print: ``.py``, ``.c``, ``.tex``.
    Every layout that is read back carries the ring's name.

    Raises
    ------
    StlError
        For an unknown suffix, or rings and targets the layout cannot hold.
    """
    file = Path(path)
    if file.suffix == ".safetensors":
        made = save(encoder, file.parent)
        return [made.replace(file) if made.name != file.name else made]
    if file.suffix == ".sms":
        return sms.write_sms(encoder, file)
    if file.suffix not in WRITERS:
        raise StlError("path", str(path), f"a name ending in .safetensors, .sms, {', '.join(WRITERS)}")
    content = WRITERS[file.suffix](encoder)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content, encoding="utf-8")
    return [file]
