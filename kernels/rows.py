"""Which rows share a tile: arranging activations so that no tile straddles two sequences.

An encoder of format ⟨n,m,p⟩ takes n rows of the activation at a time, and an inexact one lets each of them read the
others. Which axis those n rows run along is therefore part of a layer's meaning, not of its layout.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from stl_algebra.errors import StlError

__all__ = ["ROWS", "arrange", "check_rows", "power_of_two_scales"]

#: axis of a tile's n rows: neighbours in the sequence, the same position of neighbours in the batch, or n = 1
ROWS = ("tokens", "batch", "none")


def check_rows(rows: str, n: int) -> str:
    """``rows`` if it is a known axis that tiles of n rows can run along.

    Raises
    ------
    StlError
        For an unknown name, or ``"none"`` with an encoder of more than one row.
    """
    if rows not in ROWS:
        raise StlError("rows", rows, "one of " + ", ".join(map(repr, ROWS)))
    if rows == "none" and n > 1:
        raise StlError("rows", rows, f"'tokens' or 'batch' with tiles of {n} rows",
                       "rows='none' means that no row reads another: take an encoder of format ⟨1,m,p⟩.")  # fmt: skip
    return rows


def arrange(x: torch.Tensor, rows: str, n: int) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Bring the axis of the tiles' rows next to last and fill it up to a multiple of n.

    Parameters
    ----------
    x : (…, T, K)
        ``rows="tokens"`` tiles along T, each sequence padded by itself; ``rows="batch"`` along the first axis, all
        positions by themselves. A matrix (N, K) has one axis of rows, whatever it is.
    rows : {"tokens", "batch", "none"}
    n : int

    Returns
    -------
    (…, T', K) tensor with T' a multiple of n, and the function that takes a result (…, T', M) back to (…, T, M).

    Examples
    --------
    >>> x, back = arrange(torch.zeros(2, 7, 8), "tokens", 4)
    >>> tuple(x.shape), tuple(back(x).shape)
    ((2, 8, 8), (2, 7, 8))
    """
    if n == 1 or x.dim() < 3:
        return x, lambda y: y
    turn = rows == "batch"
    if turn:
        x = x.transpose(0, -2)
    length = x.shape[-2]
    if length % n:
        x = torch.nn.functional.pad(x, (0, 0, 0, -length % n))

    def back(y: torch.Tensor) -> torch.Tensor:
        y = y[..., :length, :]
        return y.transpose(0, -2) if turn else y

    return x, back


def power_of_two_scales(x: torch.Tensor) -> torch.Tensor:
    """(…, K) → (…, 1): the powers of two that bring each row's largest entry into [½, 1); 1 for rows of zeros.

    Multiplying by them is exact (short of underflow), so ``STL(x·s)/s`` is ``STL(x)`` for an exact encoder, without a
    large row's rounding errors reaching the small ones of its tile. They are constants to every derivative.
    """
    most = 15 if x.dtype == torch.float16 else 120  # 2^16 is beyond float16
    x = x.detach()
    if torch.compiler.is_exporting():  # ONNX has no frexp; a logarithm may be off by one at a power of two
        largest = x.abs().amax(-1, keepdim=True).float()
        exponent = torch.where(largest > 0, torch.log2(largest).floor() + 1, 0.0)
    else:
        largest = torch.linalg.vector_norm(x, float("inf"), -1, keepdim=True)  # one pass, no |x| in memory
        exponent = torch.frexp(largest.float()).exponent.to(torch.float32)
    return torch.exp2(-exponent.clamp(-most, most)).to(x.dtype)
