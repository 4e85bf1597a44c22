"""Best known exact ranks and proven lower bounds of ⟨n,m,p⟩: what a find is measured against.

Ranks are those of the published catalogues (Sedoglavic's fmm.univ-lille.fr; Fawzi et al. 2022; AlphaEvolve 2025;
Dumas–Pernet–Sedoglavic 2025) for coefficients in a field of characteristic 0.
"""

from __future__ import annotations

from math import ceil, prod

__all__ = ["BEST_RANK", "best_rank", "lower_bound"]

#: Sorted format → smallest known rank over Q (or a number field), bilinear and noncommutative.
BEST_RANK: dict[tuple[int, int, int], int] = {
    (2, 2, 2): 7, (2, 2, 3): 11, (2, 2, 4): 14, (2, 2, 5): 18, (2, 3, 3): 15, (2, 3, 4): 20, (2, 3, 5): 25,
    (2, 4, 4): 26, (2, 4, 5): 32, (2, 5, 5): 40, (3, 3, 3): 23, (3, 3, 4): 29, (3, 3, 5): 36, (3, 3, 6): 40,
    (3, 4, 4): 38, (3, 4, 5): 47, (3, 4, 6): 54, (3, 5, 5): 58, (4, 4, 4): 48, (4, 4, 5): 61, (4, 4, 6): 73,
    (4, 5, 5): 76, (4, 5, 6): 90, (5, 5, 5): 93, (6, 6, 6): 153, (7, 7, 7): 249, (8, 8, 8): 336,
}  # fmt: skip


def best_rank(fmt: tuple[int, int, int]) -> int | None:
    """Smallest known exact rank of ⟨n,m,p⟩ (any order of the dimensions), None if not tabulated; nmp if one is 1."""
    if min(fmt) == 1:
        return prod(fmt)
    a, b, c = sorted(fmt)
    return BEST_RANK.get((a, b, c))


def lower_bound(fmt: tuple[int, int, int]) -> int:
    """A proven lower bound of the exact rank.

    7 for ⟨2,2,2⟩ (Winograd 1971), 19 for ⟨3,3,3⟩ (Bläser 2003), ⌈5n²/2 − 3n⌉ for ⟨n,n,n⟩ (Bläser 1999), nmp if a
    dimension is 1, and the largest dimension of a slot otherwise (the tensor is concise).
    """
    n, m, p = sorted(fmt)
    if n == 1:
        return prod(fmt)
    if n == m == p:
        return {2: 7, 3: 19}.get(n, ceil(2.5 * n * n - 3 * n))
    return m * p
