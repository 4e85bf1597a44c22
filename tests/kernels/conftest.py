"""Kernel tests run Triton in its CPU interpreter where there is no GPU; that must be set before Triton loads."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from kernels.codec import Codec, as_codec
from stl_algebra import schemes


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs an NVIDIA GPU")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def strassen() -> Codec:
    return as_codec(schemes.strassen())


@pytest.fixture(scope="session")
def strassen2() -> Codec:
    return as_codec(schemes.strassen().kron(schemes.strassen()))


@pytest.fixture(scope="session")
def strassen3() -> Codec:
    s = schemes.strassen()
    return as_codec(s.kron(s).kron(s))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
