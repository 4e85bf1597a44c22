"""MNIST vision transformers: which start trains best (`starts`), and what STL's gain is (`vit`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from ..codec import Codec
from ..leak import leak_test
from . import starts
from .arms import Arm
from .data import IMAGES
from .models import ViT
from .table import Table
from .training import Ensemble

__all__ = ["start_arms", "train_arms", "vit_arms"]

BATCH, WIDTH, DEPTH, PEAK = 500, 48, 4, 2e-3
KEY = ("arm", "seed", "epochs", "images")


def start_arms(seed: int, ranks: Sequence[int], folders: Sequence[Path]) -> list[Arm]:
    """Equal width and rank, codecs from everywhere; those without a search at the first rank only."""
    arms = []
    for rank in ranks:
        found = {name: make(seed) for name, make in starts.plain_starts(rank).items() if rank == ranks[0]}
        names = {f"{name}, r={rank}": (codec, name) for name, codec in found.items()}
        names |= starts.catalogue(folders, rank)
        names |= {f"{name}, gains {gain:g}": (starts.equal_gains(codec, gain), group)
                  for name, (codec, group) in names.items() for gain in (starts.GAIN, 32.0)}  # fmt: skip
        arms += [Arm(name, "stl", codec=codec, group=group, width=WIDTH) for name, (codec, group) in names.items()]
    dense = Arm("dense", width=WIDTH)
    return [
        dense,
        dense.faster(2),
        dense.faster(4),
        Arm("exact Strassen², r=49", "stl", codec=starts.exact(), width=WIDTH),
        *arms,
    ]


def vit_arms(seed: int, ranks: Sequence[int], folders: Sequence[Path]) -> list[Arm]:
    """STL at several widths and ranks against its rivals."""
    found = {rank: starts.best(folders, rank, starts.TRAINING_NOISE) for rank in ranks}
    arms = [Arm("dense").at(w) for w in (32, 48, 64, 84, 96, 128)]
    again = [Arm("dense"), Arm("dense + token mixer", mixer=True), Arm("2:4", "sparse24")]
    again += [Arm("STL r=24", "stl", codec=pair[0], group=pair[1]) for pair in [found.get(24)] if pair is not None]
    arms += [arm.at(w).faster(rate) for arm in again for w in (48, 64, 96) for rate in (0.5, 2, 4)]
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
    images_of: str = "mnist",
    seeds: Sequence[int],
    device: str,
    epochs: int = 12,
    front: str = "patch",
    at_once: int = 20,
    seconds: float = float("inf"),
    limit: int = 60000,
) -> None:
    """Train every arm for every seed, models of one shape together, and append accuracy and leaks to the table."""
    images, labels, test_images, test_labels = IMAGES[images_of](data, device)
    classes = int(labels.max()) + 1
    images, labels, test_images = images[:limit], labels[:limit], test_images[:, 2:30, 2:30].contiguous()
    done = table.done()
    per_epoch, begin, longest = len(images) // BATCH, time.perf_counter(), 0.0
    orders = {seed: _orders(seed, len(images), epochs) for seed in seeds}
    order, shift = (torch.stack([orders[seed][part] for seed in seeds]).to(device) for part in (0, 1))
    pixels = torch.arange(28, device=device)
    for group in _groups(arms_of, seeds, {key[:2] for key in done if key[2:] == (str(epochs), images_of)}, at_once):
        if time.perf_counter() - begin + longest > seconds:
            return
        start = time.perf_counter()
        which = torch.tensor([list(seeds).index(seed) for seed, _ in group], device=device)
        models = []
        for seed, arm in group:
            torch.manual_seed(seed)
            models.append(ViT(arm, arm.width or WIDTH, DEPTH, front=front, classes=classes).to(device))

        def loss(call: Callable[..., torch.Tensor], step: torch.Tensor, which: torch.Tensor = which) -> torch.Tensor:
            chosen, moved = order[:, step][:, 0], shift[:, step][:, 0]  # (seeds, batch), (seeds, 2)
            down, right = (pixels + moved[:, axis, None] for axis in (0, 1))
            every = torch.arange(len(moved), device=device)[:, None, None]
            x = images[chosen][every[..., None], torch.arange(BATCH, device=device)[:, None, None],
                               down[:, None, :, None], right[:, None, None, :]]  # fmt: skip
            logits = call(x[which])
            wanted = labels[chosen][which]
            return (
                F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(len(which), -1).mean(1)
            )

        training = Ensemble(models, loss, steps=per_epoch * epochs, peak=PEAK * group[0][1].rate, warm_up=0.15)
        training.run()
        longest = max(longest, time.perf_counter() - start)
        for index, (seed, arm) in enumerate(group):
            _record(table, arm, models[index], test_images, test_labels, {
                "seed": seed, "images": images_of, "front": front, "epochs": epochs,
                "loss": round(training.last[index].item(), 5), "trained_together": len(group),
                "seconds_of_group": round(time.perf_counter() - start, 1),
            })  # fmt: skip


def _orders(seed: int, count: int, epochs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which images in which step, and where each batch is cut from its margins: (steps, BATCH), (steps, 2)."""
    generator = torch.Generator().manual_seed(seed)
    whole = count // BATCH * BATCH
    order = torch.cat([torch.randperm(count, generator=generator)[:whole] for _ in range(epochs)]).view(-1, BATCH)
    return order, torch.randint(0, 5, (len(order), 2), generator=generator)


def _groups(arms_of: Callable[[int], list[Arm]], seeds: Sequence[int], done: set[tuple[str, ...]],
            at_once: int) -> list[list[tuple[int, Arm]]]:  # fmt: skip
    """What is still to train, in ensembles: models of one shape, all seeds of an arm together."""
    shapes: dict[object, list[tuple[int, Arm]]] = {}
    arms = {seed: arms_of(seed) for seed in seeds}
    for position in range(max(map(len, arms.values()), default=0)):
        for seed in seeds:
            arm = arms[seed][position]
            if (arm.name, str(seed)) not in done:
                codec = arm.codec
                shape = (arm.kind, arm.share, arm.width, arm.rate, arm.rows, arm.mode, arm.train_codec, arm.mixer,
                         codec and (codec.format, codec.rank))  # fmt: skip
                shapes.setdefault(shape, []).append((seed, arm))
    return [work[k : k + at_once] for work in shapes.values() for k in range(0, len(work), at_once)]


@torch.no_grad()
def _record(table: Table, arm: Arm, model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor,
            also: dict[str, object]) -> None:  # fmt: skip
    """Test accuracy and leak of a trained model as a row; the layers run as they would for a user."""
    right = [(model(x).argmax(1) == y).float().mean().item() for x, y in zip(images.split(2000), labels.split(2000),
                                                                             strict=True)]  # fmt: skip
    row = arm.describe() | also | {
        "accuracy": round(100 * sum(right) / len(right), 3), "parameters": sum(p.numel() for p in model.parameters()),
        "leak_batch": f"{leak_test(model, images[:8]).batch:.1e}",
        "device": torch.cuda.get_device_name() if images.is_cuda else "cpu",
    }  # fmt: skip
    table.add(row)
    print(
        *(row[k] for k in ("arm", "seed", "accuracy", "loss", "leak_batch", "seconds_of_group")), sep="\t", flush=True
    )
