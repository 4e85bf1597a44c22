"""Tables of what the experiments wrote."""

from __future__ import annotations

import math

from .table import Table, markdown

__all__ = ["table"]

#: by experiment: what names a line of the table, what is averaged over the seeds, of what the worst is shown
COLUMNS = {
    "starts": (("arm", "images", "rank", "group", "epochs"), ("accuracy", "epsilon2", "kappa2"), ()),
    "vit": (
        ("arm", "images", "rank", "group", "multiplications", "parameters", "epochs"),
        ("accuracy",),
        ("leak_batch",),
    ),
    "gpt": (("arm", "multiplications", "parameters"), ("nats", "nats_copies"), ("leak_time", "leak_batch")),
    "speed": (("model", "arm", "compiled", "multiplications", "GFLOP"), ("ms_eager", "ms_graph"), ()),
    "smollm": (
        ("arm", "multiplications", "parameters", "stage", "rate"),
        ("nats", "perplexity"),
        ("leak_time", "leak_batch"),
    ),
    "minilm": (("arm", "group", "multiplications", "stage"), ("cosine", "recall"), ("leak_batch",)),
}


def table(name: str, rows: Table) -> str:
    """The experiment's summary as Markdown: mean ± half of the 95 % interval over the seeds, best first."""
    by, values, worst = COLUMNS[name]
    lines = rows.summary(by, values)
    lines.sort(key=lambda line: line[values[0]], reverse=values[0] not in ("nats", "ms_eager"))
    out = []
    for line in lines:
        kept = {k: line[k] for k in (*by, "seeds")}
        for value in values:
            half = line[f"{value} ±"]
            kept[value] = "" if math.isnan(line[value]) else f"{line[value]:.4g}"
            if half > 0:  # neither a single seed (nan) nor a constant
                kept[value] += f" ± {half:.2g}"
        same = [r for r in rows.rows() if all(r[k] == line[k] for k in by)]
        kept |= {f"{k}, worst": f"{max(float(r[k]) for r in same):.1e}" for k in worst}
        out.append(kept)
    return markdown(out)
