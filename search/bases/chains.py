"""Short straight-line programs for matrices: addition chains with cancellation, over Z or GF(2).

The rows of a matrix are the sums to be computed. A chain adds or subtracts two vectors it already has; a row that is
such a sum is taken at once, since it costs its one addition anyway (closure), so what a search decides is only which
*extra* sums are needed: none, one, two … exactly (`exact_extras`), or by annealing (`chain`). A matrix whose transpose
has a chain of length A costs A + inputs − outputs (transposition principle), so D is treated through Dᵀ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError
from stl_algebra.straightline import Program, Step, share, transposed

from ._chains import SIZE, closure, extras

__all__ = ["chain", "encoder_chains", "exact_extras", "total_additions"]

Array = NDArray[Any]
LIMIT = 96


def _numbers(width: int, mod2: bool) -> Array:
    """The random number of every coordinate, fixed for a width."""
    if mod2 and width <= 62:
        return 1 << np.arange(width, dtype=np.int64)
    return np.random.default_rng([width, 64]).integers(-(2**62), 2**62, width, dtype=np.int64)


def _hash(rows: Array, numbers: Array, mod2: bool) -> Array:
    """The canonical number of every row."""
    if mod2:
        return np.bitwise_xor.reduce(np.where(rows % 2 != 0, numbers, 0), axis=1)
    h = (rows.astype(np.int64) * numbers).sum(axis=1)
    return np.asarray(np.abs(h))


def _goals(matrix: Array, mod2: bool) -> tuple[Array, Array, Array]:
    """Numbers of the units, of the different sums needed, and of every row (rows primitive)."""
    rows = np.asarray(matrix).astype(np.int64)
    rows = rows % 2 if mod2 else rows // np.maximum(np.gcd.reduce(rows, axis=1), 1)[:, None]
    numbers = _numbers(rows.shape[1], mod2)
    h = _hash(rows, numbers, mod2)
    units = np.abs(numbers)
    return units, np.setdiff1d(h, np.append(units, 0)), h


class _Table:
    """Work space of `closure`."""

    def __init__(self, count: int) -> None:
        self.reached = np.zeros(count + 1, dtype=np.bool_)
        self.order = np.zeros(count + 2, dtype=np.int64)
        self.keys = np.zeros(SIZE, dtype=np.int64)
        self.stamps = np.zeros(SIZE, dtype=np.int64)
        self.stamp = 0

    def run(self, units: Array, goals: Array, mod2: bool) -> int:
        """Number of goals that are not reached; `order` lists the others."""
        self.stamp += 1
        return int(
            closure(units, goals, len(goals), mod2, self.reached, self.order, self.keys, self.stamps, self.stamp)
        )


def _sums(values: Array, mod2: bool) -> Array:
    """All canonical sums and differences of two different values, and doubles."""
    a, b = values[:, None], values[None, :]
    both = (a ^ b).ravel() if mod2 else np.abs(np.concatenate([(a + b).ravel(), (a - b).ravel()]))
    return np.setdiff1d(both, np.append(values, 0))


def exact_extras(matrix: Array, mod2: bool = False, most: int = 2) -> list[int] | None:
    """Return a smallest set of extra sums (their numbers) that make all rows reachable, of at most `most` sums.

    Iterative deepening over the number of extras: with the closure taken after each, and with the last one drawn
    from the sums that reach a missing row, this is exhaustive over chains of steps ±x ± y.

    Returns
    -------
    list of int or None
        None when no set of at most `most` sums exists: the matrix then needs more than its different rows + `most`
        additions.
    """
    units, goals, _ = _goals(matrix, mod2)

    def deepen(extra: list[int], left: int) -> list[int] | None:
        whole = np.concatenate([goals, np.array(extra, dtype=np.int64)])
        table = _Table(len(whole))
        missing = table.run(units, whole, mod2)
        if not missing:
            return extra
        if not left:
            return None
        done = table.reached[: len(whole)]
        have = np.concatenate([units, whole[done]])
        near = _sums(have, mod2)
        if left == 1:  # the last extra has to bring a missing row within reach
            gone = whole[~done]
            a, b = gone[:, None], have[None, :]
            useful = (a ^ b).ravel() if mod2 else np.abs(np.concatenate([(a + b).ravel(), (a - b).ravel()]))
            near = np.intersect1d(near, useful)
        for z in near.tolist():
            found = deepen([*extra, z], left - 1)
            if found is not None:
                return found
        return None

    for count in range(most + 1):
        found = deepen([], count)
        if found is not None:
            return found
    return None


def chain(matrix: Array, mod2: bool = False, effort: int = 20_000, restarts: int = 4, seed: int = 0) -> Program:
    """Return a short program for the rows of a matrix, at least as short as pair extraction gives.

    Parameters
    ----------
    matrix : int array (rows, columns)
        Rows are outputs; over GF(2) entries count modulo 2.
    mod2 : bool
        Additions are exclusive ors.
    effort, restarts, seed : int
        Steps of annealing in each restart.

    Returns
    -------
    Program
        Expanded and compared with the matrix. Rows with a common factor cost a scaling of the output.

    Examples
    --------
    >>> chain(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])).additions
    3
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.dtype.kind not in "iuO":
        raise StlError("matrix", f"{matrix.dtype} {matrix.shape}", "a two-dimensional array of integers")
    units, goals, hashes = _goals(matrix, mod2)
    best: Array | None = None
    seeds = [_extras_of(share(matrix, seed, 4), matrix, units, goals, mod2)] if not mod2 else []
    for turn in range(max(1, restarts)):
        start = best if best is not None and turn % 2 else (seeds[0] if seeds else np.zeros(0, dtype=np.int64))
        out = np.zeros(LIMIT, dtype=np.int64)
        found = extras(units, goals, start, effort, 0.6, 0.08, seed + turn, mod2, out)
        if found >= 0 and (best is None or found < len(best)):
            best = out[:found].copy()
    if best is None:
        return share(matrix, seed)
    program = _program(matrix, units, goals, hashes, best, mod2)
    other = share(matrix, seed) if not mod2 else program
    return other if other.additions < program.additions else program


def _extras_of(program: Program, matrix: Array, units: Array, goals: Array, mod2: bool) -> Array:
    """The sums of a program that are no rows."""
    values = program.matrix_of_steps()
    rows = np.array([[int(v) for v in row] for row in values if all(v.denominator == 1 for v in row)], dtype=np.int64)
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    h = _hash(rows.reshape(-1, matrix.shape[1]), _numbers(matrix.shape[1], mod2), mod2)
    return np.setdiff1d(h, np.concatenate([units, goals, [0]]))[:LIMIT]


def _program(matrix: Array, units: Array, goals: Array, hashes: Array, extra: Array, mod2: bool) -> Program:
    """Write down the steps of a chain through the goals and the extras, without those that nothing needs."""
    whole = np.concatenate([goals, extra])
    table = _Table(len(whole))
    table.run(units, whole, mod2)
    if not table.reached[: len(goals)].all():  # extras may be out of reach, and are then of no use
        raise AssertionError("a chain that misses a row")
    width = matrix.shape[1]
    numbers = _numbers(width, mod2)
    vectors = [np.eye(width, dtype=np.int64)[i] for i in range(width)]
    place = {int(h): i for i, h in enumerate(np.abs(numbers).tolist())}
    parents: list[tuple[int, int, int]] = []
    for k in table.order.tolist():
        if k < 0:
            break
        t = int(whole[k])
        for x in place:
            y = t ^ x if mod2 else _folded(t - x)
            if y not in place and not mod2:
                y = _folded(t + x)
            if y in place:
                break
        parents.append(_signed(vectors, place[x], place[y], t, numbers, mod2))
        left, right, sign = parents[-1]
        total = vectors[left] + sign * vectors[right]
        vectors.append(total % 2 if mod2 else total)
        place[t] = len(vectors) - 1
    rows = matrix.astype(np.int64) % 2 if mod2 else matrix.astype(np.int64)
    outputs: list[tuple[int, Fraction] | None] = []
    for row, h in zip(rows, hashes.tolist(), strict=True):
        if not row.any():
            outputs.append(None)
            continue
        at = place[int(h)]
        lead = int(np.flatnonzero(vectors[at])[0])
        outputs.append((at, Fraction(int(row[lead]), int(vectors[at][lead]))))
    naive = int(np.maximum(np.count_nonzero(rows, axis=1) - 1, 0).sum())
    program = _pruned(width, parents, outputs, naive)
    made = np.array([[int(v) for v in r] for r in program.matrix()], dtype=object)
    if ((made - rows) % 2 if mod2 else made - rows).any():
        raise AssertionError("a chain that computes another matrix")
    return program


def _signed(vectors: Sequence[Array], i: int, j: int, goal: int, numbers: Array, mod2: bool) -> tuple[int, int, int]:
    """The step ±: which combination of two vectors has the number wanted."""
    if mod2:
        return i, j, 1
    for sign in (1, -1):
        if abs(int(((vectors[i] + sign * vectors[j]) * numbers).sum())) == goal:
            return i, j, sign
    raise AssertionError("no sign")


def _folded(value: int) -> int:
    """The canonical number of an integer: reduced modulo 2⁶⁴ to a signed word, without its sign."""
    return abs((value + 2**63) % 2**64 - 2**63)


def _pruned(
    inputs: int, steps: list[tuple[int, int, int]], outputs: list[tuple[int, Fraction] | None], naive: int
) -> Program:
    """Leave out steps that no output needs."""
    needed = {o[0] for o in outputs if o}
    for k in range(len(steps) - 1, -1, -1):
        if inputs + k in needed:
            needed |= {steps[k][0], steps[k][1]}
    name = {i: i for i in range(inputs)}
    kept: list[Step] = []
    for k, (left, right, sign) in enumerate(steps):
        if inputs + k in needed:
            name[inputs + k] = inputs + len(kept)
            kept.append(Step(name[left], name[right], Fraction(sign)))
    return Program(inputs, tuple(kept), tuple((name[o[0]], o[1]) if o else None for o in outputs), naive)


def encoder_chains(encoder: Encoder, effort: int = 20_000, restarts: int = 4, seed: int = 0) -> list[Program]:
    """Return short programs for E_X, E_W and D of an encoder over Z, Z[1/2], Q or GF(2).

    The scale of a term may sit at any of its factors: the programs are those of primitive rows, with the most frequent
    scale at the outputs of D and the others' ratio to it at the outputs of E_X, which takes fewest scalings.
    """
    ring = encoder.ring
    if ring.degree > 1 or not ring.exact or ring.characteristic not in (0, 2):
        raise StlError("ring", ring.name, "Z, Z[1/2], Q or GF(2)")
    mod2 = ring.characteristic == 2
    rows = [np.asarray(f.num).astype(object) for f in encoder.factors]
    rows[2] = rows[2].T
    common = [np.array([max(1, gcd(*map(int, row))) for row in f], dtype=object) for f in rows]
    programs = [
        chain((f // g[:, None]).astype(np.int64), mod2, effort, restarts, seed)
        for f, g in zip(rows, common, strict=True)
    ]
    programs[2] = transposed(programs[2], encoder.rank)
    if mod2:
        return programs
    scales = (common[0] * common[1] * common[2]).tolist()
    usual = Counter(scales).most_common(1)[0][0]
    whole = Fraction(usual, encoder.e_x.den * encoder.e_w.den * encoder.d.den)
    x, d = programs[0], programs[2]
    scaled = tuple((o[0], o[1] * Fraction(s, usual)) if o else None for o, s in zip(x.outputs, scales, strict=True))
    programs[0] = replace(x, outputs=scaled)
    programs[2] = replace(d, outputs=tuple((o[0], o[1] * whole) if o else None for o in d.outputs))
    return programs


def total_additions(encoder: Encoder, effort: int = 20_000, restarts: int = 4, seed: int = 0) -> int:
    """Additions of the three programs of `encoder_chains` together."""
    return sum(p.additions for p in encoder_chains(encoder, effort, restarts, seed))
