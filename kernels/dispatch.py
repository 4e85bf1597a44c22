"""Which way is faster: a cost model over measured rates, the dense fallback, and plans for a product."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stl_algebra._html import table_html
from stl_algebra.errors import StlError
from stl_algebra.schemes import strassen

from ._compat import tf32_products
from .codec import Codec, EncoderLike, as_codec
from .devices import DeviceData, load_device
from .rounding import NAMES, split_error, staged_error

__all__ = ["DenseFallback", "Plan", "declines", "deepen", "plan_matmul", "predict_ms", "strassen_power"]

#: Relative error `fast_matmul` may spend when the caller names no ``rtol``.
DEFAULT_RTOL = {"fp64": 2e-14, "fp32": 1e-5, "bf16": 2.5e-2, "fp16": 3e-3}

#: Stages tried by ``encoder="auto"``: powers of Strassen's ⟨2,2,2;7⟩, applied one stage after the other.
LADDER: tuple[tuple[int, ...], ...] = ((1,), (2,), (3,), (1, 3))

#: A plan has to be this much faster than dense in the model: a model errs, and dense must not be lost to it.
MARGIN = 0.96

#: What the processor takes to launch a kernel from Python, in launches of the device: not captured in a graph, a
#: short product waits for it.
HOST = 19

#: The error of a plain float32 product over that of one long sum, at its best: vendors' kernels sum in pieces.
PIECES = 0.5

PLAIN = Codec((1, 1, 1), np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))  #: no algebra: the standard product


class DenseFallback(UserWarning):
    """The cost model declined an encoder and the dense product ran instead."""


@dataclass(frozen=True, repr=False)
class Plan:
    """A way to multiply, with what the model expects of it.

    ``stages`` are the codecs applied one inside the other (empty: dense); times in milliseconds; ``error`` is
    the closed-form relative error; ``split``: float32 by products of halves (`kernels.split`), one stage.
    """

    stages: tuple[Codec, ...]
    label: str
    milliseconds: float
    dense_milliseconds: float
    error: float
    split: bool = False

    @property
    def speedup(self) -> float:
        """Predicted dense time over predicted time."""
        return self.dense_milliseconds / self.milliseconds

    def __repr__(self) -> str:
        return (
            f"Plan({self.label}, {self.milliseconds:.3g} ms expected, dense {self.dense_milliseconds:.3g} ms, "
            f"relative error {self.error:.1e})"
        )

    def _repr_html_(self) -> str:
        stages = " · ".join(f"⟨{','.join(map(str, c.format))};{c.rank}⟩" for c in self.stages) or "none: dense"
        return table_html(("plan", self.label), [
            ("stages", stages + (", in float16 halves" if self.split else "")),
            ("time expected", f"{self.milliseconds:.3g} ms, {self.speedup:.2f} × as fast as dense"),
            ("relative error, closed form", f"{self.error:.1e}"),
        ])  # fmt: skip


def predict_ms(n: int, k: int, m: int, stages: Sequence[Codec], dtype: torch.dtype, data: DeviceData, *,
               encoded_weight: bool = True, split: bool = False) -> float:  # fmt: skip
    """Milliseconds of an N×K by K×M product through ``stages`` (none: dense); infinite where nothing was measured.

    Each pass counts the bytes it must read and write at the measured pass bandwidth; the channel products
    count their multiplications at the batched rate of their own size; every launch its latency. ``split`` adds the
    passes that find the scales: one over X, two over a weight that is not encoded beforehand.
    """
    name = NAMES[dtype]
    work = 2.0 * n * k * m
    if not stages:
        size = max((n * k * m) ** (1 / 3), 1.0)
        return _over(work, data.rate("dense", name, size)) + data.launch_us / 1e3
    item = dtype.itemsize
    traffic, launches = 0.0, 1
    if split:
        traffic += (n * k + (0 if encoded_weight else 2 * k * m)) * item
        launches += 3 if encoded_weight else 10
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
    return (_over(products, data.rate("batched", "split" if split else name, size))
            + traffic / data.bandwidth[name] / 1e9 + launches * data.launch_us / 1e3)  # fmt: skip


def _over(work: float, rate: float) -> float:
    """Milliseconds of ``work`` operations at ``rate`` TFLOP/s."""
    return work / rate / 1e9 if rate else math.inf


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
    device : torch.device or str
        Also the name of a shipped device file, to plan for a machine that is not there: "nvidia_h200".
    encoder : "auto", "dense", or an encoder
        "auto" tries dense and up to four levels of Strassen, in float32 also as split products where the device has
        the units for it; an encoder is tried against dense, alone and with one Strassen level inside its channels.
    rtol : float, optional
        Largest closed-form relative error allowed; default by dtype (`DEFAULT_RTOL`), for split products half of that
        of one long float32 sum: the most accurate that was seen of cuBLAS.

    Returns
    -------
    Plan
        The fastest admissible one; dense when nothing beats it by `MARGIN`.

    Examples
    --------
    >>> plan_matmul(64, 64, 64, torch.float32, "nvidia_h200").label
    'dense'
    >>> plan_matmul(16384, 16384, 16384, torch.float64, "nvidia_h200").speedup > 1.1
    True
    """
    if dtype not in NAMES:
        raise StlError("dtype", dtype, ", ".join(map(str, NAMES)))
    if rtol is not None and not rtol > 0:
        raise StlError("rtol", rtol, "a positive number")
    if isinstance(encoder, str) and encoder not in ("auto", "dense"):
        raise StlError("encoder", encoder, "'auto', 'dense', or an stl_algebra.Encoder")
    data = load_device(device)
    chosen = encoder if isinstance(encoder, str) else as_codec(encoder)
    if dtype == torch.float32 and tf32_products() and data.name != "cpu":
        chosen = "dense"  # ``@`` runs in TF32 then: faster and coarser than anything offered here
    return _plan(n, k, m, dtype, data, chosen, rtol)


@functools.lru_cache(maxsize=4096)
def _plan(n: int, k: int, m: int, dtype: torch.dtype, data: DeviceData, encoder: Codec | str,
          rtol: float | None) -> Plan:  # fmt: skip
    budget = DEFAULT_RTOL[NAMES[dtype]] if rtol is None else rtol
    dense = predict_ms(n, k, m, (), dtype, data) if min(n, k, m) else 0.0
    best = Plan((), "dense", dense, dense, 0.0)
    if encoder == "dense" or min(n, k, m) == 0 or not math.isfinite(dense):
        return best
    limit, plain = dense * MARGIN, staged_error((), dtype, k)
    for plan in _candidates(n, k, m, dtype, data, encoder, dense):
        # without a tolerance a split product must be as accurate as the float32 product it stands for, at any shape
        allowed = plain * PIECES if plan.split and rtol is None else budget
        if plan.error <= allowed and plan.milliseconds < min(limit, best.milliseconds):
            best = plan
    return best


def _candidates(n: int, k: int, m: int, dtype: torch.dtype, data: DeviceData, encoder: Codec | str,
                dense: float) -> Iterator[Plan]:  # fmt: skip
    """Every way to multiply that is considered."""
    if isinstance(encoder, Codec):
        found = [c for c in (encoder, _deeper(encoder)) if c is not None]
        ladder: list[tuple[tuple[Codec, ...], str]]
        ladder = [((c,), "⟨{},{},{};{}⟩".format(*c.format, c.rank)) for c in found]
    else:
        ladder = [(tuple(strassen_power(level) for level in levels), f"strassen^{sum(levels)}") for levels in LADDER]
    for stages, label in ladder:
        host = HOST * data.launch_us / 1e3 * (1 + 3 * len(stages))
        ms = max(host, predict_ms(n, k, m, stages, dtype, data, encoded_weight=False))
        error = staged_error(stages, dtype, k)
        yield Plan(stages, label, ms, dense, error)
    if dtype != torch.float32 or "split" not in data.batched:
        return
    plain = () if isinstance(encoder, Codec) else ((PLAIN, "plain"),)
    for codec, label in (*plain, *((stages[0], label) for stages, label in ladder if len(stages) == 1)):
        if all(codec.recipes):
            host = HOST * data.launch_us / 1e3 * 13
            ms = max(host, predict_ms(n, k, m, (codec,), dtype, data, encoded_weight=False, split=True))
            yield Plan((codec,), f"split {label}", ms, dense, split_error(codec, k, True), True)
