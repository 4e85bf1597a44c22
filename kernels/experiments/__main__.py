"""``python -m kernels.experiments NAME``: train the arms of an experiment, append to its CSV, print its table."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import torch

from stl_algebra.errors import StlError

EXPERIMENTS = {
    "starts": "which codec trains best: MNIST ViT of one width and rank, codecs from everywhere",
    "rule": "which property of a codec predicts its training: correlations and a figure from the table of `starts`",
    "vit": "MNIST ViT, tokens-to-token front end: STL widths and ranks against dense, 2:4, low rank, token mixers",
    "gpt": "causal byte-level language model: every way to run STL, each with its leak test",
    "speed": "milliseconds of a training step beside its FLOPs: eager, CUDA graph, compiled",
    "smollm": "a pretrained causal language model: converted, calibrated, fine-tuned, each with its leak test",
    "minilm": "a pretrained sentence encoder: converted, calibrated, distilled, beside 2:4 and low rank",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m kernels.experiments", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog="\n".join(f"{k:8s} {v}" for k, v in EXPERIMENTS.items()))  # fmt: skip
    p.add_argument("name", choices=sorted(EXPERIMENTS), help="the experiment")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--seeds", type=int, default=5, help="seeds 0 … SEEDS−1 (default 5)")
    p.add_argument("--out", type=Path, default=Path("results/experiments"), help="folder of the CSV files")
    p.add_argument("--data", type=Path, default=Path("data/mnist"), help="folder of the images, or of texts (smollm)")
    p.add_argument("--images", choices=("mnist", "photographs"), default="mnist", help="of the vision experiments")
    p.add_argument("--encoders", type=Path, nargs="+", default=[], help="folders of ⟨4,4,4⟩ encoders (.safetensors)")
    p.add_argument("--model", type=Path, help="folder of a checkpoint (minilm, smollm)")
    p.add_argument("--ranks", default="", help="comma-separated; default by experiment")
    p.add_argument("--arms", default="", metavar="REGEX", help="only arms whose name matches")
    p.add_argument("--epochs", type=int, default=12, help="of the vision experiments (default 12)")
    p.add_argument("--seconds", type=float, default=float("inf"), help="begin no training after this")
    p.add_argument("--at-once", type=int, default=25, help="vision models in an ensemble (default 25)")
    p.add_argument("--short", action="store_true", help="a few steps on little data, to see that it runs")
    p.add_argument("--table", action="store_true", help="only print the table of what is there")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run one experiment; 0 when done, 2 on bad input, 130 when interrupted."""
    from . import causal_lm, language, pretrained, report, rule, speed, vision
    from .arms import Arm
    from .table import Table

    a = parser().parse_args(arguments)
    ranks = [int(r) for r in a.ranks.split(",")] if a.ranks else None
    keys = {"minilm": pretrained.KEY, "smollm": causal_lm.KEY, "gpt": language.KEY, "speed": speed.KEY}
    table = Table(a.out / f"{a.name}.csv", keys.get(a.name, vision.KEY))
    try:
        if a.table:
            print(report.table(a.name, table))
            return 0
        if a.name == "rule":
            print(rule.run(Table(a.out / "starts.csv", vision.KEY), a.encoders, ranks[0] if ranks else 24))
            return 0
        wanted = {"seeds": range(a.seeds), "device": a.device, "seconds": a.seconds}

        def only(arms: list[Arm]) -> list[Arm]:
            return [arm for arm in arms if re.search(a.arms, arm.name)]

        if a.name in ("starts", "vit"):
            make = vision.start_arms if a.name == "starts" else vision.vit_arms
            ranks = ranks or ([24, 32] if a.name == "starts" else [16, 20, 24, 32, 40, 48])
            vision.train_arms(lambda seed: only(make(seed, ranks, a.encoders)), table, data=a.data,
                              images_of=a.images, at_once=a.at_once,
                              front="patch" if a.name == "starts" else "t2t", epochs=1 if a.short else a.epochs,
                              limit=2000 if a.short else 60000, **wanted)  # fmt: skip
        elif a.name == "gpt":
            language.train_arms(lambda seed: only(language.gpt_arms(seed, a.encoders)), table,
                                steps=3 if a.short else 900, **wanted)  # fmt: skip
        elif a.name == "smollm":
            causal_lm.run(table, a.model, a.data, a.encoders, short=a.short, only=only, **wanted)
        elif a.name == "speed":
            speed.run(table, a.encoders, device=a.device, short=a.short, only=only)
        else:
            pretrained.run(table, a.model, a.encoders, ranks or [24, 32, 40, 44, 46], short=a.short, only=only,
                           **wanted)  # fmt: skip
        print(report.table(a.name, table))
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the rows so far are kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
