"""An atlas of a catalogue: one static HTML page that works offline.

Example: ``python -m search.atlas --out atlas.html``

Formats × ranks × rings beside the best known rank of that ring, ε² and κ² against rank as a plot to hover over
(plotly, inlined), and for every encoder its factors as pictures, formulas, scores, certificate, the command that
repeats it and the file itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import typer

from stl_algebra import Encoder, StlError, load, verify
from stl_algebra._pictures import encoder_html
from stl_algebra.catalogue import folder as shipped
from stl_algebra.known import best_known, lower_bound
from stl_algebra.layouts import WRITERS
from stl_algebra.scores import epsilon2, kappa2, predicted_error2

from . import cli
from .cli import Json, Out, announced, console, friendly, print_json

__all__ = ["Card", "Line", "atlas", "cards", "lines"]

#: Nonzero entries beyond which formulas are longer than anybody reads, and programs take long to be made short.
SHORT = 1000
PROGRAMS = (".py", ".c")
#: Bytes of a file beyond which other layouts are left to `search.catalog export`.
LARGEST_LINK = 16_000
TEMPLATE = Path(__file__).parent / "data" / "atlas.html"


@dataclass(frozen=True)
class Card:
    """What the page says of one encoder."""

    name: str
    target: str
    label: str
    rank: int
    ring: str
    exact: bool
    certificate: str
    epsilon2: float
    kappa2: float
    bf16: float
    family: str
    group: str
    command: str
    picture: str
    formulas: str
    downloads: tuple[tuple[str, str], ...]

    @property
    def anchor(self) -> str:
        """The fragment of its page part."""
        return "e-" + self.name


@dataclass(frozen=True)
class Line:
    """One row of the table: a format over a ring, our best rank and the best known one."""

    format: str
    ring: str
    ours: int
    known: str
    source: str
    lower: str
    anchor: str


def cards(files: Sequence[Path]) -> Iterator[Card]:
    """The cards of encoder files; each is proven again."""
    for path in files:
        encoder = load(path)
        numeric = encoder.ring.embeds
        origin = encoder.origin
        data = base64.b64encode(path.read_bytes()).decode()
        yield Card(
            path.stem, encoder.target.name, encoder.label, encoder.rank, encoder.ring.name,
            encoder.ring.exact and encoder.is_exact, _certificate(encoder),
            epsilon2(encoder) if numeric else float("nan"), kappa2(encoder) if numeric else float("nan"),
            predicted_error2(encoder) if numeric else float("nan"), str(origin.get("family", "")),
            str(origin.get("symmetry", origin.get("group", ""))), str(origin.get("command", "")),
            encoder_html(encoder, page=True), _formulas(encoder),
            ((path.name, f"data:application/octet-stream;base64,{data}"), *_layouts(encoder, path.stem)),
        )  # fmt: skip


def _certificate(encoder: Encoder) -> str:
    report = verify(encoder)
    if report.holds or not encoder.ring.exact:
        return str(report)
    return f"approximate over {report.ring}: {report.failing} of {report.total} equations do not hold"


def _layouts(encoder: Encoder, stem: str) -> Iterator[tuple[str, str]]:
    """Download links of the layouts that can hold the encoder."""
    long = _nonzeros(encoder) > SHORT
    for suffix, writer in WRITERS.items():
        if long and suffix in PROGRAMS:
            continue
        try:
            written = writer(encoder)
        except StlError:  # a layout that cannot hold this ring or target
            continue
        data = written if isinstance(written, bytes) else written.encode()
        if len(data) <= LARGEST_LINK:
            yield stem + suffix, f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def _nonzeros(encoder: Encoder) -> int:
    return sum(int((f.num != 0).sum()) for f in encoder.factors)


def _formulas(encoder: Encoder) -> str:
    if not encoder.ring.exact or encoder.ring.characteristic or _nonzeros(encoder) > SHORT:
        return ""
    from stl_algebra.symbolic import formulas

    return formulas(encoder)


def lines(of: Sequence[Card]) -> list[Line]:
    """Best rank of every matrix format and exact ring among the cards, beside the best known of that ring."""
    best: dict[tuple[str, str], Card] = {}
    for card in of:
        if card.exact and card.target.startswith("matmul:"):
            key = card.target, card.ring
            if key not in best or card.rank < best[key].rank:
                best[key] = card
    out = []
    for (target, ring), card in sorted(best.items()):
        n, m, p = (int(v) for v in target[7:].split("x"))
        known = best_known((n, m, p), ring)
        border = ring.startswith("Q[eps]")
        out.append(Line(
            f"{n}×{m}×{p}", ring, card.rank, str(known.rank) if known else "–", known.source if known else "",
            "" if border else str(lower_bound((n, m, p), ring)), card.anchor,
        ))  # fmt: skip
    return out


def _figure(of: Sequence[Card], fmt: tuple[int, int, int]) -> str:
    """Total bf16 error against rank with the lines of no merit, as a plotly figure (a div)."""
    import plotly.graph_objects as go

    volume, name = prod(fmt), "matmul:" + "x".join(map(str, fmt))
    mine = sorted((c for c in of if c.target == name and c.bf16 == c.bf16), key=lambda c: c.rank)
    exact = best_known(fmt)
    ranks = list(range(1, volume + 1))
    figure = go.Figure()
    figure.add_scatter(
        x=ranks, y=[1 - r / volume or None for r in ranks], mode="lines", name="dropping products",
        line={"dash": "dot", "color": "#888"},
    )  # fmt: skip
    if exact is not None:
        figure.add_scatter(
            x=ranks[: exact.rank], y=[1 - r / exact.rank or None for r in ranks[: exact.rank]], mode="lines",
            name=f"skipping K-tiles of rank {exact.rank}", line={"dash": "dash", "color": "#888"},
        )  # fmt: skip
    figure.add_scatter(
        x=[c.rank for c in mine], y=[c.bf16 for c in mine], mode="markers", name="catalogue",
        text=[f"{c.label} {c.ring}<br>{c.family} {c.group}<br>ε² {c.epsilon2:.4g}, κ² {c.kappa2:.4g}" for c in mine],
        hovertemplate="%{text}<br>total bf16 error %{y:.4g}<extra></extra>", marker={"size": 9, "color": "#2166ac"},
    )  # fmt: skip
    figure.update_layout(
        title=f"⟨{','.join(map(str, fmt))}⟩", xaxis_title="rank", yaxis_title="relative squared error in bf16",
        yaxis_type="log", yaxis_exponentformat="power", margin={"l": 60, "r": 10, "t": 40, "b": 90}, height=420,
        template="simple_white", legend={"orientation": "h", "y": -0.25},
    )  # fmt: skip
    html: str = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
    return html


def atlas(files: Sequence[Path]) -> str:
    """The page.

    Parameters
    ----------
    files : encoder files

    Raises
    ------
    StlError
        Without plotly and jinja2 (extra [atlas]).
    EncoderFileError
        For a file that does not load.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise StlError("atlas", "this installation", "plotly and jinja2", "pip install 'stl-algebra[atlas]'") from None
    shown = list(cards(files))
    formats = sorted(
        {tuple(int(v) for v in c.target[7:].split("x")) for c in shown if c.target.startswith("matmul:")},
        key=lambda f: (prod(f), f),
    )
    plotted = [f for f in formats if sum(c.target == "matmul:" + "x".join(map(str, f)) for c in shown) >= 3]
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    values: dict[str, Any] = {
        "lines": lines(shown), "cards": shown, "figures": [_figure(shown, f) for f in plotted],  # type: ignore[arg-type]
        "plotly": get_plotlyjs(),
        "formats": sorted({c.target.removeprefix("matmul:") for c in shown}), "rings": sorted({c.ring for c in shown}),
        "groups": sorted({c.group for c in shown if c.group}),
    }  # fmt: skip
    return template.render(**values)


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m search.atlas --out atlas.html")
def main(
    out: Out = Path("atlas.html"),
    catalogue: cli.Catalogue = None,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page of a catalogue: tables, plots, every encoder with its proof and file."""
    with friendly():
        source = catalogue or shipped()
        if not source.is_dir():
            raise StlError("catalogue", str(source), "a folder of encoder files")
        files = sorted(source.rglob("*.safetensors"))
        if not files:
            raise StlError("catalogue", str(source), "a folder with .safetensors encoder files")
        with announced(f"proving {len(files)} encoders again and drawing them", json):
            out.write_text(atlas(files), encoding="utf-8")
        if json:
            print_json({"encoders": len(files), "bytes": out.stat().st_size, "file": str(out)})
            return
        console.print(f"{len(files)} encoders, {out.stat().st_size / 1e6:.1f} MB: {out}", markup=False)


if __name__ == "__main__":
    app()
