"""Exact algebra of bilinear algorithms: encoders, targets, rings, identities, scores, files, groups."""

from .encoder import Encoder, Factor
from .errors import EncoderFileError, StlError
from .files import load, save
from .groups import FiniteGroup, group
from .identities import Report, verify
from .rings import Ring, ring
from .targets import Target, target

__version__ = "0.1.0"
__all__ = [
    "Encoder",
    "EncoderFileError",
    "Factor",
    "FiniteGroup",
    "Report",
    "Ring",
    "StlError",
    "Target",
    "group",
    "load",
    "ring",
    "save",
    "target",
    "verify",
]
