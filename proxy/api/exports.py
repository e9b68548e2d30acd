"""`/exports`: files for finance, and what proves them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from proxy.api.endpoint import Call, Download, Endpoint, Read, Stream, listing, page_of
from proxy.api.schema import (
    ExportId,
    KeyId,
    Listing,
    ListQuery,
    LlmName,
    ManagementKeyId,
    Part,
    ProviderName,
    Usd,
    UserId,
    WorkspaceId,
)
from proxy.api.usage import KeySource, Since, Until
from proxy.audit.write import Change
from proxy.exports import store
from proxy.exports.columns import ColumnType
from proxy.exports.filter import Filter
from proxy.exports.manifest import Plan
from proxy.exports.pieces import pieces
from proxy.exports.registry import FORMATS, FormatName, KindName
from proxy.exports.store import ExportRow
from proxy.storage.postgres import Connection
from proxy.wire.ids import to_wire
from proxy.wire.refusals import Reason, Refused

ID_HEADER = "x-synapscale-export-id"
GZIP_TYPE = "application/gzip"
MEDIA_TYPES = (*(each.media_type for each in FORMATS.values()), GZIP_TYPE)


class ColumnObject(Part):
    name: str
    type: ColumnType


class SumsOfExport(Part):
    """Of the columns of that name; null: the file has no such column."""

    list_cost_usd: Usd | None = None
    charge_usd: Usd | None = None
    amount_usd: Usd | None = None


class FilterObject(Part):
    """What the file is about; null: any."""

    model_config = ConfigDict(serialize_by_alias=True)

    workspace_id: str | None
    user_id: str | None
    virtual_key_id: str | None
    llm: str | None
    provider: str | None
    key_source: KeySource | None
    since: Annotated[str | None, Field(alias="from")]
    until: Annotated[str | None, Field(alias="to")]


class ManifestObject(Part):
    """What proves a file."""

    object: Literal["export_manifest"]
    id: str
    kind: KindName
    format: FormatName
    gzip: bool
    filter: FilterObject
    as_of: str | None
    """The file holds everything settled before this."""
    created_at: str
    finished_at: str
    columns: list[ColumnObject]
    rows: int
    sums: SumsOfExport
    bytes: int
    sha256: str
    """Of the file as it was sent: of the compressed bytes where it is compressed."""


class ExportObject(Part):
    """A file that somebody took."""

    id: ExportId
    object: Literal["export"] = "export"
    workspace_id: WorkspaceId | None
    """Null: all workspaces."""
    kind: KindName
    actor_kind: Literal["management_key", "system"]
    actor_id: ManagementKeyId
    created_at: datetime
    finished_at: datetime | None
    manifest: ManifestObject | None
    """Null while the file is being sent, and for ever where it broke off: such a file is not whole."""


class ExportList(Listing[ExportObject]):
    """Exports."""


class ExportsQuery(ListQuery):
    after: ExportId | None = None
    workspace_id: WorkspaceId | None = None
    kind: KindName | None = None


class ExportQuery(Part):
    since: Since = None
    until: Until = None
    workspace_id: WorkspaceId | None = None
    user_id: UserId | None = None
    virtual_key_id: KeyId | None = None
    llm: LlmName | None = None
    provider: ProviderName | None = None
    key_source: KeySource | None = None
    format: FormatName = "csv"
    gzip: bool = False
    """Compressed, as a file of its own: a `.gz`."""


def _taking(kind: KindName) -> Callable[[Call, ExportQuery], Awaitable[Download]]:
    async def begin(call: Call, query: ExportQuery) -> Download:
        if kind == "daily":
            _require_midnights(query)
        wanted = Filter(
            workspace_id=call.reach(query.workspace_id), since=query.since, until=query.until, user_id=query.user_id,
            virtual_key_id=query.virtual_key_id, llm=query.llm, provider=query.provider, key_source=query.key_source,
        )  # fmt: skip
        context = call.context
        plan = Plan(context.new_id(), kind, query.format, query.gzip, wanted, context.clock.now())

        async def note(db: Connection) -> Change:
            await store.insert(
                db, id=plan.id, workspace_id=wanted.workspace_id, actor_kind=call.actor.kind, actor_id=call.actor.id,
                kind=kind, created_at=plan.created_at,
            )  # fmt: skip
            detail = {name: value for name, value in asdict(wanted).items() if value is not None}
            return Change(b"", wanted.workspace_id, plan.id, detail={"kind": kind, "format": plan.format, **detail})

        await context.writer.change(
            call.actor, verb="read", resource="export", workspace_id=wanted.workspace_id, idempotency=None, work=note
        )
        return Download(
            GZIP_TYPE if plan.gzip else FORMATS[plan.format].media_type,
            plan.file_name,
            {ID_HEADER: to_wire("exp", plan.id)},
            pieces(context.pool, context.clock, plan),
        )

    return begin


async def list_all(call: Call, db: Connection, query: ExportsQuery) -> ExportList:
    rows = await store.list_all(
        db, workspace_id=call.reach(query.workspace_id), kind=query.kind, page=page_of(query, query.after)
    )
    return ExportList(**listing(rows, query.limit, _show))


async def get_one(call: Call, db: Connection, query: object) -> ExportObject:
    row = await store.get(db, call.path["id"], workspace_id=call.own)
    if row is None:
        raise Refused(Reason.NOT_FOUND, "No such export. GET /api/v1/exports lists them.")
    return _show(row)


def _require_midnights(query: ExportQuery) -> None:
    for name, moment in (("from", query.since), ("to", query.until)):
        if moment is not None and (moment.hour or moment.minute or moment.second or moment.microsecond):
            raise Refused(Reason.BAD_VALUE, f"`{name}` must be a day: these sums are of UTC days.", param=name)


def _show(row: ExportRow) -> ExportObject:
    fields = asdict(row)
    text = fields.pop("manifest")
    return ExportObject(**fields, manifest=None if text is None else ManifestObject.model_validate_json(text))


_SUMMARIES: dict[KindName, str] = {
    "usage-events": "Export usage events",
    "billing-events": "Export entries of the ledger",
    "daily": "Export sums by day",
}
ENDPOINTS: tuple[Endpoint, ...] = (
    *(
        Stream(f"/exports/{kind}", "export", summary, _taking(kind), MEDIA_TYPES, ExportQuery)
        for kind, summary in _SUMMARIES.items()
    ),
    Read("/exports", "export", "List exports", list_all, ExportList, ExportsQuery),
    Read("/exports/{id}", "export", "Get an export with its manifest", get_one, ExportObject, ids={"id": "exp"}),
)
