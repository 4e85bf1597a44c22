"""Integer matrix products by residues under exact encoders: what `exact_matmul` and `matmul_fp64` share.

The product is computed modulo several numbers m and put together by the Chinese remainder theorem. Residues are of
absolute value about m/2, sums of their products stay below 2³¹ (int8 matrix units, m ≤ 256) or 2⁵³ (float64, any
machine), so nothing rounds. For the same reason an encoder acts on them at no cost in accuracy: κ² plays no part,
growth is reduced away, and every exact encoder is valid whose denominators are prime to every m. Encoders are used
cleared of denominators; what they leave out is put back by the weights of the reconstruction.

Two paths take the same steps: `Plain`, in torch on any device and for moduli of any size, and `Compiled`, on the int8
units with `kernels.triton.residues`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from . import reference
from ._compat import is_hopper_or_newer, triton_status
from .recipes import recipe_if_worth_it

__all__ = [
    "Assembly", "Compiled", "Integral", "Plain", "assembly", "coprimes", "integral", "moduli_for", "path_of", "product",
]  # fmt: skip

FLOAT, WRAP, MODULAR = 0, 1, 2  #: what is assembled: float64, int64 modulo 2⁶⁴, int64 modulo a number
EXACT = 54  #: encoded integers stay below 2^EXACT in absolute value
LARGEST = 243  #: largest odd modulus of the int8 units: leaves room for sums that are reduced from their upper bits
BAD = 1 << 20  #: exponent of a row that holds a NaN or an infinity


@dataclass(frozen=True, eq=False)
class Integral:
    """An exact encoder without denominators: with integer factors, den·vec(C) = d (e_x vec A ⊙ e_w vec Bᵀ).

    ``e_x`` (r, n·m), ``e_w`` (r, p·m), for tiles of the *transposed* second operand, ``d`` (n·p, r), int64.
    """

    format: tuple[int, int, int]
    e_x: np.ndarray
    e_w: np.ndarray
    d: np.ndarray
    den: int

    @property
    def rank(self) -> int:
        """Number of products r."""
        return int(self.e_x.shape[0])

    def side(self, index: int) -> tuple[np.ndarray, int, int]:
        """Coefficients (r, entries) and tile of A (0), Bᵀ (1) or, as Dᵀ, C (2)."""
        n, m, p = self.format
        return ((self.e_x, n, m), (self.e_w, p, m), (self.d.T, n, p))[index]

    @functools.cached_property
    def recipes(self) -> tuple[str, str, str]:
        """The three sides as fixed-coefficient recipes; "" where the code would be too long."""
        x, w, d = (recipe_if_worth_it(*self.side(i)) for i in range(3))
        return x, w, d

    @functools.cached_property
    def growth(self) -> tuple[int, int, int]:
        """Largest sum of absolute coefficients of an encoded entry of A, of Bᵀ, and of a decoded one."""
        x, w, d = (int(np.abs(f).sum(1).max()) for f in (self.e_x, self.e_w, self.d))
        return x, w, d


_ONE = np.ones((1, 1), dtype=np.int64)
PLAIN = Integral((1, 1, 1), _ONE, _ONE, _ONE, 1)


@functools.lru_cache(maxsize=64)
def integral(encoder: Encoder | None, modulus: int | None = None) -> Integral:
    """An encoder as integers; None is the standard product.

    Raises
    ------
    StlError
        Unless it is exact over Z, Z[1/2], Q, or over GF(``modulus``).
    """
    if encoder is None:
        return PLAIN
    characteristic = encoder.ring.characteristic
    if encoder.ring.degree != 1 or not encoder.is_exact or (characteristic and characteristic != modulus):
        raise StlError("encoder", encoder.ring.name, "an exact encoder over Z, Z[1/2], Q or GF(modulus)")
    n, m, p = encoder.format
    e_x, e_w, d = (np.asarray(f.num).astype(np.int64) for f in encoder.factors)
    e_w = e_w.reshape(-1, m, p).transpose(0, 2, 1).reshape(-1, p * m)
    return Integral((n, m, p), e_x, e_w, d, math.prod(int(f.den) for f in encoder.factors))


def coprimes(limit: int, den: int = 1, even: bool = False) -> Iterator[int]:
    """Odd, pairwise coprime numbers ≤ ``limit``, prime to ``den``, largest first; ``even``: after 256 if den is odd."""
    found = [256] if even and den % 2 else []
    yield from found
    for candidate in range(limit - 1 + limit % 2, 2, -2):
        if all(math.gcd(candidate, v) == 1 for v in (*found, den)):
            found.append(candidate)
            yield candidate


def moduli_for(bound: int, limit: int, den: int = 1, even: bool = False) -> tuple[int, ...]:
    """As many :func:`coprimes` as have a product above 2.2 ``bound``.

    >>> moduli_for(10**6, 255)
    (255, 253, 251)
    """
    found: list[int] = []
    for m in coprimes(limit, den, even):
        found.append(m)
        if 5 * math.prod(found) > 11 * bound:
            return tuple(found)
    raise StlError("K", limit, "sums short enough for moduli of two bits", "Cut the product along K.")


class Assembly(NamedTuple):
    """Weights of the Chinese remainder theorem: x = Σ_l r_l W_l − q M with W_l = (M/m_l)·((M/m_l)·den)⁻¹ mod m_l.

    ``first``, ``second`` (L,) weigh the residues in the sums s and u; ``constants`` close them:

    * FLOAT: W = first + second, of 42 bits and the rest, so that s is exact; M = c₀ + c₁ likewise, c₂ = 1/M;
      q = round(s c₂), x = (s − q c₀) + (u − q c₁).
    * WRAP: first = W/M, second = W mod 2⁶⁴, c₀ = M mod 2⁶⁴; q = round(s), x = u − q c₀.
    * MODULAR: first = W/M, second = W mod P, c = (M mod P, P); q = round(s), x = (u − q c₀) mod P.
    """

    kind: int
    first: torch.Tensor
    second: torch.Tensor
    constants: torch.Tensor


@functools.lru_cache(maxsize=256)
def assembly(moduli: tuple[int, ...], den: int, kind: int, modulus: int | None, device: torch.device) -> Assembly:
    """The weights for |x| < M/2.2."""
    whole = math.prod(moduli)
    shares = [whole // m for m in moduli]
    weights = [s * centred(pow(s * den, -1, m), m) for s, m in zip(shares, moduli, strict=True)]

    def wide(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=device, dtype=torch.float64)

    if kind == FLOAT:
        unit = 1 << max(0, whole.bit_length() - 42)
        tops = [(w + unit // 2) // unit * unit for w in (*weights, whole)]
        rest = [w - t for w, t in zip((*weights, whole), tops, strict=True)]
        first, second = (wide([float(v) for v in part[:-1]]) for part in (tops, rest))
        return Assembly(kind, first, second, wide([float(tops[-1]), float(rest[-1]), 1 / whole]))
    first = wide([w / whole for w in weights])
    ring = 2**64 if kind == WRAP or modulus is None else modulus
    values = [centred(w, ring) for w in weights], [centred(whole, ring), modulus or 0]
    second, constants = (torch.tensor(v, device=device, dtype=torch.int64) for v in values)
    return Assembly(kind, first, second, constants)


def centred(value: int, m: int) -> int:
    """The residue of an integer of smallest absolute value, in (−m/2, m/2], as signed numbers have it for even m."""
    value %= m
    return value - m if value >= (m + 1) // 2 else value


def product(path: type[Plain], a: torch.Tensor, bt: torch.Tensor, codec: Integral, moduli: tuple[int, ...], kind: int,
            modulus: int | None = None) -> torch.Tensor:  # fmt: skip
    """a @ btᵀ of integers: (N, K), (M, K) → (N, M), in float64 or int64 as ``kind`` says."""
    lhs, rhs = path.encode(a, codec, 0, moduli), path.encode(bt, codec, 1, moduli)
    products = path.multiply(lhs, rhs, moduli)
    del lhs, rhs
    whole = assembly(moduli, codec.den, kind, modulus, a.device)
    return path.decode(products, codec, moduli, whole, (a.shape[0], bt.shape[0]))


def path_of(device: torch.device, codec: Integral) -> type[Plain]:
    """The int8 units where there are any and the encoder's integers are small enough to be compiled."""
    hopper = device.type == "cuda" and triton_status().usable and is_hopper_or_newer(device)
    small = max(codec.growth[:2]) < 2**12 and codec.growth[2] <= 128  # decoded pairs lie in 15 bits each
    return Compiled if hopper and small and all(codec.recipes) else Plain


def _rounded(x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """x_ik·2^by_i rounded to integers, rows marked `BAD` zero."""
    good = torch.where(by == BAD, 0, by)[:, None].to(torch.int64)
    scaled = torch.ldexp(torch.ldexp(x, good >> 1), good - (good >> 1))
    return torch.where((by == BAD)[:, None], 0.0, torch.floor(scaled + 0.5))


class Plain:
    """Every step in plain torch; :class:`Compiled` has the same steps as Triton kernels."""

    @staticmethod
    def exponents(x: torch.Tensor, log2_norm: float, log2_top: int) -> torch.Tensor:
        """Largest u_i with ‖x_i‖·2^u_i ≤ 2^log2_norm and max|x_ik|·2^u_i < 2^log2_top, (N,) int32; `BAD`."""
        bad = (~torch.isfinite(x)).any(1)
        x = torch.where(bad[:, None], 0.0, x)
        top = x.abs().amax(1) if x.shape[1] else x.new_zeros(x.shape[0])
        e = torch.where(top > 0, torch.frexp(top).exponent - 1, 0).to(torch.int64)[:, None]
        norm = torch.ldexp(torch.ldexp(x, -(e >> 1)), (e >> 1) - e).pow(2).sum(1).clamp_min(1.0).log2() / 2
        up = torch.floor(log2_norm - 1e-4 - norm).clamp_max(log2_top - 1).long() - e[:, 0]
        return torch.where(bad, BAD, up).to(torch.int32)

    @staticmethod
    def encode(x: torch.Tensor, codec: Integral, side: int, moduli: tuple[int, ...],
               by: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
        """(N, K) integers, or float64 times 2^by rounded → (L·r, a, b) residues of the encoded tiles."""
        x = (x if by is None else _rounded(x, by)).to(torch.int64)
        factor, rows, cols = codec.side(side)
        kept = torch.int8 if max(moduli) <= 256 else torch.int32
        parts = []
        for m in moduli:
            e = _near(torch.tensor(factor, device=x.device), m).double()
            parts.append(_near(reference.encode(_near(x, m).double(), e, rows, cols), m).to(kept))
        return torch.cat(parts)

    @staticmethod
    def multiply(lhs: torch.Tensor, rhs: torch.Tensor, moduli: tuple[int, ...]) -> torch.Tensor:
        """(L·r, a, b), (L·r, c, b) → (L·r, a, c)."""
        parts = [_near(torch.bmm(x.double(), w.double().transpose(1, 2)), m).to(lhs.dtype)
                 for x, w, m in zip(lhs.chunk(len(moduli)), rhs.chunk(len(moduli)), moduli, strict=True)]  # fmt: skip
        return torch.cat(parts)

    @staticmethod
    def decode(p: torch.Tensor, codec: Integral, moduli: tuple[int, ...], whole: Assembly, shape: tuple[int, int],
               by: tuple[torch.Tensor, torch.Tensor] | None = None) -> torch.Tensor:  # fmt: skip
        """(L·r, a, c) → ``shape``; ``by``: exponents of rows and columns to be undone."""
        n, _, q = codec.format
        s = torch.zeros(shape, device=p.device, dtype=torch.float64)
        u = torch.zeros(shape, device=p.device, dtype=whole.second.dtype)
        for l, (part, m) in enumerate(zip(p.chunk(len(moduli)), moduli, strict=True)):
            d = _near(torch.tensor(codec.d, device=p.device), m).double()
            r = _near(reference.decode(part.double(), d, n, q, *shape), m)
            s += r * whole.first[l]
            u += r.to(u.dtype) * whole.second[l]
        c = whole.constants
        if whole.kind != FLOAT:
            y = u - torch.round(s).long() * c[0]
            return y if whole.kind == WRAP else y % c[1]
        quotient = torch.round(s * c[2])
        x = (s - quotient * c[0]) + (u - quotient * c[1])
        if by is None:
            return x
        up, cols = (e.long() for e in by)
        e = -(up[:, None] + cols[None, :])
        y = torch.ldexp(torch.ldexp(x, (e >> 1).clamp(-1022, 1023)), (e - (e >> 1)).clamp(-1022, 1023))
        return torch.where((up == BAD)[:, None] | (cols == BAD)[None, :], torch.nan, y)


def _near(x: torch.Tensor, m: int) -> torch.Tensor:
    """Residues modulo m of smallest absolute value; integers, or floats that hold integers exactly."""
    if x.is_floating_point():
        return x - m * torch.round(x / m)
    r = x % m
    return torch.where(r > m // 2, r - m, r)


@functools.lru_cache(maxsize=256)
def _tables(moduli: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The moduli as int32 and their reciprocals as float64."""
    return (torch.tensor(moduli, device=device, dtype=torch.int32),
            torch.tensor([1 / m for m in moduli], device=device, dtype=torch.float64))  # fmt: skip


class Compiled(Plain):
    """The steps as Triton kernels; moduli at most 253, or 256."""

    @staticmethod
    def exponents(x: torch.Tensor, log2_norm: float, log2_top: int) -> torch.Tensor:
        """See `kernels.triton.residues`."""
        from .triton import residues

        return residues.exponents(x, log2_norm, log2_top)

    @staticmethod
    def encode(x: torch.Tensor, codec: Integral, side: int, moduli: tuple[int, ...],
               by: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
        """See `kernels.triton.residues`."""
        from .triton import residues

        return residues.encode(x, codec.recipes[side], *_tables(moduli, x.device), by)

    @staticmethod
    def multiply(lhs: torch.Tensor, rhs: torch.Tensor, moduli: tuple[int, ...]) -> torch.Tensor:
        """See `kernels.triton.residues`."""
        from .triton import residues

        largest = max((m for m in moduli if m < 256), default=1)
        return residues.multiply(lhs, rhs, *_tables(moduli, lhs.device), largest)

    @staticmethod
    def decode(p: torch.Tensor, codec: Integral, moduli: tuple[int, ...], whole: Assembly, shape: tuple[int, int],
               by: tuple[torch.Tensor, torch.Tensor] | None = None) -> torch.Tensor:  # fmt: skip
        """See `kernels.triton.residues`."""
        from .triton import residues

        return residues.decode(p, codec.recipes[2], *_tables(moduli, p.device), whole.first, whole.second,
                               whole.constants, whole.kind, *shape, by)  # fmt: skip
