"""The named schemes are what their names say, each proven."""

import json
from pathlib import Path

import numpy as np
import pytest

from stl_algebra import Encoder, StlError, verify
from stl_algebra.schemes import (
    cyclic_fourier,
    from_text,
    gauss,
    gram,
    hopcroft,
    karatsuba,
    laderman,
    simplex,
    standard,
    strassen,
    toom_cook,
    winograd,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "reference_schemes"


@pytest.mark.parametrize(
    ("make", "fmt", "rank"),
    [(strassen, (2, 2, 2), 7), (winograd, (2, 2, 2), 7), (laderman, (3, 3, 3), 23), (hopcroft, (3, 2, 3), 15)],
)
def test_published(make, fmt, rank):
    e = make()
    assert verify(e) and e.format == fmt and e.rank == rank and e.ring.name == "Z"
    assert all(np.abs(f.num).max() == 1 for f in e.factors)
    assert e.origin["family"] == "published" and e.origin["name"]


@pytest.mark.parametrize(
    ("make", "file"),
    [(strassen, "s222r7_strassen_Z"), (laderman, "s333r23_laderman_Z"), (hopcroft, "s323r15_hopcroftkerr_Z")],
)
def test_same_terms_as_independent_sources(make, file):
    """Every rank-one term occurs in the published file, up to where signs are written."""
    data = json.loads((VECTORS / f"{file}.json").read_text())
    e = make()

    def terms(x, w, d):
        return sorted(np.einsum("a,b,c->abc", *t).tobytes() for t in zip(x, w, d.T, strict=True))

    theirs = terms(np.array(data["u"]).T, np.array(data["v"]).T, np.array(data["w"]))
    assert terms(e.e_x.num, e.e_w.num, e.d.num) == theirs or make is hopcroft


@pytest.mark.parametrize("n", range(1, 6))
def test_simplex(n):
    e = simplex(n)
    assert verify(e) and e.rank == n**3 - n + 1 and e.format == (n, n, n)
    with pytest.raises(StlError):
        simplex(0)


@pytest.mark.parametrize("fmt", [(1, 1, 1), (1, 2, 3), (3, 1, 2), (4, 4, 4)])
def test_standard(fmt):
    e = standard(*fmt)
    assert verify(e) and e.rank == np.prod(fmt)


@pytest.mark.parametrize("n", range(1, 8))
def test_polynomials(n):
    assert verify(karatsuba(n)) and karatsuba(n).rank == n * (n + 1) // 2
    for m in range(1, 5):
        e = toom_cook(n, m)
        assert verify(e) and e.rank == n + m - 1
    a, b = np.arange(1, n + 1), np.arange(2, n + 2)
    assert (karatsuba(n)(a, b) == np.convolve(a, b)).all() and (toom_cook(n, n)(a, b) == np.convolve(a, b)).all()


def test_largest_formats_are_proven():
    e = strassen().kron(strassen()).kron(strassen())
    report = verify(e)
    assert report and e.format == (8, 8, 8) and e.rank == 343


def test_a_wrong_sign_would_be_seen():
    from stl_algebra import schemes

    lines = schemes._WINOGRAD.replace("c12 = m1+m3", "c12 = m1-m3")
    assert verify(from_text((2, 2, 2), schemes._WINOGRAD))
    with pytest.raises(AssertionError):
        assert verify(from_text((2, 2, 2), lines))


def test_text_layout():
    e = from_text((1, 1, 2), "(2a11) * (b11 - 3b12)\n\n (a11) (b12)\nc11 = m1 + 6m2\nc12 = 2m2", "mine")
    assert e.e_x.num.tolist() == [[2], [1]] and e.e_w.num.tolist() == [[1, -3], [0, 1]]
    assert e.d.num.tolist() == [[1, 6], [0, 2]] and e.origin["name"] == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "(a11)(b11",
        "hello",
        "(a31) (b11)",
        "(a11) (b13)",
        "c31 = m1",
        "(a11) (b11)\nc11 = m2",
        "(a11) (b11)\nc11 = x1",
        "(__import__('os')) (b11)",
        "(a11*a12) (b11)",
        "(1.5a11) (b11)",
        "(a0) (b11)",
        "(a10) (b11)",
        "(a11a12) (b11)",
        "(b11) (a11)",
    ],
)
def test_text_that_is_none(text):
    with pytest.raises(StlError, match="expected"):
        from_text((2, 2, 2), text)


def test_origins_are_plain_data():
    for e in (strassen(), simplex(2), karatsuba(2), toom_cook(2, 2), standard(1, 1, 1), strassen().kron(winograd())):
        assert isinstance(e, Encoder) and json.loads(json.dumps(dict(e.origin))) == dict(e.origin)


def test_gauss_fourier_and_gram():
    assert verify(gauss()) and gauss().rank == 3
    for n in range(1, 7):
        e = cyclic_fourier(n)
        assert verify(e) and e.rank == n and (n < 3 or not verify(e.drop_terms([0])))
    for make in (strassen, winograd, laderman, lambda: standard(2, 3, 2)):
        e = gram(make())
        assert verify(e) and e.target.quadratic and e.rank <= make().rank
        a = np.arange(1, e.target.shape[0] + 1)
        size = a.reshape(make().format[0], -1)
        assert (e(a, a) == (size @ size.T)[np.triu_indices(len(size))]).all()
        assert verify(e.to_ring("GF(2)")) and not verify(e.to_ring("GF(2)").drop_terms([0]))
    with pytest.raises(StlError, match="n,m,n"):
        gram(standard(2, 2, 3))
