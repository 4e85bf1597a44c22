"""Swap the linear layers of a model for STL layers, say what happened to each, and take it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from stl_algebra._html import table_html
from stl_algebra.errors import StlError

from .causal import causal_reason, future_share
from .codec import Codec, EncoderLike, as_codec
from .devices import load_device
from .dispatch import predict_ms
from .leak import LeakReport, leak_test
from .linear import STLLinear
from .modules import STLAttention, conv1d_as_linear, leave_fused_paths
from .rounding import NAMES

__all__ = ["ConversionReport", "convert_linear", "unconvert"]

EXACT = 1e-9  # ε² below this is rounding


@dataclass(repr=False)
class ConversionReport:
    """What `convert_linear` did; printing it gives the same numbers as its attributes.

    ``epsilon2`` is the closed-form squared relative error of one layer on white inputs, ``mixes`` whether rows of a
    tile can read each other, ``causal`` why the model was taken for causal ("" if nothing says so). With an example,
    ``leak_before`` and ``leak`` are measured and ``rows_seen`` counts the rows a layer is given; with those, or
    ``tokens``, ``dense_ms`` and ``stl_ms`` are what the cost model expects of the converted layers.
    """

    converted: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    dense_multiplications: int = 0  # per row of input, converted layers only
    stl_multiplications: int = 0
    dense_parameters: int = 0
    stl_parameters: int = 0
    epsilon2: float = 0.0
    mixes: bool = False
    rows: str = "tokens"
    causal: str = ""
    leak_before: LeakReport | None = None
    leak: LeakReport | None = None
    dense_ms: float | None = None
    stl_ms: float | None = None
    device: str = ""

    @property
    def pays(self) -> bool | None:
        """Does the cost model expect the converted layers to be faster? None where it was not asked."""
        return None if self.dense_ms is None or self.stl_ms is None else self.stl_ms < self.dense_ms

    def __str__(self) -> str:
        ratio = self.stl_multiplications / self.dense_multiplications if self.dense_multiplications else 1.0
        lines = [
            f"{len(self.converted)} layers converted, {len(self.skipped)} skipped; multiplications × {ratio:.3f}, "
            f"weights {self.dense_parameters:,} → {self.stl_parameters:,}",
            f"  error: ε² = {self.epsilon2:.3g} a layer (relative error {self.epsilon2**0.5:.3g} on white inputs)",
        ]
        mixing = {"tokens": "neighbouring positions of a sequence", "batch": "neighbouring examples of the batch"}
        lines.append(f"  mixing: {mixing.get(self.rows, 'none') if self.mixes else 'none'}"
                     + (f"; causal: {self.causal}" if self.causal else ""))  # fmt: skip
        if self.leak is not None:
            lines += [f"  leak before: {self.leak_before}", f"  leak after:  {self.leak}"]
        else:
            lines.append("  leaks: not measured; pass example=, or call kernels.leak_test(model, example)")
        if self.dense_ms is not None and self.stl_ms is not None:
            verdict = "it pays" if self.pays else "it does not pay: the dense layers are faster"
            times = f"{self.stl_ms:.3g} ms against {self.dense_ms:.3g} ms dense"
            lines.append(f"  time expected on {self.device}: {times}; {verdict}")
        else:
            lines.append("  time: pass tokens= or example= to learn whether it pays")
        lines += [f"  converted {name}" for name in self.converted]
        lines += [f"  skipped   {name}: {why}" for name, why in self.skipped]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ConversionReport({len(self.converted)} converted, {len(self.skipped)} skipped, ε²={self.epsilon2:.3g})"

    def _repr_html_(self) -> str:
        """The same as printed: facts as a table, then the layers."""
        facts = [line.strip().partition(": ") for line in str(self).splitlines()[1:] if ": " in line]
        rows = [(name, text) for name, _, text in facts if not name.startswith("skipped ")]
        layers = [(name, "converted") for name in self.converted] + list(self.skipped)
        return (
            table_html((str(self).splitlines()[0], ""), rows)
            + f"<details><summary>{len(layers)} layers</summary>{table_html(('layer', ''), layers)}</details>"
        )


def convert_linear(
    model: nn.Module,
    encoder: EncoderLike | Codec,
    filter_fn: Callable[[str, nn.Module], bool | str] | None = None,
    *,
    mode: str = "frozen",
    rows: str = "tokens",
    train_codec: bool = False,
    scale_rows: bool = False,
    tokens: int | None = None,
    smallest: int = 1,
    causal: bool | None = None,
    example: torch.Tensor | Mapping[str, Any] | None = None,
) -> ConversionReport:
    """Replace every linear layer inside ``model`` that the filter admits, in place.

    `nn.Linear`, GPT-2's ``Conv1D`` and `nn.MultiheadAttention` are converted; subclasses of `nn.Linear`, tied weights
    and fused expert weights are named as skipped.

    Parameters
    ----------
    model : nn.Module
        Walked with full names. A layer used in two places is converted once and stays shared.
    encoder : stl_algebra.Encoder or Codec
    filter_fn : callable (name, layer) → bool or str, optional
        ``False`` or a non-empty string (the reason) skips the layer; ``True`` and ``""`` convert it.
    mode, rows, train_codec, scale_rows, tokens
        As in :meth:`STLLinear.from_linear`.
    smallest : int
        Skip layers with fewer inputs or outputs than this.
    causal : bool, optional
        Must no position read a later one? By default asked of the model (`kernels.causal`) and, with an example,
        measured.
    example : tensor or mapping, optional
        An input: leaks are measured before and after, and the rows each layer sees are counted.

    Returns
    -------
    ConversionReport

    Raises
    ------
    StlError
        If ``model`` itself is an `nn.Linear` (there is no parent to put the new layer into), the encoder is refused,
        or a causal model would leak: more than one row in a tile along time with an encoder that is not causal
        (`kernels.causal.future_share`) or with encoded weights that learn. Individual layers that cannot be converted
        are reported instead.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> report = convert_linear(model, strassen(), rows="batch")
    >>> report.converted, type(model[0]).__name__
    (['0', '2'], 'STLLinear')
    """
    if isinstance(model, nn.Linear):
        raise StlError("model", "nn.Linear", "a module that contains linear layers",
                       "Use STLLinear.from_linear(layer, encoder).")  # fmt: skip
    codec = as_codec(encoder)
    report = ConversionReport(epsilon2=codec.epsilon2, rows=rows)
    report.mixes = codec.format[0] > 1 and (codec.epsilon2 > EXACT or train_codec or mode == "trainable")
    if example is not None:
        report.leak_before = leak_test(model, example)
    report.causal = "" if causal is False else "causal=True was passed" if causal else causal_reason(model)
    if causal is None and not report.causal and report.leak_before is not None and report.leak_before.is_causal:
        report.causal = "the example shows it"
    learns = train_codec or mode == "trainable"
    if report.causal and report.mixes and rows == "tokens" and (learns or future_share(codec) > 0):
        what = "an encoder whose weights or codec learn" if learns else "an encoder that is not causal"
        raise StlError(
            "encoder", f"{what} with tiles of {codec.format[0]} rows along time in a causal model ({report.causal})",
            "an exact (or causal) encoder with mode='frozen' or 'dense', a format ⟨1,m,p⟩ with rows='none', or "
            "rows='batch'",
            "Rows of a tile read each other, so the model would see the future. causal=False insists.")  # fmt: skip
    if example is not None:
        seen = _rows_seen(model, example)
    else:
        seen = {} if tokens is None else {name: tokens for name, _ in model.named_modules()}
    options = {"mode": mode, "rows": rows, "train_codec": train_codec, "scale_rows": scale_rows}
    _walk(model, codec, filter_fn, smallest, report, seen, {**options, "tokens": tokens})
    leave_fused_paths(model)
    if example is not None:
        report.leak = leak_test(model, example)
    return report


def _walk(model: nn.Module, codec: Codec, filter_fn: Callable[[str, nn.Module], bool | str] | None, smallest: int,
          report: ConversionReport, seen: Mapping[str, int], options: dict[str, Any]) -> None:  # fmt: skip
    """Replace children one by one; layers met twice are made once."""
    made: dict[int, nn.Module] = {}
    inside: set[int] = set()  # parts of modules that were converted whole
    tied = _tied_weights(model)
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent._modules.items()):  # named_children() hides shared layers
            name = f"{parent_name}.{child_name}" if parent_name else child_name
            if child is None or id(parent) in inside:
                continue
            if not isinstance(child, (nn.Linear, nn.MultiheadAttention)) and not _is_conv1d(child):
                report.skipped += _expert_weights(name, child)
                continue
            if isinstance(child, nn.MultiheadAttention):
                inside |= {id(part) for part in child.modules()}
            why = _why_not(name, child, filter_fn, tied, smallest)
            if why:
                report.skipped.append((name, why))
                continue
            try:
                layer = made.get(id(child)) or _convert(child, codec, options)
            except StlError as error:
                if error.argument in ("mode", "tokens", "rows"):
                    raise
                report.skipped.append((name, str(error)))
                continue
            setattr(parent, child_name, layer)
            report.converted.append(name)
            if id(child) not in made:
                made[id(child)] = layer
                for part in layer.modules():
                    if isinstance(part, STLLinear):
                        _count(report, part, seen.get(name))


def _why_not(name: str, child: nn.Module, filter_fn: Callable[[str, nn.Module], bool | str] | None,
             tied: Mapping[int, str], smallest: int) -> str:  # fmt: skip
    """The reason to leave a layer as it is, or ""."""
    verdict = filter_fn(name, child) if filter_fn is not None else True
    if verdict is False or (isinstance(verdict, str) and verdict):
        return verdict if isinstance(verdict, str) else "excluded by filter_fn"
    if isinstance(child, nn.MultiheadAttention):
        return f"smaller than {smallest}" if child.embed_dim < smallest else ""
    if isinstance(child, nn.Linear) and type(child) is not nn.Linear:
        return f"{type(child).__name__} is not a plain nn.Linear"
    weight = child.get_parameter("weight")
    if id(weight) in tied:
        return f"its weight is shared with {tied[id(weight)]}"
    return f"smaller than {smallest}" if min(weight.shape) < smallest else ""


def _convert(child: nn.Module, codec: Codec, options: dict[str, Any]) -> nn.Module:
    if isinstance(child, nn.MultiheadAttention):
        return STLAttention(child, codec, **options)
    linear = child if isinstance(child, nn.Linear) else conv1d_as_linear(child)
    return STLLinear.from_linear(linear, codec, **options)


def _count(report: ConversionReport, layer: STLLinear, rows: int | None) -> None:
    report.dense_multiplications += layer.in_features * layer.out_features
    report.stl_multiplications += layer.multiplications
    report.dense_parameters += layer.in_features * layer.out_features
    report.stl_parameters += (layer.weight if layer.mode == "dense" else layer.w_hat).numel()
    dtype = layer.weight.dtype if layer.mode == "dense" else layer.w_hat.dtype
    if rows and dtype in NAMES:
        data = load_device(layer.e_x.device)
        size = (rows, layer.in_features, layer.out_features)
        report.device = data.name
        report.dense_ms = (report.dense_ms or 0.0) + predict_ms(*size, (), dtype, data)
        report.stl_ms = (report.stl_ms or 0.0) + predict_ms(*size, (layer.codec(),), dtype, data,
                                                           encoded_weight=layer.mode != "dense")  # fmt: skip


@torch.no_grad()
def _rows_seen(model: nn.Module, example: torch.Tensor | Mapping[str, Any]) -> dict[str, int]:
    """Rows that reach each module in one forward pass of the example."""
    seen: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def count(_: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            first = next((t for t in (*inputs, *keywords.values()) if isinstance(t, torch.Tensor)), None)
            if first is not None and first.dim():
                seen[name] = seen.get(name, 0) + first[..., 0].numel()

        return count

    handles = [module.register_forward_pre_hook(hook(name), with_kwargs=True) for name, module in model.named_modules()]
    try:
        model(**example) if isinstance(example, Mapping) else model(example)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _is_conv1d(module: nn.Module) -> bool:
    """`transformers.pytorch_utils.Conv1D`, known by its shape: weight (in, out) and ``nf`` outputs."""
    weight = getattr(module, "weight", None)
    return (type(module).__name__ == "Conv1D" and isinstance(weight, nn.Parameter) and weight.dim() == 2
            and getattr(module, "nf", None) == weight.shape[1])  # fmt: skip


def _expert_weights(name: str, module: nn.Module) -> list[tuple[str, str]]:
    """Three-dimensional weights of fused experts: no module of their own to replace."""
    if isinstance(module, STLLinear) or "expert" not in type(module).__name__.lower():
        return []
    return [(f"{name}.{key}", "fused expert weights are read by their parent, not through a layer")
            for key, value in module.named_parameters(recurse=False) if value.dim() == 3]  # fmt: skip


def _tied_weights(model: nn.Module) -> dict[int, str]:
    """Weights that some other kind of module (an embedding, say) also holds: id → that module's name."""
    out = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) and not _is_conv1d(module):
            for key, value in module.named_parameters(recurse=False):
                out[id(value)] = f"{name}.{key}"
    return out


def unconvert(model: nn.Module) -> list[str]:
    """Replace every `STLLinear` inside ``model`` by its dense view (`STLLinear.to_dense`), in place.

    Returns the names. For an exact encoder the model is the original to rounding; otherwise what rows of a tile read
    from each other is lost.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> model = nn.Sequential(nn.Linear(8, 8))
    >>> report = convert_linear(model, strassen(), rows="batch")
    >>> unconvert(model), type(model[0]).__name__
    (['0'], 'Linear')
    """
    made: dict[int, nn.Linear] = {}
    names = []
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent._modules.items()):
            if isinstance(child, STLLinear):
                setattr(parent, child_name, made.setdefault(id(child), child.to_dense()))
                names.append(f"{parent_name}.{child_name}" if parent_name else child_name)
    return names
