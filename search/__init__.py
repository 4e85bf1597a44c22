"""Discovery of encoders: families of candidates, optimisers, rationalisation, ledger, catalogue, command-line verbs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.discovery import Discovery, discover

__all__ = ["Discovery", "discover"]


def __getattr__(name: str) -> Any:
    """`discover` on first use: a command that answers ``--help`` need not load what a search loads."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(".core.discovery", __name__), name)
    return value
