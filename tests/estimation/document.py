"""The tables of docs/estimation.md, between marks; what stands around them is written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.estimation.calibrate import LEAST_SAMPLES, Factor
from tests.estimation.measure import Measured, quantile

DOCUMENT = Path(__file__).parents[2] / "docs" / "estimation.md"
RECORDINGS, CASSETTES, FACTORS = "recordings", "cassettes", "factors"


def replaced(document: str, tables: dict[str, str]) -> str:
    """`tables`: by mark. Others stay."""
    for mark, table in tables.items():
        pattern = re.compile(rf"(<!-- begin {mark} -->\n).*?(<!-- end {mark} -->)", re.DOTALL)
        document, count = pattern.subn(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", document)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"docs/estimation.md must have the marks of {mark} once")
    return document


def errors(rows: Iterable[Measured]) -> str:
    groups: dict[str, list[Measured]] = {}
    for row in rows:
        linked = " (images and files by link)" if row.exchange.linked else ""
        groups.setdefault(row.exchange.provider + linked, []).append(row)
    lines = [
        "| provider | inputs | median error | p95 | outputs | median error | p95 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(groups):
        inputs = [row.input_error for row in groups[name] if row.input_error is not None]
        outputs = [row.output_error for row in groups[name] if row.output_error is not None]
        if inputs or outputs:
            lines.append("| " + " | ".join([name, *_cells(inputs), *_cells(outputs)]) + " |")
    return "\n".join(lines)


def _cells(values: list[float]) -> list[str]:
    if not values:
        return ["0", "", ""]
    return [str(len(values)), _percent(quantile(values, 0.5)), _percent(quantile(values, 0.95))]


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def factors(found: Iterable[Factor]) -> str:
    lines = ["| family | input, ‰ | calls | output, ‰ | answers |", "|---|---|---|---|---|"]
    for one in found:
        if max(one.inputs, one.outputs) >= LEAST_SAMPLES:
            cells = (one.input_permille, one.inputs, one.output_permille, one.outputs)
            lines.append(f"| {one.family} | " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)
