"""Polish that keeps the transform, so that encoding remains an FFT or a Walsh–Hadamard transform.

    E_X[l, a] = χ_l(α_a) · x_a,      E_W[l, b] = ψ_l(β_b) · w_b,      D free.

The entries are scaled (x, w), moved to their group elements, transformed; only the reading of the products is a general
matrix. T̂ is linear in x, in w and in D, and the entries of x do not interact, so each of the three has a closed form
when the others are fixed: their alternation is one small least-squares problem for D and nothing else.

`truncated` leaves out whole irreducible representations, those whose products are missed least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stl_algebra import Encoder, StlError
from stl_algebra.targets import Target

__all__ = ["Kept", "decoder", "kept_polish", "truncated"]

Floats = NDArray[np.float64]
#: Weight of ‖D‖²·‖E_X‖²·‖E_W‖² in the fit of D: keeps κ² finite where products are nearly dependent.
RIDGE = 1e-6


@dataclass(frozen=True)
class Kept:
    """An encoder whose transform was kept.

    Attributes
    ----------
    e_x, e_w, d : float arrays (r, a), (r, b), (c, r)
    x, w : float arrays (a,) and (b,)
        The scalings of the entries of A and B; ``e_x / x`` is the transform as it was.
    epsilon2 : float
    """

    e_x: Floats
    e_w: Floats
    d: Floats
    x: Floats
    w: Floats
    epsilon2: float

    def encoder(self, goal: Target, **origin: object) -> Encoder:
        """As an encoder over R64."""
        return Encoder.build(goal, self.e_x, self.e_w, self.d, "R64", origin)


def decoder(goal: Target, e_x: Floats, e_w: Floats, ridge: float = 0.0) -> Floats:
    """D (c, r) minimising ‖T̂ − T‖² + ridge·‖D·diag(term sizes)‖², from Hadamard products of Grams."""
    gram = (e_x @ e_x.T) * (e_w @ e_w.T)
    right = np.zeros((goal.shape[2], len(e_x)))
    np.add.at(right, goal.index[:, 2], goal.value[:, None] * e_x[:, goal.index[:, 0]].T * e_w[:, goal.index[:, 1]].T)
    gram = gram + ridge * np.diag(gram.diagonal())
    solved: Floats = np.asarray(np.linalg.lstsq(gram, right.T, rcond=1e-10)[0].T, dtype=np.float64)
    return solved


def kept_polish(
    goal: Target, left: Floats, right: Floats, seed: int = 0, restarts: int = 8, iterations: int = 60
) -> Kept:
    """Scalings and decoder by alternating least squares; the first start has all scalings one.

    Parameters
    ----------
    goal : Target
    left, right : float arrays (r, a) and (r, b)
        The transform at the places of the entries.
    seed, restarts, iterations : int

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> e_x, e_w, _ = strassen().floats()
    >>> round(kept_polish(strassen().target, e_x, e_w).epsilon2, 9)
    0.0
    """
    if left.shape != (len(left), goal.shape[0]) or right.shape != (len(left), goal.shape[1]):
        raise StlError("left, right", (left.shape, right.shape), f"(r, {goal.shape[0]}) and (r, {goal.shape[1]})")
    rng = np.random.default_rng(seed)
    tensor: Floats = goal.dense()
    best: Kept | None = None
    for start in range(restarts):
        x, w = np.ones(goal.shape[0]), np.ones(goal.shape[1])
        if start:
            x, w = (np.exp(0.4 * rng.standard_normal(len(v))) * rng.choice([-1.0, 1.0], len(v)) for v in (x, w))
        found = _alternate(goal, tensor, left, right, x, w, iterations)
        if best is None or found.epsilon2 < best.epsilon2:
            best = found
    assert best is not None
    return best


def _alternate(
    goal: Target, tensor: Floats, left: Floats, right: Floats, x: Floats, w: Floats, iterations: int
) -> Kept:  # fmt: skip
    last = np.inf
    for _ in range(iterations):
        d = decoder(goal, left * x, right * w, RIDGE)
        x = _scalings(tensor, left, right * w, d)
        w = _scalings(tensor.transpose(1, 0, 2), right, left * x, d)
        d = decoder(goal, left * x, right * w, RIDGE)
        error = float(((np.einsum("la,lb,cl->abc", left * x, right * w, d, optimize=True) - tensor) ** 2).sum())
        if error > last * (1 - 1e-5):
            break
        last = error
    size_x, size_w = np.sqrt((x**2).mean()), np.sqrt((w**2).mean())
    x, w, d = x / size_x, w / size_w, d * size_x * size_w
    return Kept(left * x, right * w, d, x, w, min(last, error) / goal.norm2)


def _scalings(tensor: Floats, mine: Floats, other: Floats, d: Floats) -> Floats:
    """x_a minimising Σ_bc (x_a·K_a[b,c] − T[a,b,c])², K_a = Σ_l mine[l,a]·other[l,b]·d[c,l]."""
    k = np.einsum("la,lb,cl->abc", mine, other, d, optimize=True)
    size = (k**2).sum(axis=(1, 2))
    found: Floats = np.where(size > 1e-300, (k * tensor).sum(axis=(1, 2)) / np.maximum(size, 1e-300), 1.0)
    return np.where(np.abs(found) > 1e-6, found, 1e-6)


def truncated(goal: Target, left: Floats, right: Floats, blocks: Sequence[Sequence[int]], rank: int) -> list[int]:
    """Channels of the irreducible representations that are kept so that at most ``rank`` are left.

    Parameters
    ----------
    blocks : sequence of channel numbers, one for each representation
    rank : int

    Returns
    -------
    list of int
        Representations are dropped one by one, the one whose loss a channel is least; ``[]`` if all are too large.
    """
    kept = [list(b) for b in blocks]
    while kept and sum(map(len, kept)) > rank:
        full = _retained(goal, left, right, [l for b in kept for l in b])
        rests = [[l for j, b in enumerate(kept) if j != i for l in b] for i in range(len(kept))]
        losses = [(full - _retained(goal, left, right, rest)) / len(b) for rest, b in zip(rests, kept, strict=True)]
        kept.pop(int(np.argmin(losses)))
    return [l for b in kept for l in b]


def _retained(goal: Target, left: Floats, right: Floats, channels: list[int]) -> float:
    """‖T̂‖² = ⟨T, T̂⟩ with the best decoder for these channels."""
    if not channels:
        return 0.0
    d = decoder(goal, left[channels], right[channels])
    a, b, c = goal.index.T
    return float((left[np.ix_(channels, a)] * right[np.ix_(channels, b)] * d.T[:, c] * goal.value).sum())
