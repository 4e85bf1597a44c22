"""Exact products of integer matrices and of matrices over Z/p, as residue products on fast units.

The product is computed modulo several numbers m whose product exceeds twice the largest possible entry, and put
together by the Chinese remainder theorem. Modulo m every operand entry is a residue of absolute value at most
m/2, so that a sum of K products stays below 2³¹ for 8-bit residues (int8 matrix units, m ≤ 255) and below 2⁵³ for
float64 ones (any machine, m up to 2√(2⁵³/K)): nothing rounds. For the same reason an encoder may be applied to the
residues at no cost in accuracy: κ² plays no part, growth is reduced away, and every exact encoder is valid whose
denominators are prime to m (m is odd, so Z[1/2] always is). A modulus that is small itself needs one residue product
and no reconstruction, and over GF(p) encoders that exist only there are welcome (⟨4,4,4;47⟩ over GF(2)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from . import reference
from ._compat import is_hopper_or_newer, triton_status

__all__ = ["exact_matmul", "moduli_for"]

INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
MAX_MODULUS = 2**31


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
    flat = a.reshape(math.prod(a.shape[:-1]), a.shape[-1]).long()
    y = torch.zeros((flat.shape[0], b.shape[1]), dtype=torch.int64, device=a.device)
    if y.numel() and flat.shape[1]:
        b = b.long()
        if modulus is not None:
            flat, b = _symmetric(flat, modulus), _symmetric(b, modulus)
        y = _product(flat, b, modulus, encoder)
    return y.reshape(*a.shape[:-1], b.shape[1])


def moduli_for(bound: int, limit: int, units: Iterable[int] = ()) -> tuple[int, ...]:
    """Odd, pairwise coprime numbers ≤ ``limit``, prime to ``units``, with a product above 2.2 ``bound``; largest first.

    >>> moduli_for(10**6, 255)
    (255, 253, 251)
    """
    found: list[int] = []
    product, candidate = 1, limit - 1 + limit % 2
    while 5 * product <= 11 * bound or not found:
        if candidate < 3:
            raise StlError("K", limit, "sums short enough for moduli of two bits", "Cut the product along K.")
        if all(math.gcd(candidate, v) == 1 for v in (*found, *units)):
            found.append(candidate)
            product *= candidate
        candidate -= 2
    return tuple(found)


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


def _product(a: torch.Tensor, b: torch.Tensor, modulus: int | None, encoder: Encoder | None) -> torch.Tensor:
    inner = a.shape[1]
    tile, units = 1, [1]
    if encoder is not None:
        characteristic = encoder.ring.characteristic
        if encoder.ring.degree != 1 or not encoder.is_exact or (characteristic and characteristic != modulus):
            raise StlError("encoder", encoder.ring.name, "an exact encoder over Z, Z[1/2], Q or GF(modulus)")
        tile, units = max(encoder.format[1], encoder.rank), [f.den for f in encoder.factors]
    sums = max(-(-inner // (encoder.format[1] if encoder else 1)), tile, 64)
    eight = a.is_cuda and triton_status().usable and is_hopper_or_newer(a.device) and sums * 127**2 < 2**31
    limit = 255 if eight else 2 * math.isqrt(2**53 // sums) - 1
    if modulus is not None and modulus <= limit and all(math.gcd(u, modulus) == 1 for u in units):
        return _residue_product(a, b, modulus, encoder, eight) % modulus
    if encoder is not None and encoder.ring.characteristic:
        raise StlError("modulus", modulus, f"at most {limit} with an encoder of characteristic {modulus}")
    bound = inner * _largest(a) * _largest(b)
    if modulus is None and bound >= 2**63:
        raise StlError("a, b", f"entries up to 2^{bound.bit_length() - 1} in the product", "entries below 2^63",
                       "Name a modulus, or cut the operands into parts.")  # fmt: skip
    moduli = moduli_for(bound, limit, units)
    return _reconstruct(((m, _residue_product(a, b, m, encoder, eight)) for m in moduli), moduli, modulus)


def _largest(x: torch.Tensor) -> int:
    return max(int(x.max()), -int(x.min()))


def _symmetric(x: torch.Tensor, m: int) -> torch.Tensor:
    """Residues modulo m of smallest absolute value; integers, or floats that hold integers exactly."""
    if x.is_floating_point():
        return x - m * torch.round(x / m)
    r = x % m
    return torch.where(r > m // 2, r - m, r)


def _residue_product(a: torch.Tensor, b: torch.Tensor, m: int, encoder: Encoder | None, eight: bool) -> torch.Tensor:
    """a @ b modulo m, of smallest absolute value, int64."""
    wide = torch.float32 if eight else torch.float64  # encoded residues: (m/2)² · tile stays an integer in both
    lhs, rhs = (_symmetric(x, m).to(wide)[None] for x in (a, b))
    if encoder is None:
        return _multiply(lhs, rhs, m, eight)[0].long()
    (n, k, p), (e_x, e_w, d) = encoder.format, (_modulo(f, m, a.device, wide) for f in encoder.factors)
    x_hat = _symmetric(reference.encode(lhs[0], e_x, n, k), m)
    w_hat = _symmetric(reference.encode(rhs[0], e_w, k, p), m)
    y = reference.decode(_multiply(x_hat, w_hat, m, eight).to(wide), d, n, p, a.shape[0], b.shape[1])
    return _symmetric(y, m).long()


def _multiply(lhs: torch.Tensor, rhs: torch.Tensor, m: int, eight: bool) -> torch.Tensor:
    """(r, N, K) × (r, K, M) of residues modulo m, exactly."""
    if eight:
        from .triton import gemm

        return gemm.bmm_residues(_aligned(lhs), _aligned(rhs.transpose(1, 2)), m)
    return _symmetric(torch.bmm(lhs, rhs), m)


def _aligned(x: torch.Tensor) -> torch.Tensor:
    """As int8, rows on multiples of 16 bytes."""
    width = x.shape[-1]
    out = torch.empty((*x.shape[:-1], -(-width // 16) * 16), device=x.device, dtype=torch.int8)[..., :width]
    return out.copy_(x)


def _modulo(factor: object, m: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A factor's entries as residues modulo m."""
    num, den = factor.num, factor.den  # type: ignore[attr-defined]
    residues = np.asarray(num).astype(object) * pow(int(den), -1, m) % m
    return _symmetric(torch.tensor(residues.astype(np.int64), device=device), m).to(dtype)


def _reconstruct(residues: Iterable[tuple[int, torch.Tensor]], moduli: tuple[int, ...],
                 modulus: int | None) -> torch.Tensor:  # fmt: skip
    """Chinese remainders: x = Σ_l t_l M_l − q M with t_l = x_l M_l⁻¹ mod m_l and M_l = M/m_l.

    q is the integer nearest to Σ t_l / m_l, from which x/M < 1/2.2 is far enough for float64. Without a modulus
    the sum wraps modulo 2⁶⁴, which x fits; with one every term is reduced first.
    """
    whole = math.prod(moduli)
    total, quotient = None, None

    def reduced(value: int) -> int:
        value %= modulus or 2**64
        return value - 2**64 if modulus is None and value >= 2**63 else value

    for m, x in residues:
        share = whole // m
        t = x * pow(share, -1, m) % m
        part = t * reduced(share)
        if modulus is not None:
            part %= modulus
        total = part if total is None else total + part
        quotient = t.double() / m if quotient is None else quotient + t.double() / m
    assert total is not None and quotient is not None
    x = total - torch.round(quotient).long() * reduced(whole)
    return x if modulus is None else x % modulus
