"""Which property of a codec predicts how well a layer trains from it? Properties, rank correlations, a figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stl_algebra.errors import StlError

from ..codec import Codec
from . import vision
from .table import Table, interval, markdown

__all__ = ["correlations", "figure", "means", "properties", "run", "write"]

PROPERTIES = {
    "epsilon2": "squared error ε²",
    "kappa2": "rounding amplification κ²",
    "independence": "independent terms, tr(H)²/‖H‖² over r",
    "gain": "step of a weight in the output, Σ‖E_X‖²‖D‖²/np",
    "mixing": "share of the terms' energy that crosses rows",
    "weights": "size of encoded weights, mean ‖E_W‖²",
}
LOGARITHMIC = ("kappa2", "gain", "weights")
SHOWN = ("epsilon2", "kappa2", "mixing")  # in the figure


def properties(codec: Codec) -> dict[str, float]:
    """What a codec looks like before training.

    A layer with free encoded weights is Σ_l ŵ_l · (D_l ⊗ E_X,l): a combination of r fixed maps of a tile's rows. H is
    the Gram matrix of those maps scaled to norm 1, so ``independence`` is 1 for orthogonal maps and 1/r for equal ones.

    Examples
    --------
    >>> from .starts import dropped_products
    >>> round(properties(dropped_products(24, 0))["independence"], 3)
    1.0
    """
    n, m, p = codec.format
    e, d = codec.e_x, codec.d.T
    norms = (e**2).sum(1) * (d**2).sum(1)
    h = (e @ e.T) * (d @ d.T) / np.sqrt(norms[:, None] * norms)
    rows_in = (e.reshape(-1, n, m) ** 2).sum(2)
    rows_out = (d.reshape(-1, n, p) ** 2).sum(2)
    return {
        "epsilon2": codec.epsilon2,
        "kappa2": codec.kappa2,
        "independence": float(len(h) / (h**2).sum()),
        "gain": float(norms.sum() / (n * p)),
        "mixing": 1 - float((rows_in * rows_out).sum() / norms.sum()),
        "weights": float((codec.e_w**2).sum(1).mean()),
    }


def means(table: Table, codecs: dict[str, list[Codec]], **where: str) -> list[dict[str, Any]]:
    """One row for each start: accuracy over the seeds with its interval, and the mean of each property.

    ``codecs`` maps arm names to the codec of each seed; ``where`` picks rows of the table by column.
    """
    found: dict[str, list[float]] = {}
    for row in table.rows():
        if row["arm"] in codecs and all(row[k] == v for k, v in where.items()):
            found.setdefault(row["arm"], []).append(float(row["accuracy"]))
    out: list[dict[str, Any]] = []
    for name, values in found.items():
        mean, half = interval(values)
        each = [properties(codec) for codec in codecs[name]]
        line: dict[str, Any] = {"arm": name, "rank": codecs[name][0].rank, "seeds": len(values), "accuracy": mean, "half": half,
               **{key: float(np.mean([p[key] for p in each])) for key in PROPERTIES}}  # fmt: skip
        out.append(line)
    return sorted(out, key=lambda row: -row["accuracy"])


def correlations(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Spearman's rank correlation of each property with accuracy, and its p-value; nan for a constant property.

    Raises
    ------
    StlError
        For fewer than four starts.
    """
    from scipy.stats import spearmanr

    if len(rows) < 4:
        raise StlError("rows", len(rows), "four starts or more")
    accuracy = [row["accuracy"] for row in rows]
    out = {}
    for key in PROPERTIES:
        values = [float(row[key]) for row in rows]
        if max(values) - min(values) < 1e-6 * abs(max(values)):
            out[key] = float("nan"), float("nan")
            continue
        result = spearmanr(values, accuracy)
        out[key] = float(result.statistic), float(result.pvalue)
    return out


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The data of the figure as CSV."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


def figure(groups: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Accuracy against properties, a row of panels for each group of starts; needs matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "rule"}  # small, and the same file each time
    from matplotlib import pyplot

    size = (3.6 * len(SHOWN), 3.0 * len(groups))
    fig, grid = pyplot.subplots(len(groups), len(SHOWN), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for (name, rows), axes in zip(groups.items(), grid, strict=True):
        found = correlations(rows)
        for axis, key in zip(axes, SHOWN, strict=True):
            for kind, marker in ((True, "o"), (False, "^")):
                chosen = [row for row in rows if str(row["arm"]).startswith("4x4x4") == kind]
                axis.errorbar([row[key] for row in chosen], [row["accuracy"] for row in chosen],
                              [row["half"] for row in chosen], fmt=marker, capsize=2, lw=0.8, ms=4,
                              label="found by search" if kind else "without a search")  # fmt: skip
            if key in LOGARITHMIC:
                axis.set_xscale("log")
            axis.set_xlabel(PROPERTIES[key], fontsize=8)
            axis.set_title(f"Spearman {found[key][0]:+.2f} (p = {found[key][1]:.2g})", fontsize=9)
        axes[0].set_ylabel(f"{name}\ntest accuracy, %", fontsize=9)
    grid[0][0].legend(fontsize=8)
    fig.savefig(path, metadata={"Date": None})
    pyplot.close(fig)


def run(table: Table, encoders: Sequence[Path], rank: int) -> str:
    """Write ``rule.csv`` (all starts of ``table``) and ``rule.svg`` (those of one rank) beside it; the correlations.

    The starts are taken as they were found, and again with their gains made equal (`starts.equal_gains`).

    Raises
    ------
    StlError
        If fewer than four starts of that rank have been trained.
    """
    codecs: dict[str, list[Codec]] = {}
    for each in sorted({int(row["rank"]) for row in table.rows() if row["rank"]}):
        for seed in range(5):
            for arm in vision.start_arms(seed, [each], encoders):
                if arm.codec is not None and arm.codec.rank == each:
                    codecs.setdefault(arm.name, []).append(arm.codec)
    rows = means(table, codecs, images="mnist")
    write(rows, table.path.with_name("rule.csv"))
    chosen = [row for row in rows if row["rank"] == rank]
    groups = {"as found": [row for row in chosen if ", gains" not in row["arm"]],
              "gains 32": [row for row in chosen if row["arm"].endswith(", gains 32")]}  # fmt: skip
    groups = {name: rows for name, rows in groups.items() if rows}
    found = {name: correlations(rows) for name, rows in groups.items()}
    figure(groups, table.path.with_name("rule.svg"))
    heads = [f"Spearman with accuracy, rank {rank}", *(f"{name} ({len(rows)} starts)" for name, rows in groups.items())]
    return markdown([dict(zip(heads, [label.replace("|", "\\|"), *(_cell(*each[key]) for each in found.values())],
                              strict=True)) for key, label in PROPERTIES.items()])  # fmt: skip


def _cell(correlation: float, p: float) -> str:
    return "the same" if np.isnan(correlation) else f"{correlation:+.2f} (p = {p:.2g})"
