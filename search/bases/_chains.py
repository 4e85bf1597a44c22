"""Compiled searches for short addition chains, and for schemes whose factors have them (numba).

A vector is represented by a *linear hash*: the sum of one random 64-bit number a coordinate, times the entries
(modulo 2⁶⁴; over GF(2) the exclusive or). Then sums of vectors are sums of numbers, a vector and its negative have one
canonical number, and two different vectors meet with a chance of 2⁻⁶⁴. Every chain found is expanded and compared with
the matrix afterwards, so a collision could only lose a chain, never produce a wrong one.
"""

# numba infers the types of compiled functions itself; annotations would be ignored.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return,assignment"
# ruff: noqa: NPY002 -- compiled code has the old generator only

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import njit

__all__ = ["anneal", "closure", "extras"]

_JIT: Any = {"cache": True}
BITS = 10
SIZE = 1 << BITS
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(64 - BITS)


@njit(**_JIT)
def _canonical(h, mod2):
    return h if mod2 or h >= 0 else -h


@njit(**_JIT)
def _place(keys, stamps, stamp, h):
    """Slot of a number in the open table: where it is, or where it would go."""
    i = np.int64((np.uint64(h) * MULTIPLIER) >> SHIFT)
    while stamps[i] == stamp and keys[i] != h:
        i = (i + 1) & (SIZE - 1)
    return i


@njit(**_JIT)
def closure(units, goals, count, mod2, reached, order, keys, stamps, stamp):
    """Mark the goals that a chain through goals alone reaches; return how many of the first `count` are not reached.

    `order` receives the indices of the goals in the order in which they become available, then -1.
    """
    made = len(units)
    for i in range(made):
        k = _place(keys, stamps, stamp, units[i])
        keys[k] = units[i]
        stamps[k] = stamp
    left = 0
    for j in range(count):
        reached[j] = False
        if goals[j] != 0:
            left += 1
    done = 0
    at = 0
    while at < made + done and left:
        x = units[at] if at < made else goals[order[at - made]]
        at += 1
        for j in range(count):
            t = goals[j]
            if reached[j] or t == 0:
                continue
            y = t ^ x if mod2 else t - x
            y = _canonical(y, mod2)
            k = _place(keys, stamps, stamp, y)
            hit = stamps[k] == stamp
            if not hit and not mod2:
                y = _canonical(t + x, mod2)
                k = _place(keys, stamps, stamp, y)
                hit = stamps[k] == stamp
            if hit:
                reached[j] = True
                left -= 1
                order[done] = j
                done += 1
                k = _place(keys, stamps, stamp, t)
                keys[k] = t
                stamps[k] = stamp
    order[done] = -1
    return left


@njit(**_JIT)
def _missing(reached, goals, first):
    left = 0
    for j in range(first):
        if goals[j] != 0 and not reached[j]:
            left += 1
    return left


@njit(**_JIT)
def extras(units, targets, start, steps, hot, cold, seed, mod2, best):
    """Anneal the set of extra sums that make all targets reachable; return their number (into `best`), or -1.

    Energy: extras plus 1.3 for every target that is not reached. Moves: add a sum, drop one, replace one; sums are
    drawn among those that make an unreached target reachable, when there is one.
    """
    np.random.seed(seed)
    nt = len(targets)
    limit = len(best)
    goals = np.zeros(nt + limit, dtype=np.int64)
    goals[:nt] = targets
    ne = 0
    for e in start:
        if e != 0 and ne < limit:
            goals[nt + ne] = e
            ne += 1
    reached = np.zeros(nt + limit, dtype=np.bool_)
    order = np.zeros(nt + limit + 1, dtype=np.int64)
    keys = np.zeros(SIZE, dtype=np.int64)
    stamps = np.zeros(SIZE, dtype=np.int64)
    stamp = 1
    closure(units, goals, nt + ne, mod2, reached, order, keys, stamps, stamp)
    missing = _missing(reached, goals, nt)
    energy = ne + 1.3 * missing
    found = -1
    if missing == 0:
        found = ne
        best[:ne] = goals[nt : nt + ne]
    nu = len(units)
    for step in range(steps):
        heat = hot * (cold / hot) ** (step / steps)
        # a candidate sum
        z = np.int64(0)
        if missing and np.random.random() < 0.85:
            for _ in range(40):
                t = goals[np.random.randint(nt + ne)]
                for _ in range(4):
                    j = np.random.randint(nt)
                    if goals[j] != 0 and not reached[j]:
                        t = goals[j]
                        break
                k = np.random.randint(nu + nt + ne)
                a = units[k] if k < nu else goals[k - nu]
                if k >= nu and not reached[k - nu]:
                    continue
                y = t ^ a if mod2 else (t - a if np.random.random() < 0.5 else t + a)
                y = _canonical(y, mod2)
                k = np.random.randint(nu + nt + ne)
                b = units[k] if k < nu else goals[k - nu]
                c = _canonical(y ^ b if mod2 else y - b, mod2)
                d = _canonical(y ^ b if mod2 else y + b, mod2)
                i = _place(keys, stamps, stamp, c)
                j = _place(keys, stamps, stamp, d)
                z = y
                if stamps[i] == stamp or stamps[j] == stamp:
                    break
        else:
            k = np.random.randint(nu + nt + ne)
            a = units[k] if k < nu else goals[k - nu]
            k = np.random.randint(nu + nt + ne)
            b = units[k] if k < nu else goals[k - nu]
            z = _canonical(a ^ b if mod2 else (a - b if np.random.random() < 0.5 else a + b), mod2)
        kind = np.random.random()
        drop = -1
        if kind < 0.25 and ne > 0:
            drop = np.random.randint(ne)
            z = 0
        elif kind < 0.75 and ne > 0:
            drop = np.random.randint(ne)
        elif ne >= limit:
            continue
        if z != 0:
            known = False
            for k in range(nu):
                known |= units[k] == z
            for k in range(nt + ne):
                known |= goals[k] == z
            if known:
                continue
        elif drop < 0:
            continue
        before = ne
        lost = goals[nt + drop] if drop >= 0 else 0
        if drop >= 0:
            if z != 0:
                goals[nt + drop] = z
            else:
                ne -= 1
                goals[nt + drop] = goals[nt + ne]
                goals[nt + ne] = 0
        else:
            goals[nt + ne] = z
            ne += 1
        stamp += 1
        closure(units, goals, nt + ne, mod2, reached, order, keys, stamps, stamp)
        now = _missing(reached, goals, nt)
        new = ne + 1.3 * now
        if new <= energy or np.random.random() < np.exp((energy - new) / heat):
            energy = new
            missing = now
            if now == 0 and (found < 0 or ne < found):
                found = ne
                best[:ne] = goals[nt : nt + ne]
        else:
            if drop >= 0:
                if z != 0:
                    goals[nt + drop] = lost
                else:
                    goals[nt + ne] = goals[nt + drop]
                    goals[nt + drop] = lost
                    ne += 1
            else:
                ne -= 1
                goals[nt + ne] = 0
            ne = before
            stamp += 1
            closure(units, goals, nt + ne, mod2, reached, order, keys, stamps, stamp)
    return found


@njit(**_JIT)
def _distinct(units, hashes, rank, mod2, goals):
    """Collect the different sums of one factor (no units, no zeros); return how many."""
    count = 0
    for l in range(rank):
        h = _canonical(hashes[l], mod2)
        known = h == 0
        for i in range(len(units)):
            known |= units[i] == h
        if known:
            continue
        for i in range(count):
            if goals[i] == h:
                known = True
                break
        if not known:
            goals[count] = h
            count += 1
    return count


@njit(**_JIT)
def _rehash(vectors, numbers, width, mod2):
    h = np.int64(0)
    for i in range(width):
        if vectors[i] != 0:
            h = h ^ numbers[i] if mod2 else h + vectors[i] * numbers[i]
    return h


@njit(**_JIT)
def anneal(vectors, dims, numbers, mod2, largest, steps, hot, cold, weight, turns, seed, pool, costs, marks):
    """Walk over schemes of one rank by flips and elementary changes of basis, towards cheap factors.

    `vectors` (3, r, width) are the factor matrices U (n×m), V (m×p), W (p×n) of every term, row-major; the pool
    receives the cheapest schemes met, with their costs and marks (a hash of the scheme). Returns the flips made.
    """
    np.random.seed(seed)
    rank = vectors.shape[1]
    widths = np.array([dims[0] * dims[1], dims[1] * dims[2], dims[2] * dims[0]])
    hashes = np.zeros((3, rank), dtype=np.int64)
    goals = np.zeros(rank + 1, dtype=np.int64)
    reached = np.zeros(rank + 1, dtype=np.bool_)
    order = np.zeros(rank + 2, dtype=np.int64)
    keys = np.zeros(SIZE, dtype=np.int64)
    stamps = np.zeros(SIZE, dtype=np.int64)
    stamp = 0
    for s in range(3):
        for l in range(rank):
            hashes[s, l] = _rehash(vectors[s, l], numbers[s], widths[s], mod2)
    others = np.zeros(rank + 1, dtype=np.int64)
    units0 = _canonicals(numbers[0], widths[0], mod2)
    units1 = _canonicals(numbers[1], widths[1], mod2)
    units2 = _canonicals(numbers[2], widths[2], mod2)
    cost = np.zeros(3)
    for s in range(3):
        stamp += 1
        units = units0 if s == 0 else (units1 if s == 1 else units2)
        count = _distinct(units, hashes[s], rank, mod2, goals)
        cost[s] = count + weight * closure(units, goals, count, mod2, reached, order, keys, stamps, stamp)
    made = 0
    saved = vectors.copy()
    fresh = np.zeros(3)
    for step in range(steps):
        heat = hot * (cold / hot) ** (step / steps)
        one, two = -1, -1
        i, j, s = 0, 0, 0
        turn = np.random.random() < turns
        if turn:
            k = np.random.randint(3)
            if dims[k] < 2:
                continue
            i = np.random.randint(dims[k])
            j = np.random.randint(dims[k])
            if i == j:
                continue
            c = 1 if np.random.random() < 0.5 else -1
            one, two = k, (k + 2) % 3
            saved[one] = vectors[one]
            saved[two] = vectors[two]
            ok = True
            across = dims[(k + 1) % 3]  # columns of factor k
            width = dims[k]  # columns of factor k-1
            for l in range(rank):
                for q in range(across):
                    v = vectors[one, l, j * across + q]
                    if v != 0:
                        x = vectors[one, l, i * across + q] + c * v
                        x = x & 1 if mod2 else x
                        ok &= abs(x) <= largest
                        vectors[one, l, i * across + q] = x
                for q in range(dims[two]):
                    v = vectors[two, l, q * width + i]
                    if v != 0:
                        x = vectors[two, l, q * width + j] - c * v
                        x = x & 1 if mod2 else x
                        ok &= abs(x) <= largest
                        vectors[two, l, q * width + j] = x
            if not ok:
                vectors[one] = saved[one]
                vectors[two] = saved[two]
                continue
            for l in range(rank):
                hashes[one, l] = _rehash(vectors[one, l], numbers[one], widths[one], mod2)
                hashes[two, l] = _rehash(vectors[two, l], numbers[two], widths[two], mod2)
        else:
            hit = False
            for _ in range(2000):
                s = np.random.randint(3)
                i = np.random.randint(rank)
                j = np.random.randint(rank)
                if i != j and _canonical(hashes[s, i], mod2) == _canonical(hashes[s, j], mod2):
                    hit = True
                    break
            if not hit:
                continue
            sign = 1 if hashes[s, i] == hashes[s, j] else -1
            if np.random.random() < 0.5:
                one, two = (s + 1) % 3, (s + 2) % 3
            else:
                one, two = (s + 2) % 3, (s + 1) % 3
            c = 1 if np.random.random() < 0.5 else -1
            ok, some, other = True, False, False
            for q in range(widths[one]):
                x = vectors[one, i, q] + c * sign * vectors[one, j, q]
                x = x & 1 if mod2 else x
                ok &= abs(x) <= largest
                some |= x != 0
            for q in range(widths[two]):
                x = vectors[two, j, q] - c * vectors[two, i, q]
                x = x & 1 if mod2 else x
                ok &= abs(x) <= largest
                other |= x != 0
            if not (ok and some and other):
                continue
            for q in range(widths[one]):
                x = vectors[one, i, q] + c * sign * vectors[one, j, q]
                vectors[one, i, q] = x & 1 if mod2 else x
            for q in range(widths[two]):
                x = vectors[two, j, q] - c * vectors[two, i, q]
                vectors[two, j, q] = x & 1 if mod2 else x
            hashes[one, i] = _rehash(vectors[one, i], numbers[one], widths[one], mod2)
            hashes[two, j] = _rehash(vectors[two, j], numbers[two], widths[two], mod2)
        old = cost[0] + cost[1] + cost[2]
        limit = old - heat * np.log(np.random.random())  # Metropolis: what the new cost may be
        units = units0 if one == 0 else (units1 if one == 1 else units2)
        first = _distinct(units, hashes[one], rank, mod2, goals)
        units = units0 if two == 0 else (units1 if two == 1 else units2)
        second = _distinct(units, hashes[two], rank, mod2, others)
        rest = cost[3 - one - two]
        new = rest + first + second
        if new <= limit:  # only now the closures, which are dearer
            stamp += 1
            units = units0 if one == 0 else (units1 if one == 1 else units2)
            fresh[one] = first + weight * closure(units, goals, first, mod2, reached, order, keys, stamps, stamp)
            new = rest + fresh[one] + second
        if new <= limit:
            stamp += 1
            units = units0 if two == 0 else (units1 if two == 1 else units2)
            fresh[two] = second + weight * closure(units, others, second, mod2, reached, order, keys, stamps, stamp)
            new = rest + fresh[one] + fresh[two]
        if new <= limit:
            made += 1
            cost[one] = fresh[one]
            cost[two] = fresh[two]
            if new < costs[-1]:
                _keep(vectors, hashes, new, pool, costs, marks, mod2)
        elif turn:
            vectors[one] = saved[one]
            vectors[two] = saved[two]
            for l in range(rank):
                hashes[one, l] = _rehash(vectors[one, l], numbers[one], widths[one], mod2)
                hashes[two, l] = _rehash(vectors[two, l], numbers[two], widths[two], mod2)
        else:  # the flip taken back
            for q in range(widths[two]):
                x = vectors[two, j, q] + c * vectors[two, i, q]
                vectors[two, j, q] = x & 1 if mod2 else x
            for q in range(widths[one]):
                x = vectors[one, i, q] - c * sign * vectors[one, j, q]
                vectors[one, i, q] = x & 1 if mod2 else x
            hashes[one, i] = _rehash(vectors[one, i], numbers[one], widths[one], mod2)
            hashes[two, j] = _rehash(vectors[two, j], numbers[two], widths[two], mod2)
    return made


@njit(**_JIT)
def _canonicals(numbers, width, mod2):
    out = np.zeros(width, dtype=np.int64)
    for i in range(width):
        out[i] = _canonical(numbers[i], mod2)
    return out


@njit(**_JIT)
def _keep(vectors, hashes, cost, pool, costs, marks, mod2):
    """Insert a scheme into the pool, sorted by cost, unless it is there."""
    mark = np.int64(0)
    for s in range(3):
        side = np.int64(0)
        for l in range(hashes.shape[1]):
            h = _canonical(hashes[s, l], mod2)
            side += h * h
        mark = mark * 1000003 + side
    for k in range(len(costs)):
        if marks[k] == mark and costs[k] <= cost:
            return
    at = len(costs) - 1
    while at > 0 and costs[at - 1] > cost:
        at -= 1
    for k in range(len(costs) - 1, at, -1):
        costs[k] = costs[k - 1]
        marks[k] = marks[k - 1]
        pool[k] = pool[k - 1]
    costs[at] = cost
    marks[at] = mark
    pool[at] = vectors
