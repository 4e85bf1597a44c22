"""Tables and figures of what the experiments wrote."""

from __future__ import annotations

from .table import Table, markdown

__all__ = ["table"]

COLUMNS = {
    "starts": (("arm", "rank", "group"), ("accuracy", "epsilon2", "kappa2")),
    "vit": (("arm", "rank", "group", "multiplications", "parameters"), ("accuracy", "loss")),
    "gpt": (("arm", "rank", "rows", "multiplications", "parameters"),
            ("nats", "nats_copies", "leak_time", "leak_batch", "ms_graph")),
    "speed": (("model", "arm", "compiled", "multiplications"), ("ms_eager", "ms_graph", "GFLOP")),
    "minilm": (("arm", "rank", "multiplications", "stage"), ("cosine", "recall", "epsilon2")),
}  # fmt: skip


def table(name: str, rows: Table) -> str:
    """The experiment's summary as Markdown: mean and 95 % half-width over the seeds, best first."""
    by, values = COLUMNS[name]
    lines = rows.summary(by, values)
    first = values[0]
    lines.sort(key=lambda line: line[first], reverse=first not in ("nats", "ms_eager"))
    return markdown(lines)
