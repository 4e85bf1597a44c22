"""Expected values computed by GAP: all 319 groups of order ≤ 63 and 25 larger ones (tests/vectors/groups_gap.g)."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stl_algebra.groups import (
    Cyclotomic,
    automorphism_group,
    character_table,
    group,
    number_of_small_groups,
    permutation_group,
    small_group,
    small_group_id,
    subgroup_classes,
)  # fmt: skip
from stl_algebra.groups.cyclotomic import stack

VECTORS = Path(__file__).parents[1] / "vectors" / "groups_gap.json"


@cache
def vectors():
    return json.loads(VECTORS.read_text())


def gap_rows(case, exponent):
    """GAP's table as integer coefficients over Q(ζ_exponent), shape (characters, classes, φ)."""
    values = []
    for conductor, terms in case["values"]:
        counts = np.zeros(conductor, dtype=np.int64)
        for k, c in terms:
            counts[k] += c
        values.append(Cyclotomic.from_counts(counts, conductor).lift(exponent))
    return stack(values).num[np.array(case["characters"])]


def assert_same_table(g, case, positions):
    """Our table equals GAP's up to the order of the rows; positions[c] is our class of GAP's class c."""
    table = character_table(g)
    assert [int(g.classes.sizes[c]) for c in positions] == [size for _, size, _ in case["classes"]]
    assert [int(g.classes.orders[c]) for c in positions] == [order for _, _, order in case["classes"]]
    ours = table.values.num[:, positions]
    mine = Counter((row.tobytes(), int(nu)) for row, nu in zip(ours, table.indicators, strict=True))
    rows = gap_rows(case, g.exponent)
    theirs = Counter((row.tobytes(), nu) for row, nu in zip(rows, case["indicators"], strict=True))
    assert mine == theirs


def small_cases(order):
    return [case for case in vectors()["small"] if case["id"][0] == order]


@pytest.mark.parametrize("order", range(1, 64))
def test_every_group_of_small_order(order):
    cases = small_cases(order)
    assert len(cases) == number_of_small_groups(order)
    for case in cases:
        g = small_group(*case["id"])
        sizes = (g.exponent, len(g.centre), len(g.derived_subgroup))
        assert sizes == (case["exponent"], case["centre"], case["derived"])
        positions = g.classes.of[[r for r, _, _ in case["classes"]]]
        assert sorted(positions) == list(range(len(g.classes)))
        assert_same_table(g, case, positions)
        found = subgroup_classes(g)
        assert (sum(c.length for c in found), len(found), sum(c.is_normal for c in found)) == (
            case["subgroups"], case["subgroup_classes"], case["normal_subgroups"])  # fmt: skip
        assert automorphism_group(g).order == case["automorphisms"]


def test_catalogue_has_no_duplicates():
    for order in (16, 24, 27, 36, 48):
        for i in range(1, number_of_small_groups(order) + 1):
            assert small_group_id(small_group(order, i)) == (order, i)


LARGE = [
    "S5", "S6", "S7", "A6", "A7", "PSL(2,7)", "PSL(2,8)", "PSL(2,11)", "SL(2,5)", "SL(2,7)", "GL(2,3)", "GL(2,4)",
    "GL(2,5)", "Heis(5)", "2^(1+6)+", "2^(1+6)-", "3^(1+4)+", "C2^3wrC2", "C3^3wrC2", "C3wrS3", "C2wrS4", "AGL(1,9)",
    "S4xS3", "SL(2,3)xC5", "M11",
]  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_larger_groups(name):
    case = next(c for c in vectors()["large"] if c["name"] == name)
    g = permutation_group(case["generators"], name)
    assert g.order == case["order"]
    place = {tuple(row): i for i, row in enumerate(g.elements.tolist())}
    # GAP multiplies from the left; the opposite group has the same classes and characters
    reps = [place[tuple(json.loads(r) if isinstance(r, str) else r)] for r, _, _ in case["classes"]]
    assert_same_table(g, case, g.classes.of[reps])
    if "subgroups" in case and g.order <= 200:
        found = subgroup_classes(g)
        assert (sum(c.length for c in found), len(found)) == (case["subgroups"], case["subgroup_classes"])
    if name != "M11":  # our own constructor builds the same group: compare what does not depend on numbering
        other = group(name)
        mine, theirs = character_table(g), character_table(other)
        assert sorted(zip(mine.degrees, mine.indicators, strict=True)) == sorted(
            zip(theirs.degrees, theirs.indicators, strict=True))  # fmt: skip
        keys = [sorted(zip(x.classes.orders.tolist(), x.classes.sizes.tolist(), strict=True)) for x in (g, other)]
        assert keys[0] == keys[1]


@pytest.mark.parametrize("name", sorted(vectors()["named"]))
def test_names_mean_what_gap_means(name):
    assert small_group_id(group(name)) == tuple(vectors()["named"][name])
