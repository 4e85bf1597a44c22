"""What an encoder costs besides its multiplications, and the lines an approximation has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder
from stl_algebra.bounds import epsilon2_lower_bound
from stl_algebra.errors import StlError
from stl_algebra.scores import epsilon2, kappa2

from .objective import FORMATS

__all__ = ["LINES", "Price", "distinct_rows", "entries", "lines", "price", "relative_time"]

Array = NDArray[Any]

#: Relative squared error at a fraction of the multiplications (or of the time) of rivals measured elsewhere: truncated
#: SVD of a random matrix, 2:4 magnitude pruning of known weights, int8 and fp8 at half the time.
LINES: dict[str, dict[float, float]] = {
    "truncated SVD": {0.25: 0.624, 0.375: 0.488, 0.5: 0.377, 0.625: 0.286},
    "2:4, known weights": {0.5: 0.132},
    "int8 at equal time": {0.5: 1.5e-4},
    "fp8 at equal time": {0.5: 1.4e-3},
}
#: Exact recursion of Strassen's scheme: levels → (fraction of the multiplications, tile, traffic of the activation).
RECURSION = {k: ((7 / 8) ** k, 2**k, (7 / 4) ** k) for k in range(1, 6)}

#: Multiply-adds a card makes while it moves one element of an encoded activation or of a channel product to memory and
#: back again, in bf16: fitted once to the H200 rows of ``results/measurements.csv`` (658 TFLOP/s against 3.3 TB/s).
BALANCE = 200.0


def relative_time(fmt: tuple[int, int, int], rank: int, side: int) -> float:
    """Time of an N×N by N×N product, weights encoded beforehand, over that of the plain product.

    The products take r/nmp of the time; encoding reads X and writes r/nm of it, decoding reads r/np of C and writes C:
    r/nmp + BALANCE·(2 + r/nm + r/np)/N. Additions are free at that traffic. Within 12 % of what was measured on an
    H200 at ranks 16 to 49 and N = 4096 to 16384 (a test compares).

    Parameters
    ----------
    fmt : (n, m, p)
    rank : int
    side : int
        N.

    Examples
    --------
    >>> round(relative_time((4, 4, 4), 24, 8192), 2)  # measured: 0.51
    0.5
    """
    n, m, p = fmt
    return rank / (n * m * p) + BALANCE * (2 + rank / (n * m) + rank / (n * p)) / side


def distinct_rows(matrix: Array, tolerance: float = 1e-9) -> int:
    """Rows that differ by more than a factor: channels with equal rows share one encoded activation.

    Examples
    --------
    >>> distinct_rows(np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 1.0]]))
    2
    """
    unit = np.asarray(matrix, dtype=float)
    norm = np.linalg.norm(unit, axis=1, keepdims=True)
    unit = unit / np.where(norm > 0, norm, 1.0)
    seen: list[int] = []
    for l in range(len(unit)):
        if not any(1 - abs(float(unit[l] @ unit[k])) < tolerance for k in seen):
            seen.append(l)
    return len(seen)


def entries(encoder: Encoder) -> str:
    """``ternary`` (−1, 0, 1), ``half-integer`` (multiples of ½), ``dyadic``, ``exact`` or ``real``."""
    if not encoder.ring.exact:
        return "real"
    if encoder.ring.degree > 1 or encoder.ring.characteristic:
        return "exact"
    dens = {f.den for f in encoder.factors}
    largest = max((int(np.abs(f.num).max(initial=0)) for f in encoder.factors), default=0)
    if dens == {1} and largest <= 1:
        return "ternary"
    if dens <= {1, 2}:
        return "half-integer"
    return "dyadic" if all(d & (d - 1) == 0 for d in dens) else "exact"


@dataclass(frozen=True)
class Price:
    """The axes of the frontier, all relative to the standard product.

    Attributes
    ----------
    flops : float
        r/nmp, the fraction of the multiplications.
    traffic_x, traffic_c : float
        r/nm and r/np: encoded activation over X, channel products over C.
    time : float
        Predicted time at 8192, see :func:`relative_time`.
    distinct_x, distinct_d : int
        Rows of E_X and columns of D that differ by more than a factor.
    adds_x, adds_d : int
        Nonzero entries beyond one a row: additions a tile to encode and decode, nothing shared.
    entries : str
    epsilon2, kappa2 : float
    bound : Fraction
        Certified lower bound on ε² at this rank.
    """

    flops: float
    traffic_x: float
    traffic_c: float
    time: float
    distinct_x: int
    distinct_d: int
    adds_x: int
    adds_d: int
    entries: str
    epsilon2: float
    kappa2: float
    bound: Fraction

    def total(self, dtype: str = "bf16") -> float:
        """ε² + κ²·Σu² in a number format."""
        if dtype not in FORMATS:
            raise StlError("dtype", dtype, ", ".join(FORMATS))
        return self.epsilon2 + FORMATS[dtype] * self.kappa2


def price(encoder: Encoder, fmt: tuple[int, int, int]) -> Price:
    """What an encoder of ⟨n,m,p⟩ costs and how wrong it is.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> p = price(strassen(), (2, 2, 2))
    >>> p.flops, p.distinct_x, p.adds_x, p.entries
    (0.875, 7, 5, 'ternary')
    """
    n, m, p = fmt
    e_x, _, d = encoder.floats()
    r = encoder.rank
    adds = [int(np.maximum((np.abs(f) > 1e-12).sum(1) - 1, 0).sum()) for f in (e_x, d)]
    return Price(
        r / prod(fmt), r / (n * m), r / (n * p), relative_time(fmt, r, 8192), distinct_rows(e_x), distinct_rows(d.T),
        adds[0], adds[1], entries(encoder), epsilon2(encoder), kappa2(encoder), epsilon2_lower_bound(fmt, r).value,
    )  # fmt: skip


def lines(fmt: tuple[int, int, int], rank: int, exact_rank: int | None) -> dict[str, float]:
    """The trivial lines at a rank: dropping products, skipping K-tiles of an exact encoder, count-sketch."""
    flops = rank / prod(fmt)
    found = {"dropping": max(0.0, 1 - flops), "count-sketch": 1 / (1 + flops)}
    if exact_rank:
        found["time-sharing"] = max(0.0, 1 - rank / exact_rank)
    return found
