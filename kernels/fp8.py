"""Products in fp8 (e4m3): half the bytes of encoded operands and twice the tensor-core rate.

Per-channel scales without a pass over the data: channel l of the encoded activation has standard deviation
‖E_X[l]‖·σ_x, so dividing each row of E_X by its norm makes every channel alike, and one tensor-wide scale (given, or
from the largest entry) places it in range; the norms go back in with the product, as a per-channel factor of
the GEMM's epilogue. e4m3 saturates at 448; ±`HEADROOM` standard deviations fit.

The relative squared error adds κ²·2·u²(e4m3) with u² = 7e-4: worth it where ε² is larger than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stl_algebra.errors import StlError

from . import pipeline, reference
from ._compat import fp8_supported
from .codec import Codec, EncoderLike, as_codec
from .functional import encode_weight

__all__ = ["E4M3_MAX", "HEADROOM", "Fp8Weight", "encode_weight_fp8", "matmul_fp8", "reference_fp8"]

E4M3_MAX = 448.0
HEADROOM = 8.0  # standard deviations that fit below saturation


@dataclass(frozen=True)
class Fp8Weight:
    """An encoded weight in fp8: ``values`` (r, ⌈M/p⌉, ⌈K/m⌉) e4m3 (transposed, as the matrix units want it),

    ``scale`` (r,) float32 such that channel l of the encoded weight is ``scale[l] · values[l]``.
    """

    values: torch.Tensor
    scale: torch.Tensor
    out_features: int


def _unit_rows(e: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    norms = e.norm(dim=1).clamp_min(1e-30)
    return e / norms[:, None], norms


def encode_weight_fp8(w: torch.Tensor, encoder: EncoderLike | Codec) -> Fp8Weight:
    """Encode and quantise a weight (K, M) once, each channel by its own largest entry."""
    codec = as_codec(encoder)
    w_hat = encode_weight(w, codec).float().transpose(1, 2).contiguous()
    scale = (w_hat.abs().amax(dim=(1, 2)) / E4M3_MAX).clamp_min(1e-30)
    return Fp8Weight((w_hat / scale[:, None, None]).to(torch.float8_e4m3fn), scale, w.shape[1])


def matmul_fp8(
    x: torch.Tensor, weight: Fp8Weight, encoder: EncoderLike | Codec, *, sigma: float | torch.Tensor,
    bias: torch.Tensor | None = None, activation: str = "", config: Any = None,
    x_hat: torch.Tensor | None = None, out_dtype: torch.dtype = torch.bfloat16,
) -> torch.Tensor:  # fmt: skip
    """STL product with fp8 channel products: (N, K) bf16, fp16 or e4m3 → (N, M) ``out_dtype``.

    Parameters
    ----------
    sigma : float or 0-d tensor
        Standard deviation of ``x`` (in x's own units); the encoded channels are scaled so that `HEADROOM` of
        them reach the e4m3 maximum. A running estimate does; no pass over x is made.

    Raises
    ------
    StlError
        Without a CUDA device of compute capability 8.9 or above, or for other dtypes of x.
    """
    if not (x.is_cuda and fp8_supported(x.device)):
        raise StlError("x.device", str(x.device), "a CUDA device of compute capability 8.9 or above",
                       "Use kernels.stl_matmul, or kernels.fp8.reference_fp8 to see the rounding.")  # fmt: skip
    if x.dtype not in (torch.bfloat16, torch.float16, torch.float8_e4m3fn):
        raise StlError("x.dtype", x.dtype, "bfloat16, float16 or float8_e4m3fn")
    from .triton import dense, gemm

    codec = as_codec(encoder)
    n, m, p = codec.format
    e_x, _, d = codec.tensors(x.device, torch.float32)
    unit, norms = _unit_rows(e_x)
    gain = E4M3_MAX / HEADROOM / torch.as_tensor(sigma, device=x.device, dtype=torch.float32)
    if x_hat is None:
        shape = (codec.rank, -(-x.shape[0] // n), -(-x.shape[1] // m))
        x_hat = torch.empty(shape, device=x.device, dtype=torch.float8_e4m3fn)
    resident = 4 * torch.cuda.get_device_properties(x.device).multi_processor_count  # 5 % faster than one per block
    encoded = dense.encode(x, unit * gain, n, m, out=x_hat, programs=resident)
    products = gemm.bmm(encoded, weight.values, b_transposed=True, out_dtype=out_dtype,
                               scale=norms * weight.scale / gain, config=config or gemm.FP8)  # fmt: skip
    return pipeline.decode(products, d, n, p, x.shape[0], weight.out_features, bias, codec.recipes[2], activation)


def reference_fp8(x: torch.Tensor, w: torch.Tensor, encoder: EncoderLike | Codec, sigma: float) -> torch.Tensor:
    """The same rounding in plain torch on any device, for tests and error studies: (N, K), (K, M) → (N, M)."""
    codec = as_codec(encoder)
    n, m, p = codec.format
    e_x, e_w, d = codec.tensors(x.device, torch.float32)
    unit, norms = _unit_rows(e_x)
    gain = E4M3_MAX / HEADROOM / sigma
    a = reference.encode(x.float(), unit * gain, n, m).clamp(-E4M3_MAX, E4M3_MAX)
    a = a.to(torch.float8_e4m3fn).float() * (norms / gain)[:, None, None]
    b = reference.encode(w.float(), e_w, m, p)
    scale = (b.abs().amax(dim=(1, 2), keepdim=True) / E4M3_MAX).clamp_min(1e-30)
    b = (b / scale).to(torch.float8_e4m3fn).float() * scale
    return reference.decode(torch.bmm(a, b).to(torch.bfloat16).float(), d, n, p, x.shape[0], w.shape[1])
