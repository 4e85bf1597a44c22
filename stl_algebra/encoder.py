"""The one type everybody passes around: an exact bilinear algorithm, here called an encoder.

For a target T and a rank r, an encoder is E_X (r × a), E_W (r × b) and D (c × r) with

    vec(Ĉ) = D · ((E_X vec A) ⊙ (E_W vec B)),      T̂[a,b,c] = Σ_l E_X[l,a] · E_W[l,b] · D[c,l],

vec row-major and C not transposed. The factors are exact: integer numerators over one denominator each, with a
trailing coefficient axis for rings of degree above one (see `stl_algebra.rings`). Floats are a view.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np

from . import fields
from ._tiles import axis_of, contract, flip_tile, inverse, scale, sides, square, term_first, tile_shape
from .errors import StlError
from .factors import Factor, factor_of
from .rings import Array, Ring, ring
from .targets import Target, matmul, product_target, target

__all__ = ["Encoder", "Factor"]

_NAMES = ("e_x", "e_w", "d")


@dataclass(frozen=True, eq=False, repr=False)
class Encoder:
    """An exact (or numerical) bilinear algorithm of rank r for a target tensor. Immutable.

    Attributes
    ----------
    target : Target
        The bilinear map that is meant; for matrix products ⟨n,m,p⟩ see `format`.
    ring : Ring
        Where the coefficients live.
    e_x, e_w, d : Factor
        Shapes (r, a), (r, b) and (c, r), for ⟨n,m,p⟩ a = nm, b = mp, c = np.
    origin : dict
        Where it came from: family, group, parameters, seed, parents, code version. JSON-able.
    """

    target: Target
    ring: Ring
    e_x: Factor
    e_w: Factor
    d: Factor
    origin: Mapping[str, Any] = field(default_factory=dict)

    # ---------------------------------------------------------------- making
    @classmethod
    def build(
        cls,
        of: Target | str | tuple[int, int, int],
        e_x: Any,
        e_w: Any,
        d: Any,
        ring: Ring | str | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> Encoder:
        """An encoder from nested lists or arrays.

        Parameters
        ----------
        of : Target, target name or (n, m, p)
        e_x, e_w, d : array-like of shapes (r, a), (r, b), (c, r)
            Integers, Fractions or "p/q" strings for exact rings (with a trailing axis of length k over a ring of
            degree k; a missing axis means elements of the base ring); floats for R64, complex floats for C128.
            A pair (numerators, denominator), a `Factor` or an array of the package `galois` is accepted too.
        ring : Ring or name, optional
            Default: the field of `galois` arrays, else Z.
        origin : mapping, optional

        Raises
        ------
        StlError
            For wrong shapes, non-finite numbers, or denominators that the ring does not have.

        Examples
        --------
        >>> Encoder.build((1, 1, 1), [[1]], [[1]], [[1]]).is_exact
        True
        """
        from . import rings

        if ring is None:
            field = fields.field_of(e_x, e_w, d)
            ring = "Z" if field is None else fields.ring_of(field)
        base, goal = rings.ring(ring), target(of)
        factors = [factor_of(v, base, name) for v, name in zip((e_x, e_w, d), _NAMES, strict=True)]
        rank = factors[0].num.shape[0]
        a, b, c = goal.shape
        for f, name, shape in zip(factors, _NAMES, ((rank, a), (rank, b), (c, rank)), strict=True):
            if f.num.shape[:2] != shape:
                raise StlError(
                    name, f.num.shape[:2], f"shape {shape} for {goal.name} at rank {rank}",
                    "E_X is r×a, E_W is r×b and D is c×r (transpose the factor?).",
                )  # fmt: skip
            if not base.admits_denominator(f.den):
                raise StlError(f"denominator of {name}", f.den, f"one that {base.name} has", "Use ring='Q'.")
        return cls(goal, base, factors[0], factors[1], factors[2], dict(origin or {}))

    def with_origin(self, **origin: Any) -> Encoder:
        """The same algorithm with another origin."""
        return replace(self, origin=origin)

    def _derived(self, goal: Target, factors: Sequence[tuple[Array, int]], how: str, *others: Encoder) -> Encoder:
        parents = [e.digest[:8] for e in (self, *others)]
        built = [Factor.of(num, den, self.ring) for num, den in factors]
        base = self.ring
        if any(not base.admits_denominator(f.den) for f in built):
            base = ring("Q")
        return Encoder(goal, base, built[0], built[1], built[2], {"family": how, "parents": parents})

    # ---------------------------------------------------------------- looking
    @property
    def format(self) -> tuple[int, int, int]:
        """(n, m, p); raises StlError when the target is no matrix product."""
        if self.target.format is None:
            raise StlError("target", self.target.name, "matrix multiplication", "Only matmul targets have a format.")
        return self.target.format

    @property
    def rank(self) -> int:
        return int(self.e_x.num.shape[0])

    @property
    def factors(self) -> tuple[Factor, Factor, Factor]:
        return self.e_x, self.e_w, self.d

    def floats(self, dtype: Any = np.float64) -> tuple[Array, Array, Array]:
        """(E_X, E_W, D) as float arrays of shapes (r, a), (r, b), (c, r); complex when the ring needs it.

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> [f.shape for f in strassen().floats()]
        [(7, 4), (7, 4), (4, 7)]
        """
        values = [self.ring.values(f.num, f.den) for f in self.factors]
        return tuple(v if np.iscomplexobj(v) else v.astype(dtype) for v in values)  # type: ignore[return-value]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical integers with target and ring: the identity of the algorithm as written."""
        h = hashlib.sha256(json.dumps([self.target.name, self.ring.name, self.rank]).encode())
        for f in self.factors:
            if f.num.dtype == object:  # in hexadecimal: decimal strings of huge integers are refused by Python
                data = json.dumps([f"{int(v):x}" for v in f.num.ravel()]).encode()
            else:
                data = f.num.astype("<f8" if f.num.dtype.kind == "f" else "<i8").tobytes()
            den = str(f.den) if f.den < 2**62 else f"{f.den:x}"
            h.update(json.dumps([list(f.num.shape), den]).encode() + data)
        return h.hexdigest()

    @cached_property
    def is_exact(self) -> bool:
        """True if the bilinear identity is proven over `ring` (computed once, see `identities.verify`)."""
        from .identities import verify

        return self.ring.exact and verify(self, stop_early=True).holds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoder) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def label(self) -> str:
        """⟨n,m,p;r⟩, or name;r for other targets."""
        fmt = self.target.format
        return f"⟨{','.join(map(str, fmt))};{self.rank}⟩" if fmt else f"⟨{self.target.name};{self.rank}⟩"

    def __repr__(self) -> str:
        from .scores import epsilon2, kappa2

        if not self.ring.embeds:
            return f"Encoder{self.label} over {self.ring.name}, {'exact' if self.is_exact else 'not exact'}"
        state = "exact" if self.is_exact else f"ε²={epsilon2(self):.3g}"
        return f"Encoder{self.label} over {self.ring.name}, {state}, κ²={kappa2(self):.4g}"

    def _repr_html_(self) -> str:
        from ._pictures import encoder_html

        return encoder_html(self)

    def __call__(self, a: Any, b: Any) -> Array:
        """Apply the encoder to exact arrays: vec(Ĉ) for A, B of the target's size (ring of degree 1 only).

        For a matrix product A is (n, m), B is (m, p) and the result (n, p); any number type that multiplies with
        Python integers works (Fractions, SymPy symbols – also noncommuting ones). Exact denominators are kept.
        Over GF(q) A and B are arrays of the package `galois` (see `fields`, which multiplies larger ones too).

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> strassen()([[1, 2], [3, 4]], [[5, 6], [7, 8]]).tolist()
        [[19, 22], [43, 50]]
        """
        if (field := fields.field_of(a, b)) is not None:
            return self._over(field, a, b)
        if self.ring.degree > 1 or not self.ring.exact or self.ring.characteristic:
            raise StlError(
                "ring", self.ring.name, "Z, Z[1/2] or Q", "Use kernels.reference for floats, galois arrays over GF(q)."
            )
        from fractions import Fraction

        x, w = np.asarray(a, dtype=object).ravel(), np.asarray(b, dtype=object).ravel()
        if (len(x), len(w)) != self.target.shape[:2]:
            raise StlError(
                "A, B", (np.shape(a), np.shape(b)), f"{self.target.shape[:2]} entries for {self.target.name}"
            )
        products = self.e_x.num.astype(object).dot(x) * self.e_w.num.astype(object).dot(w)
        den = self.e_x.den * self.e_w.den * self.d.den
        out = self.d.num.astype(object).dot(products)
        if den != 1:
            out = out * Fraction(1, den)
        fmt = self.target.format
        return out.reshape(fmt[0], fmt[2]) if fmt else out

    def _over(self, field: Any, a: Any, b: Any) -> Array:
        """The same over a finite field."""
        if (a.size, b.size) != self.target.shape[:2]:
            raise StlError(
                "A, B", (a.shape, b.shape), f"{self.target.shape[:2]} entries for {self.target.name}",
                "stl_algebra.fields.matmul multiplies matrices of any size.",
            )  # fmt: skip
        e_x, e_w, d = fields.factors(self, field)
        out: Array = d @ ((e_x @ a.ravel()) * (e_w @ b.ravel()))
        fmt = self.target.format
        return out.reshape(fmt[0], fmt[2]) if fmt else out

    # ---------------------------------------------------------------- algebra
    def kron(self, other: Encoder) -> Encoder:
        """Kronecker product: ⟨n,m,p;r⟩ ⊗ ⟨n',m',p';r'⟩ = ⟨nn',mm',pp';rr'⟩, term (l, l') at l·r' + l'.

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> strassen().kron(strassen()).label
        '⟨4,4,4;49⟩'
        """
        one, two = _common_ring(self, other)
        goal = product_target(one.target, two.target)
        out = []
        for axis, (f, g) in enumerate(zip(one.factors, two.factors, strict=True)):
            u, v = f.num, g.num
            tail = u.shape[2:]
            if one.target.format and two.target.format:
                dims_u, dims_v = tile_shape(one.format, axis), tile_shape(two.format, axis)
                mats_u = term_first(u, axis).reshape(one.rank, *dims_u, *tail)
                mats_v = term_first(v, axis).reshape(two.rank, *dims_v, *tail)
                # (l, i, k) × (l', i', k') → (l, l', i, i', k, k')
                left = mats_u[:, None, :, None, :, None]
                right = mats_v[None, :, None, :, None, :]
                width = dims_u[0] * dims_v[0] * dims_u[1] * dims_v[1]
            else:
                left = term_first(u, axis)[:, None, :, None]
                right = term_first(v, axis)[None, :, None, :]
                width = one.target.shape[axis] * two.target.shape[axis]
            num = one.ring.multiply(left, right).reshape(one.rank * two.rank, width, *tail)
            out.append((term_first(num, axis), f.den * g.den))
        return one._derived(goal, out, "kron", other)

    def direct_sum(self, other: Encoder, axis: str = "n") -> Encoder:
        """Block sum along one dimension: axis "n" gives ⟨n+n',m,p⟩, "m" ⟨n,m+m',p⟩, "p" ⟨n,m,p+p'⟩; ranks add.

        Examples
        --------
        >>> from stl_algebra.schemes import standard, strassen
        >>> strassen().direct_sum(standard(1, 2, 2), "n").label
        '⟨3,2,2;11⟩'
        """
        one, two = _common_ring(self, other)
        which = axis_of(axis)
        f, g = one.format, two.format
        if any(f[i] != g[i] for i in range(3) if i != which):
            raise StlError("other.format", g, f"{f} except in dimension {axis!r}")
        whole = [f[i] + (g[i] if i == which else 0) for i in range(3)]
        first = [list(range(v)) for v in f]
        second = [[v + (f[i] if i == which else 0) for v in range(g[i])] for i in range(3)]
        parts = [one._placed(whole, first), two._placed(whole, second)]
        out = []
        for k in range(3):
            u, v = parts[0][k], parts[1][k]
            den = u[1] * v[1] // gcd(u[1], v[1])
            scaled = [scale(w[0], den // w[1]) for w in (u, v)]
            out.append((np.concatenate(scaled, axis=1 if k == 2 else 0), den))
        return one._derived(matmul(*whole), out, "direct_sum", other)

    def _placed(self, whole: Sequence[int], rows: Sequence[Sequence[int]]) -> list[tuple[Array, int]]:
        """Factors of the same terms inside a larger format, at the given positions of n, m and p."""
        out = []
        for axis, f in enumerate(self.factors):
            s, t = sides(axis)
            terms = term_first(f.num, axis)
            tail = terms.shape[2:]
            big = np.zeros((self.rank, whole[s], whole[t], *tail), dtype=terms.dtype)
            block = terms.reshape(self.rank, len(rows[s]), len(rows[t]), *tail)
            big[:, np.array(rows[s])[:, None], np.array(rows[t])[None, :]] = block
            out.append((term_first(big.reshape(self.rank, whole[s] * whole[t], *tail), axis), f.den))
        return out

    def rotate(self) -> Encoder:
        """Cyclic rotation of the trace form tr(ABCᵀ): ⟨n,m,p⟩ becomes ⟨m,p,n⟩ (E_W, D, E_X take turns).

        Examples
        --------
        >>> from stl_algebra.schemes import standard
        >>> standard(2, 3, 4).rotate().format
        (3, 4, 2)
        """
        n, m, p = self.format
        tail = self.e_x.num.shape[2:]
        d = np.swapaxes(self.d.num, 0, 1).reshape(self.rank, n, p, *tail)
        x = self.e_x.num.reshape(self.rank, n, m, *tail)
        e_w = np.swapaxes(d, 1, 2).reshape(self.rank, p * n, *tail)
        new_d = np.swapaxes(np.swapaxes(x, 1, 2).reshape(self.rank, m * n, *tail), 0, 1)
        return self._derived(
            matmul(m, p, n), [(self.e_w.num, self.e_w.den), (e_w, self.d.den), (new_d, self.e_x.den)], "rotate"
        )

    def transpose(self) -> Encoder:
        """Transposed product Cᵀ = BᵀAᵀ: ⟨n,m,p⟩ becomes ⟨p,m,n⟩.

        Examples
        --------
        >>> from stl_algebra.schemes import standard
        >>> standard(2, 3, 4).transpose().format
        (4, 3, 2)
        """
        n, m, p = self.format
        e_x = flip_tile(self.e_w.num, (m, p))
        e_w = flip_tile(self.e_x.num, (n, m))
        d = np.swapaxes(flip_tile(np.swapaxes(self.d.num, 0, 1), (n, p)), 0, 1)
        return self._derived(matmul(p, m, n), [(e_x, self.e_w.den), (e_w, self.e_x.den), (d, self.d.den)], "transpose")

    def change_basis(self, p: Any, q: Any, r: Any) -> Encoder:
        """Isotropy action (A, B, C) ↦ (P A Q⁻¹, Q B R⁻¹, P C R⁻¹), which keeps every bilinear identity.

        Parameters
        ----------
        p, q, r : invertible exact matrices of shapes (n, n), (m, m), (p, p)
            Integers, Fractions or "p/q" strings (floats for R64 and C128).

        Raises
        ------
        StlError
            For wrong shapes or singular matrices.

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> swap = [[0, 1], [1, 0]]
        >>> strassen().change_basis(swap, swap, swap).is_exact
        True
        """
        base = self.ring
        mats, inverses = [], []
        for name, v, size in zip("PQR", (p, q, r), self.format, strict=True):
            mat = square(v, base, name, size)
            mats.append(mat)
            inverses.append(inverse(mat, base, name))
        (pm, qm, rm), (pi, qi, ri) = mats, inverses
        out = []
        # vec(M A N) = (M ⊗ Nᵀ) vec A in row-major order: E_X ← E_X (P ⊗ Q⁻ᵀ), D ← (P⁻¹ ⊗ Rᵀ) D.
        for axis, (left, right) in enumerate(((pm, qi), (qm, ri), (pi, rm))):
            f = self.factors[axis]
            s, t = sides(axis)
            terms = term_first(f.num, axis)
            tail = terms.shape[2:]
            x = terms.reshape(self.rank, self.format[s], self.format[t], *tail)
            if axis < 2:
                num = contract(contract(x, left[0], 1), np.swapaxes(right[0], 0, 1), 2)
            else:
                num = contract(contract(x, np.swapaxes(left[0], 0, 1), 1), right[0], 2)
            out.append((term_first(num.reshape(terms.shape), axis), f.den * left[1] * right[1]))
        return self._derived(self.target, out, "change_basis")

    def restrict(self, n: Any = None, m: Any = None, p: Any = None) -> Encoder:
        """Smaller format by setting rows and columns to zero; terms that vanish are dropped.

        Parameters
        ----------
        n, m, p : int or sequence of int, optional
            How many leading positions to keep, or which.

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> small = strassen().restrict(p=1)
        >>> small.label, small.is_exact
        ('⟨2,2,1;4⟩', True)
        """
        keep = []
        for name, v, size in zip("nmp", (n, m, p), self.format, strict=True):
            positions = (
                list(range(size)) if v is None
                else list(range(v)) if isinstance(v, (int, np.integer)) else [int(i) for i in v]
            )  # fmt: skip
            if not positions or len(set(positions)) != len(positions) or not all(0 <= i < size for i in positions):
                raise StlError(name, v, f"1 to {size}, or distinct positions below {size}")
            keep.append(positions)
        out = []
        for axis, f in enumerate(self.factors):
            s, t = sides(axis)
            index = (np.array(keep[s])[:, None] * self.format[t] + np.array(keep[t])[None, :]).ravel()
            out.append((term_first(term_first(f.num, axis)[:, index], axis), f.den))
        goal = matmul(*(len(v) for v in keep))
        alive = np.ones(self.rank, dtype=bool)
        for axis, (num, _) in enumerate(out):
            terms = term_first(num, axis)
            alive &= (terms != 0).any(axis=tuple(range(1, terms.ndim)))
        out = [(num[:, alive] if axis == 2 else num[alive], den) for axis, (num, den) in enumerate(out)]
        return self._derived(goal, out, "restrict")

    def keep_terms(self, terms: Sequence[int]) -> Encoder:
        """The encoder made of the given terms (products), in that order.

        Examples
        --------
        >>> from stl_algebra.schemes import standard
        >>> standard(2, 2, 2).keep_terms([0, 1, 2]).label
        '⟨2,2,2;3⟩'
        """
        index = np.asarray(terms)
        inside = index.dtype.kind in "iu" and index.min() >= 0 and index.max() < self.rank if index.size else True
        if index.ndim != 1 or not inside:
            raise StlError("terms", terms, f"indices from 0 to {self.rank - 1}")
        index = index.astype(np.int64)
        out = [
            (self.e_x.num[index], self.e_x.den),
            (self.e_w.num[index], self.e_w.den),
            (self.d.num[:, index], self.d.den),
        ]
        return self._derived(self.target, out, "keep_terms")

    def drop_terms(self, terms: Sequence[int]) -> Encoder:
        """The encoder without the given terms: an approximation of lower rank.

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> strassen().drop_terms([0, 1]).rank
        5
        """
        gone = {int(t) for t in terms}
        if not gone <= set(range(self.rank)):
            raise StlError("terms", terms, f"indices from 0 to {self.rank - 1}")
        return self.keep_terms([l for l in range(self.rank) if l not in gone])

    def to_ring(self, name: Ring | str) -> Encoder:
        """The same algorithm over another ring: embed, reduce modulo p, or go to floats (see `conversions`).

        Examples
        --------
        >>> from stl_algebra.schemes import strassen
        >>> strassen().to_ring("GF(2)").is_exact
        True
        """
        from .conversions import convert

        return convert(self, ring(name))


def _common_ring(one: Encoder, two: Encoder) -> tuple[Encoder, Encoder]:
    if one.ring == two.ring:
        return one, two
    from .conversions import common_ring

    base = common_ring(one.ring, two.ring)
    return one.to_ring(base), two.to_ring(base)
