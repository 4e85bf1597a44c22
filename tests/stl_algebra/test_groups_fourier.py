"""Fourier transforms over C, R and GF(q): inversion, convolution, Plancherel, costs; designs; triple products."""

import numpy as np
import pytest

from stl_algebra import StlError
from stl_algebra.groups import (
    AbelianTransform,
    Cyclotomic,
    FourierTransform,
    RealFourier,
    best_known_rank,
    character_table,
    convolve,
    group,
    has_triple_product_property,
    invariant_form,
    irreps,
    is_centred_tight_frame,
    is_projective_design,
    is_spherical_design,
    is_unitary_design,
    modular_fourier,
    orbit,
    projective_strength,
    real_irreps,
    real_multiplications,
    realised_formats,
    simplex,
    spherical_strength,
    unitary_strength,
)  # fmt: skip
from stl_algebra.groups.designs import frame_operator, frame_potential
from stl_algebra.groups.generate import field_tables

NAMES = [
    "1", "C3", "C5", "C4xC2", "C12", "S3", "D4", "Q8", "C7:C3", "Dic5", "Heis(3)", "2^(1+4)+", "2^(1+4)-", "SL(2,3)",
    "GL(2,3)", "AGL(1,8)", "A5", "S4",
]  # fmt: skip


def exact_convolution(g, f, h):
    out = np.zeros(g.order, dtype=object)
    for x in range(g.order):
        for y in range(g.order):
            out[g.table[x, y]] += f[x] * h[y]
    return out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["monomial", "field"])
def test_complex_transform(name, form):
    g = group(name)
    n, rng = g.order, np.random.default_rng(1)
    transform = FourierTransform(g, form)
    forward, backward = transform.matrix, transform.inverse_matrix
    assert forward @ backward == np.eye(n, dtype=int)
    # convolution theorem, exactly, on integer functions
    f, h = rng.integers(-5, 6, size=(2, n))
    product = exact_convolution(g, f.tolist(), h.tolist())
    column = [Cyclotomic.rational(np.array(v, dtype=object).reshape(n, 1)) for v in (f, h, product)]
    f_hat, h_hat, p_hat = (forward @ c for c in column)
    start = 0
    for r in transform.irreps:
        d = r.dimension
        part = slice(start, start + d * d)
        assert f_hat[part].reshape(d, d) @ h_hat[part].reshape(d, d) == p_hat[part].reshape(d, d)
        start += d * d
    # the fast transform computes the same numbers, on batches too
    batch = rng.normal(size=(2, 3, n)) + 1j * rng.normal(size=(2, 3, n))
    blocks = transform.forward(batch)
    flat = np.concatenate([b.reshape(2, 3, -1) for b in blocks], axis=-1)
    assert np.allclose(flat, batch @ forward.complex().T)
    assert np.allclose(transform.inverse(blocks), batch)
    assert np.allclose(transform.convolve(batch[0], batch[1]), convolve(g, batch[0], batch[1]))
    assert np.allclose(convolve(g, f, h), product.astype(float))
    # Plancherel for unitary matrices
    unitary = [np.einsum("g,gij->ij", batch[0, 0], r.unitary) for r in transform.irreps]
    energy = sum(r.dimension * np.linalg.norm(u) ** 2 for r, u in zip(transform.irreps, unitary, strict=True))
    assert np.isclose(energy, n * np.linalg.norm(batch[0, 0]) ** 2)


def test_abelian_transform_is_the_fft():
    g = group("C12")
    f = np.random.default_rng(0).normal(size=12)
    ours = np.array([b[0, 0] for b in FourierTransform(g).forward(f)])
    frequency = [int(np.rint(np.angle(r.complex()[1, 0, 0]) * 12 / (2 * np.pi))) % 12 for r in irreps(g)]
    assert np.allclose(ours, np.conj(np.fft.fft(f))[frequency])


@pytest.mark.parametrize("name", ["1", "C12", "C4xC2xC6", "C2^5", "C2048", "C16xC128"])
def test_abelian_transform_of_any_order(name):
    g = group(name)
    transform = AbelianTransform(g)
    rng = np.random.default_rng(0)
    f, h = rng.normal(size=(2, 3, g.order))
    spectrum = transform.forward(f)
    assert spectrum.shape == (3, *transform.orders) and np.allclose(transform.inverse(spectrum), f)
    product = transform.convolve(f, h)
    x = int(rng.integers(g.order))  # one coefficient of the convolution by definition
    assert np.allclose(product[:, x], (f * h[:, g.table[g.inverse, x]]).sum(axis=1))
    if g.order < 50:
        characters = np.sort_complex(np.round([b[0, 0] for b in FourierTransform(g).forward(f[0])], 9))
        assert np.allclose(np.sort_complex(np.round(spectrum[0].ravel(), 9)), characters)


def test_fast_transform_is_right_on_larger_groups():
    g = group("S5xC2")
    transform = FourierTransform(g)
    f = np.random.default_rng(0).normal(size=g.order)
    direct = [np.einsum("g,gij->ij", f, r.complex()) for r in transform.irreps]
    assert all(np.allclose(a, b) for a, b in zip(transform.forward(f), direct, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_real_transform(name):
    g = group(name)
    real = RealFourier(g)
    assert real.matrix.is_real and real.matrix @ real.inverse_matrix == np.eye(g.order, dtype=int)
    f, h = np.random.default_rng(2).normal(size=(2, 4, g.order))
    assert np.allclose(real.convolve(f, h), convolve(g, f, h))
    assert sum(b.dimension for b in real.blocks) == g.order
    assert real.real_multiplications() == real_multiplications(g)
    assert real_multiplications(g, lambda d: d**3) >= real_multiplications(g)


@pytest.mark.parametrize(("name", "cost"), [
    ("C3", 4), ("C4xC2", 10), ("S3", 2 + 7), ("Q8", 4 + 8), ("C7:C3", 1 + 3 + 3 * 23), ("A5", 1 + 23 + 23 + 48 + 93),
    ("2^(1+4)-", 16 + 8 * 7), ("2^(1+4)+", 16 + 48),
])  # fmt: skip
def test_real_multiplication_counts(name, cost):
    assert real_multiplications(group(name)) == cost
    assert [b.multiplications(lambda d: 1) for b in RealFourier(group("Q8")).blocks] == [1, 1, 1, 1, 8]
    assert best_known_rank(16) == 48 * 48 and best_known_rank(9) == 23 * 23 and best_known_rank(11) <= 11**3


@pytest.mark.parametrize(("name", "q"), [
    ("1", 2), ("C3", 4), ("C3", 7), ("S3", 7), ("Q8", 5), ("Q8", 9), ("A4", 13), ("A5", 31), ("C7:C3", 64),
    ("SL(2,3)", 13), ("Heis(3)", 4), ("Heis(3)", 25),
])  # fmt: skip
def test_transform_over_finite_fields(name, q):
    g = group(name)
    add, multiply, _ = field_tables(q)
    forward, backward = modular_fourier(g, q)

    def product(a, b):
        out = multiply[a[:, 0, None], b[None, 0]]
        for k in range(1, a.shape[1]):
            out = add[out, multiply[a[:, k, None], b[None, k]]]
        return out

    assert np.array_equal(product(forward, backward), np.eye(g.order, dtype=int))
    rng = np.random.default_rng(0)
    f, h = rng.integers(0, q, size=(2, g.order))
    conv = np.zeros(g.order, dtype=int)
    for x in range(g.order):
        for y in range(g.order):
            z = g.table[x, y]
            conv[z] = add[conv[z], multiply[f[x], h[y]]]
    hats = [product(forward, v[:, None])[:, 0] for v in (f, h, conv)]
    start = 0
    for d in character_table(g).degrees:
        block = [v[start : start + d * d].reshape(d, d) for v in hats]
        assert np.array_equal(product(block[0], block[1]), block[2])
        start += d * d


def test_fourier_refusals():
    with pytest.raises(StlError, match="exponent 6"):
        modular_fourier(group("S3"), 5)
    with pytest.raises(StlError, match="prime power"):
        modular_fourier(group("S3"), 6)
    with pytest.raises(StlError, match="last ax"):
        convolve(group("S3"), np.ones(5), np.ones(6))
    with pytest.raises(StlError, match="last axis"):
        FourierTransform(group("S3")).forward(np.ones(5))
    with pytest.raises(StlError, match="one per irrep"):
        FourierTransform(group("S3")).inverse([np.ones((1, 1))])


# -- designs ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_simplex_is_the_orbit_grochow_and_moore_need(n):
    w = simplex(n)
    assert is_centred_tight_frame(w) and spherical_strength(w) == 2 and not is_spherical_design(w, 3)
    assert not is_centred_tight_frame(w[:n])


def test_simplex_orbit_of_the_standard_representation():
    g = group("S5")
    rep = next(r for r in irreps(g) if r.dimension == 4)
    form = invariant_form(rep)
    some = rep.matrices[g.generators[0]]
    assert some.conj().mT @ form @ some == form
    # the vector fixed by a point stabiliser has an orbit of five vertices
    stabiliser = [x for x in range(120) if g.elements[x][4] == 4]
    fixed = (rep.matrices[np.array(stabiliser)].sum(0) / len(stabiliser)).transpose()
    vertex = next(fixed[i] for i in range(4) if np.any(fixed[i].num))
    vertices = orbit(rep, vertex)
    assert len(vertices) == 5 and is_centred_tight_frame(vertices, form) and spherical_strength(vertices, form) == 2


def test_icosahedron_and_friends():
    a5 = next(r for r in irreps(group("A5")) if r.dimension == 3)
    best = 0
    for v in ([1, 0, 0], [0, 1, 0], [0, 0, 1]):
        points = orbit(a5, v)
        if len(points) == 12:
            best = max(best, spherical_strength(points, invariant_form(a5)))
    assert best == 5  # the icosahedron
    cube = orbit(next(f.irrep for f in real_irreps(group("SmallGroup(24,12)")) if f.dimension == 3), [1, 1, 1])
    assert len(cube) in (4, 8) and spherical_strength(cube) == (3 if len(cube) == 8 else 2)


def test_heisenberg_orbit_is_the_hesse_sic():
    rep = irreps(group("Heis(3)"))[-1]
    lines = orbit(rep, [0, 1, -1], up_to_phase=True)
    assert len(lines) == 9 and is_projective_design(lines, 2) and projective_strength(lines) == 2
    assert frame_potential(lines, 2) == frame_potential(lines[:1], 2) / 6  # Welch: 1/C(4, 2) for unit vectors in C³
    assert frame_operator(lines) == np.eye(3, dtype=int) * 6


def test_unitary_designs():
    binary = irreps(group("SL(2,5)"))[1]
    assert binary.dimension == 2 and unitary_strength(binary) == 5  # the binary icosahedral group
    assert unitary_strength(irreps(group("SL(2,3)"))[3]) == 2
    assert unitary_strength(irreps(group("Q8"))[4]) == 1 and is_unitary_design(irreps(group("S4"))[3], 1)
    reducible = irreps(group("S3"))[2].direct_sum(irreps(group("S3"))[0])
    assert unitary_strength(reducible) == 0


def test_design_refusals():
    with pytest.raises(StlError, match="equal norm"):
        spherical_strength([[1, 0], [2, 0]])
    with pytest.raises(StlError, match="non-zero"):
        orbit(irreps(group("S3"))[2], [0, 0])
    with pytest.raises(StlError, match="real inner"):
        spherical_strength(orbit(irreps(group("C3"))[1], [1]).reshape(3, 1))
    with pytest.raises(StlError, match="≥ 1"):
        simplex(0)


# -- triple products ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "expected"), [
    ("S3", (2, 2, 2)), ("A4", (2, 3, 3)), ("C7:C3", (3, 3, 3)), ("2^(1+4)+", (4, 4, 4)),
])  # fmt: skip
def test_smallest_groups_that_realise_formats(name, expected):
    g = group(name)
    found = realised_formats(g)
    assert expected in found
    for (n, m, p), (s, t, u) in found.items():
        assert sorted((len(s), len(t), len(u))) == [n, m, p]
        # a_{s,t} ↦ s⁻¹t, b_{t,u} ↦ t⁻¹u: the product at s⁻¹u collects exactly the right terms
        rng = np.random.default_rng(0)
        a, b = rng.integers(-9, 9, (len(s), len(t))), rng.integers(-9, 9, (len(t), len(u)))
        f, h = np.zeros((2, g.order), dtype=int)
        for i, x in enumerate(s):
            for j, y in enumerate(t):
                f[g.table[g.inverse[x], y]] += a[i, j]
        for j, y in enumerate(t):
            for k, z in enumerate(u):
                h[g.table[g.inverse[y], z]] += b[j, k]
        product = convolve(g, f, h)
        read = np.array([[product[g.table[g.inverse[x], z]] for z in u] for x in s])
        assert np.array_equal(read, a @ b)


def test_triple_product_property_can_fail():
    g = group("C6")
    assert realised_formats(g) == {}  # abelian groups only realise the trivial ones at this size
    assert not has_triple_product_property(group("S3"), [0, 1], [0, 1], [0, 2])
