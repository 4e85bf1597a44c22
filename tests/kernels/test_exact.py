"""Exact integer and modular products against Python integers, python-flint and galois."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import exact_matmul, reference, residues
from kernels.residues import FLOAT, MODULAR, WRAP, Compiled, Plain, moduli_for
from stl_algebra import Encoder, files, schemes
from stl_algebra.errors import StlError

ENCODERS = Path(__file__).parents[2] / "results" / "encoders"
S = schemes.strassen()


def python_product(a: torch.Tensor, b: torch.Tensor) -> list[list[int]]:
    product = a.numpy().astype(object) @ b.numpy().astype(object)
    return [[int(v) for v in row] for row in product]


def stored(name: str) -> Encoder:
    return files.load(ENCODERS / f"{name}.safetensors")


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([1, 7, 40, 2**20, 2**29]), st.sampled_from([None, 2, 3, 10, 255, 257, 2**31 - 1]))
def test_equal_to_python_integers(data: st.DataObject, size: int, modulus: int | None) -> None:
    n, k, m = (data.draw(st.integers(1, 7)) for _ in range(3))
    entry = st.integers(-size, size)
    a, b = (torch.tensor(data.draw(st.lists(st.lists(entry, min_size=q, max_size=q), min_size=p, max_size=p)))
            for p, q in ((n, k), (k, m)))  # fmt: skip
    expected = python_product(a, b)
    if modulus:
        expected = [[v % modulus for v in row] for row in expected]
    for encoder in (None, S):
        assert exact_matmul(a, b, modulus=modulus, encoder=encoder).tolist() == expected


@pytest.mark.parametrize("name", ["4x4x4_r48_Z-1-2_4d9b32ac", "4x4x4_r48_Q_16572126"])
def test_encoders_with_denominators(name: str) -> None:
    """A ½ is a unit modulo every odd number; the denominators of the other need moduli chosen around them."""
    encoder = stored(name)
    a, b = torch.randint(-(2**27), 2**27, (13, 50)), torch.randint(-(2**27), 2**27, (50, 9))
    assert exact_matmul(a, b, encoder=encoder).tolist() == python_product(a, b)
    assert exact_matmul(a, b, modulus=2, encoder=encoder).tolist() == (np.array(python_product(a, b)) % 2).tolist()


def test_an_encoder_of_characteristic_two() -> None:
    encoder = stored("4x4x4_r47_GF-2_22ab4c8b")
    a, b = torch.randint(0, 2, (9, 30)), torch.randint(0, 2, (30, 6))
    assert exact_matmul(a, b, modulus=2, encoder=encoder).tolist() == (a @ b % 2).tolist()
    with pytest.raises(StlError, match="encoder"):
        exact_matmul(a, b, modulus=3, encoder=encoder)


def test_flint_and_galois_agree() -> None:
    flint, galois = pytest.importorskip("flint"), pytest.importorskip("galois")
    a, b = torch.randint(-(2**28), 2**28, (40, 33)), torch.randint(-(2**28), 2**28, (33, 21))
    theirs = flint.fmpz_mat(a.tolist()) * flint.fmpz_mat(b.tolist())
    assert exact_matmul(a, b, encoder=S).tolist() == [[int(v) for v in row] for row in theirs.tolist()]
    p = 2**31 - 1
    theirs = flint.nmod_mat(40, 33, [v % p for v in a.flatten().tolist()], p)
    theirs *= flint.nmod_mat(33, 21, [v % p for v in b.flatten().tolist()], p)
    assert exact_matmul(a, b, modulus=p, encoder=S).tolist() == [[int(v) for v in row] for row in theirs.tolist()]
    for p in (2, 31):
        field = galois.GF(p)
        x, y = field.Random((17, 12), seed=1), field.Random((12, 8), seed=2)
        found = exact_matmul(torch.tensor(np.asarray(x).astype(np.int64)), torch.tensor(np.asarray(y).astype(np.int64)),
                             modulus=p, encoder=S)  # fmt: skip
        assert (found.numpy() == np.asarray(x @ y).astype(np.int64)).all()


def test_extremes() -> None:
    """All entries at the bound with one sign: the sums the moduli must hold, and the end of int64."""
    k = 1000
    for value, modulus in ((2**26, None), (-(2**26), None), (2**31 - 2, 2**31 - 1), (-(2**63), 1009)):
        a, b = torch.full((2, k), value), torch.full((k, 3), abs(value) if value > -(2**63) else 1)
        want = k * value * int(b[0, 0])
        assert exact_matmul(a, b, modulus=modulus).tolist() == [[want % modulus if modulus else want] * 3] * 2
    top = torch.tensor([[2**31 - 1, 2**31 - 1]])
    assert exact_matmul(top, top.t()).item() == 2 * (2**31 - 1) ** 2


def test_shapes_types_and_refusals() -> None:
    a, b = torch.randint(-9, 9, (2, 3, 5)), torch.randint(-9, 9, (5, 4))
    assert torch.equal(exact_matmul(a, b), a @ b)
    assert torch.equal(exact_matmul(a.to(torch.int8), b.to(torch.int16)), a @ b)
    assert exact_matmul(a[..., :0], b[:0]).abs().sum() == 0
    assert exact_matmul(a[0, :0], b).shape == (0, 4)
    big = torch.full((2, 2), 2**40)
    for argument, call in {
        "a": lambda: exact_matmul(a.float(), b),
        "b.shape": lambda: exact_matmul(a, b.t()),
        "modulus": lambda: exact_matmul(a, b, modulus=1),
        "a, b": lambda: exact_matmul(big, big),
    }.items():
        with pytest.raises(StlError) as error:
            call()
        assert error.value.argument == argument


def test_moduli_hold_the_bound() -> None:
    for bound, limit in [(2**i, limit) for i in range(0, 112, 3) for limit in (255, 10**6)]:
        found = moduli_for(bound, limit, 3)
        assert np.prod([int(m) for m in found], dtype=object) > 2.2 * bound
        assert np.gcd.reduce(found) == 1 or len(found) == 1
        assert all(m % 2 and m % 3 and m <= limit for m in found)
    with pytest.raises(StlError):
        moduli_for(10**40, 11)


@pytest.mark.parametrize(("encoder", "kind"), [
    (None, FLOAT), (None, WRAP), (None, MODULAR), (S, FLOAT), (S, WRAP), (schemes.laderman(), MODULAR),
], ids=["1-0", "1-1", "1-2", "2x2x2-0", "2x2x2-1", "3x3x3-2"])  # fmt: skip
def test_kernels_take_the_same_steps(encoder: Encoder | None, kind: int) -> None:
    """Every step of the compiled path, congruent to the plain one's; sizes that divide nothing."""
    pytest.importorskip("triton")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = residues.integral(encoder)
    moduli = moduli_for(2**43, residues.LARGEST, 1, True)
    n, k, m = 10, 17, 11
    a, bt = (torch.randint(-(2**18), 2**18, (size, k), device=device) for size in (n, m))
    by = None
    if kind == FLOAT:
        a, bt = torch.randn(n, k, device=device).double(), torch.randn(m, k, device=device).double()
        a[3], bt[4, 5] = 0, torch.inf
        by = tuple(Compiled.exponents(x, 20.0, 20) for x in (a, bt))
        for found, x in zip(by, (a, bt), strict=True):
            assert torch.equal(found, Plain.exponents(x, 20.0, 20))
    whole = residues.assembly(moduli, codec.den, kind, 10007, torch.device(device))
    found, plain = [], []
    for path, seen in ((Compiled, found), (Plain, plain)):
        lhs, rhs = (path.encode(x, codec, side, moduli, by[side] if by else None) for side, x in enumerate((a, bt)))
        products = path.multiply(lhs, rhs, moduli)
        seen += [lhs, rhs, products, path.decode(products, codec, moduli, whole, (n, m), by)]
    for x, y in zip(found[:3], plain, strict=False):
        size = len(x) // len(moduli)
        for l, modulus in enumerate(moduli):
            gap = x[l * size : (l + 1) * size].long() - y[l * size : (l + 1) * size].long()
            assert (gap % modulus == 0).all()
    if kind == FLOAT:
        assert found[3][:, 4].isnan().all() and (found[3][3, :4] == 0).all()
    torch.testing.assert_close(found[3], plain[3], rtol=1e-15, atol=0, equal_nan=True)


@pytest.mark.parametrize("kernel", [True, False])
def test_encoding_at_the_end_of_the_range(kernel: bool) -> None:
    """Entries near 2⁵³ that an encoder adds up to 2⁵⁴: congruent, and within 8 bits."""
    pytest.importorskip("triton")
    path = Compiled if kernel else Plain
    codec = residues.integral(S)
    moduli = tuple(residues.coprimes(residues.LARGEST, 1, True))[:14]
    x = 2**53 - torch.randint(1, 2**20, (16, 64))
    x[::2] *= -1
    found = path.encode(x.cuda() if torch.cuda.is_available() else x, codec, 0, moduli).cpu().reshape(14, 7, -1)
    exact = codec.e_x.astype(object) @ reference.tiles(x, 2, 2).flatten(1).numpy().astype(object)
    assert np.abs(exact).max() > 2**53.9
    for l, m in enumerate(moduli):
        assert ((found[l].numpy().astype(object) - exact) % m == 0).all()


@pytest.mark.parametrize(("modulus", "inner", "again"), [
    (2, 96, False), (7, 96, False), (255, 96, True), (251, 96, False), (256, 96, True), (243, 2048, False),
    (197, 2048, False), (241, 1040, False), (243, 2096, False), (243, 2128, True), (245, 2048, True),
    (243, 59999, True),
])  # fmt: skip
def test_residue_products(modulus: int, inner: int, again: bool) -> None:
    """All entries at the bound with one sign, and random ones, into a poisoned buffer; congruent, and within 8 bits."""
    pytest.importorskip("triton")
    from kernels.triton import gemm
    from kernels.triton import residues as kernel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    half, wide = min(modulus // 2 + 5, 127), -(-inner // 16) * 16
    assert kernel.shift_for(inner, modulus)[1] == again
    rows = 150 if inner < 10000 else 15
    a = torch.randint(-half, half + 1, (2, rows, wide), device=device).to(torch.int8)
    b = torch.randint(-half, half + 1, (2, 144, wide), device=device).to(torch.int8)
    a[0, :10], b[0, :8] = half, half
    config = gemm.Config(bm=64, bn=64, bk=32 if inner < 100 else 128, stages=2, warps=4, sub=1)
    out = torch.full((2, rows, 144), 99, dtype=torch.int8, device=device)
    tables = residues._tables((modulus,), torch.device(device))
    found = kernel.multiply(a, b, *tables, modulus, config=config, out=out)
    exact = a.cpu().long() @ b.cpu().long().transpose(1, 2)
    assert torch.equal(found.cpu().long() % modulus, exact % modulus)


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [(1, 1, 1), (70, 1001, 33), (300, 5000, 17), (16, 64, 2100)], ids=str)
@pytest.mark.parametrize("name", ["", "2x2x2", "4x4x4_r48_Z-1-2_4d9b32ac", "4x4x4_r48_Q_16572126"])
def test_on_the_int8_units(sizes: tuple[int, int, int], name: str) -> None:
    """Entries at their bounds and random ones, with and without a modulus, as Python's integers have it."""
    n, k, m = sizes
    encoder = stored(name) if "_" in name else S if name else None
    for size, modulus in ((127, None), (2**24, None), (250, 251), (1, 2), (2**31 - 2, 2**31 - 1), (2**30, 2**31 - 19)):
        for extreme in (False, True):
            a, b = (torch.randint(-size, size + 1, shape) for shape in ((n, k), (k, m)))
            if extreme:
                a, b = a.sign().clamp_min(0) * 2 * size - size, torch.full_like(b, size)
            want = a.numpy().astype(object) @ b.numpy().astype(object)
            want = want % modulus if modulus else want
            found = exact_matmul(a.cuda(), b.cuda(), modulus=modulus, encoder=encoder)
            assert torch.equal(found.cpu(), torch.tensor(want.astype(np.int64)))
    a, b = torch.randint(-(2**61), 2**61, (n, k)), torch.randint(0, 2, (k, m)) * (torch.arange(k) == 0)[:, None]
    assert torch.equal(exact_matmul(a.cuda(), b.cuda(), encoder=encoder).cpu(), a @ b)
