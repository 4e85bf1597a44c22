"""Targets: each tensor computes the product it is named after."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import StlError, ring, target
from stl_algebra.targets import (
    complex_product,
    cyclic_convolution,
    field_product,
    group_convolution,
    matmul,
    polymul,
    product_target,
    quaternion_product,
    symmetric_square,
)


def apply(t, a, b):
    return np.einsum("abc,a,b->c", t.dense(np.int64), np.ravel(a), np.ravel(b))


def draw(seed, *shape):
    return np.random.default_rng(seed).integers(-9, 10, shape)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_matmul(n, m, p, seed):
    a, b = draw(seed, n, m), draw(seed + 1, m, p)
    t = matmul(n, m, p)
    assert (apply(t, a, b).reshape(n, p) == a @ b).all()
    assert t.norm2 == n * m * p and t.format == (n, m, p) and t.shape == (n * m, m * p, n * p)
    assert t == target(t.name) == target((n, m, p)) == target(f"{n},{m},{p}") == target(f"{n}x{m}x{p}")


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
def test_polynomials_and_convolutions(n, m, seed):
    a, b = draw(seed, n), draw(seed + 1, m)
    assert (apply(polymul(n, m), a, b) == np.convolve(a, b)).all()
    c = draw(seed + 2, n)
    cyclic = np.fft.ifft(np.fft.fft(a) * np.fft.fft(c)).real.round().astype(int)
    assert (apply(cyclic_convolution(n), a, c) == cyclic).all()


@given(st.integers(0, 10**6))
def test_complex_and_quaternion(seed):
    a, b = draw(seed, 2), draw(seed + 1, 2)
    z = complex(*a) * complex(*b)
    assert apply(complex_product(), a, b).tolist() == [z.real, z.imag]

    def as_matrix(q):  # quaternions as complex 2×2 matrices
        return np.array([[q[0] + 1j * q[1], q[2] + 1j * q[3]], [-q[2] + 1j * q[3], q[0] - 1j * q[1]]])

    x, y = draw(seed + 2, 4), draw(seed + 3, 4)
    assert (as_matrix(apply(quaternion_product(), x, y)) == as_matrix(x) @ as_matrix(y)).all()


@pytest.mark.parametrize("name", ["Q(i)", "Q(zeta_5)", "Q(sqrt(3))", "Q(zeta_12)"])
def test_field_product_is_the_ring(name):
    base = ring(name)
    a, b = draw(1, base.degree), draw(2, base.degree)
    assert (apply(field_product(name), a, b) == base.multiply(a, b)).all()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_symmetric_square(n, m, seed):
    a = draw(seed, n, m)
    assert (apply(symmetric_square(n, m), a, a) == (a @ a.T)[np.triu_indices(n)]).all()


def test_group_convolution():
    table = np.add.outer(np.arange(4), np.arange(4)) % 4
    assert (group_convolution(table, "C4").dense() == cyclic_convolution(4).dense()).all()
    assert (target("group:C4").dense() == cyclic_convolution(4).dense()).all()
    with pytest.raises(StlError, match="multiplication table"):
        group_convolution(np.zeros((2, 3), dtype=int), "bad")


def test_tensor_products():
    s, t = polymul(2, 3), complex_product()
    product = product_target(s, t)
    a, b = draw(1, 4), draw(2, 6)  # coefficients of s outermost
    z = np.convolve(a[0::2] + 1j * a[1::2], b[0::2] + 1j * b[1::2])
    assert apply(product, a, b).tolist() == np.stack([z.real, z.imag], axis=1).ravel().tolist()
    assert target(product.name) == product
    assert product_target(matmul(2, 1, 3), matmul(1, 2, 2)) == matmul(2, 2, 6)
    with pytest.raises(StlError, match="separate"):
        product_target(symmetric_square(2, 2), t)


def test_spelling_of_equations():
    assert matmul(2, 3, 4).spell(4, 7, 7) == "A[1,1]·B[1,3] → C[1,3]"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "matmul",
        "matmul:2x2",
        "matmul:0x2x2",
        "matmul:65x1x1",
        "matmul:-1x2x2",
        "matmul:64x64x64",
        "polymul:4096x4096",
        "polymul:5000x1",
        "cyclic:0",
        "cyclic:4096",
        "cyclic:1000000",
        "symmetric:64x64",
        "symmetric:32x32",
        "group:",
        "group:XYZ",
        "field:XYZ",
        "quaternion:2",
        "complex*",
        "*",
        "*" * 150,
        "*".join(["complex"] * 17),
        "*".join(["quaternion"] * 9),
        "__import__('os')",
        "matmul:2x2x2 ",
        "a" * 10**6,
        7,
        None,
        (2, 2),
        (2, 2, "x"),
        (2, 2, 2.5),
    ],
)
def test_refused_in_little_memory(name):
    tracemalloc.start()
    with pytest.raises(StlError) as caught:
        target(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "expected" in str(caught.value) and len(str(caught.value)) < 1000
    assert peak < 100e6
