"""`STLLinear`: a linear layer that multiplies through an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stl_algebra.errors import StlError

from . import dispatch, functional, reference
from .codec import Codec, EncoderLike, as_codec
from .recipes import recipe_if_worth_it
from .rows import arrange, check_rows, power_of_two_scales

__all__ = ["MODES", "STLLinear"]

MODES = ("frozen", "trainable", "dense")
CODEC = ("e_x", "e_w", "d")


class STLLinear(nn.Module):
    """``y = STL(x, Wᵀ) + b`` with the weight held encoded, shape (r, ⌈in/m⌉, ⌈out/p⌉).

    Parameters
    ----------
    in_features, out_features : int
        Any sizes; ragged tiles are padded inside.
    encoder : stl_algebra.Encoder or Codec
    bias : bool
    mode : {"trainable", "dense", "frozen"}
        "trainable": the encoded weight itself is the parameter, with r/(mp) times the entries of a dense weight and,
        in general, no dense weight behind it. "dense": the parameter is an ordinary ``weight`` (out, in), encoded at
        every call. "frozen": nothing learns; the encoded weight and the bias are buffers.
    rows : {"tokens", "batch", "none"}
        What the n rows of a tile are. An inexact encoder, or encoded weights that have learned, let them read each
        other: "tokens" mixes neighbouring positions of one sequence (each sequence is padded by itself), "batch" the
        same position of different examples, "none" nothing and needs an encoder of format ⟨1,m,p⟩.
    weight : (out, in) tensor, optional
        Dense weight to start from; by default drawn as `nn.Linear` draws it.
    train_codec : bool
        Make E_X and D parameters too (float32 or wider).
    activation : {"", "relu", "gelu", "silu"}
        Fused with the decode pass when no gradient is needed.
    scale_rows : bool
        Scale every row by a power of two into [½, 1) before encoding and undo it after decoding, so that a row a
        hundred times larger than its tile neighbours does not drown them in rounding. Costs one more pass over x and
        over y. (NaN and Inf reach the neighbours all the same.)

    Raises
    ------
    StlError
        For unknown options, sizes below one, an encoder the kernels cannot run, or a frozen layer without weights
        (on the meta device it may wait for a state to load).

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> layer = STLLinear(6, 4, strassen())
    >>> layer(torch.zeros(3, 5, 6)).shape
    torch.Size([3, 5, 4])
    """

    e_x: torch.Tensor
    e_w: torch.Tensor
    d: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        encoder: EncoderLike | Codec,
        *,
        bias: bool = True,
        mode: str = "trainable",
        rows: str = "tokens",
        weight: torch.Tensor | None = None,
        train_codec: bool = False,
        activation: str = "",
        scale_rows: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise StlError("mode", mode, "'trainable' (encoded weights learn), 'dense' (a dense weight learns) "
                           "or 'frozen' (weights encoded once)")  # fmt: skip
        if activation not in functional.ACTIVATION_NAMES:
            raise StlError("activation", activation, "one of " + ", ".join(map(repr, functional.ACTIVATION_NAMES)))
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value < 1:
                raise StlError(name, value, "a positive integer")
        codec = as_codec(encoder)
        self.rows = check_rows(rows, codec.format[0])
        self.in_features, self.out_features = in_features, out_features
        self.format, self.rank, self.mode, self.activation = codec.format, codec.rank, mode, activation
        self.train_codec, self.scale_rows = train_codec, scale_rows
        meta = torch.device(device or "cpu").type == "meta"
        if mode == "frozen" and weight is None and not meta:
            raise StlError("mode", mode, "weights to freeze", "Use STLLinear.from_linear(layer, encoder), "
                           "pass weight=, or build with device='meta' and load a state.")  # fmt: skip
        dtype = dtype or torch.get_default_dtype()
        factors = codec.tensors("cpu" if meta else device or "cpu", torch.promote_types(dtype, torch.float32))
        for name, factor in zip(CODEC, factors, strict=True):
            self._hold(name, factor.clone(), train_codec and name != "e_w")
        self.recipes = ("", codec.recipes[1], "") if train_codec else codec.recipes
        learns = mode != "frozen"
        dense_shape, shape = (out_features, in_features), self.encoded_shape
        name = "weight" if mode == "dense" else "w_hat"
        self._hold(name, torch.zeros(dense_shape if mode == "dense" else shape, device=device, dtype=dtype), learns)
        self._hold("bias", torch.zeros(out_features, device=device, dtype=dtype) if bias else None, learns)
        if weight is not None:
            self.adopt(weight)
        elif not meta:
            self.reset_parameters()

    def _hold(self, name: str, value: torch.Tensor | None, learns: bool) -> None:
        if learns and value is not None:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    @property
    def encoded_shape(self) -> tuple[int, int, int]:
        """(r, ⌈in/m⌉, ⌈out/p⌉), the shape of the encoded weight."""
        _, m, p = self.format
        return self.rank, -(-self.in_features // m), -(-self.out_features // p)

    @property
    def multiplications(self) -> int:
        """Multiplications of the channel products per row of input (rows that fill their tiles)."""
        r, a, b = self.encoded_shape
        return -(-r * a * b // self.format[0])

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start at STL(x, W) for a dense weight W and a bias drawn as `nn.Linear` draws them."""
        device, dtype = self.e_x.device, (self.w_hat if self.mode != "dense" else self.weight).dtype
        dense = nn.Linear(self.in_features, self.out_features, self.bias is not None, device, dtype)
        self.adopt(dense.weight, dense.bias)

    @torch.no_grad()
    def adopt(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """Take over a dense weight (out, in), encoded unless ``mode="dense"``, and a bias (out)."""
        if tuple(weight.shape) != (self.out_features, self.in_features):
            raise StlError("weight.shape", tuple(weight.shape), f"({self.out_features}, {self.in_features})")
        if self.mode == "dense":
            self.weight.copy_(weight)
        else:
            self.w_hat.copy_(self._encoded(weight.detach()))
        if self.bias is not None and bias is not None:
            self.bias.copy_(bias)

    @torch.no_grad()
    def add_weight(self, delta: torch.Tensor) -> None:
        """Add a dense matrix (out, in) to the weight, through the encoder where the weight is held encoded."""
        if tuple(delta.shape) != (self.out_features, self.in_features):
            raise StlError("delta.shape", tuple(delta.shape), f"({self.out_features}, {self.in_features})")
        if self.mode == "dense":
            self.weight.add_(delta)
        else:
            self.w_hat.add_(self._encoded(delta.detach().to(self.w_hat.dtype)))

    def _encoded(self, weight: torch.Tensor) -> torch.Tensor:
        _, m, p = self.format
        return functional.encode(weight.t(), self.e_w.to(weight.device), m, p, self.recipes[1])

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        encoder: EncoderLike | Codec,
        mode: str = "frozen",
        *,
        rows: str = "tokens",
        train_codec: bool = False,
        activation: str = "",
        scale_rows: bool = False,
        tokens: int | None = None,
    ) -> STLLinear:
        """An `STLLinear` with the weight, bias, dtype and device of a dense layer.

        Parameters
        ----------
        tokens : int, optional
            Rows the layer will see at once. With it the cost model may add an exact Strassen level inside the
            channels of a frozen layer where that is faster (`kernels.deepen`): the same map, 7/4 the memory.

        Raises
        ------
        StlError
            If ``linear`` is not an `nn.Linear`, is on the meta device, or holds NaN or Inf.
        """
        if not isinstance(linear, nn.Linear):
            raise StlError("linear", type(linear).__name__, "a torch.nn.Linear")
        weight = linear.weight
        if weight.device.type == "meta":
            raise StlError(
                "linear.weight.device",
                "meta",
                "a layer with real weights",
                "Load the checkpoint first, or build STLLinear(..., device='meta') and load its state.",
            )
        functional.check_operand("linear.weight", weight)
        if not bool(torch.isfinite(weight).all()):
            raise StlError("linear.weight", "NaN or Inf", "finite weights")
        if tokens is not None and tokens < 1:
            raise StlError("tokens", tokens, "a positive number of rows", "leave it out to keep the encoder as it is")
        if tokens is not None and mode == "frozen" and not train_codec and rows == "tokens":
            encoder = dispatch.deepen(encoder, tokens, linear.in_features, linear.out_features, weight.dtype,
                                      weight.device)  # fmt: skip
        layer = cls(linear.in_features, linear.out_features, encoder, bias=linear.bias is not None, mode=mode,
                    rows=rows, weight=weight.detach(), train_codec=train_codec, activation=activation,
                    scale_rows=scale_rows, device=weight.device, dtype=weight.dtype)  # fmt: skip
        if layer.bias is not None:
            layer.bias.data.copy_(linear.bias.detach())
        return layer.train(linear.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in_features) → (…, out_features)."""
        if x.shape[-1] != self.in_features:
            raise StlError("x.shape", tuple(x.shape), f"a last dimension of {self.in_features}")
        w_hat = self._encoded(self.weight) if self.mode == "dense" else self.w_hat
        x, back = arrange(x, self.rows, self.format[0])
        recipe_x, _, recipe_d = self.recipes
        rest = (w_hat, self.e_x, self.d, self.format, self.out_features)
        if not self.scale_rows:
            return back(functional.run(x, *rest, self.bias, self.activation, recipe_x, recipe_d))
        scales = power_of_two_scales(x)
        y = functional.run(x * scales, *rest, None, "", recipe_x, recipe_d)
        y = y / scales.to(y.dtype)
        return back(reference.activate(y if self.bias is None else y + self.bias.to(y.dtype), self.activation))

    # ------------------------------------------------------------- dense views
    def __getattr__(self, name: str) -> Any:
        """``weight``, where it is no parameter, is the dense view: see `dense_weight`."""
        if name == "weight" and ("w_hat" in self._parameters or "w_hat" in self._buffers):
            return self.dense_weight()
        return super().__getattr__(name)

    def dense_weight(self) -> torch.Tensor:
        """The (out, in) matrix nearest to this layer: rows apart, W minimises E‖STL(x) − xWᵀ‖² over white x.

        Equal to W for an exact encoder. Otherwise it leaves out what a row reads from its tile neighbours, so it
        is a view to look at, to regularise or to initialise from, not the layer.
        """
        if self.mode == "dense":
            return self.weight
        n, m, p = self.format
        e_x, d = self.e_x.reshape(-1, n, m), self.d.reshape(n, p, -1)
        mix = torch.einsum("lik,ijl->lkj", e_x, d) / n
        _, a, b = self.encoded_shape
        wide = torch.einsum("lkj,lab->akbj", mix, self.w_hat.to(mix.dtype)).reshape(a * m, b * p)
        return wide[: self.in_features, : self.out_features].t().to(self.w_hat.dtype)

    def to_dense(self) -> nn.Linear:
        """An `nn.Linear` with `dense_weight` and this layer's bias (an activation fused here is not part of it)."""
        weight = self.dense_weight().detach()
        dense = nn.Linear(self.in_features, self.out_features, self.bias is not None, weight.device, weight.dtype)
        with torch.no_grad():
            dense.weight.copy_(weight)
            if self.bias is not None:
                dense.bias.copy_(self.bias)
        return dense.train(self.training)

    # ------------------------------------------------------------- moving, saving, loading
    def codec(self) -> Codec:
        """The factors as they are now."""
        e_x, e_w, d = (getattr(self, name).detach().double().cpu().numpy() for name in CODEC)
        return Codec(self.format, e_x, e_w, d)

    def _apply(self, fn: Any, recurse: bool = True) -> STLLinear:
        """Move or cast like any module, but the codec keeps its values (``to_empty``) and float32 or wider."""
        keep = {name: getattr(self, name).detach() for name in CODEC}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, before in keep.items():
            now = getattr(self, name)
            if before.device.type == "meta" or now.device.type == "meta":
                continue
            value = before.to(now.device, torch.promote_types(now.dtype, torch.float32))
            if isinstance(now, nn.Parameter):
                now.data = value
            else:
                self._buffers[name] = value
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Load like any module; another codec than the compiled one gets its own recipes, or none if it learns."""
        before = [getattr(self, name).detach().clone() for name in CODEC]
        state_dict.setdefault(prefix + "e_w", self.e_w)  # files of version 0.1 have none
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        after = [getattr(self, name).detach() for name in CODEC]
        if not all(torch.equal(now, was.to(now)) for now, was in zip(after, before, strict=True)):
            self.compile_codec()

    def compile_codec(self) -> None:
        """Derive the fixed-coefficient recipes anew after the codec was changed; a codec that learns has none."""
        n, m, p = self.format
        codec = self.codec()
        fixed = [recipe_if_worth_it(codec.e_w, m, p)]
        if not self.train_codec:
            fixed += [recipe_if_worth_it(codec.e_x, n, m), recipe_if_worth_it(codec.d.T, n, p)]
        e_w, e_x, d = (*fixed, "", "")[:3]
        self.recipes = (e_x, e_w, d)

    def extra_repr(self) -> str:
        """One line: sizes, format and rank, mode, rows."""
        n, m, p = self.format
        return (
            f"{self.in_features}, {self.out_features}, ⟨{n},{m},{p};{self.rank}⟩, "
            f"mode={self.mode}, rows={self.rows}, bias={self.bias is not None}"
        )
