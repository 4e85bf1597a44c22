"""The custom operators: opcheck, gradients, compilation, the public functions and what they refuse."""

from __future__ import annotations

import pytest
import torch

from kernels import Codec, encode_weight, functional, ops, reference, stl_matmul, stl_matmul_encoded
from kernels.bench.measure import compare
from stl_algebra.errors import StlError

FORMATS = {"square": ((2, 2, 2), 6), "rectangular": ((2, 3, 1), 4), "the trivial tile": ((1, 1, 1), 1)}


def operands(codec: Codec, height: int, inner: int, width: int, dtype: torch.dtype = torch.float64) -> tuple:
    x = torch.randn(height, inner, dtype=dtype, requires_grad=True)
    w = torch.randn(inner, width, dtype=dtype, requires_grad=True)
    return x, w


def arguments(codec: Codec, dtype: torch.dtype = torch.float64, grad: bool = True) -> tuple:
    """Arguments of ops.matmul_encoded with everything requiring gradients, sizes ragged."""
    n, m, p = codec.format
    e_x, e_w, d = codec.tensors("cpu", dtype)
    x, w = operands(codec, 2 * n + 1, 2 * m + 1, 2 * p + 1, dtype)
    w_hat = reference.encode(w.detach(), e_w, m, p).requires_grad_(grad)
    bias = torch.randn(w.shape[1], dtype=dtype, requires_grad=grad)
    x.requires_grad_(grad)
    return (x, w_hat, e_x.clone().requires_grad_(grad), d.clone().requires_grad_(grad), bias, n, m, p, w.shape[1],
            "", "", "")  # fmt: skip


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS.keys())
def test_opcheck(fmt: tuple) -> None:
    codec = Codec.random(*fmt)
    n, m, p = codec.format
    e_x, _, d = codec.tensors("cpu", torch.float32)
    x = torch.randn(5, 7, requires_grad=True)
    torch.library.opcheck(ops.encode, (x, e_x, n, m, ""))
    products = torch.randn(codec.rank, -(-5 // n), -(-7 // p), requires_grad=True)
    torch.library.opcheck(ops.decode, (products, d, n, p, 5, 7, torch.randn(7), "", ""))
    torch.library.opcheck(ops.matmul_encoded, arguments(codec, torch.float32))
    if (n, p) == (n, m):
        torch.library.opcheck(ops.transcode, (products.detach(), d, e_x, n, p, 5, 7, torch.randn(7), "", "", "relu"))


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS.keys())
def test_gradients_to_everything(fmt: tuple) -> None:
    codec = Codec.random(*fmt)
    args = arguments(codec)

    def f(x: torch.Tensor, w_hat: torch.Tensor, e_x: torch.Tensor, d: torch.Tensor, bias: torch.Tensor) -> object:
        return ops.matmul_encoded(x, w_hat, e_x, d, bias, *args[5:])

    assert torch.autograd.gradcheck(f, args[:5])
    assert torch.autograd.gradgradcheck(f, args[:5])


def test_gradient_of_the_whole_product_is_that_of_matmul(strassen2: Codec) -> None:
    """An exact encoder has exact gradients: they are STL products of the transposed tensor."""
    x, w = operands(strassen2, 9, 11, 6)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    seed = torch.randn(9, 6, dtype=torch.float64)
    ours = torch.autograd.grad(stl_matmul(x, w, strassen2, bias=bias), (x, w, bias), seed)
    dense = torch.autograd.grad(x @ w + bias, (x, w, bias), seed)
    for a, b in zip(ours, dense, strict=True):
        assert compare(a, b).rms < 1e-13
    transposed = strassen2.transposed()
    assert compare(stl_matmul(seed, w.detach().t(), transposed), dense[0]).rms < 1e-13


def test_only_x_is_saved(strassen: Codec) -> None:
    """Backward memory is no worse than saving x: nothing of the encoded activation is kept."""
    x, w = operands(strassen, 8, 8, 8)
    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(tuple(t.shape)), t)[1], lambda t: t):
        w_hat = encode_weight(w, strassen).detach()
        saved.clear()
        stl_matmul_encoded(x, w_hat, strassen, 8)
    assert sorted(saved) == sorted([(8, 8), (7, 4, 4), (7, 4), (4, 7)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_error_is_that_of_the_closed_form(strassen2: Codec, dtype: torch.dtype) -> None:
    from kernels.rounding import closed_form

    x = torch.randn(96, 128, dtype=torch.float32).to(dtype)
    w = torch.randn(128, 64, dtype=torch.float32).to(dtype)
    found = compare(stl_matmul(x, w, strassen2), x.double() @ w.double()).rms
    if dtype == torch.float64:
        assert found < 1e-14
    else:
        assert found == pytest.approx(closed_form(strassen2, dtype, 128), rel=0.25)


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 3), (0,), (2, 0, 3)], ids=str)
def test_any_leading_shape(strassen: Codec, lead: tuple[int, ...]) -> None:
    x, w = torch.randn(*lead, 5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    y = stl_matmul(x, w, strassen)
    assert y.shape == (*lead, 3)
    assert torch.allclose(y, x @ w)


@pytest.mark.parametrize("sizes", [(0, 4, 4), (4, 0, 4), (4, 4, 0), (0, 0, 0)], ids=str)
def test_zero_sizes(strassen: Codec, sizes: tuple[int, int, int]) -> None:
    x, w = operands(strassen, *sizes)
    y = stl_matmul(x, w, strassen)
    assert torch.equal(y, x @ w)
    y.sum().backward()
    assert x.grad is not None
    assert w.grad is not None


def test_strides_do_not_matter(strassen: Codec) -> None:
    x = torch.randn(12, 10, dtype=torch.float64)[::2, ::2]
    w = torch.randn(4, 5, dtype=torch.float64).t()
    assert not x.is_contiguous()
    assert torch.allclose(stl_matmul(x, w, strassen), x @ w)
    row = torch.randn(1, 5, dtype=torch.float64).expand(6, 5)
    assert torch.allclose(stl_matmul(row, w, strassen), row @ w)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(strassen: Codec, dynamic: bool) -> None:
    w = torch.randn(6, 4)
    w_hat = encode_weight(w, strassen)
    f = torch.compile(lambda x: stl_matmul_encoded(x, w_hat, strassen, 4, activation="relu") * 2, fullgraph=True,
                      dynamic=dynamic, backend="aot_eager")  # fmt: skip
    for rows in (3, 5):
        x = torch.randn(rows, 6)
        assert torch.allclose(f(x), torch.relu(x @ w) * 2, atol=1e-4)


def test_autocast_behaves_like_matmul(strassen: Codec) -> None:
    x, w = torch.randn(4, 6), torch.randn(6, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert stl_matmul(x, w, strassen).dtype == (x @ w).dtype == torch.bfloat16


def test_fused_activation_and_gradient_agree(strassen: Codec) -> None:
    x, w = operands(strassen, 4, 4, 4)
    for name in functional.ACTIVATION_NAMES:
        with torch.no_grad():
            fused = stl_matmul(x, w, strassen, activation=name)
        learning = stl_matmul(x, w, strassen, activation=name)
        assert torch.allclose(fused, learning)
        learning.sum().backward()
    args = arguments(strassen)
    y = ops.matmul_encoded(*args[:-1], "relu")
    with pytest.raises(RuntimeError, match="no gradient"):
        y.sum().backward()


def test_refusals_name_the_cure(strassen: Codec) -> None:
    x, w = torch.randn(4, 6), torch.randn(6, 4)
    cases = {
        "w.dtype": lambda: stl_matmul(x, w.double(), strassen),
        "x.dtype": lambda: stl_matmul(x.long(), w, strassen),
        "w.shape": lambda: stl_matmul(x, w.t(), strassen),
        "w.device": lambda: stl_matmul(x, w.to("meta"), strassen),
        "fallback": lambda: stl_matmul(x, w, strassen, fallback="maybe"),
        "activation": lambda: stl_matmul(x, w, strassen, activation="tanh"),
        "bias.shape": lambda: stl_matmul(x, w, strassen, bias=torch.zeros(5)),
        "bias.dtype": lambda: stl_matmul(x, w, strassen, bias=torch.zeros(4).double()),
        "w_hat.shape": lambda: stl_matmul_encoded(x, torch.zeros(7, 2, 2), strassen, 4),
        "w": lambda: stl_matmul(x, [[1.0]], strassen),  # type: ignore[arg-type]
    }
    for argument, call in cases.items():
        with pytest.raises(StlError) as error:
            call()
        assert error.value.argument == argument
