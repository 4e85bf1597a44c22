"""Target tensors: which bilinear map an encoder is meant to compute.

A target is a sparse integer tensor T[a, b, c]: C_c = Σ_{a,b} T[a, b, c] · A_a · B_b. Matrix multiplication is one
target among others, so that "bilinear identity" is a parameter and not a special case. Every target has a name that
`target` parses back, and this name is what encoder files store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from math import prod

import numpy as np
from numpy.typing import NDArray

from .errors import StlError
from .rings import Array

__all__ = [
    "Target",
    "complex_product",
    "cyclic_convolution",
    "direct_sum_target",
    "field_product",
    "group_convolution",
    "matmul",
    "polymul",
    "polynomial_low",
    "product_target",
    "quaternion_product",
    "structured_product",
    "symmetric_square",
    "target",
]

#: Bound on a·b·c; ⟨16,16,16⟩ (2^24) and ⟨32,32,32⟩ (2^30) pass, absurd claims in files do not.
MAX_ENTRIES = 1 << 31
#: Bound on the nonzero entries, which are held as a table.
MAX_TERMS = 1 << 20
#: Bound on a·b·c of quadratic targets, which are verified densely.
MAX_QUADRATIC = 1 << 24
#: Bound on the numbers in a group's name: Brent equations are order³.
MAX_GROUP_ORDER = 1290
#: Where the name of a direct sum is split: a plus sign before another target's name (groups have plus signs in theirs).
_SUM = re.compile(r"\+(?=(?:[a-z]+:|complex|quaternion))")
KNOWN = (
    "matmul:NxMxP, polymul:NxM, polylow:N, cyclic:N, group:NAME, complex, quaternion, field:RING, symmetric:NxM "
    "(A·Aᵀ), structured:KK:NxMxP (K of g u l s k w; behind it a, b or c: without corners of C), or products of these "
    "joined by '*' and sums joined by '+'"
)


@dataclass(frozen=True, eq=False)
class Target:
    """A bilinear map as a sparse integer tensor.

    Attributes
    ----------
    name : str
        For instance ``"matmul:2x3x4"``.
    shape : (a, b, c)
        Lengths of vec(A), vec(B) and vec(C).
    index, value : int arrays of shape (k, 3) and (k,)
        The nonzero entries of T, each once.
    quadratic : bool
        True if both arguments are the same vector (C = A·Aᵀ): then only the part of T symmetric in (a, b) counts.
    """

    name: str
    shape: tuple[int, int, int]
    index: NDArray[np.int64] = field(repr=False)
    value: NDArray[np.int64] = field(repr=False)
    quadratic: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and self.name == other.name and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((self.name, self.shape))

    @property
    def format(self) -> tuple[int, int, int] | None:
        """(n, m, p) for matrix multiplication, None for any other target."""
        if self.name.startswith("matmul:") and "*" not in self.name and "+" not in self.name:
            n, m, p = (int(v) for v in self.name[7:].split("x"))
            return n, m, p
        return None

    @property
    def parts(self) -> list[Target]:
        """The independent maps that a direct sum is made of; for any other target itself alone."""
        names = _SUM.split(self.name)
        return [target(name) for name in names] if len(names) > 1 else [self]

    @property
    def norm2(self) -> int:
        """‖T‖² = Σ T[a,b,c]², which is nmp for ⟨n,m,p⟩."""
        return int((self.value**2).sum())

    def dense(self, dtype: type = np.float64) -> Array:
        """T as an array of shape (a, b, c)."""
        t: Array = np.zeros(self.shape, dtype=dtype)
        t[tuple(self.index.T)] = self.value
        return t

    def spell(self, a: int, b: int, c: int) -> str:
        """The monomial of Brent equation (a, b, c), e.g. ``A[0,1]·B[1,2] → C[0,2]``."""
        if self.format:
            _, m, p = self.format
            i, k = divmod(a, m)
            q, j = divmod(b, p)
            u, v = divmod(c, p)
            return f"A[{i},{k}]·B[{q},{j}] → C[{u},{v}]"
        return f"A[{a}]·B[{b}] → C[{c}]"


def _make(
    name: str, shape: Iterable[int], entries: Iterable[tuple[int, int, int, int]] | Array, quadratic: bool = False
) -> Target:
    a, b, c = shape
    if a * b * c > (MAX_QUADRATIC if quadratic else MAX_ENTRIES):
        raise StlError("target", name, f"at most {MAX_QUADRATIC if quadratic else MAX_ENTRIES} Brent equations")
    if isinstance(entries, np.ndarray):
        rows = entries.astype(np.int64).reshape(-1, 4)
    else:
        rows = np.fromiter(chain.from_iterable(islice(entries, MAX_TERMS + 1)), dtype=np.int64).reshape(-1, 4)
    if len(rows) > MAX_TERMS:
        raise StlError("target", name, f"at most {MAX_TERMS} nonzero entries")
    for part in (index := rows[:, :3].copy()), (value := rows[:, 3].copy()):
        part.setflags(write=False)
    return Target(name, (a, b, c), index, value, quadratic)


def _dimension(argument: str, values: Iterable[int], limit: int = 4096) -> None:
    for v in values:
        if isinstance(v, bool) or not isinstance(v, (int, np.integer)) or not 1 <= v <= limit:
            raise StlError(argument, v, f"integers from 1 to {limit}")


@lru_cache(maxsize=128)
def matmul(n: int, m: int, p: int) -> Target:
    """Matrix multiplication ⟨n,m,p⟩: A (n×m) times B (m×p), all row-major, C not transposed.

    Examples
    --------
    >>> matmul(2, 3, 4).shape, matmul(2, 3, 4).norm2
    ((6, 12, 8), 24)
    """
    _dimension("format", (n, m, p), 64)
    if (n * m * p) ** 2 > MAX_ENTRIES:
        raise StlError("format", (n, m, p), f"at most {MAX_ENTRIES} Brent equations")
    i, k, j = (v.ravel() for v in np.meshgrid(np.arange(n), np.arange(m), np.arange(p), indexing="ij"))
    rows = np.stack([i * m + k, k * p + j, i * p + j, np.ones_like(i)], axis=1)
    return _make(f"matmul:{n}x{m}x{p}", (n * m, m * p, n * p), rows)


@lru_cache(maxsize=128)
def polymul(n: int, m: int) -> Target:
    """Product of polynomials with n and m coefficients: C has n + m − 1.

    Examples
    --------
    >>> polymul(2, 3).shape
    (2, 3, 4)
    """
    _dimension("polymul", (n, m))
    return _make(f"polymul:{n}x{m}", (n, m, n + m - 1), ((i, j, i + j, 1) for i in range(n) for j in range(m)))


@lru_cache(maxsize=128)
def cyclic_convolution(n: int) -> Target:
    """Cyclic convolution of length n, the product of the group algebra of C_n.

    Examples
    --------
    >>> cyclic_convolution(5).shape
    (5, 5, 5)
    """
    _dimension("cyclic", (n,))
    return _make(f"cyclic:{n}", (n, n, n), ((i, j, (i + j) % n, 1) for i in range(n) for j in range(n)))


def group_convolution(table: NDArray[np.integer], name: str) -> Target:
    """Product of a group algebra: ``table[g, h]`` is the index of g·h; ``name`` is what `target` parses."""
    t = np.asarray(table)
    size = len(t)
    if t.shape != (size, size) or sorted(set(t.ravel().tolist())) != list(range(size)):
        raise StlError("table", t.shape, "a square multiplication table with entries 0 … order−1")
    return _make(f"group:{name}", (size,) * 3, ((g, h, int(t[g, h]), 1) for g in range(size) for h in range(size)))


@lru_cache(maxsize=1)
def complex_product() -> Target:
    """(a₀ + a₁i)(b₀ + b₁i) in real coordinates; rank 3.

    Examples
    --------
    >>> complex_product().shape
    (2, 2, 2)
    """
    return _make("complex", (2, 2, 2), [(0, 0, 0, 1), (1, 1, 0, -1), (0, 1, 1, 1), (1, 0, 1, 1)])


@lru_cache(maxsize=1)
def quaternion_product() -> Target:
    """Hamilton's product on (1, i, j, k); rank 8 over the reals (Howell–Lafon 1975).

    Examples
    --------
    >>> quaternion_product().shape
    (4, 4, 4)
    """
    unit = [[(0, 1), (1, 1), (2, 1), (3, 1)], [(1, 1), (0, -1), (3, 1), (2, -1)],
            [(2, 1), (3, -1), (0, -1), (1, 1)], [(3, 1), (2, 1), (1, -1), (0, -1)]]  # fmt: skip
    return _make("quaternion", (4, 4, 4), [(a, b, *unit[a][b]) for a in range(4) for b in range(4)])


@lru_cache(maxsize=128)
def field_product(name: str) -> Target:
    """Multiplication in Q[x]/(f), on coefficients of 1, x, …, x^(k−1), for a ring `stl_algebra.ring` knows."""
    from .rings import ring

    structure = ring(name).structure
    places = np.argwhere(structure)
    return _make(f"field:{name}", structure.shape, [(i, j, t, structure[i, j, t]) for i, j, t in places])


@lru_cache(maxsize=128)
def symmetric_square(n: int, m: int) -> Target:
    """C = A·Aᵀ for A (n×m), upper triangle of C in row-major order; a quadratic target.

    Examples
    --------
    >>> symmetric_square(2, 2).quadratic
    True
    """
    _dimension("symmetric", (n, m), 64)
    upper = [(i, j) for i in range(n) for j in range(i, n)]
    entries = ((i * m + k, j * m + k, c, 1) for c, (i, j) in enumerate(upper) for k in range(m))
    return _make(f"symmetric:{n}x{m}", (n * m, n * m, len(upper)), entries, quadratic=True)


@lru_cache(maxsize=128)
def polynomial_low(n: int) -> Target:
    """The short product: the n low coefficients of the product of two polynomials with n coefficients.

    Examples
    --------
    >>> polynomial_low(3).shape
    (3, 3, 3)
    """
    _dimension("polylow", (n,))
    return _make(f"polylow:{n}", (n, n, n), ((i, j, i + j, 1) for i in range(n) for j in range(n - i)))


#: Structures of a square factor, by what holds its free entries: full, upper and lower triangular, symmetric,
#: skew-symmetric, and skew-symmetric with a free diagonal.
STRUCTURES = "gulskw"


def _structure(kind: str, rows: int, columns: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(i, j) → (index of the free entry it shows, sign); free entries in row-major order."""
    if kind == "g":
        return {(i, j): (i * columns + j, 1) for i in range(rows) for j in range(columns)}
    if rows != columns:
        raise StlError("structured", (kind, rows, columns), "square triangular, symmetric and skew factors")
    free = [(i, j) for i in range(rows) for j in range(i + (kind == "k"), rows)]
    at = {v: k for k, v in enumerate(free)}
    out = {}
    for i, j in ((i, j) for i in range(rows) for j in range(rows)):
        upper = (min(i, j), max(i, j))
        if upper in at and not (kind == "u" and i > j) and not (kind == "l" and i < j):
            out[i, j] = (at[upper], -1 if kind in "kw" and i > j else 1)
    return out


@lru_cache(maxsize=128)
def structured_product(kinds: str, n: int, m: int, p: int, without: str = "") -> Target:
    """C = A·B for structured factors, on their free entries; ``kinds`` is two letters of `STRUCTURES`.

    A second letter "t" means C = A·Aᵀ (upper triangle of C, a quadratic target). The product of two upper triangular
    matrices is given by its upper triangle, every other one by all np entries, row-major. Khoruzhii, Gelß and Pokutta
    (arXiv:2511.10786) list ranks, also of the parts left for recursion, ``without`` the first (a), the last (b) or both
    corners of C (c): those entries are then 0.
    """
    _dimension("structured", (n, m, p), 64)
    if len(kinds) != 2 or kinds[0] not in STRUCTURES or kinds[1] not in STRUCTURES + "t":
        raise StlError("structured", kinds, f"two letters of {STRUCTURES}, or one and t")
    a = _structure(kinds[0], n, m)
    if kinds[1] == "t":
        if n != p:
            raise StlError("structured", (n, m, p), "n = p for A·Aᵀ")
        b = {(j, i): v for (i, j), v in a.items()}
    else:
        b = _structure(kinds[1], m, p)
    half = kinds[1] == "t" or kinds == "uu"
    cells = [(i, j) for i in range(n) for j in range(i if half else 0, p)]
    dropped = {"": (), "a": (0,), "b": (len(cells) - 1,), "c": (0, len(cells) - 1)}[without]
    rows = [(*_joined(a[i, k], b[k, j], c),) for c, (i, j) in enumerate(cells) for k in range(m)
            if (i, k) in a and (k, j) in b and c not in dropped]  # fmt: skip
    sizes = [max(v[0] for v in part.values()) + 1 for part in (a, b)] if a and b else [1, 1]
    return _make(f"structured:{kinds}:{n}x{m}x{p}{without}", (*sizes, len(cells)), rows, quadratic=kinds[1] == "t")


def _joined(x: tuple[int, int], w: tuple[int, int], c: int) -> tuple[int, int, int, int]:
    return x[0], w[0], c, x[1] * w[1]


def product_target(s: Target, t: Target) -> Target:
    """Tensor (Kronecker) product. Two matrix products make the one of the larger format, tiles within tiles.

    Examples
    --------
    >>> product_target(matmul(2, 2, 2), matmul(1, 1, 2)).name
    'matmul:2x2x4'
    """
    if s.format and t.format:
        return matmul(*(x * y for x, y in zip(s.format, t.format, strict=True)))
    return _tensor_product(s, t)


def _tensor_product(s: Target, t: Target) -> Target:
    if s.quadratic or t.quadratic:
        raise StlError("target", f"{s.name}*{t.name}", "targets with two separate arguments")
    shape = [x * y for x, y in zip(s.shape, t.shape, strict=True)]
    _bounded([s, t])
    index = s.index[:, None, :] * np.array(t.shape) + t.index[None, :, :]
    value = s.value[:, None, None] * t.value[None, :, None]
    rows = np.concatenate([index, value], axis=2).reshape(-1, 4)
    return _make(f"{s.name}*{t.name}", shape, rows)


def direct_sum_target(parts: Sequence[Target]) -> Target:
    """Several bilinear maps computed side by side: their vectors one after another, named ``S+T+…``.

    Examples
    --------
    >>> direct_sum_target([matmul(2, 2, 2), matmul(2, 2, 3)]).shape
    (8, 10, 10)
    """
    if not parts or any(t.quadratic for t in parts):
        raise StlError("parts", [t.name for t in parts], "one target or more, with two separate arguments each")
    if len(parts) == 1:
        return parts[0]
    shapes = np.array([t.shape for t in parts])
    before = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(shapes, axis=0)])
    rows = [np.concatenate([t.index + at, t.value[:, None]], axis=1) for t, at in zip(parts, before, strict=False)]
    a, b, c = (int(v) for v in before[-1])
    return _make("+".join(t.name for t in parts), (a, b, c), np.concatenate(rows))


def _bounded(parts: list[Target]) -> None:
    """Refuse a tensor product that is too large, before any of it is built."""
    if prod(prod(t.shape) for t in parts) > MAX_ENTRIES or prod(len(t.index) for t in parts) > MAX_TERMS:
        name = "*".join(t.name for t in parts)
        raise StlError("target", name, f"at most {MAX_ENTRIES} Brent equations and {MAX_TERMS} nonzero entries")


def target(name: str | Target | tuple[int, int, int]) -> Target:
    """The target of that name; a triple (n, m, p) or "n,m,p" means matrix multiplication.

    Raises
    ------
    StlError
        If the name means no target or a dimension is out of range.

    Examples
    --------
    >>> target("polymul:2x2").shape
    (2, 2, 3)
    >>> target((2, 2, 2)) is matmul(2, 2, 2)
    True
    """
    if isinstance(name, Target):
        return name
    if isinstance(name, (tuple, list)) and len(name) == 3:
        return matmul(*(int(v) if isinstance(v, (int, np.integer)) else v for v in name))
    if not isinstance(name, str) or len(name) > 200:
        raise StlError("target", name, KNOWN)
    if len(names := _SUM.split(name)) > 1:
        return direct_sum_target([target(part) for part in names])
    if "*" in name:
        parts = [target(part) for part in name.split("*")]
        _bounded(parts)
        result = parts[0]
        for part in parts[1:]:
            result = _tensor_product(result, part)
        return result
    kind, _, rest = name.partition(":")
    if kind == "group" and rest:
        from .groups import group

        if any(int(v) > MAX_GROUP_ORDER for v in re.findall(r"\d+", rest)):  # before anything is factored or built
            raise StlError("target", name, f"a group of order at most {MAX_GROUP_ORDER}")
        return group_convolution(group(rest).table, rest)
    if kind == "field":
        return field_product(rest)
    if match := re.fullmatch(r"structured:([a-z]{2}):(\d{1,2})x(\d{1,2})x(\d{1,2})([abc]?)", name):
        return structured_product(match[1], *(int(v) for v in match.groups()[1:4]), without=match[5])
    numbers = [int(v) for v in re.findall(r"\d{1,6}", rest)]
    plain = re.fullmatch(r"[\d]{1,6}([x,][\d]{1,6})*", rest) is not None
    if re.fullmatch(r"\d+[x,]\d+[x,]\d+", name):
        return matmul(*(int(v) for v in re.split("[x,]", name)))
    builders = {"matmul": (matmul, 3), "polymul": (polymul, 2), "cyclic": (cyclic_convolution, 1),
                "symmetric": (symmetric_square, 2), "polylow": (polynomial_low, 1)}  # fmt: skip
    if kind in builders and plain and len(numbers) == builders[kind][1]:
        return builders[kind][0](*numbers)
    if name in ("complex", "quaternion"):
        return complex_product() if name == "complex" else quaternion_product()
    raise StlError("target", name, KNOWN)
