"""Primitive groups of PGL_n by explicit matrices, where a group is too large for central extensions.

The Clifford group of one p-level system normalises the Heisenberg group p^{1+2}: modulo phases it is C_p² : SL(2, p),
the Hessian group of order 216 for p = 3 and a group of order 3000 for p = 5.  For two two-level systems, the part of
index 2 of the Clifford group is 2⁴.A₆ of order 5760 in PGL₄.  (The whole, 2⁴.S₆ with 11520 elements, has no table.)
The others of degree 3, 4 and 5, A₅, A₆, A₇, PSL(2,7), PSL(2,11), …, come from `actions` by their names.

Sources: Blichfeldt, Finite Collineation Groups (1917); Gottesman, LNCS 1509 (1999) 302–313.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stl_algebra.errors import StlError

from .isometries import Action

__all__ = ["PRIMITIVE", "primitive_action"]

Array = np.ndarray[Any, np.dtype[Any]]
#: Names and the sizes of the matrices.
PRIMITIVE = {"Clifford2": 2, "Clifford3": 3, "Clifford5": 5, "2^4.A6": 4}


def primitive_action(name: str, conjugate: Sequence[bool] = (False, False, False), shift: bool = False) -> Action:
    """A primitive group on ⟨n,n,n⟩ with the same matrices on all spaces, or their complex conjugates.

    Parameters
    ----------
    name : str
        One of `PRIMITIVE`.
    conjugate : three bools
        Which spaces carry the conjugate matrices.
    shift : bool
        Whether to add the cyclic shift (three times as many elements).

    >>> primitive_action("Clifford3").order, primitive_action("Clifford2", shift=True).order
    (216, 72)
    """
    if name not in PRIMITIVE:
        raise StlError("name", name, "one of " + ", ".join(PRIMITIVE), "Others by stl_algebra.symmetry.actions.")
    n = PRIMITIVE[name]
    matrices = _two_qubits() if n == 4 else _clifford(n)
    gens = [((0, 1, 2), [m.conj() if bar else m for bar in conjugate]) for m in matrices]
    if shift:
        gens.append(((1, 2, 0), [np.eye(n)] * 3))
    return Action.from_generators((n, n, n), gens, name + ("*Z3" if shift else ""))


def _clifford(p: int) -> list[Array]:
    """Shift, Fourier transform and quadratic phase of one p-level system."""
    line = np.arange(p)
    w = np.exp(2j * np.pi / p)
    fourier = w ** np.outer(line, line) / np.sqrt(p)
    phase = np.diag([1, 1j]) if p == 2 else np.diag(w ** (line * (line - 1) // 2))
    return [np.roll(np.eye(p), 1, axis=0).astype(complex), fourier, phase]


def _two_qubits() -> list[Array]:
    """Generators of 2⁴.A₆: Pauli matrices and products of two of the involutory Clifford classes of S₆."""
    one, x, z = np.eye(2), np.array([[0, 1], [1, 0]]), np.diag([1, -1])
    paulis = [np.kron(x, one), np.kron(one, x), np.kron(z, one), np.kron(one, z)]
    # √P = exp(-iπP/4) acts on the Paulis modulo phases as the transvection of P, a transposition in S₆ = Sp(4, 2)
    roots = [
        (np.eye(4) - 1j * q) / np.sqrt(2)
        for q in (np.kron(x, one), np.kron(z, one), np.kron(one, x), np.kron(one, z), np.kron(x, x), np.kron(z, z))
    ]
    return [*(p.astype(complex) for p in paulis), *(roots[0] @ r for r in roots[1:])]
