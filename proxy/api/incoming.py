"""From an HTTP request to values: key, parameters, body, idempotency key. Everything bounded, every problem named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from proxy.api.context import API_CONTEXT
from proxy.api.endpoint import MAX_BODY_BYTES
from proxy.api.schema import Part
from proxy.wire.ids import from_wire
from proxy.wire.refusals import Reason, Refused

PartT = TypeVar("PartT", bound=Part)
_IDEMPOTENCY_KEY = re.compile(r"[ -~]{1,255}", re.ASCII)


def token_of(request: web.Request) -> str:
    """The bearer key. Two Authorization headers: which one a server takes differs, so neither is taken."""
    headers = request.headers.getall("Authorization", [])
    if len(headers) > 1:
        raise Refused(Reason.KEYS_CONFLICT, "The request carries more than one Authorization header. Send one.")
    if not headers:
        raise Refused(
            Reason.KEY_MISSING,
            "No key. Send a management key as `Authorization: Bearer sk-adm-…` (at /me: a virtual key).",
        )
    scheme, _, token = headers[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refused(Reason.KEY_MISSING, "The Authorization header must be `Bearer ` and a key.")
    return token


def path_ids(request: web.Request, prefixes: Mapping[str, str]) -> dict[str, UUID]:
    ids: dict[str, UUID] = {}
    for name, prefix in prefixes.items():
        found = from_wire(prefix, request.match_info[name])
        if found is None:
            raise Refused(Reason.NOT_FOUND, f"The id in the path is not one of the form {prefix}_… with 32 hex digits.")
        ids[name] = found
    return ids


def query_of(request: web.Request, model: type[PartT]) -> PartT:
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name in values:
            raise Refused(Reason.BAD_VALUE, f"`{name[:100]}` is there twice. Send it once.", param=name[:100])
        values[name] = value
    try:
        return model.model_validate_strings(values, strict=True)
    except ValidationError as error:
        raise _refused(error, model, "query parameter") from None


async def body_of(
    request: web.Request, model: type[PartT], max_bytes: int = MAX_BODY_BYTES
) -> tuple[PartT, bytes]:
    """The body as a model and as it came. An empty one counts as `{}`."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Refused(Reason.CONTENT_ENCODING, "Send the body without Content-Encoding.")
    raw = await _read(request, max_bytes)
    if raw and request.headers.get("Content-Type") and request.content_type != "application/json":
        raise Refused(Reason.MEDIA_TYPE, "The body must be JSON: `Content-Type: application/json`.")
    try:
        return model.model_validate_json(raw or b"{}"), raw
    except ValidationError as error:
        raise _refused(error, model, "field") from None


def idempotency_key_of(request: web.Request) -> str | None:
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if len(keys) > 1 or _IDEMPOTENCY_KEY.fullmatch(keys[0]) is None:
        raise Refused(Reason.BAD_VALUE, "Idempotency-Key must be one value of 1 to 255 printable ASCII characters.")
    return keys[0]


async def _read(request: web.Request, max_bytes: int) -> bytes:
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    limit_s = request.app[API_CONTEXT].body_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise Refused(Reason.REQUEST_TIMEOUT, f"The body did not arrive within {limit_s:g} s.") from None
    return b"".join(chunks)


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        Reason.TOO_LARGE, f"The body is larger than {max_bytes // 1024} KiB, which this call never needs."
    )


def _refused(error: ValidationError, model: type[Part], what: str) -> Refused:
    """The first problem, in words. What the client sent is not repeated: it may be a key."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    kind, message = first["type"], first["msg"]
    param = ".".join(str(part) for part in first["loc"])[:100]
    if kind == "json_invalid":
        return Refused(Reason.BAD_JSON, f"The body is not valid JSON: {message.removeprefix('Invalid JSON: ')}.")
    if not param:
        return Refused(Reason.BAD_VALUE, "The body must be a JSON object.")
    if kind == "extra_forbidden":
        allowed = ", ".join(f"`{field.alias or name}`" for name, field in model.model_fields.items()) or "none"
        return Refused(Reason.BAD_VALUE, f"Unknown {what} `{param}`. Allowed: {allowed}.", param=param)
    if kind == "missing":
        return Refused(Reason.BAD_VALUE, f"`{param}` is required.", param=param)
    return Refused(Reason.BAD_VALUE, f"`{param}`: {message[0].lower()}{message[1:]}.", param=param)
