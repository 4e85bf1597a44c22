"""Describe a finite group, or list the names that can be asked for.

Example: ``python -m search.groups S4``
"""

from __future__ import annotations

import time
from math import lcm
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from stl_algebra import groups as alg
from stl_algebra.groups.names import FAMILIES
from stl_algebra.groups.smallgroups import MAX_SMALL_ORDER

from .cli import Json, console, fail, friendly, print_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: Above this many classes the character table is summarised on screen (``--json`` always has it whole).
WIDE = 24
TYPES = {1: "real", 0: "complex", -1: "quaternionic"}
LATTICE_ORDER = 200
FORMATS_ORDER = 64


def listing(order: int | None) -> list[dict[str, Any]]:
    """Families with an example each, or all groups of one order."""
    if order is None:
        return [{"example": example, "meaning": meaning} for _, _, example, meaning in FAMILIES]
    rows = []
    for i in range(1, alg.number_of_small_groups(order) + 1):
        g = alg.small_group(order, i)
        table = alg.character_table(g)
        rows.append(
            {
                "name": g.name,
                "structure": alg.small_group_description(order, i),
                "classes": len(table),
                "degrees": degree_word(table.degrees.tolist()),
                "centre": len(g.centre),
                "real_multiplications": alg.real_multiplications(g),
            }
        )
    return rows


def degree_word(degrees: list[int]) -> str:
    """``1^4 2`` for degrees 1, 1, 1, 1, 2."""
    return " ".join(f"{d}^{k}" if (k := degrees.count(d)) > 1 else str(d) for d in sorted(set(degrees)))


MEASURED = (
    "S3", "Q8", "C7:C3", "2^(1+4)+", "A5", "C2^6", "S5", "2^(1+6)+", "PSL(2,7)", "SL(2,7)", "PSL(2,11)", "S6",
    "C3^3wrC2", "A7", "S7",
)  # fmt: skip


def measure(names: tuple[str, ...] = MEASURED) -> list[dict[str, Any]]:
    """CPU seconds of each stage for a list of groups; a stage beyond its limit is left out."""
    rows = []
    for name in names:
        row: dict[str, Any] = {"group": name, "order": 0}

        def clock(stage: str, work: Any, row: dict[str, Any] = row) -> Any:
            start = time.process_time()
            result = work()
            row[stage] = round(time.process_time() - start, 3)
            return result

        g = clock("multiplication_table", lambda name=name: alg.group(name))
        row["order"] = g.order
        row["classes"] = len(clock("conjugacy", lambda g=g: g.classes))
        clock("character_table", lambda g=g: alg.character_table(g))
        if g.order <= LATTICE_ORDER:
            row["subgroups"] = sum(c.length for c in clock("lattice", lambda g=g: alg.subgroup_classes(g)))
        clock("irreps", lambda g=g: [r.matrices for r in alg.irreps(g)])
        if g.order <= FORMATS_ORDER * 2:
            clock("automorphisms", lambda g=g: alg.automorphism_group(g))
        rows.append(row)
    return rows


def describe(name: str, formats: bool = True) -> dict[str, Any]:
    """Everything the command prints about one group, as plain data."""
    g = alg.group(name)
    table = alg.character_table(g)
    classes = g.classes
    out: dict[str, Any] = {
        "name": g.name, "order": g.order, "exponent": g.exponent, "abelian": g.is_abelian, "solvable": g.is_solvable,
        "simple": g.is_simple, "centre": len(g.centre), "derived": len(g.derived_subgroup),
        "generators": [g.label(s) for s in g.generators],
    }  # fmt: skip
    if g.order <= MAX_SMALL_ORDER:
        order, index = alg.small_group_id(g)
        out["small_group"] = [order, index]
        out["structure"] = alg.small_group_description(order, index)
    out["classes"] = [
        {"representative": g.label(int(r)), "size": int(s), "order": int(o)}
        for r, s, o in zip(classes.representatives, classes.sizes, classes.orders, strict=True)
    ]
    out["characters"] = [
        {"degree": int(table.degrees[i]), "type": TYPES[int(table.indicators[i])],
         "indicator": int(table.indicators[i]), "conjugate": int(table.conjugates[i]), "kernel": len(table.kernel(i)),
         "values": [alg.format_number(table.values[i, c]) for c in range(len(table))]}
        for i in range(len(table))
    ]  # fmt: skip
    out["irreps"] = [_irrep(g, i) for i in range(len(table))]
    out["real_multiplications"] = alg.real_multiplications(g)
    if g.order <= LATTICE_ORDER:
        found = alg.subgroup_classes(g)
        out["subgroups"] = {
            "all": sum(c.length for c in found),
            "classes": len(found),
            "normal": sum(c.is_normal for c in found),
        }
    if g.order <= FORMATS_ORDER:
        automorphisms = alg.automorphism_group(g)
        out["automorphisms"] = {"order": automorphisms.order, "outer": automorphisms.outer_order}
        if formats:
            out["formats"] = [list(f) for f in alg.realised_formats(g)]
    return out


def _irrep(g: alg.FiniteGroup, index: int) -> dict[str, Any]:
    rho = alg.irrep(g, index)
    row: dict[str, Any] = {"index": index, "degree": rho.dimension, "construction": rho.method}
    if g.order * rho.dimension**2 <= 200_000:
        images = [rho.matrices[s] for s in g.generators]
        row["field"] = _field(lcm(1, *(m.minimal().conductor for m in images)))
        row["unitary"] = rho.is_unitary
        row["design"] = alg.unitary_strength(rho, 4)
        if rho.dimension <= 6:
            row["generators"] = [
                [[alg.format_number(m[i, j]) for j in range(rho.dimension)] for i in range(rho.dimension)]
                for m in images
            ]
    return row


def _field(conductor: int) -> str:
    return "Q" if conductor <= 2 else "Q(i)" if conductor == 4 else f"Q(zeta_{conductor})"


def _show(data: dict[str, Any]) -> None:
    words = [w for w in ("abelian", "simple", "solvable") if data[w]] or ["not solvable"]
    console.print(
        f"[bold]{escape(data['name'])}[/bold]  order {data['order']}, exponent {data['exponent']}, "
        + ", ".join(words)
        + f"; centre {data['centre']}, derived subgroup {data['derived']}"
    )
    if "small_group" in data:
        console.print(f"SmallGroup({data['small_group'][0]},{data['small_group'][1]}), structure {data['structure']}")
    if data["generators"]:
        console.print("generated by " + escape(", ".join(data["generators"])))
    classes, characters = data["classes"], data["characters"]
    if len(classes) <= WIDE:
        table = Table(title="character table (exact)")
        table.add_column("class")
        for c in classes:
            table.add_column(escape(c["representative"]), justify="right", overflow="fold")
        table.add_row("size", *(str(c["size"]) for c in classes))
        table.add_row("order", *(str(c["order"]) for c in classes), end_section=True)
        for i, c in enumerate(characters):
            table.add_row(f"χ{i}", *c["values"])
        console.print(table)
    else:
        console.print(
            f"{len(classes)} classes, degrees {degree_word([c['degree'] for c in characters])} "
            "(--json has the whole table)"
        )
    table = Table(title="irreducible representations")
    for column in ("χ", "degree", "type", "indicator", "kernel", "construction", "field", "unitary", "design"):
        table.add_column(column, justify="right" if column in ("χ", "degree", "kernel", "design") else "left")
    shown = [i for i, c in enumerate(characters) if len(classes) <= WIDE or c["degree"] > 1][:WIDE]
    for i in shown:
        c, r = characters[i], data["irreps"][i]
        table.add_row(str(i), str(c["degree"]), c["type"], f"{c['indicator']:+d}" if c["indicator"] else "0",
                      str(c["kernel"]), r["construction"], r.get("field", ""), {True: "yes", False: "no"}.get(
                          r.get("unitary"), ""), str(r.get("design", "")))  # fmt: skip
    console.print(table)
    for i in shown if len(classes) <= WIDE else []:
        r = data["irreps"][i]
        if 1 < r["degree"] <= 4 and "generators" in r:
            parts = ["[" + "; ".join(" ".join(row) for row in m) + "]" for m in r["generators"]]
            console.print(
                escape(f"  χ{i}: " + "   ".join(f"{g} ↦ {m}" for g, m in zip(data["generators"], parts, strict=True)))
            )
    if "subgroups" in data:
        s = data["subgroups"]
        console.print(f"subgroup lattice: {s['all']} subgroups in {s['classes']} classes, {s['normal']} normal")
    if "automorphisms" in data:
        a = data["automorphisms"]
        console.print(f"automorphisms: {a['order']}, outer {a['outer']}")
    console.print(
        f"one product in the real group algebra: {data['real_multiplications']} real multiplications "
        "(best known block ranks)"
    )
    if "formats" in data:
        found = ", ".join("⟨" + ",".join(map(str, f)) + "⟩" for f in data["formats"]) or "none"
        console.print(f"formats found by the triple product property (quick search, ≤ 5): {found}")


@app.command(epilog="Example: python -m search.groups S4")
def main(
    name: Annotated[str | None, typer.Argument(help="C4xC2, D4, Q8, S4, SL(2,3), SmallGroup(32,49), C7:C3, …")] = None,
    order: Annotated[int | None, typer.Option(help=f"list all groups of an order ≤ {MAX_SMALL_ORDER}")] = None,
    times: Annotated[bool, typer.Option("--measure", help="time each stage on a list of groups")] = False,
    formats: Annotated[bool, typer.Option(help="look for triple products")] = True,
    json: Json = False,
) -> None:
    """Describe a group: classes, exact character table, irreps, types, subgroups, formats. Without a name, list.

    Exit code 2 if the name means no group.
    """
    with friendly():
        if name is not None and order is not None:
            fail("name and --order exclude each other: describe one group or list an order")
        if name is not None:
            data = describe(name, formats)
            print_json(data) if json else _show(data)
            return
        rows = measure() if times else listing(order)
        if json:
            print_json(rows)
            return
        table = Table(title="CPU seconds" if times else f"groups of order {order}" if order is not None else "names")
        columns = list(dict.fromkeys(key for row in rows for key in row))
        for column in columns:
            table.add_column(column.replace("_", " "))
        for row in rows:
            table.add_row(*(escape(str(row.get(column, ""))) for column in columns))
        console.print(table)
        if order is None and not times:
            console.print(
                "also 2^(1+4)+, 3^(1+2)-, powers C2^3, products S3xC4, C7:C3, wreath products C3^3wrC2, and "
                f"every group of order ≤ {MAX_SMALL_ORDER}: --order 32 lists those of order 32"
            )


if __name__ == "__main__":
    app()
