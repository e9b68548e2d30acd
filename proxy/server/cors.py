"""CORS for `/v1`: which pages may call the gateway from a browser. Off unless `server.cors_origins` names some.

Management is for no page: `/api/v1` never answers a preflight. Keys come in headers, so credentials (cookies) are never
allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIX = "/v1/"
_METHODS = "GET, POST, DELETE"
_MAX_AGE_S = "600"
# Field names as browsers list them: lower case, sorted, without spaces (Fetch standard, "CORS-preflight fetch").
_NAMES = re.compile(r"[a-z0-9_.-]+(?:, ?[a-z0-9_.-]+)*", re.ASCII)
_NAMES_MAX = 2000
# What a page may read of an answer beside its content type.
_EXPOSED = (
    "x-request-id, x-upstream-request-id, x-synapscale-provider, x-synapscale-key-source, x-synapscale-attempts, "
    "x-synapscale-overhead-ms, x-synapscale-cost-usd, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "
    "openai-version, openai-model"
)


class Cors:
    """`origins`: as browsers write them, `https://app.example.com`; `*` allows every page."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origins)
        self._any = "*" in self._origins

    def __bool__(self) -> bool:
        """Whether any page may."""
        return bool(self._origins)

    def lines(self, origin: str | None) -> bytes:
        """For the head of any answer under `/v1` to a request with this `Origin`, refusals too: pages must read them."""
        return b"".join(
            b"%b: %b\r\n" % (name.lower().encode(), value.encode()) for name, value in self._headers(origin).items()
        )

    def _headers(self, origin: str | None) -> dict[str, str]:
        if not self._origins:
            return {}
        if self._any:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": _EXPOSED}
        if origin is None or origin not in self._origins:
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED}

    def of(self, path: str, headers: Mapping[str, str]) -> dict[str, str]:
        """The same by a request's path and headers; nothing for management."""
        return self._headers(headers.get("Origin")) if path.startswith(PREFIX) else {}

    def preflight(self, method: str, path: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        """What an allowed page is told that asks first; None: this is no such question, or it is not allowed."""
        if method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
            return None
        found = self.of(path, headers)
        if "Access-Control-Allow-Origin" not in found:
            return None
        del found["Access-Control-Expose-Headers"]
        found |= {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": _MAX_AGE_S}
        asked = headers.get("Access-Control-Request-Headers", "").lower()
        if len(asked) <= _NAMES_MAX and _NAMES.fullmatch(asked):
            # SDKs add a dozen of their own (`x-stainless-…`), and `*` would not cover Authorization.
            found["Access-Control-Allow-Headers"] = asked
        return found
