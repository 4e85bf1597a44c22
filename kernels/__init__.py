"""Running encoders: reference, Triton kernels, custom operators, layers, validation and benchmarks.

Importing this package is free: torch loads with the first name that is used, Triton and a GPU when they are needed.
The name is ours by the project's layout: Hugging Face ships an unrelated distribution also called
``kernels``, which `transformers` looks for by distribution metadata, so ours is not mistaken for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import CalibrationReport, calibrate
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

#: Where the public names live.
_HOMES = {
    "calibration": "CalibrationReport calibrate",
    "codec": "Codec as_codec",
    "convert": "ConversionReport convert_linear unconvert",
    "dispatch": "DenseFallback Plan deepen plan_matmul",
    "exact": "exact_matmul",
    "fp64": "Fp64Weight fp64_weight matmul_fp64",
    "functional": "encode_weight stl_matmul stl_matmul_encoded",
    "fused": "mlp",
    "leak": "LeakReport leak_test",
    "linear": "STLLinear",
    "matmul": "fast_matmul routed",
    "modules": "STLAttention STLConv2d",
    "saving": "layout restore",
    "split": "SplitWeight matmul_split split_weight",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

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


def __getattr__(name: str) -> Any:
    """A public name on first use, or a submodule such as ``kernels.reference``."""
    if name in _HOME:
        globals()[name] = value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        return value
    try:
        if name.startswith("_"):
            raise ModuleNotFoundError
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
