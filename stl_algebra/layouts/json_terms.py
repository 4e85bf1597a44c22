"""JSON objects with three factors, dense or sparse.

==================  ==========================================================================================
"rows"              n, m, p, rank, ring; u (nm × r), v (mp × r), w (np × r) as rows of entries
"terms"             n = [n, m, p], m = rank, z2; u (r × nm), v, w as rows of terms, W on vec(Cᵀ) (Perminov's
                    FastMatrixMultiplication; what `write_json` writes, with "ring", and "target" for other targets)
sparse              rows of {"index": i, "value": v}, [i, v] pairs or {"i": v}, with "u_fresh" … as shared sums:
                    addition-reduced schemes, whose w are rows of outputs
U V W c             any of the names u v w, U V W, A B C, optional weights c (or lambda) of the terms
rings               "ring": "Z3", "fields": ["F2"], "z2": true; elements of a ring of degree k are lists
==================  ==========================================================================================

Floats are decimal numbers, exactly as written. A list of such objects, or {"schemes": [...]}, is a file of several.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from ..encoder import Encoder
from ..errors import EncoderFileError, StlError
from ..rings import Array, Ring, fit, ring
from ..targets import Target, matmul, target
from .judge import MAX_DIMENSION, MAX_RANK, Raw
from .nested import notebook_cells, read_nested
from .scalars import Numbers, exact, numbers, table
from .source import Source

__all__ = ["looks_like_json", "read_json", "ring_named", "write_json"]

_NAMES = (("u", "v", "w"), ("U", "V", "W"), ("a", "b", "c"), ("A", "B", "C"), ("e_x", "e_w", "d"), ("E_X", "E_W", "D"))
MAX_SCHEMES = 1024


def looks_like_json(source: Source) -> bool:
    return source.text.lstrip()[:1] in ("{", "[") and not re.match(r"\s*\{\s*\{", source.text)


def read_json(source: Source) -> list[Raw | EncoderFileError]:
    """Every scheme of a JSON file (or of a notebook, or of nested lists)."""
    if (cells := notebook_cells(source)) is not None:
        return list(read_nested(source, cells))

    def refuse(value: str) -> None:
        source.refuse("coefficient", value, "finite exact numbers")

    try:
        data = json.loads(source.text, parse_constant=refuse, parse_float=str)
    except RecursionError:
        source.refuse("JSON", "nesting too deep", "an object with u, v and w")
    except ValueError as error:
        if isinstance(error, EncoderFileError):
            raise
        if source.text.lstrip()[:1] == "[":
            return list(read_nested(source))
        source.refuse("JSON", str(error), "well-formed JSON")
    if isinstance(data, dict) and isinstance(data.get("schemes"), list):
        data = data["schemes"]
    if isinstance(data, list) and data and all(isinstance(v, dict) for v in data):
        if len(data) > MAX_SCHEMES:
            source.refuse("JSON", f"{len(data)} schemes", f"at most {MAX_SCHEMES}")
        out: list[Raw | EncoderFileError] = []
        for k, one in enumerate(data):
            try:
                out.append(_object(source, f"{source.name}#{k + 1}", one))
            except EncoderFileError as error:
                out.append(error)
        return out
    if isinstance(data, list):
        return list(read_nested(source))
    if not isinstance(data, dict):
        source.refuse("JSON", type(data).__name__, "an object with u, v and w")
    return [_object(source, source.name, data)]


def ring_named(text: str) -> Ring:
    """A ring by any of its usual names: F2, GF(2), Z2, Z/3, ZT, R, C besides those of `stl_algebra.ring`."""
    plain = text.strip().replace("_", "") if isinstance(text, str) else text
    aliases = {
        "ZT": "Z",
        "QQ": "Q",
        "ZZ": "Z",
        "R": "R64",
        "RR": "R64",
        "C": "C128",
        "CC": "C128",
        "Z[i]": "Q(i)",
        "Q[i]": "Q(i)",
    }
    if isinstance(plain, str):
        if plain in aliases:
            return ring(aliases[plain])
        if match := re.fullmatch(r"(?:GF|F)\(?([0-9]{1,9})\)?", plain, re.ASCII):
            return ring(f"GF({match[1]})")
        if match := re.fullmatch(r"(?:Z/?|Z/Z|mod)([0-9]{1,9})Z?", plain, re.ASCII):
            base = ring(f"GF({match[1]})")
            if base.degree > 1:
                raise StlError("ring", text, "a field", f"Z/{match[1]} is none; GF({match[1]}) is another ring.")
            return base
    return ring(text)


def _claimed(source: Source, data: dict[str, Any]) -> tuple[Ring | None, Ring | None]:
    """The ring an object names, and a second one if it names several."""
    named = [data["ring"]] if data.get("ring") else data["fields"] if isinstance(data.get("fields"), list) else []
    if not named and (data.get("z2") is True or data.get("mod") == 2):
        named = ["GF(2)"]
    try:
        rings = [ring_named(v) for v in named[:4]]
    except StlError as error:
        source.refuse("ring", error.value, error.allowed, error.cure)
    exact_first = sorted(rings, key=lambda r: (r.characteristic > 0, not r.exact))
    return (exact_first[0] if rings else None), (exact_first[1] if len(rings) > 1 else None)


def _object(source: Source, name: str, data: dict[str, Any]) -> Raw:
    keys = next((k for k in _NAMES if set(k) <= set(data) and all(isinstance(data[v], list) for v in k)), None)
    if keys is None:
        keys = next((k for k in _NAMES if set(k) <= set(data)), None)
    if keys is None:
        source.refuse("JSON", sorted(map(str, data))[:6], "an object with u, v and w")
    base, also = _claimed(source, data)
    goal, rank, by_terms = _sizes(source, data)
    name = str(data.get("source", name))[:200]
    lists = [data[k] for k in keys]
    for key, rows in zip(keys, lists, strict=True):
        if not isinstance(rows, list) or not all(isinstance(row, (list, dict)) for row in rows):
            source.refuse(key, type(rows).__name__, "a list of rows")
    if any(_sparse(rows) for rows in lists) or any(f"{k}_fresh" in data for k in keys):
        return _sparse_scheme(source, name, data, keys, goal, base, also)
    weights = _weights(source, data, keys, base)
    k = base.degree if base is not None else 1
    if goal is None or rank is None:
        return _loose(source, name, lists, keys, base, also, goal, weights, k)
    sizes = goal.shape
    parts = []
    for key, rows, size in zip(keys, lists, sizes, strict=True):
        shape = (rank, size) if by_terms else (size, rank)
        num, den = table(source, rows, (*shape, k) if k > 1 else shape, key)
        parts.append((np.swapaxes(num, 0, 1) if by_terms else num, den))
    parts = _weighted(parts, weights)
    layout = "terms" if by_terms else "rows"
    return Raw(name, parts, layout, ring=base, also=also, target=goal,
               transposed=by_terms if goal.format else None)  # fmt: skip


def _sizes(source: Source, data: dict[str, Any]) -> tuple[Target | None, int | None, bool]:
    """Target and rank as claimed, and whether the factors are rows of terms."""
    by_terms = isinstance(data.get("n"), list)
    rank = data.get("m") if by_terms else data.get("rank", data.get("r"))
    if rank is not None and (type(rank) is not int or not 0 <= rank <= MAX_RANK):
        source.refuse("rank", rank, f"an integer from 0 to {MAX_RANK}")
    try:
        if "target" in data:
            return target(data["target"]), rank, True
        dims = data["n"] if by_terms else data.get("format", data.get("dims", [data.get(k) for k in "nmp"]))
        if dims == [None] * 3:
            return None, rank, by_terms
        if (
            not isinstance(dims, list)
            or len(dims) != 3
            or not all(type(v) is int and 1 <= v <= MAX_DIMENSION for v in dims)
        ):
            source.refuse("n, m, p", dims, f"three integers from 1 to {MAX_DIMENSION}")
        return matmul(*dims), rank, by_terms
    except StlError as error:
        if isinstance(error, EncoderFileError):
            raise
        source.refuse(error.argument, error.value, error.allowed)


def _loose(
    source: Source, name: str, lists: list[list[Any]], keys: tuple[str, ...], base: Ring | None, also: Ring | None,
    goal: Target | None, weights: Numbers | None, k: int,
) -> Raw:  # fmt: skip
    """Factors without sizes: rectangular tables whose common dimension is the rank."""
    parts = []
    for key, rows in zip(keys, lists, strict=True):
        width = len(rows[0]) if rows else 0
        shape: tuple[int, ...] = (len(rows), width, k) if k > 1 else (len(rows), width)
        parts.append(table(source, rows, shape, key))
    turned = [(np.swapaxes(num, 0, 1), den) for num, den in parts]
    ours = [turned[0], turned[1], parts[2]]
    ways = [_weighted(way, weights) for way in (parts, turned, ours) if len({num.shape[1] for num, _ in way}) == 1]
    if not ways:
        source.refuse(
            "shape", [num.shape[:2] for num, _ in parts], "three tables with one dimension, the rank, in common"
        )
    return Raw(name, ways[0], "factors", ring=base, also=also, target=goal, alternatives=list(ways[1:]))


def _weights(source: Source, data: dict[str, Any], keys: tuple[str, ...], base: Ring | None) -> Numbers | None:
    for key in ("c", "lambda", "weights", "coefficients"):
        if key in keys or key not in data or (key == "c" and not isinstance(data[key], list)):
            continue
        values = data[key]
        if not isinstance(values, list) or any(isinstance(v, (list, dict)) for v in values):
            source.refuse(key, type(values).__name__, "a list of one number a term")
        if base is not None and base.degree > 1:
            source.refuse(key, base.name, "weights over a ring of degree 1")
        return numbers(source, values, key)
    return None


def _weighted(parts: list[Numbers], weights: Numbers | None) -> list[Numbers]:
    if weights is None:
        return parts
    num, den = weights
    u, u_den = parts[0]
    if len(num) != u.shape[1]:
        return parts
    return [(fit(u.astype(object) * num.astype(object)), u_den * den), *parts[1:]]


# ------------------------------------------------------------------ sparse
def _sparse(rows: list[Any]) -> bool:
    """Rows of {"index": …, "value": …}, of [index, value] pairs in rows of different lengths, or {index: value}."""
    return any(isinstance(row, dict) or (row and isinstance(row[0], dict)) for row in rows)


def _entries(source: Source, key: str, row: Any) -> list[tuple[int, Any]]:
    if isinstance(row, dict):
        pairs = [
            (int(i) if isinstance(i, str) and i.isascii() and i.isdecimal() and len(i) < 7 else i, v)
            for i, v in row.items()
        ]
    elif not isinstance(row, list):
        source.refuse(key, row, "a list of {'index': i, 'value': v}")
    else:
        pairs = []
        for cell in row:
            if isinstance(cell, dict):
                pairs.append((cell.get("index", cell.get("i")), cell.get("value", cell.get("v", 1))))
            elif isinstance(cell, list) and len(cell) == 2:
                pairs.append((cell[0], cell[1]))
            else:
                source.refuse(key, cell, "{'index': i, 'value': v}")
    for i, v in pairs:
        if type(i) is not int or not 0 <= i < 1 << 24 or type(v) not in (int, str):
            source.refuse(key, (i, v), "an index from 0 and a number")
    return pairs


def _dense(source: Source, key: str, rows: list[Any], width: int) -> Numbers:
    """Sparse rows as a matrix (rows, width)."""
    source.spend(len(rows) * width, key)
    places, values = [], []
    for l, row in enumerate(rows):
        for i, v in _entries(source, key, row):
            if i >= width:
                source.refuse(f"{key}[{l}]", i, f"an index below {width}")
            places.append(l * width + i)
            values.append(v)
    num, den = numbers(source, values, key)
    out = np.zeros(len(rows) * width, dtype=num.dtype if num.dtype == object else np.int64)
    if len(places):
        np.add.at(out, np.array(places), num)
    return fit(out.reshape(len(rows), width)), den


def _sparse_scheme(
    source: Source, name: str, data: dict[str, Any], keys: tuple[str, ...], goal: Target | None, base: Ring | None,
    also: Ring | None,
) -> Raw:  # fmt: skip
    """Sparse rows, with shared sums ("fresh" variables) expanded; w by terms or by outputs."""
    if base is not None and base.degree > 1:
        source.refuse("ring", base.name, "a ring of degree 1 for sparse factors")
    by_outputs = f"{keys[2]}_fresh" in data
    rank = len(data[keys[0]])
    if len(data[keys[1]]) != rank or rank > MAX_RANK:
        source.refuse("rank", (rank, len(data[keys[1]])), f"the same number of rows in {keys[0]} and {keys[1]}")
    parts: list[Numbers] = []
    for axis, key in enumerate(keys):
        rows, fresh = data[key], data.get(f"{key}_fresh", [])
        if not isinstance(fresh, list):
            source.refuse(f"{key}_fresh", type(fresh).__name__, "a list of sums")
        if goal is not None:
            size = goal.shape[axis]
        else:
            size = 1 + max((i for row in rows for i, _ in _entries(source, key, row)), default=0)
        inputs = rank if axis == 2 and by_outputs else size
        num, den = _dense(source, key, rows, inputs + len(fresh))
        parts.append(_expanded(source, key, (num, den), fresh, inputs))
    u, v, (w, w_den) = parts
    out = [(u[0].T, u[1]), (v[0].T, v[1]), (w if by_outputs else w.T, w_den)]
    layout = "reduced terms" if by_outputs else "sparse terms"
    return Raw(name, out, layout, ring=base, also=also, target=goal, transposed=True if goal and goal.format else None)


def _expanded(source: Source, key: str, part: Numbers, fresh: list[Any], inputs: int) -> Numbers:
    """Replace the columns of fresh variables, each a sum of inputs and of earlier fresh variables."""
    num, den = part
    if not fresh:
        return part
    source.spend(len(fresh) * inputs, f"{key}_fresh")
    sums: Array = np.zeros((len(fresh), inputs), dtype=object)
    largest = 1 << (4 * source.budget.digits)
    for q, row in enumerate(fresh):
        for i, v in _entries(source, f"{key}_fresh", row):
            value = exact(source, v, f"{key}_fresh")
            if i >= inputs + q or value.denominator != 1:
                source.refuse(f"{key}_fresh[{q}]", (i, v), "integer multiples of inputs and of earlier sums")
            sums[q] += value.numerator * sums[i - inputs] if i >= inputs else 0
            if i < inputs:
                sums[q, i] += value.numerator
        if max(abs(v) for v in sums[q]) > largest:
            source.refuse(f"{key}_fresh[{q}]", "a sum of huge coefficients", f"at most {source.budget.digits} digits")
    wide = num[:, inputs:].astype(object)
    source.prove(float(wide.size) * inputs * 50)
    return fit(num[:, :inputs].astype(object) + wide @ sums), den


# ------------------------------------------------------------------ writing
def write_json(encoder: Encoder) -> str:
    """The "terms" layout: integers or "p/q" strings (lists over rings of degree k), W on vec(Cᵀ), the ring's name."""
    if not encoder.ring.exact:
        cells = [f.num.tolist() for f in encoder.factors]
        return json.dumps(_frame(encoder) | {"u": cells[0], "v": cells[1], "w": _outputs(encoder).tolist()}) + "\n"
    factors = [
        (encoder.e_x.num, encoder.e_x.den),
        (encoder.e_w.num, encoder.e_w.den),
        (_outputs(encoder), encoder.d.den),
    ]
    spelled = {k: _cells(num, den) for k, (num, den) in zip("uvw", factors, strict=True)}
    return json.dumps(_frame(encoder) | spelled) + "\n"


def _frame(encoder: Encoder) -> dict[str, Any]:
    fmt = encoder.target.format
    head: dict[str, Any] = (
        {"n": list(fmt), "m": encoder.rank} if fmt else {"target": encoder.target.name, "rank": encoder.rank}
    )
    return head | {"z2": encoder.ring.name == "GF(2)", "ring": encoder.ring.name}


def _outputs(encoder: Encoder) -> Array:
    """(r, c[, k]); on vec(Cᵀ) for matrix products."""
    w = encoder.d.num
    if encoder.target.format:
        n, _, p = encoder.target.format
        w = np.swapaxes(w.reshape(n, p, *w.shape[1:]), 0, 1).reshape(w.shape)
    return np.swapaxes(w, 0, 1)


def _cells(num: Array, den: int) -> Any:
    if den == 1:
        return num.tolist()
    from math import gcd

    def cell(v: Any) -> Any:
        if isinstance(v, list):
            return [cell(c) for c in v]
        g = gcd(v, den)
        return v // g if den == g else f"{v // g}/{den // g}"

    return cell(num.tolist())
