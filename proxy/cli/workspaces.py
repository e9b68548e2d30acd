"""`synapscale workspaces`: tenants."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.asking import asking
from proxy.cli.changed import given, set_status, tell, tell_id
from proxy.cli.client import Api
from proxy.cli.client import segment as seg
from proxy.cli.names import one, workspace
from proxy.cli.options import Json, Limit, Yes
from proxy.cli.output import Column, show_one, show_rows, talk
from proxy.cli.secrets_in import confirm

app = typer.Typer(no_args_is_help=True, help="Workspaces: who owns keys and is billed.")

PATH = "workspaces"
COLUMNS = (
    Column("ID", "id", whole=True), Column("NAME", "name"), Column("STATUS", "status"), Column("KEY POLICY", "key_policy", spare=1),
    Column("TIME ZONE", "time_zone", spare=2), Column("CREATED", "created_at", spare=3),
)
MEMBERS = (Column("USER", "user_id"), Column("EMAIL", "email"), Column("NAME", "name"), Column("ROLE", "role"))
Place = Annotated[str, typer.Argument(help="Workspace: name or id.")]
OnlyPlace = Annotated[str | None, typer.Argument(help="Name or id. Default: the only one.")]
User = Annotated[str, typer.Argument(help="User: e-mail or id.")]
KeyPolicy = Annotated[
    str | None,
    typer.Option(
        "--key-policy",
        help="Whose provider key: own_else_global (an own one where there is one), own_then_global (the global one too, "
        "where the own one is refused), own_only or global_only.",
    ),
]
TimeZone = Annotated[str | None, typer.Option("--time-zone", help="Of its billing, such as Europe/Berlin.")]
Role = Annotated[str, typer.Option("--role", help="owner, admin, billing, member or viewer: synapscale roles.")]


@app.command("list")
@asking
def list_(api: Api, limit: Limit = 100, as_json: Json = False) -> None:
    """List workspaces."""
    rows = list(api.rows(PATH, limit=limit))
    show_rows(rows, COLUMNS, as_json=as_json, empty="No workspaces. Make one: synapscale workspaces create NAME")


@app.command()
@asking
def create(
    api: Api, name: Annotated[str, typer.Argument(help="Its name.")], key_policy: KeyPolicy = None,
    time_zone: TimeZone = None, as_json: Json = False,
) -> None:
    """Create a workspace. Its id goes to stdout."""
    row = api.post(PATH, given({"name": name, "key_policy": key_policy, "time_zone": time_zone}))
    next_step = f"synapscale workspaces add-member {row['name']} EMAIL"
    tell_id(row, f"Created {row['name']!r}. Next: {next_step}", as_json=as_json)


@app.command()
@asking
def show(api: Api, name: OnlyPlace = None, as_json: Json = False) -> None:
    """Show a workspace."""
    show_one(workspace(api, name), COLUMNS, as_json=as_json)


@app.command()
@asking
def update(
    api: Api, name: Place, new_name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    key_policy: KeyPolicy = None, time_zone: TimeZone = None, as_json: Json = False,
) -> None:
    """Change a workspace's name, key policy or time zone. In force at the next request."""
    body = given({"name": new_name, "key_policy": key_policy, "time_zone": time_zone})
    after = api.patch(f"{PATH}/{seg(workspace(api, name)['id'])}", body)
    tell(after, f"Changed {after['name']!r}.", as_json=as_json)


@app.command()
@asking
def block(api: Api, name: Place, as_json: Json = False) -> None:
    """Refuse every key of a workspace from the next request on."""
    row = workspace(api, name)
    set_status(api, PATH, row, "block", row["name"], as_json=as_json)


@app.command()
@asking
def unblock(api: Api, name: Place, as_json: Json = False) -> None:
    """Let a blocked workspace's keys work again."""
    row = workspace(api, name)
    set_status(api, PATH, row, "unblock", row["name"], as_json=as_json)


@app.command()
@asking
def members(api: Api, name: OnlyPlace = None, limit: Limit = 100, as_json: Json = False) -> None:
    """List who belongs to a workspace, with which role."""
    rows = list(api.rows(_members(workspace(api, name)["id"]), limit=limit))
    show_rows(rows, MEMBERS, as_json=as_json, empty="No members.")


@app.command("add-member")
@asking
def add_member(api: Api, name: Place, user: User, role: Role = "member", as_json: Json = False) -> None:
    """Let a user into a workspace."""
    place, who = workspace(api, name), _user(api, user)
    row = api.post(_members(place["id"]), {"user_id": who["id"], "role": role})
    tell(row, f"{who.get('email', who['id'])} is {role} of {place['name']!r}.", as_json=as_json)


@app.command("set-role")
@asking
def set_role(
    api: Api, name: Place, user: User,
    role: Annotated[str, typer.Argument(help="owner, admin, billing, member or viewer: synapscale roles.")],
    as_json: Json = False,
) -> None:
    """Give a member another role."""
    place, who = workspace(api, name), _user(api, user)
    row = api.patch(f"{_members(place['id'])}/{seg(who['id'])}", {"role": role})
    tell(row, f"{who.get('email', who['id'])} is {role} of {place['name']!r}.", as_json=as_json)


@app.command("remove-member")
@asking
def remove_member(api: Api, name: Place, user: User, yes: Yes = False) -> None:
    """Take a user out of a workspace. Their keys in it are refused until they come back."""
    place, who = workspace(api, name), _user(api, user)
    email = who.get("email", who["id"])
    confirm(f"Remove {email} from {place['name']!r}? Their keys in it stop working.", yes=yes)
    api.delete(f"{_members(place['id'])}/{seg(who['id'])}")
    talk(f"{email} is no member of {place['name']!r} any more.")


def _members(workspace_id: str) -> str:
    return f"{PATH}/{seg(workspace_id)}/members"


def _user(api: Api, user: str) -> dict[str, str]:
    return one(api, "users", "user", user, by=("email", "name"))
