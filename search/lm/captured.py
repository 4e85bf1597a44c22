"""CUDA graphs of a step: on small systems launching a step's hundred kernels takes longer than running them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .engine import SlotState

__all__ = ["CapturedSteps"]

STATE = ("theta", "lam", "count", "polish", "residual", "fit")


class CapturedSteps:
    """Replays one step of up to `slots` slots, captured once per batch size on fixed tensors.

    Batches are rounded up to a multiple of an eighth of the slots, so there are at most eight captures; the rows
    left over repeat old restarts and are ignored.

    Parameters
    ----------
    slots : int
        Largest batch.
    """

    def __init__(self, slots: int) -> None:
        self.unit = max(1, -(-slots // 8))
        self.pool: Any = None
        self.buffer: Tensor | None = None  # for the matrices, shared by all captures
        self.captured: dict[int, tuple[Any, SlotState]] = {}

    def advance(self, state: SlotState, steps: int) -> None:
        """`steps` iterations of every slot of `state`."""
        rows = len(state.theta)
        capacity = -(-rows // self.unit) * self.unit
        if capacity not in self.captured:
            self.captured[capacity] = self._capture(state, capacity)
        graph, fixed = self.captured[capacity]
        for name in STATE:
            getattr(fixed, name)[:rows].copy_(getattr(state, name))
        for _ in range(steps):
            graph.replay()
        for name in STATE:
            setattr(state, name, getattr(fixed, name)[:rows].clone())

    def _capture(self, state: SlotState, capacity: int) -> tuple[Any, SlotState]:
        fixed = state.fork()
        size = state.model.par.size
        if self.buffer is None:
            self.buffer = torch.empty(8 * self.unit, size + 1, size, dtype=state.model.dtype, device=state.device)
        fixed.buffer = self.buffer[:capacity]
        tensors: dict[str, Tensor] = {}
        for name in STATE:
            rows = getattr(state, name)
            tensors[name] = rows[torch.arange(capacity, device=rows.device) % len(rows)].clone()

        def step() -> None:
            for name, tensor in tensors.items():
                setattr(fixed, name, tensor)
            fixed.step()

        side = torch.cuda.Stream(fixed.device)
        side.wait_stream(torch.cuda.current_stream(fixed.device))
        with torch.cuda.stream(side):
            step()  # library handles and Triton kernels are made outside the capture
        torch.cuda.current_stream(fixed.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            step()
            for name, tensor in tensors.items():
                tensor.copy_(getattr(fixed, name))
        self.pool = graph.pool()
        for name, tensor in tensors.items():
            setattr(fixed, name, tensor)
        return graph, fixed
