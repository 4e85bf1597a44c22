"""Improve an exact encoder without changing what it is: most accurate basis, fewest additions, sparse bases.

Example: ``python -m search.improve results/encoders/3x3x3_r23_*.safetensors --objective all``
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from stl_algebra import Encoder, StlError
from stl_algebra.layouts import read
from stl_algebra.scores import additions, kappa2
from stl_algebra.xors import xors

from .cli import Json, Seconds, Seed, announced, console, fail, friendly, print_json
from .core.catalogue import Catalogue
from .verify import files_under

__all__ = ["Improvement", "Objective", "improve"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Objective(StrEnum):
    """What to improve."""

    accuracy = "accuracy"
    additions = "additions"
    bases = "bases"
    all = "all"


@dataclass(frozen=True)
class Improvement:
    """One line of the trade-off: an encoder in some basis with its three costs.

    Attributes
    ----------
    basis : str
        "given", "accurate (1/q)", "sparse", or "alternative bases" (which is no encoder of its own: the
        costs are those of the bilinear part between three extra transformations).
    kappa2 : float
        κ²; for alternative bases that of the given encoder.
    optimum : float
        Infimum of κ² over the orbit.
    naive, shared : int
        Additions row by row and after sharing subexpressions, E_X, E_W and D together.
    nonzeros : int
        Of the three factors.
    denominator : int
        Product of the denominators of the factors.
    file : str
        Where the encoder was written, if it was.
    """

    label: str
    ring: str
    basis: str
    kappa2: float
    optimum: float
    naive: int
    shared: int
    nonzeros: int
    denominator: int
    file: str = ""


def _line(encoder: Encoder, basis: str, optimum: float) -> Improvement:
    if encoder.ring.characteristic:
        pairs = [xors(f.num) for f in encoder.factors]
        return Improvement(
            encoder.label,
            encoder.ring.name,
            basis,
            *(2 * (float("nan"),)),
            sum(p[0] for p in pairs),
            sum(p[1] for p in pairs),
            sum(int((f.num != 0).sum()) for f in encoder.factors),
            1,
        )
    count = additions(encoder)
    den = 1
    nonzeros = 0
    for f in encoder.factors:
        den *= f.den
        nonzeros += int((f.num != 0).sum())
    return Improvement(
        encoder.label,
        encoder.ring.name,
        basis,
        kappa2(encoder),
        optimum,
        sum(count.naive),
        sum(count.shared),
        nonzeros,
        den,
    )


def improve(
    encoder: Encoder,
    objective: Objective | str = Objective.all,
    seconds: float = 10.0,
    seed: int = 0,
    tolerance: float = 1e-3,
    largest: int = 64,
) -> list[tuple[Improvement, Encoder | None]]:
    """Return the trade-off between accuracy, additions and sparsity of the bases an encoder can be written in.

    Parameters
    ----------
    encoder : Encoder
        An exact matrix-multiplication encoder over Z, Z[1/2], Q or GF(2). Over GF(2) additions are XORs, counted with
        cancellation (`stl_algebra.xors`), and there is no accuracy to improve.
    objective : {"accuracy", "additions", "bases", "all"}
    seconds : float
        Time for the search for fewer additions.
    seed : int
    tolerance, largest : float, int
        κ² is approached to this fraction of its infimum, with bases of at most this denominator.

    Returns
    -------
    list of (Improvement, Encoder or None)
        The encoder given first. Every encoder is proven exact and names its parent in ``origin``.

    Raises
    ------
    StlError
        For encoders that are not exact or whose ring is not real.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> found = improve(strassen(), "accuracy")
    >>> f"{found[0][0].kappa2:.4f} {found[-1][0].kappa2:.4f}"
    '4.0000 2.7788'
    """
    if not encoder.ring.exact or not encoder.is_exact:
        raise StlError("encoder", repr(encoder), "an exact encoder", "Rationalise it first.")
    goal = Objective(objective)
    if encoder.ring.name == "GF(2)":
        if goal not in (Objective.additions, Objective.all):
            raise StlError("objective", goal.value, "additions or all over GF(2)")
        return _fewer_xors(encoder, seconds, seed)
    if encoder.ring.degree > 1 or encoder.ring.characteristic:
        raise StlError("ring", encoder.ring.name, "Z, Z[1/2], Q or GF(2)")
    from .bases.accuracy import accurate_encoders, most_accurate_bases, stacks  # scipy loads when it is used
    from .bases.additions import sparsest

    optimum, _ = most_accurate_bases(stacks(encoder))
    out: list[tuple[Improvement, Encoder | None]] = [(_line(encoder, "given", optimum), encoder)]
    if goal in (Objective.additions, Objective.all):
        for sparse in sparsest(encoder, seconds, seed)[-1:]:
            if sparse.encoder is not encoder and sparse.encoder.is_exact:
                out.append((_line(sparse.encoder, "sparse", optimum), sparse.encoder))
    if goal in (Objective.accuracy, Objective.all):
        for found in accurate_encoders(encoder, tolerance, largest):
            if found.encoder.is_exact:
                out.append((_line(found.encoder, f"accurate (1/{found.denominator})", optimum), found.encoder))
    if goal in (Objective.bases, Objective.all):
        out.append((_alternative(encoder, optimum, seed), None))
    return out


def _fewer_xors(encoder: Encoder, seconds: float, seed: int) -> list[tuple[Improvement, Encoder | None]]:
    """Return the encoder and a basis over GF(2) with fewer XORs, by annealing the non-zeros over elementary changes."""
    n, m, p = encoder.format
    shapes = ((n, m), (m, p), (n, p))
    mats = [
        (f.num.T if k == 2 else f.num).reshape(-1, *shape).astype(bool)
        for k, (f, shape) in enumerate(zip(encoder.factors, shapes, strict=True))
    ]
    rng = np.random.default_rng(seed)
    best, cost = [v.copy() for v in mats], sum(int(v.sum()) for v in mats)
    now, end, start = cost, time.perf_counter() + seconds, time.perf_counter()
    while max(n, m, p) > 1 and (at := time.perf_counter()) < end:
        space = int(rng.integers(3))
        size = (n, m, p)[space]
        if size < 2:
            continue
        i, j = rng.permutation(size)[:2]
        before = [v.copy() for v in mats]
        _elementary(mats, space, int(i), int(j))
        new = sum(int(v.sum()) for v in mats)
        heat = 3.0 * (1 - (at - start) / seconds) + 1e-9
        if new > now and rng.random() >= np.exp((now - new) / heat):
            mats = before
            continue
        now = new
        if new < cost:
            best, cost = [v.copy() for v in mats], new
    flat = [v.reshape(len(v), -1).astype(np.int64) for v in best]
    found = Encoder.build(
        encoder.target,
        flat[0],
        flat[1],
        flat[2].T,
        ring=encoder.ring,
        origin={"family": "sparse basis", "parents": [encoder.digest[:8]]},
    )
    nan = float("nan")
    out: list[tuple[Improvement, Encoder | None]] = [(_line(encoder, "given", nan), encoder)]
    if found.is_exact and found != encoder and _line(found, "sparse", nan).shared <= out[0][0].shared:
        out.append((_line(found, "sparse", nan), found))
    return out


def _elementary(mats: list[Any], space: int, i: int, j: int) -> None:
    """Apply S = I + E_ij modulo 2 in one space: (A, B, C) ↦ (SA, B, SC), (AS⁻¹, SB, C) or (A, BS⁻¹, CS⁻¹)."""
    x, w, d = mats
    if space == 0:
        x[:, j, :] ^= x[:, i, :]
        d[:, i, :] ^= d[:, j, :]
    elif space == 1:
        x[:, :, i] ^= x[:, :, j]
        w[:, j, :] ^= w[:, i, :]
    else:
        w[:, :, i] ^= w[:, :, j]
        d[:, :, j] ^= d[:, :, i]


def _alternative(encoder: Encoder, optimum: float, seed: int) -> Improvement:
    """Return the costs of the bilinear part in sparse alternative bases."""
    from .bases.additions import alternative_basis

    parts = [
        alternative_basis(encoder.e_x.num, seed),
        alternative_basis(encoder.e_w.num, seed),
        alternative_basis(encoder.d.num.T, seed, outputs=True),
    ]
    nonzeros = sum(p.nonzeros for p in parts)
    rows = 2 * encoder.rank + encoder.target.shape[2]
    return Improvement(
        encoder.label,
        encoder.ring.name,
        "alternative bases",
        kappa2(encoder),
        optimum,
        nonzeros - rows,
        sum(p.additions for p in parts),
        nonzeros,
        1,
    )


def _load(path: Path) -> list[Encoder]:
    """Return the exact encoders of a file in any known layout."""
    found = [r.encoder for r in read(path) if r.report.holds]
    if not found:
        raise StlError(
            str(path), "no identity that holds", "an exact encoder", f"Try python -m search.verify {path.name}."
        )
    return found


@app.command(epilog="Example: python -m search.improve scheme.json --objective accuracy --out results")
def main(
    files: Annotated[list[Path], typer.Argument(help="exact encoders, ours or published")],
    objective: Annotated[Objective, typer.Option(help="what to improve")] = Objective.all,
    seconds: Seconds = 10.0,
    seed: Seed = 0,
    tolerance: Annotated[float, typer.Option(min=1e-9, max=1.0, help="how close to the least κ²")] = 1e-3,
    denominator: Annotated[int, typer.Option(min=1, max=128, help="largest denominator of the bases")] = 64,
    out: Annotated[Path | None, typer.Option(help="what is written: a results folder for what improved")] = None,
    json: Json = False,
) -> None:
    """Minimise κ² over the orbit, additions over unimodular bases, and find sparse alternative bases.

    Results are exact and proven; the best of each kind is written to the results folder given with --out,
    naming its parent. Exit code 0, or 2 if a file cannot be used.
    """
    with friendly():
        catalogue = Catalogue(out) if out else None
        rows: list[Improvement] = []
        start = time.perf_counter()
        listed = files_under(files)
        if not listed:
            fail("no file of a known layout among those named")
        if not seconds > 0:
            raise StlError("seconds", seconds, "a positive number")
        encoders = [(path, encoder) for path in listed for encoder in _load(path)]
        for done, (path, encoder) in enumerate(encoders):
            share = max(0.1, (seconds + start - time.perf_counter()) / (len(encoders) - done))  # of what is left
            if not json:
                console.print(f"{path.name}: {encoder!r}", markup=False)
            with announced(f"{encoder.label}: {share:.0f} s for fewer additions", json):
                found = improve(encoder, objective, share, seed, tolerance, denominator)
            rows += _written(found, catalogue)
        if catalogue:
            catalogue.write_index()
        if json:
            print_json({"seconds": time.perf_counter() - start, "rows": [asdict(r) for r in rows]})
            return
        console.print(_table(rows))


def _written(found: list[tuple[Improvement, Encoder | None]], catalogue: Catalogue | None) -> list[Improvement]:
    """Write the sparsest and the most accurate new encoder and return the lines with their file names."""
    last: dict[str, int] = {}
    for i, (line, encoder) in enumerate(found):
        if encoder is not None and line.basis != "given":
            last[line.basis.split()[0]] = i
    out = []
    for i, (line, encoder) in enumerate(found):
        file = ""
        if catalogue is not None and encoder is not None and i in last.values():
            file = catalogue.add(encoder)[0].file
        out.append(Improvement(**(asdict(line) | {"file": file})))
    return out


def _figure(value: float) -> str:
    return "" if value != value else f"{value:.5g}"


def _table(rows: list[Improvement]) -> Table:
    table = Table(
        "encoder",
        "ring",
        "basis",
        "κ²",
        "least κ²",
        "additions",
        "shared",
        "non-zeros",
        "denominator",
        "file",
        title="accuracy against additions",
    )
    for r in rows:
        values: list[Any] = [
            r.label,
            r.ring,
            r.basis,
            _figure(r.kappa2),
            _figure(r.optimum),
            r.naive,
            r.shared,
            r.nonzeros,
            r.denominator if r.denominator < 10**9 else f"{r.denominator:.2e}",
            r.file,
        ]
        table.add_row(*map(str, values))
    return table


if __name__ == "__main__":
    sys.exit(app(prog_name="python -m search.improve"))
