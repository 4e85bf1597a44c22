"""Double precision on 8-bit matrix units: residue products under exact encoders (Ozaki scheme II, arXiv:2504.08009).

Rows of A and columns of B are scaled by powers of two and rounded to integers of about 50 bits, whose product is
computed exactly modulo odd numbers below 2⁸ and put together once (`kernels.residues`). Rounding happens when the
operands become integers and at the very end, so the result does not depend on the order of summation, on the encoder
or on the machine: it is bitwise reproducible, and the encoder's κ² plays no part.

With M the product of the moduli, rows and columns have norms up to 2^T, T = (log₂M − 1.2)/2: by Cauchy and Schwarz no
entry of the product leaves the range of M. What is rounded away is relative to ‖a_i‖‖b_j‖::

    |error_ij| ≲ √K · 0.41 · 2^-T · ‖a_i‖‖b_j‖      (RMS, independent terms; up to twice that, as powers of two fall)

Fourteen moduli (T = 54) match the native product on independent terms. A row whose largest entry exceeds the others by
2^e loses e of their bits: there the native product is more accurate. A NaN or an infinity makes its row of A or its
column of B NaN in the product, also where IEEE arithmetic would give an infinity.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from . import residues
from .exact import SUMS
from .residues import FLOAT, Integral, Plain

__all__ = ["Fp64Weight", "fp64_error", "fp64_weight", "matmul_fp64"]

MODULI = 14  #: residue products for errors like the native product's


@dataclass(frozen=True)
class Fp64Weight:
    """A weight (K, M) scaled, encoded and reduced once: ``residues`` (L·r, ⌈M/p⌉, ⌈K/m⌉), exponents ``by`` (M,)."""

    codec: Integral
    moduli: tuple[int, ...]
    residues: torch.Tensor
    by: torch.Tensor
    shape: tuple[int, int]


def fp64_weight(w: torch.Tensor, encoder: Encoder | None = None, *, moduli: int = MODULI) -> Fp64Weight:
    """Prepare a weight (K, M) float64 for :func:`matmul_fp64` once.

    Parameters
    ----------
    encoder : an exact encoder over Z, Z[1/2] or Q; None multiplies without one
    moduli : int
        Residue products, 2 … 20: more cost time, and each leaves four more bits of either operand.

    Raises
    ------
    StlError
        If ``w`` is not a float64 matrix, the encoder is not exact, or ``moduli`` is out of range.
    """
    _check("w", w)
    codec = residues.integral(encoder)
    if not isinstance(moduli, int) or not 2 <= moduli <= 20:
        raise StlError("moduli", moduli, "an integer from 2 to 20")
    system = _system(moduli, codec.den)
    by, encoded = _encoded(w.t().contiguous(), codec, 1, system)
    return Fp64Weight(codec, system, encoded, by, (w.shape[0], w.shape[1]))


def matmul_fp64(a: torch.Tensor, b: torch.Tensor | Fp64Weight, *, encoder: Encoder | None = None,
                moduli: int = MODULI) -> torch.Tensor:  # fmt: skip
    """``a @ b`` in float64 by residue products: (…, N, K), (K, M) → (…, N, M), bitwise reproducible.

    Parameters
    ----------
    a : float64, any strides
    b : float64 matrix, or what :func:`fp64_weight` made of one; then ``encoder`` and ``moduli`` are the weight's

    Raises
    ------
    StlError
        If the operands are not float64 matrices on one device that fit together.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> a, b = torch.randn(30, 20, dtype=torch.float64), torch.randn(20, 10, dtype=torch.float64)
    >>> y = matmul_fp64(a, b, encoder=strassen())
    >>> torch.equal(y, matmul_fp64(a, b)), bool((y - a @ b).abs().max() < 1e-14)
    (True, True)
    """
    weight = b if isinstance(b, Fp64Weight) else fp64_weight(b, encoder, moduli=moduli)
    _check("a", a, None)
    if a.shape[-1] != weight.shape[0] or a.device != weight.by.device:
        raise StlError("a", f"{tuple(a.shape)} on {a.device}", f"(…, {weight.shape[0]}) on {weight.by.device}, as b")
    flat = a.reshape(math.prod(a.shape[:-1]), a.shape[-1]).contiguous()
    y = torch.zeros((flat.shape[0], weight.shape[1]), device=a.device, dtype=torch.float64)
    if y.numel() and flat.shape[1]:
        path = _path(flat, weight.codec)
        by, encoded = _encoded(flat, weight.codec, 0, weight.moduli)
        products = path.multiply(encoded, weight.residues, weight.moduli)
        del encoded
        whole = residues.assembly(weight.moduli, weight.codec.den, FLOAT, None, a.device)
        shape = (y.shape[0], y.shape[1])
        y = path.decode(products, weight.codec, weight.moduli, whole, shape, (by, weight.by))
    return y.reshape(*a.shape[:-1], weight.shape[1])


def fp64_error(inner: int, moduli: int = MODULI) -> float:
    """Predicted relative error for independent terms of equal size: rounding to integers and the last rounding.

    The scale wastes a factor uniform in the exponent, 1 … 2: its mean square is 3/ln 4.
    """
    spread = 2 * 3 / math.log(4) * inner / 12 * 4.0 ** -_budget(_system(moduli, 1))
    return float((spread + 2.0**-106 / 3) ** 0.5)


def _system(count: int, den: int) -> tuple[int, ...]:
    """256, if ``den`` is odd, and the largest numbers that go with it."""
    return tuple(itertools.islice(residues.coprimes(residues.LARGEST, den, True), count))


def _budget(moduli: tuple[int, ...]) -> float:
    """log₂ of the largest norm of a row of A and of a column of B."""
    return (math.log2(math.prod(moduli)) - 1.2) / 2


def _path(x: torch.Tensor, codec: Integral) -> type[Plain]:
    path = residues.path_of(x.device, codec)
    return path if -(-x.shape[1] // codec.format[1]) <= SUMS else Plain


def _encoded(x: torch.Tensor, codec: Integral, side: int, moduli: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Exponents of the rows and residues of the encoded tiles of (N, K)."""
    path = _path(x, codec)
    room = min(52, residues.EXACT - math.ceil(math.log2(codec.growth[side])))
    by = path.exponents(x, _budget(moduli), room)
    return by, path.encode(x, codec, side, moduli, by)


def _check(name: str, x: torch.Tensor, dim: int | None = 2) -> None:
    fits = isinstance(x, torch.Tensor) and x.dtype == torch.float64 and (x.dim() == dim if dim else x.dim() >= 1)
    if not fits:
        found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise StlError(name, found, "a float64 matrix")
