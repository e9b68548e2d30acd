"""Results: a table for a person, TSV for a pipe, JSON for a program."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]

GAP = 2  # between two columns of a table

# A name that somebody else chose must not move the cursor or ring the bell of whoever lists it (C0, DEL, C1).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Column(NamedTuple):
    """`spare`: on a terminal that is too narrow the highest go first, 0 never. `whole`: is not broken over lines."""

    title: str
    value: str | Callable[[Row], Any]
    right: bool = False
    spare: int = 0
    whole: bool = False


def cell(row: Row, column: Column) -> str:
    value = row.get(column.value) if isinstance(column.value, str) else column.value(row)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return plain(", ".join(map(str, value)))
    return plain(str(value))


def plain(text: str) -> str:
    """Without control characters."""
    return _CONTROL.sub(" ", text)


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_rows(rows: Sequence[Row], columns: Sequence[Column], *, as_json: bool, empty: str) -> None:
    """`empty` is what a person is told where there is nothing; a program gets `[]` or no line. Both are success."""
    if as_json:
        show_json(list(rows))
    elif not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell(row, column) for column in columns))
    elif not rows:
        talk(empty)
    else:
        _table(rows, columns)


def show_one(row: Row, columns: Sequence[Column], *, as_json: bool) -> None:
    if as_json:
        show_json(row)
        return
    width = max(len(column.title) for column in columns) + 2 if sys.stdout.isatty() else 0
    for column in columns:
        text = cell(row, column)
        print(f"{column.title:<{width}}{text}" if width else f"{column.title}\t{text}")


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # Text, not str: rich would read "[bold]" in a name as markup.
    cells = {column: [Text(cell(row, column)) for row in rows] for column in columns}
    widths = {column: max(len(column.title), *(text.cell_len for text in cells[column])) for column in columns}
    shown = _fitting(widths, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for column in shown:
        table.add_column(
            column.title, justify="right" if column.right else "left", overflow="fold", no_wrap=column.whole,
        )
    for texts in zip(*(cells[column] for column in shown), strict=True):
        table.add_row(*texts)
    console.print(table)


def _fitting(widths: Mapping[Column, int], room: int) -> list[Column]:
    shown = list(widths)
    while len(shown) > 1 and sum(widths[column] + GAP for column in shown) - GAP > room:
        most = max(shown, key=lambda column: column.spare)
        if most.spare == 0:
            break
        shown.remove(most)
    return shown


def talk(text: str) -> None:
    """To the person, never into the data."""
    print(text, file=sys.stderr, flush=True)
