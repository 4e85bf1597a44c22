"""Any finite group by name: its actions become units, and units become encoders."""

import numpy as np
import pytest

from search.core.unit import Request, Unit, families_of, family
from search.core.work import work
from search.families.action import actions_of, described
from search.lm.invariant import Invariant
from search.lm.problem import numbered, parametrisation
from stl_algebra import symmetry


@pytest.mark.parametrize(("name", "fmt"), [("C3", (2, 2, 2)), ("S3", (2, 2, 2)), ("Q8", (4, 2, 4)), ("A4", (3, 3, 3))])
def test_generated_actions_satisfy_the_laws_and_are_found_by_name(name, fmt):
    for found in actions_of(name, fmt)[:4]:
        assert found.verify() < 1e-9
        assert symmetry.action(found.name, fmt).order == found.order


def test_terms_of_a_unit_are_permuted_by_its_group():
    found = actions_of("S3", (2, 2, 2))[0]
    unit = Unit("action", found.name, (2, 2, 2), 7)
    par = parametrisation(unit.with_(counts=numbered(unit)[0]))
    assert isinstance(par, Invariant) and par.rank == 7
    e_x, e_w, d = (np.asarray(f) for f in par.expand(np.random.default_rng(0).standard_normal((1, par.size))))
    tensor = np.einsum("la,lb,cl->abc", e_x[0], e_w[0], d[0])
    for g in found.elements:
        moved = np.einsum("abc,xa,yb,zc->xyz", tensor, *g.maps).transpose(np.argsort(g.slots))
        assert np.allclose(moved, tensor)


def test_strassen_is_found_under_s3_by_name():
    request = Request("S3", "action", 6, (2, 2, 2), 7)
    exact = []
    for turn in range(3):
        for unit in family("action").round(request, turn):
            exact += [e for e in work(unit, seconds=20).encoders if e.ring.exact and e.is_exact]
            if exact:
                assert exact[0].rank == 7 and exact[0].origin["unit"]
                return
    raise AssertionError("no multiset of orbit types of S3 gave rank 7")


def test_what_is_searched_is_described_and_counted():
    rows = described(Request("C3", None, None, (2, 2, 2), 7), (2, 2, 2), 7)
    found = actions_of("C3", (2, 2, 2))
    assert [r["action"] for r in rows] == [a.name for a in found] and all(r["words"] for r in rows)
    types = symmetry.term_types(found[0], 7)
    assert rows[0]["multisets"] == len(list(symmetry.multisets(types, 7)))


def test_rounds_go_through_all_actions_and_on_to_other_multisets():
    request = Request("C2", "action", None, (2, 2, 2), 7)
    rounds = [family("action").round(request, turn) for turn in range(3)]
    able = [a.name for a in actions_of("C2", (2, 2, 2)) if symmetry.count_multisets(symmetry.term_types(a, 7), 7)]
    assert all([u.symmetry for u in units] == able for units in rounds) and len(able) > 6
    spans = [{(u.parameters["first"], u.parameters["many"], u.seed) for u in units} for units in rounds]
    assert spans == [{(0, 9, 0)}, {(9, 18, 1)}, {(27, 36, 2)}]


def test_actions_without_orbits_of_the_rank_are_left_out():
    units = family("action").round(Request("C7", "action", None, (3, 3, 3), 2), 0)
    assert all(numbered(u) for u in units)


@pytest.mark.parametrize("name", ["S3", "V4", "Dih(8)", "SL(2,3)", "all<=8", "S3,D4", "C2^4"])
def test_usual_spellings_reach_the_family(name):
    assert "action" in [f.name for f in families_of(Request(name, None, None, (2, 2, 2), 7))]


@pytest.mark.parametrize("name", ["Z3", "T", "none", "E32/13", "d:1+1", "Z3*c:(12)"])
def test_explicit_symmetries_are_left_to_their_family(name):
    assert "action" not in [f.name for f in families_of(Request(name, None, None, (4, 4, 4), 48))]
