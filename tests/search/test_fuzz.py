"""The fuzzer of `tests/fuzz_inputs.py` in bounded form, and whether it sees a reader that lets a mutation through."""

import importlib.util
import sys
from pathlib import Path

import pytest

from search.core.ledger import Ledger


@pytest.fixture(scope="module")
def fuzzer():
    root = Path(__file__).parents[2]
    sys.path.insert(0, str(root))  # it imports the other fuzzer
    try:
        spec = importlib.util.spec_from_file_location("fuzz_inputs", root / "tests" / "fuzz_inputs.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(root))
    return module


def test_mutated_inputs_are_read_or_refused_in_one_line(fuzzer, tmp_path):
    outcomes = fuzzer.fuzz(480, 11, tmp_path)
    assert sum(outcomes.values()) == 480 and {n for n, _ in outcomes} == set(fuzzer.KINDS)
    assert all(outcomes[n, "refused"] > 5 for n in fuzzer.KINDS if n != "index")
    assert all(outcomes[n, "read"] > 5 for n in fuzzer.KINDS)


def test_a_ledger_that_believes_what_it_reads_would_be_seen(fuzzer, tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "_sound", lambda self, names, row: row)
    with pytest.raises(AssertionError, match="ledger"):
        fuzzer.fuzz(900, 4, tmp_path)
