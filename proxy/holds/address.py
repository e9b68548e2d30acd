"""REDIS_URL → how to connect: `unix:///path`, `redis://host`, `rediss://host`; user, password and database in each."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    path: str | None  # of a unix socket
    host: str
    port: int
    tls: ssl.SSLContext | None
    user: str | None
    password: str | None
    database: int

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"  # for logs: never the password


def parse(url: str) -> Address:
    """Names of the options as in redis-py, which reads the same URL. Raises ValueError saying what is wrong."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user = unquote(parts.username) if parts.username else query.get("username")
    password = unquote(parts.password) if parts.password else query.get("password")
    if parts.scheme == "unix":
        path, database = unquote(parts.path), query.get("db", "0")
    elif parts.scheme in ("redis", "rediss"):
        path, database = None, query.get("db") or parts.path.strip("/") or "0"
    else:
        raise ValueError("REDIS_URL must begin with redis://, rediss:// or unix://")
    if not database.isdigit():
        raise ValueError(f"REDIS_URL: the database must be a number, not {database!r}")
    return Address(
        path=path,
        host=parts.hostname or "localhost",
        port=parts.port or DEFAULT_PORT,
        tls=_tls(query) if parts.scheme == "rediss" else None,
        user=user or None,
        password=password or None,
        database=int(database),
    )


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
    if query.get("ssl_certfile"):
        context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"))
    match query.get("ssl_cert_reqs", "required"):
        case "required":
            pass
        case "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        case other:
            raise ValueError(f"REDIS_URL: ssl_cert_reqs must be required or none, not {other!r}")
    return context
