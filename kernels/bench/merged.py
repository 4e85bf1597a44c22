"""Section ``merged``: what encoders gain whose products share rows of E_X or columns of D.

``merge`` finds the coincidences of an encoder, up to a factor; ``matmul_merged`` encodes each distinct row once and
adds products of one output channel inside the GEMM. Timed are an encoder of the catalogue that has coincidences and
random ones of rank r with d distinct rows and g distinct columns, which cost what any such encoder would.
"""

from __future__ import annotations

import datetime
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stl_algebra import schemes

from .. import pipeline
from .._compat import runs_triton
from ..codec import Codec, as_codec
from ..recipes import recipe_if_worth_it
from . import measure
from .cases import strassen
from .gate import float64_product, plain_product, problem

__all__ = ["Merged", "matmul_merged", "merge", "merged_rows", "shared"]


@dataclass(frozen=True, eq=False)
class Merged:
    """``e_x`` (d, n·m) distinct rows, ``e_w`` (r, m·p) in the order of the output channels, ``d`` (n·p, g) distinct.

    Product l multiplies encoded activation ``lhs_of[l]``; products ``starts[g]`` … are added into output channel g.
    """

    format: tuple[int, int, int]
    e_x: np.ndarray
    e_w: np.ndarray
    d: np.ndarray
    lhs_of: np.ndarray
    starts: np.ndarray


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows up to a factor: the distinct ones, which one each row is, and its factor."""
    lead = rows[np.arange(len(rows)), np.abs(rows).argmax(1)]
    _, first, which = np.unique(np.round(rows / lead[:, None], 9), axis=0, return_index=True, return_inverse=True)
    return rows[first], which.ravel(), lead / lead[first][which.ravel()]


def merge(codec: Codec) -> Merged:
    """The coincidences of an encoder; the factors between equal rows go into E_W."""
    x, lhs_of, by_x = _distinct(codec.e_x)
    d, output, by_d = _distinct(codec.d.T)
    order = np.lexsort((lhs_of, output))
    e_w = (codec.e_w * (by_x * by_d)[:, None])[order]
    starts = np.searchsorted(output[order], np.arange(len(d) + 1))
    return Merged(codec.format, x, e_w, d.T, lhs_of[order], starts)


def shared(rank: int, distinct_x: int, distinct_d: int, seed: int = 0) -> Codec:
    """A random ⟨4,4,4;rank⟩ codec with that many distinct rows of E_X and columns of D, each used equally often."""
    codec = Codec.random((4, 4, 4), rank, seed)
    x = codec.e_x[np.arange(rank) * distinct_x // rank]
    d = codec.d[:, np.random.default_rng(seed).permutation(np.arange(rank) * distinct_d // rank)]
    return Codec((4, 4, 4), x, codec.e_w, d)


def matmul_merged(x: torch.Tensor, w_hat: torch.Tensor, merged: Merged, width: int) -> torch.Tensor:
    """(N, K), encoded weight (r, ⌈K/m⌉, ⌈M/p⌉) in the order of ``merged`` → (N, width)."""
    n, m, p = merged.format
    wide = torch.promote_types(x.dtype, torch.float32)
    e_x, d, lhs_of, starts = _tensors(merged, x.device, wide)
    encoded = pipeline.encode(x, e_x, n, m, _recipe(merged, 0))
    if runs_triton(x) and _fits(encoded, w_hat):
        from ..triton.merged import bmm_merged

        products = bmm_merged(encoded, w_hat, starts, lhs_of)
    else:
        every = torch.bmm(encoded[lhs_of.long()], w_hat)
        bounds = starts.tolist()
        products = torch.stack([every[i:j].sum(0) for i, j in itertools.pairwise(bounds)])
    return pipeline.decode(products, d, n, p, x.shape[0], width, None, _recipe(merged, 2))


def _fits(*operands: torch.Tensor) -> bool:
    from ..triton.gemm import suits

    return suits(*operands)


@functools.lru_cache(maxsize=64)
def _tensors(merged: Merged, device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    return (*(torch.tensor(v, device=device, dtype=dtype) for v in (merged.e_x, merged.d)),
            *(torch.tensor(v, device=device, dtype=torch.int32) for v in (merged.lhs_of, merged.starts)))  # fmt: skip


@functools.lru_cache(maxsize=64)
def _recipe(merged: Merged, side: int) -> str:
    n, m, p = merged.format
    return recipe_if_worth_it(merged.e_x, n, m) if side == 0 else recipe_if_worth_it(merged.d.T, n, p)


def _cases(small: bool) -> Iterator[tuple[str, Codec]]:
    """Label and codec, each unmerged one before those that merge the same rank."""
    if small:
        yield "simplex", as_codec(schemes.simplex(3))
        return
    for rank in (16, 32, 48):
        halves = ((1, 1), (2, 1), (4, 1), (2, 2), (4, 4))
        for x, d in ((rank // i, rank // j) for i, j in halves):
            yield f"random {rank}: {x} rows, {d} columns", shared(rank, x, d)
    yield "strassen", strassen(1)[0]
    yield "simplex", as_codec(schemes.simplex(3))


def merged_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """Times of dense, of each codec channel by channel (cuBLAS and the merging kernel), and merged; and energies."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    dtype = torch.float32 if small else torch.bfloat16
    rows: list[measure.Row] = []
    for n in (48,) if small else (8192, 16384):
        x, w = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        dense = measure.steady({"": lambda x=x, w=w: x @ w}, device, rounds=1)[""]  # type: ignore[misc]
        name = "fp32" if small else "bf16"
        rows.append(measure.Row(run_id, "merged", "dense", "forward", name, n, n, n, "", 0, "", "time", "ms", *dense,
                                timestamp=now, **head))  # fmt: skip
        for label, codec in _cases(small):
            rows += _case(label, codec, x, w, name, dense[0], {"run_id": run_id, "timestamp": now, **head})
    return rows


def _case(label: str, codec: Codec, x: torch.Tensor, w: torch.Tensor, dtype: str, dense: float,
          head: dict[str, Any]) -> Iterator[measure.Row]:  # fmt: skip
    merged, (_, m, p), n = merge(codec), codec.format, x.shape[0]
    e_w = torch.tensor(merged.e_w, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    w_hat = pipeline.encode(w, e_w, m, p, recipe_if_worth_it(merged.e_w, m, p))
    run = functools.partial(matmul_merged, x, w_hat, merged, n)
    top = x[: min(512, n)]
    exact = float64_product(top, w, codec)
    found = measure.compare(run()[: len(top)], exact)
    if wrong := problem(found, measure.compare(plain_product(top, w, codec), exact).rms):
        raise AssertionError(f"{label}: {wrong}")
    t = measure.steady({"": run}, x.device, rounds=1)[""]
    joules = measure.energy(run, x.device, t[0])
    for metric, unit, value, spread in (("time", "ms", t[0], t[1:]), ("speedup", "x", dense / t[0], (None, None)),
                                        ("energy", "mJ", joules, (None, None))):  # fmt: skip
        if value is not None:
            yield measure.Row(op="merged", provider="stl", mode=label, dtype=dtype, n=n, k=n, m=n,
                              format="x".join(map(str, codec.format)), rank=codec.rank,
                              encoder=measure.codec_hash(codec), metric=metric, unit=unit, q50=value, q20=spread[0],
                              q80=spread[1], rel_error=found.rms, **head)  # fmt: skip
