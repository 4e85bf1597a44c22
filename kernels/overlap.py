"""Memory-bound passes beside the tensor cores: the STL product as overlapping row bands.

The tile rows are cut into bands. While the GEMM of band i runs, the encode of band i+1 and the decode of band
i−1 run on other streams, on the same multiprocessors: the Triton GEMM takes 154 registers × 256 threads and
180 KB of shared memory, which leaves room for two or three encode or decode programs. Only the first encode and
the last decode stay exposed. The price is reading the encoded weight once per band.

All work is ordered after the caller's stream and joined to it again, so the function behaves like one kernel
and can be captured into a CUDA graph (the intended use: it launches 3 kernels per band).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import torch

from kernels import triton_gemm

__all__ = ["bands", "matmul_overlapped"]

Encode = Callable[[torch.Tensor, torch.Tensor], object]
"""(x rows, out) → writes the encoded rows into ``out`` (r, rows, K/m)."""
Decode = Callable[[torch.Tensor, torch.Tensor], object]
"""(p, y rows) → decodes products (r, rows, M/p) into the rows of y."""


def bands(tile_rows: int, weights: Sequence[int], multiple: int = 128) -> list[tuple[int, int]]:
    """Cut ``tile_rows`` in proportion to ``weights``, at multiples of the GEMM's block height."""
    total = sum(weights)
    edges = [0]
    passed = 0
    for weight in weights:
        passed += weight
        edge = round(tile_rows * passed / total / multiple) * multiple
        edges.append(min(max(edge, edges[-1]), tile_rows))
    edges[-1] = tile_rows
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


@functools.lru_cache(maxsize=8)
def _streams(device: int) -> tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream]:
    """Two streams for the GEMM (high priority) and one each for encode and decode."""
    with torch.cuda.device(device):
        return (torch.cuda.Stream(priority=-1), torch.cuda.Stream(priority=-1), torch.cuda.Stream(priority=0),
                torch.cuda.Stream(priority=0))  # fmt: skip


def matmul_overlapped(
    x: torch.Tensor, w_hat: torch.Tensor, encode: Encode, decode: Decode, n: int, m: int, width: int, *,
    weights: Sequence[int] = (1, 2, 1), config: triton_gemm.Config | None = None, cublas: bool = False,
    persistent: bool = True, out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """STL product in overlapping bands: (N, K), (r, ⌈K/m⌉, ⌈M/p⌉) → (N, width).

    Parameters
    ----------
    weights : relative heights of the bands; small first and last bands expose less.
    cublas : multiply with `torch.bmm` instead of the Triton GEMM.
    persistent : let each GEMM program walk many output tiles (else one program per tile).
    """
    config = config or triton_gemm.Config(stages=3)
    r, kt, mt = w_hat.shape
    rows = -(-x.shape[0] // n)
    x_hat = torch.empty((r, rows, kt), device=x.device, dtype=x.dtype)
    p = torch.empty((r, rows, mt), device=x.device, dtype=x.dtype)
    y = torch.empty((x.shape[0], width), device=x.device, dtype=x.dtype) if out is None else out
    plan = bands(rows, weights)
    here = torch.cuda.current_stream(x.device)
    g0, g1, enc, dec = _streams(x.device.index if x.device.index is not None else torch.cuda.current_device())
    encoded, multiplied = [], []
    for index, (a, b) in enumerate(plan):
        where = here if index == 0 else enc
        with torch.cuda.stream(where):
            encode(x[a * n : b * n], x_hat[:, a:b])
            encoded.append(where.record_event())
        if index == 0:
            for stream in (g0, g1, enc, dec):
                stream.wait_event(encoded[0])
    for index, (a, b) in enumerate(plan):
        stream = (g0, g1)[index % 2]
        with torch.cuda.stream(stream):
            stream.wait_event(encoded[index])
            if cublas:
                torch.bmm(x_hat[:, a:b], w_hat, out=p[:, a:b])
            else:
                tiles = r * -(-(b - a) // config.bm) * -(-mt // config.bn)
                triton_gemm.bmm(
                    x_hat[:, a:b], w_hat, out=p[:, a:b], config=config, programs=None if persistent else tiles
                )
            multiplied.append(stream.record_event())
    for index, (a, b) in enumerate(plan):
        with torch.cuda.stream(dec):
            dec.wait_event(multiplied[index])
            decode(p[:, a:b], y[a * n : b * n])
    for stream in (g0, g1, enc, dec):
        here.wait_stream(stream)
    return y
