"""Section ``residues``: float64 and exact integer products by residues against what a user has, in one run.

float64: the native product, cuBLAS's emulation (CUBLAS_EMULATE_DOUBLE_PRECISION, in its own process) and
`matmul_fp64` without an encoder and under several, the weight prepared beforehand (mode "forward", energy too) and with
both operands dense ("both"), with the parts encode, product and decode of the fastest. Integers: `exact_matmul`
against sums of float64 products of 13-bit pieces on the GPU and against python-flint and galois on the CPU. No
result is timed before it was found right: float64 no further from 80-bit arithmetic than 1.25 times the native
product (with `MODULI` moduli), integers equal.
"""

from __future__ import annotations

import datetime
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from stl_algebra import Encoder, catalogue, schemes

from .. import fp64, residues
from ..exact import exact_matmul
from . import measure, peers

__all__ = [
    "cpu_rows", "encoders", "error_of", "exact_rows", "float64_rows", "pieces_matmul", "residue_rows", "row_maker",
]  # fmt: skip

Make = Callable[..., measure.Row]
Run = Callable[[], torch.Tensor]
PRIME = 2**31 - 1


def encoders(n: int) -> dict[str, Encoder | None]:
    """What is tried at size n."""
    one = schemes.strassen()
    found: dict[str, Encoder | None] = {"": None, "strassen": one, "strassen²": one.kron(one)}
    if n >= 4096:
        loaded = [entry.load() for entry in catalogue.catalogue().where("4x4x4", 48, "Z[1/2]", True)]
        found["48"] = min(loaded, key=lambda e: max(residues.integral(e).growth[:2]))  # the smallest integers
    return found


def row_maker(head: dict[str, Any], run_id: str) -> Make:
    """What makes rows of the one table."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def make(op: str, provider: str, mode: str, dtype: str, n: int, encoder: Encoder | None, metric: str, unit: str,
             value: float, error: float | None = None, predicted: float | None = None,
             spread: tuple[float | None, float | None] = (None, None)) -> measure.Row:  # fmt: skip
        name = "x".join(map(str, encoder.format)) if encoder else ""
        return measure.Row(run_id, op, provider, mode, dtype, n, n, n, name, encoder.rank if encoder else 0,
                           measure.codec_hash(encoder) if encoder else "", metric, unit, value, *spread, error,
                           predicted, timestamp=now, **head)  # fmt: skip

    return make


def residue_rows(device: torch.device, head: dict[str, Any], run_id: str, small: bool) -> list[measure.Row]:
    """Both parts at all sizes."""
    make = row_maker(head, run_id)
    rows: list[measure.Row] = []
    for n in (64,) if small else (4096, 8192, 16384):
        rows += float64_rows(make, n, device)
    for n in (64,) if small else (4096, 8192):
        rows += exact_rows(make, n, device)
    return [*rows, *cpu_rows(make, device)]


def error_of(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative error of a corner of a product against 80-bit arithmetic."""
    lhs, rhs, found = (t.cpu().numpy().astype(np.longdouble) for t in (a[:8], b[:, :256], y[:8, :256]))
    exact = lhs @ rhs
    return float(np.linalg.norm((found - exact).astype(np.float64)) / np.linalg.norm(exact.astype(np.float64)))


def float64_rows(make: Make, n: int, device: torch.device) -> Iterator[measure.Row]:
    """One size against native and emulated float64."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.float64) for _ in range(2))
    run: Run = lambda: a @ b  # noqa: E731
    native, rep = error_of(run(), a, b), 150 if n <= 8192 else 300
    dense = measure.steady({"": run}, device, rounds=1, rep=rep)[""]
    here = functools.partial(make, "fp64", "dense", "forward", "fp64", n, None)
    yield here("time", "ms", dense[0], native, None, dense[1:])
    yield from _energy(here, run, device, dense[0], native)
    for ms, error in (peers.emulated_fp64((n,)) if device.type == "cuda" and n <= 8192 else {}).values():
        yield make("fp64", "cublas_emulated", "forward", "fp64", n, None, "time", "ms", ms, error)
        yield make("fp64", "cublas_emulated", "forward", "fp64", n, None, "speedup", "x", dense[0] / ms, error)
    for encoder in encoders(n).values():
        for moduli in (fp64.MODULI, fp64.MODULI - 1):
            weight = fp64.fp64_weight(b, encoder, moduli=moduli)
            runs: dict[str, Run] = {"forward": functools.partial(fp64.matmul_fp64, a, weight)}
            if moduli == fp64.MODULI:
                runs["both"] = functools.partial(fp64.matmul_fp64, a, b, encoder=encoder)
            else:
                runs = {"fast": runs["forward"]}
            predicted = fp64.fp64_error(n, moduli)
            for mode, run in runs.items():
                here = functools.partial(make, "fp64", "residues", mode, "fp64", n, encoder)
                error = error_of(run(), a, b)
                if device.type == "cuda" and mode != "fast" and not error < 1.25 * native:
                    yield here("failed", "", 1.25 * native, error, predicted)
                    continue
                t = measure.steady({"": run}, device, rounds=1, rep=rep)[""]
                yield here("time", "ms", t[0], error, predicted, t[1:])
                yield here("speedup", "x", dense[0] / t[0], error, predicted)
                if mode == "forward":
                    yield from _energy(here, run, device, t[0], error)
            if moduli == fp64.MODULI:
                yield from _parts(functools.partial(make, "fp64", "residues"), a, weight, encoder)
            del weight, runs, run
            if device.type == "cuda":
                torch.cuda.empty_cache()


def _energy(here: Make, run: Run, device: torch.device, ms: float, error: float) -> Iterator[measure.Row]:
    joules = measure.energy(run, device, ms)
    if joules is not None:
        yield here("energy", "mJ", joules, error)


def _parts(make: Make, a: torch.Tensor, weight: fp64.Fp64Weight, encoder: Encoder | None) -> Iterator[measure.Row]:
    """Scales, encode, product and decode on their own."""
    codec, moduli, n = weight.codec, weight.moduli, a.shape[0]
    path = residues.path_of(a.device, codec)
    by = path.exponents(a, 50.0, 50)
    encoded = path.encode(a, codec, 0, moduli, by)
    products = path.multiply(encoded, weight.residues, moduli)
    whole = residues.assembly(moduli, codec.den, residues.FLOAT, None, a.device)
    runs: dict[str, Run] = {
        "scales": lambda: path.exponents(a, 50.0, 50),
        "encode": lambda: path.encode(a, codec, 0, moduli, by),
        "product": lambda: path.multiply(encoded, weight.residues, moduli),
        "decode": lambda: path.decode(products, codec, moduli, whole, (n, n), (by, weight.by)),
    }
    for mode, t in measure.steady(runs, a.device, rounds=1, warmup=60, rep=60).items():
        yield make(mode, "fp64", n, encoder, "time", "ms", t[0], None, None, t[1:])


def pieces_matmul(a: torch.Tensor, b: torch.Tensor, modulus: int | None = None) -> torch.Tensor:
    """What a user can do on a GPU without this: 13-bit pieces in float64, one product for each pair, for K ≤ 2²⁷.

    Entries below 2⁶³ / K in the product, or the result modulo ``modulus`` < 2³¹.
    """
    if modulus is not None:
        a, b = ((x % modulus) for x in (a, b))
    parts = [[((x >> shift) if last else (x >> shift) & 8191).double() for shift, last in _shifts(x)] for x in (a, b)]
    y = torch.zeros((a.shape[0], b.shape[1]), dtype=torch.int64, device=a.device)
    for i, lhs in enumerate(parts[0]):
        for j, rhs in enumerate(parts[1]):
            term = (lhs @ rhs).long()
            if modulus is None:
                y += term << (13 * (i + j))
            else:
                y = (y + term % modulus * pow(2, 13 * (i + j), modulus)) % modulus
    return y


def _shifts(x: torch.Tensor) -> list[tuple[int, bool]]:
    count = max(1, -(-(max(int(x.max()), -int(x.min())).bit_length() + 1) // 13))
    return [(13 * i, i == count - 1) for i in range(count)]


def _operands() -> dict[str, tuple[int, int | None]]:
    """Name → (largest entry, modulus)."""
    return {"int64 24 bits": (2**24, None), "int8": (127, None), "mod 2^31-1": (PRIME - 1, PRIME),
            "mod 251": (250, 251), "mod 2": (1, 2)}  # fmt: skip


def exact_rows(make: Make, n: int, device: torch.device) -> Iterator[measure.Row]:
    """One size; the first encoder of each kind of operand is compared with float64 pieces entry by entry."""
    for name, (size, modulus) in _operands().items():
        low = -size if modulus is None else 0
        a, b = (torch.randint(low, size + 1, (n, n), device=device) for _ in range(2))
        if name == "int8":
            a, b = a.to(torch.int8), b.to(torch.int8)
        user: Run = functools.partial(pieces_matmul, a.long(), b.long(), modulus)
        want = user()
        base = measure.steady({"": user}, device, rounds=1, warmup=30, rep=60, graph=False)[""]
        here = functools.partial(make, "exact", "float64_pieces", name, "int64", n, None)
        yield here("time", "ms", base[0], 0.0, None, base[1:])
        tried = {name: encoder for name, encoder in encoders(n).items() if name in ("", "strassen")}
        if modulus == 2 and n >= 4096:
            tried["47"] = catalogue.best("4x4x4", rank=47, ring="GF(2)")
        for encoder in tried.values():
            run = functools.partial(exact_matmul, a, b, modulus=modulus, encoder=encoder)
            here = functools.partial(make, "exact", "residues", name, "int64", n, encoder)
            if not torch.equal(run(), want):
                yield here("failed", "", float((run() != want).sum()))
                continue
            t = measure.steady({"": run}, device, rounds=1, warmup=30, rep=60, graph=False)[""]
            yield here("time", "ms", t[0], 0.0, None, t[1:])
            yield here("speedup", "x", base[0] / t[0], 0.0)


def cpu_rows(make: Make, device: torch.device) -> Iterator[measure.Row]:
    """python-flint and galois on the CPU at a size they can do, ours on the device beside them."""
    n = 64 if device.type != "cuda" else 1024
    a, b = (torch.randint(0, PRIME, (n, n), device=device) for _ in range(2))
    runs: dict[str, Callable[[], Any]] = {}
    try:
        import flint

        x, y = (flint.nmod_mat(n, n, t.flatten().tolist(), PRIME) for t in (a, b))
        runs["flint"] = lambda: x * y
    except ImportError:
        pass
    try:
        import galois

        field = galois.GF(31)
        u, v = field.Random((n, n), seed=1), field.Random((n, n), seed=2)
        runs["galois"] = lambda: u @ v
    except ImportError:
        pass
    runs["residues"] = lambda: exact_matmul(a, b, modulus=PRIME).sum().item()
    for provider, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        mode = "mod 31" if provider == "galois" else "mod 2^31-1"
        yield make("exact", provider, mode, "int64", n, None, "time", "ms", (time.perf_counter() - start) * 1e3, 0.0)
