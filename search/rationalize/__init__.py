"""Rationalisation: a numerical solution of the Brent equations becomes an exact, proven one."""

from .core import RationaliseReport, rationalise
from .model import Model, Tying, free_tying, z3_tying

__all__ = ["Model", "RationaliseReport", "Tying", "free_tying", "rationalise", "z3_tying"]
