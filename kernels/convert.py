"""Swap the linear layers of a model for `STLLinear`, and say what happened to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from stl_algebra.errors import StlError

from .codec import Codec, EncoderLike, as_codec
from .linear import STLLinear

__all__ = ["ConversionReport", "convert_linear"]


@dataclass
class ConversionReport:
    """What `convert_linear` did; printing it gives the same numbers as its attributes."""

    converted: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    dense_multiplications: int = 0  # per row of input, converted layers only
    stl_multiplications: int = 0
    dense_parameters: int = 0
    stl_parameters: int = 0

    def __str__(self) -> str:
        ratio = self.stl_multiplications / self.dense_multiplications if self.dense_multiplications else 1.0
        lines = [
            f"{len(self.converted)} layers converted, {len(self.skipped)} skipped; multiplications × {ratio:.3f}, "
            f"weights {self.dense_parameters:,} → {self.stl_parameters:,}"
        ]
        lines += [f"  converted {name}" for name in self.converted]
        lines += [f"  skipped   {name}: {why}" for name, why in self.skipped]
        return "\n".join(lines)


def convert_linear(
    model: nn.Module,
    encoder: EncoderLike | Codec,
    filter_fn: Callable[[str, nn.Linear], bool | str] | None = None,
    *,
    mode: str = "frozen",
    train_codec: bool = False,
    tokens: int | None = None,
    smallest: int = 1,
) -> ConversionReport:
    """Replace every `nn.Linear` inside ``model`` that the filter admits, in place.

    Parameters
    ----------
    model : nn.Module
        Walked with full names. A layer used in two places is converted once and stays shared.
    encoder : stl_algebra.Encoder or Codec
    filter_fn : callable (name, layer) → bool or str, optional
        ``False`` or a non-empty string (the reason) skips the layer; ``True`` and ``""`` convert it.
    mode, train_codec, tokens
        As in :meth:`STLLinear.from_linear`.
    smallest : int
        Skip layers with fewer inputs or outputs than this.

    Returns
    -------
    ConversionReport

    Raises
    ------
    StlError
        If ``model`` itself is an `nn.Linear` (there is no parent to put the new layer into) or the encoder
        is refused; individual layers that cannot be converted are reported instead.
    """
    if isinstance(model, nn.Linear):
        raise StlError(
            "model",
            "nn.Linear",
            "a module that contains linear layers",
            "Use STLLinear.from_linear(layer, encoder).",
        )
    codec = as_codec(encoder)
    report = ConversionReport()
    made: dict[int, STLLinear] = {}
    tied = _tied_weights(model)
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent._modules.items()):  # named_children() hides shared layers
            name = f"{parent_name}.{child_name}" if parent_name else child_name
            if not isinstance(child, nn.Linear):
                continue
            verdict = filter_fn(name, child) if filter_fn is not None else True
            if verdict is False or (isinstance(verdict, str) and verdict):
                report.skipped.append((name, verdict if isinstance(verdict, str) else "excluded by filter_fn"))
                continue
            if type(child) is not nn.Linear:
                report.skipped.append((name, f"{type(child).__name__} is not a plain nn.Linear"))
                continue
            if isinstance(parent, nn.MultiheadAttention):
                report.skipped.append((name, "nn.MultiheadAttention reads its weight directly"))
                continue
            if id(child.weight) in tied:
                report.skipped.append((name, f"its weight is shared with {tied[id(child.weight)]}"))
                continue
            if min(child.in_features, child.out_features) < smallest:
                report.skipped.append((name, f"smaller than {smallest}"))
                continue
            try:
                layer = made.get(id(child)) or STLLinear.from_linear(
                    child, codec, mode, train_codec=train_codec, tokens=tokens
                )
            except StlError as error:
                if error.argument in ("mode", "tokens"):
                    raise
                report.skipped.append((name, str(error)))
                continue
            setattr(parent, child_name, layer)
            report.converted.append(name)
            if id(child) not in made:
                made[id(child)] = layer
                report.dense_multiplications += child.in_features * child.out_features
                report.stl_multiplications += layer.w_hat.numel() // layer.format[0]
                report.dense_parameters += child.weight.numel()
                report.stl_parameters += layer.w_hat.numel()
    return report


def _tied_weights(model: nn.Module) -> dict[int, str]:
    """Weights that some other kind of module (an embedding, say) also holds: id → that module's name."""
    out = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            for key, value in module.named_parameters(recurse=False):
                out[id(value)] = f"{name}.{key}"
    return out
