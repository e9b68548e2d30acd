from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.outbound.origin import Origin
from proxy.outbound.request import BadHeader, target

ORIGIN = Origin("https", "api.example", 443)
CHAT = target(ORIGIN, "POST", "/v1/chat/completions", [(b"content-type", b"application/json")])


def test_the_bytes_of_a_request() -> None:
    assert CHAT.request([(b"authorization", b"Bearer k")], b"{}") == (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.example\r\naccept-encoding: identity\r\n"
        b"content-type: application/json\r\nauthorization: Bearer k\r\ncontent-length: 2\r\n\r\n{}"
    )
    models = target(ORIGIN._replace(port=8443), "GET", "/v1/models").request([])
    assert models == b"GET /v1/models HTTP/1.1\r\nhost: api.example:8443\r\naccept-encoding: identity\r\n\r\n"


@pytest.mark.parametrize("evil", [b"\r", b"\n", b"\0", b"\r\n", b"\x01", b"\x0b", b"\x0c", b"\x7f", b"\x1b"])
@pytest.mark.parametrize("value", [b"%ba", b"a%b", b"a%bhost: b"])
def test_a_value_cannot_end_its_line(evil: bytes, value: bytes) -> None:
    with pytest.raises(BadHeader, match="x-evil") as refused:
        CHAT.request([(b"x-fine", b"tab\tand \xff"), (b"x-evil", value % evil)], b"{}")
    assert "host" not in str(refused.value)  # the value may be a secret


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"\xe4", b"a\0"])
def test_a_name_is_a_token(name: bytes) -> None:
    with pytest.raises(BadHeader):
        CHAT.request([(name, b"x")], b"{}")


@pytest.mark.parametrize(
    "name", [b"Host", b"content-length", b"Transfer-Encoding", b"connection", b"Cookie", b"Accept-Encoding"]
)
def test_framing_is_not_the_callers(name: bytes) -> None:
    with pytest.raises(BadHeader):
        CHAT.request([(name, b"x")], b"{}")


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/a\r\n", "/a#b", "/ä", "http://x/"])
def test_a_path_that_cannot_stand_in_a_start_line(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        target(ORIGIN, "GET", path)


@pytest.mark.parametrize("method", ["HEAD", "get", "CONNECT", "GET /", ""])
def test_a_method_that_is_not_ours(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        target(ORIGIN, method, "/")


@given(
    st.lists(st.tuples(st.from_regex(rb"x-[a-z]{1,8}", fullmatch=True), st.binary(max_size=20)), max_size=5),
    st.binary(max_size=50),
)
def test_whatever_is_accepted_has_one_line_per_header(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    try:
        request = CHAT.request(headers, body)
    except BadHeader:
        return
    head, _, rest = request.partition(b"\r\n\r\n")
    assert rest == body
    assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n") == 3 + len(headers) + 1
