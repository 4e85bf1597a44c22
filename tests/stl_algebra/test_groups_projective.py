"""Cocycles, Schur multiplier, covers and projective representations: GAP's values, laws and planted errors."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra.errors import StlError
from stl_algebra.groups import (
    automorphism_group,
    branching,
    central_extension,
    character_table,
    cohomology,
    double_cosets,
    group,
    induce,
    irreps,
    is_cocycle,
    mackey,
    normal_subgroups,
    projective_degrees,
    projective_irreps,
    restrict,
    schur_cover,
    schur_multiplier,
    small_group,
    small_group_id,
    subgroup_classes,
)  # fmt: skip
from stl_algebra.groups.doublecosets import total
from stl_algebra.groups.projective import linear_characters, twisted_algebra
from stl_algebra.groups.universal import universal_extension

VECTORS = Path(__file__).parents[1] / "vectors" / "projective_gap.json"
NASTY = ["1", "C2", "C3", "C5", "C4xC2", "C2^3", "Q8", "D4", "S3", "A4", "S4", "SL(2,3)", "C7:C3", "Heis(3)", "C3^2",
         "2^(1+4)+", "A5", "C4wrC2"]  # fmt: skip


@cache
def vectors():
    return json.loads(VECTORS.read_text())


def divisors_of_h2(case):
    """H²(G, ±1) = Ext(G/G', ±1) ⊕ Hom(M(G), ±1)."""
    return sum(d % 2 == 0 for d in case["abelian"]) + sum(d % 2 == 0 for d in case["multiplier"])


def test_multipliers_of_every_small_group():
    for case in vectors()["small"]:
        g = small_group(*case["id"])
        assert list(schur_multiplier(g)) == case["multiplier"], case["id"]
        assert len(cohomology(g, "real").moduli) == divisors_of_h2(case), case["id"]
        assert sorted(cohomology(g, "complex").moduli) == case["multiplier"]


def test_multipliers_of_larger_groups():
    for name, expected in vectors()["large"].items():
        assert list(schur_multiplier(group(name))) == expected, name


def test_degrees_over_a_schur_cover():
    """All covers have the same degrees; ours come class by class."""
    for case in vectors()["small"]:
        if case["degrees"] and case["id"][0] in (4, 8, 12, 16, 18, 24, 27, 36, 60):
            g = small_group(*case["id"])
            found = sorted(d for c in cohomology(g) for d in projective_degrees(g, c))
            assert found == sorted(d for d, k in case["degrees"] for _ in range(k)), case["id"]


def test_real_classes_are_the_central_extensions_by_two():
    for case in vectors()["extensions"]:
        g = small_group(*case["id"])
        where = cohomology(g, "real")
        if len(where) > 64:
            continue  # C2^4 with its 1024 classes
        found = {small_group_id(central_extension(g, [(where.cocycle(c), 2)])[0])[1] for c in where}
        assert sorted(found) == case["extensions"], case["id"]


@pytest.mark.parametrize("name", NASTY)
def test_presentation_and_cocycles(name):
    g = group(name)
    extension = universal_extension(g)
    for word in extension.relators:
        assert g.product(*(g.generators[x - 1] if x > 0 else int(g.inverse[g.generators[-x - 1]]) for x in word)) == 0
    assert np.array_equal(extension.to_smith @ extension.from_smith, np.eye(len(extension.relators), dtype=int))
    for field in ("real", "complex"):
        where = cohomology(g, field)
        for cls in list(where)[-3:]:
            c = where.cocycle(cls)
            assert is_cocycle(g, c, where.modulus) and not c[0].any() and not c[:, 0].any()
            assert where.classify(where.relator_values(cls).tolist()) == cls
            if g.order > 2 and where.modulus > 1:
                wrong = c.copy()
                wrong[1, 1] += 1
                assert not is_cocycle(g, wrong, where.modulus)  # the check can fail


@pytest.mark.parametrize("name", ["A4", "S4", "A5", "C2^3", "C3^2", "D4", "PSL(2,7)"])
def test_cover(name):
    g = group(name)
    cover, projection = schur_cover(g)
    kernel = np.flatnonzero(projection == 0)
    assert np.array_equal(projection[cover.table], g.table[np.ix_(projection, projection)])
    assert np.isin(kernel, cover.centre).all() and np.isin(kernel, cover.derived_subgroup).all()
    assert len(kernel) == np.prod(schur_multiplier(g))


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("field", ["real", "complex"])
def test_projective_irreps_multiply_by_their_cocycle(name, field):
    g = group(name)
    where = cohomology(g, field)
    for cls in list(where)[:4]:
        algebra = twisted_algebra(where, cls)
        zeta = np.exp(2j * np.pi * where.cocycle(cls) / where.modulus)
        weight = 0
        for rho in algebra.irreps:
            m = rho.matrices
            assert m.shape == (g.order, rho.dimension, rho.dimension)
            assert np.isrealobj(m) == (field == "real")
            assert np.abs(m @ m.conj().transpose(0, 2, 1) - np.eye(rho.dimension)).max() < 1e-9
            products = np.einsum("gij,hjk->ghik", m, m)
            assert np.abs(products - zeta[:, :, None, None] * m[g.table]).max() < 1e-9
            assert np.abs(np.trace(m, axis1=1, axis2=2) - rho.character).max() < 1e-9
            exact = rho.exact
            gens = list(g.generators)[:2]
            for s in gens:
                for t in gens:
                    sign = exact[s] @ exact[t]
                    assert np.allclose(sign.complex(), zeta[s, t] * exact[int(g.table[s, t])].complex())
            size = rho.degree**2 * (2 if field == "real" and rho.indicator == 0 else 1)
            weight += size
        assert weight == g.order  # Σ d² = |G| in every class


def test_known_projective_representations():
    types = [(r.degree, r.type) for r in projective_irreps(group("A5"), (1,), "real")]
    assert types == [(2, "quaternionic"), (2, "quaternionic"), (4, "quaternionic"), (6, "quaternionic")]
    a6 = group("A6")
    assert cohomology(a6).moduli == (6,)
    assert [projective_degrees(a6, (k,))[0] for k in range(6)] == [1, 6, 3, 4, 3, 6]  # 6.A6, 3.A6, 2.A6: the Valentiner
    assert [r.degree for r in projective_irreps(group("C5^2"), (1,))] == [5]  # Heisenberg
    assert {r.degree for c in cohomology(group("C2^4")) for r in projective_irreps(group("C2^4"), c)} == {1, 2, 4}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["C2^3", "D4", "A4", "C4xC2", "Q8", "C3^2", "S3xS3"]),
    st.sampled_from(["real", "complex"]),
    st.randoms(use_true_random=False),
)
def test_pulling_back_a_class(name, field, random):
    """ρ∘a has the class and, after the phases, exactly the standard cocycle of that class."""
    g = group(name)
    where = cohomology(g, field)
    cls = random.choice(list(where))
    a = np.asarray(random.choice(automorphism_group(g).generators))
    found, mu = where.pull_back(cls, a)
    m = where.modulus
    phase = np.exp(2j * np.pi * np.array([float(x) for x in mu]))
    before = np.exp(2j * np.pi * where.cocycle(cls)[np.ix_(a, a)] / m)
    after = before * phase[:, None] * phase[None, :] / phase[g.table]
    assert np.abs(after - np.exp(2j * np.pi * where.cocycle(found) / m)).max() < 1e-9
    units = where.image(a)
    linear = tuple(sum(x * u[i] for x, u in zip(cls, units, strict=True)) % d for i, d in enumerate(where.moduli))
    assert linear == found
    if field == "real":
        assert np.abs(phase.imag).max() < 1e-9


def test_linear_characters():
    for name in NASTY:
        g = group(name)
        assert len(linear_characters(cohomology(g, "complex"))) == g.order // len(g.derived_subgroup)
        assert np.isin(linear_characters(cohomology(g, "real")), [1, -1]).all()


# -- restriction, induction, double cosets -------------------------------------------------------------------
def test_double_coset_sizes():
    for case in vectors()["cosets"]:
        g = small_group(*case["id"])
        reps = [c.representative for c in subgroup_classes(g)]
        rows = sorted([len(h), len(k), sorted(double_cosets(g, h, k).sizes.tolist())] for h in reps for k in reps)
        assert rows == sorted(case["rows"]), case["id"]


@pytest.mark.parametrize("name", ["S3", "Q8", "A4", "D5"])
def test_mackey_and_frobenius(name):
    g = group(name)
    classes = [c.representative for c in subgroup_classes(g)]
    whole = character_table(g)
    for h in classes:
        small, _ = g.subgroup(h.tolist())
        table, multiplicities = character_table(small), branching(g, h)
        assert np.array_equal(multiplicities @ table.degrees, whole.degrees)
        for j in range(len(table)):
            induced = induce(g, h, table.values[j])
            assert np.array_equal(whole.multiplicities(induced), multiplicities[:, j])  # Frobenius reciprocity
            for k in classes:
                terms = mackey(g, k, h, table.values[j])
                assert total(terms) == restrict(g, k, induced)
                assert len(terms) == len(double_cosets(g, k, h))


def test_induced_matrices_have_the_induced_character():
    g = group("S4")
    normal = normal_subgroups(g)[2]
    small, embedding = g.subgroup(normal.tolist())
    rho = irreps(small)[1]
    big = rho.induce(g, embedding)
    assert big.is_homomorphism
    assert big.character == induce(g, normal, rho.character)


def test_refusals():
    g = group("C2^2")
    with pytest.raises(StlError, match="digits"):
        cohomology(g, "real").cocycle((1,))
    with pytest.raises(StlError, match="'real' or 'complex'"):
        cohomology(g, "rational")
    with pytest.raises(StlError, match="relations"):
        for i in range(6):  # six relators, of which only four are independent modulo two
            cohomology(group("A5"), "real").classify([int(i == j) for j in range(6)])
    with pytest.raises(StlError, match="extension of order"):
        schur_cover(group("C2^6"))
    with pytest.raises(StlError, match="closed"):
        double_cosets(group("S3"), [0, 1, 2], [0])
    with pytest.raises(StlError, match="one value per class"):
        induce(group("S3"), group("S3").closure([1]), [1, 2, 3])
