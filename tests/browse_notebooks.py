"""Look at every notebook (and the atlas) as a reader does: JupyterLab in headless Chromium, wide, narrow and in grey.

    python tests/browse_notebooks.py /tmp/screens [notebooks/01_quickstart.ipynb …] [--atlas]

Writes one PNG a notebook and width, and lists what does not fit: code or output wider than its cell, error outputs,
messages of the browser. Not part of the suite: half a minute a notebook. Needs Chromium and JupyterLab; the DevTools
protocol is spoken through websocket-client, which JupyterLab brings along.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
WIDTHS = {"wide": (1280, False), "narrow": (480, False), "grey": (1280, True)}
READY = "document.querySelectorAll('.jp-Notebook .jp-Cell').length"
CELLS = """
(() => {
  const wide = [];
  document.querySelectorAll('.jp-Notebook .jp-Cell').forEach((cell, i) => {
    const parts = [['code', '.cm-scroller'], ['output', '.jp-OutputArea-output']];
    for (const [what, query] of innerWidth > 1000 ? parts : parts.slice(1))  // long code scrolls in a narrow window
      for (const e of cell.querySelectorAll(query))
        if (e.scrollWidth > e.clientWidth + 2 && e.clientWidth)
          wide.push(`cell ${i}: ${what} ${e.scrollWidth} px in ${e.clientWidth}`);
    if (cell.querySelector('[data-mime-type*="jupyter.error"], .jp-RenderedText[data-mime-type*="stderr"]'))
      wide.push(`cell ${i}: an error or a warning`);
  });
  return wide;
})()
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Page:
    """One tab over the DevTools protocol."""

    def __init__(self, port: int) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                    (page,) = [p for p in json.load(answer) if p["type"] == "page"][:1]
                break
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60, suppress_origin=True)
        self.count = 0

    def call(self, method: str, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.count:
                return message.get("result", message)

    def value(self, expression: str):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def shoot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def size(self, width: int, height: int, grey: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedVisionDeficiency", type="achromatopsia" if grey else "none")

    def wait(self, expression: str, seconds: float = 60.0):
        deadline, last = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            now = self.value(expression)
            if now and now == last:
                return now
            last = now
            time.sleep(1.0)
        return last


def notebooks(page: Page, port: int, files: list[Path], out: Path) -> list[str]:
    """A screenshot a notebook and width; what does not fit."""
    found = []
    page.call("Page.navigate", url=f"http://127.0.0.1:{port}/lab")
    page.wait("document.querySelectorAll('#jp-main-dock-panel').length")  # the first start takes longest
    for file in files:
        for name, (width, grey) in WIDTHS.items():
            page.size(width, 1200, grey)
            page.call("Page.navigate", url=f"http://127.0.0.1:{port}/lab/tree/{file.name}?reset")
            cells = page.wait(READY, 120.0)
            page.value("window.jupyterapp.commands.execute('application:set-mode', {mode: 'single-document'})")
            page.value("window.jupyterapp.shell.collapseLeft(), window.jupyterapp.shell.collapseRight(), 1")
            page.value("document.querySelectorAll('.jp-toast-button').forEach(b => b.click())")
            page.size(width, 400 + 900 * len(json.loads(file.read_text())["cells"]) // 2, grey)
            time.sleep(4)
            height = page.value(
                "(() => { const last = [...document.querySelectorAll('.jp-Notebook .jp-Cell')].pop();"
                " return Math.ceil(last.getBoundingClientRect().bottom) + 60; })()"
            )
            page.size(width, max(600, min(height or 4000, 16000)), grey)
            time.sleep(1)
            page.shoot(out / f"{file.stem}-{name}.png")
            if not grey:
                found += [f"{file.name} {name} ({cells} cells): {line}" for line in page.value(CELLS) or []]
    return found


def atlas(page: Page, out: Path) -> list[str]:
    """The atlas offline, wide and on a phone, with one encoder opened."""
    sys.path.insert(0, str(ROOT))
    from search.atlas import atlas as written
    from stl_algebra.catalogue import folder

    file = out / "atlas.html"
    file.write_text(written(sorted(folder().glob("*.safetensors"))), encoding="utf-8")
    page.call("Network.enable")
    page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    found = []
    for name, (width, grey) in {"wide": (1280, False), "phone": (390, False), "grey": (1280, True)}.items():
        page.size(width, 900, grey)
        page.call("Page.navigate", url=file.as_uri())
        page.wait("document.querySelectorAll('.main-svg').length", 40)
        page.shoot(out / f"atlas-{name}-top.png")
        overflow = page.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if overflow:
            found.append(f"atlas {name}: {overflow} px wider than the window")
        page.value(
            "(() => { const g = document.getElementById('f-group'); g.selectedIndex = 3;"
            " g.dispatchEvent(new Event('change'));"
            " document.querySelector('details:not([hidden]) summary').click(); g.scrollIntoView(); })()"
        )
        time.sleep(1)
        page.shoot(out / f"atlas-{name}-encoder.png")
        found.append(f"atlas {name}: group filter shows {page.value('document.getElementById(`shown`).textContent')}")
        page.value("document.querySelector('.figures').scrollIntoView()")
        time.sleep(1)
        page.shoot(out / f"atlas-{name}-plot.png")
    return found


def main() -> None:
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    if not words or CHROMIUM is None:
        raise SystemExit(__doc__ if CHROMIUM else "no Chromium on this machine")
    out = Path(words[0])
    out.mkdir(parents=True, exist_ok=True)
    files = [Path(w).resolve() for w in words[1:]]
    files = files or ([] if "--atlas" in sys.argv else sorted((ROOT / "notebooks").glob("*.ipynb")))
    debug, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as home:
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        flags += ["--disable-background-networking", "--remote-allow-origins=*", f"--remote-debugging-port={debug}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = [subprocess.Popen([CHROMIUM, *flags, f"--user-data-dir={home}/profile", "about:blank"], **quiet)]
        if files:
            lab = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}"]
            lab += [
                "--IdentityProvider.token=",
                f"--ServerApp.root_dir={ROOT / 'notebooks'}",
                "--ServerApp.port_retries=0",
            ]
            lab += ["--LabApp.expose_app_in_browser=True"]
            place = {"JUPYTER_CONFIG_DIR": f"{home}/jupyter", "JUPYTER_DATA_DIR": f"{home}/data"}
            started.append(subprocess.Popen(lab, env=os.environ | place, **quiet))
        try:
            page = Page(debug)
            page.call("Page.enable")
            if files:
                time.sleep(8)
                print("\n".join(notebooks(page, port, files, out)))
            if "--atlas" in sys.argv:
                print("\n".join(atlas(page, out)))
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(20)


if __name__ == "__main__":
    main()
