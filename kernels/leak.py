"""Does a model's output depend on what it must not see? Measured, along time and across the batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stl_algebra.errors import StlError

__all__ = ["LeakReport", "leak_test"]

#: a change larger than this share of the output's standard deviation is a leak, not rounding
TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}


@dataclass(frozen=True)
class LeakReport:
    """Largest change of an output that should not change, over the standard deviation of the output.

    ``time``: outputs before a changed position (a bidirectional model has it by design; None without a time axis).
    ``batch``: outputs of an example while only the other examples change (None for a batch of one).
    ``tolerance``: what is put down to rounding. ``onward``: outputs after the changed position, no leak but what a
    causal model has and a position-wise one has not.
    """

    time: float | None
    batch: float | None
    tolerance: float
    onward: float | None = None

    @property
    def leaks_time(self) -> bool:
        """Does a later position reach an earlier one?"""
        return self.time is not None and not self.time <= self.tolerance

    @property
    def leaks_batch(self) -> bool:
        """Does one example reach another?"""
        return self.batch is not None and not self.batch <= self.tolerance

    @property
    def is_causal(self) -> bool:
        """Do positions read earlier ones and no later ones?"""
        return self.onward is not None and self.onward > self.tolerance and not self.leaks_time

    def __str__(self) -> str:
        def show(value: float | None, leaks: bool) -> str:
            return "not tested" if value is None else f"{value:.1e} ({'leaks' if leaks else 'clean'})"

        return (f"future → past {show(self.time, self.leaks_time)}, across the batch "
                f"{show(self.batch, self.leaks_batch)}, of the output's standard deviation")  # fmt: skip


@torch.no_grad()
def leak_test(
    model: nn.Module,
    example: torch.Tensor | Mapping[str, Any],
    *,
    key: str | None = None,
    output: Callable[[Any], torch.Tensor] | None = None,
    tolerance: float | None = None,
) -> LeakReport:
    """Change one position, then every other example, and see which outputs move.

    Parameters
    ----------
    model : nn.Module
        Run in eval mode on copies of the example; restored afterwards.
    example : (B, T, …) tensor of token ids or floats, or the mapping of arguments a Hugging Face model takes.
    key : str, optional
        Which entry of the mapping to change; default ``input_ids``, ``inputs_embeds``, ``pixel_values``, or the first.
    output : callable, optional
        From what the model returns to a tensor (B, T, …) or (B, …); default its logits, last hidden state or the first
        tensor in it.
    tolerance : float, optional
        Default by dtype, `TOLERANCE`.

    Returns
    -------
    LeakReport
        ``time`` is None where input and output do not share an axis of at least 8 positions.

    Raises
    ------
    StlError
        For an example without a tensor to change.

    Examples
    --------
    >>> leak_test(nn.Linear(3, 3), torch.randn(2, 16, 3)).leaks_time
    False
    """
    arguments = example if isinstance(example, Mapping) else {"": example}
    key = key if key is not None else _key(arguments)
    if not isinstance(arguments.get(key), torch.Tensor) or arguments[key].dim() < 1:
        raise StlError("example", type(arguments.get(key)).__name__, "a tensor (B, T, …), or a mapping that holds one",
                       f"Name the entry to change by key=…; there are {sorted(arguments)}.")  # fmt: skip
    x = arguments[key]
    pick = output or _tensor
    training = {module: module.training for module in model.modules()}
    model.eval()

    def run(changed: torch.Tensor) -> torch.Tensor:
        given = {**copy.copy(dict(arguments)), key: changed}
        return pick(model(changed) if not isinstance(example, Mapping) else model(**given)).double()

    try:
        base = run(x)
        scale = float(base.std()) or 1.0
        time = batch = onward = None
        if x.dim() > 1 and base.dim() > 1 and base.shape[1] == x.shape[1] >= 8:
            start = (x.shape[1] // 2) // 8 * 8
            time = onward = 0.0
            for position in range(start + 1, min(start + 4, x.shape[1])):
                changed = x.clone()
                changed[:, position] = _other(x)[:, position]
                change = run(changed) - base
                time = _worst(time, change[:, :position], scale)
                onward = _worst(onward, change[:, start + 4 :], scale)
        if x.shape[0] > 1:
            changed = _other(x)
            changed[0] = x[0]
            batch = _worst(0.0, (run(changed) - base)[0], scale)
    finally:
        for module, was in training.items():
            module.training = was
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return LeakReport(time, batch, TOLERANCE.get(kind, 1e-3) if tolerance is None else tolerance, onward)


def _worst(so_far: float, change: torch.Tensor, scale: float) -> float:
    return max(so_far, float(change.abs().max()) / scale) if change.numel() else so_far


def _key(arguments: Mapping[str, Any]) -> str:
    for name in ("", "input_ids", "inputs_embeds", "pixel_values"):
        if name in arguments:
            return name
    return next((k for k, v in arguments.items() if isinstance(v, torch.Tensor)), "")


def _other(x: torch.Tensor) -> torch.Tensor:
    """The same shape with every entry changed: another token of those seen, or noise of the same size added."""
    if x.is_floating_point():
        return x + torch.randn_like(x) * x.std().clamp_min(1e-3)
    top = int(x.max()) + 1
    return (x + max(1, top // 3)) % max(top, 2)


def _tensor(result: Any) -> torch.Tensor:
    for name in ("logits", "last_hidden_state"):
        if isinstance(getattr(result, name, None), torch.Tensor):
            return result[name] if isinstance(result, Mapping) else getattr(result, name)
    while isinstance(result, (tuple, list, Mapping)):
        result = next(iter(result.values() if isinstance(result, Mapping) else result))
    return result
