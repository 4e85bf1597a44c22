"""The product of a group algebra as an exact bilinear algorithm: Fourier transform, block products, transform back.

Over C every irreducible representation of degree d gives one product of d×d matrices. Over R a block is a matrix
algebra over R, over C (three real products for one, Gauss) or over the quaternions, whose product takes eight real
ones (Howell and Lafon 1975): Q8 needs 4 + 8 = 12 products, SL(2,3) needs 1 + 3 + 8 + 3·7 + 23 = 56. The matrices of
each block are multiplied by the encoder of least rank in the catalogue.

Nothing is rounded. Complex algorithms are over Q(ζ_n) with the least n; real ones over Q(2cos(2π/n)), the largest
real subfield, written on powers of 2cos(2π/n); that embedding is the one `stl_algebra.ring` uses, as 2cos(2π/n) is the
largest of its conjugates. Fields of a degree that is no longer practical are left to float64 (`LARGEST_DEGREE`).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import comb, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError, catalogue, group
from stl_algebra import ring as named_ring
from stl_algebra.groups import Cyclotomic, FiniteGroup, FourierTransform, RealFourier, abelian_basis
from stl_algebra.groups.cyclotomic import power_basis, prime_factors, stack, totient
from stl_algebra.groups.realforms import RealForm, quaternionic_coordinates, square_root
from stl_algebra.rings import Array, Ring, spell
from stl_algebra.schemes import gauss, standard
from stl_algebra.targets import Target, group_convolution, quaternion_product

__all__ = ["FIELDS", "algebra", "channels", "hamilton", "matrix_encoder", "real_field"]

FIELDS = ("real", "complex")
#: Number fields of a larger degree than this are left to float64.
LARGEST_DEGREE = 12


def hamilton() -> Encoder:
    """Hamilton's product in eight real products (Howell–Lafon 1975), over Z[1/2].

    The product of Z₂² with all signs positive costs four products (Walsh–Hadamard); it is right up to the sign of the
    first entry and to four terms, which are products of single entries.

    Examples
    --------
    >>> hamilton()
    Encoder⟨quaternion;8⟩ over Z[1/2], exact, κ²=2
    """
    walsh = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    single = [(0, 0), (3, 2), (1, 3), (2, 1)]  # where the signs of the twisted product are wrong
    e_x = np.concatenate([walsh, np.eye(4, dtype=int)[[a for a, _ in single]]])
    e_w = np.concatenate([walsh, np.eye(4, dtype=int)[[b for _, b in single]]])
    sign = np.diag([-1, 1, 1, 1])
    d = np.concatenate([sign @ walsh, 8 * np.diag([1, -1, -1, -1])], axis=1)
    return Encoder.build(quaternion_product(), e_x, e_w, (d, 4), "Z[1/2]", {"family": "hamilton"})


@lru_cache(maxsize=16)
def matrix_encoder(d: int) -> Encoder:
    """The encoder of ⟨d,d,d⟩ of least rank that comes with the package, over Z, Z[1/2] or Q."""
    rings = ("Z", "Z[1/2]", "Q")
    found = [
        (e.rank, rings.index(e.ring)) for e in catalogue.catalogue().where((d, d, d)) if e.exact and e.ring in rings
    ]
    if not found:
        return standard(d, d, d)
    rank, place = min(found)
    return catalogue.best((d, d, d), rank, rings[place])


def channels(name: str, field: str = "real") -> int:
    """Number of products `algebra` takes, from the character table alone.

    Examples
    --------
    >>> channels("Q8"), channels("SL(2,3)"), channels("S3", "complex")
    (12, 56, 9)
    """
    from stl_algebra.groups import character_table, real_multiplications

    _check(field)
    g = group(name)
    if g.is_abelian:
        real = int((g.element_orders <= 2).sum())
        return g.order if field == "complex" else real + 3 * (g.order - real) // 2
    if field == "real":
        return real_multiplications(g, lambda d: matrix_encoder(d).rank)
    return sum(matrix_encoder(int(d)).rank for d in character_table(g).degrees)


def _check(field: str) -> None:
    if field not in FIELDS:
        raise StlError("field", field, ", ".join(FIELDS))


@lru_cache(maxsize=32)
def algebra(name: str, field: str = "real") -> Encoder:
    """The product of the group algebra, as an encoder with target ``group:NAME``.

    Parameters
    ----------
    name : str
        Of the group, as `stl_algebra.group` reads it.
    field : "real" or "complex"

    Returns
    -------
    Encoder
        Of rank `channels`; over Q, Q(√d), a real number field or Q(ζ_n), over R64 if the field is too large. Blocks
        follow one another; ``origin["blocks"]`` lists their (type, size, first channel, channels).

    Raises
    ------
    StlError
        If the name means no group or the field is neither.

    Examples
    --------
    >>> algebra("Q8").rank, algebra("C3", "complex").ring.name
    (12, 'Q(zeta_3)')
    """
    _check(field)
    g = group(name)
    if g.is_abelian:
        parts = _abelian_blocks(g, field)
    else:
        parts = _complex_blocks(g) if field == "complex" else [_real_block(form, g) for form in RealFourier(g).forms]
    left = [_times(e.e_x.num, e.e_x.den, forward) for _, _, e, forward, _ in parts]
    right = [_times(e.e_w.num, e.e_w.den, forward) for _, _, e, forward, _ in parts]
    back = [_times(np.swapaxes(e.d.num, 0, 1), e.d.den, b) for _, _, e, _, b in parts]
    blocks, at = [], 0
    for kind, size, e, _, _ in parts:
        blocks.append([kind, size, at, e.rank])
        at += e.rank
    origin: dict[str, Any] = {"family": "wedderburn", "group": name, "parameters": {"field": field}, "blocks": blocks}
    factors = [_joined(left), _joined(right), _joined(back).transpose()]
    return _built(group_convolution(g.table, name), factors, field, origin)


def _times(num: Array, den: int, rows: Cyclotomic) -> Cyclotomic:
    """A rational matrix times one over Q(ζ_n)."""
    return Cyclotomic.rational(num) @ rows / den


def _joined(parts: list[Cyclotomic]) -> Cyclotomic:
    return stack([part[i] for part in parts for i in range(len(part))])


def _complex_blocks(g: FiniteGroup) -> list[tuple[str, int, Encoder, Cyclotomic, Cyclotomic]]:
    """(type, size, encoder, forward rows, rows of the transform back) of each irreducible representation."""
    transform = FourierTransform(g)
    forward, backward = transform.matrix, transform.inverse_matrix.transpose()
    out, at = [], 0
    for rho in transform.irreps:
        d = rho.dimension
        part = slice(at, at + d * d)
        out.append((rho.type, d, matrix_encoder(d), forward[part].minimal(), backward[part].minimal()))
        at += d * d
    return out


def _abelian_blocks(g: FiniteGroup, field: str) -> list[tuple[str, int, Encoder, Cyclotomic, Cyclotomic]]:
    """The same from the characters χ_j(s_0^i_0 s_1^i_1 …) = Π ζ_(o_k)^(i_k j_k), without a character table."""
    generators, orders = abelian_basis(g)
    grid, powers = np.zeros((1, 0), np.int64), np.array([g.identity])
    for s, o in zip(generators, orders, strict=True):
        step = np.array([g.power(s, k) for k in range(o)])
        powers = np.asarray(g.table)[powers[:, None], step[None, :]].ravel()
        grid = np.concatenate([np.repeat(grid, o, axis=0), np.tile(np.arange(o), len(grid))[:, None]], axis=1)
    place = np.argsort(powers)  # exponents of element g are grid[place[g]]
    weights = np.array([g.exponent // o for o in orders], dtype=np.int64)
    exponents = (grid * weights) @ grid[place].T % g.exponent  # (character, element)
    values = Cyclotomic.roots_of_unity(exponents, g.exponent)
    out = []
    for row in range(g.order):
        chi = values[row : row + 1]
        other = int(np.flatnonzero((exponents == -exponents[row] % g.exponent).all(axis=1))[0])
        if field == "complex" or other == row:
            kind = "real" if other == row else "complex"
            out.append((kind, 1, matrix_encoder(1), chi, chi.conj() / g.order))
        elif row < other:
            re, im = chi.real_imag()
            out.append(("complex", 1, gauss(), _joined([re, im]), _joined([re, im]) * 2 / g.order))
    return out


def _real_block(form: RealForm, g: FiniteGroup) -> tuple[str, int, Encoder, Cyclotomic, Cyclotomic]:
    """As `_complex_blocks`; f(g) = (d/|G|) tr(f̂ ρ(g⁻¹)), twice its real part where ρ stands for itself and ρ̄."""
    n, rho = g.order, form.irrep
    d = rho.dimension
    if form.type == "real":
        rows = form.matrices.transpose(1, 2, 0).reshape(d * d, n)
        back = form.matrices[g.inverse].transpose(2, 1, 0).reshape(d * d, n) * d / n
        return form.type, d, matrix_encoder(d), rows.minimal(), back.minimal()
    if form.type == "complex":
        flat = rho.matrices.transpose(1, 2, 0).reshape(d * d, n)
        undo = rho.matrices[g.inverse].transpose(2, 1, 0).reshape(d * d, n) * (2 * d) / n
        encoder = gauss().kron(matrix_encoder(d))
        re, im = undo.real_imag()
        return form.type, d, encoder, _joined([*flat.real_imag()]).minimal(), _joined([re, -im]).minimal()
    m = d // 2
    pairs, gamma = quaternionic_coordinates(rho)  # [[a, γ b̄], [b, ā]]; with b·ν for b, |ν|² = −γ, it is Hamilton's
    a, b = pairs[..., 0], pairs[..., 1] * _of_norm(-gamma.fractions()[()], pairs.minimal().conductor)
    inverse_a, inverse_b = a[g.inverse], b[g.inverse]

    def coordinates(u: Cyclotomic, v: Cyclotomic, sign: int, factor: int) -> Cyclotomic:
        """1, i, j, k of a + j·… for entries (s, t): (re a, im a, re b, −im b), shape (m·m·4, n)."""
        (ra, ia), (rb, ib) = u.real_imag(), v.real_imag()
        four = stack([ra, ia * sign, rb * sign, ib * -sign])  # (4, n, m, m)
        return (four.transpose(2, 3, 0, 1).reshape(4 * m * m, n) * factor).minimal()

    encoder = matrix_encoder(m).kron(hamilton())
    back = coordinates(inverse_a.mT, inverse_b.mT, -1, 2 * d) / n
    return form.type, m, encoder, coordinates(a, b, 1, 1), back.minimal()


def _of_norm(value: Fraction, n: int) -> Cyclotomic:
    """ν with |ν|² = value > 0 and as small a square root in it as possible: ν = λ·√(value/|λ|²), λ in Z[ζ_n]."""
    width = totient(n)
    reach = np.arange(-6, 7) if width <= 2 else np.arange(-2, 3)
    grid = np.stack(np.meshgrid(*[reach] * min(width, 4), indexing="ij"), axis=-1).reshape(-1, min(width, 4))
    num = np.zeros((len(grid), width), dtype=np.int64)
    num[:, : grid.shape[1]] = grid
    candidates = Cyclotomic(num[grid.any(axis=1)], n)
    norms = candidates * candidates.conj()
    rational = np.flatnonzero((norms.num[..., 1:] == 0).all(axis=-1))
    lengths = [Fraction(int(v)) for v in norms.num[rational, 0]]
    best = min(range(len(lengths)), key=lambda i: (_kernel(value / lengths[i]), lengths[i]))
    return candidates[int(rational[best])] * square_root(value / lengths[best])


def _kernel(value: Fraction) -> int:
    """The squarefree number whose root generates Q(√value)."""
    whole, out = value.numerator * value.denominator, 1
    for q in prime_factors(whole):
        power = 0
        while whole % q == 0:
            whole, power = whole // q, power + 1
        out *= q ** (power % 2)
    return out


def _built(of: Target, factors: list[Cyclotomic], field: str, origin: dict[str, Any]) -> Encoder:
    small = [f.minimal() for f in factors]
    conductor = lcm(*(f.conductor for f in small))
    wide = [f.lift(conductor) for f in small]
    degree = totient(conductor) if field == "complex" else max(1, totient(conductor) // 2)
    if degree > LARGEST_DEGREE:
        values = [f.complex() for f in wide]
        if field == "complex":
            return Encoder.build(of, values[0], values[1], values[2], "C128", origin)
        return Encoder.build(of, values[0].real, values[1].real, values[2].real, "R64", origin)
    if field == "real":
        base = real_field(conductor)
        parts = [_on_real_powers(f, base) for f in wide]
    else:
        base = named_ring(f"Q(zeta_{conductor})")
        parts = [(f.num[..., 0] if degree == 1 else f.num, f.den) for f in wide]
    if base.name == "Q" and all(den & (den - 1) == 0 for _, den in parts):
        base = named_ring("Z[1/2]")
    return Encoder.build(of, parts[0], parts[1], parts[2], base, origin)


@lru_cache(maxsize=64)
def real_field(n: int) -> Ring:
    """Q(2cos(2π/n)), the real subfield of Q(ζ_n).

    Examples
    --------
    >>> [real_field(n).name for n in (3, 5, 8, 7)]
    ['Q', 'Q[x]/(x^2+x-1)', 'Q(sqrt(2))', 'Q[x]/(x^3+x^2-2x-1)']
    """
    degree = max(1, totient(n) // 2)
    if degree == 1:
        return named_ring("Q")
    powers = _real_powers(n, degree + 1)
    import flint

    known = flint.fmpq_mat(flint.fmpz_mat([[int(v) for v in row] for row in powers[:degree].T]))
    kept = _independent(powers[:degree].T)
    square = flint.fmpq_mat(degree, degree, [known[i, j] for i in kept for j in range(degree)])
    last = flint.fmpq_mat(degree, 1, [int(powers[degree][i]) for i in kept])
    solved = square.solve(last)
    return named_ring(f"Q[x]/({spell((*(-int(solved[i, 0].p) for i in range(degree)), 1))})")


def _real_powers(n: int, count: int) -> NDArray[np.int64]:
    """(2cos(2π/n))^k for k < count in the power basis of Q(ζ_n), shape (count, φ(n))."""
    basis = power_basis(n)
    return np.array([sum(comb(k, j) * basis[(k - 2 * j) % n] for j in range(k + 1)) for k in range(count)])


def _independent(rows: NDArray[np.int64]) -> list[int]:
    """Indices of the first rows of full rank (few rows, small integers: ranks in floating point are safe)."""
    kept: list[int] = []
    for i in range(len(rows)):
        if np.linalg.matrix_rank(rows[[*kept, i]].astype(float)) > len(kept):
            kept.append(i)
    return kept


def _on_real_powers(values: Cyclotomic, base: Ring) -> tuple[Array, int]:
    """Numerators on 1, c, c², … for c = 2cos(2π/n), and their denominator; the numbers are real."""
    import flint

    if base.degree == 1:
        small = values.minimal()
        if small.conductor != 1:
            raise StlError("values", small, "rational numbers")
        return small.num[..., 0], small.den
    powers = _real_powers(values.conductor, base.degree)
    kept = _independent(powers.T)
    inverse = flint.fmpq_mat(flint.fmpz_mat([[int(v) for v in powers[:, i]] for i in kept])).inv()
    num, den = inverse.numer_denom()
    back = np.array([[int(v) for v in row] for row in num.tolist()], dtype=object)
    out = values.num[..., kept].astype(object) @ back.T
    if (out @ powers.astype(object) != values.num.astype(object) * int(den)).any():
        raise StlError("values", values, "real numbers")
    return out, int(den) * values.den
