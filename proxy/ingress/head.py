"""What the gateway reads of a client's request head, in one pass over the raw headers."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.wire.refusals import Reason, Refused

# What a client may say to a provider through us. Everything else stays here: cookies, organisations of other accounts, …
FORWARDED = frozenset([b"openai-beta", b"idempotency-key"])
_KEY_HEADERS = frozenset([b"authorization", b"x-api-key", b"api-key"])
_READ = _KEY_HEADERS | FORWARDED | {b"content-encoding", b"content-length", b"expect", b"x-end-user"}

MAX_END_USER = 256


class Head:
    """`token`: the one key that the client sent; `digest`, once somebody has computed it."""

    __slots__ = ("content_encoding", "content_length", "digest", "end_user", "expect", "forward", "token")

    def __init__(self, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.token = ""
        self.digest = b""
        self.forward: list[tuple[bytes, bytes]] = []
        self.content_encoding = self.content_length = self.expect = b""
        self.end_user: str | None = None
        tokens: set[bytes] = set()
        authorizations = 0
        for raw_name, value in raw_headers:
            name = raw_name.lower()
            if name not in _READ:
                continue
            if name in _KEY_HEADERS:
                if name == b"authorization":
                    authorizations += 1
                tokens.add(_bearer(value) if name == b"authorization" else value.strip())
            elif name in FORWARDED:
                self.forward.append((name, value))
            elif name == b"x-end-user":
                self.end_user = value.decode("utf-8", "replace")[:MAX_END_USER]
            elif name == b"content-encoding":
                self.content_encoding = value.strip().lower()
            elif name == b"content-length":
                self.content_length = value
            else:
                self.expect = value.strip().lower()
        if len(tokens) > 1 or authorizations > 1:
            # Which of two a server takes differs from server to server: never guess whose bill it is.
            raise Refused(
                Reason.KEYS_CONFLICT,
                "The request carries more than one key (Authorization, x-api-key, api-key). Send one.",
            )
        if not tokens or tokens == {b""}:
            raise Refused(
                Reason.KEY_MISSING,
                "No API key. Send your virtual key as `Authorization: Bearer sk-syn-…` (SDKs: the `api_key` argument).",
            )
        self.token = tokens.pop().decode("latin-1")


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.strip().partition(b" ")
    if scheme.lower() != b"bearer":
        raise Refused(Reason.KEY_MISSING, "The Authorization header must be `Bearer sk-syn-…`.")
    return token.strip()
