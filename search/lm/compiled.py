"""The compiled route of the Levenberg–Marquardt engine on the CPU: a parametrisation flattened to plain arrays.

:class:`Stepper` advances restarts with the kernels of :mod:`search.lm._kernel`, threads over restarts.  Any
linear parametrisation, real or complex, and all terms of a schedule are covered; orbit maps are lists of their
non-zero entries, so permutations and sign changes cost what they should.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .parametrisation import Parametrisation
from .schedules import Schedule

__all__ = ["Plan", "Rules", "Stepper", "Work", "make_plan", "slot_shares"]

Array = NDArray[Any]


class Plan(NamedTuple):
    """What a parametrisation and a target tell the kernels (reps are representatives, r terms in all).

    ``maps`` rows: slot, first term, terms between copies, copies, start in θ, width, entries low, high; an entry of a
    map is (row, column, value).  ``pulls`` rows: slot, first rep, copies, start, width, low, high, with a weight.
    ``images`` rows: slot, terms wanted, low, high (adjoint map of a row type).  ``rights`` rows: slot, first rep
    wanted, low, high (map of a column type's term).  ``cells`` rows, one block pair of the Gram: row start, width,
    first rep, copies; column start, width, first term, orbit size, copies; cross low, high; same low, high; whether
    the two blocks are one.  ``cross`` rows: image, term of the orbit, slot of the scalar, right.  ``same`` rows: slot,
    term of the orbit, entries low, high of the product of two maps.  ``ridges`` rows: slot, first rep, copies, start,
    width, with a weight.
    """

    parts: int  # real numbers per unknown
    rank: int
    length: int  # longest slot, padded to four
    pad: int  # representatives, padded to four
    last_pad: int  # slot 2, padded to four
    wide: int  # widest block
    dims: tuple[int, int, int]
    third_slot: bool  # whether a gradient is taken along slot 2
    target: Array
    metric: Array
    first: Array  # term of each rep
    orbit: Array  # terms in the orbit of each rep
    maps: Array
    row: Array
    column: Array
    value: Array
    pulls: Array
    pull_weight: Array
    images: Array
    rights: Array
    cells: Array
    cell_weight: Array
    cross: Array
    same: Array
    same_row: Array
    same_column: Array
    same_value: Array
    ridges: Array
    ridge_weight: Array


class Rules(NamedTuple):
    """The numbers of a schedule that a step needs."""

    iterations: float
    mu_start: float
    mu_end: float
    anneal: float
    kappa_weight: float
    clamp: float
    clamp_weight: float
    pull: float
    pull_from: float
    grid: float
    shrink: float
    grow: float
    damping_min: float
    damping_max: float


class Work(NamedTuple):
    """Scratch arrays of one thread, flat; the shapes they stand for are given."""

    x: Array  # (3, r, length) all terms, zero-padded
    turned: Array  # (3, length, pad) conjugate representatives
    pairs: Array  # (r, a·b) outer products of slots 0 and 1
    residual: Array  # (a·b, last_pad)
    third: Array  # (a·b, pad)
    slope: Array  # (3, length, pad)
    last: Array  # (reps, last_pad)
    inner: Array  # (3, r, pad)
    image: Array  # (images, r, 4 + wide + 4)
    right: Array  # (rights, reps, wide)
    strength: Array  # (3, pad)
    ridge: Array  # (size,)
    gradient: Array  # (size,)
    new: Array  # (size,)
    h: Array  # packed matrix with the right-hand side
    l: Array  # its factor
    diagonal: Array
    inverse: Array
    move: Array


def _padded(n: int, to: int = 4) -> int:
    return -(-n // to) * to


def slot_shares(par: Parametrisation, target: Array) -> list[list[list[tuple[int, int]]]]:
    """Slots whose derivatives stand for all that feed a block, per orbit type and block: (slot, multiplicity).

    The stabiliser of a term may permute its slots (as the cyclic shift does with a⊗a⊗a), and then the derivatives
    of an invariant tensor's residual along these slots agree.  Whether they do is tested on random numbers.
    """
    rng = np.random.default_rng(5)
    theta = rng.standard_normal((2, par.size)) + 1j * rng.standard_normal((2, par.size)) * (par.field == "complex")
    e_x, e_w, d = par.expand(theta)
    tensors = [np.einsum("la,lb,cl->abc", e_x[0], e_w[0], d[0], optimize=True), np.asarray(target)]
    terms = (e_x[1].conj(), e_w[1].conj(), d[1].T.conj())
    shares, at = [], 0
    for orbit, count in par.orbits:
        x, y, z = (t[at] for t in terms)
        at += count * orbit.size
        slopes = [
            [np.einsum("abc,b,c->a", t, y, z), np.einsum("abc,a,c->b", t, x, z), np.einsum("abc,a,b->c", t, x, y)]
            for t in tensors
        ]
        blocks = []
        for block in range(len(orbit.widths)):
            slots = [s for s in range(3) if orbit.maps[0][s][0] == block]
            pulled = np.array([[orbit.maps[0][s][1].conj().T @ g[s] for g in slopes] for s in slots])
            same = np.abs(pulled - pulled[:1]).max() <= 1e-9 * max(np.abs(pulled).max(), 1e-300)
            blocks.append([(slots[0], len(slots))] if same else [(s, 1) for s in slots])
        shares.append(blocks)
    return shares


class _Entries:
    """Non-zero entries of matrices, collected one after another."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.values: list[complex] = []

    def add(self, matrix: Array) -> tuple[int, int]:
        """Span of a matrix's entries."""
        low = len(self.rows)
        rows, columns = np.nonzero(np.abs(matrix) > 1e-14)
        self.rows += rows.tolist()
        self.columns += columns.tolist()
        self.values += matrix[rows, columns].tolist()
        return low, len(self.rows)

    def arrays(self, dtype: Any) -> tuple[Array, Array, Array]:
        """Rows, columns and values (at least one entry, which numba may look at)."""
        values = np.array(self.values or [0.0])
        values = values.astype(dtype) if dtype == np.complex128 else np.ascontiguousarray(values.real.astype(dtype))
        return np.array(self.rows or [0], dtype=np.int64), np.array(self.columns or [0], dtype=np.int64), values


def _table(rows: list[Any], width: int) -> Array:
    return np.array(rows, dtype=np.int64).reshape(len(rows), width)


def make_plan(par: Parametrisation, target: Array) -> Plan:
    """Flatten a parametrisation and a dense target."""
    dtype = np.complex128 if par.field == "complex" else np.float64
    a, b, c = par.dims
    starts, shares, entries, products = par.offsets(), slot_shares(par, target), _Entries(), _Entries()
    terms = np.cumsum([0] + [o.size * k for o, k in par.orbits])
    reps = np.cumsum([0] + [k for _, k in par.orbits])
    maps, pulls, weights, ridges, ridge_weights = [], [], [], [], []
    spans: dict[tuple[int, int, int], tuple[int, int]] = {}
    for i, (orbit, count) in enumerate(par.orbits):
        for j, term in enumerate(orbit.maps):
            for s, (block, matrix) in enumerate(term):
                spans[i, j, s] = entries.add(matrix)
                maps.append(
                    (s, terms[i] + j, orbit.size, count, starts[i][block], orbit.widths[block], *spans[i, j, s])
                )
        for block, width in enumerate(orbit.widths):
            for s, share in shares[i][block]:
                pulls.append((s, reps[i], count, starts[i][block], width, *spans[i, 0, s]))
                weights.append(float(orbit.size * share))
        for s, (block, matrix) in enumerate(orbit.maps[0]):
            width = orbit.widths[block]
            ridges.append((s, reps[i], count, starts[i][block], width))
            ridge_weights.append(orbit.size * float(np.linalg.norm(matrix) ** 2) / width)

    images: dict[tuple[int, int], int] = {}
    rights: dict[tuple[int, int, int], int] = {}
    image_rows, right_rows, cells, cell_weights = [], [], [], []
    cross: list[Any] = []
    same: list[Any] = []
    blocks = [(i, block) for i, (orbit, _) in enumerate(par.orbits) for block in range(len(orbit.widths))]
    for p, (i, block) in enumerate(blocks):
        orbit, count = par.orbits[i]
        for i2, block2 in blocks[: p + 1]:
            orbit2, count2 = par.orbits[i2]
            cross_low, same_low = len(cross), len(same)
            for s, share in shares[i][block]:
                assert share == shares[i][block][0][1]
                for s2, j in itertools.product(range(3), range(orbit2.size)):
                    if orbit2.maps[j][s2][0] != block2:
                        continue
                    if s == s2:
                        span = products.add(orbit.maps[0][s][1].conj().T @ orbit2.maps[j][s][1])
                        if span[1] > span[0]:
                            same.append((s, j, *span))
                        continue
                    if (i, s) not in images:
                        images[i, s] = len(images)
                        image_rows.append((s, terms[i + 1], *spans[i, 0, s]))
                    if (i2, j, s2) not in rights:
                        rights[i2, j, s2] = len(rights)
                        right_rows.append((s2, reps[i2], *spans[i2, j, s2]))
                    cross.append((images[i, s], j, 3 - s - s2, rights[i2, j, s2]))
            cells.append((
                starts[i][block], orbit.widths[block], reps[i], count,
                starts[i2][block2], orbit2.widths[block2], terms[i2], orbit2.size, count2,
                cross_low, len(cross), same_low, len(same), (i, block) == (i2, block2),
            ))  # fmt: skip
            cell_weights.append(float(orbit.size * shares[i][block][0][1]))
    width = _padded(c)
    padded = np.zeros((a * b, width), dtype)
    padded[:, :c] = np.asarray(target).reshape(a * b, c)
    return Plan(
        2 if par.field == "complex" else 1, par.rank, _padded(max(a, b, c)), _padded(int(reps[-1])), width,
        max(max(o.widths) for o, _ in par.orbits), par.dims, any(r[0] == 2 for r in pulls), padded.ravel(),
        par.metric(),
        np.concatenate([terms[i] + orbit.size * np.arange(k) for i, (orbit, k) in enumerate(par.orbits)]),
        np.concatenate([np.full(k, float(orbit.size)) for orbit, k in par.orbits]),
        _table(maps, 8), *entries.arrays(dtype), _table(pulls, 7), np.array(weights),
        _table(image_rows, 4), _table(right_rows, 4), _table(cells, 14), np.array(cell_weights),
        _table(cross, 4), _table(same, 4), *products.arrays(dtype), _table(ridges, 5), np.array(ridge_weights),
    )  # fmt: skip


def make_work(par: Parametrisation, plan: Plan) -> Work:
    """Scratch of one thread."""
    dtype = plan.value.dtype
    a, b, _ = par.dims
    reps, rank = len(plan.first), par.rank
    columns = _padded(plan.parts * par.size) // 4

    def room(*shape: int, kind: Any = dtype) -> Array:
        return np.zeros(int(np.prod(shape)), kind)

    def real(*shape: int) -> Array:
        return room(*shape, kind=np.float64)

    return Work(
        room(3, rank, plan.length), room(3, plan.length, plan.pad), room(max(rank, reps), a * b),
        room(a * b, plan.last_pad), room(a * b, plan.pad), room(3, plan.length, plan.pad), room(reps, plan.last_pad),
        room(3, rank, plan.pad), room(max(1, len(plan.images)), rank, plan.wide + 8),
        room(max(1, len(plan.rights)), reps, plan.wide), real(3, plan.pad), real(par.size), room(par.size),
        room(par.size), real(8, columns + 1, columns + 2), real(8, columns + 1, columns + 2),
        real(4 * columns) + 1.0, real(4 * columns), real(4 * columns),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64)


class Stepper:
    """Advances restarts of one parametrisation on one target.

    Parameters
    ----------
    par : Parametrisation
    target : (a, b, c) array
    schedule : Schedule
    iterations : int
        Annealing iterations of each restart.
    """

    def __init__(self, par: Parametrisation, target: Array, schedule: Schedule, iterations: int) -> None:
        self.par, self.plan = par, make_plan(par, target)
        self.rules = Rules(float(max(1, iterations)), *(float(getattr(schedule, name)) for name in Rules._fields[1:]))
        self.work: list[Work] = []

    def advance(self, theta: Array, damping: Array, fit: Array, count: Array, polish: Array, steps: int) -> None:
        """`steps` iterations of every restart, in place.

        Parameters
        ----------
        theta : (R, size) array
        damping, fit : (R,) float64 arrays
            λ and ‖T − T̂‖².
        count, polish : (R,) int64 arrays
            Iterations done, and polishing iterations (0 while annealing).
        """
        from ._kernel import advance

        threads = max(1, min(torch.get_num_threads(), len(theta)))
        while len(self.work) < threads:
            self.work.append(make_work(self.par, self.plan))
        state = theta, damping, fit, count, polish
        if threads == 1:
            advance(self.plan, self.rules, self.work[0], *state, 0, len(theta), steps)
            return
        rows = itertools.count()  # each thread takes the next restart when it is free

        def worker(work: Work) -> None:
            while (row := next(rows)) < len(theta):
                advance(self.plan, self.rules, work, *state, row, row + 1, steps)

        list(_pool().map(worker, self.work[:threads]))
