"""What `kernels.bench` measures beside single products: training steps, pairs of layers, the rates of a device."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Any

import torch

from .. import ops, reference
from ..codec import Codec
from ..fused import mlp
from ..linear import STLLinear
from ..rounding import NAMES
from ..split import supports_split
from . import measure
from .cases import random_codec, strassen

__all__ = ["calibrate", "outlier_rows", "pair_rows", "training_rows"]


def training_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """Forward plus backward and peak memory of a trainable layer against `nn.Linear`."""
    n = 64 if small else 8192
    dtype = torch.float32 if small else torch.bfloat16
    rows = []
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    dense = torch.nn.Linear(n, n, bias=True, device=device, dtype=dtype)
    layers: list[tuple[str, int, torch.nn.Module]] = [("dense", 0, dense)]
    for codec in (random_codec(16), random_codec(32), *strassen(2)):
        layers.append(("stl", codec.rank, STLLinear.from_linear(dense, codec, "trainable")))
    for provider, rank, layer in layers:
        x = torch.randn(n, n, device=device, dtype=dtype, requires_grad=True)

        def step(layer: torch.nn.Module = layer, x: torch.Tensor = x) -> None:
            layer.zero_grad(set_to_none=True)
            x.grad = None
            layer(x).sum().backward()

        step()
        peak = 0
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            step()
            peak = torch.cuda.max_memory_allocated() - before
        t = measure.timings(step, device, warmup=50, rep=150)
        rows.append(measure.Row(run_id, "linear", provider, "forward+backward", NAMES[dtype], n, n, n,
                                "4x4x4" if rank else "", rank, "", "time", "ms", *t, peak_bytes=peak,
                                timestamp=now, **head))  # fmt: skip
    return rows


def _gelu(y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(y, approximate="tanh")


def _apart(x: torch.Tensor, first: STLLinear, second: STLLinear) -> torch.Tensor:
    y: torch.Tensor = second(first(x))
    return y


def _in_float64(x: torch.Tensor, linear: torch.nn.Linear, codec: Codec) -> torch.Tensor:
    """The layer's own bilinear map, weight and bias in float64."""
    e_x, e_w, d = codec.tensors(x.device, torch.float64)
    n, m, p = codec.format
    w_hat = reference.encode(linear.weight.t().double(), e_w, m, p)
    return reference.matmul_encoded(x, w_hat, e_x, d, n, m, p, linear.out_features, linear.bias.double())


@torch.no_grad()
def pair_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """Two layers with a GELU between: dense, STL layers apart, and `kernels.mlp`; errors against float64."""
    n = 64 if small else 8192
    dtype = torch.float32 if small else torch.bfloat16
    up, down = (torch.nn.Linear(n, n, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(n, n, device=device).to(dtype)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    rows = []

    for codec in (random_codec(16), random_codec(32), *strassen(2)):
        fused, first = STLLinear.from_linear(up, codec), STLLinear.from_linear(up, codec, activation="gelu")
        second = STLLinear.from_linear(down, codec)
        exact = _in_float64(_gelu(_in_float64(x[:512].double(), up, codec)), down, codec)
        runs: dict[str, Callable[[], torch.Tensor]] = {
            "dense": lambda: down(_gelu(up(x))),
            "stl": functools.partial(_apart, x, first, second),
            "stl_fused": functools.partial(mlp, x, fused, second, "gelu"),
        }
        errors = {name: measure.compare(run()[:512], exact).rms for name, run in runs.items() if name != "dense"}
        times = measure.steady(runs, device, rounds=1, rep=100)
        for provider, t in times.items():
            rank = 0 if provider == "dense" else codec.rank
            rows.append(measure.Row(run_id, "pair", provider, "forward", NAMES[dtype], n, n, n,
                                    "4x4x4" if rank else "", rank, "", "time", "ms", *t, errors.get(provider),
                                    timestamp=now, **head))  # fmt: skip
    return rows


@torch.no_grad()
def outlier_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """What `STLLinear(scale_rows=True)` costs, and what one row a hundred times larger does to its tile neighbours.

    ``rel_error`` is that of the neighbours alone, r.m.s. against the same product in float64.
    """
    rows = []
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    dtype = torch.bfloat16
    for n in (64,) if small else (2048, 4096, 8192):
        dense = torch.nn.Linear(n, n, bias=False, device=device, dtype=dtype)
        for codec in (*strassen(1), *strassen(2)):
            large = torch.arange(n, device=device) % codec.format[0] == 0  # one row of every tile
            x = (torch.randn(n, n, device=device) * torch.where(large, 100, 1)[:, None]).to(dtype)
            near = torch.nonzero(~large[:512])[:, 0]
            exact = x[near].double() @ dense.weight.double().T
            made = {f"stl{'_scaled' * on}": STLLinear.from_linear(dense, codec, scale_rows=on) for on in (False, True)}
            runs: dict[str, Callable[[], Any]] = {
                name: functools.partial(layer, x) for name, layer in {"dense": dense, **made}.items()
            }
            errors = {name: measure.compare(run()[near], exact).rms for name, run in runs.items()}
            for provider, t in measure.steady(runs, device, rounds=1, rep=100).items():
                rank = 0 if provider == "dense" else codec.rank
                form = "x".join(map(str, codec.format)) if rank else ""
                rows.append(measure.Row(run_id, "outliers", provider, "forward", NAMES[dtype], n, n, n, form, rank, "",
                                        "time", "ms", *t, errors[provider], timestamp=now, **head))  # fmt: skip
    return rows


def calibrate(device: torch.device, small: bool) -> dict[str, Any]:
    """Measure the rates the cost model needs, in the layout of ``kernels/data``."""
    out: dict[str, Any] = {"name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
                           "source": "python -m kernels.bench calibrate",
                           "dense": {}, "batched": {}, "bandwidth": {}}  # fmt: skip
    sizes = {"dense": (64, 128), "batched": (32, 64)} if small else {
        "dense": (512, 1024, 2048, 4096, 8192), "batched": (128, 256, 512, 1024, 2048, 4096)}  # fmt: skip
    for dtype, name in NAMES.items():
        for table, values in sizes.items():
            points = []
            for s in values:
                batch = 1 if table == "dense" else max(1, min(49, int(2e9 // (s * s * dtype.itemsize))))
                a = torch.randn(batch, s, s, device=device).to(dtype)
                b = torch.randn(batch, s, s, device=device).to(dtype)
                fn = (lambda a=a[0], b=b[0]: a @ b) if table == "dense" else (lambda a=a, b=b: torch.bmm(a, b))
                t = measure.timings(fn, device, warmup=60, rep=60, graph=device.type == "cuda")[0]
                points.append([s, round(2 * batch * s**3 / t / 1e9, 4)])
            out[table][name] = points
        n = 128 if small else 8192
        x = torch.randn(n, n, device=device).to(dtype)
        (codec,) = strassen(2)
        e_x = codec.tensors(device, torch.promote_types(dtype, torch.float32))[0]
        encode = functools.partial(ops.encode, x, e_x, 4, 4, codec.recipes[0])
        t = measure.timings(encode, device, warmup=60, rep=60, graph=device.type == "cuda")[0]
        out["bandwidth"][name] = round(n * n * dtype.itemsize * (1 + 49 / 16) / t / 1e9, 5)
    if supports_split(device):
        out["batched"]["split"] = [[s, _split_rate(s, device)] for s in (256, 512, 1024, 2048, 4096)]
    tiny = torch.zeros(16, device=device)
    out["launch_us"] = round(measure.timings(lambda: tiny.add_(1), device, warmup=10, rep=20)[0] * 1e3, 2)
    return out


def _split_rate(size: int, device: torch.device) -> float:
    """TFLOP/s of batched split products of ``size``³, counted as one product each."""
    from ..triton import gemm

    batch = max(1, min(49, int(1e9 // (size * size * 4))))
    halves = [torch.randn(2, batch, size, size, device=device).half() for _ in range(2)]
    t = measure.timings(lambda: gemm.bmm_split(*halves), device, warmup=60, rep=60, graph=True)[0]
    return round(2 * batch * size**3 / t / 1e9, 4)
