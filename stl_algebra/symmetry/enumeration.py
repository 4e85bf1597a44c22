"""All actions of a finite group on a format, up to equivalence, generated one at a time.

An action is a homomorphism G → (PO(n) × PO(m) × PO(p)) ⋊ twists (PU over the complex numbers).  Where G moves spaces
around, the space that comes first in its orbit carries a projective representation of its stabiliser, and the others
are images (an induced representation): so an action is one *point* (see `groups.equivalence`) per orbit of spaces.

=======  =======================================  ==========================================================
twist    G on the spaces                          points
=======  =======================================  ==========================================================
none     fixes all three                          P, Q, R of G
T        a subgroup N of index 2 fixes all        S of G on the middle space, P of N on the two others
Z3       a normal subgroup N of index 3           P of N
S3       H of index 3, not normal                 P of H
=======  =======================================  ==========================================================

Equivalent are actions that differ by bases, linear characters, automorphisms of G, an admissible permutation of the
spaces and, over the complex numbers, conjugation.  Only faithful actions are listed: others belong to a quotient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import factorial
from typing import Any

import numpy as np

from stl_algebra.errors import StlError
from stl_algebra.groups.equivalence import Auto, Orbits, Point, ProjectivePoints, few_generators
from stl_algebra.groups.morphisms import automorphism_group
from stl_algebra.groups.subgroups import subgroup_classes
from stl_algebra.groups.table import FiniteGroup

from .isometries import MAX_PAIRS, Action, fingerprint

__all__ = ["TWISTS", "actions", "generated_action"]

Array = np.ndarray[Any, np.dtype[Any]]
TWISTS = ("", "T", "Z3", "S3")
MAX_OUTER = 3000  # order up to which outer automorphisms are divided out
MAX_PRUNED = 20_000  # points of a space up to which kernels are used to cut off unfaithful branches


@dataclass(frozen=True, eq=False)
class _Twist:
    """How G permutes the spaces: the stabiliser of one space per orbit and elements that lead to the others."""

    name: str
    tau: Array
    parts: tuple[tuple[Array | None, tuple[int, ...], tuple[int, ...]], ...]  # subgroup, spaces, elements


def actions(
    group: FiniteGroup, fmt: Sequence[int], field: str = "real", twists: Sequence[str] = TWISTS, reps: str | None = None
) -> Iterator[Action]:
    """Every faithful action of a group on ⟨n,m,p⟩ once, the most symmetric first.

    Parameters
    ----------
    group : FiniteGroup
    fmt : (int, int, int)
    field : {"real", "complex"}
        Orthogonal or unitary matrices.  Over the complex numbers transpositions come with real matrices only (they are
        then the same actions with more orbit types): an element that goes to the dual spaces acts like an antiunitary
        one, and corepresentations by other matrices are not enumerated.
    twists : sequence of {"", "T", "Z3", "S3"}
    reps : str, optional
        Only actions with these degrees on the spaces, as in the name.

    Yields
    ------
    Action
        Untwisted first: the same representation on all spaces, then related by automorphisms, then all others.

    >>> from stl_algebra.groups import group
    >>> [a.name for a in actions(group("C3"), (2, 2, 2))]
    ['C3/2c,2c,2c/tkg2m', 'C3/2c,2c,1+1/dwi9b', 'C3/2c,1+1,1+1/4qugr', 'C3/Z3/1+1/rsr95']
    """
    fmt = _format(fmt)
    seen: dict[str, int] = {}
    for twist in _twists(group, fmt, field, twists):
        over = "real" if twist.name in ("T", "S3") else field
        for points, spaces in _classified(group, fmt, over, twist, reps):
            action = replace(_action(group, fmt, over, twist, points, spaces), field=field)
            count = seen[action.name] = seen.get(action.name, 0) + 1
            yield action if count == 1 else action.renamed(f"{action.name}-{count}")


def generated_action(name: str, fmt: Sequence[int], field: str = "real") -> Action:
    """The action with a name that `actions` gave.

    Raises
    ------
    StlError
        If the name does not have the form ``GROUP/REPS/DIGEST`` or ``GROUP/TWIST/REPS/DIGEST``, the group is unknown,
        or no action on this format over this field has it.

    Examples
    --------
    >>> generated_action("S3/2,2,2/xmk9t", (2, 2, 2)).order
    6
    """
    from stl_algebra.groups.names import group

    *front, reps, digest = name.split("/") if name.count("/") >= 2 else ("", "", "")
    twist = front.pop() if len(front) > 1 and front[-1] in TWISTS else ""
    if not digest or not front[0]:
        raise StlError("name", name, "GROUP/REPS/DIGEST or GROUP/TWIST/REPS/DIGEST, e.g. S3/2,2,2/xmk9t")
    for found in actions(group("/".join(front)), fmt, field, [twist], reps):
        if found.name.rsplit("/", 1)[1] == digest:
            return found
    raise StlError(
        "name",
        name,
        f"an action on ⟨{','.join(map(str, fmt))}⟩ over the {field} numbers",
        "List them with stl_algebra.symmetry.actions.",
    )


def _format(fmt: Sequence[int]) -> tuple[int, int, int]:
    if len(fmt) != 3 or any(not isinstance(x, int | np.integer) or x < 1 for x in fmt):
        raise StlError("fmt", tuple(fmt), "three positive integers n, m, p")
    return int(fmt[0]), int(fmt[1]), int(fmt[2])


def _automorphisms(group: FiniteGroup, field: str) -> tuple[list[Auto], int]:
    """Generators and order of Aut(G), with complex conjugation; of Inn(G), which acts trivially, when G is large."""
    one = np.arange(group.order)
    if group.order > MAX_OUTER:
        found, order = [Auto(np.asarray(group.conjugate(s, one))) for s in group.generators], 0
        order = group.order // len(group.centre)
    else:
        whole = automorphism_group(group, MAX_OUTER)
        found, order = [Auto(np.asarray(a, dtype=np.int64)) for a in whole.generators], whole.order
    if field == "complex":
        found, order = [*found, Auto(one, True)], 2 * order
    return few_generators(found, order, 50_000), order


def _twists(group: FiniteGroup, fmt: tuple[int, int, int], field: str, wanted: Sequence[str]) -> Iterator[_Twist]:
    unknown = [t for t in wanted if t not in TWISTS]
    if unknown:
        raise StlError("twists", unknown[0], f"some of {', '.join(repr(t) for t in TWISTS)}")
    still = np.tile(np.arange(3), (group.order, 1))
    if "" in wanted:
        yield _Twist("", still, tuple((None, (i,), (group.identity,)) for i in range(3)))
    square = fmt[0] == fmt[1] == fmt[2]
    index = [c for c in subgroup_classes(group) if group.order // c.order in (2, 3)] if group.order > 1 else []
    if "Z3" in wanted and square:
        for c in _distinct(group, [c for c in index if c.order * 3 == group.order and c.is_normal], field):
            far = int(np.setdiff1d(np.arange(group.order), c.representative)[0])
            _, coset = group.left_cosets(c.representative)
            steps = [coset[group.identity], coset[far], coset[group.table[far, far]]]
            power = np.array([steps.index(x) for x in coset])
            tau = (np.arange(3)[None, :] + power[:, None]) % 3
            yield _Twist("Z3", tau, ((c.representative, (0, 1, 2), (0, far, int(group.table[far, far]))),))
    if "T" in wanted and len(set(fmt)) < 3:
        middle = 1 if fmt[0] == fmt[2] else 2 if fmt[0] == fmt[1] else 0
        a, b = (i for i in range(3) if i != middle)
        for c in _distinct(group, [c for c in index if c.order * 2 == group.order], "real"):
            far = int(np.setdiff1d(np.arange(group.order), c.representative)[0])
            tau = still.copy()
            outside = np.setdiff1d(np.arange(group.order), c.representative)
            tau[outside, a], tau[outside, b] = b, a
            yield _Twist("T", tau, ((None, (middle,), (0,)), (c.representative, (a, b), (0, far))))
    if "S3" in wanted and square:
        for c in _distinct(group, [c for c in index if c.order * 3 == group.order and not c.is_normal], "real"):
            representatives, coset = group.left_cosets(c.representative)
            tau = coset[group.table[:, representatives]]
            yield _Twist("S3", tau, ((c.representative, (0, 1, 2), tuple(map(int, representatives))),))


def _distinct(group: FiniteGroup, classes: list[Any], field: str) -> list[Any]:
    """One subgroup class for each orbit under automorphisms."""
    gens, out = _automorphisms(group, field)[0], []
    seen: set[bytes] = set()
    for c in classes:
        members = list(c.conjugates)
        if members[0].tobytes() in seen:
            continue
        out.append(c)
        queue = list(members)
        seen.update(row.tobytes() for row in queue)
        for row in queue:
            for a in gens:
                image = np.sort(a.map[row])
                if image.tobytes() not in seen:
                    seen.add(image.tobytes())
                    queue.append(image)
    return out


def _keeping(group: FiniteGroup, gens: list[Auto], order: int, subgroup: Array) -> tuple[list[Auto], int]:
    """The automorphisms that map a subgroup to itself."""
    start = np.sort(subgroup)
    way: dict[bytes, Auto] = {start.tobytes(): Auto(np.arange(group.order))}
    queue, out, names = [start], [], set()
    for row in queue:
        for a in gens:
            image = np.sort(a.inverse.map[row])
            step = way[row.tobytes()] @ a
            if image.tobytes() not in way:
                way[image.tobytes()] = step
                queue.append(image)
            else:
                back = step @ way[image.tobytes()].inverse
                if back.key not in names:
                    names.add(back.key)
                    out.append(back)
    return few_generators(out, order // len(queue)), order // len(queue)


def _classified(
    group: FiniteGroup, fmt: tuple[int, int, int], field: str, twist: _Twist, reps: str | None = None
) -> Iterator[tuple[list[Point], list[ProjectivePoints]]]:
    gens, order = _automorphisms(group, field)
    for subgroup, _, _ in twist.parts:
        if subgroup is not None:
            gens, order = _keeping(group, gens, order, subgroup)
    known: dict[bytes, ProjectivePoints] = {}
    spaces = []
    for subgroup, _, _ in twist.parts:
        key = b"" if subgroup is None else subgroup.tobytes()
        if key not in known:
            if subgroup is None:
                known[key] = ProjectivePoints(group, field, gens)
            else:
                small, embedding = group.subgroup(subgroup.tolist())
                known[key] = ProjectivePoints(small, field, gens, embedding)
        spaces.append(known[key])
    dims = [fmt[where[0]] for _, where, _ in twist.parts]
    only = None if reps is None else reps.split(",")
    if only is not None and len(only) != len(spaces):
        return
    for points in _Chain(group, spaces, dims, gens, order, twist.name == "", only):
        yield points, spaces


class _Chain:
    """Faithful lists of points, one per space, up to automorphisms and admissible permutations."""

    def __init__(
        self,
        group: FiniteGroup,
        spaces: list[ProjectivePoints],
        dims: list[int],
        gens: list[Auto],
        order: int,
        permute: bool,
        only: list[str] | None = None,
    ) -> None:
        self.only = only
        self.group, self.spaces, self.dims = group, spaces, dims
        self.kernels: dict[tuple[int, Point], int] = {}
        self.kernel_sets: dict[tuple[int, int], set[int] | None] = {}
        self.first = (gens, order)
        self.stages: dict[Any, Orbits] = {}
        self.permutations = (
            [p for p in permutations(range(len(dims))) if all(dims[i] == dims[j] for i, j in enumerate(p))]
            if permute
            else [tuple(range(len(dims)))]
        )
        assert len(self.permutations) <= factorial(len(dims))

    def stage(self, before: tuple[Point, ...]) -> Orbits:
        """Automorphisms that fix the earlier points, acting on the next space."""
        at = len(before)
        key = (id(self.spaces[at]), self.dims[at], before)
        if key not in self.stages:
            gens, order = self.first if at == 0 else self.stage(before[:-1]).stabiliser(before[-1])
            self.stages[key] = Orbits(self.spaces[at], self.dims[at], gens, order)
        return self.stages[key]

    def label(self, points: Sequence[Point]) -> tuple[Point, ...]:
        """Least equivalent list in the order of the spaces given."""
        points = list(points)
        done: tuple[Point, ...] = ()
        for at in range(len(points)):
            least, auto = self.stage(done).canonical(points[at])
            if auto is not None:
                for k in range(at + 1, len(points)):
                    points[k] = self.spaces[k].act(points[k], auto, self.dims[k])
            done = (*done, least)
        return done

    def is_least(self, points: Sequence[Point]) -> bool:
        mine = tuple(p.key for p in points)
        for order in self.permutations[1:]:
            if tuple(p.key for p in self.label([points[i] for i in order])) < mine:
                return False
        return True

    def kernel(self, at: int, point: Point) -> int:
        """Elements that act as scalars on the space and its images, as bits; the identity is bit 0."""
        space = self.spaces[at]
        key = (id(space), point)
        if key not in self.kernels:
            inside = np.flatnonzero(space.kernel(point))
            if space.embedding is not None:  # elements whose conjugates all act as scalars
                inside = space.embedding[inside]
                line = np.arange(self.group.order)
                mask = np.isin(line, inside)
                inside = inside[[bool(mask[self.group.conjugate(line, x)].all()) for x in inside]]
            self.kernels[key] = sum(1 << int(x) for x in inside)
        return self.kernels[key]

    def feasible(self, before: tuple[Point, ...]) -> bool:
        """Whether some points make a faithful list with the given first ones."""
        masks = {-1}
        for i, p in enumerate(before):
            masks = {m & self.kernel(i, p) for m in masks}
        for at in range(len(before), len(self.dims)):
            space, n = self.spaces[at], self.dims[at]
            key = (id(space), n)
            if key not in self.kernel_sets:
                few = space.count(n) <= MAX_PRUNED
                self.kernel_sets[key] = {self.kernel(at, p) for p in space.points(n)} if few else None
            others = self.kernel_sets[key]
            if others is None or len(masks) * len(others) > 10**6:
                return True
            masks = {m & k for m in masks for k in others}
        return 1 in masks

    def __iter__(self) -> Iterator[list[Point]]:
        if not self.feasible(()):
            return
        if len(self.dims) < 3:
            yield from (list(points) for points in self._extend(()))
            return
        same = self.dims[0] == self.dims[1] == self.dims[2]
        if same:  # the same representation three times, then related ones, then all
            yield from ([p, p, p] for p in self._representatives(()) if self.kernel(0, p) == 1)
            for p in self._representatives(()):
                if not self.feasible((p,)):
                    continue
                family = self.stage(()).orbit(p)
                for q in self._among(family, (p,)):
                    for r in self._last(family, (p, q)):
                        if not p == q == r and self.is_least((p, q, r)):
                            yield [p, q, r]
        for points in self._extend(()):
            if not (same and self._related(*points)) and self.is_least(points):
                yield list(points)

    def _extend(self, before: tuple[Point, ...]) -> Iterator[tuple[Point, ...]]:
        at = len(before)
        if at == len(self.dims) - 1:
            yield from ((*before, p) for p in self._last(self.spaces[at].points(self.dims[at], not before), before))
            return
        for p in self._representatives(before):
            if self.feasible((*before, p)):
                yield from self._extend((*before, p))

    def _last(self, candidates: Any, before: tuple[Point, ...]) -> Iterator[Point]:
        """Representatives that make the list faithful."""
        at, kernel = len(before), -1
        for i, p in enumerate(before):
            kernel &= self.kernel(i, p)
        return self._among((p for p in candidates if kernel & self.kernel(at, p) == 1), before)

    def _related(self, *points: Point) -> bool:
        stage = self.stage(())
        return len({stage.canonical(p)[0] for p in points}) == 1

    def _representatives(self, before: tuple[Point, ...]) -> Iterator[Point]:
        at = len(before)
        return self._among(self.spaces[at].points(self.dims[at], not before), before)

    def _among(self, candidates: Any, before: tuple[Point, ...]) -> Iterator[Point]:
        stage, at = self.stage(before), len(before)
        if self.only is not None:
            candidates = (p for p in candidates if _degrees(self.spaces[at], p) == self.only[at])
        return (p for p in candidates if stage.canonical(p)[0] == p)


def _degrees(space: ProjectivePoints, point: Point) -> str:
    mark = "~" if any(space.digits(int(space.root[point.cls]))) else ""
    letter = {1: "", 0: "c", -1: "q"} if space.field == "real" else {1: "", 0: "", -1: ""}
    parts = [f"{rho.dimension}{letter[rho.indicator]}{mark}" for rho in space.irreps(point)[0]]
    return "+".join(sorted(parts, key=lambda t: (-int("".join(c for c in t if c.isdigit())), t)))


def _action(
    group: FiniteGroup,
    fmt: tuple[int, int, int],
    field: str,
    twist: _Twist,
    points: Sequence[Point],
    spaces: list[ProjectivePoints],
) -> Action:
    invariants = _invariants(group, field, twist, points, spaces)
    digest = fingerprint(group, twist.tau, invariants, fmt, field)
    label = ",".join(_degrees(s, p) for s, p in zip(spaces, points, strict=True))
    name = "/".join(x for x in (group.name or f"order{group.order}", twist.name, label, digest) if x)

    def build() -> tuple[Array, Array, Array]:
        out: list[Any] = [None] * 3
        for (_, where, moves), space, point in zip(twist.parts, spaces, points, strict=True):
            rho = space.matrices(point)
            place = np.full(group.order, -1)
            elements = np.arange(group.order) if space.embedding is None else space.embedding
            place[elements] = np.arange(len(elements))
            lead = dict(zip(where, moves, strict=True))
            for i in where:
                inner = np.array(
                    [
                        group.table[group.table[group.inverse[lead[int(twist.tau[g, i])]], g], lead[i]]
                        for g in range(group.order)
                    ]
                )
                out[i] = rho[place[inner]]
        return out[0], out[1], out[2]

    return Action(group, fmt, field, name, _words(group, fmt, field, twist, points, spaces), twist.tau, build)


def _invariants(
    group: FiniteGroup, field: str, twist: _Twist, points: Sequence[Point], spaces: list[ProjectivePoints]
) -> list[tuple[Array, Array | None]]:
    """For each space what `fingerprint` compares: numbers of g and of pairs (g, h) that rescaling does not change.

    Of elements |tr ρ(g)|, over the reals with tr ρ(g)² and, for g of even order, the sign ρ(g)^|g|; of pairs
    tr ρ(g) tr ρ(h) conj(tr ρ(g)ρ(h)) and, where g and h commute, the scalar ρ(g)ρ(h)ρ(g)⁻¹ρ(h)⁻¹.
    """
    out: list[Any] = [None] * 3
    n = group.order
    for (_, where, moves), space, point in zip(twist.parts, spaces, points, strict=True):
        inner, u = space.group, space.transversal(point.cls)
        chi = space.algebra(point.cls).characters[list(point.summands)].sum(axis=0)
        m, c = space.where.modulus, space.algebra(point.cls).cocycle
        first = np.abs(chi)
        if field == "real":
            line = np.arange(inner.order)
            first = first + 1e3 * (1 - 2 * c[line, line].astype(np.int64)) * chi[inner.table[line, line]]
            first = first + 1e6 * _power_sign(inner, c)
        pair = None
        if n <= MAX_PAIRS:
            c = c.astype(np.int64)
            zeta = np.exp(2j * np.pi * np.arange(m) / m)
            pair = chi[:, None] * chi[None, :] * (zeta[c] * chi[inner.table]).conj()
            swap = np.where(inner.table == inner.table.T, zeta[(c - c.T) % m], 0)
            pair = pair + 1000 * swap
            pair = (pair.conj() if u.bar else pair)[np.ix_(u.map, u.map)]
        first = first[u.map]
        elements = np.arange(n) if space.embedding is None else space.embedding
        for i, move in zip(where, moves, strict=True):
            there = np.asarray(group.conjugate(move, elements))
            mine = np.zeros(n)
            mine[there] = first
            both = None
            if pair is not None:
                both = np.zeros((n, n), dtype=complex)
                both[np.ix_(there, there)] = pair
            out[i] = (mine, both)
    return out


def _power_sign(group: FiniteGroup, cocycle: Array) -> Array:
    """ρ(g)^|g| = ±1 for g of even order, 0 for odd order, where rescaling ρ(g) would change it."""
    line, orders = np.arange(group.order), group.element_orders
    total, power = np.zeros(group.order, dtype=np.int64), line.copy()
    for k in range(1, int(orders.max())):
        total += np.where(k < orders, cocycle[power, line], 0)
        power = group.table[power, line].astype(np.int64)
    return np.where(orders % 2 == 0, 1 - 2 * (total % 2), 0)


def _words(
    group: FiniteGroup,
    fmt: tuple[int, int, int],
    field: str,
    twist: _Twist,
    points: Sequence[Point],
    spaces: list[ProjectivePoints],
) -> str:
    kinds = {1: "real", 0: "complex", -1: "quaternionic"}
    said = []
    for (subgroup, where, _), space, point in zip(twist.parts, spaces, points, strict=True):
        linear = not any(space.digits(int(space.root[point.cls])))
        parts = [
            f"{rho.dimension}-dimensional"
            + ("" if field != "real" or rho.indicator == 1 else f" {kinds[rho.indicator]}")
            for rho in space.irreps(point)[0]
        ]
        whose = "" if subgroup is None else f" of the subgroup of order {len(subgroup)}"
        which = "space " + " and ".join(str(i + 1) for i in where)
        said.append(f"{which}: {'linear' if linear else 'projective'}{whose}, {' + '.join(parts)}")
    how = {"": "changes of basis", "T": "transposes", "Z3": "shifts cyclically", "S3": "shifts and transposes"}
    name = group.name or f"a group of order {group.order}"
    return f"{name} (order {group.order}), {how[twist.name]}, on ⟨{','.join(map(str, fmt))}⟩; " + "; ".join(said)
