"""How things look in a notebook: short as text, a table or a picture as HTML, nothing of a stranger's unescaped."""

import struct
import zlib

import numpy as np
import pytest
import torch

from kernels import convert_linear, plan_matmul
from search.core.discovery import Discovery
from search.core.runner import Summary
from stl_algebra import catalogue, group, load, verify
from stl_algebra._html import NEGATIVE, POSITIVE, factor_png, factor_svg, table_html
from stl_algebra.schemes import strassen, winograd
from stl_algebra.scores import score
from stl_algebra.symmetry import equivalent


def converted():
    return convert_linear(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()), strassen(), rows="batch")


SHOWN = {
    "encoder": lambda: load("2x2x2", rank=7, ring="Z"),
    "report": lambda: verify(strassen()),
    "group": lambda: group("SL(2,3)"),
    "characters": lambda: group("A5").character_table(),
    "irrep": lambda: group("Q8").irreps()[4],
    "catalogue": lambda: catalogue.catalogue().where("2x2x2", rank=7),
    "plan": lambda: plan_matmul(16384, 16384, 16384, torch.float64, "nvidia_h200"),
    "conversion": converted,
    "discovery": lambda: Discovery([strassen()], Summary(), None),
    "score": lambda: score(strassen()),
    "transformation": lambda: equivalent(strassen(), winograd()).transformation,
}


@pytest.mark.parametrize("name", SHOWN)
def test_everything_a_notebook_shows_is_short_as_text_and_rich_otherwise(name):
    thing = SHOWN[name]()
    assert all(len(line) <= 130 for line in repr(thing).splitlines())
    assert "Fraction(" not in repr(thing) and "array(" not in repr(thing)
    rich = getattr(thing, "_repr_html_", None) or thing._repr_latex_
    text = rich()
    assert text.startswith("$") or text.count("<") == text.count(">") > 1
    assert "<svg" not in text and "<script" not in text, "a notebook that is not trusted drops these"


def test_a_character_table_shows_exact_entries():
    html = group("A5").character_table()._repr_html_()
    assert "(1+√5)/2" in html and html.count("<tr>") == 1 + 2 + 5
    assert "<tr>" in group("C30").character_table()._repr_html_()  # more classes than are shown


def test_irreps_show_the_images_of_generators():
    latex = group("A5").irreps()[1]._repr_latex_()
    assert r"\begin{pmatrix}" in latex and r"\sqrt{5}" in latex and "√" not in latex


def test_cells_are_escaped():
    assert "<img" not in table_html(("<img src=x>",), [("<img onerror=1>",)])


def pixels(data):
    """A PNG of ours as an array."""
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


def test_pictures_tell_the_sign_in_grey_too():
    seen = pixels(factor_png([[1.0, -1.0, 0.0]]))
    assert seen.shape == (11, 29, 3)
    full, hollow, empty = (seen[5, 1 + 9 * k + 4] for k in range(3))
    assert full.tolist() == [int(POSITIVE[k : k + 2], 16) for k in (1, 3, 5)]
    assert hollow.tolist() == empty.tolist() == [255, 255, 255]
    assert seen[2, 1 + 9 + 1].tolist() == [int(NEGATIVE[k : k + 2], 16) for k in (1, 3, 5)]
    assert factor_svg([[1.0, -1.0]], "x").count("<rect") == 1 + 1 + 2  # frame, a full one, a hollow one
