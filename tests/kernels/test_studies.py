"""The studies of `kernels.bench` on residue products and on channels that share operands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels import Codec, as_codec, exact_matmul, reference, stl_matmul
from kernels.bench import merged, residues, ties
from stl_algebra import schemes


@pytest.mark.parametrize("name", ["simplex", "shared", "strassen"])
def test_merged_products_are_the_encoders(name: str) -> None:
    """Distinct rows once, sums inside the product: the same bilinear map, factors between equal rows included."""
    codec = {"simplex": as_codec(schemes.simplex(3)), "strassen": as_codec(schemes.strassen()),
             "shared": merged.shared(12, 4, 6)}[name]  # fmt: skip
    factor = np.where(np.arange(codec.rank) % 2, -1.5, 1.0)[:, None]  # rows that are equal up to a factor
    codec = Codec(codec.format, codec.e_x * factor, codec.e_w, codec.d)
    found = merged.merge(codec)
    assert (len(found.e_x), found.d.shape[1]) == {"simplex": (13, 13), "strassen": (7, 7), "shared": (4, 6)}[name]
    _, m, p = codec.format
    for size in (48, 17):  # what the kernel takes, and what it does not
        x, w = torch.randn(10, size), torch.randn(size, size)
        y = merged.matmul_merged(x, reference.encode(w, torch.tensor(found.e_w).float(), m, p), found, size)
        torch.testing.assert_close(y, stl_matmul(x, w, codec), rtol=1e-4, atol=1e-4)


def test_ties_cost_and_the_error_is_the_tensors() -> None:
    """A tie can only cost; without one a full-rank decomposition is found and its error is zero."""
    free, tied = (ties.tied_errors(20, d, d, restarts=6, steps=60) for d in (20, 5))
    assert float(free[0]) < float(tied[0]) < 1
    assert float(ties.tied_errors(72, 72, 72, restarts=1, steps=60)[0]) < 0.02


def test_what_a_user_has_is_right() -> None:
    """The rival is no straw man's: sums of 13-bit pieces give the integers themselves."""
    for size, modulus in ((2**24, None), (2**31 - 2, 2**31 - 1), (250, 251)):
        a, b = torch.randint(-size, size + 1, (7, 30)), torch.randint(-size, size + 1, (30, 5))
        assert torch.equal(residues.pieces_matmul(a, b, modulus), exact_matmul(a, b, modulus=modulus))


def test_the_study_runs_without_a_gpu() -> None:
    rows = residues.residue_rows(torch.device("cpu"), {}, "test", True)
    assert {r.op for r in rows} == {"fp64", "exact"} and not [r for r in rows if r.metric == "failed"]
    ours = [r for r in rows if r.provider == "residues" and r.mode == "forward" and r.op == "fp64"]
    assert ours and all(r.rel_error is not None and r.rel_error < 1e-14 for r in ours)
