"""Causal byte-level language model: every way to run STL in it, and what each one leaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ..leak import leak_test
from . import starts
from .arms import Arm
from .data import library_source
from .models import GPT
from .table import Table
from .training import Training

__all__ = ["gpt_arms", "train_arms"]

BATCH, CONTEXT, WIDTH = 32, 256, 256
KEY = ("arm", "seed")
#: causal encoders of the catalogue, and the share of K-tiles that an exact one may keep at equal multiplications
CAUSAL = {"2x2x2_r6_Z_6c1091da": 48 / 49, "4x4x4_r42_Z_c1474c73": 42 / 49, "4x4x4_r36_Z_5f2b8bda": 36 / 49}


def gpt_arms(seed: int, folders: Sequence[Path]) -> list[Arm]:
    """Dense and its cheap rivals; STL along time (leaks), across the batch, with single rows, and exact."""
    exact = starts.exact()
    arms = [
        Arm("dense", width=WIDTH), Arm("dense, width 160", width=160), Arm("2:4", "sparse24", width=WIDTH),
        Arm("low rank 0.5", "lowrank", 0.5, width=WIDTH), Arm("low rank 0.375", "lowrank", 0.375, width=WIDTH),
        Arm("exact Strassen², half of the K-tiles skipped", "ktiles", 0.49, width=WIDTH),
        Arm("exact Strassen², dense weights learn", "stl", codec=exact, mode="dense", train_codec=False, width=WIDTH),
        Arm("Strassen² start, encoded weights learn, along time", "stl", codec=exact, width=WIDTH),
        Arm("STL ⟨1,4,4;6⟩ single rows", "stl", codec=starts.single_rows(6, seed), rows="none", width=WIDTH),
        Arm("STL ⟨1,4,4;8⟩ single rows", "stl", codec=starts.single_rows(8, seed), rows="none", width=WIDTH),
    ]  # fmt: skip
    for stem, share in CAUSAL.items():
        codec = starts.catalogued(folders, stem)
        if codec is not None:
            n, m, p = codec.format
            arms += [Arm(f"causal ⟨{n},{m},{p};{codec.rank}⟩, dense weights learn", "stl", codec=codec, mode="dense",
                         train_codec=False, width=WIDTH),
                     Arm(f"exact Strassen², {share:.3g} of the K-tiles", "ktiles", share, width=WIDTH)]  # fmt: skip
    found = {24: (starts.plain_starts(24)["random"](seed), "random")}
    for rank in (24, 32):
        best = starts.best(folders, rank)
        if best is not None:
            found[rank] = best
    for rank, (codec, group) in found.items():
        arms += [Arm(f"STL r={rank} across the batch", "stl", codec=codec, group=group, rows="batch", width=WIDTH)]
        if rank == 24:
            arms += [Arm(f"STL r={rank} along time", "stl", codec=codec, group=group, width=WIDTH)]
    return arms


def windows(data: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """(count, CONTEXT + 1) random windows."""
    generator = torch.Generator().manual_seed(seed)
    begin = torch.randint(0, len(data) - CONTEXT - 1, (count, 1), generator=generator).to(data.device)
    return data[begin + torch.arange(CONTEXT + 1, device=data.device)]


@torch.no_grad()
def evaluate(model: nn.Module, data: torch.Tensor, copies: int, count: int) -> float:
    """Nats a byte on held-out windows; with ``copies`` > 1 neighbours in the batch are copies, not strangers."""
    total = [F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].reshape(-1)).item()
             for x in windows(data, count, 1).repeat_interleave(copies, 0).split(BATCH)]  # fmt: skip
    return sum(total) / len(total)


def train_arms(
    arms_of: Callable[[int], list[Arm]],
    table: Table,
    *,
    seeds: Sequence[int],
    device: str,
    steps: int = 900,
    seconds: float = float("inf"),
) -> None:
    """Train every arm for every seed and append nats, leaks and time a step to the table."""
    train, held_out = library_source(device)
    done = table.done()
    work = [(seed, arm) for seed in seeds for arm in arms_of(seed) if (arm.name, str(seed)) not in done]
    count = 1024 if steps > 10 else 64

    start = time.perf_counter()
    span = torch.arange(CONTEXT + 1, device=device)
    for seed, arm in work:
        if time.perf_counter() - start > seconds:
            return
        torch.manual_seed(seed)
        model = GPT(arm, arm.width, context=CONTEXT).to(device)
        generator = torch.Generator().manual_seed(seed)
        begin = torch.randint(0, len(train) - CONTEXT - 1, (steps, BATCH, 1), generator=generator).to(device)

        def loss(call: Callable[..., torch.Tensor], step: torch.Tensor, begin: torch.Tensor = begin) -> torch.Tensor:
            x = train[begin[step][0] + span]
            with torch.autocast(torch.device(device).type, torch.bfloat16, cache_enabled=False):
                logits = call(x[:, :-1])
            return F.cross_entropy(logits.flatten(0, 1).float(), x[:, 1:].reshape(-1))

        training = Training(model, loss, steps=steps, peak=2e-3, weight_decay=0.05, betas=(0.9, 0.95))
        training.run()
        leak = leak_test(model, windows(held_out, 16, 2)[:, :-1])
        row = arm.describe() | {
            "seed": seed, "steps": steps, "nats": round(evaluate(model, held_out, 1, count), 4),
            "nats_copies": round(evaluate(model, held_out, 4, count // 4), 4), "train": round(training.last.item(), 4),
            "leak_time": f"{leak.time:.1e}", "leak_batch": f"{leak.batch:.1e}",
            "parameters": sum(p.numel() for p in model.parameters()),
            "ms_eager": round(training.milliseconds["eager"], 3), "ms_graph": round(training.milliseconds["graph"], 3),
            "bytes": len(train) + len(held_out),
            "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        }  # fmt: skip
        table.add(row)
        print(*(row[k] for k in ("arm", "seed", "nats", "nats_copies", "leak_time", "leak_batch", "ms_graph")),
              sep="\t", flush=True)  # fmt: skip
