"""From a find (an encoder over R64, C128 or GF(2)) to a proven one: see `exact`."""

from .rational import RationaliseReport, rationalise
from .road import RINGS, ExactReport, exact

__all__ = ["RINGS", "ExactReport", "RationaliseReport", "exact", "rationalise"]
