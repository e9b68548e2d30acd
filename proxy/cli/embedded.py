"""The stores of a deployment for a command that needs them now, whether or not its `serve` runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxy.cli.fault import USAGE, Fault
from proxy.cli.running import running

if TYPE_CHECKING:
    from proxy.settings.tree import Settings

NOT_OURS = "unix:///not-started"  # where only Postgres is wanted


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """DATABASE_URL; else the embedded Postgres of this data folder, started for as long as this takes if nobody runs it."""
    from proxy.storage.embedded.folder import DataFolder
    from proxy.storage.embedded.problem import StoreProblem
    from proxy.storage.embedded.stores import Stores

    folder = settings.stores.data_dir
    if settings.stores.database_url is not None:
        yield settings.stores.database_url.get_secret_value()
        return
    if (address := running(folder).get("database_url")) is not None:
        yield address
        return
    if not (folder / "stores/pg/PG_VERSION").exists():
        raise Fault(
            f"There is no database in {folder}, and DATABASE_URL is not set.",
            next_step="--data-dir with the folder of the deployment, or DATABASE_URL", code=USAGE,
        )
    try:
        stores = Stores(DataFolder(folder), redis_url=NOT_OURS)
        stores.start()
        try:
            yield stores.database_url
        finally:
            stores.stop()
    except StoreProblem as error:
        raise Fault(str(error)) from None
