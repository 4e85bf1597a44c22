"""One BLAS thread for proofs: their many small products are slower on several threads, above all on busy cores."""

from __future__ import annotations

from contextlib import ContextDecorator
from functools import cached_property
from threading import current_thread, main_thread
from typing import Any

import numpy as np

__all__ = ["one_blas_thread"]


class _OneBlasThread(ContextDecorator):
    """Context and decorator; what was set before is put back when the outermost use ends.

    OpenBLAS lets only the main thread of a process set the number, for all threads, so elsewhere nothing is touched.
    """

    def __init__(self) -> None:
        self._before: list[list[int]] = []

    @cached_property
    def _libraries(self) -> list[Any]:
        """What sets the threads of NumPy's BLAS; finding it takes a millisecond, so it is done at the first proof.

        Nothing where threadpoolctl is missing (a machine with an accelerator and little else): proofs are then slower.
        """
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            return []
        np.dot(np.ones((1, 1)), np.ones((1, 1)))  # the library is loaded by now
        return list(ThreadpoolController().select(user_api="blas").lib_controllers)

    def __enter__(self) -> None:
        if current_thread() is main_thread():
            self._before.append([library.get_num_threads() for library in self._libraries])
            for library in self._libraries:
                library.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if current_thread() is main_thread():
            for library, threads in zip(self._libraries, self._before.pop(), strict=True):
                library.set_num_threads(threads)


#: ``with one_blas_thread:`` or ``@one_blas_thread``; entering and leaving cost about 5 µs.
one_blas_thread = _OneBlasThread()
