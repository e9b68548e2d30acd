from __future__ import annotations

import contextlib
import socket

import pytest

from proxy.supervisor.listeners import open_listeners
from proxy.supervisor.problem import ServeProblem


def close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def test_all_sockets_listen_on_one_port_and_share_its_connections() -> None:
    listeners = open_listeners("127.0.0.1", 0, 3)
    addresses = {listener.getsockname() for listener in listeners}
    assert len(addresses) == 1
    clients = [socket.create_connection(next(iter(addresses))) for _ in range(60)]
    accepted = []
    for listener in listeners:
        listener.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                count += 1
        accepted.append(count)
    assert sum(accepted) == 60
    assert all(accepted)
    close(clients)
    close(listeners)


def test_localhost_is_the_ipv4_address() -> None:
    listeners = open_listeners("localhost", 0, 1)
    assert listeners[0].getsockname()[0] == "127.0.0.1"
    close(listeners)


@pytest.mark.parametrize("shares", [False, True])
def test_a_taken_port_is_refused_even_if_its_holder_would_share_it(shares: bool) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(ServeProblem, match="--port"):
            open_listeners("127.0.0.1", holder.getsockname()[1], 2)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_names_the_option(host: str) -> None:
    with pytest.raises(ServeProblem, match="--host"):
        open_listeners(host, 0, 1)
