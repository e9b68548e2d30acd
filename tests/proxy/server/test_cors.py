from __future__ import annotations

import pytest

from proxy.server.cors import Cors

PAGE = "https://app.example.com"
ASKING = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


def test_off_says_nothing() -> None:
    cors = Cors()
    assert not cors and cors.lines(PAGE) == b"" and cors.of("/v1/models", {"Origin": PAGE}) == {}
    assert cors.preflight("OPTIONS", "/v1/models", ASKING) is None


def test_an_allowed_page_reads_what_sdks_read() -> None:
    found = Cors([PAGE]).of("/v1/models", {"Origin": PAGE})
    assert (found["Access-Control-Allow-Origin"], found["Vary"]) == (PAGE, "Origin")
    exposed = found["Access-Control-Expose-Headers"].split(", ")
    assert {"x-request-id", "retry-after", "x-should-retry", "x-synapscale-cost-usd"} <= set(exposed)
    head = b"".join(b"%b: %b\r\n" % (name.lower().encode(), value.encode()) for name, value in found.items())
    assert Cors([PAGE]) and Cors([PAGE]).lines(PAGE) == head


@pytest.mark.parametrize(
    "origin",
    [None, "null", "https://evil.example", "https://app.example.com.evil.example", "http://app.example.com",
     "https://app.example.com:8443", "HTTPS://APP.EXAMPLE.COM", "https://app.example.com/", "https://Ã¤.example", "\udcff"],
)  # fmt: skip
def test_another_page_is_told_nothing_but_that_it_depends(origin: str | None) -> None:
    cors = Cors([PAGE, "https://two.example.com"])
    headers = {} if origin is None else {"Origin": origin}
    assert cors.of("/v1/models", headers) == {"Vary": "Origin"}
    assert cors.preflight("OPTIONS", "/v1/models", {**ASKING, **headers, "Origin": origin or ""}) is None


def test_every_page_but_never_with_credentials() -> None:
    found = Cors(["*"]).of("/v1/models", {"Origin": "https://anything.example"})
    assert found["Access-Control-Allow-Origin"] == "*"
    preflight = Cors(["*"]).preflight("OPTIONS", "/v1/chat/completions", ASKING)
    assert preflight is not None and "Access-Control-Allow-Credentials" not in {**found, **preflight}


def test_a_preflight() -> None:
    found = Cors([PAGE]).preflight("OPTIONS", "/v1/chat/completions", ASKING)
    assert found == {
        "Vary": "Origin", "Access-Control-Allow-Origin": PAGE, "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Max-Age": "600", "Access-Control-Allow-Headers": "authorization,content-type,x-stainless-os",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v1/workspaces", "/health/live", "/", "/metrics", "/v1", "//v1/models"])
def test_management_is_for_no_page(path: str) -> None:
    assert Cors(["*"]).of(path, {"Origin": PAGE}) == {}
    assert Cors(["*"]).preflight("OPTIONS", path, ASKING) is None


@pytest.mark.parametrize("asked", ["a\r\nX-Injected: 1", "a b", "a,,b", "Ã¤", "", "x" * 3000, "a;b", "a,\tb"])
def test_only_names_of_headers_are_said_back(asked: str) -> None:
    found = Cors([PAGE]).preflight("OPTIONS", "/v1/models", {**ASKING, "Access-Control-Request-Headers": asked})
    assert found is not None and "Access-Control-Allow-Headers" not in found


def test_options_alone_is_no_preflight() -> None:
    assert Cors([PAGE]).preflight("OPTIONS", "/v1/models", {"Origin": PAGE}) is None
    assert Cors([PAGE]).preflight("GET", "/v1/models", ASKING) is None
