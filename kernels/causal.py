"""Is a model causal? Asked of its configuration and its modules; the leak test measures it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .codec import Codec

__all__ = ["causal_reason", "future_share"]

#: `model_type` of decoder-only Hugging Face models whose configuration says nothing else
DECODERS = {
    "bloom", "codegen", "cohere", "falcon", "gemma", "gemma2", "gemma3", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox",
    "gpt_oss", "gptj", "granite", "llama", "mistral", "mixtral", "mpt", "olmo", "olmo2", "opt", "phi", "phi3", "qwen2",
    "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2",
}  # fmt: skip


def causal_reason(model: nn.Module) -> str:
    """Why the model looks causal along time, or "" if nothing says so.

    Looks at the configuration (``is_decoder``, a causal architecture, a known ``model_type``), at modules that declare
    ``is_causal`` or are `nn.TransformerDecoder` layers, and at square lower-triangular buffers.

    Examples
    --------
    >>> causal_reason(nn.Linear(2, 2))
    ''
    """
    config = getattr(model, "config", None)
    if getattr(config, "is_decoder", False) is True and not getattr(config, "is_encoder_decoder", False):
        return "config.is_decoder is set"
    names = [type(model).__name__, *(getattr(config, "architectures", None) or [])]
    for name in names:
        if name.endswith(("ForCausalLM", "LMHeadModel", "CausalLM")):
            return f"its architecture is {name}"
    kind = getattr(config, "model_type", "")
    if kind in DECODERS:
        return f"config.model_type is {kind!r}"
    for name, module in model.named_modules():
        if getattr(module, "is_causal", False) is True or getattr(module, "causal", False) is True:
            return f"{name or type(module).__name__} declares itself causal"
        if isinstance(module, nn.TransformerDecoderLayer):
            return f"{name} is an nn.TransformerDecoderLayer"
        for key, buffer in module.named_buffers(recurse=False):
            if _is_causal_mask(buffer):
                return f"{name}.{key} is a causal mask".lstrip(".")
    return ""


def future_share(codec: Codec) -> float:
    """Share of an encoder's tensor that leads from a later row of a tile to an earlier one: 0 for a causal encoder.

    An exact encoder is causal; so are some inexact ones, as long as their weights are E_W times a dense matrix. (With
    free encoded weights causality would have to hold term by term.)

    Examples
    --------
    >>> from .experiments.starts import exact, fourier
    >>> future_share(exact()), future_share(fourier(24, 0, tries=2)) > 0.01
    (0.0, True)
    """
    n, m, p = codec.format
    t = np.einsum("lik,lw,ljc->ikwjc", codec.e_x.reshape(-1, n, m), codec.e_w, codec.d.T.reshape(-1, n, p),
                  optimize=True)  # fmt: skip
    later = np.arange(n)[:, None] > np.arange(n)
    crossing = np.moveaxis(t, 3, 1)[later]
    largest = float(np.abs(crossing).max(initial=0.0))
    return 0.0 if largest < 1e-9 else float((crossing**2).sum() / (t**2).sum())


def _is_causal_mask(buffer: torch.Tensor) -> bool:
    """Square in its last two sides, at least 4, and open exactly on and below the diagonal (as bool or −∞ above)."""
    if buffer.dim() < 2 or buffer.shape[-1] != buffer.shape[-2] or buffer.shape[-1] < 4 or buffer.device.type == "meta":
        return False
    square = buffer.detach().reshape(-1, *buffer.shape[-2:])[0][:64, :64]
    lower = torch.ones_like(square, dtype=torch.bool).tril()
    if square.dtype == torch.bool or not square.is_floating_point():
        return bool((square.bool() == lower).all() or (square.bool() == ~lower).all())
    shut = square < -1e4
    ones = ((square == 1) == lower).all() and (square[~lower] == 0).all()
    return bool((shut == ~lower).all() or ones)
