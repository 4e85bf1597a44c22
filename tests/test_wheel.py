"""The wheel beside somebody else's package called `kernels`: both work, and the encoders travel along."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
import kernels
assert kernels.CUDAProperties == "theirs", kernels
import torch
from stl_algebra import catalogue, load
from stl_kernels import STLLinear, convert_linear
assert not catalogue.folder().is_relative_to({root!r}), catalogue.folder()
encoder = load("4x4x4", rank=49, ring="Z")
model = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 4))
x = torch.randn(5, 8)
wanted = model(x)
report = convert_linear(model, encoder, rows="batch")
assert isinstance(model[0], STLLinear) and torch.allclose(model(x), wanted, atol=1e-4)
from stl_search.core.unit import families
assert {{"orbit", "flips", "fourier"}} <= set(families())
from stl_algebra.cli import main
main(["--help"])
print("works")
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel, built from a copy of the sources and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in ("stl_algebra", "search", "kernels", "results/encoders"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, source / part)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_only_names_of_our_own_are_installed(unpacked):
    tops = {p.name for p in unpacked.iterdir() if not p.name.endswith(".dist-info")}
    assert tops == {"stl_algebra", "stl_search", "stl_kernels"}
    assert len(list((unpacked / "stl_algebra" / "encoders").glob("*.safetensors"))) > 100
    assert not (unpacked / "stl_search" / "benchmarks").exists()


def test_it_works_beside_a_package_called_kernels(unpacked, tmp_path):
    theirs = tmp_path / "theirs" / "kernels"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text('CUDAProperties = "theirs"\n')
    path = f"{unpacked}:{tmp_path / 'theirs'}"
    done = subprocess.run(
        [sys.executable, "-c", USE.format(root=str(ROOT))], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith("works\n"), done.stdout + done.stderr[-2000:]
