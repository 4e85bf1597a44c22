"""Triton kernels of the Levenberg–Marquardt engine on CUDA: the structured Gram, and small factorisations.

Both replace sequences of library calls that move every matrix through memory several times: the Gram is written
once, straight from the small tables it is made of, and the corners of the blocked factorisation are factored and
inverted in registers.  Real float64 only; complex runs take the torch code, which is also the oracle of the tests.
"""

# Triton functions are compiled from their source; annotations would be ignored.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from .compiled import Plan

__all__ = ["GramKernel", "factor_corners"]

#: Columns of a Gram tile written by one program.
COLUMNS = 64
#: Warps per corner of 32 columns: fewer need fewer barriers, but each thread then waits longer for its own sums.
WARPS = 4


@triton.jit
def _gram(
    out, inner, image, right, tasks, cross, same, products, weights, batch, row_stride, matrix_stride,
    rank, reps, Q: tl.constexpr, L: tl.constexpr,
):  # fmt: skip
    """One tile: the rows of one representative's block, the columns of L orbits."""
    task = tasks + 13 * tl.program_id(0)
    x = tl.program_id(1).to(tl.int64)
    row, q, rep = tl.load(task), tl.load(task + 1), tl.load(task + 2)
    col, q2, term, size, orbits = (
        tl.load(task + 3), tl.load(task + 4), tl.load(task + 5), tl.load(task + 6), tl.load(task + 7)
    )  # fmt: skip
    cross_low, cross_high = tl.load(task + 8), tl.load(task + 9)
    same_low, same_high = tl.load(task + 10), tl.load(task + 11)
    weight = tl.load(weights + tl.load(task + 12))
    i = tl.arange(0, Q)[:, None, None]
    l = tl.arange(0, L)[None, :, None]
    j = tl.arange(0, Q)[None, None, :]
    inside = l < orbits
    total = tl.zeros((Q, L, Q), dtype=tl.float64)
    for e in range(cross_low, cross_high):
        t = term + l * size + tl.load(cross + 4 * e + 1)
        third, which = tl.load(cross + 4 * e + 2), tl.load(cross + 4 * e + 3)
        factor = tl.load(inner + ((third * batch + x) * rank + t) * reps + rep, mask=inside, other=0.0) * weight
        u = tl.load(image + ((tl.load(cross + 4 * e) * batch + x) * rank + t) * Q + i, mask=inside & (i < Q), other=0.0)
        v = tl.load(right + ((which * batch + x) * reps + rep) * Q + j)
        total += (factor * u) * v
    for e in range(same_low, same_high):
        slot = tl.load(same + 3 * e)
        t = x * rank + term + l * size + tl.load(same + 3 * e + 1)
        a = tl.load(inner + ((slot + 1) % 3 * batch * rank + t) * reps + rep, mask=inside, other=0.0)
        b = tl.load(inner + ((slot + 2) % 3 * batch * rank + t) * reps + rep, mask=inside, other=0.0)
        total += (a * b * weight) * tl.load(products + (tl.load(same + 3 * e + 2) * Q + i) * Q + j)
    place = out + x * matrix_stride + (row + i).to(tl.int64) * row_stride + col + l * q2 + j
    tl.store(place, total, mask=inside & (i < q) & (j < q2))


@triton.jit
def _corner(matrix, lower, inverse, good, matrix_batch, row_stride, lower_batch, n, N: tl.constexpr):
    """Cholesky factor of one n×n corner, n ≤ N, and its inverse, one column after another."""
    x = tl.program_id(0).to(tl.int64)
    line = tl.arange(0, N)
    i, j = line[:, None], line[None, :]
    used = (i < n) & (j <= i)
    a = tl.load(matrix + x * matrix_batch + i * row_stride + j, mask=used, other=0.0)
    one = tl.where(i == j, 1.0, 0.0).to(tl.float64)
    a = tl.where((i == j) & (i >= n), one, a)
    z = one
    fine = tl.full((), 1, tl.int32)
    for k in range(N):
        column = tl.sum(tl.where(j == k, a, 0.0), axis=1)
        pivot = tl.sum(tl.where(line == k, column, 0.0), axis=0)
        fine = tl.where(pivot > 0.0, fine, 0)
        root = tl.sqrt(pivot)
        l = tl.where(line >= k, column / root, 0.0)
        a = tl.where(j == k, l[:, None], tl.where(j > k, a - l[:, None] * l[None, :], a))
        row = tl.sum(tl.where(i == k, z, 0.0), axis=0) / root
        z = tl.where(i == k, row[None, :], z - tl.where(line > k, l, 0.0)[:, None] * row[None, :])
    tl.store(lower + x * lower_batch + i * row_stride + j, tl.where(j <= i, a, 0.0), mask=(i < n) & (j < n))
    tl.store(inverse + (x * n + i) * n + j, z, mask=(i < n) & (j < n))
    tl.store(good + x, fine)


def factor_corners(corner: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factors of a batch of small matrices into `lower`; their inverses and whether each exists.

    Parameters
    ----------
    corner, lower : (R, n, n) float64 views with the same row stride
        Only the lower triangle of `corner` is read.  n at most 32 keeps a matrix in registers.

    Returns
    -------
    inverse : (R, n, n) tensor
    good : (R,) bool tensor
    """
    batch, n, _ = corner.shape
    inverse = torch.empty(batch, n, n, dtype=corner.dtype, device=corner.device)
    good = torch.empty(batch, dtype=torch.int32, device=corner.device)
    _corner[(batch,)](
        corner, lower, inverse, good, corner.stride(0), corner.stride(1), lower.stride(0), n,
        N=max(16, triton.next_power_of_2(n)), num_warps=WARPS,
    )  # fmt: skip
    return inverse, good > 0


class GramKernel:
    """Writes JᴴJ of a parametrisation, lower block triangle, from the terms of a batch.

    Parameters
    ----------
    plan : Plan
        See :mod:`search.lm.compiled`.
    device : torch.device
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.plan, self.reps = plan, len(plan.first)
        self.width = max(4, int(triton.next_power_of_2(plan.wide)))
        self.orbits = max(1, COLUMNS // self.width)
        tasks = []
        for c, cell in enumerate(plan.cells.tolist()):
            row0, q, rep0, rows, col0, q2, term0, size, cols, *spans, same_block = cell
            for k in range(rows):
                last = k + 1 if same_block else cols
                for l in range(0, last, self.orbits):
                    tasks.append(
                        (row0 + k * q, q, rep0 + k, col0 + l * q2, q2, term0 + l * size, size,
                         min(self.orbits, last - l), *spans, c)
                    )  # fmt: skip
        dense = np.zeros((max(1, len(plan.same)), self.width, self.width))
        for number, (_, _, low, high) in enumerate(plan.same):
            dense[number, plan.same_row[low:high], plan.same_column[low:high]] = plan.same_value[low:high]
        same = np.column_stack([plan.same[:, :2], np.arange(len(plan.same))]) if len(plan.same) else np.zeros((1, 3))

        def table(rows: Any) -> Tensor:
            array = np.ascontiguousarray(rows)
            return torch.as_tensor(array.astype(np.int32 if array.dtype.kind == "i" else np.float64), device=device)

        self.tasks, self.cross = table(np.array(tasks)), table(plan.cross if len(plan.cross) else np.zeros((1, 4), int))
        self.same, self.products, self.weights = table(same.astype(int)), table(dense), table(plan.cell_weight)
        self.first = torch.as_tensor(plan.first, device=device)
        self.images, self.rights = self._maps(plan.images, table), self._maps(plan.rights, table)
        self.image_slots = torch.as_tensor(plan.images[:, 0].copy(), device=device)
        self.right_slots = torch.as_tensor(plan.rights[:, 0].copy(), device=device)

    def _maps(self, rows: Any, table: Any) -> Tensor:
        """Dense padded maps (n, length, width) of the rows of a plan."""
        plan = self.plan
        dense = np.zeros((len(rows), plan.length, self.width))
        for number, (_, _, low, high) in enumerate(rows):
            dense[number, plan.row[low:high], plan.column[low:high]] = plan.value[low:high]
        maps: Tensor = table(dense)
        return maps

    def __call__(self, slots: list[Tensor], out: Tensor) -> None:
        """Fill `out` (R, ≥ size, size; rows contiguous) from the terms, three tensors (R, r, dim)."""
        plan, batch = self.plan, len(slots[0])
        x = torch.stack([torch.nn.functional.pad(s, (0, plan.length - s.shape[2])) for s in slots])  # (3, R, r, length)
        reps = x.index_select(2, self.first)
        inner = x @ reps.mT  # (3, R, r, reps)
        image = torch.bmm(x.flatten(1, 2).index_select(0, self.image_slots), self.images)
        right = torch.bmm(reps.flatten(1, 2).index_select(0, self.right_slots), self.rights)
        _gram[(len(self.tasks), batch)](
            out, inner, image, right, self.tasks, self.cross, self.same, self.products, self.weights, batch,
            out.stride(1), out.stride(0), plan.rank, self.reps, Q=self.width, L=self.orbits, num_warps=4,
        )  # fmt: skip
