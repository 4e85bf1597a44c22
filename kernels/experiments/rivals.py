"""Linear layers of a pretrained model replaced and refitted: STL, 2:4 and low rank with equal treatment.

All are refitted in closed form, front to back with error feedback, to the outputs of the unchanged model on the same
texts: STL by `kernels.calibrate`, 2:4 by least squares on the mask of largest |W|·‖x‖, low rank by reduced-rank
regression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..calibration import calibrate, execution_order, pairs
from ..convert import convert_linear
from .arms import Arm, LowRankLinear, keep_two_of_four

__all__ = ["MaskedLinear", "refit", "replace"]


class MaskedLinear(nn.Module):
    """A dense weight under a fixed mask."""

    mask: torch.Tensor

    def __init__(self, linear: nn.Linear, mask: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().clone())
        self.bias = nn.Parameter(linear.bias.detach().clone()) if linear.bias is not None else None
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) → (…, out)."""
        return F.linear(x, self.weight * self.mask.to(self.weight.dtype), self.bias)


def _linears(model: nn.Module, admits: Callable[[str], bool]) -> dict[str, nn.Linear]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and admits(n)}


@torch.no_grad()
def replace(model: nn.Module, arm: Arm, admits: Callable[[str], bool], causal: bool = False) -> None:
    """Convert the admitted linear layers in place as the arm says, without any data; dense arms change nothing."""
    if arm.kind == "stl":
        assert arm.codec is not None
        convert_linear(model, arm.codec, lambda name, _: admits(name), mode=arm.mode, rows=arm.rows,
                       train_codec=arm.train_codec, causal=causal)  # fmt: skip
    if arm.kind == "dense":
        return
    for name, linear in _linears(model, admits).items():
        layer: nn.Module
        if arm.kind == "sparse24":
            layer = MaskedLinear(linear, keep_two_of_four(linear.weight).to(torch.uint8))
        elif arm.kind == "ktiles":
            layer = MaskedLinear(linear, _largest_tiles(linear.weight, arm.share).to(torch.uint8))
        else:
            layer = LowRankLinear(linear.in_features, linear.out_features, arm.share, bias=linear.bias is not None)
            layer = layer.to(linear.weight)
            _set_low_rank(layer, linear.weight, torch.eye(linear.in_features, device=linear.weight.device))
            if linear.bias is not None:
                layer.up.bias.copy_(linear.bias)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def _largest_tiles(weight: torch.Tensor, share: float) -> torch.Tensor:
    """Mask of the 4 × 4 tiles of largest norm, a ``share`` of them."""
    tiles = weight.unfold(0, 4, 4).unfold(1, 4, 4)
    norms = tiles.square().sum((2, 3))
    kept = (norms >= norms.flatten().kthvalue(max(1, round((1 - share) * norms.numel()))).values).to(weight.dtype)
    return kept.repeat_interleave(4, 0).repeat_interleave(4, 1)


def _set_low_rank(layer: LowRankLinear, weight: torch.Tensor, root: torch.Tensor) -> None:
    """The rank-limited matrix nearest to ``weight`` (out, in) in the metric rootᵀroot of its inputs."""
    u, s, v = torch.linalg.svd(weight.double() @ root.double().T, full_matrices=False)
    rank = layer.down.out_features
    layer.up.weight.copy_(u[:, :rank] * s[:rank].sqrt())
    back = torch.linalg.solve(root.double(), (s[:rank].sqrt()[:, None] * v[:rank]).T)  # z rootᵀ = v
    layer.down.weight.copy_(back.T)


@torch.no_grad()
def refit(model: nn.Module, dense: nn.Module, arm: Arm, batches: Sequence[Any], admits: Callable[[str], bool],
          ridge: float = 1e-3) -> None:  # fmt: skip
    """Closed form, front to back with error feedback, for every kind of arm."""
    if arm.kind == "stl":
        calibrate(model, dense, batches, ridge=ridge)
        return
    linears = _linears(dense, admits)
    for name in execution_order(dense, linears, batches[0]):
        gram, cross, mean_x, mean_y = _moments(model, dense, name, batches)
        layer, original = model.get_submodule(name), linears[name].weight.double()
        if linears[name].bias is None:  # nothing can take up the means
            gram, cross = gram + mean_x[:, None] * mean_x, cross + mean_x[:, None] * mean_y
        pull = ridge * gram.diagonal().mean()  # towards the start, as in Moments.refit
        gram.diagonal().add_(pull)
        cross = cross + pull * original.T
        if isinstance(layer, LowRankLinear):
            _set_low_rank(layer, torch.linalg.solve(gram, cross).T, torch.linalg.cholesky(gram).T)
            weight, bias = layer.up.weight.double() @ layer.down.weight.double(), layer.up.bias
        else:
            assert isinstance(layer, MaskedLinear)
            weight, bias = _refit_masked(layer, original, gram, cross), layer.bias
        if bias is not None:
            bias.copy_(mean_y - mean_x @ weight.T)


def _moments(model: nn.Module, dense: nn.Module, name: str, batches: Sequence[Any]) -> tuple[torch.Tensor, ...]:
    """Covariance of a layer's inputs, that with the wanted outputs, and both means."""
    gram = cross = mean_x = mean_y = torch.zeros(())
    count = 0.0
    for x, y, keep in pairs(model, dense, name, batches):
        x, y = (v[keep.bool()] if keep is not None else v.flatten(0, -2) for v in (x.double(), y.double()))
        gram, cross, count = gram + x.T @ x, cross + x.T @ y, count + len(x)
        mean_x, mean_y = mean_x + x.sum(0), mean_y + y.sum(0)
    mean_x, mean_y = mean_x / count, mean_y / count
    return gram / count - mean_x[:, None] * mean_x, cross / count - mean_x[:, None] * mean_y, mean_x, mean_y


def _refit_masked(layer: MaskedLinear, original: torch.Tensor, gram: torch.Tensor, cross: torch.Tensor) -> torch.Tensor:
    """Least squares on the two of four weights of largest |W|·‖x‖; sets mask and weight."""
    mask = keep_two_of_four(original, original.abs() * gram.diagonal().sqrt())
    index = mask.bool().nonzero()[:, 1].view(len(mask), -1)  # (out, in/2): as many in every row
    weight = torch.zeros_like(original)
    for rows in torch.arange(len(mask), device=mask.device).split(128):
        chosen = index[rows]
        small = gram[chosen[:, :, None], chosen[:, None, :]]
        right = cross.T[rows].gather(1, chosen)[:, :, None]
        solved = torch.cholesky_solve(right, torch.linalg.cholesky(small))[:, :, 0]
        weight[rows] = torch.zeros_like(weight[rows]).scatter_(1, chosen, solved)
    layer.mask.copy_(mask)
    layer.weight.copy_(weight)
    return weight
