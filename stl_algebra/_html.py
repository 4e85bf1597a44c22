"""Tables, matrices and reports in a notebook: HTML without scripts, from the standard library alone."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .identities import Report

__all__ = ["factor_svg", "report_html", "table_html"]

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


def report_html(report: Report) -> str:
    """The verdict in green or red."""
    colour = "#1a7f37" if report.holds else "#b2182b"
    return f"<span style='color:{colour}'>{html.escape(str(report))}</span>"
