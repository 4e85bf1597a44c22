"""Isotropy action, equivalence and stabilisers, against the literature (Burichenko 2014, 2015)."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stl_algebra import Encoder, StlError, schemes
from stl_algebra.symmetry import (
    Transformation,
    canonical_form,
    equivalent,
    rank_triples,
    same_up_to_order,
    signature,
    stabiliser,
    trace_tensor,
)
from stl_algebra.symmetry.invariants import factor_matrices, pair_colours, prime_view, twist
from stl_algebra.symmetry.search import automorphism_generators, group_order
from stl_algebra.symmetry.transform import apply_modulo, intertwiner, inverse_modulo, rational_matrix

P3 = [[1, 2, 0], [0, 1, 0], [0, 0, 1]]
Q3 = [[1, 0, 0], [0, 1, 0], [1, 0, -1]]
R3 = [[0, 1, 0], [1, 0, 0], [0, 3, 1]]


def shuffled(encoder, seed):
    order = np.random.default_rng(seed).permutation(encoder.rank)
    return encoder.keep_terms(order.tolist())


@pytest.mark.parametrize("name", ["strassen", "laderman", "hopcroft", "winograd"])
def test_canonical_form_forgets_order_and_scaling_only(name):
    encoder = getattr(schemes, name)()
    x, w, d = (f.num.astype(object) for f in shuffled(encoder, 3).factors)
    scale = np.array([Fraction(2 + l, 3) * (-1) ** l for l in range(encoder.rank)], dtype=object)
    other = Encoder.build(encoder.target, x * scale[:, None], w / scale[:, None] ** 2, d * scale, ring="Q")
    form = canonical_form(encoder)
    assert form.is_exact and form == canonical_form(other) == canonical_form(form)
    assert canonical_form(encoder.drop_terms([0])) != form
    n, m, p = encoder.format
    shear = np.eye(n, dtype=int) + np.eye(n, k=1, dtype=int)
    moved = encoder.change_basis(shear, np.eye(m, dtype=int), np.eye(p, dtype=int))
    assert canonical_form(moved) != form
    with pytest.raises(StlError, match="ring"):
        canonical_form(encoder.to_ring("GF(2)"))


def test_strassen():
    s = stabiliser(schemes.strassen())
    assert (s.order, s.order_inner, s.name, s.name_inner) == (36, 6, "S3xS3", "S3")
    assert len(s.kinds) == 6 and sorted(len(o) for o in s.orbits) == [1, 6]
    assert s.proven == len(s.generators)


def test_laderman():
    s = stabiliser(schemes.laderman())
    assert (s.order, s.order_inner, s.name) == (24, 4, "S4")
    assert sum(len(o) for o in s.orbits) == 23
    assert s.proven == len(s.generators)


def test_hopcroft():
    s = stabiliser(schemes.hopcroft())
    assert (s.order, s.order_inner, s.name) == (12, 6, "D6")  # D6 = S3 × C2


def test_another_prime_gives_the_same_group():
    one, two = stabiliser(schemes.laderman()), stabiliser(schemes.laderman(), skip_primes=1, seed=3)
    assert one.prime != two.prime and (one.order, one.orbits) == (two.order, two.orbits)


def test_every_generator_permutes_the_terms_exactly():
    encoder = schemes.laderman()
    s = stabiliser(encoder)
    for t in s.transformations:
        assert same_up_to_order(t(encoder), encoder)
    t = s.transformations[0]
    broken = Transformation(t.rotations, t.transposed, [[2 * x for x in row[:1]] + row[1:] for row in t.p], t.q, t.r)
    assert not same_up_to_order(broken(encoder), encoder)


@pytest.mark.parametrize("kind", [(0, False), (1, False), (2, True)])
def test_disguised_laderman_is_recognised(kind):
    one = schemes.laderman()
    two = one
    if kind[1]:
        two = two.transpose().rotate().rotate()
    for _ in range(kind[0]):
        two = two.rotate()
    two = shuffled(two.change_basis(P3, Q3, R3), 5)
    found = equivalent(one, two)
    assert found is not None and found.proven
    assert same_up_to_order(found.transformation(one), two)
    assert signature(one) == signature(two)


def test_different_classes_are_told_apart():
    laderman = schemes.laderman()
    other = schemes.strassen().direct_sum(schemes.standard(1, 2, 2), "n").direct_sum(schemes.standard(3, 1, 2), "m")
    assert equivalent(laderman, other) is None
    four = schemes.standard(2, 2, 2)
    assert equivalent(schemes.strassen(), four) is None


def test_strassen_and_winograd_are_one_orbit():
    found = equivalent(schemes.strassen(), schemes.winograd(), kinds=[(0, False)])
    assert found is not None and found.proven and found.kind == (0, False)


def test_rank_triples():
    triples = rank_triples(schemes.strassen()).tolist()
    assert triples.count([2, 2, 2]) == 1 and triples.count([1, 1, 1]) == 6


def test_works_over_gf2_and_number_fields():
    two = stabiliser(schemes.strassen().to_ring("GF(2)"))
    assert two.order == 36
    gauss = stabiliser(schemes.strassen().to_ring("Q(i)"))
    assert gauss.order == 36


def test_floating_point_is_refused():
    with pytest.raises(StlError, match="ring"):
        stabiliser(schemes.strassen().to_ring("R64"))


def test_trace_tensor_against_loops():
    view, p = prime_view(schemes.hopcroft())
    u, v, w = factor_matrices(view)
    k = trace_tensor((u, v, w), p)
    for a, b, c in [(0, 0, 0), (1, 4, 7), (14, 3, 2)]:
        assert k[a, b, c] == np.trace((u[a] @ v[b] % p) @ w[c] % p) % p


def test_colours_do_not_depend_on_coordinates():
    one = schemes.hopcroft()
    two = one.change_basis(P3, [[1, 1], [0, 1]], R3)
    for kind in ((0, False), (1, True)):
        a, b = (pair_colours(twist(factor_matrices(prime_view(e)[0]), kind), prime_view(e)[1]) for e in (one, two))
        assert np.array_equal(a, b)


def test_inverse_and_intertwiner_modulo_p():
    p, rng = 10007, np.random.default_rng(0)
    s = rng.integers(0, p, (4, 4))
    inverse = inverse_modulo(s, p)
    assert np.array_equal(s @ inverse % p, np.eye(4, dtype=int))
    left = rng.integers(0, p, (3, 4, 4))
    right = s @ left % p @ inverse % p
    found = intertwiner(left, right, p, rng)
    ratio = found.ravel()[0] * pow(int(s.ravel()[0]), -1, p) % p
    assert np.array_equal(found, ratio * s % p)
    assert intertwiner(left, rng.integers(0, p, (3, 4, 4)), p, rng) is None
    assert inverse_modulo(np.ones((2, 2), dtype=int), p) is None


def test_rational_matrix_is_recovered_up_to_scale():
    p = 33550441
    wanted = [[Fraction(1), Fraction(-2, 3)], [Fraction(5, 7), Fraction(0)]]
    residues = np.array([[x.numerator * pow(x.denominator, -1, p) * 12345 % p for x in row] for row in wanted])
    assert rational_matrix(residues, p) == wanted


def test_singular_bases_are_refused():
    view, p = prime_view(schemes.strassen())
    assert apply_modulo(factor_matrices(view), (np.zeros((2, 2), dtype=int),) * 3, p) is None


def test_automorphisms_of_a_coloured_graph():
    # the 5-cycle: dihedral group of order 10
    colours = np.zeros((5, 5), dtype=np.uint64)
    for i in range(5):
        colours[i, (i + 1) % 5] = colours[(i + 1) % 5, i] = 1
    generators, order = automorphism_generators(colours, lambda image: True)
    assert order == group_order(generators) == 10


def test_equivalence_needs_equal_ranks_and_fitting_formats():
    assert equivalent(schemes.strassen(), schemes.standard(2, 2, 2)) is None
    assert equivalent(schemes.hopcroft(), schemes.hopcroft().rotate(), kinds=[(0, False)]) is None
    found = equivalent(schemes.hopcroft(), schemes.hopcroft().rotate())
    assert found is not None and found.proven


def published(name):
    table = json.loads((Path(__file__).parents[1] / "vectors" / "reference_schemes" / f"{name}.json").read_text())
    x, w = ([list(c) for c in zip(*table[k], strict=True)] for k in "uv")
    return Encoder.build((table["n"], table["m"], table["p"]), x, w, table["w"], ring=table["ring"])


def test_both_published_schemes_of_rank_48_are_one_orbit_of_the_extraspecial_group():
    rational, gauss = published("s444r48_dumas_Q"), published("s444r48_alphaevolve_Qi")
    s = stabiliser(rational)
    assert (s.order, s.order_inner, [len(o) for o in s.orbits]) == (64, 32, [32, 16])
    assert s.name_inner == "(C2xC2xC2):(C2xC2)"  # SmallGroup(32,49), the extraspecial group 2^{1+4}+
    assert s.proven == len(s.generators)
    found = equivalent(gauss, rational, kinds=[(0, False)])
    assert found is not None and not found.proven  # over Q(i) the basis is only known modulo the prime


def test_generic_published_schemes_have_no_symmetry():
    assert stabiliser(published("s333r23_bellette_Q")).order == 1
    assert stabiliser(published("s444r49_alphatensor_Z")).order == 3
