"""Modules around `STLLinear`: a convolution, and attention in place of `nn.MultiheadAttention`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from stl_algebra.errors import StlError

from .codec import Codec, EncoderLike
from .linear import STLLinear

__all__ = ["STLAttention", "STLConv2d", "conv1d_as_linear", "leave_fused_paths"]


def leave_fused_paths(model: nn.Module) -> None:
    """Keep `nn.TransformerEncoder` and its layers off their fused inference paths.

    Those read ``weight`` of the linear layers instead of calling them: they would multiply by the dense views.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
        if isinstance(module, nn.TransformerEncoderLayer) and any(isinstance(m, STLLinear) for m in module.modules()):
            module.activation_relu_or_gelu = 0


def conv1d_as_linear(layer: nn.Module) -> nn.Linear:
    """GPT-2's ``Conv1D`` (weight stored (in, out)) as an `nn.Linear` that shares no memory with it."""
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    linear = nn.Linear(weight.shape[0], weight.shape[1], bias is not None, weight.device, weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight.t())
        if bias is not None:
            linear.bias.copy_(bias)
    return linear.train(layer.training)


class STLConv2d(nn.Module):
    """A 2-d convolution as unfold and an `STLLinear`: tiles run along output pixels of one image.

    Parameters
    ----------
    convolution : nn.Conv2d
        groups=1 and zero padding given as numbers; its weights are taken over.
    encoder : stl_algebra.Encoder or Codec
    **options
        As for `STLLinear.from_linear`.

    Raises
    ------
    StlError
        For grouped convolutions and other padding modes, whose unfolded weight is no plain matrix.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> STLConv2d(nn.Conv2d(3, 8, 3, padding=1), strassen())(torch.zeros(2, 3, 5, 6)).shape
    torch.Size([2, 8, 5, 6])
    """

    def __init__(self, convolution: nn.Conv2d, encoder: EncoderLike | Codec, **options: object) -> None:
        super().__init__()
        c = convolution
        if c.groups != 1:
            raise StlError("convolution.groups", c.groups, "1", "Convert the groups as separate convolutions.")
        if c.padding_mode != "zeros" or isinstance(c.padding, str):
            raise StlError("convolution.padding", (c.padding, c.padding_mode), "numbers of rows and columns of zeros")
        self.geometry = {"kernel_size": c.kernel_size, "padding": c.padding, "stride": c.stride, "dilation": c.dilation}
        weight = c.weight.detach().flatten(1)
        linear = nn.Linear(weight.shape[1], weight.shape[0], c.bias is not None, weight.device, weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight)
            if c.bias is not None:
                linear.bias.copy_(c.bias)
        self.linear = STLLinear.from_linear(linear.train(c.training), encoder, **options)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B, C', H', W')."""
        sides = zip(x.shape[-2:], *(self.geometry[k] for k in ("kernel_size", "padding", "stride", "dilation")),
                    strict=True)  # fmt: skip
        height, width = (
            (side + 2 * pad - gap * (kernel - 1) - 1) // step + 1 for side, kernel, pad, step, gap in sides
        )
        y = self.linear(F.unfold(x, **self.geometry).transpose(1, 2))
        return y.transpose(1, 2).unflatten(2, (height, width))


class STLAttention(nn.Module):
    """`nn.MultiheadAttention` with its four projections as STL layers; the same call, the same results to rounding.

    Built from a module with equal key, query and value sizes and without ``bias_k``, ``add_zero_attn``.
    """

    def __init__(self, attention: nn.MultiheadAttention, encoder: EncoderLike | Codec, **options: object) -> None:
        super().__init__()
        a = attention
        if a.in_proj_weight is None or a.bias_k is not None or a.add_zero_attn:
            raise StlError("attention", "kdim, vdim, bias_k or add_zero_attn", "nn.MultiheadAttention with one "
                           "in_proj_weight and none of them")  # fmt: skip
        self.embed_dim, self.num_heads, self.head_dim = a.embed_dim, a.num_heads, a.head_dim
        self.batch_first, self.dropout = a.batch_first, a.dropout
        # what nn.TransformerEncoderLayer asks before its fused path, which would read weights and skip the modules
        self._qkv_same_embed_dim, self.in_proj_weight, self.in_proj_bias = False, None, None

        def projection(weight: torch.Tensor, bias: torch.Tensor | None) -> STLLinear:
            linear = nn.Linear(a.embed_dim, a.embed_dim, bias is not None, weight.device, weight.dtype)
            with torch.no_grad():
                linear.weight.copy_(weight)
                if bias is not None:
                    linear.bias.copy_(bias)
            return STLLinear.from_linear(linear.train(a.training), encoder, **options)  # type: ignore[arg-type]

        biases = a.in_proj_bias.chunk(3) if a.in_proj_bias is not None else (None, None, None)
        self.q_proj, self.k_proj, self.v_proj = map(projection, a.in_proj_weight.chunk(3), biases)
        self.out_proj = projection(a.out_proj.weight, a.out_proj.bias)
        self.train(a.training)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As `nn.MultiheadAttention.forward`, for batched inputs."""
        if query.dim() != 3:
            raise StlError("query.shape", tuple(query.shape), "three dimensions (a batch)")
        if not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        q, k, v = (layer(t).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                   for layer, t in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value)))  # fmt: skip
        mask = _additive(attn_mask, q.dtype)
        if mask is not None and mask.dim() == 3:
            mask = mask.unflatten(0, (-1, self.num_heads))
        if key_padding_mask is not None:
            padding = _additive(key_padding_mask, q.dtype)[:, None, None]  # type: ignore[index]
            mask = padding if mask is None else mask + padding
        weights = None
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            mixed = F.dropout(weights, dropout) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal and mask is None)
        y = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return (y if self.batch_first else y.transpose(0, 1)), weights


def _additive(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """A boolean mask (True: shut) as −∞ to add."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, float("-inf"))
