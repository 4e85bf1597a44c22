"""The correctness gate that `kernels.bench` and `kernels.validate` share: no time without a right result."""

from __future__ import annotations

import torch

from .. import reference
from ..codec import Codec
from ..rounding import NAMES
from .measure import Errors

__all__ = ["DTYPES", "float64_product", "plain_product", "problem"]

DTYPES = {name: dtype for dtype, name in NAMES.items()}
FLOOR = 2e-15  # float64 against float64: both have rounding of their own


def problem(found: Errors, plain_error: float) -> str:
    """What is wrong with a result whose plain torch implementation errs by ``plain_error``; "" when nothing is."""
    if found.unwritten:
        return f"{found.unwritten} entries are NaN or Inf, near {found.where}"
    if found.rms > 2 * plain_error + FLOOR:
        return f"error {found.rms:.3g} is more than twice the plain implementation's {plain_error:.3g}"
    return ""


def plain_product(x: torch.Tensor, w: torch.Tensor, codec: Codec) -> torch.Tensor:
    """The product through an encoder in plain torch: (N, K), (K, M) → (N, M)."""
    e_x, e_w, d = codec.tensors(x.device, torch.promote_types(x.dtype, torch.float32))
    n, m, p = codec.format
    return reference.matmul_encoded(x, reference.encode(w, e_w, m, p), e_x, d, n, m, p, w.shape[1])


def float64_product(x: torch.Tensor, w: torch.Tensor, codec: Codec) -> torch.Tensor:
    """The same bilinear map in float64, channel by channel (bounded memory)."""
    n, m, p = codec.format
    e_x, e_w, d = codec.tensors(x.device, torch.float64)
    a, b = reference.tiles(x.double(), n, m), reference.tiles(w.double(), m, p)
    y = torch.zeros((n * p, a.shape[1], b.shape[2]), device=x.device, dtype=torch.float64)
    for l in range(codec.rank):
        channel = torch.tensordot(e_x[l], a, 1) @ torch.tensordot(e_w[l], b, 1)
        y += d[:, l, None, None] * channel
    return reference.untiles(y, n, p, x.shape[0], w.shape[1])
