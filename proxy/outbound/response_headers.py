"""Which headers of a provider reach the client, and under which name. Everything else stays here.

So hop-by-hop headers, cookies, and headers that name our account at the provider (openai-organization,
openai-project, …) never pass: they are on no list.
"""

from __future__ import annotations

from proxy.outbound.sink import Headers

_PASSED = {
    name: name
    for name in (
        b"content-type",
        b"content-disposition",
        b"content-encoding",
        # Read by the official SDKs before they retry (openai-python _base_client.py)
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-model",
    )
}
_RENAMED = {
    # OpenAI and most others; Anthropic; Azure; Google and Bedrock
    b"x-request-id": b"x-upstream-request-id",
    b"request-id": b"x-upstream-request-id",
    b"apim-request-id": b"x-upstream-request-id",
    b"x-amzn-requestid": b"x-upstream-request-id",
}
_NAMES = _PASSED | _RENAMED
# What is left of an account at the provider is that account's owner's to know
_ACCOUNT_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")


def for_client(headers: Headers, *, own_key: bool) -> Headers:
    """The headers to pass on; of several request ids the first. `own_key`: the provider's account is the client's."""
    passed: Headers = []
    id_seen = False
    for name, value in headers:
        known = _NAMES.get(name)
        if known is None:
            if own_key and name.startswith(_ACCOUNT_PREFIXES):
                passed.append((name, value))
            continue
        if known == b"content-encoding" and value.strip().lower() == b"identity":
            continue
        if known == b"x-upstream-request-id":
            if id_seen:
                continue
            id_seen = True
        passed.append((known, value))
    return passed


def value_of(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header, by its lower-case name."""
    for known, value in headers:
        if known == name:
            return value
    return None


def is_encoded(headers: Headers) -> bool:
    """Whether the body is compressed although identity was asked for: it passes as it is, and cannot be read."""
    value = value_of(headers, b"content-encoding")
    return value is not None and value.strip().lower() not in (b"", b"identity")
