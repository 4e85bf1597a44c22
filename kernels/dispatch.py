"""Which way is faster: a cost model over measured rates, the dense fallback, and `fast_matmul`."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels import functional, ops
from kernels.codec import Codec, EncoderLike, as_codec
from kernels.devices import DeviceData, load_device
from kernels.measure import NAMES, closed_form
from stl_algebra.errors import StlError

__all__ = ["DenseFallback", "Plan", "declines", "deepen", "fast_matmul", "plan_matmul", "predict_ms"]

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
    both = _strassen_power(1).kron(codec)
    return both if all(both.recipes) else None


@functools.lru_cache(maxsize=8)
def _strassen_power(level: int) -> Codec:
    from stl_algebra.schemes import strassen

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
        ladder = [(tuple(_strassen_power(level) for level in levels), f"strassen^{sum(levels)}")
                  for levels in LADDER if levels]  # fmt: skip
    elif isinstance(encoder, str):
        raise StlError("encoder", encoder, "'auto', 'dense', or an stl_algebra.Encoder")
    else:
        codec = as_codec(encoder)
        deeper = _deeper(codec)
        ladder = [((c,), "⟨{},{},{};{}⟩".format(*c.format, c.rank)) for c in (codec, deeper) if c is not None]
    for stages, label in ladder:
        error = _staged_error(stages, dtype, k)
        if error > budget:
            continue
        ms = predict_ms(n, k, m, stages, dtype, data, encoded_weight=False)
        if ms < best.milliseconds:
            best = Plan(stages, label, ms, dense, error)
    return best


def _staged_error(stages: Sequence[Codec], dtype: torch.dtype, inner: int) -> float:
    """Closed form for codecs applied one inside the other: κ² multiply, retained energies 1 − ε² multiply."""
    kappa2, kept, tile = 1.0, 1.0, 1
    for codec in stages:
        kappa2, kept, tile = kappa2 * codec.kappa2, kept * (1 - codec.epsilon2), tile * codec.format[1]
    standard = closed_form(_STANDARD, dtype, -(-inner // tile))
    return float((max(1 - kept, 0.0) + kappa2 * standard**2) ** 0.5)


_STANDARD = Codec((1, 1, 1), [[1.0]], [[1.0]], [[1.0]])  # type: ignore[arg-type]


def fast_matmul(a: torch.Tensor, b: torch.Tensor, encoder: EncoderLike | Codec | str = "auto", *,
                rtol: float | None = None) -> torch.Tensor:  # fmt: skip
    """``a @ b`` for large matrices, faster where the algebra allows: (…, K), (K, M) → (…, M).

    Levels of Strassen's algorithm (exact; the error is rounding, κ² times the usual variance) are chosen by the
    cost model within the error budget; small products, budgets too tight and batched ``b`` run densely.
    Differentiable. `plan_matmul` tells what would be chosen.

    Parameters
    ----------
    a, b : float64, float32, bfloat16 or float16 tensors of one dtype and device
    encoder : "auto", "dense" or an exact encoder
    rtol : float, optional
        Largest relative (RMS) error allowed; by default 2e-14, 1e-5, 2.5e-2, 3e-3 for fp64, fp32, bf16, fp16.

    Raises
    ------
    StlError
        On mismatched dtypes, devices or shapes, or an unknown ``encoder``.
    """
    functional.check_operand("a", a, least=1)
    functional.check_operand("b", b, least=1)
    functional.check_pair("a", a, "b", b)
    if b.dim() != 2:
        return a @ b
    if a.shape[-1] != b.shape[0]:
        raise StlError("b.shape", tuple(b.shape), f"({a.shape[-1]}, M), to multiply a of width {a.shape[-1]}")
    flat = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    plan = plan_matmul(flat.shape[0], b.shape[0], b.shape[1], a.dtype, a.device, encoder=encoder, rtol=rtol)
    if not plan.stages:
        return a @ b
    return staged_matmul(flat, b, plan.stages).reshape(*a.shape[:-1], b.shape[1])


def staged_matmul(a: torch.Tensor, b: torch.Tensor, stages: Sequence[Codec]) -> torch.Tensor:
    """(N, K), (K, M) → (N, M) through codecs applied one inside the other, one encode pass per stage.

    Stage 2 encodes the channels of stage 1 as one tall matrix (rows padded so that tiles do not straddle
    channels), so deep levels need no kernel for a huge tile.
    """
    rows, _inner, cols = a.shape[0], a.shape[1], b.shape[1]
    tn = tm = tp = 1
    for codec in stages:
        n, m, p = codec.format
        tn, tm, tp = tn * n, tm * m, tp * p
    if len(stages) > 1:  # a single stage pads inside the kernels
        a = _pad(a, tn, tm)
        b = _pad(b, tm, tp)
    lhs, rhs = a, b
    shapes = []
    wide = torch.promote_types(a.dtype, torch.float32)
    for codec in stages:
        n, m, p = codec.format
        e_x, e_w, _ = codec.tensors(a.device, wide)
        fixed = codec.recipes
        shapes.append((lhs.shape[0], rhs.shape[1]))
        lhs = ops.encode(lhs, e_x, n, m, fixed[0]).flatten(0, 1)
        rhs = ops.encode(rhs, e_w, m, p, fixed[1]).flatten(0, 1)
    total = 1
    for codec in stages:
        total *= codec.rank
    y = torch.bmm(lhs.unflatten(0, (total, -1)), rhs.unflatten(0, (total, -1)))
    for codec, (height, width) in zip(reversed(stages), reversed(shapes), strict=True):
        n, _, p = codec.format
        d = codec.tensors(a.device, wide)[2]
        y = ops.decode(y.reshape(codec.rank, -1, y.shape[-1]), d, n, p, height, width, None,
                       codec.recipes[2], "")  # fmt: skip
    return y[:rows, :cols]


def _pad(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    extra = (-x.shape[0] % rows, -x.shape[1] % cols)
    return torch.nn.functional.pad(x, (0, extra[1], 0, extra[0])) if any(extra) else x
