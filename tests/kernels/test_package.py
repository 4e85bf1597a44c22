"""The package as a whole: imports, the namesake, the commands, the cost model, the measurements table."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from kernels import Codec, STLLinear, devices, dispatch, fp8, matmul, stl_matmul, validate
from kernels._compat import triton_status, version_tuple
from kernels.bench import __main__ as bench
from kernels.bench import measure, studies, validation
from kernels.devices import load_device, slug
from stl_algebra import files, schemes
from stl_algebra.errors import StlError

ROOT = Path(__file__).parents[2]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_imports_without_triton_and_without_side_effects() -> None:
    """A machine without Triton: import, run a layer, and be told why Triton is not used."""
    done = python(
        "import sys; sys.modules['triton'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.split('.')[0] == 'triton' else real(name, *a)\n"
        "import torch, kernels\n"
        "from kernels._compat import triton_status\n"
        "from stl_algebra import schemes\n"
        "layer = kernels.STLLinear.from_linear(torch.nn.Linear(4, 4), schemes.strassen())\n"
        "print(layer(torch.zeros(2, 4)).shape, triton_status().reason)"
    )
    assert done.returncode == 0, done.stderr
    assert "not installed" in done.stdout
    quiet = python("import sys, kernels; print('triton' in sys.modules, 'search' in sys.modules)")
    assert quiet.stdout.split() == ["False", "False"], quiet.stdout + quiet.stderr


def test_is_not_mistaken_for_the_namesake_distribution() -> None:
    """Hugging Face's distribution ``kernels`` is recognised by its metadata; ours is distributed under another name."""
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("kernels")
    assert not importlib.metadata.packages_distributions().get("kernels") or (
        importlib.metadata.packages_distributions()["kernels"] == ["stl-algebra"]
    )
    import kernels

    for name in ("get_kernel", "use_kernel_forward_from_hub", "register_kernel_mapping", "LayerRepository"):
        assert not hasattr(kernels, name)


def test_transformers_works_beside_us() -> None:
    """The real probe where transformers is installed; the way it probes, imitated, where it is not."""
    probe = (
        "import importlib.util, importlib.metadata\n"
        "def available(name):\n"
        "    if importlib.util.find_spec(name) is None: return False\n"
        "    try: importlib.metadata.version(name)\n"
        "    except importlib.metadata.PackageNotFoundError: return False\n"
        "    return True\n"
        "import kernels\n"
        "print(available('kernels'))\n"
    )
    assert python(probe).stdout.strip() == "False"
    pytest.importorskip("transformers")
    done = python(
        "import kernels, torch\n"
        "from transformers import BertConfig, BertModel\n"
        "from transformers.utils.import_utils import is_kernels_available\n"
        "from stl_algebra import schemes\n"
        "m = BertModel(BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,"
        " vocab_size=50)).eval()\n"
        "ids = torch.arange(6)[None]; before = m(ids).last_hidden_state\n"
        "report = kernels.convert_linear(m, schemes.strassen())\n"
        "same = torch.allclose(before, m(ids).last_hidden_state, atol=1e-4)\n"
        "print(is_kernels_available(), len(report.converted), same)"
    )
    assert done.stdout.split()[-3:] == ["False", "7", "True"], done.stdout + done.stderr


def test_versions_are_read_leniently() -> None:
    assert version_tuple("3.6.0+git123") == (3, 6, 0)
    assert version_tuple("2.13.0a0") == (2, 13, 0)
    assert version_tuple("weird") == ()
    assert isinstance(triton_status().usable, bool)


# --- commands -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.save(schemes.strassen(), tmp_path_factory.mktemp("encoders"))


def test_validate_reports_and_appends(encoder_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    args = [str(encoder_file), "--size", "64", "--dtype", "fp64", "--dtype", "fp32", "--out", str(table)]
    done = CliRunner().invoke(validate.app, [*args, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert [r["dtype"] for r in report["results"]] == ["fp64", "fp32"]
    assert all(r["ok"] and r["kappa2"] == 4.0 and r["epsilon2"] == 0.0 for r in report["results"])
    lines = list(csv.DictReader(table.open()))
    assert [line["provider"] for line in lines] == ["stl", "dense", "stl", "dense"]
    assert lines[0]["encoder"] in encoder_file.name
    assert list(lines[0]) == measure.COLUMNS
    assert CliRunner().invoke(validate.app, args).exit_code == 0
    assert len(list(csv.DictReader(table.open()))) == 8  # another run is another run_id, nothing overwritten


def test_validate_refuses_in_one_line(encoder_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(encoder_file.read_bytes()[:100])
    for args in ([str(broken)], [str(tmp_path / "absent.safetensors")], [str(encoder_file), "--dtype", "fp4"],
                 [str(encoder_file), "--size", "-1"]):  # fmt: skip
        done = CliRunner().invoke(validate.app, args)
        assert done.exit_code == 2, (args, done.output)
        assert "Traceback" not in done.output


def test_validate_skips_what_is_no_matrix_product(encoder_file: Path, tmp_path: Path) -> None:
    other = files.save(schemes.karatsuba(2), tmp_path)
    done = CliRunner().invoke(validate.app, [str(encoder_file), str(other), "--size", "32", "--dtype", "fp32"])
    assert done.exit_code == 0, done.output
    assert f"skipped {other.name}" in done.output.replace("\n", "")
    assert CliRunner().invoke(validate.app, [str(other), "--size", "32"]).exit_code == 2


def test_validate_notices_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bugs: a product 1 % off, and an entry left unwritten."""
    real = validation.ops.matmul_encoded
    encoder = schemes.strassen()

    def off(*args: object) -> torch.Tensor:
        return real(*args) * 1.01

    def unwritten(*args: object) -> torch.Tensor:
        y = real(*args).clone()
        y[3, 5] = float("nan")
        return y

    for bug, word in ((off, "twice"), (unwritten, "NaN")):
        monkeypatch.setattr(validation.ops, "matmul_encoded", bug)
        found = validation.validate(encoder, torch.float32, 32)
        assert not found.ok
        assert word in found.problem


def test_bench_runs_on_cpu_and_says_so(tmp_path: Path, encoder_file: Path) -> None:
    table = tmp_path / "m.csv"
    done = CliRunner().invoke(bench.app, ["table", "train", "--out", str(table), "--encoder", str(encoder_file)])
    assert done.exit_code == 0, done.output
    assert "no CUDA device" in done.output or torch.cuda.is_available()
    lines = list(csv.DictReader(table.open()))
    assert len({line["run_id"] for line in lines}) == 1
    assert {"dense", "stl"} <= {line["provider"] for line in lines}
    assert "2x2x2" in {line["format"] for line in lines if line["metric"] == "speedup"}
    assert CliRunner().invoke(bench.app, ["tabel"]).exit_code == 2
    assert CliRunner().invoke(bench.app, ["table", "--encoder", str(table)]).exit_code == 2


def test_calibration_has_the_layout_of_the_shipped_data(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("minutes on a GPU")
    rates = studies.calibrate(torch.device("cpu"), small=True)
    shipped = json.loads((ROOT / "kernels" / "data" / "nvidia_h200.json").read_text())
    assert set(rates) == set(shipped)
    assert set(rates["dense"]) == set(shipped["dense"])
    assert json.loads(devices.write(rates, tmp_path).read_text()) == rates


def test_measurements_are_keyed(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    row = measure.Row("r", "matmul", "stl", "forward", "fp32", 1, 1, 1, "2x2x2", 7, "abc", "time", "ms", 1.0)
    assert measure.append(path, [row]) == 1
    assert measure.append(path, [row]) == 1
    assert measure.append(path, [measure.Row(**{**vars(row), "n": 2})]) == 2
    assert measure.compare(torch.ones(2, 2), torch.ones(2, 2).double()).rms == 0
    worst = measure.compare(torch.tensor([[1.0, 2.0], [3.0, 9.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double())
    assert worst.where == (1, 1)
    assert measure.compare(torch.full((1, 1), float("nan")), torch.ones(1, 1).double()).unwritten == 1


# --- cost model -----------------------------------------------------------------------------------------------


def test_cost_model_knows_what_pays_on_an_h200() -> None:
    from kernels.devices import FOLDER, _read

    data = _read(FOLDER / "nvidia_h200.json")
    power = dispatch.strassen_power

    def gain(n: int, dtype: torch.dtype, *levels: int) -> float:
        stages = [power(level) for level in levels]
        return dispatch.predict_ms(n, n, n, (), dtype, data) / dispatch.predict_ms(n, n, n, stages, dtype, data)

    assert gain(8192, torch.float32, 3) > 1.25
    assert gain(16384, torch.bfloat16, 2) > 1.0
    assert gain(512, torch.bfloat16, 2) < 0.6
    assert gain(256, torch.float32, 3) < 1.0
    codec = Codec.random((4, 4, 4), 16)
    times = [dispatch.predict_ms(n, n, n, (codec,), torch.bfloat16, data) for n in (1024, 2048, 4096, 8192)]
    assert times == sorted(times)


def test_a_strassen_level_is_added_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    h200 = devices._read(devices.FOLDER / "nvidia_h200.json")
    monkeypatch.setattr(dispatch, "load_device", lambda device: h200)
    codec = Codec.random((4, 4, 4), 16)
    assert dispatch.deepen(codec, 4096, 4096, 4096, torch.bfloat16) is codec
    deeper = dispatch.deepen(codec, 16384, 16384, 16384, torch.bfloat16)
    assert (deeper.format, deeper.rank) == ((8, 8, 8), 112)
    assert deeper.epsilon2 == pytest.approx(codec.epsilon2)
    assert deeper.kappa2 == pytest.approx(4 * codec.kappa2)
    x, w = torch.randn(24, 16, dtype=torch.float64), torch.randn(16, 8, dtype=torch.float64)
    assert torch.allclose(stl_matmul(x, w, deeper), stl_matmul(x, w, codec))
    seen = []
    monkeypatch.setattr(dispatch, "deepen", lambda *a: seen.append(a[1:4]) or a[0])
    linear = torch.nn.Linear(8, 12)
    STLLinear.from_linear(linear, codec, tokens=5)
    STLLinear.from_linear(linear, codec)
    assert seen == [(5, 8, 12)]


def test_dense_fallback_says_so(strassen: Codec) -> None:
    x, w = torch.randn(8, 8), torch.randn(8, 8)
    with pytest.warns(dispatch.DenseFallback, match="multiplying densely"):
        assert torch.equal(stl_matmul(x, w, strassen, fallback="dense"), x @ w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stl_matmul(x, w, strassen)


@pytest.mark.parametrize("levels", [(1,), (2,), (1, 1), (1, 2)], ids=str)
def test_staged_codecs_are_the_product(levels: tuple[int, ...]) -> None:
    a = torch.randn(37, 21, dtype=torch.float64, requires_grad=True)
    b = torch.randn(21, 50, dtype=torch.float64)
    stages = [dispatch.strassen_power(level) for level in levels]
    y = matmul.staged_matmul(a, b, stages)
    assert measure.compare(y, a @ b).rms < 1e-13
    y.sum().backward()
    assert measure.compare(a.grad, b.sum(1).expand(37, 21)).rms < 1e-13  # type: ignore[arg-type]


def test_fast_matmul_plans_within_the_budget(monkeypatch: pytest.MonkeyPatch, strassen: Codec) -> None:
    h200 = load_device("cpu").__class__(**{**vars(load_device("cpu")), "bandwidth": dict.fromkeys(
        ("fp64", "fp32", "bf16", "fp16"), 1e6), "launch_us": 0.0})  # fmt: skip
    monkeypatch.setattr(dispatch, "load_device", lambda device: h200)  # memory for free: algebra always pays
    assert dispatch.plan_matmul(4096, 4096, 4096, torch.float32, "cpu").stages
    assert dispatch.plan_matmul(4096, 4096, 4096, torch.float32, "cpu", rtol=1e-9).label == "dense"
    assert dispatch.plan_matmul(4096, 4096, 4096, torch.float32, "cpu", encoder="dense").label == "dense"
    plan = dispatch.plan_matmul(4096, 4096, 4096, torch.float32, "cpu", encoder=strassen)
    assert plan.speedup > 1
    a, b = torch.randn(2, 33, 40), torch.randn(40, 17)
    assert measure.compare(matmul.fast_matmul(a, b).flatten(0, 1), (a.double() @ b.double()).flatten(0, 1)).rms < 1e-5
    assert matmul.fast_matmul(a, torch.randn(2, 40, 3)).shape == (2, 33, 3)
    for argument, call in {
        "encoder": lambda: matmul.fast_matmul(a, b, "fastest"),
        "rtol": lambda: matmul.fast_matmul(a, b, rtol=-1.0),
        "b.shape": lambda: matmul.fast_matmul(a, b.t()),
        "b.dtype": lambda: matmul.fast_matmul(a, b.double()),
    }.items():
        with pytest.raises(StlError) as error:
            call()
        assert error.value.argument == argument


def test_device_names_become_file_names() -> None:
    assert slug("NVIDIA H200") == "nvidia_h200"
    data = load_device("cpu")
    assert data.rate("dense", "fp32", 512) <= data.rate("dense", "fp32", 1024)
    assert data.rate("dense", "int8", 512) == 0.0


# --- fp8 ------------------------------------------------------------------------------------------------------


def test_fp8_rounding_follows_the_closed_form() -> None:
    """√(κ²·2u²(e4m3)): rounding of the encoded operands, before any GPU is involved."""
    from stl_algebra.scores import unit_rounding2

    codec = Codec((4, 4, 4), *schemes.strassen().kron(schemes.strassen()).floats())
    x, w = torch.randn(128, 256), torch.randn(256, 128)
    found = measure.compare(fp8.reference_fp8(x, w, codec, 1.0), x.double() @ w.double()).rms
    assert found == pytest.approx((codec.kappa2 * 2 * unit_rounding2("fp8")) ** 0.5, rel=0.25)


def test_fp8_refuses_where_it_cannot_run(strassen: Codec) -> None:
    w = torch.randn(8, 8)
    weight = fp8.encode_weight_fp8(w, strassen)
    assert weight.values.dtype == torch.float8_e4m3fn
    assert tuple(weight.values.shape) == (7, 4, 4)
    with pytest.raises(StlError, match=r"8\.9"):
        fp8.matmul_fp8(torch.randn(8, 8), weight, strassen, sigma=1.0)


def test_figures_come_from_the_table(tmp_path: Path) -> None:
    from kernels.bench import figures

    pytest.importorskip("matplotlib")
    done = CliRunner().invoke(figures.app, [str(ROOT / "results" / "measurements.csv"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert all((tmp_path / f"{name}.svg").stat().st_size > 5000 for name in ("kernel_speedups", "kernel_breakdown"))
    assert CliRunner().invoke(figures.app, [str(tmp_path / "absent.csv")]).exit_code == 2
    assert figures._family("8x8x8", 112) == figures._family("4x4x4", 16) == "⟨4,4,4;16⟩"
    assert figures._family("2x2x2·8x8x8", 2401) == figures._family("8x8x8", 343) == "Strassen, best level"
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("a,b\n1,2\n")
    assert CliRunner().invoke(figures.app, [str(foreign)]).exit_code == 2
