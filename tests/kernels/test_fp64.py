"""float64 products by residues: accuracy, reproducibility, scales, and what is not a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import fp64_weight, matmul_fp64
from kernels.bench.residues import encoders
from kernels.fp64 import fp64_error
from stl_algebra import catalogue, schemes
from stl_algebra.errors import StlError

S = schemes.strassen()
ENCODERS = encoders(4096)


def error(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    exact = a.numpy().astype(np.longdouble) @ b.numpy().astype(np.longdouble)
    return float(np.linalg.norm((y.numpy() - exact).astype(float)) / np.linalg.norm(exact.astype(float)))


@pytest.mark.parametrize("moduli", [8, 12, 14])
@pytest.mark.parametrize("encoder", [None, S], ids=["1", "2x2x2"])
def test_error_is_the_closed_form(encoder: object, moduli: int) -> None:
    """The κ² of the encoder plays no part."""
    a, b = torch.randn(40, 1500, dtype=torch.float64), torch.randn(1500, 30, dtype=torch.float64)
    found = error(matmul_fp64(a, b, encoder=encoder, moduli=moduli), a, b)  # type: ignore[arg-type]
    assert found == pytest.approx(fp64_error(1500, moduli), rel=0.3)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_gives_the_same_bits(name: str) -> None:
    """Nothing rounds between the operands' rounding and the end: not the encoder, not the order of the sum."""
    a, b = torch.randn(13, 700, dtype=torch.float64), torch.randn(700, 9, dtype=torch.float64)
    y = matmul_fp64(a, b, moduli=12)
    once = matmul_fp64(a, b, encoder=ENCODERS[name], moduli=12)
    assert name == "48" or torch.equal(y, once)  # its ½ forbids 256 among the moduli: another system, other scales
    order = torch.randperm(700)
    assert torch.equal(once, matmul_fp64(a[:, order], b[order], encoder=ENCODERS[name], moduli=12))
    assert error(once, a, b) < 3 * fp64_error(700, 12)


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 3, 30]), st.sampled_from(sorted(ENCODERS)))
def test_integers_are_exact(seed: int, k: int, name: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(-(2**20), 2**20, size, generator=generator).double() for size in ((5, k), (k, 3)))
    assert torch.equal(matmul_fp64(a, b, encoder=ENCODERS[name]), a @ b)


def test_powers_of_two_on_rows_and_columns_change_nothing() -> None:
    a, b = torch.randn(9, 64, dtype=torch.float64), torch.randn(64, 7, dtype=torch.float64)
    r, c = torch.randint(-400, 400, (9, 1)), torch.randint(-400, 400, (1, 7))
    y = matmul_fp64(torch.ldexp(a, r), torch.ldexp(b, c), encoder=S)
    assert torch.equal(y, torch.ldexp(matmul_fp64(a, b, encoder=S), r + c))
    tiny = torch.full((2, 3), 5e-324, dtype=torch.float64)
    big = torch.full((3, 2), 1e308, dtype=torch.float64)
    torch.testing.assert_close(matmul_fp64(tiny, big), tiny @ big, rtol=1e-14, atol=0)
    assert torch.equal(matmul_fp64(tiny, tiny.t()), torch.zeros(2, 2, dtype=torch.float64))
    assert matmul_fp64(big.t(), big).isinf().all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_in_its_row_and_column(value: float) -> None:
    a, b = torch.randn(8, 12, dtype=torch.float64), torch.randn(12, 8, dtype=torch.float64)
    clean = matmul_fp64(a, b, encoder=S)
    a[2, 5], b[7, 4] = value, value
    y = matmul_fp64(a, b, encoder=S)
    hit = torch.zeros(8, 8, dtype=torch.bool)
    hit[2], hit[:, 4] = True, True
    assert y[hit].isnan().all()
    assert torch.equal(y[~hit], clean[~hit])


def test_shapes_and_refusals() -> None:
    a, b = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    assert matmul_fp64(a, b).shape == (2, 3, 4)
    torch.testing.assert_close(matmul_fp64(a[0].t().contiguous().t(), b.t().contiguous().t()), a[0] @ b)
    assert (matmul_fp64(a[..., :0], b[:0]) == 0).all()
    assert matmul_fp64(a[:, :0], b).shape == (2, 0, 4)
    assert (matmul_fp64(torch.zeros_like(a), b) == 0).all()
    weight = fp64_weight(b, S, moduli=9)
    assert torch.equal(matmul_fp64(a, weight), matmul_fp64(a, b, encoder=S, moduli=9))
    for argument, call in {
        "a": lambda: matmul_fp64(a.float(), b),
        "w": lambda: matmul_fp64(a, a),
        "moduli": lambda: matmul_fp64(a, b, moduli=1),
        "encoder": lambda: matmul_fp64(a, b, encoder=catalogue.best("4x4x4", rank=47, ring="GF(2)")),
    }.items():
        with pytest.raises(StlError) as caught:
            call()
        assert caught.value.argument == argument
    with pytest.raises(StlError, match="as b"):
        matmul_fp64(a, b[:3])


@pytest.mark.parametrize("scale", [1.0, 1.4, 1.999, 1e-200])
def test_parallel_rows_reach_the_end_of_the_range(scale: float) -> None:
    """Where Cauchy and Schwarz hold with equality the product fills the range of the moduli; it must not wrap."""
    a = torch.randn(20, 333, dtype=torch.float64).sign() * scale
    for b in (a.t(), -a.t()):
        for moduli in (2, 7, 14):
            y = matmul_fp64(a, b.contiguous(), moduli=moduli)
            torch.testing.assert_close(y.diagonal(), (a @ b).diagonal(), rtol=0.3 if moduli == 2 else 1e-6, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (257, 1031, 130), (64, 4096, 48)], ids=str)
def test_the_gpu_gives_the_bits_of_plain_torch(name: str, sizes: tuple[int, int, int]) -> None:
    n, k, m = sizes
    a, b = torch.randn(n, k, dtype=torch.float64), torch.randn(k, m, dtype=torch.float64)
    a[0, 0], b[-1, -1] = 1e-310, torch.inf
    y = matmul_fp64(a.cuda(), b.cuda(), encoder=ENCODERS[name])
    assert torch.equal(y.cpu().nan_to_num(7.0), matmul_fp64(a, b, encoder=ENCODERS[name]).nan_to_num(7.0))


@pytest.mark.gpu
def test_no_less_accurate_than_native_and_captured() -> None:
    from kernels.bench import measure
    from kernels.bench.residues import error_of

    a, b = (torch.randn(2048, 2048, device="cuda", dtype=torch.float64) for _ in range(2))
    weight = fp64_weight(b, S)
    y = matmul_fp64(a, weight)
    assert error_of(y, a, b) < 1.1 * error_of(a @ b, a, b)
    replay = measure.capture(lambda: matmul_fp64(a, weight))
    a.copy_(a.flip(0))
    replay()
    assert torch.equal(replay.output, y.flip(0))  # type: ignore[attr-defined]
