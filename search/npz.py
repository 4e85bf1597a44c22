"""Integer arrays of an ``.npz`` archive without pickle: bounded sizes, headers parsed by numpy, nothing executed."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import EncoderFileError

__all__ = ["MAX_BYTES", "read_arrays"]

#: Largest file, and largest unpacked archive: a zip bomb is refused from its directory.
MAX_BYTES = 1 << 27


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of the archive by name; EncoderFileError for anything damaged, pickled, not integer or too big."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if len(infos) > 4096 or sum(i.file_size for i in infos) > MAX_BYTES:
                raise EncoderFileError(path, "archive", f"{len(infos)} members", f"at most {MAX_BYTES} bytes unpacked")
            for info in infos:
                with archive.open(info) as stream:
                    arrays[info.filename.removesuffix(".npy")] = _read_npy(path, info, stream)
    except EncoderFileError:
        raise
    except Exception as error:  # zipfile, zlib and the npy header parser raise a dozen kinds on damaged input
        raise EncoderFileError(path, "archive", f"{type(error).__name__}: {error}", "a readable npz archive") from None
    return arrays


def _read_npy(path: Path, info: zipfile.ZipInfo, stream: Any) -> NDArray[Any]:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(stream, max_header_size=10_000)
    if dtype.kind not in "iu":
        cure = "Pickled object arrays are refused: save each factor under 'n,m,p/u', 'n,m,p/v', 'n,m,p/w'."
        raise EncoderFileError(path, info.filename, str(dtype), "an integer array", cure if dtype.hasobject else "")
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize > info.file_size:
        raise EncoderFileError(path, info.filename, shape, "as many entries as the file holds")
    data = np.frombuffer(stream.read(prod(shape) * dtype.itemsize), dtype=dtype)
    return data.reshape(shape, order="F" if fortran else "C")
