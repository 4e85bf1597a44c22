"""One training, or many small ones at once.

A step of a small model is a few hundred launches of a few microseconds: launches, not arithmetic, fill the time. So
a step is captured once as a CUDA graph (batch selection, forward, backward, clipping, optimiser, learning rate) and
replayed; and models of the same shape (seeds, or codecs of equal rank) train as one `Ensemble`, every kernel working
for all of them.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["Ensemble", "Training", "one_cycle"]

WARM_UP = 6  # eager steps before capture; they are part of the training


def one_cycle(steps: int, peak: float, warm_up: float) -> torch.Tensor:
    """Learning rates of every step: half a cosine up from peak/25, half a cosine down to zero."""
    k = torch.arange(steps, dtype=torch.float64)
    up = max(1.0, warm_up * steps)
    rise = peak / 25 + (peak - peak / 25) * (1 - torch.cos(math.pi * k / up)) / 2
    fall = peak * (1 + torch.cos(math.pi * (k - up) / max(1.0, steps - up))) / 2
    return torch.where(k < up, rise, fall).float()


def _is_decayed(name: str, parameter: torch.Tensor) -> bool:
    """Weights are; norms, biases and codecs are not."""
    return parameter.dim() > 1 and name.rpartition(".")[2] not in ("e_x", "d", "position")


class Training:
    """A model, its optimiser and its loss; `step` advances it by one.

    Parameters
    ----------
    model : nn.Module
        On its device already.
    loss : callable (call, step) → scalar tensor
        ``call`` is the model; ``step`` an int64 tensor of shape (1,) on the model's device, so that the loss can pick
        its own batch without waiting for the device.
    steps, peak, warm_up, weight_decay, betas
        AdamW with `one_cycle` rates; norms, biases and codecs are not decayed. Gradients are clipped to norm 1.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Callable[..., torch.Tensor], torch.Tensor], torch.Tensor],
        *,
        steps: int,
        peak: float,
        warm_up: float = 0.1,
        weight_decay: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.loss, self.steps = loss, steps
        self.call: Callable[..., Any] = model
        self.device = next(model.parameters()).device
        self.cuda = self.device.type == "cuda"
        self.rates = one_cycle(steps, peak, warm_up).to(self.device)
        self.count = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.rate = torch.zeros((), device=self.device)
        decayed, plain = self._parameters(model)
        self.parameters = [*decayed, *plain]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.rate, betas=betas, capturable=self.cuda, fused=True if self.cuda else None)  # fmt: skip
        self.last = torch.zeros(self._losses(), device=self.device)
        self.done = 0
        self.stream = torch.cuda.Stream(self.device) if self.cuda else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.milliseconds = {"eager": math.nan, "graph": math.nan}

    def _parameters(self, model: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        learns = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        return [p for n, p in learns if _is_decayed(n, p)], [p for n, p in learns if not _is_decayed(n, p)]

    def _losses(self) -> tuple[int, ...]:
        return ()

    def _clip(self) -> None:
        nn.utils.clip_grad_norm_(self.parameters, 1.0)

    def _work(self) -> None:
        self.rate.copy_(self.rates[self.count][0])
        loss = self.loss(self.call, self.count)
        loss.sum().backward()
        self._clip()
        self.optimiser.step()
        self.last.copy_(loss.detach())
        self.count.add_(1)

    def prepare(self) -> None:
        """First steps eagerly, then capture, and a few timed ones of both kinds."""
        if not self.cuda:
            return
        times: dict[str, list[float]] = {"eager": [], "graph": []}

        def timed(kind: str, work: Callable[[], None]) -> None:
            torch.cuda.synchronize()
            begin = time.perf_counter()
            work()
            torch.cuda.synchronize()
            times[kind].append(1e3 * (time.perf_counter() - begin))

        for _ in range(WARM_UP):
            timed("eager", self.step)
        self.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self._work()
        except RuntimeError as error:  # slower, not wrong
            warnings.warn(f"the step cannot be captured as a CUDA graph and runs eagerly: {error}", stacklevel=2)
        else:
            self.graph = graph
            for _ in range(10):
                timed("graph", self.step)
        self.milliseconds = {kind: min(values, default=math.nan) for kind, values in times.items()}

    def step(self) -> None:
        """Advance by one; with a captured graph this only enqueues a replay."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):  # no stream, no change
            if self.graph is not None:
                self.graph.replay()
            else:
                self.optimiser.zero_grad(set_to_none=True)
                self._work()
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        self.done += 1

    def run(self) -> None:
        """Train to the end and give the graph's memory back."""
        self.prepare()
        while self.done < self.steps:
            self.step()
        if self.cuda:
            torch.cuda.synchronize()
        self.graph = None
        self.optimiser.zero_grad(set_to_none=True)


class Ensemble(Training):
    """Models of one shape trained as one, each with its own parameters, gradient norm and loss.

    The parameters lie in two flat matrices (models, numbers), of which each model sees views through `torch.func`;
    ``loss(call, step)`` returns one number a model, and ``call`` maps (models, …) inputs to (models, …) outputs. After
    `run` the models hold what they learned.
    """

    def __init__(self, models: Sequence[nn.Module], loss: Callable[..., torch.Tensor], **recipe: float) -> None:
        self.models = list(models)
        super().__init__(self.models[0], loss, **recipe)  # type: ignore[arg-type]
        skeleton = copy.deepcopy(self.models[0])
        buffers = {n: torch.stack([dict(m.named_buffers())[n] for m in self.models])
                   for n, _ in skeleton.named_buffers()}  # fmt: skip

        def one(parameters: dict[str, torch.Tensor], others: dict[str, torch.Tensor], *inputs: torch.Tensor) -> object:
            return torch.func.functional_call(skeleton, (parameters, others), inputs)

        mapped = torch.func.vmap(one, randomness="error")
        self.call = lambda *inputs: mapped(self._views(), buffers, *inputs)

    def _parameters(self, model: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        learns = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.fixed = {n: torch.stack([dict(m.named_parameters())[n].detach() for m in self.models])
                      for n, p in model.named_parameters() if not p.requires_grad}  # fmt: skip
        self.names = [[n for n, p in learns.items() if _is_decayed(n, p) == kind] for kind in (True, False)]
        self.shapes = {n: p.shape for n, p in learns.items()}
        own = [dict(m.named_parameters()) for m in self.models]
        self.flats = [torch.stack([torch.cat([o[n].detach().flatten() for n in names]) for o in own]).requires_grad_()
                      for names in self.names]  # fmt: skip
        return [self.flats[0]], [self.flats[1]]

    def _views(self) -> dict[str, torch.Tensor]:
        views = dict(self.fixed)
        for flat, names in zip(self.flats, self.names, strict=True):
            parts = flat.split([self.shapes[n].numel() for n in names], 1)
            views |= {n: part.view(len(self.models), *self.shapes[n]) for n, part in zip(names, parts, strict=True)}
        return views

    def _losses(self) -> tuple[int, ...]:
        return (len(self.models),)

    def _clip(self) -> None:
        grads = [flat.grad for flat in self.flats if flat.grad is not None]
        norm = torch.stack([g.square().sum(1) for g in grads]).sum(0).sqrt()
        for g in grads:
            g.mul_((1 / (norm + 1e-6)).clamp(max=1.0)[:, None])

    @torch.no_grad()
    def run(self) -> None:
        """Train to the end and write the parameters back into the models."""
        with torch.enable_grad():
            super().run()
        views = self._views()
        for index, model in enumerate(self.models):
            for name, parameter in model.named_parameters():
                parameter.copy_(views[name][index])
