"""Error and time of encoders on a device, against dense and the closed form: the work of ``kernels.validate``."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from stl_algebra.errors import StlError
from stl_algebra.files import load

from .. import functional, ops
from ..codec import Codec, as_codec
from ..rounding import NAMES, closed_form
from . import gate, measure

__all__ = ["Validation", "run", "validate"]


@dataclass(frozen=True)
class Validation:
    """One encoder in one number format on one device; times in milliseconds, errors relative."""

    name: str
    encoder: str
    format: tuple[int, int, int]
    rank: int
    dtype: str
    size: int
    epsilon2: float
    kappa2: float
    error: float
    largest: float
    where: tuple[int, ...]
    plain_error: float
    dense_error: float
    predicted: float
    ratio: float
    stl_ms: tuple[float, float, float]
    dense_ms: tuple[float, float, float]
    speedup: float
    peak_bytes: int
    problem: str

    @property
    def ok(self) -> bool:
        """Did every check pass?"""
        return not self.problem


def validate(
    encoder: Any,
    dtype: torch.dtype,
    size: int,
    device: torch.device | str = "cpu",
    *,
    name: str = "",
    seed: int = 0,
    tolerance: float = 0.2,
) -> Validation:
    """Measure one encoder: correctness first, then time.

    Parameters
    ----------
    size : int
        N = K = M of the random Gaussian operands.
    tolerance : float
        Allowed relative distance of the measured error from the closed form (CUDA only: CPU libraries sum in
        an order of their own, so there the closed form is an upper estimate and only half-sided).
    """
    codec: Codec = as_codec(encoder)
    device = torch.device(device)
    generator = torch.Generator(device=device).manual_seed(seed)
    x = torch.randn(size, size, device=device, dtype=torch.float32, generator=generator).to(dtype)
    w = torch.randn(size, size, device=device, dtype=torch.float32, generator=generator).to(dtype)
    rows = slice(0, min(size, 1024))
    ref = x[rows].double() @ w.double()
    w_hat = functional.encode_weight(w, codec)
    wide = torch.promote_types(dtype, torch.float32)
    e_x, _, d = codec.tensors(device, wide)
    n, m, p = codec.format
    fixed = codec.recipes

    def stl() -> torch.Tensor:
        y: torch.Tensor = ops.matmul_encoded(x, w_hat, e_x, d, None, n, m, p, size, fixed[0], fixed[2], "")
        return y

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    found = measure.compare(stl()[rows], ref)
    peak = torch.cuda.max_memory_allocated() - before if device.type == "cuda" else 0
    plain_error = measure.compare(gate.plain_product(x[rows], w, codec), ref).rms
    dense_error = measure.compare((x @ w)[rows], ref).rms
    predicted = closed_form(codec, dtype, size)
    ratio = found.rms / predicted
    problem = gate.problem(found, plain_error)
    if not problem and (ratio > 1 + tolerance or (device.type == "cuda" and ratio < 1 - tolerance)):
        problem = f"error {found.rms:.3g} is {ratio:.2f} × the closed form {predicted:.3g}"
    graph = device.type == "cuda"
    stl_ms = measure.timings(stl, device, graph=graph)
    dense_ms = measure.timings(lambda: x @ w, device, graph=graph)
    return Validation(
        name or repr(encoder),
        measure.codec_hash(encoder),
        codec.format,
        codec.rank,
        NAMES[dtype],
        size,
        codec.epsilon2,
        codec.kappa2,
        found.rms,
        found.largest,
        found.where,
        plain_error,
        dense_error,
        predicted,
        ratio,
        stl_ms,
        dense_ms,
        dense_ms[0] / stl_ms[0],
        peak,
        problem,
    )


def rows_of(v: Validation, head: dict[str, Any], run_id: str) -> list[measure.Row]:
    """The validation as rows of the measurements table."""
    label = "x".join(map(str, v.format))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    out = []
    for provider, t, error, predicted in (
        ("stl", v.stl_ms, v.error, v.predicted),
        ("dense", v.dense_ms, v.dense_error, None),
    ):
        out.append(
            measure.Row(
                run_id,
                "matmul",
                provider,
                "forward",
                v.dtype,
                v.size,
                v.size,
                v.size,
                label if provider == "stl" else "",
                v.rank if provider == "stl" else 0,
                v.encoder if provider == "stl" else "",
                "time",
                "ms",
                t[0],
                t[1],
                t[2],
                error,
                predicted,
                v.peak_bytes if provider == "stl" else None,
                timestamp=now,
                **head,
            )
        )
    return out


def run(
    files: list[Path], dtypes: list[str], size: int, seed: int, device: str, tolerance: float, out: Path | None,
    as_json: bool,
) -> bool:  # fmt: skip
    """The command `kernels.validate`: validate encoder files, print, and tell whether all of them passed.

    Raises
    ------
    StlError
        For an unknown number format, size or device, or files that hold no encoder the kernels can run.
    """
    where = _device(device)
    names = dtypes or (["fp32", "bf16"] if where.type == "cuda" else ["fp64", "fp32"])
    size = size or (4096 if where.type == "cuda" else 256)
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 150)
    for name in names:
        if name not in gate.DTYPES:
            raise StlError("dtype", name, "one of " + ", ".join(gate.DTYPES))
    if size < 1:
        raise StlError("size", size, "a positive integer")
    encoders, skipped = _runnable([(path, load(path)) for path in files])
    head = measure.header()
    run_id = measure.new_run_id()
    note = "" if where.type == "cuda" else " (no CUDA device: the plain torch reference runs, times say little)"
    console.print(
        f"{head['device']} driver {head['driver'] or '–'} torch {head['torch']} "
        f"triton {head['triton'] or '–'} commit {head['commit'] or '–'}{note}"
    )
    results = []
    for path, encoder in encoders:
        for name in names:
            console.print(f"{path.name} in {name} at {size} …", highlight=False)
            results.append(
                validate(encoder, gate.DTYPES[name], size, where, name=path.name, seed=seed, tolerance=tolerance)
            )
    if as_json:
        rows = [asdict(v) | {"ok": v.ok} for v in results]
        print(json.dumps({"run_id": run_id, **head, "skipped": dict(skipped), "results": rows}))
    else:
        console.print(_table(results))
    for name, why in skipped:
        console.print(f"skipped {name}: {why}", highlight=False)
    if out is not None:
        measure.append(out, [row for v in results for row in rows_of(v, head, run_id)])
    for v in results:
        if not v.ok:
            console.print(f"[red]{v.name} in {v.dtype}: {v.problem}", highlight=False)
    return all(v.ok for v in results)


def _device(name: str) -> torch.device:
    """The device named, or ``all``: a GPU if there is one."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "all":
        return torch.device("cuda" if there else "cpu")
    try:
        where = torch.device(name)
    except RuntimeError:
        raise StlError("device", name, "cpu, cuda, cuda:N or all") from None
    if where.type not in ("cpu", "cuda") or (where.type == "cuda" and (where.index or 0) >= there):
        raise StlError("device", name, f"cpu or one of {there} CUDA devices")
    return where


def _runnable(encoders: list[tuple[Path, Any]]) -> tuple[list[tuple[Path, Any]], list[tuple[str, str]]]:
    """Encoders the kernels can run, and the others with the reason; refused when none is left."""
    good, skipped = [], []
    for path, encoder in encoders:
        try:
            as_codec(encoder)
            good.append((path, encoder))
        except StlError as error:
            skipped.append((path.name, str(error)))
    if not good:
        raise StlError("FILE", skipped[0][0], "a real matrix multiplication encoder", skipped[0][1])
    return good, skipped


def _table(results: list[Validation]) -> Table:
    table = Table(title="encoders on this device")
    for column in (
        "file",
        "dtype",
        "n",
        "κ²",
        "ε²",
        "error",
        "closed form",
        "ratio",
        "plain",
        "dense err",
        "stl ms",
        "dense ms",
        "speed-up",
        "ok",
    ):
        table.add_column(column, justify="left" if column == "file" else "right", overflow="fold")
    for v in results:
        table.add_row(
            v.name.removesuffix(".safetensors"),
            v.dtype,
            str(v.size),
            f"{v.kappa2:.3g}",
            f"{v.epsilon2:.3g}",
            f"{v.error:.3e}",
            f"{v.predicted:.3e}",
            f"{v.ratio:.3f}",
            f"{v.plain_error:.3e}",
            f"{v.dense_error:.3e}",
            f"{v.stl_ms[0]:.3f}",
            f"{v.dense_ms[0]:.3f}",
            f"{v.speedup:.3f}",
            "yes" if v.ok else "NO",
        )
    return table
