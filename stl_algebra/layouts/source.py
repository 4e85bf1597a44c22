"""What every reader is given: the bytes of one file and the budget it may spend.

Files come from strangers, so nothing is evaluated, and time and memory are bounded before they are spent: a reader
asks `Source.spend` before it builds anything, and the proof asks before it starts. With the budget below no file takes
more than about two seconds or a gigabyte on one core; ``allow_large`` (``--allow-large`` on the command line) lifts
it for files one trusts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from ..errors import EncoderFileError, StlError
from ..rings import Ring, ring
from ..targets import Target, target

__all__ = ["LARGE", "NORMAL", "Budget", "Source", "directives", "says_mod_2", "target_by_name"]


@dataclass(frozen=True)
class Budget:
    """Bounds on one file, all its schemes together.

    Attributes
    ----------
    file : int
        Bytes of a binary file, and of each file read along with it (the other two of an SMS triple).
    text : int
        Bytes of a text file; readers that take more than 0.2 µs a byte allow less (`Source.limit_text`).
    unpacked : int
        Bytes of an unpacked archive: a zip bomb is refused from its directory.
    numbers : int
        Coefficients (zeros included) of all factors.
    digits : int
        Decimal digits of one number.
    digits_total : int
        Decimal digits of all *different* numbers, which bounds the common denominator.
    products : int
        Bracketed products and formulas.
    work : int
        Multiply–adds of all proofs, once for each modulus.
    """

    file: int = 1 << 26
    text: int = 6 << 20
    unpacked: int = 1 << 26
    numbers: int = 10**7
    digits: int = 2000
    digits_total: int = 20_000
    products: int = 1 << 15
    work: int = 65 * 10**8


NORMAL = Budget()
#: For ``allow_large``: what fits a machine rather than a second.
LARGE = Budget(1 << 31, 1 << 30, 1 << 32, 1 << 29, 100_000, 10**7, 1 << 22, 10**15)
CURE = "Use --allow-large (allow_large=True) if the file is trusted."


@dataclass
class Source:
    """One file: where it is, what it holds, and what may still be spent on it.

    Attributes
    ----------
    path : str
        As the caller wrote it; every refusal names it.
    data : bytes
    budget : Budget
    numbers, work : int
        Spent so far.
    """

    path: str
    data: bytes = field(repr=False)
    budget: Budget = NORMAL
    numbers: int = 0
    work: float = 0

    @classmethod
    def open(cls, path: str | os.PathLike[str], budget: Budget = NORMAL) -> Source:
        """Read a file; EncoderFileError if it is missing, no regular file, or larger than the budget."""
        file = Path(path)
        try:
            size = file.stat().st_size
            if not file.is_file():
                raise EncoderFileError(path, "file", "not a regular file", "a file with a bilinear algorithm")
            if size > budget.file:
                raise EncoderFileError(path, "size", f"{size} bytes", f"at most {budget.file} bytes", CURE)
            return cls(str(path), file.read_bytes(), budget)
        except (OSError, ValueError) as error:
            if isinstance(error, StlError):
                raise
            found = getattr(error, "strerror", None) or str(error)
            raise EncoderFileError(path, "file", found, "a readable file") from None

    def beside(self, path: Path) -> Source:
        """Another file read along with this one, on the same budget."""
        other = Source.open(path, self.budget)
        other.numbers, other.work = self.numbers, self.work
        return other

    @property
    def name(self) -> str:
        return Path(self.path).name

    @cached_property
    def text(self) -> str:
        """The content as UTF-8 text (without a byte-order mark, no-break spaces as spaces)."""
        if len(self.data) > self.budget.text:
            self.refuse("size", f"{len(self.data)} bytes of text", f"at most {self.budget.text} bytes", CURE)
        try:
            return self.data.decode("utf-8-sig").replace("\xa0", " ")
        except UnicodeDecodeError:
            self.refuse("content", "bytes that are no UTF-8 text", "a scheme in a layout of stl_algebra.layouts")

    def refuse(self, what: str, found: object, needed: str, cure: str = "") -> NoReturn:
        """Raise EncoderFileError for this file."""
        raise EncoderFileError(self.path, what, found, needed, cure)

    def limit_text(self, megabytes: float) -> None:
        """Refuse a text that is long for a slow reader: ``megabytes`` at the normal budget, in proportion."""
        most = int(megabytes * 2**20 * self.budget.text / NORMAL.text)
        if len(self.data) > most:
            self.refuse("size", f"{len(self.data)} bytes of text", f"at most {most} bytes in this layout", CURE)

    def spend(self, numbers: int, what: str = "coefficients") -> None:
        """Reserve that many coefficients, before any memory is."""
        if numbers < 0 or self.numbers + numbers > self.budget.numbers:
            self.refuse(what, f"{self.numbers + numbers} numbers", f"at most {self.budget.numbers} numbers", CURE)
        self.numbers += numbers

    def prove(self, work: float) -> None:
        """Reserve the multiply–adds of a proof, before it starts."""
        if self.work + work > self.budget.work:
            self.refuse("proof", f"{self.work + work:.2g} multiply-adds", f"at most {self.budget.work:.2g}", CURE)
        self.work += work


_DIRECTIVE = re.compile(r"(ring|target):\s*([^\s,;]+)")


def directives(source: Source) -> tuple[Ring | None, Target | None]:
    """What our own exports say in a comment of the first lines: ``# ring: GF(3)`` and ``# target: polymul:2x2``."""
    found = {}
    for line in source.text[:4096].splitlines()[:40]:
        comment = re.search(r"(?:#|//|%|\(\*)(.*)", line)
        if comment:
            found.update(dict(_DIRECTIVE.findall(comment[1])))
    try:
        return (
            ring(found["ring"]) if "ring" in found else None,
            target(found["target"]) if "target" in found else None,
        )
    except StlError as error:
        source.refuse(error.argument, error.value, error.allowed, error.cure)


def target_by_name(source: Source) -> Target | None:
    """The structured product a file of flip-cpd is named after, ``uu-444-rank19-…``: its entries have one index."""
    match = re.match(r"([gulskw][gulskwt])-([0-9])([0-9])([0-9])([abc]?)-rank[0-9]", source.name)
    if not match:
        return None
    kinds, (n, m, p, without) = match[1], match.groups()[1:]
    try:
        if kinds in ("gg", "gt") and not without:
            return target(f"matmul:{n}x{m}x{p}" if kinds == "gg" else f"symmetric:{n}x{m}")
        return target(f"structured:{kinds}:{n}x{m}x{p}{without}")
    except StlError as error:
        source.refuse(error.argument, error.value, error.allowed)


def says_mod_2(source: Source, binary: bool = False) -> bool:
    """Whether the file's name, or a comment among its first lines, calls it a scheme modulo 2."""
    if re.search(r"(?i)(?<![a-z0-9])(mod_?2|gf_?\(?2\)?|f_?2|z_?2)(?![0-9])", source.name):
        return True
    return not binary and re.search(r"(?i)#.*\b(mod(ulo)?|modus):? *(modulo *)?2\b", source.text[:4000]) is not None
