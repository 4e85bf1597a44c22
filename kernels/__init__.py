"""Running encoders: reference, Triton kernels, custom operators, layers, validation and benchmarks.

Importing this package pulls in torch but neither Triton nor a GPU; what needs them says so when called.
The name is ours by the project's layout: Hugging Face ships an unrelated distribution also called
``kernels``, which `transformers` looks for by distribution metadata, so ours is not mistaken for it.
"""

from .calibrate import CalibrationReport, calibrate
from .codec import Codec, as_codec
from .convert import ConversionReport, convert_linear, unconvert
from .dispatch import DenseFallback, Plan, deepen, plan_matmul
from .exact import exact_matmul
from .fp64 import Fp64Weight, fp64_weight, matmul_fp64
from .functional import encode_weight, stl_matmul, stl_matmul_encoded
from .fused import mlp
from .leak import LeakReport, leak_test
from .linear import STLLinear
from .matmul import fast_matmul, routed
from .modules import STLAttention, STLConv2d
from .saving import layout, restore
from .split import SplitWeight, matmul_split, split_weight

__all__ = [
    "CalibrationReport",
    "Codec",
    "ConversionReport",
    "DenseFallback",
    "Fp64Weight",
    "LeakReport",
    "Plan",
    "STLAttention",
    "STLConv2d",
    "STLLinear",
    "SplitWeight",
    "as_codec",
    "calibrate",
    "convert_linear",
    "deepen",
    "encode_weight",
    "exact_matmul",
    "fast_matmul",
    "fp64_weight",
    "layout",
    "leak_test",
    "matmul_fp64",
    "matmul_split",
    "mlp",
    "plan_matmul",
    "restore",
    "routed",
    "split_weight",
    "stl_matmul",
    "stl_matmul_encoded",
    "unconvert",
]
