"""The one error users meet at the public boundary: it names the argument, the value and the cure."""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["EncoderFileError", "StlError"]


class StlError(ValueError):
    """A refused input: which argument, what it was, what is allowed, and how to mend it.

    Parameters
    ----------
    argument : str
        Name of the offending argument or file field, as the caller wrote it.
    value : object
        The value found (shortened to 120 characters in the message).
    allowed : str
        What would have been accepted.
    cure : str, optional
        What to do next.
    """

    def __init__(self, argument: str, value: object, allowed: str, cure: str = "") -> None:
        shown = _shown(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        self.argument, self.value, self.allowed, self.cure = argument, value, allowed, cure
        message = f"{argument} = {shown}: expected {allowed}." + (f" {cure}" if cure else "")
        super().__init__(" ".join(message.split()))  # one line, whatever a file's names contain

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes as their arguments; a value that cannot be pickled as what was shown."""
        return _again, (type(self), *self._arguments())

    def _arguments(self) -> tuple[Any, ...]:
        return self.argument, _portable(self.value), self.allowed, self.cure


def _again(kind: type[StlError], *arguments: Any) -> StlError:
    return kind(*arguments)


def _portable(value: object) -> object:
    try:
        pickle.dumps(value)
    except Exception:  # anything may go wrong inside a stranger's object
        return _shown(value)
    return value


def _shown(value: object) -> str:
    """repr that survives what hostile input holds: huge integers and deep nesting."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__} too large to print>"


class EncoderFileError(StlError):
    """An encoder file that cannot be used: names the file, the field, what was found and what is needed."""

    def __init__(self, path: object, field: str, found: object, needed: str, cure: str = "") -> None:
        self.path, self.field = str(path), field
        super().__init__(f"{path}: {field}", found, needed, cure)

    def _arguments(self) -> tuple[Any, ...]:
        return self.path, self.field, _portable(self.value), self.allowed, self.cure
