"""A name that a person types → the one row that it means."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.cli.client import Api, segment
from proxy.cli.fault import USAGE, Fault
from proxy.cli.output import Column, Row, plain

SEARCHED, SHOWN = 100, 5
MOST_NAMES = 1_000  # more are shown by id


def one(
    api: Api, path: str, prefix: str, name: str, *, by: tuple[str, ...] = ("name",), **query: Any,
) -> dict[str, Any]:
    """By id, else by the only row whose name (or e-mail) is exactly that."""
    if name.startswith(f"{prefix}_"):
        return api.get(f"{path}/{segment(name)}")
    # By the API's own filter; what it lets through is compared again.
    found = {
        row["id"]: row for key in by if key != "email" or "@" in name
        for row in api.rows(path, limit=SEARCHED, **{**query, key: name}) if _same(row, key, name)
    }
    if len(found) == 1:
        return next(iter(found.values()))
    kind = path.replace("-", " ")
    if not found:
        command = f"synapscale {path.removeprefix('virtual-')} list"
        raise Fault(f"No {name!r} among {kind}.", next_step=command, code=USAGE)
    raise Fault(f"{name!r} is the name of several {kind}: {_ids(found)}.", next_step="the id instead", code=USAGE)


def workspace(api: Api, name: str | None) -> dict[str, Any]:
    """The named one, else the only one that this key sees."""
    if name is not None:
        return one(api, "workspaces", "ws", name)
    found = list(api.rows("workspaces", limit=2))
    if len(found) == 1:
        return found[0]
    if not found:
        raise Fault("There is no workspace.", next_step="synapscale workspaces create NAME", code=USAGE)
    next_step = "--workspace NAME (synapscale workspaces list)"
    raise Fault("There are several workspaces: say which.", next_step=next_step, code=USAGE)


def workspace_id(api: Api, name: str | None) -> str | None:
    """A filter: None where nobody named a workspace."""
    return None if name is None else str(workspace(api, name)["id"])


def workspace_column(api: Api, rows: Sequence[Row]) -> tuple[Column, ...]:
    """By name, where rows are of more than one; the last one, so that the others keep their places in a pipe."""
    if len({row.get("workspace_id") for row in rows}) < 2:
        return ()
    names = {row["id"]: row["name"] for row in api.rows("workspaces", limit=MOST_NAMES)}
    return (Column("WORKSPACE", lambda row: names.get(row.get("workspace_id"), row.get("workspace_id"))),)


def member(api: Api, workspace_id: str, name: str | None) -> str:
    """The id of a user of the workspace: the named one, else the only one."""
    if name is not None:
        if name.startswith("user_"):
            return name
        return str(one(api, "users", "user", name, by=("email", "name"))["id"])
    members = list(api.rows(f"workspaces/{segment(workspace_id)}/members", limit=2))
    if len(members) == 1:
        return str(members[0]["user_id"])
    why = "The workspace has no member" if not members else "The workspace has several members"
    raise Fault(f"{why}: say whose it is.", next_step="--user EMAIL (synapscale users list)", code=USAGE)


def _same(row: Mapping[str, Any], key: str, name: str) -> bool:
    value = str(row.get(key, ""))
    return value.lower() == name.lower() if key == "email" else value == name


def _ids(ids: Iterable[str]) -> str:
    return ", ".join(map(plain, itertools.islice(ids, SHOWN)))
