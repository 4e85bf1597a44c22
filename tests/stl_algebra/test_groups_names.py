"""Names of groups: GAP's classes for every family, descriptions that read back, lists, refusals."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra.errors import StlError
from stl_algebra.groups import (
    group,
    groups,
    is_isomorphic,
    number_of_small_groups,
    small_group,
    small_group_description,
    small_group_id,
)
from stl_algebra.groups.characters import character_table
from stl_algebra.groups.generate import from_permutations
from stl_algebra.groups.names import FAMILIES, KINDS

VECTORS = Path(__file__).parents[1] / "vectors" / "projective_gap.json"
SPELLINGS = {
    (4, 2): ["V4", "K4", "Klein", "v4", "C2^2", "Z/2xZ/2", "<(1 2)(3 4), (1 3)(2 4)>", "C2×C2"],
    (4, 1): ["C4", "Z4", "Z_4", "Z/4", "Z/4Z", "Cyclic(4)", "CyclicGroup(4)", "C_4", "<(1 2 3 4)>", "<a | a^4>"],
    (8, 3): ["D4", "D_4", "Dih4", "Dih(4)", "DihedralGroup(8)", "C2wrC2", "<a,b | a^4, b^2, (a*b)^2>", "mono(2-1,1-2)"],
    (8, 4): ["Q8", "q8", "Quaternion(8)", "QuaternionGroup(8)", "Dic2", "<x,y | x^2=y^2, y*x*y^-1=x^-1>"],
    (24, 12): ["S4", "Sym(4)", "Sym4", "SymmetricGroup(4)", "PGL(2,3)", "O", "Td", "W(A3)", "S_4"],
    (24, 3): ["SL(2,3)", "SL2(3)", "SL_2(3)", "SL(2,F3)", "SL(2,GF(3))", "2T", "SmallGroup(24,3)", "[24,3]"],
    (60, 5): ["A5", "Alt(5)", "PSL(2,5)", "PSL2(5)", "L2(4)", "SL(2,4)", "I", "AlternatingGroup(5)"],
    (20, 3): ["F20", "AGL(1,5)", "C5:C4", "Frobenius(5,4)", "C5:C4[20,3]", "<(1 2 3 4 5), (2 3 5 4)>"],
    (32, 49): ["2^(1+4)+", "2^{1+4}_+", "ExtraspecialGroup(32,+)", "SG(32,49)"],
    (48, 29): ["GL(2,3)", "GL2(3)", "GF(3)[1101,0110]"],
    (48, 28): ["2O"],
}  # fmt: skip


def test_every_description_reads_back():
    """14 of them used to mean another group."""
    for order in range(1, 64):
        for index in range(1, number_of_small_groups(order) + 1):
            found = group(small_group_description(order, index))
            assert small_group_id(found) == (order, index), small_group_description(order, index)


def test_descriptions_are_all_different():
    names = [small_group_description(n, i) for n in range(1, 64) for i in range(1, number_of_small_groups(n) + 1)]
    assert max(Counter(names).values()) == 1


@pytest.mark.parametrize("number", SPELLINGS)
def test_spellings(number):
    for name in SPELLINGS[number]:
        assert small_group_id(group(name)) == number, name


def test_classes_of_named_groups():
    for name, expected in json.loads(VECTORS.read_text())["named"].items():
        classes = group(name).classes
        assert sorted(map(list, zip(classes.sizes.tolist(), classes.orders.tolist(), strict=True))) == expected, name


def test_examples_of_families_are_names():
    for _, _, example, _ in FAMILIES:
        assert group(example).order >= 2


def test_lists():
    assert [g.name for g in groups("S3,D4")] == ["S3", "D4"]
    everything = list(groups("all<=16"))
    assert len(everything) == sum(number_of_small_groups(n) for n in range(1, 17))
    assert [g.order for g in groups("quaternion<=32")] == [8, 16, 32]
    mixed = [g.name for g in groups("abelian=8, SL(2,3), <(1 2), (1 2 3)>")]
    assert mixed == ["C8", "C4xC2", "C2xC2xC2", "SL(2,3)", "<(1 2), (1 2 3)>"]
    assert len(list(groups("abelian<=16"))) + len(list(groups("nonabelian<=16"))) == len(everything)
    assert [g.name for g in groups("simple=60")] == ["A5"]
    assert all(is_isomorphic(group(g.name), g) for g in groups("nonabelian<=24"))
    assert len(list(groups("extraspecial<=32"))) == 6
    assert [len(list(groups(f"{kind}<=8"))) for kind in KINDS] == [14, 11, 3, 8, 2, 1, 1, 13, 4, 2]


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="SDACQZxw:^()[]<>,0123456789|/ =_.-GLFMVI", max_size=14))
def test_any_text_gives_groups_or_one_line(text):
    try:
        for g, _ in zip(groups(text), range(3), strict=False):
            assert g.order <= 8192
    except StlError as problem:
        assert "\n" not in str(problem)


@pytest.mark.parametrize(("name", "word"), [
    ("quaternoin8", "Known"), ("SL(2,", "Did you mean SL"), ("D5q", "Did you mean D5"), ("M12", "M9, M10, M11"),
    ("F18", "Frobenius"), ("(C4xC2):C2", "SmallGroup"), ("all<=99", "63"), ("weird<=4", "abelian"),
    ("C5:C4[20,2]", "description"),
    ("SmallGroup(64,1)", "63"), ("W(E6)", "larger"), ("GF(3)[11,01]", "square"), ("mono(22)", "once"),
    ("<(1 1)>", "disjoint"),
    ("PSL(2,6)", "prime power"), ("GL(4,3)", "order at most"), ("", "list"),
])  # fmt: skip
def test_refusals(name, word):
    with pytest.raises(StlError, match=word.replace("(", r"\(")):
        list(groups(name))


def test_permutations_iteration_and_tables():
    for generators in ("(1 2), (1 2 3)", ["(1,2)", "(1,2,3)"], [[1, 0, 2], [1, 2, 0]], ["(1 2)(3)", [1, 2, 0]]):
        g = from_permutations(generators, "mine")
        assert g.order == 6 and g.name == "mine" and list(g) == list(range(6))
        assert character_table(g).degrees.tolist() == [1, 1, 2]
    assert from_permutations("(1 2)(3 4)", degree=6).elements.shape == (2, 6)
    assert from_permutations("()").order == 1
    for wrong in ("(1 2", "(1 2)(2 3)", "(0 1)", "1 2 3", ["(1 2 99999)"]):
        with pytest.raises(StlError, match="generators"):
            from_permutations(wrong)
    assert np.array_equal(small_group(6, 1).table[:, 0], np.arange(6))
