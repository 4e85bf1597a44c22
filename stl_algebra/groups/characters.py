"""Exact character tables: Dixon–Schneider modulo a prime, lifted to cyclotomic integers.

The class sums act on the centre of the group algebra; their common eigenvectors modulo a prime p ≡ 1 (mod exponent)
are the central characters (Dixon, Numer. Math. 10 (1967) 446–450; Schneider, J. Symb. Comp. 9 (1990) 601–606).  We
split with random combinations of all class matrices (seeded), which separates almost all characters at once.
The lift is exact: the multiplicity of ζ_o^j as an eigenvalue of ρ(g), o the order of g, is
m_j = (1/o) Σ_l χ(g^l) ζ_o^(-jl), an integer between 0 and χ(1) < p.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt
from typing import Any

import numpy as np

from stl_algebra._html import table_html
from stl_algebra.errors import StlError
from stl_algebra.groups.cyclotomic import Cyclotomic, format_number, power_basis
from stl_algebra.groups.large import PermutationGroup
from stl_algebra.groups.modular import (
    eigenvectors,
    matmul,
    nullspace,
    prime_congruent_one,
    root_of_unity,
    row_reduce,
)
from stl_algebra.groups.table import FiniteGroup

__all__ = ["CharacterTable", "character_table"]

IntArray = np.ndarray[Any, np.dtype[Any]]
SHOWN = 24  # classes that a notebook shows
MAX_TABLE_ENTRIES = 2**26  # integers in a character table (k² φ(e)); 512 MiB


@dataclass(frozen=True, eq=False)
class CharacterTable:
    """Irreducible complex characters of a finite group, exactly.

    Attributes
    ----------
    group : FiniteGroup
    values : Cyclotomic, shape (k, k)
        values[i, c] = χ_i on class c (class order of ``group.classes``), over Q(ζ_e), e the exponent.
    modular : int array, shape (k, k)
        The same values in GF(prime) under ζ_e ↦ root.
    prime, root : int
        p ≡ 1 (mod e) with p > 2|G|, and an element of order e modulo p.

    Characters are sorted by degree, then by the size of their field, then by values; χ_0 is trivial.
    """

    group: FiniteGroup | PermutationGroup
    values: Cyclotomic
    modular: IntArray
    prime: int
    root: int

    def __len__(self) -> int:
        return len(self.modular)

    def __repr__(self) -> str:
        return f"CharacterTable({self.group.name or 'unnamed'}, degrees {self.degrees.tolist()})"

    def _repr_html_(self) -> str:
        """The table with exact entries; the first rows and columns of a large one."""
        g, shown = self.group, range(min(len(self), SHOWN))
        more = ["…"] if len(self) > SHOWN else []
        kinds = {1: "real", 0: "complex", -1: "quaternionic"}
        head = ["", *(g.label(int(g.classes.representatives[c])) for c in shown), *more, ""]
        rows = [
            ["size", *(str(g.classes.sizes[c]) for c in shown), *more, ""],
            ["order", *(str(g.classes.orders[c]) for c in shown), *more, "type"],
        ]
        for i in shown:
            values = [format_number(self.values[i, c]) for c in shown]
            rows.append([f"χ{i}", *values, *more, kinds[int(self.indicators[i])]])
        rows += [["…"] * len(head)] if more else []
        return table_html(head, rows)

    @cached_property
    def degrees(self) -> IntArray:
        """χ_i(1), shape (k,)."""
        return self.modular[:, self.group.classes.of[self.group.identity]]

    @cached_property
    def indicators(self) -> IntArray:
        """Frobenius–Schur indicators: 1 real, 0 complex, -1 quaternionic; shape (k,)."""
        sizes, p = self.group.classes.sizes, self.prime
        total = matmul(self.modular[:, self.group.power_map(2)], sizes[:, None], p)[:, 0]
        nu = total * pow(self.group.order, -1, p) % p
        return np.where(nu == p - 1, -1, nu)

    @cached_property
    def conjugates(self) -> IntArray:
        """Index of the complex conjugate of each character, shape (k,)."""
        rows = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(self.modular))}
        bar = np.ascontiguousarray(self.modular[:, self.group.classes.inverse])
        return np.array([rows[row.tobytes()] for row in bar])

    def multiplicities(self, character: Any) -> IntArray:
        """Multiplicity of every χ_i in a character given by exact values on the classes, shape (k,).

        Parameters
        ----------
        character : Cyclotomic or int array, shape (k,)

        Raises
        ------
        StlError
            If the class function is not a character (a multiplicity is not a natural number).
        """
        chi = character if isinstance(character, Cyclotomic) else Cyclotomic.rational(character)
        if chi.shape != (len(self),):
            raise StlError("character", chi.shape, f"shape ({len(self)},): one value per class")
        products = self.inner_products(chi)
        if not products.is_rational or np.any(products.minimal().num < 0) or products.den != 1:
            raise StlError(
                "character", str(chi), "a character: natural multiplicities", f"Its inner products are {products}."
            )
        return products.minimal().num[:, 0]

    def inner_products(self, function: Cyclotomic) -> Cyclotomic:
        """Exact ⟨function, χ_i⟩ = (1/|G|) Σ_c |c| function(c) conj(χ_i(c)) for all i, shape (k,)."""
        weighted = (function * self.group.classes.sizes).reshape(len(self), 1)
        return (self.values[:, self.group.classes.inverse] @ weighted).reshape(len(self)) / self.group.order

    def kernel(self, index: int) -> IntArray:
        """Sorted elements g with χ(g) = χ(1): the kernel of the representation."""
        mine = self.modular[index] == self.degrees[index]
        return np.flatnonzero(mine[self.group.classes.of])

    def centre(self, index: int) -> IntArray:
        """Sorted elements with |χ(g)| = χ(1): those that act as scalars."""
        p, inverse = self.prime, self.group.classes.inverse
        mine = self.modular[index] * self.modular[index, inverse] % p == self.degrees[index] ** 2 % p
        return np.flatnonzero(mine[self.group.classes.of])

    def field(self, index: int) -> int:
        """Smallest n with all values of χ in Q(ζ_n)."""
        return self.values[index].minimal().conductor

    def tensor(self, i: int, j: int) -> IntArray:
        """Multiplicities of every irreducible in χ_i χ_j, shape (k,)."""
        return self.multiplicities(self.values[i] * self.values[j])

    def restrict(self, character: Cyclotomic, subgroup: FiniteGroup, embedding: IntArray) -> Cyclotomic:
        """Class function of a subgroup (as returned by ``group.subgroup``)."""
        return character[self.group.classes.of[embedding[subgroup.classes.representatives]]]

    def induce(self, character: Cyclotomic, subgroup: FiniteGroup, embedding: IntArray) -> Cyclotomic:
        """Induced class function: values on the classes of the big group, exactly.

        Ind ψ(g) = |C_G(g)| Σ_{classes c of H inside the class of g} ψ(c) / |C_H(c)|.
        """
        big, small = self.group.classes, subgroup.classes
        fusion = big.of[embedding[small.representatives]]
        weights = np.zeros((len(big), len(small)), dtype=np.int64)
        weights[fusion, np.arange(len(small))] = small.sizes
        total = Cyclotomic.rational(weights) @ character.reshape(len(small), 1)
        from stl_algebra.groups.cyclotomic import stack

        rows = [total[c, 0] * (self.group.order // int(big.sizes[c])) / subgroup.order for c in range(len(big))]
        return stack(rows)


@lru_cache(maxsize=256)
def character_table(group: FiniteGroup | PermutationGroup, seed: int = 0) -> CharacterTable:
    """Character table of a finite group.

    Parameters
    ----------
    group : FiniteGroup or PermutationGroup
    seed : int
        Seed of the random combinations; it changes the time, never the result.

    Raises
    ------
    StlError
        When the table would hold more than `MAX_TABLE_ENTRIES` integers.

    Examples
    --------
    >>> from stl_algebra.groups import group
    >>> character_table(group("S4")).degrees.tolist()
    [1, 1, 2, 3, 3]
    """
    classes, n, e = group.classes, group.order, group.exponent
    k = len(classes)
    if k * k * power_basis(e).shape[1] > MAX_TABLE_ENTRIES:
        raise StlError(
            "group",
            group,
            f"at most {MAX_TABLE_ENTRIES} integers in the character table",
            f"This one has {k} classes and exponent {e}; AbelianTransform needs no table.",
        )
    # p > 2n makes degrees and multiplicities unique; p > k² makes random eigenvalues mostly distinct
    p = prime_congruent_one(e, max(2 * n, k * k, 1000))
    root = root_of_unity(e, p)
    rows = _central_characters(group, p, seed)
    first = classes.of[group.identity]
    rows = rows * np.array([pow(int(w), -1, p) for w in rows[:, first]])[:, None] % p
    inverse_sizes = np.array([pow(int(s), -1, p) for s in classes.sizes])
    norms = (rows * rows[:, classes.inverse] % p * inverse_sizes % p).sum(axis=1) % p
    squares = {d * d % p: d for d in range(1, isqrt(n) + 1)}
    degrees = np.array([squares[n * pow(int(w), -1, p) % p] for w in norms])
    modular = degrees[:, None] * rows % p * inverse_sizes % p
    values = _lift(group, modular, p, root)
    fields = [values[i].minimal().conductor for i in range(k)]
    order = sorted(range(k), key=lambda i: (degrees[i], fields[i], (-values.num[i]).ravel().tolist()))
    return CharacterTable(group, values[order], modular[order], p, root)


def _central_characters(group: FiniteGroup | PermutationGroup, p: int, seed: int) -> IntArray:
    """Rows ω_χ(class sum) modulo p, one per irreducible character, up to scale."""
    classes, rng = group.classes, np.random.default_rng(seed)
    k = len(classes)
    # y = x⁻¹·z: how often class(x)·class(y) hits the representative z
    slot = (group.quotients() * k + np.arange(k)).ravel()

    def random_class_matrix() -> IntArray:
        weights = rng.integers(0, p, size=k)[classes.of]
        counts = np.bincount(slot, weights=np.repeat(weights, k).astype(np.float64), minlength=k * k)
        return (counts.reshape(k, k) % p).astype(np.int64)  # exact: sums below n·p < 2^53

    done: list[IntArray] = []
    spaces = [np.eye(k, dtype=np.int64)]
    matrix = random_class_matrix()
    while spaces:
        remaining, matrix, witness = [], random_class_matrix(), matrix
        for basis in spaces:
            basis, pivots = row_reduce(basis, p)
            action = matmul(basis, matrix.T, p)[:, pivots].T  # the restriction to this subspace, in its basis
            values, parts = eigenvectors(action, rng.integers(0, p, size=len(basis)), p)
            parts = matmul(parts, basis, p)
            if len(values) < len(basis):  # equal eigenvalues: keep only what another class matrix also accepts
                image = matmul(parts, witness.T, p)
                pivot = (parts != 0).argmax(axis=1)
                line = np.arange(len(parts))
                good = (image * parts[line, pivot][:, None] % p == parts * image[line, pivot][:, None] % p).all(axis=1)
                for value in values[~good]:
                    shifted = (action - int(value) * np.eye(len(action), dtype=np.int64)) % p
                    remaining.append(matmul(nullspace(shifted, p), basis, p))
                parts = parts[good]
            done.append(parts)
        missed = k - sum(map(len, done)) - sum(map(len, remaining))
        if missed:  # a random vector had no component at some eigenvalue: start again, which is rare
            done, remaining = [], [np.eye(k, dtype=np.int64)]
        spaces = remaining
    return np.concatenate(done)


def _lift(group: FiniteGroup | PermutationGroup, modular: IntArray, p: int, root: int) -> Cyclotomic:
    """Cyclotomic values from values modulo p, class by class through eigenvalue multiplicities."""
    classes, e = group.classes, group.exponent
    basis = power_basis(e)
    out = np.zeros((len(modular), len(classes), basis.shape[1]), dtype=np.int64)
    for order in np.unique(classes.orders):
        mine = np.flatnonzero(classes.orders == order)
        o = int(order)
        powers = np.stack([group.power(classes.representatives[mine], l) for l in range(o)])
        chi = modular[:, classes.of[powers]]  # (k, o, classes of this order)
        step = pow(root, e // o, p)
        fourier = np.array([[pow(step, -j * l % o, p) for l in range(o)] for j in range(o)])
        m = matmul(fourier[None], chi, p) * pow(o, -1, p) % p
        out[:, mine] = np.einsum("ijc,jf->icf", m, basis[np.arange(o) * (e // o)])
    return Cyclotomic(out, e)
