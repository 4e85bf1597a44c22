"""Certified lower bounds on the error of any encoder of a given rank: Koszul flattenings averaged over the symmetry.

Let M_1 … M_k be matrices and K = Σ M_i ⊗ (e_i ∧) : C^b ⊗ Λ^p → C^a ⊗ Λ^{p+1}.  Read as a linear map of one slot of
⟨n,m,p⟩ the matrices turn the tensor T into K ⊗ 1 (the identity on the third side, of length `rest`), and a rank-one
tensor into a matrix of rank C(k−1, p).  A tensor T̂ of (border) rank r therefore misses at least the squared singular
values of K ⊗ 1 beyond the first r·C(k−1, p), the unitary symmetry of T averages the flattening's norm into the
Frobenius norm, and

    ε² ≥ 1 − Σ_{i ≤ r·C(k−1,p)/rest} σ_i²(K) / Σ_i σ_i²(K)          σ sorted, fractional index interpolated.

It holds for real and complex coefficients and for limits (border rank).  The matrices here have entries in Z[i] and
the spectra are proven: an annihilating polynomial with rational roots and as many traces as roots, all in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from math import comb, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StlError

__all__ = ["Flattening", "LowerBound", "epsilon2_lower_bound", "flattenings", "kappa2_lower_bound"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Flattening:
    """Matrices with entries in Z[i] and an exterior power; `spectrum` is exact.

    Attributes
    ----------
    name : str
    real, imaginary : (k, a, b) int arrays
    power : int
        p, at least 0 and below k.
    """

    name: str
    real: Integers
    imaginary: Integers
    power: int

    @property
    def shape(self) -> tuple[int, int]:
        """(a, b)."""
        return self.real.shape[1], self.real.shape[2]

    @property
    def term_rank(self) -> int:
        """Rank C(k−1, p) of the flattening of a rank-one tensor."""
        return comb(len(self.real) - 1, self.power)

    def matrix(self) -> Integers:
        """K over the reals: [[Re, −Im], [Im, Re]], every singular value of K twice."""
        wedge = _wedge(len(self.real), self.power)
        re, im = (np.einsum("iab,ist->asbt", part, wedge) for part in (self.real, self.imaginary))
        rows, columns = re.shape[0] * re.shape[1], re.shape[2] * re.shape[3]
        re, im = re.reshape(rows, columns), im.reshape(rows, columns)
        return np.block([[re, -im], [im, re]])

    def spectrum(self) -> list[tuple[Fraction, int]]:
        """Distinct σ²(K) with their multiplicities, largest first, proven.

        Floats only suggest the values λ.  Then N = KᵀK satisfies Π(N − λ) = 0 in integers, so there are no others, and
        tr N^j for j = 0, 1, … determine the multiplicities (a Vandermonde system), which are compared exactly.

        Raises
        ------
        StlError
            If a value is not rational with a denominator up to 12, or does not survive the proof.
        """
        k = self.matrix()
        gram = (k.T @ k if k.shape[0] >= k.shape[1] else k @ k.T).astype(object)
        size = len(gram)
        found = np.linalg.eigvalsh(gram.astype(float))
        values = sorted({Fraction(float(x)).limit_denominator(12) for x in found}, reverse=True)
        counts = [int(sum(abs(x - float(v)) < 1e-6 for x in found)) for v in values]
        product = np.array(np.eye(size, dtype=int), dtype=object)
        for v in values:
            product = product @ (gram * v.denominator - v.numerator * np.eye(size, dtype=int))
        moment = np.array(np.eye(size, dtype=int), dtype=object)
        proven = not product.any()
        for power in range(len(values)):
            proven &= sum(c * v**power for v, c in zip(values, counts, strict=True)) == int(np.trace(moment))
            moment = moment @ gram
        if not proven:
            raise StlError("matrices", self.name, "rational squared singular values", "choose other matrices")
        return [(v, c // 2) for v, c in zip(values, counts, strict=True)]

    def bound(self, rank: int, rest: int) -> Fraction:
        """Lower bound on ε² at a rank, `rest` the length of the side the matrices leave alone."""
        return _bound(tuple(_spectrum(self)), Fraction(rank * self.term_rank, rest))


def _bound(spectrum: tuple[tuple[Fraction, int], ...], kept: Fraction) -> Fraction:
    total = sum((v * c for v, c in spectrum), Fraction(0))
    held = Fraction(0)
    for value, count in spectrum:
        take = min(Fraction(count), kept)
        held += take * value
        kept -= take
    return 1 - held / total


@lru_cache(maxsize=256)
def _spectrum(flattening: Flattening) -> tuple[tuple[Fraction, int], ...]:
    return tuple(flattening.spectrum())


def _wedge(k: int, p: int) -> Integers:
    """e_i ∧ on the standard basis of Λ^p, shape (k, C(k, p+1), C(k, p))."""
    source, goal = list(combinations(range(k), p)), {t: i for i, t in enumerate(combinations(range(k), p + 1))}
    out = np.zeros((k, len(goal), len(source)), dtype=np.int64)
    for column, subset in enumerate(source):
        for i in set(range(k)) - set(subset):
            out[i, goal[tuple(sorted((*subset, i)))], column] = (-1) ** sum(x < i for x in subset)
    return out


# ------------------------------------------------------------------ the matrices
def _complex(name: str, matrices: Any, power: int) -> Flattening:
    array = np.asarray(matrices, dtype=complex)
    return Flattening(name, array.real.astype(np.int64), array.imag.astype(np.int64), power)


def _rotations() -> NDArray[np.float64]:
    """The three generators of so(3): (L_i)_{jk} = ε_{ijk}."""
    out = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[i, j, k], out[i, k, j] = 1, -1
    return out


def _pauli() -> NDArray[np.complex128]:
    return np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def _dirac() -> NDArray[np.complex128]:
    """Five anticommuting 4×4 matrices, the spin-2 part of the operators on spin 3/2."""
    x, y, z = _pauli()
    one = np.eye(2)
    return np.array([np.kron(x, one), np.kron(z, one), np.kron(y, x), np.kron(y, y), np.kron(y, z)])


#: Three matrices each, summed as blocks: what may stand on the diagonal, by shape.
_PIECES: dict[str, Any] = {
    "so(3)": _rotations(),
    "su(2)": _pauli(),
    "e₁": np.array([[[1]], [[0]], [[0]]]),
    "e₂": np.array([[[0]], [[1]], [[0]]]),
    "e₃": np.array([[[0]], [[0]], [[1]]]),
    "row": np.eye(3)[:, None, :],
    "column": np.eye(3)[:, :, None],
}


@lru_cache(maxsize=32)
def flattenings(a: int, b: int) -> tuple[Flattening, ...]:
    """The flattenings tried for matrices of shape a × b or smaller: one matrix, block sums of three, Dirac's five."""
    side = min(a, b)
    found = [_complex(f"identity of degree {side}", np.eye(side)[None], 0)]
    pieces = [(name, np.asarray(m)) for name, m in _PIECES.items()]

    def extend(first: int, names: tuple[str, ...], rows: int, columns: int) -> None:
        for i in range(first, len(pieces)):
            name, block = pieces[i]
            down, across = rows + block.shape[1], columns + block.shape[2]
            if down > a or across > b:
                continue
            chosen = (*names, name)
            total = np.zeros((3, down, across), dtype=complex)
            at = [0, 0]
            for piece in chosen:
                m = np.asarray(_PIECES[piece])
                total[:, at[0] : at[0] + m.shape[1], at[1] : at[1] + m.shape[2]] = m
                at = [at[0] + m.shape[1], at[1] + m.shape[2]]
            found.append(_complex(" ⊕ ".join(chosen), total, 1))
            extend(i, chosen, down, across)

    extend(0, (), 0, 0)
    if side >= 4:
        found.append(_complex("five Dirac matrices", _dirac(), 2))
    return tuple(found)


# ------------------------------------------------------------------ bounds
@dataclass(frozen=True)
class LowerBound:
    """A proven lower bound on ε² with its certificate.

    Attributes
    ----------
    value : Fraction
    flattening : Flattening
    slot : str
        ``"E_X"``, ``"E_W"`` or ``"D"``: the slot the matrices read.
    """

    value: Fraction
    flattening: Flattening
    slot: str


def epsilon2_lower_bound(fmt: tuple[int, int, int], rank: int) -> LowerBound:
    """The best proven lower bound on ε² of an encoder of ⟨n,m,p⟩ of a (border) rank, over R or C.

    Parameters
    ----------
    fmt : (n, m, p)
    rank : int

    Returns
    -------
    LowerBound
        Zero where every flattening is silent.

    Examples
    --------
    >>> str(epsilon2_lower_bound((4, 4, 4), 16).value)      # (22 − r)/28
    '3/14'
    >>> str(epsilon2_lower_bound((4, 4, 4), 24).value)      # (80/3 − r)/80
    '1/30'
    >>> epsilon2_lower_bound((2, 2, 2), 4).flattening.name  # (6 − r)/12
    'su(2)'
    """
    if len(fmt) != 3 or min(fmt) < 1:
        raise StlError("fmt", fmt, "three positive sides", "for instance (4, 4, 4)")
    if rank < 0:
        raise StlError("rank", rank, "0, 1, 2, …", "pass a rank")
    n, m, p = fmt
    best: LowerBound | None = None
    for slot, a, b, rest in (("E_X", n, m, p), ("E_W", m, p, n), ("D", n, p, m)):
        for shape in {(a, b), (b, a)}:
            for flattening in flattenings(min(shape[0], 5), min(shape[1], 5)):
                value = flattening.bound(rank, rest)
                if best is None or value > best.value:
                    best = LowerBound(value, flattening, slot)
    assert best is not None
    return best


def kappa2_lower_bound(fmt: tuple[int, int, int], rank: int, eps2: float) -> float:
    """κ² ≥ (1−ε²)²·nmp/r of any encoder whose scale is stationary (⟨T,T̂⟩ = ‖T̂‖²; Cauchy–Schwarz over the terms).

    Examples
    --------
    >>> kappa2_lower_bound((2, 2, 2), 8, 0.0)
    1.0
    """
    if rank < 1:
        raise StlError("rank", rank, "1, 2, …", "pass a rank")
    return (1 - eps2) ** 2 * prod(fmt) / rank
