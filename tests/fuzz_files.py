"""Mutate encoder files of every layout and read them: refused in one line or right, never anything else.

``python tests/fuzz_files.py --count 10000 --seed 0`` runs more mutations than the suite does.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from stl_algebra import Encoder, EncoderFileError, load, save, target, verify
from stl_algebra.layouts import read, write
from stl_algebra.schemes import hopcroft, karatsuba, standard, strassen, winograd

#: What a file may take, in the time of one core and in memory of the whole process.
SECONDS, GIGABYTES = 2.0, 1.0
VECTORS = Path(__file__).parent / "vectors" / "reference_schemes"
NASTY = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    -(2**63),
    10**30,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "1",
    "-1",
    "1/0",
    "x",
    "__import__('os').system('true')",
    "9" * 5000,
    "Q(sqrt(99999999999999999999999999999977))",
    "matmul:64x64x64",
    "polymul:4096x4096",
    "GF(33554393)",
    "R64",
    "C128",
    "Q(i)",
    "Z",
    "GF(2)",
    [],
    [[]],
    {},
    {"a": 1},
    [1, 2, 3],
    "²",
    "\n",
    "2x2x2",
    "complex*complex",
    "group:S5",
    "٣",
]


def seeds(folder: Path) -> list[Path]:
    """Valid files of every layout and ring."""
    wide = strassen().change_basis([[10**25, 1], [10**25 - 1, 1]], [[1, 0], [0, 1]], [[1, 0], [0, 1]])
    encoders = [
        strassen(),
        hopcroft(),
        winograd().to_ring("GF(2)"),
        strassen().to_ring("Q(i)"),
        wide,
        karatsuba(3),
        strassen().to_ring("R64"),
        strassen().to_ring("C128"),
        standard(2, 2, 2).drop_terms([0]),
        strassen().to_ring("GF(2^2)"),
        winograd().change_basis([["1/2", 0], [0, 3]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]),
    ]
    paths = [save(e, folder) for e in encoders]
    for k, (e, suffix) in enumerate(
        (e, suffix)
        for e in (hopcroft(), winograd().to_ring("GF(3)"), strassen().to_ring("Q(i)"), karatsuba(2))
        for suffix in (".json", ".npz", ".txt", ".exp", ".formulas")
    ):
        paths += write(e, folder / f"w{k}{suffix}")
    paths += write(strassen(), folder / "cube.npy")
    paths += write(hopcroft(), folder / "triple.sms")[:1]
    ragged = np.empty(3, dtype=object)
    ragged[:] = [f.num if axis == 2 else f.num.T for axis, f in enumerate(hopcroft().factors)]
    np.savez(folder / "objects.npz", **{"3,2,3": ragged})
    for name in ("s222r7_strassen_Z", "s222r7_dps_accurate_Qsqrt3", "s333r23_alphatensor_GF2"):
        (folder / f"{name}.json").write_text((VECTORS / f"{name}.json").read_text())
    for path in (VECTORS.parent / "cases").iterdir():
        if path.suffix != ".md":
            (folder / path.name).write_bytes(path.read_bytes())
    e = strassen()
    lists = [[f.num[l].reshape(2, 2).tolist() for f in (e.e_x, e.e_w)] + [e.d.num[:, l].reshape(2, 2).T.tolist()]
             for l in range(7)]  # fmt: skip
    triads = ", ".join(f"Triad([{', '.join(f'Matrix(2, 2, {m})' for m in term)}])" for term in lists)
    (folder / "maple.mpl").write_text(f"Tensor:=TriadSet([{triads}]):\nmap(expand, A.B):\n")
    arrays = ", ".join(
        f"np.{(f.num if axis == 2 else f.num.T) * (0.5j, 1, -2j)[axis]!r}" for axis, f in enumerate(e.factors)
    )
    (folder / "literal.py").write_text(f"decomposition_222 = ({arrays})\n")
    matlab = "\n".join(f"{n} = [{'; '.join(' '.join(map(str, row)) for row in (f.num if n == 'W' else f.num.T))}];"
                       for n, f in zip("UVW", e.factors, strict=True))  # fmt: skip
    (folder / "matrices.m").write_text(matlab)
    rows = "\n".join(f"{l + 1} ; {_row(e.d.num[:, l])} ; {_row(e.e_x.num[l])} ; {_row(e.e_w.num[l])}" for l in range(7))
    (folder / "bini.txt").write_text(f"Bini 2 2 2 7\n{rows}\n")
    sized = "2 2 2 7 " + " ".join(_row(a) for a in (e.e_x.num, e.e_w.num, e.d.num.T)) + "\n"
    (folder / "sizes.txt").write_text("2\n" + 2 * sized)
    (folder / "reduced.json").write_text(json.dumps({
        "n": [1, 2, 1], "m": 2, "u_fresh": [], "u": [[{"index": 0, "value": 1}], [{"index": 1, "value": 1}]],
        "v_fresh": [[{"index": 0, "value": 1}, {"index": 1, "value": 1}]],
        "v": [[{"index": 0, "value": 1}], [{"index": 2, "value": 1}, {"index": 0, "value": -1}]],
        "w_fresh": [[{"index": 0, "value": 1}, {"index": 1, "value": 1}]], "w": [[{"index": 2, "value": 1}]],
    }))  # fmt: skip
    made = {p for p in folder.iterdir() if not p.name.endswith(("_R.sms", "_P.sms"))}
    return sorted({*paths, *made})


def _row(a: np.ndarray) -> str:
    return " ".join(map(str, a.ravel()))


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double or insert."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        kind, at = rng.randrange(6), rng.randrange(max(1, len(out)))
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at] = rng.randrange(256)
        elif kind == 2:
            out = out[:at]
        elif kind == 3:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        elif kind == 4:
            end = min(len(out), at + rng.randrange(1, 64))
            out[at:at] = out[at:end]
        else:
            del out[at : at + rng.randrange(1, 16)]
    return bytes(out)


def mutate_value(value: object, rng: random.Random) -> object:
    """Replace something somewhere in a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        out = dict(value)
        if rng.random() < 0.1:
            del out[key]
        else:
            out[key] = mutate_value(out[key], rng)
        return out
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.05:
            return value[:at] + value[at + 1 :]
        if kind < 0.1:
            return [*value[:at], value[at], *value[at:]]
        return [*value[:at], mutate_value(value[at], rng), *value[at + 1 :]]
    if isinstance(value, str) and value[:1] in "{[" and rng.random() < 0.7:
        try:
            return json.dumps(mutate_value(json.loads(value), rng))
        except ValueError:
            pass
    if type(value) is int and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 2))
    if isinstance(value, str) and value.isdigit() and len(value) < 10 and rng.random() < 0.5:
        return str(int(value) + 1)
    if rng.random() < 0.02:
        deep: object = 0
        for _ in range(rng.choice((50, 900, 2000))):
            deep = [deep]
        return deep
    return rng.choice(NASTY)


def mutate_tokens(text: str, rng: random.Random) -> str:
    """Change, drop, double or swap tokens or lines: what stays readable and may be wrong."""
    parts = re.split(r"([A-Za-z_]\w*|\d+|\s+|.)", text) if rng.random() < 0.7 else re.split(r"(\n)", text)
    parts = [v for v in parts if v]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(5)
        if kind == 0:
            parts[at] = parts[other]
        elif kind == 1:
            parts[at], parts[other] = parts[other], parts[at]
        elif kind == 2:
            parts[at] = ""
        elif kind == 3:
            parts[at] = parts[at] * rng.choice((2, 2, 2, 5000))
        else:
            parts[at] = rng.choice(("0", "1", "-1", "2", "1/2", "0.5", "1e3", "x", "xi", "a11", "b12", "m1", "(", ")",
                                    "{", "]", "*", "+", "-", ";", "=", "#", "9" * 3000, "7/" + "3" * 900))  # fmt: skip
    return "".join(parts)


def mutate(path: Path, rng: random.Random) -> bytes:
    """A damaged version of a file: of its bytes, or of its JSON in its right place."""
    data = path.read_bytes()
    try:
        if path.suffix == ".json" and rng.random() < 0.7:
            return json.dumps(mutate_value(json.loads(data), rng)).encode()
        if path.suffix == ".safetensors" and rng.random() < 0.7:
            (length,) = struct.unpack("<Q", data[:8])
            header = json.loads(data[8 : 8 + length])
            if rng.random() < 0.8:
                header["__metadata__"] = mutate_value(header["__metadata__"], rng)
            else:
                header = mutate_value(header, rng)
            text = json.dumps(header).encode()
            return struct.pack("<Q", len(text)) + text + data[8 + length :]
        if path.suffix not in (".npz", ".npy", ".safetensors") and rng.random() < 0.7:
            return mutate_tokens(data.decode(), rng).encode()
    except (RecursionError, ValueError):
        pass
    return mutate_bytes(data, rng)


def judge(path: Path, original: Encoder | None) -> str:
    """Read a damaged file; "refused", or what it was taken for. AssertionError if that is wrong."""
    outcome = "refused"
    readers = [lambda: [r.encoder for r in read(path)]]
    if path.suffix == ".safetensors":
        readers += [lambda: [load(path)], lambda: [load(path, trust_certificate=True)]]
    for reader in readers:
        try:
            encoders = reader()
        except EncoderFileError as error:
            text = str(error)
            assert "\n" not in text and len(text) < 2000 and str(path) in text, text
            continue
        outcome = "read"
        for e in encoders:
            assert target(e.target.name) == e.target
            if e.ring.exact and verify(e):
                outcome = "proven"
                assert really(e), f"{e!r} is not exact"
    return outcome


def really(e: Encoder) -> bool:
    """T̂ = T by evaluation at random points in Python integers, which shares no code with `verify`."""
    rng, base = random.Random(1), e.ring
    k = base.degree

    def times(u: list[int], v: list[int]) -> list[int]:
        out = [0] * (2 * k - 1)
        for i, s in enumerate(u):
            for j, t in enumerate(v):
                out[i + j] += s * t
        for top in range(2 * k - 2, k - 1, -1):
            lead, out[top] = out[top], 0
            for i in range(k):
                out[top - k + i] -= lead * base.polynomial[i]
        return out[:k]

    def plus(u: list[int], v: list[int]) -> list[int]:
        return [s + t for s, t in zip(u, v, strict=True)]

    def cells(num: np.ndarray) -> list[list[list[int]]]:
        return [[[int(v) for v in np.atleast_1d(c)] for c in row] for row in num]

    x, w, d = (cells(f.num) for f in e.factors)
    scale = e.e_x.den * e.e_w.den * e.d.den
    level = k - 1 if base.is_border else 0
    for _ in range(6):
        a = [rng.randrange(-5, 6) for _ in range(e.target.shape[0])]
        b = a if e.target.quadratic else [rng.randrange(-5, 6) for _ in range(e.target.shape[1])]
        products = []
        for row, other in zip(x, w, strict=True):
            u, v = [0] * k, [0] * k
            for c, s in zip(row, a, strict=True):
                u = plus(u, [s * t for t in c])
            for c, s in zip(other, b, strict=True):
                v = plus(v, [s * t for t in c])
            products.append(times(u, v))
        for place, row in enumerate(d):
            total = [0] * k
            for c, q in zip(row, products, strict=True):
                total = plus(total, times(c, q))
            for (i, j, at), v in zip(e.target.index.tolist(), e.target.value.tolist(), strict=True):
                if at == place:
                    total[level] -= scale * v * a[i] * b[j]
            if any(t % base.characteristic if base.characteristic else t for t in total):
                return False
    return True


def fuzz(count: int, seed: int, folder: Path) -> Counter[str]:
    """Outcomes of ``count`` mutations."""
    rng = random.Random(seed)
    originals = seeds(folder)
    work = folder / "damaged"
    work.mkdir()
    outcomes: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for _ in range(count):
        path = rng.choice(originals)
        damaged = work / path.name
        if path.suffix == ".sms":
            for side in "RP":
                other = path.name.replace("_L.sms", f"_{side}.sms")
                (work / other).write_bytes((folder / other).read_bytes())
        damaged.write_bytes(mutate(path, rng))
        start = time.process_time()
        try:
            outcomes[judge(damaged, None)] += 1
        except Exception as error:
            keep = Path(tempfile.gettempdir()) / f"fuzz_{seed}_{sum(outcomes.values())}{path.suffix}"
            keep.write_bytes(damaged.read_bytes())
            raise AssertionError(
                f"{type(error).__name__}: {str(error)[:500]} on {path.name}, kept as {keep}"
            ) from error
        if (seconds := time.process_time() - start) > SECONDS:
            raise AssertionError(f"{seconds:.1f} s to judge a damaged {path.name}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if peak > max(GIGABYTES, before):  # the process may have held more before
            raise AssertionError(f"{peak:.1f} GB after a damaged {path.name}")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = fuzz(options.count, options.seed, Path(folder))
    print(f"{options.count} mutations in {time.perf_counter() - start:.0f} s: {dict(outcomes)}, no other outcome")


if __name__ == "__main__":
    sys.exit(main())
