"""Encoders a search begins with, named as data: files of the catalogue, their products, sums and rotations.

A name is the stem of a file that comes with the package (``4x4x4_r24_R64_bb24a3a9``) or a path; an expression is
``{"kron": [EXPR, EXPR]}``, ``{"sum": [EXPR, EXPR], "axis": "p"}``, ``{"rotate": EXPR}`` or ``{"transpose": EXPR}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError, load
from stl_algebra.catalogue import folder
from stl_algebra.symmetry import Action

from ..lm.parametrisation import OrbitType, Parametrisation
from ..lm.projection import balanced, of_rank
from .pool import Format
from .restrict import restricted

__all__ = ["encoder_from", "encoders_from", "starts_in"]

#: Starts made of an encoder whose rank is not the wanted one.
DRAWS = 16


def encoder_from(expression: Any) -> Encoder:
    """The encoder of a name or an expression.

    Examples
    --------
    >>> one = "2x2x2_r5_R64_05bfb320"
    >>> encoder_from({"kron": [one, one]}).rank
    25
    """
    if isinstance(expression, str):
        path = Path(expression) if expression.endswith(".safetensors") else folder() / f"{expression}.safetensors"
        if not path.is_file():
            raise StlError("from", expression, "the name of a file of the catalogue, or a path")
        return load(path)
    known = {"kron", "sum", "rotate", "transpose"}
    named = known & set(expression) if isinstance(expression, Mapping) else set()
    if len(named) != 1:
        raise StlError("from", expression, f"a name, or an object with one of {', '.join(sorted(known))}")
    kind = named.pop()
    if kind in ("rotate", "transpose"):
        inner = encoder_from(expression[kind])
        return inner.rotate() if kind == "rotate" else inner.transpose()
    parts = expression[kind]
    if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
        raise StlError("from", expression, f"a list of expressions under {kind}")
    whole, *rest = [encoder_from(e).to_ring("R64") for e in parts]
    for part in rest:
        whole = whole.kron(part) if kind == "kron" else whole.direct_sum(part, expression.get("axis", "n"))
    return whole


def encoders_from(expressions: Sequence[Any], fmt: Format) -> list[Encoder]:
    """The encoders of several, all of one format."""
    found = [encoder_from(e) for e in expressions]
    name = "matmul:" + "x".join(map(str, fmt))
    for expression, encoder in zip(expressions, found, strict=True):
        if encoder.target.name != name:
            raise StlError("from", expression, f"an encoder of {name}, not of {encoder.target.name}")
    return found


def starts_in(
    par: Parametrisation, action: Action, types: Sequence[OrbitType], encoders: Sequence[Encoder], seed: int
) -> NDArray[np.float64] | None:
    """Parameters (k, size) of encoders in a subspace, None of none.

    Without a symmetry an encoder of another rank gives several starts, with terms dropped at random, weak ones rather
    than strong ones, or small random ones added.

    Raises
    ------
    StlError
        For an encoder that does not lie in the subspace.
    """
    rng, rows = np.random.default_rng([seed, 5]), []
    for encoder in encoders:
        factors = balanced(*encoder.floats())
        if action.order == 1:
            many = [factors] if encoder.rank == par.rank else [of_rank(factors, par.rank, rng) for _ in range(DRAWS)]
            rows += [np.concatenate([x.ravel(), w.ravel(), d.T.ravel()]) for x, w, d in many]
            continue
        found = restricted(factors, action, types)
        if found is None or len(found[1]) != par.size or not _same(par, types, found[0]):
            raise StlError("from", encoder.label, f"an encoder in the space {par.label}", "Leave it out.")
        rows.append(found[1])
    return np.stack(rows) if rows else None


def _same(par: Parametrisation, types: Sequence[OrbitType], counts: Sequence[int]) -> bool:
    return [(o.name, k) for o, k in par.orbits] == [(t.name, k) for t, k in zip(types, counts, strict=True) if k]
