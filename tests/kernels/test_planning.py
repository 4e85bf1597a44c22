"""The planner and its closed forms: what an encoder is chosen for, and what error it is said to have."""

import numpy as np
import pytest
import torch

from kernels import devices, dispatch
from kernels.codec import as_codec
from kernels.dispatch import DEFAULT_RTOL, plan_matmul
from kernels.rounding import closed_form, staged_error
from stl_algebra.schemes import standard, strassen
from stl_algebra.scores import epsilon2, kappa2, unit_rounding2

BIG = 1 << 15


@pytest.fixture
def hopper(monkeypatch):
    """Rates of a GPU, so that encoders win."""
    data = devices._read(devices.FOLDER / "nvidia_h200.json")
    monkeypatch.setattr(dispatch, "load_device", lambda device=None: data)


@pytest.mark.parametrize("dropped", [1, 3])
def test_an_inexact_encoder_is_never_planned_within_a_small_tolerance(dropped, hopper):
    inexact = standard(2, 2, 2).drop_terms(list(range(dropped)))  # half the work would win at this size
    wide = plan_matmul(BIG, BIG, BIG, torch.float32, "cpu", encoder=inexact, rtol=1.0)
    narrow = plan_matmul(BIG, BIG, BIG, torch.float32, "cpu", encoder=inexact, rtol=1e-5)
    assert narrow.stages == ()
    assert wide.stages and wide.error == pytest.approx((dropped / 8) ** 0.5, rel=1e-3)


def test_the_error_of_stages_is_that_of_their_kronecker_product():
    first, second = strassen().drop_terms([6]), standard(2, 2, 2).drop_terms([0])
    both = as_codec(first.kron(second))
    apart = staged_error([as_codec(first), as_codec(second)], torch.float32, 4096)
    kept = (1 - epsilon2(first)) * (1 - epsilon2(second))
    kappa = kappa2(first) * kappa2(second)
    assert both.kappa2 == pytest.approx(kappa)
    plain = staged_error([], torch.float32, 4096 // 4)
    assert apart == pytest.approx((1 - kept + kappa * plain**2) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("inner", [64, 1000, 4096])
def test_the_accumulator_term_is_what_summing_one_after_the_other_costs(inner):
    """A sum of `inner` products in float32, one after the other, measured; operands rounded as well."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 4000, inner))
    x, w = a.astype(np.float32), b.astype(np.float32)
    total = np.zeros(len(a), dtype=np.float32)
    for k in range(inner):
        total += x[:, k] * w[:, k]
    measured = np.sqrt(((total - (a * b).sum(1)) ** 2).mean() / (a * b).sum(1).var())
    assert closed_form(as_codec(standard(1, 1, 1)), torch.float32, inner) == pytest.approx(measured, rel=0.2)


def test_default_tolerances_admit_a_level_of_strassen_and_no_inexact_encoder():
    for dtype, name in ((torch.float32, "fp32"), (torch.float64, "fp64")):
        assert staged_error([as_codec(strassen())], dtype, 1024) < DEFAULT_RTOL[name]
        assert DEFAULT_RTOL[name] ** 2 < epsilon2(strassen().drop_terms([0]))
    assert unit_rounding2("fp32") < DEFAULT_RTOL["fp32"] ** 2
