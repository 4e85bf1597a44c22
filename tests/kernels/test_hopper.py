"""The specialised kernel without its card: it compiles for Hopper with the Triton that is here, and spills nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton.experimental.gluon")

COMPILE = """
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

class Card:
    utils = None
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))
    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda device=0: 0)

driver.set_active(Card())
from kernels.triton import hopper

kept = []

class Warm:
    def __getitem__(self, grid):
        return lambda *args, **options: kept.append(kernel.warmup(*args, grid=grid, **options))

kernel, hopper.split_kernel = hopper.split_kernel, Warm()
a, b = torch.zeros(2, 3, 40, 72, dtype=torch.half), torch.zeros(2, 3, 72, 24, dtype=torch.half)
hopper.bmm_split(a, b, torch.zeros(3, 40, 24), 2)
sass = kept[0].asm["sass"]
print(sass.count("HGMMA.64x128x16"), sass.count("STL"), "USETMAXREG" in sass)
"""


def test_it_compiles_for_hopper_without_spilling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    products, spills, registers = done.stdout.split()[:3]
    assert int(products) == 48  # two groups, two halves of the tile, three products of 64 columns
    assert spills == "0"
    assert registers == "True"


def test_where_it_does_not_run_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from kernels.triton import hopper

    assert not hopper.specialises(torch.device("cpu"))
    device = torch.device("cuda", 7)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (10, 0))
    assert not hopper.specialises.__wrapped__(device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with pytest.warns(UserWarning, match="no specialised warps"):  # there is no such card, as there might be no Gluon
        assert not hopper.specialises.__wrapped__(device)
