"""The frontier report: classes and lines from a small catalogue, files only where they are asked for."""

import csv
import json

import pytest
from typer.testing import CliRunner

from search.approx.causal import without_pure_terms
from search.approx.prices import distinct_rows, entries, price
from search.approx.report import best_points
from search.approx.results import composites, dense_scores, monte_carlo
from search.core.catalogue import Catalogue
from search.frontier import app
from stl_algebra import Encoder
from stl_algebra.schemes import standard, strassen, winograd
from stl_algebra.scores import epsilon2, kappa2

FMT = (2, 2, 2)


def thin() -> Encoder:
    return without_pure_terms(winograd())


def border(size: float) -> Encoder:
    """Strassen's scheme with one term blown up and cancelled by a copy: rank 8, large κ²."""
    x, w, d = strassen().floats()
    import numpy as np

    return Encoder.build(
        FMT,
        np.vstack([x, x[:1]]),
        np.vstack([w, w[:1]]),
        np.column_stack([size * d[:, :1], d[:, 1:], (1 - size) * d[:, :1]]),
        ring="R64",
    )


@pytest.fixture
def folder(tmp_path):
    catalogue = Catalogue(tmp_path)
    for encoder in (thin(), strassen(), standard(2, 2, 2), border(30.0)):
        catalogue.add(encoder, always=True)
    catalogue.write_index()
    return tmp_path


def test_classes_pick_what_they_say():
    points = best_points([("thin", thin()), ("whole", standard(2, 2, 2)), ("border", border(30.0))], FMT, 7)
    by = {(p.rank, p.kind): p for p in points}
    assert by[6, "any"].file == "thin" and by[6, "any"].below and by[6, "small entries"].price.entries == "ternary"
    assert by[8, "κ² ≤ 2"].file == "whole"
    assert by[6, "any"].time_sharing == pytest.approx(1 / 7) and by[6, "any"].price.epsilon2 == pytest.approx(1 / 8)
    assert (8, "κ² ≤ 2") in by and all(p.price.kappa2 <= 8 for p in points if p.kind == "κ² ≤ 8")


def test_report_reads_without_writing_and_writes_where_told(folder, tmp_path):
    before = sorted(p for p in folder.rglob("*"))
    run = CliRunner().invoke(app, ["--format", "2,2,2", "--catalogue", str(folder), "--json"])
    assert run.exit_code == 0, run.output
    rows = json.loads(run.stdout)
    assert {r["rank"] for r in rows} == {6, 7, 8} and all(r["file"] for r in rows)
    assert sorted(p for p in folder.rglob("*")) == before
    target = tmp_path / "points.csv"
    run = CliRunner().invoke(app, ["--format", "2,2,2", "--catalogue", str(folder), "--details", "--csv", str(target)])
    assert run.exit_code == 0 and "small entries" in run.stdout.replace("\n", " ")
    with target.open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == len(rows)


def test_bad_requests_are_one_line_errors(folder):
    for arguments in (["--dtype", "fp4"], ["--format", "5,5,5"], ["--format", "cube"]):
        run = CliRunner().invoke(app, ["--catalogue", str(folder), *arguments])
        assert run.exit_code == 2 and "Traceback" not in run.output


def test_prices():
    cost = price(strassen(), FMT)
    assert (cost.flops, cost.traffic_x, cost.traffic_c) == (7 / 8, 7 / 4, 7 / 4)
    assert cost.adds_x == 5 and cost.adds_d == 8  # Strassen's own count: 10 before the products, 8 after
    assert distinct_rows(standard(2, 2, 2).floats()[0]) == 4  # every entry of A is read twice
    half = Encoder.build(FMT, [["1/2", 0, 0, 0]], [[1, 0, 0, 0]], [[1], [0], [0], [0]], ring="Q")
    assert entries(half) == "half-integer" and entries(strassen()) == "ternary"


def test_dense_contraction_and_monte_carlo_agree_with_the_closed_forms():
    for encoder in (thin(), border(2.0), strassen()):
        eps2, k2 = dense_scores(encoder)
        assert eps2 == pytest.approx(epsilon2(encoder), abs=1e-12) and k2 == pytest.approx(kappa2(encoder))
    mean, error = monte_carlo(thin(), batches=12, samples=2000)
    assert error > 0 and abs(mean - 1 / 8) < 4 * error


def test_composites_multiply_what_is_retained():
    points = [(FMT, 6, 1 / 8, 2.0), (FMT, 7, 0.0, 4.0)]
    rows = {r["flops"]: r for r in composites(points, 4)}
    assert rows[36 / 64]["epsilon2"] == pytest.approx(1 - (7 / 8) ** 2) and rows[49 / 64]["epsilon2"] == 0.0
    assert rows[42 / 64]["kappa2"] == pytest.approx(8.0)
