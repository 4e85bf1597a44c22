"""Triple product property: subsets S, T, U of a group through which it multiplies matrices (Cohn & Umans 2003).

With Q(S) = {s'·s⁻¹}, the group realises ⟨|S|, |T|, |U|⟩ when q_s·q_t·q_u = 1 only for q_s = q_t = q_u = 1.  The search
here is a cheap, seeded look for small formats (what it finds is proven; what it misses may exist).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from stl_algebra.groups.subgroups import subgroup_classes
from stl_algebra.groups.table import FiniteGroup

__all__ = ["has_triple_product_property", "realised_formats"]


def _quotients(group: FiniteGroup, subset: Sequence[int]) -> set[int]:
    return {int(group.table[a, group.inverse[b]]) for a in subset for b in subset}


def has_triple_product_property(group: FiniteGroup, s: Sequence[int], t: Sequence[int], u: Sequence[int]) -> bool:
    """Exact test: q_s·q_t·q_u = 1 only trivially."""
    e = group.identity
    qs, qt, qu = (_quotients(group, x) for x in (s, t, u))
    if qs & qt != {e}:
        return False
    products = {int(group.table[a, b]) for a in qs for b in qt}
    return {int(group.inverse[c]) for c in qu} & products == {e}


def _clique(group: FiniteGroup, forbidden: set[int], target: int) -> list[int]:
    """Largest greedy-with-backtracking set U ∋ 1 with u'·u⁻¹ outside `forbidden`, at most `target` elements."""
    bad = np.zeros(group.order, dtype=bool)
    bad[list(forbidden)] = True
    bad |= bad[group.inverse]
    compatible = ~bad[group.table[:, group.inverse]]  # [u', u]
    neighbours = [int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little") for row in compatible]
    best: list[int] = []
    budget = 400

    def extend(chosen: list[int], open_: int) -> bool:
        nonlocal best, budget
        if len(chosen) > len(best):
            best = chosen
        if len(best) >= target or budget == 0:
            return True
        budget -= 1
        while open_ and len(chosen) + open_.bit_count() > len(best):
            v = (open_ & -open_).bit_length() - 1
            open_ &= open_ - 1
            if extend([*chosen, v], open_ & neighbours[v]):
                return True
        return False

    start = group.identity
    extend([start], neighbours[start] & ~(1 << start))
    return best


def realised_formats(
    group: FiniteGroup, largest: int = 5, samples: int = 150, seed: int = 0
) -> dict[tuple[int, int, int], tuple[list[int], list[int], list[int]]]:
    """Formats ⟨n, m, p⟩, n ≤ m ≤ p ≤ largest, that the group is found to realise, with subsets as proof.

    Pairs S, T come from subgroups and from seeded random subsets; U is a clique among the elements they leave free.
    Only formats not contained in another found format are returned; orders of n, m, p do not matter.

    Parameters
    ----------
    group : FiniteGroup
        Meant for orders up to about 100 (a second or so at 64).
    largest : int
        Largest dimension tried.
    samples : int
        Random pairs per pair of sizes.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> list(realised_formats(group("S3")))
    [(2, 2, 2)]
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, int, int], tuple[list[int], list[int], list[int]]] = {}
    e = group.identity
    small = [c for c in subgroup_classes(group) if 2 <= c.order <= largest] if group.order <= 200 else []
    pool = [row.tolist() for c in small for row in c.conjugates[:12]][:60]
    pairs = [(a, b) for a, b in combinations(pool, 2)][:1500]
    others = np.setdiff1d(np.arange(group.order), [e])
    for n in range(2, largest + 1):
        for m in range(n, largest + 1):
            if (n * m) ** 2 // 2 <= 4 * group.order and m <= len(others):
                for _ in range(samples):
                    pairs.append(
                        (
                            [e, *rng.choice(others, n - 1, replace=False).tolist()],
                            [e, *rng.choice(others, m - 1, replace=False).tolist()],
                        )
                    )
    for s, t in pairs:
        qs, qt = _quotients(group, s), _quotients(group, t)
        if qs & qt != {e} or len(s) * len(t) > group.order:
            continue
        forbidden = {int(group.table[a, b]) for a in qs for b in qt} - {e}
        u = _clique(group, forbidden, largest)
        key = tuple(sorted((len(s), len(t), len(u))))
        if key[0] >= 2 and key not in found and has_triple_product_property(group, s, t, u):
            found[key] = (list(s), list(t), u)  # type: ignore[index]
    return {
        k: v
        for k, v in sorted(found.items())
        if not any(o != k and all(x <= y for x, y in zip(k, o, strict=True)) for o in found)
    }
