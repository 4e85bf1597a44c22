"""Flip graphs under any group of signed permutations: every move keeps the product, the symmetry and the count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.core.unit import Request, Unit, families_of, family
from search.core.work import work
from search.flips.orbits import orbits_of, packed, search_orbits, standard_orbits, walk_orbits
from search.flips.walk import Schedule
from stl_algebra import StlError, schemes, symmetry

#: With short orbits, without, mixing slots, with signs, not abelian.
CASES = [
    ("c:(12)", (2, 2, 2), "Z"), ("T", (2, 3, 2), "GF(2)"), ("Z3", (2, 2, 2), "GF(2)"), ("Z3*T", (2, 2, 2), "Z"),
    ("c:(12)", (3, 3, 3), "Z"), ("c:(123)", (3, 3, 3), "GF(2)"), ("d:2+1", (3, 3, 3), "Z"),
    ("c:(12)*c:(123)", (3, 3, 3), "GF(2)"), ("p:2-1", (2, 2, 2), "Z"), ("mono:4:0", (2, 3, 4), "Z"),
    ("c:(12),(12)(34),(12)(34)", (2, 4, 4), "GF(2)"), ("Z3*c:(12)", (3, 3, 3), "GF(2)"), ("E32/13", (4, 4, 4), "Z"),
]  # fmt: skip
IDS = [f"{name}-{ring}" for name, _, ring in CASES]


def schedule(flips, plus_after=50):
    return Schedule(flips=flips, plus_after=plus_after, plus_diff=2)


@pytest.mark.parametrize(("name", "fmt", "ring"), CASES, ids=IDS)
def test_the_standard_algorithm_is_a_vertex(name, fmt, ring):
    start = standard_orbits(name, fmt, ring)
    assert start.rank == np.prod(fmt) and start.exact()
    assert all(start.group.order % size == 0 for size in start.sizes)


@pytest.mark.parametrize(("name", "fmt", "ring"), CASES, ids=IDS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), flips=st.integers(1, 400))
def test_any_number_of_flips_keeps_product_and_symmetry(name, fmt, ring, seed, flips):
    start = standard_orbits(name, fmt, ring)
    found, made = walk_orbits(start, 0, schedule(flips), [seed])
    assert found.exact() and made <= flips and found.rank <= start.rank
    e_x, e_w, d = found.factors()
    assert len(e_x) == found.rank  # orbits have the size their stabilisers say, and no two of them meet
    again = orbits_of(found.group, e_x, e_w, d)  # refuses terms that the group does not permute
    assert sorted(again.sizes) == sorted(found.sizes)


@pytest.mark.parametrize(("name", "fmt", "ring"), CASES[:6], ids=IDS[:6])
def test_tables_are_the_action(name, fmt, ring):
    """The packed image of every term is that of the matrices of the group library."""
    group, acting = packed(name, fmt, ring), symmetry.action(name, fmt)
    rng = np.random.default_rng(0)
    term = [rng.integers(-1, 2, (1, d)) for d in acting.dims]

    def tensor(t):
        return np.einsum("a,b,c->abc", *(np.rint(x).astype(int).ravel() for x in t)) % (2 if ring == "GF(2)" else 99)

    mine = {tensor(group.move(g, term)).tobytes() for g in range(group.order)}
    theirs = {tensor(acting.apply(g, [t[0].astype(float) for t in term])).tobytes() for g in range(acting.order)}
    assert mine == theirs


def test_signs_vanish_modulo_two():
    assert packed("d:2+1", (3, 3, 3), "Z").order == 2 and packed("d:2+1", (3, 3, 3), "GF(2)").order == 1
    free = standard_orbits("none", (2, 2, 2), "GF(2)")
    assert free.group.order == 1 and search_orbits(free, 7, 20, 1)[0].rank == 7


def test_strassen_and_its_symmetry():
    found, _ = search_orbits(standard_orbits("c:(12)", (2, 2, 2), "Z"), 7, 30)
    assert found.rank == 7 and found.exact() and sorted(found.sizes) == [1, 2, 2, 2]
    assert symmetry.stabiliser(found.encoder()).order == 36


def test_walks_are_reproducible():
    start = standard_orbits("c:(12)", (3, 3, 3), "GF(2)")
    one, two, other = (walk_orbits(start, 0, schedule(3000), [seed])[0] for seed in (1, 1, 2))
    assert np.array_equal(one.terms, two.terms) and not np.array_equal(one.terms, other.terms)


def test_a_scheme_of_a_file_has_to_have_the_symmetry():
    strassen = schemes.strassen()
    terms = [np.asarray(f.num, dtype=np.int64) for f in strassen.factors]
    assert orbits_of(packed("Z3", (2, 2, 2), "Z"), *terms).rank == 7
    with pytest.raises(StlError, match="permutes"):
        orbits_of(packed("T", (2, 2, 2), "Z"), *terms)


@pytest.mark.parametrize(
    ("name", "fmt", "ring", "match"),
    [("s:(123)", (2, 2, 2), "Z", "signed permutations"), ("p:1i2", (2, 2, 2), "Z", "signed permutations"),
     ("c:(12345)*c:(12)", (5, 5, 5), "GF(2)", "64 elements"), ("c:(12)", (2, 2, 2), "Q", "ring")],
)  # fmt: skip
def test_refusals(name, fmt, ring, match):
    with pytest.raises(StlError, match=match):
        standard_orbits(name, fmt, ring)


def test_the_family_reaches_them():
    request = Request("c:(12)", None, None, (2, 2, 2), 7, "Z")
    assert {"flips", "orbit"} <= {f.name for f in families_of(request)}
    (unit,) = family("flips").round(request, 0)
    outcome = work(unit, seconds=30)
    (encoder,) = outcome.encoders
    assert encoder.is_exact and encoder.rank == 7 and encoder.origin["group"] == "c:(12)"
    lifted = work(Unit("flips", "c:(12)", (2, 2, 2), 7), seconds=30)
    assert lifted.encoders[0].is_exact and lifted.encoders[0].ring.name in ("Z", "Q")
    assert family("flips").round(Request("s:(123)", None, None, (2, 2, 2), 7), 0) == []
    with pytest.raises(StlError, match="signed permutations"):
        family("flips").round(Request("s:(123)", "flips", None, (2, 2, 2), 7), 0)


@pytest.mark.parametrize(
    ("name", "ring", "factors", "held", "kind"),
    [
        ("c:(12)", "GF(2)", ([1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1]), 1, "KEEP"),
        ("c:(12)", "GF(2)", ([1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]), 1, "GONE"),  # counted twice: nothing
        ("c:(12)", "GF(2)", ([1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]), 3, "KEEP"),
        ("c:(12)", "GF(2)", ([1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1]), 3, "REFUSED"),
        ("Z3", "GF(2)", ([1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]), 1, "SHORTER"),  # counted three times: once
        ("c:(12)", "Z", ([1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]), 1, "REFUSED"),  # twice a term is no term over Z
        ("c:(12)", "Z", ([1, 0, 0, -1], [1, 0, 0, 1], [1, 0, 0, 1]), 1, "GONE"),  # its own image negated
        ("c:(12)", "Z", ([0, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1]), 1, "GONE"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_changed_term(name, ring, factors, held, kind):
    from search.flips import _orbits as kernel
    from search.flips.scheme import pack

    group = packed(name, (2, 2, 2), ring).kernel()
    term = np.array([pack(np.array([f]), ring)[0] for f in factors])
    verdict, _ = kernel._verdict(term, np.uint64(held), group, np.zeros(3, dtype=np.uint64))
    assert verdict == getattr(kernel, kind)


@pytest.mark.parametrize(("like", "total"), [([1, 0, 0, 1], [1, 0, 0, 1]), ([1, 0, 0, -1], [1, 0, 0, -1])])
def test_images_are_added_with_their_characters(like, total):
    """Under the exchange of both indices, e₁₁ and its image come with the sign that the other term has."""
    from search.flips import _orbits as kernel
    from search.flips.scheme import pack

    group = packed("c:(12)", (2, 2, 2), "Z").kernel()
    words = [pack(np.array([f]), "Z")[0] for f in (like, [1, 0, 0, 0], total)]
    found, fine = kernel._coset_sum(np.uint64(0), words[0], 0, 1, np.uint64(1), np.uint64(3), words[1], group)
    assert fine and found == words[2]


def test_rank_23_under_an_exchange_of_two_indices():
    found, flips = search_orbits(standard_orbits("c:(12)", (3, 3, 3), "Z"), 23, 60, 1)
    assert found.rank == 23 and found.exact() and flips < 1_000_000
    assert sorted(found.sizes) == [1] * 3 + [2] * 10
