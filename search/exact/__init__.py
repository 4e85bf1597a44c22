"""Rationalisation: a numerical solution of the Brent equations becomes an exact, proven one."""

from .model import Model, Tying, free_tying, z3_tying
from .rational import RationaliseReport, rationalise

__all__ = ["Model", "RationaliseReport", "Tying", "free_tying", "rationalise", "z3_tying"]
