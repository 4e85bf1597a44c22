"""Does it pay to search under a group? Best total error by group, rank and tile, against no group, at equal time.

Run ``python -m search.benchmarks.families --seconds 20``: every cell (tile, rank, group, seed) gets the same wall time
on one core (or one share of a GPU) for whatever the road offers for it – all actions of the group on the tile and the
Fourier encoders of its algebra – and the same time is given to the search without a group, with the same optimiser.
Start-up of the worker is not counted, enumerating actions is. Writes ``results/families.csv`` (a row for each cell) and
``results/figures/families_by_group.svg``; a command that is repeated adds what is missing.
"""

from __future__ import annotations

import csv
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from stl_algebra import Encoder, StlError, save
from stl_algebra.known import best_rank
from stl_algebra.scores import epsilon2, kappa2, predicted_error2

from ..cli import console, friendly
from ..core.exactly import NUMERICALLY_EXACT
from ..core.unit import Request, Unit, family
from ..core.work import Outcome, work

app = typer.Typer(add_completion=False, rich_markup_mode=None)
GROUPS = ("C2", "C3", "C4", "C2xC2", "C6", "C3xC3", "S3", "D4", "Q8", "A4", "F20", "2^(1+4)+", "S4", "A5")
RANKS = {2: (4, 5, 6), 3: (8, 10, 12, 14, 16, 18, 20, 22), 4: (16, 20, 24, 28, 32, 36, 40, 42, 44, 46, 47, 49)}
#: What serves a group, and what serves none.
#: Of every schedule: a norm penalty that ends low enough for approximations.
ANNEALED = {"mu_end": 1e-4}
#: Restarts of every unit on a GPU, with a group and without.
RESTARTS_CUDA = 48
#: Share of a group's time in which its best encoder is polished without the group.
RELEASE = 0.3
SERVING = {"none": ("orbit",), "": ("action", "fourier")}


@dataclass(frozen=True)
class Cell:
    """One line of the table.

    Attributes
    ----------
    tile, rank, seed : int
    group : str
        ``none`` for the search without a group.
    seconds : float
        Wall time used.
    units : int
        Units run.
    total_bf16, epsilon2, kappa2 : float
        Of the best real encoder; nan if none was found.
    family : str
        Of that encoder, with the action or maps it is from.
    exact : bool
        Proven, or a solution to rounding.
    device : str
        ``cpu`` (one core), or ``cuda`` and the name of the card, which the workers share.
    """

    tile: int
    rank: int
    group: str
    seed: int
    seconds: float
    units: int
    total_bf16: float
    epsilon2: float
    kappa2: float
    family: str
    exact: bool
    device: str

    @property
    def key(self) -> tuple[Any, ...]:
        return self.tile, self.rank, self.group, self.seed, self.device.split(":")[0]


@dataclass
class _Best:
    """The best real encoder of a cell so far, and what it came from."""

    tile: int
    rank: int
    encoder: Encoder | None = None
    total: float = float("nan")
    said: str = ""

    def offer(self, outcome: Outcome, said: str) -> None:
        for e in [*outcome.encoders, *outcome.resisting]:
            if e.ring.embeds and not e.ring.is_complex and e.rank <= self.rank and e.target.format == (self.tile,) * 3:
                total = predicted_error2(e)
                if not total >= self.total:
                    self.encoder, self.total, self.said = e, total, said


def cell(tile: int, rank: int, group: str, seed: int, seconds: float, device: str) -> Cell:
    """Search one cell for its time; what a group found is let go of the group in the last part of it."""
    begun = time.monotonic()
    best, units, turn = _Best(tile, rank), 0, 0
    grouped = seconds * (1.0 if group == "none" else 1 - RELEASE)
    while time.monotonic() - begun < grouped:
        wave = _wave(tile, rank, group, seed, turn, device)
        if not wave:
            break
        for unit in wave:
            left = grouped - (time.monotonic() - begun)
            if left < 0.2:
                break
            best.offer(work(unit, device, left), _said(unit))
            units += 1
        turn += 1
    with tempfile.TemporaryDirectory() as folder:
        while group != "none" and best.encoder is not None and (left := seconds - (time.monotonic() - begun)) > 0.2:
            start = {"kind": "built", "from": {"file": str(save(best.encoder.to_ring("R64"), folder))}, "noise": 0.03}
            changes = {
                "start": start,
                "approximate": True,
                "restarts": 4 if device == "cpu" else RESTARTS_CUDA,
                "changes": {"mu_start": 0.03} | ANNEALED,
            }
            unit = Unit("orbit", "none", (tile,) * 3, rank, changes, units)
            best.offer(work(unit, device, max(0.2, left), exact=False), best.said.removesuffix(", freed") + ", freed")
            units += 1
    spent, e, device = round(time.monotonic() - begun, 2), best.encoder, _card(device)
    if e is None:
        nan = float("nan")
        return Cell(tile, rank, group, seed, spent, units, nan, nan, nan, "", False, device)
    exact = (e.ring.exact and e.is_exact) or epsilon2(e) <= NUMERICALLY_EXACT
    return Cell(tile, rank, group, seed, spent, units, best.total, epsilon2(e), kappa2(e), best.said, exact, device)


def _card(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    return f"cuda: {torch.cuda.get_device_name(device)}"


def _said(unit: Unit) -> str:
    return f"{unit.family} {unit.parameters.get('group') or unit.symmetry}"


def _wave(tile: int, rank: int, group: str, seed: int, turn: int, device: str) -> list[Unit]:
    """The families' units of one round, in turns."""
    request = Request(group, format=(tile, tile, tile), rank=rank, seed=1000 * seed)
    found = []
    for name in SERVING.get(group, SERVING[""]):
        try:
            found.append(family(name).round(request, turn))
        except StlError:  # a group the family has no place for
            continue
    units = [u for row in found[1:] for u in row] + [u for row in found[:1] for u in row]
    changes: dict[str, Any] = {"approximate": True, "changes": ANNEALED}
    if device != "cpu":
        changes["restarts"] = RESTARTS_CUDA
    return [u.with_(**changes) if u.family in ("action", "orbit") else u for u in units]


def read(path: Path) -> list[Cell]:
    """The rows of an earlier run."""
    if not path.exists():
        return []
    kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "bool": "True".__eq__}
    types = {f.name: kinds[str(f.type)] for f in fields(Cell)}
    with path.open(newline="", encoding="utf-8") as stream:
        return [Cell(**{k: types[k](v) for k, v in row.items()}) for row in csv.DictReader(stream)]


def write(cells: list[Cell], path: Path) -> None:
    """All rows, by tile, rank, group and seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(Cell)], lineterminator="\n")
        writer.writeheader()
        for c in sorted(cells, key=lambda c: c.key):
            row = asdict(c)
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def summary(cells: list[Cell]) -> list[dict[str, Any]]:
    """For every tile and rank: the best group, and no group, both as the mean of the seeds' totals."""
    sums: dict[tuple[int, int, str, str], list[float]] = defaultdict(list)
    for c in cells:
        if c.total_bf16 == c.total_bf16:
            sums[c.tile, c.rank, c.device, c.group].append(c.total_bf16)
    rows = []
    for tile, rank, device in sorted({key[:3] for key in sums}):
        mean = {key[3]: sum(v) / len(v) for key, v in sums.items() if key[:3] == (tile, rank, device)}
        groups = {g: v for g, v in mean.items() if g != "none"}
        if groups and "none" in mean:
            name = min(groups, key=lambda g: groups[g])
            known = best_rank((tile, tile, tile)) or tile**3
            rows.append({
                "tile": tile, "rank": rank, "group": name, "with group": groups[name], "none": mean["none"],
                "shared": max(0.0, 1 - rank / known), "dropping": 1 - rank / tile**3,
                "better": sum(v < mean["none"] for v in groups.values()), "groups": len(groups),
                "seeds": len(sums[tile, rank, device, "none"]), "device": device,
            })  # fmt: skip
    return rows


def draw(cells: list[Cell], path: Path) -> None:
    """One panel a tile: every group's best total error by rank, no group, and the two lines to be below."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    tiles = sorted({c.tile for c in cells})
    figure, axes = plt.subplots(
        1, len(tiles), figsize=(5.2 * len(tiles), 4.4), constrained_layout=True, squeeze=False
    )  # fmt: skip
    for axis, tile in zip(axes[0], tiles, strict=True):
        best: dict[str, dict[int, float]] = defaultdict(dict)
        for c in cells:
            if c.tile == tile and c.total_bf16 == c.total_bf16:
                best[c.group][c.rank] = min(c.total_bf16, best[c.group].get(c.rank, float("inf")))
        known = best_rank((tile, tile, tile)) or tile**3
        ranks = sorted({r for row in best.values() for r in row})
        axis.plot(ranks, [1 - r / tile**3 for r in ranks], ":", color="0.6", label="dropping products")
        shared = [max(1e-6, 1 - r / known) for r in ranks]
        axis.plot(ranks, shared, "--", color="0.6", label=f"time-sharing an exact {known}")
        for at, (name, row) in enumerate(sorted(best.items())):
            points = sorted(row.items())
            style = {"color": "black", "lw": 2} if name == "none" else {"color": plt.cm.tab20(at % 20), "lw": 0.9}
            axis.plot(*zip(*points, strict=True), ".-", label=name, **style)
        axis.set(yscale="log", xlabel="rank", ylabel="total error in bf16", title=f"⟨{tile},{tile},{tile}⟩")
    axes[0][-1].legend(fontsize=6, ncol=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _names(text: str, kind: type = str) -> list[Any]:
    return [kind(v) for v in text.split(",") if v]


@app.command(epilog="Example: python -m search.benchmarks.families --tiles 2,3 --seconds 10")
def main(
    tiles: Annotated[str, typer.Option(help="tile sizes")] = "2,3,4",
    groups: Annotated[str, typer.Option(help="names of groups; none is always searched too")] = ",".join(GROUPS),
    ranks: Annotated[str, typer.Option(help="ranks (default: those of each tile)")] = "",
    seconds: Annotated[float, typer.Option(help="of every cell, multiplied by the square of tile/4")] = 20.0,
    seeds: Annotated[str, typer.Option(help="seeds")] = "0",
    workers: Annotated[int, typer.Option(help="processes")] = os.cpu_count() or 1,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    budget: Annotated[float, typer.Option(help="seconds after which no new cell is begun")] = 1e9,
    out: Annotated[Path, typer.Option(help="results folder")] = Path("results"),
) -> None:
    """Best total error by group, rank and tile, with and without the group at equal time."""
    with friendly():
        table, begun = out / "families.csv", time.monotonic()
        cells = read(table)
        known = {c.key for c in cells}
        names = ["none", *(g for g in _names(groups) if g != "none")]
        wanted = [
            (tile, rank, name, seed, seconds * (tile / 4) ** 2, device)
            for seed, tile in product(_names(seeds, int), _names(tiles, int))
            for rank in (_names(ranks, int) or RANKS.get(tile, ()))
            for name in names
            if (tile, rank, name, seed, device.split(":")[0]) not in known and rank < tile**3
        ]
        wanted.sort(key=lambda w: (w[3], -w[1] % 4, w[1]))  # cut short, it has still seen some ranks of every tile
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_alone, initargs=(device,)
        ) as pool:
            flying = [pool.submit(_within, begun + budget, *w) for w in wanted]
            for future in as_completed(flying):
                if (done := future.result()) is not None:
                    cells.append(done)
                    write(cells, table)
        (out / "figures").mkdir(parents=True, exist_ok=True)
        draw(cells, out / "figures" / "families_by_group.svg")
        for row in summary(cells):
            console.print(
                f"⟨{row['tile']}³;{row['rank']}⟩  best {row['group']:10} {row['with group']:.4g}   none "
                f"{row['none']:.4g}   shared {row['shared']:.4g}   {row['better']} of {row['groups']} groups better, "
                f"{row['seeds']} seeds, {row['device']}", markup=False,
            )  # fmt: skip


def _alone(device: str) -> None:
    """One core a worker, and everything that is loaded or compiled once done before any clock runs."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    for group in ("none", "C2", "S3"):
        cell(2, 6, group, 0, 0.5, device)


def _within(deadline: float, *what: Any) -> Cell | None:
    """A cell, if it can still begin (the monotonic clock is one for all processes of a machine)."""
    return cell(*what) if time.monotonic() < deadline else None


if __name__ == "__main__":
    app()
