"""`fast_matmul`: large products through exact encoders, as `torch.matmul`; `routed` sends torch's own calls there."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from stl_algebra.errors import StlError

from . import functional, ops
from .codec import Codec, EncoderLike, as_codec
from .dispatch import Plan, plan_matmul
from .recipes import parse, tile_of
from .split import matmul_split, split_weight

__all__ = ["fast_matmul", "routed", "staged_matmul"]

SMALL = 2**42  #: entries of A times entries of B below which no plan is made (1448³): nothing ever beat dense there


def fast_matmul(a: torch.Tensor, b: torch.Tensor, encoder: EncoderLike | Codec | str = "auto", *,
                rtol: float | None = None, out: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
    """``torch.matmul(a, b)`` for large matrices, faster where the algebra allows: (…, N, K), (…, K, M) → (…, N, M).

    Levels of Strassen's algorithm (exact; the error is rounding, κ² times the usual variance), in float32 on Hopper
    around products of float16 halves (`kernels.split`), chosen by a cost model within the error budget; small
    products and budgets too tight run densely. `plan_matmul` tells what would be chosen. Differentiable;
    ``torch.compile`` keeps it as one node.

    Parameters
    ----------
    a, b : float64, float32, bfloat16 or float16 tensors of one dtype and device, any strides, batched or not
    encoder : "auto", "dense" or an exact encoder
    rtol : float, optional
        Largest relative (RMS) error allowed; by default 2e-14, 1e-5, 2.5e-2, 3e-3 for fp64, fp32, bf16, fp16.
    out : tensor of the result's shape and dtype, optional

    Raises
    ------
    StlError
        On mismatched dtypes, devices or shapes, or an unknown ``encoder``.

    Examples
    --------
    >>> a, b = torch.randn(2, 30, 40), torch.randn(40, 50)
    >>> torch.equal(fast_matmul(a, b), a @ b)
    True
    """
    if encoder == "auto" and rtol is None:
        try:
            if a.numel() * b.numel() < SMALL:
                return torch.matmul(a, b) if out is None else torch.matmul(a, b, out=out)
        except (AttributeError, RuntimeError):
            _check(a, b)
            raise
    _check(a, b)
    cast = functional.autocast(a, b)
    assert cast[0] is not None and cast[1] is not None
    a, b = cast[0], cast[1]
    if b.dim() > 2:
        return _batched(a, b, encoder, rtol, out)
    flat = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    if torch.compiler.is_compiling():
        text = encoder if isinstance(encoder, str) else _text(as_codec(encoder))
        y: torch.Tensor = _product(flat, b, text, rtol)
        return _into(y.reshape(*a.shape[:-1], b.shape[1]), out)
    plan = _planned(flat, b, encoder, rtol)
    if not plan.stages:
        return torch.matmul(a, b, out=out)
    if out is not None and out.shape == (*a.shape[:-1], b.shape[1]) and out.is_contiguous() and not _learning(a, b):
        _run(flat, b, plan, out.view(flat.shape[0], -1))
        return out
    if all(all(codec.recipes) for codec in plan.stages):
        text = encoder if isinstance(encoder, str) else _text(as_codec(encoder))
        y = _product(flat, b, text, rtol)
    else:
        y = staged_matmul(flat, b, plan.stages)
    return _into(y.reshape(*a.shape[:-1], b.shape[1]), out)


def _planned(a: torch.Tensor, b: torch.Tensor, encoder: EncoderLike | Codec | str, rtol: float | None) -> Plan:
    """The plan for one product of the last two dimensions."""
    (n, k), m = a.shape[-2:], b.shape[-1]
    return plan_matmul(n, k, m, a.dtype, a.device, encoder=encoder, rtol=rtol)


def _learning(*tensors: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _into(y: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
    if out is None:
        return y
    if out.shape != y.shape or out.dtype != y.dtype or out.device != y.device:
        raise StlError("out", f"{out.dtype} {tuple(out.shape)} on {out.device}",
                       f"{y.dtype} {tuple(y.shape)} on {y.device}")  # fmt: skip
    return out.copy_(y)


def _check(a: torch.Tensor, b: torch.Tensor) -> None:
    functional.check_operand("a", a, least=1)
    functional.check_operand("b", b, least=1)
    functional.check_pair("a", a, "b", b)
    if a.shape[-1] != b.shape[0 if b.dim() == 1 else -2]:
        raise StlError("b.shape", tuple(b.shape), f"(…, {a.shape[-1]}, M), to multiply a of width {a.shape[-1]}")


def _batched(a: torch.Tensor, b: torch.Tensor, encoder: Any, rtol: float | None,
             out: torch.Tensor | None) -> torch.Tensor:  # fmt: skip
    """Both operands batched: matrix by matrix where one of them alone is worth a plan, else torch."""
    if a.dim() == 1 or not _planned(a, b, encoder, rtol).stages:
        return torch.matmul(a, b, out=out)
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    lhs, rhs = (t.expand(*lead, *t.shape[-2:]).reshape(-1, *t.shape[-2:]) for t in (a, b))
    parts = [fast_matmul(x, y, encoder, rtol=rtol) for x, y in zip(lhs, rhs, strict=True)]
    return _into(torch.stack(parts).reshape(*lead, a.shape[-2], b.shape[-1]), out)


def _run(a: torch.Tensor, b: torch.Tensor, plan: Plan, out: torch.Tensor | None = None) -> torch.Tensor:
    """(N, K), (K, M) → (N, M) as planned."""
    if plan.split:
        a, b = (t if t.stride(-1) == 1 else t.contiguous() for t in (a, b))
        return matmul_split(a, split_weight(b, plan.stages[0]), out=out)
    y = staged_matmul(a, b, plan.stages) if plan.stages else a @ b
    return y.contiguous() if out is None else out.copy_(y)


def _text(codec: Codec) -> str:
    """A codec as a string, for an operator's argument; :func:`_codec` reads it back."""
    return ";".join(codec.recipes)


@functools.lru_cache(maxsize=64)
def _codec(text: str) -> Codec | str:
    """Inverse of :func:`_text`; "auto" and "dense" stay what they are."""
    if ";" not in text:
        return text
    factors = []
    for part in text.split(";"):
        (s, n, m), whole = (1, 1, 1), torch.ones(1, 1, 1, dtype=torch.float64)
        for s2, n2, m2, values in parse(part):
            inner = torch.tensor(values, dtype=torch.float64).reshape(s2, n2, m2)
            whole = torch.einsum("aij,bkl->abikjl", whole, inner).reshape(s * s2, n * n2, m * m2)
            s, n, m = whole.shape
        factors.append(whole.flatten(1).numpy())
    (_, n, m), (_, _, p) = (tile_of(parse(part)) for part in text.split(";")[:2])
    return Codec((n, m, p), factors[0], factors[1], factors[2].T)


@torch.library.custom_op("stl_algebra::fast_matmul", mutates_args=())
def _product(a: torch.Tensor, b: torch.Tensor, encoder: str, rtol: float | None) -> torch.Tensor:
    return _run(a, b, _planned(a, b, _codec(encoder), rtol))


@_product.register_fake
def _(a: torch.Tensor, b: torch.Tensor, encoder: str, rtol: float | None) -> torch.Tensor:
    return a.new_empty((a.shape[0], b.shape[1]))


def _setup(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    a, b, encoder, rtol = inputs
    ctx.save_for_backward(a, b)
    ctx.rest = encoder, rtol


def _backward(ctx: Any, grad: torch.Tensor) -> Any:
    a, b = ctx.saved_tensors
    encoder, rtol = ctx.rest
    automatic = encoder if ";" not in encoder else "auto"  # the formats of the gradients' products are others
    ga = _product(grad, b.t(), automatic, rtol) if ctx.needs_input_grad[0] else None
    gb = _product(a.t(), grad, automatic, rtol) if ctx.needs_input_grad[1] else None
    return ga, gb, None, None


_product.register_autograd(_backward, setup_context=_setup)


class routed(TorchFunctionMode):
    """Context manager: `torch.matmul`, ``@``, `torch.mm` and `torch.nn.functional.linear` through `fast_matmul`.

    Only for operands of ``dtype`` (float32 unless told otherwise); small products run as before.

    Examples
    --------
    >>> a = torch.randn(8, 8)
    >>> with routed():
    ...     y = a @ a
    >>> torch.equal(y, a @ a)
    True
    """

    def __init__(self, *, dtype: torch.dtype = torch.float32, rtol: float | None = None) -> None:
        super().__init__()
        self.dtype, self.rtol = dtype, rtol

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _ROUTED and len(args) == 2 and not kwargs and self._takes(*args):
            return fast_matmul(*args, rtol=self.rtol)
        if func is torch.nn.functional.linear and len(args) + len(kwargs) <= 3 and len(args) >= 2:
            bias = args[2] if len(args) == 3 else kwargs.get("bias")
            if self._takes(args[0], args[1]):
                y = fast_matmul(args[0], args[1].t(), rtol=self.rtol)
                return y if bias is None else y + bias
        return func(*args, **kwargs)

    def _takes(self, a: Any, b: Any) -> bool:
        return (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.dtype == b.dtype == self.dtype
                and a.device == b.device and not torch.is_autocast_enabled(a.device.type)
                and a.dim() > 0 and b.dim() > 1 and a.numel() * b.numel() >= SMALL)  # fmt: skip


_ROUTED = {torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.__matmul__}


def staged_matmul(a: torch.Tensor, b: torch.Tensor, stages: Sequence[Codec]) -> torch.Tensor:
    """(N, K), (K, M) → (N, M) through codecs applied one inside the other, one encode pass per stage.

    Stage 2 encodes the channels of stage 1 as one tall matrix (rows padded so that tiles do not straddle
    channels), so deep levels need no kernel for a huge tile.
    """
    rows, _inner, cols = a.shape[0], a.shape[1], b.shape[1]
    tn = tm = tp = 1
    for codec in stages:
        n, m, p = codec.format
        tn, tm, tp = tn * n, tm * m, tp * p
    if len(stages) > 1:  # a single stage pads inside the kernels
        a = _pad(a, tn, tm)
        b = _pad(b, tm, tp)
    lhs, rhs = a, b
    shapes = []
    wide = torch.promote_types(a.dtype, torch.float32)
    for codec in stages:
        n, m, p = codec.format
        e_x, e_w, _ = codec.tensors(a.device, wide)
        fixed = codec.recipes
        shapes.append((lhs.shape[0], rhs.shape[1]))
        lhs = ops.encode(lhs, e_x, n, m, fixed[0]).flatten(0, 1)
        rhs = ops.encode(rhs, e_w, m, p, fixed[1]).flatten(0, 1)
    total = 1
    for codec in stages:
        total *= codec.rank
    y = torch.bmm(*(t.view(total, t.shape[0] // total, t.shape[1]) for t in (lhs, rhs)))
    for codec, (height, width) in zip(reversed(stages), reversed(shapes), strict=True):
        n, _, p = codec.format
        d = codec.tensors(a.device, wide)[2]
        y = ops.decode(y.reshape(codec.rank, -1, y.shape[-1]), d, n, p, height, width, None,
                       codec.recipes[2], "")  # fmt: skip
    return y[:rows, :cols]


def _pad(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    extra = (-x.shape[0] % rows, -x.shape[1] % cols)
    return torch.nn.functional.pad(x, (0, extra[1], 0, extra[0])) if any(extra) else x
