"""The grammar of symmetries: laws every named action satisfies, orbit types by what they are, names that teach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import StlError
from stl_algebra.symmetry import action, actions, is_explicit, is_generated, sample_multisets, term_types
from stl_algebra.symmetry.monomial import cycles, random_monomial, random_signed, signed_permutation

GROUPS = [
    ("none", (2, 3, 4), 1),
    ("Z3", (2, 2, 2), 3),
    ("T", (2, 3, 2), 2),
    ("Z3*T", (3, 3, 3), 6),
    ("d:2+1", (3, 3, 3), 2),
    ("d:1+1,2+1,3+0", (2, 3, 3), 2),
    ("c:(123)", (3, 3, 3), 3),
    ("c:(12),(),(12)(34)", (3, 2, 4), 2),
    ("Z3*d:1+1", (2, 2, 2), 6),
    ("Z3~c:(123)", (3, 3, 3), 9),
    ("Z3~c:(12)*T", (2, 2, 2), 12),
    ("s:(12)*s:(123)", (2, 2, 2), 6),
    ("s@1:(123)*s@2:(123)", (4, 4, 4), 9),
    ("c:(12)*c:(123)", (3, 3, 3), 6),
    ("E32", (4, 4, 4), 32),
    ("E32/15", (4, 4, 4), 8),
    ("E32/134", (4, 4, 4), 16),
    ("mono:8:1", (4, 4, 4), 8),
    ("mono:4:0", (2, 3, 4), 4),
    ("p:231", (3, 3, 3), 3),
    ("p:-12,132,2143", (2, 3, 4), 2),
    ("S3/T/2,2c/92agd", (2, 2, 2), 6),
]
COMPLEX = [
    ("p:231,231,231*p:1w2ww3,1w2ww3,1w2ww3", (3, 3, 3), 9), ("Z3*p:231*p:1w2ww3", (3, 3, 3), 27),
    ("mono4:8:1", (4, 4, 4), 8), ("mono3:6:0", (3, 3, 3), 6), ("p:1i2,1i2,1i2", (2, 2, 2), 4),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fmt", "order"), GROUPS + COMPLEX, ids=lambda x: str(x))
def test_actions_are_groups_of_isometries_that_fix_the_target(name, fmt, order):
    found = action(name, fmt)
    assert found.order == order and found.verify() < 1e-9 and found.name == name
    assert (found.field == "complex") == ((name, fmt, order) in COMPLEX) == found.is_complex
    assert len(found.elements) == order and found.elements[0].slots == (0, 1, 2)
    types = term_types(found)
    assert len({t.name for t in types}) == len(types) and types[0].name == str(order)


def test_elements_are_words_in_the_parts():
    found = action("Z3*c:(12)(34)", (4, 4, 4))
    labels = [found.group.label(g) for g in range(found.order)]
    assert sorted(labels) == sorted(["e", "a", "b", "ab", "a^2", "a^2b"])
    place = {w: i for i, w in enumerate(labels)}
    assert found.group.product(place["a"], place["a"], place["b"]) == place["a^2b"]
    p = cycles("(12)(34)", 4)
    np.testing.assert_allclose(found.elements[place["b"]].maps[0], np.kron(p, p))
    assert found.elements[place["a"]].slots == (1, 2, 0)


def test_names_of_orbit_types_do_not_depend_on_scalars_or_signs():
    """diag(1, −1) and diag(−1, 1) are one change of basis, and so are c:(123) and p:231 (another way to print it)."""
    for one, other, fmt in (
        ("p:1-2", "p:-12", (2, 2, 2)),
        ("c:(123)", "p:231", (3, 3, 3)),
        ("d:1+1", "p:1-2", (2, 2, 2)),
    ):
        left, right = (term_types(action(name, fmt)) for name in (one, other))
        assert [t.name for t in left] == [t.name for t in right]
        for a, b in zip(left, right, strict=True):
            for x, y in zip(a.basis, b.basis, strict=True):
                np.testing.assert_allclose(x @ x.T, y @ y.T, atol=1e-12)
    assert "1:<a>:+,+,+" in [t.name for t in term_types(action("c:(123)", (3, 3, 3)))]


def test_complex_characters_add_types():
    real, complex_ = (term_types(action("c:(123)", (3, 3, 3), field)) for field in ("real", "complex"))
    assert len(complex_) > len(real) and {t.name for t in real} < {t.name for t in complex_}
    with pytest.raises(StlError, match="complex"):
        action("p:1i2", (2, 2, 2), "real")


@pytest.mark.parametrize(
    ("name", "fmt"),
    [("Z5", (2, 2, 2)), ("Z3", (2, 3, 2)), ("T", (2, 3, 4)), ("d:1+1", (3, 3, 3)), ("c:(14)", (3, 3, 3)),
     ("E32", (3, 3, 3)), ("E32/9", (4, 4, 4)), ("c:(11)", (3, 3, 3)), ("", (2, 2, 2)), ("none*T", (2, 2, 2)),
     ("p:121", (3, 3, 3)), ("p:21", (3, 3, 3)), ("mono4:7:0", (1, 1, 2)), ("Z3~T", (2, 2, 2)), ("Z3~Z3", (2, 2, 2)),
     ("s@1:(12)", (3, 3, 3)), ("s:(12)", (2, 3, 2)), ("S3/2,2,2/zzzzz", (2, 2, 2)), ("T", (2, 2))],
)  # fmt: skip
def test_bad_names_teach(name, fmt):
    with pytest.raises(StlError, match="expected"):
        action(name, fmt)


@given(st.text("Z3T*dcsp@:(12)+~E/, ", max_size=12))
def test_any_text_is_an_action_or_one_line(text):
    try:
        assert action(text, (2, 2, 2)).verify() < 1e-9
    except StlError as error:
        assert "\n" not in str(error)


def test_what_the_families_ask_of_a_name():
    assert is_explicit("Z3*d:9") and is_explicit("E32/9") and not is_explicit("S3") and not is_explicit("Z4")
    assert is_generated("C3/Z3/1+1/rsr95") and not is_generated("E32/13")
    for found in actions_of_s3():
        assert action(found.name, (2, 2, 2)).name == found.name


def actions_of_s3():
    from stl_algebra.groups import group

    return list(actions(group("S3"), (2, 2, 2)))[:4]


def test_random_groups_are_reproducible():
    assert random_signed((4, 4, 4), 8, 3) == random_signed((4, 4, 4), 8, 3) != random_signed((4, 4, 4), 8, 4)
    one, two, other = (random_monomial((4, 4, 4), 4, 8, i) for i in (3, 3, 4))
    assert all(np.array_equal(x, y) for g, h in zip(one, two, strict=True) for x, y in zip(g, h, strict=True))
    assert len(one) != len(other) or not np.allclose(one[0][0], other[0][0])
    assert signed_permutation((-2, 1)).tolist() == [[0, 1], [-1, 0]]


def test_sampled_multisets_have_the_rank_and_are_distinct():
    types = term_types(action("Z3", (2, 2, 2)))
    chosen = sample_multisets(types, 7, 3, seed=1)
    assert len(set(chosen)) == len(chosen) and all(3 * m + s == 7 for m, s in chosen)
