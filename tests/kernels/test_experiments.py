"""The training experiments: recipes that are what they say, resume, and ensembles that equal single trainings."""

from __future__ import annotations

import copy
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kernels.codec import Codec
from kernels.experiments import __main__ as cli
from kernels.experiments import data, rivals, rule, starts, vision
from kernels.experiments.arms import Arm, BlockSparseLinear, LowRankLinear, keep_two_of_four
from kernels.experiments.models import ViT
from kernels.experiments.table import Table, interval
from kernels.experiments.training import Ensemble, Training, one_cycle
from stl_algebra.errors import StlError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with the four files, of noise, small."""
    rng = np.random.default_rng(0)
    for kind, count in (("train", 1000), ("t10k", 2000)):
        for name, shape in ((f"{kind}-images-idx3", (count, 28, 28)), (f"{kind}-labels-idx1", (count,))):
            head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
            body = rng.integers(0, 10 if len(shape) == 1 else 256, shape, dtype=np.uint8).tobytes()
            (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(head + body))
    return tmp_path


def test_two_of_four_keeps_the_largest_two() -> None:
    w = torch.tensor([[3.0, -4.0, 1.0, 0.0, 2.0, 2.0, 2.0, 2.0]])
    assert keep_two_of_four(w).tolist() == [[1, 1, 0, 0, 1, 1, 0, 0]]
    assert bool((keep_two_of_four(torch.randn(50, 64)).view(50, 16, 4).sum(-1) == 2).all())


def test_arms_count_their_multiplications() -> None:
    assert Arm("a", "stl", codec=starts.exact()).multiplications == 49 / 64
    low = LowRankLinear(48, 96, 0.5)
    assert low.down.weight.numel() + low.up.weight.numel() == pytest.approx(0.5 * 48 * 96, rel=0.04)
    dense = torch.nn.Linear(64, 64).weight.std()
    assert float((low.up.weight @ low.down.weight).std()) == pytest.approx(float(torch.nn.Linear(48, 96).weight.std()),
                                                                           rel=0.3)  # fmt: skip
    assert float(BlockSparseLinear(64, 64, 0.5)(torch.randn(500, 64)).std()) == pytest.approx(float(dense) * 8, rel=0.2)


@pytest.mark.parametrize("rank", [24, 32])
def test_starts_have_the_rank_and_the_best_decoder(rank: int) -> None:
    for name, make in starts.plain_starts(rank).items():
        assert make(0).rank == rank, name
    assert starts.dropped_products(rank, 0).epsilon2 == pytest.approx(1 - rank / 64)
    refitted = starts.least_squares(*np.random.default_rng(0).standard_normal((2, rank, 16)))
    assert refitted.epsilon2 <= 1
    assert starts.fourier(rank, 0, tries=5).epsilon2 >= 1 - rank / 64 - 1e-9  # the abelian barrier
    assert starts.single_rows(6, 0).epsilon2 == pytest.approx(1 - 6 / 16)


def _loss(order: torch.Tensor, data: torch.Tensor, labels: torch.Tensor):
    def loss(call, step: torch.Tensor) -> torch.Tensor:
        chosen = order[:, step][:, 0] if order.dim() == 3 else order[step][0]
        logits = call(data[chosen])
        return F.cross_entropy(logits.flatten(0, -2), labels[chosen].flatten(), reduction="none").view(
            *chosen.shape[:-1], -1).mean(-1)  # fmt: skip

    return loss


@pytest.mark.parametrize("arm", [Arm("d"), Arm("s", "sparse24"), Arm("t", "stl", codec=starts.fourier(24, 0, tries=2)),
                                 Arm("b", "stl", codec=starts.exact(), rows="batch", train_codec=False),
                                 Arm("m", mixer=True)], ids=lambda a: a.name)  # fmt: skip
def test_an_ensemble_trains_each_model_as_if_alone(arm: Arm) -> None:
    data, labels = torch.randn(40, 28, 28), torch.randint(0, 10, (40,))
    orders = torch.stack([torch.stack([torch.randperm(40)[:12] for _ in range(3)]) for _ in range(2)])
    alone, together = [], []
    for seed in (0, 1):
        for kind in (alone, together):
            torch.manual_seed(seed)
            kind.append(ViT(arm, 16, depth=1, heads=2))
    for seed in (0, 1):
        Training(alone[seed], _loss(orders[seed], data, labels), steps=3, peak=1e-2).run()
    Ensemble(together, _loss(orders, data, labels), steps=3, peak=1e-2).run()
    for one, other in zip(alone, together, strict=True):  # key biases move no output: their gradient is rounding
        assert torch.allclose(one(data), other(data), atol=2e-3)
    assert not torch.allclose(alone[0](data), alone[1](data), atol=2e-2)


def test_one_cycle_rises_and_falls() -> None:
    rates = one_cycle(100, 1.0, 0.2)
    assert int(rates.argmax()) == 20
    assert float(rates[-1]) < 1e-3
    assert float(rates[0]) == pytest.approx(0.04)


def test_rivals_refit_towards_what_the_model_gave() -> None:
    """Each kind of arm, on inputs far from white: closed form beats the unseen replacement."""
    dense = torch.nn.Sequential(torch.nn.Linear(32, 48), torch.nn.ReLU(), torch.nn.Linear(48, 16, bias=False))
    batches = [torch.randn(8, 16, 32) * torch.linspace(0.1, 3, 32) for _ in range(4)]
    for arm in (Arm("2:4", "sparse24"), Arm("low rank", "lowrank", 0.5), Arm("tiles", "ktiles", 0.5),
                Arm("stl", "stl", codec=starts.fourier(24, 0, tries=2))):  # fmt: skip
        model = copy.deepcopy(dense)
        rivals.replace(model, arm, lambda _: True)

        def error(model: torch.nn.Module = model) -> float:
            return sum(float((model(x) - dense(x)).detach().square().sum()) for x in batches)

        before = error()
        assert before > 0
        if arm.kind != "ktiles":
            rivals.refit(model, dense, arm, batches, lambda _: True)
            assert error() < 0.8 * before


def test_properties_of_starts_have_their_ends(tmp_path: Path) -> None:
    plain = rule.properties(starts.dropped_products(24, 0))
    assert plain["independence"] == pytest.approx(1)
    assert plain["mixing"] == pytest.approx(0)
    exact = starts.exact()
    doubled = Codec(exact.format, np.repeat(exact.e_x, 2, 0), np.repeat(exact.e_w, 2, 0), np.repeat(exact.d / 2, 2, 1))
    twice = rule.properties(doubled)
    assert twice["independence"] == pytest.approx(rule.properties(exact)["independence"] / 2)
    assert twice["smallest"] == pytest.approx(0, abs=1e-9)
    table = Table(tmp_path / "starts.csv", vision.KEY)
    codecs = {f"4x4x4_{k}": [starts.truncated(20 + k, 0)] for k in range(5)}
    for k in range(5):
        for seed in range(2):
            table.add({"arm": f"4x4x4_{k}", "seed": seed, "epochs": 1, "accuracy": 90 + k + seed / 10})
    rows = rule.means(table, codecs, epochs="1")
    assert [row["rank"] for row in rows] == [24, 23, 22, 21, 20]
    found = rule.correlations(rows)
    assert found["epsilon2"][0] == pytest.approx(-1, abs=0.4)
    rule.write(rows, tmp_path / "rule.csv")
    assert len((tmp_path / "rule.csv").read_text().splitlines()) == 6
    with pytest.raises(StlError, match="four starts"):
        rule.correlations(rows[:3])


def test_photographs_share_no_pixel_between_training_and_testing(tmp_path: Path) -> None:
    """Every block has one grey level of its own (plus noise that keeps the patches apart)."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for index, name in enumerate(data.PHOTOGRAPHS):
        blocks = np.arange(16).reshape(4, 4) * 10 + index
        grey = np.kron(blocks, np.ones((64, 64))).astype(np.uint8)
        image.fromarray(grey + rng.integers(0, 2, grey.shape, dtype=np.uint8)).save(tmp_path / name)
    images, labels, tests, test_labels = data.photographs(tmp_path, "cpu")
    assert images.shape == (60000, 32, 32)
    assert tests.shape == (10000, 32, 32)
    assert torch.bincount(labels).tolist() == [3750] * 16
    assert torch.bincount(test_labels).tolist() == [625] * 16
    assert float(images.mean((1, 2)).abs().max()) < 1e-3
    assert float(images.std((1, 2)).max()) < 1  # no patch straddles two blocks, whose levels differ by ten
    with pytest.raises(StlError, match="photographs"):
        data.photographs(tmp_path / "nowhere", "cpu")


def test_interval_is_students() -> None:
    mean, half = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (mean, half) == (3.0, pytest.approx(2.776 * (2.5**0.5) / 5**0.5))


def test_a_run_resumes_and_reports(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["vit", "--device", "cpu", "--short", "--data", str(images), "--out", str(tmp_path), "--arms", "width 32"]
    assert cli.main([*common, "--seeds", "1"]) == 0
    assert cli.main([*common, "--seeds", "2"]) == 0
    rows = Table(tmp_path / "vit.csv", vision.KEY).rows()
    assert [(r["arm"], r["seed"]) for r in rows] == [("dense, width 32", "0"), ("dense, width 32", "1")]
    capsys.readouterr()
    assert cli.main([*common, "--table"]) == 0
    assert "dense, width 32" in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["vit", "--device", "cpu", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "MNIST" in capsys.readouterr().err
    assert cli.main(["minilm", "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"nonsense"))
    with pytest.raises(StlError, match="IDX"):
        vision.train_arms(lambda _: [], Table(tmp_path / "x.csv", vision.KEY), data=tmp_path, seeds=[0], device="cpu")
