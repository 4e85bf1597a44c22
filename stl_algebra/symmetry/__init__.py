"""The isotropy group of matrix multiplication acting on encoders: equivalence, invariants, stabilisers."""

from .enumeration import actions
from .grammar import action, is_explicit, is_generated
from .invariants import rank_triples, trace_tensor
from .isometries import Action
from .orbittypes import TermType, count_multisets, multisets, sample_multisets, term_types
from .primitive import primitive_action
from .stabiliser import Equivalence, Stabiliser, describe_group, equivalent, signature, stabiliser
from .transform import Transformation, canonical_form, same_up_to_order

__all__ = [
    "Action",
    "Equivalence",
    "Stabiliser",
    "TermType",
    "Transformation",
    "action",
    "actions",
    "canonical_form",
    "count_multisets",
    "describe_group",
    "equivalent",
    "is_explicit",
    "is_generated",
    "multisets",
    "primitive_action",
    "rank_triples",
    "same_up_to_order",
    "sample_multisets",
    "signature",
    "stabiliser",
    "term_types",
    "trace_tensor",
]
