"""Settings of the whole suite: one thread per worker, reproducible property tests."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # the workers of pytest-xdist are the parallelism

from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "suite", deadline=None, derandomize=True, max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
settings.load_profile("suite")


def pytest_collection_modifyitems(items):
    """Skip the tests marked gpu where no CUDA device is visible; torch is imported only if there are any."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import pytest
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
