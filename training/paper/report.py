"""Our figures beside the paper's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evaluation.scores import Scores
from paper.tables import COLUMNS, PaperTable

Parts = Mapping[str, Mapping[str, Scores]]
"""Part of a table -> row -> measures."""


def beside_the_paper(table: PaperTable, ours: Parts, notes: Sequence[str] = ()) -> str:
    """Return a table in Markdown: for each measure a column of ours and one of the paper's.

    Rows of the paper that were not measured have dashes; rows that it has not come after them.
    """
    lines = [f"## {table.title}", ""]
    for part in {**ours, **table.parts}:
        theirs, mine = table.parts.get(part, {}), ours.get(part, {})
        columns = [c for c in COLUMNS if c in table.columns or any(c in r for r in mine.values())]
        columns = [c for c in columns if c in table.columns or c in ("st_lpips_full", "ms_frame")]
        head = [
            f"{COLUMNS[c][0]} | paper" if c in table.columns else COLUMNS[c][0] for c in columns
        ]
        width = 1 + sum(2 if c in table.columns else 1 for c in columns)
        lines += [f"| {part} | {' | '.join(head)} |", "|---" * width + "|"]
        for row in {**theirs, **mine}:
            values = dict(zip(table.columns, theirs.get(row, ()), strict=False))
            cells = []
            for column in columns:
                cells.append(_cell(column, mine.get(row, {}).get(column, math.nan)))
                if column in table.columns:
                    cells.append(_cell(column, values.get(column, math.nan)))
            lines.append(f"| {row} | {' | '.join(cells)} |")
        lines.append("")
    if table.inferred:
        lines += ["Inferred:", *(f"- {line}" for line in table.inferred), ""]
    lines += [f"Note: {note}" for note in notes]
    return "\n".join(lines).rstrip() + "\n"


def _cell(column: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞"
    _, decimals, factor = COLUMNS[column]
    return f"{value * factor:.{decimals}f}"
