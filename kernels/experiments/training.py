"""One training, and many of them side by side on one GPU.

A step of these small models is a few hundred launches of a few microseconds: launches, not arithmetic, fill the time.
So a step is captured once as a CUDA graph (batch selection, forward, backward, clipping, optimiser, learning rate) and
replayed, and several trainings run on streams of their own.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

__all__ = ["Training", "one_cycle", "train_together"]

WARM_UP = 3  # eager steps before capture; they are part of the training


def one_cycle(steps: int, peak: float, warm_up: float) -> torch.Tensor:
    """Learning rates of every step: half a cosine up from peak/25, half a cosine down to zero."""
    k = torch.arange(steps, dtype=torch.float64)
    up = max(1.0, warm_up * steps)
    rise = peak / 25 + (peak - peak / 25) * (1 - torch.cos(math.pi * k / up)) / 2
    fall = peak * (1 + torch.cos(math.pi * (k - up) / max(1.0, steps - up))) / 2
    return torch.where(k < up, rise, fall).float()


class Training:
    """A model, its optimiser and its loss; `step` advances it by one.

    Parameters
    ----------
    model : nn.Module
        On its device already.
    loss : callable (model, step) → scalar tensor
        ``step`` is an int64 tensor of shape (1,) on the model's device, so that the loss can pick its own batch
        without waiting for the device.
    steps, peak, warm_up, weight_decay, betas
        AdamW with `one_cycle` rates; norms, biases, codecs and other vectors are not decayed.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, torch.Tensor], torch.Tensor],
        *,
        steps: int,
        peak: float,
        warm_up: float = 0.1,
        weight_decay: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.model, self.loss, self.steps = model, loss, steps
        self.device = next(model.parameters()).device
        self.rates = one_cycle(steps, peak, warm_up).to(self.device)
        self.count = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.last = torch.zeros((), device=self.device)
        self.cuda = self.device.type == "cuda"
        learns = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        plain = [p for n, p in learns if p.dim() < 2 or n.rpartition(".")[2] in ("e_x", "d")]
        decayed = [p for n, p in learns if not any(p is q for q in plain)]
        self.rate = torch.zeros((), device=self.device)
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.rate, betas=betas, capturable=self.cuda, fused=True if self.cuda else None)  # fmt: skip
        self.parameters = [p for _, p in learns]
        self.done = 0
        self.stream = torch.cuda.Stream(self.device) if self.cuda else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.milliseconds = {"eager": math.nan, "graph": math.nan}

    def _work(self) -> None:
        self.rate.copy_(self.rates[self.count][0])
        loss = self.loss(self.model, self.count)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.last.copy_(loss.detach())
        self.count.add_(1)

    def prepare(self) -> None:
        """First steps eagerly, capture, and a few timed ones of both kinds (alone on the device in this process)."""
        if not self.cuda:
            return
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            eager = []
            for _ in range(WARM_UP):
                self.optimiser.zero_grad(set_to_none=True)
                torch.cuda.synchronize()
                begin = time.perf_counter()
                self._work()
                torch.cuda.synchronize()
                eager.append(1e3 * (time.perf_counter() - begin))
            self.optimiser.zero_grad(set_to_none=True)
        self.done = WARM_UP
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self._work()
        except RuntimeError as error:  # slower, not wrong
            warnings.warn(f"the step cannot be captured as a CUDA graph and runs eagerly: {error}", stacklevel=2)
        else:
            self.graph = graph
        replay = []
        for _ in range(5):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            self.step()
            torch.cuda.synchronize()
            replay.append(1e3 * (time.perf_counter() - begin))
        self.milliseconds = {"eager": min(eager), "graph": min(replay) if self.graph else math.nan}

    def step(self) -> None:
        """Advance by one; on a GPU this only enqueues a replay."""
        with torch.cuda.stream(self.stream):  # no stream, no change
            if self.graph is not None:
                self.graph.replay()
            else:
                self.optimiser.zero_grad(set_to_none=True)
                self._work()
        self.done += 1

    def release(self) -> None:
        """Give the graph's memory back; the model stays."""
        self.graph = None
        self.optimiser.zero_grad(set_to_none=True)


def train_together(
    jobs: Iterable[Callable[[], Training]], at_once: int, seconds: float = math.inf
) -> Iterator[tuple[int, Training, float]]:
    """Train ``at_once`` jobs side by side; yield (index, training, seconds of its group) as groups finish.

    No group begins after ``seconds`` less the time of the last one, so that a limited run ends with whole trainings.
    """
    begin, longest = time.perf_counter(), 0.0
    jobs = list(jobs)
    for first in range(0, len(jobs), at_once):
        if time.perf_counter() - begin + longest > seconds:
            return
        start = time.perf_counter()
        group = [job() for job in jobs[first : first + at_once]]
        for training in group:
            training.prepare()
        while any(t.done < t.steps for t in group):
            for training in group:
                if training.done < training.steps:
                    training.step()
        if group[0].cuda:
            torch.cuda.synchronize()
        longest = max(longest, time.perf_counter() - start)
        for offset, training in enumerate(group):
            training.release()
            yield first + offset, training, time.perf_counter() - start
