"""Exact products of integer matrices and of matrices over Z/p, as residue products on fast units.

As many moduli are taken as hold twice the largest possible entry (`kernels.residues`): 8-bit ones on the int8 matrix
units of a GPU, such that sums of K products stay below 2⁵³ elsewhere. A modulus that is small itself needs one residue
product and no reconstruction, and over GF(p) encoders that exist only there are welcome (⟨4,4,4;47⟩ over GF(2)).
"""

from __future__ import annotations

import math

import torch

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from . import residues
from .residues import MODULAR, WRAP, Compiled, Integral, Plain

__all__ = ["exact_matmul"]

INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
MAX_MODULUS = 2**31
SUMS = 60000  # products of 8-bit residues that are added up before they are reduced


def exact_matmul(a: torch.Tensor, b: torch.Tensor, *, modulus: int | None = None,
                 encoder: Encoder | None = None) -> torch.Tensor:  # fmt: skip
    """``a @ b`` of integer matrices without rounding or wrapping: (…, N, K), (K, M) → (…, N, M) int64.

    Parameters
    ----------
    a, b : tensors of an integer type on one device
    modulus : int, optional
        Return the product modulo this number, in [0, modulus); 2 ≤ modulus < 2³¹, prime or not.
    encoder : stl_algebra.Encoder, optional
        An exact encoder of a matrix product over Z, Z[1/2], Q, or over GF(p) with p = ``modulus``: fewer products.

    Raises
    ------
    StlError
        If the operands are not integer matrices that fit together, if an entry of the product could leave int64 (then
        name a modulus), or if the encoder is not exact over the ring in question.

    Examples
    --------
    >>> a = torch.tensor([[2**40, 1], [3, -5]])
    >>> exact_matmul(a, torch.tensor([[2**20], [7]])).tolist() == [[2**60 + 7], [3 * 2**20 - 35]]
    True
    >>> exact_matmul(a, a, modulus=7).tolist()
    [[0, 4], [5, 0]]
    """
    _check(a, b, modulus)
    codec = residues.integral(encoder, modulus)
    flat = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    y = torch.zeros((flat.shape[0], b.shape[1]), dtype=torch.int64, device=a.device)
    if y.numel() and flat.shape[1]:
        y = _product(flat.contiguous(), b.t().contiguous(), modulus, codec, encoder)
    return y.reshape(*a.shape[:-1], b.shape[1])


def _check(a: torch.Tensor, b: torch.Tensor, modulus: int | None) -> None:
    for name, x in (("a", a), ("b", b)):
        if not isinstance(x, torch.Tensor) or x.dtype not in INTEGERS:
            raise StlError(name, getattr(x, "dtype", type(x).__name__), "a tensor of an integer type")
    if a.dim() < 1 or b.dim() != 2 or a.shape[-1] != b.shape[0]:
        raise StlError("b.shape", tuple(b.shape), f"(K, M) with K the last size of a, {tuple(a.shape)}")
    if a.device != b.device:
        raise StlError("b.device", str(b.device), f"{a.device}, the device of a")
    if modulus is not None and not (isinstance(modulus, int) and 2 <= modulus < MAX_MODULUS):
        raise StlError("modulus", modulus, "an integer with 2 ≤ modulus < 2^31")


def _product(a: torch.Tensor, bt: torch.Tensor, modulus: int | None, codec: Integral,
             encoder: Encoder | None) -> torch.Tensor:  # fmt: skip
    """(N, K), (M, K) → (N, M)."""
    if modulus is not None:
        a, bt = _small(a, modulus), _small(bt, modulus)
    largest = _largest(a), _largest(bt)
    for this, growth in zip(largest, codec.growth, strict=False):
        if this * growth >= 2**residues.EXACT:  # in two pieces, modulo 2⁶⁴
            return _in_pieces(a, bt, this == largest[0], codec, encoder)
    inner = a.shape[1]
    bound = inner * largest[0] * largest[1]
    if a.is_cuda and modulus is None and max(largest) < 128 and bound < 2**31:
        return _one_product(a, bt)
    sums = max(-(-inner // codec.format[1]), codec.rank, codec.format[1], 64)
    path = residues.path_of(a.device, codec) if sums <= SUMS else Plain
    eight = path is Compiled
    limit = 256 if eight else 2 * math.isqrt(2**53 // sums) - 1
    if modulus is not None and modulus <= limit and math.gcd(codec.den, modulus) == 1:
        return residues.product(path, a, bt, codec, (modulus,), MODULAR, modulus)
    if encoder is not None and encoder.ring.characteristic:
        raise StlError("modulus", modulus, f"at most {limit} with an encoder of characteristic {modulus}")
    if modulus is None and bound >= 2**63:
        raise StlError("a, b", f"entries up to 2^{bound.bit_length() - 1} in the product", "entries below 2^63",
                       "Name a modulus, or cut the operands into parts.")  # fmt: skip
    moduli = residues.moduli_for(bound, residues.LARGEST if eight else limit, codec.den, eight)
    return residues.product(path, a, bt, codec, moduli, WRAP if modulus is None else MODULAR, modulus)


def _one_product(a: torch.Tensor, bt: torch.Tensor) -> torch.Tensor:
    """8-bit entries whose sums fit 32 bits: one product of the int8 units, sizes as cuBLAS wants them."""
    rows, inner, cols = max(17 - a.shape[0], 0), -a.shape[1] % 8, -bt.shape[0] % 8
    lhs, rhs = (torch.nn.functional.pad(x.to(torch.int8), (0, inner, 0, extra)) for x, extra in ((a, rows), (bt, cols)))
    return torch._int_mm(lhs, rhs.t())[: a.shape[0], : bt.shape[0]].long()


def _in_pieces(a: torch.Tensor, bt: torch.Tensor, first: bool, codec: Integral,
               encoder: Encoder | None) -> torch.Tensor:  # fmt: skip
    """One operand as high·2³² + low: entries so large that encoding them would leave float64."""
    wide = (a if first else bt).long()
    high, low = wide >> 32, wide & 0xFFFFFFFF
    parts = [_product(x, bt, None, codec, encoder) if first else _product(a, x, None, codec, encoder)
             for x in (high, low)]  # fmt: skip
    return (parts[0] << 32) + parts[1]


def _largest(x: torch.Tensor) -> int:
    return max(int(x.max()), -int(x.min()))


def _small(x: torch.Tensor, m: int) -> torch.Tensor:
    """Entries as residues modulo m of smallest absolute value, if they are not small already."""
    if _largest(x) <= m // 2:
        return x
    r = x.long() % m
    return torch.where(r > m // 2, r - m, r)
