"""Uniquely solvable puzzles (Cohn, Kleinberg, Szegedy and Umans 2005), found through SAT, verified without it.

A puzzle of width k is a set of rows over {1, 2, 3}. For rows u, v, w look at the columns i and at how many of
u_i = 1, v_i = 2, w_i = 3 hold. The puzzle is

* *strong* if for permutations π₁, π₂, π₃ of its rows, not all equal, some row u has a column where exactly two of them
  hold for π₁(u), π₂(u), π₃(u);
* *local* if already any three rows, not all equal, have such a column.

A local puzzle gives simultaneous products: in A^k, A an abelian group of order l, row u stands for the sets of vectors
that are nonzero where u is 1, where it is 2, where it is 3, a product ⟨(l−1)^#1, (l−1)^#2, (l−1)^#3⟩; all of them
together cost l^k complex products. The rows 123 and 312 give two 7×7×7 products in 512 with l = 8.

The search: one variable for each cell and digit, one for each three rows and column where exactly two may hold. Local
puzzles are one formula; for strong ones, permutations that a candidate does not survive are found by matching and
forbidden, until a candidate survives or none is left (then there is none: the formula has said so). Row r may be tied
to a row of the same puzzle by a permutation of columns and digits, which makes large puzzles findable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import StlError, group

__all__ = ["KINDS", "LARGEST_STRONG", "Tie", "find_puzzle", "is_puzzle", "read_puzzle", "triples_of", "unsolved"]

KINDS = ("strong", "local")
#: Sizes of the largest strong puzzles known by width (Cohn et al. 2005; Anderson, Ji and Xu 2020).
LARGEST_STRONG = {1: 1, 2: 2, 3: 3, 4: 5, 5: 8, 6: 14, 7: 23, 8: 35, 9: 52, 10: 78, 11: 128, 12: 196}

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Tie:
    """A symmetry imposed on a puzzle: digit of row ρ(r), column σ(c) = τ(digit of row r, column c).

    Attributes
    ----------
    rows, columns : tuple of int
        ρ and σ.
    digits : (int, int, int)
        τ on 0, 1, 2, which stand for the digits 1, 2, 3.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    digits: tuple[int, int, int]


def read_puzzle(rows: Sequence[str]) -> Rows:
    """Rows such as ``"1123"`` as an array (size, width) of 0, 1, 2.

    Raises
    ------
    StlError
        For other digits, different lengths or a row that comes twice.
    """
    good = bool(rows) and all(isinstance(r, str) and r and set(r) <= set("123") for r in rows)
    if not good or len({len(r) for r in rows}) != 1 or len(set(rows)) != len(rows):
        raise StlError("rows", rows, "different words of one length over 1, 2, 3")
    return np.array([[int(v) - 1 for v in row] for row in rows], dtype=np.int64)


def unsolved(puzzle: Rows) -> NDArray[np.bool_]:
    """[u, v, w]: whether no column has exactly two of u_i = 1, v_i = 2, w_i = 3; shape (s, s, s)."""
    one, two, three = ((puzzle == v).astype(np.int64) for v in range(3))
    count = one[:, None, None, :] + two[None, :, None, :] + three[None, None, :, :]
    return ~(count == 2).any(axis=-1)


def _matching(free: NDArray[np.bool_]) -> list[tuple[int, int]] | None:
    """(π₂(r), π₃(r)) for every row r with free[r, π₂(r), π₃(r)], other than the identity; None if there is none."""
    size = len(free)
    choices = [[(int(v), int(w)) for v, w in np.argwhere(free[r])] for r in range(size)]
    order = sorted(range(size), key=lambda r: len(choices[r]))
    dead: set[tuple[int, int, int, bool]] = set()

    def extend(depth: int, used: int, taken: int, moved: bool) -> list[tuple[int, int]] | None:
        if depth == size:
            return [] if moved else None
        state = (depth, used, taken, moved)
        if state in dead:
            return None
        row = order[depth]
        for v, w in choices[row]:
            if not (used >> v & 1 or taken >> w & 1):
                rest = extend(depth + 1, used | 1 << v, taken | 1 << w, moved or v != row or w != row)
                if rest is not None:
                    return [(v, w), *rest]
        dead.add(state)
        return None

    found = extend(0, 0, 0, False)
    if found is None:
        return None
    out = [(0, 0)] * size
    for row, pair in zip(order, found, strict=True):
        out[row] = pair
    return out


def is_puzzle(rows: Sequence[str], kind: str = "strong") -> bool:
    """Whether rows make a strong or local uniquely solvable puzzle, by exhaustive matching.

    Examples
    --------
    >>> is_puzzle(["123", "312"], "local"), is_puzzle(["11", "22"])
    (True, False)
    """
    if kind not in KINDS:
        raise StlError("kind", kind, ", ".join(KINDS))
    free = unsolved(read_puzzle(rows))
    if kind == "local":
        return int(free.sum()) == len(rows)  # every row with itself, and nothing else
    return _matching(free) is None


def triples_of(rows: Sequence[str], name: str) -> tuple[str, list[tuple[list[int], list[int], list[int]]]]:
    """The triples of subsets of A^k that a puzzle stands for, and the name of that group.

    Parameters
    ----------
    rows : words over 1, 2, 3
    name : str
        Of the abelian group A; its identity is its first element.

    Returns
    -------
    name, triples : of A^k, and subsets S, T, U for each row
    """
    puzzle, a = read_puzzle(rows), group(name)
    if not a.is_abelian or a.identity != 0:
        raise StlError("group", name, "an abelian group")
    width = puzzle.shape[1]
    whole = "x".join([name] * width)
    g = group(whole)
    moved = range(1, a.order)
    triples = []
    for row in puzzle:
        sets = []
        for digit in range(3):
            places = [moved if v == digit else (0,) for v in row]
            sets.append([_index(values, a.order) for values in product(*places)])
        triples.append((sets[0], sets[1], sets[2]))
    if g.order != a.order**width:
        raise StlError("group", whole, f"a group of order {a.order**width}")
    return whole, triples


def _index(values: Sequence[int], order: int) -> int:
    """Direct products number their elements with the last factor fastest."""
    out = 0
    for v in values:
        out = out * order + v
    return out


class _Formula:
    """The SAT formula: digits of the cells, and columns that solve three rows."""

    def __init__(self, width: int, size: int, tie: Tie | None) -> None:
        self.width, self.size = width, size
        self.clauses: list[list[int]] = []
        self.names: dict[Any, int] = {}
        self.cells = np.arange(1, size * width * 3 + 1).reshape(size, width, 3)
        if tie is not None:
            self._tie(tie)
        self.count = size * width * 3
        for r, c in product(range(size), range(width)):
            x = self.cells[r, c]
            self.clauses += [[int(v) for v in x], *([-int(x[i]), -int(x[j])] for i, j in ((0, 1), (0, 2), (1, 2)))]
        if tie is None:
            for r in range(size - 1):
                self._ordered(r)

    def _tie(self, tie: Tie) -> None:
        """Cells that have to agree get the same variable."""
        changed = True
        while changed:
            image = np.empty_like(self.cells)
            image[np.ix_(tie.rows, tie.columns, tie.digits)] = self.cells
            least = np.minimum(image, self.cells)
            changed = bool((least != self.cells).any())
            self.cells = least

    def _new(self) -> int:
        self.count += 1
        return self.count

    def _ordered(self, r: int) -> None:
        """Row r before row r + 1 as words (rows are distinct, and their order means nothing)."""
        equal = 0  # variable: equal so far (0: nothing compared yet)
        for c in range(self.width):
            x, y = self.cells[r, c], self.cells[r + 1, c]
            off = [-equal] if equal else []
            for v, w in ((1, 0), (2, 0), (2, 1)):
                self.clauses.append([*off, -int(x[v]), -int(y[w])])
            after = self._new()  # forced where both are equal
            for v in range(3):
                self.clauses.append([*off, -int(x[v]), -int(y[v]), after])
            equal = after
        self.clauses.append([-equal])

    def solves(self, u: int, v: int, w: int) -> list[int]:
        """Variables that say that a column solves these three rows: any of them will do."""
        found = []
        for c in range(self.width):
            three = tuple(sorted(int(x) for x in (self.cells[u, c, 0], self.cells[v, c, 1], self.cells[w, c, 2])))
            if three not in self.names:
                self.names[three] = t = self._new()
                p, q, s = three
                self.clauses += [[-t, p, q], [-t, p, s], [-t, q, s], [-t, -p, -q, -s]]
            found.append(self.names[three])
        return found


def _small_moves(size: int) -> Iterator[list[tuple[int, int, int]]]:
    """(r, π₂(r), π₃(r)) for all pairs of permutations that move two or three rows: most candidates fail one of them."""
    for count in (2, 3) if size <= 24 else (2,):
        for rows in combinations(range(size), count):
            turned = list(permutations(rows))
            for two, three in product(turned, turned):
                moved = [v for v in zip(rows, two, three, strict=True) if not v[0] == v[1] == v[2]]
                if len(moved) == count:
                    yield moved


def find_puzzle(
    width: int, size: int, kind: str = "strong", seconds: float = 60.0, tie: Tie | None = None, seed: int = 0
) -> list[str] | None:
    """A puzzle of this width and size; None if there is none (with this tie).

    Parameters
    ----------
    width, size : int
    kind : "strong" or "local"
    seconds : float
    tie : Tie, optional
        A symmetry to impose.
    seed : int
        Of the first polarities.

    Raises
    ------
    StlError
        If python-sat is missing, or for a kind there is not.
    TimeoutError
        If neither has been established in time.

    Examples
    --------
    >>> find_puzzle(2, 3) is None, len(find_puzzle(3, 3))
    (True, 3)
    """
    if kind not in KINDS:
        raise StlError("kind", kind, ", ".join(KINDS))
    if not 1 <= width <= 12 or not 1 <= size <= 200:
        raise StlError("width, size", (width, size), "1 to 12 and 1 to 200")
    formula = _Formula(width, size, tie)
    if kind == "local":
        for u, v, w in product(range(size), repeat=3):
            if not u == v == w:
                formula.clauses.append(formula.solves(u, v, w))
    else:
        for moves in _small_moves(size):
            formula.clauses.append([t for three in moves for t in formula.solves(*three)])
    end = time.monotonic() + seconds
    for puzzle in _candidates(formula, end, seed):
        pairs = None if kind == "local" else _matching(unsolved(puzzle))
        if pairs is None:
            rows = ["".join(str(v + 1) for v in row) for row in puzzle]
            if not is_puzzle(rows, kind):
                raise AssertionError("the formula and the verification disagree")
            return rows
        moved = [(r, v, w) for r, (v, w) in enumerate(pairs) if not r == v == w]
        formula.clauses.append([t for three in moved for t in formula.solves(*three)])
    return None


def _candidates(formula: _Formula, end: float, seed: int) -> Iterator[Rows]:
    """Models of a formula that grows between them."""
    try:
        from pysat.solvers import Solver
    except ImportError:
        raise StlError("python-sat", "not installed", "it", "pip install 'stl-algebra[sat]'") from None
    from threading import Timer

    rng = np.random.default_rng(seed)
    with Solver(name="glucose4") as solver:
        done = 0
        flat = np.unique(formula.cells)
        solver.set_phases([int(v) * (1 if rng.random() < 0.4 else -1) for v in flat])
        while True:
            for clause in formula.clauses[done:]:
                solver.add_clause(clause)
            done = len(formula.clauses)
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("neither a puzzle nor a proof that there is none in time")
            timer = Timer(left, solver.interrupt)
            timer.start()
            answer = solver.solve_limited(expect_interrupt=True)
            timer.cancel()
            if answer is None:
                raise TimeoutError("neither a puzzle nor a proof that there is none in time")
            if not answer:
                return
            true = {v for v in solver.get_model() or [] if v > 0}
            digits = np.isin(formula.cells, list(true))
            yield digits.argmax(axis=2)
