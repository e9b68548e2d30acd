"""Names that a management call may use, checked against the tables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from proxy.catalog.reading import store
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused


async def require_llms(db: Connection, names: Iterable[str] | None) -> None:
    """None: all llms, nothing to check."""
    if names is None:
        return
    known = await store.llm_names(db)
    for index, name in enumerate(names):
        if name not in known:
            raise _unknown("llm", name, known, f"llms.{index}")


async def require_llm(db: Connection, name: str) -> None:
    known = await store.llm_names(db)
    if name not in known:
        raise _unknown("llm", name, known, "llm")


async def require_provider(db: Connection, name: str) -> None:
    known = await store.provider_names(db)
    if name not in known:
        raise _unknown("provider", name, known, "provider")


def _unknown(kind: str, name: str, known: list[str], param: str) -> Refused:
    near = difflib.get_close_matches(name, known, n=3)
    return Refused(
        Reason.BAD_VALUE,
        f"There is no {kind} `{name}`."
        + (f" Near: {', '.join(near)}." if near else f" GET /api/v1/{kind}s lists them."),
        param=param,
    )
