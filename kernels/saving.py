"""What a converted model looks like, as plain data: enough to rebuild its layers before a state is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stl_algebra.errors import StlError

from .codec import Codec
from .linear import STLLinear
from .modules import STLAttention, leave_fused_paths

__all__ = ["layout", "restore"]


def layout(model: nn.Module) -> dict[str, Any]:
    """``{"codecs": […], "layers": {name: {…}}}``: JSON-able; layers that share a codec share its entry.

    Put it beside the state: ``torch.save({"layout": layout(model), "state": model.state_dict()}, file)``; a Hugging
    Face model carries it in its configuration (`kernels.hf`).

    Examples
    --------
    >>> from kernels import convert_linear
    >>> from stl_algebra.schemes import strassen
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    >>> report = convert_linear(model, strassen(), rows="batch")
    >>> sorted(layout(model)) != []
    True
    """
    codecs: list[dict[str, Any]] = []
    known: dict[bytes, int] = {}
    layers = {}
    attentions = {name for name, module in model.named_modules() if isinstance(module, STLAttention)}
    for name, layer in model.named_modules():
        if not isinstance(layer, STLLinear):
            continue
        codec = layer.codec()
        key = b"".join(f.tobytes() for f in (codec.e_x, codec.e_w, codec.d)) + repr(codec.format).encode()
        if key not in known:
            known[key] = len(codecs)
            codecs.append({"format": list(codec.format), "e_x": codec.e_x.tolist(), "e_w": codec.e_w.tolist(),
                           "d": codec.d.tolist()})  # fmt: skip
        layers[name] = {
            "in_features": layer.in_features, "out_features": layer.out_features, "codec": known[key],
            "bias": layer.bias is not None, "mode": layer.mode, "rows": layer.rows, "train_codec": layer.train_codec,
            "activation": layer.activation, "scale_rows": layer.scale_rows,
        }  # fmt: skip
    return {"codecs": codecs, "layers": layers, "attention": sorted(attentions)}


def restore(model: nn.Module, data: Mapping[str, Any], *, device: torch.device | str | None = None) -> nn.Module:
    """Give an unconverted model the layers that `layout` describes, empty, ready for ``load_state_dict``.

    Parameters
    ----------
    model : nn.Module
        Of the same architecture; changed in place.
    device : optional
        Of the new layers; by default that of the weight they replace.

    Raises
    ------
    StlError
        If the layout names layers that the model does not have, or sizes that differ.
    """
    codecs = [Codec(tuple(c["format"]), c["e_x"], c["e_w"], c["d"]) for c in data["codecs"]]
    modules = dict(model.named_modules())
    for name in data.get("attention", ()):
        attention = modules.get(name)
        if isinstance(attention, nn.MultiheadAttention):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, STLAttention(attention, codecs[0]))
    modules = dict(model.named_modules())
    for name, spec in data["layers"].items():
        old = modules.get(name)
        if old is None:
            raise StlError("layout", name, "names of layers of this model", "Build the architecture it was saved from.")
        weight = old.e_x if isinstance(old, STLLinear) else old.weight
        size = (spec["in_features"], spec["out_features"])
        if not isinstance(old, STLLinear) and tuple(weight.shape) not in (size, size[::-1]):
            raise StlError("layout", f"{name}: {size}", f"the size of the model's layer, {tuple(weight.shape)}")
        where = torch.device(device) if device is not None else weight.device
        options = {k: v for k, v in spec.items() if k not in ("codec", "in_features", "out_features")}
        layer = STLLinear(*size, codecs[spec["codec"]], device="meta", dtype=weight.dtype, **options)
        if where.type != "meta":
            layer = layer.to_empty(device=where)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.train(old.training))
    leave_fused_paths(model)
    return model
