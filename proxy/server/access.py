"""The access log: a JSON line per request that says which route, never which path, query, key or content."""

from __future__ import annotations

import logging
from typing import Any

import orjson

log = logging.getLogger(__name__)
UNKNOWN = "(unknown)"


class AccessLog:
    """`fields` also go with the record, for formatters that write objects."""

    def __init__(self, enabled: bool = False) -> None:
        self.enabled = enabled

    def write(
        self, method: str, route: str | None, status: int, *, seconds: float, request_id: str, sent_bytes: int | None
    ) -> None:
        """`route`: the template, `/v1/models/{name}`; None: no such route. `sent_bytes`: of the body, where it is known."""
        if not self.enabled:
            return
        fields: dict[str, Any] = {
            "method": method,
            "route": route or UNKNOWN,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "request_id": request_id,
            "bytes": sent_bytes,
        }
        log.info("%s", orjson.dumps(fields).decode(), extra={"fields": fields})
