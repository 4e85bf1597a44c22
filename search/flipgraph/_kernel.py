"""Compiled random walk on flip graphs (numba).

State
-----
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
"""

from __future__ import annotations

import numpy as np
from numba import njit

U0 = np.uint64(0)
U1 = np.uint64(1)
U16 = np.uint64(16)
U31 = np.uint64(31)
U32 = np.uint64(32)
U63 = np.uint64(63)
LOW16 = np.uint64(0xFFFF)
LOW32 = np.uint64(0xFFFFFFFF)
HASH_BITS = 10
HASH_SHIFT = np.uint64(64 - HASH_BITS)
HASH_MUL = np.uint64(0x9E3779B97F4A7C15)
# Bit-reversal masks (swap neighbours, pairs, nibbles, bytes, half-words).
R1 = np.uint64(0x5555555555555555)
R2 = np.uint64(0x3333333333333333)
R4 = np.uint64(0x0F0F0F0F0F0F0F0F)
R8 = np.uint64(0x00FF00FF00FF00FF)
R16 = np.uint64(0x0000FFFF0000FFFF)
S2 = np.uint64(2)
S4 = np.uint64(4)
S8 = np.uint64(8)

# Rows of the integer parameter vector of `walk`.
(P_TERNARY, P_SYMMETRY, P_BITS, P_TARGET, P_FLIPS, P_PLUS_AFTER, P_PLUS_DIFF, P_LOWEST, P_LENGTH) = range(9)
# Rows of the integer result vector of `walk`.
S_ORBITS, S_BEST, S_FLIPS, S_PLUS, S_REDUCTIONS, S_LENGTH = range(6)
# Rows of the little counter vector shared by the helpers.
C_ENTRIES, C_ORBITS, C_FREE = range(3)


@njit(cache=True, forceinline=True, _nrt=False)
def _next(state):
    """xorshift64*: one 64-bit draw; the state is a one-element uint64 array, never zero."""
    s = state[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    state[0] = s
    return s * np.uint64(0x2545F4914F6CDD1D)


@njit(cache=True, forceinline=True, _nrt=False)
def _below(draw, n):
    """Map the high 32 bits of a draw to 0..n-1."""
    return np.int64(((draw >> U32) * np.uint64(n)) >> U32)


@njit(cache=True, forceinline=True, _nrt=False)
def _negate(x):
    return (x >> U32) | (x << U32)


@njit(cache=True, forceinline=True, _nrt=False)
def _is_negative(x):
    """Is the first non-zero entry of a ternary factor −1?"""
    both = (x | (x >> U32)) & LOW32
    lowest = both & (~both + U1)
    return ((x >> U32) & lowest) != U0


@njit(cache=True, forceinline=True, _nrt=False)
def _reverse64(x):
    x = ((x >> U1) & R1) | ((x & R1) << U1)
    x = ((x >> S2) & R2) | ((x & R2) << S2)
    x = ((x >> S4) & R4) | ((x & R4) << S4)
    x = ((x >> S8) & R8) | ((x & R8) << S8)
    x = ((x >> U16) & R16) | ((x & R16) << U16)
    return (x >> U32) | (x << U32)


@njit(cache=True, forceinline=True, _nrt=False)
def _sigma(x, ternary, bits):
    """Reverse the entries of a factor (no sign normalisation)."""
    y = _reverse64(x)
    if ternary:
        # Reversing 64 bits also exchanges the planes: undo that, then drop the padding of each plane.
        return _shift_planes(_negate(y), bits)
    return y >> np.uint64(64 - bits)


@njit(cache=True, forceinline=True, _nrt=False)
def _shift_planes(y, bits):
    pad = np.uint64(32 - bits)
    return (((y >> U32) >> pad) << U32) | ((y & LOW32) >> pad)


@njit(cache=True, forceinline=True, _nrt=False)
def _key(x, ternary, reflect, bits):
    """Name under which a factor is filed: itself, or the smaller of itself and its image under σ."""
    if not reflect:
        return x
    y = _sigma(x, ternary, bits)
    if ternary and _is_negative(y):
        y = _negate(y)
    return min(x, y)


@njit(cache=True, forceinline=True, _nrt=False)
def _bucket(key, x, apart):
    """Chain of a factor; ``apart`` is 3 when the three positions are kept apart, 0 under C₃."""
    return np.int64((key * HASH_MUL) >> HASH_SHIFT) | ((x & apart) << HASH_BITS)


@njit(cache=True, forceinline=True, _nrt=False)
def _drop_entry(x, ent, pos, cnt):
    last = cnt[C_ENTRIES] - 1
    y = np.int64(ent[last])
    p = np.int64(pos[x])
    ent[p] = y
    pos[y] = p
    cnt[C_ENTRIES] = last


@njit(cache=True, forceinline=True, _nrt=False)
def _push_entry(x, ent, pos, cnt):
    n = cnt[C_ENTRIES]
    ent[n] = x
    pos[x] = n
    cnt[C_ENTRIES] = n + 1


@njit(cache=True, forceinline=True, _nrt=False)
def _others(x):
    """The two slots that follow x cyclically in its orbit."""
    k2 = (x & 3) << 1
    base = x & ~3
    return base | ((9 >> k2) & 3), base | ((18 >> k2) & 3)


@njit(cache=True, forceinline=True, _nrt=False)
def _unlink(x, keys, head, nxt, deg, ent, pos, cnt, apart):
    """Take slot x out of its chain and out of its partners' counts."""
    key = keys[x]
    b = _bucket(key, x, apart)
    y = np.int64(head[b])
    if y == x and nxt[x] == 0:
        head[b] = 0
        return
    before = 0
    while y != 0:
        after = np.int64(nxt[y])
        if y == x:
            if before == 0:
                head[b] = after
            else:
                nxt[before] = after
        else:
            if keys[y] == key and (y >> 2) != (x >> 2):
                left = deg[y] - 1
                deg[y] = left
                if left == 0:
                    _drop_entry(y, ent, pos, cnt)
            before = y
        y = after
    if deg[x] != 0:
        _drop_entry(x, ent, pos, cnt)
        deg[x] = 0


@njit(cache=True, forceinline=True, _nrt=False)
def _link(x, keys, head, nxt, deg, ent, pos, cnt, apart):
    """File slot x (its deg is 0); return a partner that may share a second factor with it, else 0."""
    key = keys[x]
    b = _bucket(key, x, apart)
    first = np.int64(head[b])
    nxt[x] = first
    head[b] = x
    if first == 0:
        return 0
    y = first
    found = 0
    mergeable = 0
    while y != 0:
        if keys[y] == key and (y >> 2) != (x >> 2):
            found += 1
            had = deg[y]
            deg[y] = had + 1
            if had == 0:
                _push_entry(y, ent, pos, cnt)
            x1, x2 = _others(x)
            y1, y2 = _others(y)
            if keys[x1] == keys[y1] or keys[x2] == keys[y2]:
                mergeable = y
        y = np.int64(nxt[y])
    if found != 0:
        deg[x] = found
        _push_entry(x, ent, pos, cnt)
    return mergeable


@njit(cache=True, _nrt=False)
def _reflect_orbit(i, fac, sgn, ternary, bits):
    """Replace the representative of orbit i by its image under σ; its keys do not change."""
    for k in range(3):
        y = _sigma(fac[4 * i + k], ternary, bits)
        if ternary and _is_negative(y):
            y = _negate(y)
            sgn[i] = -sgn[i]
        fac[4 * i + k] = y


@njit(cache=True, forceinline=True, _nrt=False)
def _add(a, b):
    """Sum of two ternary factors that do not overflow (a & b == 0)."""
    return (a & ~_negate(b)) | (b & ~_negate(a))


@njit(cache=True, forceinline=True, _nrt=False)
def _put(x, value, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits):
    """Write a non-zero factor into an unlinked slot (sign normalised) and file it."""
    if ternary and _is_negative(value):
        value = _negate(value)
        sgn[x >> 2] = -sgn[x >> 2]
    fac[x] = value
    keys[x] = _key(value, ternary, reflect, bits)
    return _link(x, keys, head, nxt, deg, ent, pos, cnt, apart)


@njit(cache=True, _nrt=False)
def _put_cold(x, value, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits):
    """`_put` as a real call: off the hot path, inlining would only cost compile time."""
    return _put(x, value, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits)


@njit(cache=True, _nrt=False)
def _unlink_cold(x, keys, head, nxt, deg, ent, pos, cnt, apart):
    """`_unlink` as a real call."""
    _unlink(x, keys, head, nxt, deg, ent, pos, cnt, apart)


@njit(cache=True, _nrt=False)
def _remove_orbit(i, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, unlinked):
    """Delete orbit i; `unlinked` is a slot of it that is already out of its chain (or 0)."""
    for k in range(3):
        x = 4 * i + k
        if x != unlinked:
            _unlink_cold(x, keys, head, nxt, deg, ent, pos, cnt, apart)
        fac[x] = U0
        keys[x] = U0
    free[cnt[C_FREE]] = i
    cnt[C_FREE] += 1
    cnt[C_ORBITS] -= 1


@njit(cache=True, _nrt=False)
def _merge(x, y, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, free, ternary, reflect, bits):
    """Join the orbits of slots x and y where they share two factors.

    Returns ``(joined, slot, partner)``: whether a reduction happened, and a further candidate pair.
    """
    i = x >> 2
    j = y >> 2
    if i == j or keys[x] != keys[y] or fac[x] == U0:
        return False, 0, 0
    tries = 2 if reflect else 1
    for attempt in range(tries):
        if attempt == 1:
            _reflect_orbit(j, fac, sgn, ternary, bits)
        if fac[x] != fac[y]:
            continue
        x1, x2 = _others(x)
        y1, y2 = _others(y)
        if fac[x1] == fac[y1]:
            a, b = x2, y2
        elif fac[x2] == fac[y2]:
            a, b = x1, y1
        else:
            continue
        if ternary:
            other = fac[b] if sgn[i] == sgn[j] else _negate(fac[b])
            if (fac[a] & other) != U0:
                continue
            total = _add(fac[a], other)
        else:
            total = fac[a] ^ fac[b]
        _unlink_cold(a, keys, head, nxt, deg, ent, pos, cnt, apart)
        _remove_orbit(j, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, 0)
        if total == U0:
            _remove_orbit(i, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, a)
            return True, 0, 0
        partner = _put_cold(
            a, total, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits
        )
        return True, a, partner
    return False, 0, 0


@njit(cache=True, _nrt=False)
def _plus(state, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, free, symmetric, ternary, reflect, bits):
    """One plus transition on two random orbits; returns whether it took place."""
    cap = sgn.size - 1
    if cnt[C_FREE] == 0 or cnt[C_ORBITS] < 2:
        return False
    for _ in range(64):
        i = _below(_next(state), cap) + 1
        j = _below(_next(state), cap) + 1
        if i == j or fac[4 * i] == U0 or fac[4 * j] == U0:
            continue
        draw = _next(state)
        k = _below(draw, 3)
        l = np.int64(draw & LOW16) % 3 if symmetric else k
        if reflect and (draw >> U16) & U1:
            _reflect_orbit(j, fac, sgn, ternary, bits)
        u1 = 4 * i + k
        u2 = 4 * j + l
        v1, w1 = _others(u1)
        v2, w2 = _others(u2)
        if fac[u1] == fac[u2] or fac[v1] == fac[v2] or fac[w1] == fac[w2]:
            continue
        if ternary:
            # s₁u₁v₁w₁ + s₂u₂v₂w₂ = s₁u₁(v₁+v₂)w₁ + s₂u₁v₂(w₂−s₁s₂w₁) + s₂(u₂−u₁)v₂w₂
            middle = _negate(fac[w1]) if sgn[i] == sgn[j] else fac[w1]
            minus = _negate(fac[u1])
            if fac[v1] & fac[v2] or fac[w2] & middle or fac[u2] & minus:
                continue
            new_v = _add(fac[v1], fac[v2])
            new_w = _add(fac[w2], middle)
            new_u = _add(fac[u2], minus)
        else:
            new_v = fac[v1] ^ fac[v2]
            new_w = fac[w1] ^ fac[w2]
            new_u = fac[u1] ^ fac[u2]
        if new_v == U0 or new_w == U0 or new_u == U0:
            continue
        cnt[C_FREE] -= 1
        h = np.int64(free[cnt[C_FREE]])
        cnt[C_ORBITS] += 1
        sgn[h] = sgn[j]
        # The new orbit keeps the position of each factor (l-aligned), as the trivial group demands.
        u3 = 4 * h + k
        v3, w3 = _others(u3)
        _put_cold(u3, fac[u1], fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits)
        _put_cold(v3, fac[v2], fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits)
        _put_cold(w3, new_w, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits)
        _unlink_cold(v1, keys, head, nxt, deg, ent, pos, cnt, apart)
        _put_cold(v1, new_v, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits)
        _unlink_cold(u2, keys, head, nxt, deg, ent, pos, cnt, apart)
        _put_cold(u2, new_u, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits)
        return True
    return False


@njit(cache=True, _nrt=False)
def _export(fac, sgn, out, out_sgn):
    """Copy the living orbits to the front of (out, out_sgn); returns their number."""
    m = 0
    for i in range(1, sgn.size):
        if fac[4 * i] != U0:
            for k in range(3):
                out[m, k] = fac[4 * i + k]
            out_sgn[m] = sgn[i]
            m += 1
    return m


def walk(terms, signs, orbits, params, state, best, best_signs, stats):
    """Random walk of at most ``params[P_FLIPS]`` flips; stops when ``params[P_TARGET]`` orbits are left.

    Parameters
    ----------
    terms : (cap, 3) uint64, signs : (cap,) int64
        Start; overwritten by the last state.  ``cap`` also bounds what plus transitions may grow to.
    orbits : int
        Number of rows of ``terms`` in use.
    params : (P_LENGTH,) int64
        Ternary flag, symmetry (0 none, 1 C₃, 2 C₃×Z₂), bits per factor, target, flip limit, flips without
        a new minimum before a plus transition, how far above the best a plus transition may climb, and
        the fewest orbits seen before this call (``best`` is left alone until that is beaten).
    state : (1,) uint64
        Random generator, advanced.
    best, best_signs :
        Same shapes; receive the scheme with the fewest orbits seen.
    stats : (S_LENGTH,) int64
        Orbits now, orbits of the best, flips, plus transitions, reductions.
    """
    cap = signs.size
    reflect = params[P_SYMMETRY] == 2
    # Unsigned 16-bit tables: compact, and known to be non-negative, which spares numba's index check.
    # Slot 0 (and with it orbit 0) is unused, so that 0 can mean "none".
    slots = 4 * (cap + 1)
    fac = np.zeros(slots, dtype=np.uint64)
    keys = np.zeros(slots, dtype=np.uint64) if reflect else fac
    sgn = np.ones(cap + 1, dtype=np.int64)
    head = np.zeros(4 << HASH_BITS, dtype=np.uint16)
    nxt = np.zeros(slots, dtype=np.uint16)
    deg = np.zeros(slots, dtype=np.uint16)
    ent = np.zeros(slots, dtype=np.uint16)
    pos = np.zeros(slots, dtype=np.uint16)
    free = np.zeros(cap + 1, dtype=np.uint16)
    cnt = np.zeros(3, dtype=np.int64)
    _run(terms, signs, orbits, params, state, best, best_signs, stats, fac, keys, sgn, head, nxt, deg, ent, pos, free, cnt)


@njit(cache=True, _nrt=False)
def _run(terms, signs, orbits, params, state, best, best_signs, stats, fac, keys, sgn, head, nxt, deg, ent, pos, free, cnt):
    cap = signs.size
    ternary = params[P_TERNARY] != 0
    symmetric = params[P_SYMMETRY] != 0
    reflect = params[P_SYMMETRY] == 2
    bits = params[P_BITS]
    target = params[P_TARGET]
    max_flips = params[P_FLIPS]
    plus_after = params[P_PLUS_AFTER]
    plus_diff = params[P_PLUS_DIFF]
    apart = 0 if symmetric else 3

    for i in range(cap, orbits, -1):
        free[cnt[C_FREE]] = i
        cnt[C_FREE] += 1
    cnt[C_ORBITS] = orbits
    for i in range(1, orbits + 1):
        sgn[i] = signs[i - 1]
        for k in range(3):
            _put_cold(
                4 * i + k, terms[i - 1, k], fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart,
                ternary, reflect, bits,
            )

    lowest = min(orbits, params[P_LOWEST])
    if lowest == orbits:
        _export(fac, sgn, best, best_signs)
    flips = np.int64(0)
    pluses = 0
    reductions = 0
    since = np.int64(0)
    while flips < max_flips and cnt[C_ORBITS] > target:
        n = cnt[C_ENTRIES]
        if n == 0 or flips - since >= plus_after:
            since = flips
            if cnt[C_ORBITS] < lowest + plus_diff and _plus(
                state, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, free,
                symmetric, ternary, reflect, bits,
            ):
                pluses += 1
            elif n == 0:
                break
            continue
        flips += 1
        draw = _next(state)
        x = np.int64(ent[_below(draw, n)])
        key = keys[x]
        i = x >> 2
        # Walk the chain to a random partner.
        skip = np.int64(((draw & LOW16) * np.uint64(deg[x])) >> U16)
        y = np.int64(head[_bucket(key, x, apart)])
        while True:
            if keys[y] == key and (y >> 2) != i:
                if skip == 0:
                    break
                skip -= 1
            y = np.int64(nxt[y])
        j = y >> 2
        if reflect:
            if fac[x] != fac[y] or (
                ((draw >> U16) & U1) != U0 and _sigma_fixed(fac[x], ternary, bits)
            ):
                _reflect_orbit(j, fac, sgn, ternary, bits)
        v1, w1 = _others(x)
        v2, w2 = _others(y)
        if ternary:
            a = fac[v2]
            b = fac[w1]
            if sgn[i] == sgn[j]:
                b = _negate(b)
            if ((draw >> np.uint64(17)) & U1) != U0:
                a = _negate(a)
                b = _negate(b)
            if (fac[v1] & a) != U0 or (fac[w2] & b) != U0:
                a = _negate(a)
                b = _negate(b)
                if (fac[v1] & a) != U0 or (fac[w2] & b) != U0:
                    continue
            new_v = _add(fac[v1], a)
            new_w = _add(fac[w2], b)
        else:
            new_v = fac[v1] ^ fac[v2]
            new_w = fac[w2] ^ fac[w1]
        _unlink(v1, keys, head, nxt, deg, ent, pos, cnt, apart)
        _unlink(w2, keys, head, nxt, deg, ent, pos, cnt, apart)
        near_v = 0
        near_w = 0
        if new_v == U0:
            _remove_orbit(i, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, v1)
        else:
            near_v = _put(
                v1, new_v, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits
            )
        if new_w == U0:
            _remove_orbit(j, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, w2)
        else:
            near_w = _put(
                w2, new_w, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, ternary, reflect, bits
            )
        vanished = 0
        if reflect and not ternary:
            # Over GF(2) an orbit fixed by σ is counted twice, hence zero.
            if new_v != U0 and _orbit_fixed(i, fac, bits):
                _remove_orbit(i, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, 0)
                vanished += 1
            if new_w != U0 and _orbit_fixed(j, fac, bits):
                _remove_orbit(j, fac, keys, head, nxt, deg, ent, pos, cnt, apart, free, 0)
                vanished += 1
        if near_v == 0 and near_w == 0 and new_v != U0 and new_w != U0 and vanished == 0:
            continue
        # Rare: something can be reduced, or has been.
        before = cnt[C_ORBITS] + vanished + (1 if new_v == U0 else 0) + (1 if new_w == U0 else 0)
        a_slot, a_mate = v1, near_v
        while a_mate != 0:
            _, a_slot, a_mate = _merge(
                a_slot, a_mate, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, free,
                ternary, reflect, bits,
            )
        a_slot, a_mate = w2, near_w
        while a_mate != 0:
            _, a_slot, a_mate = _merge(
                a_slot, a_mate, fac, keys, sgn, head, nxt, deg, ent, pos, cnt, apart, free,
                ternary, reflect, bits,
            )
        if cnt[C_ORBITS] < before:
            reductions += before - cnt[C_ORBITS]
            if cnt[C_ORBITS] < lowest:
                since = flips
                lowest = cnt[C_ORBITS]
                _export(fac, sgn, best, best_signs)
    stats[S_ORBITS] = _export(fac, sgn, terms, signs)
    stats[S_BEST] = lowest
    stats[S_FLIPS] = flips
    stats[S_PLUS] = pluses
    stats[S_REDUCTIONS] = reductions


@njit(cache=True, _nrt=False)
def _orbit_fixed(i, fac, bits):
    for k in range(3):
        if _sigma(fac[4 * i + k], False, bits) != fac[4 * i + k]:
            return False
    return True


@njit(cache=True, _nrt=False)
def _sigma_fixed(x, ternary, bits):
    y = _sigma(x, ternary, bits)
    return y == x or (ternary and _negate(y) == x)
