from __future__ import annotations

import pytest

from proxy.outbound.origin import Origin, split_base_url


@pytest.mark.parametrize(
    ("url", "origin", "path", "authority"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443), "/v1", "api.openai.com"),
        ("https://API.Groq.com:443/openai/v1/", Origin("https", "api.groq.com", 443), "/openai/v1", "api.groq.com"),
        ("http://127.0.0.1:8080", Origin("http", "127.0.0.1", 8080), "", "127.0.0.1:8080"),
        ("http://[::1]:80/v1", Origin("http", "::1", 80), "/v1", "[::1]"),
        ("https://bücher.example/v1", Origin("https", "xn--bcher-kva.example", 443), "/v1", "xn--bcher-kva.example"),
    ],
)
def test_a_base_url_splits(url: str, origin: Origin, path: str, authority: str) -> None:
    assert split_base_url(url) == (origin, path)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "", "api.openai.com/v1", "ftp://x/v1", "file:///etc/passwd", "https://", "https:///v1", "https://user@x/v1",
        "https://user:key@x/v1", "https://x/v1?key=1", "https://x/v1?", "https://x/v1#a", "https://x y/v1",
        "https://x/v1\r\nhost: y",
        "https://x\t.y/v1", "https://x:0/v1", "https://x:99999/v1", "https://x:a/v1", "https://[::1/v1",
    ],
)  # fmt: skip
def test_a_wrong_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        split_base_url(url)
