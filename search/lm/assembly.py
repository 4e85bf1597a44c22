"""Structured assembly of the Levenberg–Marquardt normal equations, batched over restarts.

For a CP model T̂ = Σ_l x⁰_l ⊗ x¹_l ⊗ x²_l the derivative along slot s of term o and the derivative along slot
s' of term l have the inner product

    s = s':  δ · Π_{t≠s} ⟨x^t_o, x^t_l⟩            (Hadamard product of two Grams, times the identity)
    s ≠ s':  ⟨x^t_o, x^t_l⟩ · x^s_l ⊗ conj x^{s'}_o    (t the third slot)

so JᴴJ is put together from r×r Grams and outer products, never from a Jacobian with a·b·c rows (Tomasi and De
Lathauwer 2013, §4).  When the terms form orbits of a group that acts by isometries and fixes T, the residual is
invariant, every image of a representative contributes the same, and only the rows of the representatives are
formed: block (o, o') of the tied system is |orbit o| · Σ_{l in orbit o'} of the above, contracted with the maps
of the orbit types.  Complex factors use conjugates throughout (T̂ is holomorphic in θ).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stl_algebra.errors import StlError

from .compiled import make_plan
from .linalg import triton_kernels
from .parametrisation import Parametrisation

__all__ = ["Model"]


def _split(x: Tensor, dim: int, *sizes: int) -> Tensor:
    """A view with one axis split in two (also of non-contiguous tensors)."""
    view: Tensor = x.unflatten(dim, sizes)
    return view


@dataclass(frozen=True)
class _Cell:
    """Contributions to one block pair: row block of a representative, column block of another orbit type."""

    row_type: int
    row_start: int
    row_width: int
    col_type: int
    col_start: int
    col_width: int
    same: tuple[tuple[int, Tensor], ...]  # (slot, terms of the column orbit)
    same_maps: Tensor | None  # (len(same), row_width, col_width); None when each is a multiple of the identity
    same_factors: Tensor  # (len(same),) these multiples, used when same_maps is None
    cross: tuple[tuple[int, int, Tensor, Tensor], ...]  # (row slot, column slot, terms, their maps side by side)


class Model:
    """Expansion, residual, gradient and Gram of one parametrisation on one device.

    Parameters
    ----------
    parametrisation : Parametrisation
    target : (a, b, c) array
    device : str or torch.device
    """

    def __init__(self, parametrisation: Parametrisation, target: Any, device: str | torch.device = "cpu") -> None:
        if tuple(target.shape) != parametrisation.dims:
            raise StlError(
                "parametrisation",
                parametrisation.dims,
                f"slots of lengths {tuple(target.shape)}",
                "build it for this target",
            )
        if np.iscomplexobj(target) and parametrisation.field == "real":
            raise StlError("target", "complex entries", "a real tensor", 'use field="complex"')
        self.par = parametrisation
        self.device = torch.device(device)
        self.dtype = torch.complex128 if parametrisation.field == "complex" else torch.float64
        self.target = self._tensor(target)
        self.norm2 = float(np.linalg.norm(target) ** 2)
        self.metric = torch.as_tensor(parametrisation.metric(), device=self.device)
        self._starts = parametrisation.offsets()
        self._maps = [
            [[self._tensor(m) for _, m in term] for term in orbit.maps] for orbit, _ in parametrisation.orbits
        ]
        self._conj = [[m.conj().resolve_conj() for m in maps[0]] for maps in self._maps]
        self._expansions = [self._expansion(i) for i in range(len(parametrisation.orbits))]
        self._kernel = self._gram_kernel(target)
        self._cells = [] if self._kernel is not None else self._plan()  # the kernel has a plan of its own

    @property
    def capturable(self) -> bool:
        """Whether a step launches only kernels that a CUDA graph can hold (the library's solvers allocate)."""
        return self._kernel is not None

    def _gram_kernel(self, target: Any) -> Any:
        """The Triton kernel for real models on CUDA; None where it does not apply or there is no Triton."""
        kernels = triton_kernels("cuda") if self.device.type == "cuda" and self.dtype == torch.float64 else None
        return kernels.GramKernel(make_plan(self.par, target), self.device) if kernels is not None else None

    def _tensor(self, array: Any) -> Tensor:
        """A numpy array on this model's device in its dtype."""
        array = np.asarray(array)
        if self.dtype == torch.float64:
            array = array.real
        return torch.as_tensor(np.ascontiguousarray(array), device=self.device).to(self.dtype)

    # -- expansion -----------------------------------------------------------------------------------------

    def _expansion(self, i: int) -> list[tuple[list[tuple[int, int, Tensor]], Tensor | None]]:
        """Per slot: the (block, terms, stacked maps) products to form and the order that sorts their terms."""
        orbit, _ = self.par.orbits[i]
        out: list[tuple[list[tuple[int, int, Tensor]], Tensor | None]] = []
        for s in range(3):
            parts, order = [], []
            for block in range(len(orbit.widths)):
                terms = [j for j, term in enumerate(orbit.maps) if term[s][0] == block]
                if terms:
                    maps = np.concatenate([orbit.maps[j][s][1].T for j in terms], axis=1)
                    parts.append((block, len(terms), self._tensor(maps)))
                    order += terms
            sort = None if order == sorted(order) else torch.as_tensor(np.argsort(order), device=self.device)
            out.append((parts, sort))
        return out

    def _blocks(self, theta: Tensor, i: int) -> list[Tensor]:
        """Blocks (R, count, width) of orbit type i."""
        orbit, count = self.par.orbits[i]
        return [
            _split(theta[:, at : at + width * count], 1, count, width)
            for at, width in zip(self._starts[i], orbit.widths, strict=True)
        ]

    def terms(self, theta: Tensor) -> list[list[Tensor]]:
        """Factors of all terms: per orbit type and slot an array (R, count, size, dim)."""
        out = []
        for i, expansion in enumerate(self._expansions):
            blocks = self._blocks(theta, i)
            slots = []
            for s, (parts, sort) in enumerate(expansion):
                images = [_split(blocks[b] @ maps, 2, n, self.par.dims[s]) for b, n, maps in parts]
                stacked = images[0] if len(images) == 1 else torch.cat(images, dim=2)
                slots.append(stacked if sort is None else stacked.index_select(2, sort))
            out.append(slots)
        return out

    def flat(self, terms: list[list[Tensor]]) -> list[Tensor]:
        """Slots (R, r, dim) of all terms together."""
        return [torch.cat([t[s].flatten(1, 2) for t in terms], dim=1) for s in range(3)]

    # -- objective pieces ----------------------------------------------------------------------------------

    def residual(self, terms: list[list[Tensor]]) -> Tensor:
        """T − T̂, shape (R, a, b, c)."""
        x, y, z = self.flat(terms)
        left = (x.transpose(1, 2)[:, :, None, :] * y.transpose(1, 2)[:, None, :, :]).flatten(1, 2)
        a, b, _ = self.par.dims
        return self.target - _split(torch.bmm(left, z), 1, a, b)

    def strengths(self, terms: list[list[Tensor]]) -> list[list[Tensor]]:
        """Squared norms of the representatives' factors, per orbit type and slot (R, count)."""
        return [[t[:, :, 0].abs().square().sum(-1) for t in slots] for slots in terms]

    def kappa(self, strengths: list[list[Tensor]]) -> Tensor:
        """Σ_l ‖E_X[l]‖² ‖E_W[l]‖² ‖D[:,l]‖², shape (R,)."""
        total = sum(
            orbit.size * (s[0] * s[1] * s[2]).sum(1) for (orbit, _), s in zip(self.par.orbits, strengths, strict=True)
        )
        assert isinstance(total, Tensor)
        return total

    def gradient(self, terms: list[list[Tensor]], residual: Tensor) -> Tensor:
        """Jᴴ(T − T̂): the descent direction of ½‖T − T̂‖² in θ, shape (R, size)."""
        reps = [torch.cat([t[s][:, :, 0] for t in terms], dim=1).conj() for s in range(3)]
        a, b, _ = self.par.dims
        third = _split(torch.bmm(residual.flatten(1, 2), reps[2].transpose(1, 2)), 1, a, b)  # (R, a, b, K)
        by_slot = [
            torch.einsum("xabk,xkb->xka", third, reps[1]),
            torch.einsum("xabk,xka->xkb", third, reps[0]),
            torch.bmm((reps[0][:, :, :, None] * reps[1][:, :, None, :]).flatten(2, 3), residual.flatten(1, 2)),
        ]
        return self._pull_back(by_slot)

    def _pull_back(self, by_slot: list[Tensor]) -> Tensor:
        """Sum over the slots fed by each block of |orbit| · Mᴴ g, shape (R, size)."""
        parts, at = [], 0
        for (orbit, count), conj in zip(self.par.orbits, self._conj, strict=True):
            sums: list[Tensor | None] = [None] * len(orbit.widths)
            for s, (block, _) in enumerate(orbit.maps[0]):
                g = by_slot[s][:, at : at + count] @ conj[s]
                old = sums[block]
                sums[block] = g if old is None else old + g
            parts += [g.flatten(1) * orbit.size for g in sums if g is not None]
            at += count
        return torch.cat(parts, dim=1)

    def kappa_ridge(self, strengths: list[list[Tensor]]) -> Tensor:
        """Diagonal weights h (R, size) with ∂(Σ‖·‖²‖·‖²‖·‖²)/∂θ = 2 h θ: each slot is a ridge in itself."""
        parts = []
        for (orbit, _), s in zip(self.par.orbits, strengths, strict=True):
            others = [s[1] * s[2], s[0] * s[2], s[0] * s[1]]
            for block, width in enumerate(orbit.widths):
                total = torch.zeros_like(others[0])
                for slot, (b, matrix) in enumerate(orbit.maps[0]):
                    if b == block:
                        total = total + others[slot] * (float(np.linalg.norm(matrix) ** 2) / width)
                parts.append((total * orbit.size)[:, :, None].expand(-1, -1, width).flatten(1))
        return torch.cat(parts, dim=1)

    # -- Gram ----------------------------------------------------------------------------------------------

    def _plan(self) -> list[_Cell]:
        """The lower-triangular block pairs and what each is made of."""
        spans = [
            (i, block, self._starts[i][block], width)
            for i, (orbit, _) in enumerate(self.par.orbits)
            for block, width in enumerate(orbit.widths)
        ]
        cells = []
        for p, (i, block, start, width) in enumerate(spans):
            rep = self.par.orbits[i][0].maps[0]
            for i2, block2, start2, width2 in spans[: p + 1]:
                same: dict[int, list[int]] = {}
                cross: dict[tuple[int, int], list[int]] = {}
                maps: list[Any] = []
                column = self.par.orbits[i2][0].maps
                for s in (s for s in range(3) if rep[s][0] == block):
                    for s2, j in ((s2, j) for s2 in range(3) for j, t in enumerate(column) if t[s2][0] == block2):
                        if s != s2:
                            cross.setdefault((s, s2), []).append(j)
                            continue
                        product = rep[s][1].conj().T @ column[j][s][1]
                        if np.abs(product).max() > 1e-12:
                            same.setdefault(s, []).append(j)
                            maps.append(product)
                scalars = [m[0, 0] for m in maps]
                diagonal = width == width2 and all(
                    np.abs(m - x * np.eye(width)).max() < 1e-12 for m, x in zip(maps, scalars, strict=True)
                )
                cells.append(
                    _Cell(
                        i,
                        start,
                        width,
                        i2,
                        start2,
                        width2,
                        tuple((s, torch.as_tensor(js, device=self.device)) for s, js in same.items()),
                        self._tensor(np.stack(maps)) if maps and not diagonal else None,
                        self._tensor(np.asarray(scalars)),
                        tuple(
                            (
                                s,
                                s2,
                                torch.as_tensor(js, device=self.device),
                                self._tensor(np.concatenate([column[j][s2][1] for j in js], axis=1)),
                            )
                            for (s, s2), js in cross.items()
                        ),
                    )
                )
        return cells

    def gram(self, terms: list[list[Tensor]], out: Tensor) -> Tensor:
        """Lower block triangle of JᴴJ written into `out` (R, ≥ size, size); the rest of `out` is not touched."""
        if self._kernel is not None:
            self._kernel(self.flat(terms), out)
            return out
        reps = [[slot[:, :, 0] for slot in slots] for slots in terms]
        inner = [
            [
                [torch.einsum("xkd,xljd->xklj", reps[i][s].conj(), terms[i2][s]) for s in range(3)] if i2 <= i else []
                for i2 in range(len(terms))
            ]
            for i in range(len(terms))
        ]
        for cell in self._cells:
            self._fill(cell, terms, reps, inner[cell.row_type][cell.col_type], out)
        return out

    def _fill(
        self,
        cell: _Cell,
        terms: list[list[Tensor]],
        reps: list[list[Tensor]],
        inner: list[Tensor],
        out: Tensor,
    ) -> None:
        """One block pair of the Gram."""
        orbit, k = self.par.orbits[cell.row_type]
        l = self.par.orbits[cell.col_type][1]
        q, q2 = cell.row_width, cell.col_width
        view = out[:, cell.row_start : cell.row_start + k * q, cell.col_start : cell.col_start + l * q2]
        view = _split(_split(view, 2, l, q2), 1, k, q)  # (R, k, q, l, q2)
        lefts, rights = [], []
        for s, s2, js, maps in cell.cross:
            image = terms[cell.col_type][s][:, :, js] @ self._conj[cell.row_type][s]  # (R, l, J, q)
            gram = inner[3 - s - s2][..., js] * orbit.size  # (R, k, l, J)
            lefts.append(gram[:, :, None] * image.permute(0, 3, 1, 2)[:, None])  # (R, k, q, l, J)
            rights.append(_split(reps[cell.row_type][s2].conj() @ maps, 2, len(js), q2))  # (R, k, J, q2)
        if not lefts:
            view.zero_()
        else:
            left = lefts[0] if len(lefts) == 1 else torch.cat(lefts, dim=-1)
            right = rights[0] if len(rights) == 1 else torch.cat(rights, dim=2)
            if left.shape[-1] <= 2:
                torch.mul(left[..., :1], right[:, :, None, None, 0], out=view)
                for j in range(1, left.shape[-1]):
                    view.addcmul_(left[..., j, None], right[:, :, None, None, j])
            else:
                view.copy_(_split(left.flatten(2, 3) @ right, 2, q, l))
        if cell.same:
            parts = [inner[(s + 1) % 3][..., js] * inner[(s + 2) % 3][..., js] for s, js in cell.same]
            coefficients = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)) * orbit.size  # (R, k, l, J)
            if cell.same_maps is None:
                view.diagonal(dim1=2, dim2=4).add_((coefficients @ cell.same_factors)[..., None])
            else:
                product = coefficients @ cell.same_maps.flatten(1)
                view.add_(_split(product, 3, q, q2).transpose(2, 3))
