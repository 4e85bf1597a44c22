"""galois arrays and encoders: there and back, the same products, and no import of galois for anything else."""

import subprocess
import sys

import galois
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stl_algebra import Encoder, StlError, fields, load, ring
from stl_algebra.schemes import karatsuba, laderman, strassen, toom_cook

FIELDS = [galois.GF(q) for q in (2, 3, 4, 7, 9, 27)]
OWN = galois.GF(3, 2, irreducible_poly=galois.Poly([1, 0, 1], field=galois.GF(3)))  # not the Conway polynomial


@pytest.mark.parametrize("field", [*FIELDS, OWN], ids=lambda f: f.__name__)
@given(n=st.integers(1, 7), k=st.integers(1, 7), m=st.integers(1, 7), seed=st.integers(0, 99))
def test_products_through_an_encoder_are_the_products(field, n, k, m, seed):
    a, b = field.Random((n, k), seed=seed), field.Random((k, m), seed=seed + 1)
    for encoder in (strassen(), laderman()):
        assert np.array_equal(fields.matmul(encoder, a, b), a @ b)


@pytest.mark.parametrize("field", [*FIELDS, OWN], ids=lambda f: f.__name__)
def test_arrays_convert_both_ways(field):
    base = fields.ring_of(field)
    assert fields.ring_of(fields.galois_field(base)) == base
    every = field(list(range(field.order)))
    assert np.array_equal(fields.elements(fields.coefficients(every), base, field), every)
    factors = fields.factors(strassen(), field)
    encoder = Encoder.build("2x2x2", *factors)
    assert encoder.ring == base and encoder.is_exact
    assert all(np.array_equal(f, g) for f, g in zip(fields.factors(encoder), factors, strict=True))
    a, b = field.Random((2, 2), seed=1), field.Random((2, 2), seed=2)
    assert np.array_equal(encoder(a, b), a @ b)


def test_a_change_of_basis_over_an_extension_field_stays_exact():
    """Our arithmetic of GF(4) and that of galois are one: an encoder moved with galois is proven by us."""
    field = galois.GF(4)
    p = field([[2, 1], [1, 1]])
    x, w, d = fields.factors(strassen(), field)
    moved = field(x.reshape(7, 2, 2)) @ np.linalg.inv(p).T  # A ↦ A·P⁻¹
    other = p.T @ field(w.reshape(7, 2, 2))  # B ↦ P·B
    found = Encoder.build("2x2x2", moved.reshape(7, 4), other.reshape(7, 4), d)
    assert found.is_exact and found != strassen().to_ring("GF(4)")
    a, b = field.Random((2, 2), seed=3), field.Random((2, 2), seed=4)
    assert np.array_equal(found(a, b), a @ b)


def test_other_targets_and_what_does_not_fit():
    field = galois.GF(7)
    a, b = field([1, 2]), field([3, 4])
    assert karatsuba(2)(a, b).tolist() == [3, (4 + 6) % 7, 8 % 7]
    with pytest.raises(StlError, match="inverted"):
        toom_cook(3, 3).to_ring("Q")(galois.GF(2)([1, 0, 1]), galois.GF(2)([1, 1, 1]))
    four = strassen().to_ring("GF(4)")
    with pytest.raises(StlError, match="maps to"):
        four(*(galois.GF(8).Random((2, 2), seed=s) for s in (1, 2)))
    with pytest.raises(StlError, match="one field"):
        four(galois.GF(4).Random((2, 2)), galois.GF(2).Random((2, 2)))
    with pytest.raises(StlError, match="any size"):
        strassen()(field.Random((4, 2)), field.Random((2, 2)))
    with pytest.raises(StlError, match="galois arrays"):
        fields.matmul(strassen(), np.eye(2), np.eye(2))
    with pytest.raises(StlError, match="exact"):
        fields.matmul(strassen().drop_terms([0]), field.Random((2, 2)), field.Random((2, 2)))
    with pytest.raises(StlError, match="over GF"):
        Encoder.build("2x2x2", *fields.factors(strassen(), field), ring="GF(5)")
    assert ring("GF(7)") == fields.ring_of(field)


def test_what_holds_over_gf2_only_acts_there():
    encoder = load("4x4x4", rank=47, ring="GF(2)")
    field = galois.GF(2)
    a, b = field.Random((4, 4), seed=1), field.Random((4, 4), seed=2)
    assert np.array_equal(encoder(a, b), a @ b)
    with pytest.raises(StlError, match="maps to"):
        encoder(*(galois.GF(3).Random((4, 4), seed=s) for s in (1, 2)))


def test_galois_is_not_imported_for_anything_else():
    code = (
        "import sys\nfrom stl_algebra import load\nfrom stl_algebra.schemes import strassen\n"
        "load('4x4x4', rank=47, ring='GF(2)').is_exact\nstrassen()([[1, 2], [3, 4]], [[5, 6], [7, 8]])\n"
        "print('galois' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stdout + done.stderr
