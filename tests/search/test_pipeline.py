"""One unit: constructed or optimised, made exact, proven, with an origin; failures are words, not exceptions."""

import numpy as np
import pytest
from search.core.pipeline import Outcome, run_unit

from search.core import pipeline
from search.core import unit as registry
from search.core.unit import Start, Unit, register
from stl_algebra import Encoder
from stl_algebra.schemes import strassen
from stl_algebra.targets import matmul


@pytest.fixture
def toy(monkeypatch):
    """Register a family for one test: toy(build) returns its unit."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry.families()))

    def make(build, fmt=(2, 2, 2), rank=7, seed=0):
        register("toy", groups=("toys",), space="whatever the test needs", build=build)(lambda request, turn: iter(()))
        return Unit("toy", "T", fmt, rank, {}, seed)

    return make


def test_constructed_encoders_get_an_origin(toy):
    unit = toy(lambda u: Start(matmul(2, 2, 2), encoders=[strassen()]))
    outcome = run_unit(unit)
    (e,) = outcome.encoders
    assert isinstance(outcome, Outcome) and e == strassen() and e.is_exact and outcome.seconds > 0
    assert e.origin["family"] == "toy" and e.origin["from"] == "scratch" and outcome.restarts == 0


def test_z3_finds_strassen_rank_and_proves_it():
    units = list(registry.family("orbit-z3").units(registry.Request("cyclic", format=(2, 2, 2)), 0))
    outcomes = [run_unit(u) for u in units]
    exact = [e for o in outcomes for e in o.encoders if e.is_exact]
    assert exact and all(e.rank == 7 and e.format == (2, 2, 2) for e in exact)
    for o in outcomes:
        assert o.restarts >= o.converged >= o.tried >= o.rationalised == len(o.encoders)
        assert all(e.origin["stage"] == "rationalised" and e.origin["seed"] == o.unit.seed for e in o.encoders)
    fast = min(outcomes, key=lambda o: o.seconds)
    assert [e.digest for e in run_unit(fast.unit).encoders] == [e.digest for e in fast.encoders]


def test_numerical_results_are_kept_only_if_wanted(toy):
    from search.lm import Free

    goal = matmul(1, 2, 1)

    def start(keep):
        return lambda u: Start(goal, parametrisation=Free(goal, 1), restarts=2, iterations=20, keep_numerical=keep)

    unit = toy(start(True), (1, 2, 1), 1)
    (e,) = run_unit(unit).encoders
    assert e.ring.name == "R64" and not e.is_exact and e.origin["stage"] == "polished"
    unit = toy(start(False), (1, 2, 1), 1)
    assert run_unit(unit).encoders == []


def test_a_lying_rationaliser_is_not_believed(toy, monkeypatch):
    """What it calls exact is proven again; a wrong identity never leaves the unit as exact."""
    from types import SimpleNamespace

    work = Start(matmul(2, 2, 2))
    e = strassen()
    wrong = e.e_x.num.copy()
    wrong[0, 0] += 1
    unit = toy(lambda u: work)

    def claims(x):
        return SimpleNamespace(
            success=True, e_x=x, e_w=e.e_w.num, d=e.d.num, den=1, ring="Z", reason="", invariant=True
        )

    import search.exact

    monkeypatch.setattr(search.exact, "rationalise", lambda *a, **k: claims(wrong))
    factors = tuple(np.zeros(1) for _ in range(3))
    assert pipeline.rationalised(work, factors, unit, Outcome(unit)) is None
    monkeypatch.setattr(search.exact, "rationalise", lambda *a, **k: claims(e.e_x.num))
    assert pipeline.rationalised(work, factors, unit, Outcome(unit)) == e
    monkeypatch.setattr(Encoder, "is_exact", True)
    monkeypatch.setattr(search.exact, "rationalise", lambda *a, **k: claims(wrong))
    with pytest.raises(AssertionError):
        assert pipeline.rationalised(work, factors, unit, Outcome(unit)) is None


def test_refusals_of_the_rationaliser_are_told(toy, monkeypatch):
    from types import SimpleNamespace

    import search.exact

    unit = toy(lambda u: Start(matmul(2, 2, 2)))
    outcome = Outcome(unit)
    monkeypatch.setattr(
        search.exact, "rationalise", lambda *a, **k: SimpleNamespace(success=False, reason="no frame")
    )
    assert pipeline.rationalised(Start(matmul(2, 2, 2)), tuple(np.zeros(1) for _ in range(3)), unit, outcome) is None
    assert outcome.message == "not rationalised: no frame"
