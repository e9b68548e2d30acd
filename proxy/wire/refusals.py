"""Every "no" of the gateway: a closed list of reasons, and the one place that knows how each looks on the wire.

Rooms raise `Refused(Reason.…, message)`; they do not know status codes. Bugs stay built-in exceptions.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import orjson


class Answer(NamedTuple):
    """How a reason looks in OpenAI's error shape."""

    status: int
    type: str
    code: str | None


class Reason(Enum):
    """Documented in docs/errors.md, which a test compares with this list."""

    KEY_MISSING = Answer(401, "invalid_request_error", "missing_api_key")
    KEY_MALFORMED = Answer(401, "invalid_request_error", "invalid_api_key")
    KEY_UNKNOWN = Answer(401, "authentication_error", "invalid_api_key")
    KEY_OF_PROVIDER = Answer(401, "invalid_request_error", "provider_key_sent")
    KEY_WRONG_KIND = Answer(401, "invalid_request_error", "wrong_key_kind")
    KEY_BLOCKED = Answer(401, "authentication_error", "key_blocked")
    KEY_EXPIRED = Answer(401, "authentication_error", "key_expired")
    KEYS_CONFLICT = Answer(400, "invalid_request_error", "conflicting_keys")
    WORKSPACE_BLOCKED = Answer(403, "permission_error", "workspace_blocked")
    USER_BLOCKED = Answer(403, "permission_error", "user_blocked")
    LLM_NOT_FOUND = Answer(404, "invalid_request_error", "model_not_found")
    LLM_NOT_ALLOWED = Answer(403, "permission_error", "model_not_allowed")
    NO_PROVIDER_KEY = Answer(403, "permission_error", "no_provider_key")
    LLM_UNPRICED = Answer(403, "permission_error", "model_unpriced")
    BAD_JSON = Answer(400, "invalid_request_error", "invalid_json")
    BAD_VALUE = Answer(400, "invalid_request_error", "invalid_value")
    BAD_HTTP = Answer(400, "invalid_request_error", "bad_request")
    TOO_LARGE = Answer(413, "invalid_request_error", "request_too_large")
    CONTENT_ENCODING = Answer(415, "invalid_request_error", "unsupported_content_encoding")
    MEDIA_TYPE = Answer(415, "invalid_request_error", "unsupported_media_type")
    HEADERS_TOO_LARGE = Answer(431, "invalid_request_error", "headers_too_large")
    REQUEST_TIMEOUT = Answer(408, "invalid_request_error", "request_timeout")
    PATH_UNKNOWN = Answer(404, "invalid_request_error", "unknown_url")
    METHOD_NOT_ALLOWED = Answer(405, "invalid_request_error", "method_not_allowed")
    NOT_FOUND = Answer(404, "invalid_request_error", "not_found")
    PREVIOUS_RESPONSE_NOT_FOUND = Answer(404, "invalid_request_error", "previous_response_not_found")
    FORBIDDEN = Answer(403, "permission_error", "forbidden")
    CONFLICT = Answer(409, "invalid_request_error", "conflict")
    CONFIG_MANAGED = Answer(409, "invalid_request_error", "managed_by_config")
    UPSTREAM_UNREACHABLE = Answer(502, "api_error", "provider_unreachable")
    UPSTREAM_BROKE = Answer(502, "api_error", "provider_response_broken")
    UPSTREAM_TIMEOUT = Answer(504, "api_error", "provider_timeout")
    STORE_AWAY = Answer(503, "api_error", "service_unavailable")
    OVERLOADED = Answer(503, "api_error", "overloaded")
    DRAINING = Answer(503, "api_error", "shutting_down")
    BUG = Answer(500, "api_error", "internal_error")


class Refused(Exception):
    """A request is refused. `message` says what is wrong and what to do; it never holds a secret."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry

    @property
    def status(self) -> int:
        return self.reason.value.status

    def body(self) -> bytes:
        """The error object of OpenAI's API reference ("Error codes")."""
        _, kind, code = self.reason.value
        return orjson.dumps({"error": {"message": self.message, "type": kind, "param": self.param, "code": code}})

    def headers(self) -> dict[str, str]:
        """`x-should-retry` is read by the official SDKs, which otherwise retry 408, 409, 429 and 5xx."""
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers
