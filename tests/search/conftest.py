"""What tests of the search share."""

import pytest

from search.core import unit as registry


@pytest.fixture
def families(monkeypatch):
    """The registry, restored afterwards."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry.families()))
    return registry._FAMILIES
