"""Verification time by size, beside an int64 einsum and SymPy.

Run ``python -m search.benchmarks.verification`` (writes results/verification.csv). The einsum baseline is exact only
while 64 bits suffice and materialises T̂; SymPy multiplies out noncommuting symbols.
"""

from __future__ import annotations

import csv
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from stl_algebra import Encoder, verify
from stl_algebra.schemes import hopcroft, laderman, strassen
from stl_algebra.symbolic import proves_symbolically

from ..cli import console

#: Larger cases are not given to the baselines: int64 T̂ beyond 4 GB, SymPy beyond a minute.
EINSUM_ENTRIES, SYMPY_ENTRIES = 1 << 29, 1000


def cases() -> Iterator[tuple[str, Encoder]]:
    """Encoders of growing size, over Z, Q, a number field and with coefficients beyond 64 bits."""
    s, l, h = strassen(), laderman(), hopcroft()
    two, three = s.kron(s), s.kron(s).kron(s)
    yield "Strassen", s
    yield "Hopcroft-Kerr", h
    yield "Laderman", l
    yield "Strassen^2", two
    yield "Hopcroft-Kerr x Strassen", h.kron(s)
    yield "Strassen^3", three
    yield "Laderman^2", l.kron(l)
    yield "Laderman^2 x Strassen", l.kron(l).kron(s)
    yield "Strassen^4", two.kron(two)
    half = [[1, 0, 0, 0], [1, 2, 0, 0], [0, 1, 3, 0], ["1/3", 0, 1, "1/2"]]
    yield "Strassen^2, rational basis", two.change_basis(half, half, half)
    yield "Strassen^2 over Q(i)", two.to_ring("Q(i)")
    big = [[10**25, 1], [1, 0]]
    yield "Strassen, 25-digit basis", s.change_basis(big, [[1, 0], [0, 1]], [[1, 7], [0, 1]])


def einsum_verify(encoder: Encoder) -> bool:
    """The plain check in int64: T̂ by one einsum, compared with the dense target (wrong once 64 bits overflow)."""
    e_x, e_w, d = (f.num for f in encoder.factors)
    scale = encoder.e_x.den * encoder.e_w.den * encoder.d.den
    return bool(np.array_equal(np.einsum("la,lb,cl->abc", e_x, e_w, d), encoder.target.dense(np.int64) * scale))


def timed(work: Callable[[], Any], at_least: float = 0.2) -> tuple[float, Any]:
    """Median seconds of repeated calls, at least three or 0.2 s of them."""
    times: list[float] = []
    result: Any = None
    while len(times) < 3 or sum(times) < at_least:
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
        if times[0] > 5:
            break
    return float(np.median(times)), result


def main(out: Annotated[Path, typer.Option(help="CSV to write")] = Path("results/verification.csv")) -> None:
    """Measure and tabulate; every timed check must also give the right answer."""
    table = Table("case", "scheme", "ring", "equations", "seconds", "int64 einsum", "SymPy", "method")
    rows = []
    for name, encoder in cases():
        equations = int(np.prod(encoder.target.shape))
        seconds, report = timed(lambda e=encoder: verify(e))  # type: ignore[misc]
        if not report.holds:
            raise SystemExit(f"{name}: {report}")
        plain = symbolic = float("nan")
        small = encoder.ring.degree == 1 and all(f.num.dtype != object for f in encoder.factors)
        if small and equations * encoder.rank <= EINSUM_ENTRIES:
            plain, _ = timed(lambda e=encoder: einsum_verify(e))  # type: ignore[misc]
        if equations <= SYMPY_ENTRIES:
            symbolic, agrees = timed(lambda e=encoder: proves_symbolically(e))  # type: ignore[misc]
            if not agrees:
                raise SystemExit(f"{name}: SymPy disagrees")
        figures = ["" if v != v else f"{v:.2g}" for v in (seconds, plain, symbolic)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append([name, encoder.label, encoder.ring.name, equations, *figures, round(peak), report.method])
        table.add_row(name, encoder.label, encoder.ring.name, str(equations), *figures, report.method[:48])
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["case", "scheme", "ring", "equations", "seconds", "einsum_seconds", "sympy_seconds", "peak_mb", "method"]
        )
        writer.writerows(rows)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
