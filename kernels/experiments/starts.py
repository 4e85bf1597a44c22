"""Codecs of one format and rank from different places: what an STL layer may start its training from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stl_algebra import files
from stl_algebra.schemes import strassen

from ..codec import Codec, as_codec

__all__ = ["best", "catalogue", "catalogued", "dropped_products", "equal_gains", "exact", "fourier", "least_squares",
           "plain_starts", "polynomial", "single_rows", "truncated"]  # fmt: skip

TILE = (4, 4, 4)
GAIN = 4.0
TRAINING_NOISE = 1e-3  # weight of κ² against ε² in the choice of a start: a large κ² trained worse at every rank


def matmul_tensor(n: int, m: int, p: int) -> np.ndarray:
    """⟨n,m,p⟩ as a dense (nm, mp, np) array, C not transposed."""
    t = np.zeros((n, m, m, p, n, p))
    i, k, j = np.meshgrid(np.arange(n), np.arange(m), np.arange(p), indexing="ij")
    t[i, k, k, j, i, j] = 1
    return t.reshape(n * m, m * p, n * p)


def least_squares(e_x: np.ndarray, e_w: np.ndarray, tile: tuple[int, int, int] = TILE) -> Codec:
    """The codec of given encodings with the decoder of least ε², terms scaled to equal norms of all three parts."""
    t = matmul_tensor(*tile)
    e_x, e_w = (e / np.linalg.norm(e, axis=1, keepdims=True).clip(1e-12) for e in (e_x, e_w))
    gram = (e_x @ e_x.T) * (e_w @ e_w.T)
    d = np.linalg.lstsq(gram, np.einsum("la,lb,abc->lc", e_x, e_w, t, optimize=True), rcond=1e-8)[0].T
    scale = np.linalg.norm(d, axis=0).clip(1e-6) ** (1 / 3)
    return Codec(tile, e_x * scale[:, None], e_w * scale[:, None], d / scale**2)


def catalogue(folders: Sequence[Path], rank: int) -> dict[str, tuple[Codec, str]]:
    """Real encoders of ⟨4,4,4⟩ in folders of ``.safetensors``: file stem → codec and the group it was found with."""
    out = {}
    for path in sorted(path for folder in folders for path in folder.glob(f"4x4x4_r{rank}_*.safetensors")):
        encoder = files.load(path)
        if encoder.ring.characteristic or "C128" in encoder.ring.name:
            continue
        out[path.stem] = as_codec(encoder), str(encoder.origin.get("group") or encoder.origin.get("family") or "")
    return out


def best(folders: Sequence[Path], rank: int, noise: float = 8.25e-6) -> tuple[Codec, str] | None:
    """The codec of least ε² + noise·κ² at this rank, and its group; None without any.

    By default the error in bf16. For a start of a training `TRAINING_NOISE`, which keeps κ² small.
    """
    found = catalogue(folders, rank).values()
    return min(found, key=lambda pair: pair[0].epsilon2 + noise * pair[0].kappa2, default=None)


def equal_gains(codec: Codec, gain: float = GAIN) -> Codec:
    """The same map with its terms scaled alike: ‖E_X[l]‖ = ‖D[:, l]‖, and Σ_l ‖E_X[l]‖²‖D[:, l]‖² / np = ``gain``.

    Adam moves every encoded weight by the learning rate, whatever its scale. In the output such a step is multiplied by
    ‖E_X[l]‖‖D[:, l]‖, so a codec with large and cancelling terms (large κ²) trains at a larger rate. Four is the gain
    of a dense layer, whose weights are 64 terms of norm 1 in a ⟨4,4,4⟩ tile.

    Examples
    --------
    >>> codec = equal_gains(exact())
    >>> codec.epsilon2, codec.kappa2 == exact().kappa2
    (0.0, True)
    """
    n, _, p = codec.format
    size = (gain * n * p / codec.rank) ** 0.25
    left, right = size / np.linalg.norm(codec.e_x, axis=1), size / np.linalg.norm(codec.d, axis=0)
    return Codec(codec.format, codec.e_x * left[:, None], codec.e_w / (left * right)[:, None], codec.d * right)


def single_rows(rank: int, seed: int) -> Codec:
    """⟨1,4,4;rank⟩: orthonormal rank-one mixes u ⊗ v of inputs and outputs, the best there is, ε² = 1 − rank/16."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
    k, j = np.divmod(rng.permutation(16)[:rank], 4)
    return Codec((1, 4, 4), u[k], np.einsum("lk,lj->lkj", u[k], v[j]).reshape(rank, 16), v[j].T)


def catalogued(folders: Sequence[Path], stem: str) -> Codec | None:
    """An encoder by the name of its file, or None."""
    found = [path for folder in folders for path in folder.glob(f"{stem}.safetensors")]
    return as_codec(files.load(found[0])) if found else None


def exact() -> Codec:
    """Strassen applied twice, ⟨4,4,4;49⟩."""
    return as_codec(strassen().kron(strassen()))


def truncated(rank: int, seed: int) -> Codec:
    """A random ``rank`` of Strassen²'s 49 terms."""
    return _terms(exact(), rank, seed)


def dropped_products(rank: int, seed: int) -> Codec:
    """A random ``rank`` of the 64 products of the standard algorithm."""
    n, m, p = TILE
    i, k, j = (v.ravel() for v in np.meshgrid(range(n), range(m), range(p), indexing="ij"))
    one = np.eye(16)
    return _terms(Codec(TILE, one[i * m + k], one[k * p + j], one[i * p + j].T), rank, seed)


def _terms(codec: Codec, rank: int, seed: int) -> Codec:
    keep = np.random.default_rng(seed).permutation(codec.rank)[:rank]
    return Codec(codec.format, codec.e_x[keep], codec.e_w[keep], codec.d[:, keep])


def polynomial(rank: int, seed: int) -> Codec:
    """Toom–Cook: a_ik ↦ x^i y^k, b_kj ↦ y^(3−k) x^(4j) at ``rank`` random points, read where y has degree 3."""
    rng = np.random.default_rng(seed)
    x, y = np.cos(np.pi * rng.random((2, rank, 1)))
    i = np.arange(4)
    e_x = (x**i)[:, :, None] * (y**i)[:, None, :]
    e_w = (y ** (3 - i))[:, :, None] * (x ** (4 * i))[:, None, :]
    return least_squares(e_x.reshape(rank, 16), e_w.reshape(rank, 16))


def fourier(rank: int, seed: int, tries: int = 100) -> Codec:
    """Cohn–Umans in Z₂⁵ with colliding index maps: a_ik ↦ s_i + t_k, b_kj ↦ t_k + u_j, ``rank`` of 32 characters.

    Best of ``tries`` random maps by ε².
    """
    rng = np.random.default_rng(seed)
    bits = max(5, int(rank - 1).bit_length())
    chi = np.array([[(-1.0) ** (a & b).bit_count() for b in range(2**bits)] for a in range(2**bits)])
    best = None
    for _ in range(tries):
        s, t, u = rng.integers(0, 2**bits, (3, 4))
        rows = rng.permutation(2**bits)[:rank]
        left, right = ((a[:, None] ^ b[None]).ravel() for a, b in ((s, t), (t, u)))
        codec = least_squares(chi[rows][:, left], chi[rows][:, right])
        if best is None or codec.epsilon2 < best.epsilon2:
            best = codec
    assert best is not None
    return best


def _encodings(codec: Codec) -> tuple[np.ndarray, np.ndarray]:
    return codec.e_x, codec.e_w


def plain_starts(rank: int) -> dict[str, Callable[[int], Codec]]:
    """Starts without a search, as functions of the seed."""
    return {
        "random": lambda seed: Codec.random(TILE, rank, seed),
        "random, least squares": lambda seed: least_squares(
            *np.random.default_rng(seed).standard_normal((2, rank, 16))
        ),
        "Strassen² truncated": lambda seed: truncated(rank, seed),
        "Strassen² truncated, least squares": lambda seed: least_squares(*_encodings(truncated(rank, seed))),
        "products dropped": lambda seed: dropped_products(rank, seed),
        "polynomial (Toom)": lambda seed: polynomial(rank, seed),
        "Fourier Z₂⁵": lambda seed: fourier(rank, seed),
    }
