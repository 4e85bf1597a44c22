"""How our figures look, on screen and in grey: no colour says anything that a marker, a line or a fill does not say."""

from __future__ import annotations

from typing import Any

__all__ = ["OURS", "SERIES", "STYLE"]

#: For ``matplotlib.rc_context``.
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.grid": True, "grid.color": "0.92", "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 8,
    "svg.hashsalt": "stl-algebra", "figure.constrained_layout.use": True, "lines.markersize": 5,
}  # fmt: skip
#: What is ours: dark and filled; what others do comes from SERIES, lighter or hollow.
OURS: dict[str, Any] = {"color": "#08306b", "marker": "o"}
#: Colours of falling darkness, each with a marker and a line of its own.
SERIES: tuple[dict[str, Any], ...] = (
    {"color": "#a63603", "marker": "s", "linestyle": "--"},
    {"color": "#31a354", "marker": "^", "linestyle": "-."},
    {"color": "#6baed6", "marker": "D", "linestyle": ":"},
    {"color": "#756bb1", "marker": "v", "linestyle": (0, (5, 1))},
    {"color": "#fd8d3c", "marker": "P", "linestyle": (0, (3, 1, 1, 1))},
    {"color": "#969696", "marker": "X", "linestyle": "-"},
)
