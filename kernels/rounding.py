"""Predicted error of a product in a number format: closed forms, no measurement."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stl_algebra.scores import unit_rounding2

from .codec import Codec

#: Mean relative loss of a float32 accumulator of the matrix units per 16 products (they truncate), fitted on an H100.
TRUNCATION = 3.4e-8

#: Columns after which a promoted sum moves to a rounding accumulator.
PROMOTION = 64

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
    """Predicted relative error of `kernels.split` for sums of ``inner`` independent products.

    *Held numbers*: two halves of float16 leave u₁₆² relative to the number, and the product of the low halves that is
    left out as much again; encoding and decoding round to float32 at every addition, as many as the rows of the
    factors have entries. All of it is independent and grows with κ². *Promoted* sums add a rounding every 64 columns,
    which was measured to grow with the power 0.65 of their number.
    *Others* are truncated: a partial sum after s of S steps of 16 columns has variance s, and each step loses the
    fraction β = `TRUNCATION` of it on average. The mean loss points the same way in every channel, so the
    decoder adds it up like the product itself, without κ²: β·S/√3, of which the part that is proportional to
    the result is put back, which leaves β·S/√12. Its scatter from channel to channel is independent: κ²(1.6 β)² S/2.

    The factors are fitted on an H100 over K/m = 64 … 16384 and κ² = 4 … 64: promoted within 11 % everywhere, others
    within 20 % from K/m = 512 on. Terms of one sign are another matter: their truncation does not average out between
    channels (`kernels/README.md`).
    """
    length = -(-inner // codec.format[1])
    u16, u32 = unit_rounding2("fp16"), unit_rounding2("fp32")
    additions = sum(float((f != 0).sum() / f.shape[0]) for f in codec.floats())
    held = 3 * u16**2 + 0.34 * u32 * additions
    if promoted:
        return float((codec.epsilon2 + codec.kappa2 * (held + 4.7 * u32 * (length / PROMOTION) ** 0.65)) ** 0.5)
    steps = -(-length // 16)
    scatter = (1.6 * TRUNCATION) ** 2 * steps / 2
    return float((codec.epsilon2 + codec.kappa2 * (held + scatter) + (TRUNCATION * steps) ** 2 / 12) ** 0.5)
