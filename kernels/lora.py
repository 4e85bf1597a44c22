"""LoRA (PEFT) on STL layers: the adapter is dense and reads its own row only, the layer under it stays what it is.

    config = kernels.lora.admit(peft.LoraConfig(target_modules=["q_proj", "v_proj"]))
    model = peft.get_peft_model(converted_model, config)

Without `admit` PEFT refuses the layers by name: it knows no rule for them. Merging adds B·A to the weight, and the sum
then goes through the encoder: the same map for an exact encoder, another one for an inexact one, which is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear

from stl_algebra.errors import StlError

from .linear import STLLinear

__all__ = ["STLLora", "admit"]

EXACT = 1e-9  # ε² below this is rounding


class STLLora(Linear):  # type: ignore[misc]
    """PEFT's linear adapter over an `STLLinear`."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters to the layer's weight (``safe_merge``: unless that gives NaN or Inf).

        Raises
        ------
        StlError
            For an inexact encoder, a variant other than plain LoRA, or values that are not finite.
        """
        from peft.tuners.tuners_utils import check_adapters_to_merge

        layer: STLLinear = self.get_base_layer()
        error = layer.codec().epsilon2
        if error > EXACT:
            raise StlError("encoder", f"ε² = {error:.3g}", "an exact encoder to merge an adapter into",
                           "Keep the adapter beside the layer: merged, it would go through the encoder.")  # fmt: skip
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.lora_variant or self.lora_bias[name]:
                raise StlError("adapter", name, "plain LoRA without lora_bias")
            delta = self.get_delta_weight(name)
            if safe_merge and not bool(torch.isfinite(delta).all()):
                raise StlError("adapter", f"{name}: NaN or Inf", "finite weights")
            layer.add_weight(delta)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take the merged adapters out again (to rounding)."""
        while self.merged_adapters:
            self.get_base_layer().add_weight(-self.get_delta_weight(self.merged_adapters.pop()))


def admit(config: Any) -> Any:
    """Let a ``peft.LoraConfig`` target STL layers; returns it."""
    config._register_custom_module({STLLinear: STLLora})  # PEFT's door for layers it does not know
    return config
