"""One row of the table of endpoints, and what its handler is called with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel

from proxy.api.context import ApiContext
from proxy.api.schema import ListQuery, Part
from proxy.audit import roles
from proxy.audit.actor import Actor, Role
from proxy.audit.write import Change
from proxy.identity.principal import Principal
from proxy.storage.keyset import Page
from proxy.storage.postgres import Connection

RowT = TypeVar("RowT")
# manager: a management key. holder: a virtual key.
CallerKind = Literal["manager", "holder"]
MAX_BODY_BYTES = 256 * 1024


class NoQuery(Part):
    """No parameters."""


class NoBody(Part):
    """Nothing, or an empty object."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a manager. `path`: the ids in the path by their names."""

    context: ApiContext
    actor: Actor
    path: Mapping[str, UUID]

    @property
    def own(self) -> UUID | None:
        """The workspace that the caller is bound to; None for the platform."""
        return self.actor.workspace_id

    def reach(self, asked: UUID | None) -> UUID | None:
        """The workspace that the call is about; None: all, for the platform."""
        return roles.reach(self.actor, asked)

    def guard(self, role: Role) -> None:
        roles.require_rank(self.actor, role)


@dataclass(frozen=True, slots=True)
class HolderCall:
    """A call of the holder of a virtual key."""

    context: ApiContext
    principal: Principal


@dataclass(frozen=True, slots=True)
class Read:
    """`handler(call, db, query)` returns the answer; the call is a `HolderCall` where the caller is a holder."""

    path: str
    resource: str
    summary: str
    handler: Callable[[Any, Connection, Any], Awaitable[BaseModel]]
    answer: type[Part]
    query: type[Part] = NoQuery
    ids: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    verb: str = "read"
    caller: CallerKind = "manager"


@dataclass(frozen=True, slots=True)
class Write:
    """`handler(call, db, body)` runs inside the write path's transaction and returns what it changed.

    `ids`: the prefix of each id in the path, by its name. `max_body_bytes`: more than any other call needs, for files.
    """

    method: str
    path: str
    verb: str
    resource: str
    summary: str
    handler: Callable[[Call, Connection, Any], Awaitable[Change]]
    answer: type[Part]
    body: type[Part] = NoBody
    ids: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    query: type[Part] = NoQuery
    max_body_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Download:
    """What a `Stream` answers with. `pieces` ends when all is given; whoever leaves it before closes it."""

    media_type: str
    file_name: str
    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Stream:
    """`handler(call, query)` returns the file that is then sent, piece by piece as the client takes it."""

    path: str
    resource: str
    summary: str
    handler: Callable[[Call, Any], Awaitable[Download]]
    media_types: Sequence[str]
    query: type[Part] = NoQuery
    ids: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    verb: str = "read"


Endpoint = Read | Write | Stream


def render(answer: BaseModel) -> bytes:
    return answer.model_dump_json().encode()


def page_of(query: ListQuery, after: UUID | None) -> Page:
    return Page(limit=query.limit, after=after, descending=query.order == "desc")


def listing(rows: Sequence[RowT], limit: int, show: Callable[[RowT], Part]) -> dict[str, Any]:
    """The fields of a `Listing` from up to `limit` + 1 rows."""
    items = [show(row) for row in rows[:limit]]
    ids = [item.model_dump(include={"id"})["id"] for item in items[:1] + items[-1:]]
    return {
        "data": items,
        "has_more": len(rows) > limit,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
