"""Exact algebra of bilinear algorithms: encoders, targets, rings, identities, scores, files, groups."""

from ._version import __version__ as __version__
from .encoder import Encoder, Factor
from .errors import EncoderFileError, StlError
from .groups import FiniteGroup, group
from .identities import Report, verify
from .opening import load, save
from .rings import Ring, ring
from .targets import Target, target

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
