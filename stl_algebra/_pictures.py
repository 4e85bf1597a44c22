"""How an encoder looks in a notebook and in the atlas: facts, scores, its factors as pictures, formulas."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import numpy as np

from ._html import factor_png, factor_svg

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = ["encoder_html"]

#: Beyond so many nonzero entries a picture of a factor is no help and a notebook too heavy.
MAX_CELLS = 40_000
#: Up to so many a picture can be hovered over, entry by entry.
MAX_HOVER = 200
#: Nonzero entries beyond which formulas are longer than anybody reads.
MAX_FORMULAS = 1000


def _picture(encoder: Encoder, factor: Any) -> Any:
    if encoder.ring.embeds:
        value = encoder.ring.values(factor.num, factor.den)
        return np.abs(value) if np.iscomplexobj(value) else value
    first = factor.num if factor.num.ndim == 2 else factor.num[..., 0]
    return first.astype(float) / factor.den


def encoder_html(encoder: Encoder, page: bool = False) -> str:
    """Facts and scores, then E_X, E_W and Dᵀ as pictures with a row a product (moduli of complex entries).

    In a ``page`` of our own small pictures are inline, so that entries can be hovered over; elsewhere they are images,
    since Jupyter strips inline SVG from notebooks that it does not trust.
    """
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
        values = values.T if turned else values
        if page and np.count_nonzero(values) <= MAX_HOVER:
            image = factor_svg(values, name)
        else:
            data = base64.b64encode(factor_png(values, 9 if np.count_nonzero(values) <= MAX_HOVER else 6)).decode()
            image = f"<img alt='{name}' src='data:image/png;base64,{data}'>"
        pictures.append(f"<div style='margin-right:16px'><div>{name}</div>{image}</div>")
    row = f"<div style='display:flex;flex-wrap:wrap;margin-top:4px'>{''.join(pictures)}</div>"
    return f"<div><b>{facts}</b>{tail}{row}{'' if page else _formulas(encoder)}</div>"


def _scores(encoder: Encoder) -> list[str]:
    """What it costs and how wrong it is, in words."""
    from .scores import flop_ratio, predicted_error2

    if not encoder.ring.embeds:
        return []
    saved = [f"{flop_ratio(encoder):.3g} times fewer multiplications"] if encoder.target.format else []
    return [*saved, f"relative squared error in bf16 {predicted_error2(encoder):.3g}"]


def _formulas(encoder: Encoder) -> str:
    nonzeros = sum(int(np.count_nonzero(f.num)) for f in encoder.factors)
    if not encoder.ring.exact or encoder.ring.characteristic or nonzeros > MAX_FORMULAS:
        return ""
    from .symbolic import formulas

    text = html.escape(formulas(encoder))
    return f"<details><summary>formulas</summary><pre style='overflow-x:auto'>{text}</pre></details>"
