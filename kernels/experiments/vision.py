"""MNIST vision transformers: which start trains best (`starts`), and what STL's gain is (`vit`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from ..codec import Codec
from ..leak import leak_test
from . import starts
from .arms import Arm
from .data import mnist
from .models import ViT
from .table import Table
from .training import Training, train_together

__all__ = ["start_arms", "train_arms", "vit_arms"]

BATCH, WIDTH, DEPTH = 500, 48, 4
KEY = ("arm", "seed")


def start_arms(seed: int, ranks: Sequence[int], folder: Path | None) -> list[Arm]:
    """Equal width and rank, codecs from everywhere."""
    arms = []
    for rank in ranks:
        found = {name: make(seed) for name, make in starts.plain_starts(rank).items()}
        names = {f"{name}, r={rank}": (codec, name) for name, codec in found.items()}
        if folder is not None:
            names |= {stem.split("|")[0]: (codec, stem.split("|")[1])
                      for stem, codec in starts.catalogue(folder, rank).items()}  # fmt: skip
        arms += [Arm(name, "stl", codec=codec, group=group, width=WIDTH) for name, (codec, group) in names.items()]
    return [Arm("dense", width=WIDTH), Arm("exact Strassen², r=49", "stl", codec=starts.exact(), width=WIDTH), *arms]


def vit_arms(seed: int, ranks: Sequence[int], folder: Path | None) -> list[Arm]:
    """STL at several widths and ranks against its rivals."""
    found = {rank: starts.best(folder, rank) if folder is not None else None for rank in ranks}
    arms = [Arm("dense").at(w) for w in (32, 48, 64, 84, 96, 128)]
    for width in (48, 96):
        arms += [Arm("2:4", "sparse24").at(width), Arm("low rank 0.375", "lowrank", 0.375).at(width),
                 Arm("dense + token mixer", mixer=True).at(width),
                 Arm("2:4 + token mixer", "sparse24", mixer=True).at(width),
                 Arm("STL random r=24", "stl", codec=Codec.random(starts.TILE, 24, seed)).at(width)]  # fmt: skip
        for rank, (codec, group) in ((rank, pair) for rank, pair in found.items() if pair is not None):
            arms.append(Arm(f"STL r={rank}", "stl", codec=codec, group=group).at(width))
            if rank == 24:
                arms += [Arm("STL r=24 across the batch", "stl", codec=codec, group=group, rows="batch").at(width),
                         Arm("STL r=24, codec fixed", "stl", codec=codec, group=group,
                             train_codec=False).at(width)]  # fmt: skip
    return arms


def train_arms(
    arms_of: Callable[[int], list[Arm]],
    table: Table,
    *,
    data: Path,
    seeds: Sequence[int],
    device: str,
    epochs: int = 12,
    front: str = "patch",
    at_once: int = 8,
    seconds: float = float("inf"),
    limit: int = 60000,
) -> None:
    """Train every arm for every seed (seeds outermost) and append accuracy, time a step and leaks to the table."""
    images, labels, test_images, test_labels = mnist(data, device)
    images, labels = images[:limit], labels[:limit]
    done = table.done()
    work = [(seed, arm) for seed in seeds for arm in arms_of(seed) if (arm.name, str(seed)) not in done]
    per_epoch = len(images) // BATCH

    def job(seed: int, arm: Arm) -> Callable[[], Training]:
        def make() -> Training:
            torch.manual_seed(seed)
            model = ViT(arm, arm.width or WIDTH, DEPTH, front=front).to(device)
            generator = torch.Generator().manual_seed(seed)
            order = torch.stack([torch.randperm(len(images), generator=generator)[: per_epoch * BATCH]
                                 for _ in range(epochs)]).view(-1, BATCH).to(device)  # fmt: skip
            shift = torch.randint(-2, 3, (len(order), 2), generator=generator).to(device)
            pixels = torch.arange(28, device=device)

            def loss(net: torch.nn.Module, step: torch.Tensor) -> torch.Tensor:
                chosen, moved = order[step][0], shift[step][0]
                x = images[chosen][:, (pixels - moved[0]) % 28][:, :, (pixels - moved[1]) % 28]
                return F.cross_entropy(net(x), labels[chosen])

            return Training(model, loss, steps=len(order), peak=2e-3, warm_up=0.15)

        return make

    for index, training, took in train_together([job(*pair) for pair in work], at_once, seconds):
        seed, arm = work[index]
        with torch.no_grad():
            right = [(training.model(x).argmax(1) == y).float().mean().item()
                     for x, y in zip(test_images.split(1000), test_labels.split(1000), strict=True)]  # fmt: skip
        leak = leak_test(training.model, test_images[:8])
        row = arm.describe() | {
            "seed": seed, "front": front, "epochs": epochs, "accuracy": round(100 * sum(right) / len(right), 3),
            "loss": round(training.last.item(), 5), "parameters": sum(p.numel() for p in training.model.parameters()),
            "leak_batch": f"{leak.batch:.1e}", "ms_eager": round(training.milliseconds["eager"], 3),
            "ms_graph": round(training.milliseconds["graph"], 3), "seconds_of_group": round(took, 1),
            "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        }  # fmt: skip
        table.add(row)
        print(*(row[k] for k in ("arm", "seed", "accuracy", "loss", "leak_batch", "ms_graph")), sep="\t", flush=True)
