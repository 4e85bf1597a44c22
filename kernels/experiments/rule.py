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
from .table import Table, interval

__all__ = ["correlations", "figure", "fit", "means", "properties", "run", "write"]

PROPERTIES = {
    "epsilon2": "squared error ε²",
    "kappa2": "rounding amplification κ²",
    "independence": "independent terms, tr(H)²/‖H‖² over r",
    "gain": "step of a weight in the output, Σ‖E_X‖²‖D‖²/np",
    "mixing": "share of the terms' energy that crosses rows",
    "weights": "size of encoded weights, mean ‖E_W‖²",
}
LOGARITHMIC = ("kappa2", "gain", "weights")
RULE = ("epsilon2", "mixing", "weights")  # the best three by leave-one-out among all subsets, rank 24


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
        row = {"arm": name, "rank": codecs[name][0].rank, "seeds": len(values), "accuracy": mean, "half": half,
               **{key: float(np.mean([p[key] for p in each])) for key in PROPERTIES}}  # fmt: skip
        out.append(row)
    return sorted(out, key=lambda row: -row["accuracy"])


def correlations(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Spearman's rank correlation of each property with accuracy, and its p-value.

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
        result = spearmanr([row[key] for row in rows], accuracy)
        out[key] = float(result.statistic), float(result.pvalue)
    return out


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The data of the figure as CSV."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


def fit(rows: Sequence[dict[str, Any]], keys: Sequence[str] = RULE) -> tuple[list[float], np.ndarray, float]:
    """Accuracy as a linear function of properties (ε² up to 1.5, sizes by their logarithm to base 10).

    Returns
    -------
    The constant and a coefficient a key; what each start is predicted to reach by a fit without it; and the share of
    the variance that these predictions explain (1 at best, below 0 when worse than the mean).
    """

    def value(row: dict[str, Any], key: str) -> float:
        raw = float(row[key])
        return float(np.log10(raw)) if key in LOGARITHMIC else min(raw, 1.5)

    y = np.array([row["accuracy"] for row in rows])
    x = np.array([[1.0, *(value(row, key) for key in keys)] for row in rows])
    hat = x @ np.linalg.pinv(x)
    missed = (y - hat @ y) / (1 - np.diag(hat))
    share = 1 - float((missed**2).sum() / ((y - y.mean()) ** 2).sum())
    return [float(v) for v in np.linalg.pinv(x) @ y], y - missed, share


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Accuracy against the properties of `RULE` and against the rule's prediction; needs matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "rule"}  # small, and the same file each time
    from matplotlib import pyplot

    found, (_, predicted, share) = correlations(rows), fit(rows)
    fig, axes = pyplot.subplots(1, len(RULE) + 1, figsize=(14, 3.4), sharey=True, layout="constrained")
    panels: list[tuple[str, Sequence[float], str]] = [
        (PROPERTIES[key], [row[key] for row in rows], f"Spearman {found[key][0]:+.2f} (p = {found[key][1]:.2g})")
        for key in RULE]  # fmt: skip
    panels.append(("predicted without this start, %", list(predicted), f"leave-one-out R² {share:.2f}"))
    found_by_search = np.array([str(row["arm"]).startswith("4x4x4") for row in rows])
    for axis, key, (label, values, title) in zip(axes, (*RULE, ""), panels, strict=True):
        for kind, marker in ((True, "o"), (False, "^")):
            chosen = np.flatnonzero(found_by_search == kind)
            axis.errorbar([values[k] for k in chosen], [rows[k]["accuracy"] for k in chosen],
                          [rows[k]["half"] for k in chosen], fmt=marker, capsize=2, lw=0.8, ms=4,
                          label="found by search" if kind else "without a search")  # fmt: skip
        if key in LOGARITHMIC:
            axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel("test accuracy, %")
    axes[0].legend(fontsize=8)
    fig.savefig(path, metadata={"Date": None})
    pyplot.close(fig)


def run(table: Table, encoders: Sequence[Path], rank: int) -> str:
    """Write ``rule.csv`` (all starts of ``table``) and ``rule.svg`` (those of one rank) beside it; the correlations.

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
    chosen = [row for row in rows if row["rank"] == rank]
    found = correlations(chosen)
    write(rows, table.path.with_name("rule.csv"))
    figure(chosen, table.path.with_name("rule.svg"))
    (constant, *slopes), _, share = fit(chosen)
    terms = " ".join(f"{slope:+.3f} {'log10 ' * (key in LOGARITHMIC)}{key}"
                     for key, slope in zip(RULE, slopes, strict=True))  # fmt: skip
    lines = [f"{PROPERTIES[k]:50s} {r:+.2f} (p = {p:.2g})" for k, (r, p) in found.items()]
    return "\n".join([*lines, f"accuracy = {constant:.3f} {terms}, leave-one-out R² {share:.2f}"])
