"""`STLLinear`: a linear layer that multiplies through an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stl_algebra.errors import StlError

from . import dispatch, functional, ops
from .codec import Codec, EncoderLike, as_codec

__all__ = ["STLLinear"]

MODES = ("frozen", "trainable")


class STLLinear(nn.Module):
    """``y = STL(x, Wᵀ) + b`` with the weight held encoded, shape (r, ⌈in/m⌉, ⌈out/p⌉).

    Parameters
    ----------
    in_features, out_features : int
        Any sizes; ragged tiles are padded inside.
    encoder : stl_algebra.Encoder or Codec
    bias : bool
    mode : {"frozen", "trainable"}
        "frozen" keeps the encoded weight (and the bias) as buffers; "trainable" makes the encoded weight
        itself the parameter, with r/(mp) times the entries of a dense weight (E_W is then not needed).
    train_codec : bool
        Make E_X and D parameters too (float32 or wider).
    activation : {"", "relu", "gelu", "silu"}
        Fused with the decode pass when no gradient is needed.

    Raises
    ------
    StlError
        For an unknown mode or activation, sizes below one, or an encoder the kernels cannot run.
    """

    w_hat: torch.Tensor
    e_x: torch.Tensor
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
        train_codec: bool = False,
        activation: str = "",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise StlError("mode", mode, "'frozen' (weights encoded once) or 'trainable' (encoded weights learn)")
        if activation not in functional.ACTIVATION_NAMES:
            raise StlError("activation", activation, "one of " + ", ".join(map(repr, functional.ACTIVATION_NAMES)))
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value < 1:
                raise StlError(name, value, "a positive integer")
        codec = as_codec(encoder)
        self.in_features, self.out_features = in_features, out_features
        self.format, self.rank, self.mode, self.activation = codec.format, codec.rank, mode, activation
        self.train_codec = train_codec
        _, m, p = codec.format
        dtype = dtype or torch.get_default_dtype()
        shape = (codec.rank, -(-in_features // m), -(-out_features // p))
        wide = torch.promote_types(dtype, torch.float32)
        real = None if torch.device(device or "cpu").type == "meta" else device
        e_x, _, d = codec.tensors(real or "cpu", wide)
        trainable = mode == "trainable"
        self._hold("w_hat", torch.zeros(shape, device=device, dtype=dtype), trainable)
        self._hold("bias", torch.zeros(out_features, device=device, dtype=dtype) if bias else None, trainable)
        self._hold("e_x", e_x.clone(), train_codec)
        self._hold("d", d.clone(), train_codec)
        fixed_x, _, fixed_d = ("", "", "") if train_codec else codec.recipes
        self.recipes = (fixed_x, fixed_d)
        if trainable and self.w_hat.device.type != "meta":
            self.reset_parameters(codec)

    def _hold(self, name: str, value: torch.Tensor | None, learns: bool) -> None:
        if learns and value is not None:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    @torch.no_grad()
    def reset_parameters(self, encoder: EncoderLike | Codec) -> None:
        """Encode a dense weight drawn as `nn.Linear` draws it, so that the layer starts at STL(x, W)."""
        dense = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.w_hat.device,
            dtype=self.w_hat.dtype,
        )
        self.adopt(dense, encoder)

    @torch.no_grad()
    def adopt(self, linear: nn.Linear, encoder: EncoderLike | Codec) -> None:
        """Replace the encoded weight and the bias by those of a dense layer."""
        codec = as_codec(encoder)
        self.w_hat.copy_(functional.encode_weight(linear.weight.detach().t(), codec))
        if self.bias is not None and linear.bias is not None:
            self.bias.copy_(linear.bias)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        encoder: EncoderLike | Codec,
        mode: str = "frozen",
        *,
        train_codec: bool = False,
        activation: str = "",
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
        if linear.weight.device.type == "meta":
            raise StlError(
                "linear.weight.device",
                "meta",
                "a layer with real weights",
                "Load the checkpoint first, or build STLLinear(..., device='meta') and load its state.",
            )
        functional.check_operand("linear.weight", linear.weight)
        if not bool(torch.isfinite(linear.weight).all()):
            raise StlError("linear.weight", "NaN or Inf", "finite weights")
        if tokens is not None and tokens < 1:
            raise StlError("tokens", tokens, "a positive number of rows", "leave it out to keep the encoder as it is")
        if tokens is not None and mode == "frozen" and not train_codec:
            encoder = dispatch.deepen(encoder, tokens, linear.in_features, linear.out_features, linear.weight.dtype,
                                      linear.weight.device)  # fmt: skip
        layer = cls(
            linear.in_features,
            linear.out_features,
            encoder,
            bias=linear.bias is not None,
            mode="frozen",
            train_codec=train_codec,
            activation=activation,
            device=linear.weight.device,
            dtype=linear.weight.dtype,
        )
        if mode not in MODES:
            raise StlError("mode", mode, "'frozen' (weights encoded once) or 'trainable' (encoded weights learn)")
        layer.adopt(linear, encoder)
        if mode == "trainable":
            layer.mode = mode
            for name in ("w_hat", "bias"):
                value = getattr(layer, name)
                if value is not None:
                    del layer._buffers[name]
                    layer.register_parameter(name, nn.Parameter(value))
        layer.train(linear.training)
        return layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in_features) → (…, out_features)."""
        if x.shape[-1] != self.in_features:
            raise StlError("x.shape", tuple(x.shape), f"a last dimension of {self.in_features}")
        return functional.run(
            x,
            self.w_hat,
            self.e_x,
            self.d,
            self.format,
            self.out_features,
            self.bias,
            self.activation,
            *self.recipes,
        )

    def _apply(self, fn: Any, recurse: bool = True) -> STLLinear:
        """Move or cast like any module, but keep the codec in float32 or wider."""
        keep = {name: getattr(self, name).detach() for name in ("e_x", "d")}
        super()._apply(fn, recurse)
        for name, before in keep.items():
            now = getattr(self, name)
            if now.dtype.itemsize < 4:
                value = before.to(now.device)
                if isinstance(now, nn.Parameter):
                    now.data = value
                else:
                    self._buffers[name] = value
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load like any module; a codec other than the one compiled into the recipes switches those off."""
        before = self.e_x.detach().clone(), self.d.detach().clone()
        super()._load_from_state_dict(*args, **kwargs)
        if not all(torch.equal(a, b.to(a)) for a, b in zip(before, (self.e_x, self.d), strict=True)):
            self.recipes = ("", "")

    def product(self) -> torch.Tensor:
        """The dense (in, out) matrix this layer multiplies by on average: STL applied to the identity."""
        eye = torch.eye(self.in_features, device=self.w_hat.device, dtype=self.w_hat.dtype)
        n, m, p = self.format
        y: torch.Tensor = ops.matmul_encoded(eye, self.w_hat, self.e_x, self.d, None, n, m, p, self.out_features)
        return y

    def extra_repr(self) -> str:
        """One line: sizes, format and rank, mode."""
        n, m, p = self.format
        return (
            f"{self.in_features}, {self.out_features}, ⟨{n},{m},{p};{self.rank}⟩, "
            f"mode={self.mode}, bias={self.bias is not None}"
        )
