"""`synapscale gateway`, `worker`, `migrate`: one role per process, as deployments run them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.fault import USAGE, Fault
from proxy.cli.load import Overrides, config_fault, database_fault, load_settings
from proxy.cli.options import Config, Json
from proxy.cli.output import show_json, talk

if TYPE_CHECKING:
    from proxy.settings.tree import Settings

# Passed by `serve` to its children.
Fd = Annotated[int | None, typer.Option("--fd", hidden=True, help="Inherited listening socket.")]
ReadyFd = Annotated[int | None, typer.Option("--ready-fd", hidden=True, help="Pipe to say when it is up.")]


def gateway(
    config: Config = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on.")] = None,
    behind_proxy: Annotated[bool | None, typer.Option("--behind-proxy", help="A proxy in front ends TLS.")] = None,
    tls_cert_file: Annotated[Path | None, typer.Option("--tls-cert-file", help="PEM certificate chain.")] = None,
    tls_key_file: Annotated[Path | None, typer.Option("--tls-key-file", help="PEM private key.")] = None,
    fd: Fd = None,
    index: Annotated[int, typer.Option("--index", hidden=True, help="Number among the gateways of this machine.")] = 0,
    ready_fd: ReadyFd = None,
) -> None:
    """Run one gateway process against DATABASE_URL and REDIS_URL."""
    overrides: Overrides = {
        ("server", "host"): host, ("server", "port"): port, ("server", "behind_proxy"): behind_proxy,
        ("server", "tls_cert_file"): tls_cert_file, ("server", "tls_key_file"): tls_key_file,
    }
    settings = _with_stores(load_settings(config, overrides))
    from proxy.app.run import run_gateway

    with _faults():
        listening = _listen(settings) if fd is None else fd
        sys.exit(run_gateway(settings, fd=listening, index=index, ready_fd=ready_fd))


def worker(config: Config = None, ready_fd: ReadyFd = None) -> None:
    """Run one worker: stream to ledger, sweeping, epochs, partitions."""
    settings = _with_stores(load_settings(config))
    from proxy.app.run import run_worker

    with _faults():
        sys.exit(run_worker(settings, ready_fd=ready_fd))


def migrate(config: Config = None, as_json: Json = False) -> None:
    """Bring DATABASE_URL to this version: schema, partitions, catalog, first start. Safe to repeat."""
    settings = load_settings(config)
    if settings.stores.database_url is None:
        raise Fault(
            "DATABASE_URL is not set. The embedded Postgres is migrated by every `synapscale serve`.",
            next_step="DATABASE_URL=postgresql://… synapscale migrate", code=USAGE,
        )
    from proxy.cli.checks.store import POSTGRES_TROUBLE
    from proxy.cli.prepare import prepare
    from proxy.settings.key_files import ADMIN_KEY, FIRST_KEY, master_key
    from proxy.storage.migrate import MigrationError

    dsn = settings.stores.database_url.get_secret_value()
    try:
        with _faults():
            done = asyncio.run(prepare(settings, dsn, master_key(settings)))
    except MigrationError as error:
        raise Fault(f"{error}.") from None
    except POSTGRES_TROUBLE as error:
        raise database_fault(error) from None
    if as_json:
        changed = {"catalog_changed": done.catalog_changed, "first_start": done.first.changed}
        show_json({"migrations": done.migrations, **changed})
        return
    talk(f"Applied: {', '.join(done.migrations)}." if done.migrations else "The schema was up to date.")
    talk("The catalog changed." if done.catalog_changed else "The catalog was up to date.")
    for name, made in ((ADMIN_KEY, done.first.management_key), (FIRST_KEY, done.first.virtual_key)):
        if made is not None:
            talk(f"First start: the {name.replace('-', ' ')} is in {settings.stores.data_dir / name}.")


@contextmanager
def _faults() -> Iterator[None]:
    """What whoever started it can put right is told in a sentence; a bug keeps its traceback.

    A Postgres that is only away is waited for, inside.
    """
    from proxy.cli.checks.store import POSTGRES_REFUSES
    from proxy.settings.problem import ConfigError
    from proxy.settlement.spool import SpoolFailed

    try:
        yield
    except ConfigError as error:
        raise config_fault(error.lines) from None
    except POSTGRES_REFUSES as error:
        raise database_fault(error) from None
    except SpoolFailed as error:
        raise Fault(f"{error}.") from None


def _listen(settings: Settings) -> int:
    from proxy.supervisor.listeners import open_listeners
    from proxy.supervisor.problem import ServeProblem

    try:
        (listener,) = open_listeners(settings.server.host, settings.server.port, 1)
    except ServeProblem as problem:
        raise Fault(str(problem)) from None
    return listener.detach()


def _with_stores(settings: Settings) -> Settings:
    lacking = [
        name for name, url in (("DATABASE_URL", settings.stores.database_url), ("REDIS_URL", settings.stores.redis_url))
        if url is None
    ]
    if lacking:
        raise Fault(
            f"{' and '.join(lacking)} must be set for a single process.",
            next_step="synapscale serve runs stores of its own", code=USAGE,
        )
    return settings
