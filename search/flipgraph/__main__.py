"""One flip-graph search from the command line; prints what was found and saves it as an encoder file.

    python -m search.flipgraph 3x3x3 --rank 23 --ring Z
    python -m search.flipgraph 4x4x4 --rank 47 --seconds 300 --save results/discovery/flipgraph
    python -m search.flipgraph 5x5x5 --rank 93 --symmetry C3 --seconds 600 --lift --save DIRECTORY
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.flipgraph import search_flips
from stl_algebra.errors import StlError


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 found, 1 not found, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m search.flipgraph", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("format", help="n x m x p, e.g. 3x3x4")
    parser.add_argument("--rank", type=int, required=True, help="rank to reach")
    parser.add_argument("--ring", default="GF(2)", help="GF(2) (default) or Z")
    parser.add_argument("--symmetry", help="C3 or C3xZ2 (square formats)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--lift", action="store_true", help="lift a scheme over GF(2) to Z or Q")
    parser.add_argument("--save", type=Path, help="folder for the encoder file")
    options = parser.parse_args(argv)
    try:
        sizes = [int(s) for s in options.format.split("x")]
    except ValueError:
        parser.error(f"format {options.format!r}: expected three sizes such as 3x3x4")
    try:
        result = search_flips(
            sizes, options.ring, options.symmetry, options.rank, options.seconds, options.seed,
            workers=options.workers,
        )  # fmt: skip
        print(f"rank {result.rank} after {result.flips:,} flips in {result.seconds:.2f} s")
        if not result.found:
            return 1
        encoder = result.encoder(options.lift, seed=options.seed, workers=options.workers)
        print(encoder)
        if options.save:
            from stl_algebra.files import save

            print(save(encoder, options.save))
    except StlError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
