"""Predicted error of a product in a number format: closed forms, no measurement."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stl_algebra.scores import unit_rounding2

from .codec import Codec

__all__ = ["NAMES", "closed_form", "staged_error"]

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
