"""Tables, TSV, JSON: nothing that somebody named can break out of its cell."""

from __future__ import annotations

import sys

import pytest

from proxy.cli.output import Column, show_one, show_rows

COLUMNS = (Column("ID", "id"), Column("NAME", "name"), Column("TAGS", "tags"))
HOSTILE = {"id": "1", "name": "a\tb\nc\x1b[2J\x9b31m[bold]d[/bold]", "tags": ["x", "y"]}


def test_tsv_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([HOSTILE, {"id": "2", "name": None}], COLUMNS, as_json=False, empty="")
    lines = capsys.readouterr().out.split("\n")
    assert lines == ["1\ta b c [2J 31m[bold]d[/bold]\tx, y", "2\t\t", ""]


def test_table_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    show_rows([HOSTILE], COLUMNS, as_json=False, empty="")
    out = capsys.readouterr().out
    assert "[bold]d[/bold]" in out and "NAME" in out
    assert "\x1b[2J" not in out and "\x9b" not in out


def test_nothing_is_told_to_a_person_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_rows([], COLUMNS, as_json=True, empty="none")
    assert capsys.readouterr() == ("[]\n", "")
    show_rows([], COLUMNS, as_json=False, empty="none")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_rows([], COLUMNS, as_json=False, empty="none")
    assert capsys.readouterr() == ("", "none\n")


def test_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"id": "1", "name": True}, COLUMNS, as_json=False)
    assert capsys.readouterr().out == "ID\t1\nNAME\tyes\nTAGS\t\n"
