"""Plain torch STL: the readable oracle that every kernel is compared with.

Any encoder, any sizes, any strides, every dtype torch can multiply. Rows and columns that do not fill a
tile are padded with zeros, which changes no entry of the product.
"""

from __future__ import annotations

import torch

#: of the tiles, on CUDA: the gradient of the coefficients is a sum over all tiles, and one product for an r × 16 result
#: leaves the card idle
PIECES = 16

__all__ = ["decode", "encode", "matmul_encoded", "tiles", "untiles"]


def tiles(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """Cut a matrix into tiles: (N, K) → (rows·cols, ⌈N/rows⌉, ⌈K/cols⌉), entry (i, k) of each tile first.

    ``out[i*cols + k, a, b] = x[a*rows + i, b*cols + k]``, zero beyond the edges.
    """
    height, width = x.shape
    a, b = -(-height // rows), -(-width // cols)
    if (a * rows, b * cols) != (height, width):
        x = torch.nn.functional.pad(x, (0, b * cols - width, 0, a * rows - height))
    return x.reshape(a, rows, b, cols).permute(1, 3, 0, 2).reshape(rows * cols, a, b)


def untiles(y: torch.Tensor, rows: int, cols: int, height: int, width: int) -> torch.Tensor:
    """Inverse of :func:`tiles`: (rows·cols, a, b) → (height, width), dropping the padding."""
    _, a, b = y.shape
    full = y.reshape(rows, cols, a, b).permute(2, 0, 3, 1).reshape(a * rows, b * cols)
    return full[:height, :width].contiguous()


def _mix(coefficients: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """(s, q) coefficients times (q, a, b) planes → (s, a, b), accumulated in at least float32."""
    wide = torch.promote_types(planes.dtype, torch.float32)
    coefficients, flat = coefficients.to(wide), planes.to(wide).reshape(planes.shape[0], -1)
    if flat.is_cuda and flat.shape[1] >= 2**12 and flat.shape[1] % PIECES == 0:
        pieces = flat.view(len(flat), PIECES, -1).transpose(0, 1)
        mixed = (coefficients.expand(PIECES, -1, -1) @ pieces).transpose(0, 1)
    else:
        mixed = coefficients @ flat
    return mixed.reshape(coefficients.shape[0], *planes.shape[1:]).to(planes.dtype)


def encode(x: torch.Tensor, e: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """Encode every tile: (N, K), (r, rows·cols) → (r, ⌈N/rows⌉, ⌈K/cols⌉)."""
    return _mix(e, tiles(x, rows, cols))


def decode(p: torch.Tensor, d: torch.Tensor, rows: int, cols: int, height: int, width: int) -> torch.Tensor:
    """Decode every tile: (r, a, b), (rows·cols, r) → (height, width)."""
    return untiles(_mix(d, p), rows, cols, height, width)


def matmul_encoded(
    x: torch.Tensor,
    w_hat: torch.Tensor,
    e_x: torch.Tensor,
    d: torch.Tensor,
    n: int,
    m: int,
    p: int,
    width: int,
    bias: torch.Tensor | None = None,
    activation: str = "",
) -> torch.Tensor:
    """STL product with encoded weights: (N, K), (r, ⌈K/m⌉, ⌈M/p⌉) → (N, M).

    ``decode(bmm(encode(x), w_hat))``, then bias and activation ("", "relu", "gelu" (tanh form), "silu").
    """
    products = torch.bmm(encode(x, e_x, n, m), w_hat)
    y = decode(products, d, n, p, x.shape[0], width)
    if bias is not None:
        y = y + bias
    return activate(y, activation)


def activate(y: torch.Tensor, activation: str) -> torch.Tensor:
    """Apply a named activation; the empty name is the identity."""
    if activation == "relu":
        return torch.relu(y)
    if activation == "gelu":
        return torch.nn.functional.gelu(y, approximate="tanh")
    if activation == "silu":
        return torch.nn.functional.silu(y)
    return y
