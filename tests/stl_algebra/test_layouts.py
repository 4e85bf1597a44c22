"""Other people's layouts: read with either convention, judged, written back, and refused when damaged or hostile."""

import json
import shutil
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stl_algebra import Encoder, EncoderFileError, save, verify
from stl_algebra.layouts import read, write
from stl_algebra.schemes import hopcroft, laderman, standard, strassen, winograd

REFERENCE = sorted((Path(__file__).parents[1] / "vectors" / "reference_schemes").glob("*.json"))


def one(path):
    (reading,) = read(path)
    return reading


def refused(path, *fields):
    with pytest.raises(EncoderFileError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 2000 and any(f in text for f in fields), text
    return text


# ----------------------------------------------------------------- reading
@pytest.mark.parametrize("path", REFERENCE, ids=lambda p: p.stem)
def test_reference_schemes(path):
    r = one(path)
    data = json.loads(path.read_text())
    assert r.report.holds and not r.transposed and r.note == "" and r.layout == "rows"
    assert r.encoder.ring.name == data["ring"] and r.encoder.rank == data["rank"]


def changed(tmp_path, path, change):
    data = json.loads(path.read_text())
    change(data)
    out = tmp_path / path.name
    out.write_text(json.dumps(data))
    return out


def named(stem):
    return next(p for p in REFERENCE if stem in p.name)


def test_transposition_is_detected(tmp_path):
    for stem in ("222r7_strassen", "234r20", "333r23_laderman", "444r48_alphaevolve_Qi"):

        def turn(data):
            n, p = data["n"], data["p"]
            data["w"] = [data["w"][i * p + j] for j in range(p) for i in range(n)]

        r = one(changed(tmp_path, named(stem), turn))
        assert r.report.holds and r.transposed and r.encoder == one(named(stem)).encoder


def test_gf2_only_over_z_says_so(tmp_path):
    path = named("444r47")
    r = one(changed(tmp_path, path, lambda d: d.update(ring="Z")))
    assert not r.report.holds and r.note == "valid modulo 2 only"


def test_refuted_schemes_show_places(tmp_path):
    def spoil(data):
        data["u"][0][0] += 1

    r = one(changed(tmp_path, named("333r23_laderman"), spoil))
    assert not r.report.holds and r.report.failing > 0 and len(r.report.first) >= 1 and r.note == ""

    def drop(data):
        data["rank"] -= 1
        for k in "uvw":
            data[k] = [row[:-1] for row in data[k]]

    assert not one(changed(tmp_path, named("222r7_strassen"), drop)).report.holds


def test_big_coefficients_are_judged_not_refused(tmp_path):
    def spoil(data):
        data["u"][0][0], data["v"][0][0], data["w"][0][0] = ("9" * 1900,) * 3

    r = one(changed(tmp_path, named("222r7_strassen"), spoil))
    assert not r.report.holds and "bits" in str(r.report)
    spoiled = changed(tmp_path, named("222r7_dps_smallrat"), lambda d: d["u"][0].__setitem__(0, "1/1000000007"))
    assert not one(spoiled).report.holds


# ----------------------------------------------------------------- round trips
@pytest.mark.parametrize(
    "make",
    [
        strassen,
        hopcroft,
        lambda: hopcroft().rotate(),
        laderman,
        lambda: winograd().to_ring("GF(2)"),
        lambda: standard(1, 2, 3),
        lambda: strassen().change_basis([["1/2", 1], [0, 3]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]),
        lambda: strassen().drop_terms(range(7)),
    ],
)
def test_json_and_npz(tmp_path, make):
    e = make()
    write(e, tmp_path / "a.json")
    r = one(tmp_path / "a.json")
    assert r.encoder.e_x.num.tolist() == e.e_x.num.tolist() and r.encoder.ring == e.ring and r.layout == "terms"
    assert r.report.holds == verify(e).holds and (r.encoder == e or not r.report.holds)
    assert not r.report.holds or r.note == ""
    if r.report.holds and min(e.format[0], e.format[2]) > 1:
        assert r.transposed
    if (e.ring.name == "Z" and e.rank) or e.ring.name == "Q":
        write(e, tmp_path / "a.npz")
        assert one(tmp_path / "a.npz").encoder == e


def test_alphatensor_stack_of_square_schemes(tmp_path):
    parts = {}
    for e in (strassen(), laderman()):
        n = e.format[0]
        w = e.d.num.reshape(n, n, -1).transpose(1, 0, 2).reshape(n * n, -1)
        parts[",".join(map(str, e.format))] = np.stack([e.e_x.num.T, e.e_w.num.T, w]).astype(np.int8)
    np.savez(tmp_path / "all.npz", **parts)
    readings = read(tmp_path / "all.npz")
    assert [r.encoder for r in readings] == [strassen(), laderman()] and all(r.transposed for r in readings)


def text_of(e, transform=str):
    blocks = [f.num if axis == 2 else f.num.T for axis, f in enumerate(e.factors)]
    return "\n# next\n".join("\n".join(" ".join(transform(int(v)) for v in row) for row in b) for b in blocks)


def test_coefficient_text(tmp_path):
    (tmp_path / "a.txt").write_text("# classic\n" + text_of(hopcroft()))
    r = one(tmp_path / "a.txt")
    assert r.encoder == hopcroft() and r.layout == "text" and not r.transposed
    (tmp_path / "b.txt").write_text(text_of(strassen(), lambda v: f"{2 * v}/2,"))
    assert one(tmp_path / "b.txt").encoder == strassen()


#: Bini, Capovani, Lotti and Romani (1979): [[p11, p12], [p21, 0]] times a 2×2 matrix in five products, up to ε.
#: Each line: sign and entries of A, entries of B, entries of the trace form's third matrix z (z_ki goes to C_ik).
BINI = [
    (1, {"12": "1", "11": "x"}, {"12": "1", "22": "x"}, {"21": "1"}),
    (1, {"21": "1", "11": "x"}, {"11": "1"}, {"11": "1", "12": "x"}),
    (-1, {"12": "1"}, {"12": "1"}, {"11": "1", "21": "1", "22": "x"}),
    (-1, {"21": "1"}, {"11": "1", "12": "1", "21": "x"}, {"11": "1"}),
    (1, {"12": "1", "21": "1"}, {"12": "1", "21": "x"}, {"11": "1", "22": "x"}),
]


def bini_text():
    """⟨3,2,2;10⟩ of order 1 in the classic text layout: the five products twice, the second time turned upside down."""
    a, b, c = ([["0"] * 10 for _ in range(rows)] for rows in (6, 4, 6))
    for copy in range(2):
        row = {"1": 0, "2": 1} if copy == 0 else {"1": 2, "2": 1}  # rows of A and C
        inner = {"1": 0, "2": 1} if copy == 0 else {"1": 1, "2": 0}  # columns of A, rows of B
        for k, (sign, x, y, z) in enumerate(BINI):
            l = 5 * copy + k
            for (i, j), v in x.items():
                a[2 * row[i] + inner[j]][l] = ("-" if sign < 0 else "") + v
            for (i, j), v in y.items():
                b[2 * inner[i] + int(j) - 1][l] = v
            for (k_, i), v in z.items():
                c[2 * row[i] + int(k_) - 1][l] = {"1": "xi", "x": "1"}[v]
    return "\n#\n".join("\n".join(" ".join(cells) for cells in block) for block in (a, b, c))


def test_border_rank_of_bini(tmp_path):
    (tmp_path / "bini.txt").write_text(bini_text())
    r = one(tmp_path / "bini.txt")
    assert r.report.holds and r.encoder.format == (3, 2, 2) and r.encoder.rank == 10
    assert r.note == "border of order 1" and r.encoder.ring.name == "Q[eps]/eps^2"
    lines = bini_text().split("\n#\n")
    for block, old, new in ((2, "xi", "0"), (0, "x", "0"), (1, "x", "-x"), (0, "-1", "1")):
        spoiled = [*lines[:block], lines[block].replace(old, new, 1), *lines[block + 1 :]]
        (tmp_path / "bad.txt").write_text("\n#\n".join(spoiled))
        bad = one(tmp_path / "bad.txt")
        assert not bad.report.holds and "border" not in bad.note


def test_orders_of_epsilon(tmp_path):
    """1/ε·(ε·b + …): what vanishes with ε is no failure, what stays or diverges is."""
    head = "1 1\n#\nx 0\n0 x\n#\n"
    for tail, holds in (
        ("xi 0\n0 xi", True),
        ("xi 0\nx xi", True),
        ("xi 0\n1 xi", True),
        ("xi 0\nxi xi", False),
        ("1 0\n0 xi", False),
    ):
        (tmp_path / "a.txt").write_text(head + tail)
        r = one(tmp_path / "a.txt")
        assert r.report.holds == holds and r.encoder.format == (1, 1, 2), tail


# ------------------------------------------------------------------- SMS
def write_sms(folder, e, name="s", note="", value=lambda v, den: str(Fraction(int(v), den))):
    for side, f in zip("LRP", e.factors, strict=True):
        a = f.num
        cells = [f"{i + 1} {j + 1} {value(a[i, j], f.den)}" for i, j in np.ndindex(*a.shape[:2]) if np.any(a[i, j])]
        (folder / f"{name}_{side}.sms").write_text(
            "\n".join([f"# {note}", f"{a.shape[0]} {a.shape[1]} R", *cells, "0 0 0"])
        )
    return folder / f"{name}_L.sms"


def test_sms_triples(tmp_path):
    assert one(write_sms(tmp_path, hopcroft())).encoder == hopcroft()
    e = strassen().change_basis([["1/2", 1], [0, 3]], [[1, 0], [0, 1]], [[1, 0], [0, 1]])
    r = one(write_sms(tmp_path, e, "q"))
    assert r.encoder == e and r.layout == "sms"
    (tmp_path / "q_R.sms").unlink()
    refused(tmp_path / "q_L.sms", "q_R.sms")


def test_sms_with_a_square_root(tmp_path):
    e = one(named("dps_accurate")).encoder
    assert e.ring.name == "Q(sqrt(3))"

    def value(v, den):
        return str(Fraction(int(v[0]) + 1013 * int(v[1]), den))

    path = write_sms(tmp_path, e, note="1013 is a placeholder for sqrt(3)", value=value)
    assert one(path).encoder == e
    right = (tmp_path / "s_R.sms").read_text()
    (tmp_path / "s_R.sms").write_text(right.replace("sqrt(3)", "sqrt(5)"))
    refused(path, "placeholder")
    for side in "LRP":
        file = tmp_path / f"s_{side}.sms"
        file.write_text(file.read_text().replace("sqrt(3)", "sqrt(4)").replace("sqrt(5)", "sqrt(4)"))
    refused(path, "ring")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x y M",
        "2 2",
        "² ² M",
        "99999 99999 M",
        "-1 4 M",
        "7 4 M\n1 1",
        "7 4 M\n8 1 1",
        "7 4 M\n1 1 x",
        "7 4 M\n1 1 1/0",
        "7 4 M\n" + "9" * 10**5 + " 1 1",
        "7 4 M\n² 1 1",
        "7 4 M\n1 1 " + "9" * 10**6,
        "65536 65536 M\n0 0 0",
    ],
)
def test_damaged_sms(tmp_path, content):
    path = write_sms(tmp_path, strassen())
    path.write_text(content)
    tracemalloc.start()
    refused(path, "header", "triple", "value", "content", "shape", "e_x", "line 1", "coefficients")
    assert tracemalloc.get_traced_memory()[1] < 3e7
    tracemalloc.stop()


def test_our_own_files(tmp_path):
    r = one(save(strassen(), tmp_path))
    assert r.layout == "stl" and r.report.holds
    r = one(save(strassen().drop_terms([0]), tmp_path))
    assert r.note == "declared approximate" and not r.report.holds
    shutil.copy(save(strassen(), tmp_path), tmp_path / "other.json")
    assert one(tmp_path / "other.json").layout == "stl"  # by content, not by name
    assert isinstance(r.encoder, Encoder)
