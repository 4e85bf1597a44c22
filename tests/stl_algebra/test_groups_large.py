"""Permutation groups without a multiplication table: the same classes and characters, and groups beyond 8192."""

import numpy as np
import pytest

from stl_algebra import StlError
from stl_algebra.groups import character_table, group
from stl_algebra.groups.large import PermutationGroup, clifford, symplectic


def large(name):
    """The regular representation of a small group."""
    g = group(name)
    return PermutationGroup.from_generators([g.table[x].tolist() for x in g.generators], name)


@pytest.mark.parametrize("name", ["C1", "C6", "S4", "Q8", "SL(2,3)", "A5", "C7:C3"])
def test_the_table_is_that_of_the_multiplication_table(name):
    if name == "C1":
        with pytest.raises(StlError):
            large(name)
        return
    ours, theirs = large(name), group(name)
    assert ours.order == theirs.order and ours.exponent == theirs.exponent
    for attribute in ("sizes", "orders"):
        assert np.array_equal(getattr(ours.classes, attribute), getattr(theirs.classes, attribute))
    mine, known = character_table(ours), character_table(theirs)
    assert np.array_equal(mine.degrees, known.degrees)
    assert sorted(mine.indicators.tolist()) == sorted(known.indicators.tolist())
    assert sorted(mine.field(i) for i in range(len(mine))) == sorted(known.field(i) for i in range(len(known)))


def test_products_and_inverses():
    s4 = PermutationGroup.from_generators([(1, 2, 3, 0), (1, 0, 2, 3)])
    rng = np.random.default_rng(0)
    for g in rng.integers(0, 24, 8):
        assert np.array_equal(s4.elements[s4.inverse[g]][s4.elements[g]], np.arange(4))
        cube = s4.elements[s4.power(np.array([g]), 3)[0]]
        row = s4.elements[g]
        assert np.array_equal(cube, row[row[row]])
    assert (s4.index(s4.elements) == np.arange(24)).all()


def test_characters_of_sp_4_3():
    """Order 51840, 34 classes; the faithful ones are those of PSp(4, 3) = U(4, 2) doubled: 4, 4, 20 …."""
    table = character_table(symplectic(3))
    degrees = table.degrees.tolist()
    assert len(table) == 34 and sum(d * d for d in degrees) == 51840
    simple = [1, 5, 5, 6, 10, 10, 15, 15, 20, 24, 30, 30, 30, 40, 40, 45, 45, 60, 64, 81]
    acting = [i for i in range(34) if len(table.kernel(i)) > 1]
    assert sorted(degrees[i] for i in acting) == simple and sorted(degrees)[1:3] == [4, 4]
    for i in (1, 3, 20):  # χ·χ̄ contains the trivial character once
        assert table.multiplicities(table.values[i] * table.values[table.conjugates[i]])[0] == 1


def test_clifford_group_of_two_qubits():
    table = character_table(clifford(2))
    assert table.group.order == 11520 and sum(int(d) ** 2 for d in table.degrees) == 11520
    quotient = [int(table.degrees[i]) for i in range(len(table)) if len(table.kernel(i)) >= 16]
    assert sorted(quotient) == [1, 1, 5, 5, 5, 5, 9, 9, 10, 10, 16]  # S₆ on top of 2⁴


@pytest.mark.parametrize("rows", [[], [(0, 0, 1)], [(1, 2)], [[0.5, 1]]])
def test_what_is_no_permutation_is_refused(rows):
    with pytest.raises(StlError, match="permutations"):
        PermutationGroup.from_generators(rows)
    with pytest.raises(StlError, match="2 or 3"):
        symplectic(5)
    with pytest.raises(StlError, match="1 or 2"):
        clifford(3)


def test_groups_beyond_the_limit_are_refused():
    with pytest.raises(StlError, match="200000"):
        PermutationGroup.from_generators([(*range(1, 10), 0), (1, 0, *range(2, 10))], "S10")
