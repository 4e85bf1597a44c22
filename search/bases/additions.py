"""Fewer additions: unimodular changes of basis that make the factors sparse, and sparse alternative bases.

Two different freedoms are used. Changes of basis of the three spaces keep the encoder an encoder of the
same target (`sparsest`). An *alternative basis* is any invertible matrix on the inputs or outputs of one
factor, ``E_X = E'_X φ``: the transformation φ is applied to whole matrices once, so in a recursion only the
sparse E'_X counts (Karstadt and Schwartz, "Matrix multiplication, a little faster", 2017).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError
from stl_algebra.straightline import additions

from ..bases.accuracy import improved

__all__ = ["AlternativeBasis", "Sparse", "alternative_basis", "sparsest"]

Array = NDArray[Any]
Stack = tuple[Array, Array, Array]
PRIME = 2_147_483_629  # below 2³¹: products of two residues fit into int64


@dataclass(frozen=True)
class Sparse:
    """An encoder in a basis with fewer additions.

    Attributes
    ----------
    encoder : Encoder
    naive, shared : int
        Additions row by row and after sharing subexpressions, all three factors together.
    """

    encoder: Encoder
    naive: int
    shared: int


def _count(mats: Stack) -> int:
    return sum(int(np.count_nonzero(m)) for m in mats)


def _cost(mats: Stack) -> float:
    """Return non-zeros, plus a little for every entry beyond ±1 (it costs a scaling or a second addition)."""
    return float(sum(np.count_nonzero(m) + 0.4 * (np.abs(m) > 1).sum() for m in mats))


def _step(mats: list[Array], k: int, i: int, j: int, c: int) -> None:
    """Apply S_k = I + c·E_ij in place: rows of factor k, columns of factor k−1."""
    mats[k][:, i, :] += c * mats[k][:, j, :]
    mats[k - 1][:, :, j] -= c * mats[k - 1][:, :, i]


def _integer_stacks(encoder: Encoder) -> Stack:
    """Return the factor matrices with every vector scaled to coprime integers."""
    if encoder.ring.degree > 1 or encoder.ring.characteristic or not encoder.ring.exact:
        raise StlError("ring", encoder.ring.name, "Z, Z[1/2] or Q")
    n, m, p = encoder.format
    r = encoder.rank
    out = []
    for num in (encoder.e_x.num, encoder.e_w.num, encoder.d.num.T):
        g = np.array([max(1, int(np.gcd.reduce(row))) for row in num], dtype=num.dtype)
        rows = num // g[:, None]
        if max(abs(int(rows.min())), abs(int(rows.max()))) > 2**20:
            raise StlError(
                "factors",
                "entries above 2^20",
                "small coefficients",
                "Minimise additions before κ², in the scheme's sparse basis.",
            )
        out.append(rows.astype(np.int64))
    return (
        out[0].reshape(r, n, m),
        out[1].reshape(r, m, p),
        np.ascontiguousarray(out[2].reshape(r, n, p).swapaxes(1, 2)),
    )


def sparsest(encoder: Encoder, seconds: float = 10.0, seed: int = 0, keep: int = 1500) -> list[Sparse]:
    """Search the unimodular changes of basis for encoders with fewer additions.

    Simulated annealing over elementary operations ``S = I ± E_ij`` in the three spaces minimises the number
    of non-zeros; the sparsest encoders met are then compared by additions after sharing subexpressions.

    Parameters
    ----------
    encoder : Encoder
        Over Z, Z[1/2] or Q with small coefficients.
    seconds : float
        Half for the annealing, half for sharing subexpressions.
    seed : int
    keep : int
        How many of the sparsest encoders are remembered; as many as time allows are compared, sparsest first.

    Returns
    -------
    list of Sparse
        The encoder given first, then strict improvements by (shared, naive), best last.
    """
    rng = np.random.default_rng(seed)
    start = _integer_stacks(encoder)
    dims = [m.shape[1] for m in start]
    moves = [(k, i, j) for k in range(3) for i in range(dims[k]) for j in range(dims[k]) if i != j]
    given = Sparse(encoder, *_additions(encoder))
    pool: dict[bytes, tuple[float, list[Array]]] = {}

    def note(mats: list[Array], bases: list[Array], cost: float) -> None:
        key = b"".join(np.abs(m).astype(np.int32).tobytes() for m in mats)
        if key not in pool:
            pool[key] = cost, [b.copy() for b in bases]
            if len(pool) > 2 * keep:
                for worst in sorted(pool, key=lambda q: -pool[q][0])[:keep]:
                    del pool[worst]

    best: tuple[float, list[Array], list[Array]] | None = None
    begun = time.monotonic()
    reduced = _shorten(start, moves)
    deadline = begun + seconds / 2
    while moves and time.monotonic() < deadline:
        if best is None or rng.random() < 0.3:
            mats, bases = [m.copy() for m in reduced[0]], [b.copy() for b in reduced[1]]
        else:
            mats, bases = [m.copy() for m in best[1]], [b.copy() for b in best[2]]
        cost = _cost((mats[0], mats[1], mats[2]))
        note(mats, bases, cost)
        heat = float(rng.choice([2.0, 6.0, 15.0]))
        sweeps = 400 * len(moves) // max(1, len(moves) // 24)
        for sweep in range(sweeps):
            if sweep % 64 == 0 and time.monotonic() > deadline:
                break
            temperature = heat * (1 - sweep / sweeps) + 1e-3
            k, i, j = moves[int(rng.integers(len(moves)))]
            c = int(rng.choice([-1, 1]))
            _step(mats, k, i, j, c)
            new = _cost((mats[0], mats[1], mats[2]))
            if new <= cost or rng.random() < exp((cost - new) / temperature):
                bases[k][i] += c * bases[k][j]
                cost = new
                note(mats, bases, cost)
                if best is None or cost < best[0]:
                    best = cost, [m.copy() for m in mats], [b.copy() for b in bases]
            else:
                _step(mats, k, i, j, -c)
    out = [given]
    tried = 0
    for _, bases in sorted(pool.values(), key=lambda t: t[0]):
        if tried >= 4 and time.monotonic() > begun + seconds:
            break
        tried += 1
        p, q, r = ([[int(v) for v in row] for row in b.T] for b in bases)
        moved = encoder.change_basis(p, q, r)
        naive, shared = _additions(moved, restarts=1)
        if shared > out[-1].shared + out[-1].shared // 20:
            continue
        naive, shared = _additions(moved)
        if (shared, naive) < (out[-1].shared, out[-1].naive):
            out.append(Sparse(improved(encoder, moved, objective="additions"), naive, shared))
    return out


def _shorten(start: Stack, moves: list[tuple[int, int, int]]) -> tuple[list[Array], list[Array]]:
    """Return factor matrices of locally least sum of squares under the moves, and the bases that give them.

    The sum of squares is what a lattice reduction lowers: from a dense basis it leads close to a sparse one
    in few steps, where the number of non-zeros shows no direction.
    """
    mats = [m.copy() for m in start]
    bases = [np.eye(m.shape[1], dtype=np.int64) for m in start]
    size = sum(int((m.astype(np.float64) ** 2).sum()) for m in mats)
    improved_once = True
    while improved_once:
        improved_once = False
        for k, i, j in moves:
            for c in (-1, 1):
                _step(mats, k, i, j, c)
                now = sum(int((m.astype(np.float64) ** 2).sum()) for m in mats)
                if now < size:
                    size, improved_once = now, True
                    bases[k][i] += c * bases[k][j]
                else:
                    _step(mats, k, i, j, -c)
    return mats, bases


def _additions(encoder: Encoder, restarts: int = 6) -> tuple[int, int]:
    """Return additions of all three factors row by row and after sharing."""
    counts = [additions(f.num, restarts=restarts) for f in encoder.factors]
    return sum(c[0] for c in counts), sum(c[1] for c in counts)


@dataclass(frozen=True)
class AlternativeBasis:
    """A factor written as sparse · φ (for D: φ · sparse).

    Attributes
    ----------
    basis : list of lists of Fraction
        φ, square and invertible.
    sparse : list of lists of Fraction
        The sparse factor, of the factor's shape.
    nonzeros : int
        Of the sparse factor.
    additions : int
        Of the sparse factor, after sharing.
    """

    basis: list[list[Fraction]]
    sparse: list[list[Fraction]]
    nonzeros: int
    additions: int


def alternative_basis(matrix: Array, seed: int = 0, restarts: int = 20, outputs: bool = False) -> AlternativeBasis:
    """Find rows of a tall matrix that, taken as basis, make the others as sparse as possible.

    Parameters
    ----------
    matrix : int array (rows, columns)
        Of full column rank: E_X, E_W, or D transposed.
    seed, restarts : int
        Random independent sets of rows improved by single exchanges.
    outputs : bool
        The matrix is D transposed: count the additions of the transposed sparse factor.

    Returns
    -------
    AlternativeBasis
        With ``sparse · basis = matrix`` exactly.

    Raises
    ------
    StlError
        For a matrix without full column rank.
    """
    from flint import fmpq_mat, fmpz_mat

    rows, columns = matrix.shape
    whole = fmpz_mat(rows, columns, [int(v) for v in matrix.ravel()])
    if whole.rank() < columns:
        raise StlError("matrix", f"rank {whole.rank()}", f"full column rank {columns}")
    rng = np.random.default_rng(seed)
    residues = np.array([[int(v) % PRIME for v in row] for row in matrix.tolist()], dtype=np.int64)
    best: tuple[int, list[int]] | None = None
    for _ in range(restarts):
        chosen, table = _reduced(residues, rng.permutation(rows))
        count = int(np.count_nonzero(table))
        while True:
            trial = _exchange(table, chosen, count)
            if trial is None:
                break
            table, chosen, count = trial
        if best is None or count < best[0]:
            best = count, chosen
    assert best is not None
    square = fmpz_mat(columns, columns, [int(v) for i in best[1] for v in matrix[i]])
    exact = fmpq_mat(whole) * fmpq_mat(square).inv()
    sparse = [[Fraction(int(exact[i, j].p), int(exact[i, j].q)) for j in range(columns)] for i in range(rows)]
    basis = [[Fraction(int(v)) for v in matrix[i]] for i in best[1]]
    ints = []
    for row in sparse:
        den = int(np.lcm.reduce([v.denominator for v in row]))
        ints.append([int(v * den) for v in row])
    table = np.array(ints).T if outputs else np.array(ints)
    return AlternativeBasis(basis, sparse, sum(v != 0 for row in sparse for v in row), additions(table)[1])


def _reduced(matrix: Array, order: Array) -> tuple[list[int], Array]:
    """Return the first independent rows in the given order and matrix · (those rows)⁻¹ modulo PRIME."""
    table = matrix.copy()
    place = [-1] * matrix.shape[1]
    for i in order:
        if -1 not in place:
            break
        free = [j for j, owner in enumerate(place) if owner < 0 and table[i, j]]
        if free:
            table = _pivot(table, int(i), free[0])
            place[free[0]] = int(i)
    return place, table


def _pivot(table: Array, i: int, j: int) -> Array:
    """Column operations that make row i the unit vector j."""
    inverse = pow(int(table[i, j]), -1, PRIME)
    column = table[:, j] * inverse % PRIME
    out = (table - column[:, None] * table[i]) % PRIME
    out[:, j] = column
    return out


def _exchange(table: Array, chosen: list[int], count: int) -> tuple[Array, list[int], int] | None:
    """Return the best exchange of one basis row that lowers the number of non-zeros, or None."""
    best: tuple[Array, list[int], int] | None = None
    for i, j in zip(*np.nonzero(table), strict=True):
        if int(i) in chosen:
            continue
        moved = _pivot(table, int(i), int(j))
        now = int(np.count_nonzero(moved))
        if now < (count if best is None else best[2]):
            places = list(chosen)
            places[int(j)] = int(i)
            best = moved, places, now
    return best
