"""Border rank: the shipped approximate algorithm proven twice, and the polynomial system on tensors of known answer."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from search.approx.germ import exact_residual
from search.benchmarks.border_path import main, system_of
from search.lm.border import Series, descend, follow
from search.lm.parametrisation import Free
from search.lm.problem import matmul_tensor
from stl_algebra.encoder import Encoder
from stl_algebra.errors import StlError
from stl_algebra.files import load
from stl_algebra.identities import verify

DATA = Path(__file__).parents[2] / "results" / "border"
(FILE,) = DATA.glob("4x4x4_r46_*.safetensors")


def coefficients(encoder: Encoder) -> list[np.ndarray]:
    """(terms, entries, power) of the three factors as Fractions over one denominator each, D terms first."""
    x, w, d = encoder.factors
    return [np.array(f.num, dtype=object) for f in (x, w)] + [np.array(d.num, dtype=object).transpose(1, 0, 2)]


def expand_by_hand(encoder: Encoder) -> dict[tuple[int, int, int, int], Fraction]:
    """All non-zero coefficients (a, b, c, power ≤ h) of Σ u⊗v⊗w, multiplied out term by term in rationals."""
    den = np.prod([f.den for f in encoder.factors], dtype=object)
    total: dict[tuple[int, int, int, int], int] = {}
    for u, v, w in zip(*coefficients(encoder), strict=True):
        parts = [[(i, k, int(f[i, k])) for i, k in zip(*np.nonzero(f), strict=True)] for f in (u, v, w)]
        for a, i, p in parts[0]:
            for b, j, q in parts[1]:
                for c, k, r in parts[2]:
                    if i + j + k < 5:
                        key = (int(a), int(b), int(c), int(i + j + k))
                        total[key] = total.get(key, 0) + p * q * r
    return {key: Fraction(value, den) for key, value in total.items() if value}


def test_border_rank_of_4x4x4_is_at_most_46_twice():
    encoder = load(FILE)
    assert encoder.rank == 46 and encoder.ring.name == "Q[eps]/eps^5"
    assert verify(encoder).holds
    wanted = {(int(a), int(b), int(c), 4): 1 for a, b, c in np.argwhere(matmul_tensor(4, 4, 4))}
    assert expand_by_hand(encoder) == wanted


def test_a_planted_error_is_seen_by_both():
    encoder = load(FILE)
    d = encoder.d.num.copy()
    d[0, 0, 4] += 1
    wrong = Encoder.build((4, 4, 4), encoder.e_x, encoder.e_w, (d, encoder.d.den), ring=encoder.ring)
    assert not verify(wrong).holds
    assert any(key[3] < 4 or value != 1 for key, value in expand_by_hand(wrong).items())


def test_the_one_term_too_many_is_the_cube_of_a_nilpotent_matrix():
    """Without its last term the algorithm misses 4·T by t·N⊗N⊗N alone, N = −½ e⊗e₄ᵀ with e = (1, 1, 1, 0)."""
    encoder = load(FILE)
    rest = expand_by_hand(encoder.drop_terms([45]))
    off = {key: value for key, value in rest.items() if key[3] < 4}
    assert {key[3] for key in off} == {1} and set(off.values()) == {Fraction(1, 8)}
    assert {key[:2] for key in off} == {(i * 4 + 3, j * 4 + 3) for i in range(3) for j in range(3)}


def test_w_tensor_has_border_rank_two():
    w = np.zeros((2, 2, 2))
    w[0, 0, 1] = w[0, 1, 0] = w[1, 0, 0] = 1
    system = Series(Free(w, 2), w, [1, 1], 1)
    e0, e1, no = [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]
    known = np.array([*e0, *e1] * 3 + [-1.0, 0.0, *no, *e0, *no, *e0, *no])  # (e0 + t e1)^3 - e0^3
    assert not system.residual(known).any()
    near = known + 0.05 * np.random.default_rng(0).standard_normal(system.size)
    assert (system.residual(near) ** 2).sum() > 1e-3
    x, eps2 = descend(system, near, 1e-8, 300)
    assert eps2 < 1e-13 and np.linalg.norm(x) < 4


def test_jacobian_is_the_derivative():
    t = matmul_tensor(2, 2, 2)
    system = Series(Free(t, 7), t, [2, 1, 0, 2, 1, 0, 2], 2)
    rng = np.random.default_rng(0)
    x, d = rng.standard_normal((2, system.size))
    change = (system.residual(x + 1e-6 * d) - system.residual(x - 1e-6 * d)) / 2e-6
    assert np.allclose(change, system.jacobian(x) @ d, atol=1e-6)


def test_six_products_of_2x2x2_stop_at_an_eighth():
    system = system_of("2x2x2", 6, "none", None)
    best = 1.0
    for seed in range(2):
        x = 0.5 * np.random.default_rng(seed).standard_normal(system.size)
        best = min(best, min(eps2 for _, _, eps2 in follow(system, x, [1e-1, 1e-2, 1e-3, 1e-4], 40)))
    assert best == pytest.approx(1 / 8, abs=4e-3)


def test_stored_path_is_what_the_table_says(capsys):
    path = DATA / "path_4x4x4_r45.npz"
    options = ["--symmetry", "Z3*c:(123)", "--counts", "4,0,1,0,1,3", "--path", str(path)]
    assert main(["4x4x4", "45", *options]) == 0
    rows = [[float(v) for v in line.split()] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows[5][1] == pytest.approx(1.75786e-5, rel=1e-4) and rows[5][3] == pytest.approx(0.4323, abs=1e-3)


def test_bad_input():
    t = matmul_tensor(1, 1, 1)
    with pytest.raises(StlError, match="poles"):
        Series(Free(t, 1), t, [3], 2)
    with pytest.raises(SystemExit):
        main(["4x4x4", "45", "--symmetry", "Z3*c:(123)", "--counts", "1"])


# ---------------------------------------------------------------- 44 terms, in numbers
def test_the_stored_germ_solves_the_system_of_44_terms_to_48_digits():
    """In exact integers: every coefficient of t⁰ … t³ of the sum minus t³·T."""
    with np.load(DATA / "germ_4x4x4_r44.npz") as stored:
        x, rest, poles = stored["x"], stored["rest"], stored["poles"]
    assert x.shape == (4, 3, 44, 16) and sorted(poles.tolist()) == [2] * 4 + [3] * 40
    assert np.abs(x).max() < 2  # bounded: no escape to infinity
    for l in np.flatnonzero(poles == 2):
        assert not x[0, 0, l].any() and not x[3, 1:, l].any()
    target = matmul_tensor(4, 4, 4)
    assert max(exact_residual([x], target)) < 1e-15
    assert max(exact_residual([x, *rest], target)) < 1e-48
    wrong = x.copy()
    wrong[1, 1, 0, 0] += 1e-9
    assert max(exact_residual([wrong], target)) > 1e-12


def test_44_rational_terms_are_as_near_as_that_to_the_product():
    """The terms at t = 2⁻⁴⁰, exactly: an encoder of rank 44 with ε² below 10⁻²⁰."""
    with np.load(DATA / "germ_4x4x4_r44.npz") as stored:
        parts = [stored["x"], *stored["rest"]]
    t, unit = 40, 260
    whole = sum(
        np.vectorize(
            lambda v: (
                Fraction(float(v)).numerator * ((1 << unit) // Fraction(float(v)).denominator)
                if Fraction(float(v)).denominator <= 1 << unit
                else 0
            ),
            otypes=[object],
        )(p)
        for p in parts
    )
    u, v, w = (sum(whole[k, s] * (1 << t * (3 - k)) for k in range(4)) for s in range(3))  # times 2^(3·40 + unit)
    pairs = (v[:, :, None] * w[:, None, :]).reshape(44, 256)
    scale = 1 << (3 * (3 * t + unit))
    gap = u.T.dot(pairs) * (1 << 3 * t) - matmul_tensor(4, 4, 4).astype(int).astype(object).reshape(16, 256) * scale
    squared = sum(Fraction(int(g) ** 2, scale**2) for g in gap.ravel() if g)
    assert 0 < squared / 64 < Fraction(1, 10**20)
