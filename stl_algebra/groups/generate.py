"""Groups from generators: permutations, matrices over GF(q), and presentations.

Conventions: permutations are image rows ``p`` with ``p[i]`` the image of point i, and the product is composition
of functions, (g·h)(i) = g(h(i)); matrices act on columns.  Both are left actions, as for ``table[g, h]`` = g·h.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.table import MAX_ORDER, FiniteGroup

__all__ = ["cycles", "from_permutations", "matrix_group", "parse_permutations", "permutation_group", "presentation"]

IntArray = np.ndarray[Any, np.dtype[Any]]
# Conway polynomials x^k + Σ c_i x^i as (c_0, …, c_(k-1)); importing galois for them would cost seconds.
CONWAY = {
    4: (1, 1), 8: (1, 1, 0), 16: (1, 1, 0, 0), 32: (1, 0, 1, 0, 0), 64: (1, 1, 0, 1, 1, 0), 128: (1, 1, 0, 0, 0, 0, 0),
    256: (1, 0, 1, 1, 1, 0, 0, 0), 9: (2, 2), 27: (1, 2, 0), 81: (2, 0, 0, 2), 243: (1, 2, 0, 0, 0),
    729: (2, 2, 1, 0, 2, 0), 25: (2, 4), 125: (3, 3, 0), 625: (2, 4, 4, 0), 49: (3, 6), 343: (4, 0, 6), 121: (2, 7),
    169: (2, 12), 289: (3, 16), 361: (2, 18),
}  # fmt: skip
MAX_DEGREE = 10_000
MAX_PRESENTATION_ORDER = 2000  # pure-Python coset enumeration: about a second at this size


def table_from_right_multiplication(moves: Sequence[IntArray], identity: int = 0) -> IntArray:
    """Whole table from the columns ``moves[i][g]`` = index of g·s_i of a generating set.

    Every h is a word r·s_i with r reached earlier, and g·(r·s_i) = (g·r)·s_i fills column h from column r.
    """
    n = len(moves[0]) if moves else 1
    steps = [np.asarray(move, dtype=np.int16) for move in moves]
    columns = np.empty((n, n), dtype=np.int16)  # transposed, so that writes are contiguous
    columns[identity] = np.arange(n)
    reached = np.zeros(n, dtype=bool)
    reached[identity] = True
    queue = [identity]
    for r in queue:
        for step in steps:
            h = int(step[r])
            if not reached[h]:
                reached[h] = True
                np.take(step, columns[r], out=columns[h])
                queue.append(h)
    if len(queue) != n:
        raise StlError("moves", f"{len(queue)} of {n} elements reached", "columns of a generating set")
    return np.ascontiguousarray(columns.T)


def generate(
    generators: Sequence[IntArray],
    identity: IntArray,
    product: Callable[[IntArray, IntArray], IntArray],
    limit: int = MAX_ORDER,
) -> tuple[IntArray, IntArray]:
    """Close concrete elements under right multiplication by generators.

    Parameters
    ----------
    generators, identity : int arrays of one shape
    product : callable
        ``product(batch, generator)`` gives the products batch[i]·generator, vectorised over the first axis.
    limit : int
        Largest order accepted.

    Returns
    -------
    elements : int array, shape (n, *shape), identity first, in breadth-first order
    table : int16 array, shape (n, n)
    """
    index = {np.ascontiguousarray(identity).tobytes(): 0}
    elements, moves = [identity], [[] for _ in generators]  # type: ignore[var-annotated]
    frontier = identity[None]
    while len(frontier):
        images = [product(frontier, s) for s in generators]
        fresh = []
        for row in range(len(frontier)):
            for i in range(len(generators)):
                key = np.ascontiguousarray(images[i][row]).tobytes()
                if key not in index:
                    index[key] = len(elements)
                    elements.append(images[i][row])
                    fresh.append(images[i][row])
                    if len(elements) > limit:
                        raise StlError(
                            "generators",
                            f"more than {limit} elements",
                            f"a group of order at most {limit}",
                            "Check the generators; larger groups have no table here.",
                        )
                moves[i].append(index[key])
        frontier = np.array(fresh) if fresh else np.empty((0, *identity.shape), dtype=identity.dtype)
    table = table_from_right_multiplication([np.array(m) for m in moves])
    return np.array(elements), table


def cycles(permutation: Sequence[int]) -> str:
    """Cycle notation on points 1, 2, …: ``(1 2)(3 4)``; ``e`` for the identity.

    Examples
    --------
    >>> cycles([1, 0, 2])
    '(1 2)'
    """
    seen, out = set(), ""
    for start in range(len(permutation)):
        if start in seen or permutation[start] == start:
            continue
        cycle, point = [], start
        while point not in seen:
            seen.add(point)
            cycle.append(point + 1)
            point = int(permutation[point])
        out += "(" + " ".join(map(str, cycle)) + ")"
    return out or "e"


def parse_permutations(generators: Sequence[Any] | str, degree: int | None = None) -> list[list[int]]:
    """Image rows (points from 0) of permutations given as disjoint cycles (points from 1) or as image rows.

    >>> parse_permutations("(1 2), (1,2,3)")
    [[1, 0, 2], [1, 2, 0]]
    """
    if isinstance(generators, str):
        generators = (
            re.findall(r"(?:\([^()]*\)\s*)+", generators)
            if re.fullmatch(r"\s*(\([^()]*\)[\s,]*)+", generators)
            else [generators]
        )
    parsed: list[Any] = []
    for item in generators:
        if not isinstance(item, str):
            parsed.append([int(x) for x in item])
            continue
        if not re.fullmatch(r"\s*(\(\s*(\d+([\s,]+\d+)*)?\s*\)\s*)+", item):
            raise StlError("generators", item, "disjoint cycles of points 1, 2, …, e.g. (1 2 3)(4 5)")
        found = [[int(x) for x in re.findall(r"\d+", part)] for part in re.findall(r"\(([^()]*)\)", item)]
        points = [x for cycle in found for x in cycle]
        if len(set(points)) < len(points) or 0 in points:
            raise StlError("generators", item, "disjoint cycles of points counted from 1")
        parsed.append({x - 1: y - 1 for cycle in found for x, y in zip(cycle, cycle[1:] + cycle[:1], strict=True)})
    size = max([degree or 1, *(len(p) if isinstance(p, list) else max(p, default=0) + 1 for p in parsed)])
    if size > MAX_DEGREE:
        raise StlError("generators", size, f"points up to {MAX_DEGREE}")
    return [
        p + list(range(len(p), size)) if isinstance(p, list) else [p.get(i, i) for i in range(size)] for p in parsed
    ]


def permutation_group(generators: Sequence[Sequence[int]], name: str = "", limit: int = MAX_ORDER) -> FiniteGroup:
    """Group generated by permutations of 0, …, d-1 given as image rows.

    ``elements`` of the result is an int array (n, d); (g·h)(i) = g(h(i)).

    Examples
    --------
    >>> permutation_group([[1, 2, 0], [1, 0, 2]]).order
    6
    """
    if len(generators) == 0:
        return FiniteGroup(np.zeros((1, 1), dtype=int), name or "1", check=False)
    rows = [np.asarray(g) for g in generators]
    degree = len(rows[0])
    for row in rows:
        if row.shape != (degree,) or not np.array_equal(np.sort(row), np.arange(degree)):
            raise StlError(
                "generators",
                row.tolist(),
                f"a permutation of 0 … {degree - 1} as an image row",
                "Points count from 0; write fixed points too.",
            )
    dtype = np.uint8 if degree < 256 else np.int32
    elements, table = generate(
        [row.astype(dtype) for row in rows], np.arange(degree, dtype=dtype), lambda batch, s: batch[:, s], limit
    )
    place = {e.tobytes(): i for i, e in enumerate(elements)}
    chosen = tuple(dict.fromkeys(place[row.astype(dtype).tobytes()] for row in rows))
    return FiniteGroup(
        table,
        name,
        tuple(cycles(e) for e in elements),
        tuple(g for g in chosen if g) if len(table) > 1 else (),
        elements,
        check=False,
    )


@cache
def field_tables(q: int) -> tuple[IntArray, IntArray, int]:
    """Addition and multiplication tables of GF(q) on 0 … q-1 and a primitive element (galois' numbering).

    Raises `StlError` when q is not a prime power.
    """
    from stl_algebra.groups.cyclotomic import prime_factors

    if q < 2 or len(prime_factors(q)) != 1:
        raise StlError("q", q, "a prime power", "GF(q) exists for q = 2, 3, 4, 5, 7, 8, 9, 11, 13, 16, …")
    line = np.arange(q)
    if prime_factors(q) == [q]:
        add, multiply = np.add.outer(line, line) % q, np.multiply.outer(line, line) % q
        primitive = next(a for a in range(1, q) if all(pow(a, (q - 1) // r, q) != 1 for r in prime_factors(q - 1)))
        return add, multiply, primitive
    p = prime_factors(q)[0]
    k = next(k for k in range(2, 64) if p**k == q)
    if q in CONWAY:
        tail: Sequence[int] = CONWAY[q]
    else:
        from galois import conway_poly

        tail = [int(c) for c in conway_poly(p, k).coeffs[::-1]][:k]
    digits = np.array(np.unravel_index(line, (p,) * k))[::-1]  # element Σ digits[i] p^i stands for Σ digits[i] x^i
    weights = p ** np.arange(k)
    add = np.tensordot(weights, (digits[:, :, None] + digits[:, None, :]) % p, 1)
    multiply, shifted = np.zeros((q, q), dtype=np.int64), digits.copy()
    for i in range(k):  # Horner-free: accumulate digits[i]·x^i·y
        multiply = add[multiply, np.tensordot(weights, digits[i][None, :, None] * shifted[:, None, :] % p, 1)]
        carry = shifted[-1]
        shifted = np.concatenate([np.zeros((1, q), dtype=np.int64), shifted[:-1]])
        shifted = (shifted - carry * np.array(tail)[:, None]) % p
    return add, multiply, p  # x itself, numbered p, is primitive for a Conway polynomial


def matrix_product(q: int) -> Callable[[IntArray, IntArray], IntArray]:
    """Vectorised product of (…, d, d) matrices over GF(q) with entries in `field_tables` numbering."""
    add, multiply, _ = field_tables(q)

    def product(a: IntArray, b: IntArray) -> IntArray:
        terms = multiply[a[..., :, :, None], b[..., None, :, :]]
        out = terms[..., 0, :]
        for k in range(1, terms.shape[-2]):
            out = add[out, terms[..., k, :]]
        return out

    return product


def matrix_group(generators: Sequence[Any], q: int, name: str = "", limit: int = MAX_ORDER) -> FiniteGroup:
    """Group generated by invertible matrices over GF(q) (entries 0 … q-1 as galois numbers them).

    ``elements`` of the result is an int array (n, d, d).

    Examples
    --------
    >>> matrix_group([[[1, 1], [0, 1]], [[1, 0], [1, 1]]], 3).order
    24
    """
    rows = [np.asarray(g, dtype=np.int64) for g in generators]
    if not rows or any(r.ndim != 2 or r.shape[0] != r.shape[1] or r.shape != rows[0].shape for r in rows):
        raise StlError("generators", [r.shape for r in rows], "square matrices of one size")
    product = matrix_product(q)
    one = np.eye(rows[0].shape[0], dtype=np.int64)
    for r in rows:
        if r.min() < 0 or r.max() >= q:
            raise StlError("generators", int(r.max()), f"entries from 0 to {q - 1}")
        power, seen = r, 0
        while not np.array_equal(power, one):  # an invertible matrix returns to 1 within q^d - 1 steps
            power, seen = product(power[None], r)[0], seen + 1
            if seen > limit:
                raise StlError("generators", r.tolist(), f"invertible matrices over GF({q})")
    elements, table = generate(rows, one, lambda batch, s: product(batch, s), limit)
    place = {np.ascontiguousarray(e).tobytes(): i for i, e in enumerate(elements)}
    chosen = dict.fromkeys(place[np.ascontiguousarray(r).tobytes()] for r in rows)
    labels = tuple(str(e.tolist()).replace(" ", "") for e in elements)
    return FiniteGroup(table, name, labels, tuple(g for g in chosen if g), elements, ("matrix", q), check=False)


def presentation(
    generators: str, relators: Sequence[str], name: str = "", limit: int = MAX_PRESENTATION_ORDER
) -> FiniteGroup:
    """Group ⟨generators | relators⟩ by coset enumeration over the trivial subgroup (SymPy, HLT).

    Parameters
    ----------
    generators : str
        Names, e.g. ``"a, b"``.
    relators : sequence of str
        Words equal to the identity, e.g. ``["a^7", "b^3", "b*a*b^-1*a^-2"]``.
    limit : int
        Most cosets defined before giving up; a presentation may need more cosets than the group has elements.

    Raises
    ------
    StlError
        If a word cannot be read, or enumeration does not close within `limit` cosets (the group may be infinite).
    """
    from sympy.combinatorics.coset_table import coset_enumeration_r
    from sympy.combinatorics.fp_groups import FpGroup
    from sympy.combinatorics.free_groups import free_group

    names = [w for w in generators.replace(",", " ").split() if w]
    if not names or not all(w.isidentifier() for w in names):
        raise StlError("generators", generators, "one or more names, e.g. 'a, b'")
    free, *symbols = free_group(",".join(names))
    known = dict(zip(names, symbols, strict=True))
    words = []
    for relator in relators:
        words.append(_word(relator, known, free.identity))
    try:
        cosets = coset_enumeration_r(FpGroup(free, words), [], max_cosets=4 * limit + 100)
    except ValueError as problem:
        raise StlError(
            "relators",
            list(relators),
            f"a group whose coset enumeration closes within {4 * limit + 100}",
            "Add relators, or raise `limit` if the group is known to be finite.",
        ) from problem
    cosets.compress()
    cosets.standardize()
    rows = np.array(cosets.table, dtype=np.int64)
    if len(rows) > limit:
        raise StlError("relators", f"order {len(rows)}", f"order at most {limit}", "Raise `limit`.")
    table = table_from_right_multiplication([rows[:, 2 * i] for i in range(len(names))])
    chosen = dict.fromkeys(int(rows[0, 2 * i]) for i in range(len(names)))
    return FiniteGroup(
        table, name, None, tuple(g for g in chosen if g), origin=("presentation", generators, *relators), check=False
    )


def _word(text: str, known: dict[str, Any], identity: Any) -> Any:
    """Read a word: factors joined by * or blanks, powers ^k, brackets ( ), commutators [x, y]; no eval."""
    tokens = re.findall(r"[A-Za-z_]\w*|\^|-?\d+|[()\[\],*]|\S", text)
    position = 0

    def fail(found: str) -> StlError:
        return StlError("relators", text, f"a word in {', '.join(known)} with * ^ ( ) [ , ]", f"Stopped at {found!r}.")

    def take(expected: str) -> None:
        nonlocal position
        if position >= len(tokens) or tokens[position] != expected:
            raise fail(tokens[position] if position < len(tokens) else "the end")
        position += 1

    def factor() -> Any:
        nonlocal position
        token = tokens[position]
        position += 1
        if token in known:
            value = known[token]
        elif token == "1":
            value = identity
        elif token == "(":
            value = sequence()
            take(")")
        elif token == "[":
            x = sequence()
            take(",")
            y = sequence()
            take("]")
            value = x * y * x**-1 * y**-1
        else:
            raise fail(token)
        while position < len(tokens) and tokens[position] == "^":
            position += 1
            if position >= len(tokens) or not tokens[position].lstrip("-").isdigit():
                raise fail("^")
            value = value ** int(tokens[position])
            position += 1
        return value

    def sequence() -> Any:
        nonlocal position
        value = identity
        while position < len(tokens) and tokens[position] not in (")", "]", ","):
            if tokens[position] == "*":
                position += 1
                continue
            value = value * factor()
        return value

    value = sequence()
    if position != len(tokens):
        raise fail(tokens[position])
    return value


def from_permutations(generators: Sequence[Any] | str, name: str = "", degree: int | None = None) -> FiniteGroup:
    """The group that permutations generate.

    Parameters
    ----------
    generators : sequence of str or of int sequences, or one str
        Disjoint cycles of points 1, 2, … such as ``"(1 2 3)(4 5)"`` (blanks or commas), or image rows of points
        0, 1, ….  One string may hold several, ``"(1 2), (1 2 3)"``.
    name : str
    degree : int, optional
        Number of points; the largest one moved when missing.

    >>> from_permutations("(1 2 3 4), (1 3)").order
    8
    """
    return permutation_group(parse_permutations(generators, degree), name)
