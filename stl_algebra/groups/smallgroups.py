"""Every group of order at most 63, by order and index in the numbering of GAP's SmallGroups library.

The data file holds generators as right regular permutations and a structure description per group (10 kB
compressed); ``data/small_groups.g`` is the GAP script that wrote it.  GAP is not needed to read it.
Element numbering is GAP's ``AsSSortedList``, so class lists of both programs can be compared element by element.
"""

from __future__ import annotations

import lzma
import re
from collections import Counter
from functools import lru_cache
from importlib.resources import files

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.generate import table_from_right_multiplication
from stl_algebra.groups.table import FiniteGroup

__all__ = ["MAX_SMALL_ORDER", "number_of_small_groups", "small_group", "small_group_description", "small_groups"]

MAX_SMALL_ORDER = 63
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-"


@lru_cache(maxsize=1)
def _catalogue() -> dict[int, list[tuple[str, tuple[str, ...]]]]:
    raw = files("stl_algebra.groups").joinpath("data/small_groups.txt.xz").read_bytes()
    out: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
    for line in lzma.decompress(raw).decode("ascii").splitlines():
        head, _, words = line.partition("|")
        order, _, description = head.split(" ", 2)
        # GAP writes D8 for the dihedral group of order 8; here D4 names it
        description = re.sub(r"(?<![A-Za-wyz])D(\d+)", lambda m: f"D{int(m[1]) // 2}", description).replace("QD", "SD")
        out.setdefault(int(order), []).append((description, tuple(words.split())))
    return out


def number_of_small_groups(order: int) -> int:
    """How many groups of this order exist up to isomorphism (order ≤ 63).

    Examples
    --------
    >>> number_of_small_groups(32)
    51
    """
    if not isinstance(order, int | np.integer) or not 1 <= order <= MAX_SMALL_ORDER:
        raise StlError(
            "order",
            order,
            f"an order from 1 to {MAX_SMALL_ORDER}",
            "Larger groups come from constructors, generators or presentations.",
        )
    return len(_catalogue()[int(order)])


def small_group_description(order: int, index: int) -> str:
    """Structure as GAP describes it (D4 of order 8, ``:`` for semidirect, ``.`` for non-split extensions).

    A description that fits several groups carries the number, so that `group` reads every description back:
    ``C5:C4[20,1]`` and ``C5:C4[20,3]``.

    Examples
    --------
    >>> small_group_description(8, 4)
    'Q8'
    """
    count = number_of_small_groups(order)
    if not isinstance(index, int | np.integer) or not 1 <= index <= count:
        raise StlError(
            "index",
            index,
            f"an index from 1 to {count}",
            f"There are {count} groups of order {order} up to isomorphism.",
        )
    description = _catalogue()[order][index - 1][0]
    return description if _repeated()[description] == 1 else f"{description}[{order},{index}]"


@lru_cache(maxsize=1)
def _repeated() -> Counter[str]:
    return Counter(description for rows in _catalogue().values() for description, _ in rows)


def small_group(order: int, index: int) -> FiniteGroup:
    """Group number `index` (from 1) of the given order, as ``SmallGroup(order, index)`` in GAP.

    Examples
    --------
    >>> small_group(12, 3).order
    12
    """
    small_group_description(order, index)  # checks both arguments
    return _small_group(int(order), int(index))


@lru_cache(maxsize=512)
def _small_group(order: int, index: int) -> FiniteGroup:
    words = _catalogue()[order][index - 1][1]
    moves = [np.array([_LETTERS.index(c) for c in word]) for word in words]
    return FiniteGroup(
        table_from_right_multiplication(moves),
        f"SmallGroup({order},{index})",
        generators=tuple(int(m[0]) for m in moves),
        origin=("small", order, index),
        check=False,
    )


def small_groups(order: int) -> list[FiniteGroup]:
    """All groups of one order.

    Examples
    --------
    >>> len(list(small_groups(8)))
    5
    """
    return [small_group(order, i + 1) for i in range(number_of_small_groups(order))]
