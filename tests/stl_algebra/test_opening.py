"""One word to get an encoder: by name, from our files, from other layouts; and to write one where it was asked for."""

import pytest

from stl_algebra import EncoderFileError, StlError, load, save
from stl_algebra.layouts import write
from stl_algebra.schemes import laderman, strassen, winograd


def test_by_name_and_by_file_are_the_same(tmp_path):
    named = load("2x2x2", 7, "Z")
    assert named.is_exact and load(save(named, tmp_path)) == named
    assert load("4x4x4", rank=49, ring="Z").rank == 49


@pytest.mark.parametrize("suffix", [".json", ".exp", ".npz", ".txt"])
def test_other_layouts_open_too(tmp_path, suffix):
    (file, *_) = write(laderman(), tmp_path / f"scheme{suffix}")
    assert load(file) == laderman()


def test_save_writes_the_file_that_was_named(tmp_path):
    path = save(strassen(), tmp_path / "deep" / "mine.safetensors")
    assert path == tmp_path / "deep" / "mine.safetensors" and load(path) == strassen()
    save(winograd(), path)
    assert load(path) == winograd() and [p.name for p in path.parent.iterdir()] == ["mine.safetensors"]


def test_a_refuted_scheme_is_refused(tmp_path):
    wrong = strassen().drop_terms([0])
    (file, *_) = write(wrong, tmp_path / "wrong.json")
    with pytest.raises(EncoderFileError, match="a scheme that holds"):
        load(file)


@pytest.mark.parametrize("what", ["nope.safetensors", "nope.txt", "9x9x9", "4x4x4"])
def test_what_is_not_there_is_one_clear_error(what):
    with pytest.raises(StlError):
        load(what, rank=3) if "x" in what and "." not in what else load(what)
