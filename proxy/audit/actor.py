"""Who acts on the management side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from proxy.wire.ids import NIL

ActorKind = Literal["management_key", "system"]
Role = Literal["owner", "admin", "billing", "member", "viewer"]
# `platform`: the deployment's operators. Not a role that a workspace can give.
Standing = Literal["platform", "owner", "admin", "billing", "member", "viewer"]


@dataclass(frozen=True, slots=True)
class Actor:
    """`workspace_id` None: the platform, whatever the role says."""

    kind: ActorKind
    id: UUID
    workspace_id: UUID | None
    role: Role

    @property
    def standing(self) -> Standing:
        return "platform" if self.workspace_id is None else self.role


SYSTEM = Actor(kind="system", id=NIL, workspace_id=None, role="admin")
