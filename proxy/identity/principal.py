"""Who is calling, resolved from a virtual key and cached until an epoch makes it stale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from proxy.identity.plan import Plan

KeyPolicy = Literal["own_else_global", "own_then_global", "own_only", "global_only"]
# What becomes of an answer whose client has left (DESIGN section 9).
ClientLeaves = Literal["auto", "drain", "cancel", "void"]


@dataclass(frozen=True, slots=True)
class OwnCredential:
    """An own provider key (user variable), still sealed. `scope` user goes before workspace."""

    user_variable_id: UUID
    scope: Literal["user", "workspace"]
    provider: str
    sealed: bytes
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Principal:
    """All that a request needs to know of its caller."""

    key_id: UUID
    key_name: str
    workspace_id: UUID
    workspace_name: str
    user_id: UUID
    shard: int
    workspace_epoch: int  # read before the rest: the state is at least as new as this number
    key_policy: KeyPolicy
    llms: frozenset[str] | None  # None: all
    expires_at: datetime | None
    own_credentials: tuple[OwnCredential, ...] = ()
    client_leaves: ClientLeaves = "auto"
    plan: Plan = Plan()
