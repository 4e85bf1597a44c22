"""Named encoders: the classical algorithms, each from its published products or its formula.

All are exact over Z unless their docstring says otherwise, and nothing is taken on trust: the tests prove every one.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import permutations

import numpy as np

from .encoder import Encoder
from .errors import StlError
from .rings import Array, Ring, ring
from .targets import complex_product, cyclic_convolution, matmul, polymul, symmetric_square

__all__ = [
    "cyclic_fourier",
    "from_text",
    "gauss",
    "gram",
    "hopcroft",
    "karatsuba",
    "laderman",
    "root_powers",
    "simplex",
    "standard",
    "strassen",
    "toom_cook",
    "winograd",
]

_STRASSEN = """
(a11+a22) (b11+b22)
(a21+a22) (b11)
(a11) (b12-b22)
(a22) (b21-b11)
(a11+a12) (b22)
(a21-a11) (b11+b12)
(a12-a22) (b21+b22)
c11 = m1+m4-m5+m7
c12 = m3+m5
c21 = m2+m4
c22 = m1-m2+m3+m6
"""
_WINOGRAD = """
(a11) (b11)
(a12) (b21)
(a11+a12-a21-a22) (b22)
(a22) (b11-b12-b21+b22)
(a21+a22) (b12-b11)
(a21+a22-a11) (b11-b12+b22)
(a11-a21) (b22-b12)
c11 = m1+m2
c12 = m1+m3+m5+m6
c21 = m1-m4+m6+m7
c22 = m1+m5+m6+m7
"""
_LADERMAN = """
(a11+a12+a13-a21-a22-a32-a33) (b22)
(a11-a21) (-b12+b22)
(a22) (-b11+b12+b21-b22-b23-b31+b33)
(-a11+a21+a22) (b11-b12+b22)
(a21+a22) (-b11+b12)
(a11) (b11)
(-a11+a31+a32) (b11-b13+b23)
(-a11+a31) (b13-b23)
(a31+a32) (-b11+b13)
(a11+a12+a13-a22-a23-a31-a32) (b23)
(a32) (-b11+b13+b21-b22-b23-b31+b32)
(-a13+a32+a33) (b22+b31-b32)
(a13-a33) (b22-b32)
(a13) (b31)
(a32+a33) (-b31+b32)
(-a13+a22+a23) (b23+b31-b33)
(a13-a23) (b23-b33)
(a22+a23) (-b31+b33)
(a12) (b21)
(a23) (b32)
(a21) (b13)
(a31) (b12)
(a33) (b33)
c11 = m6+m14+m19
c12 = m1+m4+m5+m6+m12+m14+m15
c13 = m6+m7+m9+m10+m14+m16+m18
c21 = m2+m3+m4+m6+m14+m16+m17
c22 = m2+m4+m5+m6+m20
c23 = m14+m16+m17+m18+m21
c31 = m6+m7+m8+m11+m12+m13+m14
c32 = m12+m13+m14+m15+m22
c33 = m6+m7+m8+m9+m23
"""
_HOPCROFT = """
(a11+a12) (b21)
(a11) (b11-b21)
(a21+a22) (b12)
(a11+a21) (b11+b12)
(a11-a22) (b12+b21)
(-a11-a12+a31+a32) (-b11+b13)
(a31) (b13)
(a11+a12-a32) (-b11+b13+b21)
(a22) (b12-b22)
(a12+a22) (b21+b22)
(-a21-a22+a31+a32) (-b22+b23)
(a32) (b23)
(-a21+a31) (-b12+b13+b22-b23)
(-a21-a22+a31) (b12-b22+b23)
(-a12+a32) (-b11+b13+b21-b23)
c11 = m1+m2
c12 = -m1+m5+m9+m10
c13 = m2+m8+m12+m15
c21 = -m2-m3+m4-m5
c22 = m3-m9
c23 = m7-m9-m13-m14
c31 = m1-m6+m7-m8
c32 = m3-m11+m12+m14
c33 = m7+m12
"""


def from_text(fmt: tuple[int, int, int], text: str, name: str = "text") -> Encoder:
    """An encoder from the layout papers print: products ``(a11+a22) (b11-2b12)``, then ``c11 = m1+m4``.

    Parameters
    ----------
    fmt : (n, m, p), each at most 9 (indices are one digit, counted from 1)
    text : str
        One product or one output entry a line; coefficients are integers before the symbol.
    name : str
        The origin to record.

    Raises
    ------
    StlError
        For lines that are neither, or indices outside the format.
    """
    n, m, p = fmt
    sizes = {"a": (n, m), "b": (m, p), "c": (n, p)}
    products, outputs = [], {}
    for line in filter(None, ("".join(v.split()).strip(",;") for v in text.splitlines())):
        if match := re.fullmatch(r"(?:m\d+\s*=\s*)?\(([^()]*)\)\s*\*?\s*\(([^()]*)\)", line):
            products.append([_linear(part, s, sizes[s]) for part, s in zip(match.groups(), "ab", strict=True)])
        elif match := re.fullmatch(r"c(\d)(\d)\s*=\s*(.*)", line):
            i, j = int(match[1]) - 1, int(match[2]) - 1
            if not (i < n and j < p):
                raise StlError("text", line, f"entries of C up to c{n}{p}")
            outputs[i * p + j] = match[3]
        else:
            raise StlError("text", line, "'(a…) (b…)' or 'cij = m1+m2…'")
    rank = len(products)
    d = np.zeros((n * p, rank), dtype=np.int64)
    for c, expression in outputs.items():
        d[c] = _linear(expression, "m", (1, rank))
    e_x, e_w = (np.array([row[k] for row in products]) for k in range(2))
    return Encoder.build(fmt, e_x, e_w, d, origin={"family": "published", "name": name})


def _linear(expression: str, symbol: str, shape: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape[0] * shape[1], dtype=np.int64)
    compact = expression.replace(" ", "")
    seen = 0
    for match in re.finditer(rf"([+-]?)(\d{{0,9}}){symbol}(\d{{1,9}})", compact):
        seen += len(match[0])
        digits = match[3]
        row, column = (1, int(digits)) if symbol == "m" else (int(digits[0]), int(digits[1:] or 0))
        place = (row - 1) * shape[1] + column - 1
        if match.start() and not match[1]:
            raise StlError("text", expression, "a sign between terms")
        if not (1 <= row <= shape[0] and 1 <= column <= shape[1]):
            raise StlError("text", match[0], f"an index inside {shape[0]}×{shape[1]}")
        out[place] += int(match[2] or 1) * (-1 if match[1] == "-" else 1)
    if seen != len(compact):
        raise StlError("text", expression, f"a sum of integer multiples of {symbol}…")
    return out


def standard(n: int, m: int, p: int) -> Encoder:
    """The textbook algorithm of rank nmp, terms in the order (i, k, j).

    Examples
    --------
    >>> standard(2, 3, 4).rank
    24
    """
    t = matmul(n, m, p)
    rank = len(t.index)
    e_x, e_w, d = np.zeros((rank, n * m), int), np.zeros((rank, m * p), int), np.zeros((n * p, rank), int)
    l = np.arange(rank)
    e_x[l, t.index[:, 0]] = e_w[l, t.index[:, 1]] = d[t.index[:, 2], l] = 1
    return Encoder.build((n, m, p), e_x, e_w, d, origin={"family": "standard"})


def strassen() -> Encoder:
    """⟨2,2,2;7⟩ (Strassen, Numer. Math. 13, 1969): 18 additions.

    Examples
    --------
    >>> strassen()
    Encoder⟨2,2,2;7⟩ over Z, exact, κ²=4
    """
    return from_text((2, 2, 2), _STRASSEN, "Strassen 1969")


def winograd() -> Encoder:
    """⟨2,2,2;7⟩ in Winograd's form (1971): 15 additions once common subexpressions are shared.

    Examples
    --------
    >>> winograd().rank, winograd().is_exact
    (7, True)
    """
    return from_text((2, 2, 2), _WINOGRAD, "Winograd 1971")


def laderman() -> Encoder:
    """⟨3,3,3;23⟩ (Laderman, Bull. AMS 82, 1976).

    Examples
    --------
    >>> laderman().label
    '⟨3,3,3;23⟩'
    """
    return from_text((3, 3, 3), _LADERMAN, "Laderman 1976")


def hopcroft() -> Encoder:
    """⟨3,2,3;15⟩ (Hopcroft–Kerr, SIAM J. Appl. Math. 20, 1971).

    Examples
    --------
    >>> hopcroft().label
    '⟨3,2,3;15⟩'
    """
    return from_text((3, 2, 3), _HOPCROFT, "Hopcroft-Kerr 1971")


def karatsuba(n: int) -> Encoder:
    """Polynomials with n coefficients in n(n+1)/2 products, over any ring (Weimerskirch–Paar 2006, section 3).

    Uses a_i·b_j + a_j·b_i = (a_i+a_j)(b_i+b_j) − a_i·b_i − a_j·b_j; n = 2 is Karatsuba's algorithm of rank 3.

    Examples
    --------
    >>> karatsuba(2).rank, karatsuba(2).target.name
    (3, 'polymul:2x2')
    """
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    rank = n + len(pairs)
    e = np.zeros((rank, n), dtype=np.int64)
    d = np.zeros((2 * n - 1, rank), dtype=np.int64)
    for i in range(n):
        e[i, i] = d[2 * i, i] = 1
    for l, (i, j) in enumerate(pairs, start=n):
        e[l, i] = e[l, j] = d[i + j, l] = 1
        d[i + j, i] -= 1
        d[i + j, j] -= 1
    return Encoder.build(polymul(n, n), e, e, d, origin={"family": "karatsuba", "parameters": {"n": n}})


def toom_cook(n: int, m: int) -> Encoder:
    """Polynomials with n and m coefficients in n + m − 1 products over Q: evaluation at 0, ±1, ±2, … and ∞.

    Examples
    --------
    >>> toom_cook(3, 3).rank
    5
    """
    target = polymul(n, m)
    rank = n + m - 1
    points = [0, *(s * v for v in range(1, rank) for s in (1, -1))][: rank - 1]

    def evaluate(size: int) -> list[list[int]]:
        return [[v**e for e in range(size)] for v in points] + [[0] * (size - 1) + [1]]

    import flint

    inverse = flint.fmpq_mat(flint.fmpz_mat(evaluate(rank))).inv()
    d = [[Fraction(int(v.p), int(v.q)) for v in row] for row in inverse.tolist()]
    origin = {"family": "toom-cook", "parameters": {"n": n, "m": m}}
    return Encoder.build(target, evaluate(n), evaluate(m), d, ring="Q", origin=origin)


def gauss() -> Encoder:
    """The product of two complex numbers in three real ones (attributed to Gauss): rank 3.

    Examples
    --------
    >>> gauss().rank  # a complex product with three real ones
    3
    """
    e_x, e_w = [[1, 1], [1, 0], [0, 1]], [[1, 0], [-1, 1], [1, 1]]
    return Encoder.build(complex_product(), e_x, e_w, [[1, 0, -1], [1, 1, 0]], origin={"family": "gauss"})


def root_powers(base: Ring, n: int) -> Array:
    """1, ζ, …, ζ^{n−1} in the power basis of ``base`` = Q(ζ_n): integers of shape (n, degree)."""
    out = np.zeros((n, base.degree), dtype=np.int64)
    out[0, 0] = 1
    for k in range(1, n):
        if base.degree == 1:
            out[k] = -out[k - 1]  # ζ_2 = −1
        else:
            step = np.zeros(base.degree, dtype=np.int64)
            step[1] = 1
            out[k] = base.multiply(out[k - 1], step)
    return out


def cyclic_fourier(n: int) -> Encoder:
    """Cyclic convolution of length n in n products over Q(ζ_n): the discrete Fourier transform, D its inverse."""
    base = ring(f"Q(zeta_{n})")
    grid = np.outer(np.arange(n), np.arange(n))
    powers = root_powers(base, n)
    forward, inverse = powers[grid % n], powers[-grid % n]
    if base.degree == 1:
        forward, inverse = forward[..., 0], inverse[..., 0]
    origin = {"family": "fourier", "group": f"C{n}"}
    return Encoder.build(cyclic_convolution(n), forward, forward, (inverse, n), ring=base, origin=origin)


def gram(encoder: Encoder) -> Encoder:
    """C = A·Aᵀ from an encoder of ⟨n,m,n⟩: its second argument becomes Aᵀ, only the upper triangle of C is decoded.

    Products that feed no entry of the upper triangle are dropped, so the rank can fall.
    """
    n, m, p = encoder.format
    if n != p:
        raise StlError("encoder.format", encoder.format, "n,m,n")
    shape = (encoder.rank, m, n, *encoder.e_w.num.shape[2:])
    e_w = np.swapaxes(encoder.e_w.num.reshape(shape), 1, 2).reshape(encoder.e_w.num.shape)
    d = encoder.d.num[[i * n + j for i in range(n) for j in range(i, n)]]
    used = np.flatnonzero((d.reshape(len(d), encoder.rank, -1) != 0).any(axis=(0, 2)))
    factors = ((encoder.e_x.num[used], encoder.e_x.den), (e_w[used], encoder.e_w.den), (d[:, used], encoder.d.den))
    origin = {"family": "gram", "parents": [encoder.digest[:8]]}
    return Encoder.build(symmetric_square(n, m), *factors, encoder.ring, origin)


def simplex(n: int) -> Encoder:
    """The S_{n+1}-invariant ⟨n,n,n; n³−n+1⟩ (Grochow–Moore, "Designing Strassen's algorithm", arXiv:1708.09398).

    With w_0 … w_n the vertices of a regular simplex,
    T = I⊗I⊗I + (n/(n+1))³ Σ_{i,j,k distinct} |w_i⟩⟨w_j−w_i| ⊗ |w_j⟩⟨w_k−w_j| ⊗ |w_k⟩⟨w_i−w_k|.
    In the basis w_1 … w_n every coefficient becomes an integer: w_0 = −Σ w_i, and (n/(n+1))·⟨w_j−w_i| is
    e_j* − e_i* with e_0* = 0, so no irrational number is needed.

    Examples
    --------
    >>> [simplex(n).rank for n in (2, 3, 4)]
    [7, 25, 61]
    """
    if n < 1:
        raise StlError("n", n, "a positive integer")
    ket = np.vstack([-np.ones((1, n), dtype=np.int64), np.eye(n, dtype=np.int64)])
    dual = np.vstack([np.zeros((1, n), dtype=np.int64), np.eye(n, dtype=np.int64)])
    eye = np.eye(n, dtype=np.int64).ravel()
    terms = [(eye, eye, eye)]
    for i, j, k in permutations(range(n + 1), 3):
        cycle = ((i, j), (j, k), (k, i))
        terms.append(tuple(np.outer(dual[t] - dual[s], ket[s]).ravel() for s, t in cycle))  # type: ignore[arg-type]
    # The trace form reads its slots as A, C′, B with C′ = Cᵀ: tr(A·B·C′) needs the chain ⟨…|A|…⟩⟨…|B|…⟩⟨…|C′|…⟩.
    e_x = np.array([t[0] for t in terms])
    e_w = np.array([t[2] for t in terms])
    d = np.array([t[1].reshape(n, n).T.ravel() for t in terms]).T
    return Encoder.build(
        (n, n, n), e_x, e_w, d, origin={"family": "simplex", "group": f"S{n + 1}", "parameters": {"n": n}}
    )
