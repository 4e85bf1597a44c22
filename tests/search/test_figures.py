"""The figures: drawn from the tables that are there, the same bytes every time, nothing told by colour alone."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("matplotlib")
from search.figures import FIGURES, app, draw
from stl_algebra import StlError
from stl_algebra._style import OURS, SERIES

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_and_committed_as_drawn(name, tmp_path):
    path = draw(name, RESULTS, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert text.count("<use") > 20 and (RESULTS / "figures" / path.name).exists()
    assert draw(name, RESULTS, tmp_path / "again").read_text(encoding="utf-8") == text


def test_no_two_series_share_a_marker():
    markers = [s["marker"] for s in (OURS, *SERIES)]
    assert len(set(markers)) == len(markers)


def test_bad_requests(tmp_path):
    with pytest.raises(StlError, match="a table"):
        draw("frontier", tmp_path, tmp_path)
    done = CliRunner().invoke(app, ["no-such", "--out", str(tmp_path)])
    assert done.exit_code == 2 and "frontier" in done.output + done.stderr and not list(tmp_path.iterdir())
