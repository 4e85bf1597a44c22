"""The frontier as a table and a figure: points by rank, the lines to beat, the certified bound."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from stl_algebra import Encoder, StlError
from stl_algebra.bounds import epsilon2_lower_bound

from .objective import FORMATS
from .prices import LINES, RECURSION, Price, lines, price

__all__ = ["CLASSES", "Point", "best_points", "plot"]

#: What a rank's best encoder is asked for: any, with bounded κ², with small entries, causal along the rows.
CLASSES = ("any", "κ² ≤ 30", "κ² ≤ 8", "κ² ≤ 2", "small entries", "few distinct rows")


@dataclass(frozen=True)
class Point:
    """The best encoder of one format, rank and class; ``file``, ``unit`` and ``command`` say where it is from."""

    format: str
    rank: int
    kind: str
    price: Price
    total: float
    dropping: float
    time_sharing: float | None
    below: bool
    ring: str
    group: str
    file: str
    unit: str
    command: str

    def row(self) -> dict[str, Any]:
        """Plain data, one level deep, for CSV and JSON."""
        own = {k: v for k, v in asdict(self).items() if k != "price"}
        costs = {**asdict(self.price), "bound": float(self.price.bound)}
        return {**own, **costs}


def _admitted(kind: str, cost: Price) -> bool:
    if kind.startswith("κ²"):
        return cost.kappa2 <= float(kind.split()[-1])
    if kind == "small entries":
        return cost.entries in ("ternary", "half-integer")
    return True


def best_points(
    encoders: Iterable[tuple[str, Encoder]],
    fmt: tuple[int, int, int],
    exact_rank: int | None,
    dtype: str = "bf16",
    classes: Sequence[str] = CLASSES,
) -> list[Point]:
    """Least total error by rank and class; of few distinct rows: the fewest of E_X and D at 10 % more error at most.

    Parameters
    ----------
    encoders : iterable of (file, Encoder)
        Real encoders of ⟨n,m,p⟩.
    fmt : (n, m, p)
    exact_rank : int or None
        Best known rank over the reals, for the time-sharing line.
    dtype : str
        Number format of the total error.
    """
    if dtype not in FORMATS:
        raise StlError("dtype", dtype, ", ".join(FORMATS))
    priced = [(name, e, price(e, fmt)) for name, e in encoders]
    found = []
    for rank in sorted({e.rank for _, e, _ in priced}):
        here = [x for x in priced if x[1].rank == rank]
        floor = min(x[2].total(dtype) for x in here)
        for kind in classes:
            if kind == "few distinct rows":
                near = [x for x in here if x[2].total(dtype) <= 1.1 * floor + 1e-12]
                chosen = min(near, key=lambda x: (x[2].distinct_x + x[2].distinct_d, x[2].total(dtype)))
            else:
                fitting = [x for x in here if _admitted(kind, x[2])]
                if not fitting:
                    continue
                chosen = min(fitting, key=lambda x: (x[2].total(dtype), x[0]))
            name, encoder, cost = chosen
            beat = lines(fmt, rank, exact_rank)
            origin: Mapping[str, Any] = encoder.origin
            found.append(
                Point(
                    "x".join(map(str, fmt)), rank, kind, cost, cost.total(dtype), beat["dropping"],
                    beat.get("time-sharing"), cost.total(dtype) < min(beat["dropping"], beat.get("time-sharing", 1.0)),
                    encoder.ring.name, str(origin.get("group", "")), name,
                    json.dumps(origin["unit"]) if origin.get("unit") else "",
                    str(origin.get("command", "")),
                )
            )  # fmt: skip
    return found


def plot(points: Sequence[Point], path: Path, exact_rank: int | None) -> None:
    """Write the figure (needs matplotlib, extra [notebooks]): error against the fraction of the multiplications."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise StlError("plot", str(path), "an installed matplotlib", "pip install 'stl-algebra[notebooks]'") from None
    fmt = tuple(map(int, points[0].format.split("x")))
    assert len(fmt) == 3
    volume = prod(fmt)
    ranks = range(1, volume + 1)
    figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
    flops = [r / volume for r in ranks]
    axes.plot(flops, [1 - f for f in flops], "--", color="0.6", label="products dropped")
    if exact_rank:
        inside = [r for r in ranks if r < exact_rank]
        axes.plot(
            [r / volume for r in inside],
            [1 - r / exact_rank for r in inside],
            ":",
            color="0.3",
            label=f"K-tiles of an exact {exact_rank} skipped",
        )
    axes.plot(flops, [1 / (1 + f) for f in flops], "-.", color="0.8", label="count-sketch")
    for name, values in LINES.items():
        axes.plot(list(values), list(values.values()), "x", label=name)
    for levels, (fraction, _, _) in RECURSION.items():
        if levels > 1:
            axes.annotate(f"Strassen^{levels}", (fraction, 2e-5), rotation=90, fontsize=7, color="0.5", va="bottom")
            axes.axvline(fraction, color="0.9", lw=0.8, zorder=0)
    bound = [(r / volume, float(epsilon2_lower_bound(fmt, r).value)) for r in ranks]
    bound = [(f, b) for f, b in bound if b > 0]
    axes.fill_between([f for f, _ in bound], [b for _, b in bound], 1e-9, color="0.92", label="proven impossible")
    for kind, style in (("any", "o-"), ("κ² ≤ 30", "^-"), ("κ² ≤ 8", "v-"), ("κ² ≤ 2", "s-"), ("small entries", "*")):
        mine = [p for p in points if p.kind == kind and p.total > 0]
        if mine:
            axes.plot([p.price.flops for p in mine], [p.total for p in mine], style, ms=4, lw=1, label=f"ours, {kind}")
    axes.set(
        xlabel="fraction of the multiplications, r/nmp",
        ylabel="relative squared error, rounding included",
        yscale="log",
        ylim=(1e-5, 1.2),
        title=f"⟨{points[0].format.replace('x', ',')}⟩",
    )
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path)
    plt.close(figure)
