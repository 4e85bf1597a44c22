"""What sharing rows costs in ε²: approximate ⟨4,4,4⟩ encoders with tied rows of E_X and tied columns of D, by ALS.

    python -m kernels.bench.ties --rank 24

Products in one class have the same row of E_X (or column of D); classes are equally large and drawn at random for every
restart. Alternating least squares with a falling ridge, all restarts in one batch, the same for tied and free
encoders: the difference is what the tie costs, not what the best encoder is (`search` finds better ones).
"""

from __future__ import annotations

from typing import Annotated

import torch
import typer

__all__ = ["tied_errors"]

N = 4


def _tensor(device: torch.device) -> torch.Tensor:
    """The matrix product as (16, 16, 16)."""
    eye = torch.eye(N, device=device, dtype=torch.float64)
    return torch.einsum("ip,kq,jr->ikqjpr", eye, eye, eye).reshape(16, 16, 16)


def tied_errors(rank: int, rows: int, columns: int, *, restarts: int = 256, steps: int = 1500,
                device: torch.device | str = "cpu", seed: int = 0) -> torch.Tensor:  # fmt: skip
    """ε² of every restart (restarts,), sorted: ``rows`` distinct rows of E_X, ``columns`` distinct columns of D."""
    device = torch.device(device)
    generator = torch.Generator().manual_seed(seed)
    target = _tensor(device)
    counts = (rows, rank, columns)
    factors = [torch.randn(restarts, c, 16, generator=generator, dtype=torch.float64).to(device) / 4 for c in counts]
    ties = []
    for c in counts:
        classes = torch.stack([torch.randperm(rank, generator=generator) % c for _ in range(restarts)])
        ties.append(torch.nn.functional.one_hot(classes, c).double().transpose(1, 2).to(device))
    for step in range(steps):
        ridge = 10.0 ** (-1 - 5 * step / steps)
        for side in range(3):
            terms, unfolded = _terms(factors, ties, target, side)
            gram = terms @ terms.transpose(1, 2)
            gram.diagonal(dim1=1, dim2=2).add_(ridge)
            factors[side] = torch.linalg.solve(gram, terms @ unfolded + ridge * factors[side])
    terms, unfolded = _terms(factors, ties, target, 0)
    gap = unfolded - terms.transpose(1, 2) @ factors[0]
    return (gap.pow(2).sum((1, 2)) / N**3).sort().values


def _terms(factors: list[torch.Tensor], ties: list[torch.Tensor], target: torch.Tensor,
           side: int) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Sums over each class of the products of the other two factors (restarts, classes, 256), and T unfolded."""
    second, third = ((side + i) % 3 for i in (1, 2))
    u, v = (ties[i].transpose(1, 2) @ factors[i] for i in (second, third))
    both = (u[:, :, :, None] * v[:, :, None, :]).flatten(2)
    return ties[side] @ both, target.permute(second, third, side).reshape(256, 16)


def main(
    rank: Annotated[int, typer.Option(help="number of products")] = 24,
    restarts: Annotated[int, typer.Option(help="random starts")] = 256,
    steps: Annotated[int, typer.Option(help="rounds of least squares")] = 1500,
) -> None:
    """Print the least and the median ε² without ties, with half and with a quarter of the rows and columns."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print("rank  rows  columns  least ε²  median ε²")
    for i, j in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 4)):
        found = tied_errors(rank, rank // i, rank // j, restarts=restarts, steps=steps, device=device)
        least, median = float(found[0]), float(found.median())
        print(f"{rank:4}  {rank // i:4}  {rank // j:7}  {least:8.4f}  {median:9.4f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
