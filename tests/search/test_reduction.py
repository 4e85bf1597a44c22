"""Superfluous terms are found exactly when there are any."""

import numpy as np
import pytest

from search.bases.reduction import dependence, reduced
from stl_algebra import Encoder, StlError, schemes
from stl_algebra.targets import matmul


@pytest.mark.parametrize("name", ["strassen", "winograd", "laderman", "hopcroft"])
def test_good_schemes_have_no_superfluous_term(name):
    encoder = getattr(schemes, name)()
    assert dependence(encoder) is None and reduced(encoder) is encoder


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("ring", ["Z", "GF(2)", "GF(3)"])
def test_a_split_term_is_joined_again(slot, ring):
    """One factor of a term is divided among sums of other terms' pairs: rank 8 again becomes 7."""
    strassen = schemes.strassen()
    rows = [np.array(strassen.e_x.num), np.array(strassen.e_w.num), np.array(strassen.d.num).T]
    rows = [np.concatenate([f, f[:1]]) for f in rows]
    part = np.zeros_like(rows[slot][0])
    part[0] = 1
    rows[slot][0] = rows[slot][0] - part
    rows[slot][-1] = part
    split = Encoder.build((2, 2, 2), rows[0], rows[1], rows[2].T).to_ring(ring)
    assert split.is_exact and split.rank == 8
    joined = reduced(split)
    assert joined.rank == 7 and joined.is_exact and joined.origin["parents"] == [split.digest[:8]]


def test_dependence_with_more_than_two_terms():
    """Four products of a 2×2 frame and a fifth that is their combination."""
    target = matmul(2, 1, 2)
    x = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1]])
    w = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1]])
    d = np.zeros((4, 5), dtype=int)
    d[np.arange(4), np.arange(4)] = 1
    d[0, :4] -= 1
    d[0, 4] = 1  # c0 gets a·b of the fifth minus all four
    encoder = Encoder.build(target, x, w, d)
    assert encoder.is_exact and reduced(encoder).rank == 4 and reduced(encoder).is_exact


def test_other_rings_are_refused():
    with pytest.raises(StlError, match="ring"):
        dependence(schemes.strassen().to_ring("R64"))
