"""What `kernels.bench` measures: shapes, number formats, codecs, and the speed-ups to pass, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stl_algebra.files import load

from ..codec import Codec, as_codec
from ..dispatch import strassen_power

__all__ = ["SECTIONS", "Case", "file_cases", "random_codec", "strassen"]


@dataclass
class Case:
    """One line of a table: a shape in a number format, the codecs applied, and the speed-up to pass."""

    label: str
    dtype: str
    n: int
    k: int
    m: int
    stages: tuple[Codec, ...]
    target: float | None = None
    op: str = "matmul"


def random_codec(rank: int) -> Codec:
    """A dense ⟨4,4,4;rank⟩ codec, the cost of any approximate encoder; its own ε² means nothing."""
    return Codec.random((4, 4, 4), rank)


def strassen(*levels: int) -> tuple[Codec, ...]:
    """Powers of Strassen's encoder, one codec per stage."""
    return tuple(strassen_power(level) for level in levels)


def table_cases(small: bool) -> Iterator[Case]:
    """The cells of the kernel table with the speed-ups to pass."""
    cells: dict[int, tuple[tuple[int, float], ...]] = {
        16: ((4096, 2.5), (8192, 3.3), (16384, 3.6)), 24: ((4096, 1.75), (8192, 2.25), (16384, 2.45)),
        32: ((8192, 1.7), (16384, 1.85)),
    }  # fmt: skip
    if small:
        yield Case("bf16 t=4 r=16", "fp32", 128, 128, 128, (random_codec(16),))
        yield Case("exact L2", "fp64", 128, 128, 128, strassen(2))
        return
    for rank, sizes in cells.items():
        for n, target in sizes:
            yield Case(f"bf16 t=4 r={rank}", "bf16", n, n, n, (random_codec(rank),), target)
        yield Case(f"bf16 t=8 r=7·{rank}", "bf16", n, n, n,
                   (strassen(1)[0].kron(random_codec(rank)),), target)  # fmt: skip
    for n, target in ((8192, 1.1), (16384, 1.22)):
        yield Case("bf16 exact r=49", "bf16", n, n, n, strassen(2), target)
    yield Case("bf16 exact r=343", "bf16", 16384, 16384, 16384, strassen(3), None)
    for n, target, ladder in ((4096, 1.25, ((3,),)), (8192, 1.35, ((3,), (1, 3))), (16384, 1.42, ((3,), (1, 3)))):
        for levels in ladder:
            yield Case(f"fp32 exact L{sum(levels)}", "fp32", n, n, n, strassen(*levels), target)
    for n, target, ladder in ((4096, 1.12, ((2,),)), (8192, 1.25, ((3,), (1, 2)))):
        for levels in ladder:
            yield Case(f"fp64 exact L{'+'.join(map(str, levels))}", "fp64", n, n, n, strassen(*levels), target)
    for n, target in ((8192, 2.4), (16384, 3.0)):
        yield Case("fp8 t=4 r=16", "fp8", n, n, n, (random_codec(16),), target, op="fp8")
    for rank in (24, 32):
        yield Case(f"fp8 t=4 r={rank}", "fp8", 8192, 8192, 8192, (random_codec(rank),), None, op="fp8")


def shape_cases(small: bool) -> Iterator[Case]:
    """Linear layers of language models at 8192 tokens."""
    if small:
        yield Case("llm", "fp32", 64, 96, 160, (random_codec(16),))
        return
    for k, m in ((4096, 11008), (11008, 4096), (8192, 28672)):
        for rank, target in ((16, 3.3), (24, 2.25), (32, 1.7)):
            yield Case(f"llm r={rank}", "bf16", 8192, k, m, (random_codec(rank),), target)
        yield Case("llm exact r=49", "bf16", 8192, k, m, strassen(2), 1.1)


def growth_cases(small: bool) -> Iterator[Case]:
    """Cost against size, rank and tile."""
    sizes = (64, 128) if small else (1024, 2048, 4096, 8192)
    dtype = "fp32" if small else "bf16"
    for n in sizes:
        yield Case("growth n", dtype, n, n, n, (random_codec(16),))
    for rank in (16, 32) if small else (16, 20, 28, 40, 48):
        yield Case("growth r", dtype, sizes[-1], sizes[-1], sizes[-1], (random_codec(rank),))
    for level in (1, 2) if small else (1, 2, 3):
        yield Case(f"growth t={2**level}", dtype, sizes[-1], sizes[-1], sizes[-1], strassen(level))


def file_cases(path: Path, small: bool) -> Iterator[Case]:
    """An encoder file, alone and with a Strassen level in its channels, in bf16 and, if exact, in fp64."""
    codec = as_codec(load(path))
    n, m, p = codec.format
    tag = path.stem[-8:]
    both = ((f"⟨{n},{m},{p};{codec.rank}⟩ {tag}", codec),
            (f"⟨{2 * n},{2 * m},{2 * p};7·{codec.rank}⟩ {tag}", strassen(1)[0].kron(codec)))  # fmt: skip
    exact = codec.epsilon2 < 1e-9
    for size in (96,) if small else (8192, 16384):
        target = {8192: 1.1, 16384: 1.22}.get(size) if exact and codec.rank in (48, 49) else None
        for name, stage in both[: 1 if size == 8192 else 2]:
            yield Case(f"bf16 {name}", "fp32" if small else "bf16", size, size, size, (stage,), target)
    if exact:
        size = 96 if small else 8192
        yield Case(f"fp64 {both[1][0]}", "fp64", size, size, size, (both[1][1],), None if small else 1.25)


SECTIONS = {"table": table_cases, "shapes": shape_cases, "growth": growth_cases}
