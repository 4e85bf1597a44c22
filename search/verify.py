"""Re-prove any encoder file, ours or published, and report what it costs and where it holds.

Example: ``python -m search.verify results/encoders/*.safetensors scheme.json``
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from math import log
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from stl_algebra import Encoder, EncoderFileError, StlError, verify
from stl_algebra.known import best_known, compare
from stl_algebra.layouts import Reading, read
from stl_algebra.scores import growth, kappa2
from stl_algebra.straightline import additions
from stl_algebra.symmetry import stabiliser
from stl_algebra.validity import rings_where_valid
from stl_algebra.xors import xors

from .cli import BAD_REQUEST, REFUTED, Json, Ring, console, friendly, print_json

__all__ = ["costs", "files_under"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: Entries of the factors above which additions are not shared unless asked for with --details.
QUICK = 6000
#: Rank above which the symmetry is left out unless asked for; below, it takes some hundredths of a second.
SMALL_RANK = 50


def files_under(paths: list[Path]) -> list[Path]:
    """The files named, and all files below the folders named (of a catalogue: its encoder files).

    Of an SMS triple only ``NAME_L.sms`` is listed if all three are there: the three are one scheme.
    """
    out: list[Path] = []
    for path in paths:
        if path.is_dir():
            ours = (path / "index.csv").exists()
            out += sorted(p for p in path.rglob("*.safetensors" if ours else "*") if p.is_file() and p.name[:1] != ".")
        else:
            out.append(path)
    named = set(out)
    return [
        p for p in out if not (p.name.endswith(("_R.sms", "_P.sms")) and p.with_name(p.name[:-6] + "_L.sms") in named)
    ]


# ------------------------------------------------------------------ what a scheme costs
def costs(encoder: Encoder, details: bool = False) -> dict[str, Any]:
    """Additions before and after sharing, depth, κ², γ and its exponent, and the rank beside the best known.

    Over GF(2) additions are XORs, and sharing may cancel. The symmetry is the order of the group of isotropies that
    permute the terms. Figures that a ring does not have are None; so are, unless ``details``, shared additions and
    symmetry of large schemes, which take seconds.
    """
    base = encoder.ring
    out: dict[str, Any] = dict.fromkeys(
        (
            "additions",
            "additions_shared",
            "depth",
            "kappa2",
            "gamma",
            "gamma_exponent",
            "known",
            "best_known",
            "symmetry",
        )
    )
    if base.exact and base.degree == 1:
        naive = [_naive(f.num) for f in encoder.factors]
        out["additions"], out["depth"] = sum(naive), _depth(encoder)
        size = sum(f.num.size for f in encoder.factors)
        if details or size <= QUICK:
            out["additions_shared"] = sum(
                xors(f.num)[1] if base.characteristic == 2 else additions(f.num, restarts=1)[1] for f in encoder.factors
            )
    if base.embeds:
        with suppress(OverflowError), np.errstate(over="ignore", invalid="ignore"):  # what no float holds
            out["kappa2"] = kappa2(encoder)
            if encoder.target.format and len(set(encoder.format)) == 1 and encoder.format[0] > 1:
                out["gamma"] = growth(encoder)
                out["gamma_exponent"] = log(out["gamma"]) / log(encoder.format[0]) if out["gamma"] > 0 else None
    if base.exact and encoder.target.format and encoder.is_exact:
        out["known"] = compare(encoder)
        known = best_known(encoder.format, base)
        out["best_known"] = known.rank if known else None
        if not base.is_border and (details or encoder.rank <= SMALL_RANK):
            with suppress(StlError):  # fields without a small prime
                out["symmetry"] = stabiliser(encoder).order
    return out


def _naive(num: Any) -> int:
    return int(sum(max(0, int(n) - 1) for n in (num != 0).sum(axis=1)))


def _depth(encoder: Encoder) -> int:
    """Additions one after the other when every sum is a balanced tree: deepest path through encode and decode."""
    deepest = [max((int(n) for n in (f.num != 0).sum(axis=1)), default=0) for f in encoder.factors]
    levels = [max(0, n - 1).bit_length() for n in deepest]
    return max(levels[:2]) + levels[2]


# ------------------------------------------------------------------ the verb
def _row(reading: Reading, details: bool) -> dict[str, Any]:
    r = reading.report
    return {
        "file": reading.path, "name": reading.name, "layout": reading.layout, "scheme": reading.encoder.label,
        "target": reading.encoder.target.name, "ring": r.ring, "modulus": reading.encoder.ring.title,
        "convention": "Cᵀ" if reading.transposed else "C", "verdict": reading.verdict, "proven": r.holds,
        "target_guessed": reading.guessed,
        "approximate": reading.verdict in ("approximate", "numerical"), "failing": r.failing, "equations": r.total,
        "residual": r.residual, "first": [str(e) for e in r.first], "method": r.method, "note": reading.note,
        "seconds": r.seconds, "rings": reading.rings, **costs(reading.encoder, details),
    }  # fmt: skip


@app.command(epilog="Example: python -m search.verify results/encoders/*.safetensors scheme.json")
def main(
    files: Annotated[list[Path], typer.Argument(help="files or folders, in any published layout or ours")],
    ring: Ring = None,
    target: Annotated[str | None, typer.Option(help="prove this bilinear map, e.g. polymul:2x2")] = None,
    details: Annotated[
        bool, typer.Option("--details", help="share additions and find the symmetry of large schemes too")
    ] = False,
    allow_large: Annotated[bool, typer.Option("--allow-large", help="lift the bounds on time and memory")] = False,
    json: Json = False,
) -> None:
    """Read, detect layout and convention, prove the Brent equations, and report costs, rings and the best known rank.

    Every file is named: proven, refuted, approximate or numerical (with its residual), refused with the reason, or no
    scheme at all (other files of a folder). Where a file does not say what it computes, the target is guessed from the
    shapes, and what does not compute the guess is not called refuted: name it with --target. Exit code 0 if every
    scheme is proven (numerical and declared-approximate encoders count as read), 1 if one is not, 2 if a file cannot be
    used.
    """
    with friendly():
        listed = files_under(files)
        if not listed:
            raise StlError("files", [str(f) for f in files], "at least one file of a known layout")
        named = {Path(f) for f in files}
        start = time.perf_counter()
        rows: list[dict[str, Any]] = []
        errors: list[str] = []
        others: list[str] = []
        for path in listed:
            _one(path, path in named, ring, target, details, allow_large, rows, errors, others)
        seconds = time.perf_counter() - start
        proving = sum(r["seconds"] for r in rows)
        refuted = [r for r in rows if r["verdict"] == "refuted"]
        unproven = [r for r in rows if r["verdict"] == "unproven"]
        if json:
            print_json({"schemes": rows, "errors": errors, "no_schemes": others, "seconds": seconds,
                        "proof_seconds": proving})  # fmt: skip
        else:
            _print(rows)
            for name in others:
                console.print(f"no scheme: {name}", markup=False)
            console.print(
                f"{sum(r['proven'] for r in rows)} of {len(rows)} schemes proven, {len(refuted)} refuted, "
                + (f"{len(unproven)} without the guessed target, " if unproven else "") +
                f"{sum(r['approximate'] for r in rows)} approximate, {len(errors)} files refused; "
                f"{proving:.2f} s of proofs in {seconds:.2f} s", markup=False,
            )  # fmt: skip
        for text in errors:  # one line each, on standard error
            print("refused: " + " ".join(text.split()), file=sys.stderr)
        raise SystemExit(BAD_REQUEST if errors or not rows else REFUTED if refuted or unproven else 0)


def _one(
    path: Path, named: bool, ring: str | None, target: str | None, details: bool, allow_large: bool,
    rows: list[dict[str, Any]], errors: list[str], others: list[str],
) -> None:  # fmt: skip
    """Read one file into rows, errors, or (found in a folder, and nothing like a scheme) the others."""
    try:
        readings = read(path, allow_large, target)
        for reading in readings:
            if ring is not None:
                _over(reading, ring)
            _list_rings(reading)
            rows.append(_row(reading, details))
        errors += [str(e) for e in readings.refused]
    except (EncoderFileError, StlError) as error:
        text = str(error) if isinstance(error, EncoderFileError) else f"{path}: {error}"
        if not named and path.suffix.lower() in _NOTES:
            others.append(str(path))
        else:
            errors.append(text)


#: Files that stand beside schemes without being any.
_NOTES = {
    "",
    *[".md", ".rst", ".csv", ".log", ".html", ".pdf", ".png", ".svg", ".sqlite", ".toml", ".yaml", ".yml", ".sh"],
}


def _over(reading: Reading, name: str) -> None:
    reading.encoder = reading.encoder.to_ring(name)
    reading.report = verify(reading.encoder)


def _list_rings(reading: Reading) -> None:
    try:
        reading.rings = rings_where_valid(reading.encoder)
    except StlError:  # coefficients too large for the gcd of the residual: the verdict stands without the list
        reading.rings = []


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("file", "scheme", "ring", "C or Cᵀ", "verdict", "additions", "κ²", "γ", "symmetry", "seconds")
    for r in rows:
        table.add_row(
            escape(Path(r["file"]).name), r["scheme"], escape(r["ring"]), r["convention"], _verdict(r), _counts(r),
            _figure(r["kappa2"]), _figure(r["gamma"])
            + (f" (n^{r['gamma_exponent']:.4f})" if r["gamma_exponent"] is not None else ""),
            _figure(r["symmetry"]), f"{r['seconds']:.3f}",
        )  # fmt: skip
    if rows:
        console.print(table)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _counts(r: dict[str, Any]) -> str:
    if r["additions"] is None:
        return ""
    what = " XORs" if r["ring"] == "GF(2)" else ""
    shared = "" if r["additions_shared"] is None else f", {r['additions_shared']} shared"
    return f"{r['additions']}{shared}{what}, depth {r['depth']}"


def _verdict(r: dict[str, Any]) -> str:
    colours = {
        "proven": "[green]proven[/]",
        "refuted": "[red]refuted[/]",
        "unproven": f"[yellow]does not compute {escape(r['target'])}[/] (target guessed; name it with --target)",
    }
    verdict = colours.get(r["verdict"], r["verdict"])
    if r["modulus"] != r["ring"]:
        verdict += escape(f" over {r['modulus']}")
    if r["verdict"] == "numerical":
        verdict += f", max residual {r['residual']:.3g}"
    if r["proven"] and r["target_guessed"]:
        verdict += escape(f" for {r['target']}, guessed from the shapes")
    if r["note"]:
        verdict += f" ({escape(r['note'])})"
    if r["proven"] and "Z" in r["rings"]:
        verdict += ", so in every ring"
    elif others := [v for v in r["rings"] if v != r["ring"]]:
        verdict += escape(f", also in {', '.join(others)}" if r["proven"] else f", holds in {', '.join(others)}")
    if r["known"]:
        verdict += escape(f"; {r['known']}")
    if r["verdict"] in ("refuted", "unproven"):
        verdict += escape(f" {r['failing']} of {r['equations']} equations fail: " + "; ".join(r["first"][:2]))
    return verdict


if __name__ == "__main__":
    app()
