"""Data: MNIST from its four files, patches of photographs, and the text of Python's own standard library."""

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

__all__ = ["IMAGES", "docstrings", "documents", "library_source", "mnist", "photographs"]

FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


#: scikit-image's photographs with texture enough: which of them is a patch from?
PHOTOGRAPHS = ("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png",
               "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
               "page.png", "retina.jpg", "rocket.jpg")  # fmt: skip


def mnist(folder: Path, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images (60000, 32, 32) and labels, test images (10000, 32, 32) and labels; normalised, margins of 2.

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
        wide = torch.nn.functional.pad(values, (2, 2, 2, 2)) if len(shape) == 3 else values
        out.append((wide.float() / 255 - 0.1307) / 0.3081 if len(shape) == 3 else values.long())
    return out[0], out[1], out[2], out[3]


def photographs(folder: Path, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Grey patches of 16 photographs, each with mean 0 and variance 1, and which photograph: as `mnist` returns them.

    ``folder`` holds the images that scikit-image brings in ``skimage/data``. Each is cut into blocks of 64 × 64, a
    fifth of them drawn for testing; a patch lies in one block, so no pixel is in both sets.

    Raises
    ------
    StlError
        If a photograph is missing or Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise StlError("pillow", "not installed", "Pillow, to read photographs", "pip install pillow") from error
    rng = np.random.default_rng(0)
    found: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for name in PHOTOGRAPHS:
        if not (folder / name).exists():
            raise StlError("data", str(folder / name), "scikit-image's photographs",
                           "pip install scikit-image and pass --data …/site-packages/skimage/data.")  # fmt: skip
        grey = np.asarray(Image.open(folder / name).convert("L"), np.float32)
        corners = [(64 * i, 64 * j) for i in range(grey.shape[0] // 64) for j in range(grey.shape[1] // 64)]
        corners = [corners[k] for k in rng.permutation(len(corners))]
        held = -(-len(corners) // 5)
        for test, blocks, count in ((True, corners[:held], 625), (False, corners[held:], 3750)):
            where = np.array(blocks)[rng.integers(0, len(blocks), count)] + rng.integers(0, 33, (count, 2))
            patches = np.stack([grey[i : i + 32, j : j + 32] for i, j in where])
            patches -= patches.mean((1, 2), keepdims=True)
            found[test].append(patches / (patches.std((1, 2), keepdims=True) + 4))
    out = []
    for test in (False, True):
        labels = np.repeat(np.arange(len(PHOTOGRAPHS)), len(found[test][0]))
        order = rng.permutation(len(labels))
        out += [torch.from_numpy(part[order]).to(device) for part in (np.concatenate(found[test]), labels)]
    return out[0], out[1], out[2], out[3]


IMAGES = {"mnist": mnist, "photographs": photographs}


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


def documents(folder: Path) -> tuple[list[str], list[str]]:
    """The text files of a folder: nineteen in twenty to train on, the others held out, the same ones each time.

    Raises
    ------
    StlError
        If there are fewer than 20.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".txt", ".rst", ".md"))
    if len(files) < 20:
        raise StlError("data", str(folder), "a folder with 20 text files or more (.txt, .rst, .md)",
                       "Debian's python3-doc brings some in usr/share/doc/python3*/html/_sources.")  # fmt: skip
    random.Random(0).shuffle(files)
    texts = [p.read_text(errors="replace") for p in files]
    held = len(texts) // 20
    return texts[held:], texts[:held]


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
