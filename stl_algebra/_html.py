"""Tables, matrices and reports in a notebook: HTML without scripts, from the standard library alone."""

from __future__ import annotations

import html
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .identities import Report

__all__ = ["factor_png", "factor_svg", "report_html", "table_html"]

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


def factor_png(values: Any, cell: int = 9) -> bytes:
    """The same picture as a PNG file: for large matrices, and for notebooks, which drop inline SVG they do not trust.

    Parameters
    ----------
    values : (rows, columns) real array
    cell : int
        Side of a square in pixels.
    """
    matrix = np.asarray(values, dtype=float)
    strength = np.where(matrix != 0, 0.25 + 0.75 * np.abs(matrix) / (float(np.abs(matrix).max()) or 1.0), 0.0)
    colours = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in (NEGATIVE, POSITIVE)])
    flat = 255 + (colours[(matrix > 0).astype(int)] - 255) * strength[..., None]
    pixels = flat.repeat(cell, axis=0).repeat(cell, axis=1)
    place = [np.arange(n * cell) % cell for n in matrix.shape]
    hole = [(p >= cell // 3) & (p < cell - 1 - cell // 3) for p in place]
    hollow = np.outer(*hole) & (matrix < 0).repeat(cell, axis=0).repeat(cell, axis=1)
    pixels[hollow | np.add.outer(place[0] == cell - 1, place[1] == cell - 1)] = 255
    framed = np.full((pixels.shape[0] + 2, pixels.shape[1] + 2, 3), 136, dtype=np.uint8)
    framed[1:-1, 1:-1] = pixels.round()
    rows = np.concatenate([np.zeros((len(framed), 1), np.uint8), framed.reshape(len(framed), -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", framed.shape[1], framed.shape[0], 8, 2, 0, 0, 0)  # 8 bits, RGB
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def report_html(report: Report) -> str:
    """The verdict in green or red."""
    colour = "#1a7f37" if report.holds else "#b2182b"
    return f"<span style='color:{colour}'>{html.escape(str(report))}</span>"
