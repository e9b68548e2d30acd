"""Rows of this room's tables, and what a change of them gives back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from proxy.identity.plan import Plan
from proxy.identity.principal import ClientLeaves, KeyPolicy

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
    client_leaves: ClientLeaves
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan that somebody gave, and from when on."""

    id: UUID
    workspace_id: UUID
    markup_bps: int
    platform_fee_bps: int
    free_fees_pusd: int
    internal: bool
    empty_answer_free: bool
    effective_from: datetime
    created_at: datetime

    @property
    def plan(self) -> Plan:
        return Plan(
            self.markup_bps, self.platform_fee_bps, self.free_fees_pusd, self.internal, self.empty_answer_free
        )


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """The markup of one workspace for one llm, in place of its plan's."""

    id: UUID
    workspace_id: UUID
    llm_id: UUID
    llm: str
    markup_bps: int
    effective_from: datetime
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
