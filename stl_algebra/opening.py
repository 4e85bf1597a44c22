"""One word to get an encoder: by name from the catalogue, from a file of ours, or from anybody else's layout."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import files
from .encoder import Encoder
from .errors import EncoderFileError
from .rings import ring as named_ring

__all__ = ["load", "save"]

_FORMAT = re.compile(r"\s*⟨?\s*\d+\s*[x×,]\s*\d+\s*[x×,]\s*\d+\s*⟩?\s*")


def load(
    what: str | os.PathLike[str], rank: int | None = None, ring: str | None = None, *, trust_certificate: bool = False,
    allow_large: bool = False,
) -> Encoder:  # fmt: skip
    """An encoder by its format, or from a file in any layout; proven again.

    Parameters
    ----------
    what : str or path
        A format such as ``"4x4x4"`` (from the encoders that come with the package, see `catalogue.best`), the path of
        an encoder file, or of a file in any layout that `layouts.read` knows and that holds one scheme.
    rank, ring : optional
        Which encoder of a format; approximate ones have ``ring="R64"``.
    trust_certificate : bool
        Skip the renewed proof of an encoder file (the hash is always checked).
    allow_large : bool
        Lift the bounds on time and memory.

    Raises
    ------
    StlError
        If the catalogue has no such encoder.
    EncoderFileError
        If the file cannot be read, is refuted, or holds several schemes.

    Examples
    --------
    >>> load("2x2x2", rank=7, ring="Z").label
    '⟨2,2,2;7⟩'
    """
    if isinstance(what, str) and _FORMAT.fullmatch(what) and not Path(what).exists():
        from .catalogue import best

        return best(what, rank, ring, exact=ring is None or named_ring(ring).exact)
    try:
        return files.load(what, trust_certificate, allow_large)
    except EncoderFileError as error:
        if str(what).endswith(".safetensors") or not Path(what).is_file():
            raise
        from .layouts import read

        readings = read(what, allow_large)
        if len(readings) + len(readings.refused) != 1:
            found = f"{len(readings)} schemes" + (f", {len(readings.refused)} refused" if readings.refused else "")
            raise EncoderFileError(what, "file", found, "one scheme", "Use stl_algebra.layouts.read.") from error
        (reading,) = readings
        if not reading.report.holds and reading.encoder.ring.exact:
            raise EncoderFileError(what, "scheme", str(reading.report), "a scheme that holds") from error
        return reading.encoder


def save(encoder: Encoder, where: str | os.PathLike[str]) -> Path:
    """Write an encoder: into a folder under its own name, or to the ``.safetensors`` file named.

    Returns
    -------
    Path
        Of the file, complete and flushed to disk.

    Raises
    ------
    StlError
        For integers or origins that `load` would refuse as too large.

    Examples
    --------
    >>> import tempfile
    >>> from stl_algebra.schemes import strassen
    >>> path = save(strassen(), tempfile.mkdtemp() + "/mine.safetensors")
    >>> path.name, load(path) == strassen()
    ('mine.safetensors', True)
    """
    path = Path(where)
    if path.suffix != ".safetensors":
        return files.save(encoder, path)
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        written = files.save(encoder, folder)
        os.replace(written, path)
    return path
