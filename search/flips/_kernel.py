"""Compiled random walk on flip graphs (numba).

A scheme is a list of *orbits*, each stored by one representative rank-one term ``(u, v, w)`` and a sign.
The symmetry group (trivial, C₃, or C₃×Z₂) expands a representative to ``g`` = 1, 3 or 6 terms.  A factor
is one ``uint64``:

* GF(2): bit ``a`` is entry ``a`` (up to 64 entries, 8×8);
* ternary over Z: low 32 bits are the +1 plane, high 32 bits the −1 plane (up to 32 entries).  Then
  negation is a rotation by 32, ``x & y != 0`` says that ``x + y`` leaves {−1, 0, 1}, and the zero vector
  is still 0.  Factors are kept with a positive first entry; the term's sign is kept apart.

Slot ``x = 4·i + k`` is factor ``k`` of orbit ``i``.  Slots that hold the same factor sit in one chain of a
hash table; ``deg[x]`` counts the flip partners of ``x`` and ``ent`` lists the slots with ``deg > 0``.  A
flip changes two slots, so the index costs a few memory accesses per flip whatever the rank.

With C₃ the three positions share one table, since any rotation of an orbit represents it.  With Z₂ (the
index reversal ``σ``, which on a row-major n×n factor is the reversal of its n² bits) a slot is filed under
``min(u, σu)``, and the partner's representative is replaced by its image where needed.

Moves
-----
flip (Kauers–Moosbauer 2022, Def. 4):
    ``u⊗v₁⊗w₁ + u⊗v₂⊗w₂ → u⊗(v₁ + c v₂)⊗w₁ + u⊗v₂⊗(w₂ − c w₁)``
reduction: a factor became zero, or two terms share two factors.
plus (Arai–Ichikawa–Hukushima 2024):
    ``u₁⊗v₁⊗w₁ + u₂⊗v₂⊗w₂ → u₁⊗(v₁+v₂)⊗w₁ + u₁⊗v₂⊗(w₂−w₁) + (u₂−u₁)⊗v₂⊗w₂``
All act on whole orbits (Moosbauer–Poole 2025), which is valid because the two terms lie in different
orbits and every orbit has the full length ``g``.

The arrays are described in `search.flips._state`. Everything compiled is in this one file because
numba's on-disk cache looks at one file's date only.
"""

# numba infers the types of compiled functions itself; annotations would be ignored.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return,assignment"

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import njit

# No function here creates an array, so numba's reference counting (atomic, and most of the run time if left
# on) can go.  What runs on every flip is inlined; the rest is called, which keeps compilation short.
_COLD: Any = {"cache": True, "_nrt": False}
_HOT: Any = {**_COLD, "forceinline": True}

ZERO, ONE = np.uint64(0), np.uint64(1)
SHIFTS = tuple(np.uint64(s) for s in (1, 2, 4, 8, 16, 32))
S1, S2, S4, S8, S16, S32 = SHIFTS
LOW16, LOW32 = np.uint64(0xFFFF), np.uint64(0xFFFFFFFF)
HASH_BITS = 10
HASH_SHIFT = np.uint64(64 - HASH_BITS)
HASH_MUL = np.uint64(0x9E3779B97F4A7C15)
# Masks that swap neighbours, pairs, nibbles, bytes and half-words in a bit reversal.
R1, R2, R4 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
R8, R16 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)

BYTES = np.uint64(0x0101010101010101)

# Entries of the parameter, result and counter vectors.
(
    P_TERNARY, P_SYMMETRY, P_BITS, P_TARGET, P_FLIPS, P_PLUS_AFTER, P_PLUS_DIFF, P_LOWEST, P_LONGEST, P_LENGTH,
) = range(10)  # fmt: skip
S_ORBITS, S_BEST, S_FLIPS, S_PLUS, S_REDUCTIONS, S_LENGTH = range(6)
C_ENTRIES, C_ORBITS, C_FREE = range(3)


@njit(**_HOT)
def _next(state):
    """xorshift64*: one 64-bit draw; the state is a one-element uint64 array, never zero."""
    s = state[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    state[0] = s
    return s * np.uint64(0x2545F4914F6CDD1D)


@njit(**_HOT)
def _below(draw, n):
    """Map the high 32 bits of a draw to 0..n-1."""
    return np.int64(((draw >> S32) * np.uint64(n)) >> S32)


@njit(**_HOT)
def _negate(x):
    return (x >> S32) | (x << S32)


@njit(**_HOT)
def _weight(x):
    """Number of non-zero entries (set bits; the two ternary planes are disjoint)."""
    x -= (x >> S1) & R1
    x = (x & R2) + ((x >> S2) & R2)
    x = (x + (x >> S4)) & R4
    return (x * BYTES) >> np.uint64(56)


@njit(**_HOT)
def _is_negative(x):
    """Is the first non-zero entry of a ternary factor −1?"""
    both = (x | (x >> S32)) & LOW32
    lowest = both & (~both + ONE)
    return ((x >> S32) & lowest) != ZERO


@njit(**_HOT)
def _add(a, b):
    """Sum of two ternary factors that do not overflow (a & b == 0)."""
    return (a & ~_negate(b)) | (b & ~_negate(a))


@njit(**_HOT)
def _sigma(x, mode):
    """Reverse the entries of a factor (no sign normalisation)."""
    x = ((x >> S1) & R1) | ((x & R1) << S1)
    x = ((x >> S2) & R2) | ((x & R2) << S2)
    x = ((x >> S4) & R4) | ((x & R4) << S4)
    x = ((x >> S8) & R8) | ((x & R8) << S8)
    x = ((x >> S16) & R16) | ((x & R16) << S16)
    # Now each half is reversed; exchanging the halves completes a 64-bit reversal, while two planes of 32
    # stay in place. Either way the padding is at the low end and is shifted out.
    if mode.ternary:
        pad = np.uint64(32 - mode.bits)
        return (((x >> S32) >> pad) << S32) | ((x & LOW32) >> pad)
    return _negate(x) >> np.uint64(64 - mode.bits)


@njit(**_HOT)
def _key(x, mode):
    """Name under which a factor is filed: itself, or the smaller of itself and its image under σ."""
    if not mode.reflect:
        return x
    y = _sigma(x, mode)
    if mode.ternary and _is_negative(y):
        y = _negate(y)
    return min(x, y)


@njit(**_HOT)
def _bucket(key, x, mode):
    return np.int64((key * HASH_MUL) >> HASH_SHIFT) | ((x & mode.apart) << HASH_BITS)


@njit(**_HOT)
def _others(x):
    """The two slots that follow x cyclically in its orbit (9 and 18 are tables of 2-bit entries)."""
    k2 = (x & 3) << 1
    base = x & ~3
    return base | ((9 >> k2) & 3), base | ((18 >> k2) & 3)


@njit(**_HOT)
def _drop_entry(x, s):
    last = s.cnt[C_ENTRIES] - 1
    y = np.int64(s.ent[last])
    p = np.int64(s.pos[x])
    s.ent[p] = y
    s.pos[y] = p
    s.cnt[C_ENTRIES] = last


@njit(**_HOT)
def _push_entry(x, s):
    n = s.cnt[C_ENTRIES]
    s.ent[n] = x
    s.pos[x] = n
    s.cnt[C_ENTRIES] = n + 1


@njit(**_HOT)
def _unlink(x, s, mode):
    """Take slot x out of its chain and out of its partners' counts."""
    key = s.keys[x]
    b = _bucket(key, x, mode)
    y = np.int64(s.head[b])
    if y == x and s.nxt[x] == 0:  # alone in its chain: the common case
        s.head[b] = 0
        return
    before = 0
    while y != 0:
        after = np.int64(s.nxt[y])
        if y == x:
            if before == 0:
                s.head[b] = after
            else:
                s.nxt[before] = after
        else:
            if s.keys[y] == key and (y >> 2) != (x >> 2):
                left = s.deg[y] - 1
                s.deg[y] = left
                if left == 0:
                    _drop_entry(y, s)
            before = y
        y = after
    if s.deg[x] != 0:
        _drop_entry(x, s)
        s.deg[x] = 0


@njit(**_HOT)
def _link(x, s, mode):
    """File slot x (its deg is 0); return a partner that may share a second factor with it, else 0."""
    key = s.keys[x]
    b = _bucket(key, x, mode)
    y = np.int64(s.head[b])
    s.nxt[x] = y
    s.head[b] = x
    found = 0
    mergeable = 0
    while y != 0:
        if s.keys[y] == key and (y >> 2) != (x >> 2):
            found += 1
            had = s.deg[y]
            s.deg[y] = had + 1
            if had == 0:
                _push_entry(y, s)
            x1, x2 = _others(x)
            y1, y2 = _others(y)
            if s.keys[x1] == s.keys[y1] or s.keys[x2] == s.keys[y2]:
                mergeable = y
        y = np.int64(s.nxt[y])
    if found != 0:
        s.deg[x] = found
        _push_entry(x, s)
    return mergeable


@njit(**_HOT)
def _put(x, value, s, mode):
    """Write a non-zero factor into an unlinked slot (sign normalised) and file it."""
    if mode.ternary and _is_negative(value):
        value = _negate(value)
        s.sgn[x >> 2] = -s.sgn[x >> 2]
    s.fac[x] = value
    s.keys[x] = _key(value, mode)
    return _link(x, s, mode)


@njit(**_COLD)
def _put_cold(x, value, s, mode):
    """`_put` as a real call, for what is off the hot path."""
    return _put(x, value, s, mode)


@njit(**_COLD)
def _unlink_cold(x, s, mode):
    """`_unlink` as a real call."""
    _unlink(x, s, mode)


@njit(**_COLD)
def _reflect_orbit(i, s, mode):
    """Replace the representative of orbit i by its image under σ; its keys do not change."""
    for k in range(3):
        y = _sigma(s.fac[4 * i + k], mode)
        if mode.ternary and _is_negative(y):
            y = _negate(y)
            s.sgn[i] = -s.sgn[i]
        s.fac[4 * i + k] = y


@njit(**_COLD)
def _sigma_fixed(x, mode):
    y = _sigma(x, mode)
    return y == x or (mode.ternary and _negate(y) == x)


@njit(**_COLD)
def _remove_orbit(i, unlinked, s, mode):
    """Delete orbit i; `unlinked` is a slot of it that is already out of its chain (or 0)."""
    for k in range(3):
        x = 4 * i + k
        if x != unlinked:
            _unlink_cold(x, s, mode)
        s.fac[x] = ZERO
        s.keys[x] = ZERO
    s.free[s.cnt[C_FREE]] = i
    s.cnt[C_FREE] += 1
    s.cnt[C_ORBITS] -= 1


@njit(**_COLD)
def _merge(x, y, s, mode):
    """Join the orbits of slots x and y if they share two factors; return a further candidate pair or 0, 0."""
    i = x >> 2
    j = y >> 2
    if i == j or s.fac[x] == ZERO or s.keys[x] != s.keys[y]:
        return 0, 0
    for attempt in range(2 if mode.reflect else 1):
        if attempt == 1:
            _reflect_orbit(j, s, mode)
        if s.fac[x] != s.fac[y]:
            continue
        x1, x2 = _others(x)
        y1, y2 = _others(y)
        if s.fac[x1] == s.fac[y1]:
            a, b = x2, y2
        elif s.fac[x2] == s.fac[y2]:
            a, b = x1, y1
        else:
            continue
        if mode.ternary:
            other = s.fac[b] if s.sgn[i] == s.sgn[j] else _negate(s.fac[b])
            if (s.fac[a] & other) != ZERO:
                continue
            total = _add(s.fac[a], other)
        else:
            total = s.fac[a] ^ s.fac[b]
        _unlink_cold(a, s, mode)
        _remove_orbit(j, 0, s, mode)
        if total == ZERO:
            _remove_orbit(i, a, s, mode)
            return 0, 0
        return a, _put_cold(a, total, s, mode)
    return 0, 0


@njit(**_COLD)
def _plus(state, longest, s, mode):
    """One plus transition on two random orbits; returns whether it took place."""
    cap = s.sgn.size - 1
    if s.cnt[C_FREE] == 0 or s.cnt[C_ORBITS] < 2:
        return False
    for _ in range(64):
        i = _below(_next(state), cap) + 1
        j = _below(_next(state), cap) + 1
        if i == j or s.fac[4 * i] == ZERO or s.fac[4 * j] == ZERO:
            continue
        draw = _next(state)
        k = _below(draw, 3)
        l = np.int64(draw & LOW16) % 3 if mode.symmetric else k
        if mode.reflect and (draw >> S16) & ONE:
            _reflect_orbit(j, s, mode)
        u1, u2 = 4 * i + k, 4 * j + l
        v1, w1 = _others(u1)
        v2, w2 = _others(u2)
        if s.fac[u1] == s.fac[u2] or s.fac[v1] == s.fac[v2] or s.fac[w1] == s.fac[w2]:
            continue
        if mode.ternary:
            # With signs: s₁u₁v₁w₁ + s₂u₂v₂w₂ = s₁u₁(v₁+v₂)w₁ + s₂u₁v₂(w₂−s₁s₂w₁) + s₂(u₂−u₁)v₂w₂
            middle = _negate(s.fac[w1]) if s.sgn[i] == s.sgn[j] else s.fac[w1]
            minus = _negate(s.fac[u1])
            if s.fac[v1] & s.fac[v2] or s.fac[w2] & middle or s.fac[u2] & minus:
                continue
            new_v, new_w = _add(s.fac[v1], s.fac[v2]), _add(s.fac[w2], middle)
            new_u = _add(s.fac[u2], minus)
        else:
            new_v, new_w = s.fac[v1] ^ s.fac[v2], s.fac[w1] ^ s.fac[w2]
            new_u = s.fac[u1] ^ s.fac[u2]
        if new_v == ZERO or new_w == ZERO or new_u == ZERO:
            continue
        if _weight(new_v) > longest or _weight(new_w) > longest or _weight(new_u) > longest:
            continue
        s.cnt[C_FREE] -= 1
        h = np.int64(s.free[s.cnt[C_FREE]])
        s.cnt[C_ORBITS] += 1
        s.sgn[h] = s.sgn[j]
        u3 = 4 * h + k
        v3, w3 = _others(u3)
        _put_cold(u3, s.fac[u1], s, mode)
        _put_cold(v3, s.fac[v2], s, mode)
        _put_cold(w3, new_w, s, mode)
        _unlink_cold(v1, s, mode)
        _put_cold(v1, new_v, s, mode)
        _unlink_cold(u2, s, mode)
        _put_cold(u2, new_u, s, mode)
        return True
    return False


@njit(**_COLD)
def _settle(i, j, v1, w2, near_v, near_w, s, mode):
    """After a flip of orbits i and j: all reductions it opened. `near_*` are partners found by `_put`."""
    if mode.reflect and not mode.ternary:
        # Over GF(2) an orbit whose three factors are fixed by σ is counted twice, hence zero.
        for o in (i, j):
            if s.fac[4 * o] != ZERO:
                fixed = True
                for k in range(3):
                    if _sigma(s.fac[4 * o + k], mode) != s.fac[4 * o + k]:
                        fixed = False
                if fixed:
                    _remove_orbit(o, 0, s, mode)
    x, y = v1, near_v
    while y != 0:
        x, y = _merge(x, y, s, mode)
    x, y = w2, near_w
    while y != 0:
        x, y = _merge(x, y, s, mode)


@njit(**_COLD)
def _export(s, out, out_sgn):
    """Copy the living orbits to the front of (out, out_sgn); returns their number."""
    m = 0
    for i in range(1, s.sgn.size):
        if s.fac[4 * i] != ZERO:
            for k in range(3):
                out[m, k] = s.fac[4 * i + k]
            out_sgn[m] = s.sgn[i]
            m += 1
    return m


@njit(**_COLD)
def _run(terms, signs, orbits, params, state, best, best_signs, stats, s, mode):
    """The walk itself; see `search.flips.walk.walk` for the arguments."""
    target, max_flips = params[P_TARGET], params[P_FLIPS]
    plus_after, plus_diff = params[P_PLUS_AFTER], params[P_PLUS_DIFF]
    longest = np.uint64(params[P_LONGEST])
    for i in range(signs.size, orbits, -1):
        s.free[s.cnt[C_FREE]] = i
        s.cnt[C_FREE] += 1
    s.cnt[C_ORBITS] = orbits
    for i in range(1, orbits + 1):
        s.sgn[i] = signs[i - 1]
        for k in range(3):
            _put_cold(4 * i + k, terms[i - 1, k], s, mode)
    lowest = min(orbits, params[P_LOWEST])
    if lowest == orbits:
        _export(s, best, best_signs)
    flips, since = np.int64(0), np.int64(0)
    pluses, reductions = 0, 0
    while flips < max_flips and s.cnt[C_ORBITS] > target:
        n = s.cnt[C_ENTRIES]
        if n == 0 or flips - since >= plus_after:
            since = flips
            if s.cnt[C_ORBITS] < lowest + plus_diff and _plus(state, longest, s, mode):
                pluses += 1
            elif n == 0:
                break
            continue
        flips += 1
        draw = _next(state)
        x = np.int64(s.ent[_below(draw, n)])
        key = s.keys[x]
        i = x >> 2
        # Walk the chain to a random partner.
        skip = np.int64(((draw & LOW16) * np.uint64(s.deg[x])) >> S16)
        y = np.int64(s.head[_bucket(key, x, mode)])
        while True:
            if s.keys[y] == key and (y >> 2) != i:
                if skip == 0:
                    break
                skip -= 1
            y = np.int64(s.nxt[y])
        j = y >> 2
        if mode.reflect and (s.fac[x] != s.fac[y] or (((draw >> S16) & ONE) != ZERO and _sigma_fixed(s.fac[x], mode))):
            _reflect_orbit(j, s, mode)
        v1, w1 = _others(x)
        v2, w2 = _others(y)
        if mode.ternary:
            a = s.fac[v2]
            b = _negate(s.fac[w1]) if s.sgn[i] == s.sgn[j] else s.fac[w1]
            if ((draw >> np.uint64(17)) & ONE) != ZERO:
                a, b = _negate(a), _negate(b)
            if (s.fac[v1] & a) != ZERO or (s.fac[w2] & b) != ZERO:
                a, b = _negate(a), _negate(b)
                if (s.fac[v1] & a) != ZERO or (s.fac[w2] & b) != ZERO:
                    continue
            new_v, new_w = _add(s.fac[v1], a), _add(s.fac[w2], b)
        else:
            new_v, new_w = s.fac[v1] ^ s.fac[v2], s.fac[w2] ^ s.fac[w1]
        if _weight(new_v) > longest or _weight(new_w) > longest:
            continue
        before = s.cnt[C_ORBITS]
        _unlink(v1, s, mode)
        _unlink(w2, s, mode)
        near_v, near_w = 0, 0
        if new_v == ZERO:
            _remove_orbit(i, v1, s, mode)
        else:
            near_v = _put(v1, new_v, s, mode)
        if new_w == ZERO:
            _remove_orbit(j, w2, s, mode)
        else:
            near_w = _put(w2, new_w, s, mode)
        if near_v != 0 or near_w != 0 or mode.reflect:
            _settle(i, j, v1, w2, near_v, near_w, s, mode)
        if s.cnt[C_ORBITS] < before:
            reductions += before - s.cnt[C_ORBITS]
            if s.cnt[C_ORBITS] < lowest:
                since = flips
                lowest = s.cnt[C_ORBITS]
            if s.cnt[C_ORBITS] == lowest:
                _export(s, best, best_signs)
    stats[S_ORBITS] = _export(s, terms, signs)
    stats[S_BEST] = lowest
    stats[S_FLIPS] = flips
    stats[S_PLUS] = pluses
    stats[S_REDUCTIONS] = reductions
