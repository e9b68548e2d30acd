"""`/me`: what the holder of a virtual key may know of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from proxy.api.endpoint import Endpoint, HolderCall, Read
from proxy.api.schema import KeyId, KeyPolicy, Part, UserId, WorkspaceId
from proxy.api.usage import SumsObject, show_sums
from proxy.api.virtual_keys import VirtualKeyObject, show
from proxy.catalog.reading import store as catalog
from proxy.identity import people
from proxy.identity.keys import issue
from proxy.ledger.reading import store as ledger
from proxy.ledger.reading.sums import store as sums
from proxy.storage.postgres import Connection


class MyUser(Part):
    id: UserId
    email: str
    name: str


class MyWorkspace(Part):
    id: WorkspaceId
    name: str
    key_policy: KeyPolicy


class Spend(Part):
    """Of this key."""

    month: SumsObject
    """Since the first of the month, UTC."""
    total: SumsObject


class Nothing(Part):
    """Not there yet."""


class Me(Part):
    id: KeyId
    object: Literal["me"] = "me"
    created_at: datetime
    key: VirtualKeyObject
    user: MyUser
    workspace: MyWorkspace
    llms: list[str]
    """What the key may name as `model`."""
    spend: Spend
    budgets: list[Nothing]
    limits: list[Nothing]
    as_of: datetime | None
    """The ledger, and so `spend`, holds everything settled before this."""


async def me(call: HolderCall, db: Connection, query: object) -> Me:
    principal = call.principal
    as_of = await ledger.as_of(db)
    key = await issue.get_virtual(db, principal.key_id, reach=principal.workspace_id)
    user = await people.get_user(db, principal.user_id, reach=principal.workspace_id)
    workspace = await people.get_workspace(db, principal.workspace_id, reach=principal.workspace_id)
    of_key = {"workspace_id": principal.workspace_id, "virtual_key_id": principal.key_id}
    today = call.context.clock.now().date()
    month = await sums.of_key(db, **of_key, since=today.replace(day=1))
    total = await sums.of_key(db, **of_key, since=date(1970, 1, 1))
    names = await catalog.llm_names(db)
    return Me(
        id=key.id, created_at=key.created_at, key=show(key),
        user=MyUser(id=user.id, email=user.email, name=user.name),
        workspace=MyWorkspace(id=workspace.id, name=workspace.name, key_policy=workspace.key_policy),
        llms=[name for name in names if principal.llms is None or name in principal.llms],
        spend=Spend(month=SumsObject(**show_sums(month)), total=SumsObject(**show_sums(total))),
        budgets=[], limits=[], as_of=as_of,
    )  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (
    Read("/me", "me", "What this virtual key is and has spent", me, Me, caller="holder"),
)
