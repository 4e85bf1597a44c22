"""Numba's `njit`, its cached code kept apart by the name this package goes by.

In the checkout it is imported as ``search`` and as ``stl_search`` (installed in place), from the same files. Cached
code names the classes it takes by their module, so code compiled under one name cannot be read under the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["njit"]


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with options; the name of the package becomes part of the name under which code is cached."""

    def compiled(function: Callable[..., Any]) -> Any:
        function.__qualname__ = f"{__name__.split('.')[0]}.{function.__qualname__}"
        try:
            return numba.njit(**options)(function)
        except RuntimeError:  # no folder for the cache can be written, or the package lies in an archive
            return numba.njit(**{**options, "cache": False})(function)

    return compiled
