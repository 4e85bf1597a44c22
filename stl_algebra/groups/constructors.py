"""Named families of finite groups as thin constructors of `FiniteGroup`.

Tables are closed formulas on integer labels, associative by construction (each docstring states the product), so
they skip the O(n²) associativity proof; the tests compare every family with GAP's SmallGroups identifiers.
Naming: `dihedral(n)` has order 2n (D4 = symmetries of the square); `quaternion`, `semidihedral` and `modular_group`
take the order of the group, as in Q8, SD16 and M16.
"""

from __future__ import annotations

from itertools import permutations
from math import factorial, gcd, prod
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import prime_factors
from stl_algebra.groups.generate import field_tables, matrix_group, permutation_group, table_from_right_multiplication
from stl_algebra.groups.table import MAX_ORDER, FiniteGroup

__all__ = [
    "abelian",
    "affine",
    "alternating",
    "cyclic",
    "dicyclic",
    "dihedral",
    "extraspecial",
    "frobenius",
    "general_linear",
    "heisenberg",
    "metacyclic",
    "modular_group",
    "projective_special_linear",
    "quaternion",
    "semidihedral",
    "special_linear",
    "symmetric",
]

IntArray = np.ndarray[Any, np.dtype[Any]]


def _count(argument: str, value: Any, least: int = 1, order: int | None = None) -> int:
    """Check an integer parameter and the order of the group it asks for."""
    if not isinstance(value, int | np.integer) or value < least:
        raise StlError(argument, value, f"an integer ≥ {least}")
    if order is not None and order > MAX_ORDER:
        raise StlError(argument, value, f"a group of order at most {MAX_ORDER}", f"This one has order {order}.")
    return int(value)


def _power(symbol: str, k: int) -> str:
    return "" if k == 0 else symbol if k == 1 else f"{symbol}^{k}"


def cyclic(n: int) -> FiniteGroup:
    """C_n: table[i, j] = i + j mod n.

    Examples
    --------
    >>> cyclic(6).exponent
    6
    """
    _count("n", n, 1, n)
    return metacyclic(n, 1, 1, f"C{n}", ("cyclic", n))


def abelian(*orders: int) -> FiniteGroup:
    """C_a × C_b × …: componentwise sums, last factor fastest (as numpy.ravel_multi_index).

    Examples
    --------
    >>> abelian(2, 4).order, abelian(2, 4).exponent
    (8, 4)
    """
    for n in orders:
        _count("orders", n, 1, prod(orders))
    if not orders:
        return cyclic(1)
    digits = np.array(np.unravel_index(np.arange(prod(orders)), orders))
    columns, units = [], []
    for i, n in enumerate(orders):
        if n > 1:
            stepped = digits.copy()
            stepped[i] = (stepped[i] + 1) % n
            columns.append(np.ravel_multi_index(tuple(stepped), orders))
            units.append(int(columns[-1][0]))
    table = table_from_right_multiplication(columns)
    labels = tuple("(" + ",".join(map(str, d)) + ")" for d in digits.T)
    return FiniteGroup(
        table, "x".join(f"C{n}" for n in orders), labels, tuple(units), digits.T, ("abelian", *orders), check=False
    )


def metacyclic(m: int, k: int, r: int, name: str = "", origin: tuple[Any, ...] = (), twist: int = 0) -> FiniteGroup:
    """⟨a, b | a^m = 1, b^k = a^twist, b·a·b⁻¹ = a^r⟩ with elements a^i b^j at index i·k + j.

    a^i b^j · a^i' b^j' = a^(i + r^j i') b^(j+j'), and b^k is replaced by a^twist.

    Examples
    --------
    >>> metacyclic(7, 3, 2).order
    21
    """
    _count("m", m, 1, m * k)
    _count("k", k)
    if gcd(r, m) != 1 or pow(r, k, m) != 1 % m or (r - 1) * twist % m:
        raise StlError("r", r, f"a unit modulo {m} with r^{k} = 1 (and r·{twist} = {twist}) modulo {m}")
    i, j = np.divmod(np.arange(m * k), k)
    powers = np.array([pow(r, e, m) for e in range(k)])
    by_a = (i + powers[j]) % m * k + j
    by_b = (i + twist * ((j + 1) // k)) % m * k + (j + 1) % k
    labels = tuple((_power("a", x) + _power("b", y)) or "e" for x, y in zip(i.tolist(), j.tolist(), strict=True))
    chosen = {int(column[0]): column for column in (by_a, by_b) if column[0]}
    generators = tuple(chosen)
    return FiniteGroup(
        table_from_right_multiplication(list(chosen.values())),
        name or f"C{m}:C{k}",
        labels,
        generators,
        origin=origin or ("metacyclic", m, k, r, twist),
        check=False,
    )


def dihedral(n: int) -> FiniteGroup:
    """D_n of order 2n: rotations a (a^n = 1) and a reflection b with b·a·b = a⁻¹.

    Examples
    --------
    >>> len(dihedral(4).classes.sizes)
    5
    """
    _count("n", n, 1, 2 * n)
    return metacyclic(n, 2, n - 1 if n > 1 else 1, f"D{n}", ("dihedral", n))


def dicyclic(n: int) -> FiniteGroup:
    """Dic_n of order 4n: a^2n = 1, b² = a^n, b·a·b⁻¹ = a⁻¹.  Dic_2 is Q8.

    Examples
    --------
    >>> dicyclic(3).order
    12
    """
    _count("n", n, 1, 4 * n)
    return metacyclic(2 * n, 2, 2 * n - 1, f"Dic{n}", ("dicyclic", n), twist=n)


def _two_power(order: int, least: int, what: str) -> int:
    if not isinstance(order, int | np.integer) or order < least or order & (order - 1):
        raise StlError("order", order, f"a power of two ≥ {least}", f"{what} groups have order {least}, {2 * least}, …")
    return int(_count("order", order, least, order))


def quaternion(order: int = 8) -> FiniteGroup:
    """Generalised quaternion group Q8, Q16, …, of the given order.

    Examples
    --------
    >>> quaternion(8).element_orders.tolist()
    [1, 4, 4, 4, 2, 4, 4, 4]
    """
    order = _two_power(order, 8, "Generalised quaternion")
    group = dicyclic(order // 4)
    if order != 8:
        return FiniteGroup(group.table, f"Q{order}", group.labels, group.generators, origin=group.origin, check=False)
    signs = ("1", "j", "i", "k", "-1", "-j", "-i", "-k")  # a = i, b = j, so ab = k, a² = -1
    return FiniteGroup(group.table, "Q8", signs, group.generators, origin=group.origin, check=False)


def semidihedral(order: int) -> FiniteGroup:
    """SD16, SD32, …: a^(N/2) = b² = 1, b·a·b = a^(N/4 - 1).

    Examples
    --------
    >>> semidihedral(16).order
    16
    """
    order = _two_power(order, 16, "Semidihedral")
    return metacyclic(order // 2, 2, order // 4 - 1, f"SD{order}")


def modular_group(order: int) -> FiniteGroup:
    """M16, M32, …: a^(N/2) = b² = 1, b·a·b = a^(N/4 + 1).

    Examples
    --------
    >>> modular_group(16).is_abelian
    False
    """
    order = _two_power(order, 16, "Modular 2-")
    return metacyclic(order // 2, 2, order // 4 + 1, f"M{order}")


def frobenius(p: int, k: int) -> FiniteGroup:
    """C_p ⋊ C_k with C_k acting faithfully, p prime and k a divisor of p - 1 (k = 3, p = 7: C7:C3).

    Examples
    --------
    >>> frobenius(7, 3).order
    21
    """
    if prime_factors(_count("p", p, 2, p * max(1, k))) != [p]:
        raise StlError("p", p, "a prime")
    if _count("k", k) and (p - 1) % k:
        raise StlError("k", k, f"a divisor of p - 1 = {p - 1}")
    return metacyclic(p, k, unit_of_order(p, k), f"C{p}:C{k}", ("frobenius", p, k))


def unit_of_order(m: int, k: int) -> int:
    """Smallest r modulo m of the largest multiplicative order that divides k (1 when only 1 qualifies).

    Examples
    --------
    >>> unit_of_order(7, 3)
    2
    """
    best, best_order = 1, 1
    for r in range(2, m):
        if gcd(r, m) == 1 and pow(r, k, m) == 1:
            order = next(d for d in range(1, k + 1) if k % d == 0 and pow(r, d, m) == 1)
            if order > best_order:
                best, best_order = r, order
    return best


def symmetric(n: int) -> FiniteGroup:
    """S_n on n points, n ≤ 7; elements in lexicographic order of image rows, (g·h)(i) = g(h(i)).

    Examples
    --------
    >>> symmetric(4).order
    24
    """
    _count("n", n, 1, factorial(min(n, 12)))
    rows = np.array(list(permutations(range(n))), dtype=np.uint8)
    return _permutations(rows, f"S{n}", ("symmetric", n))


def alternating(n: int) -> FiniteGroup:
    """A_n on n points, n ≤ 7; elements in lexicographic order of image rows.

    Examples
    --------
    >>> alternating(5).is_simple
    True
    """
    _count("n", n, 1, factorial(min(n, 12)) // 2)
    rows = np.array(list(permutations(range(n))), dtype=np.uint8)
    crossings = np.zeros(len(rows), dtype=np.int64)
    for i in range(n):
        crossings += (rows[:, i, None] > rows[:, i + 1 :]).sum(axis=1)
    return _permutations(rows[crossings % 2 == 0], f"A{n}", ("alternating", n))


def _permutations(rows: IntArray, name: str, origin: tuple[Any, ...]) -> FiniteGroup:
    from stl_algebra.groups.generate import cycles

    n = rows.shape[1]
    weights = n ** np.arange(n - 1, -1, -1, dtype=np.int64)
    code = rows.astype(np.int64) @ weights
    if origin[0] == "symmetric":
        moves = [[1, 0, *range(2, n)], [*range(1, n), 0]] if n > 2 else [[1, 0]] if n == 2 else []
    else:
        moves = [[1, i, *[0 if j == i else j for j in range(2, n)]] for i in range(2, n)]  # 0 → 1 → i → 0
    places = [int(np.searchsorted(code, np.array(move) @ weights)) for move in moves]
    columns = [np.searchsorted(code, rows[:, move].astype(np.int64) @ weights) for move in moves]
    table = table_from_right_multiplication(columns)
    return FiniteGroup(table, name, tuple(cycles(r) for r in rows.tolist()), tuple(places), rows, origin, check=False)


def affine(q: int) -> FiniteGroup:
    """AGL(1, q): maps x ↦ a·x + b over GF(q), a ≠ 0, as permutations of the q points; order q(q - 1).

    Examples
    --------
    >>> affine(5).order
    20
    """
    _count("q", q, 2, q * (q - 1))
    add, multiply, primitive = field_tables(q)
    return permutation_group([multiply[primitive], add[1]] if q > 2 else [add[1]], f"AGL(1,{q})")


def heisenberg(q: int) -> FiniteGroup:
    """Heis(q): (x, y, z)·(x', y', z') = (x + x', y + y', z + z' + x·y') over GF(q); order q³.

    Examples
    --------
    >>> heisenberg(3).order, len(heisenberg(3).centre)
    (27, 3)
    """
    _count("q", q, 2, q**3)
    add, multiply, _ = field_tables(q)
    x, y, z = np.unravel_index(np.arange(q**3), (q, q, q))
    p = prime_factors(q)[0]
    steps = [p**k for k in range(20) if p**k < q]  # a GF(p)-basis; commutators of these reach all of z
    columns = [np.ravel_multi_index((add[x, b], y, z), (q, q, q)) for b in steps]
    columns += [np.ravel_multi_index((x, add[y, b], add[z, multiply[x, b]]), (q, q, q)) for b in steps]
    table = table_from_right_multiplication(columns)
    labels = tuple(f"({a},{b},{c})" for a, b, c in zip(x, y, z, strict=True))
    generators = tuple(int(column[0]) for column in columns)
    return FiniteGroup(
        table, f"Heis({q})", labels, generators, np.stack([x, y, z], axis=1), ("heisenberg", q), check=False
    )


def extraspecial(p: int, n: int, sign: str = "+") -> FiniteGroup:
    """p^(1+2n)±: (x, y, z)·(x', y', z') = (x + x', y + y', z + z' + β), x, y in GF(p)^n, z in GF(p).

    β = x·y' for the plus type.  The minus type adds the 2-cocycle that makes the first factor Q8 (p = 2:
    x₁x'₁ + y₁y'₁) or of exponent p² (p odd: the carry of y₁ + y'₁).

    Examples
    --------
    >>> extraspecial(2, 2, "+").order
    32
    """
    if prime_factors(_count("p", p, 2)) != [p]:
        raise StlError("p", p, "a prime")
    _count("n", n, 1, p ** (1 + 2 * n))
    if sign not in ("+", "-"):
        raise StlError("sign", sign, "'+' or '-'")
    size = (p,) * (2 * n + 1)
    digits = np.array(np.unravel_index(np.arange(p ** (2 * n + 1)), size))
    units = tuple(p ** (2 * n - i) for i in range(2 * n))
    columns = []
    for unit in units:
        right = digits[:, unit, None]
        total = digits + right
        cocycle = (digits[:n] * right[n : 2 * n]).sum(axis=0)
        if sign == "-":
            cocycle = cocycle + (digits[0] * right[0] + digits[n] * right[n] if p == 2 else total[n] // p)
        total[-1] += cocycle
        columns.append(np.ravel_multi_index(tuple(total % p), size))
    table = table_from_right_multiplication(columns)
    labels = tuple("".join(map(str, d)) for d in digits.T)
    return FiniteGroup(
        table, f"{p}^(1+{2 * n}){sign}", labels, units, digits.T, ("extraspecial", p, n, sign), check=False
    )


def _linear_order(q: int) -> int:
    return (q * q - 1) * (q * q - q)


def general_linear(q: int) -> FiniteGroup:
    """GL(2, q) as 2×2 matrices, q ≤ 9.

    Examples
    --------
    >>> general_linear(3).order
    48
    """
    _count("q", q, 2, _linear_order(q))
    _, _, w = field_tables(q)
    minus = int(np.argmin(field_tables(q)[0][1]))  # the b with 1 + b = 0
    rows = [[[w, 0], [0, 1]], [[minus, 1], [minus, 0]]]
    return matrix_group(rows if q > 2 else [[[1, 1], [0, 1]], [[0, 1], [1, 0]]], q, f"GL(2,{q})")


def special_linear(q: int) -> FiniteGroup:
    """SL(2, q) as 2×2 matrices, q ≤ 19, generated by transvections.

    Examples
    --------
    >>> special_linear(3).order
    24
    """
    _count("q", q, 2, _linear_order(q) // max(1, q - 1))
    p = prime_factors(q)[0]
    field_tables(q)
    steps = [p**k for k in range(20) if p**k < q]  # a GF(p)-basis of GF(q) in galois' numbering
    rows = [[[1, b], [0, 1]] for b in steps] + [[[1, 0], [b, 1]] for b in steps]
    return matrix_group(rows, q, f"SL(2,{q})")


def projective_special_linear(q: int) -> FiniteGroup:
    """PSL(2, q) as permutations of the q + 1 points of the projective line (x ↦ x + b and x ↦ -1/x).

    Examples
    --------
    >>> projective_special_linear(7).order
    168
    """
    _count("q", q, 2, _linear_order(q) // max(1, q - 1) // gcd(2, q - 1))
    add, multiply, _ = field_tables(q)
    p = prime_factors(q)[0]
    negative = add.argmin(axis=1)  # column of 0 in each row
    inverse = (multiply[1:] == 1).argmax(axis=1)
    rows = [[*add[p**k], q] for k in range(20) if p**k < q] + [[q, *negative[inverse], 0]]
    return permutation_group(rows, f"PSL(2,{q})")
