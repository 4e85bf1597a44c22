"""Which way is faster: a cost model over measured rates, the dense fallback, and plans for a product."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stl_algebra.errors import StlError
from stl_algebra.schemes import strassen

from .codec import Codec, EncoderLike, as_codec
from .devices import DeviceData, load_device
from .rounding import NAMES, staged_error

__all__ = ["DenseFallback", "Plan", "declines", "deepen", "plan_matmul", "predict_ms", "strassen_power"]

#: Relative error `fast_matmul` may spend when the caller names no ``rtol``.
DEFAULT_RTOL = {"fp64": 2e-14, "fp32": 1e-5, "bf16": 2.5e-2, "fp16": 3e-3}

#: Stages tried by ``encoder="auto"``: powers of Strassen's ⟨2,2,2;7⟩, applied one stage after the other.
LADDER: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (3,), (1, 3))


class DenseFallback(UserWarning):
    """The cost model declined an encoder and the dense product ran instead."""


@dataclass(frozen=True)
class Plan:
    """A way to multiply, with what the model expects of it.

    ``stages`` are the codecs applied one inside the other (empty: dense); times in milliseconds; ``error`` is
    the closed-form relative error.
    """

    stages: tuple[Codec, ...]
    label: str
    milliseconds: float
    dense_milliseconds: float
    error: float

    @property
    def speedup(self) -> float:
        """Predicted dense time over predicted time."""
        return self.dense_milliseconds / self.milliseconds


def predict_ms(n: int, k: int, m: int, stages: Sequence[Codec], dtype: torch.dtype, data: DeviceData, *,
               encoded_weight: bool = True) -> float:  # fmt: skip
    """Milliseconds of an N×K by K×M product through ``stages`` (none: dense).

    Each pass counts the bytes it must read and write at the measured pass bandwidth; the channel products
    count their multiplications at the batched rate of their own size; every launch its latency.
    """
    name = NAMES[dtype]
    work = 2.0 * n * k * m
    if not stages:
        size = max((n * k * m) ** (1 / 3), 1.0)
        return work / max(data.rate("dense", name, size), 1e-9) / 1e9 + data.launch_us / 1e3
    item = dtype.itemsize
    traffic = 0.0
    launches = 1
    xe, we, ye = float(n * k), float(k * m), float(n * m)
    ranks, tn, tm, tp = 1, 1, 1, 1
    for codec in stages:
        a, b, c = codec.format
        ranks, tn, tm, tp = ranks * codec.rank, tn * a, tm * b, tp * c
        for entries, per in ((xe, a * b), (ye, a * c)) if encoded_weight else ((xe, a * b), (ye, a * c), (we, b * c)):
            traffic += entries * (1 + codec.rank / per) * item
            launches += 1
        xe, we, ye = xe * codec.rank / (a * b), we * codec.rank / (b * c), ye * codec.rank / (a * c)
    ceil = (-(-n // tn), -(-k // tm), -(-m // tp))
    size = max((ceil[0] * ceil[1] * ceil[2]) ** (1 / 3), 1.0)
    products = 2.0 * ranks * ceil[0] * ceil[1] * ceil[2]
    return (products / max(data.rate("batched", name, size), 1e-9) / 1e9
            + traffic / data.bandwidth[name] / 1e9 + launches * data.launch_us / 1e3)  # fmt: skip


def declines(n: int, k: int, m: int, codec: Codec, dtype: torch.dtype, device: torch.device, *,
             encoded_weight: bool = True) -> bool:  # fmt: skip
    """Would the encoder be slower than dense here? Warns with the predicted times when so."""
    if min(n, k, m) == 0:
        return False
    data = load_device(device)
    dense = predict_ms(n, k, m, (), dtype, data)
    ours = predict_ms(n, k, m, (codec,), dtype, data, encoded_weight=encoded_weight)
    if ours < dense:
        return False
    a, b, c = codec.format
    warnings.warn(
        f"⟨{a},{b},{c};{codec.rank}⟩ on {n}×{k}×{m} {NAMES[dtype]} is expected to take {ours:.3g} ms against "
        f"{dense:.3g} ms dense on {data.name}: multiplying densely. Use fallback='never' to insist.",
        DenseFallback, stacklevel=3)  # fmt: skip
    return True


def deepen(encoder: EncoderLike | Codec, n: int, k: int, m: int, dtype: torch.dtype,
           device: torch.device | str | None = None, *, encoded_weight: bool = True) -> Codec:  # fmt: skip
    """The encoder, or the same bilinear map with an exact Strassen level inside its channels if that is faster.

    ⟨2,2,2;7⟩ ⊗ (n, m, p; r) multiplies tiles twice as large with 7r products an eighth the size each: 1/8 fewer
    multiplications against 7/4 times the encoded bytes. ε² is unchanged, κ² is four times as large (rounding
    doubles), which an approximate encoder does not notice. The cost model decides for N×K by K×M.
    """
    codec = as_codec(encoder)
    if min(n, k, m) == 0:
        return codec
    data = load_device(device)
    choices = [codec, deeper] if (deeper := _deeper(codec)) else [codec]
    return min(choices, key=lambda c: predict_ms(n, k, m, (c,), dtype, data, encoded_weight=encoded_weight))


@functools.lru_cache(maxsize=64)
def _deeper(codec: Codec) -> Codec | None:
    """⟨2,2,2;7⟩ ⊗ codec, or None when the tile would be too large for one pass."""
    if max(codec.format) > 4:
        return None
    both = strassen_power(1).kron(codec)
    return both if all(both.recipes) else None


@functools.lru_cache(maxsize=8)
def strassen_power(level: int) -> Codec:
    base = strassen()
    out = base
    for _ in range(level - 1):
        out = out.kron(base)
    return as_codec(out)


def plan_matmul(n: int, k: int, m: int, dtype: torch.dtype, device: torch.device | str, *,
                encoder: EncoderLike | Codec | str = "auto", rtol: float | None = None) -> Plan:  # fmt: skip
    """Choose how to multiply N×K by K×M with both operands dense.

    Parameters
    ----------
    encoder : "auto", "dense", or an encoder
        "auto" tries dense and up to four levels of Strassen; an encoder is tried against dense, alone and with
        one Strassen level inside its channels.
    rtol : float, optional
        Largest closed-form relative error allowed; default by dtype (`DEFAULT_RTOL`).

    Returns
    -------
    Plan
        The fastest admissible one; dense when nothing beats it.
    """
    if dtype not in NAMES:
        raise StlError("dtype", dtype, ", ".join(map(str, NAMES)))
    if rtol is not None and not rtol > 0:
        raise StlError("rtol", rtol, "a positive number")
    budget = DEFAULT_RTOL[NAMES[dtype]] if rtol is None else rtol
    data = load_device(device)
    dense = predict_ms(n, k, m, (), dtype, data) if min(n, k, m) else 0.0
    best = Plan((), "dense", dense, dense, 0.0)
    if encoder == "dense" or min(n, k, m) == 0:
        return best
    if encoder == "auto":
        ladder = [(tuple(strassen_power(level) for level in levels), f"strassen^{sum(levels)}")
                  for levels in LADDER if levels]  # fmt: skip
    elif isinstance(encoder, str):
        raise StlError("encoder", encoder, "'auto', 'dense', or an stl_algebra.Encoder")
    else:
        codec = as_codec(encoder)
        deeper = _deeper(codec)
        ladder = [((c,), "⟨{},{},{};{}⟩".format(*c.format, c.rank)) for c in (codec, deeper) if c is not None]
    for stages, label in ladder:
        error = staged_error(stages, dtype, k)
        if error > budget:
            continue
        ms = predict_ms(n, k, m, stages, dtype, data, encoded_weight=False)
        if ms < best.milliseconds:
            best = Plan(stages, label, ms, dense, error)
    return best
