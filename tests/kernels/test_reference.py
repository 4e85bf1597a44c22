"""The oracle itself, against the definition: the tensor of the codec applied tile by tile."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import Codec, ops, reference
from kernels.bench.measure import compare

dims = st.integers(1, 3)


def by_definition(x: np.ndarray, w: np.ndarray, codec: Codec) -> np.ndarray:
    """C_tile[i, j] = Σ over inner tiles Σ_ab T̂[a, b, c] x_tile[a] w_tile[b], with explicit loops over tiles."""
    n, m, p = codec.format
    tensor = np.einsum("la,lb,cl->abc", codec.e_x, codec.e_w, codec.d)
    rows, inner, cols = -(-x.shape[0] // n), -(-x.shape[1] // m), -(-w.shape[1] // p)
    big_x, big_w = np.zeros((rows * n, inner * m)), np.zeros((inner * m, cols * p))
    big_x[: x.shape[0], : x.shape[1]], big_w[: w.shape[0], : w.shape[1]] = x, w
    out = np.zeros((rows * n, cols * p))
    for i in range(rows):
        for j in range(cols):
            for k in range(inner):
                a = big_x[i * n : (i + 1) * n, k * m : (k + 1) * m].ravel()
                b = big_w[k * m : (k + 1) * m, j * p : (j + 1) * p].ravel()
                out[i * n : (i + 1) * n, j * p : (j + 1) * p] += np.einsum("abc,a,b->c", tensor, a, b).reshape(n, p)
    return out[: x.shape[0], : w.shape[1]]


@settings(max_examples=40, deadline=None)
@given(st.tuples(dims, dims, dims), st.integers(1, 5), st.tuples(*[st.integers(1, 7)] * 3), st.integers(0, 2**31))
def test_reference_is_the_definition(
    fmt: tuple[int, int, int], rank: int, sizes: tuple[int, int, int], seed: int
) -> None:
    codec = Codec.random(fmt, rank, seed)
    n, m, p = fmt
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(sizes[:2]), rng.standard_normal(sizes[1:])
    e_x, e_w, d = codec.tensors()
    w_hat = reference.encode(torch.tensor(w), e_w, m, p)
    y = ops.matmul_encoded(torch.tensor(x), w_hat, e_x, d, None, n, m, p, sizes[2])
    assert compare(y, torch.tensor(by_definition(x, w, codec))).rms < 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), dims, dims)
def test_tiles_and_untiles_are_inverse(height: int, width: int, rows: int, cols: int) -> None:
    x = torch.randn(height, width)
    assert torch.equal(reference.untiles(reference.tiles(x, rows, cols), rows, cols, height, width), x)


def test_sixteen_bit_sums_are_kept_in_float32() -> None:
    """Adding 4096 and 64 times 1 in bfloat16 would stay at 4096."""
    x = torch.ones(8, 8, dtype=torch.bfloat16)
    x[0, 0] = 4096
    total = reference.encode(x, torch.ones(1, 64), 8, 8)
    assert float(total) == float(torch.tensor(4096.0 + 63).to(torch.bfloat16))


def test_coefficients_are_not_rounded_to_the_operands_format() -> None:
    """1 + 2⁻⁹ is 1 in bfloat16: the difference would vanish."""
    e = torch.tensor([[1 + 2**-9, -1.0]])
    assert float(reference.encode(torch.ones(1, 2, dtype=torch.bfloat16), e, 1, 2)) == 2**-9


def test_results_own_no_padding() -> None:
    y = reference.untiles(torch.randn(4, 3, 5), 2, 2, 5, 9)
    assert y.is_contiguous() and y.untyped_storage().nbytes() == 4 * 5 * 9
