"""NumPy files: ``.npz`` and ``.npy``, without pickle.

====================  ========================================================================================
``"n,m,p"``           one array (3, entries, r), or three arrays of different sizes in an object array (AlphaTensor)
``"n,m,p/u"`` …       factors one by one, entries × r, W on vec(Cᵀ); "n,m,p/den" their denominators, "n,m,p/ring"
U, V, W               (also u v w, A B C, E_X E_W D, e_x e_w d) of one scheme, either way round
``.npy``              an array (3, …) of one scheme; or (1, 2·r·(a+b+c)) pairs of numerator and denominator, target
                      from the file's name (flip-cpd: ``uu-444-rank19-…``)
====================  ========================================================================================

Integer, float and complex arrays; floats are the dyadic numbers they are. Object arrays are pickles: `_unpickled` reads
them with stand-ins for NumPy's arrays and knows nothing else, so nothing is imported, called or allocated.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ..encoder import Encoder
from ..errors import EncoderFileError, StlError
from ..rings import Array, Ring, fit, ring
from ..targets import Target, matmul, target
from .judge import Raw
from .scalars import Numbers, numbers
from .source import CURE, Source, says_mod_2, target_by_name

__all__ = ["looks_like_npy", "looks_like_zip", "read_npy", "read_npz", "write_npy", "write_npz"]

MAX_MEMBERS = 4096
#: Instructions of a pickle; an array takes about thirty.
MAX_OPCODES = 200_000
MAX_PICKLE = 1 << 24
_TRIPLES = (
    ("U", "V", "W"),
    ("u", "v", "w"),
    ("A", "B", "C"),
    ("a", "b", "c"),
    ("E_X", "E_W", "D"),
    ("e_x", "e_w", "d"),
)


def looks_like_zip(source: Source) -> bool:
    return source.data[:2] == b"PK"


def looks_like_npy(source: Source) -> bool:
    return source.data[:6] == b"\x93NUMPY"


# ------------------------------------------------------------------ archives
def read_npz(source: Source) -> list[Raw | EncoderFileError]:
    """Every scheme of the archive; a member that cannot be read is returned as its refusal, the others are read."""
    arrays = _members(source)
    if not arrays:
        source.refuse("archive", "no members", "arrays of factors")
    for names in _TRIPLES:
        if set(names) <= set(arrays):
            return [_named(source, arrays, names)]
    out: list[Raw | EncoderFileError] = []
    for key in sorted({k.split("/")[0] for k in arrays}):
        try:
            out.append(_sized(source, key, arrays))
        except EncoderFileError as error:
            out.append(error)
    return out


def _members(source: Source) -> dict[str, Any]:
    """Arrays by name, or the refusal of a member."""
    out: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            infos = archive.infolist()
            total = sum(i.file_size for i in infos)
            if len(infos) > MAX_MEMBERS or total > source.budget.unpacked:
                source.refuse("archive", f"{len(infos)} members, {total} bytes",
                              f"{MAX_MEMBERS} members and {source.budget.unpacked} bytes unpacked", CURE)  # fmt: skip
            for info in infos:
                name = info.filename.removesuffix(".npy")
                try:
                    with archive.open(info) as stream:
                        out[name] = _array(source, name, stream.read(info.file_size + 1))
                except EncoderFileError as error:
                    out[name] = error
    except EncoderFileError:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds on damaged input
        source.refuse("archive", f"{type(error).__name__}: {error}", "a readable npz archive")
    return out


def _got(arrays: dict[str, Any], name: str) -> Any:
    value = arrays.get(name)
    if isinstance(value, EncoderFileError):
        raise value
    return value


def _claims(source: Source, arrays: dict[str, Any], prefix: str = "") -> tuple[Ring | None, Target | None, list[int]]:
    """Ring, target and denominators, if the archive names them."""
    found = {}
    for name in ("ring", "target"):
        value = _got(arrays, prefix + name)
        if value is not None:
            found[name] = str(value.ravel()[0]) if isinstance(value, np.ndarray) and value.size else ""
    den = _got(arrays, prefix + "den")
    dens = [1, 1, 1]
    if den is not None:
        flat = [int(v) for v in np.asarray(den).ravel()[:4].tolist()] if np.asarray(den).dtype.kind in "iu" else []
        if len(flat) != 3 or min(flat) < 1:
            source.refuse(
                f"{prefix}den", np.asarray(den).tolist()[:4] if np.asarray(den).ndim else den, "three denominators"
            )
        dens = flat
    try:
        return (
            ring(found["ring"]) if "ring" in found else None,
            target(found["target"]) if "target" in found else None,
            dens,
        )
    except StlError as error:
        source.refuse(error.argument, error.value, error.allowed)


def _named(source: Source, arrays: dict[str, Any], names: Sequence[str]) -> Raw:
    base, goal, dens = _claims(source, arrays)
    parts = [_scaled(_numbers(source, _got(arrays, k), k, base), d) for k, d in zip(names, dens, strict=True)]
    return _either(source, parts, f"npz {', '.join(names)}", base, goal)


def _scaled(part: tuple[Array, int, Ring | None], den: int) -> tuple[Array, int, Ring | None]:
    return part[0], part[1] * den, part[2]


def _either(
    source: Source, parts: list[tuple[Array, int, Ring | None]], layout: str, base: Ring | None, goal: Target | None
) -> Raw:
    """Factors that may be entries × r, r × entries, or as our own E_X, E_W (r × entries) and D."""
    factors, over = _common(list(parts))
    turned = [(np.swapaxes(num, 0, 1), den) for num, den in factors]
    ours = [turned[0], turned[1], factors[2]]
    also = ring("GF(2)") if says_mod_2(source, binary=True) and base is None else None
    return Raw(source.name, factors, layout, ring=base or over, also=also, target=goal, alternatives=[turned, ours])


def _common(parts: list[tuple[Array, int, Ring | None]]) -> tuple[list[Numbers], Ring | None]:
    """One ring for the three: Gaussian numbers if any is complex."""
    over = next((p[2] for p in parts if p[2] is not None), None)
    if over is None:
        return [(num, den) for num, den, _ in parts], None
    return [(num if has else np.stack([num, np.zeros_like(num)], axis=-1), den) for num, den, has in parts], over


def _sized(source: Source, key: str, arrays: dict[str, Any]) -> Raw:
    match = re.fullmatch(r"([0-9]{1,2}),([0-9]{1,2}),([0-9]{1,2})", key, re.ASCII)
    base, goal, dens = _claims(source, arrays, f"{key}/")
    if goal is None and not match:
        source.refuse("key", key, "keys 'n,m,p', 'n,m,p/u|v|w', or U, V, W")
    if key in arrays:
        stack = _got(arrays, key)
        if not isinstance(stack, list) and (stack.ndim != 3 or len(stack) != 3):
            source.refuse(key, getattr(stack, "shape", type(stack).__name__), "an array (3, entries, rank)")
        given = list(stack)
    else:
        given = [_got(arrays, f"{key}/{s}") for s in "uvw"]
    if len(given) != 3 or any(v is None for v in given):
        source.refuse(key, f"{sum(v is not None for v in given)} factors", "three factors u, v, w")
    parts = [_scaled(_numbers(source, v, key, base), d) for v, d in zip(given, dens, strict=True)]
    factors, over = _common(parts)
    if any(num.shape[1] != factors[0][0].shape[1] for num, _ in factors):
        source.refuse(key, [num.shape[:2] for num, _ in factors], "three matrices (entries, rank)")
    if goal is None and match:
        n, m, p = map(int, match.groups())
        if (sizes := [len(num) for num, _ in factors]) != [n * m, m * p, n * p]:  # cheaper than the target
            source.refuse(key, f"factors of {sizes} entries", f"{[n * m, m * p, n * p]} entries")
        try:
            goal = matmul(n, m, p)
        except StlError as error:
            source.refuse(f"key {key}", error.value, error.allowed)
    also = ring("GF(2)") if says_mod_2(source, binary=True) and base is None else None
    return Raw(
        key,
        factors,
        "npz",
        ring=base or over,
        also=also,
        target=goal,
        transposed=True if goal and goal.format else None,
    )


def _numbers(source: Source, a: Any, what: str, base: Ring | None) -> tuple[Array, int, Ring | None]:
    """Numerators (rows, columns[, k]), denominator, and Q(i) for complex arrays."""
    if isinstance(a, list):  # of Python objects, from a pickle
        if not a or not all(isinstance(row, list) and len(row) == len(a[0]) for row in a):
            source.refuse(what, "ragged lists", "a matrix")
        source.spend(len(a) * len(a[0]), what)
        num, den = numbers(source, [v for row in a for v in row], what)
        return fit(num.reshape(len(a), -1)), den, None
    if not isinstance(a, np.ndarray):
        source.refuse(what, type(a).__name__, "an array")
    k = base.degree if base is not None else 1
    allowed = (2, 3) if k > 1 else (2,)
    if a.ndim not in allowed or (a.ndim == 3 and a.shape[2] != k) or a.dtype.kind not in "iufcb":
        needed = f"a matrix{f' with {k} coefficients an entry' if k > 1 else ''}"
        source.refuse(what, f"{a.dtype} {a.shape}", needed)
    source.spend(a.size * (2 if a.dtype.kind == "c" else 1), what)
    if a.dtype.kind in "iub":
        num = fit(a.astype(object) if a.dtype == np.uint64 else a.astype(np.int64))
        if k > 1 and a.ndim == 2:
            num = np.concatenate([num[..., None], np.zeros((*num.shape, k - 1), dtype=np.int64)], axis=-1)
        return num, 1, None
    if a.dtype.kind == "c":
        num, den = _dyadic(source, np.stack([a.real, a.imag], axis=-1).astype(np.float64), what)
        return num, den, ring("Q(i)")
    num, den = _dyadic(source, a.astype(np.float64), what)
    return num, den, None


def _dyadic(source: Source, a: Array, what: str) -> Numbers:
    """Floats as the dyadic numbers they are."""
    if not np.isfinite(a).all():
        source.refuse(what, "infinite or undefined entries", "finite numbers")
    for shift in (0, 1, 2, 3, 4, 8, 16, 32):
        scaled = a * 2.0**shift
        if np.abs(scaled).max(initial=0) < 2**53 and (scaled == np.rint(scaled)).all():
            return scaled.astype(np.int64), 1 << shift
    num, den = numbers(source, a.ravel().tolist(), what)
    return fit(num.reshape(a.shape)), den


# ------------------------------------------------------------------ one array
def _array(source: Source, name: str, data: bytes) -> Any:
    """The array of a ``.npy`` image, or nested lists of arrays and numbers for object arrays."""
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(stream, max_header_size=10_000)
    except Exception as error:  # the header parser raises many kinds on damaged input
        source.refuse(name, f"{type(error).__name__}: {error}", "a NumPy array")
    if dtype.hasobject:
        if dtype.kind != "O":
            source.refuse(name, str(dtype), "numbers")
        return _unpickled(source, name, data[stream.tell() :])
    if dtype.kind not in "iufcbU" or (dtype.kind in "fc" and dtype.itemsize > 16):
        source.refuse(name, str(dtype), "an array of integers, floats or complex numbers")
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize > len(data) - stream.tell():
        source.refuse(name, shape, "as many entries as the file holds")
    if prod(shape) * dtype.itemsize == 0:
        return np.zeros(
            shape if prod(shape) == 0 and len(shape) < 8 and max(shape, default=0) < 1 << 20 else (0,), dtype
        )
    a = np.frombuffer(data, dtype=dtype, count=prod(shape), offset=stream.tell())
    return a.reshape(shape, order="F" if fortran else "C")


def read_npy(source: Source) -> list[Raw]:
    """The scheme of one ``.npy`` array."""
    a = _array(source, source.name, source.data)
    goal = target_by_name(source)
    if isinstance(a, np.ndarray) and a.dtype.kind in "iu" and a.ndim <= 2 and goal is not None and a.size > 0:
        return [_pairs(source, a.ravel(), goal)]
    if isinstance(a, (list, tuple)) or (a.ndim == 3 and len(a) == 3):
        if len(a) != 3:
            source.refuse("array", f"{len(a)} parts", "three factors")
        parts = [_numbers(source, v, "array", None) for v in a]
        return [_either(source, parts, "npy", None, None)]
    source.refuse("array", f"{a.dtype} {a.shape}", "an array (3, entries, rank) or (3, rank, entries)")


def _pairs(source: Source, flat: Array, goal: Target) -> Raw:
    sizes = goal.shape
    r, rest = divmod(flat.size, 2 * sum(sizes))
    if rest:
        source.refuse("array", flat.size, f"a multiple of {2 * sum(sizes)} numbers for {goal.name}")
    source.spend(flat.size)
    top, below = flat[::2].astype(np.int64), flat[1::2].astype(np.int64)
    if (below == 0).any():
        source.refuse("array", "a denominator 0", "pairs of numerator and denominator")
    top, below = top * np.sign(below), np.abs(below)
    num, den = numbers(source, [f"{a}/{b}" for a, b in zip(top.tolist(), below.tolist(), strict=True)])
    by_term = np.split(num.reshape(r, -1), np.cumsum(sizes)[:2], axis=1)
    ends = np.cumsum([r * s for s in sizes])[:2]
    whole = [part.reshape(r, size) for part, size in zip(np.split(num, ends), sizes, strict=True)]
    first, second = ([(part.T, den) for part in way] for way in (whole, by_term))
    return Raw(source.name, first, "npy pairs", target=goal, alternatives=[second])


# ------------------------------------------------------------------ object arrays
class _Dtype:
    """Stand-in for numpy.dtype: remembers what a pickle says, does nothing."""

    def __init__(self, *args: Any) -> None:
        self.name = args[0] if args and isinstance(args[0], str) else ""
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]


class _Array:
    """Stand-in for numpy.ndarray."""

    def __init__(self, *args: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _reconstruct(*args: Any) -> _Array:
    return _Array()


def _scalar(*args: Any) -> Any:
    """numpy scalars of a pickle: dtype and bytes."""
    out = _Array()
    out.state = (1, (), *args, None) if len(args) == 2 else None
    return out


_ALLOWED = {
    ("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct, ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar, ("numpy._core.multiarray", "scalar"): _scalar,
}  # fmt: skip


class _Unpickler(pickle._Unpickler):  # the Python one: the C one reserves memory a pickle names
    """Knows the stand-ins and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("persistent objects are not allowed")


def _unpickled(source: Source, name: str, data: bytes) -> list[Any]:
    """Nested lists of real NumPy arrays and Python numbers."""
    needed = "a pickle of NumPy arrays of numbers and nothing else"
    try:
        if len(data) > MAX_PICKLE:
            raise pickle.UnpicklingError(f"{len(data)} bytes")
        for count, _ in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise pickle.UnpicklingError(f"more than {MAX_OPCODES} instructions")
        value = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        out = _plain(value, 0)
    except EncoderFileError:
        raise
    except Exception as error:  # a pickle can be damaged in any way
        source.refuse(name, f"{type(error).__name__}: {error}", needed, "Pickled objects are never built.")
    if not isinstance(out, (list, np.ndarray)):
        source.refuse(name, type(out).__name__, needed)
    return out  # type: ignore[return-value]


def _plain(value: Any, depth: int) -> Any:
    if depth > 4:
        raise ValueError("nested too deeply")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v, depth + 1) for v in value]
    if not isinstance(value, _Array) or not isinstance(value.state, tuple) or len(value.state) < 5:
        raise ValueError(f"{type(value).__name__} is no array")
    _, shape, dtype, fortran, held = value.state[:5]
    if not isinstance(value.state[1], tuple) or not isinstance(dtype, (_Dtype, bytes)):
        shape, dtype, held = (), value.state[2], value.state[3]
        fortran = False
    if not isinstance(dtype, _Dtype) or not all(type(s) is int and 0 <= s < 1 << 31 for s in shape) or len(shape) > 4:
        raise ValueError("an array of unknown shape or type")
    if isinstance(held, list):
        if prod(shape) != len(held):
            raise ValueError("an array that holds fewer objects than it claims")
        return _nested([_plain(v, depth + 1) for v in held], list(shape))
    if not isinstance(held, (bytes, str)) or not re.fullmatch(r"[iufcb][1-9][0-9]?", dtype.name):
        raise ValueError(f"an array of {dtype.name}")
    raw = held.encode("latin1") if isinstance(held, str) else held
    kind = np.dtype(dtype.name).newbyteorder(">" if dtype.order == ">" else "<")
    if prod(shape) * kind.itemsize != len(raw):
        raise ValueError("an array that holds fewer bytes than it claims")
    a = np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if fortran else "C")
    return a if a.ndim else a.item()


def _nested(flat: list[Any], shape: list[int]) -> Any:
    for size in reversed(shape[1:]):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)] if size else []
    return flat


# ------------------------------------------------------------------ writing
def _stored(encoder: Encoder) -> tuple[list[Array], list[int]]:
    """Entries × r, int64; floats for numerical rings."""
    out = []
    for axis, f in enumerate(encoder.factors):
        if f.num.dtype == object or f.den >= 2**62:
            raise StlError("coefficients", encoder.label, "numerators and denominators below 2^62", "Use .json.")
        out.append(np.ascontiguousarray(f.num if axis == 2 else np.swapaxes(f.num, 0, 1)))
    return out, [f.den for f in encoder.factors]


def write_npz(encoder: Encoder) -> bytes:
    """AlphaTensor's convention, plain arrays "n,m,p/u|v|w" with W on vec(Cᵀ), and ring and denominators beside them.

    For other targets the prefix is "scheme" and W is as it is.
    """
    parts, dens = _stored(encoder)
    key = "scheme"
    if encoder.target.format:
        n, m, p = encoder.target.format
        key = f"{n},{m},{p}"
        w = parts[2]
        parts[2] = np.swapaxes(w.reshape(n, p, *w.shape[1:]), 0, 1).reshape(w.shape)
    arrays = {f"{key}/{s}": a for s, a in zip("uvw", parts, strict=True)}
    arrays[f"{key}/ring"] = np.array(encoder.ring.name)
    if any(d != 1 for d in dens):
        arrays[f"{key}/den"] = np.array(dens, dtype=np.int64)
    if not encoder.target.format:
        arrays[f"{key}/target"] = np.array(encoder.target.name)
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def write_npy(encoder: Encoder) -> bytes:
    """One array (3, r, entries), for square formats over Z.

    Raises
    ------
    StlError
        For factors of different sizes or with denominators, and for rings other than Z, which a bare array cannot name.
    """
    parts, dens = _stored(encoder)
    if encoder.ring.name != "Z" or len({len(a) for a in parts}) > 1 or any(d != 1 for d in dens):
        raise StlError("encoder", encoder.label, "a square format over Z", "Use .npz, which names its ring.")
    out = io.BytesIO()
    np.save(out, np.stack([a.T for a in parts]))
    return out.getvalue()
