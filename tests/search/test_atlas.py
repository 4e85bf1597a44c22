"""The atlas: one page, self-contained, opened and clicked in a headless browser where there is one."""

import base64
import re
import shutil
import subprocess

import pytest

from search.atlas import TEMPLATE, atlas, cards, lines
from stl_algebra.catalogue import catalogue

pytest.importorskip("plotly")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
]
NAMES = [e for e in catalogue() if e.target in ("matmul:2x2x2", "matmul:2x2x3")]


@pytest.fixture(scope="module")
def page():
    return atlas([e.path for e in NAMES])


def test_the_page_needs_nothing_from_outside(page):
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", markup)
    assert sources and all(s.startswith(("data:", "#")) for s in sources)


def test_files_travel_whole(page):
    for entry in NAMES:
        link = re.search(rf'download="{re.escape(entry.path.name)}" href="data:[^,]*,([^"]+)"', page)
        assert base64.b64decode(link[1]) == entry.path.read_bytes()


def test_every_layout_that_holds_an_encoder_can_be_downloaded(page, tmp_path):
    from stl_algebra.layouts import WRITERS, read

    entry = next(e for e in NAMES if e.exact and e.ring == "Z")
    for suffix in WRITERS:
        link = re.search(rf'download="{re.escape(entry.name)}{re.escape(suffix)}" href="data:[^,]*,([^"]+)"', page)
        assert link, suffix
        file = tmp_path / f"scheme{suffix}"
        file.write_bytes(base64.b64decode(link[1]))
        if suffix not in (".tex", ".py", ".c"):
            assert read(file)[0].encoder == entry.load()


def test_ranks_stand_beside_the_best_known_of_their_ring():
    files = [e.path for e in catalogue() if e.target == "matmul:4x4x4" and e.exact]
    table = {(line.format, line.ring): (line.ours, line.known) for line in lines(list(cards(files)))}
    assert table["4×4×4", "GF(2)"] == (47, "47") and table["4×4×4", "Z"] == (49, "49")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_opens_filters_and_follows_links(page, tmp_path):
    entry = next(e for e in NAMES if e.exact)
    clicks = f"""<script>
    const box = document.getElementById("f-format"); box.value = "2x2x3"; box.dispatchEvent(new Event("change"));
    document.body.dataset.filtered = document.getElementById("shown").textContent;
    box.value = ""; box.dispatchEvent(new Event("change"));
    document.querySelector('[id="e-{entry.name}"] summary').click();
    </script>"""
    file = tmp_path / "atlas.html"
    file.write_text(page.replace("</body>", clicks + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    dom = done.stdout
    count = sum(e.target == "matmul:2x2x3" for e in NAMES)
    assert f'data-filtered="{count} of {len(NAMES)}"' in dom
    opened = re.search(rf'<details id="e-{re.escape(entry.name)}".*?</details>', dom, re.DOTALL)[0]
    assert "<svg" in opened and "proven over" in opened and "<template" not in opened
    assert 'class="main-svg"' in dom  # plotly drew


def test_what_files_say_is_escaped(tmp_path):
    from stl_algebra import save

    evil = (
        NAMES[0].load().with_origin(family="<img src=x onerror=alert(1)>", command="</script><script>alert(2)</script>")
    )
    page = atlas([save(evil, tmp_path)])
    assert "<img src=x" not in page and "alert(2)</script>" not in page.replace("&lt;/script&gt;", "")
    assert TEMPLATE.exists()
