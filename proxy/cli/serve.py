"""`synapscale serve`: everything on this machine, under one supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.fault import USAGE, Fault
from proxy.cli.load import Overrides, as_environment, config_fault, database_fault, load_settings
from proxy.cli.options import NAME, Config, data_option
from proxy.cli.output import talk
from proxy.cli.running import leave_note, running, take_note_away
from proxy.cli.where import foreign

if TYPE_CHECKING:
    from proxy.cli.banner import Up
    from proxy.settings.tree import Settings
    from proxy.storage.embedded.stores import Stores
    from proxy.supervisor.plan import ServePlan
    from proxy.supervisor.supervisor import Serving
    from proxy.vault.master import MasterKey


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on. Default: 4000; 0: a free one.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Gateway processes. Default: one per core.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", readable=False, help="Folder for data only. Default: .synapscale.")
    ] = None,
    behind_proxy: Annotated[bool | None, typer.Option("--behind-proxy", help="A proxy in front ends TLS.")] = None,
    tls_cert_file: Annotated[Path | None, typer.Option("--tls-cert-file", help="PEM certificate chain.")] = None,
    tls_key_file: Annotated[Path | None, typer.Option("--tls-key-file", help="PEM private key.")] = None,
    print_key: Annotated[bool, typer.Option("--print-key", help="Print the first key even into a pipe.")] = False,
) -> None:
    """Run gateways, ledger worker and, unless DATABASE_URL and REDIS_URL say otherwise, Postgres and Valkey."""
    overrides: Overrides = {
        ("server", "host"): host, ("server", "port"): port, ("server", "workers"): workers,
        ("server", "behind_proxy"): behind_proxy, ("server", "tls_cert_file"): tls_cert_file,
        ("server", "tls_key_file"): tls_key_file, ("stores", "data_dir"): data_dir,
    }
    settings = load_settings(config, overrides)
    Serve(settings, config, overrides, print_key=print_key).run()


# Beyond the grace of its streams a gateway settles, spools and closes; only then is it killed.
SETTLE_S = 10.0


class Serve:
    """One run: what the start found out is told when everything is up."""

    def __init__(self, settings: Settings, config: Path | None, overrides: Overrides, *, print_key: bool) -> None:
        self._settings = settings
        self._config = config
        self._overrides = overrides
        self._print_key = print_key
        self._first_key: str | None = None

    def run(self) -> None:
        from proxy.settings.key_files import master_key
        from proxy.settings.problem import ConfigError
        from proxy.storage.embedded.problem import StoreProblem
        from proxy.storage.migrate import MigrationError
        from proxy.supervisor.problem import ServeProblem
        from proxy.supervisor.supervisor import Supervisor

        level = "warning" if _person() else self._settings.log.level
        logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
        self._refuse_foreign_folder()
        self._refuse_twice()
        try:
            master = master_key(self._settings)
            supervisor = Supervisor(
                self._plan(), after_stores=lambda stores: self._prepare(stores, master), on_ready=self._tell,
                progress=_progress,
            )
            supervisor.run()
        except ConfigError as error:
            raise config_fault(error.lines) from None
        except (ServeProblem, StoreProblem, MigrationError) as error:
            raise Fault(str(error)) from None
        except OSError as error:
            raise Fault(f"{error.filename or 'a system call'}: {error.strerror or error}.") from None
        finally:
            take_note_away(self._settings.stores.data_dir)
        talk("Stopped.")

    def _refuse_foreign_folder(self) -> None:
        """Data among the files of something else would be mistaken for it, and removed with it."""
        folder = self._settings.stores.data_dir
        if stranger := foreign(folder):
            raise Fault(
                f"{folder} is not empty and not a data folder of synapscale (it holds {stranger!r}): left as it is.",
                next_step="--data-dir with a folder that is empty or does not exist yet", code=USAGE,
            )

    def _refuse_twice(self) -> None:
        """Before its port is found taken: by itself. One that is still starting is told by the lock."""
        folder = self._settings.stores.data_dir
        if here := running(folder):
            raise Fault(
                f"The data folder {folder} is in use by another synapscale (process {here['pid']}), at {here.get('url')}.",
                next_step="stop that one first, or start this one with another --data-dir (and --port)",
            )

    def _plan(self) -> ServePlan:
        from proxy.settings.key_files import MASTER_KEY
        from proxy.settings.load import variables_of
        from proxy.supervisor.environment import clean_environment
        from proxy.supervisor.plan import ServePlan

        server, stores = self._settings.server, self._settings.stores
        command = [sys.executable, "-m", "proxy"]
        options = ["--config", str(self._config.absolute())] if self._config else []
        environment = clean_environment(os.environ, also=variables_of(self._config)) | as_environment(self._overrides)
        if self._settings.master_key is None and self._settings.master_key_file is None:
            # To a child every database is an external one: it is told where the key lies, not what it is.
            environment["SYNAPSCALE_MASTER_KEY_FILE"] = str(stores.data_dir / MASTER_KEY)
        if _person() and "level" not in self._settings.log.model_fields_set:
            environment["SYNAPSCALE_LOG__LEVEL"] = "warning"  # the banner says that all is well
        keys = {each.api_key.get_secret_value() for each in self._settings.providers.values() if each.api_key}
        gateway_secrets = {
            name: value for name, value in environment.items() if name == "SYNAPSCALE_MASTER_KEY" or value.strip() in keys
        }
        return ServePlan(
            host=server.host, port=server.port, gateways=server.workers, data_dir=stores.data_dir,
            gateway_argv=(*command, "gateway", *options), worker_argv=(*command, "worker", *options),
            environment={name: value for name, value in environment.items() if name not in gateway_secrets},
            gateway_secrets=gateway_secrets,
            database_url=stores.database_url.get_secret_value() if stores.database_url else None,
            redis_url=stores.redis_url.get_secret_value() if stores.redis_url else None,
            postgres_max_connections=(server.workers + 1) * stores.database_pool + 20,
            redis_maxmemory_mb=stores.maxmemory_mib,
            gateway_grace_s=server.shutdown_grace_s, gateway_settle_s=SETTLE_S, hung_after_s=server.hung_after_s,
        )

    def _prepare(self, stores: Stores, master: MasterKey) -> None:
        from proxy.cli.checks.store import POSTGRES_TROUBLE
        from proxy.cli.prepare import prepare

        self._check_redis()
        try:
            # In the main thread, and over before anything is forked.
            done = asyncio.run(prepare(self._settings, stores.database_url, master, progress=_progress))
        except POSTGRES_TROUBLE as error:
            raise database_fault(error) from None
        self._first_key = done.first.virtual_key

    def _check_redis(self) -> None:
        """Of somebody else's server: gateways would wait for it for ever, and one that evicts loses the bill."""
        if self._settings.stores.redis_url is None:
            return
        from proxy.cli.checks.redis import redis

        for finding in asyncio.run(redis(self._settings.stores.redis_url.get_secret_value())):
            if finding.state == "bad":
                text = f"REDIS_URL: {finding.check}: {finding.found}"
                if finding.check in ("Redis", "Redis eviction"):
                    raise Fault(f"{text}.", next_step=finding.fix)
                talk(f"Warning: {text} ({finding.fix}).")

    def _tell(self, serving: Serving) -> None:
        from proxy.cli.banner import for_people, for_programs
        from proxy.settings.key_files import FIRST_KEY

        person = _person()
        data_dir = self._settings.stores.data_dir
        base = self._base(serving.host, serving.port)
        self._leave_note(base, serving.stores)
        up = self._up(serving, base, show_key=person or self._print_key)
        print(for_people(up) if person else for_programs(up), flush=True)
        if up.key is not None:
            (data_dir / FIRST_KEY).unlink(missing_ok=True)  # it was only there in case this start had failed

    def _leave_note(self, base: str, stores: Stores) -> None:
        """For commands on this machine. An address of somebody else's store may hold a password: it is not written."""
        server = self._settings.server
        note: dict[str, str | int] = {"url": base, "pid": os.getpid(), "host": server.host}
        if server.tls_cert_file is not None:
            note["tls_cert_file"] = str(server.tls_cert_file)
        if self._settings.stores.database_url is None:
            note["database_url"] = stores.database_url
        if self._settings.stores.redis_url is None:
            note["redis_url"] = stores.redis_url
        leave_note(self._settings.stores.data_dir, note)

    def _base(self, host: str, port: int) -> str:
        scheme = "https" if self._settings.server.tls_cert_file else "http"
        name = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "localhost", "::1": "[::1]"}.get(host, host)
        return f"{scheme}://{name}:{port}"

    def _up(self, serving: Serving, base: str, *, show_key: bool) -> Up:
        from proxy.cli.banner import Up
        from proxy.settings.check import is_loopback
        from proxy.settings.key_files import FIRST_KEY
        from proxy.settings.load import key_variables

        settings, key = self._settings, self._first_key
        file = settings.stores.data_dir / FIRST_KEY
        return Up(
            version=installed_version("synapscale-gateway"), base=base, stores=serving.stores.describe(),
            data_dir=_short(settings.stores.data_dir),
            providers=tuple(name for name, each in settings.providers.items() if each.api_key),
            keyless=tuple(name for name, each in settings.providers.items() if not each.api_key and each.auth == "none"),
            variables=tuple(key_variables(self._config).values()),
            llms=len(settings.llms) + settings.echo, loopback=is_loopback(settings.server.host),
            command=_command(), data_option=data_option(settings.stores.data_dir), key=key if show_key else None,
            # Also at a later start: a first key that nobody has fetched yet.
            key_file=str(file) if file.exists() and not (key and show_key) else None,
            cert_file=str(settings.server.tls_cert_file) if settings.server.tls_cert_file else None,
        )


def _person() -> bool:
    return sys.stdout.isatty()


def _command() -> str:
    """What to type here: `make run` uses a program that is on nobody's PATH."""
    return NAME if shutil.which(NAME) else _short(Path(sys.argv[0]).absolute())


def _progress(text: str) -> None:
    talk(f"  {text}")


def _short(path: Path) -> str:
    here = Path.cwd()
    return f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path)
