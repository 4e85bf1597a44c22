"""Index maps into a group: where the entries of A and B go, and how much of the product survives the collisions.

a_ik ↦ g^α(i,k) and b_kj ↦ g^β(k,j) send every standard product of ⟨n,m,p⟩ to an element of a group G; entry (i,j) of C
is read from the coefficients of the product in the group algebra. Let N_g be the pairs (a, b) that fall on g, wanted or
not, and n_{c,g} those of them wanted in entry c. The best linear reading is Σ_g (n_{c,g}/N_g)·(coefficient of g), and

    retained energy  nmp·(1 − ε²) = Σ_{c,g} n²_{c,g} / N_g.

All of it is retained exactly if no unwanted pair falls where a wanted one does: for α = s⁻¹t, β = t⁻¹u this is the
triple product property of Cohn and Umans (2003).

*The barrier.* Σ_g n_{c,g} = m and Σ_g N_g = nm²p. If all N_g are equal (the fibres are equally full), the retained
energy is at most np·m²·|G|/(nm²p) = |G|; an abelian group has |G| products over C, so before it is polished such an
encoder keeps no more than dropping all but |G| standard products does. What escapes are unequal fibres.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra import StlError

from .._jit import njit

__all__ = ["METHODS", "Collisions", "collisions", "index_maps", "triple_maps"]

Ints = NDArray[np.int64]
METHODS = ("both", "anneal", "ascent")
#: Temperatures at the beginning and the end of an annealing run, in units of one standard product.
HOT, COLD = 0.3, 0.05


@dataclass(frozen=True)
class Collisions:
    """What falls where.

    Attributes
    ----------
    total : int array (|G|,)
        N_g, the pairs that fall on g.
    hits : int array (np, |G|)
        n_{c,g}, those of them that are wanted in entry c.
    volume : int
        nmp.
    """

    total: Ints
    hits: Ints
    volume: int

    @property
    def retained(self) -> float:
        """nmp·(1 − ε²) with the best reading."""
        return float((self.hits**2 / np.maximum(self.total, 1)).sum())

    @property
    def is_exact(self) -> bool:
        """Whether every wanted pair meets only wanted pairs, and those of one entry only."""
        return bool((self.hits.sum(axis=0)[self.hits.any(axis=0)] == self.total[self.hits.any(axis=0)]).all()) and bool(
            ((self.hits > 0).sum(axis=0) <= 1).all()
        )

    @property
    def are_fibres_equal(self) -> bool:
        """Whether equally many pairs fall on every element."""
        return bool(self.total.min() == self.total.max())

    @property
    def reading(self) -> NDArray[Any]:
        """The best reading n/N as Fractions, shape (np, |G|)."""
        out = np.full(self.hits.shape, Fraction(0), dtype=object)
        for c, g in np.argwhere(self.hits):
            out[c, g] = Fraction(int(self.hits[c, g]), int(self.total[g]))
        return out

    @property
    def barrier(self) -> str:
        """The barrier of the module's docstring for these maps, in words."""
        order, line = len(self.total), min(len(self.total), self.volume)
        if self.are_fibres_equal:
            return f"equally full fibres keep at most {order} of {self.volume}; these keep {self.retained:.4g}"
        beyond = "beyond" if self.retained > line + 1e-9 else "within"
        return (
            f"equally full fibres would keep at most {line} of {self.volume}; these (fibres of {self.total.min()} to "
            f"{self.total.max()} pairs) keep {self.retained:.4g}, {beyond} that barrier"
        )


def collisions(alpha: Ints, beta: Ints, table: Ints) -> Collisions:
    """Count what index maps α (n, m) and β (m, p) into a group with this multiplication table send where.

    Examples
    --------
    >>> c5 = np.add.outer(np.arange(5), np.arange(5)) % 5
    >>> collisions(np.array([[0, 1], [2, 3]]), np.array([[0, 4], [4, 3]]), c5).retained
    4.666666666666666
    """
    order = len(table)
    total = np.bincount(table[alpha.ravel()[:, None], beta.ravel()[None, :]].ravel(), minlength=order)
    wanted = table[alpha[:, :, None], beta[None, :, :]]  # (n, m, p)
    n, m, p = wanted.shape
    cell = (np.arange(n)[:, None, None] * p + np.arange(p)[None, None, :]) * order + wanted
    return Collisions(total, np.bincount(cell.ravel(), minlength=n * p * order).reshape(n * p, order), n * m * p)


def triple_maps(table: Ints, inverse: Ints, s: Any, t: Any, u: Any) -> tuple[Ints, Ints]:
    """α = s⁻¹t of shape (|S|, |T|) and β = t⁻¹u of shape (|T|, |U|) for subsets of a group."""
    s, t, u = (np.asarray(v, dtype=np.int64) for v in (s, t, u))
    return table[inverse[s][:, None], t[None, :]], table[inverse[t][:, None], u[None, :]]


def index_maps(
    fmt: tuple[int, int, int], table: Ints, seed: int, method: str = "both", restarts: int = 40, moves: int = 18_000
) -> tuple[Ints, Ints]:
    """Index maps that retain much energy.

    Parameters
    ----------
    fmt : (n, m, p)
    table : int array (|G|, |G|)
    seed : int
    method : "both", "anneal" or "ascent"
        Simulated annealing, entries moved to random elements; coordinate ascent, each entry in turn to wherever it is
        better; or half of the restarts by each: neither is the better one for all groups.
    restarts : int
        From random maps; the best end counts.
    moves : int
        Trial moves of each restart (an ascent ends earlier where no entry can be improved, and begins anew).

    Returns
    -------
    alpha, beta : int arrays (n, m) and (m, p) of group elements

    Raises
    ------
    StlError
        For a method there is not or counts that are not positive.

    Examples
    --------
    >>> c6 = np.add.outer(np.arange(6), np.arange(6)) % 6
    >>> collisions(*index_maps((2, 2, 2), c6, 0), c6).retained
    6.0
    """
    if method not in METHODS:
        raise StlError("method", method, ", ".join(METHODS))
    for name, value in (("restarts", restarts), ("moves", moves)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**9:
            raise StlError(name, value, "a whole number from 1 to 10^9")
    n, m, p = fmt
    rng = np.random.default_rng([seed, len(table), *fmt])
    best, found = -1.0, (np.zeros((n, m), np.int64), np.zeros((m, p), np.int64))
    for turn in range(restarts):
        alpha, beta = np.zeros((n, m), np.int64), np.zeros((m, p), np.int64)
        annealed = turn % 2 == 0 if method == "both" else method == "anneal"
        value = _search(rng, np.ascontiguousarray(table, np.int64), alpha, beta, moves, annealed)
        if value > best + 1e-9:
            best, found = value, (alpha, beta)
    return found


@njit(cache=True)
def _place(
    table: Ints, alpha: Ints, beta: Ints, total: Ints, hits: Ints, square: Ints, at: int, new: int, sign: int
) -> None:  # pragma: no cover
    """Count the pairs of entry ``at`` (those of α first) in (sign 1) or out (−1) as if it went to ``new``."""
    n, m = alpha.shape
    p = beta.shape[1]
    if at < n * m:
        i, k = at // m, at % m
        for q in range(m):
            for j in range(p):
                g = table[new, beta[q, j]]
                total[g] += sign
                if q == k:
                    c = i * p + j
                    square[g] += 2 * sign * hits[c, g] + 1
                    hits[c, g] += sign
    else:
        k, j = (at - n * m) // p, (at - n * m) % p
        for i in range(n):
            for q in range(m):
                g = table[alpha[i, q], new]
                total[g] += sign
                if q == k:
                    c = i * p + j
                    square[g] += 2 * sign * hits[c, g] + 1
                    hits[c, g] += sign


@njit(cache=True)
def _energy(total: Ints, square: Ints) -> float:  # pragma: no cover
    value = 0.0
    for g in range(len(total)):
        if square[g] > 0:
            value += square[g] / total[g]
    return value


@njit(cache=True)
def _filled(
    rng: np.random.Generator, table: Ints, alpha: Ints, beta: Ints, total: Ints, hits: Ints, square: Ints
) -> float:  # pragma: no cover
    """Random maps; the counts belonging to them."""
    n, m = alpha.shape
    p = beta.shape[1]
    total[:] = 0
    hits[:] = 0
    square[:] = 0
    for k in range(m):
        for j in range(p):
            beta[k, j] = rng.integers(0, len(table))
    for i in range(n):
        for k in range(m):
            alpha[i, k] = rng.integers(0, len(table))
            _place(table, alpha, beta, total, hits, square, i * m + k, alpha[i, k], 1)
    return _energy(total, square)


@njit(cache=True)
def _search(
    rng: np.random.Generator, table: Ints, alpha: Ints, beta: Ints, moves: int, anneal: bool
) -> float:  # pragma: no cover
    """Improve maps in place for a number of trial moves; the best ones seen are left there."""
    n, m = alpha.shape
    p = beta.shape[1]
    order, places = len(table), n * m + m * p
    total, square = np.zeros(order, np.int64), np.zeros(order, np.int64)
    hits = np.zeros((n * p, order), np.int64)
    value = _filled(rng, table, alpha, beta, total, hits, square)
    best, best_alpha, best_beta = value, alpha.copy(), beta.copy()
    cooling = (COLD / HOT) ** (1.0 / max(1, moves))
    temperature, quiet, at, new = HOT, 0, -1, order - 1
    for _ in range(moves):
        if anneal:
            at, new = int(rng.integers(0, places)), int(rng.integers(0, order))
            temperature *= cooling
        else:  # every entry in turn to every element
            new += 1
            if new == order:
                at, new = (at + 1) % places, 0
        old = alpha[at // m, at % m] if at < n * m else beta[(at - n * m) // p, (at - n * m) % p]
        quiet += 1
        if new != old:
            _place(table, alpha, beta, total, hits, square, at, old, -1)
            _place(table, alpha, beta, total, hits, square, at, new, 1)
            trial = _energy(total, square)
            good = trial > value + 1e-12
            if good or (anneal and rng.random() < np.exp((trial - value) / temperature)):
                value = trial
                if at < n * m:
                    alpha[at // m, at % m] = new
                else:
                    beta[(at - n * m) // p, (at - n * m) % p] = new
                if good:
                    quiet = 0
                if value > best + 1e-9:
                    best, best_alpha[:], best_beta[:] = value, alpha, beta
            else:
                _place(table, alpha, beta, total, hits, square, at, new, -1)
                _place(table, alpha, beta, total, hits, square, at, old, 1)
        if not anneal and quiet > places * order:  # no entry can be improved: begin anew
            value, quiet = _filled(rng, table, alpha, beta, total, hits, square), 0
    alpha[:] = best_alpha
    beta[:] = best_beta
    return best
