"""The encoders that come with the package: found by name, proven again, shown as tables."""

import re

import pytest

from stl_algebra import StlError, catalogue
from stl_algebra._pictures import encoder_html
from stl_algebra.files import file_name
from stl_algebra.scores import predicted_error2


def test_every_file_is_listed_under_what_it_holds():
    listed = catalogue.catalogue()
    assert len(listed) == len(list(catalogue.folder().glob("*.safetensors")))
    for entry in listed.where("2x2x2"):
        encoder = entry.load()
        assert (encoder.target.name, encoder.rank, encoder.ring.name) == (entry.target, entry.rank, entry.ring)
        assert file_name(encoder) == entry.path.name
        assert entry.exact == (encoder.ring.exact and encoder.is_exact)


def test_best_is_the_least_rank_and_then_the_least_error():
    found = catalogue.best("4,4,4")
    assert found.rank == 48 and found.is_exact  # 47 is over GF(2), which does not act on floats
    assert catalogue.best("4x4x4", ring="GF(2)").rank == 47
    others = [e.load() for e in catalogue.catalogue().where("4x4x4", 48, exact=True) if e.ring != "C128"]
    assert predicted_error2(found) == min(predicted_error2(e) for e in others if e.ring.embeds)


def test_a_format_is_spelt_in_any_usual_way():
    sets = [catalogue.catalogue().where(f) for f in ("2x2x2", "2,2,2", "⟨2,2,2⟩", (2, 2, 2), [2, 2, 2])]
    assert sets[0] and all([e.name for e in s] == [e.name for e in sets[0]] for s in sets)


@pytest.mark.parametrize("format, rank, ring, word", [
    ("4x4x4", 12, None, "48"), ("9x9x9", None, None, "catalogue"), ("4x4", None, None, "format|target|matmul"),
    ("4x4x4", 48, "GF(7)", "48"), ((4, 4), None, None, "three sizes"),
])  # fmt: skip
def test_what_is_not_there_is_refused_with_what_is(format, rank, ring, word):
    with pytest.raises(StlError) as error:
        catalogue.best(format, rank, ring)
    assert re.search(word, str(error.value))


def test_notebook_pictures_escape_what_files_say():
    encoder = catalogue.best("2x2x2").with_origin(family="<script>alert(1)</script>", seed=1)
    shown = encoder._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and shown.count("<img") == 3
    assert encoder_html(encoder, page=True).count("<rect") > 30  # in a page of ours entries can be hovered over
    assert "<table" in catalogue.catalogue()[:3]._repr_html_()
