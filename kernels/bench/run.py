"""One case measured: operands, correctness gate, times of ours and of what could be used instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from stl_algebra.scores import unit_rounding2

from .. import fp8, ops, pipeline
from .._compat import fp8_supported
from ..codec import Codec
from ..rounding import staged_error
from . import measure
from .cases import Case
from .gate import DTYPES, float64_product, plain_product, problem

__all__ = ["Outcome", "encoded_product", "run_case"]


@dataclass
class Outcome:
    """What was measured for a case."""

    case: Case
    times: dict[str, tuple[float, float, float]]
    kernel_error: float
    error: float
    plain_error: float
    predicted: float
    dense_error: float
    peak_bytes: int
    problem: str = ""
    parts: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        """Dense median over ours."""
        return self.times["dense"][0] / self.times["stl"][0] if not self.problem else float("nan")


def _operands(case: Case, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    dtype = torch.bfloat16 if case.dtype == "fp8" else DTYPES[case.dtype]
    generator = torch.Generator(device=device).manual_seed(len(case.label) + case.n)
    x = torch.randn(case.n, case.k, device=device, generator=generator).to(dtype)
    w = torch.randn(case.k, case.m, device=device, generator=generator).to(dtype)
    return x, w


def encoded_product(x: torch.Tensor, w: torch.Tensor, stages: tuple[Codec, ...]) -> Callable[[], torch.Tensor]:
    """A closure that multiplies by ``w`` through ``stages``, the weight encoded now."""
    wide = torch.promote_types(x.dtype, torch.float32)
    w_hat = w
    prepared = []
    total = 1
    for codec in stages:
        n, m, p = codec.format
        e_x, e_w, d = codec.tensors(x.device, wide)
        fixed = codec.recipes
        prepared.append((codec, e_x, d, fixed, w_hat.shape[1]))
        w_hat = ops.encode(w_hat, e_w, m, p, fixed[1]).flatten(0, 1)
        total *= codec.rank
    w_hat = w_hat.unflatten(0, (total, -1))
    if len(stages) == 1:
        codec, e_x, d, fixed, width = prepared[0]
        n, m, p = codec.format

        def one() -> torch.Tensor:
            y: torch.Tensor = ops.matmul_encoded(x, w_hat, e_x, d, None, n, m, p, width, fixed[0], fixed[2], "")
            return y

        return one

    def many() -> torch.Tensor:
        lhs, heights = x, []
        for codec, e_x, _, fixed, _ in prepared:
            heights.append(lhs.shape[0])
            lhs = ops.encode(lhs, e_x, *codec.format[:2], fixed[0]).flatten(0, 1)
        y = torch.bmm(lhs.unflatten(0, (total, -1)), w_hat)
        del lhs
        for (codec, _, d, fixed, width), height in zip(reversed(prepared), reversed(heights), strict=True):
            n, _, p = codec.format
            y = ops.decode(y.reshape(codec.rank, -1, y.shape[-1]), d, n, p, height, width, None, fixed[2], "")
        return y

    return many


def _references(case: Case, x: torch.Tensor, w: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """fp8 dense and 2:4 sparse beside bf16, where the device has them."""
    out: dict[str, Callable[[], Any]] = {}
    if case.dtype != "bf16" or not x.is_cuda or "r=16" not in case.label:
        return out
    try:
        from torch.sparse import to_sparse_semi_structured

        keep = torch.tensor([1, 1, 0, 0], device=x.device, dtype=torch.bool).repeat(case.m, case.k // 4)
        sparse = to_sparse_semi_structured((w.t() * keep).contiguous())
        xt = x.t().contiguous()
        torch.mm(sparse, xt)
        out["sparse24"] = lambda: torch.mm(sparse, xt)
    except Exception as error:  # a reference that is missing must not stop ours
        print(f"2:4 reference left out: {error!r}"[:200], file=sys.stderr)
    eight = _fp8_dense(x, w)
    if eight is not None:
        out["fp8_dense"] = eight
    return out


def _fp8_dense(x: torch.Tensor, w: torch.Tensor) -> Callable[[], torch.Tensor] | None:
    if not fp8_supported(x.device):
        return None
    x8, w8 = x.to(torch.float8_e4m3fn), w.t().contiguous().to(torch.float8_e4m3fn).t()
    one = torch.ones((), device=x.device)
    return lambda: torch._scaled_mm(x8, w8, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)


def run_case(case: Case, device: torch.device) -> Outcome:
    """Correctness gate, then times."""
    x, w = _operands(case, device)
    rows = slice(0, min(512, case.n))
    ref = x[rows].double() @ w.double()
    inner = case.k
    if case.dtype == "fp8":
        return _run_fp8(case, x, w, rows)
    codec_ref = float64_product(x[rows], w, case.stages[0]) if len(case.stages) == 1 else ref
    stl = encoded_product(x, w, case.stages)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    y = stl()
    peak = torch.cuda.max_memory_allocated() - before if cuda else 0
    found = measure.compare(y[rows], codec_ref)
    error = measure.compare(y[rows], ref).rms
    del y
    if len(case.stages) == 1:
        plain_error = measure.compare(plain_product(x[rows], w, case.stages[0]), codec_ref).rms
    else:
        plain_error = staged_error(case.stages, x.dtype, inner)
    dense_error = measure.compare((x @ w)[rows], ref).rms
    predicted = staged_error(case.stages, x.dtype, inner)
    wrong = problem(found, plain_error)
    if wrong:
        return Outcome(case, {}, found.rms, error, plain_error, predicted, dense_error, peak, wrong)
    del ref, codec_ref
    providers: dict[str, Callable[[], Any]] = {"dense": lambda: x @ w, "stl": stl}
    long = case.n >= 16384 and case.dtype == "fp32"
    times = measure.steady(providers, device, rounds=1 if long else 2, rep=400 if long else 150)
    times |= measure.steady(_references(case, x, w), device, rounds=1, rep=80)
    outcome = Outcome(case, times, found.rms, error, plain_error, predicted, dense_error, peak)
    if len(case.stages) == 1 and cuda:
        outcome.parts = _parts(x, w, case.stages[0])
    return outcome


def _parts(x: torch.Tensor, w: torch.Tensor, codec: Codec) -> dict[str, tuple[float, float, float]]:
    """Where the time goes: encode, channel products and decode, each in its own steady state."""
    e_x, e_w, d = codec.tensors(x.device, torch.promote_types(x.dtype, torch.float32))
    n, m, p = codec.format
    fixed = codec.recipes
    w_hat = ops.encode(w, e_w, m, p, fixed[1])
    x_hat = ops.encode(x, e_x, n, m, fixed[0])
    products = pipeline.product(x_hat, w_hat)
    providers: dict[str, Callable[[], Any]] = {
        "encode": lambda: ops.encode(x, e_x, n, m, fixed[0]),
        "product": lambda: pipeline.product(x_hat, w_hat),
        "decode": lambda: ops.decode(products, d, n, p, x.shape[0], w.shape[1], None, fixed[2], ""),
    }
    return measure.steady(providers, x.device, rounds=1, warmup=60, rep=60)


def _run_fp8(case: Case, x: torch.Tensor, w: torch.Tensor, rows: slice) -> Outcome:
    (codec,) = case.stages
    sigma = torch.ones((), device=x.device)
    x8 = x.to(torch.float8_e4m3fn)
    weight = fp8.encode_weight_fp8(w, codec)
    exact = float64_product(x8[rows].to(torch.bfloat16), w, codec)
    y = fp8.matmul_fp8(x8, weight, codec, sigma=sigma)
    found = measure.compare(y[rows], exact)
    plain = measure.compare(fp8.reference_fp8(x8[rows].float(), w, codec, 1.0), exact).rms
    dense = _fp8_dense(x, w)
    assert dense is not None
    ref = x[rows].double() @ w.double()
    dense_error = measure.compare(dense()[rows], ref).rms
    spread = codec.kappa2 * (2 * unit_rounding2("fp8") + unit_rounding2("bf16"))
    scale = float(exact.pow(2).mean() / ref.pow(2).mean())
    predicted = (spread / scale) ** 0.5
    wrong = problem(found, plain)
    if wrong:
        return Outcome(case, {}, found.rms, found.rms, plain, predicted, dense_error, 0, wrong)
    times = measure.steady({"dense": dense, "stl": lambda: fp8.matmul_fp8(x8, weight, codec, sigma=sigma),
                            "stl_bf16_input": lambda: fp8.matmul_fp8(x, weight, codec, sigma=sigma),
                            "bf16_dense": lambda: x @ w}, x.device, rounds=2, rep=120)  # fmt: skip
    return Outcome(case, times, found.rms, found.rms, plain, predicted, dense_error, 0)
