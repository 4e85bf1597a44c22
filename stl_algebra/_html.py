"""How encoders, reports and tables look in a notebook: HTML without scripts, from the standard library alone."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .encoder import Encoder
    from .identities import Report

__all__ = ["encoder_html", "factor_svg", "report_html", "table_html"]

#: Beyond so many nonzero entries a picture of a factor is no help and a notebook too heavy.
MAX_CELLS = 6000
#: Formulas of larger encoders are longer than anybody reads.
MAX_FORMULAS = 64
POSITIVE, NEGATIVE = "#b2182b", "#2166ac"


def table_html(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain left-aligned table; every cell is escaped."""
    style = " style='text-align:left'"
    head = "".join(f"<th{style}>{html.escape(str(v))}</th>" for v in header)
    body = "".join("<tr>" + "".join(f"<td{style}>{html.escape(str(v))}</td>" for v in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def factor_svg(values: Any, title: str, cell: int = 9) -> str:
    """A matrix as squares: red and full positive, blue and hollow negative (so in grey, too), darker larger, white 0.

    Parameters
    ----------
    values : (rows, columns) real array
    title : str
    cell : int
        Side of a square in pixels.
    """
    matrix = np.asarray(values, dtype=float)
    rows, columns = matrix.shape
    top = float(np.abs(matrix).max()) or 1.0
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{columns * cell + 2}' height='{rows * cell + 2}' role='img'>"
        f"<title>{html.escape(title)}</title>"
        f"<rect x='.5' y='.5' width='{columns * cell + 1}' height='{rows * cell + 1}' fill='white' stroke='#888'/>"
    ]
    for i, j in np.argwhere(matrix):
        value = matrix[i, j]
        colour, strength = (POSITIVE if value > 0 else NEGATIVE), 0.25 + 0.75 * abs(value) / top
        parts.append(
            f"<rect x='{j * cell + 1}' y='{i * cell + 1}' width='{cell - 1}' height='{cell - 1}' fill='{colour}' "
            f"fill-opacity='{strength:.2f}'><title>[{i},{j}] {value:.6g}</title></rect>"
        )
        if value < 0:
            hole = cell // 3
            parts.append(
                f"<rect x='{j * cell + 1 + hole}' y='{i * cell + 1 + hole}' width='{cell - 1 - 2 * hole}' "
                f"height='{cell - 1 - 2 * hole}' fill='white'/>"
            )
    return "".join(parts) + "</svg>"


def _picture(encoder: Encoder, factor: Any) -> Any:
    if encoder.ring.embeds:
        value = encoder.ring.values(factor.num, factor.den)
        return np.abs(value) if np.iscomplexobj(value) else value
    first = factor.num if factor.num.ndim == 2 else factor.num[..., 0]
    return first.astype(float) / factor.den


def encoder_html(encoder: Encoder, formulas: bool = True) -> str:
    """Facts and scores, then E_X, E_W and Dᵀ as pictures with a row a product (moduli of complex entries)."""
    facts = html.escape(repr(encoder))
    origin = encoder.origin
    words = [*_scores(encoder)]
    words += [f"{k} {origin[k]}" for k in ("family", "symmetry", "group", "seed") if origin.get(k) not in (None, "")]
    tail = f"<div style='color:#666'>{html.escape(', '.join(map(str, words)))}</div>" if words else ""
    if sum(int(np.count_nonzero(f.num)) for f in encoder.factors) > MAX_CELLS:
        return f"<div><b>{facts}</b>{tail}</div>"
    shown = [("E_X", encoder.e_x, False), ("E_W", encoder.e_w, False), ("Dᵀ", encoder.d, True)]
    pictures = []
    for name, factor, turned in shown:
        values = _picture(encoder, factor)
        image = factor_svg(values.T if turned else values, name)
        pictures.append(f"<div style='margin-right:16px'><div>{name}</div>{image}</div>")
    row = f"<div style='display:flex;flex-wrap:wrap;margin-top:4px'>{''.join(pictures)}</div>"
    return f"<div><b>{facts}</b>{tail}{row}{_formulas(encoder) if formulas else ''}</div>"


def _scores(encoder: Encoder) -> list[str]:
    """What it costs and how wrong it is, in words."""
    from .scores import flop_ratio, predicted_error2

    if not encoder.ring.embeds:
        return []
    saved = [f"{flop_ratio(encoder):.3g} times fewer multiplications"] if encoder.target.format else []
    return [*saved, f"relative squared error in bf16 {predicted_error2(encoder):.3g}"]


def _formulas(encoder: Encoder) -> str:
    if not encoder.ring.exact or encoder.ring.characteristic or encoder.rank > MAX_FORMULAS:
        return ""
    from .symbolic import formulas

    text = html.escape(formulas(encoder))
    return f"<details><summary>formulas</summary><pre style='overflow-x:auto'>{text}</pre></details>"


def report_html(report: Report) -> str:
    """The verdict in green or red."""
    colour = "#1a7f37" if report.holds else "#b2182b"
    return f"<span style='color:{colour}'>{html.escape(str(report))}</span>"
