"""Tables, constructors, names, generators and presentations: laws, identifiers, and refusals that teach."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import StlError
from stl_algebra.groups import (
    FiniteGroup,
    abelian,
    abelian_basis,
    affine,
    alternating,
    automorphism_group,
    cayley_graph,
    cyclic,
    dihedral,
    direct_product,
    extraspecial,
    general_linear,
    group,
    heisenberg,
    homomorphism,
    is_isomorphic,
    matrix_group,
    metacyclic,
    normal_subgroups,
    permutation_group,
    presentation,
    projective_special_linear,
    quaternion,
    require_homomorphism,
    semidihedral,
    semidirect_product,
    small_group,
    small_group_description,
    small_group_id,
    small_groups,
    special_linear,
    subgroup_classes,
    subgroup_lattice,
    sylow_subgroup,
    symmetric,
    wreath_product,
)  # fmt: skip

LONG_LIST = [
    "1", "C2", "C3", "C5", "C12", "C4xC2", "C2^3", "C3^2", "S3", "D4", "Q8", "D7", "Dic3", "A4", "S4", "SL(2,3)",
    "C7:C3", "C5:C4", "Heis(3)", "3^(1+2)-", "2^(1+4)+", "2^(1+4)-", "SD16", "M16", "GL(2,3)", "AGL(1,8)", "A5", "S5",
    "SL(2,5)", "C2^2wrC2", "C3wrS3", "C2^3wrC2", "Heis(4)", "PSL(2,7)",
]  # fmt: skip


@pytest.mark.parametrize("name", LONG_LIST)
def test_group_laws(name):
    g = group(name)
    FiniteGroup(np.array(g.table))  # proves the axioms
    n, line = g.order, np.arange(g.order)
    assert len(g.closure(g.generators)) == n
    assert (g.table[line, g.inverse] == g.identity).all()
    assert (g.power(line, g.exponent) == g.identity).all() and n % int(g.element_orders.max()) == 0
    assert g.classes.sizes.sum() == n
    for c in range(len(g.classes)):  # a class is an orbit under conjugation, and its size is the centraliser's index
        r = int(g.classes.representatives[c])
        assert set(g.conjugate(line, r).tolist()) == set(g.classes.members(c).tolist())
        assert len(g.centralizer([r])) * g.classes.sizes[c] == n
    assert set(g.centre.tolist()) == {x for x in range(n) if (g.table[x] == g.table[:, x]).all()}
    commutators = g.commutator(line[:, None], line[None, :])
    assert np.array_equal(g.closure(np.unique(commutators).tolist()), g.derived_subgroup)
    quotient, projection = g.quotient(g.derived_subgroup)
    assert quotient.is_abelian
    require_homomorphism(g, quotient, projection)
    reps, coset_of = g.left_cosets(g.centre)
    assert len(reps) * len(g.centre) == n and (coset_of[reps] == np.arange(len(reps))).all()


@pytest.mark.parametrize("name", ["S4", "Q8", "SL(2,3)", "C7:C3", "A5", "C2^4", "S3xS3"])
def test_subgroup_lattice_laws(name):
    g = group(name)
    classes = subgroup_classes(g)
    everything = {row.tobytes() for c in classes for row in c.conjugates}
    assert all(g.is_subgroup(c.representative) for c in classes)
    for c in classes:
        assert len(g.normalizer(c.representative)) * c.length == g.order
        assert np.array_equal(g.closure(c.generators), c.representative)
    rng = np.random.default_rng(0)
    for _ in range(40):  # any subgroup anyone generates is in the list
        some = g.closure(rng.integers(0, g.order, size=2).tolist())
        assert some.astype(classes[0].conjugates.dtype).tobytes() in everything
    normal = [n.tolist() for n in normal_subgroups(g)]
    assert sorted(normal) == sorted(c.representative.tolist() for c in classes if c.is_normal)
    full, short = subgroup_lattice(g, False), subgroup_lattice(g)
    assert len(full) == sum(c.length for c in classes) and len(short) == len(classes)
    for low, high in short.edges:
        assert short.nodes[high]["order"] % short.nodes[low]["order"] == 0
    import networkx as nx

    assert nx.is_directed_acyclic_graph(full) and nx.transitive_reduction(full).edges == full.edges
    graph = cayley_graph(g)
    assert graph.number_of_edges() == g.order * len(g.generators) and nx.is_strongly_connected(graph)
    for p in (2, 3, 5, 7):
        sylow = len(sylow_subgroup(g, p))
        assert g.order % sylow == 0 and (g.order // sylow) % p and set(np.unique([sylow % p])) <= {0, 1}


def test_structure_flags():
    assert group("A5").is_simple and group("A5").is_perfect and not group("A5").is_solvable
    assert group("S4").is_solvable and not group("S4").is_nilpotent and group("2^(1+4)-").is_nilpotent
    assert [len(d) for d in group("S4").derived_series] == [24, 12, 4, 1]
    assert not cyclic(1).is_simple and cyclic(5).is_simple
    assert cyclic(1).is_abelian and abelian_basis(abelian(2, 6, 4))[1] == (12, 2, 2)


@pytest.mark.parametrize(("built", "expected"), [
    (lambda: permutation_group([[1, 2, 0, 3], [1, 0, 3, 2]]), (12, 3)),
    (lambda: permutation_group([]), (1, 1)),
    (lambda: matrix_group([[[1, 1], [0, 1]], [[0, 1], [2, 0]]], 3), (24, 3)),
    (lambda: presentation("a b", ["a^7", "b^3", "b*a*b^-1*a^-2"]), (21, 1)),
    (lambda: presentation("x, y", ["x^4", "x^2 y^-2", "y x y^-1 x"]), (8, 4)),
    (lambda: presentation("a b c", ["a^2", "b^2", "c^2", "[a,b]", "[a,c]", "[b,c]"]), (8, 5)),
    (lambda: semidirect_product(cyclic(7), cyclic(3), [[k * r % 7 for k in range(7)] for r in (1, 2, 4)]), (21, 1)),
    (lambda: direct_product(symmetric(3), cyclic(2)), (12, 4)),
    (lambda: wreath_product(cyclic(2), symmetric(2)), (8, 3)),
    (lambda: affine(4), (12, 3)), (lambda: special_linear(4), (60, 5)), (lambda: general_linear(2), (6, 1)),
    (lambda: projective_special_linear(5), (60, 5)), (lambda: heisenberg(2), (8, 3)),
    (lambda: extraspecial(2, 1, "-"), (8, 4)), (lambda: dihedral(2), (4, 2)), (lambda: dihedral(1), (2, 1)),
    (lambda: quaternion(16), (16, 9)), (lambda: semidihedral(32), (32, 19)), (lambda: alternating(4), (12, 3)),
    (lambda: metacyclic(5, 4, 2), (20, 3)), (lambda: direct_product(), (1, 1)),
])  # fmt: skip
def test_constructors_build_what_they_say(built, expected):
    g = built()
    FiniteGroup(np.array(g.table))
    assert small_group_id(g) == expected


def test_concrete_elements_multiply_like_the_table():
    g = permutation_group([[1, 2, 3, 4, 0], [1, 0, 2, 3, 4]])
    for x, y in [(3, 77), (50, 119), (12, 12)]:
        assert np.array_equal(g.elements[g.table[x, y]], g.elements[x][g.elements[y]])  # (g·h)(i) = g(h(i))
    s = symmetric(4)
    assert np.array_equal(s.elements[s.table[5, 17]], s.elements[5][s.elements[17]])
    m = special_linear(5)
    assert np.array_equal(m.elements[m.table[7, 88]], m.elements[7] @ m.elements[88] % 5)


def test_prime_power_fields_are_numbered_as_in_galois():
    from galois import conway_poly

    from stl_algebra.groups.generate import CONWAY, field_tables

    # one look-up: the first in each characteristic costs galois seconds
    assert tuple(int(c) for c in conway_poly(3, 4).coeffs[::-1]) == (*CONWAY[81], 1)
    for q in (4, 8, 9, 25, 27, 121, 256):
        add, multiply, primitive = field_tables(q)
        line = np.arange(q)
        for table, zero in ((add, 0), (multiply, 1)):
            assert np.array_equal(table, table.T) and np.array_equal(table[zero], line)
            assert np.array_equal(table[table[3 % q]], table[3 % q][table])  # (3∘x)∘y = 3∘(x∘y)
        assert np.array_equal(multiply[5 % q][add], add[np.ix_(multiply[5 % q], multiply[5 % q])])
        power, seen = 1, []
        for _ in range(q - 1):
            power = int(multiply[power, primitive])
            seen.append(power)
        assert sorted(seen) == list(range(1, q))


def test_large_orders_and_wreath():
    g = wreath_product(abelian(3, 3, 3), symmetric(2))  # CKSU's Z_3³ ≀ Z_2
    assert g.order == 1458 and len(g.classes) == 27 + 27 * 26 // 2 + 27
    assert group("S6").order == math.factorial(6)


@pytest.mark.parametrize(("name", "fragment"), [
    ("foo", "the name of a group"), ("", "a group name"), ("C0", "integer ≥ 1"), ("S9", "order at most"),
    ("Q12", "power of two"), ("SL(2,6)", "prime power"), ("SmallGroup(32,52)", "1 to 51"),
    ("SmallGroup(64,1)", "1 to 63"), ("Frobenius(7,4)", "divisor"), ("C2^20", "order at most"),
    ("S3x", "the name of a group"), ("(C4xC2):C2", "SmallGroup(16,3), SmallGroup(16,13)"),
    ("C7:S3", "the name of a group"), ("C99999999", "8192"), ("2^(1+3)+", "even width"),
    ("((S3)", "the name of a group"), ("M12", "power of two"),
])  # fmt: skip
def test_names_that_mean_no_group(name, fragment):
    with pytest.raises(StlError) as caught:
        group(name)
    assert fragment in str(caught.value) and "\n" not in str(caught.value)


@given(st.text(alphabet="CDSAQMGLPHeisxw r:^()[]{}0123456789+-,⋊×ⁿ", max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_name_makes_a_traceback(name):
    try:
        found = group(name)
    except StlError as problem:
        assert "\n" not in str(problem)
    else:
        assert found.order <= 8192


def test_absurd_names():
    for name in ("C" + "9" * 5000, "(" * 5000, "C2" + "xC2" * 30, "S7wrS7", "C1^99999", "SmallGroup(8,0)"):
        with pytest.raises(StlError):
            group(name)
    for value in (None, 8, ["S3"]):
        with pytest.raises(StlError, match="group name"):
            group(value)


def test_names_agree_with_descriptions():
    for order in (8, 12, 18, 20, 24, 27, 30, 42):
        for i, g in enumerate(small_groups(order), 1):
            try:
                named = group(small_group_description(order, i))
            except StlError as problem:
                assert "fits" in str(problem)  # several groups share the description; the message lists them
                continue
            description = small_group_description(order, i)
            if description in ("C5:C4",):  # GAP's word for two groups; the name means the faithful action
                assert small_group_id(named) == (20, 3)
            else:
                assert is_isomorphic(named, g), (order, i, description)


def test_tables_that_are_no_groups():
    with pytest.raises(StlError, match="identity"):
        FiniteGroup([[1, 0], [0, 0]])
    with pytest.raises(StlError, match="repeats"):
        FiniteGroup([[0, 1, 2], [1, 0, 1], [2, 2, 0]])
    loop = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
    with pytest.raises(StlError, match="associative"):
        FiniteGroup(loop)
    with pytest.raises(StlError, match="square"):
        FiniteGroup([[0, 1]])
    with pytest.raises(StlError, match="indices"):
        FiniteGroup([[0, 1], [1, 7]])
    with pytest.raises(StlError, match="8192"):
        FiniteGroup(np.zeros((8193, 8193), dtype=np.int8))
    with pytest.raises(StlError, match="normal"):
        group("S3").quotient(group("S3").closure([1]))
    with pytest.raises(StlError, match="closed"):
        group("S3").left_cosets(group("S3").require_subgroup([0, 1, 2]))


def test_an_identity_elsewhere_is_found():
    shuffle = np.array([3, 0, 4, 1, 2, 5])
    table = np.empty((6, 6), dtype=int)
    table[np.ix_(shuffle, shuffle)] = shuffle[np.array(group("S3").table)]
    g = FiniteGroup(table)
    assert g.identity == 3 and small_group_id(g) == (6, 1)
    from stl_algebra.groups import FourierTransform, irreps

    assert all(r.is_homomorphism for r in irreps(g))
    f = np.arange(6.0)
    transform = FourierTransform(g)
    assert np.allclose(transform.inverse(transform.forward(f)), f)


def test_maps_that_are_no_homomorphisms():
    with pytest.raises(StlError, match="homomorphism"):
        homomorphism(cyclic(4), cyclic(6), [1])
    assert homomorphism(cyclic(4), cyclic(6), [3])[1] == 3
    with pytest.raises(StlError, match="automorphism"):
        semidirect_product(cyclic(4), cyclic(2), [[0, 1, 2, 3], [0, 2, 1, 3]])
    with pytest.raises(StlError, match="Aut"):
        semidirect_product(cyclic(7), cyclic(2), [[0, 1, 2, 3, 4, 5, 6], [0, 2, 4, 6, 1, 3, 5]])
    with pytest.raises(StlError, match="invertible"):
        matrix_group([[[1, 1], [1, 1]]], 3)
    with pytest.raises(StlError, match="permutation"):
        permutation_group([[0, 0, 1]])
    with pytest.raises(StlError, match="at most 100"):
        permutation_group([[1, 2, 3, 4, 5, 0], [1, 0, 2, 3, 4, 5]], limit=100)
    with pytest.raises(StlError, match="closes"):
        presentation("a b", ["a^2"], limit=50)
    for word in ("a^^2", "q", "a)", "[a", "a^x"):
        with pytest.raises(StlError, match="a word in"):
            presentation("a", [word])
    with pytest.raises(StlError, match="at most"):
        automorphism_group(group("S6"))


@st.composite
def random_semidirect(draw):
    """C_m^k ⋊ C_n (k ≤ 2) with a random action, shuffled, so that nothing about its numbering is special."""
    m = draw(st.sampled_from([2, 3, 4, 5, 7]))
    if draw(st.booleans()):
        n_group = cyclic(m)
        units = [u for u in range(1, m) if math.gcd(u, m) == 1] or [1]
        u = draw(st.sampled_from(units))
        order = next(k for k in range(1, m + 1) if pow(u, k, m) == 1 % m)
        row = [x * u % m for x in range(m)]
    else:
        n_group = abelian(m, m)
        row = [(x % m) * m + x // m for x in range(m * m)]
        order = 2
    n = order * draw(st.integers(1, 2))
    action, power = [], list(range(n_group.order))
    for _ in range(n):
        action.append(power)
        power = [row[x] for x in power]
    return semidirect_product(n_group, cyclic(n), action), draw(st.randoms(use_true_random=False))


@given(random_semidirect())
@settings(max_examples=25, deadline=None)
def test_random_semidirect_products(pair):
    from stl_algebra.groups import Representation, character_table, irreps

    g, random = pair
    shuffle = list(range(1, g.order))
    random.shuffle(shuffle)
    shuffle = np.array([0, *shuffle])
    table = np.empty_like(g.table)
    table[np.ix_(shuffle, shuffle)] = shuffle[g.table]
    h = FiniteGroup(table)
    assert is_isomorphic(g, h)
    characters = character_table(h)
    assert (characters.degrees**2).sum() == h.order
    assert sorted(characters.degrees) == sorted(character_table(g).degrees)
    # Frobenius and Schur count square roots of the identity
    involutions = int((h.power(np.arange(h.order), 2) == h.identity).sum())
    assert (characters.degrees * characters.indicators).sum() == involutions
    for rho in irreps(h):
        if rho.dimension > 1 or rho.index < 3:
            assert rho.is_homomorphism and rho.character == characters.values[rho.index]
    assert np.array_equal(Representation.regular(h).multiplicities(), characters.degrees)
    if h.order <= 63:
        assert is_isomorphic(small_group(*small_group_id(h)), g)
