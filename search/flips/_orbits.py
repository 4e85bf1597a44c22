"""Compiled random walk on flip graphs under any group of signed permutations (numba).

A scheme is a list of orbits of rank-one terms, each kept as one representative with its stabiliser; the group G is a
list of elements that send slot s of a term to slot ``perm[g, s]`` by a signed permutation of the entries. A factor is
one ``uint64`` as in `search.flips._kernel`: bits over GF(2), two planes of 32 bits for −1, 0, 1 over Z.

Moves. Let A = u⊗a⊗a′ and B = u⊗b⊗b′ be terms of two orbits with stabilisers S_A ⊆ S_B, and let S_B keep every slot in
place, so that s∈S_B multiplies u, b, b′ by signs χ with product one. The images sA, s∈S_B/S_A, all share u with B, and

    Σ_s sA + B  =  Σ_s s(u⊗(a + b)⊗a′) + u⊗b⊗(b′ − Σ_s χ′(s) s a′),      χ′(s) the sign of s on b′.

Applying G/S_B gives a *flip* of whole orbits, for free orbits the flip of Kauers and Moosbauer (2022) in each image.
What it leads to may have a larger stabiliser than it must: its orbit is then counted several times, so over GF(2) an
even number of times is nothing and an odd number a shorter orbit; over Z such flips are refused. If an element takes a
term to minus itself the orbit cancels. *Merge*: two terms that share two factors become one, also images of the same
term. *Plus* (Arai, Ichikawa and Hukushima 2024): two terms become three, for orbits with one stabiliser.
"""

# numba infers the types of compiled functions itself; annotations would be ignored.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return,assignment"

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import njit
from ._kernel import ONE, ZERO, _add, _below, _is_negative, _negate, _next, _weight

# No function here allocates, so numba's reference counting can go (see `_kernel`).
_FAST: Any = {"cache": True, "_nrt": False}
BYTE = np.uint64(255)
MIX1, MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
M30, M27, M31, M32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
KEEP, SHORTER, GONE, REFUSED = 0, 1, 2, 3


@njit(**_FAST)
def _image(g, slot, x, group):
    """A factor of a slot under an element (not normalised)."""
    tab = group.tab[g, slot]
    out = ZERO
    if group.ternary:
        minus = ZERO
        for b in range(4):
            shift = np.uint64(8 * b)
            out |= tab[b, np.int64((x >> shift) & BYTE)]
            minus |= tab[b, np.int64((x >> (shift + M32)) & BYTE)]
        return out | _negate(minus)
    for b in range(8):
        out |= tab[b, np.int64((x >> np.uint64(8 * b)) & BYTE)]
    return out


@njit(**_FAST)
def _plain(x, group):
    """A factor with a positive first entry, and its sign."""
    if group.ternary and _is_negative(x):
        return _negate(x), -1
    return x, 1


@njit(**_FAST)
def _moved(g, term, sign, group, out):
    """Image of a whole term, normalised; returns its sign."""
    for s in range(3):
        y, e = _plain(_image(g, s, term[s], group), group)
        out[group.perm[g, s]] = y
        sign *= e
    return sign


@njit(**_FAST)
def _key(slot, x, group):
    """Name of the orbit of a factor: the least hash of its images, slots included."""
    least = ~ZERO
    for g in range(group.perm.shape[0]):
        y, _ = _plain(_image(g, slot, x, group), group)
        y += np.uint64(group.perm[g, slot] + 1) * np.uint64(0x9E3779B97F4A7C15)
        y = (y ^ (y >> M30)) * MIX1
        y = (y ^ (y >> M27)) * MIX2
        y ^= y >> M31
        least = min(least, y)
    return least


@njit(**_FAST)
def _stabiliser(term, group, image):
    """Elements that fix a term, and whether one takes it to minus itself."""
    found, negated = ZERO, False
    for g in range(group.perm.shape[0]):
        y, _ = _plain(_image(g, 0, term[0], group), group)
        if y != term[group.perm[g, 0]]:
            continue
        sign = _moved(g, term, 1, group, image)
        if image[0] == term[0] and image[1] == term[1] and image[2] == term[2]:
            if sign > 0:
                found |= ONE << np.uint64(g)
            else:
                negated = True
    return found, negated


@njit(**_FAST)
def _count(bits):
    return np.int64(_weight(bits))


@njit(**_FAST)
def _conjugate(h, bits, group):
    """Stabiliser of the image under h of what has this stabiliser."""
    if bits == ONE:
        return bits
    out = ZERO
    for g in range(group.perm.shape[0]):
        if (bits >> np.uint64(g)) & ONE:
            out |= ONE << np.uint64(group.mul[group.mul[h, g], group.inv[h]])
    return out


@njit(**_FAST)
def _in_place(bits, group):
    """Whether all elements of a stabiliser keep the slots in place."""
    if bits == ONE:
        return True
    moving = 0
    for g in range(group.perm.shape[0]):
        moving += (bits >> np.uint64(g)) & ONE and not group.still[g]
    return moving == 0


@njit(**_FAST)
def _sum(a, b, group):
    """a + b and whether it stays within the ring."""
    if group.ternary:
        return _add(a, b), (a & b) == ZERO
    return a ^ b, True


@njit(**_FAST)
def _coset_sum(base, like, slot, sign, inner, outer, factor, group):
    """base + sign·Σ χ(s)·s·factor over s in outer/inner, χ the sign of s on `like` (in the same slot)."""
    done = ZERO
    good = True
    for s in range(group.perm.shape[0]):
        bit = ONE << np.uint64(s)
        if not outer & bit or done & bit:
            continue
        for t in range(group.perm.shape[0]):
            if (inner >> np.uint64(t)) & ONE:
                done |= ONE << np.uint64(group.mul[s, t])
        y = _image(s, slot, factor, group)
        if group.ternary:
            e = sign
            if _image(s, slot, like, group) != like:
                e = -e
            if e < 0:
                y = _negate(y)
        base, fine = _sum(base, y, group)
        if not fine:
            good = False
            break
    return base, good


@njit(**_FAST)
def _verdict(term, held, group, image):
    """What a changed term is that should be invariant under `held`: KEEP, SHORTER, GONE or REFUSED; its stabiliser."""
    if term[0] == ZERO or term[1] == ZERO or term[2] == ZERO:
        return GONE, held
    found, negated = _stabiliser(term, group, image)
    if held & ~found:
        return REFUSED, held
    if negated:
        return GONE, held
    if found == held:
        return KEEP, held
    if group.ternary:
        return REFUSED, held
    if (_count(found) // _count(held)) % 2 == 0:
        return GONE, held
    return SHORTER, found


@njit(**_FAST)
def _write(i, term, sign, stab, orbits, group):
    """Write a representative with normalised factors."""
    fresh = orbits.size[i] == 0
    for s in range(3):
        if fresh or orbits.fac[i, s] != term[s]:
            orbits.fac[i, s] = term[s]
            orbits.keys[i, s] = _key(s, term[s], group)
    orbits.sgn[i] = sign
    orbits.stab[i] = stab
    orbits.size[i] = group.perm.shape[0] // _count(stab)


@njit(**_FAST)
def _partner(i, k, j, l, state, orbits, group):
    """A random element that takes slot l of orbit j to slot k of representative i with the same factor; −1 if none."""
    seen, chosen = 0, -1
    for h in range(group.perm.shape[0]):
        if group.perm[h, l] == k:
            y, _ = _plain(_image(h, l, orbits.fac[j, l], group), group)
            if y == orbits.fac[i, k]:
                seen += 1
                if seen == 1 or _below(_next(state), seen) == 0:
                    chosen = h
    return chosen


@njit(**_FAST)
def _flip(i, k, h, j, state, orbits, group, box):
    """Flip representative i with the image under h of representative j, which share slot k; whether that was done."""
    t, sign = box.terms, box.signs
    for s in range(3):
        t[0, s] = orbits.fac[i, s]
    sign[0] = orbits.sgn[i]
    sign[1] = _moved(h, orbits.fac[j], orbits.sgn[j], group, t[1])
    stab_i, stab_j = orbits.stab[i], _conjugate(h, orbits.stab[j], group)
    draw = _next(state)
    inner_i, inner_j = stab_i & ~stab_j == ZERO, stab_j & ~stab_i == ZERO
    if not (inner_i or inner_j):
        return False
    first = inner_i and (not inner_j or draw & ONE)  # whether i is A
    a, b = (0, 1) if first else (1, 0)
    stab_a, stab_b = (stab_i, stab_j) if first else (stab_j, stab_i)
    if not _in_place(stab_b, group):
        return False
    l, m = ((k + 1) % 3, (k + 2) % 3) if draw & np.uint64(2) else ((k + 2) % 3, (k + 1) % 3)
    c = 1 if not group.ternary or draw & np.uint64(4) else -1
    total_a, fine = _sum(t[a, l], t[b, l] if c > 0 else _negate(t[b, l]), group)
    if not fine or _weight(total_a) > box.longest[0]:
        return False
    total_b, fine = _coset_sum(t[b, m], t[b, m], m, -c * sign[a] * sign[b], stab_a, stab_b, t[a, m], group)
    if not fine or _weight(total_b) > box.longest[0]:
        return False
    t[a, l], e = _plain(total_a, group)
    sign[a] *= e
    t[b, m], e = _plain(total_b, group)
    sign[b] *= e
    kind_a, new_a = _verdict(t[a], stab_a, group, box.image)
    if kind_a == REFUSED:
        return False
    kind_b, new_b = _verdict(t[b], stab_b, group, box.image)
    if kind_b == REFUSED:
        return False
    at_a, at_b = (i, j) if first else (j, i)
    if kind_a == GONE:
        orbits.size[at_a] = 0
    else:
        _write(at_a, t[a], sign[a], new_a, orbits, group)
    if kind_b == GONE:
        orbits.size[at_b] = 0
    else:
        _write(at_b, t[b], sign[b], new_b, orbits, group)
    return True


@njit(**_FAST)
def _merge(i, j, orbits, group, box):
    """Join orbits i and j if terms of them share two factors; what remains stays at i. Whether it was done."""
    t, sign = box.terms, box.signs
    for k in range(3):
        for l in range(3):
            if orbits.keys[i, k] != orbits.keys[j, l]:
                continue
            for h in range(group.perm.shape[0]):
                if group.perm[h, l] != k:
                    continue
                y, _ = _plain(_image(h, l, orbits.fac[j, l], group), group)
                if y != orbits.fac[i, k]:
                    continue
                sign[1] = _moved(h, orbits.fac[j], orbits.sgn[j], group, t[1])
                m = -1
                if t[1, (k + 1) % 3] == orbits.fac[i, (k + 1) % 3]:
                    m = (k + 2) % 3
                elif t[1, (k + 2) % 3] == orbits.fac[i, (k + 2) % 3]:
                    m = (k + 1) % 3
                if m < 0:
                    continue
                for s in range(3):
                    t[0, s] = orbits.fac[i, s]
                sign[0] = orbits.sgn[i]
                stab_i, stab_j = orbits.stab[i], _conjugate(h, orbits.stab[j], group)
                if stab_i & ~stab_j == ZERO:
                    a, b, stab_a, stab_b = 0, 1, stab_i, stab_j
                elif stab_j & ~stab_i == ZERO:
                    a, b, stab_a, stab_b = 1, 0, stab_j, stab_i
                else:
                    continue
                if not _in_place(stab_b, group):
                    continue
                total, fine = _coset_sum(t[b, m], t[b, m], m, sign[a] * sign[b], stab_a, stab_b, t[a, m], group)
                if not fine:
                    continue
                t[b, m], e = _plain(total, group)
                kind, stab = _verdict(t[b], stab_b, group, box.image)
                if kind == REFUSED:
                    continue
                orbits.size[j] = 0
                if kind == GONE:
                    orbits.size[i] = 0
                else:
                    _write(i, t[b], sign[b] * e, stab, orbits, group)
                return True
    return False


@njit(**_FAST)
def _fold(i, orbits, group, box):
    """Join the images of one term that share two factors with it; whether some were."""
    t = box.terms
    for m in range(3):
        k, l = (m + 1) % 3, (m + 2) % 3
        inside = ZERO
        for h in range(group.perm.shape[0]):
            if group.still[h]:
                y, _ = _plain(_image(h, k, orbits.fac[i, k], group), group)
                z, _ = _plain(_image(h, l, orbits.fac[i, l], group), group)
                if y == orbits.fac[i, k] and z == orbits.fac[i, l]:
                    inside |= ONE << np.uint64(h)
        held = orbits.stab[i]
        if held & ~inside or inside == held:
            continue
        total, done, fine = ZERO, ZERO, True
        for h in range(group.perm.shape[0]):
            bit = ONE << np.uint64(h)
            if not inside & bit or done & bit:
                continue
            for g in range(group.perm.shape[0]):
                if (held >> np.uint64(g)) & ONE:
                    done |= ONE << np.uint64(group.mul[h, g])
            y = _image(h, m, orbits.fac[i, m], group)
            if group.ternary:
                same = _image(h, k, orbits.fac[i, k], group) == orbits.fac[i, k]
                if same != (_image(h, l, orbits.fac[i, l], group) == orbits.fac[i, l]):
                    y = _negate(y)
            total, good = _sum(total, y, group)
            fine = fine and good
        if not fine:
            continue
        for s in range(3):
            t[0, s] = orbits.fac[i, s]
        t[0, m], e = _plain(total, group)
        kind, stab = _verdict(t[0], inside, group, box.image)
        if kind == REFUSED:
            continue
        if kind == GONE:
            orbits.size[i] = 0
        else:
            _write(i, t[0], orbits.sgn[i] * e, stab, orbits, group)
        return True
    return False


@njit(**_FAST)
def _settle(i, orbits, group, box):
    """All reductions that orbit i takes part in."""
    again = orbits.size[i] > 0
    while again:
        again = _fold(i, orbits, group, box) and orbits.size[i] > 0
        if again:
            continue
        for j in range(orbits.size.size):
            if j == i or orbits.size[j] == 0:
                continue
            x, y, z = orbits.keys[j, 0], orbits.keys[j, 1], orbits.keys[j, 2]
            shared = 0
            for k in range(3):
                key = orbits.keys[i, k]
                shared += (key == x) | (key == y) | (key == z)
            if shared > 1 and _merge(i, j, orbits, group, box):
                again = orbits.size[i] > 0
                break


@njit(**_FAST)
def _plus(state, orbits, group, box):
    """One plus transition on random orbits of one stabiliser; whether it took place."""
    t, sign, n = box.terms, box.signs, orbits.size.size
    free = -1
    for i in range(n):
        if orbits.size[i] == 0:
            free = i
    if free < 0:
        return False
    for _ in range(64):
        i, j = _below(_next(state), n), _below(_next(state), n)
        if i == j or orbits.size[i] == 0 or orbits.size[j] == 0 or orbits.size[i] != orbits.size[j]:
            continue
        h = _below(_next(state), group.perm.shape[0])
        stab = orbits.stab[i]
        if _conjugate(h, orbits.stab[j], group) != stab or not _in_place(stab, group):
            continue
        for s in range(3):
            t[0, s] = orbits.fac[i, s]
        sign[0] = orbits.sgn[i]
        sign[1] = _moved(h, orbits.fac[j], orbits.sgn[j], group, t[1])
        k = _below(_next(state), 3)
        l, m = ((k + 1) % 3, (k + 2) % 3) if _next(state) & ONE else ((k + 2) % 3, (k + 1) % 3)
        # A = u₁v₁w₁, B = u₂v₂w₂ with signs: A + B = u₁(v₁+v₂)w₁ + u₁v₂(w₂ − AB·w₁) + (u₂ − u₁)v₂w₂
        v, fine_v = _sum(t[0, l], t[1, l], group)
        w1 = t[0, m] if group.ternary and sign[0] != sign[1] else _negate(t[0, m])
        w, fine_w = _sum(t[1, m], w1 if group.ternary else t[0, m], group)
        u, fine_u = _sum(t[1, k], _negate(t[0, k]) if group.ternary else t[0, k], group)
        if not (fine_v and fine_w and fine_u) or v == ZERO or w == ZERO or u == ZERO:
            continue
        if _weight(v) > box.longest[0] or _weight(w) > box.longest[0] or _weight(u) > box.longest[0]:
            continue
        sign[2] = sign[1]
        t[2, k], t[2, l] = t[0, k], t[1, l]
        t[2, m], e = _plain(w, group)
        sign[2] *= e
        t[0, l], e = _plain(v, group)
        sign[0] *= e
        t[1, k], e = _plain(u, group)
        sign[1] *= e
        good = True
        for q in range(3):
            kind, _ = _verdict(t[q], stab, group, box.image)
            good = good and kind == KEEP
        if good:
            _write(i, t[0], sign[0], stab, orbits, group)
            _write(j, t[1], sign[1], stab, orbits, group)
            _write(free, t[2], sign[2], stab, orbits, group)
            return True
    return False


@njit(**_FAST)
def _run(orbits, group, params, state, best, stats, box):
    """The walk: params are target rank, flips, plus_after and plus_diff (in terms); stats rank, best, flips, plus."""
    n, rank = orbits.size.size, np.int64(0)
    for i in range(n):
        rank += orbits.size[i]
    lowest = min(rank, stats[1])
    flips, since, tries, pluses = np.int64(0), np.int64(0), 0, 0
    while flips < params[1] and rank > params[0]:
        if flips - since >= params[2] or tries > 2000:
            stuck, since, tries = tries > 2000, flips, 0
            if rank < lowest + params[3] and _plus(state, orbits, group, box):
                pluses += 1
                rank = np.int64(0)
                for i in range(n):
                    rank += orbits.size[i]
            elif stuck:
                break
            continue
        tries += 1
        draw = _next(state)
        i = _below(draw, n)
        if orbits.size[i] == 0:
            continue
        k = np.int64(draw & np.uint64(0xFFFF)) % 3
        seen, j, l = 0, 0, 0
        for q in range(n):
            if q != i and orbits.size[q] > 0:
                for s in range(3):
                    if orbits.keys[q, s] == orbits.keys[i, k]:
                        seen += 1
                        if seen == 1 or _below(_next(state), seen) == 0:
                            j, l = q, s
        if seen == 0:
            continue
        h = _partner(i, k, j, l, state, orbits, group)
        if h < 0 or not _flip(i, k, h, j, state, orbits, group, box):
            continue
        flips += 1
        tries = 0
        _settle(i, orbits, group, box)
        _settle(j, orbits, group, box)
        rank = np.int64(0)
        for q in range(n):
            rank += orbits.size[q]
        if rank < lowest:
            lowest, since = rank, flips
            for q in range(n):
                best.size[q], best.sgn[q] = orbits.size[q], orbits.sgn[q]
                for s in range(3):
                    best.fac[q, s] = orbits.fac[q, s]
    stats[0], stats[1], stats[2], stats[3] = rank, lowest, flips, pluses
