"""Make the numerical finds that the tests of `search.exact` start from (about ten seconds on one core).

python tests/vectors/make_finds.py
"""

from pathlib import Path

import numpy as np

from search.lm import SCHEDULES, minimise
from search.lm.invariant import Invariant
from stl_algebra import Encoder
from stl_algebra.files import save
from stl_algebra.targets import matmul

FOLDER = Path(__file__).parent / "finds"
S336 = "p:1-3-2,3-21,215-436*p:-312,-231,-2-4-613-5*p:123,12-3,1-3-2654*p:1-23,1-2-3,1-2-3456"
S245 = "p:12,12-3-4,1234-5*p:1-2,-214-3,3412-5*p:12,-4-321,1432-5"
HOPELESS = ((0.4, 0.35), (0.6, 0.15), (0.8, 0.05))
#: format, group, {orbit type: count}, restarts, iterations, slots
FINDS = (
    ((3, 3, 3), "Z3", {"3": 4, "1:<a>:+": 11}, 48, 100, 16),
    ((3, 3, 6), S336, {"24:<c,acad>:++,++,++": 1, "16:<b,a>:++,--,--": 1}, 16, 100, None),
    ((4, 4, 4), "E32", {"32": 1, "16:<cde>:+,+,+": 1}, 96, 120, 24),
    ((2, 4, 5), S245, {"8": 2, "4:<a>:+,+,+": 2, "4:<ac>:+,+,+": 2}, 192, 110, 32),
)


def main() -> None:
    """Run every search until one solution is found and file the one of least κ²."""
    for fmt, group, counts, restarts, iterations, slots in FINDS:
        parametrisation = Invariant(group, fmt, counts)
        schedule = SCHEDULES["fast"]
        if fmt == (2, 4, 5):
            schedule = SCHEDULES["default"].with_(abandon=HOPELESS, mu_start=0.1, promote_below=1e-3)
        result = minimise(matmul(*fmt), parametrisation, restarts, iterations, schedule, 0, slots=slots, stop_after=1)
        best = int(np.argmin(np.where(result.converged, result.kappa2, np.inf)))
        encoder = Encoder.build(fmt, *result.factors(best), ring="R64", origin={"group": group, "seed": 0})
        print(save(encoder, FOLDER))


if __name__ == "__main__":
    main()
