"""Power-of-two scales for split products: exponents of rows and columns, exact scaling, halves, and repair.

Scaling by powers of two is exact, and exponents are integers: sums and maxima of them do not depend on the order in
which blocks arrive. Non-finite entries are counted as zero here and flagged; :func:`repair` recomputes the entries of a
product that meet one, as IEEE arithmetic would.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["column_exponents", "repair", "row_exponents", "row_levels"]

NONE = -1000  #: the exponent of rows and columns without a finite nonzero entry: what they give is scaled to zero
NOTHING = -(1 << 20)  # while it is being found
LEVEL = 1024  #: columns whose mean exponent stands for a row


def blank(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Exponents (N,), flags (N,) and "any flag" (1,), int32, zero, in one allocation."""
    found = torch.zeros(2 * size + 1, device=device, dtype=torch.int32)
    return found[:size], found[size:-1], found[-1:]


@triton.jit
def power_of_two(e):
    """2^e for -126 ≤ e ≤ 127, clamped to that range."""
    e = tl.minimum(tl.maximum(e, -126), 127)
    return ((e + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def scaled(x, e):
    """x·2^e with one rounding at most (where the result is subnormal), for -252 ≤ e ≤ 254."""
    half = e >> 1
    return x * power_of_two(half) * power_of_two(e - half)


@triton.jit
def finite(x):
    """x, with NaN and ±Inf replaced by zero."""
    return tl.where(tl.abs(x) <= 3.4028234663852886e38, x, 0.0)


@triton.jit
def infinite(x):
    """1 where x is NaN or ±Inf, else 0."""
    return (tl.abs(x) <= 3.4028234663852886e38).to(tl.int32) ^ 1


@triton.jit
def store_halves(hi, lo, value, mask):
    """``value`` (float32) as the sum of two numbers of hi's type: 22 bits in float16."""
    top = value.to(hi.dtype.element_ty)
    tl.store(hi, top, mask=mask)
    tl.store(lo, (value - top.to(tl.float32)).to(hi.dtype.element_ty), mask=mask)


@triton.jit
def exponent(x, NOTHING: tl.constexpr):
    """⌊log₂|x|⌋, subnormals included; NOTHING for zero and for what is not finite."""
    y = tl.abs(x)
    small = y < 1.1754943508222875e-38
    field = tl.where(small, y * 1.8446744073709552e19, y).to(tl.int32, bitcast=True) >> 23
    e = field - 127 - tl.where(small, 64, 0)
    return tl.where((y > 0.0) & (field < 255), e, NOTHING)


@triton.jit
def level_kernel(x, out, height, width, sx0, sx1, NOTHING: tl.constexpr, NONE: tl.constexpr,
                 ROWS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """ROWS rows a program: the mean of e(x_ik) over the first BLOCK columns of a row that hold anything."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = x + i.to(tl.int64)[:, None] * sx0
    total = tl.zeros((ROWS,), tl.int32)
    count = tl.zeros((ROWS,), tl.int32)
    k0 = 0
    while (k0 < width) & (tl.min(count, 0) == 0):
        k = k0 + tl.arange(0, BLOCK)
        known = ((i < height) & (count == 0))[:, None] & (k < width)[None, :]
        e = exponent(tl.load(at + k.to(tl.int64)[None, :] * sx1, mask=known, other=0.0), NOTHING)
        total += tl.sum(tl.where(e == NOTHING, 0, e), 1)
        count += tl.sum((e != NOTHING).to(tl.int32), 1)
        k0 += BLOCK
    many = tl.maximum(count, 1)
    mean = total // many  # towards zero
    mean -= (total - mean * many < 0).to(tl.int32)
    tl.store(out + i, tl.where(count > 0, mean, NONE), mask=i < height)


@triton.jit
def row_kernel(x, shift, out, flags, some, height, width, sx0, sx1, target, NOTHING: tl.constexpr, NONE: tl.constexpr,
               ROWS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """ROWS whole rows a program: the largest e(x_ik) + shift_k less target; and flags."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = x + i.to(tl.int64)[:, None] * sx0
    best = tl.full((ROWS, BLOCK), NOTHING, tl.int32)
    bad = tl.zeros((ROWS, BLOCK), tl.int32)
    for k0 in range(0, width, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        known = (i < height)[:, None] & (k < width)[None, :]
        block = tl.load(at + k.to(tl.int64)[None, :] * sx1, mask=known, other=0.0)
        best = tl.maximum(best, exponent(block, NOTHING) + tl.load(shift + k, mask=k < width, other=0)[None, :])
        bad |= infinite(block)
    top = tl.max(best, 1)
    tl.store(out + i, tl.where(top < NOTHING // 2, NONE, top - target), mask=i < height)
    flag = tl.max(bad, 1)
    tl.store(flags + i, flag, mask=i < height)
    if tl.max(flag, 0) > 0:
        tl.atomic_max(some, 1)


@triton.jit
def column_kernel(x, shift, out, flags, some, height, width, sx0, sx1, NOTHING: tl.constexpr,
                  ROWS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """STEPS·ROWS rows of BLOCK columns a program, the largest e(x_kj) − shift_k joined by an atomic maximum."""
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    best = tl.full((ROWS, BLOCK), NOTHING, tl.int32)
    bad = tl.zeros((ROWS, BLOCK), tl.int32)
    for step in range(STEPS):
        i = (tl.program_id(1) * STEPS + step) * ROWS + tl.arange(0, ROWS)
        at = x + i.to(tl.int64)[:, None] * sx0 + j.to(tl.int64)[None, :] * sx1
        block = tl.load(at, mask=(i < height)[:, None] & (j < width)[None, :], other=0.0)
        best = tl.maximum(best, exponent(block, NOTHING) - tl.load(shift + i, mask=i < height, other=0)[:, None])
        bad |= infinite(block)
    tl.atomic_max(out + j, tl.max(best, 0), mask=j < width)
    flag = tl.max(bad, 0)
    if tl.max(flag, 0) > 0:
        tl.atomic_max(flags + j, flag, mask=j < width)
        tl.atomic_max(some, 1)


def row_levels(x: torch.Tensor) -> torch.Tensor:
    """⌊Mean exponent⌋ of the finite nonzero entries of each row: (K, M) float32 → (K,) int32.

    Of its first :data:`LEVEL` columns, or of the first such block that holds any: a level is a matter of accuracy, not
    of overflow, and an eighth of the matrix tells it.
    """
    height, width = x.shape
    out = torch.empty(height, device=x.device, dtype=torch.int32)
    if height:
        block = max(16, min(LEVEL, triton.next_power_of_2(max(width, 1))))
        level_kernel[(triton.cdiv(height, 4),)](x, out, height, width, *x.stride(), NOTHING=NOTHING, NONE=NONE, ROWS=4,
                                                BLOCK=block)  # fmt: skip
    return out


def row_exponents(x: torch.Tensor, shift: torch.Tensor, target: int) -> tuple[torch.Tensor, ...]:
    """Exponents e such that the largest entry of a row of ``x·2^(shift − e)`` is in [2^target, 2^(target+1)).

    Parameters
    ----------
    x : (N, K) float32, any strides.
    shift : (K,) int32
        Exponents added to the columns.

    Returns
    -------
    Exponents (N,), `NONE` for zero rows; whether a row holds a NaN or an infinity (N,); whether any does (1,): int32.
    """
    height, width = x.shape
    out = blank(height, x.device)
    if height:
        block = max(16, min(1024, triton.next_power_of_2(max(width, 1))))
        row_kernel[(triton.cdiv(height, 4),)](x, shift, *out, height, width, *x.stride(), target, NOTHING=NOTHING,
                                              NONE=NONE, ROWS=4, BLOCK=block)  # fmt: skip
    return out


def column_exponents(x: torch.Tensor, shift: torch.Tensor, target: int) -> tuple[torch.Tensor, ...]:
    """The same for the columns of ``x·2^(−shift − e)``: (K, M), (K,) → (M,), (M,), (1,)."""
    height, width = x.shape
    out = blank(width, x.device)
    if height == 0 or width == 0:
        return out
    out[0].fill_(NOTHING)
    column_kernel[(triton.cdiv(width, 128), triton.cdiv(height, 64))](
        x, shift, *out, height, width, *x.stride(), NOTHING=NOTHING, ROWS=8, STEPS=8, BLOCK=128)  # fmt: skip
    return torch.where(out[0] < NOTHING // 2, NONE, out[0] - target), out[1], out[2]


@triton.jit
def repair_kernel(a, b, y, rows, cols, N, K, M, sa0, sa1, sb0, sb1, sy0, sy1, some_rows, some_cols,
                  B: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """Entries of flagged rows and columns, recomputed in plain float32; ends at once when nothing is flagged."""
    if tl.load(some_rows) + tl.load(some_cols) > 0:
        tiles_m = tl.cdiv(M, B)
        for tile in range(tl.program_id(0), tl.cdiv(N, B) * tiles_m, tl.num_programs(0)):
            i = (tile // tiles_m) * B + tl.arange(0, B)
            j = (tile % tiles_m) * B + tl.arange(0, B)
            row = tl.load(rows + i, mask=i < N, other=0)
            col = tl.load(cols + j, mask=j < M, other=0)
            if tl.max(row, 0) + tl.max(col, 0) > 0:
                acc = tl.zeros((B, B), tl.float32)
                for k0 in range(0, K, BK):
                    k = k0 + tl.arange(0, BK)
                    lhs = tl.load(a + i.to(tl.int64)[:, None] * sa0 + k.to(tl.int64)[None, :] * sa1,
                                  mask=(i < N)[:, None] & (k < K)[None, :], other=0.0)  # fmt: skip
                    rhs = tl.load(b + k.to(tl.int64)[:, None] * sb0 + j.to(tl.int64)[None, :] * sb1,
                                  mask=(k < K)[:, None] & (j < M)[None, :], other=0.0)  # fmt: skip
                    acc = tl.dot(lhs, rhs, acc, input_precision="ieee")
                wrong = (row[:, None] + col[None, :] > 0) & (i < N)[:, None] & (j < M)[None, :]
                tl.store(y + i.to(tl.int64)[:, None] * sy0 + j.to(tl.int64)[None, :] * sy1, acc, mask=wrong)


def repair(
    a: torch.Tensor, b: torch.Tensor, y: torch.Tensor, rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]
) -> None:
    """Overwrite the entries of y (N, M) in flagged rows and columns by those of a @ b in plain float32.

    ``rows``, ``cols``: what :func:`row_exponents` and :func:`column_exponents` return.
    """
    (n, k), m = a.shape, b.shape[1]
    if min(n, k, m) == 0:
        return
    programs = 4 * torch.cuda.get_device_properties(a.device).multi_processor_count if a.is_cuda else 4
    repair_kernel[(programs,)](a, b, y, rows[1], cols[1], n, k, m, *a.stride(), *b.stride(), *y.stride(),
                               rows[2], cols[2], B=32, BK=32)  # fmt: skip
