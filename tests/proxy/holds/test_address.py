from __future__ import annotations

import ssl

import pytest

from proxy.holds.address import parse


@pytest.mark.parametrize(
    ("url", "path", "host", "port", "user", "password", "database"),
    [
        ("unix:///run/a%20b/redis.sock", "/run/a b/redis.sock", "localhost", 6379, None, None, 0),
        ("unix://u:p%40@/run/redis.sock?db=3", "/run/redis.sock", "localhost", 6379, "u", "p@", 3),
        ("redis://example.net", None, "example.net", 6379, None, None, 0),
        ("redis://:secret@10.0.0.1:7000/5", None, "10.0.0.1", 7000, None, "secret", 5),
        ("redis://[::1]:7001?db=1", None, "::1", 7001, None, None, 1),
        ("redis://h/?username=u&password=p", None, "h", 6379, "u", "p", 0),
    ],
)
def test_parse(
    url: str, path: str | None, host: str, port: int, user: str | None, password: str | None, database: int
) -> None:
    found = parse(url)
    assert (found.path, found.host, found.port, found.user, found.password, found.database, found.tls) == (
        path, host, port, user, password, database, None,
    )  # fmt: skip
    assert "secret" not in str(found)


def test_tls_checks_the_server_unless_told_not_to() -> None:
    strict = parse("rediss://h").tls
    assert strict is not None
    assert strict.check_hostname
    assert strict.verify_mode is ssl.CERT_REQUIRED
    loose = parse("rediss://h?ssl_cert_reqs=none").tls
    assert loose is not None
    assert loose.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("url", ["http://h", "redis://h/name", "rediss://h?ssl_cert_reqs=optional", "h:6379"])
def test_what_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="REDIS_URL"):
        parse(url)
