"""One encoder, one immutable ``.safetensors`` file, re-checked on every load.

Layout (schema 1): int64 tensors ``e_x`` (r × a), ``e_w`` (r × b) and ``d`` (c × r), with a trailing axis of k
coefficients over a ring of degree k and, when a numerator exceeds 62 bits, a further trailing axis of signed base-2^31
limbs; float64 tensors for R64 and C128. The string header holds schema, target, ring, rank, convention, denominators,
origin (JSON), certificate (JSON: holds, method, bound, date) and the SHA-256 of the canonical integers. Nothing in a
file is ever evaluated or unpickled.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .encoder import Encoder
from .errors import EncoderFileError, StlError
from .identities import proof_work, verify
from .rings import Array, fit, max_abs, ring
from .targets import target

__all__ = ["CONVENTION", "SCHEMA", "file_name", "load", "read_header", "save"]

SCHEMA = "stl-encoder/1"
CONVENTION = "vec row-major, C not transposed, C = D((E_X A)(E_W B))"
MAX_FILE_BYTES = 1 << 29
MAX_HEADER_BYTES = 1 << 20
#: Integers of at most 7936 bits (2389 digits), like the 2000 digits allowed in the formats of others.
MAX_LIMBS = 1 << 8
#: Entries of a tensor of limbs, each of which becomes a Python integer.
MAX_LIMB_ENTRIES = 1 << 24
MAX_DIGITS = 2400
#: Multiply–adds of the proof on load (`identities.proof_work`).
MAX_WORK = 65 * 10**8
_FIELDS = ("schema", "convention", "target", "ring", "rank", "denominators", "origin", "certificate", "sha256")
_LIMB = 31


def file_name(encoder: Encoder) -> str:
    """``4x4x4_r49_Z_<hash8>.safetensors`` (the target's name in place of the format for other targets)."""
    where = "x".join(map(str, encoder.target.format)) if encoder.target.format else encoder.target.name
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{where}").strip("-")
    base = re.sub(r"[^A-Za-z0-9]+", "-", encoder.ring.name).strip("-")
    return f"{plain}_r{encoder.rank}_{base}_{encoder.digest[:8]}.safetensors"


def save(encoder: Encoder, directory: str | os.PathLike[str]) -> Path:
    """Write the encoder under its own name; an existing file of that name is the same encoder and is left alone.

    Returns
    -------
    Path
        Of the file, complete and flushed to disk: it appears by an atomic rename, never half-written.

    Raises
    ------
    StlError
        For integers or origins that `load` would refuse as too large.

    Examples
    --------
    >>> import tempfile
    >>> from stl_algebra.schemes import strassen
    >>> save(strassen(), tempfile.mkdtemp()).name[:12]
    '2x2x2_r7_Z_6'
    """
    from safetensors.numpy import save as serialise

    folder = Path(directory)
    path = folder / file_name(encoder)
    if path.exists():
        return path
    for f, name in zip(encoder.factors, ("e_x", "e_w", "d"), strict=True):
        bits = f.den.bit_length() if f.num.dtype != object else max(f.den.bit_length(), max_abs(f.num).bit_length())
        if bits > MAX_LIMBS * _LIMB - 1:
            raise StlError(name, f"an integer of {bits} bits", f"at most {MAX_LIMBS * _LIMB - 1} bits")
    report = verify(encoder)
    bound = str(report.bound) if report.bound < 2**62 else f"below 2^{report.bound.bit_length()}"
    certificate = {
        "holds": report.holds, "method": report.method, "bound": bound, "equations": report.total,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
    header = {
        "schema": SCHEMA, "convention": CONVENTION, "target": encoder.target.name, "ring": encoder.ring.name,
        "rank": str(encoder.rank), "denominators": json.dumps([str(f.den) for f in encoder.factors]),
        "origin": json.dumps(dict(encoder.origin), sort_keys=True, default=str),
        "certificate": json.dumps(certificate), "sha256": encoder.digest,
    }  # fmt: skip
    tensors = {n: _to_limbs(f.num) for n, f in zip(("e_x", "e_w", "d"), encoder.factors, strict=True)}
    data = serialise(tensors, metadata=header)
    if struct.unpack("<Q", data[:8])[0] > MAX_HEADER_BYTES or len(data) > MAX_FILE_BYTES:
        raise StlError(
            "encoder", encoder.label, f"an origin below {MAX_HEADER_BYTES} and a file below {MAX_FILE_BYTES} bytes"
        )
    folder.mkdir(parents=True, exist_ok=True)
    out = tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False)  # noqa: SIM115
    try:
        with out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(out.name, 0o644)
        os.replace(out.name, path)
    except BaseException:
        Path(out.name).unlink(missing_ok=True)
        raise
    return path


def load(path: str | os.PathLike[str], trust_certificate: bool = False, allow_large: bool = False) -> Encoder:
    """Read an encoder file and check it again: structure, hash, and the bilinear identity it claims.

    Parameters
    ----------
    path : path of a ``.safetensors`` encoder file
    trust_certificate : bool
        Skip the renewed proof (the hash is always checked).
    allow_large : bool
        Prove what takes more than `MAX_WORK` multiply–adds, about two seconds, instead of refusing it.

    Raises
    ------
    EncoderFileError
        Names the file, the field, what was found and what is needed: truncated, tampered with, wrong schema, too
        big, malformed, or claiming an identity that does not hold.

    Examples
    --------
    >>> import tempfile
    >>> from stl_algebra.schemes import strassen
    >>> load(save(strassen(), tempfile.mkdtemp())) == strassen()  # proven again
    True
    """
    meta, tensors = _read(path)
    try:
        base, goal = ring(meta["ring"]), target(meta["target"])
    except StlError as error:
        raise EncoderFileError(path, error.argument, error.value, error.allowed) from None
    dens = _json(path, meta, "denominators", list)
    pattern = rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}" if base.exact else "1"
    if len(dens) != 3 or not all(isinstance(v, str) and re.fullmatch(pattern, v) for v in dens):
        needed = f"three positive decimal strings of at most {MAX_DIGITS} digits" if base.exact else "'1' three times"
        raise EncoderFileError(path, "denominators", dens, needed)
    pairs = [(_from_limbs(path, name, tensors[name], base.degree, base.exact), int(den))
             for name, den in zip(("e_x", "e_w", "d"), dens, strict=True)]  # fmt: skip
    given = _as_given(pairs, base.exact)
    try:
        encoder = Encoder.build(goal, given[0], given[1], given[2], ring=base, origin=_json(path, meta, "origin", dict))
    except StlError as error:
        raise EncoderFileError(path, error.argument, error.value, error.allowed) from None
    if meta["rank"] != str(encoder.rank):
        raise EncoderFileError(path, "rank", meta["rank"], f"{encoder.rank}, the rank of the factors")
    if meta["sha256"] != encoder.digest:
        raise EncoderFileError(path, "sha256", meta["sha256"][:16], encoder.digest[:16] + "…", "The file was altered.")
    certificate = _json(path, meta, "certificate", dict)
    claim = certificate.get("holds")
    if not isinstance(claim, bool):
        raise EncoderFileError(path, "certificate.holds", claim, "true or false")
    if claim and not base.exact:
        raise EncoderFileError(path, "certificate.holds", claim, f"false over the numerical ring {base.name}")
    if base.exact and not trust_certificate:
        try:
            if not allow_large and (work := proof_work(encoder)) > MAX_WORK:
                raise StlError("proof", f"{work:.2g} multiply-adds", f"at most {MAX_WORK:.2g}",
                               "Use --allow-large (allow_large=True) if the file is trusted.")  # fmt: skip
            holds = encoder.is_exact
        except StlError as error:
            raise EncoderFileError(path, error.argument, error.value, error.allowed, error.cure) from None
        if holds != claim:
            raise EncoderFileError(path, "certificate.holds", claim, f"{holds}, as the identity shows")
    return encoder


def read_header(path: str | os.PathLike[str]) -> dict[str, str]:
    """The string header of an encoder file (target, ring, rank, origin, certificate …); nothing is proven.

    Raises
    ------
    EncoderFileError
        As `load`, for files that are no encoder files.
    """
    return _read(path)[0]


def _as_given(pairs: list[tuple[Array, int]], exact: bool) -> list[Any]:
    return [(num, den) if exact else _complex(num) for num, den in pairs]


def _complex(num: Array) -> Array:
    if num.ndim != 3 or num.shape[2] != 2:
        return num
    out = np.empty(num.shape[:2], dtype=np.complex128)  # no arithmetic, which would lose the sign of zeros
    out.real, out.imag = num[..., 0], num[..., 1]
    return out


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Array]]:
    """Header and tensors of a well-formed file of bounded size; never allocates what the file does not hold."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialise

    file = Path(path)
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise EncoderFileError(path, "file", "not a regular file", "an encoder file")
        if not 8 < size <= MAX_FILE_BYTES:
            raise EncoderFileError(path, "size", f"{size} bytes", f"9 to {MAX_FILE_BYTES} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise EncoderFileError(path, "file", error.strerror or str(error), "a readable encoder file") from None
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise EncoderFileError(path, "header length", length, f"at most {min(MAX_HEADER_BYTES, len(data) - 8)} bytes",
                               "The file is truncated or no safetensors file.")  # fmt: skip
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
        meta = header.get("__metadata__", {})
        kinds = {k: v.get("dtype") for k, v in header.items() if k != "__metadata__"}
    except (ValueError, AttributeError, RecursionError):
        raise EncoderFileError(path, "header", "not readable", "the JSON header of a safetensors file") from None
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        found = meta.get("schema") if isinstance(meta, dict) else meta
        raise EncoderFileError(
            path, "schema", found, SCHEMA, "Import other formats with python -m search.catalog import."
        )
    for name in _FIELDS:
        if not isinstance(meta.get(name), str):
            raise EncoderFileError(path, name, meta.get(name), "a string in the header")
    if meta["convention"] != CONVENTION:
        raise EncoderFileError(path, "convention", meta["convention"], CONVENTION)
    if set(kinds) != {"e_x", "e_w", "d"} or any(v not in ("I64", "F64") for v in kinds.values()):
        raise EncoderFileError(path, "tensors", kinds, "e_x, e_w and d, each I64 or F64")
    try:
        return meta, dict(deserialise(data))
    except (SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise EncoderFileError(
            path, "tensors", str(error), "complete tensors", "The file is truncated or damaged."
        ) from None


def _json(path: object, meta: dict[str, str], name: str, kind: type) -> Any:
    try:
        value = json.loads(meta[name])
    except (ValueError, RecursionError):
        raise EncoderFileError(path, name, meta[name], "JSON") from None
    if not isinstance(value, kind):
        raise EncoderFileError(path, name, value, f"a JSON {kind.__name__}")
    return value


def _to_limbs(num: Array) -> Array:
    if num.dtype != object:
        return np.ascontiguousarray(num.astype("<f8" if num.dtype.kind == "f" else "<i8"))
    count = int(max_abs(num)).bit_length() // _LIMB + 1
    flat = num.ravel()
    limbs = np.zeros((len(flat), max(count, 2)), dtype="<i8")
    for row, value in zip(limbs, flat, strict=True):
        sign, rest = (-1 if value < 0 else 1), abs(int(value))
        for i in range(limbs.shape[1]):
            row[i] = sign * (rest & ((1 << _LIMB) - 1))
            rest >>= _LIMB
    return limbs.reshape(*num.shape, limbs.shape[1])


def _from_limbs(path: object, name: str, stored: Array, degree: int, exact: bool) -> Array:
    plain = 2 if degree == 1 else 3
    if (stored.dtype.kind == "f") == exact:
        raise EncoderFileError(path, name, str(stored.dtype), "int64 for exact rings, float64 for R64 and C128")
    if stored.ndim == plain:
        return stored
    if stored.ndim != plain + 1 or not exact or not 1 <= stored.shape[-1] <= MAX_LIMBS:
        raise EncoderFileError(path, name, stored.shape, f"{plain} axes, or one more for at most {MAX_LIMBS} limbs")
    if stored.size > MAX_LIMB_ENTRIES:
        raise EncoderFileError(path, name, stored.shape, f"at most {MAX_LIMB_ENTRIES} limbs")
    weights = np.array([1 << (_LIMB * i) for i in range(stored.shape[-1])], dtype=object)
    return fit(stored.astype(object) @ weights)
