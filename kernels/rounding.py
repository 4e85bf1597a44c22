"""Predicted error of a product in a number format: closed forms, no measurement."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stl_algebra.scores import unit_rounding2

from .codec import Codec

#: Mean relative loss of a float32 accumulator of the matrix units per 16 products (they truncate), fitted on an H100.
TRUNCATION = 3.4e-8

__all__ = ["NAMES", "closed_form", "split_error", "staged_error"]

NAMES = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def closed_form(codec: Codec, dtype: torch.dtype, inner: int) -> float:
    """Predicted relative error: √(ε² + κ²(u_x² + u_w² + u_p² + a²)).

    u² is the mean squared relative rounding of ``dtype`` in which encoded operands and channel products are
    held. a² is the rounding of a plain sum of K' = ``inner``/m products in the accumulator's format, one
    after the other: the partial sum after k steps has variance k, each step rounds it, so
    a² = u_acc² · (K' + 1)/2 relative to the sum. It is negligible for 16-bit formats (float32 accumulator) and
    the larger part for float32 and float64, which accumulate in themselves.
    """
    name = NAMES[dtype]
    u2 = unit_rounding2(name)
    accumulator = unit_rounding2("fp64" if name == "fp64" else "fp32")
    steps = -(-inner // codec.format[1])
    return float((codec.epsilon2 + codec.kappa2 * (3 * u2 + accumulator * (steps + 1) / 2)) ** 0.5)


def staged_error(stages: Sequence[Codec], dtype: torch.dtype, inner: int) -> float:
    """Closed form for codecs applied one inside the other: κ² multiply, retained energies 1 − ε² multiply."""
    kappa2, kept, tile = 1.0, 1.0, 1
    for codec in stages:
        kappa2, kept, tile = kappa2 * codec.kappa2, kept * (1 - codec.epsilon2), tile * codec.format[1]
    standard = closed_form(_STANDARD, dtype, -(-inner // tile))
    return float((max(1 - kept, 0.0) + kappa2 * standard**2) ** 0.5)


_STANDARD = Codec((1, 1, 1), [[1.0]], [[1.0]], [[1.0]])  # type: ignore[arg-type]


def split_error(codec: Codec, inner: int, promoted: bool) -> float:
    """Predicted relative error of `kernels.split` for sums of ``inner`` products.

    Three parts. *Held numbers*: two halves of float16 leave u₁₆² relative to the number, the product of the low
    halves that is left out as much again, and encode, decode and promotions round to float32; all of it is
    independent and grows with κ². *Truncation*: a partial sum after s of S steps of 16 columns has variance s, and each
    step loses the fraction β = `TRUNCATION` of it on average. The losses point the same way in every channel, so
    the decoder adds them up like the product itself, without κ²: β·S/√3 for S steps, of which the part that is
    proportional to the result is put back, which leaves β·S/√12. *Its scatter* around the mean, uniform
    over one unit in the last place, is independent: κ²(0.6 β)² S/2. Promoted sums have four steps.
    """
    length = -(-inner // codec.format[1])
    u16, u32 = unit_rounding2("fp16"), unit_rounding2("fp32")
    held = 3 * u16**2 + 3 * u32
    if promoted:
        steps = 4
        held += u32 * (length / 64 + 1) / 2
        bias = TRUNCATION**2 * steps**2 / 3
    else:
        steps = -(-length // 16)
        bias = TRUNCATION**2 * steps**2 / 12
    scatter = (0.6 * TRUNCATION) ** 2 * steps / 2
    return float((codec.epsilon2 + codec.kappa2 * (held + scatter) + bias) ** 0.5)
