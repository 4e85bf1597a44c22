"""Proofs: right against independent oracles, over every ring, at every size of coefficient, and never fooled."""

import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from stl_algebra import Encoder, StlError, identities, ring, verify
from stl_algebra._threads import one_blas_thread
from stl_algebra.schemes import hopcroft, karatsuba, laderman, simplex, standard, strassen, winograd
from stl_algebra.targets import symmetric_square, target
from stl_algebra.validity import residual_gcd, rings_where_valid, scaled_denominator

REFERENCE = sorted((Path(__file__).parents[1] / "vectors" / "reference_schemes").glob("*.json"))
RINGS = ["Z", "Z[1/2]", "Q", "Q(i)", "Q(zeta_3)", "Q(zeta_5)", "Q(sqrt(3))", "GF(2)", "GF(5)", "GF(2^2)", "GF(3^2)"]


# ------------------------------------------------------------------ the oracle
def elements(factor):
    """Entries as lists of k Fractions."""
    num = factor.num[..., None] if factor.num.ndim == 2 else factor.num
    return [[[Fraction(int(c), factor.den) for c in cell] for cell in row] for row in num.tolist()]


def times(u, v, f):
    """Product of two coefficient lists modulo the monic polynomial f, by schoolbook multiplication and division."""
    out = [Fraction(0)] * (len(u) + len(v) - 1)
    for i, a in enumerate(u):
        for j, b in enumerate(v):
            out[i + j] += a * b
    k = len(f) - 1
    while len(out) > k:
        lead = out.pop()
        for i in range(k):
            out[len(out) - k + i] -= lead * f[i]
    return out + [Fraction(0)] * (k - len(out))


def oracle(encoder):
    """Places (a, b, c) where T̂ ≠ T, one by one in Python fractions."""
    base, goal = encoder.ring, encoder.target
    x, w, d = (elements(f) for f in encoder.factors)
    wanted = {tuple(map(int, place)): int(v) for place, v in zip(goal.index, goal.value, strict=True)}
    wrong = []
    for a, b, c in np.ndindex(*goal.shape):
        total = [Fraction(0)] * base.degree
        for l in range(encoder.rank):
            term = times(times(x[l][a], w[l][b], base.polynomial), d[c][l], base.polynomial)
            total = [s + t for s, t in zip(total, term, strict=True)]
        level = base.degree - 1 if base.name.startswith("Q[eps]") else 0
        total[level] -= wanted.get((a, b, c), 0)
        if any(t % base.characteristic if base.characteristic else t for t in total):
            wrong.append((a, b, c))
    return wrong


def agree(encoder):
    report, wrong = verify(encoder), oracle(encoder)
    assert report.holds == (not wrong)
    assert report.failing == len(wrong)
    assert [e.place for e in report.first] == wrong[:5]
    assert bool(verify(encoder, stop_early=True)) == report.holds


def nearly(name, seed, changes):
    """A known scheme over the ring in a random basis, with a few random coefficients changed."""
    rng = np.random.default_rng(seed)
    base = ring(name)
    start = [strassen, winograd, hopcroft, lambda: standard(1, 2, 3), lambda: karatsuba(3)][seed % 5]().to_ring(base)
    factors = [(f.num.astype(object), f.den) for f in start.factors]
    for _ in range(changes):
        num = factors[int(rng.integers(3))][0]
        place = tuple(int(rng.integers(s)) for s in num.shape)
        num[place] += int(rng.integers(1, 4))
    scale = 2 if base.denominators in ("2", "any") else 1
    factors[2] = (factors[2][0] * scale, factors[2][1] * scale)
    return Encoder.build(start.target, *factors, ring=base)


@pytest.mark.parametrize("name", RINGS)
@pytest.mark.parametrize("changes", [0, 1, 3])
def test_agrees_with_fractions_one_by_one(name, changes):
    for seed in (0, 3, 4) if ring(name).degree > 1 else range(5):
        agree(nearly(name, seed, changes))


@given(st.integers(0, 10**9))
def test_random_small_factors_over_z(seed):
    rng = np.random.default_rng(seed)
    n, m, p, r = *rng.integers(1, 3, 3).tolist(), int(rng.integers(0, 6))
    e = Encoder.build((n, m, p), *(rng.integers(-2, 3, s) for s in ((r, n * m), (r, m * p), (n * p, r))))
    agree(e)
    dense = np.einsum("la,lb,cl->abc", e.e_x.num, e.e_w.num, e.d.num)
    assert verify(e).holds == bool((dense == e.target.dense(np.int64)).all())


def test_border_identity_against_the_oracle():
    """x and w are ε-polynomials; T̂ must be ε·T modulo ε²."""
    e = standard(2, 1, 1).to_ring("Q[eps]/eps^2")
    shifted = e.d.num.copy()
    shifted[..., 1], shifted[..., 0] = e.d.num[..., 0], 0
    good = Encoder.build(e.target, e.e_x, e.e_w, shifted, ring="Q[eps]/eps^2")
    assert verify(good) and not verify(e)
    agree(good)
    agree(e)


# ---------------------------------------------------------- planted mistakes
def test_skipping_the_last_block_would_be_seen(monkeypatch):
    """A verification that believes the last block sees no error there; the comparison with the oracle goes red."""
    e = strassen()
    num = e.e_x.num.copy()
    num[0, 3] += 1  # changes T̂[3, :, :] only, the last of the blocks below
    bad = Encoder.build(e.target, num, e.e_w, e.d).to_ring("Q(i)")
    monkeypatch.setattr(identities, "BLOCK_BYTES", 8 * 7 * 16)
    parts = [[f.num[..., t] for t in range(2)] for f in bad.factors]
    assert identities._step(*parts) == 1
    agree(bad)
    honest = identities._block

    def credulous(factors, base, p, dtype, lo, hi):
        if hi == e.target.shape[0]:
            true = np.moveaxis(e.target.dense(dtype)[lo:hi], 2, 0)
            return np.stack([true, np.zeros_like(true)])
        return honest(factors, base, p, dtype, lo, hi)

    monkeypatch.setattr(identities, "_block", credulous)
    with pytest.raises(AssertionError):
        agree(bad)


def test_believing_one_prime_would_be_seen(monkeypatch):
    bad = with_error(_big(), identities._primes(2**400, ring("Z"), 3)[0])
    agree(bad)
    honest = identities._primes
    monkeypatch.setattr(identities, "_primes", lambda *args: honest(*args)[:1])
    with pytest.raises(AssertionError):
        agree(bad)


def test_skipping_a_slice_would_be_seen(monkeypatch):
    """Over rings of degree 1 large schemes are proven slice by slice, with the terms that are not zero there."""
    e = strassen()
    num = e.e_x.num.copy()
    num[0, 3] += 1
    bad = Encoder.build(e.target, num, e.e_w, e.d)
    monkeypatch.setattr(identities, "SMALL", 0)
    agree(bad)
    honest = np.flatnonzero
    monkeypatch.setattr(identities.np, "flatnonzero", lambda a: honest(a)[1:])
    with pytest.raises(AssertionError):
        agree(bad)


@pytest.mark.parametrize("bytes_", [1, 500, 5000, 1 << 26])
@pytest.mark.parametrize("make", [laderman, lambda: standard(2, 3, 4), lambda: karatsuba(5)])
@pytest.mark.parametrize("over", ["Z", "GF(2)", "GF(7)", "Q(i)"])
def test_block_size_changes_nothing(monkeypatch, bytes_, make, over):
    monkeypatch.setattr(identities, "BLOCK_BYTES", bytes_)
    monkeypatch.setattr(identities, "SMALL", bytes_)
    e = make().to_ring(over)
    assert verify(e)
    agree(e.drop_terms([0]))


# -------------------------------------------------------------- big integers
def _big():
    """1×1×1 of rank 2 with huge cancelling coefficients: 1 = h·h·1 − (h² − 1)."""
    h = 10**60 + 7
    return Encoder.build((1, 1, 1), [[h], [h * h - 1]], [[h], [1]], [[1, -1]])


def with_error(encoder, amount):
    """The same with T̂ off by ``amount`` at (0, 0, 0) (one more product)."""
    one = Encoder.build(encoder.target, *(np.eye(1, s, dtype=int) for s in encoder.target.shape[:2]),
                        np.eye(encoder.target.shape[2], 1, dtype=int).astype(object) * amount)  # fmt: skip
    parts = []
    for axis, (f, g) in enumerate(zip(encoder.factors, one.factors, strict=True)):
        parts.append(np.concatenate([f.num.astype(object), g.num.astype(object)], axis=1 if axis == 2 else 0))
    return Encoder.build(encoder.target, *parts)


def test_big_coefficients_by_chinese_remainders():
    report = verify(_big())
    assert report and "Chinese" in report.method
    big = strassen().change_basis([[10**20, 1], [10**20 - 1, 1]], [[1, 10**9], [0, 1]], [[1, 0], [3, 1]])
    report = verify(big)
    assert report and big.ring.name == "Z" and "Chinese" in report.method


def test_errors_that_vanish_modulo_primes_are_found():
    primes = identities._primes(2**400, ring("Z"), 3)
    for amount in [
        *primes[:3],
        -primes[0],
        primes[0] * primes[1],
        int(np.prod(np.array(primes[:-1], dtype=object))),
        1,
        2,
    ]:
        bad = with_error(_big(), amount)
        report = verify(bad)
        assert not report and report.failing == 1, amount
        assert report.first[0].place == (0, 0, 0)


@given(st.integers(-(2**70), 2**70).filter(bool))
def test_any_error_in_a_big_identity_is_found(amount):
    assert not verify(with_error(_big(), amount))


@pytest.mark.parametrize("exponent", [10, 11, 23, 24, 25, 51, 52, 53, 54, 61, 62, 63, 64, 200])
def test_every_threshold_of_the_arithmetic(exponent):
    """1 = 2^e + 1 − 2^e: rounding float32, float64 or int64 would lose the 1."""
    h = 2**exponent
    e = Encoder.build((1, 1, 1), [[h], [1], [h]], [[1], [1], [1]], [[1, 1, -1]])
    assert verify(e)
    assert not verify(with_error(e, 1)) and not verify(with_error(e, -1))


def test_the_smallest_int64_proves_nothing_wrong():
    """|−2^63| overflows int64: a bound computed from it would allow float32, where 4 − 2^63 + 2^63 + 1 − 4 … rounds."""
    low = np.iinfo(np.int64).min
    e = Encoder.build((1, 1, 1), np.array([[low], [3], [low], [1]]), np.ones((4, 1), int), np.array([[1, 1, -1, 1]]))
    assert not verify(e)  # the sum is 4
    agree(e)


def test_huge_numbers_times_zero_are_zero():
    big = 10**200
    assert verify(Encoder.build((1, 1, 1), [[1], [big]], [[1], [big]], [[1, 0]]))
    assert not verify(Encoder.build((1, 1, 1), [[1], [big]], [[1], [big]], [[1, 1]])).holds
    text = str(verify(Encoder.build((1, 1, 1), [[10**3000]], [[10**3000]], [[10**3000]])))
    assert "bits" in text


# ------------------------------------------------------------------ edge cases
def test_rank_zero():
    none = strassen().drop_terms(range(7))
    report = verify(none)
    assert not report and report.failing == 8
    assert none.direct_sum(none, "n").rank == none.rotate().rank == none.restrict(n=1).rank == 0
    assert (
        none.change_basis([[1, 1], [0, 1]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]).rank == none.kron(strassen()).rank == 0
    )


@pytest.mark.parametrize("name", ["Z", "Q", "GF(2)", "GF(3)", "GF(2^2)", "Q(i)"])
def test_quadratic_targets(name):
    """A·Aᵀ: products may be written with A and Aᵀ exchanged, and the diagonal counts (also modulo 2)."""
    n, m = 2, 2
    goal = symmetric_square(n, m)
    x, w = np.zeros((len(goal.index), 4), int), np.zeros((len(goal.index), 4), int)
    d = np.zeros((3, len(goal.index)), int)
    for l, (a, b, c) in enumerate(goal.index):
        x[l, a] = w[l, b] = d[c, l] = 1
    assert verify(Encoder.build(goal, x, w, d).to_ring(name))
    assert verify(Encoder.build(goal, w, x, d).to_ring(name))
    for l in range(len(goal.index)):
        assert not verify(Encoder.build(goal, np.delete(x, l, 0), np.delete(w, l, 0), np.delete(d, l, 1)).to_ring(name))


def test_other_targets_and_shapes():
    e = strassen()
    assert verify(e, "matmul:2x2x2") and verify(e, (2, 2, 2)) and not verify(e, target("complex*complex"))
    with pytest.raises(StlError, match="shape"):
        verify(e, "matmul:2x2x3")


def test_numerical_encoders_prove_nothing():
    report = verify(strassen().to_ring("R64"))
    assert not report and report.residual == 0 and "numerical" in str(report)
    huge = Encoder.build((1, 1, 1), [[1e308], [1e308]], [[1e308], [1e308]], [[1.0, -1.0]], ring="R64")
    assert verify(huge).residual == float("inf")


def test_ranks_too_large_for_a_large_characteristic_are_refused():
    with pytest.raises(StlError, match="rank"):
        verify(standard(4, 4, 4).to_ring("GF(33554393)"))
    assert verify(strassen().to_ring("GF(33554393)"))


def test_reports_print_as_themselves():
    good, bad = verify(strassen()), verify(strassen().drop_terms([0]))
    assert str(good).startswith("proven over Z: 64 equations hold")
    lines = str(bad).splitlines()
    assert lines[0].startswith("fails over Z") and lines[1].strip() == str(bad.first[0])
    assert "found" in lines[1] and "A[0,0]·B[0,0] → C[0,0]" in lines[1]


# --------------------------------------------------------- published schemes
def load(path, name=None):
    data = json.loads(path.read_text())
    base = ring(name or data["ring"])
    parts = [np.array(data[k], dtype=object) for k in "uvw"]
    u, v, w = (p.swapaxes(0, 1) if k < 2 else p for k, p in enumerate(parts))
    exact = [[[Fraction(c) for c in np.atleast_1d(x)] for x in row] for part in (u, v, w) for row in part]
    sizes = [len(p) for p in (u, v, w)]
    arrays = []
    for size in sizes:
        rows, exact = exact[:size], exact[size:]
        a = np.array(rows, dtype=object)
        arrays.append(a[..., 0] if base.degree == 1 else a)
    return Encoder.build((data["n"], data["m"], data["p"]), *arrays, ring=base)


@pytest.fixture(scope="module")
def schemes():
    return {p.name: load(p) for p in REFERENCE}


def test_every_reference_scheme_is_proven(schemes):
    assert len(schemes) == 21
    for name, e in schemes.items():
        assert verify(e), name


def test_any_single_change_is_found(schemes):
    """Random coefficient, random change: it shows unless its row of the product of the others vanishes (never here)."""

    @settings(max_examples=200)
    @given(st.sampled_from(sorted(schemes)), st.integers(0, 2), st.integers(0, 2**32 - 1))
    def check(name, axis, seed):
        e = schemes[name]
        rng = np.random.default_rng(seed)
        factors = [(f.num.astype(object), f.den) for f in e.factors]
        num = factors[axis][0]
        place = tuple(int(rng.integers(s)) for s in num.shape)
        p = e.ring.characteristic
        num[place] += int(rng.integers(1, p)) if p > 2 else 1 if p else int(rng.choice([-2, -1, 1, 2, 7]))
        bad = Encoder.build(e.target, *factors, ring=e.ring)
        report = verify(bad)
        assert not report and 0 < report.failing < report.total

    check()


def test_one_product_dropped_is_found(schemes):
    for name, e in schemes.items():
        for l in np.random.default_rng(0).integers(0, e.rank, 3):
            assert not verify(e.drop_terms([int(l)])), name


def test_c_transposed_is_found(schemes):
    for name, e in schemes.items():
        n, _, p = e.format
        d = e.d.num.reshape(n, p, *e.d.num.shape[1:]).swapaxes(0, 1).reshape(e.d.num.shape)
        assert not verify(Encoder.build(e.target, e.e_x, e.e_w, (d, e.d.den), ring=e.ring)), name


def test_gf2_schemes_over_z_and_back(schemes):
    for path in REFERENCE:
        e = schemes[path.name]
        if e.ring.name == "GF(2)":
            over_z = load(path, "Z")
            if verify(over_z):
                continue
            assert "GF(2)" in rings_where_valid(over_z) and residual_gcd(over_z) % 2 == 0
        elif e.ring.name == "Z":
            assert verify(e.to_ring("GF(2)")) and verify(e.to_ring("GF(7)")) and "GF(2)" in rings_where_valid(e)
    only = load(next(p for p in REFERENCE if "444r47" in p.name), "Z")
    assert not verify(only) and rings_where_valid(only)[0] == "GF(2)"


def test_denominator_two_is_refused_modulo_two(schemes):
    e = schemes["s444r48_dumas_Q.json"]
    with pytest.raises(StlError, match="denominator"):
        e.to_ring("GF(2)")
    assert verify(e.to_ring("GF(3)"))
    assert "GF(2)" not in rings_where_valid(e) and "GF(3)" in rings_where_valid(e)


def test_residual_gcd():
    e = strassen()
    assert residual_gcd(e) == 0
    for g in (2, 6, 35):
        assert residual_gcd(with_error(e, g)) == g
    assert rings_where_valid(with_error(e, 35)) == ["GF(5)", "GF(7)", "Z/35"]
    with pytest.raises(StlError):
        residual_gcd(e.to_ring("GF(2)"))
    with pytest.raises(StlError, match="below"):
        residual_gcd(with_error(_big(), 1))


def test_sympy_agrees():
    from stl_algebra.symbolic import proves_symbolically

    for e in (strassen(), winograd(), hopcroft(), simplex(2), karatsuba(3), standard(1, 2, 2)):
        assert proves_symbolically(e) and verify(e)
        assert not proves_symbolically(e.drop_terms([1])) and not verify(e.drop_terms([1]))


# ------------------------------------------------------------------- where an identity holds
def test_primes_of_the_denominators_are_no_rings():
    """½ + ½·5 = 3: the residual 2 is divisible by 2, but ½ means nothing modulo 2 or 4."""
    for u, w in (([["1/2"], ["5/2"]], [[1, 1]]), ([["1/2"], ["1/2"]], [[1, 5]])):
        assert rings_where_valid(Encoder.build((1, 1, 1), u, [[1], [1]], w, ring="Q")) == []
    third = Encoder.build((1, 1, 1), [["1/2"], ["5/2"]], [[1], [4]], [[1, 1]], ring="Q")  # 21/2 − 1 = 19/2
    assert rings_where_valid(third) == ["Z/19"]
    assert rings_where_valid(Encoder.build((1, 1, 1), [["1/2"]], [[13]], [[1]], ring="Q")) == ["GF(11)"]


def test_constants_may_move_between_the_factors():
    e = strassen()
    halves = Encoder.build((2, 2, 2), (e.e_x.num, 2), e.e_w, (2 * e.d.num, 1), ring="Q")
    assert rings_where_valid(halves)[:3] == ["Q", "Z", "GF(2)"]
    uneven = Encoder.build((2, 2, 2), (e.e_x.num, 2), (3 * e.e_w.num, 3), (2 * e.d.num, 1), ring="Q")
    assert scaled_denominator(uneven) == 1


def test_number_fields_reduce_where_their_polynomial_has_a_root():
    names = rings_where_valid(strassen().to_ring("Q(i)"))
    assert names == ["Q(i)", "GF(2)", "GF(5)", "GF(13)"]


@pytest.mark.parametrize("name", ["Q(sqrt(1000003))", "Q(sqrt(999999999999999989))", "Q[x]/(x^3-2)",
                                  "Q[x]/(x^3+1000000007x+1)", "GF(2)[x]/(x^3+x^2+1)"])  # fmt: skip
def test_large_structure_constants(name):
    """u = x, v = 1/x over the field: true, and false when anything is off by one."""
    base = ring(name)
    f, k = base.polynomial, base.degree
    x = [[[0, 1, *[0] * (k - 2)]]]
    p = base.characteristic
    inverse = [[[-c * (pow(f[0], -1, p) if p else 1) for c in (*f[1:k], f[k])]]]  # x·(f(x) − f0)/x = −f0
    v = (inverse, 1) if p else (inverse if f[0] > 0 else [[[-c for c in inverse[0][0]]]], abs(f[0]))
    good = Encoder.build((1, 1, 1), x, v, [[1]], ring=base)
    assert verify(good).holds
    wrong = [[[c + (i == 1) for i, c in enumerate(v[0][0][0])]]]
    assert not verify(Encoder.build((1, 1, 1), x, (wrong, v[1]), [[1]], ring=base)).holds


def test_the_gcd_of_a_quadratic_target_counts_the_symmetric_part_only():
    from stl_algebra.schemes import gram

    e = gram(strassen())
    tripled = Encoder.build(e.target, e.e_x, e.e_w, (3 * e.d.num, 1), ring="Z")
    assert rings_where_valid(tripled) == ["GF(2)"]


# ------------------------------------------------------------------ threads
def blas_threads():
    """Of the library NumPy multiplies with; SciPy may have brought another."""
    mine = {library.filepath for library in one_blas_thread._libraries}
    return [v["num_threads"] for v in threadpool_info() if v["filepath"] in mine]


def test_proofs_run_on_one_blas_thread_and_put_back_what_was_set(monkeypatch):
    """Whatever the environment says, also nested, beside other threads, and when a proof is refused."""
    seen = []
    honest = identities._count
    monkeypatch.setattr(identities, "_count", lambda *args: seen.append(blas_threads()) or honest(*args))
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert max(before) == 2
        verify(strassen())
        residual_gcd(strassen())
        with one_blas_thread, ThreadPoolExecutor(4) as pool:
            list(pool.map(verify, [laderman().drop_terms([k]) for k in range(20)]))
            verify(laderman())
        with pytest.raises(StlError):
            verify(strassen(), (3, 3, 3))
        assert blas_threads() == before
    assert len(seen) == 22 and all(set(v) == {1} for v in seen)


def test_a_proof_on_all_threads_would_be_seen(monkeypatch):
    monkeypatch.setattr(identities, "verify", identities.verify.__wrapped__)
    monkeypatch.setitem(globals(), "verify", identities.verify)
    with pytest.raises(AssertionError):
        test_proofs_run_on_one_blas_thread_and_put_back_what_was_set(monkeypatch)
