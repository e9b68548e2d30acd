"""What a command says after it has changed something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.cli.client import Api, segment
from proxy.cli.fault import USAGE, Fault
from proxy.cli.output import show_json, talk

Changes = Mapping[str, Any]


def tell(row: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        show_json(row)
    else:
        talk(text)


def tell_id(row: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Of something new: its id alone is on stdout."""
    if as_json:
        show_json(row)
        return
    print(row["id"])
    talk(text)


def tell_secret(row: Mapping[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        show_json(row)
        return
    print(row["key"])
    talk(f"{done} {row['name']!r} ({row['id']}). The key is shown this once.")


def set_status(api: Api, path: str, row: Mapping[str, Any], verb: str, name: str, *, as_json: bool) -> None:
    """`verb`: block or unblock."""
    after = api.post(f"{path}/{segment(row['id'])}/{verb}")
    tell(after, f"{name} is {after.get('status', verb)}.", as_json=as_json)


def given(changes: Changes) -> dict[str, Any]:
    """Those that were asked for. None at all is a mistake of whoever typed it."""
    found = {name: value for name, value in changes.items() if value is not None}
    if not found:
        raise Fault("Nothing to change: no option says what.", next_step="the same with --help", code=USAGE)
    return found
