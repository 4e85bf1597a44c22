"""Every Triton kernel against the plain reference, in the CPU interpreter (or on the GPU when there is one).

Float32 and float16 only: the interpreter's bfloat16 dot products are silently wrong.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from kernels import recipes, reference
from kernels.bench.measure import compare
from kernels.codec import Codec
from kernels.triton import dense, gemm, nested, unrolled

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float64: 1e-14, torch.float32: 6e-7, torch.float16: 6e-4}

SHAPES = {
    "square and whole": (16, 32),
    "ragged both ways": (13, 29),
    "smaller than a tile": (1, 1),
    "one long row": (1, 67),
}
FORMATS = [(2, 2, 2, 7), (4, 4, 4, 20), (3, 2, 3, 15), (2, 3, 1, 5)]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """‖found − expected‖ / ‖expected‖; NaN where anything is NaN, so that it never passes."""
    return compare(found, expected).rms


def poisoned(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    """An output buffer in which every entry a kernel forgets stays NaN."""
    return torch.full(shape, float("nan"), dtype=dtype, device=DEVICE)


def draw(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).to(dtype).to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_dense_encode_and_decode(fmt: tuple[int, ...], shape: tuple[int, int], dtype: torch.dtype) -> None:
    n, m, p, r = fmt
    height, width = shape
    codec = Codec.random((n, m, p), r)
    e, _, d = codec.tensors(DEVICE, torch.float32)
    x = draw(height, width, dtype=dtype)
    out = poisoned(r, -(-height // n), -(-width // m), dtype=dtype)
    expected = reference.encode(x.double(), e.double(), n, m)
    assert relative(dense.encode(x, e, n, m, out=out), expected) < TOLERANCE[dtype]
    strided = x.t().contiguous().t()
    assert relative(dense.encode(strided, e, n, m), expected) < TOLERANCE[dtype]
    products = draw(r, -(-height // n), -(-width // p), dtype=dtype)
    bias = draw(width, dtype=dtype)
    y = poisoned(height, width, dtype=dtype)
    exact = torch.relu(reference.decode(products.double(), d.double(), n, p, height, width) + bias.double())
    found = dense.decode(products, d, n, p, height, width, bias=bias, activation="relu", out=y)
    assert relative(found, exact) < TOLERANCE[dtype]


def test_dense_kernels_in_float64_and_by_few_programs(strassen2: Codec) -> None:
    e, _, d = strassen2.tensors(DEVICE, torch.float64)
    x = draw(21, 35, dtype=torch.float64)
    expected = reference.encode(x, e, 4, 4)
    assert relative(dense.encode(x, e, 4, 4, programs=2), expected) < TOLERANCE[torch.float64]
    products = draw(49, 6, 9, dtype=torch.float64)
    found = dense.decode(products, d, 4, 4, 21, 35)
    assert relative(found, reference.decode(products, d, 4, 4, 21, 35)) < TOLERANCE[torch.float64]


@pytest.mark.parametrize("activation", ["", "relu", "gelu", "silu"])
def test_fused_activations(strassen: Codec, activation: str) -> None:
    d = strassen.tensors(DEVICE, torch.float32)[2]
    recipe = recipes.recipe(strassen.d.T, 2, 2)
    products = draw(7, 5, 6, dtype=torch.float32)
    bias = draw(11, dtype=torch.float32)
    plain = reference.activate(reference.decode(products, d, 2, 2, 9, 11) + bias, activation)
    whole = dense.decode(products, d, 2, 2, 9, 11, bias=bias, activation=activation)
    straight = unrolled.decode(products, recipe, 9, 11, bias=bias, activation=activation)
    assert relative(whole, plain) < 1e-6
    assert relative(straight, plain) < 1e-6


def test_coefficients_are_not_rounded_to_sixteen_bits() -> None:
    """1/3 is not a float16: without the split into two parts its rounding error would show in every entry."""
    e = torch.full((1, 16), 1 / 3, device=DEVICE)
    x = torch.ones(8, 64, dtype=torch.float16, device=DEVICE)
    exact = 16 / 3
    found = dense.encode(x, e, 4, 4).double()
    rounded = dense.encode(x, e, 4, 4, exact16=True).double()
    assert float((found - exact).abs().max()) <= float((torch.tensor(exact).half().double() - exact).abs()) + 1e-12
    assert float((rounded - exact).abs().max()) > 1e-3


@pytest.mark.parametrize("empty", [(0, 8), (8, 0), (0, 0)])
def test_nothing_in_nothing_out(strassen: Codec, empty: tuple[int, int]) -> None:
    e, _, d = strassen.tensors(DEVICE, torch.float32)
    x = torch.empty(*empty, device=DEVICE)
    recipe = recipes.recipe(strassen.e_x, 2, 2)
    expected = (7, -(-empty[0] // 2), -(-empty[1] // 2))
    assert tuple(dense.encode(x, e, 2, 2).shape) == expected
    assert tuple(unrolled.encode(x, recipe).shape) == expected
    p = torch.empty(expected, device=DEVICE)
    assert tuple(dense.decode(p, d, 2, 2, *empty).shape) == empty
    assert tuple(unrolled.decode(p, recipes.recipe(strassen.d.T, 2, 2), *empty).shape) == empty


# --- straight-line code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(13, 29), (16, 32)], ids=str)
@pytest.mark.parametrize("name", ["strassen", "strassen2", "rectangular"])
def test_straight_line(name: str, shape: tuple[int, int], dtype: torch.dtype, request: pytest.FixtureRequest) -> None:
    codec = Codec.random((3, 2, 3), 6) if name == "rectangular" else request.getfixturevalue(name)
    check_straight_line(codec, shape, dtype)


def test_straight_line_with_the_outer_factor_rolled(strassen3: Codec) -> None:
    assert "for l in range(7)" in unrolled.source(recipes.recipe(strassen3.e_x, 8, 8), "encode")
    check_straight_line(strassen3, (13, 21), torch.float32)


def check_straight_line(codec: Codec, shape: tuple[int, int], dtype: torch.dtype) -> None:
    height, width = shape
    n, m, p = codec.format
    e, _, d = codec.tensors(DEVICE, torch.float64)
    recipe_x, recipe_d = recipes.recipe(codec.e_x, n, m), recipes.recipe(codec.d.T, n, p)
    x = draw(height, width, dtype=dtype)
    out = poisoned(codec.rank, -(-height // n), -(-width // m), dtype=dtype)
    expected = reference.encode(x.double(), e, n, m)
    assert relative(unrolled.encode(x, recipe_x, out=out), expected) < TOLERANCE[dtype]
    assert relative(unrolled.encode(x.t().contiguous().t(), recipe_x), expected) < TOLERANCE[dtype]
    products = draw(codec.rank, -(-height // n), -(-width // p), dtype=dtype)
    bias = draw(width, dtype=dtype)
    y = poisoned(height, width, dtype=dtype)
    exact = reference.decode(products.double(), d, n, p, height, width) + bias.double()
    assert relative(unrolled.decode(products, recipe_d, height, width, bias=bias, out=y), exact) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_transcode_is_decode_activate_encode(strassen: Codec, dtype: torch.dtype) -> None:
    e, _, d = strassen.tensors(DEVICE, torch.float64)
    recipe_x, recipe_d = recipes.recipe(strassen.e_x, 2, 2), recipes.recipe(strassen.d.T, 2, 2)
    for height, width in ((9, 13), (8, 16)):
        products = draw(7, -(-height // 2), -(-width // 2), dtype=dtype)
        bias = draw(width, dtype=dtype)
        hidden = reference.decode(products.double(), d, 2, 2, height, width) + bias.double()
        expected = reference.encode(torch.nn.functional.silu(hidden), e, 2, 2)
        found = unrolled.transcode(products, recipe_d, recipe_x, height, width, bias=bias, activation="silu")
        assert relative(found, expected) < TOLERANCE[dtype]


def test_a_wrong_coefficient_is_noticed(strassen: Codec) -> None:
    """The comparison above can fail: one flipped sign in the generated code is far outside the tolerance."""
    wrong = strassen.e_x.copy()
    wrong[0, 0] *= -1
    x = draw(8, 8, dtype=torch.float32)
    expected = reference.encode(x.double(), strassen.tensors(DEVICE, torch.float64)[0], 2, 2)
    assert relative(unrolled.encode(x, recipes.recipe(wrong, 2, 2)), expected) > 0.1


# --- batched GEMM ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [
    gemm.Config(bm=32, bn=32, bk=16, group=2, stages=2, warps=4, sub=sub, flatten=flatten)
    for sub, flatten in ((1, False), (2, True), (4, True))
], ids=str)  # fmt: skip
@pytest.mark.parametrize("transposed", [False, True])
def test_batched_gemm(config: gemm.Config, transposed: bool) -> None:
    a, b = draw(3, 40, 24, dtype=torch.float16), draw(3, 24, 72, dtype=torch.float16)
    expected = torch.bmm(a.double(), b.double())
    right = b.transpose(1, 2).contiguous() if transposed else b
    out = poisoned(3, 40, 72, dtype=torch.float16)
    assert relative(gemm.bmm(a, right, out=out, b_transposed=transposed, config=config), expected) < 6e-4


def test_batched_gemm_scales_channels_and_handles_nothing() -> None:
    config = gemm.Config(bm=16, bn=16, bk=16, stages=2, warps=4)
    a, b = draw(2, 16, 16, dtype=torch.float16), draw(2, 16, 16, dtype=torch.float16)
    scale = torch.tensor([2.0, -0.5], device=DEVICE)
    expected = torch.bmm(a.double(), b.double()) * scale[:, None, None].double()
    found = gemm.bmm(a, b, scale=scale, out_dtype=torch.float32, config=config)
    assert relative(found, expected) < 1e-6
    assert gemm.bmm(a[:, :, :0], b[:, :0], config=config).abs().sum() == 0
    assert gemm.bmm(a[:, :0], b, config=config).shape == (2, 0, 16)


def test_suits_knows_what_tma_can_describe() -> None:
    good = torch.zeros(2, 16, 16, dtype=torch.float16)
    assert gemm.suits(good, good)
    assert not gemm.suits(good.transpose(1, 2))
    assert not gemm.suits(torch.zeros(2, 16, 12, dtype=torch.float16)[:, :, 1:9])


# --- recipes --------------------------------------------------------------------------------------------------


def test_kronecker_factors_are_found_and_multiply_back(strassen: Codec, strassen3: Codec) -> None:
    factors = recipes.kronecker_factors(strassen3.e_x, 8, 8)
    assert [f[:3] for f in factors] == [(7, 2, 2)] * 3
    assert [f[:3] for f in recipes.kronecker_factors(strassen.e_x, 2, 2)] == [(7, 2, 2)]
    spoiled = strassen3.e_x.copy()
    spoiled[100, 5] += 1e-3
    assert len(recipes.kronecker_factors(spoiled, 8, 8)) == 1


def test_walsh_hadamard_becomes_the_fast_transform() -> None:
    """H₁₆ on a 4×4 tile splits into four 2×2 factors: 128 operations, not 256, and only additions."""
    h2 = np.array([[1.0, 1.0], [1.0, -1.0]])
    h16 = np.kron(np.kron(h2, h2), np.kron(h2, h2))
    recipe = recipes.recipe(h16, 4, 4)
    assert [f[0] for f in recipes.parse(recipe)] == [2, 2, 2, 2]
    assert "*" not in "".join(line for line in unrolled.source(recipe, "decode").splitlines() if " = v" in line)
    x = draw(9, 22, dtype=torch.float32)
    expected = reference.encode(x.double(), torch.tensor(h16, device=DEVICE), 4, 4)
    assert relative(unrolled.encode(x, recipe), expected) < TOLERANCE[torch.float32]


def test_recipes_round_trip_and_refuse_nonsense() -> None:
    matrix = np.array([[1, -1, 0.1, 1 / 3], [0, 2, 0, 0]])
    text = recipes.recipe(matrix, 2, 2)
    ((s, n, m, values),) = recipes.parse(text)
    assert (s, n, m) == (2, 2, 2)
    assert np.array_equal(np.array(values).reshape(2, 4), matrix)
    from stl_algebra.errors import StlError

    for bad in ("", "7,2,2", "1,2,2:1 2 3", "1,2,2:a b c d"):
        with pytest.raises(StlError, match="recipe"):
            recipes.parse(bad)


# --- one Strassen level around a 4×4 encoder -------------------------------------------------------------------


@pytest.mark.parametrize("rank", [16, 24, 49])
@pytest.mark.parametrize("shape", [(16, 128), (21, 45)], ids=str)
def test_nested_codecs_on_the_matrix_units(
    strassen: Codec, strassen2: Codec, rank: int, shape: tuple[int, int]
) -> None:
    height, width = shape
    codec = strassen.kron(strassen2 if rank == 49 else Codec.random((4, 4, 4), rank))
    e, _, d = codec.tensors(DEVICE, torch.float64)
    recipe_x, _, recipe_d = codec.recipes
    assert nested.suits(recipe_x, torch.float16)
    assert not nested.suits(recipe_x, torch.float32)
    assert not nested.suits(recipes.recipe(strassen.e_x, 2, 2), torch.float16)
    x = draw(height, width, dtype=torch.float16)
    out = poisoned(codec.rank, -(-height // 8), -(-width // 8), dtype=torch.float16)
    expected = reference.encode(x.double(), e, 8, 8)
    assert relative(nested.encode(x, recipe_x, out=out), expected) < TOLERANCE[torch.float16]
    products, bias = draw(*expected.shape, dtype=torch.float16), draw(width, dtype=torch.float16)
    y = poisoned(height, width, dtype=torch.float16)
    exact = reference.decode(products.double(), d, 8, 8, height, width) + bias.double()
    found = nested.decode(products, recipe_d, height, width, bias=bias, out=y)
    assert relative(found, exact) < TOLERANCE[torch.float16]


def test_tall_matrices_take_several_launches(monkeypatch: pytest.MonkeyPatch, strassen: Codec) -> None:
    """With room for three tile rows a launch, ten are encoded, decoded and transcoded in four."""
    monkeypatch.setattr(unrolled, "GRID", 3)
    monkeypatch.setattr(nested, "GRID", 3)
    check_straight_line(strassen, (19, 9), torch.float32)
    e, _, d = strassen.tensors(DEVICE, torch.float64)
    recipe_x, recipe_d = strassen.recipes[0], strassen.recipes[2]
    products = draw(7, 10, 5, dtype=torch.float32)
    expected = reference.encode(reference.decode(products.double(), d, 2, 2, 19, 9), e, 2, 2)
    assert relative(unrolled.transcode(products, recipe_d, recipe_x, 19, 9), expected) < TOLERANCE[torch.float32]
    codec = strassen.kron(Codec.random((4, 4, 4), 16))
    e, _, d = codec.tensors(DEVICE, torch.float64)
    x = draw(77, 40, dtype=torch.float16)
    expected = reference.encode(x.double(), e, 8, 8)
    assert relative(nested.encode(x, codec.recipes[0]), expected) < TOLERANCE[torch.float16]
    products = draw(*expected.shape, dtype=torch.float16)
    exact = reference.decode(products.double(), d, 8, 8, 77, 40)
    assert relative(nested.decode(products, codec.recipes[2], 77, 40), exact) < TOLERANCE[torch.float16]
