"""What may be done to user variables. In the caller's transaction; a value comes in and never goes out."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from proxy.storage.postgres import Connection
from proxy.vault import store
from proxy.vault.seal import Vault
from proxy.vault.store import Scope, Variable
from proxy.wire.refusals import Reason, Refused

# Four of fewer characters than these would be a good part of a short secret.
MIN_CHARS_TO_SHOW_LAST4 = 16


class VariableChanged(NamedTuple):
    """`scopes`: the workspaces whose epochs must rise."""

    value: Variable
    scopes: frozenset[UUID]


async def create(
    db: Connection,
    vault: Vault,
    *,
    id: UUID,
    workspace_id: UUID,
    scope: Scope,
    user_id: UUID | None,
    provider: str,
    value: str,
    expires_at: datetime | None,
    now: datetime,
) -> VariableChanged:
    """The caller has made sure that workspace, user and provider are there and in reach."""
    if (scope == "user") != (user_id is not None):
        raise Refused(
            Reason.BAD_VALUE,
            "`user_id` is needed with scope `user` and has no place with scope `workspace`.",
            param="user_id",
        )
    _require_provider_key(value)
    _require_future(expires_at, now)
    variable = await store.insert(
        db,
        id=id,
        workspace_id=workspace_id,
        scope=scope,
        user_id=user_id,
        provider=provider,
        sealed=vault.seal(value, workspace_id=workspace_id, provider=provider, row_id=id),
        last4=_last4(value),
        expires_at=expires_at,
    )
    if variable is None:
        raise Refused(
            Reason.CONFLICT,
            "There is a key for this provider and scope already. Change its `value` with PATCH.",
            param="provider",
        )
    return VariableChanged(variable, frozenset([workspace_id]))


async def get(db: Connection, id: UUID, *, reach: UUID | None) -> Variable:
    variable = await store.get(db, id, reach=reach)
    if variable is None:
        raise _no_such()
    return variable


async def change(
    db: Connection,
    vault: Vault,
    id: UUID,
    *,
    reach: UUID | None,
    value: str | None,
    expires_at: datetime | None,
    clear_expiry: bool,
    now: datetime,
) -> VariableChanged:
    """What is None stays; `clear_expiry`: it no longer expires."""
    variable = await store.lock(db, id, reach=reach)
    if variable is None:
        raise _no_such()
    _require_future(expires_at, now)
    sealed = last4 = None
    if value is not None:
        _require_provider_key(value)
        sealed = vault.seal(value, workspace_id=variable.workspace_id, provider=variable.provider, row_id=id)
        last4 = _last4(value)
    expiry = None if clear_expiry else variable.expires_at if expires_at is None else expires_at
    changed = await store.update(db, id, sealed=sealed, last4=last4, expires_at=expiry)
    return VariableChanged(changed, frozenset([variable.workspace_id]))


async def delete(db: Connection, id: UUID, *, reach: UUID | None) -> VariableChanged:
    variable = await store.lock(db, id, reach=reach)
    if variable is None:
        raise _no_such()
    await store.delete(db, id)
    return VariableChanged(variable, frozenset([variable.workspace_id]))


def _last4(value: str) -> str:
    return value[-4:] if len(value) >= MIN_CHARS_TO_SHOW_LAST4 else ""


def _require_provider_key(value: str) -> None:
    # CR, LF or NUL in it would end the header that carries it; our own keys open this gateway, not a provider.
    if not value.isascii() or any(not "!" <= char <= "~" for char in value):
        raise Refused(
            Reason.BAD_VALUE,
            "A provider's key is printable ASCII without spaces or line ends. Was it copied with something around it?",
            param="value",
        )
    if value.startswith(("sk-syn-", "sk-adm-")):
        raise Refused(
            Reason.BAD_VALUE, "This is a key of this gateway. Here the provider's own key belongs.", param="value"
        )


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise Refused(Reason.BAD_VALUE, "`expires_at` is in the past.", param="expires_at")


def _no_such() -> Refused:
    return Refused(
        Reason.NOT_FOUND, "No such user variable. Check the id; this key reaches only what its workspace owns."
    )
