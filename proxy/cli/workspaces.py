"""`synapscale workspaces`: tenants."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.asking import asking
from proxy.cli.basis_points import basis_points, percent
from proxy.cli.changed import given, set_status, tell, tell_id
from proxy.cli.client import Api
from proxy.cli.client import segment as seg
from proxy.cli.fault import USAGE, Fault
from proxy.cli.names import one, workspace
from proxy.cli.options import Json, Limit, Yes
from proxy.cli.output import Column, show_json, show_one, show_rows, talk
from proxy.cli.secrets_in import confirm

app = typer.Typer(no_args_is_help=True, help="Workspaces: who owns keys and is billed.")

PATH = "workspaces"
COLUMNS = (
    Column("ID", "id", whole=True), Column("NAME", "name"), Column("STATUS", "status"), Column("KEY POLICY", "key_policy", spare=1),
    Column("TIME ZONE", "time_zone", spare=2), Column("CREATED", "created_at", spare=3),
    Column("CLIENT LEAVES", "client_leaves", spare=4),
)
PLAN = (
    Column("MARKUP", lambda row: percent(row["markup_bps"])), Column("PLATFORM FEE", lambda row: percent(row["platform_fee_bps"])),
    Column("FREE FEES A MONTH", "free_fees_usd"), Column("INTERNAL", "internal"),
    Column("EMPTY ANSWERS FREE", "empty_answer_free"), Column("SINCE", "effective_from"),
)
OVERRIDES = (
    Column("LLM", "llm", whole=True), Column("MARKUP", lambda row: percent(row["markup_bps"]), right=True),
    Column("SINCE", "effective_from"),
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
ClientLeaves = Annotated[
    str | None,
    typer.Option(
        "--client-leaves",
        help="What becomes of an answer whose client has left: auto, drain (read on, within bounds), cancel (at once), or "
        "void (at once, and not charged; the platform's admins only).",
    ),
]
Markup = Annotated[
    str | None, typer.Option("--markup", help="On list prices at the platform's provider keys: 12.5%, 1250bps, -10%.")
]
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
    time_zone: TimeZone = None, client_leaves: ClientLeaves = None, as_json: Json = False,
) -> None:
    """Create a workspace. Its id goes to stdout."""
    body = {"name": name, "key_policy": key_policy, "time_zone": time_zone, "client_leaves": client_leaves}
    row = api.post(PATH, given(body))
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
    key_policy: KeyPolicy = None, time_zone: TimeZone = None, client_leaves: ClientLeaves = None, as_json: Json = False,
) -> None:
    """Change a workspace's name, key policy, time zone or what becomes of answers that a client leaves. In force at the next request."""
    body = given(
        {"name": new_name, "key_policy": key_policy, "time_zone": time_zone, "client_leaves": client_leaves}
    )
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
def plan(
    api: Api, name: OnlyPlace = None, markup: Markup = None,
    platform_fee: Annotated[
        str | None, typer.Option("--platform-fee", help="Of list prices, at own provider keys: 5%, 500bps.")
    ] = None,
    free_fees: Annotated[
        str | None, typer.Option("--free-fees", help="USD of these fees that are waived each month: 10.00.")
    ] = None,
    internal: Annotated[
        bool | None, typer.Option("--internal/--no-internal", help="The operator's own: nothing is charged.")
    ] = None,
    empty_free: Annotated[
        bool | None,
        typer.Option("--empty-answers-free/--empty-answers-charged", help="Answers without output and without a finish."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a workspace pays on top of, or off, list prices; with options: change it, in force at the next request."""
    place = workspace(api, name)
    path = f"{PATH}/{seg(place['id'])}/plan"
    changes = {
        "markup_bps": None if markup is None else basis_points(markup),
        "platform_fee_bps": None if platform_fee is None else basis_points(platform_fee),
        "free_fees_usd": free_fees, "internal": internal, "empty_answer_free": empty_free,
    }
    if all(value is None for value in changes.values()):
        show_one(api.get(path), PLAN, as_json=as_json)
        return
    after = api.patch(path, given(changes))
    if as_json:
        show_json(after)
        return
    show_one(after, PLAN, as_json=False)
    talk(f"This is the plan of {place['name']!r} from now on.")


@app.command()
@asking
def override(
    api: Api, name: Place, llm: Annotated[str | None, typer.Argument(help="Llm: name. Default: list them.")] = None,
    markup: Markup = None,
    remove: Annotated[bool, typer.Option("--remove", help="Back to the plan's markup.")] = False,
    limit: Limit = 100, as_json: Json = False,
) -> None:
    """Give a workspace a markup or discount of its own for one llm, in place of its plan's. Without an llm: list them."""
    place = workspace(api, name)
    path = f"{PATH}/{seg(place['id'])}/prices"
    if llm is None:
        rows = list(api.rows(path, limit=limit))
        show_rows(rows, OVERRIDES, as_json=as_json, empty="None: the plan's markup is in force for every llm.")
    elif remove:
        api.delete(f"{path}/{seg(one(api, 'llms', 'llm', llm)['id'])}")
        talk(f"The markup of the plan of {place['name']!r} is in force for {llm} again.")
    elif markup is None:
        raise Fault("Nothing to change: no option says what.", next_step="--markup 12.5%, or --remove", code=USAGE)
    else:
        row = api.post(path, {"llm": llm, "markup_bps": basis_points(markup)})
        tell(row, f"{place['name']!r} has a markup of {percent(row['markup_bps'])} for {llm} from now on.", as_json=as_json)


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
