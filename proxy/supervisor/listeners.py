"""The sockets on which gateways accept. The parent keeps them open: a dead gateway's queue waits for its successor."""

from __future__ import annotations

import errno
import socket

from proxy.supervisor.problem import ServeProblem

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn


def open_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets on one address, one per gateway; the kernel spreads connections over them. Port 0: a free one."""
    family, address = _resolve(host, port)
    _refuse_if_taken(family, address)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            listener = _bound(family, address, shared=True)
            sockets.append(listener)
            address = listener.getsockname()  # the same port for the others if 0 was asked for
        for listener in sockets:
            listener.listen(BACKLOG)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise _problem(error, address) from error
    return sockets


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeProblem(f"--host {host} is not an address of this machine: {error}") from error
    # One address per gateway: of `localhost` the IPv4 one, which is also what 127.0.0.1 in a client's settings means.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, (str(address[0]), int(address[1]))


def _bound(family: socket.AddressFamily, address: tuple[str, int], *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _refuse_if_taken(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Another server of the same user that shares its port would share it with us too: ask without sharing first."""
    try:
        with _bound(family, address, shared=False) as probe:
            probe.listen(1)
    except OSError as error:
        raise _problem(error, address) from error


def _problem(error: OSError, address: tuple[str, int]) -> ServeProblem:
    host, port = address[:2]
    if error.errno == errno.EADDRINUSE:
        return ServeProblem(
            f"Port {port} on {host} is taken by another program.\n"
            "Stop that one (it may be a synapscale that runs already), or choose another port with --port."
        )
    if error.errno == errno.EACCES:
        return ServeProblem(f"No permission to listen on port {port}: choose one above 1023 with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return ServeProblem(f"{host} is not an address of this machine: choose another with --host.")
    return ServeProblem(f"Cannot listen on {host} port {port}: {error.strerror}. Choose others with --host and --port.")
