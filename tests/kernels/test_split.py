"""Split products: laws of the scales, agreement of the kernels with plain torch, what is not finite, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import Codec, matmul_split, reference, split, split_weight
from kernels.rounding import split_error
from stl_algebra import schemes
from stl_algebra.errors import StlError

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def plain(a: torch.Tensor, b: torch.Tensor, codec: Codec) -> torch.Tensor:
    """The product in plain torch, whatever the machine."""
    return split.reference_split(a, b, codec)


def relative(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """RMS error with every row of a and column of b brought to norm one."""
    exact = a.double() @ b.double()
    scale = a.double().norm(dim=1)[:, None] * b.double().norm(dim=0)[None, :]
    kept = scale > 0
    gap, level = ((y.double() - exact) / scale)[kept], (exact / scale)[kept]
    return float((gap.pow(2).mean() / level.pow(2).mean()).sqrt())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.integers(0, 30), two=st.booleans())
def test_powers_of_two_pass_through(seed: int, spread: int, two: bool) -> None:
    """2^r A times B 2^c is 2^(r+c) AB to the last bit; 2^-s between A and B costs no accuracy."""
    encoder = schemes.strassen().kron(schemes.strassen()) if two else schemes.strassen()
    codec, g = Codec(encoder.format, *encoder.floats()), torch.Generator().manual_seed(seed)
    a, b = torch.randn(9, 13, generator=g), torch.randn(13, 96, generator=g)
    r, s, c = (torch.randint(-spread, spread + 1, (n,), generator=g) for n in (9, 13, 96))
    found = plain(torch.ldexp(a, r[:, None]), b, codec)
    assert torch.equal(found, torch.ldexp(plain(a, b, codec), r[:, None]))
    shift = torch.ldexp(b, torch.full((96,), spread))
    assert torch.equal(plain(a, shift, codec), torch.ldexp(plain(a, b, codec), torch.full((96,), spread)))
    a, b = torch.ldexp(a, r[:, None] - s[None, :]), torch.ldexp(b, s[:, None] + c[None, :])
    assert relative(plain(a, b, codec), a, b) < 3e-6
    b[torch.rand(b.shape, generator=g) < 0.3] = 0  # a missing entry must not decide the scale of its row
    assert relative(plain(a, b, codec), a, b) < 3e-6


def test_without_scales_the_law_would_not_hold(strassen: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: rows left unscaled lose what float16 cannot hold."""
    a, b = torch.randn(16, 16) * torch.logspace(-6, 6, 16)[:, None], torch.randn(16, 16)
    assert relative(plain(a, b, strassen), a, b) < 3e-7
    real = split.Plain.row_exponents

    def unscaled(x: torch.Tensor, shift: torch.Tensor, target: int) -> split.Exponents:
        found = real(x, shift, target)
        return found._replace(values=found.values.amax().expand_as(found.values).clone())

    monkeypatch.setattr(split.Plain, "row_exponents", staticmethod(unscaled))
    assert relative(plain(a, b, strassen), a, b) > 1e-5


def test_error_is_the_closed_form(strassen: Codec, strassen2: Codec) -> None:
    """The part that does not come from the accumulator: the oracle sums in float64, like a promotion per step."""
    for codec in (strassen, strassen2):
        a, b = torch.randn(256, 512), torch.randn(512, 256)
        assert relative(plain(a, b, codec), a, b) == pytest.approx(split_error(codec, 16, True), rel=0.2)
    assert split_error(strassen2, 8192, True) < split_error(strassen2, 8192, False)


@pytest.mark.parametrize("sizes", [(9, 18, 11), (4, 1, 5), (1, 40, 1)], ids=str)
def test_kernels_agree_with_plain_torch(strassen: Codec, sizes: tuple[int, int, int]) -> None:
    pytest.importorskip("triton")
    n, k, m = sizes
    a, b = torch.randn(n, k, device=DEVICE), torch.randn(k, m, device=DEVICE)
    a = torch.ldexp(a, torch.arange(n, device=DEVICE)[:, None] - 5)
    b = torch.ldexp(b, 7 - torch.arange(m, device=DEVICE))
    found = matmul_split(a, split_weight(b, strassen))
    assert relative(found, a, b) < 2 * relative(plain(a, b, strassen), a, b) + 5e-7
    out = torch.full((n, m), float("nan"), device=DEVICE)
    assert matmul_split(a, split_weight(b, strassen), out=out) is out
    assert torch.equal(out, found)


def test_steps_of_the_kernels_are_the_plain_ones(strassen: Codec) -> None:
    """Exponents and flags are equal, halves equal to the bit, on what is small, zero, subnormal and not finite."""
    pytest.importorskip("triton")
    x = torch.randn(7, 21, device=DEVICE)
    x[1] = 0
    x[2] *= 1e-41
    x[3, 4], x[5, 6], x[5, 7] = float("inf"), float("nan"), -float("inf")
    x[:, 9] = 0
    shift = torch.randint(-30, 30, (21,), dtype=torch.int32, device=DEVICE)
    for ours, theirs in (
        (split.Compiled.column_exponents(x.t(), shift, 3), split.Plain.column_exponents(x.t(), shift, 3)),
        (split.Compiled.row_exponents(x, shift, 12), split.Plain.row_exponents(x, shift, 12)),
        ((split.Compiled.row_levels(x),), (split.Plain.row_levels(x),)),
        ((split.Compiled.row_levels(x.t()),), (split.Plain.row_levels(x.t()),)),
    ):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    wide = torch.zeros(5, 2500, device=DEVICE)
    wide[0, 7], wide[1, 1500], wide[2, 2499], wide[3, 3], wide[3, 2000] = 8.0, 0.25, -1.0, 2.0, 2.0**40
    for path in (split.Compiled, split.Plain):
        assert path.row_levels(wide).tolist() == [3, -2, 0, 1, split.NONE]
    rows = split.Plain.row_exponents(x, shift, 12).values
    halves = [path.encode(x, strassen, 0, rows, shift) for path in (split.Compiled, split.Plain)]
    assert torch.equal(*halves)
    assert torch.isfinite(halves[0]).all()


def test_what_is_not_finite_goes_where_ieee_sends_it(strassen2: Codec) -> None:
    a, b = torch.randn(12, 9, device=DEVICE), torch.randn(9, 14, device=DEVICE)
    a[2, 3], a[7, 1], b[4, 6] = float("inf"), float("nan"), -float("inf")
    b[3, 11] = 0  # Inf·0 is NaN
    found, expected = matmul_split(a, split_weight(b, strassen2)), a @ b
    for kind in (torch.isnan, torch.isposinf, torch.isneginf):
        assert torch.equal(kind(found), kind(expected))
    kept = torch.isfinite(expected)
    assert kept.sum() > 100
    assert torch.allclose(found[kept], expected[kept], atol=1e-5)
    assert torch.equal(plain(a, b, strassen2).isnan(), expected.isnan())


def test_ends_of_the_range(strassen: Codec) -> None:
    a, b = torch.randn(8, 8), torch.randn(8, 8)
    assert relative(plain(a * 1e-40, b * 2.0**60, strassen), a * 1e-40, b * 2.0**60) < 2e-6  # subnormal operand
    assert relative(plain(a * 2.0**100, b * 2.0**-100, strassen), a * 2.0**100, b * 2.0**-100) < 1e-6
    over, under = plain(a * 2.0**100, b * 2.0**100, strassen), plain(a * 2.0**-100, b * 2.0**-100, strassen)
    assert torch.isinf(over).all() and torch.equal(over > 0, a @ b > 0)
    assert (under == 0).all()
    a[3], b[:, 2] = 0, 0
    zero = plain(a, b, strassen)
    assert (zero[3] == 0).all() and (zero[:, 2] == 0).all()


def test_large_coefficients_stay_inside_float16() -> None:
    codec = Codec((2, 2, 2), np.full((3, 4), 50.0), np.full((3, 4), 0.001), np.ones((4, 3)))
    a, b = torch.full((4, 6), 65504.0), torch.full((6, 4), 1.99999)
    rows = split.Plain.row_exponents(a, torch.zeros(6, dtype=torch.int32), split._headroom(codec.e_x))
    halves = split.Plain.encode(a, codec, 0, rows.values, torch.zeros(6, dtype=torch.int32))
    assert torch.isfinite(halves).all()
    assert halves[0].max() > 2**12  # and near the top
    e_x, e_w, d = codec.tensors(dtype=torch.float32)
    expected = reference.matmul_encoded(a, reference.encode(b, e_w, 2, 2), e_x, d, 2, 2, 2, 4)
    assert torch.allclose(plain(a, b, codec), expected, rtol=1e-6)


def test_empty_and_refused(strassen: Codec) -> None:
    assert matmul_split(torch.zeros(0, 3), split_weight(torch.zeros(3, 2), strassen)).shape == (0, 2)
    assert matmul_split(torch.zeros(4, 0), split_weight(torch.zeros(0, 2), strassen)).abs().sum() == 0
    weight = split_weight(torch.randn(6, 4), strassen)
    for call in (
        lambda: split_weight(torch.randn(6, 4).double(), strassen),
        lambda: split_weight(torch.randn(6), strassen),
        lambda: matmul_split(torch.randn(3, 5), weight),
        lambda: matmul_split("x", weight),
    ):
        with pytest.raises(StlError):
            call()
    assert not split.supports_split("cpu")


@pytest.mark.parametrize("promoted", [False, True])
def test_gemm_of_halves(promoted: bool) -> None:
    pytest.importorskip("triton")
    from kernels.triton import gemm

    a, b = torch.randn(2, 40, 72, device=DEVICE), torch.randn(2, 72, 24, device=DEVICE)
    halves = [torch.stack([x.half(), (x - x.half().float()).half()]) for x in (a, b)]
    config = gemm.Config(bm=32, bn=32, bk=16, stages=2, warps=4)
    out = torch.full((2, 40, 24), float("nan"), device=DEVICE)
    found = gemm.bmm_split(*halves, promoted=promoted, config=config, out=out)
    exact = a.double() @ b.double()
    assert float((found.double() - exact).norm() / exact.norm()) < 5e-7
    assert gemm.bmm_split(halves[0][..., :0], halves[1][:, :, :0], config=config).abs().sum() == 0
