"""Best known ranks: one table, ring by ring, consistent with itself and with what the named encoders show."""

from itertools import combinations_with_replacement, permutations
from math import prod

import pytest

from stl_algebra import Encoder, StlError
from stl_algebra.known import best_known, best_rank, border_rank, compare, formats, lower_bound
from stl_algebra.schemes import hopcroft, laderman, standard, strassen


def test_all_84_formats_with_sides_up_to_8():
    assert formats() == sorted(combinations_with_replacement(range(2, 9), 3)) and len(formats()) == 84


def test_ranks_are_those_of_the_ring_asked_for():
    for fmt, ranks in {
        (4, 4, 4): (48, 49, 47), (2, 4, 5): (32, 33, 33), (4, 4, 5): (61, 61, 60), (8, 8, 8): (336, 343, 329),
        (3, 3, 3): (23, 23, 23), (6, 6, 6): (153, 153, 153), (4, 5, 5): (76, 76, 73),
    }.items():  # fmt: skip
        for turned in permutations(fmt):
            assert tuple(best_rank(turned, r) for r in ("Q", "Z", "GF(2)")) == ranks
    assert best_rank((1, 3, 5)) == 15 and best_rank((9, 9, 9)) is None and best_rank((4, 4, 4), "R64") is None


def test_every_known_rank_lies_between_the_bounds():
    for fmt in formats():
        for name in ("Q", "Z", "Z[1/2]", "GF(2)"):
            assert lower_bound(fmt, name) <= best_rank(fmt, name) < prod(fmt), (fmt, name)
        assert best_rank(fmt, "Q") <= best_rank(fmt, "Z") and best_rank(fmt, "GF(2)") <= best_rank(fmt, "Z")
        assert border_rank(fmt) <= best_rank(fmt, "Q")


def test_best_ranks_grow_with_the_format_and_never_beat_a_split():
    for n, m, p in formats():
        for axis in range(3):
            smaller = [n, m, p]
            smaller[axis] -= 1
            for name in ("Q", "Z", "GF(2)"):
                less = best_rank(tuple(smaller), name)
                assert less < best_rank((n, m, p), name) <= less + n * m * p // (n, m, p)[axis], (n, m, p, name)


def test_lower_bounds_of_the_literature():
    assert [lower_bound((2, 2, n)) for n in range(2, 9)] == [7, 11, 14, 17, 19, 22, 25]
    for name in ("GF(2)", "Z"):  # ⌈7n/2⌉ is proven modulo 2 only, which schemes over Z imply
        assert [lower_bound((2, n, 2), name) for n in range(2, 9)] == [7, 11, 14, 18, 21, 25, 28]
        assert lower_bound((3, 2, 3), name) == 15
    for name in ("Q", "Z[1/2]", "GF(3)", "GF(2^2)", "Q(i)"):
        assert lower_bound((2, 2, 8), name) == 25 and lower_bound((3, 2, 3), name) == 14
    assert [lower_bound(f) for f in ((3, 3, 3), (3, 3, 4), (4, 4, 4), (5, 5, 5))] == [19, 24, 34, 53]
    assert lower_bound((3, 3, 3), "GF(2)") == lower_bound((3, 3, 3), "Z") == 20
    with pytest.raises(StlError, match="border"):
        lower_bound((2, 2, 3), "Q[eps]/eps^2")


def test_records_are_only_claimed_over_the_ring_proven_in():
    assert compare(strassen()) == "the best known rank over Z (Strassen 1969)"
    assert compare(laderman().to_ring("Q")).startswith("the best known rank in characteristic 0")
    assert compare(standard(2, 2, 2)).startswith("1 above")
    assert compare(hopcroft().to_ring("GF(3)")).startswith("no table for GF(3)")
    with pytest.raises(StlError, match="proven"):
        compare(strassen().drop_terms([0]))
    with pytest.raises(StlError, match="proven"):
        compare(strassen().to_ring("R64"))


def test_the_rank_of_a_border_scheme_is_a_border_rank():
    one = Encoder.build((1, 1, 1), [[[0, 1]]], [[[1, 0]]], [[[1, 0]]], ring="Q[eps]/eps^2")
    assert "border" in compare(one) and "RECORD" not in compare(one)
    assert best_known((2, 2, 3), "Q[eps]/eps^2").rank == 10 and best_known((2, 2, 3), "Q").rank == 11


def test_a_table_of_another_ring_would_be_seen(monkeypatch):
    """The error of the past: ranks modulo 2 compared with characteristic 0."""
    from stl_algebra import known

    monkeypatch.setattr(known, "_RANKS", {f: {"0": r["0"]} for f, r in known._RANKS.items()})
    with pytest.raises(AssertionError):
        test_ranks_are_those_of_the_ring_asked_for()
