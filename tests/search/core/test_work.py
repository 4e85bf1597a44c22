"""One unit: constructed or optimised, made exact, proven, with an origin; failures are words, not exceptions."""

import numpy as np
import pytest

from search.core.exactly import made_exact
from search.core.unit import Request, Unit, family, register
from search.core.work import KEPT, work
from stl_algebra import Encoder, StlError
from stl_algebra.schemes import strassen, winograd
from stl_algebra.targets import matmul


@pytest.fixture
def toy(families):
    """Register a family for one test: toy(run) returns its unit."""

    def make(run, ring="Q", **settings):
        add = register("toy", groups=("toys",), space="whatever the test needs", run=run, settings={"keep": 1})
        add(lambda request, turn: iter(()))
        return Unit("toy", "none", (2, 2, 2), 7, settings, 0, ring)

    return make


def numerical(encoder, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    factors = [f + noise * rng.standard_normal(f.shape) for f in encoder.floats()]
    return Encoder.build(encoder.target, *factors, ring="R64")


def test_constructed_encoders_get_an_origin(toy):
    unit = toy(lambda u, c: iter([strassen().with_origin(stage="constructed")]))
    outcome = work(unit)
    (e,) = outcome.encoders
    assert outcome.status == "done" and e == strassen() and e.is_exact and outcome.seconds > 0
    assert e.origin["family"] == "toy" and e.origin["lineage"] == "scratch" and e.origin["stage"] == "constructed"
    assert Unit.parse(e.origin["unit"]) == unit and e.origin["key"] == unit.key


def test_the_shift_finds_strassen_rank_and_proves_it():
    units = family("orbit").round(Request("cyclic", format=(2, 2, 2)), 0)
    outcomes = [work(u) for u in units]
    exact = [e for o in outcomes for e in o.encoders if e.is_exact]
    assert exact and all(e.rank == 7 and e.format == (2, 2, 2) for e in exact)
    for o in outcomes:
        counted = o.statistics
        assert counted["restarts"] >= counted["converged"] >= counted["tried"] >= counted["exact"] == len(o.encoders)
        assert all(e.origin["seed"] == o.unit.seed for e in o.encoders)
    fast = min(outcomes, key=lambda o: o.seconds)
    assert [e.digest for e in work(fast.unit).encoders] == [e.digest for e in fast.encoders]


def test_finds_are_read_only_until_enough_are_exact(toy):
    read = []

    def run(unit, context):
        for k in range(5):
            read.append(k)
            yield numerical(strassen() if k else winograd())

    assert len(work(toy(run)).encoders) == 1 and read == [0]
    read.clear()
    assert len(work(toy(run, keep=3)).encoders) == 3 and read == [0, 1, 2]


def test_approximations_and_finds_that_resist_are_told_apart(toy, monkeypatch):
    rough = numerical(strassen(), 0.01)
    outcome = work(toy(lambda u, c: iter([rough])))
    assert outcome.encoders == [rough] and not outcome.resisting and outcome.statistics["tried"] == 0
    assert outcome.encoders[0].origin["stage"] == "polished"
    monkeypatch.setattr("search.core.work.made_exact", lambda *a: (None, "", "no frame"))
    outcome = work(toy(lambda u, c: (numerical(strassen(), 1e-14, k) for k in range(KEPT + 3))))
    assert outcome.encoders == [] and len(outcome.resisting) == KEPT and outcome.statistics["tried"] == KEPT + 3
    assert outcome.message == "not exact: no frame" and outcome.resisting[0].origin["reason"] == "no frame"


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), StlError("a", 1, "two"), MemoryError(), KeyError("x")])
def test_a_family_that_fails_says_so(toy, fault):
    def run(unit, context):
        yield strassen()
        raise fault

    outcome = work(toy(run, keep=2))
    assert outcome.status == "failed" and type(fault).__name__ in outcome.message
    assert outcome.encoders == [strassen()]  # what it had found is kept


def test_time_that_ran_out_is_said(toy):
    outcome = work(toy(lambda u, c: iter([strassen()])), seconds=1e-9)
    assert outcome.status == "cut" and outcome.encoders == [strassen()]


def test_settings_a_family_does_not_have_are_refused(toy):
    outcome = work(toy(lambda u, c: iter(()), colour=1))
    assert outcome.status == "failed" and "colour" in outcome.message


def test_exact_finds_stay_and_refuted_ones_go():
    assert made_exact(strassen()) == (strassen(), "found", "")
    assert made_exact(strassen().drop_terms([0]))[0] is None
    assert made_exact(strassen().to_ring("GF(2)"), ring="GF(2)")[1] == "found"
    lifted, stage, _ = made_exact(strassen().to_ring("GF(2)"))
    assert stage == "lifted" and lifted.is_exact and lifted.ring.name in ("Z", "Q")
    assert made_exact(numerical(strassen()))[1] == "as it stands"
    goal = matmul(2, 2, 2)
    assert goal == strassen().target
