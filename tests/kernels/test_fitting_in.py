"""Layers inside other people's code: transforms, exporters, wrappers, saving, distributed training."""

from __future__ import annotations

import copy
import io
import os
import tempfile

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kernels import (
    Codec,
    STLAttention,
    STLConv2d,
    STLLinear,
    convert_linear,
    layout,
    restore,
    unconvert,
)
from kernels.experiments import starts
from stl_algebra.errors import StlError

MIXING = starts.fourier(24, 0, tries=3)


def test_forward_mode_is_the_derivative_not_zero(strassen2: Codec) -> None:
    dense = nn.Linear(9, 5, dtype=torch.float64)
    layer = STLLinear.from_linear(dense, strassen2)
    x, t = torch.randn(2, 2, 3, 9, dtype=torch.float64)
    for f in (layer, STLLinear.from_linear(dense, strassen2, "trainable")):
        value, tangent = torch.func.jvp(f, (x,), (t,))
        assert torch.allclose(value, dense(x))
        assert torch.allclose(tangent, t @ dense.weight.T)
    with torch.autograd.forward_ad.dual_level():
        y = layer(torch.autograd.forward_ad.make_dual(x, t))
        assert torch.allclose(torch.autograd.forward_ad.unpack_dual(y).tangent, t @ dense.weight.T)


def test_transforms_compose(strassen2: Codec) -> None:
    dense = nn.Linear(8, 4, dtype=torch.float64)
    layer = STLLinear.from_linear(dense, strassen2)
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    assert torch.allclose(torch.func.vmap(layer)(x), dense(x))
    assert torch.allclose(torch.func.jacfwd(layer)(x[0]), torch.func.jacrev(dense)(x[0]))
    assert torch.allclose(torch.func.hessian(lambda v: layer(v).square().sum())(x[0]),
                          torch.func.hessian(lambda v: dense(v).square().sum())(x[0]))  # fmt: skip


def test_exported_graphs_hold_plain_operators(strassen2: Codec) -> None:
    layer = STLLinear.from_linear(nn.Linear(8, 4), strassen2)
    x = torch.randn(2, 8, 8)
    program = torch.export.export(layer, (x,))
    assert not [n for n in program.graph.nodes if "stl_algebra" in str(n.target)]
    assert torch.allclose(program.module()(x), layer(x), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"rows": "batch"}, {"mode": "dense", "scale_rows": True}], ids=str)
def test_onnx_holds_standard_operators(options: dict[str, object]) -> None:
    pytest.importorskip("onnxscript")
    evaluate = pytest.importorskip("onnx.reference").ReferenceEvaluator
    layer = STLLinear.from_linear(nn.Linear(10, 6), MIXING, **{"mode": "trainable", **options}).eval()
    x = torch.randn(3, 7, 10)
    model = torch.onnx.export(layer, (x,), dynamo=True, verbose=False).model_proto
    assert {node.domain for node in model.graph.node} == {""}
    y = evaluate(model).run(None, {model.graph.input[0].name: x.numpy()})[0]
    assert torch.allclose(torch.from_numpy(y), layer(x), atol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "trainable", "dense"])
def test_dense_view(strassen2: Codec, mode: str) -> None:
    dense = nn.Linear(10, 6)
    layer = STLLinear.from_linear(dense, strassen2, mode)
    assert torch.allclose(layer.weight, dense.weight, atol=1e-6)
    back = layer.to_dense()
    assert type(back) is nn.Linear
    assert torch.equal(back.bias, dense.bias)
    assert isinstance(layer.weight, nn.Parameter) == (mode == "dense")


def test_dense_view_is_the_nearest_row_wise_map() -> None:
    """No other matrix predicts the layer better: the residual is uncorrelated with the row itself."""
    layer = STLLinear(8, 8, MIXING, bias=False, dtype=torch.float64)
    x = torch.randn(20000, 4, 8, dtype=torch.float64)
    residual = layer(x) - x @ layer.weight.T
    correlation = torch.einsum("bik,bij->kj", x, residual) / x[..., 0].numel()
    assert float(correlation.abs().max()) < 0.05
    assert float(residual.norm() / layer(x).norm()) > 0.3  # and it does leave something out


@pytest.mark.parametrize("attention", [True, False])
def test_encoder_layer_runs_through_the_stl_layers(attention: bool) -> None:
    """Its fused inference path would multiply by the dense views, silently."""
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0).eval()
    stack = nn.TransformerEncoder(copy.deepcopy(block), 2).eval()
    x = torch.randn(3, 8, 16)
    mask = torch.zeros(3, 8, dtype=torch.bool)
    for model in (block, stack):
        convert_linear(model, MIXING, lambda name, _: attention or "attn" not in name)
        layers = [m for m in model.modules() if isinstance(m, STLLinear)]
        assert len(layers) == (6 if attention else 2) * (2 if model is stack else 1)
        trained = model(x, src_key_padding_mask=mask)  # with gradients there is no fused path
        with torch.no_grad():
            assert torch.allclose(model(x, src_key_padding_mask=mask), trained, atol=1e-5)


def test_attention_matches_torch(strassen2: Codec) -> None:
    for batch_first in (True, False):
        dense = nn.MultiheadAttention(12, 3, batch_first=batch_first, dtype=torch.float64).eval()
        ours = STLAttention(dense, strassen2)
        q, k = torch.randn(4, 5, 12, dtype=torch.float64), torch.randn(4, 7, 12, dtype=torch.float64)
        if not batch_first:
            q, k = q.transpose(0, 1), k.transpose(0, 1)
        shut = torch.rand(4, 7) < 0.3
        shut[:, 0] = False
        allowed = torch.zeros(5, 7, dtype=torch.bool)
        allowed[0, 3:] = True
        for options in ({}, {"key_padding_mask": shut}, {"attn_mask": allowed, "key_padding_mask": shut}):
            for need in (True, False):
                y, w = ours(q, k, k, need_weights=need, **options)
                y0, w0 = dense(q, k, k, need_weights=need, **options)
                assert torch.allclose(y, y0)
                assert (w is None) == (w0 is None)
                assert w is None or torch.allclose(w, w0)
    with pytest.raises(StlError, match="in_proj_weight"):
        STLAttention(nn.MultiheadAttention(12, 3, kdim=4), strassen2)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "bias": False}], ids=str)
def test_convolution_matches_torch(strassen2: Codec, options: dict[str, object]) -> None:
    dense = nn.Conv2d(3, 5, (3, 2), dtype=torch.float64, **options)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    assert torch.allclose(STLConv2d(dense, strassen2)(x), dense(x))
    with pytest.raises(StlError, match="groups"):
        STLConv2d(nn.Conv2d(4, 4, 3, groups=2), strassen2)


def test_empty_layers_keep_their_codec(strassen2: Codec) -> None:
    layer = STLLinear(8, 8, strassen2, mode="frozen", device="meta").to_empty(device="cpu")
    assert torch.equal(layer.e_x, strassen2.tensors("cpu", torch.float32)[0])
    layer.reset_parameters()
    assert bool(torch.isfinite(layer(torch.randn(4, 8))).all())


def test_layout_rebuilds_a_converted_model(strassen2: Codec) -> None:
    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.TransformerEncoderLayer(12, 2, 16, batch_first=True))

    model = fresh().eval()
    convert_linear(model, MIXING, mode="trainable", train_codec=True)
    stream = io.BytesIO()
    torch.save({"layout": layout(model), "state": model.state_dict()}, stream)
    stream.seek(0)
    saved = torch.load(stream)
    other = restore(fresh().eval(), saved["layout"])
    other.load_state_dict(saved["state"])
    x = torch.randn(2, 8, 8)
    assert torch.equal(model(x), other(x))
    assert len(saved["layout"]["codecs"]) == 1
    with pytest.raises(StlError, match="layout"):
        restore(nn.Sequential(nn.Linear(3, 3)), saved["layout"])
    names = unconvert(model)
    assert "0" in names
    assert not any(isinstance(m, STLLinear) for m in model.modules())
    assert model(x).shape == other(x).shape


def test_fused_experts_are_named_as_skipped_and_experts_of_layers_convert(strassen2: Codec) -> None:
    class FusedExperts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate_up_proj, self.down_proj = nn.Parameter(torch.randn(4, 8, 32)), nn.Parameter(torch.randn(4, 16, 8))

    model = nn.ModuleDict({"fused": FusedExperts(), "listed": nn.ModuleList(nn.Linear(8, 8) for _ in range(2))})
    report = convert_linear(model, strassen2)
    assert report.converted == ["listed.0", "listed.1"]
    assert [name for name, _ in report.skipped] == ["fused.gate_up_proj", "fused.down_proj"]
    assert "fused expert weights" in report.skipped[0][1]


def test_unconvert_undoes_an_exact_conversion(strassen2: Codec) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    x = torch.randn(3, 8, dtype=torch.float64)
    before = model(x)
    convert_linear(model, strassen2)
    unconvert(model)
    assert torch.allclose(model(x), before)


def test_flop_counter_counts_channels_and_codec(strassen2: Codec) -> None:
    import kernels.flops  # noqa: F401

    layer = STLLinear.from_linear(nn.Linear(64, 64, bias=False), strassen2)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(64, 64))
    channels = 2 * 49 * 16**3
    assert counter.get_total_flops() > channels
    assert counter.get_total_flops() < 2 * channels
    wide = STLLinear(64, 64, MIXING, train_codec=True)
    with FlopCounterMode(display=False) as counter:
        wide(torch.randn(64, 64))
    assert counter.get_total_flops() == 2 * 24 * 16**3 + 2 * 2 * 24 * 16 * 16 * 16


def test_report_says_whether_it_pays() -> None:
    model = nn.Sequential(nn.Linear(32, 32))
    assert convert_linear(copy.deepcopy(model), MIXING).pays is None
    report = convert_linear(model, MIXING, example=torch.randn(4, 8, 32))
    assert report.pays is False
    assert "does not pay" in str(report)
    assert f"{MIXING.epsilon2:.3g}" in str(report)


def _worker(rank: int, store: str) -> None:
    """Replicated and fully sharded, each process with its half of the batch, against one process with all of it."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    x = torch.arange(2 * 4 * 8, dtype=torch.float64).view(2, 4, 8) / 100
    for mode in ("trainable", "dense"):
        torch.manual_seed(0)
        options = {"mode": mode, "train_codec": mode == "trainable", "dtype": torch.float64}
        alone = nn.Sequential(STLLinear(8, 12, starts.exact(), **options), nn.Tanh(),
                              STLLinear(12, 4, starts.exact(), **options))  # fmt: skip
        replicated, sharded = copy.deepcopy(alone), copy.deepcopy(alone)
        fully_shard([sharded[0], sharded[2]], mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        wrapped = DistributedDataParallel(replicated)
        wrapped(x[rank]).square().sum().backward()
        sharded(x[rank]).square().sum().backward()
        (alone(x[0]).square().sum() / 2 + alone(x[1]).square().sum() / 2).backward()
        for one, part, whole in zip(*(m.parameters() for m in (replicated, sharded, alone)), strict=True):
            assert torch.allclose(one.grad, whole.grad)
            assert part.to_local().numel() < whole.numel()
            assert torch.allclose(part.grad.full_tensor(), whole.grad)
    dist.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_replicated_and_sharded_gradients_are_those_of_the_whole_batch() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_worker, (os.path.join(folder, "store"),), nprocs=2)


def test_autocast_checkpoint_and_compile(strassen2: Codec) -> None:
    from torch.utils.checkpoint import checkpoint

    layer = STLLinear(16, 8, strassen2, mode="dense")
    x = torch.randn(2, 8, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    y = checkpoint(layer, x, use_reentrant=False)
    y.sum().backward()
    assert layer.weight.grad is not None
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), layer(x), atol=1e-6)
