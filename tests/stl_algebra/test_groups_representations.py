"""Laws of exact irreducible representations and their algebra over one long list of groups; spgrep as second oracle."""

import time
import warnings
from math import comb

import numpy as np
import pytest

from stl_algebra import StlError
from stl_algebra.groups import (
    Cyclotomic,
    Representation,
    character_table,
    group,
    irrep,
    irreps,
    partitions,
    real_irreps,
    small_group,
    small_groups,
    specht_matrices,
    split_regular,
    subgroup_classes,
    symmetric,
)  # fmt: skip
from stl_algebra.groups.realforms import quaternionic_basis
from stl_algebra.groups.young import standard_tableaux

LAW_LIST = [
    "1", "C2", "C3", "C5", "C4xC2", "C12", "S3", "D4", "Q8", "D5", "Dic3", "A4", "SD16", "M16", "C7:C3", "S4",
    "SL(2,3)", "Heis(3)", "3^(1+2)-", "2^(1+4)+", "2^(1+4)-", "C5:C4", "GL(2,3)", "AGL(1,8)", "A5", "S5", "SL(2,5)",
    "PSL(2,7)", "C3wrS3", "AGL(1,9)",
]  # fmt: skip


@pytest.mark.parametrize("name", LAW_LIST)
@pytest.mark.parametrize("form", ["monomial", "field"])
def test_irreps_are_exact_homomorphisms_with_the_right_characters(name, form):
    g = group(name)
    table = character_table(g)
    everything = irreps(g, form)
    assert sum(r.dimension**2 for r in everything) == g.order
    for r in everything:
        assert r.is_homomorphism
        assert r.character == table.values[r.index]
        if r.monomial is not None:
            assert r.is_unitary and (r.matrices.num != 0).any(axis=-1).sum() == g.order * r.dimension
    # first and second orthogonality, exactly
    gram = table.values @ (table.values.conj() * g.classes.sizes).transpose()
    assert gram == np.eye(len(table), dtype=int) * g.order
    columns = table.values.conj().transpose() @ table.values
    assert columns == np.diag(g.order // g.classes.sizes)
    # Schur: Σ_g ρ(g)_ij σ(g⁻¹)_kl = (|G|/d) δ for pairs of low dimension
    for r in everything[-2:]:
        for s in everything[-2:]:
            n = g.order
            total = r.matrices.reshape(n, -1).transpose() @ s.matrices[g.inverse].reshape(n, -1)
            d = r.dimension
            expected = np.einsum("il,jk->ijkl", np.eye(d, dtype=int), np.eye(d, dtype=int)).reshape(d * d, d * d)
            assert total == (expected * (n // d) if r is s else np.zeros(total.shape, dtype=int))


def test_all_irreps_of_order_32_in_time():
    start = time.process_time()
    count = 0
    for g in small_groups(32):
        for r in irreps(g):
            assert r.matrices.shape == (32, r.dimension, r.dimension)
            count += 1
    assert time.process_time() - start < 60
    assert count == sum(len(g.classes) for g in small_groups(32))
    for index in (6, 43, 49, 50):
        for r in irreps(small_group(32, index)):
            assert r.is_homomorphism


@pytest.mark.parametrize("order", [16, 18, 24, 36, 48, 54, 60])
def test_every_group_of_these_orders(order):
    for g in small_groups(order):
        table = character_table(g)
        for r in irreps(g):
            if r.dimension > 1:
                assert r.is_homomorphism and r.character == table.values[r.index]


@pytest.mark.parametrize("name", ["C7:C3", "Q8", "SL(2,3)", "A5", "2^(1+4)-", "GL(2,3)"])
def test_splitting_the_regular_representation_agrees(name):
    g = group(name)
    for i, exact in enumerate(irreps(g)):
        rho = split_regular(g, i, seed=3)
        eye = np.eye(exact.dimension)
        assert np.allclose(rho[g.table], np.einsum("gij,hjk->ghik", rho, rho))
        assert np.allclose(rho @ rho.conj().transpose(0, 2, 1), eye)
        assert np.allclose(np.trace(rho, axis1=1, axis2=2), exact.character.complex()[g.classes.of])
        unitary = exact.unitary
        assert np.allclose(unitary @ unitary.conj().transpose(0, 2, 1), eye)
        # unitarily equivalent: the averaged intertwiner is invertible
        mix = np.einsum("gij,jk,glk->il", unitary, np.random.default_rng(0).normal(size=eye.shape), rho.conj())
        assert np.linalg.matrix_rank(mix) == exact.dimension


@pytest.mark.parametrize("name", ["C5", "S3", "Q8", "C7:C3", "SL(2,3)", "A4", "Heis(3)", "2^(1+4)-"])
def test_spgrep_finds_the_same_irreps(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spgrep.rep.enumerate import enumerate_unitary_irreps_from_regular_representation as enumerate_irreps
    g = group(name)
    regular = np.zeros((g.order,) * 3, dtype=np.complex128)
    regular[np.arange(g.order)[:, None], g.table, np.arange(g.order)] = 1
    theirs = np.array([np.trace(m, axis1=1, axis2=2) for m in enumerate_irreps(regular)])
    ours = np.array([r.character.complex()[g.classes.of] for r in irreps(g)])
    overlap = np.abs(ours @ theirs.conj().T) / g.order
    assert overlap.shape == (len(ours), len(ours))
    assert np.allclose(np.sort(overlap, axis=1)[:, -1], 1, atol=1e-4)
    assert np.allclose(overlap.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", LAW_LIST)
def test_real_forms(name):
    g = group(name)
    forms = real_irreps(g)
    assert sum(f.dimension**2 // f.commutant_dimension for f in forms) == g.order
    for f in forms:
        if f.irrep.dimension == 1 and f.irrep.index > 6:
            continue
        real = f.orthogonal
        assert np.allclose(real @ real.transpose(0, 2, 1), np.eye(f.dimension))
        assert all(np.allclose(real[s] @ real, real[g.table[s]]) for s in g.generators)
        exact = f.matrices
        assert exact.is_real and exact.shape[1] == f.dimension
        Representation.from_matrices(g, exact)
        if f.type == "quaternionic":
            basis, gamma = quaternionic_basis(f.irrep)
            assert gamma.complex().real < 0
            m = f.dimension // 4
            blocks = f.irrep.change_basis(basis).matrices.reshape(g.order, m, 2, m, 2)
            assert blocks[:, :, 1, :, 1] == blocks[:, :, 0, :, 0].conj()
            assert blocks[:, :, 0, :, 1] == blocks[:, :, 1, :, 0].conj() * gamma


@pytest.mark.parametrize("index", [15, 17, 41])
def test_real_type_without_a_model_over_its_character_field(index):
    """These groups of order 48 need √3 or so although the character is rational."""
    for f in real_irreps(small_group(48, index)):
        if f.irrep.dimension == 4:
            assert f.type == "real" and f.matrices.is_real and f.matrices.conductor > 1
            Representation.from_matrices(f.irrep.group, f.matrices)


@pytest.mark.parametrize("name", ["S3", "Q8", "C7:C3", "A4", "SL(2,3)", "D4"])
def test_tensor_algebra(name):
    g = group(name)
    table, last = character_table(g), irreps(g)[-1]
    square = last.tensor(last)
    assert square.is_homomorphism and square.character == last.character * last.character
    symmetric_, exterior = last.symmetric_power(2), last.exterior_power(2)
    assert symmetric_.is_homomorphism and exterior.is_homomorphism
    assert symmetric_.dimension == comb(last.dimension + 1, 2) and exterior.dimension == comb(last.dimension, 2)
    assert symmetric_.character + exterior.character == square.character
    # χ_Sym²(g) = (χ(g)² + χ(g²))/2
    chi = last.character
    assert symmetric_.character == (chi * chi + chi[g.power_map(2)]) / 2
    cube = last.symmetric_power(3)
    assert cube.is_homomorphism and cube.dimension == comb(last.dimension + 2, 3)
    determinant = last.exterior_power(last.dimension)
    assert determinant.dimension == 1 and determinant.is_homomorphism
    assert last.dual.is_homomorphism and last.dual.character == chi.conj()
    assert last.conjugate.is_homomorphism
    both = last.direct_sum(irreps(g)[0], last)
    assert both.is_homomorphism
    counts = np.zeros(len(table), dtype=int)
    counts[last.index], counts[0] = 2, 1
    assert np.array_equal(both.multiplicities(), counts)
    assert np.array_equal(table.tensor(last.index, last.index), square.multiplicities())
    nu = int(table.indicators[last.index])
    assert (symmetric_.multiplicities()[0], exterior.multiplicities()[0]) == {1: (1, 0), 0: (0, 0), -1: (0, 1)}[nu]


@pytest.mark.parametrize("name", ["S4", "Q8", "C7:C3", "A4", "SL(2,3)", "A5"])
def test_decomposition_and_invariants(name):
    g = group(name)
    everything = irreps(g)
    for c in subgroup_classes(g)[1:5]:
        rep = Representation.cosets(g, c.representative)
        assert rep.is_homomorphism and rep.dimension == g.order // c.order
        multiplicities = rep.multiplicities()
        assert multiplicities[0] == 1  # transitive
        reynolds = rep.reynolds()
        assert reynolds @ reynolds == reynolds and len(rep.invariants()) == 1
        projections = [rep.isotypic_projection(i) for i in range(len(everything))]
        total = projections[0]
        for p in projections[1:]:
            total = total + p
        assert total == np.eye(rep.dimension, dtype=int)
        assert all(p @ p == p for p in projections)
        if rep.dimension <= 12:
            basis, blocks = rep.decompose(everything)
            expected = everything[blocks[0][0]].direct_sum(
                *[everything[i] for j, (i, k) in enumerate(blocks) for _ in range(k - (j == 0))]
            )
            assert rep.change_basis(basis).matrices == expected.matrices
            assert [k for _, k in blocks] == [k for k in multiplicities if k]


@pytest.mark.parametrize("name", ["S4", "SL(2,3)", "C7:C3", "2^(1+4)+"])
def test_frobenius_reciprocity(name):
    g = group(name)
    table = character_table(g)
    for c in subgroup_classes(g)[1:8]:
        h, embedding = g.subgroup(c.generators)
        small = character_table(h)
        for psi in irreps(h)[-1:]:
            induced = psi.induce(g, embedding)
            assert induced.is_homomorphism
            assert induced.character == table.induce(psi.character, h, embedding)
            multiplicities = induced.multiplicities()
            for rho in irreps(g)[-2:]:
                restricted = rho.restrict(h, embedding)
                assert restricted.is_homomorphism
                assert restricted.character == table.restrict(rho.character, h, embedding)
                assert restricted.multiplicities()[psi.index] == multiplicities[rho.index]
        assert len(small) == len(h.classes)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_specht_modules(n):
    g = symmetric(n)
    shapes = list(partitions(n))
    assert sum(len(standard_tableaux(s)) ** 2 for s in shapes) == g.order
    characters = set()
    for shape in shapes:
        if not g.generators:
            continue
        images = specht_matrices(shape, g.elements[list(g.generators)].astype(np.int64))
        rep = Representation.from_generators(g, list(images))
        assert rep.multiplicities().sum() == 1
        characters.add(int(np.argmax(rep.multiplicities())))
    assert len(characters) == (len(shapes) if n > 1 else 0)
    with pytest.raises(StlError, match="partition"):
        specht_matrices((1, 2), np.zeros((1, 3), dtype=int))


def test_large_examples_stay_exact():
    seven = symmetric(7)
    r = irrep(seven, len(seven.classes) - 1)
    assert r.dimension == 35 and r.method == "specht" and r.is_homomorphism
    sl = group("SL(2,7)")
    for i in (4, 9):
        assert irrep(sl, i).is_homomorphism and irrep(sl, i).character == character_table(sl).values[i]
    cksu = group("C3^3wrC2")
    r = irrep(cksu, len(cksu.classes) - 1)
    assert r.method == "monomial" and r.is_homomorphism


def test_refusals():
    g = group("S3")
    with pytest.raises(StlError, match="representation"):
        irreps(g)[0].tensor(irreps(group("C6"))[0])
    with pytest.raises(StlError, match="ρ"):
        Representation.from_matrices(g, np.arange(6).reshape(6, 1, 1))
    with pytest.raises(StlError, match="one per generator"):
        Representation.from_generators(g, [np.eye(2, dtype=int)])
    with pytest.raises(StlError, match="relation"):
        Representation.from_generators(g, [np.array([[2]]), np.array([[1]])])
    with pytest.raises(StlError, match="natural"):
        character_table(g).multiplicities(np.array([1, 1, 0]))
    with pytest.raises(StlError, match="below"):
        irrep(g, 9)
    with pytest.raises(StlError, match="'monomial' or 'field'"):
        irrep(g, 0, "float")
    with pytest.raises(StlError, match="character table"):
        character_table(group("C2048"))
    with pytest.raises(StlError, match="quaternionic"):
        quaternionic_basis(irreps(g)[2])
    with pytest.raises(StlError, match="injective"):
        Representation.trivial(group("C2")).induce(group("C4"), np.array([0, 0]))
    with pytest.raises(StlError, match="dimension"):
        irreps(g)[2].exterior_power(3)


def test_a_planted_bug_is_seen():
    """The homomorphism check is not vacuous: swapping two matrices breaks it."""
    r = irreps(group("Q8"))[4]
    swapped = np.array(r.matrices.num)
    swapped[[2, 3]] = swapped[[3, 2]]
    assert not Representation(r.group, 2, lambda: Cyclotomic(swapped, r.matrices.conductor)).is_homomorphism
