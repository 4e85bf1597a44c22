"""Refit converted layers to what their inputs really look like: closed form, no training, streaming moments.

Black-box conversion takes the encoder's D and Ŵ = E_W·W, which are right for white inputs. With the second moments of
the encoded activations u (r·⌈K/m⌉ numbers a tile) the best Ŵ for given E_X, D is one linear system, shared by
all output columns: with H = (DᵀD ⊗ 1) ∘ E[u uᵀ],

    H ŵ_j = E[u ⊙ Dᵀ y_j]         (y_j: what the dense layer gives in this tile and column block)

and the best D for given Ŵ is an r × r system. Both come from the same two moment matrices, so alternating costs no
further pass over the data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from stl_algebra._html import table_html
from stl_algebra.errors import StlError

from . import reference
from .codec import Codec
from .linear import STLLinear
from .modules import STLAttention, leave_fused_paths
from .rows import arrange

__all__ = ["CalibrationReport", "Moments", "calibrate", "pairs"]


class Moments:
    """Streaming second moments of one layer, and the refit they allow.

    Memory: (r·⌈K/m⌉)·(r·⌈K/m⌉ + n·p·⌈M/p⌉) float32 numbers, whatever the number of batches.
    """

    def __init__(self, layer: STLLinear) -> None:
        self.layer = layer
        n, _, p = layer.format
        r, a, b = layer.encoded_shape

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, device=layer.e_x.device, dtype=torch.float32)

        self.gram, self.cross = zeros(r * a, r * a), zeros(r * a, n * p * b)
        self.sum_u, self.sum_y = zeros(r * a), zeros(n * p * b)
        self.energy, self.tiles = 0.0, 0

    def add(self, x: torch.Tensor, y: torch.Tensor, keep: torch.Tensor | None = None) -> None:
        """Take in inputs (…, K) and wanted outputs (…, M); tiles without a row in ``keep`` (…) are left out."""
        layer = self.layer
        n, m, p = layer.format
        flat = [arrange(v.float(), layer.rows, n)[0].flatten(0, -2) for v in (x, y)]
        planes = reference.encode(flat[0], layer.e_x.detach().float(), n, m)
        u = planes.permute(1, 0, 2).flatten(1)
        wanted = reference.tiles(flat[1], n, p).permute(1, 0, 2).flatten(1)
        if keep is not None:
            inside = arrange(keep[..., None].float(), layer.rows, n)[0].flatten(0, -2)
            chosen = reference.tiles(inside, n, 1).sum(0)[:, 0] > 0
            u, wanted = u[chosen], wanted[chosen]
        self.gram += u.T @ u
        self.cross += u.T @ wanted
        self.sum_u += u.sum(0)
        self.sum_y += wanted.sum(0)
        self.energy += float(wanted.double().square().sum())
        self.tiles += len(u)

    def refit(self, rounds: int = 3, ridge: float = 1e-3) -> tuple[float, float]:
        """Set Ŵ, D and the bias of the layer; relative squared error on what was seen, before and after.

        ``ridge`` pulls towards the present Ŵ and D, in units of the mean eigenvalue.

        Raises
        ------
        StlError
            If nothing was added.
        """
        if not self.tiles:
            raise StlError("batches", 0, "at least one batch of inputs that reach the layer")
        layer = self.layer
        n, _, p = layer.format
        r, a, b = layer.encoded_shape
        w, d = layer.w_hat.detach().double(), layer.d.detach().double()
        bias = torch.zeros(p, b, dtype=torch.float64, device=w.device)
        if layer.bias is not None:
            full = torch.nn.functional.pad(layer.bias.detach().double(), (0, b * p - layer.out_features))
            bias = full.view(b, p).T
        gram, cross = self.gram.double().view(r, a, r, a), self.cross.double().view(r, a, n, p, b)
        mean_u, mean_y = self.sum_u.double().view(r, a) / self.tiles, self.sum_y.double().view(n, p, b) / self.tiles
        before = self._error(w, d, bias, gram, cross, mean_u, mean_y)
        for _ in range(rounds):
            mixed = d.T @ d
            h = (gram * mixed[:, None, :, None]).view(r * a, r * a)
            target = cross - self.tiles * mean_u[:, :, None, None, None] * bias
            rhs = torch.einsum("ijl,laijb->lab", d.view(n, p, r), target).reshape(r * a, b)
            w = _ridge(h, rhs, w.reshape(r * a, b), ridge).view(r, a, b)
            s, t = _products(gram, target, w)
            d = _ridge(s, t, d.T, ridge * 1e-2).T
            if layer.bias is not None:
                predicted = torch.einsum("ijl,la,lab->ijb", d.view(n, p, r), mean_u, w)
                bias = (mean_y - predicted).mean(0)
        after = self._error(w, d, bias, gram, cross, mean_u, mean_y)
        if not after < before:  # the ridge pulls towards the start, so only rounding can do this
            return before, before
        with torch.no_grad():
            layer.w_hat.copy_(w)
            layer.d.copy_(d)
            if layer.bias is not None:
                layer.bias.copy_(bias.T.reshape(-1)[: layer.out_features])
        layer.compile_codec()
        return before, after

    def _error(self, w: torch.Tensor, d: torch.Tensor, bias: torch.Tensor, gram: torch.Tensor, cross: torch.Tensor,
               mean_u: torch.Tensor, mean_y: torch.Tensor) -> float:  # fmt: skip
        """E‖STL(x) + b − y‖² / E‖y‖² from the moments."""
        n = cross.shape[2]
        target = cross - self.tiles * mean_u[:, :, None, None, None] * bias
        s, t = _products(gram, target, w)
        shifted = self.energy + self.tiles * float(n * bias.square().sum() - 2 * (mean_y * bias).sum())
        error = shifted - 2 * float((t.T * d).sum()) + float(((d.T @ d) * s).sum())
        return error / max(self.energy, 1e-30)


def _products(gram: torch.Tensor, target: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Moments of the channel products P_l = u_l ŵ_l: E[P Pᵀ] (r, r) and E[P yᵀ] (r, n·p)."""
    r = len(gram)
    s = torch.empty(r, r, dtype=w.dtype, device=w.device)
    for row in range(r):
        s[row] = (torch.einsum("akc,ab->kcb", gram[row], w[row]) * w).sum((1, 2))
    t = torch.einsum("lab,laijb->lij", w, target).flatten(1)
    return s, t


def _ridge(h: torch.Tensor, rhs: torch.Tensor, start: torch.Tensor, ridge: float) -> torch.Tensor:
    """Solve (H + λ) z = rhs + λ start, λ = ridge times the mean of H's diagonal."""
    strength = ridge * float(h.diagonal().mean()) + 1e-12
    h = h.clone()
    h.diagonal().add_(strength)
    return torch.cholesky_solve(rhs + strength * start, torch.linalg.cholesky(h))


@dataclass(repr=False)
class CalibrationReport:
    """Relative squared error of each refitted layer on the calibration data: name → (before, after)."""

    errors: dict[str, tuple[float, float]] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"  {name}: {before:.4f} → {after:.4f}" for name, (before, after) in self.errors.items()]
        lines += [f"  skipped {name}: {why}" for name, why in self.skipped]
        return "\n".join([f"{len(self.errors)} layers calibrated (squared error over squared output)", *lines])

    def __repr__(self) -> str:
        return f"CalibrationReport({len(self.errors)} layers, {len(self.skipped)} skipped)"

    def _repr_html_(self) -> str:
        rows = [(name, f"{before:.4f}", f"{after:.4f}") for name, (before, after) in self.errors.items()]
        rows += [(name, "skipped", why) for name, why in self.skipped]
        return table_html(("layer", "squared error before", "after"), rows)


def calibrate(
    model: nn.Module,
    dense: nn.Module,
    batches: Sequence[Any],
    *,
    feedback: bool = True,
    rounds: int = 3,
    ridge: float = 1e-3,
    largest: int = 20_000,
) -> CalibrationReport:
    """Refit every converted layer of ``model`` to the outputs of the same layer in ``dense``, front to back.

    Parameters
    ----------
    model, dense : nn.Module
        The converted model and an unconverted copy with the same names. ``model`` is changed in place.
    batches : sequence
        Inputs: tensors, or mappings of arguments (an ``attention_mask`` in them leaves padding out).
    feedback : bool
        Inputs of a layer come from the converted model, so that it makes up for the errors of those before it;
        otherwise from the dense one.
    rounds, ridge
        See `Moments.refit`.
    largest : int
        Layers with more than this many unknowns a column, r·⌈K/m⌉, are skipped (8·largest² bytes of moments).

    Raises
    ------
    StlError
        Without batches, or for a model without converted layers.
    """
    if not batches:
        raise StlError("batches", 0, "at least one batch")
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, STLLinear)}
    if not layers:
        raise StlError("model", type(model).__name__, "a model with converted layers", "Call convert_linear first.")
    report = CalibrationReport()
    dense = _with_layers(dense, model)
    for name in execution_order(model, layers, batches[0]):
        layer = layers[name]
        unknowns = layer.rank * layer.encoded_shape[1]
        if layer.mode == "dense" or unknowns > largest:
            why = f"{unknowns} unknowns a column, more than {largest}"
            report.skipped.append((name, "its weight is dense" if layer.mode == "dense" else why))
            continue
        moments = Moments(layer)
        for x, y, keep in pairs(model, dense, name, batches, feedback=feedback):
            moments.add(x, y, keep)
        report.errors[name] = moments.refit(rounds, ridge)
    return report


def _with_layers(dense: nn.Module, model: nn.Module) -> nn.Module:
    """``dense``, or a copy whose `nn.MultiheadAttention` is split into the projections that ``model`` has."""
    split = [name for name, module in model.named_modules() if isinstance(module, STLAttention)]
    if not split:
        return dense
    dense = copy.deepcopy(dense)
    one = np.ones((1, 1))
    for name in split:
        attention = dense.get_submodule(name)
        if isinstance(attention, nn.MultiheadAttention):
            parent, _, child = name.rpartition(".")
            setattr(dense.get_submodule(parent), child, STLAttention(attention, Codec((1, 1, 1), one, one, one)))
    leave_fused_paths(dense)
    return dense


class _Enough(Exception):
    """The layer has been reached; the rest of the forward pass is not needed."""


@torch.no_grad()
def pairs(
    model: nn.Module, dense: nn.Module, name: str, batches: Sequence[Any], *, feedback: bool = True
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """For each batch: what layer ``name`` of ``model`` is given, what that of ``dense`` returns, and the mask."""
    source = model if feedback else dense
    for batch in batches:
        x = _caught(source, name, batch, lambda _, inputs, __: inputs[0])
        y = _caught(dense, name, batch, lambda _, __, output: output)
        mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
        yield x, y, mask if mask is not None and mask.shape == x.shape[:-1] else None


def _caught(model: nn.Module, name: str, batch: Any, what: Callable[..., torch.Tensor]) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def hook(*seen: Any) -> None:
        found.append(what(*seen))
        raise _Enough

    handle = model.get_submodule(name).register_forward_hook(hook)
    try:
        call(model, batch)
    except _Enough:
        pass
    finally:
        handle.remove()
    if not found:
        raise StlError("batches", name, "inputs that reach every converted layer", f"{name} was not called.")
    return found[0]


def call(model: nn.Module, batch: Any) -> Any:
    """Run a model on a tensor or a mapping of arguments."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


@torch.no_grad()
def execution_order(model: nn.Module, layers: Mapping[str, nn.Module], batch: Any) -> list[str]:
    """Names of the layers in the order in which a forward pass first reaches them."""
    order: list[str] = []
    handles = [layer.register_forward_pre_hook(lambda *_, name=name: order.append(name))
               for name, layer in layers.items()]  # fmt: skip
    try:
        call(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(order))
