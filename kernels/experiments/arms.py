"""What may stand in the place of a linear layer: dense, 2:4, low rank, block-sparse, or STL."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from .._compat import must_decompose
from ..codec import Codec
from ..linear import STLLinear

__all__ = ["Arm", "BlockSparseLinear", "DenseLinear", "LowRankLinear", "Sparse24Linear", "keep_two_of_four"]


def keep_two_of_four(weight: torch.Tensor, score: torch.Tensor | None = None) -> torch.Tensor:
    """Mask of the two entries of largest score (default: magnitude) in every four along the last axis."""
    score = weight.abs() if score is None else score
    groups = score.reshape(*score.shape[:-1], -1, 4)
    one, other = groups[..., :, None], groups[..., None, :]
    earlier = torch.ones(4, 4, dtype=torch.bool, device=score.device).tril(-1)  # of equals the first ones stay
    beaten = ((other > one) | ((other == one) & earlier)).sum(-1)
    return (beaten < 2).to(weight.dtype).reshape(score.shape)


PIECES = 8  # of the rows, in an ensemble: its weight gradients are products long and thin, which leave a card idle


class DenseLinear(nn.Linear):
    """`nn.Linear` on flattened rows: an ensemble then runs a few products a layer, not one an example."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) → (…, out)."""
        return self._product(x, self.weight)

    def _product(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, self.in_features)
        if must_decompose() and len(flat) % PIECES == 0:  # the pieces' gradients are summed, as split-K does
            y = flat.view(PIECES, -1, self.in_features) @ weight.t().expand(PIECES, -1, -1)
            return (y if self.bias is None else y + self.bias).reshape(*x.shape[:-1], self.out_features)
        return F.linear(flat, weight, self.bias).unflatten(0, x.shape[:-1])


class Sparse24Linear(DenseLinear):
    """2:4 by magnitude, chosen anew at each step, gradients straight through to every weight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) → (…, out)."""
        masked = self.weight.detach() * keep_two_of_four(self.weight.detach())
        return self._product(x, masked + self.weight - self.weight.detach())


class LowRankLinear(nn.Module):
    """Two thin matrices with ``share`` of the dense multiplications."""

    def __init__(self, inputs: int, outputs: int, share: float, bias: bool = True) -> None:
        super().__init__()
        rank = max(1, round(share * inputs * outputs / (inputs + outputs)))
        self.down, self.up = DenseLinear(inputs, rank, bias=False), DenseLinear(rank, outputs, bias)
        with torch.no_grad():  # the product has the variance of nn.Linear's own start
            self.up.weight.normal_(0, (1 / 3 / rank) ** 0.5)
            self.down.weight.normal_(0, inputs**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) → (…, out)."""
        return self.up(self.down(x))


class BlockSparseLinear(DenseLinear):
    """A fixed random share of the 4×4 weight tiles, the rest zero: skipping K-tiles, the causal line to beat."""

    mask: torch.Tensor

    def __init__(self, inputs: int, outputs: int, share: float) -> None:
        super().__init__(inputs, outputs)
        blocks = (torch.rand(-(-outputs // 4), -(-inputs // 4)) < share).float()
        mask = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1)[:outputs, :inputs]
        self.register_buffer("mask", mask)
        with torch.no_grad():
            self.weight.div_(max(share, 1e-6) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) → (…, out)."""
        return self._product(x, self.weight * self.mask)


@dataclass(frozen=True)
class Arm:
    """One way to build the linear layers of a model.

    Attributes
    ----------
    name : str
        As it appears in the CSV.
    kind : {"dense", "sparse24", "lowrank", "ktiles", "stl"}
    share : float
        Of the dense multiplications for low rank; of the 4×4 weight tiles kept for K-tiles.
    codec, rows, mode, train_codec
        For STL.
    width : int
        Of the model; 0 for the experiment's own.
    mixer : bool
        A depthwise convolution over three neighbouring tokens before each block.
    rate : float
        Times the learning rate of the experiment.
    group
        Where the codec came from, for the table.
    """

    name: str
    kind: str = "dense"
    share: float = 1.0
    codec: Codec | None = None
    rows: str = "tokens"
    mode: str = "trainable"
    train_codec: bool = True
    width: int = 0
    mixer: bool = False
    rate: float = 1.0
    group: str = ""

    def linear(self, inputs: int, outputs: int) -> nn.Module:
        """The layer of this arm."""
        if self.kind == "stl":
            assert self.codec is not None
            return STLLinear(inputs, outputs, self.codec, mode=self.mode, rows=self.rows, train_codec=self.train_codec)
        if self.kind == "lowrank":
            return LowRankLinear(inputs, outputs, self.share)
        if self.kind == "ktiles":
            return BlockSparseLinear(inputs, outputs, self.share)
        return (Sparse24Linear if self.kind == "sparse24" else DenseLinear)(inputs, outputs)

    @property
    def multiplications(self) -> float:
        """Share of the multiplications of the dense layers of the same width."""
        if self.kind == "stl":
            assert self.codec is not None
            n, m, p = self.codec.format
            return self.codec.rank / (n * m * p)
        if self.kind == "ktiles":
            return self.share * 49 / 64
        return 0.5 if self.kind == "sparse24" else self.share

    def describe(self) -> dict[str, object]:
        """The columns of the CSV that belong to the arm."""
        codec = self.codec
        row: dict[str, object] = {"arm": self.name, "kind": self.kind, "width": self.width, "rows": "", "format": "",
                                  "rank": "", "epsilon2": "", "kappa2": "", "group": self.group,
                                  "multiplications": round(self.multiplications, 4)}  # fmt: skip
        if codec is not None:
            row |= {"rows": self.rows, "format": "x".join(map(str, codec.format)), "rank": codec.rank,
                    "epsilon2": round(codec.epsilon2, 5), "kappa2": round(codec.kappa2, 2)}  # fmt: skip
        return row

    def faster(self, rate: float) -> Arm:
        """The same arm trained at another rate."""
        return replace(self, rate=rate, name=f"{self.name}, rate × {rate:g}")

    def at(self, width: int) -> Arm:
        """The same arm in a model of another width."""
        return replace(self, width=width, name=f"{self.name}, width {width}")
