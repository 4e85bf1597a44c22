"""Other people's layouts of bilinear algorithms: one front door that reads, one that writes.

>>> import tempfile, pathlib
>>> from stl_algebra.schemes import strassen
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> [f.name for f in write(strassen(), folder / "strassen.exp")]
['strassen.exp']
>>> (reading,) = read(folder / "strassen.exp")
>>> reading.verdict, reading.layout, reading.encoder == strassen()
('proven', 'product triples', True)

Readers, each documented in its module: `json_terms`, `arrays` (npz, npy), `formulas` (assignments, ``.exp``),
`nested` (Mathematica, Maple, Python, notebooks, MATLAB), `coefficients` (blocks, sizes, bit masks, border schemes),
`sms`, `bini`, and our own `stl_algebra.files`.
"""

from .door import WRITERS, Readings, read, write
from .judge import Raw, Reading, judge
from .source import LARGE, NORMAL, Budget, Source

__all__ = ["LARGE", "NORMAL", "WRITERS", "Budget", "Raw", "Reading", "Readings", "Source", "judge", "read", "write"]
