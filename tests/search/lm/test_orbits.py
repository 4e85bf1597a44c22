"""Actions, orbit types and named groups: laws that every action must satisfy."""

import numpy as np
import pytest

from search.lm import CyclicZ3
from search.lm.actions import Element, conjugation, cyclic_shift, generate, transpose_reversal
from search.lm.groups import monomial_group, named_action, signed_permutation
from search.lm.orbits import Invariant, counts_for_rank, orbit_types, sample_counts, subgroups
from search.lm.problem import matmul_tensor
from stl_algebra.errors import StlError

GROUPS = [
    ("Z3", (2, 2, 2), 3),
    ("T", (2, 3, 2), 2),
    ("Z3*T", (3, 3, 3), 6),
    ("d:2+1", (3, 3, 3), 2),
    ("d:1+1,2+1,3+0", (2, 3, 3), 2),
    ("c:(123)", (3, 3, 3), 3),
    ("c:(12),(),(12)(34)", (3, 2, 4), 2),
    ("Z3*d:1+1", (2, 2, 2), 6),
    ("s:(12)*s:(123)", (2, 2, 2), 6),
    ("c:(12)*c:(123)", (3, 3, 3), 6),
    ("E32", (4, 4, 4), 32),
    ("E32/15", (4, 4, 4), 8),
    ("E32/134", (4, 4, 4), 16),
    ("mono:8:1", (4, 4, 4), 8),
    ("mono:4:0", (2, 3, 4), 4),
    ("p:231", (3, 3, 3), 3),
    ("p:-12,132,2143", (2, 3, 4), 2),
]
COMPLEX = [
    ("p:231,231,231*p:1w2ww3,1w2ww3,1w2ww3", (3, 3, 3), 9), ("Z3*p:231*p:1w2ww3", (3, 3, 3), 27),
    ("mono4:8:1", (4, 4, 4), 8), ("mono3:6:0", (3, 3, 3), 6), ("p:1i2,1i2,1i2", (2, 2, 2), 4),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fmt", "order"), GROUPS, ids=[g[0] + str(g[1]) for g in GROUPS])
def test_actions_are_groups_that_fix_the_target(name, fmt, order):
    action = named_action(name, fmt)
    assert action.order == order and action.fixes(matmul_tensor(*fmt))
    table = action.table
    assert (np.sort(table, axis=1) == np.arange(order)).all() and (table[0] == np.arange(order)).all()
    for g in range(0, order, max(1, order // 4)):  # associativity on a sample
        assert (table[table[g]] == table[g][table]).all()
        assert table[g, action.inverse(g)] == 0


@pytest.mark.parametrize(("name", "fmt", "order"), GROUPS, ids=[g[0] + str(g[1]) for g in GROUPS])
def test_expansions_are_invariant_and_orbits_have_the_stated_size(name, fmt, order):
    action = named_action(name, fmt)
    types = orbit_types(action, largest_stabiliser=2 if order > 8 else None)
    assert len({t.name for t in types}) == len(types)
    par = Invariant(action, [1] * len(types), types=types)
    e_x, e_w, d = par.expand(np.random.default_rng(4).standard_normal(par.size))
    tensor = np.einsum("la,lb,cl->abc", e_x, e_w, d)
    scale = np.abs(tensor).max()
    for g in action.elements:
        assert np.abs(g.apply_tensor(tensor) - tensor).max() < 1e-10 * scale
    # a generic term of each type has exactly that many images
    at = 0
    for t in types:
        terms = [np.einsum("a,b,c->abc", e_x[l], e_w[l], d[:, l]).ravel() for l in range(at, at + t.size)]
        distinct = len({tuple(np.round(x, 6)) for x in terms})
        assert distinct == t.size, t.name
        at += t.size


def test_free_orbits_exist_once_and_sizes_divide_the_order():
    for name, fmt, order in GROUPS:
        sizes = [t.size for t in orbit_types(named_action(name, fmt), largest_stabiliser=2)]
        assert sizes.count(order) == 1 and all(order % s == 0 for s in sizes)


def test_cyclic_types_are_those_of_the_special_parametrisation():
    types = orbit_types(named_action("Z3", (3, 3, 3)))
    assert [(t.size, t.unknowns) for t in types] == [(3, 27), (1, 9)]
    assert Invariant(named_action("Z3", (3, 3, 3)), (4, 11)).size == CyclicZ3(3, 11, 4).size == 207


def test_complex_characters_add_types():
    action = named_action("c:(123)", (3, 3, 3))
    assert len(orbit_types(action, "complex")) > len(orbit_types(action, "real"))


@pytest.mark.parametrize(("name", "fmt", "order"), COMPLEX, ids=[g[0] for g in COMPLEX])
def test_complex_actions_fix_the_target_and_their_orbits_are_invariant(name, fmt, order):
    action = named_action(name, fmt)
    assert action.order == order and action.fixes(matmul_tensor(*fmt)) and action.is_complex
    types = orbit_types(action, "complex", 3)
    par = Invariant(action, [1] * len(types), "complex", types)
    theta = np.random.default_rng(4).standard_normal((2, par.size))
    e_x, e_w, d = par.expand(theta[0] + 1j * theta[1])
    tensor = np.einsum("la,lb,cl->abc", e_x, e_w, d)
    for g in action.elements:
        assert np.abs(g.apply_tensor(tensor) - tensor).max() < 1e-10 * np.abs(tensor).max()


def test_phase_groups_are_reproducible():
    one, two, other = (named_action(f"mono4:8:{i}", (4, 4, 4)) for i in (3, 3, 4))
    assert np.array_equal(one.table, two.table)

    def maps(action):
        return np.stack([g.maps[0] for g in action.elements])

    assert np.allclose(maps(one), maps(two)) and not np.allclose(maps(one), maps(other))


def test_subgroups_of_s3_up_to_conjugacy():
    assert [len(s) for s in subgroups(named_action("c:(12)*c:(123)", (3, 3, 3)))] == [1, 2, 3, 6]


def test_a_map_that_is_no_symmetry_is_noticed():
    swap = Element((1, 0, 2), tuple(np.eye(4) for _ in range(3)))  # exchanges A and B without transposing
    assert not generate([swap], "swap").fixes(matmul_tensor(2, 2, 2))
    assert generate([transpose_reversal(2, 2)], "T").fixes(matmul_tensor(2, 2, 2))
    p = signed_permutation((2, 1))
    assert not np.allclose(conjugation(p, p, p).maps[0], cyclic_shift(2).maps[0])


def test_counts():
    types = orbit_types(named_action("Z3", (2, 2, 2)))
    assert counts_for_rank(types, 7) == [(0, 7), (1, 4), (2, 1)]
    chosen = sample_counts(types, 7, 3, seed=1)
    assert len(set(chosen)) == len(chosen) and all(3 * m + s == 7 for m, s in chosen)


def test_monomial_groups_are_reproducible():
    assert monomial_group((4, 4, 4), 8, 3) == monomial_group((4, 4, 4), 8, 3) != monomial_group((4, 4, 4), 8, 4)


@pytest.mark.parametrize(
    ("name", "fmt"),
    [("Z5", (2, 2, 2)), ("Z3", (2, 3, 2)), ("T", (2, 3, 4)), ("d:1+1", (3, 3, 3)), ("c:(14)", (3, 3, 3)),
     ("E32", (3, 3, 3)), ("E32/9", (4, 4, 4)), ("c:(11)", (3, 3, 3)), ("", (2, 2, 2)),
     ("p:121", (3, 3, 3)), ("p:21", (3, 3, 3)), ("mono4:7:0", (1, 1, 2))],
)  # fmt: skip
def test_bad_names_teach(name, fmt):
    with pytest.raises(StlError, match="expected"):
        named_action(name, fmt)


def test_bad_generators():
    with pytest.raises(StlError, match="unitary"):
        conjugation([[1, 1], [0, 1]], np.eye(2), np.eye(2))
    angle = 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    with pytest.raises(StlError, match="at most"):
        generate([conjugation(turn, turn, np.eye(2))], "infinite", limit=40)
    with pytest.raises(StlError, match="complex"):
        orbit_types(generate([conjugation(np.diag([1, 1j]), np.eye(2), np.eye(2))], "C4"), "real")
    with pytest.raises(StlError, match="numbers"):
        Invariant(named_action("Z3", (2, 2, 2)), (1,))
