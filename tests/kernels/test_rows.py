"""Which rows a tile mixes, and what the leak test says about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels import Codec, STLLinear, convert_linear, leak_test
from kernels.causal import causal_reason, future_share
from kernels.experiments import starts
from kernels.experiments.arms import Arm
from kernels.experiments.models import GPT
from kernels.rows import arrange, power_of_two_scales
from stl_algebra.errors import StlError

MIXING = starts.fourier(24, 0, tries=3)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 5), st.sampled_from(["tokens", "batch"]))
@settings(max_examples=60, deadline=None)
def test_arranging_and_back_is_the_identity(lead: list[int], n: int, rows: str) -> None:
    x = torch.randn(*lead, 3)
    flat, back = arrange(x, rows, n)
    assert torch.equal(back(flat), x)
    if x.dim() > 2:
        assert flat.shape[-2] % n == 0


@pytest.mark.parametrize("length", [5, 7, 8])
def test_no_tile_straddles_two_sequences(length: int) -> None:
    """Each sequence alone gives what it gives in the batch: ragged lengths are padded one by one."""
    layer = STLLinear(12, 8, MIXING, dtype=torch.float64)
    x = torch.randn(3, length, 12, dtype=torch.float64)
    together = layer(x)
    for one, y in zip(x, together, strict=True):
        assert torch.allclose(layer(one[None])[0], y)


def test_rows_along_the_batch_mix_examples_not_positions() -> None:
    layer = STLLinear(12, 8, MIXING, rows="batch", dtype=torch.float64)
    x = torch.randn(4, 6, 12, dtype=torch.float64)
    alone = torch.cat([layer(x[:, t : t + 1]) for t in range(6)], 1)
    assert torch.allclose(layer(x), alone)
    assert not torch.allclose(layer(x[:1]), layer(x)[:1])


def test_single_rows_mix_nothing() -> None:
    layer = STLLinear(12, 8, starts.single_rows(6, 0), rows="none", dtype=torch.float64)
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    assert torch.allclose(torch.stack([torch.stack([layer(t) for t in s]) for s in x]), layer(x))


@pytest.mark.parametrize(
    ("arm", "time", "batch"),
    [
        (Arm("dense"), False, False),
        (Arm("exact", "stl", codec=starts.exact(), mode="dense", train_codec=False), False, False),
        (Arm("tokens", "stl", codec=MIXING), True, False),
        (Arm("batch", "stl", codec=MIXING, rows="batch"), False, True),
        (Arm("none", "stl", codec=starts.single_rows(6, 0), rows="none"), False, False),
    ],
    ids=lambda v: v.name if isinstance(v, Arm) else "",
)
def test_leak_test_finds_what_each_arrangement_leaks(arm: Arm, time: bool, batch: bool) -> None:
    model = GPT(arm, 16, depth=1, heads=2, context=24)
    report = leak_test(model, torch.randint(0, 256, (5, 21)))
    assert (report.leaks_time, report.leaks_batch) == (time, batch), str(report)


def test_leak_test_leaves_the_model_as_it_was_and_reads_mappings() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    report = leak_test(model, torch.randn(3, 16, 4))
    assert model.training
    assert not report.leaks_time
    assert not report.leaks_batch
    assert not report.is_causal  # position-wise

    class Takes(nn.Module):
        def forward(self, input_ids: torch.Tensor, scale: float) -> dict[str, torch.Tensor]:
            return {"logits": input_ids[..., None].double().flip(1) * scale}

    assert leak_test(Takes(), {"input_ids": torch.randint(0, 9, (2, 16)), "scale": 2.0}).leaks_time
    with pytest.raises(StlError, match="tensor"):
        leak_test(model, {"x": 3})
    assert leak_test(model, torch.randn(3, 4)).time is None


def test_causal_models_refuse_what_leaks(strassen2: Codec) -> None:
    def model() -> GPT:
        return GPT(Arm("dense"), 16, depth=1, heads=2, context=24)

    assert "causal" in causal_reason(model())
    for options in ({}, {"mode": "trainable"}):
        codec = strassen2 if options else MIXING
        with pytest.raises(StlError, match="future"):
            convert_linear(model(), codec, **options)
    net, x = model(), torch.randint(0, 256, (5, 21))
    before = net(x)
    report = convert_linear(net, strassen2, example=x)
    assert torch.allclose(net(x), before, atol=1e-5)
    assert report.leak is not None
    assert not report.leak.leaks_time
    assert report.leak.is_causal
    assert convert_linear(model(), MIXING, rows="batch").mixes
    insisted = convert_linear(model(), MIXING, causal=False, example=x)
    assert insisted.leak is not None
    assert insisted.leak.leaks_time
    assert "leaks" in str(insisted)


def test_a_causal_encoder_is_admitted_as_long_as_its_weights_come_from_dense_ones() -> None:
    """⟨2,2,2;6⟩ that leaves out one product: inexact, and no row reads a later one."""
    i, k, j = np.array([np.unravel_index(v, (2, 2, 2)) for v in range(7)]).T
    one = np.eye(4)
    dropped = Codec((2, 2, 2), one[2 * i + k], one[2 * k + j], one[2 * i + j].T)
    assert dropped.epsilon2 == pytest.approx(1 / 8)
    assert future_share(dropped) == 0
    assert 0 < future_share(MIXING) < 1
    x = torch.randint(0, 256, (3, 32))
    for mode in ("frozen", "dense"):
        report = convert_linear(GPT(Arm("dense"), 16, depth=1, heads=2, context=32), dropped, mode=mode, example=x)
        assert report.leak is not None
        assert report.leak.is_causal
    with pytest.raises(StlError, match="learn"):
        convert_linear(GPT(Arm("dense"), 16, depth=1, heads=2, context=32), dropped, mode="trainable")


def test_an_example_shows_causality_that_nothing_declares() -> None:
    class Cumulative(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.cumsum(1))

    assert causal_reason(Cumulative()) == ""
    convert_linear(Cumulative(), MIXING)
    with pytest.raises(StlError, match="example shows"):
        convert_linear(Cumulative(), MIXING, example=torch.randn(3, 16, 8))


@pytest.mark.parametrize("mask", [torch.ones(8, 8).tril().bool(), torch.full((1, 1, 8, 8), float("-inf")).triu(1)])
def test_causal_masks_are_seen_and_others_are_not(mask: torch.Tensor) -> None:
    net = nn.Module()
    net.register_buffer("mask", mask)
    assert "mask" in causal_reason(net)
    net.mask = mask.flip(-1)
    assert causal_reason(net) == ""


def test_scaling_rows_protects_small_neighbours(strassen2: Codec) -> None:
    """A row 10⁴ times larger than its tile neighbours: their error in bf16 falls to that of a row alone."""
    dense = nn.Linear(64, 64, dtype=torch.bfloat16)
    x = torch.randn(1, 4, 64)
    x[:, 0] *= 1e4
    x = x.bfloat16()
    right = x.double() @ dense.weight.double().T + dense.bias.double()

    def error(**options: bool) -> float:
        y = STLLinear.from_linear(dense, strassen2, **options)(x).double()
        return float((y - right)[:, 1:].norm() / right[:, 1:].norm())

    assert error() > 1
    assert error(scale_rows=True) < 0.05
    scales = power_of_two_scales(x)
    assert bool((torch.frexp(scales).mantissa == 0.5).all())
    assert float((x * scales).abs().amax()) < 1


def test_scaled_rows_keep_gradients_and_bias(strassen2: Codec) -> None:
    dense = nn.Linear(9, 7, dtype=torch.float64)
    layer = STLLinear.from_linear(dense, strassen2, scale_rows=True, activation="relu")
    x = torch.randn(2, 5, 9, dtype=torch.float64, requires_grad=True)
    expected = torch.relu(dense(x))
    assert torch.allclose(layer(x), expected)
    g1, g2 = (torch.autograd.grad(y.square().sum(), x)[0] for y in (layer(x), expected))
    assert torch.allclose(g1, g2)
    assert bool(torch.isfinite(layer(torch.zeros(1, 4, 9, dtype=torch.float64))).all())


@pytest.mark.parametrize("size", [6e-8, 1e-6, 1.0, 6e4])
def test_scales_fit_float16(size: float, strassen2: Codec) -> None:
    """2^16 and more is infinite in float16, so tiny rows are scaled as far as the format goes."""
    x = torch.full((1, 4, 8), size, dtype=torch.float16)
    scales = power_of_two_scales(x)
    assert bool(torch.isfinite(scales).all()) and bool((scales > 0).all())
    assert bool(torch.isfinite(x * scales).all()) and torch.equal(x * scales / scales, x)
