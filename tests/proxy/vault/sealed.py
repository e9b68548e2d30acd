"""Somebody's own provider key, and what opens it."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from proxy.vault import variables
from proxy.vault.seal import Vault
from tests.management import Deployment

VALUE = "own-provider-key-CANARY-0123456789"


class Whose(NamedTuple):
    id: UUID
    workspace_id: UUID
    user_id: UUID
    provider: str


async def somebodys_key(deployment: Deployment, provider: str = "openai") -> Whose:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, f"{deployment.id().hex}@example.com")
    async with deployment.pool.acquire() as db:
        made = await variables.create(
            db, deployment.vault, id=deployment.id(), workspace_id=workspace, scope="user", user_id=user, provider=provider,
            value=VALUE, expires_at=None, now=deployment.clock.now(),
        )
    return Whose(made.value.id, workspace, user, provider)


def opened_by(vault: Vault, who: Whose, sealed: bytes) -> str:
    return vault.open(sealed, workspace_id=who.workspace_id, provider=who.provider, row_id=who.id)
