"""STLLinear, convert_linear and the fused pair."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from kernels import Codec, STLLinear, convert_linear
from kernels.bench.measure import compare
from kernels.fused import mlp
from stl_algebra.errors import StlError


@pytest.mark.parametrize("mode", ["frozen", "trainable"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_from_linear_is_the_linear_to_rounding(strassen2: Codec, mode: str, dtype: torch.dtype, bias: bool) -> None:
    dense = nn.Linear(13, 7, bias=bias, dtype=dtype)
    layer = STLLinear.from_linear(dense, strassen2, mode)
    x = torch.randn(2, 3, 13, dtype=dtype)
    assert compare(layer(x).flatten(0, 1), dense(x).flatten(0, 1)).rms < (1e-13 if dtype == torch.float64 else 2e-6)
    learn = {name for name, _ in layer.named_parameters()}
    assert learn == ({"w_hat"} | ({"bias"} if bias else set()) if mode == "trainable" else set())


def test_sixteen_bit_layers_keep_the_codec_in_float32(strassen: Codec) -> None:
    layer = STLLinear.from_linear(nn.Linear(8, 8), strassen).to(torch.bfloat16)
    assert layer.w_hat.dtype == torch.bfloat16
    assert layer.e_x.dtype == layer.d.dtype == torch.float32
    learned = STLLinear(8, 8, strassen, train_codec=True).half()
    assert learned.e_x.dtype == torch.float32
    assert isinstance(learned.e_x, nn.Parameter)
    assert layer.double().e_x.dtype == torch.float64


def test_trainable_layer_learns_weights_and_codec(strassen: Codec) -> None:
    layer = STLLinear(6, 5, strassen, train_codec=True, dtype=torch.float64)
    assert {n for n, _ in layer.named_parameters()} == {"w_hat", "bias", "e_x", "d"}
    x, goal = torch.randn(32, 6, dtype=torch.float64), torch.randn(32, 5, dtype=torch.float64)
    optimiser = torch.optim.Adam(layer.parameters(), 0.02)
    losses = []
    for _ in range(60):
        loss = (layer(x) - goal).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert not torch.allclose(layer.e_x, strassen.tensors("cpu", torch.float64)[0])


def test_initialisation_is_that_of_nn_linear(strassen2: Codec) -> None:
    layer = STLLinear(64, 64, strassen2, dtype=torch.float64)
    dense = nn.Linear(64, 64, dtype=torch.float64)
    assert float(layer.weight.detach().std()) == pytest.approx(float(dense.weight.std()), rel=0.1)


def test_state_round_trips_through_disk_and_meta(strassen: Codec) -> None:
    layer = STLLinear.from_linear(nn.Linear(6, 4), strassen)
    stream = io.BytesIO()
    torch.save(layer.state_dict(), stream)
    stream.seek(0)
    other = STLLinear(6, 4, strassen, mode="frozen", device="meta")
    other.load_state_dict(torch.load(stream), assign=True)
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), other(x))


def test_a_loaded_codec_replaces_the_compiled_one(strassen: Codec) -> None:
    """The fixed-coefficient kernels belong to the encoder given at construction; another codec gets its own."""
    layer = STLLinear.from_linear(nn.Linear(6, 4), strassen)
    recipes = layer.recipes
    assert all(recipes)
    layer.load_state_dict(layer.state_dict())
    assert layer.recipes == recipes
    other = layer.state_dict()
    other["e_x"] = other["e_x"] * 2
    layer.load_state_dict(other)
    assert layer.recipes[0] != recipes[0]
    assert layer.recipes[1:] == recipes[1:]
    x = torch.randn(4, 6)
    fresh = STLLinear(6, 4, Codec(strassen.format, strassen.e_x * 2, strassen.e_w, strassen.d), mode="frozen",
                      weight=layer.weight.detach())  # fmt: skip
    assert fresh.recipes == layer.recipes
    assert torch.isfinite(layer(x)).all()


def test_states_of_the_first_version_still_load(strassen: Codec) -> None:
    layer = STLLinear.from_linear(nn.Linear(6, 4), strassen)
    state = layer.state_dict()
    del state["e_w"]
    other = STLLinear(6, 4, strassen)
    other.load_state_dict(state)
    assert torch.equal(other.w_hat, layer.w_hat)


def test_layer_compiles_and_handles_empty_batches(strassen: Codec) -> None:
    layer = STLLinear.from_linear(nn.Linear(6, 4), strassen)
    assert layer(torch.randn(0, 6)).shape == (0, 4)
    assert layer(torch.randn(6)).shape == (4,)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 6)
    assert torch.allclose(compiled(x), layer(x))


def test_layer_refusals(strassen: Codec) -> None:
    dense = nn.Linear(4, 4)
    cases = {
        "mode": lambda: STLLinear.from_linear(dense, strassen, "melted"),
        "linear": lambda: STLLinear.from_linear(nn.ReLU(), strassen),  # type: ignore[arg-type]
        "linear.weight.device": lambda: STLLinear.from_linear(nn.Linear(4, 4, device="meta"), strassen),
        "in_features": lambda: STLLinear(0, 4, strassen),
        "x.shape": lambda: STLLinear.from_linear(dense, strassen)(torch.zeros(2, 5)),
        "activation": lambda: STLLinear(4, 4, strassen, activation="swish"),
        "rows": lambda: STLLinear(4, 4, strassen, rows="none"),
        "weight.shape": lambda: STLLinear(4, 4, strassen, weight=torch.zeros(4, 5)),
    }
    for argument, call in cases.items():
        with pytest.raises(StlError) as error:
            call()
        assert error.value.argument == argument
    with pytest.raises(StlError, match="weights to freeze"):
        STLLinear(4, 4, strassen, mode="frozen")
    with torch.no_grad():
        dense.weight[0, 0] = float("nan")
    with pytest.raises(StlError, match="finite"):
        STLLinear.from_linear(dense, strassen)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.again = self.up
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.down(torch.relu(self.again(self.embed(x)))))


def test_convert_reports_what_and_why(strassen: Codec) -> None:
    model = Block().double()
    x = torch.arange(6)
    before = model(x)
    report = convert_linear(model, strassen, lambda name, layer: "too small to matter" if name == "down" else True)
    assert report.converted == ["up", "attention", "again"]
    assert model.up is model.again
    skipped = dict(report.skipped)
    assert skipped["down"] == "too small to matter"
    assert "embed.weight" in skipped["head"]
    assert report.stl_multiplications / report.dense_multiplications == pytest.approx(7 / 8)
    assert torch.allclose(model(x), before)
    assert "3 layers converted, 2 skipped" in str(report)
    assert convert_linear(model, strassen, lambda *_: False).converted == []
    with pytest.raises(StlError, match="from_linear"):
        convert_linear(nn.Linear(2, 2), strassen)  # type: ignore[arg-type]
    with pytest.raises(StlError, match="mode"):
        convert_linear(Block(), strassen, mode="melted")
    with pytest.raises(StlError, match="tokens"):
        convert_linear(Block(), strassen, tokens=0)


def test_convert_lets_the_cost_model_add_a_level(strassen: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def deeper(codec: Codec, n: int, k: int, m: int, *_: object) -> Codec:
        seen.append((n, k, m))
        return codec.kron(codec)

    monkeypatch.setattr("kernels.dispatch.deepen", deeper)
    model = nn.Sequential(nn.Linear(8, 16))
    x = torch.randn(3, 8)
    before = model(x)
    report = convert_linear(model, strassen, tokens=3)
    assert seen == [(3, 8, 16)]
    assert report.stl_multiplications / report.dense_multiplications == pytest.approx(49 / 64)
    assert torch.allclose(model(x), before, atol=1e-5)


def test_pair_of_layers(strassen2: Codec) -> None:
    up, down = nn.Linear(9, 14, dtype=torch.float64), nn.Linear(14, 6, dtype=torch.float64)
    first, second = STLLinear.from_linear(up, strassen2), STLLinear.from_linear(down, strassen2)
    x = torch.randn(2, 5, 9, dtype=torch.float64)
    expected = down(torch.nn.functional.gelu(up(x), approximate="tanh"))
    with torch.no_grad():
        assert torch.allclose(mlp(x, first, second), expected)
    x.requires_grad_()
    assert torch.allclose(mlp(x, first, second), expected)
    mlp(x, first, second).sum().backward()
    rectangular = STLLinear.from_linear(down, Codec((1, 1, 1), [[1.0]], [[1.0]], [[1.0]]))  # type: ignore[arg-type]
    with torch.no_grad():
        assert torch.allclose(mlp(x, first, rectangular), expected)
    with pytest.raises(StlError, match=r"second\.in_features"):
        mlp(x, first, first)
