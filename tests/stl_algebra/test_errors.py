"""Errors travel between processes as what they say, whatever they hold."""

import pickle

import pytest

from stl_algebra import EncoderFileError, StlError


class Local:
    """Cannot be pickled, and says so when asked."""

    def __reduce__(self):
        raise TypeError("never")


@pytest.mark.parametrize("value", [7, "x" * 500, lambda: 0, Local(), 10**5000, [[[1]]]], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("make", [lambda v: StlError("rank", v, "less", "mend it"),
                                  lambda v: EncoderFileError("a.npz", "rank", v, "less", "mend it")])  # fmt: skip
def test_errors_travel_between_processes(make, value):
    error = make(value)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and (again.argument, again.allowed, again.cure) == (
        error.argument, error.allowed, error.cure
    )  # fmt: skip
    assert "\n" not in str(again) and len(str(again)) < 400 and str(again).startswith(("rank = ", "a.npz: rank = "))
