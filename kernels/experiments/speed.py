"""Time a training step beside its multiplications: eager, captured as a CUDA graph, compiled and captured."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from .. import flops  # noqa: F401  the counter then knows our operators
from . import starts
from .arms import Arm
from .models import GPT, Block, ViT
from .table import Table
from .training import Training

__all__ = ["KEY", "run"]

KEY = ("model", "arm", "compiled", "seed")


class Wide(nn.Module):
    """Two blocks of width 4096 over 8192 tokens: large enough for arithmetic, not launches, to fill the time."""

    def __init__(self, arm: Arm) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(4096, 32, 16384, arm, causal=True) for _ in range(2)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, 4096) → the same."""
        return self.blocks(x)


def _cases(device: str, short: bool) -> dict[str, tuple[Callable[[Arm], nn.Module], Callable[..., torch.Tensor]]]:
    """Models and losses on random data."""
    kind = torch.device(device).type
    size = 8 if short else 500
    images, labels = torch.randn(size, 28, 28, device=device), torch.randint(0, 10, (size,), device=device)
    text = torch.randint(0, 256, (2 if short else 32, 257), device=device)

    def vision(call: Callable[..., torch.Tensor], _: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(call(images), labels)

    def language(call: Callable[..., torch.Tensor], _: torch.Tensor) -> torch.Tensor:
        with torch.autocast(kind, torch.bfloat16, cache_enabled=False):
            logits = call(text[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), text[:, 1:].reshape(-1))

    cases = {"ViT width 48, batch 500, fp32": (lambda arm: ViT(arm, 48, front="t2t"), vision),
             "GPT width 256, 32×256 bytes, bf16": (lambda arm: GPT(arm, 256), language)}  # fmt: skip
    if not short:
        x = torch.randn(4, 2048, 4096, device=device, dtype=torch.bfloat16)
        cases["two blocks of width 4096, 8192 tokens, bf16"] = (
            lambda arm: Wide(arm).bfloat16(), lambda call, _: call(x).float().square().mean())  # fmt: skip
    return cases


def _arms(folders: Sequence[Path]) -> list[Arm]:
    codec = starts.best(folders, 24)
    group = codec[0] if codec else starts.plain_starts(24)["random"](0)
    return [Arm("dense"), Arm("2:4", "sparse24"), Arm("low rank 0.375", "lowrank", 0.375),
            Arm("STL r=24", "stl", codec=group), Arm("STL r=24, codec fixed", "stl", codec=group, train_codec=False),
            Arm("exact Strassen², codec fixed", "stl", codec=starts.exact(), train_codec=False)]  # fmt: skip


def run(table: Table, folders: Sequence[Path], *, device: str, only: Callable[[list[Arm]], list[Arm]],
        short: bool = False) -> None:  # fmt: skip
    """Append one row a model, arm and way of running; 2:4 is timed as trained here, with a masked dense product."""
    cases = _cases(device, short)
    for compiled in ("no", "yes"):
        for model_name, (make, loss) in cases.items():
            for arm in only(_arms(folders)):
                wanted = compiled == "no" or arm.name in ("dense", "STL r=24")
                if not wanted or (model_name, arm.name, compiled, "0") in table.done():
                    continue
                row: dict[str, object] = {"model": model_name, "arm": arm.name, "compiled": compiled, "seed": 0,
                       "multiplications": round(arm.multiplications, 4)}  # fmt: skip
                row |= _time(make, loss, arm, compiled == "yes", device, 2 if short else 100)
                table.add(row)
                print(*row.values(), sep="\t", flush=True)


def _time(make: Callable[[Arm], nn.Module], loss: Callable[..., torch.Tensor], arm: Arm, compiled: bool, device: str,
          steps: int) -> dict[str, object]:  # fmt: skip
    torch.manual_seed(0)
    model = make(arm).to(device)
    with FlopCounterMode(display=False) as counter:
        loss(model, torch.zeros(1)).backward()
    model.zero_grad(set_to_none=True)
    if device != "cpu":
        torch.cuda.synchronize()
    if compiled:
        model.compile()
    training = Training(model, loss, steps=steps, peak=1e-4)
    graph: list[float] = []
    try:
        training.prepare()
        for _ in range(8 if device != "cpu" else 0):  # eight in a row, so that the host is ahead
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(8):
                training.step()
            end.record()
            torch.cuda.synchronize()
            graph.append(begin.elapsed_time(end) / 8)
    except Exception as error:  # one arm that does not run must not take the others with it
        warnings.warn(f"{arm.name}: {error}", stacklevel=1)
    times = graph if training.graph is not None and graph else [float("nan")]
    return {"GFLOP": round(counter.get_total_flops() / 1e9, 2),
            "ms_eager": round(training.milliseconds["eager"], 3), "ms_graph": round(min(times), 3),
            "ms_graph_median": round(statistics.median(times), 3),
            "device": torch.cuda.get_device_name() if device != "cpu" else "cpu"}  # fmt: skip
