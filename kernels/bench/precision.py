"""Section ``precision``: float32 products against everything that could be used instead, in one run.

Every provider gets its error against float64 (80-bit arithmetic for float64 itself), its time in its own steady state,
and its energy from the board's counter. Ours are timed with the weight split beforehand, as layers use it, and with
both operands encoded (``mode`` "both"), as `fast_matmul` uses it. A promoted split product that errs more than
cuBLAS's float32 product of the same run is reported as failed and not timed.
"""

from __future__ import annotations

import datetime
import functools
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from stl_algebra import catalogue

from .. import split
from ..codec import Codec, as_codec
from ..dispatch import PLAIN
from ..rounding import closed_form, split_error
from . import measure, peers
from .cases import strassen

__all__ = ["codecs", "fp32_rows", "precision_rows", "row_maker"]

Run = Callable[[], torch.Tensor]
SIZES = (4096, 8192, 16384)
WEIGHED = 8192  #: the size whose energy is read


@dataclass(frozen=True)
class Entry:
    """One provider of a product."""

    provider: str
    run: Run | None = None
    mode: str = "forward"
    codec: Codec | None = None
    predicted: float | None = None
    gated: bool = False


def precision_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """Rows of op "precision": times, speed-ups over cuBLAS fp32, energies; errors against K and dynamic range."""
    make = row_maker(head, run_id)
    rows: list[measure.Row] = []
    for n in (96,) if small else SIZES:
        rows += fp32_rows(make, n, device, small)
    for study in (errors_against_k, errors_against_range, errors_against_signs):
        rows += study(make, device, small)
    return rows


def fp32_rows(make: Callable[..., measure.Row], n: int, device: torch.device, small: bool) -> list[measure.Row]:
    """One size against its rivals."""
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    rows = list(_compared(make, n, a, b, _fp32(a, b, codecs(n), small)))
    del a, b
    _free(device)
    return rows


def codecs(n: int) -> list[Codec]:
    """What is tried at size n: levels of Strassen, and the most accurate ⟨4,4,4;48⟩ of the catalogue."""
    (one,), (two,), (three,) = strassen(1), strassen(2), strassen(3)
    if n < 4096:
        return [one, two]
    r48 = as_codec(catalogue.best("4x4x4", rank=48))
    return [one, two, r48] if n < 8192 else [two, r48] if n < 16384 else [two, three, r48]


def row_maker(head: dict[str, Any], run_id: str) -> Callable[..., measure.Row]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def make(op: str, entry: Entry, dtype: str, sizes: tuple[int, int, int], metric: str, unit: str, value: float,
             error: float | None, spread: tuple[float | None, float | None] = (None, None)) -> measure.Row:  # fmt: skip
        c = entry.codec
        return measure.Row(run_id, op, entry.provider, entry.mode, dtype, *sizes,
                           "x".join(map(str, c.format)) if c else "", c.rank if c else 0,
                           measure.codec_hash(c) if c else "", metric, unit, value, *spread, error, entry.predicted,
                           timestamp=now, **head)  # fmt: skip

    return make


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _fp32(a: torch.Tensor, b: torch.Tensor, tried: list[Codec], small: bool) -> Iterator[Entry]:
    """The plain product first, then the rivals, then ours."""
    k = a.shape[1]
    yield Entry("dense", lambda: a @ b, predicted=closed_form(PLAIN, torch.float32, k))
    if not small:
        for name, run in peers.fp32_peers(a, b).items():
            yield Entry(name, run)
    for codec in tried:
        weight = split.split_weight(b, codec)
        for promoted, mode in ((True, "forward"), (False, "fast")):
            if promoted or codec is tried[-1]:
                run = functools.partial(split.matmul_split, a, weight, promoted=promoted)
                yield Entry("split", run, mode, codec, split_error(codec, k, promoted), promoted and not small)
        del weight
        both = functools.partial(_both, a, b, codec)
        yield Entry("split", both, "both", codec, split_error(codec, k, True), not small)


def _both(a: torch.Tensor, b: torch.Tensor, codec: Codec) -> torch.Tensor:
    return split.matmul_split(a, split.split_weight(b, codec), promoted=True)


def _compared(make: Callable[..., measure.Row], n: int, a: torch.Tensor, b: torch.Tensor,
              entries: Iterator[Entry]) -> Iterator[measure.Row]:  # fmt: skip
    """Error, then time, speed-up and energy of each entry; the first is what the others are compared with."""
    rows = slice(0, min(256, n))
    exact = a[rows].double() @ b.double()
    base = limit = 0.0
    for entry in entries:
        try:
            assert entry.run is not None
            found = measure.compare(entry.run()[rows], exact)
        except Exception as problem:  # a rival that does not run here must not stop the others
            if entry.codec is not None or entry.provider == "dense":
                raise
            print(f"{entry.provider} left out: {problem!r}"[:200])
            continue
        here = functools.partial(make, "precision", entry, "fp32", (n, n, n))
        if found.unwritten or (entry.gated and found.rms > limit):
            yield here("failed", "", limit, found.rms)
            continue
        limit = limit or found.rms
        t = measure.steady({"": entry.run}, a.device, rounds=1, warmup=100, rep=400 if n > 8192 else 150)[""]
        base = base or t[0]
        yield here("time", "ms", t[0], found.rms, t[1:])
        yield here("speedup", "x", base / t[0], found.rms)
        weighed = entry.mode == "forward" and n == WEIGHED
        joules = measure.energy(entry.run, a.device, t[0]) if weighed else None
        if joules is not None:
            yield here("energy", "mJ", joules, found.rms)
        _free(a.device)


def _errors(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """RMS error relative to ‖a_i‖‖b_j‖, entry by entry, so that small rows and columns count as much as large ones."""
    exact = a.double() @ b.double()
    scale = a.double().norm(dim=1)[:, None] * b.double().norm(dim=0)[None, :]
    level = (exact / scale).pow(2).mean().sqrt()
    found = {"dense": a @ b, "split": _both(a, b, strassen(2)[0])}
    if a.is_cuda:
        found["tf32"] = peers.tf32(a, b)
        x1, x2 = peers.halves(a)
        w1, w2 = peers.halves(b)
        found["fp16x3"] = torch.mm(torch.cat([x2, x1, x1], 1), torch.cat([w1, w2, w1], 0), out_dtype=torch.float32)
        found["bf16x6"] = peers.triton_dot(a, b, "bf16x6")
        weight = split.split_weight(b, strassen(2)[0])
        found["split_fast"] = split.matmul_split(a, weight, promoted=False)
    return {name: float(((y.double() - exact) / scale).pow(2).mean().sqrt() / level) for name, y in found.items()}


def errors_against_k(make: Callable[..., measure.Row], device: torch.device, small: bool) -> Iterator[measure.Row]:
    """Error against the length of the sum."""
    n = 32 if small else 1024
    for k in (64, 256) if small else (256, 1024, 4096, 16384, 65536):
        a, b = torch.randn(n, k, device=device), torch.randn(k, n, device=device)
        for name, error in _errors(a, b).items():
            codec = strassen(2)[0] if name.startswith("split") else None
            predicted = split_error(codec, k, "fast" not in name) if codec else None
            yield make("precision_k", Entry(name, None, "", codec, predicted), "fp32", (n, k, n), "error", "1",
                       error, error)  # fmt: skip


def errors_against_range(make: Callable[..., measure.Row], device: torch.device, small: bool) -> Iterator[measure.Row]:
    """Error when rows of A, columns of B, and inversely columns of A and rows of B, spread over 2^±e."""
    n, k = (32, 64) if small else (1024, 4096)
    for e in (0, 10, 20, 40):
        a, b = torch.randn(n, k, device=device), torch.randn(k, n, device=device)
        r, s, c = (torch.randint(-e, e + 1, (size,), device=device) for size in (n, k, n))
        a = torch.ldexp(a, r[:, None] - s[None, :])
        b = torch.ldexp(b, s[:, None] + c[None, :])
        for name, error in _errors(a, b).items():
            codec = strassen(2)[0] if name.startswith("split") else None
            yield make("precision_range", Entry(name, None, f"2^±{e}", codec), "fp32", (n, k, n), "error", "1",
                       error, error)  # fmt: skip


def errors_against_signs(make: Callable[..., measure.Row], device: torch.device, small: bool) -> Iterator[measure.Row]:
    """Error for entries of both signs and of one: normal, uniform on [0, 1), and normal after a ReLU."""
    n, k = (32, 64) if small else (1024, 4096)
    normal = functools.partial(torch.randn, device=device)
    draws: dict[str, Callable[..., torch.Tensor]]
    draws = {"normal": normal, "uniform": functools.partial(torch.rand, device=device),
             "relu": lambda *size: normal(*size).relu()}  # fmt: skip
    for kind, draw in draws.items():
        for name, error in _errors(draw(n, k), draw(k, n)).items():
            codec = strassen(2)[0] if name.startswith("split") else None
            yield make("precision_signs", Entry(name, None, kind, codec), "fp32", (n, k, n), "error", "1",
                       error, error)  # fmt: skip
