"""A process with one role: started, told to be ready, stopped by a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable

import uvloop

from proxy.app.gateway import Gateway
from proxy.app.worker import Worker
from proxy.settings.tree import Settings
from proxy.telemetry.logs import start_logging
from proxy.telemetry.ready import announce_ready

log = logging.getLogger(__name__)


def run_gateway(settings: Settings, *, fd: int | None, index: int, ready_fd: int | None) -> int:
    """Serves until SIGTERM or SIGINT; a SIGINT after that ends the grace of open answers. `fd`: an inherited listening socket."""
    sock = socket.socket(fileno=fd) if fd is not None else _listen(settings.server.host, settings.server.port)
    return uvloop.run(_run(settings, lambda hurry: Gateway(settings, sock, hurry), ready_fd))


def run_worker(settings: Settings, *, ready_fd: int | None) -> int:
    """Stream to ledger, sweeping, epochs, partitions, until SIGTERM or SIGINT."""
    return uvloop.run(_run(settings, lambda hurry: Worker(settings), ready_fd))


def interrupted(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Stop, then hurry, then end at once: what is open then was announced, and is settled as of a killed process."""
    if hurry.is_set():
        os._exit(1)
    if stop.is_set():
        log.warning("cutting and settling open answers; Ctrl-C again ends at once")
        hurry.set()
    else:
        log.warning("finishing open answers; Ctrl-C again cuts and settles them")
        stop.set()


async def _run(settings: Settings, make: Callable[[asyncio.Event], Gateway | Worker], ready_fd: int | None) -> int:
    listener = start_logging(settings.log.level, settings.log.format)
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted, stop, hurry)
    role = make(hurry)
    try:
        starting = asyncio.ensure_future(role.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _rest_the_collector()
            announce_ready(ready_fd)
            await stopping
        else:
            starting.cancel()
            await asyncio.wait([starting])
        await role.stop()
        return 0
    finally:
        listener.stop()


def _rest_the_collector() -> None:
    """Requests leave no cycles behind, so that their memory is free at once; what is left to find is rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)
