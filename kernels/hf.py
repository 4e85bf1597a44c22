"""Converted Hugging Face models through their own ``save_pretrained`` and ``from_pretrained``.

Importing this module registers a quantization method ``stl``: `mark` writes the layout of the converted layers, codecs
included, into the model's configuration, and ``from_pretrained`` builds them from it before the weights are read.

    import kernels.hf
    convert_linear(model, encoder)
    kernels.hf.mark(model).save_pretrained("folder")
    model = AutoModel.from_pretrained("folder")

PEFT: see `kernels.lora`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from stl_algebra.errors import StlError

from .codec import Codec
from .linear import CODEC, STLLinear
from .saving import layout, restore

__all__ = ["STLConfig", "STLQuantizer", "mark"]

METHOD = "stl"


@register_quantization_config(METHOD)
class STLConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """The `layout` of a converted model as its ``quantization_config``."""

    def __init__(self, codecs: list[dict[str, Any]], layers: dict[str, dict[str, Any]], **_: Any) -> None:
        self.quant_method = METHOD
        self.codecs, self.layers = codecs, layers


@register_quantizer(METHOD)
class STLQuantizer(HfQuantizer):  # type: ignore[misc]
    """Puts empty STL layers into the skeleton, and the codecs in full precision into the loaded model."""

    requires_calibration = True  # there is no converting while loading: load, convert, save

    def _process_model_before_weight_loading(self, model: nn.Module, **_: Any) -> nn.Module:
        return restore(model, self.quantization_config.to_dict())

    def _process_model_after_weight_loading(self, model: nn.Module, **_: Any) -> nn.Module:
        config = self.quantization_config
        for name, spec in config.layers.items():
            layer = model.get_submodule(name)
            assert isinstance(layer, STLLinear)
            entry = config.codecs[spec["codec"]]
            codec = Codec(tuple(entry["format"]), entry["e_x"], entry["e_w"], entry["d"])
            wide = torch.promote_types(layer.e_x.dtype, torch.float32)
            with torch.no_grad():
                for key, value in zip(CODEC, codec.tensors(layer.e_x.device, wide), strict=True):
                    getattr(layer, key).data = value.clone()
            layer.compile_codec()
        return model

    def is_serializable(self, *_: Any, **__: Any) -> bool:
        """Saved as they are."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Layers of mode "trainable" and "dense" have parameters."""
        return True


def mark(model: nn.Module) -> nn.Module:
    """Write the layout of the converted layers into ``model.config``, where ``save_pretrained`` finds it.

    Call it again after calibration or training of the codec. Returns the model.

    Raises
    ------
    StlError
        For a model without a configuration or without converted layers.
    """
    if not hasattr(model, "config"):
        raise StlError(
            "model", type(model).__name__, "a Hugging Face model", "Elsewhere use kernels.layout and restore."
        )
    if not any(isinstance(module, STLLinear) for module in model.modules()):
        raise StlError("model", type(model).__name__, "a model with converted layers", "Call convert_linear first.")
    data = layout(model)
    config: Any = model.config
    config.quantization_config = STLConfig(data["codecs"], data["layers"])
    return model
