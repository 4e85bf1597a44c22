"""Damaged and hostile files of other people's layouts: one clear error each, bounded memory, nothing evaluated."""

import io
import json
import struct
import time
import tracemalloc
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stl_algebra import EncoderFileError
from stl_algebra.layouts import read, scalars, write
from stl_algebra.schemes import hopcroft


def one(path):
    (reading,) = read(path)
    return reading


def refused(path, *fields):
    with pytest.raises(EncoderFileError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 2000 and any(f in text for f in fields), text
    return text


# ------------------------------------------------------------- hostile JSON
def as_json(tmp_path, value):
    path = tmp_path / "hostile.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


GOOD = {"n": 1, "m": 1, "p": 1, "rank": 1, "ring": "Z", "u": [[1]], "v": [[1]], "w": [[1]]}


def test_the_template_is_good(tmp_path):
    assert one(as_json(tmp_path, GOOD)).report.holds


@pytest.mark.parametrize("key", list(GOOD))
@pytest.mark.parametrize(
    "value",
    [
        None,
        -1,
        0.5,
        10**30,
        "x",
        "__import__('os')",
        [],
        [[]],
        [[None]],
        [[[1, 2]]],
        [["1/0"]],
        [["1e9999"]],
        {"a": 1},
        [[1.5]],
        [["٣"]],
        [[1, 2]],
    ],
)
def test_json_fields(tmp_path, key, value):
    path = as_json(tmp_path, GOOD | {key: value})
    if key in ("ring", "rank") and not value:
        return  # no ring given: the smallest; no rank: from the shapes
    refused(path, "JSON", "n, m, p", "rank", "ring", "u", "v", "w", "shape")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1, 2",
        "[]",
        "{}",
        "[" * 10**5,
        '{"a":' * 10**5,
        '{"u": NaN}',
        json.dumps(GOOD).replace("[[1]]", "[[" + "9" * 10**6 + "]]", 1),
        json.dumps(GOOD).replace("[[1]]", '[["' + "9" * 10**6 + '"]]', 1),
        json.dumps(GOOD).replace("[[1]]", "[[Infinity]]"),
        json.dumps(GOOD).replace('"Z"', "[" * 900 + "]" * 900),
        "\x00",
        "#" * 100,
    ],
)
def test_json_text(tmp_path, text):
    refused(as_json(tmp_path, text), "JSON", "coefficient", "content", "u", "ring", "malformed")


def test_claimed_shapes_reserve_no_memory(tmp_path):
    huge = {
        "n": 64,
        "m": 64,
        "p": 64,
        "rank": 65536,
        "ring": "Q(zeta_61)",
        "u": [[]] * 4096,
        "v": [[]] * 4096,
        "w": [[]] * 4096,
    }
    tracemalloc.start()
    refused(as_json(tmp_path, huge), "u[0]", "format")
    refused(as_json(tmp_path, huge | {"rank": 0, "ring": "Z"}), "format")
    refused(as_json(tmp_path, GOOD | {"n": 10**9}), "n, m, p")
    refused(as_json(tmp_path, GOOD | {"rank": 10**9}), "rank")
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 2\n3 4",
        "1\n#\n1\n#",
        "1 2\n#\n1\n#\n1",
        "1\n#\n1\n#\ny",
        "1\n#\n1\n#\n1/0x",
        "1 1\n1 1\n#\n1 1\n#\n1 1",
        "xx\n#\n1\n#\n1",
    ],
)
def test_damaged_text(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    refused(tmp_path / "a.txt", "content", "coefficient", "shape")


def test_formulas(tmp_path):
    lines = [f"m{k + 1} = {v}" for k, v in enumerate(["(a11) * (b11)", "(a12) * (b21)"])]
    (tmp_path / "a.txt").write_text("# a comment\n" + "\n".join(lines) + "\nc11 = m1 + m2\n")
    r = one(tmp_path / "a.txt")
    assert r.layout == "formulas" and r.report.holds and r.encoder.format == (1, 2, 1)
    for bad in (
        "c11 = m1 + m3",
        "c11 = " + "9" * 10**6 + "m1",
        "c11 = m" + "9" * 10**6,
        "c99 = m1",
        "c11 = __import__('os')",
    ):
        (tmp_path / "a.txt").write_text("\n".join([*lines, bad]))
        refused(tmp_path / "a.txt", "text", "content", "line", "bits", "digits", "index")
    (tmp_path / "a.txt").write_text("m1 = (a11)" + " " * 10**6 + "* (b11)\nc11 = m1")
    assert one(tmp_path / "a.txt").report.holds  # and quickly
    (tmp_path / "a.txt").write_text("(a11) (b11)\n" * 70_000 + "c11 = m1")
    refused(tmp_path / "a.txt", "content", "line 1")


def test_not_text_at_all(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    refused(tmp_path / "a.bin", "content")
    refused(tmp_path / "missing.json", "file")
    refused(tmp_path, "file")
    with (tmp_path / "sparse.json").open("wb") as out:
        out.truncate(1 << 40)
    refused(tmp_path / "sparse.json", "size")


# -------------------------------------------------------------- hostile npz
def npy(header, body=b"", version=(1, 0)):
    text = header if isinstance(header, bytes) else repr(header).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + body


def as_npz(tmp_path, members, compression=zipfile.ZIP_DEFLATED):
    path = tmp_path / "hostile.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def whole(shape, descr="<i8", order=False):
    return {"descr": descr, "fortran_order": order, "shape": shape}


ONES = np.ones((3, 1, 1), dtype=np.int64).tobytes()


def test_the_npz_template_is_good(tmp_path):
    assert one(as_npz(tmp_path, {"1,1,1.npy": npy(whole((3, 1, 1)), ONES)})).report.holds


@pytest.mark.parametrize(
    "data",
    [
        npy(whole((3, -1, 1)), ONES),
        npy(whole((-3, -1, 1)), ONES),
        npy(whole((3, 2**40, 2**40)), ONES),
        npy(whole((3, 1, 1), "|O"), b"\x80\x04N."),
        npy(whole((3, 1, 1), ("<i8",)), ONES),
        npy(whole((3, 1, 1), [("a", "<i8")]), ONES),
        npy(whole((3, 1, 1), "|S8"), ONES),
        npy(whole((3, 1, 1)), ONES[:-1]),
        npy(whole(()), ONES),
        npy(whole((3,)), ONES),
        npy(whole("x"), ONES),
        npy(b"(" * 9000, ONES),
        npy(b"-" * 9000 + b"1", ONES),
        npy(b"__import__('os').system('true')", ONES),
        npy(b"{'a': ", ONES),
        npy({1: 2, "a": 3}, ONES),
        npy(b"'''", ONES),
        npy(b"\xff\xfe", ONES),
        npy(whole((3, 1, 1)), ONES, (9, 9)),
        b"",
        b"\x93NUMPY",
        b"PK",
    ],
)
def test_hostile_arrays(tmp_path, data):
    refused(as_npz(tmp_path, {"1,1,1.npy": data}), "archive", "1,1,1", "key")


def test_pickles_are_never_opened(tmp_path):
    """np.savez of objects holds a pickle; a planted one would create a file."""

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "a.npz", **{"1,1,1": np.array([Bomb()], dtype=object)})
    assert "Pickled" in refused(tmp_path / "a.npz", "1,1,1")
    assert not (tmp_path / "exploded").exists()


def test_zip_bombs(tmp_path):
    header = npy(whole((3, 2**26, 1)))
    path = as_npz(tmp_path, {"1,1,1.npy": header + bytes(3 * 8 * 2**23)})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for k in range(6):
            archive.writestr(f"1,1,{k + 2}.npy", header + bytes(2**25))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    refused(path, "archive")
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()
    many = {f"{k},1,1.npy": b"" for k in range(5000)}
    refused(as_npz(tmp_path, many, zipfile.ZIP_STORED), "archive")


@pytest.mark.parametrize(
    "name", ["x.npy", "1,1.npy", "1,1,1/q.npy", "0,1,1.npy", "99,99,99.npy", "../1,1,1.npy", "1,1,1\n.npy", "١,1,1.npy"]
)
def test_unknown_keys(tmp_path, name):
    refused(as_npz(tmp_path, {name: npy(whole((3, 1, 1)), ONES)}), "key", "1,1,1", "shape", "format")


def test_damaged_archives(tmp_path):
    write(hopcroft(), tmp_path / "good.npz")
    data = (tmp_path / "good.npz").read_bytes()
    for at in range(30, len(data), 97):
        (tmp_path / "bad.npz").write_bytes(data[:at])
        refused(tmp_path / "bad.npz", "archive")
    refused(as_npz(tmp_path, {}), "archive")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1,1,1.npy", npy(whole((3, 1, 1)), ONES))
    body = bytearray(stream.getvalue())
    body[39] ^= 0xFF  # inside the deflated data: zlib's own error
    (tmp_path / "bad.npz").write_bytes(body)
    refused(tmp_path / "bad.npz", "archive")
    with pytest.raises(zlib.error):
        zlib.decompress(b"\xff\xff")


def test_evaluating_a_cell_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(
        scalars, "exact", lambda source, value, where: Fraction(eval(value) if isinstance(value, str) else value)
    )
    with pytest.raises(pytest.fail.Exception):
        refused(as_json(tmp_path, GOOD | {"u": [["1 + 0"]]}), "u")


# ------------------------------------------------------------------ budgets
M = (6 << 20) - 64  # just below what is allowed
BOMBS = {
    "newlines.txt": "\n" * 60_000, "more.txt": "\n" * M,
    "hashes.txt": "#\n" * (M // 2),
    "brackets.txt": "m1 = " + "(" * M,
    "nested.txt": "m1 = " + "(" * 5000 + "a11" + ")" * 5000 + "*b11\nc11 = m1",
    "double.txt": "\n".join(["s0 = a11", *(f"s{i} = s{i - 1} + s{i - 1}" for i in range(1, 50_000)),
                             "c11 = s49999*b11"]),
    "chain.txt": "\n".join(["c11 = s0", *(f"s{i} = s{i + 1}" for i in range(60_000)), "s60000 = a11*b11"]),
    "denominators.json": json.dumps({"n": [2, 2, 2], "m": 7, "v": [[1] * 4] * 7, "w": [[1] * 4] * 7,
                                     "u": [[f"1/{10**1999 + 7 * i + j}" for j in range(4)] for i in range(7)]}),
    "long.json": json.dumps({"n": [2, 2, 2], "m": 2, "v": [[1] * 4] * 2, "w": [[1] * 4] * 2,
                             "u": [["1/" + "9" * 1999, 1, 0, 0]] * 2}),
    "field.json": json.dumps({"n": [8, 8, 8], "m": 500, "ring": "Q(zeta_61)", "u": [[1] * 64] * 500,
                              "v": [[1] * 64] * 500, "w": [[1] * 64] * 500}),
    "target.json": json.dumps({"target": "*".join(["polymul:9x9"] * 15), "rank": 1, "u": [[1]], "v": [[1]],
                               "w": [[1]]}),
    "sizes.txt": "64 64 64 65536",
    "count.txt": "60000\n" + "1 1 1 1\n1\n1\n1\n" * 60_000, "order.txt": "x60i\n#\n1\n#\nx",
    "masks.txt": "60000\n" + "9 9 9\n" * 60_000, "s_L.sms": "65536 65536 M\n0 0 0",
    "triads.mpl": "T:=TriadSet([" + "Triad([" * 10**5,
    "assignments.py": "a = [1]\n" * 200_000, "fractions.m": "{{" + "1/3," * (M // 4) + "1}}",
    "bini.txt": "Bini 64 64 64 65535\n",
    "ints.json": json.dumps({"u": [[0]], "v": [[1]], "w": [[1]]}).replace("0", "1," * (M // 2 - 20) + "1"),
    "lists.m": "{{{{" + "1," * (M // 2 - 8) + "1}}}}", "row.m": "A=[" + "1 " * (M // 2 - 8) + "];B=[1];C=[1];",
    "t_L.sms": "9 9 M\n" + "1 1 1\n" * (M // 7),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_or_judged_in_two_seconds(tmp_path, name):
    path = tmp_path / name
    path.write_text(BOMBS[name])
    start = time.process_time()
    try:
        assert all(not r.report.holds or name == "chain.txt" for r in read(path))
    except EncoderFileError as error:
        assert len(str(error)) < 2000
    assert time.process_time() - start < 2


@pytest.mark.parametrize("data", [b"\x80\x04Nr\xff\xff\xff\x0f.", b"\x80\x04B\xff\xff\xff\x7f.",
                                  b"\x80\x04" + b"N0" * 10**6 + b"N.",
                                  b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
                                  b"cposix\nsystem\n(S'true'\ntR."])  # fmt: skip
def test_pickles_reserve_no_memory_and_call_nothing(tmp_path, data):
    path = as_npz(tmp_path, {"1,1,1.npy": npy(whole((3,), "|O"), data)})
    tracemalloc.start()
    refused(path, "1,1,1")
    assert tracemalloc.get_traced_memory()[1] < 3e7
    tracemalloc.stop()


def test_many_formats_in_one_archive(tmp_path):
    members = {f"{4 * n},{4 * m},{4 * p}.npy": npy(whole((3, 16 * n * m, 1), "|i1"), bytes(48 * n * m))
               for n in range(1, 9) for m in range(1, 9) for p in range(1, 7)}  # fmt: skip
    start = time.process_time()
    readings = read(as_npz(tmp_path, members))
    assert len(readings) + len(readings.refused) == len(members)
    assert time.process_time() - start < 2


def test_allow_large_lifts_the_budget(tmp_path):
    from stl_algebra.layouts import door
    from stl_algebra.layouts.source import Budget

    path = as_json(tmp_path, GOOD | {"n": 2, "m": 2, "p": 2, "rank": 1, "u": [[1]] * 4, "v": [[1]] * 4, "w": [[1]] * 4})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "NORMAL", Budget(numbers=11))
        assert "allow-large" in refused(path, "u", "v", "w")
        assert not read(path, allow_large=True)[0].report.holds
