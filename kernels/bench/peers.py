"""What could be used instead of a float32 or float64 product: split products without an encoder, TF32, emulation."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from .. import split
from ..dispatch import PLAIN

__all__ = ["emulated_fp64", "fp32_peers", "fp64_error", "halves", "tf32", "triton_dot"]

Run = Callable[[], torch.Tensor]


def tf32(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a @ b`` in TF32: ten bits of mantissa."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return a @ b
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def fp32_peers(a: torch.Tensor, b: torch.Tensor) -> dict[str, Run]:
    """Name → product of (N, K) and (K, M) float32 on CUDA; operands that a peer wants split are split beforehand."""
    found: dict[str, Run] = {"tf32": lambda: tf32(a, b)}
    (x1, x2), (w1, w2) = halves(a), halves(b)
    lhs, rhs = torch.cat([x2, x1, x1], 1), torch.cat([w1, w2, w1], 0)
    found["fp16x3"] = lambda: torch.mm(lhs, rhs, out_dtype=torch.float32)
    plain = split.split_weight(b, PLAIN)
    found["split_plain"] = lambda: split.matmul_split(a, plain)
    for name in ("tf32x3", "bf16x6") if a.shape[0] <= 8192 else ():
        found[name] = functools.partial(triton_dot, a, b, name)
    return found


def halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x as the sum of two float16 matrices, unscaled."""
    top = x.half()
    return top, (x - top.float()).half()


def triton_dot(a: torch.Tensor, b: torch.Tensor, precision: str) -> torch.Tensor:
    """Triton's own split products: ``tl.dot`` with input_precision tf32x3 or bf16x6."""
    from ._peers_triton import dot

    return dot(a, b, precision)


_EMULATION = """
import sys, torch
from triton.testing import do_bench
from importlib import import_module
fp64_error = import_module(sys.argv[1]).fp64_error
for n in map(int, sys.argv[2:]):
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.float64) for _ in range(2))
    print(n, do_bench(lambda: a @ b, warmup=60, rep=150, return_mode="median"), fp64_error(a @ b, a, b))
"""


def emulated_fp64(sizes: tuple[int, ...]) -> dict[int, tuple[float, float]]:
    """Size → (ms, error) of cuBLAS's float64 emulation (CUBLAS_EMULATE_DOUBLE_PRECISION), in its own process."""
    environment = os.environ | {"CUBLAS_EMULATE_DOUBLE_PRECISION": "1", "CUBLAS_EMULATION_STRATEGY": "eager"}
    command = [sys.executable, "-c", _EMULATION, __name__, *map(str, sizes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {int(line[0]): (float(line[1]), float(line[2])) for line in lines if len(line) == 3}


def fp64_error(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative error of two rows against 80-bit arithmetic."""
    lhs, rhs, found = (t.cpu().numpy().astype(np.longdouble) for t in (a[:2], b, y[:2]))
    exact = lhs @ rhs
    return float(np.linalg.norm((found - exact).astype(np.float64)) / np.linalg.norm(exact.astype(np.float64)))
