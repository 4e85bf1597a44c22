"""Compiled Levenberg–Marquardt steps of single restarts (numba), one restart at a time in one core's cache.

The same objective, normal equations and acceptance rule as the batched torch code of
:mod:`search.lm.engine` and :mod:`search.lm.assembly`, which stays the oracle; the arrays are described
in :mod:`search.lm.compiled`.  What makes it fast:

* the normal matrix is assembled where it is factored, in the packed order of :mod:`search.lm._packed`, and
  the right-hand side rides along as one more row, so forward substitution costs nothing;
* after a rejected step only the damping has changed, and the assembled matrix is used again;
* one restart's arrays stay in the core's second-level cache; threads share nothing.

Complex systems are factored as real ones of twice the size, [[Re, −Im], [Im, Re]] for each entry.
"""

# numba infers the types of compiled functions itself; annotations would be ignored.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return,misc"

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files

import numpy as np
from numba import types
from numba.extending import overload

from .._jit import njit
from ._packed import FAST, PLAIN, factorise, increase, matrix_product, rank_two, read, solve_packed, write

__all__ = ["advance"]


def _joined(like, real, imag):
    """The number real + i·imag in the field of `like`."""


@overload(_joined, jit_options=FAST)
def _joined_of(like, real, imag):
    if isinstance(like, types.Complex):
        return lambda like, real, imag: complex(real, imag)
    return lambda like, real, imag: real


# -- pieces of a step ------------------------------------------------------------------------------------------


@njit(**FAST)
def expand(plan, work, theta):
    """All terms x[slot, term, :], and the conjugate representatives with the vector index first."""
    x, first, turned = work.x, plan.first, work.turned
    rank, length, pad = plan.rank, plan.length, plan.pad
    for m in range(len(plan.maps)):
        slot, term, size, count, start, width, low, high = plan.maps[m]
        for k in range(count):
            base = (slot * rank + term + k * size) * length
            for d in range(length):
                write(x, base + d, plan.value[0] * 0)
            for e in range(low, high):
                at = base + plan.row[e]
                write(x, at, read(x, at) + plan.value[e] * theta[start + k * width + plan.column[e]])
    for slot in range(3):
        for rep in range(len(first)):
            base = (slot * rank + first[rep]) * length
            for d in range(length):
                write(turned, (slot * length + d) * pad + rep, np.conj(read(x, base + d)))


@njit(**FAST)
def subtract_model(plan, work):
    """Residual T − T̂ (a·b rows of padded length) into ``work.residual``; its squared norm is returned."""
    x, pairs, out = work.x, work.pairs, work.residual
    rank, length, pad = plan.rank, plan.length, plan.last_pad
    a, b, _ = plan.dims
    wide = a * b
    for l in range(rank):
        for i in range(a):
            s = read(x, l * length + i)
            for j in range(b):
                write(pairs, l * wide + i * b + j, s * read(x, (rank + l) * length + j))
    matrix_product(out, 0, pad, pairs, 0, 1, wide, x, 2 * rank * length, length, a * b, pad, rank)
    total = 0.0
    for e in range(out.size):
        t = read(plan.target, e) - read(out, e)
        write(out, e, t)
        total += t.real * t.real + t.imag * t.imag
    return total


@njit(**FAST)
def slopes(plan, work):
    """Jᴴ(T − T̂) into ``work.gradient``, from the residual and the representatives."""
    turned, third, slope, pairs, out = work.turned, work.third, work.slope, work.pairs, work.residual
    gradient = work.gradient
    length, pad, width = plan.length, plan.pad, plan.last_pad
    reps = len(plan.first)
    a, b, c = plan.dims
    wide = a * b
    matrix_product(third, 0, pad, out, 0, width, 1, turned, 2 * length * pad, pad, a * b, pad, c)
    nothing = plan.value[0] * 0
    for e in range(slope.size):
        write(slope, e, nothing)
    for i in range(a):
        for j in range(b):
            for rep in range(pad):
                t = read(third, (i * b + j) * pad + rep)
                e, f = i * pad + rep, (length + j) * pad + rep
                write(slope, e, read(slope, e) + t * read(turned, f))
                write(slope, f, read(slope, f) + t * read(turned, e))
    if plan.third_slot:
        for rep in range(reps):
            for i in range(a):
                s = read(turned, i * pad + rep)
                for j in range(b):
                    write(pairs, rep * wide + i * b + j, s * read(turned, (length + j) * pad + rep))
        matrix_product(work.last, 0, width, pairs, 0, wide, 1, out, 0, width, reps, width, a * b)
        for rep in range(reps):
            for d in range(c):
                write(slope, (2 * length + d) * pad + rep, read(work.last, rep * width + d))
    for i in range(len(gradient)):
        gradient[i] = nothing
    for m in range(len(plan.pulls)):
        slot, rep, count, start, width, low, high = plan.pulls[m]
        for k in range(count):
            for e in range(low, high):
                g = read(slope, (slot * length + plan.row[e]) * pad + rep + k)
                gradient[start + k * width + plan.column[e]] += plan.pull_weight[m] * np.conj(plan.value[e]) * g


@njit(**FAST)
def _tables(plan, work):
    """What the Gram is made of: inner products, images under the adjoint maps, conjugate rights."""
    x, turned, inner, image, right = work.x, work.turned, work.inner, work.image, work.right
    rank, length, pad, reps, wide = plan.rank, plan.length, plan.pad, len(plan.first), plan.wide
    nothing = plan.value[0] * 0
    for s in range(3):
        matrix_product(
            inner,
            s * rank * pad,
            pad,
            x,
            s * rank * length,
            length,
            1,
            turned,
            s * length * pad,
            pad,
            rank,
            pad,
            plan.dims[s],
        )
    for m in range(len(plan.images)):
        slot, terms, low, high = plan.images[m]
        for l in range(terms):
            base, source = (m * rank + l) * (wide + 8) + 4, (slot * rank + l) * length
            for d in range(wide):
                write(image, base + d, nothing)
            for e in range(low, high):
                at = base + plan.column[e]
                write(image, at, read(image, at) + np.conj(plan.value[e]) * read(x, source + plan.row[e]))
    for m in range(len(plan.rights)):
        slot, start, low, high = plan.rights[m]
        for rep in range(start, reps):
            base, source = (m * reps + rep) * wide, slot * length * pad + rep
            for d in range(wide):
                write(right, base + d, nothing)
            for e in range(low, high):
                at = base + plan.column[e]
                write(right, at, read(right, at) + plan.value[e] * read(turned, source + plan.row[e] * pad))


@njit(**FAST)
def assemble(plan, work):
    """JᴴJ, lower triangle, packed, into ``work.h``."""
    _tables(plan, work)
    inner, h, rank, pad, reps, wide = work.inner, work.h, plan.rank, plan.pad, len(plan.first), plan.wide
    for e in range(len(h)):
        h[e] = 0.0
    for c in range(len(plan.cells)):
        row0, q, rep0, rows, col0, q2, term0, size, cols, low, high, s_low, s_high, same_block = plan.cells[c]
        weight = plan.cell_weight[c]
        for k in range(rows):
            rep, row = rep0 + k, row0 + k * q
            for l in range(k + 1 if same_block else cols):
                term, col = term0 + l * size, col0 + l * q2
                corner = same_block == 1 and k == l
                for e in range(low, high, 2):  # an odd last one is paired with itself, times zero
                    e2 = min(e + 1, high - 1)
                    image, j, third, right = plan.cross[e]
                    image2, j2, third2, right2 = plan.cross[e2]
                    factor = weight * read(inner, (third * rank + term + j) * pad + rep)
                    factor2 = weight * (e2 - e) * read(inner, (third2 * rank + term + j2) * pad + rep)
                    rank_two(
                        h,
                        row,
                        col,
                        q,
                        q2,
                        factor,
                        work.image,
                        (image * rank + term + j) * (wide + 8) + 4,
                        work.right,
                        (right * reps + rep) * wide,
                        factor2,
                        (image2 * rank + term + j2) * (wide + 8) + 4,
                        (right2 * reps + rep) * wide,
                        corner,
                    )
                for s in range(s_low, s_high):
                    slot, j, e_low, e_high = plan.same[s]
                    t = ((slot + 1) % 3 * rank + term + j) * pad + rep
                    t2 = ((slot + 2) % 3 * rank + term + j) * pad + rep
                    factor = weight * read(inner, t) * read(inner, t2)
                    for e in range(e_low, e_high):
                        i, i2 = plan.same_row[e], plan.same_column[e]
                        if not corner or i2 <= i:
                            increase(h, row + i, col + i2, factor * plan.same_value[e])


@njit(**PLAIN)
def _beyond(x, bound):
    return x - min(max(x, -bound), bound)


@njit(**PLAIN)
def _off_grid(x, grid):
    return x - np.rint(x / grid) * grid


@njit(**FAST)
def _measure(plan, rules, work, theta):
    """Unweighted ‖·‖² penalty, κ² sum, excess over the clamp and distance from the grid (terms in ``work.x``)."""
    norm, kappa, excess, distance = 0.0, 0.0, 0.0, 0.0
    for i in range(len(theta)):
        t = theta[i]
        norm += plan.metric[i] * (t.real * t.real + t.imag * t.imag)
    if rules.kappa_weight > 0:
        x, rank, length = work.x, plan.rank, plan.length
        for rep in range(len(plan.first)):
            product = plan.orbit[rep]
            for slot in range(3):
                square = 0.0
                for d in range(length):
                    t = read(x, (slot * rank + plan.first[rep]) * length + d)
                    square += t.real * t.real + t.imag * t.imag
                work.strength[slot * plan.pad + rep] = square
                product *= square
            kappa += product
    if rules.clamp_weight > 0:
        for i in range(len(theta)):
            excess += _beyond(theta[i].real, rules.clamp) ** 2 + _beyond(theta[i].imag, rules.clamp) ** 2
    if rules.pull > 0:
        for i in range(len(theta)):
            distance += _off_grid(theta[i].real, rules.grid) ** 2 + _off_grid(theta[i].imag, rules.grid) ** 2
    return norm, kappa, excess, distance


@njit(**FAST)
def _ridges(plan, work):
    """Weights with ∂(κ² sum)/∂θ = 2·ridge·θ into ``work.ridge``, from the strengths just measured."""
    ridge, s = work.ridge, work.strength
    for i in range(len(ridge)):
        ridge[i] = 0.0
    for m in range(len(plan.ridges)):
        slot, rep, count, start, width = plan.ridges[m]
        for k in range(count):
            others = s[(slot + 1) % 3 * plan.pad + rep + k] * s[(slot + 2) % 3 * plan.pad + rep + k]
            for i in range(start + k * width, start + (k + 1) * width):
                ridge[i] += plan.ridge_weight[m] * others


@njit(**FAST)
def _propose(plan, rules, work, weights, damping, theta, new):
    """Solve the damped system and write θ + step into `new`; False if it is not positive or not finite."""
    h, diagonal, columns, parts = work.h, work.diagonal, len(work.diagonal) // 4, plan.parts
    mu, kappa, clamp, pull = weights
    last = 8 * columns * (columns + 1)
    for i in range(len(theta)):
        t = theta[i]
        curvature = mu * plan.metric[i] + kappa * work.ridge[i]
        real, imag = work.gradient[i].real - curvature * t.real, work.gradient[i].imag - curvature * t.imag
        if clamp > 0:
            x, y = _beyond(t.real, rules.clamp), _beyond(t.imag, rules.clamp)
            real, imag = real - clamp * x, imag - clamp * y
            curvature += clamp * (x != 0 or y != 0)
        if pull > 0:
            x, y = _off_grid(t.real, rules.grid), _off_grid(t.imag, rules.grid)
            real, imag = real - pull * x, imag - pull * y
            curvature += pull * (x != 0 or y != 0)
        d = curvature + damping * plan.metric[i]
        e = parts * i
        diagonal[e], diagonal[e + parts - 1] = d, d
        h[last + 4 * (e + parts - 1)] = imag
        h[last + 4 * e] = real
    if not factorise(h, diagonal, work.l, work.inverse, columns, columns + 1):
        return False
    move = work.move
    solve_packed(work.l, work.inverse, move, columns)
    total = 0.0
    for i in range(len(theta)):
        new[i] = theta[i] + _joined(theta[i], move[parts * i], move[parts * i + parts - 1])
        total += abs(new[i])
    return np.isfinite(total)


def _entry(sources):
    """The one function that is cached on disk.

    numba looks at the date of one file only, but at the values a function closes over: the digest of all sources.
    """

    def advance(plan, rules, work, theta, damping, fit, count, polish, low, high, steps):
        """`steps` Levenberg–Marquardt iterations of the restarts `low` … `high`−1, in place."""
        if len(sources) == 0:
            return
        new = work.new
        for n in range(low, high):
            here = theta[n]
            expand(plan, work, here)
            subtract_model(plan, work)
            norm, kappa, excess, distance = _measure(plan, rules, work, here)
            fresh = True
            for _ in range(steps):
                if fresh:
                    slopes(plan, work)
                    assemble(plan, work)
                    if rules.kappa_weight > 0:
                        _ridges(plan, work)
                progress = count[n] / rules.iterations
                on = 1.0 if polish[n] == 0 else 0.0
                mu = on * rules.mu_start * (rules.mu_end / rules.mu_start) ** min(1.0, progress / rules.anneal)
                pull = on * rules.pull if progress >= rules.pull_from else 0.0
                weights = (mu, on * rules.kappa_weight, on * rules.clamp_weight, pull)
                fresh = False
                if _propose(plan, rules, work, weights, damping[n], here, new):
                    expand(plan, work, new)
                    there = subtract_model(plan, work)
                    n2, k2, e2, d2 = _measure(plan, rules, work, new)
                    gain = mu * (norm - n2) + weights[1] * (kappa - k2)
                    gain += weights[2] * (excess - e2) + weights[3] * (distance - d2)
                    fresh = there - gain < fit[n]
                if fresh:
                    for i in range(len(here)):
                        here[i] = new[i]
                    fit[n], norm, kappa, excess, distance = there, n2, k2, e2, d2
                    damping[n] *= rules.shrink if polish[n] == 0 else 0.1 * rules.shrink
                else:
                    damping[n] *= rules.grow
                lowest = rules.damping_min if polish[n] == 0 else 1e-2 * rules.damping_min
                damping[n] = max(min(damping[n], rules.damping_max), lowest)
                count[n] += 1
                polish[n] += polish[n] > 0

    return njit(cache=True, **{**PLAIN, "no_cpython_wrapper": False})(advance)


_HERE = files(__package__ or "")  # which may lie in an archive
advance = _entry(sha256(b"".join((_HERE / f"{name}.py").read_bytes() for name in ("_kernel", "_packed"))).hexdigest())
