"""Where a connection leads: scheme, host, port."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
# What urlsplit would silently strip or quote away (tabs, line ends, spaces) must not differ between check and use.
_PLAIN = re.compile(r"[!-~]+", re.ASCII)


class Origin(NamedTuple):
    """`host` is in lower case and ASCII (IDNA), an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The value of `Host` (RFC 9110 section 7.2): no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def split_base_url(base_url: str) -> tuple[Origin, str]:
    """`https://api.openai.com/v1/` → its origin and `/v1`. ValueError says what is wrong with the URL."""
    try:
        ascii_url = base_url if base_url.isascii() else _idna(base_url)
        parts = urlsplit(ascii_url)
        host, port = parts.hostname, parts.port
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"not a URL: {error}") from None
    if not _PLAIN.fullmatch(ascii_url):
        raise ValueError("a base URL has no spaces or control characters")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("a base URL starts with https:// or http://")
    if not host:
        raise ValueError("a base URL needs a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL carries no user or password; give the key as api_key")
    if parts.query or parts.fragment or ascii_url.endswith(("?", "#")):
        raise ValueError("a base URL has no query and no fragment")
    if port == 0:
        raise ValueError("port 0 cannot be connected")
    return Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme]), parts.path.rstrip("/")


def _idna(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return url.replace(host, host.encode("idna").decode("ascii"), 1)
