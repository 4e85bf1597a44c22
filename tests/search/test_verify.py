"""python -m search.verify: exit code 0 proven, 1 refuted, 2 unusable; one line per refusal; valid JSON."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search import verify as verb
from stl_algebra import save
from stl_algebra.layouts import Reading, write
from stl_algebra.schemes import hopcroft, strassen, winograd

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "tests" / "vectors" / "reference_schemes"


def call(*words):
    result = CliRunner().invoke(verb.app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_whole_reference_set_from_a_shell():
    files = sorted(map(str, REFERENCE.glob("*.json")))
    done = subprocess.run([sys.executable, "-m", "search.verify", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert "21 of 21 schemes proven, 0 refuted" in done.stdout and "⟨4,4,4;48⟩" in done.stdout


def test_json_is_one_document():
    result = call(REFERENCE, "--json")
    data = json.loads(result.stdout)
    assert result.exit_code == 0 and len(data["schemes"]) == 21 and data["errors"] == []
    rows = {Path(r["file"]).stem: r for r in data["schemes"]}
    strass = rows["s222r7_strassen_Z"]
    assert (
        strass["proven"] and strass["scheme"] == "⟨2,2,2;7⟩" and strass["convention"] == "C" and strass["failing"] == 0
    )
    assert strass["rings"][:3] == ["Z", "GF(2)", "GF(3)"]
    assert "GF(2)" not in rows["s444r48_dumas_Q"]["rings"] and "GF(3)" in rows["s444r48_dumas_Q"]["rings"]


@pytest.fixture
def refuted(tmp_path):
    data = json.loads((REFERENCE / "s222r7_strassen_Z.json").read_text())
    data["u"][0][0] += 1
    (tmp_path / "bad.json").write_text(json.dumps(data))
    return tmp_path / "bad.json"


def test_exit_codes(tmp_path, refuted):
    good = save(strassen(), tmp_path / "e")
    approximate = save(winograd().drop_terms([3]), tmp_path / "e")
    (tmp_path / "broken.json").write_text("{")
    assert call(good).exit_code == 0
    assert call(good, approximate).exit_code == 0
    assert call(good, refuted).exit_code == 1
    assert call(good, refuted, tmp_path / "broken.json").exit_code == 2
    assert call(tmp_path / "missing.json").exit_code == 2
    (tmp_path / "nothing").mkdir()
    assert call(tmp_path / "nothing").exit_code == 2


def test_a_verb_that_forgives_would_be_seen(tmp_path, refuted, monkeypatch):
    monkeypatch.setattr(Reading, "verdict", "approximate")
    with pytest.raises(AssertionError):
        test_exit_codes(tmp_path, refuted)


def test_refusals_are_one_line_each_on_standard_error(tmp_path):
    (tmp_path / "a.json").write_text("{" * 10)
    (tmp_path / "b.txt").write_text("1\n2\n" * 1000)
    (tmp_path / "c.npz").write_bytes(b"PK" + bytes(100))
    (tmp_path / "d.safetensors").write_bytes(bytes(100))
    (tmp_path / "e\nf.json").write_text("[[")
    result = call(tmp_path)
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 5 and all(line.startswith("refused: ") for line in lines)
    assert all(name in result.stderr for name in ("a.json", "b.txt", "c.npz", "d.safetensors"))
    assert "0 of 0 schemes proven, 0 refuted, 0 approximate, 5 files refused" in result.stdout
    assert len(json.loads(call(tmp_path, "--json").stdout)["errors"]) == 5


def test_failing_equations_are_shown_with_places(refuted):
    row = json.loads(call(refuted, "--json").stdout)["schemes"][0]
    assert not row["proven"] and row["failing"] > 0 and "A[0,0]" in row["first"][0] and "needed" in row["first"][0]
    assert "refuted" in call(refuted).stdout


def test_gf2_only_says_so(tmp_path):
    data = json.loads((REFERENCE / "s444r47_alphatensor_GF2.json").read_text())
    (tmp_path / "z.json").write_text(json.dumps(data | {"ring": "Z"}))
    result = call(tmp_path / "z.json")
    assert result.exit_code == 1 and "valid modulo 2 only" in result.stdout
    assert call(REFERENCE / "s444r47_alphatensor_GF2.json").exit_code == 0


def test_another_ring(tmp_path):
    path = save(hopcroft(), tmp_path)
    data = json.loads(call(path, "--ring", "GF(2)", "--json").stdout)
    assert data["schemes"][0]["ring"] == "GF(2)" and data["schemes"][0]["proven"]
    refused = call(REFERENCE / "s444r48_dumas_Q.json", "--ring", "GF(2)")
    assert refused.exit_code == 2 and "denominator" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
    unknown = call(path, "--ring", "GF(6)")
    assert unknown.exit_code == 2 and "prime power" in unknown.stderr


def test_huge_wrong_coefficients_are_refuted_not_refused(tmp_path):
    data = json.loads((REFERENCE / "s222r7_strassen_Z.json").read_text())
    for key in "uvw":
        data[key][0][0] = "9" * 1900
    (tmp_path / "huge.json").write_text(json.dumps(data))
    assert call(tmp_path / "huge.json").exit_code == 1


def test_infinite_residuals_are_valid_json(tmp_path):
    from stl_algebra import Encoder

    path = save(Encoder.build((1, 1, 1), [[1e308]], [[1e308]], [[1.0]], ring="R64"), tmp_path)
    result = call(path, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["schemes"][0]["approximate"]


def test_folders_and_sms_triples_count_once(tmp_path):
    write(hopcroft(), tmp_path / "a.json")
    save(strassen(), tmp_path)
    for side, f in zip("LRP", strassen().factors, strict=True):
        a = f.num
        cells = [f"{i + 1} {j + 1} {a[i, j]}" for i in range(a.shape[0]) for j in range(a.shape[1]) if a[i, j]]
        (tmp_path / f"s_{side}.sms").write_text("\n".join([f"{a.shape[0]} {a.shape[1]} M", *cells, "0 0 0"]))
    (tmp_path / "notes.md").write_text("not a scheme")
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert "6 of 6 schemes proven" in call(tmp_path).stdout


# ------------------------------------------------------------------ what is reported
def test_costs_ranks_and_rings_are_reported(tmp_path):
    row = json.loads(call(save(strassen(), tmp_path), "--json").stdout)["schemes"][0]
    assert (row["additions"], row["depth"], row["kappa2"], row["best_known"]) == (18, 3, 4.0, 7)
    assert row["additions_shared"] == 18 and abs(row["gamma_exponent"] - 2.7716) < 1e-4
    assert row["known"] == "the best known rank over Z (Strassen 1969)"
    row = json.loads(call(save(winograd().to_ring("GF(2)"), tmp_path), "--json").stdout)["schemes"][0]
    assert row["additions_shared"] == 15 and row["kappa2"] is None and "over GF(2)" in row["known"]
    shown = call(save(strassen().to_ring("GF(4)"), tmp_path)).stdout
    assert "x^2+x+1" in shown.replace("\n", "") and "RECORD" not in shown


def test_records_modulo_2_and_border_schemes_are_no_records():
    for path in (REFERENCE / "s444r47_alphatensor_GF2.json", REFERENCE.parent / "cases" / "border_223_rank10.txt"):
        row = json.loads(call(path, "--json").stdout)["schemes"][0]
        assert row["proven"] and row["known"].startswith("the best known") and "RECORD" not in row["known"]


def test_numerical_rings_report_their_residual(tmp_path):
    path = save(strassen(), tmp_path)
    row = json.loads(call(path, "--ring", "R64", "--json").stdout)["schemes"][0]
    assert row["verdict"] == "numerical" and row["residual"] == 0 and not row["proven"]
    result = call(path, "--ring", "R64")
    assert (
        result.exit_code == 0
        and "refuted" not in result.stdout.split("schemes proven")[0]
        and "residual" in result.stdout
    )


def test_every_file_of_a_folder_is_named(tmp_path, refuted):
    write(strassen(), tmp_path / "a.exp")
    (tmp_path / "notes.md").write_text("nothing")
    (tmp_path / "broken.m").write_text("{{{")
    (tmp_path / "words").write_text("just words")
    result = call(tmp_path, "--json")
    data = json.loads(result.stdout)
    named = [r["file"] for r in data["schemes"]] + data["no_schemes"] + data["errors"]
    assert result.exit_code == 2
    for name in ("a.exp", "bad.json", "notes.md", "broken.m", "words"):
        assert sum(str(tmp_path / name) in v for v in named) == 1, name


def test_a_target_may_be_named(tmp_path):
    path = REFERENCE.parent / "cases" / "karatsuba_polynomial_L.sms"
    assert call(path, "--target", "polymul:2x2").exit_code == 0
    wrong = call(path, "--target", "matmul:2x2x2")
    assert wrong.exit_code == 2 and "shape" in wrong.stderr


def test_a_guessed_target_is_said_and_never_refutes(tmp_path):
    """The shapes of Karatsuba's matrices fit one target, those of a product modulo x² + 1 several others."""
    path = REFERENCE.parent / "cases" / "karatsuba_polynomial_L.sms"
    shown = " ".join(call(path).stdout.split())
    assert "guessed" in shown and json.loads(call(path, "--json").stdout)["schemes"][0]["target_guessed"]
    assert "guessed" not in call(path, "--target", "polymul:2x2").stdout
    odd = complex_product_of_conjugates()
    for side, a in zip("LRP", odd, strict=True):
        cells = [f"{i + 1} {j + 1} {v}" for i, row in enumerate(a) for j, v in enumerate(row) if v]
        (tmp_path / f"s_{side}.sms").write_text("\n".join([f"{len(a)} {len(a[0])} M", *cells, "0 0 0"]))
    result = call(tmp_path / "s_L.sms", "--json")
    row = json.loads(result.stdout)["schemes"][0]
    assert result.exit_code == 1 and row["verdict"] == "unproven" and row["target_guessed"] and not row["proven"]
    shown = call(tmp_path / "s_L.sms").stdout
    assert "0 refuted, 1 without the guessed target" in " ".join(shown.split()) and "--target" in shown
    named = call(tmp_path / "s_L.sms", "--target", "complex", "--json")
    assert named.exit_code == 1 and json.loads(named.stdout)["schemes"][0]["verdict"] == "refuted"


def complex_product_of_conjugates():
    """A bilinear map with a name of nobody's: (a + bi)(c − di) by its four products."""
    return ([[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 1]], [[1, 0, 0, 1], [0, -1, 1, 0]])


def test_symmetry_is_reported(tmp_path):
    row = json.loads(call(save(strassen(), tmp_path), "--json").stdout)["schemes"][0]
    assert row["symmetry"] == 36  # S₃ × S₃ (Burichenko 2014)
