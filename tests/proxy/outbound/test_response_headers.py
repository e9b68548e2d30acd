from __future__ import annotations

from proxy.outbound.response_headers import for_client, is_encoded, value_of
from tests.upstream.simulate import HEADERS_JSON

SENT = [(name.encode(), value.encode()) for name, value in HEADERS_JSON]


def test_a_real_head_loses_account_cookies_and_hops() -> None:
    assert for_client(SENT, own_key=False) == [
        (b"content-type", b"application/json"),
        (b"openai-processing-ms", b"12"),
        (b"openai-version", b"2020-10-01"),
        (b"x-upstream-request-id", b"req_simulated"),
    ]


def test_what_is_left_of_a_limit_is_for_the_owner_of_the_key() -> None:
    passed = for_client([*SENT, (b"anthropic-ratelimit-tokens-limit", b"1")], own_key=True)
    assert (b"x-ratelimit-limit-tokens", b"4000000") in passed and (b"anthropic-ratelimit-tokens-limit", b"1") in passed
    assert not any(name in (b"openai-organization", b"set-cookie", b"x-request-id") for name, _ in passed)


def test_hop_by_hop_never_passes() -> None:
    names = b"connection keep-alive transfer-encoding te trailer upgrade content-length set-cookie2 x-new"
    hops = [(name, b"x") for name in names.split()]
    assert for_client(hops, own_key=True) == []


def test_of_two_request_ids_the_first() -> None:
    ids = [(b"apim-request-id", b"a"), (b"x-request-id", b"b")]
    assert for_client(ids, own_key=False) == [(b"x-upstream-request-id", b"a")]


def test_compression_that_nobody_asked_for_is_seen() -> None:
    assert is_encoded([(b"content-encoding", b"gzip")]) and not is_encoded([(b"content-encoding", b" Identity ")])
    assert not is_encoded(SENT)
    assert for_client([(b"content-encoding", b"identity")], own_key=False) == []
    assert for_client([(b"content-encoding", b"br")], own_key=False) == [(b"content-encoding", b"br")]


def test_value_of() -> None:
    assert value_of(SENT, b"x-request-id") == b"req_simulated" and value_of(SENT, b"x-none") is None
