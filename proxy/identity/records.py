"""Rows of this room's tables, and what a change of them gives back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from proxy.identity.principal import KeyPolicy

Status = Literal["active", "blocked"]
WorkspaceRole = Literal["owner", "admin", "billing", "member", "viewer"]
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Workspace:
    id: UUID
    name: str
    shard: int
    key_policy: KeyPolicy
    time_zone: str
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    id: UUID
    email: str
    name: str
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    workspace_id: UUID
    user_id: UUID
    role: WorkspaceRole
    email: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """Never the key, never its hash."""

    id: UUID
    workspace_id: UUID
    user_id: UUID
    name: str
    last4: str
    imported: bool
    llms: tuple[str, ...] | None
    expires_at: datetime | None
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ManagementKey:
    """`workspace_id` None: the platform."""

    id: UUID
    workspace_id: UUID | None
    role: WorkspaceRole
    name: str
    last4: str
    expires_at: datetime | None
    status: Status
    created_at: datetime


class Changed(NamedTuple, Generic[T_co]):
    """`scopes`: the workspaces in which a virtual key may now do more or less than before: their epochs must rise."""

    value: T_co
    scopes: frozenset[UUID]


class Issued(NamedTuple, Generic[T_co]):
    """`secret` is shown once and stored nowhere."""

    value: T_co
    secret: str
    scopes: frozenset[UUID]
