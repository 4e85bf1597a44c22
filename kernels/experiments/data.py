"""Data: MNIST from its four files, and the text of Python's own standard library."""

from __future__ import annotations

import gzip
import inspect
import pkgutil
import random
import sysconfig
from pathlib import Path

import numpy as np
import torch

from stl_algebra.errors import StlError

__all__ = ["docstrings", "library_source", "mnist"]

FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def mnist(folder: Path, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images (60000, 28, 28) and labels, test images (10000, 28, 28) and labels; images normalised.

    ``folder`` holds the four files of LeCun's distribution as ``<name>-ubyte.gz`` (Hugging Face: ``ylecun/mnist``
    mirrors them, as do many universities); nothing is downloaded here.

    Raises
    ------
    StlError
        If a file is missing or is no IDX file.
    """
    out = []
    for name in FILES:
        path = folder / f"{name}-ubyte.gz"
        if not path.exists():
            raise StlError("data", str(path), "the four MNIST files *-ubyte.gz",
                           "Put train-images-idx3, train-labels-idx1, t10k-images-idx3, t10k-labels-idx1 "
                           "there and pass --data FOLDER.")  # fmt: skip
        raw = gzip.decompress(path.read_bytes())
        if raw[:3] != b"\x00\x00\x08" or len(raw) < 8:
            raise StlError("data", str(path), "an IDX file of bytes")
        shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
        values = torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy()).to(device)
        out.append((values.float() / 255 - 0.1307) / 0.3081 if len(shape) == 3 else values.long())
    return out[0], out[1], out[2], out[3]


def library_source(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All ``.py`` files of the running Python's standard library as bytes: the first 95 % and the last 5 %."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skip = {"site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__", "lib2to3"}
    files = sorted(p for p in root.rglob("*.py") if not skip & set(p.relative_to(root).parts))
    random.Random(0).shuffle(files)  # held-out files from everywhere, the same ones each time
    raw = b"\n".join(p.read_bytes() for p in files)
    data = torch.from_numpy(np.frombuffer(raw, np.uint8).copy()).to(device).long()
    cut = int(len(data) * 0.95)
    return data[:cut], data[cut:]


def docstrings(limit: int = 400) -> list[str]:
    """Documentation strings of the standard library's modules, functions, classes and methods, shuffled once."""
    texts: dict[str, None] = {}
    skip = {"antigravity", "this", "idlelib", "test", "turtledemo", "lib2to3", "tkinter", "turtle"}
    for info in pkgutil.iter_modules([sysconfig.get_paths()["stdlib"]]):
        if info.name in skip or info.name.startswith("_"):
            continue
        try:
            module = __import__(info.name)
        except Exception:  # a module of another platform
            continue
        for value in [module, *vars(module).values()]:
            members = list(vars(value).values()) if inspect.isclass(value) else []
            for member in [value, *members]:
                text = getattr(member, "__doc__", None)
                if isinstance(text, str) and len(text) > 60:
                    texts[" ".join(text.split())[:limit]] = None
    found = sorted(texts)
    random.Random(0).shuffle(found)
    return found
