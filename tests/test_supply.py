"""What is installed: pinned with hashes, from no named host, within the ranges of pyproject.toml, licences known."""

import csv
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Chosen by device, with the packages of its vendor: not in the lock.
BY_DEVICE = {"torch", "triton"}
PINS = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)([^\\\n]*)\\?\n((?:    --hash=\S+(?: \\)?\n?)*)", LOCK, re.M)


def wanted():
    extras = PROJECT["optional-dependencies"]
    rows = [*PROJECT["dependencies"], *extras["notebooks"], *extras["atlas"], *extras["dev"]]
    return [r for r in map(Requirement, rows) if r.name not in BY_DEVICE and r.name != "stl-algebra"]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement):
    pins = [version for name, version, *_ in PINS if canonicalize_name(name) == canonicalize_name(requirement.name)]
    assert pins and all(requirement.specifier.contains(v, prereleases=True) for v in pins), pins


def test_every_pin_has_hashes_and_no_host_is_named():
    names = {n for n, *_ in PINS}
    assert len(PINS) == len(re.findall(r"^[A-Za-z0-9]", LOCK, re.M)) > 100
    assert all(hashes.count("--hash=sha256:") >= 1 for *_, hashes in PINS)
    assert "://" not in LOCK and "--index" not in LOCK
    assert not [n for n in names if n in BY_DEVICE or n.startswith(("nvidia", "cuda"))]


def test_licences_are_listed_and_allow_use():
    with (ROOT / "results" / "runs" / "licences.csv").open(newline="") as stream:
        told = {canonicalize_name(r["distribution"]): r["licence"] for r in csv.DictReader(stream)}
    assert {canonicalize_name(n) for n, *_ in PINS} | BY_DEVICE == set(told)
    kind = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software|MPL|Mozilla|Unlicense|Zlib|LGPL|DFSG|not installed here")
    assert not {n: v for n, v in told.items() if not kind.search(v) or re.search(r"\bA?GPL|SSPL|BUSL", v)}
    assert sum(v == "not installed here" for v in told.values()) < 10
