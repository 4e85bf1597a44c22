"""Flip graphs: exactness along walks, symmetry, formats, ranks reached, and the small graph of ⟨2,2,2⟩."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.flips import (
    Schedule,
    Scheme,
    extend,
    flip_graph,
    from_factors,
    merge,
    project,
    search_flips,
    standard,
    symmetric_start,
    walk_from,
)
from search.flips.defaults import default_cubes
from search.flips.formats import rotate
from search.flips.scheme import diagonal_blocks, holds, mode_of, pack, read_scheme, unpack
from stl_algebra.errors import StlError

RESTLESS = Schedule(flips=20_000, plus_after=200, plus_diff=3)


def brent_oracle(fmt: tuple[int, int, int], e_x, e_w, d, modulus: int) -> bool:
    """Multiply random integer matrices with the scheme and by hand: independent of the tensor code."""
    n, m, p = fmt
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(-9, 10, (n, m)), rng.integers(-9, 10, (m, p))
        c = (d @ ((e_x @ a.ravel()) * (e_w @ b.ravel()))).reshape(n, p)
        if np.any((c - a @ b) % modulus if modulus else c - a @ b):
            return False
    return True


# --- packing and the exact check -------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(-1, 1), min_size=7, max_size=7), min_size=1, max_size=5))
def test_packing_round_trip(rows):
    array = np.array(rows)
    assert np.array_equal(unpack(pack(array, "Z"), 7, "Z"), array)
    assert np.array_equal(unpack(pack(array, "GF(2)"), 7, "GF(2)"), array % 2)


def test_holds_rejects_a_planted_error():
    e_x, e_w, d = standard((2, 3, 2), "Z").factors()
    assert holds((2, 3, 2), e_x, e_w, d)
    d = d.copy()
    d[0, 0] += 2
    assert not holds((2, 3, 2), e_x, e_w, d)
    assert holds((2, 3, 2), e_x, e_w, d, ring="GF(2)")  # 2 = 0 there


def test_holds_knows_that_c_is_not_transposed():
    e_x, e_w, d = standard((3, 3, 3)).factors()
    assert not holds((3, 3, 3), e_x, e_w, d.reshape(3, 3, -1).transpose(1, 0, 2).reshape(9, -1))


# --- walks stay on the tensor ----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 4)] * 3), st.sampled_from(["GF(2)", "Z"]), st.integers(0, 2**31),
)  # fmt: skip
def test_walk_without_symmetry_stays_exact(fmt, ring, seed):
    found, _ = walk_from(standard(fmt, ring), 0, RESTLESS, [seed])
    e_x, e_w, d = found.factors()
    assert brent_oracle(fmt, e_x, e_w, d, 2 if ring == "GF(2)" else 0)
    assert found.exact()
    assert len(e_x) <= np.prod(fmt)


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
@pytest.mark.parametrize("symmetry", ["C3", "C3xZ2"])
@pytest.mark.parametrize(("n", "cubes"), [(2, 1), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (5, 3)])
def test_symmetric_walk_stays_exact_and_invariant(n, cubes, symmetry, ring):
    start = symmetric_start(n, ring, symmetry, cubes)
    assert start.exact()
    found, _ = walk_from(start, 0, RESTLESS, [n, cubes])
    assert found.exact()
    e_x, e_w, d = found.factors()
    assert brent_oracle((n, n, n), e_x, e_w, d, 2 if ring == "GF(2)" else 0)
    # In the trace form the multiset of terms is closed under the cyclic shift (and index reversal).
    w = d.T.reshape(-1, n, n).transpose(0, 2, 1).reshape(-1, n * n)
    mod = (lambda t: t % 2) if ring == "GF(2)" else (lambda t: t)

    def tensor(x, y, z):
        return mod(np.einsum("la,lb,lc->abc", x, y, z))

    def multiset(x, y, z):
        return sorted(np.einsum("a,b,c->abc", *t).tobytes() for t in zip(mod(x), mod(y), mod(z), strict=True))

    assert np.array_equal(tensor(e_x, e_w, w), tensor(e_w, w, e_x))
    if len(e_x) == found.rank:  # nothing cancelled in the expansion
        assert multiset(e_x, e_w, w) == multiset(e_w, w, e_x)
        if symmetry == "C3xZ2":
            assert multiset(e_x, e_w, w) == multiset(e_x[:, ::-1], e_w[:, ::-1], w[:, ::-1])


def test_zero_cubes_only_over_gf2():
    start = symmetric_start(2, "GF(2)", "C3", 0)
    assert start.exact() and len(start.cubes) == 0
    with pytest.raises(StlError, match="cubes"):
        symmetric_start(2, "Z", "C3", 0)


def test_any_cubes_do_under_c3_but_reversal_wants_an_invariant_set():
    cubes = np.array([[[1, 0, 0], [0, 0, 1], [0, 0, 1]], [[0, 0, 0], [0, 1, 1], [0, 0, 0]]])
    assert symmetric_start(3, "GF(2)", "C3", cubes).exact()
    assert symmetric_start(3, "GF(2)", "C3", cubes[:1]).exact()
    with pytest.raises(StlError, match="cubes"):
        symmetric_start(3, "GF(2)", "C3xZ2", cubes)
    with pytest.raises(StlError, match="cubes"):
        symmetric_start(3, "Z", "C3", cubes)


@pytest.mark.parametrize("n", range(1, 8))
def test_diagonal_blocks_are_reversal_invariant_partitions(n):
    for count in range(1, n + 1):
        blocks = diagonal_blocks(n, count)
        assert len(blocks) == count
        assert sorted(i for b in blocks for i in b) == list(range(n))
        assert {tuple(sorted(n - 1 - i for i in b)) for b in blocks} == {tuple(b) for b in blocks}


def test_default_cubes_follow_the_target():
    assert default_cubes(5, "GF(2)", "C3", 93) == 3
    assert default_cubes(4, "Z", "C3", 49) == 1
    with pytest.raises(StlError, match="target_rank"):
        default_cubes(3, "Z", "C3xZ2", 24 + 5 + 6)


# --- ranks reached ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
@pytest.mark.parametrize(
    ("fmt", "rank"),
    [((2, 2, 2), 7), ((2, 2, 3), 11), ((2, 2, 4), 14), ((2, 3, 3), 15), ((2, 3, 4), 20), ((3, 3, 3), 23)],
)
def test_best_known_ranks(fmt, rank, ring):
    result = search_flips(fmt, ring, target_rank=rank, seconds=40, seed=3)
    assert result.found and result.rank == rank == len(result.e_x)
    assert brent_oracle(fmt, result.e_x, result.e_w, result.d, 2 if ring == "GF(2)" else 0)
    assert [h[2] for h in result.history] == sorted((h[2] for h in result.history), reverse=True)


def test_symmetric_ranks():
    for symmetry in ("C3", "C3xZ2"):
        result = search_flips((4, 4, 4), "GF(2)", symmetry, 49, seconds=40, seed=1)
        assert result.found and result.rank == 49
        assert result.scheme.rank == 1 + 48


def test_deterministic_and_pools():
    def run(pool):
        return search_flips((3, 3, 3), "GF(2)", None, 23, 60, 5, pool=pool, max_flips=3_000_000)

    for pool in (0, 3):
        one, two = run(pool), run(pool)
        assert np.array_equal(one.scheme.terms, two.scheme.terms)
        assert one.flips == two.flips
    assert run(3).rank <= 24


# --- formats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
def test_moves_between_formats(ring):
    small = search_flips((2, 2, 2), ring, target_rank=7, seconds=30).scheme
    for axis, fmt in (("n", (3, 2, 2)), ("m", (2, 3, 2)), ("p", (2, 2, 3))):
        big = extend(small, axis)
        assert (big.format, big.rank) == (fmt, 11) and big.exact()
        back = project(big, axis)
        assert back.format == (2, 2, 2) and back.exact() and back.rank <= 11
    both = merge(small, small, "m")
    assert (both.format, both.rank) == ((2, 4, 2), 14) and both.exact()
    assert rotate(extend(small, "p")).format == (2, 3, 2) and rotate(extend(small, "p")).exact()
    symmetric = search_flips((3, 3, 3), ring, "C3", 23, seconds=30).scheme
    assert project(symmetric, "p").exact() and rotate(symmetric).exact()


def test_grown_start_is_used_and_exact():
    result = search_flips((3, 3, 4), "GF(2)", target_rank=32, seconds=40, start="grown")
    assert result.found and result.rank <= 32


# --- the small graph -------------------------------------------------------------------------------------


def test_flip_graph_of_strassen():
    """Kauers–Moosbauer 2022: 271 classes of rank 8 lead to Strassen; 265 are flip-connected with the standard one."""
    graph = flip_graph((2, 2, 2))
    ranks = [rank for _, rank in graph.nodes(data="rank")]
    assert graph.graph["complete"]
    assert (ranks.count(8), ranks.count(7)) == (265, 1)
    assert sorted(kind for *_, kind in graph.edges(data="kind")).count("reduction") == 3


def test_flip_graph_limit_and_plain_vertices():
    graph = flip_graph((2, 2, 2), limit=40, up_to_isotropy=False)
    assert len(graph) == 40 and not graph.graph["complete"]
    for _, terms in list(graph.nodes(data="terms"))[:10]:
        words = np.array(terms, dtype=np.uint64)
        assert Scheme((2, 2, 2), "GF(2)", None, words, np.ones(len(words), dtype=np.int64)).exact()


# --- encoders, the command line, workers -----------------------------------------------------------------


def test_encoder_over_gf2():
    found = search_flips((2, 3, 3), "GF(2)", target_rank=15, seconds=40)
    plain = found.scheme.encoder()
    assert (plain.format, plain.rank, plain.is_exact, plain.ring.name) == ((2, 3, 3), 15, True, "GF(2)")


@pytest.mark.parametrize(("symmetry", "mode"), [("none", None), ("Z3", "C3"), ("Z3*c:(13)", "C3xZ2")])
@pytest.mark.parametrize("ring", ["GF(2)", "Z"])
def test_schemes_are_known_again_from_their_encoders(symmetry, mode, ring):
    assert mode_of(symmetry, (3, 3, 3)) == mode
    scheme = search_flips((3, 3, 3), ring, mode, 25, 30).scheme
    back = read_scheme(scheme.encoder(), ring, symmetry)
    assert back.symmetry == mode and all(
        np.array_equal(x, y) for x, y in zip(back.factors(), scheme.factors(), strict=True)
    )
    if mode:  # in another order the symmetry is not seen, and the scheme is the same all the same
        cubes = len(scheme.cubes)
        terms = np.append(np.arange(cubes), cubes + np.random.default_rng(0).permutation(scheme.rank - cubes))
        mixed = read_scheme(scheme.encoder().keep_terms(terms.tolist()), ring, symmetry)
        assert mixed.symmetry is None and mixed.exact()


def test_symmetries_a_walk_cannot_keep_are_refused():
    for symmetry, fmt in (("Z3*T", (3, 3, 3)), ("Z3", (2, 2, 3)), ("Z3*c:(12)", (3, 3, 3))):
        with pytest.raises(StlError, match="symmetry"):
            mode_of(symmetry, fmt)


def test_executor_gives_the_serial_result():
    """With one walk per round an executor changes nothing but the place of work."""
    from concurrent.futures import ThreadPoolExecutor

    arguments = ((3, 3, 3), "Z", None, 23, 60, 2)
    serial = search_flips(*arguments, max_flips=2_000_000)
    with ThreadPoolExecutor(1) as executor:
        threaded = search_flips(*arguments, max_flips=2_000_000, executor=executor)
    assert np.array_equal(serial.scheme.terms, threaded.scheme.terms)


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (((2, 2), "Z"), "format"),
        (((0, 2, 2), "Z"), "format"),
        (((6, 6, 6), "Z"), "format"),
        (((9, 9, 9), "GF(2)"), "format"),
        (((2, 2, 2), "Q"), "ring"),
        (((2, 2, 2), "Z", "S3"), "symmetry"),
        (((2, 2, 3), "Z", "C3"), "format"),
    ],
)
def test_refusals(arguments, word):
    with pytest.raises(StlError, match=word):
        search_flips(*arguments, seconds=0.1)


def test_refuses_inexact_start_and_bad_moves():
    e_x, e_w, d = standard((2, 2, 2)).factors()
    with pytest.raises(StlError, match="start"):
        search_flips((2, 2, 2), start=(e_x[1:], e_w[1:], d[:, 1:]))
    with pytest.raises(StlError, match="start"):
        search_flips((2, 2, 2), start="strassen")
    with pytest.raises(StlError, match="e_w"):
        from_factors((2, 2, 2), e_x, e_w[1:], d)
    with pytest.raises(StlError, match="two"):
        merge(standard((2, 2, 2)), standard((2, 3, 3)), "p")
    with pytest.raises(StlError, match="axis"):
        extend(standard((2, 2, 2)), "k")
    with pytest.raises(StlError, match="index"):
        project(standard((2, 2, 2)), "p", 2)
    with pytest.raises(StlError, match="up_to_isotropy"):
        flip_graph((3, 3, 3))


@pytest.mark.parametrize("field", ["flips", "plus_after", "plus_diff", "pool", "patience", "longest"])
def test_schedules_refuse_negative_numbers(field):
    with pytest.raises(StlError, match=field):
        Schedule(**{field: -1})
