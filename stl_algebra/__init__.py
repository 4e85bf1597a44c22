"""Exact algebra of bilinear algorithms: encoders, targets, rings, identities, scores, groups."""

from .encoder import Encoder, Factor
from .errors import EncoderFileError, StlError
from .identities import Report, verify
from .rings import Ring, ring
from .targets import Target, target

__all__ = ["Encoder", "EncoderFileError", "Factor", "Report", "Ring", "StlError", "Target", "ring", "target", "verify"]
