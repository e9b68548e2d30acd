"""The types that request and answer models are made of."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from proxy.wire.ids import from_wire, to_wire
from proxy.wire.refusals import Reason, Refused

ItemT = TypeVar("ItemT", bound="Part")
MAX_LIMIT = 100
# C0, C1, DEL, and lone surrogates, which Postgres' text and UTF-8 do not have.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Part(BaseModel):
    """No field that is not declared, no type that is nearly right."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class WireId:
    """A UUID that travels as a prefix and 32 hex digits."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def parse(self, value: object) -> UUID:
        if isinstance(value, UUID):
            return value
        found = from_wire(self.prefix, value) if isinstance(value, str) else None
        if found is None:
            raise PydanticCustomError("wire_id", "must be an id: {prefix}_ and 32 hex digits", {"prefix": self.prefix})
        return found

    def show(self, value: UUID) -> str:
        return to_wire(self.prefix, value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        show = core_schema.plain_serializer_function_ser_schema(self.show, return_schema=core_schema.str_schema())
        return core_schema.no_info_plain_validator_function(self.parse, serialization=show)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{self.prefix}_[0-9a-f]{{32}}$"}


WorkspaceId = Annotated[UUID, WireId("ws")]
UserId = Annotated[UUID, WireId("user")]
KeyId = Annotated[UUID, WireId("key")]
ManagementKeyId = Annotated[UUID, WireId("mk")]
VariableId = Annotated[UUID, WireId("uv")]
AgentId = Annotated[UUID, WireId("agent")]
RequestId = Annotated[UUID, WireId("req")]
AttemptId = Annotated[UUID, WireId("att")]
ConversationId = Annotated[UUID, WireId("conv")]
MessageId = Annotated[UUID, WireId("msg")]
BillingId = Annotated[UUID, WireId("bill")]
PlanId = Annotated[UUID, WireId("plan")]
OverrideId = Annotated[UUID, WireId("over")]
PriceItemId = Annotated[UUID, WireId("price")]
PriceId = Annotated[UUID, WireId("pver")]
ProviderId = Annotated[UUID, WireId("prov")]
LlmId = Annotated[UUID, WireId("llm")]
RouteId = Annotated[UUID, WireId("route")]
AuditId = Annotated[UUID, WireId("aud")]
AlertId = Annotated[UUID, WireId("alert")]
ExportId = Annotated[UUID, WireId("exp")]


def _plain(text: str) -> str:
    if _UNPRINTABLE.search(text):
        raise PydanticCustomError("plain_text", "must not hold control characters")
    return text


def _in_range(moment: datetime) -> datetime:
    if not _EARLIEST <= moment < _LATEST:
        raise PydanticCustomError("moment", "must lie between the years 1970 and 9000")
    return moment.astimezone(UTC)


def _when(value: object) -> datetime:
    text = str(value)
    try:
        moment = datetime.fromisoformat(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError:
        raise PydanticCustomError("when", "must be a day or a time with its zone, 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise PydanticCustomError("when", "must name its zone: end it with Z or +01:00")
    return moment


Text = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_plain)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(_plain)]
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$", strip_whitespace=True),
    AfterValidator(_plain),
]
LlmName = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Usd = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{2,12}$", description="USD, exact: a decimal in plain digits.")]
Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
# In a query a day stands for its midnight in UTC.
When = Annotated[
    datetime,
    PlainValidator(_when),
    AfterValidator(_in_range),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Status = Literal["active", "blocked"]
Role = Literal["owner", "admin", "billing", "member", "viewer"]
KeyPolicy = Literal["own_else_global", "own_then_global", "own_only", "global_only"]
ClientLeaves = Literal["auto", "drain", "cancel", "void"]


def left_as_is() -> Any:
    """The default of a field of PATCH that may be left out and may not be null: see `given`."""
    return Field(default=None)


def given(body: Part) -> dict[str, Any]:
    """The fields of a PATCH that the client sent, null included."""
    if not body.model_fields_set:
        raise Refused(Reason.BAD_VALUE, f"Nothing to change. Fields: {', '.join(type(body).model_fields)}.")
    return {name: getattr(body, name) for name in body.model_fields_set}


class ListQuery(Part):
    """What every list takes. Lists with a cursor of their own kind add `after`."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 20
    """Rows per page."""
    order: Literal["asc", "desc"] = "desc"
    """By creation: `desc` is newest first."""


class Listing(Part, Generic[ItemT]):
    """A page of a list. The next one: `after` = `last_id`."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Deleted(Part):
    id: str
    object: str
    deleted: Literal[True] = True
