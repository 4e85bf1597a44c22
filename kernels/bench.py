"""``python -m kernels.bench [SECTION…]``: the performance tables, appended to results/measurements.csv.

Sections: ``table`` (the cells the project set out to pass), ``shapes`` (language-model shapes), ``growth`` (cost
against n, r and t), ``train`` (backward passes and peak memory), ``pair`` (two layers, apart and fused),
``calibrate`` (rates of this device for the cost model). Example::

    python -m kernels.bench table shapes --out results/measurements.csv

Method. Every provider is captured into a CUDA graph, warmed up until the clock has settled, then timed with
device events, the L2 cleared between runs; weights are encoded beforehand, the encode of the activation and the
decode of the output are inside. Before anything is timed, its output is compared with float64 on 512 rows: an
unwritten entry, or an error above twice the plain torch implementation's, and the cell is reported as failed
and not timed. Without CUDA the reference runs at a small size and says so.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from kernels import devices, dispatch, measure, ops, pipeline, reference
from kernels.cases import SECTIONS, Case, file_cases
from kernels.codec import Codec
from kernels.studies import calibrate, pair_rows, training_rows
from stl_algebra.errors import StlError

__all__ = ["Outcome", "main", "run_case"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
FLOOR = 2e-15  # float64 against float64: both have rounding of their own
LAYERS = {"train": training_rows, "pair": pair_rows}
DTYPES = {name: dtype for dtype, name in measure.NAMES.items()}


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
    from kernels._compat import fp8_supported

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
    codec_ref = _float64_reference(x[rows], w, case.stages) if len(case.stages) == 1 else ref
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
        plain_error = measure.compare(_plain(x[rows], w, case.stages[0]), codec_ref).rms
    else:
        plain_error = dispatch._staged_error(case.stages, x.dtype, inner)
    dense_error = measure.compare((x @ w)[rows], ref).rms
    predicted = dispatch._staged_error(case.stages, x.dtype, inner)
    problem = ""
    if found.unwritten:
        problem = f"{found.unwritten} unwritten entries"
    elif found.rms > 2 * plain_error + FLOOR:
        problem = f"kernel error {found.rms:.3g} above twice the plain {plain_error:.3g}"
    if problem:
        return Outcome(case, {}, found.rms, error, plain_error, predicted, dense_error, peak, problem)
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


def _plain(x: torch.Tensor, w: torch.Tensor, codec: Codec) -> torch.Tensor:
    e_x, e_w, d = codec.tensors(x.device, torch.promote_types(x.dtype, torch.float32))
    n, m, p = codec.format
    return reference.matmul_encoded(x, reference.encode(w, e_w, m, p), e_x, d, n, m, p, w.shape[1])


def _float64_reference(x: torch.Tensor, w: torch.Tensor, stages: tuple[Codec, ...]) -> torch.Tensor:
    """The same bilinear map in float64, channel by channel (bounded memory)."""
    (codec,) = stages
    n, m, p = codec.format
    e_x, e_w, d = codec.tensors(x.device, torch.float64)
    a, b = reference.tiles(x.double(), n, m), reference.tiles(w.double(), m, p)
    y = torch.zeros((n * p, a.shape[1], b.shape[2]), device=x.device, dtype=torch.float64)
    for l in range(codec.rank):
        channel = torch.tensordot(e_x[l], a, 1) @ torch.tensordot(e_w[l], b, 1)
        y += d[:, l, None, None] * channel
    return reference.untiles(y, n, p, x.shape[0], w.shape[1])


def _run_fp8(case: Case, x: torch.Tensor, w: torch.Tensor, rows: slice) -> Outcome:
    from kernels import fp8

    (codec,) = case.stages
    sigma = torch.ones((), device=x.device)
    x8 = x.to(torch.float8_e4m3fn)
    weight = fp8.encode_weight_fp8(w, codec)
    exact = _float64_reference(x8[rows].to(torch.bfloat16), w, case.stages)
    y = fp8.matmul_fp8(x8, weight, codec, sigma=sigma)
    found = measure.compare(y[rows], exact)
    plain = measure.compare(fp8.reference_fp8(x8[rows].float(), w, codec, 1.0), exact).rms
    dense = _fp8_dense(x, w)
    assert dense is not None
    ref = x[rows].double() @ w.double()
    dense_error = measure.compare(dense()[rows], ref).rms
    from stl_algebra.scores import unit_rounding2

    spread = codec.kappa2 * (2 * unit_rounding2("fp8") + unit_rounding2("bf16"))
    scale = float(exact.pow(2).mean() / ref.pow(2).mean())
    predicted = (spread / scale) ** 0.5
    problem = "" if not found.unwritten and found.rms <= 2 * plain else f"fp8 error {found.rms:.3g} vs {plain:.3g}"
    if problem:
        return Outcome(case, {}, found.rms, found.rms, plain, predicted, dense_error, 0, problem)
    times = measure.steady({"dense": dense, "stl": lambda: fp8.matmul_fp8(x8, weight, codec, sigma=sigma),
                            "stl_bf16_input": lambda: fp8.matmul_fp8(x, weight, codec, sigma=sigma),
                            "bf16_dense": lambda: x @ w}, x.device, rounds=2, rep=120)  # fmt: skip
    return Outcome(case, times, found.rms, found.rms, plain, predicted, dense_error, 0)


def rows_of(outcome: Outcome, head: dict[str, Any], run_id: str) -> list[measure.Row]:
    """An outcome as rows of the measurements table."""
    case = outcome.case
    label = "·".join("x".join(map(str, c.format)) for c in case.stages)
    rank = int(np.prod([c.rank for c in case.stages]))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    rows = []
    timed = [(provider, "forward", t) for provider, t in outcome.times.items()]
    timed += [("stl", mode, t) for mode, t in outcome.parts.items()]
    for provider, mode, t in timed:
        ours = provider.startswith("stl")
        rows.append(measure.Row(
            run_id, case.op, provider, mode, case.dtype, case.n, case.k, case.m, label if ours else "",
            rank if ours else 0, measure.codec_hash(case.stages[0]) if ours else "", "time", "ms", *t,
            outcome.error if ours else outcome.dense_error if provider == "dense" else None,
            outcome.predicted if ours else None, outcome.peak_bytes if provider == "stl" else None,
            timestamp=now, **head))  # fmt: skip
    if "stl" in outcome.times:  # the pair was timed alternately: its ratio is steadier than either time
        rows.append(replace(next(r for r in rows if r.provider == "stl"), metric="speedup", unit="x",
                            q50=outcome.speedup, q20=None, q80=None))  # fmt: skip
    return rows


@app.command(help=__doc__)
def main(
    sections: Annotated[list[str] | None, typer.Argument(help="table, shapes, growth, train, pair, calibrate")] = None,
    out: Annotated[Path | None, typer.Option(help="append rows to this CSV")] = None,
    data: Annotated[Path | None, typer.Option(help="calibrate: write the device file into this folder")] = None,
    encoder: Annotated[list[Path] | None, typer.Option(help="encoder files to add to the cases; repeatable")] = None,
    only: Annotated[str, typer.Option(help="cases whose label contains this")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure and append; exit code 1 when a correctness gate fails, 2 for bad input."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = device.type != "cuda"
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 170)
    known = [*SECTIONS, *LAYERS, "calibrate"]
    chosen = sections or ["table"]
    for section in chosen:
        if section not in known:
            console.print(f"[red]{StlError('SECTION', section, 'one of ' + ', '.join(known))}", highlight=False)
            raise typer.Exit(2)
    try:
        extra = [case for path in encoder or [] for case in file_cases(path, small)]
    except StlError as error:
        console.print(f"[red]{error}", highlight=False)
        raise typer.Exit(2) from None
    head, run_id = measure.header(), measure.new_run_id()
    note = " (no CUDA device: the plain torch reference at toy sizes; the times say nothing)" if small else ""
    console.print(f"{head['device']} driver {head['driver'] or '–'} torch {head['torch']} triton "
                  f"{head['triton'] or '–'} commit {head['commit'] or '–'} run {run_id}{note}")  # fmt: skip
    outcomes: list[Outcome] = []
    rows: list[measure.Row] = []
    for section in chosen:
        if section == "calibrate":
            rates = calibrate(device, small)
            if data is not None:
                devices.write(rates, data)
            console.print(json.dumps(rates))
        elif section in LAYERS:
            found = LAYERS[section](device, head, run_id, small)
            rows += found
            for row in found:
                console.print(f"{row.op} {row.provider} r={row.rank} {row.mode} {row.q50:.3f} ms, "
                              f"peak {row.peak_bytes} bytes, error {row.rel_error}", highlight=False)  # fmt: skip
        else:
            for case in [*SECTIONS[section](small), *extra]:
                if only and only not in case.label:
                    continue
                outcome = run_case(case, device)
                outcomes.append(outcome)
                rows += rows_of(outcome, head, run_id)
                if device.type == "cuda":
                    torch.cuda.empty_cache()
        if out is not None:
            measure.append(out, rows)
    if as_json:
        print(json.dumps({"run_id": run_id, **head, "rows": [vars(r) for r in rows]}))
    elif outcomes:
        console.print(_table(outcomes))
    if any(o.problem for o in outcomes):
        for o in outcomes:
            if o.problem:
                console.print(f"[red]{o.case.label} {o.case.n}: {o.problem}", highlight=False)
        raise typer.Exit(1)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="speed-up over dense, weights encoded beforehand")
    for column in (
        "case",
        "n × k × m",
        "dense ms",
        "stl ms",
        "speed-up",
        "to pass",
        "FLOP limit",
        "kernel err",
        "plain err",
        "total err",
        "closed form",
        "dense err",
        "peak MB",
        "others",
    ):
        table.add_column(column, justify="left" if column in ("case", "others") else "right", overflow="fold")
    for o in outcomes:
        c = o.case
        limit = float(np.prod([np.prod(s.format) / s.rank for s in c.stages]))
        if o.problem:
            table.add_row(c.label, f"{c.n}×{c.k}×{c.m}", "–", "–", "FAILED", "", "", "", "", o.problem)
            continue
        verdict = "" if c.target is None else f"{c.target} {'✓' if o.speedup >= c.target else '✗'}"
        others = ", ".join(f"{k} {v[0]:.3f}" for k, v in o.times.items() if k not in ("dense", "stl"))
        errors = (o.kernel_error, o.plain_error, o.error, o.predicted, o.dense_error)
        times = [f"{o.times[name][0]:.4f}" for name in ("dense", "stl")]
        table.add_row(c.label, f"{c.n}×{c.k}×{c.m}", *times, f"{o.speedup:.3f}", verdict, f"{limit:.2f}",
                      *(f"{e:.2e}" for e in errors), f"{o.peak_bytes / 1e6:.0f}", others)  # fmt: skip
    return table


if __name__ == "__main__":
    app()
