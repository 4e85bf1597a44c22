"""Any finite group by name: its actions become units, and units become encoders."""

import numpy as np
import pytest

from search.core.unit import Request, Unit, families_of, family
from search.core.work import work
from search.families.action import described, multisets_of
from search.lm.generated import actions_of, engine_action, orbit_types_of
from search.lm.groups import named_action
from search.lm.orbits import Invariant, orbit_types
from search.lm.problem import parametrisation
from stl_algebra import symmetry
from stl_algebra.targets import matmul


@pytest.mark.parametrize(("name", "fmt"), [("C3", (2, 2, 2)), ("S3", (2, 2, 2)), ("Q8", (4, 2, 4)), ("A4", (3, 3, 3))])
def test_generated_actions_are_the_engines(name, fmt):
    for found in actions_of(name, fmt)[:4]:
        action = engine_action(found)
        assert action.fixes(matmul(*fmt).dense())
        g, h = 1 % action.order, action.order - 1
        product = action.elements[g] @ action.elements[h]
        there = action.elements[int(action.table[g, h])]
        term = [np.arange(1.0, d + 1) for d in action.dims]
        left, right = product.apply(term), there.apply(term)
        assert np.allclose(np.einsum("a,b,c->abc", *left), np.einsum("a,b,c->abc", *right))
        assert named_action(found.name, fmt).order == found.order


def test_orbit_types_agree_with_the_engines_own():
    for found in actions_of("S3", (2, 2, 2)):
        ours = sorted((t.size, tuple(sorted(t.widths))) for t in orbit_types_of(found))
        own = sorted((t.size, tuple(sorted(t.widths))) for t in orbit_types(engine_action(found)))
        assert ours == own


def test_terms_of_a_unit_are_permuted_by_its_group():
    found = actions_of("S3", (2, 2, 2))[0]
    unit = Unit("action", found.name, (2, 2, 2), 7, {"counts": multisets_of(found, 7, 0, 0)[0]})
    par = parametrisation(unit)
    assert isinstance(par, Invariant) and par.rank == 7
    e_x, e_w, d = (np.asarray(f) for f in par.expand(np.random.default_rng(0).standard_normal((1, par.size))))
    tensor = np.einsum("la,lb,cl->abc", e_x[0], e_w[0], d[0])
    for element in engine_action(found).elements:
        assert np.allclose(element.apply_tensor(tensor), tensor)


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


def test_all_multisets_come_in_turn():
    found = next(a for a in actions_of("S3", (2, 2, 2)) if symmetry.count_multisets(symmetry.term_types(a, 7), 7) < 100)
    total = symmetry.count_multisets(symmetry.term_types(found, 7), 7)
    seen = [tuple(sorted(m.items())) for k in range(0, total, 2) for m in multisets_of(found, 7, k, 0)]
    assert len(set(seen)) == len(seen) == total


@pytest.mark.parametrize("name", ["S3", "V4", "Dih(8)", "SL(2,3)", "all<=8", "S3,D4", "C2^4"])
def test_usual_spellings_reach_the_family(name):
    assert "action" in [f.name for f in families_of(Request(name, None, None, (2, 2, 2), 7))]


@pytest.mark.parametrize("name", ["Z3", "T", "none", "E32/13", "d:1+1", "Z3*c:(12)"])
def test_explicit_symmetries_are_left_to_their_family(name):
    assert "action" not in [f.name for f in families_of(Request(name, None, None, (4, 4, 4), 48))]
