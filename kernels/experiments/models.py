"""Two small transformers whose linear layers an `Arm` supplies: a vision transformer and a causal language model."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .arms import Arm, DenseLinear

__all__ = ["GPT", "ViT"]


class Block(nn.Module):
    """Pre-norm attention and MLP; all four linear layers come from the arm."""

    def __init__(self, width: int, heads: int, hidden: int, arm: Arm, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = arm.linear(width, 3 * width), arm.linear(width, width)
        self.up, self.down = arm.linear(width, hidden), arm.linear(hidden, width)
        self.heads, self.causal = heads, causal
        self.mixer = nn.Parameter(torch.randn(3, width) * 0.3) if arm.mixer else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, width) → (B, T, width)."""
        batch, length, width = x.shape
        if self.mixer is not None:
            left, right = F.pad(x, (0, 0, 1, 0))[:, :-1], F.pad(x, (0, 0, 0, 1))[:, 1:]
            x = x + left * self.mixer[0] + x * self.mixer[1] + right * self.mixer[2]
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.causal:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # written out: the fused kernel has no rule for ensembles, and 16 tokens need none
            mixed = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Vision transformer for 28×28 images: 16 tokens in raster order.

    ``front="patch"``: one linear map of each 7×7 patch. ``front="t2t"``: tokens-to-token (Yuan et al. 2021): soft
    split into 7×7 overlapping patches, attention among them at width 16, soft split of that map into 4×4 tokens. The
    front end and the head are dense in every arm.
    """

    def __init__(self, arm: Arm, width: int = 48, depth: int = 4, heads: int = 4, front: str = "patch",
                 classes: int = 10) -> None:  # fmt: skip
        super().__init__()
        self.front = front
        if front == "t2t":
            self.first = DenseLinear(49, 16)
            self.mix = Block(16, 1, 16, Arm("dense"), causal=False)
        self.embed = DenseLinear(49 if front == "patch" else 9 * 16, width)
        self.position = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, arm, causal=False) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 28, 28) → (B, classes) logits."""
        if self.front == "patch":
            tokens = images.view(-1, 4, 7, 4, 7).permute(0, 1, 3, 2, 4).reshape(-1, 16, 49)
        else:
            split = F.pad(images, (2, 2, 2, 2)).unfold(1, 7, 4).unfold(2, 7, 4).reshape(-1, 49, 49)
            grid = F.pad(self.mix(self.first(split)).view(-1, 7, 7, 16), (0, 0, 1, 1, 1, 1))
            near = [grid[:, i : i + 7 : 2, j : j + 7 : 2] for i in range(3) for j in range(3)]
            tokens = torch.cat(near, -1).reshape(-1, 16, 144)
        x = self.embed(tokens) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class GPT(nn.Module):
    """Causal transformer over bytes."""

    def __init__(self, arm: Arm, width: int = 256, depth: int = 4, heads: int = 4, context: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, width)
        self.position = nn.Parameter(torch.randn(1, context, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, arm, causal=True) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) bytes → (B, T, 256) logits of the next byte."""
        x = self.embed(tokens) + self.position[:, : tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
