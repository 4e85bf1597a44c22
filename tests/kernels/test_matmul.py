"""`fast_matmul` as a drop-in for `torch.matmul`: shapes, strides, out, gradients, compilation, routing, plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernels import Codec, dispatch, fast_matmul, matmul, plan_matmul, rounding, routed
from kernels.bench.measure import compare
from kernels.devices import load_device
from stl_algebra.errors import StlError


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for free and nothing too small: algebra always pays."""
    names = ("fp64", "fp32", "bf16", "fp16")
    flat = {name: [(1.0, 1.0)] for name in names}
    free = replace(load_device("cpu"), bandwidth=dict.fromkeys(names, 1e9), launch_us=0.0, dense=flat, batched=flat)
    monkeypatch.setattr(dispatch, "load_device", lambda device: free)
    monkeypatch.setattr(matmul, "SMALL", 0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "shapes",
    [((33, 40), (40, 17)), ((2, 33, 40), (40, 17)), ((2, 33, 40), (2, 40, 17)), ((33, 40), (3, 40, 17)),
     ((2, 1, 33, 40), (3, 40, 17)), ((40,), (40, 17)), ((40,), (2, 40, 17)), ((33, 0), (0, 17)), ((0, 40), (40, 17)),
     ((33, 1), (1, 17))],
    ids=str,
)  # fmt: skip
def test_shapes_of_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = draw(*shapes[0]), draw(*shapes[1])
    expected = a @ b
    out = torch.full_like(expected, float("nan"))
    for found in (fast_matmul(a, b), fast_matmul(a, b, out=out), fast_matmul(a.mT.contiguous().mT, b.mT.contiguous().mT)
                  if a.dim() > 1 else expected):  # fmt: skip
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(out, fast_matmul(a, b))


@pytest.mark.usefixtures("eager")
def test_the_plans_here_are_not_dense() -> None:
    """Otherwise the tests of this file would test nothing."""
    assert plan_matmul(33, 40, 17, torch.float64, "cpu").stages
    assert plan_matmul(33, 40, 17, torch.float64, "cpu") is plan_matmul(33, 40, 17, torch.float64, "cpu")


@pytest.mark.usefixtures("eager")
def test_gradients(strassen: Codec) -> None:
    a, b = draw(6, 5).requires_grad_(), draw(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(fast_matmul, (a, b))
    assert torch.autograd.gradgradcheck(fast_matmul, (a, b))
    assert torch.autograd.gradcheck(lambda x, y: fast_matmul(x, y, strassen), (a, b))
    torch.library.opcheck(matmul._product, (a, b, "auto", None))
    torch.library.opcheck(matmul._product, (a, b, matmul._text(strassen), 1e-3))


@pytest.mark.usefixtures("eager")
def test_compiled_without_a_break(strassen: Codec) -> None:
    a, b = draw(2, 9, 6), draw(6, 8).requires_grad_()
    for encoder in ("auto", strassen):
        compiled = torch.compile(lambda x, y, e=encoder: fast_matmul(x, y, e).relu().sum(), backend="aot_eager",
                                 fullgraph=True)  # fmt: skip
        compiled(a, b).backward()
        expected = (a.flatten(0, 1).t() @ ((a @ b) > 0).double().flatten(0, 1)).detach()
        assert torch.allclose(b.grad, expected)
        b.grad = None


def test_a_codec_survives_its_text(strassen2: Codec) -> None:
    rectangular = Codec.random((2, 3, 4), 5).kron(Codec.random((2, 1, 2), 3))
    for codec in (strassen2, rectangular):
        again = matmul._codec(matmul._text(codec))
        assert isinstance(again, Codec)
        assert again.format == codec.format
        for one, other in zip(again.floats(), codec.floats(), strict=True):
            assert abs(one - other).max() < 1e-14


def test_small_products_are_torchs_own() -> None:
    a, b = torch.randn(30, 40), torch.randn(40, 20)
    assert torch.equal(fast_matmul(a, b), a @ b)
    assert torch.equal(fast_matmul(a[0], b[:, 0]), a[0] @ b[:, 0])
    for argument, call in {
        "b.shape": lambda: fast_matmul(a, b.t()),
        "b.dtype": lambda: fast_matmul(a, b.double()),
        "a": lambda: fast_matmul([1.0], b),
        "a.dtype": lambda: fast_matmul(a.long(), b),
    }.items():
        with pytest.raises(StlError) as error:
            call()
        assert error.value.argument == argument


@pytest.mark.usefixtures("eager")
def test_autocast_decides_the_dtype() -> None:
    a, b = torch.randn(20, 30), torch.randn(30, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast_matmul(a, b).dtype == torch.matmul(a, b).dtype == torch.bfloat16


@pytest.mark.usefixtures("eager")
def test_out_of_the_wrong_kind_is_refused() -> None:
    a, b = draw(8, 6), draw(6, 4)
    with pytest.raises(StlError, match="out"):
        fast_matmul(a, b, out=torch.empty(8, 5, dtype=torch.float64))
    with pytest.raises(StlError, match="encoder"):
        fast_matmul(a, b, "fastest")


def test_routing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to write a large float32 product goes there, nothing else does, and it ends with the block."""
    seen = []
    monkeypatch.setattr(matmul, "fast_matmul", lambda a, b, rtol: seen.append((a.dtype, rtol)) or torch.matmul(a, b))
    monkeypatch.setattr(matmul, "SMALL", 20_000)
    a, b, bias = torch.randn(12, 16), torch.randn(16, 20), torch.randn(20)
    layer = torch.nn.Linear(16, 20)
    with routed(rtol=1e-4):
        found = [a @ b, torch.matmul(a, b), torch.mm(a, b), a.mm(b), torch.nn.functional.linear(a, b.t()),
                 torch.nn.functional.linear(a, b.t(), bias) - bias]  # fmt: skip
        assert layer(a).shape == (12, 20)
        assert seen == [(torch.float32, 1e-4)] * 7
        _ = a[:2] @ b, a.double() @ b.double(), a[0] @ b, a @ b[:, 0]
        assert len(seen) == 7
    assert all(torch.allclose(y, a @ b, atol=1e-5) for y in found)
    assert len(seen) == 7


def test_plans_for_machines_that_are_not_here() -> None:
    for name in ("nvidia_h200", "NVIDIA H200"):
        plan = plan_matmul(16384, 16384, 16384, torch.float32, name)
        assert plan.stages and plan.speedup > 1.4
        assert plan_matmul(64, 64, 64, torch.float32, name).label == "dense"
    with pytest.raises(StlError, match="nvidia_h200"):
        plan_matmul(64, 64, 64, torch.float32, "nvidia_z9")
    shapes = [(n, k, m) for n in (512, 1000, 8192) for k in (512, 8192) for m in (777, 8192)]
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for shape in shapes:
            plan = plan_matmul(*shape, dtype, "nvidia_h200")
            assert plan.label == "dense" or plan.milliseconds < dispatch.MARGIN * plan.dense_milliseconds


def test_a_split_product_is_planned_where_it_was_measured() -> None:
    fast = replace(load_device("nvidia_h200"), batched=load_device("nvidia_h200").batched | {"split": [(1024, 200.0)]})
    plan = dispatch._plan(8192, 8192, 8192, torch.float32, fast, "auto", None)
    assert plan.split
    assert plan.label != "split plain"
    assert plan.error <= rounding.staged_error((), torch.float32, 8192) / 2  # no worse than float32 at its best
    loose = dispatch._plan(8192, 8192, 8192, torch.float32, fast, "auto", 1e-4)
    assert loose.split
    assert loose.milliseconds <= plan.milliseconds
    tight = dispatch._plan(8192, 8192, 8192, torch.float32, fast, "auto", 4e-7)
    assert tight.label == "split plain"
    assert not dispatch._plan(8192, 8192, 8192, torch.float64, fast, "auto", None).split


def test_tf32_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "tf32_products", lambda: True)
    assert plan_matmul(16384, 16384, 16384, torch.float32, "nvidia_h200").label == "dense"
    assert plan_matmul(16384, 16384, 16384, torch.float64, "nvidia_h200").label != "dense"


@pytest.mark.usefixtures("eager")
def test_a_split_plan_runs(monkeypatch: pytest.MonkeyPatch, strassen: Codec) -> None:
    plan = dispatch.Plan((strassen,), "split strassen^1", 1.0, 2.0, 1e-6, True)
    monkeypatch.setattr(matmul, "plan_matmul", lambda *args, **rest: plan)
    monkeypatch.setattr("kernels.split.runs_triton", lambda x: False)
    a, b = torch.randn(2, 20, 30), torch.randn(30, 10)
    for x, y in ((a, b), (a.mT.contiguous().mT, b.t().contiguous().t())):
        found = fast_matmul(x, y)
        assert compare(found.flatten(0, 1), (a.double() @ b.double()).flatten(0, 1)).rms < 1e-6
        assert torch.equal(found, fast_matmul(x, y, out=torch.empty(2, 20, 10)))
    a.requires_grad_()
    fast_matmul(a, b).sum().backward()
    assert compare(a.grad.flatten(0, 1), b.double().sum(1).expand(40, 30)).rms < 1e-6
