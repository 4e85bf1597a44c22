"""Best known ranks and proven lower bounds of ⟨n,m,p⟩, ring by ring: the one table every comparison uses.

A rank is only ever compared with ranks over the same ring: ⟨4,4,4;47⟩ holds modulo 2 and nowhere else, ⟨2,4,5;32⟩
needs ½. Schemes that hold up to powers of ε (border schemes) are compared with border ranks. All 84 formats with
2 ≤ n ≤ m ≤ p ≤ 8 are listed; orders of the dimensions do not matter.

Sources: the catalogues of Sedoglavic (fmm.univ-lille.fr) and Perminov (FastMatrixMultiplication) as of August 2026,
and the papers named in `SOURCES`, those of 2022 and later checked against the files their authors published.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import ceil, prod
from typing import TYPE_CHECKING

from .errors import StlError
from .rings import Ring, ring

if TYPE_CHECKING:
    from .encoder import Encoder
    from .targets import Target

__all__ = ["Known", "best_known", "best_rank", "border_rank", "compare", "formats", "lower_bound", "standing"]

Format = tuple[int, int, int]

#: "nmp:rank" over fields of characteristic 0; z: best over Z (with entries −1, 0, 1) where larger; 2: over GF(2) where
#: it differs from both.
_TABLE = """
222:7 223:11 224:14 225:18 226:21 227:25 228:28 233:15 234:20 235:25 236:30 237:35 238:40 244:26 245:32,z33,2:33
246:39 247:45 248:51 255:40 256:47 257:55 258:63 266:56 267:66 268:75 277:76 278:88 288:100 333:23 334:29 335:36
336:40,z42,2:42 337:49 338:55,z56,2:55 344:38 345:47 346:54 347:63,z64,2:64 348:73 355:58 356:68 357:79 358:90
366:80,z82,2:82 367:94,z96,2:96 368:108 377:111 378:126,z128,2:128 388:145,z146,2:145 444:48,z49,2:47 445:61,2:60
446:73 447:85 448:96,2:94 455:76,2:73 456:90,2:89 457:104 458:118 466:105 467:123 468:140 477:144 478:161 488:180
555:93 556:110 557:127 558:144 566:130 567:150 568:170 577:176 578:204 588:230 666:153 667:183 668:203 677:212
678:238 688:266 777:249,z250,2:248 778:277,z278,2:273 788:306,z310,2:302 888:336,z343,2:329
"""
#: Border ranks reached by published schemes, all of them upper bounds.
_BORDER = """222:7 223:10 224:13 225:16 227:22 233:14 244:24 255:37 333:20 334:27 444:46 555:90"""

CATALOGUES = "catalogues of Sedoglavic and Perminov, August 2026"
#: Where a rank was first reached, for those with a name of their own: (format, "0", "Z" or "GF(2)") → source.
SOURCES: dict[tuple[str, str], str] = {
    ("222", "0"): "Strassen 1969", ("223", "0"): "Hopcroft–Kerr 1971", ("224", "0"): "Hopcroft–Kerr 1971",
    ("225", "0"): "Hopcroft–Kerr 1971", ("233", "0"): "Hopcroft–Kerr 1971", ("234", "0"): "Hopcroft–Kerr 1971",
    ("235", "0"): "Hopcroft–Kerr 1971", ("244", "0"): "Hopcroft–Kerr 1971", ("255", "0"): "Hopcroft–Kerr 1971",
    ("245", "0"): "AlphaEvolve 2025", ("247", "0"): "AlphaEvolve 2025", ("248", "0"): "AlphaEvolve 2025",
    ("256", "0"): "AlphaEvolve 2025", ("333", "0"): "Laderman 1976", ("334", "0"): "Smirnov 2013",
    ("335", "0"): "Smirnov 2013", ("336", "0"): "Smirnov 2013", ("344", "0"): "Smirnov 2013",
    ("345", "0"): "AlphaTensor 2022", ("346", "0"): "AlphaEvolve 2025", ("347", "0"): "AlphaEvolve 2025",
    ("355", "0"): "Sedoglavic–Smirnov 2021", ("356", "0"): "AlphaEvolve 2025",
    ("444", "0"): "AlphaEvolve 2025; over Q Dumas–Pernet–Sedoglavic 2025", ("444", "Z"): "Strassen 1969, squared",
    ("444", "GF(2)"): "AlphaTensor 2022", ("445", "GF(2)"): "Kauers–Moosbauer 2022", ("445", "0"): "AlphaEvolve 2025",
    ("455", "0"): "AlphaTensor 2022", ("456", "0"): "AlphaEvolve 2025", ("555", "0"): "Moosbauer–Poole 2025",
    ("666", "0"): "Moosbauer–Poole 2025",
}  # fmt: skip
_BORDER_SOURCES = {"222": "Landsberg 2006", "223": "Bini et al. 1979"}
#: Where the files of the other border schemes are.
BORDER_CATALOGUE = "Smirnov, in Benson–Ballard's fast-matmul"


@dataclass(frozen=True)
class Known:
    """A best known rank.

    Attributes
    ----------
    rank : int
    ring : str
        The ring of the table's column: ``"Z"``, ``"GF(2)"``, ``"characteristic 0"`` or ``"border"``.
    source : str
    listed : bool
        False if the ring asked for has no column of its own and the rank is only an upper bound there (it holds over
        Z, or over the prime field): then nothing is ever called a record.
    """

    rank: int
    ring: str
    source: str
    listed: bool = True


def _parse(text: str) -> dict[Format, dict[str, int]]:
    out = {}
    for item in text.split():
        digits, _, ranks = item.partition(":")
        columns = {}
        for part in ranks.split(","):
            name = "Z" if part[0] == "z" else "GF(2)" if part.startswith("2:") else "0"
            columns[name] = int(part.removeprefix("z").removeprefix("2:"))
        out[(int(digits[0]), int(digits[1]), int(digits[2]))] = columns
    return out


_RANKS = _parse(_TABLE)
_BORDER_RANKS = _parse(_BORDER)


def _sorted(fmt: Format) -> Format:
    n, m, p = sorted(fmt)
    return n, m, p


def formats() -> list[Format]:
    """The 84 tabulated formats, sorted.

    Examples
    --------
    >>> len(formats()) > 50
    True
    """
    return sorted(_RANKS)


def best_known(fmt: Format, base: Ring | str = "Q") -> Known | None:
    """Smallest known rank of ⟨n,m,p⟩ over a ring, with its source; None if not tabulated or the ring is numerical.

    Parameters
    ----------
    fmt : (n, m, p) in any order; nmp (the standard algorithm is optimal) if one of them is 1
    base : Ring or name

    Examples
    --------
    >>> best_known((4, 4, 4), "GF(2)").rank, best_known((4, 4, 4), "Z").rank, best_known((4, 4, 4), "Q").rank
    (47, 49, 48)
    >>> best_known((2, 2, 3), "Q[eps]/eps^2").ring
    'border'
    """
    base = ring(base)
    if not base.exact:
        return None
    if base.is_border:
        rank = border_rank(fmt)
        if rank is None:
            return None
        if _sorted(fmt) not in _BORDER_RANKS:  # no better border scheme is listed than the exact one
            exact = best_known(fmt, "Q")
            return Known(rank, "border", exact.source if exact else CATALOGUES)
        key = "".join(map(str, _sorted(fmt)))
        return Known(rank, "border", _BORDER_SOURCES.get(key, BORDER_CATALOGUE))
    if min(fmt) == 1:
        return Known(prod(fmt), base.name, "the tensor is concise and its rank is nmp")
    columns = _RANKS.get(_sorted(fmt))
    if columns is None:
        return None
    key = "".join(map(str, _sorted(fmt)))
    integral = columns.get("Z", columns["0"])
    wanted, listed = "0", True
    if base.name == "Z":
        wanted = "Z"
    elif base.characteristic == 2:
        wanted, listed = "GF(2)", base.degree == 1
    elif base.characteristic:
        wanted, listed = "Z", False
    rank = {"0": columns["0"], "Z": integral, "GF(2)": columns.get("GF(2)", integral)}[wanted]
    held = wanted if wanted in columns else "Z" if wanted == "GF(2)" and "Z" in columns else "0"
    label = {"0": "characteristic 0"}.get(wanted, wanted)
    return Known(rank, label, SOURCES.get((key, held), CATALOGUES), listed)


def best_rank(fmt: Format, base: Ring | str = "Q") -> int | None:
    """The rank of `best_known`; None if not tabulated.

    Examples
    --------
    >>> best_rank((4, 4, 4)), best_rank((4, 4, 4), "Z"), best_rank((4, 4, 4), "GF(2)")
    (48, 49, 47)
    """
    known = best_known(fmt, base)
    return known.rank if known else None


def border_rank(fmt: Format) -> int | None:
    """Smallest known border rank; the exact rank over characteristic 0 where no better border scheme is known.

    Examples
    --------
    >>> border_rank((2, 2, 2))
    7
    """
    if min(fmt) == 1:
        return prod(fmt)
    columns = _BORDER_RANKS.get(_sorted(fmt)) or _RANKS.get(_sorted(fmt))
    return columns["0"] if columns else None


@lru_cache(maxsize=512)
def _bound(fmt: Format, modulo_2: bool) -> int:
    a, b, c = fmt
    if a == 1:
        return prod(fmt)
    bound = max(m * (k + n - 1) + k + n - 3 for k, m, n in permutations(fmt))
    if (a, b) == (2, 2):
        bound = max(bound, {2: 7, 3: 11, 4: 14, 5: 17}.get(c, 0), ceil(7 * c / 2) if modulo_2 else 0)
    if a >= 3:
        bound = max(bound, 2 * a * c + 2 * a - c - 2)  # it contains ⟨a,c,a⟩
    if modulo_2:  # it contains ⟨3,3,3⟩ or ⟨2,3,3⟩
        bound = max(bound, 20 if a >= 3 else 15 if b >= 3 else 0)
    return bound


def lower_bound(fmt: Format, base: Ring | str = "Q") -> int:
    """A proven lower bound of the exact rank over a ring.

    Over every ring here (each maps to a field): nmp if a dimension is 1; km + mn + k − m + n − 3 for ⟨k,m,n⟩ (Bläser
    1999); 2mn + 2n − m − 2 for ⟨n,m,n⟩ with m ≥ n ≥ 3 and what contains one (Bläser 2003); 7, 11, 14 and 17 for
    ⟨2,2,2⟩ to ⟨2,2,5⟩ (Winograd 1971, Alekseyev 1985, Alekseev–Smirnov 2013, Alekseev 2014).

    Over GF(2), and over Z, whose schemes hold modulo 2 as well: ⌈7n/2⌉ for ⟨2,2,n⟩ and 15 for ⟨2,3,3⟩
    (Hopcroft–Kerr 1971), 20 for ⟨3,3,3⟩ (Wang 2026). These are proven over no other ring.

    Examples
    --------
    >>> [lower_bound((n, n, n)) for n in (2, 3, 4, 5)], lower_bound((3, 3, 3), "GF(2)")
    ([7, 19, 34, 53], 20)
    >>> lower_bound((2, 2, 6), "Q"), lower_bound((2, 2, 6), "GF(2)")
    (19, 21)
    """
    base = ring(base)
    if base.is_border:
        raise StlError("ring", base.name, "a ring of exact schemes", "Lower bounds of border ranks are not tabulated.")
    return _bound(_sorted(fmt), base.name in ("Z", "GF(2)"))


def standing(of: Target, rank: int, base: Ring | str) -> int | None:
    """0 if ``rank`` is the best known over that ring, 1 if above it, −1 if below (a record); None if not comparable.

    Border schemes are never records, and neither is anything over a ring without a column of its own.
    """
    known = best_known(of.format, base) if of.format else None
    if known is None or not known.listed or (known.ring == "border" and rank < known.rank):
        return None
    return (rank > known.rank) - (rank < known.rank)


def compare(encoder: Encoder) -> str:
    """What the rank of a *proven* matrix-multiplication encoder means over its own ring, in words.

    Raises
    ------
    StlError
        If the encoder's identity is not proven: only proven ranks are compared with anything.

    Examples
    --------
    >>> from stl_algebra.schemes import strassen
    >>> compare(strassen())
    'the best known rank over Z (Strassen 1969)'
    """
    if not encoder.ring.exact or not encoder.is_exact:
        raise StlError("encoder", encoder.label, "a proven encoder")
    fmt = encoder.target.format
    known = best_known(fmt, encoder.ring) if fmt else None
    if known is None or fmt is None:
        return ""
    where = {"border": "border rank", "characteristic 0": "rank in characteristic 0"}.get(
        known.ring, f"rank over {known.ring}"
    )
    if not known.listed:
        return f"no table for {encoder.ring.name}; {where} {known.rank} ({known.source}) holds here too"
    gap = encoder.rank - known.rank
    if gap > 0:
        return f"{gap} above the best known {where}, {known.rank} ({known.source})"
    if gap == 0:
        return f"the best known {where} ({known.source})"
    if known.ring == "border":
        return f"below the best border rank listed, {known.rank} ({known.source})"
    return f"NEW RECORD: below the best known {where}, {known.rank} ({known.source})"
