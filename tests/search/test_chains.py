"""Addition chains: never longer than pair extraction, right whatever they cost, exact where exhaustive."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from search.bases.__main__ import app
from search.bases.chains import chain, encoder_chains, exact_extras
from search.bases.cheapest import _elsewhere, _encoder, cheapest
from stl_algebra import Encoder, StlError, schemes
from stl_algebra.catalogue import folder
from stl_algebra.files import load, save
from stl_algebra.straightline import share, source, transposed

MATRICES = arrays(np.int64, st.tuples(st.integers(1, 7), st.integers(1, 6)), elements=st.integers(-2, 2))


def integers(program):
    return np.array([[int(v) for v in row] for row in program.matrix()])


@settings(max_examples=40, deadline=None)
@given(MATRICES)
def test_chains_compute_the_matrix_and_are_no_longer_than_pair_extraction(matrix):
    program = chain(matrix, effort=400, restarts=2)
    assert np.array_equal(integers(program), matrix)
    assert program.additions <= share(matrix).additions
    rows = [r // np.gcd.reduce(r) for r in matrix if np.count_nonzero(r) > 1]
    distinct = {tuple(np.sign(r[np.flatnonzero(r)[0]]) * r) for r in rows}
    assert program.additions >= len(distinct)


@settings(max_examples=40, deadline=None)
@given(MATRICES)
def test_chains_over_two_elements(matrix):
    program = chain(matrix, mod2=True, effort=400, restarts=2)
    assert not ((integers(program) - matrix) % 2).any()


@settings(max_examples=40, deadline=None)
@given(MATRICES)
def test_transposition_principle(matrix):
    matrix = matrix[np.any(matrix, axis=1)][:, np.any(matrix, axis=0)]
    if matrix.size:
        program = chain(matrix, effort=200, restarts=1)
        back = transposed(program, len(matrix))
        assert np.array_equal(integers(back), matrix.T)
        assert back.additions == program.additions + len(matrix) - matrix.shape[1]


def brute_force(matrix, most):
    """Shortest chain of ±x±y steps by trying all chains (no closure, no hashing)."""
    rows = {tuple(r if r[np.flatnonzero(r)[0]] > 0 else -r) for r in matrix if np.count_nonzero(r)}
    units = [tuple(u) for u in np.eye(matrix.shape[1], dtype=int)]

    def deepen(have, left):
        if rows <= set(have):
            return True
        if left == 0 or len(rows - set(have)) > left:
            return False
        for a in range(len(have)):
            for b in range(a + 1):
                for sign in (1, -1):
                    z = np.array(have[a]) + sign * np.array(have[b])
                    if z.any():
                        z = tuple(z if z[np.flatnonzero(z)[0]] > 0 else -z)
                        if z not in have and deepen([*have, z], left - 1):
                            return True
        return False

    return next((k for k in range(most + 1) if deepen(units, k)), None)


@pytest.mark.parametrize("seed", range(6))
def test_exhaustive_extras_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, 2, (3, 4))
    matrix = matrix[np.count_nonzero(matrix, axis=1) > 1]
    if not len(matrix):
        return
    wanted = brute_force(matrix, 4)
    distinct = len({tuple(r if r[np.flatnonzero(r)[0]] > 0 else -r) for r in matrix})
    extra = exact_extras(matrix, most=2)
    if wanted is not None:
        assert extra is not None and len(extra) + distinct == wanted
        assert chain(matrix, effort=2000).additions == wanted
    else:
        assert extra is None or len(extra) + distinct > 4


def test_where_pair_extraction_fails():
    """x+y+z and x+y−z … cancellation: the last row is a difference of two others that share no pair with it."""
    matrix = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 1, 0, 0, -1, -1]])
    assert exact_extras(matrix, most=1) is None and len(exact_extras(matrix, most=3)) == 3
    assert chain(matrix).additions == 6 < share(matrix, restarts=1).additions + 1


@pytest.mark.parametrize("name, additions", [("strassen", 18), ("winograd", 15)])
def test_known_counts(name, additions):
    encoder = getattr(schemes, name)()
    programs = encoder_chains(encoder, effort=2000)
    assert sum(p.additions for p in programs) == additions
    for program, f in zip(programs, encoder.factors, strict=True):
        assert np.array_equal(integers(program), f.num)


def test_scales_are_gathered():
    """Terms with scales 1, 1/2 and 4: programs of an encoder whose terms are the same, with few scalings."""
    strassen = schemes.strassen()
    x, w, d = (np.array(f.num) for f in strassen.factors)
    x[0], w[2], w[3] = 2 * x[0], 4 * w[2], 3 * w[3]
    spread = np.array([Fraction(1)] * 7)
    spread[[0, 2, 3]] = Fraction(1, 2), Fraction(1, 4), Fraction(1, 3)
    encoder = Encoder.build((2, 2, 2), x, w, (d * spread).tolist(), ring="Q")
    programs = encoder_chains(encoder, effort=1000)
    assert sum(p.scalings for p in programs) <= 4 and encoder.is_exact
    again = Encoder.build((2, 2, 2), *(p.matrix() for p in programs), ring="Q")
    assert again.is_exact


def test_cheapest_finds_winograd_from_strassen():
    found = cheapest(schemes.strassen(), seconds=3, seed=0, steps=20_000)
    assert found.additions == 15 and found.encoder.is_exact and found.encoder.rank == 7
    over_two = cheapest(schemes.strassen().to_ring("GF(2)"), seconds=3, seed=0, steps=20_000)
    assert over_two.additions == 15 and over_two.encoder.is_exact


def test_a_number_of_walks_repeats_and_says_which_walk_found_it():
    once, again = (cheapest(schemes.strassen(), 600, 4, 5_000, walks=2) for _ in range(2))
    assert once.encoder == again.encoder and once.additions == again.additions == 15 and 0 < once.walks <= 2
    same = cheapest(once.encoder, 600, 1, 2_000, walks=1)
    assert same.walks == 0 and same.encoder is once.encoder


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("ring", ["Z", "GF(2)"])
def test_walks_elsewhere_begin_at_another_scheme_of_the_rank(ring, fresh):
    given = load(folder() / "3x3x3_r23_Z_031d50ca.safetensors").to_ring(
        ring
    )  # five pairs of equal factors: it has flips
    found = [_encoder(given, _elsewhere(given, fresh, 1, (seed, 1), 60.0)) for seed in (0, 1)]
    assert all(e.is_exact and e.rank == 23 and e.ring.name == ring for e in found)
    assert len({e.digest for e in [given, *found]}) == 3


@pytest.mark.parametrize("language", ["python", "c"])
def test_programs_as_text(language):
    program = source(encoder_chains(schemes.winograd(), effort=2000), language)
    if language == "python":
        assert "15 additions (4 + 4 + 7), 7 products" in program
        space: dict = {}
        exec(program, space)
        rng = np.random.default_rng(0)
        a, b = rng.integers(-9, 9, (2, 2, 2))
        assert space["multiply"](a.ravel().tolist(), b.ravel().tolist()) == (a @ b).ravel().tolist()


@pytest.mark.parametrize("wrong", [np.ones(3, dtype=int), np.full((2, 2), 0.5)])
def test_bad_input(wrong):
    with pytest.raises(StlError, match="matrix"):
        chain(wrong)
    with pytest.raises(StlError, match="ring"):
        encoder_chains(schemes.strassen().to_ring("R64"))


def test_rows_with_a_common_factor_cost_a_scaling():
    program = chain(np.array([[2, 2], [1, 1], [-3, -3]]))
    assert program.additions == 1 and program.scalings == 2
    assert program.outputs[0][1] == Fraction(2)


def test_command(tmp_path):
    path = save(schemes.strassen(), tmp_path)
    words = [
        str(path),
        "--seconds",
        "1",
        "--steps",
        "20000",
        "--effort",
        "1000",
        "--out",
        str(tmp_path / "out"),
        "--code",
        "python",
        "--json",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)["rows"][0]
    assert row["given"] == 18 and row["additions"] == 15 and row["minimal"] == [True] * 3
    made = load(row["written"])
    assert made.is_exact and "search.bases" in made.origin["command"]
    space: dict = {}
    exec(Path(row["written"]).with_suffix(".py").read_text(), space)
    assert space["multiply"]([1, 2, 3, 4], [5, 6, 7, 8]) == [19, 22, 43, 50]
    done = CliRunner().invoke(app, [str(tmp_path / "absent.safetensors")])
    assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1
