"""Planted bugs: every line below is put into a copy of the code, and the tests named must go red.

    make mutants                       all of them
    python tests/mutants.py WORD …     those whose file or reason contains a word

A mutant is one replacement in one file with the reason why it would matter. A survivor means that no test noticed.
Not part of `make test`: it runs the tests once for every mutant.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("stl_algebra", "search", "kernels", "tests", "results/encoders", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """Replace ``old`` (which must occur exactly once) by ``new`` in ``file``; ``tests`` must then fail."""

    file: str
    old: str
    new: str
    tests: str
    why: str


M = Mutant
ALGEBRAS = "tests/search/algebras/test_algebras.py"
CORE = "tests/search/core"
CATALOG = "tests/search/test_catalog.py"
FAMILIES = "tests/search/families/test_families.py"
LIMITS = "tests/stl_algebra/test_limits.py"
MUTANTS = [
    M("stl_algebra/identities.py", "reach < 2**24", "reach < 2**27", LIMITS, "float32 rounds above 2^24"),
    M("stl_algebra/identities.py", "elif reach < 2**53", "elif reach < 2**66", LIMITS, "float64 rounds above 2^53"),
    M(
        "stl_algebra/identities.py",
        "_primes(2 * reach + 1,",
        "_primes(reach // 2**40,",
        "tests/stl_algebra/test_identities.py",
        "too few primes for the bound",
    ),
    M(
        "stl_algebra/rings.py",
        "int(max_abs(a)) * int(max_abs(b)) >= 2**62",
        "int(max_abs(a)) * int(max_abs(b)) >= 2**66",
        LIMITS,
        "products overflow int64",
    ),
    M(
        "stl_algebra/rings.py",
        "int(max_abs(a)) + int(max_abs(b)) >= 2**62",
        "int(max_abs(a)) + int(max_abs(b)) >= 2**66",
        LIMITS,
        "sums overflow int64",
    ),
    M("stl_algebra/_tiles.py", "* len(mat) >= 2**62", "* len(mat) >= 2**66", LIMITS, "changes of basis overflow int64"),
    M(
        "stl_algebra/scores.py",
        "epsilon2(encoder) + kappa2(encoder) * (2 *",
        "epsilon2(encoder) + kappa2(encoder) * (1 *",
        "tests/stl_algebra/test_scores.py",
        "one operand's rounding forgotten",
    ),
    M("stl_algebra/known.py", "445:61,2:60", "445:61,2:59", "tests/stl_algebra/test_known.py", "a wrong best rank"),
    M(
        "stl_algebra/known.py",
        "2 * a * c + 2 * a - c - 2",
        "2 * a * c + 2 * a - c + 2",
        "tests/stl_algebra/test_known.py",
        "a wrong lower bound of rectangular formats",
    ),
    M(
        "stl_algebra/catalogue.py",
        "least = min(e.rank for e in fits)",
        "least = max(e.rank for e in fits)",
        "tests/stl_algebra/test_catalogue.py",
        "the largest rank called best",
    ),
    M(
        "kernels/dispatch.py",
        "error = staged_error(stages, dtype, k)",
        "error = 0.0",
        "tests/kernels/test_planning.py",
        "an inexact encoder within a small rtol",
    ),
    M(
        "kernels/rounding.py",
        "kept * (1 - codec.epsilon2)",
        "kept",
        "tests/kernels/test_planning.py",
        "ε² forgotten by the planner",
    ),
    M(
        "kernels/rounding.py",
        "(steps + 1) / 2",
        "(steps + 1)",
        "tests/kernels/test_planning.py",
        "accumulator term doubled",
    ),
    M(
        "kernels/dispatch.py",
        "plain * PIECES",
        "budget",
        "tests/kernels/test_matmul.py",
        "a split product less accurate than float32, unasked",
    ),
    M(
        "kernels/split.py",
        "cols_by[None, :] - rows[:, None]",
        "cols_by[None, :]",
        "tests/kernels/test_split.py::test_large_coefficients_stay_inside_float16",
        "rows left unscaled before float16",
    ),
    M(
        "kernels/split.py",
        "(torch.bmm(a_lo, b) + torch.bmm(a, b_lo))",
        "torch.bmm(a_lo, b)",
        "tests/kernels/test_split.py::test_error_is_the_closed_form",
        "one of the three products forgotten",
    ),
    M(
        "kernels/triton/gemm.py",
        "lhs_low = tl.reshape(a.load([channel + R,",
        "lhs_low = tl.reshape(a.load([channel,",
        "tests/kernels/test_split.py::test_gemm_of_halves",
        "the larger halves read twice",
    ),
    M(
        "kernels/exact.py",
        "while 5 * product <= 11 * bound",
        "while 50 * product <= 11 * bound",
        "tests/kernels/test_exact.py::test_moduli_hold_the_bound",
        "too few moduli for the largest entry",
    ),
    M(
        "kernels/exact.py",
        "modulus is None and bound >= 2**63",
        "modulus is None and bound >= 2**90",
        "tests/kernels/test_exact.py::test_shapes_types_and_refusals",
        "an exact product that wraps",
    ),
    M(
        "kernels/reference.py",
        "wide = torch.promote_types(planes.dtype, torch.float32)",
        "wide = planes.dtype",
        "tests/kernels/test_reference.py",
        "the kernels' oracle accumulating in 16 bits",
    ),
    M(
        "kernels/reference.py",
        "return full[:height, :width].contiguous()",
        "return full[:height, :width]",
        "tests/kernels/test_reference.py",
        "padding kept alive behind a view",
    ),
    M("kernels/rows.py", "-length % n))", "0))", "tests/kernels/test_rows.py", "layers: ragged sequences share a tile"),
    M("kernels/rows.py", "x = x.transpose(0, -2)", "pass", "tests/kernels/test_rows.py", "layers: rows=batch is time"),
    M(
        "kernels/leak.py",
        "change[:, :position]",
        "change[:, :start]",
        "tests/kernels/test_rows.py",
        "layers: leaks inside the changed tile are missed",
    ),
    M(
        "kernels/_compat.py",
        "or forward_ad._current_level >= 0",
        "",
        "tests/kernels/test_fitting_in.py",
        "layers: forward-mode derivatives are silently zero",
    ),
    M(
        "kernels/linear.py",
        'if before.device.type == "meta" or now.device.type == "meta":',
        "if now.dtype.itemsize >= 4:",
        "tests/kernels/test_fitting_in.py",
        "layers: to_empty leaves a garbage codec",
    ),
    M(
        "kernels/modules.py",
        "module.activation_relu_or_gelu = 0",
        "pass",
        "tests/kernels/test_fitting_in.py",
        "layers: the fused path multiplies by the dense views",
    ),
    M(
        "kernels/calibration.py",
        "h = (gram * mixed[:, None, :, None])",
        "h = (gram * mixed.abs()[:, None, :, None])",
        "tests/kernels/test_calibration.py",
        "layers: a refit that is not the optimum",
    ),
    M(
        "kernels/experiments/training.py",
        "norm = torch.stack([g.square().sum(1) for g in grads]).sum(0).sqrt()",
        "norm = torch.stack([g.square().sum() for g in grads]).sum(0).sqrt().expand(len(grads[0]))",
        "tests/kernels/test_experiments.py",
        "layers: models of an ensemble are clipped together",
    ),
    # ------------------------------------------------------------------ the road of every discovery
    M(
        "search/core/unit.py",
        "json.dumps([UNIT_VERSION, self.plain()]",
        "json.dumps([UNIT_VERSION, self.label]",
        f"{CORE}/test_unit.py::test_every_field_is_in_the_key",
        "units with other settings share a key",
    ),
    M(
        "search/core/unit.py",
        "allow_nan=False)",
        "allow_nan=True)",
        f"{CORE}/test_unit.py::test_what_is_no_unit_is_refused",
        "NaN in a unit",
    ),
    M(
        "search/core/origins.py",
        "value if value in LINEAGES else",
        "value if value else",
        f"{CORE}/test_origins.py::test_lineage_is_from_scratch_only_if_all_parents_are",
        "a stranger's lineage is believed",
    ),
    M(
        "search/core/origins.py",
        'all(lineage(p) == "scratch" for p in parents)',
        'any(lineage(p) == "scratch" for p in parents)',
        f"{CORE}/test_origins.py::test_lineage_is_from_scratch_only_if_all_parents_are",
        "one parent is enough for a lineage",
    ),
    M(
        "search/core/origins.py",
        "if names and len(known) == len(names)",
        "if names",
        f"{CORE}/test_origins.py::test_incomplete_origins_are_completed",
        "parents nobody knows count as from scratch",
    ),
    M(
        "search/catalog.py",
        '"lineage": "published"}',
        "}",
        f"{CATALOG}::test_an_import_takes_no_finds_row_and_counts_as_published",
        "imported lineage counted as found",
    ),
    M(
        "search/core/catalogue.py",
        '+ (", found" if self.found else "")',
        "",
        f"{CATALOG}::test_found_and_published_do_not_compete",
        "published schemes keep found ones out",
    ),
    M(
        "search/core/catalogue.py",
        "self.kappa2 if self.exact else self.total_bf16",
        "self.kappa2",
        f"{CATALOG}::test_approximations_are_compared_by_their_whole_error",
        "approximate entries compared by κ²",
    ),
    M(
        "search/core/catalogue.py",
        'else float("inf")',
        "else 0.0",
        f"{CATALOG}::test_what_has_no_score_never_wins",
        "NaN wins",
    ),
    M(
        "search/core/catalogue.py",
        "seal.read_bytes() != _seal(self.index)",
        "False",
        f"{CATALOG}::test_a_forged_index_is_not_believed",
        "an edited index believed",
    ),
    M(
        "search/core/catalogue.py",
        "held == encoder.digest:\n                return path, False",
        "True:\n                return path, False",
        f"{CATALOG}::test_a_name_that_is_taken_by_another_encoder_becomes_longer",
        "a file of the same name taken for the same encoder",
    ),
    M(
        "search/core/catalogue.py",
        "            self.refresh()\n            part",
        "            part",
        f"{CATALOG}::test_two_catalogues_of_one_folder_lose_no_row",
        "the last writer's index wins",
    ),
    M(
        "search/core/ledger.py",
        "row[3] > now and row[2] != owner",
        "row[3] > now + 1e9",
        f"{CORE}/test_ledger.py::test_leases_are_exclusive_and_run_out",
        "a lease that somebody holds is taken",
    ),
    M(
        "search/core/ledger.py",
        "attempts >= ATTEMPTS",
        "attempts >= ATTEMPTS + 1",
        f"{CORE}/test_ledger.py::test_failures_are_retried_later_and_given_up",
        "chances per failing unit",
    ),
    M(
        "search/core/ledger.py",
        "4.0 ** (attempts - 1)",
        "1.0",
        f"{CORE}/test_ledger.py::test_failures_are_retried_later_and_given_up",
        "no back-off",
    ),
    M(
        "search/core/ledger.py",
        '(rank.get(row["status"], -1), row["attempts"]) <= mine',
        "False",
        f"{CORE}/test_ledger.py::test_ledgers_of_two_machines_merge_to_the_union",
        "a merge undoes what is settled",
    ),
    M(
        "search/core/runner.py",
        "        if new:\n            self.quiet = 0",
        "        if False:\n            self.quiet = 0",
        f"{CORE}/test_runner.py",
        "a search that improves stops",
    ),
    M(
        "search/core/runner.py",
        "if flight.granted < flight.task.seconds:",
        "if False:",
        f"{CORE}/test_runner.py::test_the_budget_holds",
        "the end of a run blamed on its units",
    ),
    M(
        "search/core/runner.py",
        "            if attempts < ATTEMPTS:",
        "            if False:",
        f"{CORE}/test_runner.py::test_transient_failures_are_retried",
        "failures are final",
    ),
    M(
        "search/core/work.py",
        "if wanted <= 0 or",
        "if",
        f"{CORE}/test_work.py::test_finds_are_read_only_until_enough_are_exact",
        "finds read on after enough are exact",
    ),
    M(
        "search/core/exactly.py",
        "NUMERICALLY_EXACT = 1e-20",
        "NUMERICALLY_EXACT = 1e-2",
        f"{CORE}/test_work.py::test_approximations_and_finds_that_resist_are_told_apart",
        "approximations handed to the rationaliser",
    ),
    M(
        "search/families/orbit.py",
        "np.argsort(np.where(hits, result.kappa2, np.inf))",
        "np.argsort(np.where(hits, -result.kappa2, np.inf))",
        f"{FAMILIES}::test_solutions_come_with_least_kappa_first",
        "least-κ² order lost",
    ),
    M(
        "search/families/orbit.py",
        "8.1e-6 * result.kappa2",
        "8.1 * result.kappa2",
        f"{FAMILIES}::test_solutions_come_with_least_kappa_first",
        "the constant 8.1e-6",
    ),
    M(
        "search/algebras/wedderburn.py",
        "sign = np.diag([-1, 1, 1, 1])",
        "sign = np.diag([1, 1, 1, 1])",
        f"{ALGEBRAS}::test_hamilton_takes_eight",
        "i² = 1",
    ),
    M(
        "search/algebras/wedderburn.py",
        "stack([ra, ia * sign, rb * sign, ib * -sign])",
        "stack([ra, ia * sign, rb * sign, ib * sign])",
        f"{ALGEBRAS}::test_group_algebras_are_proven",
        "the last quaternionic coordinate of the wrong sign",
    ),
    M(
        "search/algebras/wedderburn.py",
        "real + 3 * (g.order - real) // 2",
        "real + 2 * (g.order - real) // 2",
        f"{ALGEBRAS}::test_group_algebras_are_proven",
        "complex products in two",
    ),
    M(
        "search/algebras/indexmaps.py",
        "square[g] += 2 * sign * hits[c, g] + 1\n                    hits[c, g] += sign\n    else:",
        "square[g] += sign * hits[c, g] + 1\n                    hits[c, g] += sign\n    else:",
        f"{ALGEBRAS}::test_published_index_maps",
        "the search follows a wrong energy",
    ),
    M(
        "search/algebras/indexmaps.py",
        "((self.hits > 0).sum(axis=0) <= 1).all()",
        "((self.hits > 0).sum(axis=0) <= 2).all()",
        f"{ALGEBRAS}::test_triple_product_property_is_exactness",
        "two entries read from one coefficient called exact",
    ),
    M(
        "search/algebras/embedding.py",
        "d.num.reshape(len(formats), n * p, *d.num.shape[1:]).sum(axis=0)",
        "d.num.reshape(len(formats), n * p, *d.num.shape[1:])[0]",
        f"{ALGEBRAS}::test_joined_products_multiply_one_long_pair",
        "the second product forgotten",
    ),
    M(
        "search/algebras/puzzles.py",
        "return ~(count == 2).any(axis=-1)",
        "return ~(count >= 2).any(axis=-1)",
        f"{ALGEBRAS}::test_strong_asks_for_exactly_two",
        "puzzles that are only unique called strong",
    ),
    M(
        "search/algebras/polish.py",
        "kept.pop(int(np.argmin(losses)))",
        "kept.pop(int(np.argmax(losses)))",
        f"{ALGEBRAS}::test_truncation_drops_what_is_missed_least",
        "the representation that matters most left out",
    ),
    M(
        "search/flips/pools.py",
        "        if scheme.rank == best:",
        "        if scheme.rank >= best:",
        "tests/search/flips/test_pools.py::test_pools_go_down_from_larger_formats_and_not_below_the_floor",
        "pools accept worse schemes",
    ),
    M(
        "search/flips/scheme.py",
        "if all(x.shape == y.shape and np.array_equal(x, y)",
        "if all(x.shape == y.shape",
        "tests/search/flips/test_flips.py::test_schemes_are_known_again_from_their_encoders",
        "a symmetry taken for granted",
    ),
]


def run(mutant: Mutant, folder: Path) -> tuple[bool, float]:
    """Plant one mutant in the copy, run its tests, take it out; (killed, seconds)."""
    path = folder / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.file}: {mutant.old!r} occurs {source.count(mutant.old)} times; mend the table")
    begin = time.monotonic()
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        command = [
            sys.executable, "-m", "pytest", "-x", "-q", "-o", "addopts=--import-mode=importlib", "-p", "no:xdist",
                   *mutant.tests.split()]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return True, time.monotonic() - begin
    finally:
        path.write_text(source, encoding="utf-8")
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutant.tests}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}")
    return done.returncode == 1, time.monotonic() - begin


def main(words: list[str]) -> int:
    """Run the mutants; the exit code is the number of survivors, at most 99."""
    chosen = [m for m in MUTANTS if not words or any(w in m.file or w in m.why for w in words)]
    survivors = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            target = folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        for mutant in chosen:
            killed, seconds = run(mutant, folder)
            survivors += [] if killed else [mutant]
            print(f"{'killed  ' if killed else 'SURVIVED'} {seconds:5.1f} s  {mutant.file}: {mutant.why}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return min(len(survivors), 99)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
