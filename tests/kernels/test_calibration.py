"""Closed-form refits against least squares done by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kernels import STLLinear, calibrate, convert_linear
from kernels.calibration import Moments
from kernels.experiments import starts
from stl_algebra.errors import StlError

MIXING = starts.fourier(24, 0, tries=3)


def _data(rows: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    mix = torch.randn(12, 12)
    return torch.randn(rows, 8, 12) @ mix + 0.5, torch.randn(12, 8)


def test_refit_of_the_weights_is_the_least_squares_optimum() -> None:
    """For the D and bias it was fitted with, the gradient of the squared error with respect to Ŵ vanishes."""
    x, w = _data()
    layer = STLLinear.from_linear(_linear(w), MIXING, "trainable", train_codec=True)
    y, d = x @ w, layer.d.detach().clone()
    moments = Moments(layer)
    for part in (x[:100], x[100:]):
        moments.add(part, part @ w)

    def slope() -> float:
        error = (layer(x) - y).square().sum() / y.square().sum()
        return float(torch.autograd.grad(error, layer.w_hat)[0].norm() * layer.w_hat.norm())

    start = slope()
    before, after = moments.refit(rounds=1, ridge=1e-9)
    assert after < 0.6 * before
    assert float((layer(x) - y).square().sum() / y.square().sum()) == pytest.approx(after, rel=1e-3)
    with torch.no_grad():
        layer.d.copy_(d)
        layer.bias.zero_()  # type: ignore[union-attr]
    assert slope() < 1e-3 * start


def test_refit_of_the_decoder_is_optimal_too() -> None:
    x, w = _data()
    layer = STLLinear.from_linear(nn.Linear(12, 8, bias=False), MIXING, "trainable", train_codec=True)
    layer.adopt(w.T)
    moments = Moments(layer)
    moments.add(x, x @ w)
    before, after = moments.refit(rounds=4, ridge=1e-9)
    assert after < before
    error = (layer(x) - x @ w).square().sum() / (x @ w).square().sum()
    assert float(torch.autograd.grad(error, layer.d)[0].norm() * layer.d.norm()) < 1e-3


def test_the_error_it_reports_is_the_error() -> None:
    x, w = _data(50)
    layer = STLLinear.from_linear(_linear(w), MIXING)
    y = x @ w
    moments = Moments(layer)
    moments.add(x, y)
    direct = float((layer(x) - y).square().sum() / y.square().sum())
    before, _ = moments.refit(rounds=0)
    assert before == pytest.approx(direct, rel=1e-3)


def test_padding_is_left_out() -> None:
    x, w = _data(40)
    keep = torch.ones(40, 8)
    keep[:, 4:] = 0
    poisoned = x.clone()
    poisoned[:, 4:] = 1e3
    found = []
    for inputs in (x, poisoned):
        layer = STLLinear.from_linear(_linear(w), MIXING)
        moments = Moments(layer)
        moments.add(inputs, inputs @ w, keep)
        moments.refit()
        found.append(layer.w_hat)
    assert torch.equal(*found)


def _linear(w: torch.Tensor) -> nn.Linear:
    linear = nn.Linear(*w.shape)
    with torch.no_grad():
        linear.weight.copy_(w.T)
        linear.bias.zero_()
    return linear


@pytest.mark.parametrize("feedback", [True, False])
def test_a_model_comes_nearer_to_the_original(feedback: bool) -> None:
    dense = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 8))
    model = copy.deepcopy(dense)
    convert_linear(model, MIXING)
    x, _ = _data(200)
    held, _ = _data(50)

    def error() -> float:
        return float((model(held) - dense(held)).square().sum() / dense(held).square().sum())

    before = error()
    report = calibrate(model, dense, [x[:100], x[100:]], feedback=feedback)
    assert list(report.errors) == ["0", "2"]
    assert error() < 0.95 * before
    assert "2 layers calibrated" in str(report)


def test_attention_projections_are_calibrated_too() -> None:
    dense = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True).eval()
    model = copy.deepcopy(dense)
    convert_linear(model, MIXING)
    x = torch.randn(200, 8, 16) @ torch.diag(0.8 ** torch.arange(16.0))

    def error() -> float:
        return float((model(x) - dense(x)).square().sum() / dense(x).square().sum())

    before = error()
    report = calibrate(model, dense, [x])
    assert len(report.errors) == 6
    assert error() < before
    assert isinstance(dense.self_attn, nn.MultiheadAttention)


def test_refusals_and_skips() -> None:
    dense = nn.Sequential(nn.Linear(12, 8))
    model = copy.deepcopy(dense)
    with pytest.raises(StlError, match="convert_linear"):
        calibrate(model, dense, [torch.zeros(1, 4, 12)])
    convert_linear(model, MIXING)
    with pytest.raises(StlError, match="batch"):
        calibrate(model, dense, [])
    assert calibrate(model, dense, [torch.randn(2, 4, 12)], largest=10).skipped[0][0] == "0"
