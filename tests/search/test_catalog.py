"""The catalogue keeps what improves, derives its index from its files, and survives damage to the index."""

import csv
import json

import pytest
from typer.testing import CliRunner

from search import catalog
from search.core.catalogue import Catalogue, Row, naive_line
from stl_algebra import EncoderFileError, StlError, load
from stl_algebra.schemes import hopcroft, laderman, standard, strassen, winograd


def index(folder):
    with (folder / "index.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_only_improvements_enter(tmp_path):
    cat = Catalogue(tmp_path)
    row, new = cat.add(winograd())
    assert new and row.kappa2 == 7 and row.exact and (tmp_path / row.file).exists()
    assert cat.add(winograd()) == (row, False) or not cat.add(winograd())[1]
    better, new = cat.add(strassen())
    assert new and better.kappa2 == 4 and cat.best(better.kind) == better
    assert not cat.add(winograd())[1] and not cat.add(strassen().rotate())[1]
    assert cat.add(strassen().to_ring("GF(2)"))[1] and cat.add(laderman())[1]
    assert cat.add(strassen().drop_terms([0]))[1] and not cat.add(strassen().drop_terms([0]))[1]
    assert cat.add(winograd().rotate(), always=True)[1]
    cat.write_index()
    assert len(index(tmp_path)) == len(cat.rows) == 6


def test_a_catalogue_that_takes_worse_entries_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(Catalogue, "best", lambda self, kind: None)
    with pytest.raises(AssertionError):
        test_only_improvements_enter(tmp_path)


def test_index_is_derived_from_the_files(tmp_path):
    cat = Catalogue(tmp_path)
    for e in (strassen(), hopcroft(), standard(2, 2, 2).drop_terms([0]), strassen().to_ring("GF(2)")):
        cat.add(e)
    cat.write_index()
    before = cat.rows
    assert [Row.of(load(tmp_path / r.file), r.file) for r in before if r.ring != "GF(2)"] == [
        r for r in before if r.ring != "GF(2)"
    ]
    text = (tmp_path / "index.csv").read_text()
    for damage in (
        None,
        "",
        "garbage\n1,2\n",
        text.replace("True", "perhaps"),
        text[: len(text) // 2],
        "\x00\x01" * 50,
    ):
        if damage is None:
            (tmp_path / "index.csv").unlink()
        else:
            (tmp_path / "index.csv").write_text(damage)
        again = Catalogue(tmp_path)
        assert [r.file for r in again.rows] == [r.file for r in before]
        again.write_index()
        assert (tmp_path / "index.csv").read_text() == text
    (tmp_path / before[0].file).unlink()
    assert len(Catalogue(tmp_path).rows) == len(before) - 1


def test_a_damaged_encoder_is_named(tmp_path):
    cat = Catalogue(tmp_path)
    row, _ = cat.add(strassen())
    file = tmp_path / row.file
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(EncoderFileError, match="2x2x2_r7_Z"):
        Catalogue(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StlError, match="folder"):
        Catalogue(tmp_path / "file")


def test_naive_line(tmp_path):
    row, _ = Catalogue(tmp_path).add(standard(2, 2, 2).drop_terms([0, 1]))
    assert naive_line(row) == pytest.approx(0.25) == pytest.approx(row.epsilon2)


# ---------------------------------------------------------------- command line
def call(*words):
    result = CliRunner().invoke(catalog.app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_list_show_export_import(tmp_path):
    cat = Catalogue(tmp_path / "one")
    row, _ = cat.add(hopcroft())
    cat.add(strassen())
    file = tmp_path / "one" / row.file
    listed = json.loads(call("list", "--out", tmp_path / "one", "--json").stdout)
    assert [r["rank"] for r in listed] == [7, 15]
    assert [
        r["rank"] for r in json.loads(call("list", "--out", tmp_path / "one", "--format", "3,2,3", "--json").stdout)
    ] == [15]
    shown = call("show", file)
    assert shown.exit_code == 0 and "proven over Z" in shown.stdout and "C_11 = m1 + m2" in shown.stdout
    assert json.loads(call("show", file, "--json").stdout)["rank"] == 15
    for name in ("a.json", "a.npz"):
        assert call("export", file, tmp_path / name).exit_code == 0
        assert call("import", tmp_path / name, "--out", tmp_path / name.replace(".", "_")).exit_code == 0
        (back,) = Catalogue(tmp_path / name.replace(".", "_")).rows
        assert back.target == row.target and back.sha256 == row.sha256


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--out", "/nonexistent"),
        ("show", "/nonexistent"),
        ("export", "/nonexistent", "a.json"),
        ("import", "/nonexistent"),
        ("list", "--format", "x"),
    ],
)
def test_bad_requests(tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1
