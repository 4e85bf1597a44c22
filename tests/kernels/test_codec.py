"""The float view of an encoder: checks, closed forms, the duck type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.codec import Codec, as_codec
from stl_algebra import schemes, scores
from stl_algebra.errors import StlError


def test_closed_forms_agree_with_stl_algebra() -> None:
    for encoder in (schemes.strassen(), schemes.winograd(), schemes.laderman(), schemes.hopcroft()):
        codec = as_codec(encoder)
        assert codec.kappa2 == pytest.approx(scores.kappa2(encoder))
        assert codec.epsilon2 == pytest.approx(scores.epsilon2(encoder), abs=1e-12)
        broken = encoder.drop_terms([0])
        assert as_codec(broken).epsilon2 == pytest.approx(scores.epsilon2(broken), rel=1e-9)


def test_transposed_is_the_encoder_of_the_input_gradient(strassen2: Codec) -> None:
    assert strassen2.transposed().epsilon2 == 0.0
    rect = as_codec(schemes.hopcroft())
    assert rect.transposed().format == (rect.format[0], rect.format[2], rect.format[1])
    assert rect.transposed().epsilon2 == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("factor", ["e_x", "e_w", "d"])
def test_refuses_factors_that_are_not_finite(strassen: Codec, factor: str, bad: float) -> None:
    factors = {name: getattr(strassen, name).copy() for name in ("e_x", "e_w", "d")}
    factors[factor][1, 2] = bad
    with pytest.raises(StlError, match=rf"{factor}\[1, 2\]"):
        Codec((2, 2, 2), **factors)


def test_refuses_wrong_shapes_and_foreign_objects(strassen: Codec) -> None:
    with pytest.raises(StlError, match=r"encoder\.d"):
        Codec((2, 2, 2), strassen.e_x, strassen.e_w, strassen.d[:, :-1])
    with pytest.raises(StlError, match="three positive integers"):
        Codec((2, 2), strassen.e_x, strassen.e_w, strassen.d)  # type: ignore[arg-type]
    with pytest.raises(StlError, match=r"r ≥ 1"):
        Codec((2, 2, 2), strassen.e_x[:0], strassen.e_w[:0], strassen.d[:, :0])
    with pytest.raises(StlError, match="complex"):
        Codec((2, 2, 2), strassen.e_x * 1j, strassen.e_w, strassen.d)
    with pytest.raises(StlError, match=r"stl_algebra\.Encoder"):
        as_codec("strassen")  # type: ignore[arg-type]


def test_any_object_with_format_and_floats_will_do(strassen: Codec) -> None:
    class Duck:
        format = (2, 2, 2)
        rank = 7

        def floats(self, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
            return strassen.floats(dtype)

    assert np.array_equal(as_codec(Duck()).e_x, strassen.e_x)


def test_tensors_are_cached_per_device_and_dtype(strassen: Codec) -> None:
    first = strassen.tensors("cpu", torch.float32)
    assert first[0] is strassen.tensors("cpu", torch.float32)[0]
    assert strassen.tensors("cpu", torch.float64)[0].dtype == torch.float64
