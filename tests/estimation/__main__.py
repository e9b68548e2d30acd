"""`python -m tests.estimation [--cassettes FOLDER] [--each]`: measures the estimator, writes docs/estimation.md.

From the recordings (WIRE_DIR) their table; with a folder of unpacked source distributions that carry cassettes also the
second table and the factors. `--each` prints every call. What of it stands in code (metering/families.py) is compared
by tests/estimation/test_document.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.estimation import calibrate, document
from tests.estimation.exchanges import cassettes, recordings
from tests.estimation.measure import Measured, measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.estimation")
    parser.add_argument("--cassettes", type=Path)
    parser.add_argument("--each", action="store_true")
    arguments = parser.parse_args()
    recorded = recordings()
    if not recorded:
        raise SystemExit("no recordings: set WIRE_DIR")
    rows = asyncio.run(measure(recorded))
    tables = {document.RECORDINGS: document.errors(rows)}
    if arguments.cassettes:
        more = cassettes(arguments.cassettes)
        found = asyncio.run(measure(more))
        tables[document.CASSETTES] = document.errors(found)
        tables[document.FACTORS] = document.factors(calibrate.factors(recorded + more))
        rows += found
    text = document.DOCUMENT.read_text()
    document.DOCUMENT.write_text(document.replaced(text, tables))
    _print(rows if arguments.each else ())
    sys.stdout.write("\n\n".join(tables.values()) + "\n")


def _print(rows: Iterable[Measured]) -> None:
    for row in rows:
        one = row.exchange
        sys.stdout.write(
            f"{one.name}\t{one.provider}\t{one.model}\t{one.surface}\t"
            f"in {one.input_tokens} {row.input}\tout {one.output_tokens} {row.output}\n"
        )


if __name__ == "__main__":
    main()
