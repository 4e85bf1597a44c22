"""Small dense linear algebra inside compiled code: packed Cholesky and matrix products on four-wide vectors.

numba leaves register blocking to the compiler, which finds it only for simple reductions; here four float64 side by
side are a numba type of their own, and the inner loops are written with it.  A factorisation of 208 unknowns runs
at two thirds of the speed of the core's matrix product, about twice that of LAPACK libraries at this size.

*Packed groups.*  Entry (i, k) of a lower triangle lies at ``8 I (I + 1) + 4 k + (i mod 4)`` with I = ⌊i/4⌋: four
rows side by side, columns one after another, groups one after another.  The inner loops of the factorisation then
read all their operands consecutively.

Nothing here allocates, so numba's reference counting is switched off.
"""

# numba infers the types of compiled functions itself; annotations would be ignored.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.extending import models, overload, register_model

from .._jit import njit

__all__ = ["FAST", "PLAIN", "factorise", "increase", "matrix_product", "rank_two", "read", "solve_packed", "write"]

intrinsic: Any = extending.intrinsic

# Functions called from compiled code alone: wrappers for calls from Python would double the compilation.
PLAIN: Any = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip
# Sums may be reordered and fused, but NaN and Inf keep their meaning: they reject a step.
FAST: Any = {**PLAIN, "fastmath": {"reassoc", "contract", "nsz"}}

# -- four doubles in one register ------------------------------------------------------------------------------

_LANES = ir.VectorType(ir.DoubleType(), 4)
_FUSED = ("contract",)


class _Vector(types.Type):
    """Four float64 side by side."""

    def __init__(self) -> None:
        super().__init__(name="float64x4")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LANES)


def _address(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _everywhere(builder, value):
    nothing = ir.Constant(_LANES, ir.Undefined)
    lane = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(lane, nothing, ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4))


@intrinsic
def _load(typing, array, index):
    """Four consecutive entries of a flat array (no bounds check, no negative index)."""

    def generate(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(pointer, _LANES.as_pointer()), align=8)

    return _vector(array, types.intp), generate


@intrinsic
def _store(typing, array, index, value):
    """Write four consecutive entries."""

    def generate(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(pointer, _LANES.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _vector), generate


@intrinsic
def _spread(typing, array, index):
    """One entry of a flat array in all four lanes."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_address(context, builder, signature.args[0], *arguments))
        return _everywhere(builder, value)

    return _vector(array, types.intp), generate


@intrinsic
def _splat(typing, value):
    """One number in all four lanes."""

    def generate(context, builder, signature, arguments):
        return _everywhere(builder, arguments[0])

    return _vector(types.float64), generate


@intrinsic
def _add(typing, x, y, z):
    """x·y + z, fused where the processor can."""

    def generate(context, builder, signature, arguments):
        x, y, z = arguments
        return builder.fadd(builder.fmul(x, y, flags=_FUSED), z, flags=_FUSED)

    return _vector(_vector, _vector, _vector), generate


@intrinsic
def _take(typing, x, y, z):
    """z − x·y, fused where the processor can."""

    def generate(context, builder, signature, arguments):
        x, y, z = arguments
        return builder.fsub(z, builder.fmul(x, y, flags=_FUSED), flags=_FUSED)

    return _vector(_vector, _vector, _vector), generate


@intrinsic
def _times(typing, x, y):
    """x·y."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return _vector(_vector, _vector), generate


@intrinsic
def _zero(typing):
    """Four zeros."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(_LANES, [0.0] * 4)

    return _vector(), generate


@intrinsic
def read(typing, array, index):
    """Entry of an array by its flat position (no bounds check, no negative index)."""

    def generate(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments)
        return context.unpack_value(builder, signature.return_type, pointer)

    return array.dtype(array, types.intp), generate


@intrinsic
def write(typing, array, index, value):
    """Write an entry by its flat position."""

    def generate(context, builder, signature, arguments):
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        context.pack_value(builder, signature.args[2], arguments[2], pointer)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


# -- packed Cholesky factorisation -----------------------------------------------------------------------------


@njit(**PLAIN)
def _twelve(h, l, inverse, i, j):
    """Row groups i, i+1, i+2 of column group j < i of the factor."""
    u, v, w = 8 * i * (i + 1), 8 * (i + 1) * (i + 2), 8 * (i + 2) * (i + 3)
    q, e = 8 * j * (j + 1), 16 * j
    a0, a1, a2, a3 = _load(h, u + e), _load(h, u + e + 4), _load(h, u + e + 8), _load(h, u + e + 12)
    b0, b1, b2, b3 = _load(h, v + e), _load(h, v + e + 4), _load(h, v + e + 8), _load(h, v + e + 12)
    c0, c1, c2, c3 = _load(h, w + e), _load(h, w + e + 4), _load(h, w + e + 8), _load(h, w + e + 12)
    for k in range(0, e, 4):
        x, y, z = _load(l, u + k), _load(l, v + k), _load(l, w + k)
        s = _spread(l, q + k)
        a0, b0, c0 = _take(x, s, a0), _take(y, s, b0), _take(z, s, c0)
        s = _spread(l, q + k + 1)
        a1, b1, c1 = _take(x, s, a1), _take(y, s, b1), _take(z, s, c1)
        s = _spread(l, q + k + 2)
        a2, b2, c2 = _take(x, s, a2), _take(y, s, b2), _take(z, s, c2)
        s = _spread(l, q + k + 3)
        a3, b3, c3 = _take(x, s, a3), _take(y, s, b3), _take(z, s, c3)
    d = q + e
    s = _spread(inverse, 4 * j)
    a0, b0, c0 = _times(a0, s), _times(b0, s), _times(c0, s)
    s = _spread(l, d + 1)
    a1, b1, c1 = _take(a0, s, a1), _take(b0, s, b1), _take(c0, s, c1)
    s = _spread(l, d + 2)
    a2, b2, c2 = _take(a0, s, a2), _take(b0, s, b2), _take(c0, s, c2)
    s = _spread(l, d + 3)
    a3, b3, c3 = _take(a0, s, a3), _take(b0, s, b3), _take(c0, s, c3)
    s = _spread(inverse, 4 * j + 1)
    a1, b1, c1 = _times(a1, s), _times(b1, s), _times(c1, s)
    s = _spread(l, d + 6)
    a2, b2, c2 = _take(a1, s, a2), _take(b1, s, b2), _take(c1, s, c2)
    s = _spread(l, d + 7)
    a3, b3, c3 = _take(a1, s, a3), _take(b1, s, b3), _take(c1, s, c3)
    s = _spread(inverse, 4 * j + 2)
    a2, b2, c2 = _times(a2, s), _times(b2, s), _times(c2, s)
    s = _spread(l, d + 11)
    a3, b3, c3 = _take(a2, s, a3), _take(b2, s, b3), _take(c2, s, c3)
    s = _spread(inverse, 4 * j + 3)
    a3, b3, c3 = _times(a3, s), _times(b3, s), _times(c3, s)
    _store(l, u + e, a0), _store(l, u + e + 4, a1), _store(l, u + e + 8, a2), _store(l, u + e + 12, a3)
    _store(l, v + e, b0), _store(l, v + e + 4, b1), _store(l, v + e + 8, b2), _store(l, v + e + 12, b3)
    _store(l, w + e, c0), _store(l, w + e + 4, c1), _store(l, w + e + 8, c2), _store(l, w + e + 12, c3)


@njit(**PLAIN)
def _four(h, l, inverse, i, j):
    """Row group i of column group j ≤ i of the factor; for i = j only the products are taken off."""
    u, q, e = 8 * i * (i + 1), 8 * j * (j + 1), 16 * j
    a0, a1, a2, a3 = _load(h, u + e), _load(h, u + e + 4), _load(h, u + e + 8), _load(h, u + e + 12)
    for k in range(0, e, 4):
        x = _load(l, u + k)
        a0, a1 = _take(x, _spread(l, q + k), a0), _take(x, _spread(l, q + k + 1), a1)
        a2, a3 = _take(x, _spread(l, q + k + 2), a2), _take(x, _spread(l, q + k + 3), a3)
    if i > j:
        d = q + e
        a0 = _times(a0, _spread(inverse, 4 * j))
        a1 = _times(_take(a0, _spread(l, d + 1), a1), _spread(inverse, 4 * j + 1))
        a2 = _take(a1, _spread(l, d + 6), _take(a0, _spread(l, d + 2), a2))
        a2 = _times(a2, _spread(inverse, 4 * j + 2))
        a3 = _take(a1, _spread(l, d + 7), _take(a0, _spread(l, d + 3), a3))
        a3 = _times(_take(a2, _spread(l, d + 11), a3), _spread(inverse, 4 * j + 3))
    _store(l, u + e, a0), _store(l, u + e + 4, a1), _store(l, u + e + 8, a2), _store(l, u + e + 12, a3)


@njit(**PLAIN)
def _corner(l, diagonal, inverse, j):
    """Factor the 4×4 corner of column group j in place, `diagonal` added first; False if it is not positive."""
    p = 8 * j * (j + 1) + 16 * j
    for c in range(4):
        s = l[p + 5 * c] + diagonal[4 * j + c]
        for k in range(c):
            s -= l[p + 4 * k + c] ** 2
        if not s > 0.0:
            return False
        s = np.sqrt(s)
        l[p + 5 * c] = s
        inverse[4 * j + c] = 1.0 / s
        for a in range(c + 1, 4):
            t = l[p + 4 * c + a]
            for k in range(c):
                t -= l[p + 4 * k + a] * l[p + 4 * k + c]
            l[p + 4 * c + a] = t / s
    return True


@njit(**PLAIN)
def factorise(h, diagonal, l, inverse, columns, rows):
    """Packed Cholesky factor `l` of the packed matrix `h` plus a diagonal; sizes in groups of four.

    `h` is kept.  Rows beyond the columns are solved for: a right-hand side gᵀ there becomes (L⁻¹g)ᵀ.  Panels of
    columns are as wide as fits half the usual second-level cache together with the rows in flight.
    """
    panel = max(3, 7000 // (columns + 1))
    for low in range(0, columns, panel):
        high = min(columns, low + panel)
        for j in range(low, high):
            _four(h, l, inverse, j, j)
            if not _corner(l, diagonal, inverse, j):
                return False
            i = j + 1
            while i + 3 <= high:
                _twelve(h, l, inverse, i, j)
                i += 3
            while i < high:
                _four(h, l, inverse, i, j)
                i += 1
        i = high
        while i + 3 <= rows:
            for j in range(low, high):
                _twelve(h, l, inverse, i, j)
            i += 3
        while i < rows:
            for j in range(low, high):
                _four(h, l, inverse, i, j)
            i += 1
    return True


@njit(**FAST)
def solve_packed(l, inverse, x, columns):
    """Solve Lᵀx = y in place, where y is row ``4·columns`` of the packed factor."""
    last = 8 * columns * (columns + 1)
    for k in range(4 * columns):
        x[k] = l[last + 4 * k]
    for i in range(columns - 1, -1, -1):
        p = 8 * i * (i + 1)
        d = p + 16 * i
        x3 = x[4 * i + 3] * inverse[4 * i + 3]
        x2 = (x[4 * i + 2] - l[d + 11] * x3) * inverse[4 * i + 2]
        x1 = (x[4 * i + 1] - l[d + 6] * x2 - l[d + 7] * x3) * inverse[4 * i + 1]
        x0 = (x[4 * i] - l[d + 1] * x1 - l[d + 2] * x2 - l[d + 3] * x3) * inverse[4 * i]
        x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3] = x0, x1, x2, x3
        for k in range(4 * i):
            x[k] -= l[p + 4 * k] * x0 + l[p + 4 * k + 1] * x1 + l[p + 4 * k + 2] * x2 + l[p + 4 * k + 3] * x3


# -- matrix products --------------------------------------------------------------------------------------------


def matrix_product(out, o, width, a, p, down, along, b, q, ld, m, n, k):
    """out[i, v] = Σ_t a[i, t] b[t, v] on flat positions; n a multiple of four."""


@overload(matrix_product, jit_options=FAST)
def _product_of(out, o, width, a, p, down, along, b, q, ld, m, n, k):
    if isinstance(a.dtype, types.Complex):
        return _product_complex
    return _product_real


def _product_complex(out, o, width, a, p, down, along, b, q, ld, m, n, k):
    for i in range(m):
        for v in range(n):
            write(out, o + i * width + v, 0j)
        for t in range(k):
            s = read(a, p + i * down + t * along)
            for v in range(n):
                e = o + i * width + v
                write(out, e, read(out, e) + s * read(b, q + t * ld + v))


def _product_real(out, o, width, a, p, down, along, b, q, ld, m, n, k):
    for i in range(0, m - m % 4, 4):
        p0 = p + i * down
        p1, p2, p3 = p0 + down, p0 + 2 * down, p0 + 3 * down
        e = o + i * width
        for v in range(0, n - n % 8, 8):
            c0, c1, c2, c3, d0, d1, d2, d3 = _zero(), _zero(), _zero(), _zero(), _zero(), _zero(), _zero(), _zero()
            for t in range(k):
                x, y = _load(b, q + t * ld + v), _load(b, q + t * ld + v + 4)
                s = _spread(a, p0 + t * along)
                c0, d0 = _add(x, s, c0), _add(y, s, d0)
                s = _spread(a, p1 + t * along)
                c1, d1 = _add(x, s, c1), _add(y, s, d1)
                s = _spread(a, p2 + t * along)
                c2, d2 = _add(x, s, c2), _add(y, s, d2)
                s = _spread(a, p3 + t * along)
                c3, d3 = _add(x, s, c3), _add(y, s, d3)
            _store(out, e + v, c0), _store(out, e + v + 4, d0)
            _store(out, e + width + v, c1), _store(out, e + width + v + 4, d1)
            _store(out, e + 2 * width + v, c2), _store(out, e + 2 * width + v + 4, d2)
            _store(out, e + 3 * width + v, c3), _store(out, e + 3 * width + v + 4, d3)
        for v in range(n - n % 8, n, 4):
            c0, c1, c2, c3 = _zero(), _zero(), _zero(), _zero()
            for t in range(k):
                x = _load(b, q + t * ld + v)
                c0, c1 = _add(x, _spread(a, p0 + t * along), c0), _add(x, _spread(a, p1 + t * along), c1)
                c2, c3 = _add(x, _spread(a, p2 + t * along), c2), _add(x, _spread(a, p3 + t * along), c3)
            _store(out, e + v, c0), _store(out, e + width + v, c1)
            _store(out, e + 2 * width + v, c2), _store(out, e + 3 * width + v, c3)
    for i in range(m - m % 4, m):
        for v in range(0, n, 4):
            c0 = _zero()
            for t in range(k):
                c0 = _add(_load(b, q + t * ld + v), _spread(a, p + i * down + t * along), c0)
            _store(out, o + i * width + v, c0)


# -- entries of a packed matrix; a complex entry is the 2×2 block [[Re, −Im], [Im, Re]] ---------------------------


def increase(h, row, column, value):
    """Add to one entry."""


@overload(increase, jit_options=FAST)
def _increase_of(h, row, column, value):
    if isinstance(value, types.Complex):
        return _increase_complex
    return _increase_real


def _increase_real(h, row, column, value):
    i = row >> 2
    p = 8 * i * (i + 1) + (row & 3) + 4 * column
    write(h, p, read(h, p) + value)


def _increase_complex(h, row, column, value):
    i = row >> 1
    p = 8 * i * (i + 1) + 2 * (row & 1) + 8 * column
    write(h, p, read(h, p) + value.real)
    write(h, p + 1, read(h, p + 1) + value.imag)
    write(h, p + 4, read(h, p + 4) - value.imag)
    write(h, p + 5, read(h, p + 5) + value.real)


def rank_two(h, row, column, m, n, f, u, p, v, q, f2, p2, q2, corner):
    """Add f · u vᵀ + f2 · u2 v2ᵀ (m × n) at (row, column), for a block on the diagonal (`corner`) its lower part.

    The four vectors start at p, q, p2, q2; `u` has zeros for four entries before and after each of its vectors.
    """


@overload(rank_two, jit_options=FAST)
def _rank_two_of(h, row, column, m, n, f, u, p, v, q, f2, p2, q2, corner):
    if isinstance(f, types.Complex):
        return _rank_two_complex
    return _rank_two_real


def _rank_two_complex(h, row, column, m, n, f, u, p, v, q, f2, p2, q2, corner):
    for i in range(m):
        s, s2 = f * read(u, p + i), f2 * read(u, p2 + i)
        for j in range(i + 1 if corner else n):
            increase(h, row + i, column + j, s * read(v, q + j) + s2 * read(v, q2 + j))


def _rank_two_real(h, row, column, m, n, f, u, p, v, q, f2, p2, q2, corner):
    first, last = row >> 2, (row + m - 1) >> 2
    p, p2 = p - (row & 3), p2 - (row & 3)
    for j in range(n):
        s, s2 = _splat(f * read(v, q + j)), _splat(f2 * read(v, q2 + j))
        low = max(first, (column + j) >> 2) if corner else first
        at, e = 4 * (low - first), 8 * low * (low + 1) + 4 * (column + j)
        for i in range(low, last + 1):
            _store(h, e, _add(_load(u, p + at), s, _add(_load(u, p2 + at), s2, _load(h, e))))
            at, e = at + 4, e + 16 * (i + 1)
