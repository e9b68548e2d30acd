"""Documents that repeat what the code says are compared with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from proxy.settings import reference
from proxy.wire.refusals import Reason

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def rows(document: Path) -> list[list[str]]:
    """The body rows of all tables, cell by cell, without backticks."""
    found = []
    for line in document.read_text().splitlines():
        if line.startswith("|") and not set(line) <= set("|-: "):
            found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def test_configuration_documents_every_setting() -> None:
    document = (DOCS / "configuration.md").read_text()
    assert document == reference.replaced(document), "make it anew: python -m proxy.settings.reference"


def test_errors_document_every_reason() -> None:
    documented = {row[0]: (int(row[1]), row[2], row[3]) for row in rows(DOCS / "errors.md") if row[1].isdigit()}
    assert documented == {reason.name: tuple(reason.value) for reason in Reason}
    assert all(row[4] for row in rows(DOCS / "errors.md"))


def test_dependencies_document_every_direct_one() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    names = {re.split(r"[<>=!~;\[ ]", requirement)[0] for requirement in wanted}
    documented = [row[0] for row in rows(DOCS / "dependencies.md") if row[0] != "package"]
    assert sorted(documented) == sorted(names)
    assert all(len(row) == 3 and row[1] and row[2] for row in rows(DOCS / "dependencies.md"))


def test_schema_documents_every_table() -> None:
    created: set[str] = set()
    for migration in sorted((REPOSITORY / "migrations").glob("*.sql")):
        created |= set(re.findall(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", migration.read_text(), re.MULTILINE))
    documented = [row[0] for row in rows(DOCS / "schema.md") if row[0] != "table"]
    assert sorted(documented) == sorted(created)


DOCUMENTS = ["README.md", "CHANGELOG.md", *sorted(f"docs/{path.name}" for path in DOCS.glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = REPOSITORY / document
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_reading_order_names_every_document() -> None:
    order = (DOCS / "README.md").read_text()
    lacking = [path.name for path in DOCS.glob("*.md") if path.name != "README.md" and f"({path.name})" not in order]
    assert not lacking


def test_decisions_have_their_four_parts() -> None:
    for path in (DOCS / "decisions").glob("*.md"):
        text = path.read_text()
        assert re.match(rf"# {path.name[:4]}: ", text), path.name
        for part in ("Context", "Decision", "What we gave up", "What would change our mind"):
            assert f"## {part}" in text, f"{path.name} lacks {part}"
