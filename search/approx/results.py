"""Everything in results/frontier from the catalogue and a few searches, by one command.

Example: ``python -m search.approx.results --out results/frontier --encoders results/encoders``

========================  ==============================================================================================
``points.csv``            every approximate encoder: ε², κ² by a dense contraction, Monte Carlo, prices, bound
``causal.csv``            least ε² with and without a leak from later rows to earlier ones, beside the causal line
``tradeoff.csv``          ε² against κ² for the best encoder of every rank
``evidence.csv``          the same search with and without groups at equal time
``composites.csv``        the frontier at tiles of 8 and 16 by Kronecker products
``*.svg``                 the frontier with its lines, the trade-off and the evidence, from these tables
========================  ==============================================================================================
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from stl_algebra import Encoder, StlError, load
from stl_algebra.known import best_rank

from .objective import FORMATS, Objective
from .pool import End, Format
from .prices import price

__all__ = ["PARTS", "composites", "dense_scores", "encoders_of", "monte_carlo"]

PARTS = ("points", "causal", "tradeoff", "evidence", "composites", "figures")
#: Unknowns of the largest space in which the trade-off is followed without a GPU.
WIDEST_CPU = 400


def format_of(encoder: Encoder) -> Format | None:
    """(n, m, p) of a matrix product, else None."""
    sides = re.fullmatch(r"matmul:(\d+)x(\d+)x(\d+)", encoder.target.name)
    if sides is None:
        return None
    n, m, p = map(int, sides.groups())
    return n, m, p


def encoders_of(folder: Path, fmt: Format | None = None, approximate: bool = True) -> Iterator[tuple[str, Encoder]]:
    """Real encoders of a folder with sides up to 5, those with ε² > 0 only if asked."""
    for path in sorted(folder.glob("*.safetensors")):
        sides = re.match(r"(\d+)x(\d+)x(\d+)_", path.name)
        if not sides or max(map(int, sides.groups())) > 5 or (fmt and tuple(map(int, sides.groups())) != fmt):
            continue
        encoder = load(path)
        if not encoder.ring.embeds or encoder.ring.is_complex or format_of(encoder) is None:
            continue
        if not approximate or not encoder.is_exact:
            yield path.name, encoder


def dense_scores(encoder: Encoder) -> tuple[float, float]:
    """ε² and κ² by contracting the stored factors densely: no code shared with `stl_algebra.scores`."""
    x, w, d = encoder.floats()
    fmt = format_of(encoder)
    assert fmt is not None
    n, m, p = fmt
    hat = np.zeros((n * m, m * p, n * p))
    for l in range(len(x)):
        hat += np.multiply.outer(np.multiply.outer(x[l], w[l]), d[:, l])
    strength = sum(float(x[l] @ x[l]) * float(w[l] @ w[l]) * float(d[:, l] @ d[:, l]) for l in range(len(x)))
    for i in range(n):
        for k in range(m):
            for j in range(p):
                hat[i * m + k, k * p + j, i * p + j] -= 1.0
    return float((hat * hat).sum()) / prod(fmt), strength / prod(fmt)


def monte_carlo(encoder: Encoder, batches: int = 96, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Measured E‖Ĉ−C‖²/E‖C‖² over Gaussian tiles, and its standard error over the batches."""
    fmt = format_of(encoder)
    assert fmt is not None
    n, m, p = fmt
    x, w, d = encoder.floats()
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(batches):
        a, b = rng.standard_normal((samples, n, m)), rng.standard_normal((samples, m, p))
        gap = ((a.reshape(samples, -1) @ x.T) * (b.reshape(samples, -1) @ w.T)) @ d.T - (a @ b).reshape(samples, -1)
        found.append(float((gap**2).sum()) / (samples * prod(fmt)))  # E‖C‖² = nmp is known
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(batches))


def _points(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name, encoder in encoders_of(options.encoders):
        fmt = format_of(encoder)
        assert fmt is not None
        eps2, kappa2 = dense_scores(encoder)
        if eps2 < 1e-20:  # a solution to rounding that resisted exactness, no approximation
            continue
        measured, error = monte_carlo(encoder)
        cost = price(encoder, fmt)
        yield {
            "file": name, "format": "x".join(map(str, fmt)), "rank": encoder.rank, "epsilon2": eps2, "kappa2": kappa2,
            "monte_carlo": measured, "standard_errors_off": (measured - eps2) / error,
            **{f"total_{k}": eps2 + u * kappa2 for k, u in FORMATS.items()}, "dropping": 1 - encoder.rank / prod(fmt),
            "bound": float(cost.bound), "time": cost.time, "traffic": cost.traffic_x, "distinct_x": cost.distinct_x,
            "distinct_d": cost.distinct_d, "adds_x": cost.adds_x, "adds_d": cost.adds_d, "entries": cost.entries,
            "group": str(encoder.origin.get("group", "")),
        }  # fmt: skip


def _causal(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from .causal import causal_ends

    for fmt, exact in (((2, 2, 2), 7), ((2, 2, 3), 11), ((3, 2, 2), 11), ((2, 3, 2), 11), ((3, 3, 3), 23)):
        small = options.device == "cpu"
        ranks = range(4, exact) if fmt != (3, 3, 3) else () if small else (12, 14, 16, 18, 20, 21, 22)
        for rank in ranks if fmt == (2, 2, 2) or not small else ranks[2:]:
            restarts = 12 if small else 256
            row: dict[str, Any] = {
                "format": "x".join(map(str, fmt)),
                "rank": rank,
                "dropping": 1 - rank / prod(fmt),
                "time_sharing": 1 - rank / exact,
            }
            for name, constrained in (("causal", True), ("free", False)):
                best = causal_ends(fmt, rank, restarts, 250 if small else 400, 0, constrained, device=options.device)[0]
                row |= {f"{name}_epsilon2": best.epsilon2, f"{name}_kappa2": best.kappa2, f"{name}_leak": best.leak}
            yield row


def _tradeoff(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from .tradeoff import coordinates, path

    best: dict[tuple[Format, int], list[End]] = {}
    for name, encoder in encoders_of(options.encoders):
        fmt = format_of(encoder)
        assert fmt is not None
        factors = encoder.floats()
        eps2, kappa2 = Objective(fmt).scores(factors)
        origin = {"file": name, "space": str(encoder.origin.get("space", "none"))}
        end = End(encoder.rank, eps2 + FORMATS["bf16"] * kappa2, eps2, kappa2, factors, origin)
        best.setdefault((fmt, encoder.rank), []).append(end)
    for (fmt, rank), ends in sorted(best.items()):
        ends.sort(key=lambda e: e.total)
        for group in dict.fromkeys([*(e.origin["space"] for e in ends), "none"]):
            held = coordinates(fmt, ends, group)
            if held is None or (held[0].size > WIDEST_CPU and options.device == "cpu"):
                continue
            for weight, end in path(fmt, ends, group=group, device=options.device):
                yield {
                    "format": "x".join(map(str, fmt)),
                    "rank": rank,
                    "space": group,
                    "weight": weight,
                    "epsilon2": end.eps2,
                    "kappa2": end.kappa2,
                }
            break


def _evidence(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from .evidence import LEARNT, trials

    fmt = (4, 4, 4) if options.device != "cpu" else (3, 3, 3)
    for trial in trials(fmt, LEARNT[fmt], options.repeats, options.seconds, options.device):
        yield {**asdict(trial), "device": options.device}


def composites(points: Iterable[tuple[Format, int, float, float]], tile: int) -> list[dict[str, Any]]:
    """Kronecker products of points (format, rank, ε², κ²) that make ⟨tile,tile,tile⟩, undominated in cost and error.

    1−ε² multiplies for encoders at their best scale, κ² and the fractions of the multiplications always do.
    """
    made = {(1, 1, 1): [(1.0, 0.0, 1.0, "")]}
    factors = [
        (fmt, rank / prod(fmt), eps2, kappa2, f"⟨{fmt[0]},{fmt[1]},{fmt[2]};{rank}⟩")
        for fmt, rank, eps2, kappa2 in points
        if fmt[0] == fmt[1] == fmt[2]
    ]
    size = 1
    while size < tile:
        size *= 2
        options = []
        for fmt, flops, eps2, kappa2, name in factors:
            if size % fmt[0] == 0 and (size // fmt[0],) * 3 in made:
                for f, e, k, label in made[(size // fmt[0],) * 3]:
                    options.append((f * flops, 1 - (1 - e) * (1 - eps2), k * kappa2, f"{label} ⊗ {name}".strip(" ⊗")))
        options.sort(key=lambda o: (o[0], o[1] + FORMATS["bf16"] * o[2]))
        front: list[tuple[float, float, float, str]] = []
        for option in options:
            total = option[1] + FORMATS["bf16"] * option[2]
            if not front or total < front[-1][1] + FORMATS["bf16"] * front[-1][2] - 1e-9:
                front.append(option)
        made[(size,) * 3] = front
    return [
        {"tile": tile, "flops": f, "epsilon2": e, "kappa2": k, "total_bf16": e + FORMATS["bf16"] * k, "made of": name}
        for f, e, k, name in made[(tile,) * 3]
    ]


def _composites(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    points = []
    for _, encoder in encoders_of(options.encoders, approximate=False):
        fmt = format_of(encoder)
        if fmt and fmt[0] == fmt[1] == fmt[2] in (2, 4):
            points.append((fmt, encoder.rank, *dense_scores(encoder)))
    for tile in (8, 16):
        yield from composites(points, tile)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _figures(options: argparse.Namespace) -> None:
    """Draw what the tables in the folder hold (needs matplotlib, extra [notebooks])."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from .evidence import interval
    from .report import best_points, plot

    known = best_rank((4, 4, 4))
    found = best_points(encoders_of(options.encoders, (4, 4, 4), approximate=False), (4, 4, 4), known)
    if found:
        plot(found, options.out / "frontier_4x4x4.svg", known)
    rows = _read(options.out / "tradeoff.csv")
    if rows:
        figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for rank, space in sorted({(int(r["rank"]), r["space"]) for r in rows if r["format"] == "4x4x4"}):
            mine = [r for r in rows if (int(r["rank"]), r["space"], r["format"]) == (rank, space, "4x4x4")]
            curve = sorted((float(r["kappa2"]), float(r["epsilon2"])) for r in mine)
            axes.plot([k for k, _ in curve], [e for _, e in curve], ".-", label=f"{rank} {space}")
        axes.set(xscale="log", yscale="log", xlabel="κ²", ylabel="ε²", title="⟨4,4,4⟩ by rank and space")
        axes.legend(fontsize=6, ncols=2)
        figure.savefig(options.out / "tradeoff.svg")
        plt.close(figure)
    rows = _read(options.out / "evidence.csv")
    if rows:
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        cases = sorted({(r["format"], int(r["rank"]), r.get("device", "")) for r in rows})
        for side, shift in (("groups", -0.12), ("none", 0.12)):
            for i, case in enumerate(cases):
                values = [
                    float(r["total"])
                    for r in rows
                    if (r["format"], int(r["rank"]), r.get("device", ""), r["side"]) == (*case, side)
                ]
                mean, low, high = interval(values)
                axes.errorbar(
                    i + shift,
                    mean,
                    [[mean - low], [high - mean]],
                    fmt="o" if side == "groups" else "s",
                    color="C0" if side == "groups" else "C1",
                    capsize=3,
                    label=side if i == 0 else None,
                )
        axes.set_xticks(range(len(cases)), [f"{f};{r}\n{d}" for f, r, d in cases], fontsize=7)
        axes.set(yscale="log", ylabel="total error in bf16, mean and 95 %", title="the same search at equal time")
        axes.legend()
        figure.savefig(options.out / "evidence.svg")
        plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Write the tables into the folder named by --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--encoders", type=Path, default=Path("results/encoders"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each side of a trial of the evidence")
    options = parser.parse_args(arguments)
    makers = {
        "points": _points,
        "causal": _causal,
        "tradeoff": _tradeoff,
        "evidence": _evidence,
        "composites": _composites,
    }
    try:
        if not options.encoders.is_dir():
            raise StlError("--encoders", str(options.encoders), "a folder of encoder files")
        options.out.mkdir(parents=True, exist_ok=True)
        for part in options.parts:
            if part == "figures":
                _figures(options)
                continue
            rows = list(makers[part](options))
            if not rows:
                print(f"{part}: nothing to write")
                continue
            with (options.out / f"{part}.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
            print(f"{part}: {len(rows)} rows")
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
