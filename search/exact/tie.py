"""Recognising the orbits of the cyclic shift among the terms of a numerical algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .model import Tying, z3_tying

__all__ = ["tie_z3"]

Array = NDArray[Any]


def tie_z3(e_x: Array, e_w: Array, d: Array, t: int, tol: float = 1e-3) -> tuple[Tying, Array] | str:
    """Find which terms the cyclic shift of the trace form fixes and which it permutes in triples.

    Parameters
    ----------
    e_x, e_w : float arrays (r, t²)
    d : float array (t², r)
        C not transposed.
    t : int
        Side of the tiles.
    tol : float
        How far (sine of the angle) two vectors may be from parallel.

    Returns
    -------
    (tying, theta) or str
        The tying and its unknowns (without scales), or the reason why the terms are not permuted.
    """
    r = e_x.shape[0]
    swapped = d.T.reshape(r, t, t).swapaxes(1, 2).reshape(r, t * t)
    vecs = np.stack([e_x, e_w, swapped])
    size = np.linalg.norm(vecs, axis=2)
    if (size == 0).any():
        return f"term {int(np.argmin(size.min(axis=0)))} is zero"
    unit = vecs / size[:, :, None]
    amount = np.cbrt(size.prod(axis=0))
    # term m is the shift of term l when its vectors are (v_l, w_l, u_l) up to scale
    agree = np.ones((r, r))
    for k in range(3):
        agree = np.minimum(agree, np.abs(unit[(k + 1) % 3] @ unit[k].T))
    image = agree.argmax(axis=1)
    worst = int(agree.max(axis=1).argmin())
    if agree.max(axis=1).min() < 1 - tol:
        return f"term {worst} has no image under the cyclic shift (closest {agree[worst].max():.6f})"
    if sorted(image) != list(range(r)):
        return "the cyclic shift does not permute the terms"
    fixed = [l for l in range(r) if image[l] == l]
    seen, heads = set(fixed), []
    for l in range(r):
        if l not in seen:
            orbit = [l, int(image[l]), int(image[image[l]])]
            if len(set(orbit)) != 3 or int(image[orbit[2]]) != l:
                return "the cyclic shift does not permute the terms in triples"
            seen.update(orbit)
            heads.append(l)
    theta: list[Array] = []
    for l in fixed:
        a, b, c = unit[:, l]
        sign = np.sign(a @ b) * np.sign(a @ c)
        mean = a + np.sign(a @ b) * b + np.sign(a @ c) * c
        theta.append(sign * amount[l] * mean / np.linalg.norm(mean))
    theta += [amount[l] * unit[k, l] for k in range(3) for l in heads]
    return z3_tying(t, len(fixed), len(heads)), np.concatenate(theta)
