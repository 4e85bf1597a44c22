"""Group algebras, index maps, triples and puzzles: laws, published numbers, planted faults."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.algebras.embedding import embedded, joined, simultaneous, simultaneous_collisions, triple
from search.algebras.indexmaps import METHODS, Collisions, collisions, index_maps, triple_maps
from search.algebras.polish import decoder, kept_polish, truncated
from search.algebras.puzzles import LARGEST_STRONG, Tie, find_puzzle, is_puzzle, read_puzzle, triples_of
from search.algebras.wedderburn import FIELDS, algebra, channels, hamilton, matrix_encoder, real_field
from stl_algebra import Encoder, StlError, group, load, save, target
from stl_algebra.groups import convolve, has_triple_product_property
from stl_algebra.scores import epsilon2, kappa2
from stl_algebra.targets import direct_sum_target, matmul

#: Abelian and not, all three types of representations, a group whose quaternions need a square root.
GROUPS = (
    "C1",
    "C2",
    "C5",
    "C6",
    "C2xC4",
    "S3",
    "D5",
    "Q8",
    "Q16",
    "A4",
    "Dic3",
    "SL(2,3)",
    "2^(1+4)-",
    "C3wrC2",
    "F20",
)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", GROUPS)
def test_group_algebras_are_proven(name, field):
    e = algebra(name, field)
    assert e.ring.exact and e.is_exact and e.rank == channels(name, field)
    assert sum(count for *_, count in e.origin["blocks"]) == e.rank
    if field == "real":
        assert not e.ring.is_complex


@pytest.mark.parametrize(("name", "real"), [("Q8", 12), ("SL(2,3)", 56), ("C7", 10), ("S3", 9), ("2^(1+4)-", 72)])
def test_channels_of_quaternionic_blocks(name, real):
    assert channels(name) == real == algebra(name).rank


def test_large_fields_are_left_to_floats():
    e = algebra("C31")
    f, h = np.random.default_rng(0).standard_normal((2, 31))
    x, w, d = e.floats()
    assert e.ring.name == "R64" and np.allclose(d @ ((x @ f) * (w @ h)), convolve(group("C31"), f, h))


def test_hamilton_takes_eight():
    assert hamilton().is_exact and hamilton().rank == 8 and hamilton().ring.name == "Z[1/2]"
    assert not hamilton().drop_terms([7]).is_exact


def test_real_fields_embed_as_their_largest_conjugate():
    for n in (5, 7, 8, 9, 12, 16, 24):
        assert real_field(n).degree == 1 or abs(real_field(n).root - 2 * np.cos(2 * np.pi / n)) < 1e-12 or n in (8, 12)
    assert real_field(1).name == real_field(4).name == "Q"


def test_wrong_fields_are_refused():
    for call in (lambda: algebra("S3", "rational"), lambda: channels("S3", "GF(7)")):
        with pytest.raises(StlError, match="field"):
            call()


# ------------------------------------------------------------------ index maps
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["C5", "S3", "C2xC2", "Q8", "A4"]), st.integers(0, 2**32 - 1))
def test_triple_product_property_is_exactness(name, seed):
    """TPP ⇔ no collisions ⇔ the encoder is proven, for random subsets of random sizes."""
    rng = np.random.default_rng(seed)
    g = group(name)
    s, t, u = (rng.choice(g.order, rng.integers(1, 3 + (name == "A4")), replace=False).tolist() for _ in range(3))
    e = triple(name, s, t, u)
    table = np.asarray(g.table)
    found = collisions(*triple_maps(table, np.asarray(g.inverse), s, t, u), table)
    holds = has_triple_product_property(g, s, t, u)
    assert e.is_exact == holds == found.is_exact
    assert epsilon2(e) == pytest.approx(1 - found.retained / (len(s) * len(t) * len(u)), abs=1e-9)


def test_a_planted_collision_is_seen():
    """One element of a triple replaced: the property, the count and the proof all notice."""
    g = group("A4")
    from stl_algebra.groups import realised_formats

    (s, t, u) = realised_formats(g)[2, 3, 3]
    assert triple("A4", s, t, u).is_exact
    broken = [*u[:-1], next(x for x in range(12) if not has_triple_product_property(g, s, t, [*u[:-1], x]))]
    assert not triple("A4", s, t, broken).is_exact and epsilon2(triple("A4", s, t, broken)) > 0.01


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["C6", "D4", "C3xC3", "A4"]), st.sampled_from(METHODS), st.integers(0, 10**6))
def test_searched_maps_count_what_they_say(name, method, seed):
    """The incremental counts of the search end where counting from the beginning ends, and no swap of the last move."""
    table = np.asarray(group(name).table)
    alpha, beta = index_maps((2, 3, 2), table, seed, method, restarts=2, moves=400)
    found = collisions(alpha, beta, table)
    again = index_maps((2, 3, 2), table, seed, method, restarts=2, moves=400)
    assert all(np.array_equal(x, y) for x, y in zip((alpha, beta), again, strict=True))
    assert found.total.sum() == 6 * 6 and (found.hits.sum(axis=1) == 3).all()
    random = [
        collisions(*(rng.integers(0, len(table), s) for s in ((2, 3), (3, 2))), table).retained
        for rng in map(np.random.default_rng, range(5))
    ]
    assert found.retained >= np.mean(random)


def test_published_index_maps():
    """Z₆ keeps 6 of 8 at tile 2 (a single ascent stays at 5.33), and no cyclic group of order 2 to 7 keeps more."""
    for order in range(2, 8):
        table = np.asarray(group(f"C{order}").table)
        kept = collisions(*index_maps((2, 2, 2), table, 0), table)
        assert kept.retained <= order + 1e-9 and (order != 6 or kept.retained == 6.0)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["C3", "C4", "C2xC2", "S3"]), st.integers(0, 10**6))
def test_barrier(name, seed):
    """With equally full fibres at most |G| of nmp is retained."""
    table = np.asarray(group(name).table)
    rng = np.random.default_rng(seed)
    alpha, beta = rng.integers(0, len(table), (2, 2)), rng.integers(0, len(table), (2, 3))
    found = collisions(alpha, beta, table)
    if found.are_fibres_equal:
        assert found.retained <= len(table) + 1e-9 and "equally full fibres keep" in found.barrier
    uniform = Collisions(np.full(4, 6), found.hits, found.volume) if len(table) == 4 else None
    assert uniform is None or uniform.retained <= 4 + 1e-9


def test_wrong_searches_are_refused():
    table = np.asarray(group("C3").table)
    for bad in ({"method": "guess"}, {"restarts": 0}, {"moves": "many"}):
        with pytest.raises(StlError):
            index_maps((2, 2, 2), table, 0, **bad)


# ------------------------------------------------------------------- puzzles
#: Found by `search.benchmarks.puzzles`; the sizes are those of the literature.
PUZZLES = {
    1: ["3"], 2: ["21", "33"], 3: ["113", "221", "312"], 4: ["1323", "2131", "2221", "2233", "3111"],
    5: ["11232", "11311", "12113", "12222", "21133", "21323", "22333", "23132"],
}  # fmt: skip


@pytest.mark.parametrize("width", PUZZLES)
def test_puzzles_are_verified_without_sat(width):
    rows = PUZZLES[width]
    assert len(rows) == LARGEST_STRONG[width] and is_puzzle(rows)
    spoiled = [*rows[:-1], rows[0][:-1] + str(1 + int(rows[0][-1]) % 3)] if width > 1 else ["1", "2"]
    assert width == 1 or not is_puzzle(spoiled) or len(set(spoiled)) == len(rows)


def brute_force(rows):
    """The definition, permutation by permutation."""
    from itertools import permutations

    p = read_puzzle(rows)
    for two in permutations(range(len(p))):
        for three in permutations(range(len(p))):
            if two == three == tuple(range(len(p))):
                continue
            held = (p == 0).astype(int) + (p[list(two)] == 1) + (p[list(three)] == 2)
            if not (held == 2).any():
                return False
    return True


@settings(max_examples=80, deadline=None)
@given(st.sets(st.text("123", min_size=3, max_size=3), min_size=1, max_size=4))
def test_matching_is_the_definition(rows):
    rows = sorted(rows)
    assert is_puzzle(rows) == brute_force(rows)
    assert not is_puzzle(rows, "local") or is_puzzle(rows)


def test_strong_asks_for_exactly_two():
    """Of three that hold in one column nothing follows: these are uniquely solvable and not strong."""
    for rows in (["231", "313", "322"], ["133", "223", "231", "312"]):
        assert not is_puzzle(rows) and not brute_force(rows)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.text("123", min_size=2, max_size=3).filter(lambda r: len(r) == 3), min_size=2, max_size=2))
def test_local_puzzles_are_simultaneous_products(rows):
    """Local ⇔ the encoder of all rows' products in the algebra of A^k is exact, for A = C3."""
    rows = sorted(rows)
    name, triples = triples_of(rows, "C3")
    _, _, found, goal = simultaneous_collisions(name, triples)
    assert found.is_exact == is_puzzle(rows, "local")
    assert len(goal.parts) == 2


@pytest.mark.parametrize("width", [1, 2, 3])
def test_sat_finds_the_largest_and_no_larger(width):
    pytest.importorskip("pysat")
    size = LARGEST_STRONG[width]
    assert len(find_puzzle(width, size)) == size and find_puzzle(width, size + 1) is None


def test_sat_with_a_tie_and_local():
    pytest.importorskip("pysat")
    tie = Tie((1, 0, 2, 4, 3), (1, 0, 2, 3), (0, 1, 2))
    rows = find_puzzle(4, 5, tie=tie)
    if rows is not None:
        p = read_puzzle(rows)
        assert np.array_equal(p[list(tie.rows)][:, list(tie.columns)], p)
    assert len(find_puzzle(3, 2, "local")) == 2 and find_puzzle(3, 3, "local") is None
    with pytest.raises(TimeoutError):
        find_puzzle(6, 15, seconds=0.2)


def test_wrong_puzzles_are_refused():
    for rows in ([], ["12", "1"], ["14"], ["12", "12"]):
        with pytest.raises(StlError, match="rows"):
            read_puzzle(rows)
    for call in (lambda: is_puzzle(["1"], "weak"), lambda: find_puzzle(2, 2, "weak"), lambda: find_puzzle(0, 2)):
        with pytest.raises(StlError):
            call()
    with pytest.raises(StlError, match="abelian"):
        triples_of(["123", "312"], "S3")


# ------------------------------------------------------------ sums of products
def test_sums_of_products_have_names():
    goal = direct_sum_target([matmul(2, 2, 2), matmul(1, 2, 3), target("group:2^(1+4)+")])
    assert target(goal.name) == goal and np.array_equal(target(goal.name).index, goal.index)
    assert [p.name for p in goal.parts] == ["matmul:2x2x2", "matmul:1x2x3", "group:2^(1+4)+"]
    assert goal.format is None and goal.norm2 == 8 + 6 + 32**2
    assert matmul(2, 2, 2).parts == [matmul(2, 2, 2)]
    with pytest.raises(StlError):
        direct_sum_target([target("symmetric:2x2")])


def test_sums_of_products_are_filed_and_read(tmp_path):
    side = simultaneous(*triples_of(["123", "312"], "C2^2"))
    path = save(side, tmp_path)
    assert load(path) == side and load(path).is_exact and "matmul-3x3x3" in path.name


def test_joined_products_multiply_one_long_pair():
    name, triples = triples_of(["123", "312"], "C2^2")
    side = simultaneous(name, triples)
    whole = joined(side)
    assert side.is_exact and whole.is_exact and whole.format == (3, 6, 3) and whole.rank == 64
    assert kappa2(side) == pytest.approx(2 * 54 / 64)
    a, b = np.arange(18).reshape(3, 6), np.arange(18).reshape(6, 3) - 4
    assert (whole(a, b) == a @ b).all()
    with pytest.raises(StlError, match="sum"):
        joined(simultaneous(*triples_of(["123", "221"], "C2^2")))


# --------------------------------------------------------------------- polish
def test_kept_polish_is_a_stationary_point_of_its_structure():
    """No scaling of one entry improves on it, and the decoder is the best for its transform."""
    goal, e = matmul(2, 2, 2), algebra("C5")
    table = np.asarray(group("C5").table)
    alpha, beta = index_maps((2, 2, 2), table, 0)
    left, right = e.floats()[0][:, alpha.ravel()], e.floats()[1][:, beta.ravel()]
    kept = kept_polish(goal, left, right, restarts=2, iterations=400)

    def error(x_w):
        x, w = left * x_w[0], right * x_w[1]
        t = np.einsum("la,lb,cl->abc", x, w, decoder(goal, x, w))
        return ((t - goal.dense()) ** 2).sum() / goal.norm2

    base = error((kept.x, kept.w))
    assert base == pytest.approx(kept.epsilon2, abs=1e-5)
    for entry in range(4):
        for factor in (0.97, 1.03):
            changed = kept.x.copy()
            changed[entry] *= factor
            assert error((changed, kept.w)) >= base - 2e-4


def test_truncation_drops_what_is_missed_least():
    """A representation that no entry reaches is the first to go."""
    goal = matmul(1, 2, 1)
    left, right = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert truncated(goal, left, right, [[0], [1], [2]], 2) == [0, 2]
    assert truncated(goal, left, right, [[0, 1, 2]], 2) == []


def test_embedding_keeps_the_ring():
    e = algebra("Q8")
    table = np.asarray(group("Q8").table)
    alpha, beta = index_maps((2, 2, 2), table, 0)
    found = collisions(alpha, beta, table)
    inside = embedded(e, alpha, beta, found.reading, matmul(2, 2, 2))
    floats = Encoder.build((2, 2, 2), *inside.floats(), "R64")
    assert epsilon2(floats) == pytest.approx(1 - found.retained / 8)
    assert matrix_encoder(2).rank == 7 and matrix_encoder(4).rank == 48


# ----------------------------------------------------------------- benchmarks
def test_families_benchmark_compares_at_equal_time(tmp_path):
    from search.benchmarks.families import Cell, cell, draw, read, summary, write

    cell(2, 6, "none", 0, 0.3, "cpu")  # what is loaded and compiled once
    made = [cell(2, 6, name, 0, 3.0, "cpu") for name in ("none", "S3")]
    assert all(0 < c.total_bf16 < 1 and c.seconds >= 2.5 for c in made)
    write(made, tmp_path / "families.csv")
    again = read(tmp_path / "families.csv")
    assert {c.key for c in again} == {c.key for c in made}
    (row,) = summary(again)
    assert row["group"] == "S3" and row["none"] == pytest.approx(made[0].total_bf16, rel=1e-4)
    assert row["better"] == int(row["with group"] < row["none"]) and row["shared"] == pytest.approx(1 / 7)
    worse = Cell(2, 6, "C2", 0, 1.0, 1, 0.9, 0.9, 1.0, "action", False, "cpu")
    assert summary([*again, worse])[0]["group"] == "S3"
    draw(again, tmp_path / "families.svg")
    assert "svg" in (tmp_path / "families.svg").read_text()[:400]


def test_questions_about_puzzles_cover_the_known_sizes():
    from search.benchmarks.puzzles import answer, questions

    asked = {(kind, width, size) for kind, width, size, method, _ in questions(6, 1)}
    assert {("strong", w, LARGEST_STRONG[w]) for w in range(1, 7)} <= asked
    assert {("strong", w, LARGEST_STRONG[w] + 1) for w in range(1, 6)} <= asked
    assert answer(("strong", 4, 5, "growth", 0), 20.0)["answer"] == "found"
    pytest.importorskip("pysat")
    assert answer(("strong", 2, 3, "sat", 0), 5.0)["answer"] == "none"
    assert is_puzzle(answer(("local", 3, 2, "sat", 0), 5.0)["rows"].split(), "local")


def test_grown_puzzles_are_strong_and_reach_the_known_sizes():
    """The compiled matching agrees with the definition, and width 5 is reached in a second."""
    from search.algebras.growing import _is_strong, grow_puzzle

    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = np.unique(rng.integers(0, 3, (4, 3)), axis=0)
        words = ["".join(str(v + 1) for v in row) for row in rows]
        assert _is_strong(rows, np.zeros((len(rows),) * 3, bool)) == is_puzzle(words)
    assert len(grow_puzzle(5, 8, 30.0)) == 8
