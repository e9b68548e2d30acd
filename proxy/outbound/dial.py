"""From an origin to a connected, verified transport: resolve, veto, connect, handshake, within one time."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from proxy.outbound.origin import Origin
from proxy.outbound.sink import Broken

SockAddr: TypeAlias = tuple[Any, ...]
# True: this address must not be connected. Asked about the resolved address itself, after DNS, so that a name that
# answers differently the second time (rebinding) gains nothing.
Veto: TypeAlias = Callable[[SockAddr], bool]

_Line = TypeVar("_Line", bound=asyncio.BaseProtocol)


class DialFailed(Exception):
    def __init__(self, reason: Broken, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


async def dial(
    origin: Origin,
    factory: Callable[[socket.socket], _Line],
    *,
    context: ssl.SSLContext,
    veto: Veto,
    timeout_s: float,
) -> _Line:
    """The protocol, connected. Addresses are tried in the resolver's order, each with a fair share of the time left."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    try:
        async with asyncio.timeout_at(deadline):
            sock = await _connected(loop, origin, veto, deadline)
            try:
                _, line = await loop.create_connection(
                    lambda: factory(sock),
                    sock=sock,
                    ssl=context if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                    ssl_handshake_timeout=timeout_s if origin.tls else None,
                )
            except BaseException:
                sock.close()
                raise
            return line
    except TimeoutError:
        raise DialFailed(Broken.TIMEOUT_CONNECT, f"no connection to {origin.authority} in {timeout_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise DialFailed(Broken.UNTRUSTED, f"certificate of {origin.authority}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise DialFailed(Broken.UNREACHABLE, f"TLS with {origin.authority}: {error.reason or 'failed'}") from None
    except OSError as error:
        raise DialFailed(Broken.UNREACHABLE, f"{origin.authority}: {_words(error)}") from None


async def _connected(loop: asyncio.AbstractEventLoop, origin: Origin, veto: Veto, deadline: float) -> socket.socket:
    try:
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label over 63 characters
        raise DialFailed(Broken.UNREACHABLE, f"{origin.authority}: not a host name") from None
    allowed = [(family, address) for family, _, _, _, address in found if not veto(address)]
    if not allowed:
        raise DialFailed(Broken.FORBIDDEN, f"{origin.authority} leads to an address that must not be reached")
    last: OSError = OSError("no address")
    for index, (family, address) in enumerate(allowed):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A model may think for minutes; NATs forget silent lines
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            async with asyncio.timeout((deadline - loop.time()) / (len(allowed) - index)):
                await loop.sock_connect(sock, address)
        except OSError as error:  # TimeoutError is one
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


def _words(error: OSError) -> str:
    """asyncio puts the address into strerror, which is already named; a resolver's errno is of another list."""
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
