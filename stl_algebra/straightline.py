"""Straight-line programs for matrix–vector products: additions before and after sharing subexpressions.

A matrix M (rows = outputs, columns = inputs) is evaluated naively with nnz(row) − 1 additions per non-zero
row. Sharing replaces a two-term sum ``x_i + c·x_j`` that occurs in several rows by one new variable (Paar's
greedy heuristic, with randomised restarts). Additions and subtractions count one each; scalings, by ±1 or
by other constants, are counted apart, since the project's cost is additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StlError

__all__ = ["Program", "Step", "additions", "share", "source", "transposed"]

Array = NDArray[Any]
RESTARTS = 8


@dataclass(frozen=True)
class Step:
    """``variable = left + factor · right``: one addition (left and right are earlier variables)."""

    left: int
    right: int
    factor: Fraction


@dataclass(frozen=True)
class Program:
    """A straight-line program that evaluates a matrix–vector product.

    Attributes
    ----------
    inputs : int
        Number of inputs; they are the variables 0 .. inputs-1.
    steps : tuple of Step
        Step k defines variable inputs + k.
    outputs : tuple of (variable, factor), or None for a zero row
        What every row of the matrix equals.
    naive : int
        Additions of the row-by-row evaluation.
    """

    inputs: int
    steps: tuple[Step, ...]
    outputs: tuple[tuple[int, Fraction] | None, ...]
    naive: int

    @property
    def additions(self) -> int:
        """Number of additions and subtractions."""
        return len(self.steps)

    @property
    def scalings(self) -> int:
        """Number of multiplications by constants other than ±1."""
        factors = [s.factor for s in self.steps] + [o[1] for o in self.outputs if o]
        return sum(abs(f) != 1 for f in factors)

    def _values(self) -> list[list[Fraction]]:
        """Every variable as a combination of the inputs."""
        values = [[Fraction(int(i == j)) for j in range(self.inputs)] for i in range(self.inputs)]
        for s in self.steps:
            values.append([a + s.factor * b for a, b in zip(values[s.left], values[s.right], strict=True)])
        return values

    def matrix_of_steps(self) -> list[list[Fraction]]:
        """What every step computes, as combinations of the inputs."""
        return self._values()[self.inputs :]

    def matrix(self) -> list[list[Fraction]]:
        """Expand the program back into the matrix it evaluates (the proof that it is right)."""
        values = self._values()
        zero = [Fraction(0)] * self.inputs
        return [[o[1] * v for v in values[o[0]]] if o else zero for o in self.outputs]

    def lines(self, name: str = "x", result: str = "y") -> list[str]:
        """Return the program as readable assignments, one per line."""

        def variable(k: int) -> str:
            return f"{name}{k}" if k < self.inputs else f"t{k - self.inputs}"

        def signed(f: Fraction, v: str) -> str:
            sign, size = ("-" if f < 0 else "+"), abs(f)
            return f"{sign} {v}" if size == 1 else f"{sign} {size}·{v}"

        out = []
        for k, s in enumerate(self.steps):
            out.append(f"t{k} = {variable(s.left)} {signed(s.factor, variable(s.right))}")
        for k, o in enumerate(self.outputs):
            out.append(f"{result}{k} = 0" if o is None else f"{result}{k} = {signed(o[1], variable(o[0]))}")
        return out


def source(programs: Sequence[Program], language: str = "python", name: str = "multiply") -> str:
    """Return the programs of E_X, E_W and D as one function in Python or C.

    Parameters
    ----------
    programs : three Programs
        For E_X, E_W and D.
    language : {"python", "c"}
        Python: ``multiply(a, b)`` on flat lists of anything with ``+ - *``, blocks of matrices too. C: ``double``
        arrays, ``void multiply(const double *a, const double *b, double *c)``.
    name : str
        Name of the function.

    Returns
    -------
    str

    Examples
    --------
    >>> from stl_algebra import schemes
    >>> text = source([share(f.num) for f in schemes.strassen().factors])
    >>> space = {}
    >>> exec(text, space)
    >>> space["multiply"]([1, 2, 3, 4], [5, 6, 7, 8])
    [19, 22, 43, 50]
    """
    if language not in ("python", "c"):
        raise StlError("language", language, "python or c")
    c = language == "c"
    counts = [p.additions for p in programs]
    head = f"{sum(counts)} additions ({counts[0]} + {counts[1]} + {counts[2]}), {len(programs[0].outputs)} products"
    lines: list[str] = []

    def emit(target: str, text: str) -> None:
        lines.append(f"    const double {target} = {text};" if c else f"    {target} = {text}")

    def value(v: Fraction, variable: str) -> str:
        if v == 1:
            return variable
        if v == -1:
            return f"-{variable}"
        number = str(v.numerator) if v.denominator == 1 else f"{v.numerator}{'.0' if c else ''}/{v.denominator}"
        return f"({number}) * {variable}"

    def body(program: Program, source_name: str, temporary: str) -> list[str]:
        def variable(k: int) -> str:
            return f"{source_name}[{k}]" if k < program.inputs else f"{temporary}{k - program.inputs}"

        for k, s in enumerate(program.steps):
            sign = "-" if s.factor < 0 else "+"
            emit(f"{temporary}{k}", f"{variable(s.left)} {sign} {value(abs(s.factor), variable(s.right))}")
        return ["0" if o is None else value(o[1], variable(o[0])) for o in program.outputs]

    left, right = body(programs[0], "a", "s"), body(programs[1], "b", "t")
    products = [f"({x}) * ({y})" for x, y in zip(left, right, strict=True)]
    if c:
        lines.append(f"    const double m[{len(products)}] = {{{', '.join(products)}}};")
    else:
        lines.append(f"    m = [{', '.join(products)}]")
    outputs = body(programs[2], "m", "u")
    if c:
        lines += [f"    c[{k}] = {text};" for k, text in enumerate(outputs)]
        signature = f"void {name}(const double *a, const double *b, double *c)"
        return "\n".join([f"/* {head} */", signature, "{", *lines, "}", ""])
    return "\n".join([f"def {name}(a, b):", f'    """{head}."""', *lines, f"    return [{', '.join(outputs)}]", ""])


def additions(matrix: Array, seed: int = 0, restarts: int = RESTARTS) -> tuple[int, int]:
    """Count additions of a matrix–vector product before and after common-subexpression elimination.

    Parameters
    ----------
    matrix : int array (rows, columns)
        Rows are outputs. Numerators suffice: a common denominator costs no addition.
    seed, restarts : int
        Randomised greedy passes; the best is kept.

    Returns
    -------
    (naive, after_cse) : tuple of int

    Examples
    --------
    >>> additions([[1, 1, 0], [1, 1, 1]])
    (3, 2)
    """
    program = share(matrix, seed, restarts)
    return program.naive, program.additions


def share(matrix: Array, seed: int = 0, restarts: int = RESTARTS) -> Program:
    """Return a short straight-line program for a matrix, the best of several randomised greedy passes.

    For D, whose products enter many outputs, evaluating the transposed program backwards costs
    ``additions + columns − rows`` with the same sharing (Tellegen's principle), so both the matrix and
    its transpose are tried and the cheaper program is returned.

    Raises
    ------
    StlError
        When the matrix is not two-dimensional or not of integers.
    """
    table = np.asarray(matrix)
    if table.ndim != 2 or table.dtype.kind not in "iuO":
        raise StlError("matrix", f"{table.dtype} {table.shape}", "a two-dimensional array of integers")
    rows = [{j: int(v) for j, v in enumerate(row) if v} for row in table.tolist()]
    columns = [{j: int(v) for j, v in enumerate(col) if v} for col in table.T.tolist()]
    rng = np.random.default_rng(seed)
    best: Program | None = None
    for turn in range(max(1, restarts)):
        for direct in (True, False):
            trial = _greedy(rows if direct else columns, table.shape[1 if direct else 0], rng, turn > 0)
            if not direct:
                trial = transposed(trial, table.shape[1])
            if best is None or trial.additions < best.additions:
                best = trial
    assert best is not None
    return Program(best.inputs, best.steps, best.outputs, sum(max(0, len(r) - 1) for r in rows))


def _pair(row: dict[int, int], i: int, j: int) -> tuple[int, int, int, int]:
    """Return (i, j, p, q) with x_i + (q/p) x_j the normalised two-term sum of the row, p > 0."""
    p, q = row[i], row[j]
    g = gcd(p, q)
    if p < 0:
        g = -g
    return i, j, p // g, q // g


def _greedy(rows: list[dict[int, int]], inputs: int, rng: np.random.Generator, randomise: bool) -> Program:
    """Share the most frequent two-term sum until none occurs twice, then add up what is left."""
    work = [dict(r) for r in rows]
    counts: dict[tuple[int, int, int, int], int] = {}

    def bump(row: dict[int, int], only: int | None, by: int) -> None:
        keys = sorted(row)
        for a, i in enumerate(keys):
            for j in keys[a + 1 :]:
                if only is None or only in (i, j):
                    key = _pair(row, i, j)
                    counts[key] = counts.get(key, 0) + by

    for row in work:
        bump(row, None, 1)
    steps: list[Step] = []
    while counts:
        top = max(counts.values())
        if top < 2:
            break
        ties = [k for k, c in counts.items() if c == top]
        pick = ties[int(rng.integers(len(ties)))] if randomise else min(ties)
        i, j, p, q = pick
        new = inputs + len(steps)
        steps.append(Step(i, j, Fraction(q, p)))
        for k, row in enumerate(work):
            if i in row and j in row and _pair(row, i, j) == pick:
                bump(row, i, -1)
                lost = row[j]
                factor = row.pop(i)
                bump(row, j, -1)
                assert lost * p == factor * q
                row.pop(j)
                row[new] = factor
                bump(row, new, 1)
                work[k] = row
        counts = {k: c for k, c in counts.items() if c > 0}
    outputs: list[tuple[int, Fraction] | None] = []
    for row in work:
        if not row:
            outputs.append(None)
            continue
        (left, first), *rest = sorted(row.items())
        current, lead = left, Fraction(first)
        for j, value in rest:
            steps.append(Step(current, j, Fraction(value) / lead))
            current = inputs + len(steps) - 1
        outputs.append((current, lead))
    return Program(inputs, tuple(steps), tuple(outputs), 0)


def transposed(program: Program, inputs: int) -> Program:
    """Return the program of the transposed matrix by running the data flow backwards (Tellegen's principle).

    It needs ``additions + inputs − outputs`` additions when no row and no column is zero; inputs are the rows of the
    program's matrix.

    Every variable with several uses becomes a sum; a sum becomes a variable with two uses.
    """
    uses: list[list[tuple[str, int, Fraction]]] = [[] for _ in range(program.inputs + len(program.steps))]
    for k, s in enumerate(program.steps):
        node = program.inputs + k
        uses[s.left].append(("node", node, Fraction(1)))
        uses[s.right].append(("node", node, s.factor))
    for k, o in enumerate(program.outputs):
        if o is not None:
            uses[o[0]].append(("input", k, o[1]))
    steps: list[Step] = []
    value: dict[int, tuple[int, Fraction] | None] = {}
    for node in range(len(uses) - 1, -1, -1):
        terms: list[tuple[int, Fraction]] = []
        for kind, k, factor in uses[node]:
            source = (k, Fraction(1)) if kind == "input" else value[k]
            if source is not None:
                terms.append((source[0], source[1] * factor))
        if not terms:
            value[node] = None
            continue
        terms.sort(key=lambda t: abs(t[1]) != 1)  # a scaled one in the lead would scale all others
        (current, lead), *rest = terms
        for other, factor in rest:
            steps.append(Step(current, other, factor / lead))
            current = inputs + len(steps) - 1
        value[node] = (current, lead)
    outputs = tuple(value[k] for k in range(program.inputs))
    return Program(inputs, tuple(steps), outputs, 0)
