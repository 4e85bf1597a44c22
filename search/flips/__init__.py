"""Flip graphs: random walks between exact schemes, over GF(2) and over Z with coefficients −1, 0, 1.

    from search.flips import search_flips
    search_flips((3, 3, 3), ring="Z", target_rank=23)

Sources: Kauers–Moosbauer 2022 (flip graphs), Arai–Ichikawa–Hukushima 2024 (plus transitions),
Moosbauer–Poole 2025 (symmetry). Searches start from the standard algorithm unless told otherwise.
"""

from .explore import FlipResult, search_flips
from .formats import extend, merge, project
from .graph import flip_graph
from .pools import Pools, search_from
from .scheme import Scheme, from_factors, standard, symmetric_start
from .walk import Schedule, walk_from

__all__ = [
    "FlipResult",
    "Pools",
    "Schedule",
    "Scheme",
    "extend",
    "flip_graph",
    "from_factors",
    "merge",
    "project",
    "search_flips",
    "search_from",
    "standard",
    "symmetric_start",
    "walk_from",
]
