"""The catalogue keeps what improves, derives its index from its files, and survives damage to the index."""

import csv
import json

import pytest
from typer.testing import CliRunner

from search import catalog
from search.core.catalogue import Catalogue, Row, naive_line
from search.core.origins import found
from search.core.unit import Unit
from stl_algebra import EncoderFileError, StlError, load, save
from stl_algebra.files import file_name
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
    listed = json.loads(call("list", "--catalogue", tmp_path / "one", "--json").stdout)
    assert [r["rank"] for r in listed] == [7, 15]
    for words, ranks in (
        (["--format", "3,2,3"], [15]), (["--rank", "7"], [7]), (["--ring", "GF(2)"], []), (["--best"], [7, 15]),
        (["--limit", "1"], [7]), (["--group", "S5"], []),
    ):  # fmt: skip
        listed = json.loads(call("list", "--catalogue", tmp_path / "one", *words, "--json").stdout)
        assert [r["rank"] for r in listed] == ranks, words
    short = call("show", row.sha256[:8], "--catalogue", tmp_path / "one")
    assert short.exit_code == 0 and "proven over Z" in short.stdout
    assert call("show", "5e8", "--catalogue", tmp_path / "one").exit_code == 2
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
        ("list", "--catalogue", "/nonexistent"),
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


# ------------------------------------------------------- names, damage, company
def test_a_name_that_is_taken_by_another_encoder_becomes_longer(tmp_path, monkeypatch):
    cat = Catalogue(tmp_path)
    row, _ = cat.add(strassen())
    path = tmp_path / row.file
    saved = load(save(winograd(), tmp_path / "aside"))
    assert saved == winograd()
    path.unlink()  # another encoder under Strassen's name: a collision of eight hex digits
    (tmp_path / "aside" / file_name(winograd())).rename(path)
    again, new = cat.store(strassen(), "encoders")
    assert new and again != path and strassen().digest[:32] in again.name and load(again) == strassen()
    assert load(path) == winograd() and cat.store(strassen(), "encoders") == (again, False)
    assert {r.sha256 for r in Catalogue(tmp_path).rows} == {strassen().digest, winograd().digest}


def test_a_truncated_file_is_repaired(tmp_path):
    cat = Catalogue(tmp_path)
    row, _ = cat.add(strassen())
    file = tmp_path / row.file
    file.write_bytes(file.read_bytes()[:100])
    path, new = cat.store(strassen(), "encoders")
    assert new and path == file and load(path) == strassen()


def test_a_forged_index_is_not_believed(tmp_path):
    cat = Catalogue(tmp_path)
    cat.add(winograd())
    cat.write_index()
    text = cat.index.read_text()
    cat.index.write_text(text.replace(",7.0,", ",0.001,"))
    assert Catalogue(tmp_path).rows[0].kappa2 == 7
    for name in ("nan", "inf", "-1.0", "0.0"):
        cat.index.write_text(text.replace(",7.0,", f",{name},"))
        assert Catalogue(tmp_path).add(strassen())[1] or (tmp_path / "encoders" / file_name(strassen())).exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_what_has_no_score_never_wins(tmp_path, monkeypatch, value):
    cat = Catalogue(tmp_path)
    cat.add(winograd())
    monkeypatch.setattr("search.core.catalogue.kappa2", lambda e: value)
    assert not cat.add(strassen())[1] and cat.best(cat.rows[0].kind).kappa2 == 7


def test_approximations_are_compared_by_their_whole_error(tmp_path):
    cat = Catalogue(tmp_path)
    rough = standard(2, 2, 2).drop_terms([0])
    row, _ = cat.add(rough)
    better_kappa = rough.drop_terms([0])  # less κ², more error: another rank, so compare by hand
    assert Row.of(better_kappa, "").kappa2 < row.kappa2 and Row.of(better_kappa, "").cost > row.cost


def test_found_and_published_do_not_compete(tmp_path):
    cat = Catalogue(tmp_path)
    cat.add(strassen())  # κ² 4, published
    ours = winograd().with_origin(**found(Unit("orbit", "Z3", (2, 2, 2), 7), "rationalised"))
    row, new = cat.add(ours)  # κ² 7, but the first one found here
    assert new and row.found and len(cat.rows) == 2


def test_an_import_takes_no_finds_row_and_counts_as_published(tmp_path):
    ours = strassen().with_origin(**found(Unit("orbit", "Z3", (2, 2, 2), 7), "rationalised"))
    cat = Catalogue(tmp_path / "a")
    row, _ = cat.add(ours)
    assert row.found
    file = save(strassen(), tmp_path)
    assert call("import", file, "--out", tmp_path / "a").exit_code == 0
    assert Catalogue(tmp_path / "a").rows == [row]
    assert call("import", tmp_path / "a" / row.file, "--out", tmp_path / "b").exit_code == 0
    (imported,) = Catalogue(tmp_path / "b").rows
    assert not imported.found and imported.sha256 == row.sha256


def test_catalogues_of_two_machines_merge_to_the_union(tmp_path):
    one, two = Catalogue(tmp_path / "a"), Catalogue(tmp_path / "b")
    one.add(strassen())
    two.add(winograd())
    two.add(standard(2, 2, 2).drop_terms([0]))
    two.store(laderman(), "finds")
    assert one.merge(two) == 3 and one.merge(two) == 0 and len(one.rows) == 3
    assert len(list((tmp_path / "a" / "finds").iterdir())) == 1
    assert {r["sha256"] for r in index(tmp_path / "a")} == {r.sha256 for r in [*one.rows]}


def test_two_catalogues_of_one_folder_lose_no_row(tmp_path):
    one, two = Catalogue(tmp_path), Catalogue(tmp_path)
    one.add(strassen())
    one.write_index()
    two.add(laderman())
    two.write_index()
    assert len(index(tmp_path)) == 2


def test_reading_writes_nothing(tmp_path):
    Catalogue(tmp_path).add(strassen())
    before = sorted(tmp_path.rglob("*"))
    assert call("list", "--catalogue", tmp_path).exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("bad", ["\x1b[2J", "[red]x[/red]", "[/]", "=cmd|' /C calc'!A0", 'a,b\n"c', "x" * 5000])
def test_strange_origins_break_no_table(tmp_path, bad):
    cat = Catalogue(tmp_path)
    cat.add(strassen().with_origin(family=bad, group=bad))
    cat.write_index()
    (row,) = index(tmp_path)
    assert not row["family"].startswith("=") and len(row["family"]) <= 40 and row["family"].isprintable()
    for words in (("list", "--catalogue", tmp_path), ("show", next(tmp_path.rglob("*.safetensors")))):
        done = call(*words)
        assert done.exit_code == 0 and "\x1b[2J" not in done.stdout
