"""The isotropy group of matrix multiplication acting on encoders: equivalence, invariants, stabilisers."""

from .invariants import rank_triples, trace_tensor
from .stabiliser import Equivalence, Stabiliser, describe_group, equivalent, signature, stabiliser
from .transform import Transformation, canonical_form, same_up_to_order

__all__ = [
    "Equivalence",
    "Stabiliser",
    "Transformation",
    "canonical_form",
    "describe_group",
    "equivalent",
    "rank_triples",
    "same_up_to_order",
    "signature",
    "stabiliser",
    "trace_tensor",
]
