"""The suite that needs an NVIDIA GPU: every dtype, bfloat16 included, at sizes where launches are real."""

from __future__ import annotations

import pytest
import torch

from kernels import (
    Codec,
    STLLinear,
    exact_matmul,
    fast_matmul,
    matmul_split,
    ops,
    plan_matmul,
    reference,
    rounding,
    routed,
    split_weight,
    stl_matmul,
)
from kernels.bench import measure

pytestmark = pytest.mark.gpu
cuda = torch.device("cuda")


def draw(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, device=cuda, dtype=torch.float32).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sizes", [(512, 768, 256), (253, 509, 131)], ids=str)
def test_error_below_twice_the_plain_one_and_on_the_closed_form(
    strassen2: Codec, sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    n, k, m = sizes
    x, w = draw(n, k, dtype=dtype), draw(k, m, dtype=dtype)
    ref = x.double() @ w.double()
    found = measure.compare(stl_matmul(x, w, strassen2), ref)
    e_x, e_w, d = strassen2.tensors(cuda, torch.promote_types(dtype, torch.float32))
    plain = measure.compare(reference.matmul_encoded(x, reference.encode(w, e_w, 4, 4), e_x, d, 4, 4, 4, m), ref)
    assert found.unwritten == 0
    assert found.rms <= 2 * plain.rms
    if dtype != torch.float64:
        assert found.rms == pytest.approx(rounding.closed_form(strassen2, dtype, k), rel=0.2)


@pytest.mark.parametrize("rank", [16, 24, 48])
def test_dense_random_codecs_in_bfloat16(rank: int) -> None:
    """Both forms of the kernels (coefficients at run time and in the code) on factors without structure."""
    from kernels.triton import dense, unrolled

    codec = Codec.random((4, 4, 4), rank)
    e, _, d = codec.tensors(cuda, torch.float32)
    x = draw(260, 1032, dtype=torch.bfloat16)
    expected = reference.encode(x.double(), e.double(), 4, 4)
    plain = measure.compare(reference.encode(x, e, 4, 4).flatten(1), expected.flatten(1)).rms
    poison = torch.full_like(expected, float("nan"), dtype=torch.bfloat16)
    for found in (dense.encode(x, e, 4, 4, out=poison), unrolled.encode(x, codec.recipes[0])):
        assert measure.compare(found.flatten(1), expected.flatten(1)).rms < 1.1 * plain
    p = draw(rank, 65, 258, dtype=torch.bfloat16)
    expected = reference.decode(p.double(), d.double(), 4, 4, 260, 1032)
    plain = measure.compare(reference.decode(p, d, 4, 4, 260, 1032), expected).rms
    for y in (dense.decode(p, d, 4, 4, 260, 1032), unrolled.decode(p, codec.recipes[2], 260, 1032)):
        assert measure.compare(y, expected).rms < 1.1 * plain


@pytest.mark.parametrize("rank", [16, 24, 49])
@pytest.mark.parametrize("sizes", [(512, 768, 1024), (253, 509, 131)], ids=str)
def test_a_strassen_level_in_the_channels_keeps_the_map(
    strassen: Codec, strassen2: Codec, rank: int, sizes: tuple[int, int, int]
) -> None:
    """The deeper codec multiplies as the plain one does, with rounding as its κ² says."""
    n, k, m = sizes
    codec = strassen2 if rank == 49 else Codec.random((4, 4, 4), rank)
    deeper = strassen.kron(codec)
    x, w = draw(n, k, dtype=torch.bfloat16), draw(k, m, dtype=torch.bfloat16)
    exact = stl_matmul(x.double(), w.double(), codec)
    e_x, e_w, d = deeper.tensors(cuda, torch.float32)
    plain = reference.matmul_encoded(x, reference.encode(w, e_w, 8, 8), e_x, d, 8, 8, 8, m)
    found = measure.compare(stl_matmul(x, w, deeper), exact)
    assert found.unwritten == 0
    assert found.rms <= 1.1 * measure.compare(plain, exact).rms


def test_gradients_agree_with_dense(strassen2: Codec) -> None:
    x = draw(256, 512, dtype=torch.float64).requires_grad_()
    w = draw(512, 128, dtype=torch.float64).requires_grad_()
    seed = draw(256, 128, dtype=torch.float64)
    ours = torch.autograd.grad(stl_matmul(x, w, strassen2), (x, w), seed)
    dense = torch.autograd.grad(x @ w, (x, w), seed)
    for a, b in zip(ours, dense, strict=True):
        assert measure.compare(a, b).rms < 1e-13


def test_opcheck_on_cuda(strassen: Codec) -> None:
    e_x, e_w, d = strassen.tensors(cuda, torch.float32)
    x = draw(9, 12, dtype=torch.float32).requires_grad_()
    w_hat = ops.encode(draw(12, 6, dtype=torch.float32), e_w, 2, 2, strassen.recipes[1]).requires_grad_()
    torch.library.opcheck(ops.matmul_encoded, (x, w_hat, e_x, d, None, 2, 2, 2, 6, strassen.recipes[0],
                                               strassen.recipes[2], ""))  # fmt: skip


def test_compile_graph_capture_streams_and_determinism(strassen2: Codec) -> None:
    layer = STLLinear.from_linear(torch.nn.Linear(512, 384, device=cuda, dtype=torch.bfloat16), strassen2)
    x = draw(256, 512, dtype=torch.bfloat16)
    with torch.no_grad():
        expected = layer(x)
        assert torch.equal(layer(x), expected)  # bitwise: every output has one owner and one order of summation
        compiled = torch.compile(layer, fullgraph=True)
        assert measure.compare(compiled(x), expected.double()).rms < 1e-2
        replay = measure.capture(lambda: layer(x))
        x.copy_(draw(256, 512, dtype=torch.bfloat16))
        replay()
        torch.cuda.synchronize()
        assert torch.equal(replay.output, layer(x))  # type: ignore[attr-defined]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            beside = layer(x)
        side.synchronize()
        assert torch.equal(beside, layer(x))


def test_more_than_two_to_the_31_elements(strassen: Codec) -> None:
    """An encoded activation of 2.9e9 entries: the far end is right, so indices did not wrap."""
    from kernels.triton import dense, unrolled

    x = torch.zeros(40960, 40960, device=cuda, dtype=torch.bfloat16)
    x[-2:, -2:] = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=cuda, dtype=torch.bfloat16)
    e, _, d = strassen.tensors(cuda, torch.float32)
    expected = (e @ torch.tensor([1.0, 2.0, 3.0, 4.0], device=cuda)).to(torch.bfloat16)
    for encoded in (unrolled.encode(x, strassen.recipes[0]), dense.encode(x, e, 2, 2)):
        assert encoded.numel() > 2**31
        assert torch.equal(encoded[:, -1, -1], expected)
        assert int(torch.count_nonzero(encoded[:, -1])) == int(torch.count_nonzero(expected))
        y = unrolled.decode(encoded, strassen.recipes[2], 40960, 40960)
        corner = (d @ expected.float()).reshape(2, 2).to(torch.bfloat16)
        assert torch.equal(y[-2:, -2:], corner)
        del encoded, y


def test_more_tile_rows_than_one_launch_holds(strassen: Codec) -> None:
    x = draw(2 * 66000, 64, dtype=torch.float32)
    e, _, d = strassen.tensors(cuda, torch.float32)
    encoded = ops.encode(x, e, 2, 2, strassen.recipes[0])
    assert measure.compare(encoded.flatten(1), reference.encode(x.double(), e.double(), 2, 2).flatten(1)).rms < 1e-6
    y = ops.decode(encoded, d, 2, 2, *x.shape, None, strassen.recipes[2], "")
    assert measure.compare(y, reference.decode(encoded.double(), d.double(), 2, 2, *x.shape)).rms < 1e-6


def test_fp8_products_round_as_predicted() -> None:
    from kernels import fp8

    codec = Codec.random((4, 4, 4), 16)
    x, w = draw(512, 1024, dtype=torch.bfloat16), draw(1024, 768, dtype=torch.bfloat16)
    weight = fp8.encode_weight_fp8(w, codec)
    exact = stl_matmul(x.double(), w.double(), codec)
    plain = measure.compare(fp8.reference_fp8(x, w, codec, 1.0), exact).rms
    bias = draw(768, dtype=torch.bfloat16)
    found = fp8.matmul_fp8(x, weight, codec, sigma=1.0)
    assert measure.compare(found, exact).rms < 1.2 * plain
    biased = fp8.matmul_fp8(x, weight, codec, sigma=1.0, bias=bias)
    assert measure.compare(biased, exact + bias.double()).rms < 1.2 * plain
    assert torch.isfinite(fp8.matmul_fp8(1000 * x, weight, codec, sigma=1.0)).all()  # saturates, no NaN


def test_fused_pair_of_layers(strassen2: Codec) -> None:
    from kernels.fused import mlp

    up = torch.nn.Linear(512, 1024, device=cuda, dtype=torch.bfloat16)
    down = torch.nn.Linear(1024, 256, device=cuda, dtype=torch.bfloat16)
    first, second = STLLinear.from_linear(up, strassen2), STLLinear.from_linear(down, strassen2)
    x = draw(300, 512, dtype=torch.bfloat16)
    with torch.no_grad():
        fused = mlp(x, first, second, "gelu")
        apart = second(torch.nn.functional.gelu(first(x), approximate="tanh"))
        exact = down.double()(torch.nn.functional.gelu(up.double()(x.double()), approximate="tanh"))
    assert measure.compare(fused, exact).rms <= 1.1 * measure.compare(apart, exact).rms


def test_fast_matmul_is_matmul() -> None:
    a, b = draw(2048, 4096, dtype=torch.float32), draw(4096, 3000, dtype=torch.float32)
    plan = plan_matmul(2048, 4096, 3000, torch.float32, cuda)
    assert plan.stages
    found = measure.compare(fast_matmul(a, b), a.double() @ b.double())
    assert found.rms == pytest.approx(plan.error, rel=0.3)


def test_fast_matmul_drops_in_for_float32_products() -> None:
    """Batched, transposed, into ``out``, compiled, routed, differentiated: split products, no worse than float32."""
    n, k, m = 4096, 5120, 4608
    assert plan_matmul(n, k, m, torch.float32, cuda).split
    a, b = draw(2, n // 2, k, dtype=torch.float32), draw(k, m, dtype=torch.float32)
    exact = (a.double() @ b.double()).flatten(0, 1)
    limit = measure.compare((a @ b).flatten(0, 1), exact).rms
    out = torch.full((2, n // 2, m), float("nan"), device=cuda)
    layer = torch.nn.Linear(k, m, bias=False, device=cuda)
    layer.weight.data = b.t()
    compiled = torch.compile(lambda x, y: fast_matmul(x, y) + 0.0, fullgraph=True)
    with routed():
        found = {"@": a @ b, "linear": layer(a).detach()}
    found |= {
        "plain": fast_matmul(a, b),
        "transposed": fast_matmul(a.mT.contiguous().mT, b.t().contiguous().t()),
        "out": fast_matmul(a, b, out=out),
        "compiled": compiled(a, b),
    }
    assert found["out"] is out
    for name, y in found.items():
        assert measure.compare(y.flatten(0, 1), exact).rms <= limit, name
    x, w, seed = a.flatten(0, 1).clone().requires_grad_(), b.clone().requires_grad_(), draw(n, m, dtype=torch.float32)
    fast_matmul(x, w).backward(seed)
    assert measure.compare(x.grad, seed.double() @ b.double().t()).rms < 2e-6
    assert measure.compare(w.grad, x.detach().double().t() @ seed.double()).rms < 2e-6


@pytest.mark.parametrize("sizes", [(1, 128, 64, 256), (5, 200, 72, 300), (49, 253, 517, 131), (7, 33, 1, 24)], ids=str)
def test_specialised_warps(sizes: tuple[int, int, int, int]) -> None:
    """Whole tiles and edges in every direction, against float64 and as accurate as the halves allow."""
    from kernels.triton import hopper

    if not hopper.specialises(cuda):
        pytest.skip("needs compute capability 9.0")
    r, n, k, m = sizes
    x, w = draw(r, n, k, dtype=torch.float32), draw(r, k, m, dtype=torch.float32)
    halves = []
    for t in (x, w):
        width = t.shape[2]
        pair = torch.zeros(2, *t.shape[:2], -(-width // 8) * 8, device=cuda, dtype=torch.float16)[..., :width]
        pair[0] = t.half()
        pair[1] = (t - pair[0].float()).half()
        halves.append(pair)
    room = torch.full((r, n, -(-m // 4) * 4 + 4), float("nan"), device=cuda)
    y = hopper.bmm_split(*halves, room[..., :m], 132)
    found = measure.compare(y.flatten(1), (x.double() @ w.double()).flatten(1))
    assert found.unwritten == 0
    assert found.rms < 4e-7
    assert room[..., -(-m // 4) * 4 :].isnan().all()  # nothing beyond the edge was touched, but for whole 16 bytes


@pytest.mark.parametrize(("inner", "promoted"), [(1024, True), (8192, True), (8192, False)])
def test_split_products_err_as_predicted_and_no_more_than_float32(strassen2: Codec, inner: int, promoted: bool) -> None:
    a, b = draw(1024, inner, dtype=torch.float32), draw(inner, 1024, dtype=torch.float32)
    exact = a.double() @ b.double()
    found = measure.compare(matmul_split(a, split_weight(b, strassen2), promoted=promoted), exact)
    assert found.rms == pytest.approx(rounding.split_error(strassen2, inner, promoted), rel=0.2)
    if promoted and inner > 1024:
        assert found.rms <= measure.compare(a @ b, exact).rms


def test_exact_products_on_int8_units() -> None:
    a, b = torch.randint(-(2**26), 2**26, (300, 500)), torch.randint(-(2**26), 2**26, (500, 200))
    for modulus in (None, 251, 2**31 - 1):
        here = exact_matmul(a.cuda(), b.cuda(), modulus=modulus)
        assert torch.equal(here.cpu(), exact_matmul(a, b, modulus=modulus))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("n", [256, 2048, 6144])
def test_fast_matmul_is_never_slower(n: int, dtype: torch.dtype) -> None:
    a, b = draw(n, n, dtype=dtype), draw(n, n, dtype=dtype)
    fast_matmul(a, b)
    providers = {"dense": lambda: a @ b, "fast": lambda: fast_matmul(a, b)}
    times = measure.steady(providers, cuda, rounds=3, warmup=50, rep=50)
    assert times["fast"][0] < 1.02 * times["dense"][0] + 0.003
