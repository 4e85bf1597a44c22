"""The float view of an encoder that the kernels run: three checked matrices and their tile format."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from stl_algebra import Encoder
from stl_algebra.errors import StlError

from .recipes import recipe_if_worth_it

__all__ = ["SUPPORTED_DTYPES", "Codec", "EncoderLike", "as_codec"]

SUPPORTED_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@runtime_checkable
class EncoderLike(Protocol):
    """What the kernels need of an encoder; `stl_algebra.Encoder` satisfies it."""

    @property
    def format(self) -> tuple[int, int, int]: ...

    @property
    def rank(self) -> int: ...

    def floats(self, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class Codec:
    """Factors of a bilinear algorithm as float64 arrays.

    Parameters
    ----------
    format : (n, m, p)
        Tile format: A is n×m, B is m×p, C is n×p (not transposed), all vectorised row-major.
    e_x : (r, n·m) float64
    e_w : (r, m·p) float64
    d : (n·p, r) float64
        vec(C) = d · ((e_x vec A) ⊙ (e_w vec B)).

    Attributes
    ----------
    recipes : (str, str, str)
        E_X, E_W and Dᵀ as fixed-coefficient recipes; an empty one means the dense kernel is the better choice.

    Raises
    ------
    StlError
        If shapes disagree, the rank is zero, or an entry is NaN, infinite or complex.
    """

    format: tuple[int, int, int]
    e_x: np.ndarray
    e_w: np.ndarray
    d: np.ndarray
    recipes: tuple[str, str, str] = field(init=False, repr=False)
    _views: dict[tuple[str, torch.dtype], tuple[torch.Tensor, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if len(self.format) != 3 or any(int(v) != v or v < 1 for v in self.format):
            raise StlError("encoder.format", self.format, "three positive integers (n, m, p)")
        n, m, p = (int(v) for v in self.format)
        object.__setattr__(self, "format", (n, m, p))
        for name in ("e_x", "e_w", "d"):
            raw = np.asarray(getattr(self, name))
            if np.iscomplexobj(raw):
                if raw.size and np.abs(raw.imag).max() > 0:
                    raise StlError(
                        f"encoder.{name}",
                        "complex entries",
                        "real factors",
                        "The kernels run real encoders; use a real form of this one.",
                    )
                raw = raw.real
            value = np.array(raw, dtype=np.float64)
            if not np.isfinite(value).all():
                where = tuple(int(v) for v in np.argwhere(~np.isfinite(value))[0])
                raise StlError(
                    f"encoder.{name}{list(where)}",
                    float(value[where]),
                    "finite factors",
                    "Polish or re-export the encoder; it holds NaN or Inf.",
                )
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if self.e_x.ndim != 2 or self.e_x.shape[0] < 1:
            raise StlError("encoder.e_x", self.e_x.shape, "an (r, n·m) matrix with r ≥ 1")
        r = self.e_x.shape[0]
        for name, shape in (("e_x", (r, n * m)), ("e_w", (r, m * p)), ("d", (n * p, r))):
            found = getattr(self, name).shape
            if found != shape:
                raise StlError(f"encoder.{name}", found, f"shape {shape} for format {self.format}, rank {r}")
        fixed = ((self.e_x, n, m), (self.e_w, m, p), (self.d.T, n, p))
        # now, not at first use: a compiler tracing a caller must find plain strings
        object.__setattr__(self, "recipes", tuple(recipe_if_worth_it(*f) for f in fixed))

    @property
    def rank(self) -> int:
        """Number of multiplications r."""
        return int(self.e_x.shape[0])

    def floats(self, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(e_x, e_w, d)`` in ``dtype``."""
        return self.e_x.astype(dtype), self.e_w.astype(dtype), self.d.astype(dtype)

    def tensors(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``(e_x, e_w, d)`` on ``device``; copied once per device and dtype, do not write into them."""
        key = (str(torch.device(device)), dtype)
        if key not in self._views:
            self._views[key] = tuple(torch.tensor(v, dtype=dtype, device=device) for v in (self.e_x, self.e_w, self.d))
        e_x, e_w, d = self._views[key]
        return e_x, e_w, d

    @functools.cached_property
    def kappa2(self) -> float:
        """κ² = Σ_l ‖E_X[l]‖²‖E_W[l]‖²‖D[:,l]‖² / (nmp), the rounding amplification."""
        n, m, p = self.format
        norms = (self.e_x**2).sum(1) * (self.e_w**2).sum(1) * (self.d**2).sum(0)
        return float(norms.sum() / (n * m * p))

    @functools.cached_property
    def epsilon2(self) -> float:
        """ε² = ‖T̂ − T‖² / (nmp), from Gram matrices (no tensor is formed): 0 for an exact encoder."""
        n, m, p = self.format
        gram = (self.e_x @ self.e_x.T) * (self.e_w @ self.e_w.T) * (self.d.T @ self.d)
        x, w, d = self.e_x.reshape(-1, n, m), self.e_w.reshape(-1, m, p), self.d.T.reshape(-1, n, p)
        inner = np.einsum("lik,lkj,lij->", x, w, d, optimize=True)
        value = (gram.sum() - 2 * inner + n * m * p) / (n * m * p)
        return 0.0 if abs(value) < 1e-12 * max(1.0, abs(gram).sum() / (n * m * p)) else float(value)

    @classmethod
    def random(cls, format: tuple[int, int, int], rank: int, seed: int = 0) -> Codec:
        """Dense Gaussian factors with unit rows on average: the cost of any encoder, the error of none.

        For tests and timing; its ε² is above one.
        """
        n, m, p = format
        rng = np.random.default_rng(seed)
        shapes = ((rank, n * m), (rank, m * p), (n * p, rank))
        return cls(format, *(rng.standard_normal(s) / (s[1] if i < 2 else s[0]) ** 0.5 for i, s in enumerate(shapes)))

    def kron(self, inner: Codec) -> Codec:
        """Kronecker product: every entry of this codec's tile becomes a tile of ``inner``; ranks multiply."""

        def product(outer: np.ndarray, tile: tuple[int, int], matrix: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
            both = np.einsum("aij,bkl->abikjl", outer.reshape(-1, *tile), matrix.reshape(-1, *cell))
            return both.reshape(outer.shape[0] * matrix.shape[0], -1)

        n, m, p = self.format
        a, b, c = inner.format
        return Codec(
            (n * a, m * b, p * c),
            product(self.e_x, (n, m), inner.e_x, (a, b)),
            product(self.e_w, (m, p), inner.e_w, (b, c)),
            product(self.d.T, (n, p), inner.d.T, (a, c)).T,
        )

    def transposed(self) -> Codec:
        """The encoder of the input gradient: gX = STL(gY, Wᵀ) with factors (Dᵀ, E_Wᵗ, E_Xᵀ), format (n,p,m)."""
        n, m, p = self.format
        e_w = self.e_w.reshape(-1, m, p).transpose(0, 2, 1).reshape(-1, m * p)
        return Codec((n, p, m), self.d.T, e_w, self.e_x.T)


def as_codec(encoder: EncoderLike | Codec) -> Codec:
    """Any encoder (`stl_algebra.Encoder`, a `Codec`, or a duck type) as a checked `Codec`.

    Raises
    ------
    StlError
        If the object lacks ``format`` or ``floats()``, or its factors are refused by `Codec`.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> codec = as_codec(strassen())
    >>> codec.format, codec.rank, codec.epsilon2
    ((2, 2, 2), 7, 0.0)
    """
    if isinstance(encoder, Codec):
        return encoder
    if not (hasattr(encoder, "format") and hasattr(encoder, "floats")):
        raise StlError(
            "encoder",
            type(encoder).__name__,
            "an stl_algebra.Encoder (with .format and .floats())",
            "Load one with stl_algebra.files.load or build it by name in stl_algebra.schemes.",
        )
    if torch.compiler.is_compiling():
        raise StlError("encoder", "an encoder inside a compiled region", "a kernels.Codec",
                       "Convert once outside: codec = kernels.as_codec(encoder).")  # fmt: skip
    return _convert(encoder) if isinstance(encoder, Encoder) else _convert.__wrapped__(encoder)


@functools.lru_cache(maxsize=64)
def _convert(encoder: EncoderLike) -> Codec:
    """Cached for `stl_algebra.Encoder`, which is frozen and hashes by content; other objects may change."""
    e_x, e_w, d = encoder.floats()
    n, m, p = encoder.format
    return Codec((n, m, p), e_x, e_w, d)
