"""Licences of what `requirements.lock` names, as installed here: ``make licences`` writes results/runs/licences.csv."""

import csv
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def licence(name: str) -> tuple[str, str]:
    """(version, licence) as the distribution states it; empty if it is not installed here."""
    try:
        about = distribution(name).metadata
    except PackageNotFoundError:
        return "", ""
    classified = [c.split("::")[-1].strip() for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    stated = (about.get("License") or "").strip().splitlines()
    return about["Version"], about.get("License-Expression") or "; ".join(classified) or (stated or [""])[0][:80]


def main() -> None:
    names = dict.fromkeys(re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", Path(sys.argv[1]).read_text(), re.M))
    with Path(sys.argv[2]).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["distribution", "version", "licence"])
        for name in sorted([*names, "torch", "triton"]):
            version, stated = licence(name)
            writer.writerow([name, version, stated or "not installed here"])


if __name__ == "__main__":
    main()
