"""Everything that depends on the installed torch or Triton, in one place.

Supported: torch >= 2.9, Triton >= 3.5. Nothing here imports Triton at module import, so the package
imports on machines without it; :func:`triton_status` says what is there and why it may not be usable.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import dataclass

import torch
from torch.autograd import forward_ad

__all__ = [
    "INTERPRET",
    "TritonStatus",
    "fp8_supported",
    "interpreting",
    "is_hopper_or_newer",
    "must_decompose",
    "runs_triton",
    "tf32_products",
    "triton_status",
    "version_tuple",
]

INTERPRET = "TRITON_INTERPRET"  #: environment variable that puts Triton into its CPU interpreter


@dataclass(frozen=True)
class TritonStatus:
    """Whether Triton can be used, its version, and the reason when it cannot."""

    usable: bool
    version: str
    reason: str = ""


def version_tuple(text: str) -> tuple[int, ...]:
    """``"3.6.0+git"`` → ``(3, 6, 0)``: the leading numeric parts of a version string."""
    out: list[int] = []
    for part in text.split("+")[0].split("."):
        digits = ""
        for ch in part:
            if not ch.isdigit():
                break
            digits += ch
        if not digits:
            break
        out.append(int(digits))
    return tuple(out)


@functools.lru_cache(maxsize=1)
def triton_status() -> TritonStatus:
    """Look for Triton once; never raises."""
    if importlib.util.find_spec("triton") is None:
        return TritonStatus(False, "", "triton is not installed (pip install 'stl-algebra[gpu]')")
    try:
        import triton
    except Exception as error:  # a broken install must not break the CPU path
        return TritonStatus(False, "", f"importing triton failed: {error!r}")
    version = triton.__version__
    if version_tuple(version) < (3, 5):
        return TritonStatus(False, version, f"triton {version} is older than 3.5")
    return TritonStatus(True, version)


def interpreting() -> bool:
    """Is Triton's CPU interpreter switched on in this process?"""
    return os.environ.get(INTERPRET, "0") not in ("", "0")


def must_decompose() -> bool:
    """Is somebody looking through the operators: a `torch.func` transform, a forward-mode level, an export?

    Custom operators have a reverse-mode rule only. There the same map runs as plain torch operations, which have every
    rule and every exporter's translation.
    """
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def runs_triton(tensor: torch.Tensor) -> bool:
    """Can Triton kernels read ``tensor``? CUDA memory with Triton, or CPU memory under the interpreter.

    bfloat16 is refused under the interpreter: its dot products there are silently wrong.
    """
    if not triton_status().usable:
        return False
    if tensor.is_cuda:
        return True
    return interpreting() and tensor.device.type == "cpu" and tensor.dtype != torch.bfloat16


def is_hopper_or_newer(device: torch.device | None = None) -> bool:
    """Compute capability 9.0 or above: bulk tensor copies (TMA) and fp8 matrix units."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 9


def tf32_products() -> bool:
    """Does ``@`` of float32 matrices run in TF32 on CUDA? torch has two settings for it and refuses to mix them."""
    own, all_of = torch.backends.cuda.matmul.fp32_precision, getattr(torch.backends, "fp32_precision", "none")
    return (own if own != "none" else all_of) == "tf32"


def fp8_supported(device: torch.device | None = None) -> bool:
    """e4m3 products need compute capability 8.9."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 9)
