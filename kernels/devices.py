"""What is known about a device: measured rates shipped as data, read by the cost model and the dispatch.

``kernels/data/<name>.json`` holds, per number format, rates of dense and batched products (TFLOP/s) against
the cube root of the work of one product, the bandwidth of the encode and decode passes (TB/s), and the time of a
launch. ``python -m kernels.bench calibrate`` measures a new device and writes its file.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stl_algebra.errors import StlError

__all__ = ["DeviceData", "load_device", "slug", "write"]

FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True, eq=False)
class DeviceData:
    """Measured rates of one device.

    ``dense[dtype]`` and ``batched[dtype]`` are lists of (size, TFLOP/s) with size = (N·K·M)^⅓ of one product;
    ``batched["split"]`` counts a split product (`kernels.split`) as one float32 product;
    ``bandwidth[dtype]`` TB/s of an encode or decode pass; ``launch_us`` microseconds per kernel launch.
    """

    name: str
    dense: dict[str, list[tuple[float, float]]]
    batched: dict[str, list[tuple[float, float]]]
    bandwidth: dict[str, float]
    launch_us: float
    exact: bool = True  # False: data of another device stands in

    def rate(self, table: str, dtype: str, size: float) -> float:
        """TFLOP/s by interpolation, linear in log(size), flat beyond the ends."""
        points = (self.dense if table == "dense" else self.batched).get(dtype)
        if not points:
            return 0.0
        if size <= points[0][0]:
            return points[0][1] * (size / points[0][0])  # below the data a product is launch- and latency-bound
        for (s0, r0), (s1, r1) in itertools.pairwise(points):
            if size <= s1:
                return r0 + (r1 - r0) * (math.log(size / s0) / math.log(s1 / s0))
        return points[-1][1]


def slug(name: str) -> str:
    """File name of a device: lower case, words joined by underscores."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


@functools.lru_cache(maxsize=16)
def _read(path: Path) -> DeviceData:
    raw = json.loads(path.read_text())
    tables = {key: {dtype: [(float(s), float(r)) for s, r in points] for dtype, points in raw[key].items()}
              for key in ("dense", "batched")}  # fmt: skip
    return DeviceData(raw["name"], tables["dense"], tables["batched"],
                      {k: float(v) for k, v in raw["bandwidth"].items()}, float(raw["launch_us"]))  # fmt: skip


def load_device(device: torch.device | str | None = None) -> DeviceData:
    """Data of ``device``, or of the nearest thing we have, marked ``exact=False``.

    ``device`` may also name a shipped file ("nvidia_h200"), to plan for a machine that is not there.

    Raises
    ------
    StlError
        If the name is neither a torch device nor a shipped file.
    """
    if isinstance(device, str) and (path := FOLDER / f"{slug(device)}.json").exists():
        return _read(path)
    try:
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        names = sorted(p.stem for p in FOLDER.glob("*.json"))
        raise StlError("device", device, "a torch device or one of " + ", ".join(names)) from None
    return _nearest(device)


@functools.lru_cache(maxsize=16)
def _nearest(device: torch.device) -> DeviceData:
    if device.type != "cuda":
        return _read(FOLDER / "cpu.json")
    name = torch.cuda.get_device_name(device)
    path = FOLDER / f"{slug(name)}.json"
    if path.exists():
        return _read(path)
    data = _read(FOLDER / "nvidia_h200.json")
    return replace(data, name=f"{name} (rates of {data.name})", exact=False)


def write(rates: dict[str, Any], folder: Path) -> Path:
    """Write what `kernels.bench.studies.calibrate` measured as a device file, one number format a line."""
    parts = []
    for key, value in rates.items():
        if key in ("dense", "batched"):
            lines = ",\n".join(f"    {json.dumps(dtype)}: {json.dumps(points)}" for dtype, points in value.items())
            parts.append(f"  {json.dumps(key)}: {{\n{lines}\n  }}")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    path = folder / f"{slug(rates['name'])}.json"
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    return path
