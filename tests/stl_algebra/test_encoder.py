"""Encoder algebra: every operation keeps the identity, and obeys the laws of what it stands for."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import Encoder, StlError, encoder, verify
from stl_algebra.schemes import hopcroft, karatsuba, laderman, simplex, standard, strassen, winograd
from stl_algebra.scores import epsilon2

MAKERS = {
    "strassen": strassen,
    "winograd": winograd,
    "hopcroft": hopcroft,
    "laderman": laderman,
    "standard": lambda: standard(2, 3, 1),
    "simplex": lambda: simplex(2),
}
RINGS = ["Z", "Z[1/2]", "Q", "Q(i)", "Q(zeta_3)", "GF(2)", "GF(5)", "GF(2^2)"]
seeds = st.integers(0, 10**9)


def tensor(e):
    """T̂ as integers or fractions, (a, b, c) or (a, b, c, k)."""
    x, w, d = (f.num.astype(object) for f in e.factors)
    out = None
    for l in range(e.rank):
        term = e.ring.multiply(x[l][:, None, None], e.ring.multiply(w[l][None, :, None], d[:, l][None, None]))
        out = term if out is None else out + term
    if e.ring.characteristic:
        return out % e.ring.characteristic
    return out.astype(object) * Fraction(1, e.e_x.den * e.e_w.den * e.d.den)


def times(base, s, t):
    """Product of arrays of fractions over a ring of degree 1 or more."""
    if base.degree == 1:
        return s * t
    out = np.zeros(np.broadcast_shapes(s.shape, t.shape), dtype=object)
    for i, j, k in zip(*np.nonzero(base.structure), strict=True):
        out[..., k] += s[..., i] * t[..., j] * int(base.structure[i, j, k])
    return out


def random_encoder(seed, name="Z", limit=3):
    """Any factors at all: most laws do not need exactness."""
    rng = np.random.default_rng(seed)
    n, m, p, r = rng.integers(1, limit + 1, 4)
    base = Encoder.build((1, 1, 1), [[1]], [[1]], [[1]], ring=name).ring
    tail = (base.degree,) if base.degree > 1 else ()
    shapes = ((r, n * m), (r, m * p), (n * p, r))
    parts = [rng.integers(-3, 4, (*s, *tail)) for s in shapes]
    den = 1 if not base.admits_denominator(2) or base.characteristic else int(2 ** rng.integers(0, 3))
    return Encoder.build((int(n), int(m), int(p)), *((v, den) for v in parts), ring=base)


def unimodular(rng, size):
    """A random integer matrix of determinant ±1."""
    a = np.eye(size, dtype=np.int64)[rng.permutation(size)]
    for _ in range(3 * size):
        i, j = rng.integers(0, size, 2)
        if i != j:
            a[i] += int(rng.integers(-1, 2)) * a[j]
    return a


# ------------------------------------------------------------------------ laws
def check_rotation(e):
    """tr(ABC) is cyclic: T̂'[(k,j),(j,i),(k,i)] of the rotated is T̂[(i,k),(k,j),(i,j)] of the original."""
    n, m, p = e.format
    t = tensor(e).reshape(n, m, m, p, n, p, *e.e_x.num.shape[2:])
    turned = np.moveaxis(t, [2, 3, 5, 4, 1, 0], [0, 1, 2, 3, 4, 5])
    assert (tensor(e.rotate()).reshape(turned.shape) == turned).all()
    assert e.rotate().rotate().rotate() == e


def check_transposition(e):
    n, m, p = e.format
    t = tensor(e).reshape(n, m, m, p, n, p, *e.e_x.num.shape[2:])
    turned = np.moveaxis(t, [3, 2, 1, 0, 5, 4], [0, 1, 2, 3, 4, 5])
    assert (tensor(e.transpose()).reshape(turned.shape) == turned).all()
    assert e.transpose().transpose() == e


@pytest.mark.parametrize("name", RINGS)
@given(seed=seeds)
def test_rotation_and_transposition(name, seed):
    e = random_encoder(seed, name)
    check_rotation(e)
    check_transposition(e)
    assert e.rotate().transpose() == e.transpose().rotate().rotate()  # they generate S₃


@pytest.mark.parametrize("name", MAKERS)
def test_rotation_and_transposition_keep_identities(name):
    e = MAKERS[name]()
    n, m, p = e.format
    assert verify(e.rotate()) and e.rotate().format == (m, p, n)
    assert verify(e.transpose()) and e.transpose().format == (p, m, n)


def test_a_transposed_d_in_rotate_would_be_seen(monkeypatch):
    right = Encoder.rotate

    def wrong(self):
        out = right(self)
        m, n = out.format[0], out.format[2]
        d = out.d.num.reshape(m, n, -1).swapaxes(0, 1).reshape(out.d.num.shape)
        return Encoder.build(out.target, out.e_x, out.e_w, (d, out.d.den))

    check_rotation(strassen())
    monkeypatch.setattr(Encoder, "rotate", wrong)
    with pytest.raises(AssertionError):
        check_rotation(strassen())


def test_a_forgotten_flip_in_transpose_would_be_seen(monkeypatch):
    monkeypatch.setattr(encoder, "flip_tile", lambda num, shape: num)
    with pytest.raises(AssertionError):
        check_transposition(hopcroft())


@given(seeds, seeds, seeds)
def test_kron_is_associative(a, b, c):
    one, two, three = (random_encoder(s, limit=2) for s in (a, b, c))
    left, right = one.kron(two).kron(three), one.kron(two.kron(three))
    assert left == right and left.rank == one.rank * two.rank * three.rank


@pytest.mark.parametrize("name", RINGS)
@given(seed=seeds)
def test_kron_is_the_product_of_blocks(name, seed):
    """T̂ of a Kronecker product: outer and inner indices of rows and columns are independent."""
    one, two = random_encoder(seed, name, 2), random_encoder(seed + 1, name, 2)
    (n, m, p), (u, v, w) = one.format, two.format
    tail = one.e_x.num.shape[2:]
    s = tensor(one).reshape(n, 1, m, 1, m, 1, p, 1, n, 1, p, 1, *tail)
    t = tensor(two).reshape(1, u, 1, v, 1, v, 1, w, 1, u, 1, w, *tail)
    product = one.kron(two)
    expected = (
        one.ring.multiply(s, t).reshape(tensor(product).shape) if one.ring.characteristic else times(one.ring, s, t)
    )
    assert (tensor(product) == expected.reshape(tensor(product).shape)).all()


def test_kron_keeps_identities():
    for one in (strassen, hopcroft):
        for two in (winograd, lambda: standard(1, 2, 3)):
            e = one().kron(two())
            assert verify(e) and e.rank == one().rank * two().rank
    square = strassen().kron(strassen())
    assert square.format == (4, 4, 4) and verify(square.kron(strassen()))
    poly = karatsuba(2).kron(karatsuba(3))
    assert verify(poly) and poly.target.name == "polymul:2x2*polymul:3x3"
    assert verify(strassen().kron(karatsuba(2)))


@given(seeds)
def test_kron_over_two_rings_lives_in_the_common_one(seed):
    assert strassen().kron(strassen().to_ring("GF(5)")).ring.name == "GF(5)"
    e = random_encoder(seed, "Q(i)", 2).kron(random_encoder(seed, "Q", 2))
    assert e.ring.name == "Q(i)"
    with pytest.raises(StlError, match="common"):
        strassen().to_ring("GF(2)").kron(strassen().to_ring("GF(3)"))


@pytest.mark.parametrize("name", ["Z", "Q", "Q(i)", "GF(5)", "GF(2^2)"])
@given(seed=seeds)
def test_change_of_basis(name, seed):
    rng = np.random.default_rng(seed)
    e = list(MAKERS.values())[seed % 6]().to_ring(name)
    p, q, r = (unimodular(rng, s) for s in e.format)
    moved = e.change_basis(p, q, r)
    assert verify(moved) and moved.ring == e.ring
    back = moved.change_basis(*(np.rint(np.linalg.inv(v)).astype(int) for v in (p, q, r)))
    assert back == e
    two = [unimodular(rng, s) for s in e.format]
    assert moved.change_basis(*two) == e.change_basis(*(a @ b for a, b in zip((p, q, r), two, strict=True))) or (
        moved.change_basis(*two) == e.change_basis(*(b @ a for a, b in zip((p, q, r), two, strict=True)))
    )


@given(seeds)
def test_change_of_basis_with_fractions_moves_to_q(seed):
    rng = np.random.default_rng(seed)
    e = strassen()
    mats = []
    for size in e.format:
        a = unimodular(rng, size).astype(object)
        a[0] = [Fraction(int(v) * 3, 7) for v in a[0]]
        mats.append(a)
    moved = e.change_basis(*mats)
    assert verify(moved) and moved.ring.name in ("Z", "Q")
    assert moved.change_basis([["1/2", 0], [0, 1]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]).is_exact


def test_change_of_basis_means_what_it_says():
    """(A, B, C) ↦ (P A Q⁻¹, Q B R⁻¹, P C R⁻¹): the new encoder at A is the old at the moved A, moved back."""
    rng = np.random.default_rng(3)
    e = random_encoder(12)
    n, m, p = e.format
    big_p, big_q, big_r = (unimodular(rng, s) for s in (n, m, p))
    a, b = rng.integers(-5, 6, (n, m)), rng.integers(-5, 6, (m, p))
    inv = [np.rint(np.linalg.inv(v)).astype(int) for v in (big_p, big_q, big_r)]
    got = e.change_basis(big_p, big_q, big_r)(a, b)
    assert (got == inv[0] @ e(big_p @ a @ inv[1], big_q @ b @ inv[2]) @ big_r).all()


@pytest.mark.parametrize("axis", ["n", "m", "p"])
@given(seed=seeds)
def test_direct_sum_and_restriction(axis, seed):
    rng = np.random.default_rng(seed)
    one = list(MAKERS.values())[seed % 6]()
    fmt = list(one.format)
    which = "nmp".index(axis)
    fmt[which] = int(rng.integers(1, 3))
    two = standard(*fmt)
    whole = one.direct_sum(two, axis)
    assert verify(whole) and whole.rank == one.rank + two.rank
    size = one.format[which]
    assert whole.restrict(**{axis: size}) == one
    assert whole.restrict(**{axis: range(size, size + fmt[which])}) == two


@given(seeds)
def test_restriction_keeps_identities(seed):
    rng = np.random.default_rng(seed)
    e = [laderman, hopcroft, lambda: simplex(3)][seed % 3]()
    keep = [sorted(rng.permutation(s)[: rng.integers(1, s + 1)].tolist()) for s in e.format]
    small = e.restrict(*keep)
    assert verify(small) and small.format == tuple(map(len, keep)) and small.rank <= e.rank
    assert e.restrict() == e


@given(seeds)
def test_dropping_standard_terms_costs_their_share(seed):
    rng = np.random.default_rng(seed)
    n, m, p = (int(v) for v in rng.integers(1, 4, 3))
    e = standard(n, m, p)
    gone = rng.permutation(e.rank)[: rng.integers(0, e.rank + 1)]
    rest = e.drop_terms(gone.tolist())
    assert rest.rank == e.rank - len(gone) and epsilon2(rest) == pytest.approx(len(gone) / e.rank)
    assert e.keep_terms(range(e.rank)) == e
    assert rest.keep_terms(range(rest.rank)) == rest


# ----------------------------------------------------------------- application
@pytest.mark.parametrize("name", MAKERS)
@given(seed=seeds)
def test_applied_to_matrices_it_multiplies(name, seed):
    e = MAKERS[name]()
    n, m, p = e.format
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-99, 100, (n, m)), rng.integers(-99, 100, (m, p))
    assert (e(a, b) == a @ b).all()
    q = e.change_basis(*(np.diag([2] + [1] * (s - 1)) for s in (n, m, p)))
    assert (q(a, b) == a @ b).all()


# ------------------------------------------------------------ building, looking
def test_canonical_form():
    one = Encoder.build((1, 1, 1), [["2/4"]], [[2]], [[1]], ring="Q")
    two = Encoder.build((1, 1, 1), ([[3]], 6), [[2]], [[Fraction(1)]], ring="Q")
    assert one == two and hash(one) == hash(two) and one.e_x.den == 2 and one.is_exact
    assert Encoder.build((1, 1, 1), [[-1]], [[7]], [[1]], ring="GF(5)").e_x.num.tolist() == [[4]]
    assert Encoder.build((1, 1, 1), [[0]], ([[0]], 12), [[1]], ring="Z").e_w.den == 1


def test_encoders_cannot_be_changed():
    e = strassen()
    with pytest.raises(ValueError, match="read-only"):
        e.e_x.num[0, 0] = 5
    with pytest.raises(AttributeError):
        e.ring = None


@pytest.mark.parametrize("size", [62, 63, 64, 5000, 16000])
def test_identity_of_huge_integers(size):
    h = 2**size
    one, two = (Encoder.build((1, 1, 1), [[h + i]], [[Fraction(1, h)]], [[1]], ring="Q") for i in range(2))
    assert one.is_exact and not two.is_exact and one != two and len(one.digest) == 64
    with pytest.raises(StlError, match="denominator"):
        one.to_ring("Z")


def test_repr_is_one_line():
    assert repr(strassen()) == "Encoder⟨2,2,2;7⟩ over Z, exact, κ²=4"
    assert "ε²=0.125" in repr(standard(2, 2, 2).drop_terms([0]))
    assert repr(strassen().to_ring("GF(2)")) == "Encoder⟨2,2,2;7⟩ over GF(2), exact"
    assert "\n" not in repr(karatsuba(2)) and "polymul:2x2" in repr(karatsuba(2))


def test_floats_are_views():
    for e in (strassen(), strassen().to_ring("Q(i)"), strassen().to_ring("C128")):
        x, w, d = e.floats()
        assert np.allclose(np.einsum("la,lb,cl->abc", x, w, d), e.target.dense())
    assert strassen().floats(np.float32)[0].dtype == np.float32
    with pytest.raises(StlError, match="real or complex"):
        strassen().to_ring("GF(2)").floats()


GOOD = ([[1]], [[1]], [[1]])


@pytest.mark.parametrize(
    ("factors", "name"),
    [
        (([[1, 2]], [[1]], [[1]]), "Z"),
        (([1], [[1]], [[1]]), "Z"),
        (([[1], [2, 3]], [[1]], [[1]]), "Z"),
        (([[0.5]], [[1]], [[1]]), "Z"),
        (([["1/2"]], [[1]], [[1]]), "Z"),
        (([["1/3"]], [[1]], [[1]]), "Z[1/2]"),
        (([["1/2"]], [[1]], [[1]]), "GF(2)"),
        (([[float("nan")]], [[1]], [[1]]), "R64"),
        (([[float("inf")]], [[1]], [[1]]), "C128"),
        (([[1j]], [[1]], [[1]]), "R64"),
        (([["a"]], [[1]], [[1]]), "R64"),
        ((None, [[1]], [[1]]), "Z"),
        (([[[1, 2, 3]]], [[1]], [[1]]), "Q(i)"),
        ((([[1]], 0), [[1]], [[1]]), "Q"),
        ((([[1]], -2), [[1]], [[1]]), "Q"),
        (([["__import__('os')"]], [[1]], [[1]]), "Q"),
        (([[10**5]], [[1]], ([[1]], 10**5000)), "Z"),
        (GOOD, "no ring"),
        (([[1], [1]], [[1]], [[1]]), "Z"),
        (([[1]], [[1]], [[1, 1]]), "Z"),
    ],
)
def test_bad_factors_are_refused(factors, name):
    with pytest.raises(StlError) as caught:
        Encoder.build((1, 1, 1), *factors, ring=name)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "do",
    [
        lambda e: e.direct_sum(standard(2, 2, 3)),
        lambda e: e.direct_sum(e, "q"),
        lambda e: e.restrict(n=0),
        lambda e: e.restrict(n=3),
        lambda e: e.restrict(n=[0, 0]),
        lambda e: e.restrict(n=[5]),
        lambda e: e.restrict(n=-1),
        lambda e: e.drop_terms([7]),
        lambda e: e.drop_terms([-1]),
        lambda e: e.keep_terms([7]),
        lambda e: e.keep_terms([1.5]),
        lambda e: e.keep_terms([[1]]),
        lambda e: e.change_basis([[1, 1], [1, 1]], np.eye(2, dtype=int), np.eye(2, dtype=int)),
        lambda e: e.change_basis(np.eye(3, dtype=int), np.eye(2, dtype=int), np.eye(2, dtype=int)),
        lambda e: e.to_ring("GF(2)").change_basis([[2, 0], [0, 1]], np.eye(2, dtype=int), np.eye(2, dtype=int)),
        lambda e: e.to_ring("C128").change_basis([[1j, 0], [0, 1]], np.eye(2), np.eye(2)),
        lambda e: e.to_ring("R64").change_basis([[np.nan, 0], [0, 1]], np.eye(2), np.eye(2)),
        lambda e: e.to_ring("R64").change_basis(np.ones((2, 2)), np.eye(2), np.eye(2)),
        lambda e: e([1, 2], [3]),
        lambda e: e.to_ring("Q(i)")(np.eye(2), np.eye(2)),
        lambda e: karatsuba(2).rotate(),
        lambda e: karatsuba(2).format,
    ],
)
def test_bad_operations_are_refused(do):
    with pytest.raises(StlError, match="expected"):
        do(strassen())
